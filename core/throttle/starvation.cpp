#include "core/throttle/starvation.hpp"

#include <algorithm>

namespace weir::throttle {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t remembered = 12, needed = 4, served_to_leave = 10;
constexpr clock::duration span = 2s;  // a burst of somebody else's is over sooner
constexpr clock::duration fast = 1s;  // a refusal takes some 13 ms; what waits that long failed for another reason
constexpr clock::duration first_gap = 300ms, longest_gap = 5s;
}  // namespace

std::string starved_text(bool mixed) {
  return mixed
             ? "its connection pool is poisoned: some of its threads hold all of PostgreSQL's connections, the others "
               "fail at once; weir goes on gently with what gets through"
             : "its database has no connection left, not even for one request at a time: its pool is poisoned (idle "
               "threads of NetBox hold them all), or another program has them; weir goes on asking gently";
}

void starvation::alone(clock::time_point now, bool refused, clock::duration latency) {
  if (refused && latency > fast) return;
  last_.push_back({now, refused});
  if (last_.size() > remembered) last_.pop_front();
  in_a_row_served_ = refused ? 0 : in_a_row_served_ + 1;
  in_a_row_refused_ = refused ? in_a_row_refused_ + 1 : 0;
  if (holds_) {
    ++(refused ? refused_ : served_);
    if (in_a_row_served_ >= served_to_leave) {
      holds_ = false;
      last_.clear();
    }
    return;
  }
  if (!refused) return;  // it is said when it hurts, not when it is over
  auto const count =
      static_cast<std::size_t>(std::count_if(last_.begin(), last_.end(), [](sample const& s) { return s.refused; }));
  if (count < needed) return;
  auto const first = std::find_if(last_.begin(), last_.end(), [](sample const& s) { return s.refused; });
  if (now - first->at < span) return;
  holds_ = true;
  ++times_;
  refused_ = count;
  served_ = last_.size() - count;
}

clock::duration starvation::gap() const {
  // Longer only while nothing at all gets through.
  return std::min(longest_gap, first_gap * (1 << std::min<std::size_t>(in_a_row_refused_ / 10, 6)));
}

}  // namespace weir::throttle
