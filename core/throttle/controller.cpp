#include "core/throttle/controller.hpp"

#include <algorithm>
#include <utility>

namespace weir::throttle {

using namespace std::chrono_literals;

namespace {
constexpr clock::duration window_length = 1s;
constexpr std::size_t window_samples = 8;
constexpr std::size_t most_events = 1000;  // that nobody has taken
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
  if (window_answers_ == 0) window_began_ = now - a.latency;
  ++window_answers_;
  if (a.what == outcome::ok && !probe) {
    window_inflation_ += latencies_.seen(a.verb, a.endpoint, a.objects, a.reply_bytes, a.latency);
    window_latency_ += a.latency;
    ++window_served_;
  }
  if (now - window_began_ >= window_length && window_answers_ >= std::min(window_samples, 2 * limiter_.limit()))
    end_window(now);
}

void controller::end_window(clock::time_point now) {
  window_summary seen;
  seen.answers = window_answers_;
  if (window_served_ > 0) {
    seen.inflation = window_inflation_ / static_cast<double>(window_served_);
    seen.latency = window_latency_ / static_cast<clock::rep>(window_served_);
  }
  seen.limit_reached = limit_reached_;
  inflation_ = seen.inflation;
  limiter_.window_ended(now, seen);
  highest_limit_ = std::max(highest_limit_, limiter_.exact());
  pace_.window_ended(seen);
  latencies_.window_ended(seen.inflation);
  window_answers_ = window_served_ = 0;
  window_inflation_ = 0;
  window_latency_ = clock::duration(0);
  limit_reached_ = false;
  say(now, event::what::limit);
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
    window_answers_ = window_served_ = 0;
    window_inflation_ = 0;
    window_latency_ = clock::duration(0);
    limit_reached_ = false;
    say(now, event::what::limit);
  }
  if (now - *failing_since_ >= max_outage_ && ever_answered_ && !gave_up_) {
    gave_up_ = true;
    say(now, event::what::gave_up);
  }
}

void controller::say(clock::time_point now, event::what kind) {
  if (kind == event::what::limit && limiter_.exact() == said_limit_ && pace_.gap() == said_gap_) return;
  said_limit_ = limiter_.exact();
  said_gap_ = pace_.gap();
  if (events_.size() >= most_events) events_.erase(events_.begin());
  events_.push_back({kind, now, limiter_.exact(), pace_.gap(), inflation_, starvation_.mixed(),
                     kind == event::what::opened ? breaker_.until() - now : clock::duration(0)});
}

throttle_state controller::state() const {
  using std::chrono::duration_cast;
  throttle_state s;
  s.limit = limiter_.exact();
  s.cuts = limiter_.cuts();
  s.highest_limit = highest_limit_;
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
