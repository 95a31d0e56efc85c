// Two moments: what came, what went, what changed, and what moved most.

import { button, h, icon, later } from "./dom.js";
import { count, iso, percent, short, shown, written } from "./format.js";
import { t } from "./i18n.js";
import { Facets } from "./facets.js";
import { Moment } from "./slider.js";
import { Table } from "./table.js";
import { Tools } from "./tools.js";

const DAY = 86400000;
const LIMIT = 100;

export function create(context) {
  const { about, provider, source, change, address, go, follow } = context;
  const tools = new Tools(context, t("compare"));
  const place = (name) => (at) => change({ [name]: iso(at), offset: "" });
  const first = new Moment(t("from"), about, place("t1"), { newest: false });
  const second = new Moment(t("to"), about, place("t2"), { newest: false });
  const facets = new Facets((changes) => change(changes, { push: true }));
  const counts = h("div", { class: "segments", role: "group", "aria-label": t("differences") });
  const movers = h("section", { class: "card movers" });
  const search = h("input", {
    type: "search", class: "search", "aria-label": t("search"), placeholder: t("searchHint"), autocomplete: "off", spellcheck: "false", maxlength: 200,
    oninput: later(160, () => change({ q: search.value, offset: "" })),
  });
  const table = new Table(t("differences"), {
    sort: (sort, desc) => change({ sort, desc: desc ? "1" : "", offset: "" }, { push: true }),
    offset: (offset) => change({ offset: offset || "" }, { push: true }),
    open: (row) => go(address("key", provider, { key: written(row.slice(0, about.key.length)) })),
  });
  const before = (days) => h("button", { type: "button", class: "tool text", onclick: () => change({ t1: iso(Math.max(second.at - days * DAY, about.first)), offset: "" }, { push: true }) }, t(days === 1 ? "dayBefore" : "weekBefore"));
  const swap = button(t("swap"), { class: "tool", onclick: () => change({ t1: iso(second.at), t2: iso(first.at), offset: "" }, { push: true }) }, icon("swap"));
  const node = h("div", { class: "view compare" }, tools.node, source.still && source.note(about),
    h("section", { class: "card controls" }, first.node, second.node, h("div", { class: "row" }, before(1), before(7), swap, h("span", { class: "space" }), h("div", { class: "searchbox" }, icon("search"), search))),
    counts, movers,
    h("div", { class: "split" }, facets.node, h("section", { class: "card" }, table.node)));
  const floats = new Set(about.columns.filter((column) => /^(Float|Decimal)/.test(column.dtype)).map((column) => column.name));
  let asking = null;
  source.ask(provider, "calendar").then((data) => [first, second].forEach((each) => each.days(data))).catch(() => {});

  function drawCounts(answer, current) {
    const total = Object.values(answer.counts).reduce((a, b) => a + b, 0);
    const segment = (name, n) => h("button", {
      type: "button", class: `segment ${name || "all"}`, "aria-pressed": String(current === name), onclick: () => change({ change: name, offset: "" }, { push: true }),
    }, h("b", {}, count(n)), h("span", {}, t(name || "all")));
    counts.replaceChildren(segment("", total), ...["added", "removed", "changed"].map((name) => segment(name, answer.counts[name])));
  }

  function drawMovers(answer) {
    movers.hidden = !answer.movers;
    if (!answer.movers) return;
    const { up, down, rose, fell, median, column } = answer.movers;
    const choice = h("select", { "aria-label": t("by"), onchange: (event) => change({ column: event.target.value }, { push: true }) },
      answer.numbers.map((name) => h("option", { value: name, selected: name === column }, name)));
    const most = Math.max(0.0001, ...[...up, ...down].map((row) => Math.abs(row[row.length - 1])));
    movers.replaceChildren(
      h("div", { class: "cardhead" }, h("h2", {}, t("movers")), choice, h("span", { class: "space" }),
        h("span", { class: "hint" }, `${t("rose", { n: count(rose) })} · ${t("fell", { n: count(fell) })}${median === null ? "" : ` · ${t("medianMove", { share: percent(median, 2) })}`}`)),
      h("div", { class: "two" }, h("ol", { class: "up" }, up.map((row) => mover(row, most))), h("ol", { class: "down" }, down.map((row) => mover(row, most)))));
  }

  function mover(row, most) {
    const key = row.slice(0, about.key.length);
    const [old, now, share] = row.slice(about.key.length);
    const bar = h("i", { class: "share", "aria-hidden": "true" });
    bar.style.width = `${Math.max(1, (Math.abs(share) / most) * 100)}%`;
    return h("li", {}, h("a", { href: address("key", provider, { key: written(key) }), onclick: follow }, key.join(" · ")),
      h("span", { class: "faint number" }, `${short(old)} → ${short(now)}`), h("b", { class: "number" }, percent(share)), bar);
  }

  return {
    node,
    async update(params) {
      asking?.abort();
      asking = new AbortController();
      if (document.activeElement !== search) search.value = params.get("q") ?? "";
      const wanted = new URLSearchParams(params);
      if (!params.get("t1")) wanted.set("t1", iso(Math.max(about.first, about.last - DAY)));
      if (!params.get("t2")) wanted.set("t2", iso(about.last));
      first.show(Date.parse(wanted.get("t1")));
      second.show(Date.parse(wanted.get("t2")));
      const asked = new URLSearchParams(wanted);
      asked.set("limit", LIMIT);
      const answer = await source.ask(provider, "diff", asked, asking.signal);
      facets.show(answer.facets);
      drawCounts(answer, params.get("change") ?? "");
      drawMovers(answer);
      const keys = about.key.length;
      const columns = answer.columns.slice(0, keys).map((column, at) => ({
        name: column.name, at, sort: column.name, label: column.name, class: "key",
        cell: at === 0 ? (row) => h("a", { href: address("key", provider, { key: written(row.slice(0, keys)) }), onclick: follow }, row[0] || "∅") : undefined,
      }));
      columns.push({ name: "change", at: keys, sort: "change", label: t("operation"), cell: (row) => h("span", { class: `badge ${row[keys]}` }, t(row[keys])) });
      answer.values.forEach((name, i) => {
        const at = keys + 1 + 2 * i;
        columns.push({ name, sort: name, label: name, kind: answer.columns[at].kind, cell: (row) => pair(row[at], row[at + 1], answer.columns[at].kind, floats.has(name)) });
      });
      table.show({
        columns, rows: answer.rows, sort: params.get("sort") ?? "", desc: params.get("desc") === "1",
        offset: Number(params.get("offset") ?? 0), limit: LIMIT, total: answer.count,
      });
      tools.answered(answer, "diff", wanted);
    },
  };
}

function pair(old, now, kind, isFloat) {
  if (old === now) return h("span", { class: "faint" }, shown(now, kind));
  const parts = [h("span", { class: "faint" }, old === null ? "–" : shown(old, kind)), " → ", h("span", {}, now === null ? "–" : shown(now, kind))];
  if (isFloat && typeof old === "number" && typeof now === "number" && old !== 0) {
    const share = (now - old) / Math.abs(old);
    parts.push(h("span", { class: share > 0 ? "delta rise" : "delta fall" }, percent(share)));
  }
  return h("span", { class: "pair" }, parts);
}
