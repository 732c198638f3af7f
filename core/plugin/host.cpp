#include "core/plugin/host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "core/base/text.hpp"
#include "core/plugin/host_session.hpp"
#include "core/plugin/utf8.hpp"
#include "weir/abi.h"

#ifndef WEIR_VERSION
#define WEIR_VERSION "unknown"
#endif

namespace weir::plugin {
namespace {

using base::log::level;

// fetch_many hands at most so many requests to the source at once, so that their bodies have a bound in memory.
constexpr std::size_t max_outstanding = 64;
// How long a wait may last until it looks whether the run was cancelled.
constexpr std::chrono::milliseconds cancel_poll{100};

void host_log(weir_host const* h, std::int32_t l, weir_str message) noexcept {
  auto* s = of(h);
  if (s == nullptr) return;
  guarded(*s, "log", [&] {
    s->offered.log(to_level(l), s->words(message, "log", "message"), {});
    return WEIR_OK;
  });
}

void host_fail(weir_host const* h, weir_str message, weir_str hint) noexcept {
  auto* s = of(h);
  if (s == nullptr) return;
  guarded(*s, "fail", [&] {
    if (!s->on_stage_thread("fail")) return WEIR_E_MISUSE;
    auto what = s->words(message, "fail", "message");
    auto todo = s->words(hint, "fail", "hint");
    std::lock_guard const lock(s->mutex);
    s->seen.said = !what.empty();
    s->seen.message = std::move(what);
    s->seen.hint = std::move(todo);
    return WEIR_OK;
  });
}

void const* host_extension(weir_host const* h, char const* id) noexcept {
  auto* s = of(h);
  if (s == nullptr) return nullptr;
  void const* found = nullptr;
  guarded(*s, "extension", [&] {
    if (id == nullptr)
      s->broke("extension(): id is null");
    else
      found = find_extension(*s, id);
    return WEIR_OK;
  });
  return found;
}

std::int32_t run_cancelled(weir_run const* r) noexcept {
  auto* s = of(r);
  if (s == nullptr) return 1;
  std::int32_t yes = 1;  // whatever goes wrong in here: better to stop
  guarded(*s, "cancelled", [&] {
    yes = s->offered.cancelled() ? 1 : 0;
    return WEIR_OK;
  });
  return yes;
}

void run_progress(weir_run const* r, std::uint64_t done, std::uint64_t total, weir_str note) noexcept {
  auto* s = of(r);
  if (s == nullptr) return;
  guarded(*s, "progress", [&] {
    if (!s->inside_collect("progress")) return WEIR_E_MISUSE;
    s->offered.progress(done, total, s->words(note, "progress", "note"));
    return WEIR_OK;
  });
}

void run_notice(weir_run const* r, std::int32_t l, weir_str message, weir_str hint) noexcept {
  auto* s = of(r);
  if (s == nullptr) return;
  guarded(*s, "notice", [&] {
    if (!s->inside_collect("notice")) return WEIR_E_MISUSE;
    s->offered.notice(to_level(l), s->words(message, "notice", "message"), s->words(hint, "notice", "hint"));
    return WEIR_OK;
  });
}

weir_status run_emit(weir_run const* r, weir_str kind, weir_str key, weir_str fields) noexcept {
  auto* s = of(r);
  if (s == nullptr) return WEIR_E_INVALID;
  return guarded(*s, "emit", [&]() -> weir_status {
    if (!s->inside_collect("emit")) return WEIR_E_MISUSE;
    auto const k = s->text(kind, "emit", "kind", false);
    auto const j = k ? s->text(key, "emit", "key_json", false) : k;
    auto const f = j ? s->text(fields, "emit", "fields_json", false) : j;
    if (!f) return WEIR_E_INVALID;
    auto const taken = s->offered.emit(*k, *j, *f);
    return taken ? weir_status{WEIR_OK} : refused(*s, "emit", taken.error());
  });
}

weir_status run_complete(weir_run const* r, weir_str kind, weir_str scope) noexcept {
  auto* s = of(r);
  if (s == nullptr) return WEIR_E_INVALID;
  return guarded(*s, "complete", [&]() -> weir_status {
    if (!s->on_stage_thread("complete") || !s->inside_collect("complete")) return WEIR_E_MISUSE;
    auto const k = s->text(kind, "complete", "kind", false);
    auto const j = k ? s->text(scope, "complete", "scope_json", false) : k;
    if (!j) return WEIR_E_INVALID;
    auto const taken = s->offered.complete(*k, *j);
    return taken ? weir_status{WEIR_OK} : refused(*s, "complete", taken.error());
  });
}

weir_status run_fetch(weir_run const* r, weir_str target, weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) return no_out(s, "fetch");
  *out = nullptr;
  return guarded(*s, "fetch", [&]() -> weir_status {
    if (!s->inside_collect("fetch")) return WEIR_E_MISUSE;
    auto const t = s->target(target, "fetch");
    if (!t) return WEIR_E_INVALID;
    return answered(*s, s->offered.fetch(*t), fmt::format("GET {}", *t), WEIR_E_SOURCE, out);
  });
}

// Where the answers of one fetch_many arrive. Outlives the call: an answer may come after it was stopped.
struct arrivals {
  struct one {
    std::size_t index;
    fetched answer;
  };
  std::mutex mutex;
  std::condition_variable some;
  std::deque<one> queue;
  bool abandoned = false;

