// The gate to NetBox over time: three strips over one time axis, a reading under the pointer or by the arrow keys, and the same as a table.
import { $, el, svg, text, attribute, rows } from "./dom.js";
import { count, tenths, clock_time, minute_time, service_now } from "./format.js";

const kept = 1800; // samples, one a second
const height = { strip: [104, 64, 52], gap: 22, top: 18, axis: 20 };
const margin = { left: 34, right: 10 };
const breaker_words = ["closed", "probing", "open"];

// {t, in_flight, limit, gap_ms, requests_per_second, inflation, breaker, errors}; limit, gap_ms and inflation are null between runs
let samples = [];
let columns = ["t", "in_flight", "limit", "gap_ms", "requests_per_second", "inflation", "breaker", "errors"];
let ceiling = 1;
let minutes = 5;
let cursor = null; // time of the reading, ms; null: the newest
let width = 0;
let asked = false;
let parts = null;

const named = (sample) =>
  Array.isArray(sample) ? Object.fromEntries(columns.map((name, i) => [name, sample[i]])) : sample;

export function load(document_of_gate) {
  columns = document_of_gate.columns;
  ceiling = document_of_gate.ceiling || ceiling;
  samples = document_of_gate.samples.slice(-kept).map(named);
  redraw();
}

export function push(sample) {
  const one = named(sample);
  if (samples.length && one.t <= samples[samples.length - 1].t) return;
  samples.push(one);
  if (samples.length > kept) samples.splice(0, samples.length - kept);
  redraw();
}

export const kept_samples = () => samples.length;

// --- the figures of now

export function show(gate, profile) {
  if (gate?.ceiling) ceiling = gate.ceiling;
  const tile = (key, name, figure, more = "", tone = "") => ({ key, name, figure, more, tone });
  const pace = profile?.requests_per_second;
  const tiles = gate
    ? [
        tile("limit", "Limit", `${tenths(gate.limit).replace(/[.,]0$/, "")} of ${count(gate.ceiling)}`,
          gate.control === "observe" ? "observed only" : gate.starved ? "none to spare" : "at once", gate.starved ? "bad" : ""),
        tile("flight", "In flight", count(gate.in_flight), gate.waiting ? `${count(gate.waiting)} waiting` : "none waiting"),
        tile("rate", "Requests/s", tenths(gate.requests_per_second), pace ? `of ${count(pace)} at most` : ""),
        tile("gap", "Gap", `${count(Math.round(gate.gap_ms))} ms`, profile ? `profile ${count(profile.batch.delay_ms)} ms` : ""),
        tile("inflation", "Latency", `× ${tenths(gate.inflation)}`, "of its usual", gate.inflation >= 2 ? "warn" : ""),
        tile("budget", "Retry budget", count(Math.round(gate.tokens)), `${count(gate.refused)} refused`),
        tile("breaker", "Breaker", gate.breaker, gate.breaker_opened ? `opened ${count(gate.breaker_opened)} ×` : "never opened",
          gate.breaker === "closed" ? "" : "bad"),
      ]
    : [];
  rows($("tiles"), tiles, (t) => t.key,
    () => el("div", { class: "tile" }, el("dt"), el("dd", { class: "figure" }), el("dd", { class: "more" })),
    (node, t) => {
      attribute(node, "data-tone", t.tone || null);
      text(node.children[0], t.name);
      text(node.children[1], t.figure);
      text(node.children[2], t.more);
    });
  $("tiles").hidden = !gate;
  $("gate-empty").hidden = !!gate;
}

// --- the plot

