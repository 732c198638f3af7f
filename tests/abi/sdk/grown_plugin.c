/* A stage that uses every struct. Built by grown.py against weir/abi.h as it is and as it will have grown (then GROWN is
 * defined, and each struct has one more member, `added`). It emits which of them it found: 1 or 0 for each. */
#include <stdlib.h>
#include <string.h>
#include <weir/abi.h>

#ifdef GROWN
#define SEES(p, T) (char)('0' + (WEIR_HAS(p, T, added) ? 1 : 0))
#else
#define SEES(p, T) '-'
#endif

struct stage {
  weir_host const* host;
};

static weir_str text(char const* s) {
  weir_str out = {s, strlen(s)};
  return out;
}

static weir_status create(weir_host const* host, weir_str options, void** self) {
  struct stage* s = malloc(sizeof *s);
  (void)options;
  if (s == NULL) return WEIR_E_NOMEM;
  s->host = host;
  *self = s;
  return WEIR_OK;
}

static weir_status collect(void* self, weir_run const* run) {
  weir_host const* host = ((struct stage*)self)->host;
  weir_netbox_v1 const* netbox = host->extension(host, WEIR_EXT_NETBOX);
  weir_log_v1 const* logs = host->extension(host, WEIR_EXT_LOG);
  weir_metrics_v1 const* metrics = host->extension(host, WEIR_EXT_METRICS);
  weir_state_v1 const* state = host->extension(host, WEIR_EXT_STATE);
  weir_field const field = {text("a"), text("b")};
  weir_reply const* reply = NULL;
  char fields[64] = "{\"name\":\"";
  char* at = fields + strlen(fields);
  weir_status s = run->fetch(run, text("/ok"), &reply);
  if (s != WEIR_OK) return s;
  *at++ = SEES(host, weir_host);
  *at++ = SEES(run, weir_run);
  *at++ = SEES(reply, weir_reply);
  *at++ = SEES(netbox, weir_netbox_v1);
  *at++ = SEES(logs, weir_log_v1);
  *at++ = SEES(metrics, weir_metrics_v1);
  *at++ = SEES(state, weir_state_v1);
  memcpy(at, "\"}", 3);
  reply->release(reply);

  logs->write(host, WEIR_INFO, text("seen"), &field, 1);
  if (metrics->add(run, text("seen_total"), 1) != WEIR_OK) return WEIR_E_FAILED;
  if (state->put(run, text("k"), text("v")) != WEIR_OK || state->get(run, text("k"), &reply) != WEIR_OK || reply == NULL)
    return WEIR_E_FAILED;
  reply->release(reply);
  if (netbox->read(run, text("/status/"), &reply) != WEIR_OK) return WEIR_E_NETBOX;
  reply->release(reply);
  run->progress(run, 1, 1, text(""));
  run->notice(run, WEIR_INFO, text("all seen"), text(""));
  return run->emit(run, text("extras.tag"), text("{\"slug\":\"c\"}"), text(fields));
}

static void destroy(void* self) { free(self); }

static weir_stage const one = {
    .h = WEIR_HEAD(weir_stage), .id = "in-c", .version = "1", .title = "t", .needs = "", .source_type = "proxmox",
    .kinds_json = "[\"extras.tag\"]", .create = create, .collect = collect, .destroy = destroy};
static weir_stage const* const stages[] = {&one};
const weir_plugin weir_plugin_v1 = {
    .h = WEIR_HEAD(weir_plugin), .name = "grown", .version = "1", .vendor = "weir's tests", .stages = stages, .stage_count = 1};
