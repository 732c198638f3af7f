/* A plugin that takes its process with it while it is loaded. */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <weir/abi.h>

__attribute__((constructor)) static void crash(void) {
  int volatile* const nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  fprintf(stderr, "loading\n");
  signal(SIGSEGV, SIG_DFL);
  *nowhere = 1;
}

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "ctor", "1", "weir's tests", NULL, 0, 0};
