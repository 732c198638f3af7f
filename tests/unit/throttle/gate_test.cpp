// The gate on a virtual clock: examples first, then properties over random servers.
#include "core/throttle/gate.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

namespace {

using namespace weir::throttle;
using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr clock::time_point start{std::chrono::hours(1000)};
constexpr auto never = clock::time_point::max();

limits open_limits() {
  limits l;
  l.max_in_flight = 100;
  l.requests_per_second = 0;
  l.batch_size = 0;
  l.max_attempts = 5;
  return l;
}

std::vector<ticket> drain(gate& g, clock::time_point now) {
  std::vector<ticket> out;
  while (auto const t = g.next(now)) out.push_back(*t);
  return out;
}

TEST(gate, serves_lanes_in_turn) {
  auto l = open_limits();
  l.max_in_flight = 1;
  gate g(l, 1);
  for (ticket t = 1; t <= 4; ++t) g.submit(start, t, {method::get, "backups", 1});
  g.submit(start, 11, {method::get, "nodes", 1});
  g.submit(start, 12, {method::get, "nodes", 1});
  std::vector<ticket> order;
  while (auto const t = g.next(start)) {
    order.push_back(*t);
    EXPECT_FALSE(g.next(start)) << "one in flight is the ceiling";
    EXPECT_EQ(g.wake(start), never);
    g.done(start, *t, {outcome::ok, milliseconds(1)});
  }
  EXPECT_EQ(order, (std::vector<ticket>{1, 11, 2, 12, 3, 4}));
  EXPECT_EQ(g.count().started, 6u);
  EXPECT_EQ(g.count().peak_in_flight, 1u);
  EXPECT_EQ(g.count().waiting, 0u);
  EXPECT_EQ(g.wake(start), never);
}

TEST(gate, keeps_starts_apart_and_does_not_save_them_up) {
  auto l = open_limits();
  l.requests_per_second = 4;
  gate g(l, 1);
  for (ticket t = 1; t <= 3; ++t) g.submit(start, t, {});
  EXPECT_EQ(drain(g, start).size(), 1u);
  EXPECT_EQ(g.wake(start), start + milliseconds(250));
  EXPECT_TRUE(drain(g, start + milliseconds(249)).empty());
  EXPECT_EQ(drain(g, start + milliseconds(250)).size(), 1u);
  EXPECT_EQ(drain(g, start + seconds(60)).size(), 1u);
  for (ticket t = 4; t <= 6; ++t) g.submit(start + seconds(60), t, {});
  EXPECT_TRUE(drain(g, start + seconds(60)).empty());
}

TEST(gate, the_next_batch_waits_for_the_last_answer_and_the_pause) {
  auto l = open_limits();
  l.batch_size = 3;
  l.batch_delay = milliseconds(200);
  gate g(l, 1);
  for (ticket t = 1; t <= 5; ++t) g.submit(start, t, {method::post, "a", 50});
  EXPECT_EQ(drain(g, start), (std::vector<ticket>{1, 2, 3}));
  EXPECT_EQ(g.wake(start), never);
  g.done(start + milliseconds(10), 1, {outcome::ok, milliseconds(10)});
  g.done(start + milliseconds(500), 3, {outcome::ok, milliseconds(500)});
  EXPECT_TRUE(drain(g, start + seconds(5)).empty());
  EXPECT_EQ(g.wake(start + seconds(5)), never);
  g.done(start + seconds(5), 2, {outcome::data, seconds(5)});
  EXPECT_TRUE(drain(g, start + seconds(5)).empty());
  EXPECT_EQ(g.wake(start + seconds(5)), start + seconds(5) + milliseconds(200));
  EXPECT_EQ(drain(g, start + seconds(5) + milliseconds(200)), (std::vector<ticket>{4, 5}));
  EXPECT_EQ(g.count().batches, 2u);
}

TEST(gate, reads_pass_writes_that_wait_for_their_batch) {
  auto l = open_limits();
  l.batch_size = 1;
  gate g(l, 1);
  g.submit(start, 1, {method::patch, "a", 1});
  g.submit(start, 2, {method::del, "a", 1});
  g.submit(start, 3, {method::get, "a", 1});
  EXPECT_EQ(drain(g, start), (std::vector<ticket>{1, 3}));
  g.done(start, 1, {outcome::ok, milliseconds(0)});
  EXPECT_EQ(drain(g, start + milliseconds(200)), (std::vector<ticket>{2}));
}

TEST(gate, a_repeated_write_counts_into_the_batch_under_way) {
  auto l = open_limits();
  l.batch_size = 2;
  l.batch_delay = milliseconds(100);
  l.backoff_base = milliseconds(0);
  gate g(l, 1);
  for (ticket t = 1; t <= 3; ++t) g.submit(start, t, {method::patch, "a", 1});
  EXPECT_EQ(drain(g, start), (std::vector<ticket>{1, 2}));
  EXPECT_TRUE(g.done(start, 1, {outcome::overload, milliseconds(1)}).again);
  EXPECT_TRUE(drain(g, start).empty());
  g.done(start, 2, {outcome::ok, milliseconds(1)});
  EXPECT_EQ(drain(g, start + milliseconds(100)), (std::vector<ticket>{1, 3})) << "and it goes ahead of new work";
  EXPECT_EQ(g.count().retried, 1u);
}

TEST(gate, backoff_doubles_up_to_its_cap_with_full_jitter) {
  auto l = open_limits();
  l.max_attempts = 10;
  l.backoff_base = milliseconds(1000);
  l.backoff_cap = milliseconds(5000);
  std::vector<clock::duration> longest(10), shortest(10, seconds(100));
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    gate g(l, seed);
    g.submit(start, 1, {});
    auto now = start;
    for (std::size_t attempt = 1;; ++attempt) {
      ASSERT_EQ(g.next(now), ticket{1});
      auto const v = g.done(now, 1, {outcome::overload, milliseconds(5)});
      EXPECT_EQ(v.attempts, attempt);
      if (!v.again) {
        EXPECT_EQ(attempt, 10u);
        break;
      }
      longest[attempt] = std::max(longest[attempt], v.at - now);
      shortest[attempt] = std::min(shortest[attempt], v.at - now);
      EXPECT_EQ(g.wake(now), v.at);
      EXPECT_EQ(g.count().in_flight, 0u) << "the permit is given back";
      now = v.at;
    }
    EXPECT_EQ(g.count().waiting, 0u);
  }
  for (std::size_t attempt = 1; attempt < 10; ++attempt) {
    auto const bound = std::min(milliseconds(1000) * (1 << (attempt - 1)), milliseconds(5000));
    EXPECT_LE(longest[attempt], bound) << attempt;
    EXPECT_GE(longest[attempt], bound * 8 / 10) << attempt;
    EXPECT_LE(shortest[attempt], bound / 5) << attempt;
  }
}

