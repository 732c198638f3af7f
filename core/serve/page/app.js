// The page of `weir serve`: follows /events, shows what runs, and starts, cancels and resumes runs.
import { $, el, icon, change_icon, text, attribute, rows, link, announce } from "./dom.js";
import { change_counts, count, duration, plural, relative, set_clock, set_time, state, tick, time } from "./format.js";
import { changes } from "./changes.js";
import * as api from "./api.js";
import * as gate from "./gate.js";
import * as runs from "./runs.js";

let status = null;
let stale = true; // nothing has come yet, or the connection is lost
let plan = null; // the document of /plan
let plan_known = ""; // which one: its run and time
let before = { run: null, jobs: new Map(), breaker: "closed" }; // what has been announced

// --- dialogs: the focus goes to what changes nothing, and back to where it was

function ask({ title, body, stay, go, danger = false }) {
  const dialog = $("ask");
  text($("ask-title"), title);
  $("ask-body").replaceChildren(...body);
  text($("ask-stay"), stay);
  text($("ask-go"), go);
  attribute($("ask-go"), "class", danger ? "danger" : "primary");
  dialog.returnValue = "";
  dialog.showModal();
  $("ask-stay").focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "go"), { once: true }));
}
$("ask-stay").addEventListener("click", () => $("ask").close("stay"));
$("ask-go").addEventListener("click", () => $("ask").close("go"));

function ask_token(refused = false) {
  const dialog = $("token");
  $("token-said").hidden = !refused;
  text($("token-said"), refused ? "weir did not accept this token." : "");
  if (dialog.open) return;
  $("token-input").value = "";
  dialog.showModal();
  $("token-input").focus();
}
$("token-stay").addEventListener("click", () => $("token").close());
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.set_token($("token-input").value.trim());
  $("token").close("used");
  events.start();
});
$("token").addEventListener("close", () => {
  if ($("token").returnValue !== "used" && stale) show_link("token");
  $("token").returnValue = "";
});
$("forget").addEventListener("click", () => {
  api.set_token("");
  location.reload(); // nothing that it opened stays on the page
});

// --- what goes wrong with a request of ours

function say(words, hint = "") {
  $("said").hidden = !words;
  text($("said"), hint ? `${words} — ${hint}` : words);
}
function problem(error) {
  if (error instanceof api.unauthorized) return ask_token(api.has_token());
  if (stale) return; // the banner says it
  say(error.name === "TimeoutError" ? "weir did not answer in time" : error.message, error.hint ?? "");
}

// --- commands

async function begin(command, more = {}) {
  say("");
  try {
    const { id } = await api.post("runs", { command, ...more });
    announce(`${command} ${id} started`);
  } catch (error) {
    problem(error);
  }
}

const sync_words = () => [
  el("p", {}, "weir reads the sources, compares with NetBox and writes what differs, at the pace of the profile ",
    el("b", {}, status?.profile?.name ?? ""), ". It can be cancelled at any time; what is left over can be resumed."),
];

async function start_sync() {
  if (await ask({ title: "Start a sync?", body: sync_words(), stay: "Not now", go: "Start the sync" })) await begin("sync");
}
async function start_resume() {
  const run = runs.resumable();
  if (!run) return;
  const body = [el("p", {}, "Run ", el("code", {}, run.id), ` was ${run.state}`, run.deferred ? ` and left ${plural(run.deferred, "change")} undone` : "",
    ". weir looks up what became of the last requests and finishes the rest.")];
  if (await ask({ title: `Resume ${run.id}?`, body, stay: "Not now", go: "Resume" })) await begin("resume", { run: run.id });
}
async function apply_plan() {
  const waiting = status?.plan;
  if (!waiting) return;
  const body = [
    el("p", { class: "sum" }, ...change_counts(waiting), el("span", { class: "of" }, ` in ${plural(waiting.requests, "request")}, planned ${relative(waiting.made)}`)),
    waiting.delete > 0 ? el("p", { class: "caution" }, icon("warn"), el("span", {}, `${plural(waiting.delete, "object")} will be deleted from NetBox.`)) : null,
    el("p", {}, "The sync compares again before it writes: what has changed since this plan was made is taken in."),
  ].filter(Boolean);
  if (await ask({ title: "Apply the plan by a sync?", body, stay: "Not now", go: "Start the sync" })) await begin("sync");
}
async function cancel() {
  const run = status?.run;
  if (!run) return;
  const body = [el("p", {}, "What is in flight is still answered for; what was written stays. The rest can be resumed.")];
  if (!(await ask({ title: `Cancel ${run.command} ${run.id}?`, body, stay: "Keep it running", go: "Cancel the run", danger: true }))) return;
  say("");
  try {
    await api.post(`runs/${encodeURIComponent(run.id)}/cancel`);
    announce(`${run.command} ${run.id} is being cancelled`);
  } catch (error) {
    problem(error);
  }
}
$("apply").addEventListener("click", apply_plan);

