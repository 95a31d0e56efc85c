// A moment: a slider over the change points of each day, an input for those who know it, and steps.

import { button, h, icon, later } from "./dom.js";
import { parsed, time } from "./format.js";
import { t } from "./i18n.js";

const DAY = 86400000;

export class Moment {
  // chosen(ms or null): null is the newest
  constructor(label, about, chosen, { newest = true } = {}) {
    this.about = about;
    this.chosen = chosen;
    this.step = about.slot * 1000;
    this.low = Math.floor((about.first ?? 0) / this.step) * this.step;
    this.high = Math.max(about.last ?? 0, this.low + this.step);
    this.range = h("input", {
      type: "range", min: this.low, max: Math.ceil(this.high / this.step) * this.step, step: this.step, "aria-label": label, class: "slide",
      oninput: () => this.slid(), onchange: () => this.slid(true),
    });
    this.text = h("input", { type: "text", class: "moment", "aria-label": label, size: 19, spellcheck: "false", autocomplete: "off", onchange: () => this.typed() });
    this.bars = h("div", { class: "backbars", "aria-hidden": "true" });
    this.soon = later(120, (at) => this.chosen(at));
    this.node = h("div", { class: "momentbox" },
      h("span", { class: "label" }, label), this.text,
      button("−1 d", { class: "tool", onclick: () => this.move(-DAY) }, icon("left")),
      h("div", { class: "slidebox" }, this.bars, this.range),
      button("+1 d", { class: "tool", onclick: () => this.move(DAY) }, icon("right")),
      newest && h("button", { type: "button", class: "tool text", onclick: () => this.chosen(null) }, t("newest")));
  }

  days(data) {
    const width = this.high - this.low || 1;
    const most = Math.max(1, ...data.days.points);
    this.bars.replaceChildren(...data.days.t.map((at, i) => {
      const bar = h("i");
      const left = Math.max(0, (at - this.low) / width);
      const right = Math.min(1, (at + DAY - this.low) / width);
      bar.style.left = `${left * 100}%`;
      bar.style.width = `${Math.max(0, right - left) * 100}%`;
      bar.style.height = `${Math.max(6, (data.days.points[i] / most) * 100)}%`;
      return bar;
    }));
  }

  show(at) {
    this.at = at ?? this.high;
    if (document.activeElement !== this.range) this.range.value = this.at;
    this.range.setAttribute("aria-valuetext", time(this.at));
    if (document.activeElement !== this.text) this.text.value = time(this.at, { seconds: this.at % 60000 !== 0 });
    this.text.removeAttribute("aria-invalid");
  }

  slid(now = false) {
    // The last step is the newest state, whose time need not lie on a step.
    const at = Math.min(Number(this.range.value), this.high);
    this.text.value = time(at);
    this.range.setAttribute("aria-valuetext", time(at));
    if (now) this.chosen(at);
    else this.soon(at);
  }

  typed() {
    const at = parsed(this.text.value);
    if (Number.isNaN(at)) this.text.setAttribute("aria-invalid", "true");
    else this.chosen(at);
  }

  move(by) {
    this.chosen(Math.min(Math.max(this.at + by, this.low), this.high));
  }
}
