// The adaptive part of a gate: limiter, pace, retry budget, breaker and the watch for a starved pool, told of each
// attempt.
#pragma once
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/throttle/breaker.hpp"
#include "core/throttle/latencies.hpp"
#include "core/throttle/outcome.hpp"
#include "core/throttle/pace.hpp"
#include "core/throttle/retry_budget.hpp"
#include "core/throttle/starvation.hpp"

namespace weir::throttle {

// An attempt that ended.
struct attempt {
  method verb = method::get;
  std::string_view endpoint;
  std::size_t objects = 1;
  outcome what = outcome::ok;
  trouble cause = trouble::none;
  clock::duration latency{0};
  std::size_t reply_bytes = 0;
  bool alone = false;  // nothing else of ours was in flight meanwhile
};

struct event {
  enum class what {
    limit,    // of requests in flight, or the gap between them
    opened,   // the breaker
    probe,    // is sent
    closed,   // the breaker
    starved,  // the database has no connection for us
    fed,      // it has again
    gave_up,  // failing for longer than the profile allows
  } kind = what::limit;
  clock::time_point at{};
  double limit = 1;
  clock::duration gap{0};
  double inflation = 1;      // latency over what is usual for so many in flight
  bool mixed = false;        // starved: a share gets through
  clock::duration pause{0};  // opened: until the next probe
};
std::string_view name(event::what w);

struct throttle_state {
  double limit = 1, highest_limit = 1;
  std::size_t cuts = 0;  // how often the limit was lowered
  milliseconds gap{0}, longest_gap{0};
  double tokens = retry_budget::size, inflation = 1;
  breaker::state circuit = breaker::state::closed;
  std::size_t breaker_opened = 0, probes = 0;
  bool starved = false, gave_up = false;
  std::size_t starved_times = 0;
  std::uint64_t refused = 0;  // attempts that the server refused for lack of capacity
};

class controller {
 public:
  controller(std::size_t ceiling, std::chrono::seconds max_outage, std::uint64_t seed);

  std::size_t concurrency() const;
  // When the next request may start; time_point::max(): not before an answer has come (a probe is under way).
  clock::time_point earliest() const;
  bool wants_probe(clock::time_point now) const;  // the breaker's pause is over: a cheap request comes first
  void started(clock::time_point now, bool probe, std::size_t in_flight);
  void ended(clock::time_point now, attempt const& a, bool probe);
  void hold_until(clock::time_point t) { hold_until_ = std::max(hold_until_, t); }  // Retry-After

  bool may_repeat_first() const { return budget_.allows(); }  // ahead of new work
  bool starved() const { return starvation_.holds(); }
  bool gave_up() const { return gave_up_; }
  bool ever_answered() const { return ever_answered_; }
  clock::duration starved_gap() const { return starvation_.gap(); }
  double inflation() const { return inflation_; }

  latencies const& learnt() const { return latencies_; }
  latencies& learnt() { return latencies_; }
  throttle_state state() const;
  std::vector<event> take_events();

 private:
  void answered(clock::time_point now, attempt const& a, bool probe);
  void failed(clock::time_point now, attempt const& a, bool probe);
  void end_window(clock::time_point now);
  void new_window();
  void say(clock::time_point now, event::what kind);
  double random() { return std::uniform_real_distribution<double>(0, 1)(random_); }

  std::chrono::seconds max_outage_;
  std::mt19937_64 random_;
  limiter limiter_;
  pace pace_;
  retry_budget budget_;
  breaker breaker_;
  starvation starvation_;
  latencies latencies_;

  // Of answers to requests that started after the limit's last change: others tell of the limit before.
  clock::time_point window_began_{}, limit_since_ = clock::time_point::min();
  std::size_t window_answers_ = 0, window_served_ = 0, window_compared_ = 0;
  double window_slowdown_ = 0;
  clock::duration window_latency_{0};
  bool limit_reached_ = false, probing_ = false;
  double inflation_ = 1;
  std::size_t highest_limit_ = 1, said_limit_ = 1;
  clock::duration said_gap_{0};
  clock::time_point hold_until_ = clock::time_point::min();
  std::optional<clock::time_point> failing_since_;
  bool gave_up_ = false, ever_answered_ = false;
  std::size_t probes_ = 0;
  std::uint64_t refused_ = 0;
  std::vector<event> events_;
};

}  // namespace weir::throttle
