#include "core/throttle/limiter.hpp"

#include <algorithm>
#include <utility>

namespace weir::throttle {
namespace {
using namespace std::chrono_literals;
constexpr clock::duration hold = 4s;
constexpr clock::duration first_patience = 10s, longest_patience = 320s;
constexpr double hard_decrease = 0.5, soft_decrease = 0.7;
// A further request in flight must bring at least so much of what those before it bring on average. Where a NetBox has
// a core for it, it brings nearly as much as they do, else nothing.
constexpr double least_gain = 0.3;

std::size_t part(std::size_t of, double share) { return static_cast<std::size_t>(static_cast<double>(of) * share); }
}  // namespace

limiter::limiter(std::size_t ceiling)
    : ceiling_(std::max<std::size_t>(1, ceiling)),
      usual_(ceiling_ + 1, 0),
      patience_(first_patience),
      look_down_every_(first_patience) {
  usual_[1] = 1;
}

void limiter::set(std::size_t value) {
  value = std::clamp<std::size_t>(value, 1, ceiling_);
  if (value < limit_) ++cuts_;
  limit_ = value;
}

double limiter::usual(std::size_t in_flight) const {
  in_flight = std::clamp<std::size_t>(in_flight, 1, ceiling_);
  if (usual_[in_flight] > 0) return usual_[in_flight];
  auto below = in_flight;
  while (usual_[below] == 0) --below;
  auto above = in_flight;
  while (above <= ceiling_ && usual_[above] == 0) ++above;
  if (above > ceiling_) return usual_[below];
  return usual_[below] +
         (usual_[above] - usual_[below]) * static_cast<double>(in_flight - below) / static_cast<double>(above - below);
}

bool limiter::overloaded(clock::time_point now) {
  if (now < hold_until_) return false;
  hold_until_ = now + hold;
  climbing_ = false;
  if (limit_ > 1) brings_nothing(now, limit_);
  tried_from_ = 0;
  set(part(limit_, hard_decrease));
  return true;
}

void limiter::brings_nothing(clock::time_point now, std::size_t limit) {
  patience_ = bad_ == limit ? std::min(patience_ * 2, longest_patience) : first_patience;
  bad_ = limit;
  retry_bad_at_ = now + patience_;
}

void limiter::try_other(clock::time_point now, double slowdown) {
  // In great steps until something was too much, then one by one.
  auto to = std::min(ceiling_, limit_ + (climbing_ ? std::max<std::size_t>(1, limit_ / 2) : 1));
  if (bad_ != 0 && to >= bad_ && now < retry_bad_at_) to = limit_;
  if (to == limit_ && limit_ > 1) {
    look_down_at_ = std::min(look_down_at_, now + look_down_every_);
    if (now >= look_down_at_) to = limit_ - std::max<std::size_t>(1, limit_ / 4);
  }
  if (to == limit_) return;
  tried_from_ = limit_;
  // A moment that was slow by chance must not make what follows look like a gain.
  speed_before_ = static_cast<double>(limit_) / std::min(slowdown, usual());
  limit_ = to;
}

void limiter::stop_trying() {
  if (trying()) limit_ = std::exchange(tried_from_, 0);
}

void limiter::judge(clock::time_point now, double slowdown) {
  auto const from = std::exchange(tried_from_, 0), to = limit_;
  auto const difference = static_cast<double>(to) - static_cast<double>(from);
  auto const brings = (static_cast<double>(to) / slowdown - speed_before_) / difference;
  bool const worth_it = brings >= least_gain * speed_before_ / static_cast<double>(from);
  if (to > from && worth_it) {
    usual_[to] = std::max(1.0, slowdown);
    if (to >= bad_) bad_ = 0;
  } else if (to > from) {
    climbing_ = false;
    brings_nothing(now, to);
    limit_ = from;
  } else if (worth_it) {
    look_down_every_ = std::min(look_down_every_ * 2, longest_patience);
    look_down_at_ = now + look_down_every_;
    limit_ = from;
  } else {
    look_down_every_ = first_patience;
    look_down_at_ = now;  // fewer still may do
    climbing_ = false;
    brings_nothing(now, from);
  }
}

void limiter::window_ended(clock::time_point now, window_summary const& seen) {
  if (trying()) {
    // Without enough to do there is nothing to find out.
    return seen.limit_reached ? judge(now, seen.slowdown) : stop_trying();
  }
  if (seen.inflation > slow_inflation) {
    climbing_ = false;
    return set(part(limit_, soft_decrease));
  }
  if (seen.inflation > calm_inflation) return;
  if (limit_ > 1) {
    auto& mine = usual_[limit_];
    mine = std::max(1.0, usual() + 0.1 * (seen.slowdown - usual()));
  }
  if (seen.limit_reached && now >= hold_until_) try_other(now, seen.slowdown);
}

void limiter::to_one(clock::time_point now) {
  tried_from_ = 0;
  climbing_ = false;
  hold_until_ = now + hold;
  set(1);
}

}  // namespace weir::throttle