export function start() {
  const pattern = (id, turn) =>
    svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${turn})` },
      svg("rect", { width: 6, height: 6, class: `shade ${id}` }), svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: `hatch ${id}` }));
  const path = (name) => svg("path", { class: name });
  parts = {
    picture: svg("svg", { class: "plot", "aria-hidden": "true", focusable: "false" },
      svg("defs", {}, pattern("open", 45), pattern("probing", -45))),
    open: svg("path", { fill: "url(#open)" }),
    probing: svg("path", { fill: "url(#probing)" }),
    grid: path("grid"),
    flight: path("area flight"),
    limit: path("line limit"),
    ceiling: path("line ceiling"),
    rate: path("area rate"),
    rate_line: path("line rate"),
    gap: path("line gap"),
    errors: path("errors"),
    words: svg("g", { class: "words" }),
    hair: path("hair"),
    dot: path("dots"),
  };
  for (const name of ["open", "probing", "grid", "flight", "limit", "ceiling", "rate", "rate_line", "gap", "errors", "words", "hair", "dot"])
    parts.picture.append(parts[name]);
  parts.reading = el("p", { class: "reading", id: "reading" });
  parts.frame = el("div", {
    class: "plot-frame", tabindex: "0", role: "slider", "aria-label": "The gate over time. Arrow keys move the reading.",
    "aria-orientation": "horizontal", "aria-valuemin": "0", "aria-valuemax": "0", "aria-valuenow": "0",
  }, parts.picture);
  const key = (kind, words) => {
    const sign = svg("svg", { class: "key", viewBox: "0 0 22 10", "aria-hidden": "true" },
      kind === "flight" ? svg("rect", { class: "area flight", x: 1, y: 2, width: 20, height: 7 })
      : kind === "errors" ? svg("path", { class: "errors", d: "M11 1l4.5 8h-9z" })
      : kind === "open" || kind === "probing" ? svg("rect", { class: "shade-key", x: 1, y: 1, width: 20, height: 8, fill: `url(#${kind})` })
      : svg("path", { class: `line ${kind}`, d: "M1 5H21" }));
    return el("span", {}, sign, words);
  };
  $("plot").append(
    parts.reading, parts.frame,
    el("p", { class: "legend" }, key("flight", "in flight"), key("limit", "limit"), key("ceiling", "the profile's ceiling"),
      key("errors", "failed attempts"), key("open", "breaker open"), key("probing", "probing")));

  new ResizeObserver(() => {
    width = Math.round(parts.frame.clientWidth);
    redraw();
  }).observe(parts.frame);
  parts.frame.addEventListener("pointermove", (event) => read_at(event.offsetX));
  parts.frame.addEventListener("pointerdown", (event) => read_at(event.offsetX));
  parts.frame.addEventListener("pointerleave", () => {
    if (document.activeElement !== parts.frame) set_cursor(null);
  });
  parts.frame.addEventListener("blur", () => set_cursor(null));
  parts.frame.addEventListener("keydown", on_key);
  for (const button of document.querySelectorAll("#gate [data-minutes]"))
    button.addEventListener("click", () => {
      minutes = Number(button.dataset.minutes);
      for (const other of document.querySelectorAll("#gate [data-minutes]"))
        attribute(other, "aria-pressed", other === button ? "true" : "false");
      redraw();
    });
  $("gate-table").addEventListener("toggle", redraw);
  document.addEventListener("visibilitychange", redraw);
  redraw();
}

/** At most once a frame; nothing while the page is hidden. */
export function redraw() {
  if (asked || !parts || document.hidden) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
    table();
  });
}

const span = () => {
  const last = samples.length ? samples[samples.length - 1].t : service_now();
  const to = Math.max(last, Math.floor(service_now() / 1000) * 1000);
  return { from: to - minutes * 60_000, to };
};

const shown = () => {
  const { from } = span();
  return samples.filter((s) => s.t >= from);
};

const either = (choose, a, b) => (a === null ? b : b === null ? a : choose(a, b));

// What falls on the same two pixels becomes one point: the worst of each, so that no error and no peak is lost.
function points(list, from, step) {
  const out = [];
  let last = null;
  for (const s of list) {
    const bucket = Math.floor((s.t - from) / step);
    if (last && last.bucket === bucket) {
      last.in_flight = Math.max(last.in_flight, s.in_flight);
      last.limit = either(Math.min, last.limit, s.limit);
      last.gap_ms = either(Math.max, last.gap_ms, s.gap_ms);
      last.rate_sum += s.requests_per_second;
      last.of += 1;
      last.breaker = Math.max(last.breaker, s.breaker);
      last.errors += s.errors;
    } else {
      last = { ...s, bucket, rate_sum: s.requests_per_second, of: 1 };
      out.push(last);
    }
  }
  for (const p of out) p.requests_per_second = p.rate_sum / p.of;
  return out;
}

const nice = (most) => {
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 4, 5, 8, 10].map((n) => n * power).find((n) => n >= most);
};

