// weir/stage.hpp: a stage plugin in plain C++20. Header-only, over weir/abi.h, nothing but the standard library.
//
//   struct pools {
//     static constexpr weir::info about{.id = "pools", .version = "1.0.0", .title = "pools as tags"};
//     explicit pools(weir::context const& c);   // options; throw weir::error to refuse them
//     void collect(weir::run& run);             // straight-line code: fetch, emit, complete
//   };
//   WEIR_PLUGIN("pools", "1.0.0", "Example Org", pools);
//
// No exception leaves the plugin: each becomes a status and, through fail(), a message for people.
#pragma once
#include <weir/abi.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace weir {

enum class level : std::int32_t {
  trace = WEIR_TRACE,
  debug = WEIR_DEBUG,
  info = WEIR_INFO,
  warn = WEIR_WARN,
  error = WEIR_ERROR
};

// Thrown when the run is being stopped. Let it pass: catching it keeps the operator waiting.
struct cancelled {};

// Ends create() or collect(). `hint` says what to do about it; may be empty.
struct error : std::runtime_error {
  explicit error(std::string const& message, std::string what_to_do = {}, weir_status status = WEIR_E_FAILED)
      : std::runtime_error(message), code(status), hint(std::move(what_to_do)) {}
  weir_status code;
  std::string hint;
};

// The source refused or did not answer; http_status 0 means that no answer came.
struct source_error : error {
  source_error(std::string const& message, unsigned status, std::string what_to_do = {})
      : error(message, std::move(what_to_do), WEIR_E_SOURCE), http_status(status) {}
  unsigned http_status;
};

struct netbox_error : error {
  netbox_error(std::string const& message, unsigned status, std::string what_to_do = {})
      : error(message, std::move(what_to_do), WEIR_E_NETBOX), http_status(status) {}
  unsigned http_status;
};

constexpr weir_str str(std::string_view text) noexcept { return {text.data(), text.size()}; }
constexpr std::string_view view(weir_str text) noexcept {
  return text.ptr == nullptr ? std::string_view{} : std::string_view{text.ptr, text.len};
}

// What a stage says about itself; all text in static storage. See weir_stage in abi.h.
struct info {
  char const* id;
  char const* version;
  char const* title;
  char const* needs = "";                // ids of stages that come first, separated by spaces
  char const* source_type = "proxmox";   // "" for a stage that reads no source and runs once
  char const* kinds_json = "[]";         // kinds it brings, and ids of built-in kinds it emits
  char const* options_schema = nullptr;  // JSON Schema (draft 7); null: takes no options
};

// A field of a log line. Keys: [a-z][a-z0-9_]*, at most 64 bytes; at most 16 fields per line are kept.
struct field {
  std::string_view key, value;
};

