// The coverage calendar: a day is a row (of many days, a column), an interval a cell; beside each day
// its change points.

import { color, h } from "./dom.js";
import { count, day as dayOf, time } from "./format.js";
import { t } from "./i18n.js";

const DAY = 86400000;
const NAMES = { o: "observedCell", c: "changesCell", e: "emptyCell", "-": "missingCell" };
const ROWS_UP_TO = 62; // days that have a row each

export class Calendar {
  constructor(open) {
    this.open = open;
    this.canvas = h("canvas", { tabindex: "0", role: "img", class: "calendar" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.legend = h("div", { class: "legend" });
    this.node = h("div", { class: "figure" }, h("div", { class: "canvasbox" }, this.canvas, this.tip), this.legend);
    this.at = null;
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.hide());
    this.canvas.addEventListener("blur", () => this.hide());
    this.canvas.addEventListener("click", () => this.at !== null && this.open(this.at));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
    addEventListener("titans-theme", () => this.draw());
  }

  show(data) {
    this.data = data;
    this.first = Math.floor(data.from / DAY) * DAY;
    this.days = Math.max(1, Math.ceil((data.to - this.first) / DAY));
    this.points = new Map(data.days.t.map((at, i) => [at, data.days.points[i]]));
    this.most = Math.max(1, ...data.days.points);
    const counts = Object.entries(data.counts);
    const text = counts.map(([status, n]) => `${t(`${status}Cell`)} ${count(n)}`).join(", ");
    this.canvas.setAttribute("aria-label", `${t("coverage")}, ${dayOf(data.from)} – ${dayOf(data.to - 1)}: ${text}. ${t("coverageHint")}`);
    this.legend.replaceChildren(...["observed", "changes", "empty", "missing"].filter((name) => data.counts[name]).map((name) =>
      h("span", { class: "entry" }, h("i", { class: `swatch ${name}` }), `${t(`${name}Cell`)} `, h("b", {}, count(data.counts[name])))),
    h("span", { class: "entry" }, h("i", { class: "swatch bar" }), t("perDay")));
    this.draw();
  }

  // Where things are, in pixels. `along` runs with the days, `across` with the time of day.
  layout() {
    const width = this.node.clientWidth;
    const rows = this.days <= ROWS_UP_TO;
    if (rows) {
      const bars = Math.min(180, width * 0.18);
      const step = Math.max(9, Math.min(26, Math.floor(520 / this.days)));
      return { rows, left: 76, top: 18, bars, step, across: width - 76 - bars - 12, width, height: 18 + step * this.days + 4 };
    }
    const step = Math.max(2, (width - 44) / this.days);
    return { rows, left: 44, top: 84, bars: 64, step, across: 288, width: Math.max(width, 44 + step * this.days), height: 84 + 288 + 22 };
  }

  draw() {
    if (!this.data || !this.node.clientWidth) return;
    const place = (this.place = this.layout());
    const scale = devicePixelRatio || 1;
    this.canvas.width = place.width * scale;
    this.canvas.height = place.height * scale;
    this.canvas.style.width = `${place.width}px`;
    this.canvas.style.height = `${place.height}px`;
    const c = this.canvas.getContext("2d");
    c.scale(scale, scale);
    c.font = "11px system-ui, sans-serif";
    this.cells(c, place);
    this.bars(c, place);
    this.scales(c, place);
    if (this.at !== null) this.mark(c, place);
  }

  cells(c, place) {
    const { start, every, codes } = this.data;
    const colors = { o: color("observed"), c: color("changes"), e: color("unchanged"), "-": color("absent") };
    const length = every * 1000;
    for (let i = 0; i < codes.length; i += 1) {
      c.fillStyle = colors[codes[i]];
      for (const box of this.boxes(place, start + i * length, length)) c.fillRect(...box);
    }
  }

  // The pieces of an interval: one, unless it goes on for days.
  boxes(place, at, length) {
    const found = [];
    const end = Math.min(at + length, this.first + this.days * DAY);
    while (at < end) {
      const midnight = Math.floor(at / DAY) * DAY;
      const to = Math.min(end, midnight + DAY);
      const along = ((midnight - this.first) / DAY) * place.step;
      const from = ((at - midnight) / DAY) * place.across;
      const until = ((to - midnight) / DAY) * place.across;
      const gap = until - from > 4 ? 1 : 0;
      const lane = place.step > 5 ? 1 : 0;
      if (place.rows) found.push([place.left + from, place.top + along, Math.max(until - from - gap, 0.6), place.step - lane]);
      else found.push([place.left + along, place.top + from, place.step - lane, Math.max(until - from - gap, 0.6)]);
      at = to;
    }
    return found;
  }

  bars(c, place) {
    c.fillStyle = color("bar");
    for (const [at, points] of this.points) {
      const along = ((at - this.first) / DAY) * place.step;
      const size = Math.max(1, (points / this.most) * (place.bars - 8));
      const lane = place.step > 5 ? 1 : 0;
      if (place.rows) c.fillRect(place.left + place.across + 12, place.top + along, size, place.step - lane);
      else c.fillRect(place.left + along, place.top - 10 - size, place.step - lane, size);
    }
  }

  scales(c, place) {
    c.fillStyle = color("faint");
    const hours = [0, 6, 12, 18];
    c.textBaseline = "alphabetic";
    for (const hour of hours) {
      const label = `${String(hour).padStart(2, "0")}:00`;
      const at = (hour / 24) * place.across;
      if (place.rows) c.fillText(label, place.left + at, 11);
      else c.fillText(label, 4, place.top + at + 9);
    }
    if (place.rows) c.fillText(count(this.most), place.left + place.across + 12, 11);
    c.textBaseline = "middle";
    const every = place.rows ? Math.ceil(13 / place.step) : 1;
    for (let n = 0; n < this.days; n += 1) {
      const at = this.first + n * DAY;
      const text = dayOf(at);
      if (place.rows && n % every === 0) c.fillText(text, 2, place.top + n * place.step + place.step / 2);
      if (!place.rows && text.endsWith("-01")) {
        c.fillRect(place.left + n * place.step, place.top, 1, place.across + 6);
        c.fillText(text.slice(0, 7), place.left + n * place.step + 4, place.top + place.across + 12);
      }
    }
  }

  mark(c, place) {
    c.strokeStyle = color("ink");
    c.lineWidth = 1.5;
    for (const [x, y, w, hh] of this.boxes(place, this.at, this.data.every * 1000)) c.strokeRect(x - 1, y - 1, w + 2, hh + 2);
  }

  index(at) {
    return Math.floor((at - this.data.start) / (this.data.every * 1000));
  }

  point(event) {
    const place = this.place;
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left - place.left;
    const y = event.clientY - box.top - place.top;
    const n = Math.floor((place.rows ? y : x) / place.step);
    const share = Math.min(0.99999, Math.max(0, (place.rows ? x : y) / place.across));
    if (n < 0 || n >= this.days) return this.hide();
    this.select(this.first + n * DAY + share * DAY);
    return undefined;
  }

  select(moment) {
    const { start, every, codes } = this.data;
    const i = Math.max(0, Math.min(codes.length - 1, this.index(moment)));
    this.at = start + i * every * 1000;
    const place = this.place;
    const [[x, y, w]] = this.boxes(place, this.at, every * 1000);
    const points = this.points.get(Math.floor(this.at / DAY) * DAY) ?? 0;
    this.tip.replaceChildren(h("b", {}, time(this.at)), h("span", {}, t(NAMES[codes[i]])), h("span", {}, `${t("perDay")}: ${count(points)}`));
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(Math.max(0, x + w / 2 - 90), place.width - 190)}px`;
    this.tip.style.top = `${y + place.step + 8}px`;
    this.canvas.setAttribute("aria-description", `${time(this.at)}: ${t(NAMES[codes[i]])}`);
    this.draw();
  }

  hide() {
    this.tip.hidden = true;
    this.at = null;
    this.draw();
  }

  key(event) {
    const every = this.data.every * 1000;
    const across = this.place.rows ? ["ArrowRight", "ArrowLeft"] : ["ArrowDown", "ArrowUp"];
    const along = this.place.rows ? ["ArrowDown", "ArrowUp"] : ["ArrowRight", "ArrowLeft"];
    const moves = { [across[0]]: every, [across[1]]: -every, [along[0]]: DAY, [along[1]]: -DAY };
    if (event.key in moves) {
      event.preventDefault();
      this.select((this.at ?? this.data.start) + (this.at === null ? 0 : moves[event.key]));
    } else if (event.key === "Enter" && this.at !== null) this.open(this.at);
    else if (event.key === "Escape") this.hide();
  }
}
