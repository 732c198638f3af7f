/* Stages that do what no stage may, one thing each: the option `case` says which. Plain C11 against weir/abi.h. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <weir/abi.h>

static weir_host const* host;
static char options[8192];

static weir_str text(char const* s) {
  weir_str const out = {s, strlen(s)};
  return out;
}

/* A string of the options; they are flat and have no escapes. */
static char const* option(char const* name) {
  static char value[4096];
  char quoted[64], *at, *end;
  snprintf(quoted, sizeof quoted, "\"%s\"", name);
  value[0] = '\0';
  at = strstr(options, quoted);
  if (at == NULL || (at = strchr(at + strlen(quoted), '"')) == NULL || (end = strchr(++at, '"')) == NULL) return value;
  snprintf(value, sizeof value, "%.*s", (int)(end - at), at);
  return value;
}

static unsigned long number(char const* name) { return strtoul(option(name), NULL, 10); }

/* --- emitting ----------------------------------------------------------------------------------------------------- */

static weir_status emit_tag(weir_run const* run, char const* slug, char const* words) {
  char key[200], fields[512];
  char clean[200];
  size_t i;
  for (i = 0; words[i] != '\0' && i + 1 < sizeof clean; ++i) {
    unsigned char const c = (unsigned char)words[i];
    clean[i] = c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? '?' : (char)c;
  }
  clean[i] = '\0';
  snprintf(key, sizeof key, "{\"slug\":\"%s\"}", slug);
  snprintf(fields, sizeof fields, "{\"name\":\"%s\",\"description\":\"%s\"}", slug, clean);
  return run->emit(run, text("extras.tag"), text(key), text(fields));
}

/* What a call that must fail came to. */
static weir_status emit_result(weir_run const* run, char const* slug, long result) {
  return emit_tag(run, slug, result < 0 ? strerror(errno) : "it went");
}

/* Much text in as many tags as it takes. */
static void emit_found(weir_run const* run, char const* what, char const* found, size_t length) {
  size_t at;
  for (at = 0; at < length; at += 150) {
    char slug[80], piece[151];
    snprintf(slug, sizeof slug, "%s-%03zu", what, at / 150);
    memset(piece, 0, sizeof piece);
    memcpy(piece, found + at, length - at < 150 ? length - at : 150);
    for (size_t i = 0; i < 150 && at + i < length; ++i)
      if (piece[i] == '\0') piece[i] = ' ';
    emit_tag(run, slug, piece);
  }
}

static weir_status good(weir_run const* run) { return emit_tag(run, "landed", "as it should"); }

static weir_status undeclared_kind(weir_run const* run) {
  return run->emit(run, text("dcim.site"), text("{\"slug\":\"x\"}"), text("{}"));
}

static weir_status invalid_utf8(weir_run const* run) {
  return run->emit(run, text("extras.tag"), text("{\"slug\":\"x\"}"), text("{\"name\":\"\xE4\"}"));
}

/* `count` objects of about `bytes` each; with `on` whatever weir says to it. */
static weir_status emits_many(weir_run const* run) {
  unsigned long const count = number("count"), bytes = number("bytes"), on = number("on");
  char* fields = malloc(bytes + 64);
  weir_status s = WEIR_OK;
  if (fields == NULL) return WEIR_E_NOMEM;
  strcpy(fields, "{\"name\":\"");
  memset(fields + 9, 'x', bytes);
  strcpy(fields + 9 + bytes, "\"}");
  for (unsigned long i = 0; i < count && (s == WEIR_OK || on); ++i) {
    char key[64];
    snprintf(key, sizeof key, "{\"slug\":\"t%lu\"}", i);
    s = run->emit(run, text("extras.tag"), text(key), text(fields));
  }
  free(fields);
  return s;
}

static weir_status emits_on(weir_run const* run) {
  puts("not going to return");
  for (;;) {
    emit_tag(run, "again", "and again");
    usleep(1000);
  }
  return WEIR_OK;
}

/* --- the contract ------------------------------------------------------------------------------------------------- */

static weir_status returns_42(weir_run const* run) {
  (void)run;
  return 42;
}

static void* complete_here(void* run) {
  weir_run const* r = run;
  r->complete(r, text("extras.tag"), text("{}"));
  return NULL;
}

static weir_status other_thread(weir_run const* run) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, complete_here, (void*)run) != 0) return WEIR_E_NOMEM;
  pthread_join(thread, NULL);
  return good(run);
}

static weir_reply const* fetch(weir_run const* run) {
  weir_reply const* reply = NULL;
  run->fetch(run, text("/version"), &reply);
  return reply;
}

