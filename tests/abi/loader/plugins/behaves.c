/* Stages that behave in one particular way each while they run; the test has one case per stage. */
#include <pthread.h>
#include <string.h>
#include <weir/abi.h>

static weir_host const* host; /* of the run under way: the test runs one at a time */

static weir_str text(char const* s) {
  weir_str out = {s, strlen(s)};
  return out;
}

static weir_status emit(weir_run const* run, char const* kind, char const* key, char const* fields) {
  return run->emit(run, text(kind), text(key), text(fields));
}

static weir_status plain_create(weir_host const* h, weir_str options, void** self) {
  (void)options;
  host = h;
  *self = NULL;
  return WEIR_OK;
}

static void plain_destroy(void* self) {
  (void)self;
  host->log(host, WEIR_DEBUG, text("destroyed"));
}

/* --- ends --------------------------------------------------------------------------------------------------------- */

static weir_status returns_42(void* self, weir_run const* run) {
  (void)self, (void)run;
  return 42;
}

static weir_status silent(void* self, weir_run const* run) {
  (void)self, (void)run;
  return WEIR_E_FAILED;
}

static weir_status says_why(void* self, weir_run const* run) {
  (void)self, (void)run;
  host->fail(host, text("there is no pool \"a\""), text("create it"));
  return WEIR_E_FAILED;
}

static weir_status says_but_succeeds(void* self, weir_run const* run) {
  (void)self, (void)run;
  host->fail(host, text("never mind"), text(""));
  return WEIR_OK;
}

static weir_status cancels(void* self, weir_run const* run) {
  (void)self;
  return run->cancelled(run) ? WEIR_CANCELLED : WEIR_OK;
}

static weir_status create_refuses(weir_host const* h, weir_str options, void** self) {
  (void)options, (void)self;
  h->fail(h, text("the directory is not there"), text("make one"));
  return WEIR_E_INVALID;
}

static weir_status never_called(void* self, weir_run const* run) {
  (void)self;
  run->notice(run, WEIR_ERROR, text("collect() after a failed create()"), text(""));
  return WEIR_OK;
}

/* --- fetch and replies -------------------------------------------------------------------------------------------- */

static weir_status fetches(char const* target, weir_run const* run) {
  weir_reply const* reply = NULL;
  weir_status const status = run->fetch(run, text(target), &reply);
  if (reply != NULL) reply->release(reply);
  return status;
}

static weir_status denied(void* self, weir_run const* run) {
  (void)self;
  return fetches("/denied", run);
}

static weir_status unanswered(void* self, weir_run const* run) {
  (void)self;
  return fetches("/gone", run);
}

static weir_status forges(void* self, weir_run const* run) {
  (void)self;
  fetches("/a HTTP/1.1\r\nX: y", run);
  return WEIR_OK;
}

static weir_status double_release(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  (void)self;
  if (run->fetch(run, text("/ok"), &reply) != WEIR_OK) return WEIR_E_FAILED;
  reply->release(reply);
  reply->release(reply);
  return WEIR_OK;
}

static weir_status leaks(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  int i;
  (void)self;
  for (i = 0; i < 7; ++i)
    if (run->fetch(run, text("/ok"), &reply) != WEIR_OK) return WEIR_E_FAILED;
  return WEIR_OK;
}

