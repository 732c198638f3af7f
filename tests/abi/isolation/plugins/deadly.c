/* Stages that do to their process what no stage may; the test has one case per stage. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <weir/abi.h>

static weir_host const* host;
static int volatile over; /* never */

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

static weir_status emit(weir_run const* run) {
  return run->emit(run, text("extras.tag"), text("{\"slug\":\"t\"}"), text("{\"name\":\"T\"}"));
}

static weir_status failed(char const* what) {
  host->fail(host, text(what), text(""));
  return WEIR_E_FAILED;
}

/* A failure that names what refused `call`; a success says so. */
static weir_status refused(char const* call, long result) {
  static char line[200];
  int const e = errno;
  snprintf(line, sizeof line, "%s: %s", call, result >= 0 ? "it was possible" : strerrorname_np(e));
  return failed(line);
}

/* --- ends of a process -------------------------------------------------------------------------------------------- */

static void segfault(void) {
  /* Also where a sanitizer watches out for null pointers and has a report to write. */
  int volatile* const nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  signal(SIGSEGV, SIG_DFL);
  *nowhere = 1;
}

static weir_status segfaults(void* self, weir_run const* run) {
  (void)self;
  printf("half a word: ");
  printf("the third node\n");
  fprintf(stderr, "no such \xE9 thing\n");
  host->log(host, WEIR_INFO, text("a line of the log"));
  host->log(host, WEIR_DEBUG, text("too small to be kept"));
  if (emit(run) != WEIR_OK) return WEIR_E_FAILED;
  printf("without an end");
  fflush(stdout);
  segfault();
  return WEIR_OK;
}

static weir_status create_segfaults(weir_host const* h, weir_str options, void** self) {
  (void)h, (void)options, (void)self;
  segfault();
  return WEIR_OK;
}

static void destroy_segfaults(void* self) {
  (void)self;
  segfault();
}

static weir_status good(void* self, weir_run const* run) {
  (void)self;
  return emit(run);
}

static weir_status segfaults_at_exit(void* self, weir_run const* run) {
  (void)self, (void)run;
  atexit(&segfault);
  return WEIR_OK;
}

static void leave_with_3(void) { _exit(3); }

static weir_status exits_3_at_exit(void* self, weir_run const* run) {
  (void)self, (void)run;
  atexit(&leave_with_3);
  return WEIR_OK;
}

static weir_status aborts(void* self, weir_run const* run) {
  (void)self, (void)run;
  signal(SIGABRT, SIG_DFL);
  abort();
}

static weir_status exits(void* self, weir_run const* run) {
  (void)self, (void)run;
  exit(0);
}

