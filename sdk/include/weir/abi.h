/* weir/abi.h: the whole binary contract between weir and a stage plugin. C11, nothing but two standard headers.
 *
 * A plugin is a shared library with one exported data symbol, `weir_plugin_v1`. It lists stages; for each source the
 * host creates the stage, calls collect() once, and destroys it. A whole stage stands at the end of this file.
 *
 * Threads
 *   [stage]  only on the thread on which the host called create(), collect() or destroy(): it is one and the same
 *   [any]    from any thread, as long as the object it belongs to is alive
 *   BLOCKS   may wait for the network, the disk or for back-pressure; everything else returns at once
 *   Two sources may be collected at the same time, each with a `self`, a weir_host and a weir_run of its own.
 *
 * Ownership
 *   Every pointer is non-null unless it says otherwise. What is passed is borrowed: text, arrays and structs given to a
 *   function are read before it returns and belong to the caller. What comes back belongs to the host; the one thing to
 *   give back is a weir_reply. Text is UTF-8, at most 256 MiB, and not zero-terminated unless it is a char const*.
 *
 * Errors
 *   Statuses are values; no exception, no longjmp and no C++ type may cross. Each function names the statuses of its
 *   own. Besides these every one that returns weir_status may return
 *     WEIR_CANCELLED  clean up and return it, at once and without fail()
 *     WEIR_E_INVALID  an argument is against the rules above or the function's own
 *     WEIR_E_MISUSE   wrong thread, or outside collect()
 *     WEIR_E_NOMEM    out of memory
 *     WEIR_E_FAILED   weir itself failed
 *   On an error a stage does without what it asked for, or calls fail() and returns the status. Ill-formed arguments
 *   and misuse are remembered: the run fails, whatever the stage returns. (An object that emit() refuses for what it
 *   says is not one of these: it costs that object.) A call that failed leaves nothing behind to undo.
 *
 * Growth
 *   Structs begin with weir_head and only ever grow at their end: ask WEIR_HAS before touching a member that the other
 *   side may be too old to have. sdk/GUIDE.md says what every weir 1.x keeps.
 */
#ifndef WEIR_ABI_H
#define WEIR_ABI_H
#include <stddef.h>
#include <stdint.h>

#define WEIR_ABI_MAJOR 1  /* breaks: a new symbol name, new structs */
#define WEIR_ABI_MINOR 0  /* additions: new members at the end of a struct */
#ifndef WEIR_TARGET_MINOR /* what this plugin needs at least; pin the lowest that does */
#define WEIR_TARGET_MINOR WEIR_ABI_MINOR
#endif

/* True where the other side's struct `p` (of type T) is long enough to hold member m. */
#define WEIR_HAS(p, T, m) ((p)->h.size >= offsetof(T, m) + sizeof((p)->m))

