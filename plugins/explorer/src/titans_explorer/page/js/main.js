// The frame of all views: the bar, and which view the address names.
//
// All that a view shows is in its address, `?view=keys&provider=aws&at=…`, so that it can be shared
// and the browser's buttons work. A view is made once, and updated whenever its parameters change.

import { button, h, icon, put, tell } from "./dom.js";
import { language, speak, t } from "./i18n.js";
import * as archive from "./archive.js";
import * as keys from "./keys.js";
import * as key from "./key.js";
import * as compare from "./compare.js";
import * as sql from "./sql.js";

const VIEWS = { archive, keys, key, compare, sql };
const isStill = document.querySelector("meta[name=titans-still]") !== null;
const source = await import(isStill ? "./still.js" : "./remote.js");

const main = document.getElementById("main");
const abouts = new Map();
let store = { archives: [], sql: false };
let shown = null; // { view, provider, language, update }

function address(view, provider, params = {}) {
  const query = new URLSearchParams({ view, provider });
  for (const [name, value] of Object.entries(params)) {
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) query.append(name, one);
  }
  return `?${query}`;
}

function wanted() {
  const params = new URLSearchParams(location.search);
  const view = params.get("view") in VIEWS ? params.get("view") : "archive";
  const names = store.archives.map((each) => each.provider);
  const provider = names.includes(params.get("provider")) ? params.get("provider") : names[0];
  params.delete("view");
  params.delete("provider");
  return { view, provider, params };
}

// Change some parameters of the view that is shown; empty ones are left out.
function change(changes, { push = false } = {}) {
  const { view, provider, params } = wanted();
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) params.append(name, one);
  }
  const query = new URLSearchParams([["view", view], ["provider", provider], ...params]);
  history[push ? "pushState" : "replaceState"](null, "", `?${query}`);
  render();
}

function go(url) {
  history.pushState(null, "", url);
  render();
  window.scrollTo(0, 0);
}

async function about(provider) {
  const kept = abouts.get(provider);
  if (kept && Date.now() - kept.at < 10000) return kept.answer;
  const answer = await source.ask(provider, "about");
  abouts.set(provider, { answer, at: Date.now() });
  return answer;
}

// For whoever waits for the page, tests among them: whether it is done.
let rendering = 0;
function busy(by) {
  rendering += by;
  document.body.dataset.ready = String(rendering === 0);
}

async function render() {
  const { view, provider, params } = wanted();
  busy(1);
  drawBar(view, provider);
  if (!provider) {
    main.replaceChildren(h("p", { class: "note" }, t("nothing")));
    busy(-1);
    return;
  }
  try {
    if (shown?.view !== view || shown.provider !== provider || shown.language !== language) {
      const mine = { view, provider, language, update: null };
      shown = mine;
      main.setAttribute("aria-busy", "true");
      const facts = await about(provider);
      if (shown !== mine) return;
      const made = VIEWS[view].create({ provider, about: facts, store, source, change, go, address, follow, failed });
      mine.update = made.update;
      main.replaceChildren(made.node);
      document.title = `${t(view)} · ${provider} · TITANS`;
    }
    await shown.update?.(params);
  } catch (error) {
    failed(error);
  } finally {
    main.removeAttribute("aria-busy");
    busy(-1);
  }
}

function failed(error) {
  if (error.name === "AbortError") return;
  const text = t("failed", { reason: error.message });
  document.querySelector(".failure")?.remove();
  const note = h("div", { class: "failure", role: "alert" }, text, button("×", { onclick: () => note.remove() }, icon("close")));
  main.prepend(note);
}

function drawBar(view, provider) {
  document.querySelector(".failure")?.remove();
  const tabs = Object.keys(VIEWS).filter((name) => name !== "sql" || store.sql);
  const nav = h("nav", { "aria-label": t("views") },
    tabs.map((name) => h("a", {
      href: address(name, provider ?? ""), "data-view": name,
      "aria-current": name === view ? "page" : null, onclick: follow,
    }, t(name))));
  const choice = h("select", { "aria-label": t("provider"), class: "provider", onchange: (event) => go(address(view === "key" ? "keys" : view, event.target.value)) },
    store.archives.map((each) => h("option", { value: each.provider, selected: each.provider === provider }, each.provider)));
  const dark = isDark();
  document.getElementById("skip").textContent = t("skip");
  put(document.getElementById("bar"),
    h("a", { class: "brand", href: address("archive", provider ?? ""), onclick: follow, "aria-label": "TITANS" },
      h("img", { src: "icon.svg", alt: "", width: 22, height: 22 }), h("span", {}, "TITANS")),
    choice, nav,
    h("span", { class: "space" }),
    source.still && h("span", { class: "badge" }, t("still")),
    h("button", { type: "button", class: "plain language", lang: language === "en" ? "ko" : "en", "aria-label": t("language"), title: t("language"), onclick: turnLanguage }, language === "en" ? "한국어" : "English"),
    button(t(dark ? "light" : "dark"), { class: "plain", id: "theme", onclick: turnTheme }, icon(dark ? "sun" : "moon")));
}

// Links are real ones, for a new tab; in this one the page stays.
function follow(event) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(event.currentTarget.getAttribute("href"));
}

function isDark() {
  const theme = document.documentElement.dataset.theme;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function turnTheme() {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("titans-theme", theme);
  } catch {
    // As theme.js.
  }
  render();
  dispatchEvent(new Event("titans-theme"));
  document.getElementById("theme").focus();
}

function turnLanguage() {
  speak(language === "en" ? "ko" : "en");
  render();
  document.querySelector(".language").focus();
}

addEventListener("popstate", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  render();
  dispatchEvent(new Event("titans-theme"));
});
// Numbers choose a view, a slash the search.
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [tabindex='0']")) return;
  const tabs = [...document.querySelectorAll("nav a")];
  const tab = tabs[Number(event.key) - 1];
  if (tab) tab.click();
  if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

speak(language);
try {
  store = await source.archives();
  tell("");
} catch (error) {
  failed(error);
}
await render();