// --- what runs now

const active = new Set(["collecting", "comparing", "writing"]);

function show_actions() {
  const run = status?.run;
  const idle = status && !stale && !run && status.state !== "stopping";
  const again = runs.resumable();
  const wanted = run
    ? [{ key: "cancel", words: run.cancelling ? "Cancelling…" : "Cancel run…", class: "danger", off: stale || run.cancelling, does: cancel }]
    : [
        { key: "sync", words: "Sync now…", class: plan && !$("apply").hidden ? "" : "primary", // one button leads
           off: !idle, does: start_sync },
        { key: "plan", words: "Plan now", class: "", off: !idle, does: () => begin("plan") },
        ...(again ? [{ key: "resume", words: `Resume ${again.id.slice(0, 8)}…`, class: "", off: !idle, does: start_resume }] : []),
      ];
  const box = $("actions");
  const had_focus = box.contains(document.activeElement);
  rows(box, wanted, (b) => b.key, (b) => el("button", { type: "button", id: `do-${b.key}`, click: (event) => {
    if (event.currentTarget.getAttribute("aria-disabled") !== "true") b.does();
  } }), (node, b) => {
    text(node, b.words);
    attribute(node, "class", b.class || null);
    attribute(node, "aria-disabled", b.off ? "true" : null); // not `disabled`: the focus would be lost
  });
  // The buttons have changed under the focus: it goes to the first of the new ones.
  if (had_focus && !box.contains(document.activeElement)) box.firstElementChild?.focus();
  attribute($("apply"), "aria-disabled", idle ? null : "true");
}

function make_job(job) {
  return el("li", { class: "job" },
    el("span", { class: "state" }, icon("waiting"), el("span")),
    el("span", { class: "job-name" }, el("b", {}, el("bdi")), " ", el("span", { class: "source" }, el("bdi"))),
    el("span", { class: "bar", role: "progressbar", "aria-label": `${job.stage} of ${job.source}`, "aria-valuemin": "0" }, el("span", { class: "fill" })),
    el("span", { class: "counts" }), el("span", { class: "batch" }), el("span", { class: "planned" }), el("span", { class: "took" }),
    el("span", { class: "note" }, el("bdi")));
}

function fill_job(node, job) {
  const [how, name, bar, counts, batch, planned, took, note] = node.children;
  const s = state(job.state);
  attribute(how, "class", `state ${s.tone}`);
  change_icon(how.firstChild, s.symbol);
  text(how.lastChild, s.word);
  text(name.querySelector("b bdi"), job.stage);
  attribute(name, "title", job.title || null);
  text(name.querySelector(".source bdi"), job.source);
  const busy = active.has(job.state);
  const known = job.total > 0;
  const share = job.state === "ok" ? 1 : known ? Math.min(1, job.done / job.total) : 0;
  attribute(bar, "data-tone", s.tone || null);
  attribute(bar, "data-unknown", busy && !known ? "true" : null);
  attribute(bar, "aria-valuemax", known ? job.total : 1);
  attribute(bar, "aria-valuenow", busy && !known ? null : known ? Math.min(job.done, job.total) : share);
  attribute(bar, "aria-valuetext", known ? `${count(job.done)} of ${count(job.total)}, ${s.word}` : s.word);
  bar.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
  text(counts, known ? `${count(job.done)} of ${count(job.total)}` : job.done ? count(job.done) : "");
  text(batch, job.batches > 0 ? `batch ${count(job.batch)} of ${count(job.batches)}` : "");
  const sum = job.planned ? JSON.stringify(job.planned) : "";
  if (planned.weirSum !== sum) {
    planned.weirSum = sum;
    planned.replaceChildren(...(job.planned ? change_counts(job.planned) : []));
  }
  text(took, job.seconds > 0 ? duration(job.seconds) : "");
  const words = job.reason || (busy ? job.note : "") || "";
  text(note.firstChild, words);
  note.hidden = !words;
}

