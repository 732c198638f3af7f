// How many requests may be in flight, below the profile's ceiling: as few as keep the server fully at work. More are
// tried when all are in use and answers come as usual, and kept if the server does more for it; from time to time fewer
// are tried, and kept if it does as much. Halved on overload, lowered when answers take far longer than is usual for so
// many. A value: `now` is an argument. (What n in flight bring is n / latency: Little 1961. Additive increase and
// multiplicative decrease: Chiu and Jain 1989; latency as a signal: TCP Vegas, Vector's ARC.)
#pragma once
#include <chrono>
#include <cstddef>
#include <vector>

namespace weir::throttle {

using clock = std::chrono::steady_clock;  // only its time_point is used here: `now` is always an argument
using std::chrono::milliseconds;

// What the answers of the last second or so had in common.
struct window_summary {
  std::size_t answers = 0;
  double slowdown = 1;         // latency over that of one request alone in good times, mean
  double inflation = 1;        // slowdown over what is usual for so many in flight; 1: as usual
  bool limit_reached = false;  // as many were in flight as might be
  clock::duration latency{0};  // mean
};

inline constexpr double slow_inflation = 2.0;  // above it the server is taken for busy with somebody else
inline constexpr double calm_inflation = 1.3;  // below it more may be tried, and references are learnt

class limiter {
 public:
  explicit limiter(std::size_t ceiling);
  std::size_t limit() const { return limit_; }
  std::size_t cuts() const { return cuts_; }
  // The slowdown that so many in flight bring by themselves, as far as it is known; at least 1.
  double usual() const { return usual(limit_); }
  double usual(std::size_t in_flight) const;
  bool trying() const { return tried_from_ != 0; }  // what this limit brings is being found out
  void stop_trying();                               // it cannot be found out now
  bool climbing() const { return climbing_; }       // nothing was too much yet

  // Refused for lack of capacity, or no usable answer: halved, at most once in four seconds. True if it was.
  bool overloaded(clock::time_point now);
  // Of answers to requests that began after the limit's last change.
  void window_ended(clock::time_point now, window_summary const& seen);
  void to_one(clock::time_point now);  // after an outage, or in a starved pool

 private:
  void set(std::size_t value);
  void try_other(clock::time_point now, double slowdown);
  void judge(clock::time_point now, double slowdown);
  void brings_nothing(clock::time_point now, std::size_t limit);

  std::size_t ceiling_, limit_ = 1, cuts_ = 0;
  std::vector<double> usual_;   // by limit; 0: not known
  std::size_t tried_from_ = 0;  // not 0: what the limit was before another was tried
  double speed_before_ = 1;     // of the server then, in requests alone in good times
  std::size_t bad_ = 0;         // the lowest limit that brought overload, or nothing; 0: none
  bool climbing_ = true;
  clock::duration patience_;         // until `bad_` is tried again; doubles each time it is bad
  clock::duration look_down_every_;  // doubles each time that fewer bring less
  clock::time_point retry_bad_at_ = clock::time_point::min(), hold_until_ = clock::time_point::min();
  clock::time_point look_down_at_ = clock::time_point::max();
};

}  // namespace weir::throttle