namespace detail {

// The extensions' tables; null where the host does not have one, or an older one without what is used here.
inline weir_netbox_v1 const* netbox_table(weir_host const* host) noexcept {
  auto const* table = static_cast<weir_netbox_v1 const*>(host->extension(host, WEIR_EXT_NETBOX));
  return table != nullptr && WEIR_HAS(table, weir_netbox_v1, write) ? table : nullptr;
}
inline weir_log_v1 const* log_table(weir_host const* host) noexcept {
  auto const* table = static_cast<weir_log_v1 const*>(host->extension(host, WEIR_EXT_LOG));
  return table != nullptr && WEIR_HAS(table, weir_log_v1, write) ? table : nullptr;
}
inline weir_metrics_v1 const* metrics_table(weir_host const* host) noexcept {
  auto const* table = static_cast<weir_metrics_v1 const*>(host->extension(host, WEIR_EXT_METRICS));
  return table != nullptr && WEIR_HAS(table, weir_metrics_v1, set) ? table : nullptr;
}
inline weir_state_v1 const* state_table(weir_host const* host) noexcept {
  auto const* table = static_cast<weir_state_v1 const*>(host->extension(host, WEIR_EXT_STATE));
  return table != nullptr && WEIR_HAS(table, weir_state_v1, erase) ? table : nullptr;
}

inline weir_scope_v1 const* scope_table(weir_host const* host) noexcept {
  auto const* table = static_cast<weir_scope_v1 const*>(host->extension(host, WEIR_EXT_SCOPE));
  return table != nullptr && WEIR_HAS(table, weir_scope_v1, get) ? table : nullptr;
}

inline bool log_enabled(weir_host const* host, level l) noexcept {
  auto const* table = log_table(host);
  return table == nullptr || table->enabled(host, static_cast<std::int32_t>(l)) != 0;
}

// Where the host has no weir.log/1, the fields follow the message.
inline void log(weir_host const* host, level l, std::string_view message, std::initializer_list<field> fields) {
  if (auto const* table = log_table(host)) {
    std::vector<weir_field> list;
    for (auto const& f : fields) list.push_back({str(f.key), str(f.value)});
    table->write(host, static_cast<std::int32_t>(l), str(message), list.data(), list.size());
    return;
  }
  std::string line{message};
  for (auto const& f : fields) line.append(" ").append(f.key).append("=").append(f.value);
  host->log(host, static_cast<std::int32_t>(l), str(line));
}

}  // namespace detail

// Given to the stage's constructor. `host` outlives the stage, `options_json` only the constructor.
struct context {
  weir_host const* host;
  std::string_view options_json;
  void log(level l, std::string_view message) const noexcept {
    host->log(host, static_cast<std::int32_t>(l), str(message));
  }
  void log(level l, std::string_view message, std::initializer_list<field> fields) const {
    detail::log(host, l, message, fields);
  }
};

// An answer; gives its buffer back to the host by itself. body() and error() live as long as the reply.
class reply {
  weir_reply const* r_ = nullptr;
  weir_status status_ = WEIR_OK;

 public:
  explicit reply(weir_reply const* r, weir_status status = WEIR_OK) noexcept : r_(r), status_(status) {}
  reply(reply&& o) noexcept : r_(std::exchange(o.r_, nullptr)), status_(o.status_) {}
  reply& operator=(reply&& o) noexcept {
    if (this != &o) {
      give_back();
      r_ = std::exchange(o.r_, nullptr);
      status_ = o.status_;
    }
    return *this;
  }
  reply(reply const&) = delete;
  reply& operator=(reply const&) = delete;
  ~reply() { give_back(); }

  // Answered 2xx.
  bool ok() const noexcept { return status_ == WEIR_OK; }
  explicit operator bool() const noexcept { return ok(); }
  weir_status status() const noexcept { return status_; }
  // 0: no answer came.
  unsigned http_status() const noexcept { return r_ != nullptr ? r_->http_status : 0; }
  std::string_view body() const noexcept { return r_ != nullptr ? view(r_->body) : std::string_view{}; }
  // One line for people, empty on success.
  std::string_view error() const noexcept {
    if (r_ != nullptr && r_->error.len != 0) return view(r_->error);
    return ok() ? std::string_view{} : std::string_view{"no answer"};
  }

 private:
  void give_back() noexcept {
    if (r_ != nullptr) r_->release(r_);
    r_ = nullptr;
  }
};

