/* weir/abi.h: the whole binary contract between weir and a stage plugin. C11, nothing but two standard headers.
 *
 * A plugin is a shared library with one exported data symbol, `weir_plugin_v1`. It lists stages; the host creates a
 * stage, calls collect() once per source, and destroys it.
 *
 * Reading rules
 *   [stage]  only on the thread on which the host called create(), collect() or destroy()
 *   [any]    from any thread, as long as the object it belongs to is alive
 *   BLOCKS   may wait for the network or for back-pressure
 *   Every pointer is non-null unless it says otherwise. Text is UTF-8. A weir_str is borrowed: it lives as long as the
 *   call it is passed to, unless it says otherwise. No exception, no longjmp and no C++ type may cross.
 *   Structs begin with weir_head and only ever grow at their end: ask WEIR_HAS before touching a member that the other
 *   side may be too old to have.
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

typedef struct weir_str {
  char const* ptr; /* may be null only where len is 0 */
  size_t len;      /* bytes; the text is not zero-terminated */
} weir_str;

typedef struct weir_head {
  uint32_t size; /* sizeof the struct as its owner was compiled */
  uint16_t abi_major, abi_minor;
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
enum { WEIR_TRACE = 0, WEIR_DEBUG = 1, WEIR_INFO = 2, WEIR_WARN = 3, WEIR_ERROR = 4 };

/* An answer of the source or of NetBox. Owned by the host; give it back with release(), exactly once. */
typedef struct weir_reply {
  weir_head h;
  void* ctx;
  uint32_t http_status; /* 0: no answer came (refused, timed out, cut) */
  uint32_t reserved0;
  weir_str body;  /* as it came, decompressed; lives until release() */
  weir_str error; /* empty on success, else one line for people: what was tried, what came back */
  void (*release)(const struct weir_reply* self); /* [any] */
} weir_reply;

/* The host, from create() until destroy() has returned. */
typedef struct weir_host {
  weir_head h;
  void* ctx;
  char const* version;                                                   /* weir's version, zero-terminated */
  void (*log)(const struct weir_host*, int32_t level, weir_str message); /* [any] */
  /* [stage] The reason of the error status that this call is about to return; `hint` says what to do, may be empty. */
  void (*fail)(const struct weir_host*, weir_str message, weir_str hint);
  /* [any] A table of further functions by its id, e.g. WEIR_EXT_NETBOX; null if this host does not have it. */
  void const* (*extension)(const struct weir_host*, char const* id);
} weir_host;

/* One collect(): a stage reads one source. Valid only inside collect(). */
typedef struct weir_run {
  weir_head h;
  void* ctx;
  uint32_t dry; /* 1: `weir plan`, nothing will be written */
  uint32_t reserved0;
  char const* source;                           /* the source's name in the configuration, zero-terminated */
  int32_t (*cancelled)(const struct weir_run*); /* [any] non-zero: stop; never blocks */
  void (*progress)(const struct weir_run*, uint64_t done, uint64_t total, weir_str note); /* [any] total 0: unknown */
  /* [any] BLOCKS under back-pressure. One desired object: NetBox shall hold an object of `kind` with this natural key
   * and these fields. key_json holds exactly the kind's key members; a member named in the kind's refs holds the key
   * object of its target. fields_json holds the other fields that are known; a field left out is left as it is in
   * NetBox; its member "$create" holds fields that are written only when the object is new. Copied at once. */
  weir_status (*emit)(const struct weir_run*, weir_str kind, weir_str key_json, weir_str fields_json);
  /* [stage] "All objects of this kind inside this scope have been emitted": only then may others that NetBox holds in
   * this scope, and that bear weir's mark, be taken for gone. scope_json: {"field": value, ...}, all must be equal. */
  weir_status (*complete)(const struct weir_run*, weir_str kind, weir_str scope_json);
  /* [any] BLOCKS. GET `target` (path and query) from this run's source; the host does authentication, TLS, pacing and
   * retries. WEIR_OK: answered 2xx. WEIR_E_SOURCE: *out says why. *out is set (release it) in both cases, and null
   * with any other status. */
  weir_status (*fetch)(const struct weir_run*, weir_str target, weir_reply const** out);
  /* [stage] BLOCKS until all have been answered. The host reads several at once and calls `got` on this thread, in any
   * order, once per target; `got` releases its reply. A non-zero return of `got` stops the rest and is returned. */
  weir_status (*fetch_many)(const struct weir_run*, weir_str const* targets, size_t count,
                            weir_status (*got)(void* user, size_t index, weir_status, weir_reply const*), void* user);
  /* [any] Something the operator should know about this run: appears in the report with its hint. A stage that
   * returns WEIR_OK after notices at WEIR_WARN has succeeded. At WEIR_ERROR the run ends with exit code 3. */
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
  /* [stage] BLOCKS. method: "POST", "PATCH", "PUT" or "DELETE". While planning nothing is sent: the request is
   * recorded in the plan and *out is an empty reply with http_status 0 and WEIR_OK. */
  weir_status (*write)(weir_run const*, weir_str method, weir_str target, weir_str body_json, weir_reply const** out);
} weir_netbox_v1;

/* Extension "weir.log/1": lines with fields of their own, which logs in logfmt or JSON keep apart. */
#define WEIR_EXT_LOG "weir.log/1"
typedef struct weir_field {
  weir_str key; /* [a-z][a-z0-9_]*, at most 64 bytes; another key is dropped with a warning in the log */
  weir_str value;
} weir_field;
typedef struct weir_log_v1 {
  weir_head h;
  /* [any] Non-zero where lines of this level are kept: worth asking before composing a long one. Never blocks. */
  int32_t (*enabled)(weir_host const*, int32_t level);
  /* [any] As weir_host.log. `fields` may be null where count is 0; copied at once. At most 16 are kept. */
  void (*write)(weir_host const*, int32_t level, weir_str message, weir_field const* fields, size_t count);
} weir_log_v1;

/* Extension "weir.metrics/1": numbers of the stage's own, in the report and wherever weir exports its metrics, under the
 * labels of this stage and source. Names: [a-z][a-z0-9_]*, at most 64 bytes; base units as a suffix (_seconds, _bytes),
 * counters end in _total. One name is either a counter or a gauge for ever. At most 200 names per stage and source. */
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
 * Keys: 1 to 128 bytes of printable ASCII. Values: any bytes, at most 64 KiB. At most 1000 keys. No secrets: the file
 * is not encrypted. */
#define WEIR_EXT_STATE "weir.state/1"
typedef struct weir_state_v1 {
  weir_head h;
  /* [stage] BLOCKS (disk). WEIR_OK: *out is null if there is no such key, else its body is the value; release it. */
  weir_status (*get)(weir_run const*, weir_str key, weir_reply const** out);
  /* [stage] Copied at once. WEIR_E_INVALID: a limit above. */
  weir_status (*put)(weir_run const*, weir_str key, weir_str value);
  /* [stage] WEIR_OK also if there is no such key. */
  weir_status (*erase)(weir_run const*, weir_str key);
} weir_state_v1;

/* One stage. All text is owned by the plugin, in static storage, zero-terminated. */
typedef struct weir_stage {
  weir_head h;
  char const* id; /* [a-z][a-z0-9-]*, unique among all loaded plugins */
  char const* version;
  char const* title;          /* a few words for people */
  char const* needs;          /* ids of stages that must come first, separated by spaces; "" for none */
  char const* source_type;    /* "proxmox", "rest", ...; "" for a stage that reads no source and runs once */
  char const* kinds_json;     /* JSON array: kinds that NetBox itself does not have, and ids of built-in ones used */
  char const* options_schema; /* JSON Schema (draft 7) of its options; null: takes none */
  weir_status (*create)(weir_host const*, weir_str options_json, void** self); /* [stage] options passed the schema */
  weir_status (*collect)(void* self, weir_run const*);                         /* [stage] */
  void (*destroy)(void* self);                                                 /* [stage] */
} weir_stage;

typedef struct weir_plugin {
  weir_head h;
  char const *name, *version, *vendor;
  weir_stage const* const* stages;
  uint32_t stage_count;
  uint32_t reserved0;
} weir_plugin;

#define WEIR_HEAD(T) \
  { (uint32_t)sizeof(T), WEIR_ABI_MAJOR, WEIR_TARGET_MINOR }
#if defined(__GNUC__)
#define WEIR_EXPORT __attribute__((visibility("default")))
#else
#define WEIR_EXPORT
#endif
WEIR_EXPORT extern const weir_plugin weir_plugin_v1; /* the one exported symbol */

#ifdef __cplusplus
}
#endif
#endif