const commands = { sync: "Sync", plan: "Plan", resume: "Resume" };

function show_now() {
  const run = status.run;
  const jobs = run?.jobs ?? [];
  rows($("jobs"), jobs, (j) => `${j.source}\n${j.stage}`, make_job, fill_job);
  $("jobs").hidden = jobs.length === 0;
  const sub = $("now-sub");
  const next = status.schedules.filter((s) => s.next).sort((a, b) => Date.parse(a.next) - Date.parse(b.next))[0];
  if (run) {
    const ended = jobs.filter((j) => !active.has(j.state) && j.state !== "waiting").length;
    text($("now-title"), `${commands[run.command] ?? run.command} ${run.cancelling ? "is being cancelled" : "running"}`);
    sub.replaceChildren(el("code", {}, run.id), run.trigger ? ` · ${run.trigger}` : "", ` · ${duration(run.seconds)}`,
      jobs.length ? ` · ${ended} of ${plural(jobs.length, "stage")} done` : " · connecting");
    document.title = `${jobs.length ? `${ended}/${jobs.length} ` : ""}${commands[run.command] ?? run.command} running · weir`;
  } else {
    text($("now-title"), status.state === "stopping" ? "The service is stopping" : "Nothing runs");
    const key = next ? `${next.name} ${next.next}` : "none";
    if (sub.weirKey !== key || !sub.querySelector("time"))
      sub.replaceChildren(...(next ? [`Next: ${next.name} `, time(next.next, true), " (", time(next.next), ")"] : ["No schedule: start a run here."]));
    sub.weirKey = key;
    document.title = `${status.config?.error || status.gate?.starved ? "! " : ""}weir`;
  }
  if (run) sub.weirKey = "";
  show_last();
  show_actions();
}

function show_last() {
  const last = status && !status.run ? runs.newest_ended() : null;
  const box = $("last");
  box.hidden = !last;
  if (!last) return;
  const key = JSON.stringify([last.id, last.state, last.ended]);
  if (box.weirKey === key) return;
  box.weirKey = key;
  const s = state(last.state);
  const words = last.command === "plan" ? { created: "to create", updated: "to update", deleted: "to delete" } : {};
  const done = ["created", "updated", "deleted", "failed", "deferred"].filter((n) => last[n] > 0).map((n) => `${count(last[n])} ${words[n] ?? n}`);
  box.replaceChildren(el("span", { class: `state ${s.tone}` }, icon(s.symbol), s.word), " ",
    el("span", {}, `${commands[last.command] ?? last.command} `, el("code", {}, last.id), " ended ", time(last.ended, true),
      ": ", done.length ? done.join(", ") : "nothing to do", last.reason ? " — " : "", last.reason ? el("bdi", {}, last.reason) : ""));
}

// --- the plan that waits

async function load_plan() {
  const wanted = status?.plan ? `${status.plan.run} ${status.plan.made}` : "";
  if (wanted === plan_known) return;
  plan_known = wanted;
  if (!wanted) {
    plan = null;
    return show_plan();
  }
  try {
    const answer = await api.get("plan");
    if (plan_known !== wanted) return;
    plan = answer;
    show_plan();
  } catch (error) {
    if (error.status !== 404) problem(error); // 404: it is gone by now
  }
}

function show_plan() {
  if (!plan && $("plan").contains(document.activeElement)) ($("actions").firstElementChild ?? $("main")).focus();
  $("plan").hidden = !plan;
  if (!plan) {
    $("plan-body").replaceChildren();
    return show_actions();
  }
  const all = { create: 0, update: 0, delete: 0, requests: 0 };
  for (const s of plan.stages) for (const n of Object.keys(all)) all[n] += s[n];
  const nothing = all.create + all.update + all.delete === 0;
  text($("plan-title"), nothing ? "The plan: nothing to do" : "A plan waits");
  $("apply").hidden = nothing;
  show_actions();
  $("plan-sub").replaceChildren(...change_counts(all), ` in ${plural(all.requests, "request")} · made `, time(plan.made, true), " · ", el("code", {}, plan.run));
  const number = (n, name) => el("td", { class: `n ${name}`, "data-zero": n ? null : true }, count(n));
  const table = el("table", { class: "stages" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Stage"), el("th", { scope: "col" }, "Source"),
      ...["create", "update", "delete", "unchanged", "requests"].map((n) => el("th", { scope: "col", class: "n" }, n)))),
    el("tbody", {}, ...plan.stages.map((s) => el("tr", {}, el("th", { scope: "row", title: s.title || null }, el("bdi", {}, s.stage)), el("td", {}, el("bdi", {}, s.source)),
      number(s.create, "created"), number(s.update, "updated"), number(s.delete, "deleted"), number(s.unchanged, "same"), number(s.requests, "same")))));
  const list = plan.changes?.length
    ? el("details", { class: "plan-changes", open: plan.changes.length <= 40 }, el("summary", {}, plural(plan.changes.length + (plan.more ?? 0), "change")), changes(plan.changes, plan.more))
    : null;
  $("plan-body").replaceChildren(el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The plan's stages" }, table), ...(list ? [list] : []));
}