namespace detail {

inline char const* status_text(weir_status s) noexcept {
  switch (s) {
    case WEIR_OK:
      return "success";
    case WEIR_CANCELLED:
      return "the run is being stopped";
    case WEIR_E_INVALID:
      return "an argument is wrong: no JSON object, an unknown kind, or not exactly the kind's key";
    case WEIR_E_SOURCE:
      return "the source refused or did not answer";
    case WEIR_E_NETBOX:
      return "NetBox refused or did not answer";
    case WEIR_E_MISUSE:
      return "the contract was broken, e.g. a [stage] function called on another thread";
    case WEIR_E_NOMEM:
      return "out of memory";
    default:
      return "the host failed";
  }
}

inline void check(weir_status s, std::string_view call, std::string_view on, std::string_view detail = {}) {
  if (s == WEIR_OK) return;
  if (s == WEIR_CANCELLED) throw cancelled{};
  if (s == WEIR_E_NOMEM) throw std::bad_alloc{};
  std::string message{call};
  message.append(" ").append(on);
  if (!detail.empty()) message.append(" ").append(detail.substr(0, 200));
  message.append(": ").append(status_text(s));
  throw weir::error(message, {}, s);
}

// A reply of the host and its status as one value; throws where there can be no reply.
inline reply take(weir_status s, weir_reply const* out, weir_status refused, std::string_view call,
                  std::string_view target) {
  reply r{out, s};
  if (s != WEIR_OK && s != refused) check(s, call, target);
  return r;
}

}  // namespace detail

// The shared NetBox client of the host, extension "weir.netbox/1". Ask run.netbox() for it.
class netbox_client {
  weir_run const* run_;
  weir_netbox_v1 const* table_;

 public:
  netbox_client(weir_run const* run, weir_netbox_v1 const* table) noexcept : run_(run), table_(table) {}
  // GET below /api, e.g. "/dcim/sites/?name=x". Throws netbox_error. NetBox ignores filters it does not know.
  reply read(std::string_view target) const {
    weir_reply const* out = nullptr;
    weir_status const s = table_->read(run_, str(target), &out);
    return or_throw(detail::take(s, out, WEIR_E_NETBOX, "GET", target), target);
  }
  // POST, PATCH, PUT or DELETE, on the stage's thread. While planning it is recorded only: http_status() 0, no body.
  reply write(std::string_view method, std::string_view target, std::string_view body_json) const {
    weir_reply const* out = nullptr;
    weir_status const s = table_->write(run_, str(method), str(target), str(body_json), &out);
    return or_throw(detail::take(s, out, WEIR_E_NETBOX, method, target), target);
  }

 private:
  static reply or_throw(reply r, std::string_view target) {
    if (r.ok()) return r;
    std::string message{r.error()};
    if (message.find(target) == std::string::npos) message.append(" (").append(target).append(")");
    throw netbox_error(message, r.http_status());
  }
};

// Counters and gauges of the stage's own, extension "weir.metrics/1". Ask run.metrics() for them. Where the host does
// not have it (operator bool is false), nothing is counted and nothing fails.
class metrics_client {
  weir_run const* run_;
  weir_metrics_v1 const* table_;

 public:
  metrics_client(weir_run const* run, weir_metrics_v1 const* table) noexcept : run_(run), table_(table) {}
  explicit operator bool() const noexcept { return table_ != nullptr; }
  // [any] Counter: `name` ends in _total, `amount` is finite and not negative. Throws weir::error where it is not.
  void add(std::string_view name, double amount = 1) const {
    if (table_ != nullptr) detail::check(table_->add(run_, str(name), amount), "metrics: add", name);
  }
  // [any] Gauge: the last value counts. Throws weir::error where it is not finite or the name is a counter's.
  void set(std::string_view name, double value) const {
    if (table_ != nullptr) detail::check(table_->set(run_, str(name), value), "metrics: set", name);
  }
};

// What is kept between runs, extension "weir.state/1". Ask run.state() for it. All on the stage's thread. Where the
// host does not have it (operator bool is false), get() finds nothing and nothing is kept.
class state_client {
  weir_run const* run_;
  weir_state_v1 const* table_;

