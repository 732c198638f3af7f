/* Stages that use the extensions log, metrics, state and scope, one particular way each. */
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <weir/abi.h>

static weir_host const* host; /* of the run under way: the test runs one at a time */

static weir_str text(char const* s) {
  weir_str out = {s, strlen(s)};
  return out;
}

static weir_status create(weir_host const* h, weir_str options, void** self) {
  (void)options;
  host = h;
  *self = NULL;
  return WEIR_OK;
}

static void destroy(void* self) { (void)self; }

static weir_log_v1 const* logs(void) { return host->extension(host, WEIR_EXT_LOG); }
static weir_metrics_v1 const* metrics(void) { return host->extension(host, WEIR_EXT_METRICS); }
static weir_state_v1 const* state(void) { return host->extension(host, WEIR_EXT_STATE); }

static weir_status want(weir_status expected, weir_status got) { return expected == got ? WEIR_OK : WEIR_E_FAILED; }

/* --- log ---------------------------------------------------------------------------------------------------------- */

static weir_status log_fields(void* self, weir_run const* run) {
  weir_field const fields[] = {{text("vmid"), text("101")}, {text("node"), text("caf\xE9")}};
  (void)self, (void)run;
  if (logs()->enabled(host, WEIR_TRACE) || !logs()->enabled(host, WEIR_DEBUG)) return WEIR_E_FAILED;
  logs()->write(host, WEIR_INFO, text("seen"), fields, 2);
  logs()->write(host, WEIR_INFO, text("alone"), NULL, 0);
  return WEIR_OK;
}

static weir_status log_bad_keys(void* self, weir_run const* run) {
  static char const long_key[] = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"; /* 65 */
  weir_field const fields[] = {{text("VmId"), text("1")},
                               {text(""), text("2")},
                               {text(long_key), text("3")},
                               {{NULL, 3}, text("4")},
                               {text("good"), text("5")}};
  int i;
  (void)self, (void)run;
  for (i = 0; i < 3; ++i) logs()->write(host, WEIR_INFO, text("odd"), fields, 5);
  return WEIR_OK;
}

static weir_status log_many_fields(void* self, weir_run const* run) {
  weir_field fields[20];
  int i;
  (void)self, (void)run;
  for (i = 0; i < 20; ++i) {
    fields[i].key = text("a");
    fields[i].value = text("b");
  }
  logs()->write(host, WEIR_INFO, text("many"), fields, 20);
  return WEIR_OK;
}

static weir_status log_null_fields(void* self, weir_run const* run) {
  (void)self, (void)run;
  logs()->write(host, WEIR_INFO, text("kept"), NULL, 2);
  return WEIR_OK;
}

/* --- metrics ------------------------------------------------------------------------------------------------------ */

static weir_status metrics_good(void* self, weir_run const* run) {
  (void)self;
  if (metrics()->add(run, text("guests_total"), 2) != WEIR_OK) return WEIR_E_FAILED;
  if (metrics()->add(run, text("guests_total"), 0.5) != WEIR_OK) return WEIR_E_FAILED;
  if (metrics()->set(run, text("age_seconds"), -4) != WEIR_OK) return WEIR_E_FAILED;
  return metrics()->set(run, text("age_seconds"), -5);
}

#define METRIC(NAME, CALL)                                   \
  static weir_status NAME(void* self, weir_run const* run) { \
    (void)self;                                              \
    return want(WEIR_E_INVALID, metrics()->CALL);            \
  }
METRIC(metrics_bad_name, set(run, text("Guests"), 1))
METRIC(metrics_no_name, set(run, text(""), 1))
METRIC(metrics_nan, set(run, text("guests"), (double)NAN))
METRIC(metrics_infinite, add(run, text("guests_total"), (double)INFINITY))
METRIC(metrics_negative, add(run, text("guests_total"), -1))
METRIC(metrics_no_total, add(run, text("guests"), 1))

