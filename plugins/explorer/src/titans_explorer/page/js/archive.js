// An archive: what it consists of, how healthy it is, and whether somebody looked.

import { h } from "./dom.js";
import { age, bytes, count, day, percent, short, shown, time } from "./format.js";
import { t } from "./i18n.js";
import { Calendar } from "./calendar.js";
import { Table } from "./table.js";
import { Tools } from "./tools.js";

export function create(context) {
  const { about, provider, source, store, go, address, change } = context;
  const tools = new Tools(context, provider);
  tools.subtitle.textContent = about.store;
  const calendar = new Calendar((at) => go(address("keys", provider, { at: new Date(at + about.every * 1000 - 1).toISOString().slice(0, 19) + "Z" })));
  const ranges = h("div", { class: "ranges", role: "group", "aria-label": t("coverage") });
  const others = h("section", { class: "card", hidden: true });
  const node = h("div", { class: "view archive" }, tools.node, source.still && source.note(about), others, tiles(about),
    h("section", { class: "card" }, h("div", { class: "cardhead" }, h("h2", {}, t("coverage")), h("span", { class: "space" }), ranges),
      h("p", { class: "hint" }, t("coverageHint")), calendar.node),
    h("div", { class: "columns" },
      h("section", { class: "card wide" }, h("h2", {}, t("columns")), columns(about)),
      h("section", { class: "card" }, h("h2", {}, t("months")), months(about)),
      h("section", { class: "card" }, h("h2", {}, t("files")), files(about))),
    about.amendments.length > 0 && h("section", { class: "card" }, h("h2", {}, t("corrections")), corrections(about)));

  if (store.archives.length > 1) others.hidden = false;
  const listed = Promise.all(store.archives.map((each) => (each.provider === provider ? about : source.ask(each.provider, "about"))));

  return {
    node,
    async update(params) {
      drawRanges(ranges, about, params, change);
      const wanted = new URLSearchParams();
      for (const name of ["from", "to"]) if (params.get(name)) wanted.set(name, params.get(name));
      const answer = await source.ask(provider, "calendar", wanted);
      calendar.show(answer);
      tools.answered(answer, "calendar", wanted);
      if (store.archives.length > 1) others.replaceChildren(h("h2", {}, t("providers")), providers(await listed, context));
    },
  };
}

function tiles(about) {
  const health = about.observed === null ? t("never") : t(about.late ? "late" : "fresh");
  const seen = about.observed === null ? "" : t("ago", { age: age(Date.now() - about.observed, t) });
  const tile = (label, value, note, extra) =>
    h("div", { class: "tile" }, h("span", { class: "label" }, label, extra), h("span", { class: "value" }, value), h("span", { class: "note", title: note }, note));
  const length = about.first === null ? "" : t("days", { n: Math.max(1, Math.round((about.last - about.first) / 86400000)) });
  return h("section", { class: "tiles" },
    tile(t("living"), count(about.living), about.key.map((each) => each.name).join(" · ")),
    tile(t("points"), count(about.points), about.living ? t("perKey", { n: Number((about.points / about.living).toPrecision(3)) }) : ""),
    tile(t("size"), bytes(about.bytes), about.points ? t("perPoint", { n: Number((about.bytes / about.points).toPrecision(2)) }) : ""),
    tile(t("span"), about.first === null ? "–" : day(about.first), about.last === null ? "" : `– ${day(about.last)} · ${length}`),
    tile(t("observed"), about.observed === null ? "–" : time(about.observed), `${seen} · ${t("everyStep", { age: age(about.every * 1000, t) })}`,
      h("span", { class: about.late ? "badge warn" : "badge good" }, health)));
}

function drawRanges(node, about, params, change) {
  const months = about.months.map((each) => each.month).slice(0, 12).reverse();
  const pick = (from, to, label, current) =>
    h("button", { type: "button", class: "chip", "aria-pressed": String(current), onclick: () => change({ from, to }, { push: true }) }, label);
  if (months.length < 2) return node.replaceChildren();
  const from = params.get("from") ?? "";
  return node.replaceChildren(
    pick("", "", t("wholeRange"), !from),
    ...months.map((month) => pick(month + "-01", after(month), month, from === month + "-01")));
}

