/* A plugin that takes its process with it while it is loaded. */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <weir/abi.h>

__attribute__((constructor)) static void crash(void) {
  int volatile* volatile nowhere = NULL;
  fprintf(stderr, "loading\n");
  signal(SIGSEGV, SIG_DFL);
  *nowhere = 1;
}

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "ctor", "1", "weir's tests", NULL, 0, 0};