static weir_status null_out(void* self, weir_run const* run) {
  (void)self;
  return run->fetch(run, text("/ok"), NULL) == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

/* --- emit --------------------------------------------------------------------------------------------------------- */

static weir_status emits_200k(void* self, weir_run const* run) {
  int i;
  (void)self;
  for (i = 0; i < 200000; ++i)
    if (emit(run, "extras.tag", "{\"slug\":\"t\"}", "{\"name\":\"T\",\"description\":\"\xC3\xA4\xE2\x82\xAC\"}") !=
        WEIR_OK)
      return WEIR_E_FAILED;
  return run->complete(run, text("extras.tag"), text("{}"));
}

static weir_status returns_what_emit_said(void* self, weir_run const* run) {
  (void)self;
  return emit(run, "extras.tag", "{\"slug\":\"x\"}", "{}");
}

static weir_status ignores_what_emit_said(void* self, weir_run const* run) {
  (void)self;
  emit(run, "extras.tag", "{\"slug\":\"x\"}", "{}");
  return WEIR_OK;
}

static weir_status bad_utf8(void* self, weir_run const* run) {
  (void)self;
  return emit(run, "extras.tag", "{\"slug\":\"x\"}", "{\"name\":\"\xE4\"}") == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

static weir_status null_text(void* self, weir_run const* run) {
  weir_str const nothing = {NULL, 5};
  (void)self;
  return run->emit(run, text("extras.tag"), nothing, text("{}")) == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

static weir_status empty_kind(void* self, weir_run const* run) {
  (void)self;
  return emit(run, "", "{}", "{}") == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

static weir_status bad_words(void* self, weir_run const* run) {
  (void)self;
  host->log(host, 99, text("caf\xE9"));
  run->notice(run, -5, text("caf\xE9"), text(""));
  return WEIR_OK;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static void* complete_here(void* run_pointer) {
  weir_run const* run = run_pointer;
  static const weir_status misuse = WEIR_E_MISUSE;
  return run->complete(run, text("extras.tag"), text("{}")) == misuse ? (void*)&misuse : NULL;
}

static weir_status other_thread(void* self, weir_run const* run) {
  pthread_t thread;
  void* refused = NULL;
  (void)self;
  if (pthread_create(&thread, NULL, complete_here, (void*)run) != 0) return WEIR_E_NOMEM;
  pthread_join(thread, &refused);
  return refused != NULL ? WEIR_OK : WEIR_E_FAILED;
}

static void* emit_here(void* run_pointer) {
  weir_run const* run = run_pointer;
  int i;
  for (i = 0; i < 500; ++i) {
    weir_reply const* reply = NULL;
    emit(run, "extras.tag", "{\"slug\":\"t\"}", "{}");
    if (run->fetch(run, text("/ok"), &reply) == WEIR_OK) reply->release(reply);
    run->progress(run, (uint64_t)i, 500, text(""));
    host->log(host, WEIR_TRACE, text("one more"));
  }
  return NULL;
}

static weir_status emits_from_threads(void* self, weir_run const* run) {
  pthread_t threads[4];
  int i;
  (void)self;
  for (i = 0; i < 4; ++i)
    if (pthread_create(&threads[i], NULL, emit_here, (void*)run) != 0) return WEIR_E_NOMEM;
  for (i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  return WEIR_OK;
}

static weir_run const* kept;

static weir_status keeps_run(void* self, weir_run const* run) {
  (void)self;
  kept = run;
  return WEIR_OK;
}

static void uses_kept_run(void* self) {
  (void)self;
  emit(kept, "extras.tag", "{\"slug\":\"late\"}", "{}");
}

/* --- extension ---------------------------------------------------------------------------------------------------- */

static weir_status extension(void* self, weir_run const* run) {
  weir_netbox_v1 const* netbox = host->extension(host, WEIR_EXT_NETBOX);
  weir_reply const* reply = NULL;
  (void)self;
  if (host->extension(host, "weir.teapot/1") != NULL) return WEIR_E_FAILED;
  if (netbox == NULL || !WEIR_HAS(netbox, weir_netbox_v1, write)) return WEIR_E_FAILED;
  if (netbox->read(run, text("/dcim/sites/?name=x"), &reply) != WEIR_OK) return WEIR_E_NETBOX;
  reply->release(reply);
  if (netbox->write(run, text("PATCH"), text("/dcim/sites/1/"), text("{\"name\":\"y\"}"), &reply) != WEIR_OK)
    return WEIR_E_NETBOX;
  reply->release(reply);
  return WEIR_OK;
}

static weir_status bad_method(void* self, weir_run const* run) {
  weir_netbox_v1 const* netbox = host->extension(host, WEIR_EXT_NETBOX);
  weir_reply const* reply = NULL;
  (void)self;
  return netbox->write(run, text("BREW"), text("/pots/"), text(""), &reply) == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

/* --- fetch_many --------------------------------------------------------------------------------------------------- */

enum { MANY = 300 };
static char names[MANY][16];
static weir_str targets[MANY];

static void name_targets(void) {
  int i;
  for (i = 0; i < MANY; ++i) {
    memcpy(names[i], "/many/000", 10);
    names[i][6] = (char)('0' + i / 100);
    names[i][7] = (char)('0' + i / 10 % 10);
    names[i][8] = (char)('0' + i % 10);
    targets[i] = text(names[i]);
  }
}

struct tally {
  weir_run const* run;
  pthread_t thread;
  int calls, good, failed, wrong, limit;
  char seen[MANY];
};

static weir_status count_one(void* user, size_t index, weir_status status, weir_reply const* reply) {
  struct tally* t = user;
  ++t->calls;
  /* On the stage's thread, once per target, with the body of its own target. */
  if (!pthread_equal(t->thread, pthread_self()) || t->seen[index]++ != 0) ++t->wrong;
  if (status == WEIR_OK) {
    ++t->good;
    if (reply->body.len != targets[index].len || memcmp(reply->body.ptr, targets[index].ptr, targets[index].len) != 0)
      ++t->wrong;
  } else {
    ++t->failed;
    if (status != WEIR_E_SOURCE || reply->error.len == 0) ++t->wrong;
  }
  reply->release(reply);
  return t->limit != 0 && t->calls == t->limit ? 7 : WEIR_OK;
}

static weir_status run_many(weir_run const* run, struct tally* t) {
  name_targets();
  t->run = run;
  t->thread = pthread_self();
  return run->fetch_many(run, targets, MANY, count_one, t);
}

static weir_status many(void* self, weir_run const* run) {
  struct tally t = {0};
  weir_status const status = run_many(run, &t);
  (void)self;
  run->progress(run, (uint64_t)t.good, (uint64_t)t.failed, text("counted"));
  return status != WEIR_OK ? status : t.wrong != 0 || t.calls != MANY ? WEIR_E_FAILED : WEIR_OK;
}

static weir_status many_stop(void* self, weir_run const* run) {
  struct tally t = {0};
  weir_status status;
  (void)self;
  t.limit = 3;
  status = run_many(run, &t);
  return status == 7 && t.calls == 3 && t.wrong == 0 ? WEIR_OK : WEIR_E_FAILED;
}

static weir_status many_passes_on(void* self, weir_run const* run) {
  struct tally t = {0};
  (void)self;
  return run_many(run, &t);
}

static weir_status fetch_again(void* user, size_t index, weir_status status, weir_reply const* reply) {
  struct tally* t = user;
  (void)index, (void)status;
  reply->release(reply);
  return t->run->fetch_many(t->run, targets, 1, count_one, t);
}

static weir_status many_nested(void* self, weir_run const* run) {
  struct tally t = {0};
  (void)self;
  t.run = run;
  name_targets();
  if (run->fetch_many(run, targets, MANY, fetch_again, &t) != WEIR_E_MISUSE || t.calls != 0) return WEIR_E_FAILED;
  t.thread = pthread_self();
  return run->fetch_many(run, targets, 1, count_one, &t); /* one after the other is fine */
}

static weir_status many_ill_formed(void* self, weir_run const* run) {
  (void)self;
  if (run->fetch_many(run, NULL, 0, NULL, NULL) != WEIR_OK) return WEIR_E_FAILED; /* nothing to do is no mistake */
  return run->fetch_many(run, NULL, 3, count_one, NULL) == WEIR_E_INVALID ? WEIR_OK : WEIR_E_FAILED;
}

#define STAGE(ID, CREATE, COLLECT, DESTROY)                                                               \
  &(const weir_stage) {                                                                                   \
    WEIR_HEAD(weir_stage), ID, "1", ID, "", "proxmox", "[\"extras.tag\"]", NULL, CREATE, COLLECT, DESTROY \
  }
#define PLAIN(ID, COLLECT) STAGE(ID, plain_create, COLLECT, plain_destroy)

static weir_stage const* const stages[] = {
    PLAIN("returns-42", returns_42),
    PLAIN("silent", silent),
    PLAIN("says-why", says_why),
    PLAIN("says-but-succeeds", says_but_succeeds),
    PLAIN("cancels", cancels),
    STAGE("create-refuses", create_refuses, never_called, plain_destroy),
    PLAIN("denied", denied),
    PLAIN("unanswered", unanswered),
    PLAIN("forges", forges),
    PLAIN("double-release", double_release),
    PLAIN("leaks", leaks),
    PLAIN("null-out", null_out),
    PLAIN("emits-200k", emits_200k),
    PLAIN("returns-what-emit-said", returns_what_emit_said),
    PLAIN("ignores-what-emit-said", ignores_what_emit_said),
    PLAIN("bad-utf8", bad_utf8),
    PLAIN("null-text", null_text),
    PLAIN("empty-kind", empty_kind),
    PLAIN("bad-words", bad_words),
    PLAIN("other-thread", other_thread),
    PLAIN("emits-from-threads", emits_from_threads),
    STAGE("uses-run-late", plain_create, keeps_run, uses_kept_run),
    PLAIN("extension", extension),
    PLAIN("bad-method", bad_method),
    PLAIN("many", many),
    PLAIN("many-stop", many_stop),
    PLAIN("many-passes-on", many_passes_on),
    PLAIN("many-ill-formed", many_ill_formed),
    PLAIN("many-nested", many_nested),
};

const weir_plugin weir_plugin_v1 = {
    WEIR_HEAD(weir_plugin), "behaviours", "1", "weir's tests", stages, sizeof stages / sizeof *stages, 0};