static weir_status metrics_refused(void* self, weir_run const* run) {
  (void)self;
  return metrics()->set(run, text("guests"), 1);
}

static void* measure_here(void* run_pointer) {
  weir_run const* run = run_pointer;
  int i;
  for (i = 0; i < 500; ++i) {
    metrics()->add(run, text("rounds_total"), 1);
    logs()->write(host, WEIR_INFO, text("round"), NULL, 0);
  }
  return NULL;
}

static weir_status metrics_threads(void* self, weir_run const* run) {
  pthread_t threads[4];
  int i;
  (void)self;
  for (i = 0; i < 4; ++i)
    if (pthread_create(&threads[i], NULL, measure_here, (void*)run) != 0) return WEIR_E_NOMEM;
  for (i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  return WEIR_OK;
}

/* --- state -------------------------------------------------------------------------------------------------------- */

/* Reads "cursor", puts one more, erases "old"; keeps bytes of every kind. */
static weir_status state_counts(void* self, weir_run const* run) {
  static char const raw[] = {0, 1, (char)0xFF};
  weir_str const value = {raw, sizeof raw};
  weir_reply const* reply = NULL;
  weir_status s = state()->get(run, text("cursor"), &reply);
  (void)self;
  if (s != WEIR_OK) return s;
  if (reply == NULL) return state()->put(run, text("cursor"), text("1"));
  s = reply->body.len == 1 && reply->body.ptr[0] == '1' ? state()->put(run, text("cursor"), text("2")) : WEIR_E_FAILED;
  reply->release(reply);
  if (s != WEIR_OK) return s;
  if (state()->erase(run, text("old")) != WEIR_OK || state()->erase(run, text("never there")) != WEIR_OK)
    return WEIR_E_FAILED;
  return state()->put(run, text("raw bytes"), value);
}

static weir_status state_leaks(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  (void)self;
  return state()->get(run, text("cursor"), &reply);
}

static weir_status state_null_out(void* self, weir_run const* run) {
  (void)self;
  return want(WEIR_E_INVALID, state()->get(run, text("cursor"), NULL));
}

static char much[(64 << 10) + 1];

#define STATE(NAME, EXPECTED, CALL)                          \
  static weir_status NAME(void* self, weir_run const* run) { \
    (void)self;                                              \
    return want(EXPECTED, state()->CALL);                    \
  }
static weir_str bytes(size_t n) {
  weir_str out = {much, n};
  memset(much, 'k', sizeof much);
  return out;
}
static weir_str nowhere(void) {
  weir_str out = {NULL, 3};
  return out;
}
STATE(state_empty_key, WEIR_E_INVALID, put(run, text(""), text("v")))
STATE(state_odd_key, WEIR_E_INVALID, put(run, text("caf\xC3\xA9"), text("v")))
STATE(state_long_key, WEIR_E_INVALID, erase(run, bytes(129)))
STATE(state_longest_key, WEIR_OK, put(run, bytes(128), text("v")))
STATE(state_long_value, WEIR_E_INVALID, put(run, text("k"), bytes(sizeof much)))
STATE(state_longest_value, WEIR_OK, put(run, text("k"), bytes(sizeof much - 1)))
STATE(state_null_value, WEIR_E_INVALID, put(run, text("k"), nowhere()))

static weir_status state_put_said;
static void* put_here(void* run_pointer) {
  state_put_said = state()->put((weir_run const*)run_pointer, text("k"), text("v"));
  return NULL;
}
static weir_status state_thread(void* self, weir_run const* run) {
  pthread_t thread;
  (void)self;
  if (pthread_create(&thread, NULL, put_here, (void*)run) != 0) return WEIR_E_NOMEM;
  pthread_join(thread, NULL);
  return want(WEIR_E_MISUSE, state_put_said);
}

static weir_run const* kept;
static weir_status keeps_run(void* self, weir_run const* run) {
  (void)self;
  kept = run;
  return WEIR_OK;
}
static void puts_late(void* self) {
  (void)self;
  state()->put(kept, text("k"), text("v"));
}
static void measures_late(void* self) {
  (void)self;
  metrics()->set(kept, text("late"), 1);
}

static weir_status state_passes_on(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  (void)self;
  return state()->get(run, text("cursor"), &reply);
}
static weir_status state_put_passes_on(void* self, weir_run const* run) {
  (void)self;
  return state()->put(run, text("cursor"), text("v"));
}

/* --- scope -------------------------------------------------------------------------------------------------------- */

static weir_scope_v1 const* scope(void) { return host->extension(host, WEIR_EXT_SCOPE); }

/* Asked twice it is the same text, at the same place. */
static weir_status scope_is_logged(void* self, weir_run const* run) {
  weir_str first = {NULL, 0}, second = {NULL, 0};
  (void)self;
  if (scope()->get(run, &first) != WEIR_OK || scope()->get(run, &second) != WEIR_OK) return WEIR_E_FAILED;
  if (first.ptr != second.ptr || first.len != second.len) return WEIR_E_FAILED;
  host->log(host, WEIR_INFO, first);
  return WEIR_OK;
}

static weir_status scope_null_out(void* self, weir_run const* run) {
  (void)self;
  return want(WEIR_E_INVALID, scope()->get(run, NULL));
}

static weir_status scope_passes_on(void* self, weir_run const* run) {
  weir_str out = {"x", 1};
  weir_status const s = scope()->get(run, &out);
  (void)self;
  return out.len == 0 ? s : WEIR_OK;
}

static void asks_late(void* self) {
  weir_str out = {NULL, 0};
  (void)self;
  scope()->get(kept, &out);
}

#define STAGE(ID, COLLECT, DESTROY)                                                                       \
  &(const weir_stage) {                                                                                   \
    WEIR_HEAD(weir_stage), ID, "1", ID, "", "proxmox", "[\"extras.tag\"]", NULL, create, COLLECT, DESTROY \
  }
#define PLAIN(ID, COLLECT) STAGE(ID, COLLECT, destroy)

static weir_stage const* const stages[] = {
    PLAIN("log-fields", log_fields),
    PLAIN("log-bad-keys", log_bad_keys),
    PLAIN("log-many-fields", log_many_fields),
    PLAIN("log-null-fields", log_null_fields),
    PLAIN("metrics-good", metrics_good),
    PLAIN("metrics-bad-name", metrics_bad_name),
    PLAIN("metrics-no-name", metrics_no_name),
    PLAIN("metrics-nan", metrics_nan),
    PLAIN("metrics-infinite", metrics_infinite),
    PLAIN("metrics-negative", metrics_negative),
    PLAIN("metrics-no-total", metrics_no_total),
    PLAIN("metrics-refused", metrics_refused),
    PLAIN("metrics-threads", metrics_threads),
    STAGE("metrics-late", keeps_run, measures_late),
    PLAIN("state-counts", state_counts),
    PLAIN("state-leaks", state_leaks),
    PLAIN("state-null-out", state_null_out),
    PLAIN("state-empty-key", state_empty_key),
    PLAIN("state-odd-key", state_odd_key),
    PLAIN("state-long-key", state_long_key),
    PLAIN("state-longest-key", state_longest_key),
    PLAIN("state-long-value", state_long_value),
    PLAIN("state-longest-value", state_longest_value),
    PLAIN("state-null-value", state_null_value),
    PLAIN("state-thread", state_thread),
    STAGE("state-late", keeps_run, puts_late),
    PLAIN("state-passes-on", state_passes_on),
    PLAIN("state-put-passes-on", state_put_passes_on),
    PLAIN("scope-is-logged", scope_is_logged),
    PLAIN("scope-null-out", scope_null_out),
    PLAIN("scope-passes-on", scope_passes_on),
    STAGE("scope-late", keeps_run, asks_late),
};

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin),         "extends", "1", "weir's tests", stages,
                                    sizeof stages / sizeof *stages, 0};