#ifdef __cplusplus
extern "C" {
#endif

/* Text or bytes, borrowed: as an argument it lives as long as the call, as a member as long as its struct. */
typedef struct weir_str {
  char const* ptr; /* may be null only where len is 0 */
  size_t len;      /* bytes; the text is not zero-terminated */
} weir_str;

typedef struct weir_head {
  uint32_t size;                 /* sizeof the struct as its owner was compiled */
  uint16_t abi_major, abi_minor; /* of the host: what it speaks; of a plugin: what it needs at least */
} weir_head;

/* 0 is success, > 0 an expected end, < 0 an error. Treat values you do not know as errors. */
typedef int32_t weir_status;
enum {
  WEIR_OK = 0,
  WEIR_CANCELLED = 1,  /* the run is being stopped: return at once with this value */
  WEIR_E_FAILED = -1,  /* anything else; say what with weir_host.fail */
  WEIR_E_INVALID = -2, /* an argument is wrong: no JSON, unknown kind, key incomplete */
  WEIR_E_SOURCE = -3,  /* the source (Proxmox VE, ...) refused or did not answer */
  WEIR_E_NETBOX = -4,  /* NetBox refused or did not answer */
  WEIR_E_MISUSE = -5,  /* the contract was broken, e.g. a [stage] function on another thread */
  WEIR_E_NOMEM = -6
};
/* Levels of log lines and notices. A value outside is taken for the nearest. */
enum { WEIR_TRACE = 0, WEIR_DEBUG = 1, WEIR_INFO = 2, WEIR_WARN = 3, WEIR_ERROR = 4 };

/* An answer of the source or of NetBox, or a value of weir.state/1. Owned by the host and unchanging until it is given
 * back with release(), exactly once, at the latest in destroy(). */
typedef struct weir_reply {
  weir_head h;
  void* ctx;            /* the host's; not for the stage */
  uint32_t http_status; /* 0: no answer came (refused, timed out, cut), or it was not HTTP */
  uint32_t reserved0;
  weir_str body;  /* as it came, decompressed; any bytes */
  weir_str error; /* empty on success, else one line for people: what was tried, what came back */
  /* [any] Frees body and error; `self` is not to be touched afterwards. */
  void (*release)(const struct weir_reply* self);
} weir_reply;

/* The host, from the call of create() until destroy() has returned (or create() has, where it failed). */
typedef struct weir_host {
  weir_head h;
  void* ctx;           /* the host's; not for the stage */
  char const* version; /* weir's version, zero-terminated; lives as long as the host */
  /* [any] One line for the log. Bytes of `message` that are no UTF-8 become U+FFFD. Never fails. */
  void (*log)(const struct weir_host*, int32_t level, weir_str message);
  /* [stage] The reason of the error status that this call (create or collect) is about to return; `hint` says what to
   * do about it, may be empty. The last one counts; with WEIR_OK or WEIR_CANCELLED it is forgotten. Copied at once. */
  void (*fail)(const struct weir_host*, weir_str message, weir_str hint);
  /* [any] A table of further functions by its id (zero-terminated), e.g. WEIR_EXT_NETBOX; null if this host does not
   * have it, which a stage must be able to live with. The table lives as long as the host. */
  void const* (*extension)(const struct weir_host*, char const* id);
} weir_host;

/* One collect(): a stage reads one source. Valid, like everything it points to, only inside collect(). */
typedef struct weir_run {
  weir_head h;
  void* ctx;    /* the host's; not for the stage */
  uint32_t dry; /* 1: `weir plan`, nothing will be written */
  uint32_t reserved0;
  char const* source; /* the source's name in the configuration, zero-terminated; "" for a stage without one */
  /* [any] Non-zero: stop, and return WEIR_CANCELLED. Never blocks; for long loops that call nothing else here. */
  int32_t (*cancelled)(const struct weir_run*);
  /* [any] For those who watch. total 0: unknown. `note` may be empty. Never fails. */
  void (*progress)(const struct weir_run*, uint64_t done, uint64_t total, weir_str note);
  /* [any] BLOCKS under back-pressure. One desired object: NetBox shall hold an object of `kind` with this natural key
   * and these fields. key_json holds exactly the kind's key members; a member named in the kind's refs holds the key
   * object of its target. fields_json holds the other fields that are known; a field left out is left as it is in
   * NetBox; its member "$create" holds fields that are written only when the object is new. Copied at once.
   * WEIR_E_INVALID: no JSON object, a kind the stage does not list, not exactly its key: the object is refused, and
   * nothing of its kind is taken for gone in this run. */
  weir_status (*emit)(const struct weir_run*, weir_str kind, weir_str key_json, weir_str fields_json);
  /* [stage] "All objects of this kind inside this scope have been emitted": only then may others that NetBox holds in
   * this scope, and that bear weir's mark, be taken for gone. scope_json: {"field": value, ...}, all must be equal.
   * WEIR_E_INVALID: no JSON object, or a kind the stage does not list. */
  weir_status (*complete)(const struct weir_run*, weir_str kind, weir_str scope_json);
  /* [any] BLOCKS. GET `target` (path and query, percent-encoded) from this run's source; the host does authentication,
   * TLS, pacing and retries: trying again is of no use. WEIR_OK: answered 2xx. WEIR_E_SOURCE: *out says why. *out is
   * set (release it) in both cases, and null with any other status. */
  weir_status (*fetch)(const struct weir_run*, weir_str target, weir_reply const** out);
  /* [stage] BLOCKS until all have been answered. The host reads several at once and calls `got` on this thread, in any
   * order, once per target, with the status and the reply that fetch() would give; `got` releases its reply. `user` is
   * handed through. `got` may call everything here but fetch_many (WEIR_E_MISUSE). A non-zero return of `got` stops
   * the rest and is returned; so is WEIR_CANCELLED, after which `got` is not called any more. */
  weir_status (*fetch_many)(const struct weir_run*, weir_str const* targets, size_t count,
                            weir_status (*got)(void* user, size_t index, weir_status, weir_reply const*), void* user);
  /* [any] Something the operator should know about this run: appears in the report with its hint (may be empty). Bytes
   * that are no UTF-8 become U+FFFD. A stage that returns WEIR_OK after notices at WEIR_WARN has succeeded. At
   * WEIR_ERROR the run ends with exit code 3. Never fails. */
  void (*notice)(const struct weir_run*, int32_t level, weir_str message, weir_str hint);
} weir_run;

/* Extension "weir.netbox/1": the shared, throttled NetBox client. Every request passes the same gate as weir's own.
 * Emitting is the normal way to write; this is for what emitting cannot say. */
#define WEIR_EXT_NETBOX "weir.netbox/1"
typedef struct weir_netbox_v1 {
  weir_head h;
  /* [any] BLOCKS. GET; `target` is below /api, e.g. "/dcim/sites/?name=x". Same rules for *out as weir_run.fetch, with
   * WEIR_E_NETBOX. Mind that NetBox ignores a filter it does not know. */
  weir_status (*read)(weir_run const*, weir_str target, weir_reply const** out);
  /* [stage] BLOCKS. method: "POST", "PATCH", "PUT" or "DELETE"; body_json may be empty. While planning nothing is sent:
   * the request is recorded in the plan and *out is an empty reply with http_status 0 and WEIR_OK. Same rules for *out
   * as read(). */
  weir_status (*write)(weir_run const*, weir_str method, weir_str target, weir_str body_json, weir_reply const** out);
} weir_netbox_v1;

/* Extension "weir.log/1": lines with fields of their own, which logs in logfmt or JSON keep apart. */
#define WEIR_EXT_LOG "weir.log/1"
typedef struct weir_field {
  weir_str key;   /* [a-z][a-z0-9_]*, at most 64 bytes; another key is dropped with one warning per run in the log. weir's
                   * own names (ts, level, msg, run, stage, source) get an underscore behind them */
  weir_str value; /* text; bytes that are no UTF-8 become U+FFFD */
} weir_field;
typedef struct weir_log_v1 {
  weir_head h;
  /* [any] Non-zero where lines of this level are kept: worth asking before composing a long one. Never blocks. */
  int32_t (*enabled)(weir_host const*, int32_t level);
  /* [any] As weir_host.log. `fields` may be null where count is 0; copied at once. At most 16 are kept. */
  void (*write)(weir_host const*, int32_t level, weir_str message, weir_field const* fields, size_t count);
} weir_log_v1;

/* Extension "weir.metrics/1": numbers of the stage's own, in the report and wherever weir exports its metrics, under
 * the labels of this stage and source. Names: [a-z][a-z0-9_]*, at most 64 bytes; base units as a suffix (_seconds,
 * _bytes), counters end in _total. One name is either a counter or a gauge for ever. At most 200 names per stage and
 * source. */
#define WEIR_EXT_METRICS "weir.metrics/1"
typedef struct weir_metrics_v1 {
  weir_head h;
  /* [any] Counter: begins at 0 with each run; amount is finite and not negative. WEIR_E_INVALID: a rule above. */
  weir_status (*add)(weir_run const*, weir_str name, double amount);
  /* [any] Gauge: the last value counts; any finite number. WEIR_E_INVALID: a rule above. */
  weir_status (*set)(weir_run const*, weir_str name, double value);
} weir_metrics_v1;

/* Extension "weir.state/1": a small key-value store that is kept between runs, apart for each NetBox, source and stage.
 * What is put is seen by get() at once, and kept only when the run has brought everything that this stage emitted into
 * NetBox: a stage may note how far it has read, and reads it again if that was not written. `weir plan` keeps nothing.
 * Keys: 1 to 128 bytes of printable ASCII (0x20 to 0x7e). Values: any bytes, at most 64 KiB. At most 1000 keys. No
 * secrets: the file is not encrypted. */
#define WEIR_EXT_STATE "weir.state/1"
typedef struct weir_state_v1 {
  weir_head h;
  /* [stage] BLOCKS (disk). WEIR_OK: *out is null if there is no such key, else its body is the value; release it. With
   * any other status *out is null. WEIR_E_FAILED: the store cannot be read; going on as if it were empty would only
   * repeat work. */
  weir_status (*get)(weir_run const*, weir_str key, weir_reply const** out);
  /* [stage] BLOCKS (disk). Copied at once. WEIR_E_INVALID: a limit above. WEIR_E_FAILED: as get(). */
  weir_status (*put)(weir_run const*, weir_str key, weir_str value);
  /* [stage] BLOCKS (disk). WEIR_OK also if there is no such key. WEIR_E_FAILED: as get(). */
  weir_status (*erase)(weir_run const*, weir_str key);
} weir_state_v1;

/* Extension "weir.scope/1": which part of its source this run is about, from the configuration's `scope` and --guest. A
 * stage of a source that can be narrowed asks, and emits what lies outside with fields {"$keep": true} and nothing else:
 * it is there, NetBox keeps what it has of it, and it is not taken for gone. */
#define WEIR_EXT_SCOPE "weir.scope/1"
typedef struct weir_scope_v1 {
  weir_head h;
  /* [any] *out: a JSON object, valid as long as the run; "{}" is everything. Its members, each of which may be absent:
   *   "guests"   numbers: only these and what belongs to them are emitted; what they refer to, with "$create" alone;
   *              complete() is without effect
   *   "include"  all of its lists must let a thing through
   *   "exclude"  none of its lists may name it
   * Both hold lists of text, "nodes", "pools", "tags", "vmids" ("100", "100-199"), "names", "storages", "states", and
   * "templates" (true or false). Texts are shell patterns; those of names do not tell upper from lower case. Members of
   * other names may come: a stage that does not know one leaves it aside and says so with a notice. WEIR_E_FAILED: it
   * is not known; *out is empty, and nothing should be emitted. */
  weir_status (*get)(weir_run const*, weir_str* out);
} weir_scope_v1;

/* One stage. The struct and its text are the plugin's, in static storage, unchanging; text is zero-terminated. */
typedef struct weir_stage {
  weir_head h;
  char const* id; /* [a-z][a-z0-9-]*, unique among all loaded plugins */
  char const* version;
  char const* title;          /* a few words for people */
  char const* needs;          /* ids of stages that must come first, separated by spaces; "" for none */
  char const* source_type;    /* "proxmox", "rest", ...; "" for a stage that reads no source and runs once */
  char const* kinds_json;     /* JSON array: kinds that NetBox itself does not have, and ids of built-in ones used */
  char const* options_schema; /* JSON Schema (draft 7) of its options; null: takes none */
  /* [stage] options_json has passed the schema and has its defaults filled in; it lives as long as the call. WEIR_OK:
   * *self (may be null) is handed to collect() and destroy(). Anything else: call fail() first and leave nothing
   * behind; neither is called. No weir_run exists yet: reading begins in collect(). */
  weir_status (*create)(weir_host const*, weir_str options_json, void** self);
  /* [stage] Once. WEIR_OK: everything was read and emitted. WEIR_CANCELLED: only if the host said so first. Else an
   * error: nothing of what it emitted is written, and stages that need this one do not run; what is missing only in
   * part belongs into a notice. Threads of the stage's own have ended when it returns. */
  weir_status (*collect)(void* self, weir_run const*);
  /* [stage] Once after a create() that returned WEIR_OK, whatever collect() came to. Cannot fail. */
  void (*destroy)(void* self);
} weir_stage;

/* What `weir_plugin_v1` is. The struct and all it points to are the plugin's, in static storage, unchanging. The host
 * never unloads a plugin. */
typedef struct weir_plugin {
  weir_head h;
  char const *name, *version, *vendor; /* zero-terminated, for people */
  weir_stage const* const* stages;     /* stage_count pointers, none null */
  uint32_t stage_count;                /* 1 to 1000 */
  uint32_t reserved0;
} weir_plugin;

/* A struct's head, as a constant: weir_stage const s = {WEIR_HEAD(weir_stage), ...}; */
#define WEIR_HEAD(T) \
  { (uint32_t)sizeof(T), WEIR_ABI_MAJOR, WEIR_TARGET_MINOR }
#if defined(__GNUC__)
#define WEIR_EXPORT __attribute__((visibility("default")))
#else
#define WEIR_EXPORT
#endif
WEIR_EXPORT extern const weir_plugin weir_plugin_v1; /* the one exported symbol */

/* The layout of every weir 1.x on 64-bit machines: a compiler or an option that has another says so here. */
#if UINTPTR_MAX == UINT64_MAX
#ifdef __cplusplus
#define WEIR_LAST(T, m, at) static_assert(offsetof(T, m) == (at), "weir: " #T " is laid out otherwise than weir's own")
#else
#define WEIR_LAST(T, m, at) _Static_assert(offsetof(T, m) == (at), "weir: " #T " is laid out otherwise than weir's own")
#endif
WEIR_LAST(weir_str, len, 8);
WEIR_LAST(weir_head, abi_minor, 6);
WEIR_LAST(weir_reply, release, 56);
WEIR_LAST(weir_host, extension, 40);
WEIR_LAST(weir_run, notice, 80);
WEIR_LAST(weir_netbox_v1, write, 16);
WEIR_LAST(weir_field, value, 16);
WEIR_LAST(weir_log_v1, write, 16);
WEIR_LAST(weir_metrics_v1, set, 16);
WEIR_LAST(weir_state_v1, erase, 24);
WEIR_LAST(weir_stage, destroy, 80);
WEIR_LAST(weir_plugin, reserved0, 44);
#undef WEIR_LAST
#endif

#ifdef __cplusplus
}
#endif

