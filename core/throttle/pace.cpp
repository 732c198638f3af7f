#include "core/throttle/pace.hpp"

#include <algorithm>

namespace weir::throttle {
namespace {
using namespace std::chrono_literals;
constexpr clock::duration shortest = 10ms, first = 50ms, cap = 5s, hold = 1s;
}  // namespace

void pace::set(clock::duration gap) {
  gap_ = gap < shortest ? clock::duration(0) : std::min(gap, cap);
  longest_ = std::max(longest_, gap_);
}

void pace::overloaded(clock::time_point now) {
  if (now < hold_until_) return;
  hold_until_ = now + hold;
  set(std::max(gap_ * 2, first));
  next_ = std::max(next_, now + gap_);
}

void pace::window_ended(window_summary const& seen, std::size_t limit) {
  if (seen.inflation <= slow_inflation) return set(gap_ * 3 / 4);
  if (limit > 1) return;  // fewer in flight is what helps then
  // A share of the server's time is left to others, up to two thirds of it: a gap that is small against the latency
  // would give nothing, and one that grows without end would stop the work for a server that is merely slow.
  set(std::min(std::max(gap_ * 5 / 4, seen.latency / 4), std::max(gap_, seen.latency * 2)));
}

}  // namespace weir::throttle
