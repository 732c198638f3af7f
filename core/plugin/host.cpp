#include "core/plugin/host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <unordered_map>

#include "core/base/text.hpp"
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
// Longer than this is no text but a length that was never set.
constexpr std::size_t max_text = std::size_t{256} << 20;
// So many replies that were given back keep their (emptied) head, so that a second release() is seen for what it is.
constexpr std::size_t kept_heads = 1024;

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

level to_level(std::int32_t l) {
  static constexpr std::array levels{level::trace, level::debug, level::info, level::warning, level::error};
  return levels[static_cast<std::size_t>(std::clamp<std::int32_t>(l, WEIR_TRACE, WEIR_ERROR))];
}

weir_str borrow(std::string const& text) { return {text.data(), text.size()}; }

struct session;

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

// One run of one stage: what the three C structs point to.
struct session {
  weir_host host{};
  weir_run run{};
  weir_netbox_v1 netbox{};
  services& offered;
  std::thread::id const thread = std::this_thread::get_id();
  std::string const source;
  std::atomic<bool> collecting{false};

  std::mutex mutex;  // guards what follows; never held while calling out
  verdict seen;
  std::unordered_map<weir_reply const*, std::unique_ptr<reply>> out;
  std::deque<std::unique_ptr<reply>> given_back;

  explicit session(services& s);
  session(session const&) = delete;
  session& operator=(session const&) = delete;

  void broke(std::string what) {
    std::lock_guard const lock(mutex);
    if (seen.broken_count++ == 0) seen.broken = std::move(what);
  }

  void call_failed(std::string what, std::string hint = {}, int http_status = 0) {
    std::lock_guard const lock(mutex);
    seen.last_failure = std::move(what);
    seen.last_hint = std::move(hint);
    seen.last_http_status = http_status;
  }

  bool on_stage_thread(char const* function) {
    if (std::this_thread::get_id() == thread) return true;
    broke(fmt::format("{}() was called on another thread than the stage's", function));
    return false;
  }

  bool inside_collect(char const* function) {
    if (collecting) return true;
    broke(fmt::format("{}() was called outside collect()", function));
    return false;
  }

  // Text that goes on as it is: must be there and be UTF-8. Nothing if it is not, which is remembered.
  std::optional<std::string_view> text(weir_str s, char const* function, char const* argument, bool may_be_empty) {
    char const* wrong = nullptr;
    if (s.ptr == nullptr && s.len > 0)
      wrong = "a null pointer with a length";
    else if (s.len > max_text)
      wrong = "longer than 256 MiB";
    else if (s.len == 0 && !may_be_empty)
      wrong = "empty";
    else if (s.len > 0 && !valid_utf8({s.ptr, s.len}))
      wrong = "not UTF-8";
    if (wrong == nullptr) return s.len == 0 ? std::string_view{} : std::string_view{s.ptr, s.len};
    broke(fmt::format("{}(): {} is {}", function, argument, wrong));
    return {};
  }

  // Path and query. A blank or a line end in it could forge a request.
  std::optional<std::string_view> target(weir_str s, char const* function) {
    auto const t = text(s, function, "target", false);
    if (!t) return {};
    bool const clean = std::all_of(t->begin(), t->end(), [](char c) {
      auto const u = static_cast<unsigned char>(c);
      return u > 0x20 && u != 0x7f;
    });
    if (clean) return t;
    broke(fmt::format("{}(): target \"{}\" holds a blank or a control character, which must be percent-encoded",
                      function, base::shorten(*t, 80)));
    return {};
  }

  // Text for people: bad bytes are replaced rather than refused.
  std::string words(weir_str s, char const* function, char const* argument) {
    if (s.ptr == nullptr && s.len > 0) {
      broke(fmt::format("{}(): {} is a null pointer with a length", function, argument));
      return {};
    }
    return s.len == 0 ? std::string{} : repair_utf8({s.ptr, std::min(s.len, max_text)});
  }

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

session* of(weir_host const* h) { return h == nullptr ? nullptr : static_cast<session*>(h->ctx); }
session* of(weir_run const* r) { return r == nullptr ? nullptr : static_cast<session*>(r->ctx); }

weir_status refused(session& s, char const* function, base::error const& e) {
  s.call_failed(fmt::format("{}(): {}", function, e.what), e.hint);
  switch (e.code) {
    case base::error_code::interrupted:
      return WEIR_CANCELLED;
    case base::error_code::unreachable:
    case base::error_code::credentials:
      return WEIR_E_NETBOX;
    default:
      return WEIR_E_INVALID;
  }
}

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
    else if (std::string_view(id) == WEIR_EXT_NETBOX)
      found = &s->netbox;
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

// The end that fetch, read and write share: an answer becomes a reply, a failure is remembered.
weir_status answered(session& s, fetched answer, std::string request, weir_status failed, weir_reply const** out) {
  auto const status = answer.ok ? weir_status{WEIR_OK} : failed;
  if (!answer.ok) {
    if (answer.status == 0 && s.offered.cancelled()) return WEIR_CANCELLED;
    s.call_failed(fmt::format("{}: {}", request, answer.error), {}, answer.status);
  }
  *out = s.hand_out(std::move(answer), std::move(request));
  return status;
}

weir_status run_fetch(weir_run const* r, weir_str target, weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) {
    if (s != nullptr) guarded(*s, "fetch", [&] { return s->broke("fetch(): out is null"), WEIR_OK; });
    return WEIR_E_INVALID;
  }
  *out = nullptr;
  return guarded(*s, "fetch", [&]() -> weir_status {
    if (!s->inside_collect("fetch")) return WEIR_E_MISUSE;
    auto const t = s->target(target, "fetch");
    if (!t) return WEIR_E_INVALID;
    return answered(*s, s->offered.fetch(*t), fmt::format("GET {}", *t), WEIR_E_SOURCE, out);
  });
}

