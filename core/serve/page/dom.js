// Small helpers for the document. Text from NetBox and Proxmox VE only ever becomes text nodes and checked links.

/** An element with attributes (null and false are left out; true is an empty one) and children (nodes or text). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "click") node.addEventListener("click", value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

export const $ = (id) => document.getElementById(id);

/** Writes only what changed: a reader's selection and a screen reader's place stay where they are. */
export function text(node, words) {
  const wanted = String(words);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function attribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** One of the symbols of index.html. The words beside it say the same. */
export function icon(name) {
  const use = svg("use", { href: `#i-${name}` });
  return svg("svg", { class: `icon i-${name}`, "aria-hidden": "true", viewBox: "0 0 16 16" }, use);
}

export function change_icon(node, name) {
  if (node.classList.contains(`i-${name}`)) return;
  node.setAttribute("class", `icon i-${name}`);
  node.firstChild.setAttribute("href", `#i-${name}`);
}

/** Keeps one child per item, in the items' order, without touching those that stay: focus survives. */
export function rows(parent, items, key_of, make, fill) {
  const before = parent.weirRows ?? new Map();
  const wanted = new Map(items.map((item) => [String(key_of(item)), item]));
  for (const [key, node] of before) if (!wanted.has(key)) node.remove();
  const after = new Map();
  let at = [...before].find(([key]) => wanted.has(key))?.[1] ?? null;
  const end = null;
  for (const [key, item] of wanted) {
    const node = before.get(key) ?? make(item);
    fill(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at ?? end);
    after.set(key, node);
  }
  parent.weirRows = after;
}

/** A link, where the address is one of http or https; else the words alone. */
export function link(address, words, attributes = {}) {
  let url = null;
  try {
    url = address ? new URL(address) : null;
  } catch {
    url = null;
  }
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) return el("bdi", {}, words);
  return el("a", { href: url.href, target: "_blank", rel: "noopener noreferrer", ...attributes }, el("bdi", {}, words));
}

/** Says something to screen readers once; the last words replace those before. */
export function announce(words) {
  text($("announce"), words);
}