  void put(std::size_t index, fetched answer) {
    {
      std::lock_guard const lock(mutex);
      if (abandoned) return;
      queue.push_back({index, std::move(answer)});
    }
    some.notify_one();
  }

  std::optional<one> next() {
    std::unique_lock lock(mutex);
    if (!some.wait_for(lock, cancel_poll, [&] { return !queue.empty(); })) return {};
    std::optional<one> first(std::move(queue.front()));
    queue.pop_front();
    return first;
  }

  void abandon() {
    std::deque<one> dropped;  // freed without the lock
    std::lock_guard const lock(mutex);
    abandoned = true;
    dropped.swap(queue);
  }
};

using got_function = weir_status (*)(void* user, std::size_t index, weir_status, weir_reply const*);

weir_status fetch_all(session& s, std::vector<std::string_view> const& targets, got_function got, void* user) {
  auto const shared = std::make_shared<arrivals>();
  struct at_end {
    arrivals& queue;
    ~at_end() { queue.abandon(); }
  } const guard{*shared};

  std::vector<bool> delivered(targets.size());
  std::size_t started = 0, done = 0;
  while (done < targets.size()) {
    if (s.offered.cancelled()) return WEIR_CANCELLED;
    for (; started < targets.size() && started - done < max_outstanding; ++started)
      s.offered.fetch_async(std::string(targets[started]),
                            [shared, index = started](fetched answer) { shared->put(index, std::move(answer)); });
    auto arrived = shared->next();
    if (s.offered.cancelled()) return WEIR_CANCELLED;
    if (!arrived || delivered[arrived->index]) continue;
    delivered[arrived->index] = true;
    ++done;
    auto const& target = targets[arrived->index];
    weir_reply const* reply = nullptr;
    auto const status = answered(s, std::move(arrived->answer), fmt::format("GET {}", target), WEIR_E_SOURCE, &reply);
    if (status == WEIR_CANCELLED) return status;
    weir_status said = WEIR_OK;
    try {
      said = got(user, arrived->index, status, reply);
    } catch (...) {
      s.broke("fetch_many(): the stage's callback threw an exception across the plugin boundary");
      return WEIR_E_MISUSE;
    }
    if (said != WEIR_OK) return said;
  }
  return WEIR_OK;
}

weir_status run_fetch_many(weir_run const* r, weir_str const* targets, std::size_t count, got_function got,
                           void* user) noexcept {
  auto* s = of(r);
  if (s == nullptr) return WEIR_E_INVALID;
  return guarded(*s, "fetch_many", [&]() -> weir_status {
    if (!s->on_stage_thread("fetch_many") || !s->inside_collect("fetch_many")) return WEIR_E_MISUSE;
    if (count == 0) return WEIR_OK;
    if (targets == nullptr || got == nullptr) {
      s->broke(fmt::format("fetch_many(): {} is null", targets == nullptr ? "targets" : "got"));
      return WEIR_E_INVALID;
    }
    std::vector<std::string_view> all;
    all.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto const t = s->target(targets[i], "fetch_many");
      if (!t) return WEIR_E_INVALID;
      all.push_back(*t);
    }
    // Each would hold a window of bodies of its own.
    if (std::exchange(s->fetching_many, true)) {
      s->broke("fetch_many() was called by its own callback");
      return WEIR_E_MISUSE;
    }
    struct at_end {
      bool& fetching;
      ~at_end() { fetching = false; }
    } const guard{s->fetching_many};
    return fetch_all(*s, all, got, user);
  });
}

