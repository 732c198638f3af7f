// How many requests may be in flight: additive increase, multiplicative decrease, below the profile's ceiling.
// A value: `now` is an argument. (Chiu and Jain 1989; with latency as a signal as in TCP Vegas and Vector's ARC.)
#pragma once
#include <chrono>
#include <cstddef>

namespace weir::throttle {

using clock = std::chrono::steady_clock;  // only its time_point is used here: `now` is always an argument
using std::chrono::milliseconds;

// What the answers of the last second or so had in common.
struct window_summary {
  std::size_t answers = 0;
  double inflation = 1;        // latency over what it is in good times, mean; 1: as usual
  bool limit_reached = false;  // as many were in flight as might be
  clock::duration latency{0};  // mean
};

inline constexpr double slow_inflation = 2.0;  // above it the server is taken for busy
inline constexpr double calm_inflation = 1.3;  // below it more may be tried, and references are learnt

class limiter {
 public:
  explicit limiter(std::size_t ceiling);
  std::size_t limit() const { return static_cast<std::size_t>(limit_); }
  double exact() const { return limit_; }
  std::size_t cuts() const { return cuts_; }
  // Refused for lack of capacity, or no usable answer: halved, at most once in four seconds. True if it was.
  bool overloaded(clock::time_point now);
  void window_ended(clock::time_point now, window_summary const& seen);
  void to_one(clock::time_point now);  // after an outage, or in a starved pool

 private:
  void set(double value);
  double ceiling_, limit_ = 1;
  std::size_t cuts_ = 0;
  bool was_cut_ = false;
  clock::time_point hold_until_ = clock::time_point::min();
};

}  // namespace weir::throttle
