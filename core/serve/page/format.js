// How numbers, times and states are written.
import { el, text, attribute } from "./dom.js";

const numbers = new Intl.NumberFormat();
export const count = (n) => numbers.format(n ?? 0);
export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

const decimals = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const tenths = (n) => decimals.format(n ?? 0);

/** 0.4 s, 12 s, 3 min 05 s, 2 h 10 min, 3 d 4 h. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const s = Math.max(0, seconds);
  if (s < 10) return `${tenths(s)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min` + (whole % 60 ? ` ${two(whole % 60)} s` : "");
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// The service's clock is the one that counts: a wrong one here must not shift "in 3 min".
let ahead = 0;
export const set_clock = (iso) => (ahead = Date.parse(iso) - Date.now() || 0);
export const service_now = () => Date.now() + ahead;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const short_clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day_clock = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
export const clock_time = (ms) => clock.format(ms);
export const minute_time = (ms) => short_clock.format(ms);

export function local_time(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return String(iso);
  return at.toDateString() === new Date(service_now()).toDateString() ? clock.format(at) : day_clock.format(at);
}

export function relative(iso) {
  const seconds = (Date.parse(iso) - service_now()) / 1000;
  const size = Math.abs(seconds);
  const words =
    size < 60 ? `${Math.round(size)} s`
    : size < 3600 ? `${Math.round(size / 60)} min`
    : size < 3600 * 6 ? `${Math.floor(size / 3600)} h` + (size % 3600 >= 60 ? ` ${Math.floor((size % 3600) / 60)} min` : "")
    : size < 86400 * 2 ? `${Math.round(size / 3600)} h`
    : `${Math.round(size / 86400)} days`;
  if (size < 1) return "now";
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

/** <time> in the local zone, ISO 8601 as its title. `near`: as "3 min ago", kept right by tick(). */
export const time = (iso, near = false) => set_time(el("time", near ? { "data-near": true } : {}), iso);

export function set_time(node, iso) {
  attribute(node, "datetime", iso);
  attribute(node, "title", iso);
  text(node, node.hasAttribute("data-near") ? relative(iso) : local_time(iso));
  return node;
}

export function tick() {
  for (const node of document.querySelectorAll("time[data-near]")) text(node, relative(node.getAttribute("datetime")));
}

// --- states: a symbol, a word and a colour each

const states = {
  running: ["active", "running", "busy"],
  waiting: ["waiting", "waiting", ""],
  collecting: ["active", "collecting", "busy"],
  comparing: ["active", "comparing", "busy"],
  writing: ["active", "writing", "busy"],
  ok: ["ok", "ok", "good"],
  done: ["ok", "done", "good"],
  partly: ["partly", "partly", "warn"],
  failed: ["failed", "failed", "bad"],
  skipped: ["skipped", "skipped", ""],
  stopped: ["stopped", "stopped", "warn"],
  interrupted: ["stopped", "interrupted", "warn"],
  resumed: ["ok", "resumed", ""],
  deferred: ["stopped", "deferred", "warn"],
  pending: ["waiting", "pending", ""],
  sent: ["active", "sent", "busy"],
  unknown: ["partly", "unknown", "warn"],
};
/** {symbol, word, tone} of a state's name; one that this page does not know is shown as it is. */
export function state(name) {
  const [symbol, word, tone] = states[name] ?? ["waiting", String(name), ""];
  return { symbol, word, tone };
}

export const actions = { create: ["+", "create"], update: ["~", "update"], delete: ["−", "delete"] };

/** "+3 ~5 −1"; what is zero is left out; "no changes". */
export function change_counts(c) {
  const parts = [];
  for (const [name, [sign, word]] of Object.entries(actions))
    if (c[name] > 0) parts.push(el("span", { class: `sign ${name}`, title: `${count(c[name])} to ${word}` }, `${sign}${count(c[name])}`));
  return parts.length ? parts.flatMap((part, i) => (i ? [" ", part] : [part])) : ["no changes"];
}

/** What a field holds, as short text. */
export function value(v, most = 90) {
  if (v === null || v === undefined) return "nothing";
  const words = typeof v === "string" ? (v === "" ? "empty" : v) : JSON.stringify(v);
  return words.length > most ? words.slice(0, most - 1) + "…" : words;
}