// Calls into the plugin. An exception must not come out of it; when one does it costs this stage only.
template <class F>
std::optional<std::string> thrown_by(char const* function, F call) {
  auto const what = [&](std::string_view words) {
    return fmt::format("threw an exception across the plugin boundary in {}(): {}", function, words);
  };
  try {
    call();
    return {};
  } catch (std::exception const& e) {
    return what(repair_utf8(e.what()));
  } catch (...) {
    return what("not a std::exception");
  }
}

char const* status_name(weir_status s) {
  switch (s) {
    case WEIR_OK:
      return "WEIR_OK";
    case WEIR_CANCELLED:
      return "WEIR_CANCELLED";
    case WEIR_E_FAILED:
      return "WEIR_E_FAILED";
    case WEIR_E_INVALID:
      return "WEIR_E_INVALID";
    case WEIR_E_SOURCE:
      return "WEIR_E_SOURCE";
    case WEIR_E_NETBOX:
      return "WEIR_E_NETBOX";
    case WEIR_E_MISUSE:
      return "WEIR_E_MISUSE";
    case WEIR_E_NOMEM:
      return "WEIR_E_NOMEM";
    default:
      return nullptr;
  }
}

base::error_code code_of(weir_status status, verdict const& seen) {
  if (status == WEIR_CANCELLED) return base::error_code::interrupted;
  if (status != WEIR_E_SOURCE && status != WEIR_E_NETBOX) return base::error_code::failed;
  if (seen.last_failure.empty()) return base::error_code::failed;
  if (seen.last_http_status == 0) return base::error_code::unreachable;
  return seen.last_http_status == 401 || seen.last_http_status == 403 ? base::error_code::credentials
                                                                      : base::error_code::failed;
}

// What the run came to. `function`: the last of create() and collect() that was called; `thrown`: what came out of it
// or of destroy().
base::result<void> judge(std::string const& name, char const* function, weir_status status,
                         std::optional<std::string> const& thrown, verdict const& seen) {
  static constexpr char plugin_fault[] = "this is a fault of the plugin: report it to those who make it";
  auto const broken =
      seen.broken_count < 2 ? seen.broken : fmt::format("{} (and {} more)", seen.broken, seen.broken_count - 1);
  if (thrown) return base::fail(name + " " + *thrown, plugin_fault);
  if (status == WEIR_OK && broken.empty()) return {};
  if (status == WEIR_OK)
    return base::fail(fmt::format("{} says that all went well, but it did not: {}", name, broken), plugin_fault);
  if (status == WEIR_CANCELLED) return base::fail(base::error_code::interrupted, name + " was cancelled");
  std::string what, hint = seen.hint;
  bool const unknown = status_name(status) == nullptr;
  if (unknown) {
    what = fmt::format("{}: {}() returned {}, a status that this weir does not know", name, function, status);
    if (seen.said) what += ": " + seen.message;
  } else if (seen.said) {
    what = name + ": " + seen.message;
    // The stage has only the status to go by when a call is refused; the reason is ours.
    if (status == WEIR_E_INVALID && !seen.last_failure.empty()) what += "; " + seen.last_failure;
  } else {
    // A rule that it broke is reason enough; else the call that failed probably is.
    auto const& reason = broken.empty() ? seen.last_failure : broken;
    what = reason.empty() ? fmt::format("{}: {}() returned {} without a reason (it never called fail())", name,
                                        function, status_name(status))
                          : fmt::format("{}: {} ({}() returned {} and gave no reason of its own)", name, reason,
                                        function, status_name(status));
    if (!broken.empty() && !seen.last_failure.empty())
      what += "; the last call to weir that failed: " + seen.last_failure;
  }
  bool const told = unknown || seen.said;
  if (told && !broken.empty()) what += "; besides: " + broken;
  if (hint.empty() && (unknown || (!told && !broken.empty()))) hint = plugin_fault;
  if (hint.empty()) hint = seen.last_hint;
  return base::fail(code_of(status, seen), std::move(what), std::move(hint));
}

