// What happened to keys and groups: every value column over time, and the change points.

import { button, h, icon, put } from "./dom.js";
import { age, isGroup, iso, named, parsed, parts, shown, time, written } from "./format.js";
import { t } from "./i18n.js";
import { Chart } from "./chart.js";
import { emptyNote, hiddenColumns, Table } from "./table.js";
import { Tools } from "./tools.js";

const MOST = 8;
const LIMIT = 50;
const SHORTEST = 60000;

export function create(context) {
  const { about, provider, source, change } = context;
  const tools = new Tools(context, t("key"));
  const chips = h("div", { class: "chips", role: "group", "aria-label": t("lines") });
  const columns = h("div", { class: "chips", role: "group", "aria-label": t("shownColumns") });
  const charts = new Map();
  const figures = h("div", { class: "charts" });
  const legend = h("p", { class: "hint" });
  const range = new Range(about, zoom);
  const table = new Table(t("table"), {
    sort: (sort, desc) => change({ sort, desc: desc ? "1" : "", offset: "" }, { push: true }),
    offset: (offset) => change({ offset: offset || "" }, { push: true }),
  });
  const empties = h("p", { class: "hint" });
  const rows = h("section", { class: "card" }, h("h2", {}, t("table")), table.node, empties);
  const node = h("div", { class: "view key" }, tools.node, source.still && source.note(about),
    h("section", { class: "card controls" }, chips, new Adder(context, add).node),
    h("section", { class: "card" }, h("div", { class: "cardhead" }, columns, h("span", { class: "space" }), range.node), figures, legend), rows);
  let asking = null;
  let current = new URLSearchParams();

  function add(key) {
    const all = current.getAll("key");
    if (all.length >= MOST) throw new Error(t("tooMany", { n: MOST }));
    if (!all.includes(key)) change({ key: [...all, key], offset: "" }, { push: true });
  }

  function zoom(from, to) {
    if (from === null) {
      change({ from: "", to: "", offset: "" }, { push: true });
      return;
    }
    const middle = (from + to) / 2;
    const half = Math.max((to - from) / 2, SHORTEST);
    const first = Math.max(middle - half, about.first);
    const last = Math.min(middle + half, about.last);
    const whole = first <= about.first && last >= about.last;
    change({ from: whole ? "" : iso(Math.round(first)), to: whole ? "" : iso(Math.round(last)), offset: "" }, { push: true });
  }

  const hover = (at, speaks) => charts.forEach((chart) => chart.hover(at, speaks));

  function drawChips(keys) {
    chips.replaceChildren(...keys.map((key, i) => h("span", { class: `line-chip c${i}` }, h("i", { class: `dot c${i}` }), h("span", {}, named(key)),
      isGroup(key) && h("a", { class: "faint", href: context.address("keys", provider, membersOf(about, key)), onclick: context.follow }, t("groupKeys")),
      button(t("remove", { key: named(key) }), { class: "plain", onclick: () => change({ key: keys.filter((each) => each !== key), offset: "" }, { push: true }) }, icon("close")))));
    if (!keys.length) chips.replaceChildren(h("p", { class: "note" }, t("noLines")));
  }

  function drawColumns(wanted, grouped) {
    const possible = about.columns.filter((column) => !grouped || column.kind === "number");
    columns.replaceChildren(...possible.map((column) => {
      const on = wanted.includes(column.name);
      const turn = () => {
        const next = on ? wanted.filter((name) => name !== column.name) : [...wanted, column.name];
        if (next.length) change({ column: about.columns.map((c) => c.name).filter((name) => next.includes(name)) }, { push: true });
      };
      return h("button", { type: "button", class: "chip", "aria-pressed": String(on), onclick: turn }, column.name);
    }));
  }

  function drawCharts(answers, keys, wanted, span) {
    for (const [name, chart] of charts) {
      if (!wanted.includes(name)) {
        chart.node.remove();
        charts.delete(name);
      }
    }
    const marks = answers.find((answer) => answer.amendments)?.amendments ?? [];
    const shows = [];
    for (const name of wanted) {
      const found = answers.flatMap((answer) => answer.charts).filter((chart) => chart.column === name);
      const lines = found.flatMap((chart) => chart.lines).map((line) => ({ ...line, color: keys.indexOf(line.key) }));
      lines.sort((a, b) => a.color - b.color);
      if (!charts.has(name)) charts.set(name, new Chart({ zoom, hover }));
      const chart = charts.get(name);
      const { unit, kind } = about.columns.find((column) => column.name === name);
      shows.push(() => chart.show({ column: name, unit, kind, levels: found[0]?.levels ?? null, lines, marks, ...span }));
    }
    // A chart that stays where it is keeps the keyboard's focus.
    const nodes = wanted.map((name) => charts.get(name).node);
    if (nodes.length !== figures.children.length || nodes.some((each, i) => each !== figures.children[i])) figures.replaceChildren(...nodes);
    for (const show of shows) show();
    const looked = answers.filter((answer) => answer.every).map((answer) => answer.every);
    const notes = [t("chartHint")];
    if (looked.length) notes.push(`${t("median")}, ${t("spread")}; ${t("everyLook", { age: age(Math.max(...looked) * 1000, t) })}.`);
    put(legend, notes.join(" "), marks.length > 0 && h("span", { class: "amended" }, icon("flag"), t("amendedMark")));
  }

  async function drawTable(single, params, signal) {
    rows.hidden = !single.length;
    if (!single.length) return null;
    const wanted = new URLSearchParams(single.map((key) => ["key", key]));
    for (const name of ["from", "to", "sort", "desc", "offset"]) if (params.get(name)) wanted.set(name, params.get(name));
    wanted.set("limit", LIMIT);
    const answer = await source.ask(provider, "points", wanted, signal);
    const amended = new Set(answer.amended);
    const keyNames = about.key.map((each) => each.name);
    const at = answer.columns.findIndex((column) => column.name === "Time");
    const gone = answer.columns.length - 1;
    const flag = (row) => amended.has(row[at]) && h("span", { class: "amended", title: t("amendedMark") }, icon("flag"));
    const shownColumns = answer.columns.slice(0, gone).map((column, i) => ({
      name: column.name, at: i, kind: column.kind, sort: column.name, label: column.name, class: keyNames.includes(column.name) ? "key" : null,
      cell: i === at ? (row) => [h("span", {}, shown(row[i], "time")), flag(row)] : (row) => shown(row[i], column.kind),
    }));
    const colors = new Map(params.getAll("key").map((key, i) => [key, i]));
    const dot = (row) => h("i", { class: `dot c${colors.get(written(row.slice(0, keyNames.length))) ?? 0}` });
    const hidden = hiddenColumns(params, answer.empty);
    put(empties, ...emptyNote(params, answer.empty, change));
    table.show({
      columns: [...(single.length > 1 ? [{ label: "", cell: dot, class: "pick" }] : []), ...shownColumns.filter((column) => !hidden.has(column.name)),
        { label: t("state"), cell: (row) => (row[gone] ? h("span", { class: "badge warn" }, t("ceased")) : "") }],
      rows: answer.rows, sort: params.get("sort") ?? "Time", desc: params.get("sort") ? params.get("desc") === "1" : true,
      offset: Number(params.get("offset") ?? 0), limit: LIMIT, total: answer.count,
    });
    return [answer, "points", wanted];
  }

  return {
    node,
    async update(params) {
      asking?.abort();
      asking = new AbortController();
      current = params;
      const keys = [...new Set(params.getAll("key"))].slice(0, MOST);
      const single = keys.filter((key) => !isGroup(key));
      const groups = keys.filter(isGroup);
      const wanted = columnsOf(about, params, groups.length > 0);
      drawChips(keys);
      drawColumns(wanted, groups.length > 0 && !single.length);
      const from = params.get("from") ? Date.parse(params.get("from")) : about.first;
      const to = params.get("to") ? Date.parse(params.get("to")) : about.last;
      range.show(from, to);
      const common = [["from", params.get("from")], ["to", params.get("to")], ...wanted.map((name) => ["column", name])].filter(([, value]) => value);
      const asked = groups.map((key) => ["group", new URLSearchParams([["key", key], ...common])]);
      if (single.length) asked.unshift(["lines", new URLSearchParams([...single.map((key) => ["key", key]), ...common])]);
      const listing = drawTable(single, params, asking.signal);
      const answering = Promise.all(asked.map(([question, query]) => source.ask(provider, question, query, asking.signal)));
      const [answers, listed] = await Promise.all([answering, listing]);
      drawCharts(answers, keys, wanted, { from, to });
      const { signal } = asking;
      const finer = (i) => source.ask(provider, "group", new URLSearchParams([...asked[i][1], ["fine", "1"]]), signal);
      refine(answers, finer, signal, (better) => drawCharts(better, keys, wanted, { from, to }));
      if (listed) tools.answered(...listed);
      else if (asked.length) tools.answered(answers[0], ...asked[0]);
      tools.subtitle.textContent = keys.length === 1 ? named(keys[0]) : "";
    },
  };
}

