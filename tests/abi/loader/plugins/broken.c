/* Plugins that must be refused when they are loaded. Each build sets one of the macros below: see loader.cmake. */
#include <weir/abi.h>

#ifndef HEAD_SIZE
#define HEAD_SIZE sizeof(weir_plugin)
#endif
#ifndef HEAD_MAJOR
#define HEAD_MAJOR WEIR_ABI_MAJOR
#endif
#ifndef HEAD_MINOR
#define HEAD_MINOR WEIR_ABI_MINOR
#endif
#ifndef STAGE_SIZE
#define STAGE_SIZE sizeof(weir_stage)
#endif
#ifndef PLUGIN_NAME
#define PLUGIN_NAME "broken"
#endif
#ifndef STAGE_COUNT
#define STAGE_COUNT 1
#endif
#ifndef STAGE_LIST
#define STAGE_LIST stages
#endif
#ifndef ID
#define ID "broken"
#endif
#ifndef TITLE
#define TITLE "a stage that never runs"
#endif
#ifndef NEEDS
#define NEEDS ""
#endif
#ifndef KINDS
#define KINDS "[]"
#endif
#ifndef SCHEMA
#define SCHEMA NULL
#endif
#ifndef COLLECT
#define COLLECT collect
#endif

static weir_status create(weir_host const* host, weir_str options, void** self) {
  (void)host, (void)options;
  *self = NULL;
  return WEIR_OK;
}

static inline weir_status collect(void* self, weir_run const* run) {
  (void)self, (void)run;
#ifdef CALLS_MISSING
  extern weir_status symbol_that_nobody_has(void);
  return symbol_that_nobody_has();
#else
  return WEIR_OK;
#endif
}

static void destroy(void* self) { (void)self; }

static const weir_stage first = {{STAGE_SIZE, WEIR_ABI_MAJOR, WEIR_ABI_MINOR},
                                 ID,
                                 "1",
                                 TITLE,
                                 NEEDS,
                                 "proxmox",
                                 KINDS,
                                 SCHEMA,
                                 create,
                                 COLLECT,
                                 destroy};
static const weir_stage second = {
    WEIR_HEAD(weir_stage), "sound", "1", "the good one of the two", "", "", "[]", NULL, create, collect, destroy};
__attribute__((unused)) static weir_stage const* const stages[] = {&first, &second, NULL};

#ifdef OTHER_SYMBOL
#define weir_plugin_v1 some_other_library
#endif
WEIR_EXPORT extern const weir_plugin weir_plugin_v1;
const weir_plugin weir_plugin_v1 = {
    {HEAD_SIZE, HEAD_MAJOR, HEAD_MINOR}, PLUGIN_NAME, "1", "weir's tests", STAGE_LIST, STAGE_COUNT, 0};
