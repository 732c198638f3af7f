#include "core/throttle/gate.hpp"

#include <algorithm>
#include <cmath>

namespace weir::throttle {

using std::chrono::duration_cast;
using std::chrono::hours;
using std::chrono::nanoseconds;

namespace {

constexpr clock::time_point never = clock::time_point::max();
constexpr milliseconds longest_wait{120000};  // of a Retry-After

limits sane(limits l) {
  l.max_in_flight = std::max<std::size_t>(l.max_in_flight, 1);
  l.max_attempts = std::max<std::size_t>(l.max_attempts, 1);
  l.batch_delay = std::max(l.batch_delay, milliseconds(0));
  l.backoff_base = std::max(l.backoff_base, milliseconds(0));
  l.backoff_cap = std::max(l.backoff_cap, milliseconds(0));
  return l;
}

}  // namespace

spacing::spacing(double per_second) : gap_(0) {
  if (!(per_second > 0)) return;
  constexpr double longest = 3600.0 * 1e9;  // one an hour is as slow as it gets
  gap_ = duration_cast<clock::duration>(
      nanoseconds(static_cast<std::int64_t>(std::ceil(std::min(1e9 / per_second, longest)))));
}

void spacing::started(clock::time_point now) { next_ = now + gap_; }

clock::time_point batches::earliest() const {
  if (size_ == 0) return clock::time_point::min();
  return started_ < size_ ? next_ : never;
}

bool batches::started() {
  ++in_flight_;
  return ++started_ == 1 && size_ != 0;
}

void batches::answered(clock::time_point now) {
  if (--in_flight_ > 0 || started_ < size_ || size_ == 0) return;
  started_ = 0;
  next_ = now + pause_;
}

gate::gate(limits const& ceilings, std::uint64_t seed)
    : limits_(sane(ceilings)),
      spacing_(limits_.requests_per_second),
      batches_(limits_.batch_size, limits_.batch_delay),
      random_(seed) {}

void gate::submit(clock::time_point, ticket t, traits const& about) {
  auto const [at, inserted] = entries_.try_emplace(t);
  if (!inserted) return;
  at->second.about = about;
  at->second.order = ++order_;
  auto const k = kind_of(about.verb);
  lanes_[about.lane].waiting[k].push_back(t);
  ++queued_[k];
  ++counters_.waiting;
}

clock::time_point gate::earliest(kind k) const {
  return k == write ? std::max(spacing_.earliest(), batches_.earliest()) : spacing_.earliest();
}

std::optional<ticket> gate::due_retry(clock::time_point now, bool const (&open)[2]) const {
  std::optional<ticket> found;
  clock::time_point due = never;
  for (auto k : {read, write}) {
    if (!open[k] || retries_[k].empty()) continue;
    auto const& [at, t] = *retries_[k].begin();
    if (at <= now && at < due) due = at, found = t;
  }
  return found;
}

std::optional<ticket> gate::next_in_lanes(bool const (&open)[2]) const {
  if (!((open[read] && queued_[read] > 0) || (open[write] && queued_[write] > 0))) return {};
  // Once round, from the lane after the one served last; a read may pass writes that wait for their batch.
  auto at = lanes_.upper_bound(last_lane_);
  for (std::size_t i = 0; i < lanes_.size(); ++i, ++at) {
    if (at == lanes_.end()) at = lanes_.begin();
    auto const& waiting = at->second.waiting;
    bool const can_read = open[read] && !waiting[read].empty(), can_write = open[write] && !waiting[write].empty();
    if (!can_read && !can_write) continue;
    if (can_read && can_write)
      return entries_.at(waiting[read].front()).order < entries_.at(waiting[write].front()).order
                 ? waiting[read].front()
                 : waiting[write].front();
    return can_read ? waiting[read].front() : waiting[write].front();
  }
  return {};
}

std::optional<ticket> gate::next(clock::time_point now) {
  if (counters_.in_flight >= concurrency()) return {};
  bool const open[2] = {earliest(read) <= now, earliest(write) <= now};
  auto chosen = due_retry(now, open);
  bool const retry = chosen.has_value();
  if (!retry) chosen = next_in_lanes(open);
  if (!chosen) return {};

  auto& e = entries_.at(*chosen);
  take_from_queue(*chosen, e);
  if (retry)
    ++counters_.retried;
  else
    last_lane_ = e.about.lane;
  e.where = place::in_flight;
  ++e.attempts;
  spacing_.started(now);
  if (kind_of(e.about.verb) == write && batches_.started()) ++counters_.batches;
  ++counters_.started;
  ++counters_.started_by_method[static_cast<std::size_t>(e.about.verb)];
  counters_.peak_in_flight = std::max(counters_.peak_in_flight, ++counters_.in_flight);
  return chosen;
}

clock::time_point gate::wake(clock::time_point now) const {
  if (counters_.in_flight >= concurrency()) return never;
  auto soonest = never;
  for (auto k : {read, write}) {
    auto const from = earliest(k);
    if (from == never) continue;
    if (queued_[k] > 0) soonest = std::min(soonest, std::max(from, now));
    if (!retries_[k].empty()) soonest = std::min(soonest, std::max({from, now, retries_[k].begin()->first}));
  }
  return soonest;
}

bool gate::may_retry(entry const& e, outcome o) const {
  return e.attempts < limits_.max_attempts && may_repeat(e.about.verb, o) &&
         !(o == outcome::server_fault && e.fault_repeated);
}

clock::duration gate::backoff(std::size_t attempts) {
  auto const base = static_cast<double>(nanoseconds(limits_.backoff_base).count());
  auto const cap = static_cast<double>(nanoseconds(limits_.backoff_cap).count());
  auto const longest =
      std::min(cap, base * std::pow(2.0, static_cast<double>(std::min<std::size_t>(attempts, 60)) - 1));
  std::uniform_real_distribution<double> jitter(0.0, 1.0);
  return duration_cast<clock::duration>(nanoseconds(static_cast<std::int64_t>(longest * jitter(random_))));
}

verdict gate::done(clock::time_point now, ticket t, outcome o, milliseconds, std::optional<milliseconds> retry_after,
                   bool hopeless) {
  auto const found = entries_.find(t);
  if (found == entries_.end() || found->second.where != place::in_flight) return {};
  auto& e = found->second;
  auto const k = kind_of(e.about.verb);
  --counters_.in_flight;
  ++counters_.outcomes[static_cast<std::size_t>(o)];
  if (k == write) batches_.answered(now);

  verdict v;
  v.attempts = e.attempts;
  if (hopeless || !may_retry(e, o)) {
    entries_.erase(found);
    return v;
  }
  if (o == outcome::server_fault) e.fault_repeated = true;
  // A stale connection says nothing about the server: at once, on a fresh one.
  clock::duration wait = o == outcome::stale ? clock::duration(0) : backoff(e.attempts);
  if (retry_after) wait = std::max<clock::duration>(wait, std::min(*retry_after, longest_wait));
  e.where = place::backoff;
  e.due = v.at = now + wait;
  v.again = true;
  retries_[k].emplace(e.due, t);
  ++counters_.waiting;
  return v;
}

void gate::take_from_queue(ticket t, entry const& e) {
  auto const k = kind_of(e.about.verb);
  if (e.where == place::backoff) {
    auto [at, end] = retries_[k].equal_range(e.due);
    retries_[k].erase(std::find_if(at, end, [&](auto const& r) { return r.second == t; }));
  } else {
    auto const at = lanes_.find(e.about.lane);
    auto& waiting = at->second.waiting[k];
    waiting.erase(std::find(waiting.begin(), waiting.end(), t));
    --queued_[k];
    if (at->second.empty()) lanes_.erase(at);
  }
  --counters_.waiting;
}

bool gate::cancel(ticket t) {
  auto const found = entries_.find(t);
  if (found == entries_.end() || found->second.where == place::in_flight) return false;
  take_from_queue(t, found->second);
  entries_.erase(found);
  return true;
}

}  // namespace weir::throttle