 public:
  state_client(weir_run const* run, weir_state_v1 const* table) noexcept : run_(run), table_(table) {}
  explicit operator bool() const noexcept { return table_ != nullptr; }
  // Nothing if there is no such key.
  std::optional<std::string> get(std::string_view key) const {
    if (table_ == nullptr) return std::nullopt;
    weir_reply const* out = nullptr;
    weir_status const s = table_->get(run_, str(key), &out);
    reply const r{out, s};
    detail::check(s, "state: get", key);
    if (out == nullptr) return std::nullopt;
    return std::string{r.body()};
  }
  // Seen by get() at once; kept once everything this stage emitted is in NetBox. Never while planning.
  void put(std::string_view key, std::string_view value) const {
    if (table_ != nullptr) detail::check(table_->put(run_, str(key), str(value)), "state: put", key);
  }
  void erase(std::string_view key) const {
    if (table_ != nullptr) detail::check(table_->erase(run_, str(key)), "state: erase", key);
  }
};

// Whether the run is being stopped, like std::stop_token: to be copied and handed to loops and threads of the stage's
// own. Valid until collect() returns.
class stop_token {
  weir_run const* r_;

 public:
  explicit stop_token(weir_run const* r) noexcept : r_(r) {}
  bool stop_requested() const noexcept { return r_->cancelled(r_) != 0; }
  bool stop_possible() const noexcept { return true; }
};

// An answer of run.fetch_each(): that of the target number `index`. A refusal is a value: reply.ok().
struct answer {
  std::size_t index;
  weir::reply reply;
};

// The range behind run.fetch_each(): see there. To be gone through once.
template <class Targets>
class answers {
  using target_iterator = std::ranges::iterator_t<std::remove_reference_t<Targets>>;

  weir_run const* run_;
  Targets targets_;  // a reference where the caller keeps them, else the targets themselves
  std::size_t window_;
  std::optional<target_iterator> next_{};
  std::vector<std::string> asked_{};
  std::vector<weir::answer> got_{};
  std::size_t at_ = 0, before_ = 0;

 public:
  answers(weir_run const* run, Targets&& targets, std::size_t window)
      : run_(run), targets_(std::forward<Targets>(targets)), window_(window == 0 ? 1 : window) {}
  answers(answers const&) = delete;
  answers& operator=(answers const&) = delete;

  class iterator {
    answers* of_ = nullptr;

   public:
    using value_type = weir::answer;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    iterator() noexcept = default;
    explicit iterator(answers* of) noexcept : of_(of) {}
    weir::answer& operator*() const noexcept { return of_->got_[of_->at_]; }
    iterator& operator++() {
      of_->advance();
      return *this;
    }
    void operator++(int) { of_->advance(); }
    bool operator==(std::default_sentinel_t) const noexcept { return of_->at_ == of_->got_.size(); }
  };

  iterator begin() {
    next_.emplace(std::ranges::begin(targets_));
    fill();
    return iterator{this};
  }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  void advance() {
    got_[at_].reply = reply{nullptr};  // its memory is not needed any more
    if (++at_ == got_.size()) fill();
  }

  // The next window, in the targets' order.
  void fill() {
    before_ += asked_.size();
    asked_.clear();
    got_.clear();
    at_ = 0;
    for (; asked_.size() < window_ && *next_ != std::ranges::end(targets_); ++*next_) asked_.emplace_back(**next_);
    if (asked_.empty()) return;
    std::vector<weir_str> list;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      list.push_back(str(asked_[i]));
      got_.push_back({before_ + i, reply{nullptr, WEIR_E_FAILED}});
    }
    weir_status const s = run_->fetch_many(
        run_, list.data(), list.size(),
        [](void* user, std::size_t index, weir_status status, weir_reply const* r) noexcept -> weir_status {
          static_cast<weir::answer*>(user)[index].reply = reply{r, status};
          return WEIR_OK;
        },
        got_.data());
    if (s != WEIR_OK) got_.clear();
    detail::check(s, "GET", std::to_string(list.size()) + " targets");
  }
};

// One collect(). Everything may throw weir::cancelled; let it pass. [any] functions may be called from threads of the
// stage's own, as long as collect() has not returned.
class run {
  weir_host const* host_;
  weir_run const* r_;