static weir_status exits_7(void* self, weir_run const* run) {
  (void)self, (void)run;
  _exit(7);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static weir_status spins(void* self, weir_run const* run) {
  uint64_t volatile count = 0;
  (void)self, (void)run;
  while (!over) ++count;
  return WEIR_OK;
}

static weir_status sleeps(void* self, weir_run const* run) {
  (void)self, (void)run;
  host->log(host, WEIR_INFO, text("asleep"));
  while (!over) sleep(1000);
  return WEIR_OK;
}

static weir_status tells_pid(void* self, weir_run const* run) {
  char line[32];
  (void)self, (void)run;
  snprintf(line, sizeof line, "%d", (int)getpid());
  host->log(host, WEIR_INFO, text(line));
  while (!over) sleep(1000);
  return WEIR_OK;
}

static weir_status waits_for_cancel(void* self, weir_run const* run) {
  (void)self;
  host->log(host, WEIR_INFO, text("asleep"));
  while (!run->cancelled(run)) usleep(1000);
  return WEIR_CANCELLED;
}

static weir_status fetches_for_ever(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  weir_status status;
  (void)self;
  host->log(host, WEIR_INFO, text("asleep"));
  status = run->fetch(run, text("/never"), &reply);
  if (reply != NULL) reply->release(reply);
  return status;
}

static weir_status crashes_when_cancelled(void* self, weir_run const* run) {
  (void)self;
  host->log(host, WEIR_INFO, text("asleep"));
  while (!run->cancelled(run)) usleep(1000);
  segfault();
  return WEIR_OK;
}

static void destroy_sleeps(void* self) {
  (void)self;
  while (!over) sleep(1000);
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

static weir_status send_raw(void const* bytes, size_t size) {
  if (write(3, bytes, size) != (ssize_t)size) return WEIR_E_FAILED;
  while (!over) sleep(1000);
  return WEIR_OK;
}

static weir_status garbage(void* self, weir_run const* run) {
  static char const words[] = "GET / HTTP/1.1\r\nAuthorization: Token 0123456789\r\n\r\n";
  (void)self, (void)run;
  return send_raw(words, sizeof words - 1);
}

static weir_status endless_frame(void* self, weir_run const* run) {
  static unsigned char const head[] = {0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0, 0, 0, 0, 0, 0};
  (void)self, (void)run;
  return send_raw(head, sizeof head);
}

static weir_status odd_type(void* self, weir_run const* run) {
  static unsigned char const frame[] = {9, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0};
  (void)self, (void)run;
  return send_raw(frame, sizeof frame);
}

static weir_status plays_weir(void* self, weir_run const* run) {
  static unsigned char const cancel[] = {9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0};
  (void)self, (void)run;
  return send_raw(cancel, sizeof cancel);
}

static weir_status closes_connection(void* self, weir_run const* run) {
  (void)self, (void)run;
  close(3);
  while (!over) sleep(1000);
  return WEIR_OK;
}

static weir_status closes_all(void* self, weir_run const* run) {
  int fd;
  (void)self;
  for (fd = 0; fd < 256; ++fd) close(fd);
  emit(run);
  return WEIR_OK;
}

/* --- what it may not ---------------------------------------------------------------------------------------------- */

static weir_status forks(void* self, weir_run const* run) {
  pid_t const child = fork();
  (void)self, (void)run;
  if (child == 0) _exit(0);
  if (child > 0) waitpid(child, NULL, 0);
  return refused("fork()", child);
}

static weir_status executes(void* self, weir_run const* run) {
  char* const arguments[] = {(char*)"true", NULL};
  (void)self, (void)run;
  return refused("execv()", execv("/bin/true", arguments));
}

static weir_status shells(void* self, weir_run const* run) {
  (void)self, (void)run;
  return refused("system()", system("true"));
}

static weir_status sockets(void* self, weir_run const* run) {
  (void)self, (void)run;
  return refused("socket()", socket(AF_INET, SOCK_STREAM, 0));
}

static weir_status unlinks_itself(void* self, weir_run const* run) {
  Dl_info about;
  (void)self, (void)run;
  if (dladdr(&weir_plugin_v1, &about) == 0) return WEIR_E_FAILED;
  return refused("unlink()", unlink(about.dli_fname));
}

static weir_status overwrites_itself(void* self, weir_run const* run) {
  Dl_info about;
  (void)self, (void)run;
  if (dladdr(&weir_plugin_v1, &about) == 0) return WEIR_E_FAILED;
  return refused("open()", open(about.dli_fname, O_RDONLY | O_TRUNC));
}

static weir_status writes_a_file(void* self, weir_run const* run) {
  (void)self, (void)run;
  return refused("open()", open("/tmp/weir-isolation-test", O_CREAT | O_WRONLY, 0600));
}

static weir_status signals_weir(void* self, weir_run const* run) {
  (void)self, (void)run;
  return refused("kill()", kill(getppid(), 0));
}

static weir_status reads_weir(void* self, weir_run const* run) {
  char path[64];
  (void)self, (void)run;
  snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
  return refused("open()", open(path, O_RDONLY));
}

static weir_status reads_weirs_memory(void* self, weir_run const* run) {
  char path[64];
  (void)self, (void)run;
  snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
  return refused("open()", open(path, O_RDONLY));
}

static weir_status reads_passwd(void* self, weir_run const* run) {
  (void)self, (void)run;
  return refused("open()", open("/etc/passwd", O_RDONLY));
}

/* Its environment and descriptors, in the log. */
static weir_status looks_around(void* self, weir_run const* run) {
  extern char** environ;
  char** e;
  char line[64], cwd[256];
  int fd;
  (void)self, (void)run;
  for (e = environ; *e != NULL; ++e) host->log(host, WEIR_INFO, text(*e));
  for (fd = 0; fd < 1024; ++fd)
    if (fcntl(fd, F_GETFD) != -1) {
      snprintf(line, sizeof line, "descriptor %d", fd);
      host->log(host, WEIR_INFO, text(line));
    }
  snprintf(line, sizeof line, "no new privileges: %d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  host->log(host, WEIR_INFO, text(line));
  host->log(host, WEIR_INFO, text(getcwd(cwd, sizeof cwd) != NULL ? cwd : "nowhere"));
  snprintf(line, sizeof line, "leader: %d", getsid(0) == getpid() && getpgrp() == getpid());
  host->log(host, WEIR_INFO, text(line));
  return WEIR_OK;
}

/* --- much --------------------------------------------------------------------------------------------------------- */

static weir_status allocates(void* self, weir_run const* run) {
  int i;
  (void)self, (void)run;
  for (i = 0; i < 1 << 20; ++i)
    if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
      return WEIR_E_NOMEM;
  return WEIR_OK;
}

static weir_status prints(void* self, weir_run const* run) {
  int i;
  (void)self, (void)run;
  for (i = 1; i <= 100000; ++i) printf("line %d\n", i);
  return failed("that was all");
}

static weir_status prints_oddly(void* self, weir_run const* run) {
  int i;
  (void)self, (void)run;
  for (i = 0; i < 10000; ++i) putchar('x');
  printf("\n\n\r\n\x1b[31mred\xE9\n");
  fflush(stdout);
  return WEIR_OK;
}

static void* sleep_on(void* unused) {
  (void)unused;
  while (!over) sleep(1000);
  return NULL;
}

static weir_status leaves_threads(void* self, weir_run const* run) {
  pthread_t thread;
  int i;
  (void)self;
  for (i = 0; i < 3; ++i)
    if (pthread_create(&thread, NULL, sleep_on, NULL) != 0) return WEIR_E_NOMEM;
  return emit(run);
}

enum { MANY = 1000 };
static weir_str targets[MANY];

struct tally {
  pthread_t thread;
  int calls, wrong;
};

static weir_status got(void* user, size_t index, weir_status status, weir_reply const* reply) {
  struct tally* t = user;
  ++t->calls;
  if (!pthread_equal(t->thread, pthread_self())) ++t->wrong;
  if (status == WEIR_OK &&
      (reply->body.len != targets[index].len || memcmp(reply->body.ptr, targets[index].ptr, targets[index].len) != 0))
    ++t->wrong;
  reply->release(reply);
  return WEIR_OK;
}

static weir_status many(void* self, weir_run const* run) {
  static char names[MANY][16];
  struct tally t = {pthread_self(), 0, 0};
  weir_status status;
  int i;
  (void)self;
  for (i = 0; i < MANY; ++i) {
    snprintf(names[i], sizeof names[i], "/many/%d", i);
    targets[i] = text(names[i]);
  }
  status = run->fetch_many(run, targets, MANY, got, &t);
  return status != WEIR_OK ? status : t.calls == MANY && t.wrong == 0 ? WEIR_OK : WEIR_E_FAILED;
}

/* From 8 threads, objects and requests all at once. */
static void* at_work(void* run_pointer) {
  weir_run const* run = run_pointer;
  int i;
  for (i = 0; i < 200; ++i) {
    weir_reply const* reply = NULL;
    emit(run);
    if (run->fetch(run, text("/many/1"), &reply) == WEIR_OK) reply->release(reply);
  }
  return NULL;
}

static weir_status threads_and_many(void* self, weir_run const* run) {
  pthread_t threads[8];
  weir_status status;
  int i;
  for (i = 0; i < 8; ++i)
    if (pthread_create(&threads[i], NULL, at_work, (void*)run) != 0) return WEIR_E_NOMEM;
  status = many(self, run);
  for (i = 0; i < 8; ++i) pthread_join(threads[i], NULL);
  return status;
}

/* 300 requests at once, from as many threads. */
static void* fetch_one(void* run_pointer) {
  weir_run const* run = run_pointer;
  weir_reply const* reply = NULL;
  weir_status const status = run->fetch(run, text("/many/1"), &reply);
  if (reply != NULL) reply->release(reply);
  return status == WEIR_OK ? (void*)run : NULL;
}

static weir_status crowd(void* self, weir_run const* run) {
  pthread_t threads[300];
  int i, good = 0;
  void* said;
  (void)self;
  for (i = 0; i < 300; ++i)
    if (pthread_create(&threads[i], NULL, fetch_one, (void*)run) != 0) return WEIR_E_NOMEM;
  for (i = 0; i < 300; ++i) {
    pthread_join(threads[i], &said);
    good += said != NULL;
  }
  return good == 300 ? WEIR_OK : WEIR_E_FAILED;
}

#define STAGE(ID, CREATE, COLLECT, DESTROY)                                                               \
  &(const weir_stage) {                                                                                   \
    WEIR_HEAD(weir_stage), ID, "1", ID, "", "proxmox", "[\"extras.tag\"]", NULL, CREATE, COLLECT, DESTROY \
  }
#define PLAIN(ID, COLLECT) STAGE(ID, create, COLLECT, destroy)

static weir_stage const* const stages[] = {
    PLAIN("segfaults", segfaults),
    STAGE("create-segfaults", create_segfaults, good, destroy),
    STAGE("destroy-segfaults", create, good, destroy_segfaults),
    PLAIN("segfaults-at-exit", segfaults_at_exit),
    PLAIN("exits-3-at-exit", exits_3_at_exit),
    PLAIN("aborts", aborts),
    PLAIN("exits", exits),
    PLAIN("exits-7", exits_7),
    PLAIN("spins", spins),
    PLAIN("sleeps", sleeps),
    PLAIN("tells-pid", tells_pid),
    PLAIN("waits-for-cancel", waits_for_cancel),
    PLAIN("fetches-for-ever", fetches_for_ever),
    PLAIN("crashes-when-cancelled", crashes_when_cancelled),
    STAGE("destroy-sleeps", create, good, destroy_sleeps),
    PLAIN("garbage", garbage),
    PLAIN("endless-frame", endless_frame),
    PLAIN("odd-type", odd_type),
    PLAIN("plays-weir", plays_weir),
    PLAIN("closes-connection", closes_connection),
    PLAIN("closes-all", closes_all),
    PLAIN("forks", forks),
    PLAIN("executes", executes),
    PLAIN("shells", shells),
    PLAIN("sockets", sockets),
    PLAIN("unlinks-itself", unlinks_itself),
    PLAIN("overwrites-itself", overwrites_itself),
    PLAIN("writes-a-file", writes_a_file),
    PLAIN("signals-weir", signals_weir),
    PLAIN("reads-weir", reads_weir),
    PLAIN("reads-weirs-memory", reads_weirs_memory),
    PLAIN("reads-passwd", reads_passwd),
    PLAIN("looks-around", looks_around),
    PLAIN("allocates", allocates),
    PLAIN("prints", prints),
    PLAIN("prints-oddly", prints_oddly),
    PLAIN("leaves-threads", leaves_threads),
    PLAIN("many-1000", many),
    PLAIN("threads-and-many", threads_and_many),
    PLAIN("crowd", crowd),
};

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin),         "deadly", "1", "weir's tests", stages,
                                    sizeof stages / sizeof *stages, 0};
