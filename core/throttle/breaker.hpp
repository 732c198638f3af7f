// Stops knocking at a door that nobody opens: after five failures in a row nothing is sent for a while, then one cheap
// probe; three successes close it again. (Nygard, Release It!)
#pragma once
#include <string_view>

#include "core/throttle/limiter.hpp"

namespace weir::throttle {

class breaker {
 public:
  enum class state { closed, open, half_open };
  state now() const { return state_; }
  std::size_t opened() const { return opened_; }
  // When the next probe may go; of no meaning unless open.
  clock::time_point until() const { return until_; }
  void probing() { state_ = state::half_open; }      // the probe, or the first request after the pause, starts
  void failed(clock::time_point at, double jitter);  // jitter: 0 to 1
  void succeeded();
  void trip(clock::time_point at, double jitter);

 private:
  state state_ = state::closed;
  std::size_t failures_ = 0, successes_ = 0, opened_ = 0, pauses_ = 0;
  clock::time_point until_ = clock::time_point::min();
};

std::string_view name(breaker::state s);  // "closed", "open", "probing"

}  // namespace weir::throttle
