/* c-tags: one NetBox tag per Proxmox VE node, in C11 over weir/abi.h alone. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/abi.h>

static weir_str text(char const* s) { return (weir_str){s, strlen(s)}; }

/* ---- as much of JSON as is needed: every function moves `at` behind what it read, false: it is not there */
struct reader {
  char const *at, *end;
};
enum { deepest = 32 };

static void blanks(struct reader* r) {
  while (r->at < r->end && strchr(" \t\r\n", *r->at) != NULL && *r->at != '\0') ++r->at;
}
static bool mark(struct reader* r, char c) {
  blanks(r);
  if (r->at == r->end || *r->at != c) return false;
  ++r->at;
  return true;
}
/* `out` is what stands between the quotes, as it is written. */
static bool string(struct reader* r, weir_str* out) {
  if (!mark(r, '"')) return false;
  char const* const from = r->at;
  for (; r->at < r->end && *r->at != '"'; ++r->at)
    if (*r->at == '\\' && ++r->at == r->end) return false;
  if (r->at == r->end) return false;
  *out = (weir_str){from, (size_t)(r->at - from)};
  ++r->at;
  return true;
}
static bool value(struct reader* r, int depth) {
  weir_str ignored;
  if (depth > deepest) return false;
  blanks(r);
  if (r->at == r->end) return false;
  if (*r->at == '"') return string(r, &ignored);
  if (*r->at == '{' || *r->at == '[') {
    bool const object = *r->at++ == '{';
    char const close = object ? '}' : ']';
    if (mark(r, close)) return true;
    do {
      if (object && !(string(r, &ignored) && mark(r, ':'))) return false;
      if (!value(r, depth + 1)) return false;
    } while (mark(r, ','));
    return mark(r, close);
  }
  char const* const from = r->at;
  while (r->at < r->end && *r->at != '\0' && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *r->at) != NULL) ++r->at;
  return r->at != from;
}
/* Goes to the value of a member of the object that begins at `r`. */
static bool member(struct reader* r, char const* name) {
  weir_str key;
  if (!mark(r, '{')) return false;
  while (string(r, &key) && mark(r, ':')) {
    if (key.len == strlen(name) && memcmp(key.ptr, name, key.len) == 0) return true;
    if (!value(r, 1) || !mark(r, ',')) return false;
  }
  return false;
}

/* ---- the stage */
struct stage {
  weir_host const* host;
};

static weir_status failed(struct stage const* s, weir_status status, char const* message, char const* hint) {
  s->host->fail(s->host, text(message), text(hint));
  return status;
}

static bool node_name(weir_str s) {
  static char const allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
  for (size_t i = 0; i < s.len; ++i)
    if (s.ptr[i] == '\0' || strchr(allowed, s.ptr[i]) == NULL) return false;
  return s.len > 0 && s.len < 64;
}

static weir_status emit(weir_run const* run, weir_str name) {
  char key[100], fields[250];
  char slug[64] = {0};
  for (size_t i = 0; i < name.len; ++i) {
    char const c = name.ptr[i];
    slug[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  snprintf(key, sizeof key, "{\"slug\":\"node-%s\"}", slug);
  snprintf(fields, sizeof fields, "{\"name\":\"node-%.*s\",\"color\":\"2196f3\",\"description\":\"Proxmox VE node %.*s\"}",
           (int)name.len, name.ptr, (int)name.len, name.ptr);
  return run->emit(run, text("extras.tag"), text(key), text(fields));
}

/* The answer of /nodes: {"data":[{"node":"pve1", ...}, ...]} */
static weir_status read_nodes(struct stage const* s, weir_run const* run, weir_str body) {
  struct reader r = {body.ptr, body.ptr + body.len}, whole = r;
  /* All of it first: half an answer shall not become half the tags. */
  bool const good = value(&whole, 0);
  blanks(&whole);
  if (!good || whole.at != whole.end || !member(&r, "data") || !mark(&r, '['))
    return failed(s, WEIR_E_SOURCE, "the answer of /nodes is no {\"data\": [...]}", "is it Proxmox VE that answers?");
  uint64_t count = 0;
  if (!mark(&r, ']')) do {
      struct reader node = r;
      weir_str name;
      if (!member(&node, "node") || !string(&node, &name) || !node_name(name))
        return failed(s, WEIR_E_SOURCE, "the answer of /nodes has a node without a proper name", "");
      weir_status const status = emit(run, name);
      if (status == WEIR_CANCELLED) return status;
      if (status != WEIR_OK) return failed(s, status, "weir did not take the tag of a node", "see its log");
      run->progress(run, ++count, 0, name);
      if (!value(&r, 1)) break;
    } while (mark(&r, ','));
  if (count == 0) run->notice(run, WEIR_WARN, text("the source names no node"), text("give the token Sys.Audit on /nodes"));
  return WEIR_OK;
}

static weir_status create(weir_host const* host, weir_str options_json, void** self) {
  (void)options_json;
  struct stage* const s = malloc(sizeof *s);
  if (s == NULL) return WEIR_E_NOMEM;
  s->host = host;
  *self = s;
  return WEIR_OK;
}

static weir_status collect(void* self, weir_run const* run) {
  struct stage const* const s = self;
  weir_reply const* reply = NULL;
  weir_status status = run->fetch(run, text("/nodes"), &reply);
  if (status == WEIR_CANCELLED) return status;
  if (reply == NULL) return failed(s, status, "GET /nodes: the host did not take the request", "");
  if (status == WEIR_OK)
    status = read_nodes(s, run, reply->body);
  else
    s->host->fail(s->host, reply->error, text(""));
  reply->release(reply);
  return status;
}

static void destroy(void* self) { free(self); }

static weir_stage const c_tags = {WEIR_HEAD(weir_stage),
                                  "c-tags",
                                  "1.0.0",
                                  "Proxmox nodes as tags",
                                  "",
                                  "proxmox",
                                  "[\"extras.tag\"]",
                                  NULL,
                                  create,
                                  collect,
                                  destroy};
static weir_stage const* const stages[] = {&c_tags};
weir_plugin const weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "c-tags", "1.0.0", "Example Org", stages, 1, 0};