static weir_status double_release(weir_run const* run) {
  weir_reply const* reply = fetch(run);
  if (reply == NULL) return WEIR_E_FAILED;
  reply->release(reply);
  reply->release(reply);
  return good(run);
}

static weir_status foreign_release(weir_run const* run) {
  weir_reply const* reply = fetch(run);
  weir_reply copy;
  if (reply == NULL) return WEIR_E_FAILED;
  copy = *reply;
  copy.release(&copy);
  reply->release(reply);
  return good(run);
}

static weir_status leaks_replies(weir_run const* run) {
  for (int i = 0; i < 100; ++i)
    if (fetch(run) == NULL) return WEIR_E_FAILED;
  return good(run);
}

/* --- no end ------------------------------------------------------------------------------------------------------- */

static weir_status never_returns(weir_run const* run) {
  (void)run;
  puts("not going to return");
  for (;;) pause();
  return WEIR_OK;
}

static weir_status spins(weir_run const* run) {
  unsigned long volatile n = 0;
  (void)run;
  for (;;) ++n;
  return WEIR_OK;
}

static weir_status stops_itself(weir_run const* run) {
  raise(SIGSTOP);
  return good(run);
}

/* --- a bad end ---------------------------------------------------------------------------------------------------- */

__attribute__((no_sanitize("undefined", "address"))) static weir_status segfaults(weir_run const* run) {
  int* volatile nowhere = NULL;
  (void)run;
  signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would make an exit code of it */
  fputs("about to read the third node\n", stderr);
  *nowhere = 1;
  return WEIR_OK;
}

static weir_status aborts(weir_run const* run) {
  (void)run;
  signal(SIGABRT, SIG_DFL);
  fputs("terminate called: the guests' list is not sorted\n", stderr);
  abort();
}

static weir_status exits_0(weir_run const* run) {
  good(run);
  exit(0);
}

static weir_status exits_3(weir_run const* run) {
  good(run);
  _exit(3);
}

static weir_status closes_descriptors(weir_run const* run) {
  for (int fd = 0; fd < 1024; ++fd) close(fd);
  return good(run);
}

static weir_status writes_garbage(weir_run const* run) {
  char garbage[512];
  for (size_t i = 0; i < sizeof garbage; ++i) garbage[i] = (char)(i * 7 + 3);
  for (int fd = 0; fd < 256; ++fd)
    if (write(fd, garbage, sizeof garbage) < 0) continue;
  return good(run);
}

static weir_status prints_escapes(weir_run const* run) {
  puts("\x1b]0;owned\x07\x1b[2J\x1b[31mall is well\x1b[0m");
  return good(run);
}

static weir_status says_escapes(weir_run const* run) {
  run->notice(run, WEIR_WARN, text("\x1b[2Jnotice"), text("\x1b[31mhint"));
  host->fail(host, text("\x1b]0;owned\x07the reason"), text("\x1b[2Jwhat to do"));
  return WEIR_E_FAILED;
}

static weir_status prints_much(weir_run const* run) {
  for (int i = 0; i < 100000; ++i) printf("line %d of very many, each of them as long as such lines are\n", i);
  return good(run);
}

/* --- the system --------------------------------------------------------------------------------------------------- */

static char const* own_file(void) {
  static Dl_info about;
  return dladdr((void const*)&weir_plugin_v1, &about) != 0 ? about.dli_fname : "";
}

static weir_status deletes_itself(weir_run const* run) { return emit_result(run, "unlink", unlink(own_file())); }

static weir_status empties_itself(weir_run const* run) {
  return emit_result(run, "truncate", open(own_file(), O_WRONLY | O_TRUNC));
}

static weir_status forks(weir_run const* run) {
  pid_t const child = fork();
  if (child == 0)
    for (;;) pause();
  return emit_result(run, "fork", child);
}

static weir_status execs(weir_run const* run) { return emit_result(run, "exec", execl("/bin/true", "true", (char*)0)); }

static weir_status opens_socket(weir_run const* run) {
  return emit_result(run, "socket", socket(AF_INET, SOCK_STREAM, 0));
}

static weir_status kills_weir(weir_run const* run) { return emit_result(run, "kill", kill(getppid(), SIGKILL)); }

/* --- secrets ------------------------------------------------------------------------------------------------------ */

static void read_into_tags(weir_run const* run, char const* what, char const* path) {
  static char found[32768];
  size_t length = 0;
  ssize_t n = 0;
  int const fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    emit_result(run, what, -1);
    return;
  }
  while (length < sizeof found && (n = read(fd, found + length, sizeof found - length)) > 0) length += (size_t)n;
  if (n < 0) emit_result(run, what, -1);
  close(fd);
  emit_found(run, what, found, length);
}