function after(month) {
  const [year, n] = month.split("-").map(Number);
  return n === 12 ? `${String(year + 1).padStart(4, "0")}-01-01` : `${String(year).padStart(4, "0")}-${String(n + 1).padStart(2, "0")}-01`;
}

function plainTable(label, columns, rows) {
  const table = new Table(label);
  table.show({ columns, rows, total: rows.length });
  return table.node;
}

function columns(about) {
  const rows = [
    ...about.key.map((each) => [each.name, t("keyColumn"), "", each.description, null, ""]),
    ...about.columns.map((each) => [each.name, each.dtype, each.unit, each.description, each.nulls,
      each.max === undefined ? "" : `${short(each.min)} – ${short(each.median)} – ${short(each.max)}`]),
  ];
  return plainTable(t("columns"), [
    { label: t("column"), class: "strong" }, { label: t("dtype") }, { label: t("unit") }, { label: t("meaning"), class: "wrap" },
    { label: t("nulls"), kind: "number", cell: (row) => (row[4] === null ? "" : percent(row[4]).replace("+", "")) },
    { label: `${t("range")} (${t("now")})`, kind: "number" },
  ], rows);
}

function months(about) {
  return plainTable(t("months"), [
    { label: t("month"), class: "strong", cell: (m) => m.month },
    { label: t("state"), cell: (m) => h("span", { class: m.state === "sealed" ? "badge" : "badge good" }, t(m.state)) },
    { label: t("levels"), cell: (m) => m.levels.map(([level, n]) => `L${level}:${n}`).join(" ") },
    { label: t("points"), kind: "number", cell: (m) => count(m.points) },
    { label: t("size"), kind: "number", cell: (m) => bytes(m.bytes) },
    { label: t("snapshots"), kind: "number", cell: (m) => count(m.snapshots) },
    { label: t("gaps"), kind: "number", cell: (m) => count(m.gaps) },
    { label: t("keyframes"), kind: "number", cell: (m) => count(m.keyframes) },
    { label: t("waiting"), kind: "number", cell: (m) => count(m.waiting + m.left_out) },
  ], about.months);
}

function files(about) {
  return plainTable(t("files"), [
    { label: t("kind"), class: "strong" }, { label: t("count"), kind: "number" },
    { label: t("rows"), kind: "number", cell: (row) => count(row[2]) }, { label: t("size"), kind: "number", cell: (row) => bytes(row[3]) },
  ], about.files);
}

function corrections(about) {
  return plainTable(t("corrections"), [
    { label: t("when"), cell: (row) => shown(row.at, "time").slice(0, 19) }, { label: t("operation"), class: "strong", cell: (row) => row.operation },
    { label: t("slot"), cell: (row) => shown(row.slot, "time") }, { label: t("reason"), class: "wrap", cell: (row) => row.reason },
    { label: t("removed"), kind: "number", cell: (row) => count(row.removed) }, { label: t("added"), kind: "number", cell: (row) => count(row.added) },
  ], about.amendments);
}

function providers(abouts, { go, address }) {
  const table = new Table(t("providers"), { open: (row) => go(address("archive", row.provider)) });
  table.show({
    columns: [
      { label: t("provider"), cell: (a) => h("a", { href: address("archive", a.provider), class: "strong" }, a.provider) },
      { label: t("living"), kind: "number", cell: (a) => count(a.living) },
      { label: t("points"), kind: "number", cell: (a) => count(a.points) },
      { label: t("size"), kind: "number", cell: (a) => bytes(a.bytes) },
      { label: t("months"), kind: "number", cell: (a) => a.months.length },
      { label: t("last"), cell: (a) => (a.last === null ? "" : time(a.last)) },
      { label: t("health"), cell: (a) => h("span", { class: a.late ? "badge warn" : "badge good" }, t(a.late ? "late" : "fresh")) },
    ],
    rows: abouts, total: abouts.length,
  });
  return table.node;
}