 public:
  run(weir_host const* host, weir_run const* r) noexcept : host_(host), r_(r) {}
  run(run const&) = delete;
  run& operator=(run const&) = delete;

  // The source's name in the configuration.
  std::string_view source() const noexcept { return r_->source; }
  // `weir plan`: nothing will be written.
  bool dry() const noexcept { return r_->dry != 0; }

  // [any] For long loops without a host call in them.
  bool cancelled() const noexcept { return r_->cancelled(r_) != 0; }
  void check() const {
    if (cancelled()) throw weir::cancelled{};
  }
  weir::stop_token stop_token() const noexcept { return weir::stop_token{r_}; }

  // [any] total 0: unknown.
  void progress(std::uint64_t done, std::uint64_t total, std::string_view note = {}) const noexcept {
    r_->progress(r_, done, total, str(note));
  }
  // [any] Detail for the log; what the operator must read goes to notice().
  void log(level l, std::string_view message) const noexcept {
    host_->log(host_, static_cast<std::int32_t>(l), str(message));
  }
  // [any] With fields that logs keep apart: run.log(weir::level::info, "skipped", {{"vmid", "101"}}). A host without
  // weir.log/1 gets them behind the message.
  void log(level l, std::string_view message, std::initializer_list<field> fields) const {
    detail::log(host_, l, message, fields);
  }
  // [any] Whether lines of this level are kept: worth asking before composing a long one.
  bool log_enabled(level l) const noexcept { return detail::log_enabled(host_, l); }
  // [any] Appears in the report. level::error: the run ends with exit code 3, though the stage goes on.
  void notice(level l, std::string_view message, std::string_view hint = {}) const noexcept {
    r_->notice(r_, static_cast<std::int32_t>(l), str(message), str(hint));
  }

  // [any] One desired object. See weir_run.emit for what key and fields hold.
  void emit_json(std::string_view kind, std::string_view key_json, std::string_view fields_json) const {
    detail::check(r_->emit(r_, str(kind), str(key_json), str(fields_json)), "emit", kind, key_json);
  }
  // [stage] All objects of this kind in this scope have been emitted: others of ours may be taken for gone.
  void complete_json(std::string_view kind, std::string_view scope_json) const {
    detail::check(r_->complete(r_, str(kind), str(scope_json)), "complete", kind, scope_json);
  }

  // [any] GET path and query from the source. Throws source_error, with the host's words, unless answered 2xx.
  reply fetch(std::string_view target) const {
    reply r = try_fetch(target);
    if (!r.ok()) throw source_error(said(r, target), r.http_status());
    return r;
  }
  // [any] The same, but a refusal is a value: ok(), http_status(), error().
  reply try_fetch(std::string_view target) const {
    weir_reply const* out = nullptr;
    weir_status const s = r_->fetch(r_, str(target), &out);
    return detail::take(s, out, WEIR_E_SOURCE, "GET", target);
  }
  // [stage] Many at once; the host does the concurrency. Calls got(index, reply const&) on this thread, once per
  // target, in any order; a refusal is a value there. What `got` throws stops the rest and comes out here.
  template <std::ranges::forward_range Targets, class Got>
  void fetch_many(Targets const& targets, Got&& got) const {
    using element = std::ranges::range_reference_t<Targets const>;
    static_assert(std::convertible_to<element, std::string_view>, "weir: fetch_many() needs a range of text");
    static_assert(std::is_lvalue_reference_v<element> || std::same_as<element, std::string_view>,
                  "weir: the range given to fetch_many() makes its strings on the fly; keep them in a vector");
    static_assert(std::invocable<Got&, std::size_t, reply const&>,
                  "weir: the callback of fetch_many() is got(std::size_t index, weir::reply const& reply)");
    std::vector<weir_str> list;
    for (auto const& t : targets) list.push_back(str(std::string_view{t}));
    if (list.empty()) return;
    struct frame {
      std::remove_reference_t<Got>& got;
      std::exception_ptr thrown;
    } f{got, nullptr};
    // The C frame between must not see an exception: it is kept here and thrown again behind it.
    auto const trampoline = [](void* user, std::size_t index, weir_status s,
                               weir_reply const* r) noexcept -> weir_status {
      auto& to = *static_cast<frame*>(user);
      reply const answer{r, s};
      if (to.thrown) return WEIR_E_FAILED;
      if (s == WEIR_CANCELLED) return s;
      try {
        std::invoke(to.got, index, answer);
        return WEIR_OK;
      } catch (weir::cancelled const&) {
        return WEIR_CANCELLED;
      } catch (...) {
        to.thrown = std::current_exception();
        return WEIR_E_FAILED;
      }
    };
    weir_status const s = r_->fetch_many(r_, list.data(), list.size(), trampoline, &f);
    if (f.thrown) std::rethrow_exception(f.thrown);
    detail::check(s, "GET", std::to_string(list.size()) + " targets");
  }