// Names the replies that never came back. Their memory is ours and goes with the session.
void report_leaks(session& s, std::string const& name) {
  std::vector<std::string> some;
  std::size_t count = 0;
  {
    std::lock_guard const lock(s.mutex);
    count = s.out.size();
    for (auto const& [face, held] : s.out)
      if (some.size() < 5) some.push_back(held->request);
  }
  if (count == 0) return;
  std::sort(some.begin(), some.end());
  auto const more = count > some.size() ? fmt::format(" and {} more", count - some.size()) : "";
  guarded(s, "log", [&] {
    s.offered.log(level::warning,
                  fmt::format("{} did not give back {} of its replies (release() was never called): {}{}", name, count,
                              base::join(some), more),
                  {});
    return WEIR_OK;
  });
}

}  // namespace

session::session(services& s) : offered(s), source(s.source_name()) {
  host.h = {sizeof host, WEIR_ABI_MAJOR, WEIR_ABI_MINOR};
  host.ctx = this;
  host.version = WEIR_VERSION;
  host.log = &host_log;
  host.fail = &host_fail;
  host.extension = &host_extension;

  run.h = {sizeof run, WEIR_ABI_MAJOR, WEIR_ABI_MINOR};
  run.ctx = this;
  run.dry = s.dry() ? 1 : 0;
  run.source = source.c_str();
  run.cancelled = &run_cancelled;
  run.progress = &run_progress;
  run.emit = &run_emit;
  run.complete = &run_complete;
  run.fetch = &run_fetch;
  run.fetch_many = &run_fetch_many;
  run.notice = &run_notice;
  fill_extensions(*this);
}

base::result<void> run_stage(loaded_stage const& stage, std::string const& options_json, services& offered,
                             std::function<void(char const*)> const& entering) {
  auto const name = "stage \"" + stage.id + "\"";
  if (stage.table == nullptr) return base::fail(name + " has no code: it was not loaded from a plugin");
  session s(offered);
  auto const seen = [&] {
    std::lock_guard const lock(s.mutex);
    return s.seen;
  };

  void* self = nullptr;
  weir_status status = WEIR_OK;
  char const* function = "create";
  auto const enter = [&](char const* next) {
    if (entering) entering(next);
  };
  enter(function);
  auto thrown = thrown_by(function, [&] {
    status = stage.table->create(&s.host, weir_str{options_json.data(), options_json.size()}, &self);
  });
  bool const created = !thrown && status == WEIR_OK;
  verdict result = seen();
  if (created) {
    function = "collect";
    {
      std::lock_guard const lock(s.mutex);
      s.seen.said = false;  // what create() said did not make it fail
      s.seen.message.clear();
      s.seen.hint.clear();
    }
    s.collecting = true;
    enter(function);
    thrown = thrown_by(function, [&] { status = stage.table->collect(self, &s.run); });
    s.collecting = false;
    result = seen();
    enter("destroy");
    auto const late = thrown_by("destroy", [&] { stage.table->destroy(self); });
    if (!thrown) thrown = late;
    auto const last = seen();
    result.broken = last.broken;
    result.broken_count = last.broken_count;
  }
  report_leaks(s, name);
  return judge(name, function, status, thrown, result);
}

}  // namespace weir::plugin
