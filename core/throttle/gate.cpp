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
      controller_(limits_.max_in_flight, limits_.max_outage, seed ^ 0x9e3779b97f4a7c15ULL),
      spacing_(limits_.requests_per_second),
      batches_(limits_.batch_size, limits_.batch_delay),
      random_(seed) {}

void gate::submit(clock::time_point, ticket t, traits const& about) {
  auto const [at, inserted] = entries_.try_emplace(t);
  if (!inserted) return;
  at->second.about = about;
  at->second.order = ++order_;
  at->second.successes_before = successes_;
  auto const k = kind_of(about.verb);
  lanes_[about.lane].waiting[k].push_back(t);
  ++queued_[k];
  ++counters_.waiting;
}

std::size_t gate::concurrency() const {
  return adaptive() ? std::min(limits_.max_in_flight, controller_.concurrency()) : limits_.max_in_flight;
}

clock::time_point gate::earliest(kind k) const {
  auto from = spacing_.earliest();
  if (adaptive()) from = std::max(from, controller_.earliest());
  return k == write ? std::max(from, batches_.earliest()) : from;
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

void gate::count_start(method m) {
  ++counters_.started;
  ++counters_.started_by_method[static_cast<std::size_t>(m)];
  counters_.peak_in_flight = std::max(counters_.peak_in_flight, ++counters_.in_flight);
  if (counters_.in_flight > 1) ++crowd_;
}

std::optional<ticket> gate::next(clock::time_point now) {
  if (counters_.in_flight >= concurrency()) return {};
  if (adaptive() && limits_.probe && controller_.wants_probe(now)) {
    if (counters_.waiting == 0 || spacing_.earliest() > now || controller_.earliest() > now) return {};
    probing_ = true;
    spacing_.started(now);
    count_start(method::get);
    controller_.started(now, true, counters_.in_flight);
    return probe_ticket;
  }
  bool const open[2] = {earliest(read) <= now, earliest(write) <= now};
  bool const first = retries_first();
  auto chosen = first ? due_retry(now, open) : std::nullopt;
  bool retry = chosen.has_value();
  if (!chosen) chosen = next_in_lanes(open);
  if (!chosen && !first && counters_.in_flight == 0) {
    chosen = due_retry(now, open);
    retry = chosen.has_value();
  }
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
  count_start(e.about.verb);
  e.alone = counters_.in_flight == 1;
  e.crowd = crowd_;
  controller_.started(now, false, counters_.in_flight);
  return chosen;
}

clock::time_point gate::wake(clock::time_point now) const {
  if (counters_.in_flight >= concurrency()) return never;
  if (adaptive() && limits_.probe && controller_.wants_probe(std::max(now, controller_.earliest())))
    return counters_.waiting == 0 ? never : std::max({now, spacing_.earliest(), controller_.earliest()});
  bool const retries_count = retries_first() || counters_.in_flight == 0;
  auto soonest = never;
  for (auto k : {read, write}) {
    auto const from = earliest(k);
    if (from == never) continue;
    if (queued_[k] > 0) soonest = std::min(soonest, std::max(from, now));
    if (retries_count && !retries_[k].empty())
      soonest = std::min(soonest, std::max({from, now, retries_[k].begin()->first}));
  }
  return soonest;
}

std::size_t gate::list_size(method verb, std::string_view endpoint, std::size_t ceiling) const {
  return adaptive() ? controller_.learnt().list_size(verb, endpoint, ceiling) : std::max<std::size_t>(1, ceiling);
}

std::vector<ticket> gate::take_waiting() {
  std::vector<ticket> out;
  for (auto const& [t, e] : entries_)
    if (e.where != place::in_flight) out.push_back(t);
  std::sort(out.begin(), out.end());
  for (auto t : out) cancel(t);
  return out;
}

bool gate::may_retry(entry& e, ended const& how) const {
  if (how.hopeless || !may_repeat(e.about.verb, how.what)) return false;
  if (how.what == outcome::server_fault && e.fault_repeated) return false;
  bool const starving = adaptive() && how.cause == trouble::no_connection;
  if (!adaptive() || !controller_.ever_answered() || how.what == outcome::server_fault || how.what == outcome::stale ||
      (e.about.impatient && !starving))
    return e.attempts < limits_.max_attempts;
  if (controller_.gave_up()) return false;
  // In a starved pool every request fails now and then, whatever becomes of the others.
  if (starving && controller_.starved()) return true;
  // An outage is everybody's trouble and waited out; who fails while others succeed has one of his own.
  if (successes_ != e.successes_before) ++e.own_failures;
  e.successes_before = successes_;
  return e.own_failures < limits_.max_attempts;
}

clock::duration gate::backoff(std::size_t attempts) {
  auto const base = static_cast<double>(nanoseconds(limits_.backoff_base).count());
  auto const cap = static_cast<double>(nanoseconds(limits_.backoff_cap).count());
  auto const longest =
      std::min(cap, base * std::pow(2.0, static_cast<double>(std::min<std::size_t>(attempts, 60)) - 1));
  std::uniform_real_distribution<double> jitter(0.0, 1.0);
  return duration_cast<clock::duration>(nanoseconds(static_cast<std::int64_t>(longest * jitter(random_))));
}

verdict gate::done(clock::time_point now, ticket t, ended const& how) {
  attempt a;
  a.what = how.what;
  a.cause = how.cause;
  a.latency = how.latency;
  a.reply_bytes = how.reply_bytes;
  if (t == probe_ticket) {
    if (!probing_) return {};
    probing_ = false;
    --counters_.in_flight;
    ++counters_.outcomes[static_cast<std::size_t>(how.what)];
    a.endpoint = "probe";
    a.alone = true;
    controller_.ended(now, a, true);
    if (controller_.state().circuit != breaker::state::open) release_retries(now);
    return {false, {}, 1};
  }
  auto const found = entries_.find(t);
  if (found == entries_.end() || found->second.where != place::in_flight) return {};
  auto& e = found->second;
  auto const k = kind_of(e.about.verb);
  --counters_.in_flight;
  ++counters_.outcomes[static_cast<std::size_t>(how.what)];
  if (k == write) batches_.answered(now);
  a.verb = e.about.verb;
  a.endpoint = e.about.endpoint;
  a.objects = e.about.objects;
  a.alone = e.alone && e.crowd == crowd_;
  controller_.ended(now, a, false);

  verdict v;
  v.attempts = e.attempts;
  auto const wait_for = how.retry_after ? std::min(*how.retry_after, longest_wait) : milliseconds(0);
  // Whoever says "later" means all of us.
  if (how.retry_after && how.what == outcome::overload) controller_.hold_until(now + wait_for);
  bool const again = may_retry(e, how);
  if (how.what != outcome::overload && how.what != outcome::unreachable && how.what != outcome::unknown &&
      how.what != outcome::cancelled)
    ++successes_;
  if (!again) {
    entries_.erase(found);
    return v;
  }
  if (how.what == outcome::server_fault) e.fault_repeated = true;
  // A stale connection says nothing about the server: at once, on a fresh one.
  clock::duration wait = how.what == outcome::stale ? clock::duration(0) : backoff(e.attempts);
  if (adaptive() && controller_.starved() && how.cause == trouble::no_connection) wait = controller_.starved_gap();
  wait = std::max<clock::duration>(wait, wait_for);
  e.where = place::backoff;
  e.due = v.at = now + wait;
  v.again = true;
  retries_[k].emplace(e.due, t);
  ++counters_.waiting;
  return v;
}

// The server is back: nobody waits out a backoff that was meant for the outage.
void gate::release_retries(clock::time_point now) {
  for (auto& waiting : retries_) {
    std::multimap<clock::time_point, ticket> sooner;
    for (auto const& [at, t] : waiting) {
      auto const due = std::min(at, now);
      entries_.at(t).due = due;
      sooner.emplace(due, t);
    }
    waiting = std::move(sooner);
  }
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
