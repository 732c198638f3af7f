// The service's API: requests with the token, and its events by fetch (EventSource sends no headers).

const token_key = "weir.token";
let kept = "";
try {
  kept = sessionStorage.getItem(token_key) ?? "";
} catch {
  kept = ""; // storage may be forbidden: then it holds until the page is left
}

export const has_token = () => kept !== "";
export function set_token(token) {
  kept = token;
  try {
    if (token) sessionStorage.setItem(token_key, token);
    else sessionStorage.removeItem(token_key);
  } catch {
    // see above
  }
}

export class unauthorized extends Error {}

const headers = (more = {}) => (kept ? { Authorization: `Bearer ${kept}`, ...more } : more);

// Beside the page, wherever a proxy has put it.
const address = (path) => new URL(path, document.baseURI);

async function answer(response) {
  const body = await response.json().catch(() => null);
  if (response.status === 401) throw new unauthorized(body?.error ?? "a token is needed");
  if (!response.ok) {
    const error = new Error(body?.error ?? `weir answered ${response.status}`);
    error.hint = body?.hint ?? "";
    error.status = response.status;
    throw error;
  }
  return body;
}

const patience = 20_000;

export const get = async (path) =>
  answer(await fetch(address(path), { headers: headers(), cache: "no-store", signal: AbortSignal.timeout(patience) }));

export const post = async (path, body = {}) =>
  answer(
    await fetch(address(path), {
      method: "POST",
      headers: headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patience),
    }),
  );

const quiet_for = 40_000; // the service says something at least every 15 s
const longest_event = 8_000_000;

/** Splits a stream of server-sent events; keeps no more than the event that is coming in. */
export class event_parser {
  constructor(on_event, on_retry = () => {}) {
    this.on_event = on_event;
    this.on_retry = on_retry;
    this.rest = "";
    this.name = "message";
    this.data = [];
    this.size = 0;
  }
  push(chunk) {
    this.rest += chunk;
    const lines = this.rest.split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    if (this.rest.length + this.size > longest_event) throw new Error("an event of the service is too large");
    for (const line of lines) this.line(line);
  }
  line(line) {
    if (line === "") {
      if (this.data.length) this.on_event(this.name, this.data.join("\n"));
      this.name = "message";
      this.data = [];
      this.size = 0;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = rest;
    else if (field === "data") {
      this.data.push(rest);
      this.size += rest.length;
    } else if (field === "retry" && /^\d+$/.test(rest)) this.on_retry(Number(rest));
  }
}

/**
 * Follows /events and connects again for ever. Tells on.event(name, object), on.open(), on.lost(error, ms until the next
 * try), on.unauthorized(). Ends itself when the token is refused; start() begins anew, at once.
 */
export class follower {
  constructor(on) {
    this.on = on;
    this.retry = 2000;
    this.failures = 0;
    this.turn = 0;
    this.abort = null;
    this.timer = 0;
    this.connected = false;
  }
  start() {
    this.turn += 1;
    clearTimeout(this.timer);
    this.abort?.abort();
    this.follow(this.turn);
  }
  async follow(turn) {
    const abort = new AbortController();
    this.abort = abort;
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => abort.abort(), quiet_for);
    };
    let lost = null;
    try {
      heard();
      const response = await fetch(address("events"), { headers: headers(), cache: "no-store", signal: abort.signal });
      if (response.status === 401) throw new unauthorized();
      if (!response.ok) throw new Error(`weir answered ${response.status}`);
      const parser = new event_parser(
        (name, data) => this.on.event(name, JSON.parse(data)),
        (ms) => (this.retry = Math.min(Math.max(ms, 500), 60_000)),
      );
      this.failures = 0;
      this.connected = true;
      this.on.open();
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || turn !== this.turn) break;
        heard();
        parser.push(decoder.decode(value, { stream: true }));
      }
    } catch (error) {
      lost = error;
    } finally {
      clearTimeout(silence);
      abort.abort(); // nothing stays open, whatever went wrong
    }
    if (turn !== this.turn) return;
    this.connected = false;
    if (lost instanceof unauthorized) return this.on.unauthorized();
    const wait = Math.min(this.retry * 1.5 ** this.failures, 15_000);
    this.failures += 1;
    this.on.lost(lost, wait);
    this.timer = setTimeout(() => this.follow(turn), wait * (0.8 + 0.4 * Math.random()));
  }
}
