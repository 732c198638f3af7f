// What a stage sees of weir, played by the test: answers by target, everything it is told is kept.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/plugin/host.hpp"

namespace weir::plugin {

class fake_services : public services {
 public:
  // How fetch_async answers: before it returns, from another thread, or when the test says so.
  enum class answers { at_once, elsewhere, held };

  answers mode = answers::at_once;
  std::atomic<bool> stop{false};
  bool plan = false;
  std::string scope_text = R"({"guests":[101]})";
  std::optional<base::error> refuse_emit;
  bool sound_is_taken = false;  // what emit() shall not be asked about first
  bool emit_throws = false;
  std::size_t hold_after = SIZE_MAX;  // from this fetch_async on, answers are held
  std::function<void()> on_held;      // called after each that is held

  ~fake_services() override {
    for (auto& t : threads_) t.join();
  }

  std::string const& source_name() const override { return name_; }
  bool dry() const override { return plan; }
  bool cancelled() const override { return stop; }
  void progress(std::uint64_t done, std::uint64_t total, std::string_view note) override {
    std::lock_guard const lock(mutex_);
    last_progress = {done, total, std::string(note)};
  }
  void log(base::log::level l, std::string_view message, std::vector<log_field> const& fields) override {
    std::lock_guard const lock(mutex_);
    logged.emplace_back(l, message);
    for (auto const& f : fields) logged_fields.emplace_back(f.key, f.value);
  }
  bool log_enabled(base::log::level l) const override { return l >= base::log::level::debug; }
  void notice(base::log::level l, std::string_view message, std::string_view) override {
    std::lock_guard const lock(mutex_);
    notices.emplace_back(l, message);
  }
  bool takes_all_that_is_sound() const override { return sound_is_taken; }
  base::result<void> emit(std::string_view kind, std::string_view key, std::string_view fields) override {
    if (emit_throws) throw std::runtime_error("the sink is full");
    if (refuse_emit) return *refuse_emit;
    ++emitted;
    bytes += kind.size() + key.size() + fields.size();
    std::lock_guard const lock(mutex_);
    last_emit = std::string(kind) + " " + std::string(key) + " " + std::string(fields);
    return {};
  }
  base::result<void> complete(std::string_view kind, std::string_view scope) override {
    std::lock_guard const lock(mutex_);
    completed.push_back(std::string(kind) + " " + std::string(scope));
    return {};
  }
  fetched fetch(std::string_view target) override { return answer(target); }
  void fetch_async(std::string target, std::function<void(fetched)> done) override {
    std::size_t const nth = asked++;
    if (mode == answers::held || nth >= hold_after) {
      held.emplace_back(std::move(target), std::move(done));
      if (on_held) on_held();
    } else if (mode == answers::elsewhere) {
      threads_.emplace_back([target = std::move(target), done = std::move(done)] { done(answer(target)); });
    } else {
      done(answer(target));
    }
  }
  fetched netbox_read(std::string_view target) override {
    std::lock_guard const lock(mutex_);
    netbox.push_back("GET " + std::string(target));
    return {200, "{}", "", true};
  }
  fetched netbox_write(std::string_view method, std::string_view target, std::string_view body) override {
    std::lock_guard const lock(mutex_);
    netbox.push_back(std::string(method) + " " + std::string(target) + " " + std::string(body));
    return {plan ? 0 : 200, "", "", true};
  }

  base::result<void> metric(metric_kind kind, std::string_view name, double value) override {
    std::lock_guard const lock(mutex_);
    auto& here = metrics[std::string(name)];
    here = kind == metric_kind::counter ? here + value : value;
    return {};
  }
  base::result<std::optional<std::string>> state_get(std::string_view key) override {
    auto const found = state.find(std::string(key));
    return found == state.end() ? std::optional<std::string>{} : found->second;
  }
  base::result<void> state_put(std::string_view key, std::optional<std::string_view> value) override {
    if (value)
      state[std::string(key)] = *value;
    else
      state.erase(std::string(key));
    return {};
  }

  base::result<std::string> scope() override { return scope_text; }

  static fetched answer(std::string_view target) {
    if (target == "/denied") return {403, "", "GET /denied: 403, the token lacks Sys.Audit", false};
    if (target == "/gone") return {0, "", "GET /gone: connection refused", false};
    if (target == "/bad" || target.ends_with('7')) return {500, "", "GET: 500", false};
    if (target.starts_with("/many/")) return {200, std::string(target), "", true};
    return {200, R"({"name":"One"})", "", true};
  }

  struct progress_seen {
    std::uint64_t done = 0, total = 0;
    std::string note;
  };
  std::atomic<std::size_t> emitted{0}, bytes{0};
  std::size_t asked = 0;
  std::vector<std::pair<std::string, std::function<void(fetched)>>> held;
  std::vector<std::pair<base::log::level, std::string>> logged, notices;
  std::vector<std::pair<std::string, std::string>> logged_fields;
  std::map<std::string, double> metrics;
  std::map<std::string, std::string> state;
  std::vector<std::string> completed, netbox;
  std::string last_emit;
  progress_seen last_progress;

 private:
  std::string const name_ = "pve-a";
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace weir::plugin