// Of large groups there is a line at once, and a better one a little later.
async function refine(answers, ask, signal, draw) {
  if (!answers.some((answer) => answer.coarse)) return;
  try {
    draw(await Promise.all(answers.map((answer, i) => (answer.coarse ? ask(i) : answer))));
  } catch (error) {
    if (!signal.aborted) console.info(error.message);
  }
}

// By default the score and the numbers that are observed; all of few columns.
function columnsOf(about, params, grouped) {
  const known = about.columns.filter((column) => !grouped || column.kind === "number").map((column) => column.name);
  const given = params.getAll("column").filter((name) => known.includes(name));
  if (given.length) return given;
  const held = about.columns.filter((column) => column.nulls < 1 && known.includes(column.name));
  const moving = held.filter((column) => column.kind === "number" || !grouped).map((column) => column.name);
  const isFloat = (name) => /^(Float|Decimal)/.test(about.columns.find((column) => column.name === name).dtype);
  const best = (moving.length ? moving : known).slice().reverse().sort((a, b) => isFloat(b) - isFloat(a));
  return known.filter((name) => best.slice(0, grouped ? 1 : 4).includes(name));
}

function membersOf(about, key) {
  const found = {};
  const words = [];
  parts(key).forEach((part, i) => {
    if (!part.any) found[`k.${about.key[i].name}`] = part.text;
    else if (part.text) words.push(part.text);
  });
  return { ...found, q: words.join(" ") };
}