// --- errors, schedules, the service

function show_errors() {
  const list = status.errors.slice(0, 20);
  rows($("error-list"), list, (e) => JSON.stringify([e.at, e.run, e.source, e.stage, e.message]), (e) =>
    el("li", { class: e.level === "warning" ? "warning" : "error" },
      el("p", { class: "error-head" }, icon(e.level === "warning" ? "warn" : "failed"), el("span", { class: "level" }, e.level), " ",
        el("bdi", {}, [e.stage, e.source].filter(Boolean).join(" · ")), " ", time(e.at, true)),
      el("p", { class: "message" }, el("bdi", {}, e.message)),
      e.hint ? el("p", { class: "hint" }, el("bdi", {}, e.hint)) : null),
    () => {});
  $("errors-empty").hidden = list.length !== 0;
  text($("errors-title"), list.length ? `Last errors (${list.length})` : "Last errors");
  const bad = list.filter((e) => e.level !== "warning").length;
  $("to-errors").hidden = bad === 0;
  if ($("to-errors").weirCount !== bad) $("to-errors").replaceChildren(icon("failed"), plural(bad, "error"));
  $("to-errors").weirCount = bad;
}

const exit_words = {
  0: "done", 1: "failed", 3: "partly", 4: "a guard refused", 5: "another run held the lock", 64: "usage", 69: "unreachable",
  75: "stopped early", 77: "credentials refused", 78: "configuration", 130: "interrupted",
};
const exit_state = (code) => (code === 0 ? "done" : code === 3 ? "partly" : code === 75 || code === 130 ? "stopped" : "failed");

function every(seconds) {
  if (seconds % 3600 === 0) return seconds === 3600 ? "every hour" : `every ${seconds / 3600} h`;
  if (seconds % 60 === 0) return seconds === 60 ? "every minute" : `every ${seconds / 60} min`;
  return `every ${seconds} s`;
}

function show_schedules() {
  rows($("schedule-list"), status.schedules, (s) => s.name, () =>
    el("li", {}, el("p", { class: "schedule-head" }, el("b", {}, el("bdi")), el("span", { class: "next" }, "next ", el("time", { "data-near": true }))),
      el("p", { class: "schedule-more" })),
  (node, s) => {
    text(node.querySelector("b bdi"), s.name);
    const next = node.querySelector(".next");
    next.hidden = !s.next;
    if (s.next) set_time(next.querySelector("time"), s.next);
    const key = JSON.stringify({ ...s, next: null });
    if (node.weirKey === key) return;
    node.weirKey = key;
    const more = node.querySelector(".schedule-more");
    const what = [s.command, s.cron ? null : every(s.every_s ?? 0), s.jitter_s ? `up to ${duration(s.jitter_s).replace(/[.,]0 /, " ")} later` : null,
      s.sources?.length ? `of ${s.sources.join(", ")}` : null, s.stages?.length ? `stages ${s.stages.join(", ")}` : null].filter(Boolean);
    more.replaceChildren(s.cron ? el("code", {}, s.cron) : "", s.cron ? " · " : "", what.join(" · "));
    if (s.last) {
      const done = state(exit_state(s.last.exit_code));
      more.append(el("br"), "last ", time(s.last.at, true), " ",
        el("span", { class: `state ${done.tone}` }, icon(done.symbol), exit_words[s.last.exit_code] ?? `exit code ${s.last.exit_code}`));
    }
    if (s.refused > 0) more.append(el("br"), el("span", { class: "state warn" }, icon("skipped"), `${plural(s.refused, "start")} refused: a run was under way`));
  });
  $("schedules-empty").hidden = status.schedules.length !== 0;
}

