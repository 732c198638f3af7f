// The gap between two requests' starts, beside the profile's own pauses: what one in flight can still give way by.
#pragma once
#include "core/throttle/limiter.hpp"

namespace weir::throttle {

class pace {
 public:
  clock::duration gap() const { return gap_; }
  clock::duration longest() const { return longest_; }
  clock::time_point earliest() const { return next_; }
  void started(clock::time_point now) { next_ = now + gap_; }
  void overloaded(clock::time_point now);                            // doubles, at most once in a second
  void window_ended(window_summary const& seen, std::size_t limit);  // limit: that held in it

 private:
  void set(clock::duration gap);
  clock::duration gap_{0}, longest_{0};
  clock::time_point next_ = clock::time_point::min(), hold_until_ = clock::time_point::min();
};

}  // namespace weir::throttle
