// The values of the key columns with their counts, to choose from.

import { h } from "./dom.js";
import { count } from "./format.js";
import { t } from "./i18n.js";

export class Facets {
  constructor(change) {
    this.change = change;
    this.node = h("aside", { class: "facets", "aria-label": t("filter", { column: "" }).trim() });
    this.open = new Map();
  }

  show(facets) {
    const scrolled = new Map([...this.node.querySelectorAll("[data-facet]")].map((each) => [each.dataset.facet, each.scrollTop]));
    const focused = document.activeElement?.dataset?.value;
    this.node.replaceChildren(...facets.map((facet) => this.facet(facet)));
    for (const list of this.node.querySelectorAll("[data-facet]")) list.scrollTop = scrolled.get(list.dataset.facet) ?? 0;
    if (focused) this.node.querySelector(`[data-value="${CSS.escape(focused)}"]`)?.focus();
  }

  facet(facet) {
    const most = Math.max(1, ...facet.values.map(([, n]) => n));
    const chosen = new Set(facet.chosen);
    // What is chosen stays in sight, also where it has no rows left.
    const rest = facet.values.filter(([value]) => !chosen.has(value));
    const first = facet.chosen.map((value) => [value, facet.values.find(([v]) => v === value)?.[1] ?? 0]);
    const more = facet.count - facet.values.length;
    return h("details", { class: "facet", open: this.open.get(facet.name) ?? true, ontoggle: (event) => this.open.set(facet.name, event.target.open) },
      h("summary", {}, facet.name, h("span", { class: "faint" }, count(facet.count))),
      h("div", { class: "values", "data-facet": facet.name },
        [...first, ...rest].map(([value, n]) => this.value(facet, chosen, value, n, most)),
        more > 0 && h("p", { class: "hint" }, t("more", { n: count(more) }))));
  }

  value(facet, chosen, value, n, most) {
    const turn = () => {
      const values = new Set(chosen);
      if (!values.delete(value)) values.add(value);
      this.change({ [`k.${facet.name}`]: [...values], offset: "" });
    };
    const bar = h("i", { class: "share", "aria-hidden": "true" });
    bar.style.width = `${(n / most) * 100}%`;
    return h("label", { class: "value" },
      h("input", { type: "checkbox", checked: chosen.has(value), "data-value": `${facet.name}=${value}`, onchange: turn }),
      h("span", { class: "name" }, value), h("span", { class: "number" }, count(n)), bar);
  }
}
