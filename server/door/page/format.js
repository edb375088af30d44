// Numbers and times as people read them.

/** What the browser keeps of this page ("local"), or of this tab ("session"); some keep nothing. */
export function stored(key, where = "local") {
  try {
    return window[`${where}Storage`].getItem(key);
  } catch {
    return null;
  }
}

export function remember(key, value, where = "local") {
  try {
    if (value === null) window[`${where}Storage`].removeItem(key);
    else window[`${where}Storage`].setItem(key, value);
  } catch { /* a browser that keeps nothing */ }
}

const settings = { utc: stored("forestay.utc") === "yes" };

export const inUtc = () => settings.utc;

export function setUtc(utc) {
  settings.utc = utc;
  remember("forestay.utc", utc ? "yes" : null);
  formats.clear();
}

const formats = new Map();

function dateFormat(name, options) {
  if (!formats.has(name)) {
    formats.set(name, new Intl.DateTimeFormat("en-GB", { ...options, hour12: false, timeZone: settings.utc ? "UTC" : undefined }));
  }
  return formats.get(name);
}

const DAY = { year: "numeric", month: "short", day: "2-digit" };
const CLOCK = { hour: "2-digit", minute: "2-digit" };

export const day = (ts) => dateFormat("day", DAY).format(new Date(ts));
export const clock = (ts) => dateFormat("clock", CLOCK).format(new Date(ts));
export const seconds = (ts) => dateFormat("seconds", { ...CLOCK, second: "2-digit" }).format(new Date(ts));
export const time = (ts) => (ts ? `${day(ts)}, ${clock(ts)}` : "–");
export const zone = () => (settings.utc ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local time");

/** A sentence with its times as the reader has them. */
export const localised = (words) => words.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, (at) => time(at));

/** Seconds that the reader's clock is ahead of UTC at that time. */
export function offset(ts) {
  return settings.utc ? 0 : -60 * new Date(ts).getTimezoneOffset();
}

/** A duration in words of its two largest units. */
export function span(total) {
  const s = Math.max(0, Math.floor(total));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const fixed = new Map();

/** A number with so many digits behind the point, in groups of three. */
export function number(value, digits = 2) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!fixed.has(digits)) {
    fixed.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  const words = fixed.get(digits).format(value);
  return /[1-9]/.test(words) ? words.replace("-", "−") : words.replace("-", "");
}

export const count = (value) => number(value, 0);
export const usdt = (value) => (value == null ? "–" : `${number(value)} USDT`);
export const percent = (fraction, digits = 2) => (fraction == null ? "–" : `${number(fraction * 100, digits)} %`);
/** A limit, a fraction, as somebody has set it. */
export const limit = (fraction) => `${Number((fraction * 100).toFixed(4))} %`;
export const signed = (value, words) => (value > 0 && /[1-9]/.test(words(value)) ? `+${words(value)}` : value == null ? "–" : words(value));
export const tone = (value) => (value > 0 ? "gain" : value < 0 ? "loss" : "");

/** A price: so many digits that six of them mean something. */
export function price(value) {
  if (value == null) return "–";
  const before = value ? Math.floor(Math.log10(Math.abs(value))) + 1 : 1;
  return number(value, Math.max(2, Math.min(8, 6 - before)));
}

export function bytes(value) {
  if (value == null) return "–";
  const names = ["B", "kB", "MB", "GB"];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${number(value / 1000 ** step, step ? 1 : 0)} ${names[step]}`;
}

/** The rule's own name, readable. */
export const words = (rule) => (rule ?? "").replaceAll("_", " ");
