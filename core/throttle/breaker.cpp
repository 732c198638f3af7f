#include "core/throttle/breaker.hpp"

#include <algorithm>

namespace weir::throttle {
namespace {
using namespace std::chrono_literals;
constexpr std::size_t failures_to_open = 5, successes_to_close = 3, successes_to_forget = 20;
// A probe is one GET that costs NetBox some 15 ms: there is no reason to be away for minutes.
constexpr clock::duration first_pause = 5s, longest_pause = 30s;
}  // namespace

void breaker::trip(clock::time_point at, double jitter) {
  state_ = state::open;
  ++opened_;
  auto const pause = std::min(longest_pause, first_pause * (1 << std::min<std::size_t>(pauses_, 6)));
  ++pauses_;
  failures_ = successes_ = 0;
  until_ = at + pause + std::chrono::duration_cast<clock::duration>(pause * (0.15 * jitter));
}

void breaker::failed(clock::time_point at, double jitter) {
  successes_ = 0;
  ++failures_;
  if (state_ == state::half_open || (state_ == state::closed && failures_ >= failures_to_open)) trip(at, jitter);
}

void breaker::succeeded() {
  failures_ = 0;
  ++successes_;
  // Whoever answers is there, also an answer to a request from before the pause.
  if (state_ == state::open) state_ = state::half_open;
  if (state_ == state::half_open && successes_ >= successes_to_close) state_ = state::closed;
  if (state_ == state::closed && successes_ >= successes_to_forget) pauses_ = 0;
}

std::string_view name(breaker::state s) {
  switch (s) {
    case breaker::state::closed:
      return "closed";
    case breaker::state::open:
      return "open";
    case breaker::state::half_open:
      return "probing";
  }
  return "";
}

}  // namespace weir::throttle
