/* A plugin of a later, incompatible ABI: what a host must refuse and name, and never call. */
#include <stdlib.h>
#include <weir/abi.h>

static weir_status never(weir_host const* host, weir_str options, void** self) {
  (void)host, (void)options, (void)self;
  abort();
}
static weir_status never_either(void* self, weir_run const* run) {
  (void)self, (void)run;
  abort();
}
static void nor_this(void* self) {
  (void)self;
  abort();
}
static const weir_stage stage = {{(uint32_t)sizeof(weir_stage), WEIR_ABI_MAJOR + 1, 0},
                                 "from-the-future",
                                 "9.0.0",
                                 "a stage of another ABI",
                                 "",
                                 "proxmox",
                                 "[]",
                                 0,
                                 never,
                                 never_either,
                                 nor_this};
static weir_stage const* const stages[] = {&stage};
WEIR_EXPORT const weir_plugin weir_plugin_v1 = {
    {(uint32_t)sizeof(weir_plugin), WEIR_ABI_MAJOR + 1, 0}, "other-abi", "9.0.0", "tests", stages, 1, 0};
