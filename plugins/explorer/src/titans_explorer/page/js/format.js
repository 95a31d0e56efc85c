// Times (always UTC), numbers and keys as text.

const two = (n) => String(n).padStart(2, "0");

export function time(ms, { seconds = false, date = true } = {}) {
  const d = new Date(ms);
  const day = `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
  let clock = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
  if (seconds) clock += `:${two(d.getUTCSeconds())}`;
  return date ? `${day} ${clock}` : clock;
}

export const day = (ms) => time(ms).slice(0, 10);

export function iso(ms) {
  return new Date(ms).toISOString().replace(/\.000Z$/, "Z");
}

// Text of an input, "2026-01-23 14:20" or "2026-01-23"; NaN where it is no time.
export function parsed(text) {
  const found = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?Z?$/.exec(text.trim());
  return found ? Date.parse(`${found[1]}T${found[2] ?? "00:00"}Z`) : NaN;
}

export function shown(value, kind) {
  if (value === null || value === undefined) return "";
  if (kind === "time") return String(value).replace("T", " ").replace(/Z$/, "").replace(/(:\d\d):00$/, "$1");
  if (kind === "number" && typeof value === "number") return exact(value);
  return String(value);
}

// Without the last digits of a float, which nobody measured; files have all of them.
function exact(value) {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  return String(Number(value.toPrecision(12)));
}

export const count = (n) => Math.round(n).toLocaleString("en-US");

export function short(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return "";
  const size = Math.abs(n);
  if (size >= 1e9) return `${trim(n / 1e9)}G`;
  if (size >= 1e6) return `${trim(n / 1e6)}M`;
  if (size >= 1e4) return `${trim(n / 1e3)}k`;
  if (size !== 0 && size < 1e-4) return n.toExponential(1);
  return String(Number(n.toPrecision(4)));
}

const trim = (n) => String(Number(n.toPrecision(3)));

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit ? n.toPrecision(3) : n} ${units[unit]}`;
}

export function percent(share, digits = 1) {
  let sign = "";
  if (share > 0) sign = "+";
  if (share < 0) sign = "−";
  return `${sign}${(Math.abs(share) * 100).toFixed(Math.abs(share) >= 10 ? 0 : digits)} %`;
}

export function age(ms, t) {
  const minutes = Math.max(0, Math.round(ms / 60000));
  if (minutes < 60) return t("minutes", { n: minutes });
  const hours = Math.round(minutes / 60);
  if (hours < 48) return t("hours", { n: hours });
  return t("days", { n: Math.round(hours / 24) });
}

// A key as an address has it, and back: `a|b`, with a backslash before | * and \ in a value.
export const written = (values) => values.map((v) => v.replace(/[\\|*]/g, "\\$&")).join("|");

export function parts(key) {
  const found = [{ text: "", any: false }];
  for (let i = 0; i < key.length; i += 1) {
    const part = found[found.length - 1];
    if (key[i] === "\\") {
      i += 1;
      part.text += key[i] ?? "";
    } else if (key[i] === "|") found.push({ text: "", any: false });
    else if (key[i] === "*") part.any = true;
    else part.text += key[i];
  }
  return found;
}

export const isGroup = (key) => parts(key).some((part) => part.any);

export const named = (key) =>
  parts(key)
    .map((part) => part.text + (part.any ? "*" : ""))
    .join(" · ");
