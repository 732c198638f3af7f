#include "core/throttle/controller.hpp"

#include <algorithm>
#include <utility>

namespace weir::throttle {

using namespace std::chrono_literals;

namespace {
constexpr clock::duration window_length = 1s, climbing_window_length = 500ms;
constexpr std::size_t fewest_samples = 2, few_samples = 3, enough_samples = 8;  // in a window, by the limit
constexpr std::size_t most_events = 1000;                                       // that nobody has taken
}  // namespace

std::string_view name(event::what w) {
  switch (w) {
    case event::what::limit:
      return "limit";
    case event::what::opened:
      return "opened";
    case event::what::probe:
      return "probe";
    case event::what::closed:
      return "closed";
    case event::what::starved:
      return "starved";
    case event::what::fed:
      return "fed";
    case event::what::gave_up:
      return "gave_up";
  }
  return "?";
}

controller::controller(std::size_t ceiling, std::chrono::seconds max_outage, std::uint64_t seed)
    : max_outage_(max_outage), random_(seed), limiter_(ceiling) {}

std::size_t controller::concurrency() const {
  return breaker_.now() == breaker::state::closed && !starvation_.holds() ? limiter_.limit() : 1;
}

clock::time_point controller::earliest() const {
  if (probing_) return clock::time_point::max();
  auto const from = std::max(pace_.earliest(), hold_until_);
  return breaker_.now() == breaker::state::open ? std::max(from, breaker_.until()) : from;
}

bool controller::wants_probe(clock::time_point now) const {
  return breaker_.now() == breaker::state::open && now >= breaker_.until();
}

void controller::started(clock::time_point now, bool probe, std::size_t in_flight) {
  if (breaker_.now() == breaker::state::open) breaker_.probing();
  if (probe) {
    probing_ = true;
    ++probes_;
    say(now, event::what::probe);
  }
  if (in_flight >= concurrency()) limit_reached_ = true;
  pace_.started(now);
}

void controller::ended(clock::time_point now, attempt const& a, bool probe) {
  if (probe) probing_ = false;
  auto const before = breaker_.now();
  auto const limit = limiter_.limit();
  switch (a.what) {
    case outcome::ok:
    case outcome::lost_race:
    case outcome::too_large:
    case outcome::data:
    case outcome::credentials:
      answered(now, a, probe);
      break;
    case outcome::overload:
    case outcome::unknown:
    case outcome::unreachable:
      failed(now, a, probe);
      break;
    case outcome::server_fault:  // a request that NetBox cannot digest; says nothing about its load
    case outcome::stale:
      ever_answered_ = true;
      break;
    case outcome::cancelled:
      break;
  }
  auto const after = breaker_.now();
  if (after == breaker::state::open && before != after) say(now, event::what::opened);
  if (after == breaker::state::closed && before != after) {
    budget_.refill();
    limiter_.to_one(now);
    say(now, event::what::closed);
  }
  if (limiter_.limit() != limit) limit_since_ = now;
}

void controller::answered(clock::time_point now, attempt const& a, bool probe) {
  ever_answered_ = true;
  failing_since_.reset();
  gave_up_ = false;
  breaker_.succeeded();
  budget_.succeeded();
  if (a.alone) {
    bool const was = starvation_.holds();
    starvation_.alone(now, false, a.latency);
    if (was && !starvation_.holds()) say(now, event::what::fed);
  }
  // Not as many in flight as the limit says, or not so long: nothing to learn about it.
  if (breaker_.now() != breaker::state::closed || now - a.latency < limit_since_) return;
  if (limiter_.trying() && a.what == outcome::ok && !latencies_.reference(a.verb, a.endpoint)) {
    // The first of its kind: there is nothing to compare it with.
    limiter_.stop_trying();
    latencies_.window_lost();
    return new_window();
  }
  if (window_answers_ == 0) window_began_ = now - a.latency;
  ++window_answers_;
  if (a.what == outcome::ok && !probe) {
    auto const slowdown =
        latencies_.seen(a.verb, a.endpoint, a.objects, a.reply_bytes, a.latency, limiter_.limit() == 1);
    if (slowdown) window_slowdown_ += *slowdown, ++window_compared_;
    window_latency_ += a.latency;
    ++window_served_;
  }
  auto length = window_length;
  auto samples = std::clamp(limiter_.limit(), few_samples, enough_samples);
  if (limiter_.climbing())
    length = climbing_window_length, samples = std::clamp(limiter_.limit(), fewest_samples, enough_samples);
  else if (limiter_.trying())
    samples = std::clamp(2 * limiter_.limit(), few_samples, enough_samples);
  if (now - window_began_ >= length && window_answers_ >= samples) end_window(now);
}

void controller::end_window(clock::time_point now) {
  window_summary seen;
  auto const usual = limiter_.usual();
  auto const limit = limiter_.limit();
  bool const trying = limiter_.trying();
  seen.answers = window_answers_;
  if (window_served_ > 0) seen.latency = window_latency_ / static_cast<clock::rep>(window_served_);
  seen.slowdown = window_compared_ > 0 ? window_slowdown_ / static_cast<double>(window_compared_) : usual;
  seen.inflation = seen.slowdown / usual;
  seen.limit_reached = limit_reached_ && window_compared_ > 0 && !starvation_.holds();
  limiter_.window_ended(now, seen);
  if (trying) {
    // Slower because of us, or because of somebody else: not known yet.
    latencies_.window_lost();
  } else {
    inflation_ = seen.inflation;
    pace_.window_ended(seen, limit);
    latencies_.window_ended(seen.inflation, usual);
  }
  highest_limit_ = std::max(highest_limit_, limiter_.limit());
  new_window();
  say(now, event::what::limit);
}

void controller::new_window() {
  window_answers_ = window_served_ = window_compared_ = 0;
  window_slowdown_ = 0;
  window_latency_ = clock::duration(0);
  limit_reached_ = false;
}

void controller::failed(clock::time_point now, attempt const& a, bool probe) {
  if (!failing_since_) failing_since_ = now;
  if (a.what == outcome::overload) ++refused_, ever_answered_ = true;
  // Refused although nothing of ours was in flight: there is nothing left to give way by, and nobody is away either.
  bool const ours = !(a.cause == trouble::no_connection && a.alone);
  if (!ours) {
    bool const was = starvation_.holds();
    starvation_.alone(now, true, a.latency);
    if (!was && starvation_.holds()) {
      limiter_.to_one(now);
      say(now, event::what::starved);
    }
    if (starvation_.holds()) hold_until(now + starvation_.gap());
    if (probe) breaker_.succeeded();  // somebody answers
  } else {
    budget_.failed();
    breaker_.failed(now, random());
    if (budget_.empty() && breaker_.now() == breaker::state::closed) breaker_.trip(now, random());
  }
  if (a.what == outcome::unknown && a.verb != method::get && a.objects > 1)
    latencies_.halve(a.verb, a.endpoint, a.objects);
  if (a.what != outcome::unreachable && !starvation_.holds()) {
    limiter_.overloaded(now);
    pace_.overloaded(now);
    latencies_.window_lost();
    new_window();
    say(now, event::what::limit);
  }
  if (now - *failing_since_ >= max_outage_ && ever_answered_ && !gave_up_) {
    gave_up_ = true;
    say(now, event::what::gave_up);
  }
}

void controller::say(clock::time_point now, event::what kind) {
  if (kind == event::what::limit && limiter_.limit() == said_limit_ && pace_.gap() == said_gap_) return;
  said_limit_ = limiter_.limit();
  said_gap_ = pace_.gap();
  if (events_.size() >= most_events) events_.erase(events_.begin());
  events_.push_back({kind, now, static_cast<double>(limiter_.limit()), pace_.gap(), inflation_, starvation_.mixed(),
                     kind == event::what::opened ? breaker_.until() - now : clock::duration(0)});
}

throttle_state controller::state() const {
  using std::chrono::duration_cast;
  throttle_state s;
  s.limit = static_cast<double>(limiter_.limit());
  s.cuts = limiter_.cuts();
  s.highest_limit = static_cast<double>(highest_limit_);
  s.gap = duration_cast<milliseconds>(pace_.gap());
  s.longest_gap = duration_cast<milliseconds>(pace_.longest());
  s.tokens = budget_.tokens();
  s.inflation = inflation_;
  s.circuit = breaker_.now();
  s.breaker_opened = breaker_.opened();
  s.probes = probes_;
  s.starved = starvation_.holds();
  s.starved_times = starvation_.times();
  s.gave_up = gave_up_;
  s.refused = refused_;
  return s;
}

std::vector<event> controller::take_events() { return std::exchange(events_, {}); }

}  // namespace weir::throttle
