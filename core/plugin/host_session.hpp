// What the three C structs of one run point to, and what every call of a stage passes through. Private to this folder.
#pragma once
#include <fmt/format.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/plugin/host.hpp"
#include "weir/abi.h"

namespace weir::plugin {

struct reply {
  weir_reply face{};  // what the stage holds; its address is the reply's identity
  std::string body, error, request;
};

// What happened on the stage's side and on ours while it ran.
struct verdict {
  bool said = false;  // fail() was called
  std::string message, hint;
  std::string broken;  // the first breach of the contract or failure of our own that makes WEIR_OK untrue
  std::size_t broken_count = 0;
  std::string last_failure;  // of a call to weir; for stages that do not say why they failed
  std::string last_hint;
  int last_http_status = 0;
};

// One run of one stage.
struct session {
  weir_host host{};
  weir_run run{};
  weir_netbox_v1 netbox{};
  weir_log_v1 log{};
  weir_metrics_v1 metrics{};
  weir_state_v1 state{};
  weir_scope_v1 scope{};
  services& offered;
  std::thread::id const thread = std::this_thread::get_id();
  std::string const source;
  std::atomic<bool> collecting{false};
  bool fetching_many = false;                  // the stage's thread only
  std::atomic<bool> fields_complained{false};  // of a field of a log line that was dropped; once is enough

  std::mutex mutex;  // guards what follows; never held while calling out
  verdict seen;
  std::unordered_map<weir_reply const*, std::unique_ptr<reply>> out;
  std::deque<std::unique_ptr<reply>> given_back;
  std::optional<std::string> scope_text;  // unchanging, once it is there

  explicit session(services& s);
  session(session const&) = delete;
  session& operator=(session const&) = delete;

  void broke(std::string what);
  void call_failed(std::string what, std::string hint = {}, int http_status = 0);

  // False if not, which is remembered.
  bool on_stage_thread(char const* function);
  bool inside_collect(char const* function);

  // Text that goes on as it is: must be there and be UTF-8. Nothing if it is not, which is remembered.
  std::optional<std::string_view> text(weir_str s, char const* function, char const* argument, bool may_be_empty);
  // Path and query. A blank or a line end in it could forge a request.
  std::optional<std::string_view> target(weir_str s, char const* function);
  // Text for people: bad bytes are replaced rather than refused.
  std::string words(weir_str s, char const* function, char const* argument);

  // A reply for the stage to hold until it gives it back.
  weir_reply const* hand_out(fetched answer, std::string request);
  void take_back(weir_reply const* face);
};

// Runs one call of the stage: nothing that services throw gets into the plugin.
template <class F>
weir_status guarded(session& s, char const* function, F body) noexcept {
  try {
    try {
      return body();
    } catch (std::bad_alloc const&) {
      s.broke(fmt::format("out of memory in {}()", function));
      return WEIR_E_NOMEM;
    } catch (std::exception const& e) {
      s.broke(fmt::format("weir itself failed in {}(): {}", function, e.what()));
      return WEIR_E_FAILED;
    } catch (...) {
      s.broke(fmt::format("weir itself failed in {}()", function));
      return WEIR_E_FAILED;
    }
  } catch (...) {
    return WEIR_E_NOMEM;  // not even the message could be kept
  }
}

inline session* of(weir_host const* h) { return h == nullptr ? nullptr : static_cast<session*>(h->ctx); }
inline session* of(weir_run const* r) { return r == nullptr ? nullptr : static_cast<session*>(r->ctx); }

base::log::level to_level(std::int32_t l);

// What the stage is told when `services` refused; the reason is kept for the run's error.
weir_status refused(session& s, char const* function, base::error const& e);

// The end that fetch, read and write share: an answer becomes a reply, a failure is remembered.
weir_status answered(session& s, fetched answer, std::string request, weir_status failed, weir_reply const** out);

// For functions with an `out` that a stage passed as null.
weir_status no_out(session* s, char const* function) noexcept;

// extensions.cpp: their tables, and the one with this id; null if there is none.
void fill_extensions(session& s);
void const* find_extension(session const& s, std::string_view id);

}  // namespace weir::plugin