function draw() {
  if (!width) return;
  const { from, to } = span();
  const plot_width = width - margin.left - margin.right;
  const list = shown();
  const step = Math.max(1000, Math.ceil(((to - from) / plot_width) * 2));
  const drawn = points(list, from, step);
  const x = (t) => margin.left + ((t - from) / (to - from)) * plot_width;
  const tops = [];
  let y0 = height.top;
  for (const h of height.strip) {
    tops.push(y0);
    y0 += h + height.gap;
  }
  const bottom = tops[2] + height.strip[2];
  const full = bottom + height.axis;
  const most = [
    nice(Math.max(ceiling, ...drawn.map((p) => Math.max(p.in_flight, p.limit ?? 0)))),
    nice(Math.max(1, ...drawn.map((p) => p.requests_per_second))),
    nice(Math.max(100, ...drawn.map((p) => p.gap_ms ?? 0))),
  ];
  const y = (strip, v) => tops[strip] + height.strip[strip] * (1 - Math.min(v, most[strip]) / most[strip]);
  attribute(parts.picture, "width", width);
  attribute(parts.picture, "height", full);
  attribute(parts.picture, "viewBox", `0 0 ${width} ${full}`);

  // A hole in the samples (weir was away, or no run had a limit) is a hole in the lines.
  const stretches_of = (list_of) => {
    const out = [];
    for (const p of list_of) {
      const last = out[out.length - 1];
      if (last && p.t - last[last.length - 1].t <= Math.max(3500, 2.5 * step)) last.push(p);
      else out.push([p]);
    }
    return out;
  };
  const stretches = stretches_of(drawn);
  const f = (n) => n.toFixed(1);
  const end = (stretch, i) => (i + 1 < stretch.length ? stretch[i + 1].t : Math.min(stretch[i].t + step, to));
  const steps = (strip, name) =>
    stretches_of(drawn.filter((p) => p[name] !== null)).map((s) => s.map((p, i) => `${i ? "V" : `M${f(x(p.t))} `}${f(y(strip, p[name]))}H${f(x(end(s, i)))}`).join("")).join("");
  const area = (strip, name) =>
    stretches.map((s) => `M${f(x(s[0].t))} ${f(y(strip, 0))}` + s.map((p, i) => `V${f(y(strip, p[name]))}H${f(x(end(s, i)))}`).join("") + `V${f(y(strip, 0))}Z`).join("");
  const shade = (state) =>
    stretches.map((s) => s.map((p, i) => (p.breaker === state ? `M${f(x(p.t))} ${tops[0]}H${f(x(end(s, i)) + 0.5)}V${bottom}H${f(x(p.t))}Z` : "")).join("")).join("");

  parts.open.setAttribute("d", shade(2));
  parts.probing.setAttribute("d", shade(1));
  parts.flight.setAttribute("d", area(0, "in_flight"));
  parts.limit.setAttribute("d", steps(0, "limit"));
  parts.ceiling.setAttribute("d", `M${margin.left} ${f(y(0, ceiling))}H${width - margin.right}`);
  parts.rate.setAttribute("d", area(1, "requests_per_second"));
  parts.rate_line.setAttribute("d", steps(1, "requests_per_second"));
  parts.gap.setAttribute("d", steps(2, "gap_ms"));
  parts.errors.setAttribute("d", drawn.filter((p) => p.errors > 0).map((p) => `M${f(x(p.t))} ${tops[0] + height.strip[0] + 4}l4.5 8h-9z`).join(""));

  // Axes: the strips' frames, a mark per minute or five, words that do not run into each other.
  const every = minutes === 5 ? 60_000 : 300_000;
  let grid = tops.map((top, i) => `M${margin.left} ${top + height.strip[i]}H${width - margin.right}M${margin.left} ${top}H${width - margin.right}`).join("");
  const words = [];
  const word = (at_x, at_y, what, name = "", anchor = "start") => words.push({ at_x, at_y, what, name, anchor });
  for (let t = Math.ceil(from / every) * every; t <= to; t += every) {
    grid += tops.map((top, i) => `M${f(x(t))} ${top}V${top + height.strip[i]}`).join("");
    const at = x(t);
    if (at > margin.left + 14 && at < width - 18) word(at, bottom + 15, minute_time(t), "", "middle");
  }
  parts.grid.setAttribute("d", grid);
  ["requests at once", "requests/s", "gap, ms"].forEach((name, i) => {
    word(margin.left, tops[i] - 5, name, "name");
    word(margin.left - 5, tops[i] + 8, count(most[i]), "", "end");
    word(margin.left - 5, tops[i] + height.strip[i], "0", "", "end");
  });
  if (!list.length) word(margin.left + plot_width / 2, tops[0] + height.strip[0] / 2 + 4, "no samples in this time", "", "middle");
  rows(parts.words, words.map((w, i) => [i, w]), ([i]) => i, () => svg("text"), (node, [, w]) => {
    attribute(node, "x", f(w.at_x));
    attribute(node, "y", f(w.at_y));
    attribute(node, "class", w.name || null);
    attribute(node, "text-anchor", w.anchor);
    text(node, w.what);
  });
  reading(list, x, y, tops, bottom);
}

