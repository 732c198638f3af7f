#include "core/throttle/limiter.hpp"

#include <algorithm>

namespace weir::throttle {
namespace {
constexpr std::chrono::seconds hold{4};
constexpr double hard_decrease = 0.5, soft_decrease = 0.9;
constexpr double first_increase = 1.0, later_increase = 0.5;  // per window; carefully once it has been too much
}  // namespace

limiter::limiter(std::size_t ceiling) : ceiling_(static_cast<double>(std::max<std::size_t>(1, ceiling))) {}

void limiter::set(double value) {
  value = std::clamp(value, 1.0, ceiling_);
  if (value < limit_) ++cuts_;
  limit_ = value;
}

bool limiter::overloaded(clock::time_point now) {
  if (now < hold_until_) return false;
  hold_until_ = now + hold;
  was_cut_ = true;
  set(static_cast<double>(static_cast<std::size_t>(limit_ * hard_decrease)));
  return true;
}

void limiter::window_ended(clock::time_point now, window_summary const& seen) {
  if (seen.inflation > slow_inflation)
    set(limit_ * soft_decrease);
  else if (seen.limit_reached && seen.inflation <= calm_inflation && now >= hold_until_)
    set(limit_ + (was_cut_ ? later_increase : first_increase));
}

void limiter::to_one(clock::time_point now) {
  set(1);
  was_cut_ = true;
  hold_until_ = now + hold;
}

}  // namespace weir::throttle
