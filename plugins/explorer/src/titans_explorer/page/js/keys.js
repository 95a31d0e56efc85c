// The keys that live at a moment: searched, filtered, counted, sorted; and chosen for the next view.

import { h, icon, later, put } from "./dom.js";
import { count, iso, shown, written } from "./format.js";
import { t } from "./i18n.js";
import { Facets } from "./facets.js";
import { Moment } from "./slider.js";
import { emptyNote, hiddenColumns, Table } from "./table.js";
import { Tools } from "./tools.js";

const MOST = 8;
const LIMIT = 100;

export function create(context) {
  const { about, provider, source, go, address, change } = context;
  const tools = new Tools(context, t("keys"));
  const moment = new Moment(t("at"), about, (at) => change({ at: at === null || at >= about.last ? "" : iso(at), offset: "" }));
  const facets = new Facets((changes) => change(changes, { push: true }));
  const search = h("input", {
    type: "search", class: "search", "aria-label": t("search"), placeholder: t("searchHint"), autocomplete: "off", spellcheck: "false", maxlength: 200,
    oninput: later(160, () => change({ q: search.value, offset: "" })),
  });
  const chosen = new Set();
  const together = h("div", { class: "together" });
  const empties = h("p", { class: "hint" });
  const table = new Table(t("keys"), {
    sort: (sort, desc) => change({ sort, desc: desc ? "1" : "", offset: "" }, { push: true }),
    filter: (name, text) => change({ [`v.${name}`]: text, offset: "" }),
    offset: (offset) => change({ offset: offset || "" }, { push: true }),
    open: (row) => go(address("key", provider, { key: keyOf(row) })),
  });
  const node = h("div", { class: "view keys" }, tools.node, source.still && source.note(about),
    h("section", { class: "card controls" }, h("div", { class: "searchbox" }, icon("search"), search), moment.node),
    h("div", { class: "split" }, facets.node, h("section", { class: "card" }, together, table.node, empties)));

  const keyOf = (row) => written(row.slice(0, about.key.length));
  let asking = null;
  source.ask(provider, "calendar").then((data) => moment.days(data)).catch(() => {});

  function drawTogether(params, answer) {
    const group = groupOf(about, params, answer);
    const filtered = [...params.keys()].some((name) => name === "q" || name.includes("."));
    put(together,
      h("b", {}, t("ofLiving", { count: count(answer.count), living: count(answer.living) })),
      filtered && h("button", { type: "button", class: "tool text", onclick: () => clear(params) }, icon("close"), t("clear")),
      h("span", { class: "space" }),
      group && h("a", { class: "tool text", href: address("key", provider, { key: group }), onclick: context.follow }, t("asGroup")),
      chosen.size > 0 && h("a", { class: "tool text strong", href: address("key", provider, { key: [...chosen] }), onclick: context.follow }, t("showChosen", { n: chosen.size })));
  }

  function clear(params) {
    const changes = { offset: "" };
    for (const name of params.keys()) if (name === "q" || name.includes(".")) changes[name] = "";
    search.value = "";
    table.headKey = "";
    change(changes, { push: true });
  }

  function box(row, params, answer) {
    const key = keyOf(row);
    const name = row.slice(0, about.key.length).join(" · ");
    return h("input", {
      type: "checkbox", checked: chosen.has(key), disabled: !chosen.has(key) && chosen.size >= MOST, "aria-label": t("choose", { key: name }),
      onchange: (event) => {
        if (event.target.checked) chosen.add(key);
        else chosen.delete(key);
        drawTogether(params, answer);
        for (const other of table.body.querySelectorAll("input")) other.disabled = !other.checked && chosen.size >= MOST;
      },
    });
  }

  return {
    node,
    async update(params) {
      asking?.abort();
      asking = new AbortController();
      if (document.activeElement !== search) search.value = params.get("q") ?? "";
      moment.show(params.get("at") ? Date.parse(params.get("at")) : null);
      const wanted = new URLSearchParams(params);
      wanted.set("limit", LIMIT);
      const answer = await source.ask(provider, "keys", wanted, asking.signal);
      facets.show(answer.facets);
      drawTogether(params, answer);
      const units = Object.fromEntries(about.columns.map((each) => [each.name, each.unit]));
      const keyNames = new Set(about.key.map((each) => each.name));
      const columns = answer.columns.map((column, at) => ({
        name: column.name, at, kind: column.kind, sort: column.name,
        label: column.name === "Time" ? t("since") : column.name,
        title: units[column.name] || null,
        filter: !keyNames.has(column.name),
        class: keyNames.has(column.name) ? "key" : null,
        cell: at === 0 ? (row) => h("a", { href: address("key", provider, { key: keyOf(row) }), onclick: context.follow }, row[0] || "∅") : (row) => shown(row[at], column.kind),
      }));
      const filters = Object.fromEntries([...params].filter(([name]) => name.startsWith("v.")).map(([name, text]) => [name.slice(2), text]));
      const hidden = hiddenColumns(params, answer.empty);
      put(empties, ...emptyNote(params, answer.empty, change));
      table.show({
        columns: [{ name: "", label: "", cell: (row) => box(row, params, answer), class: "pick" }, ...columns.filter((column) => !hidden.has(column.name))],
        rows: answer.rows, sort: params.get("sort") ?? "", desc: params.get("desc") === "1", filters,
        offset: Number(params.get("offset") ?? 0), limit: LIMIT, total: answer.count,
      });
      tools.answered(answer, "keys", params);
    },
  };
}

// One line for what is filtered: each key column has one value, or any.
function groupOf(about, params, answer) {
  const values = about.key.map((each) => params.getAll(`k.${each.name}`));
  if (params.get("q") || answer.count < 2 || values.some((each) => each.length > 1)) return null;
  return values.map((each) => (each.length ? written(each) : "*")).join("|");
}

