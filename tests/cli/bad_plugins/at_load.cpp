// Plugins that do something while they are loaded, before anybody asked them anything: AT_LOAD says what.
#include <signal.h>
#include <unistd.h>
#include <weir/abi.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace {

int prepare() {
  AT_LOAD;
  return 0;
}
[[maybe_unused]] int const prepared = prepare();

weir_status create(weir_host const*, weir_str, void**) { return WEIR_OK; }
weir_status collect(void*, weir_run const*) { return WEIR_OK; }
void destroy(void*) {}

constexpr weir_stage stage{WEIR_HEAD(weir_stage),
                           "bad",
                           "1",
                           "does something while it is loaded",
                           "",
                           "proxmox",
                           "[]",
                           nullptr,
                           create,
                           collect,
                           destroy};
constexpr weir_stage const* stages[] = {&stage};

}  // namespace

extern "C" WEIR_EXPORT constexpr weir_plugin weir_plugin_v1 = {
    WEIR_HEAD(weir_plugin), "at-load", "1", "weir's tests", stages, 1, 0};