function show_service() {
  const p = status.profile;
  const by_code = Object.entries(status.runs.by_exit_code ?? {}).map(([code, n]) => `${count(n)} ${exit_words[code] ?? `exit code ${code}`}`);
  const facts = [
    ["Profile", [el("b", {}, p.name), p.description ? ` — ${p.description}` : ""]],
    ["At most", [`${plural(p.max_in_flight, "request")} at once, ${count(p.requests_per_second)}/s; ${plural(p.batch.objects_per_request, "object")} each, ${count(p.batch.delay_ms)} ms after every ${p.batch.size}`]],
    ["NetBox", [link(status.netbox.url, status.netbox.url), status.netbox.version ? ` ${status.netbox.version}` : " version not asked yet"]],
    ["Runs", [`${count(status.runs.started)} since the start`, by_code.length ? `: ${by_code.join(", ")}` : "", status.runs.refused ? `; ${count(status.runs.refused)} refused` : ""]],
    ["Configuration", [el("span", { class: "path" }, status.config.file), " read ", time(status.config.loaded, true)]],
    ["weir", [status.weir, ", up since ", time(status.started)]],
  ];
  rows($("facts"), facts, ([name]) => name, ([name]) => el("div", {}, el("dt", {}, name), el("dd")), (node, [, parts]) => {
    const key = parts.map((x) => (typeof x === "string" ? x : x.getAttribute?.("datetime") ?? x.textContent)).join("\n");
    if (node.weirKey === key) return;
    node.weirKey = key;
    node.lastChild.replaceChildren(...parts);
  });
  $("forget").hidden = !api.has_token();
  $("open-links").hidden = api.has_token(); // a link brings no token along

  const where = $("where");
  const key = JSON.stringify([status.netbox, p.name]);
  if (where.weirKey !== key) {
    where.weirKey = key;
    where.replaceChildren("to ", link(status.netbox.url, String(status.netbox.url).replace(/^https?:\/\//, "").replace(/\/$/, "")),
      status.netbox.version ? ` · NetBox ${status.netbox.version}` : "", " · ", el("span", { class: "chip" }, p.name));
  }
}

// --- banners: what must not be overlooked

function show_banners() {
  const list = [];
  if (lost) list.push({ key: "lost", tone: "bad", title: "The connection to weir is lost", body: [lost, " What is shown is as of ", status ? time(status.now) : "before", "."], button: ["Try now", () => events.start()] });
  if (!status && needs_token) list.push({ key: "token", tone: "warn", title: "weir asks for its token", body: ["Nothing is shown without it."], button: ["Enter the token", () => ask_token()] });
  if (status && status.weir !== version) list.push({ key: "new", tone: "warn", title: `weir is ${status.weir} now`, body: ["This page came with another version."], button: ["Reload", () => location.reload()] });
  if (status?.config?.error)
    list.push({ key: "config", tone: "bad", title: "The new configuration was not taken", body: ["The one read ", time(status.config.loaded, true), " stays in force. Tried ", time(status.config.error.at, true), ":"], pre: status.config.error.message });
  if (status?.gate?.starved)
    list.push({ key: "starved", tone: "bad", title: "NetBox's database has no connection to spare", body: ["Waiting does not heal it, so weir goes on gently and leaves the rest to a resume. Restart NetBox's workers (", el("code", {}, "systemctl restart netbox"), "); then give it fewer gunicorn threads or PostgreSQL a higher max_connections."] });
  else if (status?.gate?.gave_up)
    list.push({ key: "gave_up", tone: "bad", title: "weir gave up on NetBox for this run", body: ["What is left can be resumed once NetBox answers again."] });
  else if (status?.gate && status.gate.breaker !== "closed")
    list.push({ key: "breaker", tone: "warn", title: status.gate.breaker === "probing" ? "NetBox failed: weir is probing" : "NetBox fails: weir has paused", body: ["The breaker is ", el("b", {}, status.gate.breaker), ": nothing but a cheap probe is sent until NetBox answers again. Nothing is lost."] });
  rows($("banners"), list, (b) => b.key, (b) => {
    const node = el("div", { class: `banner ${b.tone}` }, icon(b.tone === "bad" ? "failed" : "warn"), el("div", {}, el("p", { class: "banner-title" }), el("p", { class: "banner-body" }), b.pre !== undefined ? el("pre", { tabindex: "0", "aria-label": "What is wrong with it" }) : null));
    if (b.button) node.append(el("button", { type: "button", click: b.button[1] }, b.button[0]));
    return node;
  }, (node, b) => {
    text(node.querySelector(".banner-title"), b.title);
    const key = b.body.map((x) => (typeof x === "string" ? x : x.getAttribute?.("datetime") ?? x.textContent)).join("");
    if (node.weirKey !== key) {
      node.weirKey = key;
      node.querySelector(".banner-body").replaceChildren(...b.body);
    }
    if (b.pre !== undefined) text(node.querySelector("pre"), b.pre);
  });
}

// --- what screen readers hear: that something began, ended or broke; no figures

function tell_changes() {
  const words = [];
  const run = status.run;
  if (run && before.run !== run.id) words.push(`${commands[run.command] ?? run.command} ${run.id} is running`);
  const jobs = new Map();
  for (const j of run?.jobs ?? []) {
    const key = `${j.stage} of ${j.source}`;
    jobs.set(key, j.state);
    const was = before.jobs.get(key);
    if (was && was !== j.state && !active.has(j.state)) words.push(`${key}: ${j.state}${j.reason ? `, ${j.reason}` : ""}`);
  }
  const breaker = status.gate?.breaker ?? "closed";
  if (breaker !== before.breaker) words.push(`The breaker is ${breaker}`);
  before = { run: run?.id ?? null, jobs, breaker };
  if (words.length) announce(words.join(". "));
}

// --- the connection

let lost = "";
let version = ""; // of the service that brought this page
let needs_token = false;

function show_link(kind) {
  needs_token = kind === "token";
  attribute($("link"), "data-link", kind);
  text($("link-text"), { live: "Live", lost: "Connection lost", token: "Token needed", waiting: "Connecting" }[kind]);
  document.body.classList.toggle("stale", stale && status !== null);
  if (status) show_actions();
  show_banners();
}

function on_status(next) {
  status = next;
  version ||= next.weir;
  set_clock(next.now);
  show_now();
  gate.show(next.gate, next.profile);
  show_errors();
  show_schedules();
  show_service();
  show_banners();
  tell_changes();
  load_plan();
}

const events = new api.follower({
  event(name, data) {
    if (name === "status") on_status(data);
    else if (name === "gate") gate.push(data);
    else if (name === "run") {
      runs.put(data);
      if (data.ended) {
        announce(`${commands[data.command] ?? data.command} ${data.id} ended: ${data.state}${data.reason ? `, ${data.reason}` : ""}`);
        runs.load().catch(problem); // what it resumed has another state now
      }
    }
  },
  open() {
    if (lost) announce("Connected again");
    lost = "";
    stale = false;
    show_link("live");
    $("token").close("used");
    plan_known = "unknown";
    runs.load().catch(problem);
    api.get("gate").then(gate.load, problem);
  },
  lost(error, wait) {
    if (!lost && status) announce("The connection to weir is lost");
    stale = true;
    lost = `Trying again every ${Math.round(wait / 1000) || 1} s.`;
    show_link("lost");
  },
  unauthorized() {
    stale = true;
    lost = "";
    const refused = api.has_token();
    api.set_token("");
    show_link("token");
    ask_token(refused);
  },
});

// --- the theme

const themes = { auto: "light", light: "dark", dark: "auto" };
function show_theme() {
  const now = window.weirTheme.chosen();
  $("theme").replaceChildren(icon(now), el("span", {}, { auto: "Auto", light: "Light", dark: "Dark" }[now]));
  attribute($("theme"), "aria-label", `Theme: ${now === "auto" ? "as the system has it" : now}. Change to ${themes[now]}`);
}
$("theme").addEventListener("click", () => {
  window.weirTheme.choose(themes[window.weirTheme.chosen()]);
  show_theme();
});

show_theme();
gate.start();
runs.start(problem, () => {
  show_last();
  if (status) show_actions();
});
setInterval(() => {
  if (document.hidden) return;
  tick();
  gate.redraw();
}, 5000);
// A laptop that wakes up, a network that is back: no need to wait for the next try.
for (const [target, name] of [[window, "online"], [document, "visibilitychange"]])
  target.addEventListener(name, () => {
    if (lost && !document.hidden) events.start();
  });
events.start();