// --- the reading

function set_cursor(t) {
  cursor = t;
  redraw();
}

function read_at(offset_x) {
  const { from, to } = span();
  const plot_width = width - margin.left - margin.right;
  if (plot_width > 0) set_cursor(from + ((offset_x - margin.left) / plot_width) * (to - from));
}

function nearest(list) {
  if (!list.length) return -1;
  if (cursor === null) return list.length - 1;
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].t < cursor) low = middle + 1;
    else high = middle;
  }
  return low > 0 && cursor - list[low - 1].t < list[low].t - cursor ? low - 1 : low;
}

function on_key(event) {
  const list = shown();
  const big = Math.max(1, Math.round(list.length / 10));
  const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -big, PageUp: big, Home: -Infinity, End: Infinity };
  if (event.key === "Escape") return set_cursor(null);
  if (!(event.key in moves) || !list.length) return;
  event.preventDefault();
  const to = Math.min(list.length - 1, Math.max(0, nearest(list) + moves[event.key]));
  set_cursor(moves[event.key] === Infinity ? null : list[to].t);
}

const words_of = (s) =>
  s.limit === null
    ? ["no run"]
    : [
        `limit ${tenths(s.limit).replace(/[.,]0$/, "")} of ${count(ceiling)}`,
        `${count(s.in_flight)} in flight`,
        `${tenths(s.requests_per_second)} requests/s`,
        `gap ${count(Math.round(s.gap_ms))} ms`,
        `latency × ${tenths(s.inflation)}`,
        `breaker ${breaker_words[s.breaker] ?? s.breaker}`,
        s.errors ? `${count(s.errors)} failed` : "none failed",
      ];

function reading(list, x, y, tops, bottom) {
  const i = nearest(list);
  const s = list[i];
  const focused = document.activeElement === parts.frame;
  attribute(parts.frame, "aria-valuemax", Math.max(0, list.length - 1));
  // A screen reader hears the reading that was asked for, not each second's.
  if (!focused || cursor !== null || !parts.frame.hasAttribute("aria-valuetext")) {
    attribute(parts.frame, "aria-valuenow", Math.max(0, i));
    attribute(parts.frame, "aria-valuetext", s ? `${clock_time(s.t)}: ${words_of(s).join(", ")}` : "no samples");
  }
  const words = !s ? ["No samples yet."]
    : cursor === null && !focused ? ["Point at the plot, or use the arrow keys in it, to read a moment."]
    : [clock_time(s.t), ...words_of(s)];
  rows(parts.reading, words.map((w, n) => [n, w]), ([n]) => n, () => el("span"), (node, [, w]) => text(node, w));
  const at = s && (cursor !== null || focused) ? x(s.t) : null;
  parts.hair.setAttribute("d", at === null ? "" : `M${at.toFixed(1)} ${tops[0]}V${bottom}`);
  const dots = at === null ? [] : [y(0, s.in_flight), y(1, s.requests_per_second), ...(s.gap_ms === null ? [] : [y(2, s.gap_ms)])];
  parts.dot.setAttribute("d", dots.map((v) => `M${(at - 3).toFixed(1)} ${v.toFixed(1)}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`).join(""));
}

// --- the same as a table: a row per ten seconds, or per minute

function table() {
  if (!$("gate-table").open) return;
  const step = minutes === 5 ? 10_000 : 60_000;
  const rows_now = points(shown(), 0, step).reverse();
  const box = document.querySelector("#gate-table .scroll");
  if (!box.firstChild)
    box.append(el("table", { class: "values" },
      el("thead", {}, el("tr", {}, ...["Time", "In flight", "Limit", "Requests/s", "Gap, ms", "Breaker", "Failed"].map((name, i) =>
        el("th", { scope: "col", class: i && i !== 5 ? "n" : null }, name)))),
      el("tbody")));
  rows(box.querySelector("tbody"), rows_now, (p) => p.bucket,
    () => el("tr", {}, el("th", { scope: "row" }), ...Array.from({ length: 6 }, (_, i) => el("td", { class: i === 4 ? null : "n" }))),
    (row, p) => {
      const cells = [clock_time(p.bucket * step), count(p.in_flight), p.limit === null ? "–" : tenths(p.limit), tenths(p.requests_per_second),
        p.gap_ms === null ? "–" : count(Math.round(p.gap_ms)), breaker_words[p.breaker] ?? p.breaker, count(p.errors)];
      cells.forEach((words, i) => text(row.children[i], words));
    });
}