/* Everything by which a stage might come to weir's tokens. */
static weir_status looks_for_secrets(weir_run const* run) {
  char path[64], target[256];
  char const* names[] = {"environ", "cmdline", "mem", "maps"};
  char word[8] = {0};
  struct iovec const here = {word, sizeof word}, there = {(void*)&host, sizeof word};
  size_t i;
  read_into_tags(run, "own-environ", "/proc/self/environ");
  for (i = 0; i < sizeof names / sizeof *names; ++i) {
    snprintf(path, sizeof path, "/proc/%d/%s", (int)getppid(), names[i]);
    snprintf(target, sizeof target, "parent-%s", names[i]);
    read_into_tags(run, target, path);
  }
  snprintf(path, sizeof path, "/proc/%d/fd", (int)getppid());
  DIR* const folder = opendir(path);
  emit_result(run, "parent-fds", folder == NULL ? -1 : 0);
  if (folder != NULL) closedir(folder);
  emit_result(run, "parent-memory", process_vm_readv(getppid(), &here, 1, &there, 1, 0));
  emit_result(run, "parent-trace", ptrace(PTRACE_SEIZE, getppid(), NULL, NULL));
  for (int fd = 0; fd < 1024; ++fd) {
    char slug[32];
    ssize_t n;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if ((n = readlink(path, target, sizeof target - 1)) < 0) continue;
    target[n] = '\0';
    snprintf(slug, sizeof slug, "fd-%d", fd);
    emit_tag(run, slug, target);
  }
  for (i = 0; i < 3; ++i) {
    char name[16];
    char given[1024];
    snprintf(name, sizeof name, "file%zu", i);
    snprintf(given, sizeof given, "%s", option(name));
    if (given[0] != '\0') read_into_tags(run, name, given);
  }
  return good(run);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static struct {
  char const* name;
  weir_status (*collect)(weir_run const*);
} const cases[] = {
    {"good", good},
    {"undeclared_kind", undeclared_kind},
    {"invalid_utf8", invalid_utf8},
    {"emits_many", emits_many},
    {"emits_on", emits_on},
    {"returns_42", returns_42},
    {"other_thread", other_thread},
    {"double_release", double_release},
    {"foreign_release", foreign_release},
    {"leaks_replies", leaks_replies},
    {"never_returns", never_returns},
    {"spins", spins},
    {"stops_itself", stops_itself},
    {"segfaults", segfaults},
    {"aborts", aborts},
    {"exits_0", exits_0},
    {"exits_3", exits_3},
    {"closes_descriptors", closes_descriptors},
    {"writes_garbage", writes_garbage},
    {"prints_escapes", prints_escapes},
    {"says_escapes", says_escapes},
    {"prints_much", prints_much},
    {"deletes_itself", deletes_itself},
    {"empties_itself", empties_itself},
    {"forks", forks},
    {"execs", execs},
    {"opens_socket", opens_socket},
    {"kills_weir", kills_weir},
    {"looks_for_secrets", looks_for_secrets},
};

static weir_status create(weir_host const* h, weir_str given, void** self) {
  host = h;
  *self = NULL;
  snprintf(options, sizeof options, "%.*s", (int)given.len, given.ptr);
  return WEIR_OK;
}

static weir_status collect(void* self, weir_run const* run) {
  char const* const wanted = option("case");
  (void)self;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i)
    if (strcmp(cases[i].name, wanted) == 0) return cases[i].collect(run);
  host->fail(host, text("the plugin has no such case"), text(""));
  return WEIR_E_FAILED;
}

static void destroy(void* self) { (void)self; }

#define SCHEMA                                                                                                   \
  "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"},\"required\":[\"case\"],\"properties\":{" \
  "\"case\":{\"type\":\"string\"}}}"
#define MEMBERS(ID, NEEDS) \
  ID, "1", "does what no stage may", NEEDS, "proxmox", "[\"extras.tag\"]", SCHEMA, create, collect, destroy

#ifdef LONGER
/* As a plugin of a later minor would bring them: more members at the end, the needed minor still ours. */
static const struct longer {
  weir_stage known;
  void* more[4];
} longer = {{{sizeof(struct longer), WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, MEMBERS("bad", "")}, {NULL}};
static weir_stage const* const stages[] = {&longer.known};
#else
static const weir_stage first = {WEIR_HEAD(weir_stage), MEMBERS("bad", "")};
/* The same behind the neighbours. */
static const weir_stage last = {WEIR_HEAD(weir_stage), MEMBERS("bad-last", "nodes virtual-machines backups")};
static weir_stage const* const stages[] = {&first, &last};
#endif

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin),         "bad", "1", "weir's tests", stages,
                                    sizeof stages / sizeof *stages, 0};