weir_status netbox_read(weir_run const* r, weir_str target, weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) {
    if (s != nullptr) guarded(*s, "read", [&] { return s->broke("read(): out is null"), WEIR_OK; });
    return WEIR_E_INVALID;
  }
  *out = nullptr;
  return guarded(*s, "read", [&]() -> weir_status {
    if (!s->inside_collect("read")) return WEIR_E_MISUSE;
    auto const t = s->target(target, "read");
    if (!t) return WEIR_E_INVALID;
    return answered(*s, s->offered.netbox_read(*t), fmt::format("GET {} of NetBox", *t), WEIR_E_NETBOX, out);
  });
}

weir_status netbox_write(weir_run const* r, weir_str method, weir_str target, weir_str body,
                         weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) {
    if (s != nullptr) guarded(*s, "write", [&] { return s->broke("write(): out is null"), WEIR_OK; });
    return WEIR_E_INVALID;
  }
  *out = nullptr;
  return guarded(*s, "write", [&]() -> weir_status {
    if (!s->on_stage_thread("write") || !s->inside_collect("write")) return WEIR_E_MISUSE;
    auto const m = s->text(method, "write", "method", false);
    auto const t = m ? s->target(target, "write") : m;
    auto const b = t ? s->text(body, "write", "body_json", true) : t;
    if (!b) return WEIR_E_INVALID;
    static constexpr std::string_view methods[] = {"POST", "PATCH", "PUT", "DELETE"};
    if (std::find(std::begin(methods), std::end(methods), *m) == std::end(methods)) {
      s->broke(fmt::format("write(): method is \"{}\", not POST, PATCH, PUT or DELETE", base::shorten(*m, 20)));
      return WEIR_E_INVALID;
    }
    return answered(*s, s->offered.netbox_write(*m, *t, *b), fmt::format("{} {} of NetBox", *m, *t), WEIR_E_NETBOX,
                    out);
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
    return fetch_all(*s, all, got, user);
  });
}

void reply_release(weir_reply const* face) noexcept {
  if (face == nullptr || face->ctx == nullptr) return;
  auto* s = static_cast<session*>(face->ctx);
  guarded(*s, "release", [&] {
    s->take_back(face);
    return WEIR_OK;
  });
}

weir_reply const* session::hand_out(fetched answer, std::string request) {
  auto made = std::make_unique<reply>();
  made->body = std::move(answer.body);
  if (!answer.ok) made->error = answer.error.empty() ? "no reason given" : std::move(answer.error);
  made->request = std::move(request);
  made->face.h = {sizeof(weir_reply), WEIR_ABI_MAJOR, WEIR_ABI_MINOR};
  made->face.ctx = this;
  made->face.http_status = static_cast<std::uint32_t>(std::max(answer.status, 0));
  made->face.body = borrow(made->body);
  made->face.error = borrow(made->error);
  made->face.release = &reply_release;
  auto const* face = &made->face;
  std::lock_guard const lock(mutex);
  out.emplace(face, std::move(made));
  return face;
}

void session::take_back(weir_reply const* face) {
  std::unique_ptr<reply> oldest;  // freed without the lock
  std::unique_lock lock(mutex);
  auto const found = out.find(face);
  if (found == out.end()) {
    auto const before =
        std::find_if(given_back.begin(), given_back.end(), [&](auto const& r) { return &r->face == face; });
    auto what = before == given_back.end()
                    ? std::string("release(): not a reply that weir handed out")
                    : fmt::format("release(): the reply to {} was given back twice", (*before)->request);
    lock.unlock();
    broke(std::move(what));
    return;
  }
  auto& mine = *found->second;
  mine.face.body = mine.face.error = weir_str{nullptr, 0};
  std::string().swap(mine.body);
  std::string().swap(mine.error);
  given_back.push_back(std::move(found->second));
  out.erase(found);
  if (given_back.size() > kept_heads) {
    oldest = std::move(given_back.front());
    given_back.pop_front();
  }
}

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

  netbox.h = {sizeof netbox, WEIR_ABI_MAJOR, WEIR_ABI_MINOR};
  netbox.read = &netbox_read;
  netbox.write = &netbox_write;
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
  if (status_name(status) == nullptr) {
    what = fmt::format("{}: {}() returned {}, a status that this weir does not know", name, function, status);
    if (seen.said) what += ": " + seen.message;
  } else if (seen.said) {
    what = name + ": " + seen.message;
    // The stage has only the status to go by when a call is refused; the reason is ours.
    if (status == WEIR_E_INVALID && !seen.last_failure.empty()) what += "; " + seen.last_failure;
  } else {
    what = fmt::format("{}: {}() returned {} without a reason (it never called fail())", name, function,
                       status_name(status));
    if (!seen.last_failure.empty()) what += "; the last call to weir that failed: " + seen.last_failure;
  }
  if (hint.empty()) hint = seen.last_hint;
  if (!broken.empty()) what += "; besides: " + broken;
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
  auto thrown = thrown_by(function, [&] { status = stage.table->create(&s.host, borrow(options_json), &self); });
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