  // [stage] The same as a range, in the targets' order: for (auto&& [index, reply] : run.fetch_each(targets)).
  // Targets may be made on the fly. `window` of them are read at once, and only then handed out: at most so many
  // replies are in memory, and nothing is read while the loop's body works (fetch_many keeps on reading). Leaving the
  // loop, by break or by an exception, asks for no further window.
  template <std::ranges::input_range Targets>
  auto fetch_each(Targets&& targets, std::size_t window = 64) const {
    static_assert(std::constructible_from<std::string, std::ranges::range_reference_t<Targets>>,
                  "weir: fetch_each() needs a range of text");
    return answers<Targets>{r_, std::forward<Targets>(targets), window};
  }

  // The shared NetBox client, if this host offers it.
  std::optional<netbox_client> netbox() const noexcept {
    auto const* table = detail::netbox_table(host_);
    if (table == nullptr) return std::nullopt;
    return netbox_client{r_, table};
  }
  // Counters and gauges of the stage's own; on a host without them nothing is counted.
  metrics_client metrics() const noexcept { return {r_, detail::metrics_table(host_)}; }
  // What is kept between runs; on a host without it nothing is.
  state_client state() const noexcept { return {r_, detail::state_table(host_)}; }
  // [any] Which part of the source this run is about, as JSON; see weir_scope_v1 in abi.h. "{}", everything, also on a
  // host that cannot narrow a run. Throws weir::error where it is not known.
  std::string_view scope_json() const {
    auto const* table = detail::scope_table(host_);
    if (table == nullptr) return "{}";
    weir_str out{nullptr, 0};
    detail::check(table->get(r_, &out), "scope: get", r_->source);
    return out.len == 0 ? std::string_view{"{}"} : view(out);
  }

 private:
  static std::string said(reply const& r, std::string_view target) {
    std::string message{r.error()};
    if (message.find(target) == std::string::npos) message.insert(0, "GET " + std::string{target} + ": ");
    return message;
  }
};

