// Stages that let C++ exceptions out, which the contract forbids and the host must survive.
#include <weir/abi.h>

#include <cstring>
#include <iterator>
#include <stdexcept>

namespace {

weir_host const* host;

weir_str text(char const* s) { return {s, std::strlen(s)}; }

weir_status create(weir_host const* h, weir_str, void**) {
  host = h;
  return WEIR_OK;
}
weir_status create_throws(weir_host const*, weir_str, void**) { throw std::runtime_error("no memory of it"); }
weir_status collect(void*, weir_run const*) { return WEIR_OK; }
weir_status collect_throws(void*, weir_run const*) { throw std::out_of_range("the third node"); }
weir_status collect_throws_int(void*, weir_run const*) { throw 42; }
void destroy(void*) { host->log(host, WEIR_DEBUG, text("destroyed")); }
void destroy_throws(void*) { throw std::logic_error("still in use"); }

weir_status callback_throws(void*, weir_run const* run) {
  weir_str const targets[] = {text("/ok"), text("/ok?2")};
  return run->fetch_many(
      run, targets, 2,
      [](void*, std::size_t, weir_status, weir_reply const* reply) -> weir_status {
        reply->release(reply);
        throw std::runtime_error("from the callback");
      },
      nullptr);
}

using create_function = weir_status (*)(weir_host const*, weir_str, void**);
using collect_function = weir_status (*)(void*, weir_run const*);
using destroy_function = void (*)(void*);

constexpr weir_stage stage(char const* id, create_function c, collect_function r, destroy_function d) {
  return {WEIR_HEAD(weir_stage), id, "1", id, "", "proxmox", "[]", nullptr, c, r, d};
}

constexpr weir_stage table[] = {
    stage("create-throws", create_throws, collect, destroy),
    stage("collect-throws", create, collect_throws, destroy),
    stage("collect-throws-int", create, collect_throws_int, destroy),
    stage("destroy-throws", create, collect, destroy_throws),
    stage("callback-throws", create, callback_throws, destroy),
};
constexpr weir_stage const* stages[] = {&table[0], &table[1], &table[2], &table[3], &table[4]};

}  // namespace

extern "C" WEIR_EXPORT constexpr weir_plugin weir_plugin_v1 = {
    WEIR_HEAD(weir_plugin), "throws", "1", "weir's tests", stages, static_cast<std::uint32_t>(std::size(stages)), 0};