// The range of time: as text, and by steps.
class Range {
  constructor(about, zoom) {
    this.about = about;
    this.zoom = zoom;
    const field = (label) => h("input", { type: "text", class: "moment", size: 16, "aria-label": label, spellcheck: "false", autocomplete: "off", onchange: () => this.typed() });
    this.first = field(t("from"));
    this.last = field(t("to"));
    const act = (label, name, run) => button(label, { class: "tool", onclick: run }, icon(name));
    this.node = h("div", { class: "range" }, this.first, "–", this.last,
      act(t("back"), "left", () => this.pan(-0.5)), act(t("forth"), "right", () => this.pan(0.5)),
      act(t("zoomIn"), "plus", () => this.scale(0.25)), act(t("zoomOut"), "minus", () => this.scale(1)),
      h("button", { type: "button", class: "tool text", onclick: () => zoom(null, null) }, t("whole")));
  }

  show(from, to) {
    this.from = from;
    this.to = to;
    this.first.value = time(from);
    this.last.value = time(to);
  }

  typed() {
    const [from, to] = [this.first, this.last].map((input) => {
      const at = parsed(input.value);
      input.setAttribute("aria-invalid", String(Number.isNaN(at)));
      return at;
    });
    if (from < to) this.zoom(from, to);
  }

  pan(share) {
    const span = this.to - this.from;
    const { first, last } = this.about;
    const by = Math.min(Math.max(span * share, first - this.from), last - this.to);
    this.zoom(this.from + by, this.to + by);
  }

  scale(half) {
    const middle = (this.from + this.to) / 2;
    const span = this.to - this.from;
    this.zoom(middle - span * half, middle + span * half);
  }
}

// A field a key column; an empty one, or *, is any value.
class Adder {
  constructor({ about, provider, source, failed }, add) {
    this.lists = about.key.map((each) => h("datalist", { id: `values-${each.name}` }));
    this.fields = about.key.map((each) => h("input", { type: "text", list: `values-${each.name}`, placeholder: each.name, "aria-label": each.name, autocomplete: "off", spellcheck: "false", size: 14 }));
    const submit = (event) => {
      event.preventDefault();
      const key = this.fields.map((field) => selected(field.value.trim())).join("|");
      try {
        add(key);
        for (const field of this.fields) field.value = "";
      } catch (error) {
        failed(error);
      }
    };
    this.node = h("form", { class: "adder", onsubmit: submit, "aria-label": t("addLine") }, this.fields, this.lists,
      h("button", { type: "submit", class: "tool text" }, icon("plus"), t("addLine")), h("span", { class: "hint" }, t("anyHint")));
    const fill = () => {
      if (this.filled) return;
      this.filled = true;
      source.ask(provider, "keys", new URLSearchParams({ limit: 0 })).then((answer) => answer.facets.forEach((facet, i) =>
        this.lists[i].replaceChildren(...facet.values.map(([value]) => h("option", { value }))))).catch(failed);
    };
    this.node.addEventListener("focusin", fill);
  }
}

function selected(text) {
  if (text === "" || text === "*") return "*";
  if (text.endsWith("*")) return `${written([text.slice(0, -1)])}*`;
  return written([text]);
}