TEST(gate, retry_after_is_a_floor) {
  gate g(open_limits(), 1);
  g.submit(start, 1, {});
  g.next(start);
  auto const v = g.done(start, 1, {outcome::overload, milliseconds(5), milliseconds(60000)});
  ASSERT_TRUE(v.again);
  EXPECT_EQ(v.at, start + seconds(60));
  g.next(v.at);
  EXPECT_EQ(g.done(v.at, 1, {outcome::overload, milliseconds(5), milliseconds(3600000)}).at, v.at + seconds(120));
}

TEST(gate, what_is_repeated_and_how_often) {
  auto const attempts_for = [](method verb, outcome o, bool hopeless = false) {
    gate g(open_limits(), 1);
    g.submit(start, 1, {verb, "a", 1});
    auto now = start;
    for (std::size_t n = 1;; ++n) {
      EXPECT_TRUE(g.next(now));
      auto const v = g.done(now, 1, {o, milliseconds(1), {}, hopeless});
      if (!v.again) return n;
      now = v.at;
    }
  };
  EXPECT_EQ(attempts_for(method::get, outcome::ok), 1u);
  for (auto verb : {method::get, method::post, method::patch, method::del}) {
    EXPECT_EQ(attempts_for(verb, outcome::overload), 5u);
    EXPECT_EQ(attempts_for(verb, outcome::unreachable), 5u);
    EXPECT_EQ(attempts_for(verb, outcome::unreachable, true), 1u);
    EXPECT_EQ(attempts_for(verb, outcome::server_fault), 2u);
    EXPECT_EQ(attempts_for(verb, outcome::unknown), verb == method::post ? 1u : 5u);
    EXPECT_EQ(attempts_for(verb, outcome::stale), verb == method::post ? 1u : 5u);
    for (auto o : {outcome::lost_race, outcome::too_large, outcome::data, outcome::credentials, outcome::cancelled})
      EXPECT_EQ(attempts_for(verb, o), 1u) << name(o);
  }
}

