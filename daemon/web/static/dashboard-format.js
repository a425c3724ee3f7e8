// How values read, with a space that does not break before a unit. Everything that is unknown reads "–", or says so in words: never as a zero.

export const UNKNOWN = "–";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const SIZES = [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

export function count(value) {
  return typeof value === "number" ? value.toLocaleString("en") : UNKNOWN;
}

export function percent(share, digits) {
  if (typeof share !== "number") return UNKNOWN;
  const places = digits ?? (share !== 0 && share < 0.1 ? 2 : 1);
  return `${(100 * share).toFixed(places)}\u00a0%`;
}

// The share that is fresh: never rounded up to all of it.
export function freshPercent(share) {
  if (typeof share !== "number") return UNKNOWN;
  return share === 1 ? "100\u00a0%" : `${(Math.floor(10000 * share) / 100).toFixed(2)}\u00a0%`;
}

// The two largest units: "1 h 5 min", "34 s".
export function duration(seconds) {
  if (typeof seconds !== "number") return UNKNOWN;
  const whole = Math.max(0, Math.floor(seconds));
  const first = UNITS.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0\u00a0s";
  const [unit, size] = UNITS[first];
  const head = `${Math.floor(whole / size)}\u00a0${unit}`;
  if (first + 1 >= UNITS.length) return head;
  const [nextUnit, nextSize] = UNITS[first + 1];
  const rest = Math.floor((whole % size) / nextSize);
  return rest ? `${head} ${rest}\u00a0${nextUnit}` : head;
}

export function bytes(value) {
  if (typeof value !== "number") return UNKNOWN;
  const found = SIZES.find(([, size]) => Math.abs(value) >= size);
  if (!found) return `${Math.round(value)}\u00a0B`;
  const scaled = value / found[1];
  return `${scaled.toFixed(Math.abs(scaled) < 100 ? 2 : 0)}\u00a0${found[0]}`;
}

export function price(value) {
  return typeof value === "number" ? Number(value.toPrecision(3)).toString() : UNKNOWN;
}

export function clockTime(date) {
  return date.toLocaleTimeString("en-GB");
}

export function shortTime(unixSeconds) {
  return new Date(1000 * unixSeconds).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

// Texts come from elsewhere: what would turn the direction of a line, or not be seen, is shown by its escape.
export function safe(text) {
  return String(text).replace(UNSAFE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
