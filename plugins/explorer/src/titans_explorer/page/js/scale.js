// Where a value or a time lies on a chart, and which ones are written beside it.

export function linear(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

// About `n` round numbers between two values.
export function ticks(low, high, n) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / Math.max(1, n);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= raw) ?? raw;
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}

const MINUTE = 60000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 4 * DAY, 7 * DAY, 14 * DAY];

export function timeTicks(from, to, n) {
  const raw = (to - from) / Math.max(1, n);
  const step = STEPS.find((each) => each >= raw);
  const found = [];
  if (step) {
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
    return { at: found, daily: step >= DAY };
  }
  const months = Math.ceil(raw / (30 * DAY));
  const first = new Date(from);
  let month = first.getUTCFullYear() * 12 + first.getUTCMonth() + 1;
  while (true) {
    const at = Date.UTC(Math.floor(month / 12), month % 12, 1);
    if (at > to) return { at: found, daily: true };
    found.push(at);
    month += months;
  }
}