TEST(gate, a_stale_connection_is_tried_again_at_once) {
  gate g(open_limits(), 1);
  g.submit(start, 1, {});
  g.next(start);
  EXPECT_EQ(g.done(start, 1, {outcome::stale, milliseconds(1)}).at, start);
  EXPECT_EQ(g.next(start), ticket{1});
}

TEST(gate, cancel_forgets_what_waits) {
  auto l = open_limits();
  l.max_in_flight = 1;
  gate g(l, 1);
  for (ticket t = 1; t <= 3; ++t) g.submit(start, t, {method::post, "a", 1});
  EXPECT_EQ(g.next(start), ticket{1});
  EXPECT_FALSE(g.cancel(1)) << "in flight";
  EXPECT_FALSE(g.cancel(99)) << "unknown";
  EXPECT_TRUE(g.cancel(2));
  EXPECT_TRUE(g.done(start, 1, {outcome::overload, milliseconds(1), milliseconds(1000)}).again);
  EXPECT_TRUE(g.cancel(1)) << "in backoff";
  EXPECT_EQ(drain(g, start + seconds(9)), (std::vector<ticket>{3}));
  EXPECT_EQ(g.count().waiting, 0u);
}

TEST(gate, a_ticket_is_held_once) {
  gate g(open_limits(), 1);
  g.submit(start, 1, {});
  g.submit(start, 1, {});
  EXPECT_EQ(g.next(start), ticket{1});
  g.submit(start, 1, {});
  EXPECT_FALSE(g.next(start));
  EXPECT_FALSE(g.done(start, 2, {outcome::overload, milliseconds(1)}).again) << "a ticket that was never given";
  EXPECT_EQ(g.count().in_flight, 1u);
}

TEST(gate, senseless_ceilings_still_let_work_through) {
  limits l;
  l.max_in_flight = 0;
  l.max_attempts = 0;
  l.requests_per_second = 1e-300;
  l.batch_delay = milliseconds(-5);
  gate g(l, 1);
  g.submit(start, 1, {});
  EXPECT_EQ(g.next(start), ticket{1});
  EXPECT_FALSE(g.done(start, 1, {outcome::unknown, milliseconds(1)}).again);
  g.submit(start, 2, {});
  EXPECT_LE(g.wake(start), start + std::chrono::hours(1));
}