namespace detail {

template <class T>
concept has_about = requires {
  { T::about } -> std::convertible_to<info const&>;
};
template <class T>
concept has_constant_about = has_about<T> && requires {
  typename std::bool_constant<T::about.id == nullptr>;
};
template <class T>
concept takes_context = std::constructible_from<T, context const&>;
template <class T>
concept collects = requires(T& t, run& r) {
  t.collect(r);
};

constexpr bool valid_id(std::string_view id) noexcept {
  if (id.empty() || id.front() < 'a' || id.front() > 'z') return false;
  for (char const c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

}  // namespace detail

// What a class must be to become a stage.
template <class T>
concept stage = detail::has_constant_about<T> && detail::takes_context<T> && detail::collects<T>;

namespace detail {

// Runs f; no exception leaves. The reason goes to the host first.
template <class F>
weir_status guard(weir_host const* host, F&& f) noexcept {
  auto const say = [host](char const* message, std::string_view hint = {}) noexcept {
    host->fail(host, str(message), str(hint));
  };
  try {
    f();
    return WEIR_OK;
  } catch (cancelled const&) {
    return WEIR_CANCELLED;
  } catch (error const& e) {
    say(e.what(), e.hint);
    // A stage that throws must not look like success or like a stop.
    return e.code < 0 ? e.code : WEIR_E_FAILED;
  } catch (std::bad_alloc const&) {
    say("out of memory");
    return WEIR_E_NOMEM;
  } catch (std::exception const& e) {
    say(e.what());
    return WEIR_E_FAILED;
  } catch (...) {
    say("the stage threw something that is no std::exception");
    return WEIR_E_FAILED;
  }
}

template <class T>
struct box {
  weir_host const* host;
  T stage;
  box(weir_host const* h, std::string_view options) : host(h), stage(context{h, options}) {}
};

template <class T>
weir_status create(weir_host const* host, weir_str options, void** self) noexcept {
  return guard(host, [&] { *self = new box<T>(host, view(options)); });
}
template <class T>
weir_status collect(void* self, weir_run const* r) noexcept {
  auto& b = *static_cast<box<T>*>(self);
  return guard(b.host, [&] {
    run x{b.host, r};
    b.stage.collect(x);
  });
}
template <class T>
void destroy(void* self) noexcept {
  delete static_cast<box<T>*>(self);
}

template <class T>
consteval weir_stage make_table() {
  static_assert(has_about<T>, "weir: a stage needs `static constexpr weir::info about{...};`");
  static_assert(!has_about<T> || has_constant_about<T>, "weir: a stage's `about` must be `static constexpr`");
  static_assert(takes_context<T>, "weir: a stage needs a constructor that takes `weir::context const&`");
  static_assert(collects<T>, "weir: a stage needs `void collect(weir::run&)`");
  static_assert(std::is_nothrow_destructible_v<T>, "weir: a stage's destructor must not throw");
  if constexpr (stage<T>) {
    static_assert(T::about.id != nullptr && valid_id(T::about.id),
                  "weir: a stage's id is lower-case letters, digits and '-', a letter first");
    static_assert(T::about.version != nullptr && T::about.title != nullptr && T::about.needs != nullptr &&
                      T::about.source_type != nullptr && T::about.kinds_json != nullptr,
                  "weir: a stage's info needs version and title; only options_schema may be null");
    static_assert(T::about.kinds_json == nullptr || T::about.kinds_json[0] == '[',
                  "weir: kinds_json is a JSON array: [\"extras.tag\"]");
    return {WEIR_HEAD(weir_stage), T::about.id,          T::about.version,    T::about.title,
            T::about.needs,        T::about.source_type, T::about.kinds_json, T::about.options_schema,
            &detail::create<T>,    &detail::collect<T>,  &detail::destroy<T>};
  } else {
    return {};
  }
}

template <class T>
inline constexpr weir_stage table = make_table<T>();
template <class... Ts>
inline constexpr weir_stage const* tables[] = {&table<Ts>...};

}  // namespace detail
}  // namespace weir

// Once per plugin, at namespace scope: the one exported symbol. WEIR_PLUGIN(name, version, vendor, stages...)
#define WEIR_PLUGIN(NAME, VERSION, VENDOR, ...)                                   \
  constinit const weir_plugin weir_plugin_v1 = {                                  \
      WEIR_HEAD(weir_plugin),                                                     \
      NAME,                                                                       \
      VERSION,                                                                    \
      VENDOR,                                                                     \
      ::weir::detail::tables<__VA_ARGS__>,                                        \
      static_cast<std::uint32_t>(std::size(::weir::detail::tables<__VA_ARGS__>)), \
      0}