/* A whole stage (cc -std=c11 -fPIC -shared -fvisibility=hidden -o hello.so hello.c):
 *
 *   #include <stdlib.h>
 *   #include <string.h>
 *   #include <weir/abi.h>
 *
 *   struct hello {
 *     weir_host const* host;
 *   };
 *
 *   static weir_str text(char const* s) { return (weir_str){s, strlen(s)}; }
 *
 *   static weir_status create(weir_host const* host, weir_str options_json, void** self) {
 *     struct hello* h = malloc(sizeof *h);
 *     (void)options_json;
 *     if (h == NULL) return WEIR_E_NOMEM;
 *     h->host = host;
 *     *self = h;
 *     return WEIR_OK;
 *   }
 *
 *   static weir_status collect(void* self, weir_run const* run) {
 *     weir_host const* host = ((struct hello*)self)->host;
 *     weir_reply const* version = NULL;
 *     weir_status s = run->fetch(run, text("/version"), &version);
 *     if (s != WEIR_OK) {
 *       if (s < 0) host->fail(host, version != NULL ? version->error : text("GET /version"), text(""));
 *       if (version != NULL) version->release(version);
 *       return s;
 *     }
 *     version->release(version);
 *     s = run->emit(run, text("extras.tag"), text("{\"slug\":\"hello\"}"), text("{\"name\":\"Hello\"}"));
 *     if (s < 0) host->fail(host, text("the tag was refused"), text(""));
 *     return s;
 *   }
 *
 *   static void destroy(void* self) { free(self); }
 *
 *   static weir_stage const hello = {WEIR_HEAD(weir_stage), "hello", "1.0.0", "a greeting", "", "proxmox",
 *                                    "[\"extras.tag\"]", NULL, create, collect, destroy};
 *   static weir_stage const* const stages[] = {&hello};
 *   const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "hello", "1.0.0", "Example Org", stages, 1, 0};
 */
#endif
