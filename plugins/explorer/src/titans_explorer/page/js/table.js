// A table whose rows, order and filters are the server's: it only shows a page of them.

import { button, h, icon, later } from "./dom.js";
import { count, shown } from "./format.js";
import { t } from "./i18n.js";

export class Table {
  // columns: [{name, label, kind, sort, filter, cell(row) → node or text, class}]
  // on: { sort(name, desc), filter(name, text), offset(n), open(row) }
  constructor(label, on = {}) {
    this.on = on;
    this.head = h("thead");
    this.body = h("tbody");
    this.table = h("table", { "aria-label": label }, this.head, this.body);
    this.pager = h("div", { class: "pager" });
    this.node = h("div", { class: "tablebox" }, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, this.table), this.pager);
    this.headKey = "";
    this.filtered = later(250, (name, text) => this.on.filter(name, text));
  }

  show({ columns, rows, sort = "", desc = false, filters = {}, offset = 0, limit = 100, total = rows.length }) {
    this.drawHead(columns, sort, desc, filters);
    this.body.replaceChildren(...rows.map((row) => this.row(columns, row)));
    if (!rows.length) {
      this.body.append(h("tr", { class: "none" }, h("td", { colspan: columns.length }, t("empty"))));
    }
    this.drawPager(offset, limit, total, rows.length);
  }

  // The head stays as it is while only rows change, so that a filter keeps the cursor.
  drawHead(columns, sort, desc, filters) {
    const key = JSON.stringify([columns.map((c) => [c.name, c.label, c.filter]), sort, desc]);
    if (key === this.headKey) return;
    const active = document.activeElement?.dataset?.filter;
    this.headKey = key;
    const names = columns.map((column) => this.title(column, sort, desc));
    const rows = [h("tr", {}, names)];
    if (columns.some((column) => column.filter)) {
      rows.push(h("tr", { class: "filters" }, columns.map((column) => h("td", {}, column.filter && this.field(column, filters)))));
    }
    this.head.replaceChildren(...rows);
    if (active) this.head.querySelector(`[data-filter="${CSS.escape(active)}"]`)?.focus();
  }

  title(column, sort, desc) {
    const kind = column.kind === "number" ? "number" : null;
    if (!column.sort) return h("th", { scope: "col", class: kind, title: column.title }, column.label);
    const sorted = column.sort === sort;
    let order = "none";
    if (sorted) order = desc ? "descending" : "ascending";
    const turn = () => this.on.sort(column.sort, sorted ? !desc : column.kind === "number");
    return h("th", { scope: "col", class: kind, "aria-sort": order, title: column.title },
      h("button", { type: "button", class: "sort", "aria-label": t("sortBy", { column: column.label }), onclick: turn },
        column.label, h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (desc ? "↓" : "↑") : "")));
  }

  field(column, filters) {
    const label = t("filter", { column: column.label });
    return h("input", {
      class: "filter", "data-filter": column.name, "aria-label": label, autocomplete: "off", spellcheck: "false",
      placeholder: column.kind === "number" || column.kind === "time" ? t("filterHint") : t("textHint"),
      value: filters[column.name] ?? "",
      oninput: (event) => this.filtered(column.name, event.target.value),
    });
  }

  row(columns, row) {
    const cells = columns.map((column, index) => {
      const value = column.cell ? column.cell(row) : shown(row[column.at ?? index], column.kind);
      const missing = value === "" || value === null || value === undefined;
      const kind = [column.kind === "number" && "number", missing && "missing", column.class].filter(Boolean).join(" ");
      return h("td", { class: kind || null }, missing ? "·" : value);
    });
    if (!this.on.open) return h("tr", {}, cells);
    const open = (event) => {
      if (!event.target.closest("a, button, input")) this.on.open(row);
    };
    return h("tr", { class: "opens", onclick: open }, cells);
  }

  drawPager(offset, limit, total, rows) {
    if (!this.on.offset || (total <= limit && !offset)) {
      this.pager.replaceChildren();
      return;
    }
    const to = offset + rows;
    this.pager.replaceChildren(
      h("span", {}, t("page", { from: count(Math.min(offset + 1, total)), to: count(to), count: count(total) })),
      button(t("previous"), { class: "tool", disabled: offset === 0, onclick: () => this.on.offset(Math.max(0, offset - limit)) }, icon("left")),
      button(t("next"), { class: "tool", disabled: to >= total, onclick: () => this.on.offset(offset + limit) }, icon("right")));
  }
}

// Columns in which no row has a value are left out of sight, unless they are asked about.
export function hiddenColumns(params, empty) {
  if (params.get("all")) return new Set();
  return new Set(empty.filter((name) => name !== params.get("sort") && !params.get(`v.${name}`)));
}

export function emptyNote(params, empty, change) {
  if (!empty.length) return [];
  const all = Boolean(params.get("all"));
  const turn = () => change({ all: all ? "" : "1" });
  return [t("emptyColumns", { names: empty.join(", ") }), " ", h("button", { type: "button", class: "inline", onclick: turn }, t(all ? "hide" : "showAll"))];
}
