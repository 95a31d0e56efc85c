// One value column over time: step lines of keys, medians with their spread of groups.
//
// A line is { key, color, t, v } with null in v where there is no value, or of a group { key, color, t,
// median, p10, p90, count }. From each t on, the value holds.

import { h, s } from "./dom.js";
import { count, named, short, time } from "./format.js";
import { t as say } from "./i18n.js";
import { linear, ticks, timeTicks } from "./scale.js";

const LEFT = 58;
const RIGHT = 14;
const TOP = 10;
const BOTTOM = 24;

export class Chart {
  // on: { zoom(from, to), hover(ms or null) }
  constructor(on) {
    this.on = on;
    this.title = h("h3");
    this.svg = s("svg", { class: "chart", tabindex: "0", role: "img" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.node = h("figure", { class: "figure chartbox" }, this.title, h("div", { class: "canvasbox" }, this.svg, this.tip));
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointerleave", () => this.pressed === undefined && this.on.hover(null));
    this.svg.addEventListener("blur", () => this.on.hover(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  show({ column, unit, kind, levels, from, to, lines, marks }) {
    Object.assign(this, { column, unit, kind, levels, from, to, lines, marks });
    this.title.replaceChildren(column, unit ? h("span", { class: "faint" }, ` ${unit}`) : "");
    this.svg.setAttribute("aria-label", `${this.words()} ${say("chartHint")}`);
    this.draw();
  }

  words() {
    const lines = this.lines.map((line) => {
      const values = (line.v ?? line.median).filter((v) => v !== null);
      if (!values.length) return say("lineGone", { key: named(line.key) });
      let low = Infinity;
      let high = -Infinity;
      for (const v of values) {
        low = Math.min(low, v);
        high = Math.max(high, v);
      }
      return say("lineLabel", { key: named(line.key), low: this.text(low), high: this.text(high), last: this.text(values[values.length - 1]) });
    });
    return say("chartLabel", { column: this.column, from: time(this.from), to: time(this.to), lines: lines.join("; ") });
  }

  text(value) {
    if (value === null || value === undefined) return say("gone");
    if (this.levels) return this.levels[value] ?? "…";
    if (this.kind === "boolean") return String(value === 1);
    return short(value);
  }

  bounds() {
    if (this.levels) return [-0.5, Math.max(this.levels.length, 1) - 0.5];
    if (this.kind === "boolean") return [-0.15, 1.15];
    let low = Infinity;
    let high = -Infinity;
    for (const line of this.lines) {
      for (const part of line.v ? [line.v] : [line.p10, line.p90, line.median]) {
        for (const v of part) {
          if (v === null) continue;
          if (v < low) low = v;
          if (v > high) high = v;
        }
      }
    }
    if (low > high) return [0, 1];
    if (low === high) {
      const room = Math.abs(low) * 0.1 || 1;
      return [low - room, high + room];
    }
    const room = (high - low) * 0.08;
    return [low - room, high + room];
  }

  draw() {
    const width = this.svg.parentElement.clientWidth;
    if (!this.lines || !width) return;
    const height = this.levels ? Math.max(90, 34 + 20 * this.levels.length) : 190;
    this.width = width;
    this.height = height;
    this.x = linear(this.from, this.to, LEFT, width - RIGHT);
    const [low, high] = this.bounds();
    this.y = linear(low, high, height - BOTTOM, TOP);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.cursor = s("g", { class: "cursor" });
    this.brush = s("rect", { class: "brush", y: TOP, height: height - TOP - BOTTOM, width: 0 });
    this.svg.replaceChildren(this.grid(low, high), this.drawMarks(), ...this.lines.map((line) => this.line(line)), this.brush, this.cursor);
  }

  grid(low, high) {
    const group = s("g", { class: "grid" });
    let values = ticks(low, high, 4);
    if (this.levels) values = this.levels.map((_, i) => i);
    if (this.kind === "boolean") values = [0, 1];
    for (const value of values) {
      const y = Math.round(this.y(value)) + 0.5;
      group.append(s("line", { x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }),
        s("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, clipped(this.text(value), 9)));
    }
    const { at, daily } = timeTicks(this.from, this.to, Math.max(2, this.width / 120));
    for (const moment of at) {
      const x = Math.round(this.x(moment)) + 0.5;
      const label = daily ? time(moment).slice(0, 10) : time(moment).slice(5);
      group.append(s("line", { class: "minor", x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }));
      if (x < this.width - 46) group.append(s("text", { x, y: this.height - 7, "text-anchor": x < LEFT + 30 ? "start" : "middle" }, label));
    }
    return group;
  }

  drawMarks() {
    const group = s("g", { class: "marks" });
    for (const mark of this.marks ?? []) {
      const x = this.x(mark.slot);
      group.append(s("g", { class: "amended" },
        s("title", {}, `${time(mark.slot)} ${mark.operation}: ${mark.reason}`),
        s("line", { x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }),
        s("path", { d: `M${x} ${TOP}h9l-2.5 3.5 2.5 3.5h-9z` })));
    }
    return group;
  }

  line(line) {
    const group = s("g", { class: `line c${line.color}` });
    if (!line.v) {
      group.append(s("path", { class: "spread", d: this.area(line) }), s("path", { class: "median", d: this.path(line.t, line.median, this.to) }));
      return group;
    }
    for (const [from, to] of this.gaps(line)) {
      const x = this.x(from);
      group.append(s("rect", { class: "gap", x, y: this.height - BOTTOM - 3, width: Math.max(1, this.x(to) - x), height: 3 }));
    }
    group.append(s("path", { d: this.path(line.t, line.v, this.to) }));
    return group;
  }

  // A step line: along at the value, then up or down where the next one begins.
  path(times, values, end) {
    let d = "";
    let open = false;
    for (let i = 0; i < times.length; i += 1) {
      const x = this.x(Math.max(times[i], this.from)).toFixed(1);
      if (values[i] === null) {
        if (open) d += `H${x}`;
        open = false;
        continue;
      }
      const y = this.y(values[i]).toFixed(1);
      d += open ? `H${x}V${y}` : `M${x} ${y}`;
      open = true;
    }
    if (open) d += `H${this.x(end).toFixed(1)}`;
    return d;
  }

  area({ t: times, p10, p90 }) {
    const upper = [];
    const lower = [];
    for (let i = 0; i < times.length; i += 1) {
      if (p10[i] === null) continue;
      const from = this.x(times[i]).toFixed(1);
      const to = this.x(times[i + 1] ?? this.to).toFixed(1);
      upper.push(`${from} ${this.y(p90[i]).toFixed(1)}`, `${to} ${this.y(p90[i]).toFixed(1)}`);
      lower.push(`${from} ${this.y(p10[i]).toFixed(1)}`, `${to} ${this.y(p10[i]).toFixed(1)}`);
    }
    if (!upper.length) return "";
    return `M${upper.join("L")}L${lower.reverse().join("L")}Z`;
  }

  gaps(line) {
    const found = [];
    for (let i = 0; i < line.t.length; i += 1) {
      if (line.v[i] === null) found.push([Math.max(line.t[i], this.from), line.t[i + 1] ?? this.to]);
    }
    return found;
  }

  // --- pointing -----------------------------------------------------------------------------------

  moment(event) {
    const box = this.svg.getBoundingClientRect();
    const x = Math.min(Math.max(event.clientX - box.left, LEFT), this.width - RIGHT);
    return this.from + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (this.to - this.from);
  }

  press(event) {
    this.pressed = this.moment(event);
    this.svg.setPointerCapture?.(event.pointerId);
  }

  move(event) {
    const at = this.moment(event);
    this.on.hover(at, this);
    if (this.pressed === undefined) return;
    const [from, to] = [this.pressed, at].map((each) => this.x(each)).sort((a, b) => a - b);
    this.brush.setAttribute("x", from);
    this.brush.setAttribute("width", to - from);
  }

  release(event) {
    const at = this.moment(event);
    const [from, to] = [this.pressed ?? at, at].sort((a, b) => a - b);
    this.pressed = undefined;
    this.brush.setAttribute("width", 0);
    if (this.x(to) - this.x(from) > 6) this.on.zoom(from, to);
  }

  key(event) {
    const span = this.to - this.from;
    const at = this.at ?? this.from + span / 2;
    const moves = { ArrowRight: span / 60, ArrowLeft: -span / 60 };
    if (event.key in moves) {
      event.preventDefault();
      const next = Math.min(this.to, Math.max(this.from, at + moves[event.key]));
      this.on.hover(next, this);
    } else if (event.key === "+" || event.key === "=") this.on.zoom(at - span / 4, at + span / 4);
    else if (event.key === "-") this.on.zoom(at - span, at + span);
    else if (event.key === "0") this.on.zoom(null, null);
    else if (event.key === "Escape") this.on.hover(null);
  }

  // The values at a moment; `speaks` is the chart that is pointed at.
  hover(at, speaks) {
    this.at = at ?? undefined;
    if (!this.cursor) return;
    if (at === null) {
      this.cursor.replaceChildren();
      this.tip.hidden = true;
      return;
    }
    const x = this.x(at);
    const found = this.lines.map((line) => ({ line, i: before(line.t, at) }));
    this.cursor.replaceChildren(s("line", { x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }));
    for (const { line, i } of found) {
      const value = i < 0 ? null : (line.v ?? line.median)[i];
      if (value !== null) this.cursor.append(s("circle", { class: `c${line.color}`, cx: x, cy: this.y(value), r: 3.5 }));
    }
    this.tip.hidden = false;
    this.tip.replaceChildren(h("b", {}, time(at)), ...found.map(({ line, i }) => this.told(line, i, speaks === this)));
    const left = x > this.width * 0.6;
    this.tip.style.left = left ? "" : `${x + 12}px`;
    this.tip.style.right = left ? `${this.width - x + 12}px` : "";
    this.tip.style.top = `${TOP + 2}px`;
    if (speaks === this) this.svg.setAttribute("aria-description", this.tip.textContent);
  }

  // Charts beside the one that is pointed at leave the names out.
  told(line, i, isNamed) {
    const swatch = h("i", { class: `dot c${line.color}` });
    const who = isNamed && h("span", { class: "who" }, named(line.key));
    if (line.v) return h("span", {}, swatch, who, h("b", {}, this.text(i < 0 ? null : line.v[i])));
    const spread = i < 0 ? "" : `${this.text(line.median[i])}  (${this.text(line.p10[i])} – ${this.text(line.p90[i])}, ${say("keysOf", { n: count(line.count[i]) })})`;
    return h("span", {}, swatch, who, h("b", {}, spread));
  }
}

// The index of the last time that is not after a moment.
function before(times, at) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

const clipped = (text, n) => (text.length > n ? `${text.slice(0, n - 1)}…` : text);