// A server with random latencies and outcomes, work that comes at random times, and the checks that must hold for all.
RC_GTEST_PROP(gate_property, holds_its_ceilings_and_loses_nothing, ()) {
  limits l;
  l.max_in_flight = *rc::gen::inRange<std::size_t>(1, 6);
  l.requests_per_second = *rc::gen::element(0.0, 0.5, 3.0, 10.0, 333.0);
  l.batch_size = *rc::gen::inRange<std::size_t>(0, 7);
  l.batch_delay = milliseconds(*rc::gen::inRange(0, 500));
  l.max_attempts = *rc::gen::inRange<std::size_t>(1, 6);
  l.backoff_base = milliseconds(*rc::gen::inRange(0, 2000));
  l.backoff_cap = milliseconds(*rc::gen::inRange(0, 5000));
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  auto const pick = [&](int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); };
  int const count = *rc::gen::inRange(1, 120);

  struct work {
    method verb;
    clock::time_point comes;
    int attempts = 0, faults = 0;
    bool in_flight = false, over = false;
  };
  std::vector<work> all;
  for (int i = 0; i < count; ++i)
    all.push_back({static_cast<method>(pick(5)), start + milliseconds(pick(3) == 0 ? pick(4000) : 0)});
  std::vector<std::size_t> arrivals(all.size());
  for (std::size_t i = 0; i < arrivals.size(); ++i) arrivals[i] = i;
  std::stable_sort(arrivals.begin(), arrivals.end(), [&](auto a, auto b) { return all[a].comes < all[b].comes; });

  gate g(l, random());
  std::multimap<clock::time_point, ticket> answers;
  std::vector<clock::time_point> starts;
  struct write {
    ticket t;
    clock::time_point started, answered;
  };
  std::vector<write> writes;
  std::size_t arrived = 0, in_flight = 0, over = 0;
  auto now = start;
  for (int step = 0; over < all.size(); ++step) {
    RC_ASSERT(step < 20000);
    for (; arrived < arrivals.size() && all[arrivals[arrived]].comes <= now; ++arrived)
      g.submit(now, arrivals[arrived],
               {all[arrivals[arrived]].verb, "lane" + std::to_string(arrivals[arrived] % 3), 1});
    while (auto const t = g.next(now)) {
      auto& w = all.at(*t);
      RC_ASSERT(!w.in_flight);
      RC_ASSERT(!w.over);
      w.in_flight = true;
      ++w.attempts;
      RC_ASSERT(++in_flight <= l.max_in_flight);
      RC_ASSERT(g.count().in_flight == in_flight);
      starts.push_back(now);
      if (w.verb != method::get) writes.push_back({*t, now, never});
      answers.emplace(now + milliseconds(pick(4) == 0 ? 0 : pick(3000)), *t);
    }
    auto const wake = g.wake(now);
    RC_ASSERT(wake > now);                                                       // no spin
    if (in_flight == 0 && arrived == arrivals.size()) RC_ASSERT(wake != never);  // no stall
    auto next = wake;
    bool only_the_clock = true;
    if (!answers.empty() && answers.begin()->first <= next) next = answers.begin()->first, only_the_clock = false;
    if (arrived < arrivals.size() && all[arrivals[arrived]].comes <= next)
      next = all[arrivals[arrived]].comes, only_the_clock = false;
    RC_ASSERT(next != never);
    // A timer may come late, never early.
    now = std::max(now, next) + (only_the_clock && pick(3) == 0 ? milliseconds(pick(50)) : milliseconds(0));
    if (only_the_clock) {
      auto copy = g;
      RC_ASSERT(copy.next(now).has_value());  // waking up leads to something
    }
    while (!answers.empty() && answers.begin()->first <= now) {
      auto const t = answers.begin()->second;
      answers.erase(answers.begin());
      auto& w = all[t];
      auto const o = pick(2) == 0 ? outcome::ok : static_cast<outcome>(pick(11));
      std::optional<milliseconds> wait;
      if (pick(8) == 0) wait = milliseconds(pick(10000));
      w.in_flight = false;
      --in_flight;
      for (auto& x : writes)
        if (x.t == t && x.answered == never) x.answered = now;
      auto const v = g.done(now, t, {o, milliseconds(3), wait});
      RC_ASSERT(v.attempts == static_cast<std::size_t>(w.attempts));
      bool const may =
          may_repeat(w.verb, o) && v.attempts < l.max_attempts && !(o == outcome::server_fault && w.faults > 0);
      RC_ASSERT(v.again == may);
      if (o == outcome::server_fault) ++w.faults;
      if (v.again) {
        RC_ASSERT(v.at >= now + wait.value_or(milliseconds(0)));
      } else {
        w.over = true;
        ++over;
      }
    }
  }
  RC_ASSERT(g.count().waiting == 0u);
  RC_ASSERT(g.count().in_flight == 0u);
  RC_ASSERT(g.count().started == starts.size());
  RC_ASSERT(g.count().started == g.count().retried + all.size());
  RC_ASSERT(g.wake(now) == never);

  if (l.requests_per_second > 0)
    for (std::size_t i = 1; i < starts.size(); ++i)
      RC_ASSERT(std::chrono::duration<double>(starts[i] - starts[i - 1]).count() >= 1 / l.requests_per_second - 1e-9);
  if (l.batch_size > 0) {
    RC_ASSERT(g.count().batches == (writes.size() + l.batch_size - 1) / l.batch_size);
    for (std::size_t first = l.batch_size; first < writes.size(); first += l.batch_size)
      for (std::size_t i = first - l.batch_size; i < first; ++i)
        RC_ASSERT(writes[first].started >= writes[i].answered + l.batch_delay);
  }
}

}  // namespace
