// The runs: a row each, newest first, at most fifty; one opens to its stages and changes.
import { $, el, icon, change_icon, text, attribute, rows } from "./dom.js";
import { count, duration, time, set_time, state } from "./format.js";
import { changes } from "./changes.js";
import * as api from "./api.js";

const most = 50;
const first = 12; // until more are asked for
const numbers = ["created", "updated", "deleted", "failed", "deferred"];
let runs = [];
let all = false;
let open = null; // the one run that is open
let opened_by = null;
let problem = () => {};
let renewed = () => {};

export function start(on_problem, on_change) {
  problem = on_problem;
  renewed = on_change;
  const wanted = /^#run\/([0-9a-f]+)$/.exec(location.hash)?.[1];
  if (wanted) open = wanted;
  $("runs-more").addEventListener("click", () => {
    all = !all;
    show();
  });
}

export async function load() {
  const answer = await api.get(`runs?limit=${most}`);
  runs = answer.runs.slice(0, most);
  show();
  if (open && opened_by === null && runs.some((r) => r.id === open)) await details(open);
}

/** A run began or ended. */
export function put(run) {
  const at = runs.findIndex((r) => r.id === run.id);
  if (at >= 0) runs[at] = run;
  else runs = [run, ...runs].slice(0, most);
  show();
  if (run.id === open) details(open);
}

export const newest_ended = () => runs.find((r) => r.ended);
export const resumable = () => runs.find((r) => (r.state === "stopped" || r.state === "interrupted") && r.command !== "plan");

function make(run) {
  const name = el("button", { type: "button", class: "opener", "aria-expanded": "false", click: () => toggle(run.id) },
    icon("more"), el("code", {}, run.id));
  const row = el("tr", { class: "run" },
    el("th", { scope: "row" }, name),
    el("td", { class: "what" }),
    el("td", { class: "started" }, time(run.started)),
    el("td", { class: "run-state" }, el("span", { class: "state" }, icon("waiting"), el("span"))),
    ...numbers.map((n) => el("td", { class: `n ${n}`, "data-name": n }, el("span"))),
    el("td", { class: "n took", "data-name": "took" }, el("span")));
  return el("tbody", { "data-run": run.id }, row);
}

function fill(body, run) {
  const row = body.firstChild;
  const [what, started, how] = [row.querySelector(".what"), row.querySelector(".started time"), row.querySelector(".state")];
  text(what, [run.command, (run.trigger ?? "").replace(/^schedule /, "")].filter(Boolean).join(" · "));
  attribute(what, "title", run.trigger || null);
  set_time(started, run.started);
  const s = state(run.state);
  attribute(how, "class", `state ${s.tone}`);
  change_icon(how.firstChild, s.symbol);
  text(how.lastChild, s.word);
  attribute(how, "title", run.reason || (run.exit_code === null || run.exit_code === undefined ? null : `exit code ${run.exit_code}`));
  for (const n of numbers) {
    const cell = row.querySelector(`td.${n}`);
    const planned = run.command === "plan" && run[n] > 0; // nothing of it was done
    text(cell.firstChild, planned ? `(${count(run[n])})` : count(run[n]));
    attribute(cell, "title", planned ? "planned, not done" : null);
    attribute(cell, "data-zero", run[n] ? null : "true");
  }
  text(row.querySelector("td.took").firstChild, run.ended ? duration(run.seconds) : ""); // what runs now is told above
  const is_open = run.id === open;
  attribute(row.querySelector(".opener"), "aria-expanded", String(is_open));
  attribute(body, "class", is_open ? "open" : null);
  if (!is_open && body.children.length > 1) body.lastChild.remove();
}

function show() {
  const listed = all ? runs : runs.filter((r, i) => i < first || r.id === open);
  rows($("runs-table"), listed, (r) => r.id, make, fill);
  $("runs-more").hidden = runs.length <= first;
  text($("runs-more"), all ? "Show fewer" : `Show ${runs.length - listed.length} older runs`);
  $("runs-table").hidden = runs.length === 0;
  $("runs-empty").hidden = runs.length !== 0;
  renewed();
}

function toggle(id) {
  open = open === id ? null : id;
  opened_by = null;
  history.replaceState(null, "", open ? `#run/${open}` : location.pathname + location.search);
  show();
  if (open) details(open);
}

async function details(id) {
  opened_by = id;
  let run;
  try {
    run = await api.get(`runs/${encodeURIComponent(id)}`);
  } catch (error) {
    if (open === id) opened_by = null;
    problem(error);
    return;
  }
  const body = $("runs-table").querySelector(`tbody[data-run="${CSS.escape(id)}"]`);
  if (open !== id || !body) return;
  if (body.children.length > 1) body.lastChild.remove();
  const facts = [["profile", run.profile], ["exit code", run.exit_code], ["started", run.started && time(run.started)], ["ended", run.ended && time(run.ended)]]
    .filter(([, v]) => v !== null && v !== undefined && v !== "");
  const stages = el("table", { class: "stages" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Stage"), el("th", { scope: "col" }, "Source"), el("th", { scope: "col" }, "State"),
      ...numbers.map((n) => el("th", { scope: "col", class: "n" }, n)))),
    el("tbody", {}, ...(run.stages ?? []).map((stage) => {
      const s = state(stage.state);
      return el("tr", {}, el("th", { scope: "row" }, el("bdi", {}, stage.stage)), el("td", {}, el("bdi", {}, stage.source)),
        el("td", {}, el("span", { class: `state ${s.tone}` }, icon(s.symbol), s.word), stage.reason ? el("span", { class: "reason" }, el("bdi", {}, stage.reason)) : null),
        ...numbers.map((n) => el("td", { class: `n ${n}`, "data-zero": stage[n] ? null : true }, count(stage[n]))));
    })));
  body.append(el("tr", { class: "details" }, el("td", { colspan: "10" },
    run.reason ? el("p", { class: "reason" }, el("bdi", {}, run.reason)) : null,
    el("p", { class: "inline-facts" }, ...facts.flatMap(([k, v], i) => [i ? " · " : "", `${k} `, el("b", {}, v)])),
    run.stages?.length ? el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Stages of the run" }, stages) : null,
    run.changes?.length ? changes(run.changes, run.more) : el("p", { class: "note" }, run.state === "running" ? "Nothing has been written yet." : run.command === "plan" ? "A plan writes nothing." : "Nothing was changed."))));
}
