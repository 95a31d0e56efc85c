// Answers from files that were made ahead, for a page without its server. The same questions as the
// server's, over all change points of a range that are in memory here.

import { h } from "./dom.js";
import { day, parts, written } from "./format.js";
import { t } from "./i18n.js";

export const still = true;
const loaded = new Map();

export async function archives() {
  return fetched("data/store.json");
}

export async function ask(provider, question, params = new URLSearchParams()) {
  if (!loaded.has(provider)) loaded.set(provider, fetched(`data/${encodeURIComponent(provider)}.json`).then((data) => new Archive(data)));
  const archive = await loaded.get(provider);
  return archive[question](params);
}

export async function download(provider, question, params, form) {
  const wanted = new URLSearchParams(params);
  for (const name of ["limit", "offset"]) wanted.delete(name);
  const answer = await ask(provider, question === "lines" || question === "group" ? "points" : question, wanted);
  const table = answer.rows ? answer : calendarTable(answer);
  const lines = [table.columns.map((column) => column.name), ...table.rows].map((row) => row.map(cell).join(","));
  const link = h("a", { href: URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" })), download: `${provider}-${question}.${form}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export function note(about) {
  return h("p", { class: "still" }, t("stillHint", { from: day(about.first), to: day(about.last) }), " ",
    h("a", { href: `data/${encodeURIComponent(about.provider)}-changes.parquet`, download: "" }, "Parquet"));
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

function cell(value) {
  if (value === null || value === undefined) return "";
  const text = String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function calendarTable(answer) {
  const names = { o: "observed", c: "changes", e: "empty", "-": "missing" };
  const rows = [...answer.codes].map((code, i) => [isoText(answer.start + i * answer.every * 1000), names[code]]);
  return { columns: [{ name: "slot" }, { name: "status" }], rows };
}

const isoText = (ms) => new Date(ms).toISOString().replace(/\.000Z$/, "Z");

class Archive {
  constructor({ about, calendar, points, python }) {
    Object.assign(this, { facts: about, days: calendar, p: points, opened: python });
    this.names = about.key.map((each) => each.name);
    this.columns = [
      ...this.names.map((name) => ({ name, kind: "text" })), { name: "Time", kind: "time" },
      ...about.columns.map(({ name, kind }) => ({ name, kind })),
    ];
    this.of = points.keys.map(() => []); // key → its rows, by time
    points.key.forEach((key, row) => this.of[key].push(row));
    this.number = new Map(points.keys.map((key, n) => [written(key), n]));
  }

  about() {
    return this.facts;
  }

  calendar() {
    return { ...this.days, python: `${this.opened}.coverage()` };
  }

  // The row that holds of a key at a moment; -1 where it does not live.
  held(key, at) {
    const rows = this.of[key];
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.p.time[rows[middle]] <= at) low = middle + 1;
      else high = middle;
    }
    const row = low ? rows[low - 1] : -1;
    return row >= 0 && !this.p.ceased[row] ? row : -1;
  }

  row(row) {
    const values = this.facts.columns.map(({ name }) => this.p.values[name][row]);
    return [...this.p.keys[this.p.key[row]], isoText(this.p.time[row]), ...values];
  }

  state(at) {
    const rows = [];
    for (let key = 0; key < this.of.length; key += 1) {
      const row = this.held(key, at);
      if (row >= 0) rows.push(this.row(row));
    }
    return rows;
  }

  keys(params) {
    const at = params.get("at") ? Date.parse(params.get("at")) : this.facts.last;
    const state = this.state(at);
    const rows = chosen(state, this.columns, params, this.names);
    const empty = this.facts.columns.map(({ name }) => name).filter((name) => rows.length && rows.every((row) => row[this.at(name)] === null));
    const asked = params.get("at") ? `state("${isoText(at)}")` : "latest()";
    return {
      at: params.get("at"), living: state.length, count: rows.length, facets: facets(state, this.columns, params, this.names), empty,
      columns: this.columns, rows: paged(rows, this.columns, params), python: `${this.opened}.${asked}`,
    };
  }

  at(name) {
    return this.columns.findIndex((column) => column.name === name);
  }

  span(params) {
    return ["from", "to"].map((name, i) => (params.get(name) ? Date.parse(params.get(name)) : [this.facts.first, this.facts.last][i]));
  }

  lines(params) {
    const [from, to] = this.span(params);
    const charts = this.wanted(params).map(({ name, kind }) => {
      const levels = kind === "text" || kind === "time" ? this.levels(params.getAll("key"), name) : null;
      return { column: name, kind, levels, lines: params.getAll("key").map((key) => this.line(key, name, levels, from, to)) };
    });
    const amendments = this.facts.amendments.filter((each) => each.slot).map((each) => ({ ...each, slot: Date.parse(each.slot) }));
    return { from, to, charts, amendments: amendments.filter((each) => each.slot >= from && each.slot <= to), python: this.history(params) };
  }

  wanted(params) {
    const names = params.getAll("column");
    return this.facts.columns.filter((column) => !names.length || names.includes(column.name));
  }

  levels(keys, name) {
    const rows = keys.flatMap((key) => this.of[this.number.get(key)] ?? []);
    const texts = new Set(rows.map((row) => this.p.values[name][row]).filter((v) => v !== null).map(String));
    return [...texts].sort().slice(0, 12);
  }

  line(key, name, levels, from, to) {
    const rows = this.of[this.number.get(key)] ?? [];
    const line = { key, t: [], v: [] };
    let last;
    for (let i = 0; i < rows.length; i += 1) {
      const begins = this.p.time[rows[i]];
      const ends = i + 1 < rows.length ? this.p.time[rows[i + 1]] : Infinity;
      if (ends <= from || begins > to) continue;
      let value = this.p.ceased[rows[i]] ? null : this.p.values[name][rows[i]];
      if (value !== null && levels) value = levels.indexOf(String(value)) < 0 ? levels.length : levels.indexOf(String(value));
      value = value === null ? null : Number(value);
      if (last !== undefined && last === value) continue;
      last = value;
      line.t.push(Math.max(begins, from));
      line.v.push(value);
    }
    return thinned(line, 5000);
  }

  group(params) {
    const [from, to] = this.span(params);
    const key = params.get("key");
    const wanted = parts(key);
    const keys = this.p.keys.flatMap((values, n) => (values.every((v, i) => (wanted[i].any ? v.startsWith(wanted[i].text) : v === wanted[i].text)) ? [n] : []));
    const every = Math.max(this.facts.slot * 1000, Math.ceil((to - from) / 200 / 60000) * 60000);
    const charts = this.wanted(params).filter(({ kind }) => kind === "number").map(({ name }) => {
      const line = { key, t: [], p10: [], median: [], p90: [], count: [] };
      for (let at = from; at < to; at += every) {
        const held = keys.map((n) => this.held(n, at)).filter((row) => row >= 0);
        const values = held.map((row) => this.p.values[name][row]).filter((v) => v !== null).map(Number).sort((a, b) => a - b);
        line.t.push(at);
        line.count.push(values.length);
        for (const [part, share] of [["p10", 0.1], ["median", 0.5], ["p90", 0.9]]) line[part].push(quantile(values, share));
      }
      return { column: name, kind: "number", levels: null, lines: [line] };
    });
    return { from, to, every: every / 1000, charts, python: `${this.opened}.grid()` };
  }

  points(params) {
    const [from, to] = ["from", "to"].map((name) => (params.get(name) ? Date.parse(params.get(name)) : null));
    const keys = params.getAll("key").map((key) => this.number.get(key)).filter((n) => n !== undefined);
    const inside = (row) => this.p.time[row] >= Math.max(from ?? -Infinity, this.facts.first) && this.p.time[row] < (to ?? Infinity);
    const rows = keys.flatMap((n) => this.of[n]).filter(inside).map((row) => [...this.row(row), Boolean(this.p.ceased[row])]);
    const columns = [...this.columns, { name: "Ceased", kind: "boolean" }];
    const order = new URLSearchParams(params);
    if (!order.get("sort")) {
      order.set("sort", "Time");
      order.set("desc", "1");
    }
    const slot = this.facts.slot * 1000;
    const slots = this.facts.amendments.filter((each) => each.slot).map((each) => Date.parse(each.slot));
    const at = this.at("Time");
    const amended = rows.map((row) => row[at]).filter((text) => slots.some((begins) => Date.parse(text) >= begins && Date.parse(text) < begins + slot));
    const empty = this.facts.columns.map(({ name }) => name).filter((name) => rows.length && rows.every((row) => row[this.at(name)] === null));
    return { count: rows.length, amended, empty, columns, rows: paged(rows, columns, order), python: this.history(params) };
  }

  history(params) {
    const keys = params.getAll("key").map((key) => parts(key).map((part, i) => `${JSON.stringify(this.names[i])}: ${JSON.stringify(part.text)}`));
    return `${this.opened}.history(keys=[${keys.map((key) => `{${key.join(", ")}}`).join(", ")}])`;
  }

  diff(params) {
    const [t1, t2] = ["t1", "t2"].map((name, i) => (params.get(name) ? Date.parse(params.get(name)) : [this.facts.first, this.facts.last][i]));
    const whole = this.differences(t1, t2);
    const columns = [...this.names.map((name) => ({ name, kind: "text" })), { name: "change", kind: "text" },
      ...this.facts.columns.flatMap(({ name, kind }) => [{ name: `${name}_old`, kind }, { name: `${name}_new`, kind }])];
    const among = chosen(whole, columns, params, this.names);
    const change = this.names.length;
    const counts = { added: 0, removed: 0, changed: 0 };
    for (const row of among) counts[row[change]] += 1;
    const found = params.get("change") ? among.filter((row) => row[change] === params.get("change")) : among;
    const differs = (rows) => this.facts.columns.filter((_, i) => rows.some((row) => row[change + 1 + 2 * i] !== row[change + 2 + 2 * i]));
    const values = differs(found).map(({ name }) => name);
    const numbers = differs(whole).filter(({ kind }) => kind === "number");
    const fractions = numbers.filter(({ dtype }) => !/Int/.test(dtype));
    const mover = params.get("column") || (fractions.length ? fractions : numbers).at(-1)?.name;
    const kept = [...columns.keys()].filter((i) => i <= change || values.includes(columns[i].name.replace(/_(old|new)$/, "")));
    const order = (row) => {
      const at = columns.findIndex((column) => column.name === `${params.get("sort")}_old`);
      if (at < 0) return row[columns.findIndex((column) => column.name === params.get("sort"))] ?? null;
      if (columns[at].kind !== "number") return row[at + 1];
      return row[at] === null || row[at + 1] === null ? null : row[at + 1] - row[at];
    };
    const sorted = params.get("sort") ? bySize(found, order, params.get("desc") === "1") : found;
    return {
      t1: isoText(t1), t2: isoText(t2), counts, count: found.length, values, numbers: numbers.map(({ name }) => name),
      facets: facets(whole, columns, params, this.names), columns: kept.map((i) => columns[i]),
      rows: page(sorted, params).map((row) => kept.map((i) => row[i])),
      movers: mover ? this.movers(among, columns, mover) : undefined,
      python: `${this.opened}.diff("${isoText(t1)}", "${isoText(t2)}")`,
    };
  }

  differences(t1, t2) {
    const rows = [];
    for (let key = 0; key < this.of.length; key += 1) {
      const [old, now] = [this.held(key, t1), this.held(key, t2)];
      if (old < 0 && now < 0) continue;
      const pairs = this.facts.columns.map(({ name }) => [old, now].map((row) => (row < 0 ? null : this.p.values[name][row])));
      let change = "changed";
      if (old < 0) change = "added";
      else if (now < 0) change = "removed";
      else if (pairs.every(([a, b]) => a === b)) continue;
      rows.push([...this.p.keys[key], change, ...pairs.flat()]);
    }
    return rows;
  }

  movers(rows, columns, column) {
    const at = columns.findIndex((each) => each.name === `${column}_old`);
    const moved = rows.map((row) => [...row.slice(0, this.names.length), row[at], row[at + 1], (row[at + 1] - row[at]) / Math.abs(row[at])])
      .filter((row) => row.at(-2) !== null && row.at(-3) !== null && Number.isFinite(row.at(-1)) && row.at(-1) !== 0);
    moved.sort((a, b) => a.at(-1) - b.at(-1));
    const shares = moved.map((row) => row.at(-1));
    const up = moved.filter((row) => row.at(-1) > 0).reverse();
    const down = moved.filter((row) => row.at(-1) < 0);
    return { column, rose: up.length, fell: down.length, up: up.slice(0, 10), down: down.slice(0, 10), median: quantile(shares, 0.5) };
  }
}

// --- as the server chooses, counts, sorts -----------------------------------------------------------

function chosen(rows, columns, params, names, without = "") {
  const words = (params.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const tests = [];
  for (const name of new Set(params.keys())) {
    const at = columns.findIndex((column) => column.name === name.slice(2));
    if (at < 0 || name === `k.${without}`) continue;
    if (name.startsWith("k.")) {
      const values = new Set(params.getAll(name));
      tests.push((row) => values.has(row[at]));
    } else if (name.startsWith("v.")) {
      const test = condition(params.get(name).trim(), columns[at].kind);
      tests.push((row) => test(row[at]));
    }
  }
  return rows.filter((row) => words.every((word) => row.slice(0, names.length).some((value) => value.toLowerCase().includes(word))) && tests.every((test) => test(row)));
}

function condition(text, kind) {
  if (text === "null") return (value) => value === null;
  if (text === "!null") return (value) => value !== null;
  const read = (word) => {
    if (kind === "number") return Number(word);
    if (kind === "time") return Date.parse(/Z|[+-]\d\d:/.test(word.slice(10)) ? word : `${word.replace(" ", "T")}${word.length > 10 ? "Z" : ""}`);
    if (kind === "boolean") return word === "true";
    return word;
  };
  const value = (each) => (kind === "time" ? Date.parse(each) : kind === "number" ? Number(each) : each);
  const range = /^(\S+)\s*\.\.\s*(\S+)$/.exec(text);
  if (range && kind !== "text") {
    const [low, high] = [read(range[1]), read(range[2])];
    return (each) => each !== null && value(each) >= low && value(each) <= high;
  }
  const [, operator = "", rest] = /^(>=|<=|!=|>|<|=)?\s*(.*)$/s.exec(text);
  if (kind === "text" && !operator) return (each) => each !== null && each.toLowerCase().includes(rest.toLowerCase());
  const wanted = read(rest);
  if (Number.isNaN(wanted)) throw new Error(`${text}?`);
  const tests = { "": (v) => v === wanted, "=": (v) => v === wanted, "!=": (v) => v !== wanted, ">": (v) => v > wanted, ">=": (v) => v >= wanted, "<": (v) => v < wanted, "<=": (v) => v <= wanted };
  return (each) => each !== null && tests[operator](value(each));
}

function facets(rows, columns, params, names) {
  return names.map((name, at) => {
    const counts = new Map();
    for (const row of chosen(rows, columns, params, names, name)) counts.set(row[at], (counts.get(row[at]) ?? 0) + 1);
    const values = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    return { name, values: values.slice(0, 200), count: values.length, chosen: params.getAll(`k.${name}`) };
  });
}

function paged(rows, columns, params) {
  const at = columns.findIndex((column) => column.name === params.get("sort"));
  return page(at < 0 ? rows : bySize(rows, (row) => row[at], params.get("desc") === "1"), params);
}

function page(rows, params) {
  const offset = Number(params.get("offset") ?? 0);
  return rows.slice(offset, params.get("limit") === null ? undefined : offset + Number(params.get("limit")));
}

function bySize(rows, value, descending) {
  const sign = descending ? -1 : 1;
  const keyed = rows.map((row) => [value(row), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    if (a === b) return 0;
    return a < b ? -sign : sign;
  });
  return keyed.map(([, row]) => row);
}

// With every bucket's first, lowest, highest and last point, and the first gap.
function thinned(line, limit) {
  if (line.t.length <= limit) return line;
  const buckets = Math.floor(limit / 5);
  const width = (line.t.at(-1) - line.t[0]) / buckets || 1;
  const kept = new Map();
  line.t.forEach((at, i) => {
    const bucket = Math.min(buckets - 1, Math.floor((at - line.t[0]) / width));
    if (!kept.has(bucket)) kept.set(bucket, { first: i });
    const of = kept.get(bucket);
    of.last = i;
    if (line.v[i] === null) of.gap ??= i;
    else {
      if (of.low === undefined || line.v[i] < line.v[of.low]) of.low = i;
      if (of.high === undefined || line.v[i] > line.v[of.high]) of.high = i;
    }
  });
  const rows = [...new Set([...kept.values()].flatMap((of) => Object.values(of)))].sort((a, b) => a - b);
  return { key: line.key, t: rows.map((i) => line.t[i]), v: rows.map((i) => line.v[i]) };
}

function quantile(sorted, share) {
  if (!sorted.length) return null;
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}
