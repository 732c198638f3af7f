/* A well-made stage in plain C11, against weir/abi.h alone. Built several times: see loader.cmake. */
#include <string.h>
#include <weir/abi.h>

#ifndef STAGE_ID
#define STAGE_ID "good"
#endif

static weir_str text(char const* s) {
  weir_str out = {s, strlen(s)};
  return out;
}

static int marker; /* something for `self` to point to */

static weir_status create(weir_host const* host, weir_str options, void** self) {
  host->log(host, WEIR_INFO, options);
  *self = &marker;
  return WEIR_OK;
}

static weir_status collect(void* self, weir_run const* run) {
  weir_reply const* reply = NULL;
  weir_status status;
  if (self != &marker) return WEIR_E_MISUSE;
  status = run->fetch(run, text("/ok"), &reply);
  if (reply == NULL) return status;
  if (status == WEIR_OK) status = run->emit(run, text("extras.tag"), text("{\"slug\":\"one\"}"), reply->body);
  reply->release(reply);
  if (status != WEIR_OK) return status;
  run->progress(run, 1, 1, text("done"));
  return run->complete(run, text("extras.tag"), text("{}"));
}

static void destroy(void* self) { (void)self; }

#ifdef LONGER
/* As a plugin of a later minor would bring them: more members at the end, the needed minor still ours. */
static const struct {
  weir_stage known;
  void* more[4];
} longer_stage = {{{sizeof longer_stage, WEIR_ABI_MAJOR, WEIR_ABI_MINOR},
                   STAGE_ID,
                   "1.2.3",
                   "a stage of a later weir",
                   "",
                   "proxmox",
                   "[]",
                   NULL,
                   create,
                   collect,
                   destroy},
                  {NULL}};
static weir_stage const* const stages[] = {&longer_stage.known};
#else
static const weir_stage good = {WEIR_HEAD(weir_stage),
                                STAGE_ID,
                                "1.2.3",
                                "a good stage",
                                "",
                                "proxmox",
                                "[\"extras.tag\"]",
                                "{\"type\":\"object\",\"additionalProperties\":false,"
                                "\"properties\":{\"depth\":{\"type\":\"integer\",\"default\":3}}}",
                                create,
                                collect,
                                destroy};

static weir_stage const* const stages[] = {&good};
#endif

const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "good plugin", "4.5.6", "weir's tests", stages, 1, 0};
