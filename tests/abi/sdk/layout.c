/* The binary contract, pinned: these numbers may only grow. Compiled as C11 and, by layout.cpp, as C++20. */
#include <string.h>
#include <weir/abi.h>
#ifndef __cplusplus
#include <assert.h>
#endif

static_assert(sizeof(void*) == 8, "the numbers below are those of 64-bit machines");
static_assert(sizeof(weir_str) == 16 && offsetof(weir_str, len) == 8, "weir_str");
static_assert(sizeof(weir_head) == 8 && offsetof(weir_head, abi_major) == 4 && offsetof(weir_head, abi_minor) == 6,
              "weir_head");

static_assert(offsetof(weir_reply, ctx) == 8, "weir_reply");
static_assert(offsetof(weir_reply, http_status) == 16, "weir_reply");
static_assert(offsetof(weir_reply, body) == 24, "weir_reply");
static_assert(offsetof(weir_reply, error) == 40, "weir_reply");
static_assert(offsetof(weir_reply, release) == 56, "weir_reply");
static_assert(sizeof(weir_reply) >= 64, "weir_reply");

static_assert(offsetof(weir_host, ctx) == 8, "weir_host");
static_assert(offsetof(weir_host, version) == 16, "weir_host");
static_assert(offsetof(weir_host, log) == 24, "weir_host");
static_assert(offsetof(weir_host, fail) == 32, "weir_host");
static_assert(offsetof(weir_host, extension) == 40, "weir_host");
static_assert(sizeof(weir_host) >= 48, "weir_host");

static_assert(offsetof(weir_run, ctx) == 8, "weir_run");
static_assert(offsetof(weir_run, dry) == 16, "weir_run");
static_assert(offsetof(weir_run, source) == 24, "weir_run");
static_assert(offsetof(weir_run, cancelled) == 32, "weir_run");
static_assert(offsetof(weir_run, progress) == 40, "weir_run");
static_assert(offsetof(weir_run, emit) == 48, "weir_run");
static_assert(offsetof(weir_run, complete) == 56, "weir_run");
static_assert(offsetof(weir_run, fetch) == 64, "weir_run");
static_assert(offsetof(weir_run, fetch_many) == 72, "weir_run");
static_assert(offsetof(weir_run, notice) == 80, "weir_run");
static_assert(sizeof(weir_run) >= 88, "weir_run");

static_assert(offsetof(weir_netbox_v1, read) == 8 && offsetof(weir_netbox_v1, write) == 16, "weir_netbox_v1");
static_assert(sizeof(weir_netbox_v1) >= 24, "weir_netbox_v1");

static_assert(sizeof(weir_field) == 32 && offsetof(weir_field, value) == 16, "weir_field");
static_assert(offsetof(weir_log_v1, enabled) == 8 && offsetof(weir_log_v1, write) == 16, "weir_log_v1");
static_assert(sizeof(weir_log_v1) >= 24, "weir_log_v1");
static_assert(offsetof(weir_metrics_v1, add) == 8 && offsetof(weir_metrics_v1, set) == 16, "weir_metrics_v1");
static_assert(sizeof(weir_metrics_v1) >= 24, "weir_metrics_v1");
static_assert(offsetof(weir_state_v1, get) == 8 && offsetof(weir_state_v1, put) == 16, "weir_state_v1");
static_assert(offsetof(weir_state_v1, erase) == 24 && sizeof(weir_state_v1) >= 32, "weir_state_v1");

static_assert(offsetof(weir_stage, id) == 8, "weir_stage");
static_assert(offsetof(weir_stage, version) == 16, "weir_stage");
static_assert(offsetof(weir_stage, title) == 24, "weir_stage");
static_assert(offsetof(weir_stage, needs) == 32, "weir_stage");
static_assert(offsetof(weir_stage, source_type) == 40, "weir_stage");
static_assert(offsetof(weir_stage, kinds_json) == 48, "weir_stage");
static_assert(offsetof(weir_stage, options_schema) == 56, "weir_stage");
static_assert(offsetof(weir_stage, create) == 64, "weir_stage");
static_assert(offsetof(weir_stage, collect) == 72, "weir_stage");
static_assert(offsetof(weir_stage, destroy) == 80, "weir_stage");
static_assert(sizeof(weir_stage) >= 88, "weir_stage");

static_assert(offsetof(weir_plugin, name) == 8, "weir_plugin");
static_assert(offsetof(weir_plugin, version) == 16, "weir_plugin");
static_assert(offsetof(weir_plugin, vendor) == 24, "weir_plugin");
static_assert(offsetof(weir_plugin, stages) == 32, "weir_plugin");
static_assert(offsetof(weir_plugin, stage_count) == 40, "weir_plugin");
static_assert(sizeof(weir_plugin) >= 48, "weir_plugin");

static_assert(WEIR_OK == 0 && WEIR_CANCELLED == 1 && WEIR_E_FAILED == -1 && WEIR_E_INVALID == -2 &&
                  WEIR_E_SOURCE == -3 && WEIR_E_NETBOX == -4 && WEIR_E_MISUSE == -5 && WEIR_E_NOMEM == -6,
              "statuses are part of the contract");
static_assert(WEIR_TRACE == 0 && WEIR_ERROR == 4, "levels are part of the contract");

/* An older side's shorter struct: what it lacks is seen, and every struct's head can be written down as a constant. */
static const weir_run shorter = {.h = {(uint32_t)offsetof(weir_run, notice), WEIR_ABI_MAJOR, 0}};
static const weir_netbox_v1 whole = {.h = WEIR_HEAD(weir_netbox_v1)};

int main(void) {
  if (!WEIR_HAS(&shorter, weir_run, fetch_many) || WEIR_HAS(&shorter, weir_run, notice)) return 1;
  if (!WEIR_HAS(&whole, weir_netbox_v1, write)) return 2;
  /* The ids by which extensions are asked for are part of the contract. */
  if (strcmp(WEIR_EXT_NETBOX, "weir.netbox/1") != 0 || strcmp(WEIR_EXT_LOG, "weir.log/1") != 0) return 3;
  if (strcmp(WEIR_EXT_METRICS, "weir.metrics/1") != 0 || strcmp(WEIR_EXT_STATE, "weir.state/1") != 0) return 4;
  if (strcmp(WEIR_EXT_SCOPE, "weir.scope/1") != 0) return 5;
  return 0;
}
