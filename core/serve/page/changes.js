// Lists of changes, of a plan or of a run: grouped by stage, shown in portions, so that a thousand cost nothing until asked for.
import { el, icon, link } from "./dom.js";
import { actions, count, plural, state, value } from "./format.js";

const portion = 50;
const most_fields = 12;

/** "memory 4096 → 8192": what a field held and will hold; for a new object only what it will hold. */
function field(f, action) {
  const full = (v) => (typeof v === "string" ? v : JSON.stringify(v));
  const after = el("span", { class: "after", title: full(f.after) }, el("bdi", {}, value(f.after)));
  const name = el("bdi", { class: "field-name" }, f.field);
  if (action !== "update") return el("span", { class: "field" }, name, " ", after);
  return el("span", { class: "field" }, name, " ",
    el("span", { class: "before", title: full(f.before) }, el("bdi", {}, value(f.before))), el("span", { class: "arrow" }, " → "), after);
}

function line(c) {
  const [sign, word] = actions[c.action] ?? ["?", String(c.action)];
  const item = el("li", {}, el("span", { class: `sign ${c.action}`, role: "img", "aria-label": word, title: word }, sign),
    el("span", { class: "label" }, link(c.url, c.label ?? ""), " ", el("bdi", { class: "kind" }, String(c.kind ?? "").split(".").pop())));
  const about = el("span", { class: "about" });
  if (c.fields?.length) {
    for (const f of c.fields.slice(0, most_fields)) about.append(field(f, c.action));
    if (c.fields.length > most_fields) about.append(el("span", { class: "field" }, `and ${plural(c.fields.length - most_fields, "more field")}`));
  }
  if (c.state && c.state !== "done") {
    const s = state(c.state);
    about.append(el("span", { class: `state ${s.tone}` }, icon(s.symbol), s.word));
  }
  if (c.reason) about.append(el("span", { class: "reason" }, el("bdi", {}, c.reason)));
  if (about.firstChild) item.append(about);
  return item;
}

/** `list`: changes; `more`: how many there are beyond them. Failed ones first. */
export function changes(list, more) {
  const box = el("div", { class: "changes" });
  const bad = (c) => (c.state === "failed" ? 0 : c.state && c.state !== "done" ? 1 : 2);
  const groups = new Map();
  for (const c of list) {
    const key = `${c.source}\n${c.stage}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(c);
  }
  for (const group of groups.values()) {
    group.sort((a, b) => bad(a) - bad(b)); // stable: else as weir told them
    const items = el("ul", { class: "change-list" });
    let shown = 0;
    const button = el("button", { type: "button", class: "quiet more" });
    const grow = () => {
      const first = shown;
      items.append(...group.slice(shown, shown + portion).map(line));
      shown = Math.min(group.length, shown + portion);
      button.hidden = shown >= group.length;
      button.textContent = `Show ${count(Math.min(portion, group.length - shown))} more of ${count(group.length - shown)}`;
      return items.children[first];
    };
    button.addEventListener("click", () => {
      const first = grow();
      if (button.hidden && first) {
        first.tabIndex = -1; // the button is gone: go on reading where it stood
        first.focus();
      }
    });
    grow();
    box.append(
      el("h4", {}, el("bdi", {}, group[0].stage), " ", el("span", { class: "source" }, el("bdi", {}, group[0].source)),
        el("span", { class: "of" }, plural(group.length, "change"))),
      items, button);
  }
  if (more > 0) box.append(el("p", { class: "note" }, `and ${count(more)} more; weir history show tells all`));
  return box;
}
