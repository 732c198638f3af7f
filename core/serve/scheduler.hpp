// When runs start by themselves. Pure: the time is an argument, what to do is the answer.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/config.hpp"
#include "core/config/cron.hpp"

namespace weir::serve {

// The same moment on both clocks: intervals go by the one that nobody sets, cron expressions by the one on the wall.
struct moment {
  std::chrono::steady_clock::time_point steady;
  std::chrono::system_clock::time_point wall;
  static moment now() { return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()}; }
};

struct schedule_view {
  config::schedule what;
  std::optional<std::chrono::system_clock::time_point> next;  // none: it never comes
  std::uint64_t started = 0, refused = 0;
};

// Intervals count from start to start; the first comes at once. A start that falls into another run is refused, counted
// and not made up for. Where several are due at once, the one that has waited longest since its last start gets its
// turn, so that an hourly one cannot keep a daily one out for ever.
class scheduler {
 public:
  struct decision {
    std::optional<std::size_t> start;  // index into the schedules
    std::vector<std::size_t> refused;
  };

  // Error (config): a cron expression that cannot be read, or that never comes.
  static base::result<scheduler> make(std::vector<config::schedule> const& schedules, moment now, std::uint64_t seed);

  // What is due. Call it at least once a second or so; `busy`: a run is under way.
  decision due(moment now, bool busy);
  // Other schedules from now on; those that stay as they are (name, times) keep their next start and their counts.
  base::result<void> replace(std::vector<config::schedule> const& schedules, moment now);

  std::size_t size() const { return entries_.size(); }
  config::schedule const& at(std::size_t index) const { return entries_[index].what; }
  std::vector<schedule_view> view(moment now) const;

 private:
  struct entry {
    config::schedule what;
    std::optional<config::cron> when;                                         // else `every`
    std::chrono::steady_clock::time_point base{}, at{};                       // of an interval: without and with jitter
    std::optional<std::chrono::system_clock::time_point> wall_base, wall_at;  // of an expression: the same
    std::optional<std::chrono::steady_clock::time_point> last_start;
    std::uint64_t started = 0, refused = 0;
  };

  explicit scheduler(std::uint64_t seed) : random_(seed) {}
  base::result<entry> make_entry(config::schedule const& what, moment now);
  void plan_next(entry& e, moment now);
  std::chrono::milliseconds jitter(config::schedule const& what);

  std::vector<entry> entries_;
  std::optional<moment> last_;
  std::mt19937_64 random_;
};

}  // namespace weir::serve
