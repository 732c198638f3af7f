// The adaptive part: DESIGN's table of outcomes as examples, directly and through the gate, and what always holds.
#include "core/throttle/controller.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <string>

#include "core/throttle/gate.hpp"

namespace {

using namespace weir::throttle;
using namespace std::chrono_literals;
using std::chrono::seconds;
using state = breaker::state;

constexpr clock::time_point start{std::chrono::hours(1000)};
constexpr auto never = clock::time_point::max();

attempt of(outcome what, trouble cause = trouble::none, bool alone = false) {
  attempt a;
  a.verb = method::post;
  a.endpoint = "backups";
  a.objects = 20;
  a.what = what;
  a.cause = cause;
  a.latency = what == outcome::overload ? 13ms : 400ms;
  a.alone = alone;
  return a;
}

// Requests one after the other, each with this end.
struct run {
  controller c{8, seconds(60), 1};
  clock::time_point now = start;
  void go(attempt const& a, int n = 1, clock::duration every = 400ms) {
    for (int i = 0; i < n; ++i) {
      c.started(now, false, c.concurrency());
      now += std::max<clock::duration>(every, a.latency);
      c.ended(now, a, false);
    }
  }
  void climb(std::size_t limit) {
    for (int i = 0; i < 500 && c.concurrency() < limit; ++i) go(of(outcome::ok), 8, 400ms);
    ASSERT_GE(c.concurrency(), limit);
  }
  std::size_t said(event::what kind) {
    auto const all = c.take_events();
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [&](auto const& e) { return e.kind == kind; }));
  }
};

limits adaptive_limits() {
  limits l;
  l.max_in_flight = 4;
  l.requests_per_second = 0;
  l.batch_size = 0;
  l.control = control::adaptive;
  l.max_outage = seconds(60);
  l.probe = true;
  l.backoff_base = milliseconds(1000);
  return l;
}
traits a_write(std::size_t objects = 20) { return {method::post, "s", objects, "backups"}; }
ended how(outcome what, trouble cause = trouble::none) {
  ended e;
  e.what = what;
  e.cause = cause;
  e.latency = what == outcome::overload ? milliseconds(13) : milliseconds(400);
  return e;
}
// Lets the gate's clock run until it starts something; what it is.
std::optional<ticket> await(gate& g, clock::time_point& now) {
  for (int i = 0; i < 100; ++i) {
    if (auto const t = g.next(now)) return t;
    auto const wake = g.wake(now);
    if (wake == never) return {};
    now = std::max(now, wake);
  }
  return {};
}

}  // namespace

TEST(controller, more_in_flight_while_answers_come_as_usual) {
  run r;
  EXPECT_EQ(r.c.concurrency(), 1U);
  r.climb(8);
  EXPECT_EQ(r.c.state().highest_limit, 8);
  EXPECT_EQ(r.c.state().cuts, 0U);
  EXPECT_EQ(r.c.state().gap.count(), 0);
  EXPECT_GT(r.said(event::what::limit), 3U);
}

TEST(controller, overload_cuts_the_limit_and_spreads_requests) {
  run r;
  r.climb(8);
  r.go(of(outcome::overload));
  EXPECT_EQ(r.c.concurrency(), 4U);
  EXPECT_EQ(r.c.state().gap, milliseconds(50));
  EXPECT_EQ(r.c.state().refused, 1U);
  EXPECT_EQ(r.c.state().circuit, state::closed);
  EXPECT_LT(r.c.state().tokens, 20);
}

TEST(controller, an_unknown_outcome_cuts_and_halves_the_list) {
  run r;
  r.climb(4);
  auto const before = r.c.learnt().list_size(method::post, "backups", 500);
  r.go(of(outcome::unknown));
  EXPECT_LT(r.c.concurrency(), 4U);
  EXPECT_GT(before, 10U);
  EXPECT_EQ(r.c.learnt().list_size(method::post, "backups", 500), 10U) << "half of those that it carried";
  EXPECT_EQ(r.c.state().refused, 0U);
}

TEST(controller, an_unknown_read_halves_nothing) {
  run r;
  auto a = of(outcome::unknown);
  a.verb = method::get;
  r.go(a);
  EXPECT_EQ(r.c.learnt().list_size(method::get, "backups", 500), 250U);
}

TEST(controller, nobody_home_is_no_reason_to_go_slower_but_to_stop) {
  run r;
  r.climb(4);
  auto const limit = r.c.concurrency();
  r.go(of(outcome::unreachable), 4);
  EXPECT_EQ(r.c.concurrency(), limit);
  EXPECT_EQ(r.c.state().circuit, state::closed);
  r.go(of(outcome::unreachable));
  EXPECT_EQ(r.c.state().circuit, state::open);
  EXPECT_EQ(r.c.concurrency(), 1U);
  EXPECT_EQ(r.said(event::what::opened), 1U);
}

TEST(controller, whoever_refuses_the_data_is_there) {
  for (auto const o : {outcome::lost_race, outcome::too_large, outcome::data, outcome::credentials}) {
    run r;
    r.climb(2);
    auto const limit = r.c.concurrency();
    for (int i = 0; i < 4; ++i) {  // as many failures as the budget has tokens for, but never five in a row
      r.go(of(outcome::unreachable), 4);
      r.go(of(o));
    }
    EXPECT_EQ(r.c.state().breaker_opened, 0U) << name(o);
    EXPECT_GE(r.c.concurrency(), limit) << name(o);
    EXPECT_FALSE(r.c.gave_up());
  }
}

TEST(controller, faults_stale_connections_and_what_was_stopped_say_nothing_about_load) {
  for (auto const o : {outcome::server_fault, outcome::stale, outcome::cancelled}) {
    run r;
    r.climb(4);
    auto const before = r.c.state();
    r.go(of(o), 30);
    auto const after = r.c.state();
    EXPECT_EQ(after.limit, before.limit) << name(o);
    EXPECT_EQ(after.gap, before.gap);
    EXPECT_EQ(after.tokens, before.tokens);
    EXPECT_EQ(after.circuit, state::closed);
  }
}

TEST(controller, retry_after_holds_everybody) {
  run r;
  r.c.hold_until(start + 30s);
  r.c.hold_until(start + 10s);
  EXPECT_EQ(r.c.earliest(), start + 30s);
}

TEST(controller, an_outage_ends_with_one_probe_and_one_in_flight) {
  run r;
  r.climb(4);
  r.go(of(outcome::unreachable), 5);
  auto const opens = r.c.earliest();
  EXPECT_GE(opens, r.now + 5s);
  EXPECT_FALSE(r.c.wants_probe(opens - 1ms));
  ASSERT_TRUE(r.c.wants_probe(opens));
  r.c.started(opens, true, 1);
  EXPECT_EQ(r.c.earliest(), never) << "nothing else before its answer";
  EXPECT_FALSE(r.c.wants_probe(opens + 60s));
  r.c.ended(opens + 15ms, of(outcome::ok, trouble::none, true), true);
  EXPECT_EQ(r.c.concurrency(), 1U);
  r.now = opens + 1s;
  r.go(of(outcome::ok), 2);
  EXPECT_EQ(r.c.state().circuit, state::closed);
  EXPECT_EQ(r.c.concurrency(), 1U);
  EXPECT_EQ(r.c.state().probes, 1U);
  EXPECT_TRUE(r.c.may_repeat_first()) << "the budget is filled up again";
}

TEST(controller, an_empty_budget_opens_the_breaker_although_some_get_through) {
  run r;
  for (int i = 0; i < 30 && r.c.state().breaker_opened == 0; ++i) {
    r.go(of(outcome::unknown), 2);
    r.go(of(outcome::ok));
  }
  EXPECT_EQ(r.c.state().breaker_opened, 1U);
}

TEST(controller, gives_up_after_the_longest_outage_and_not_before) {
  run r;
  r.go(of(outcome::ok));
  auto const began = r.now;
  while (r.now - began < 59s) r.go(of(outcome::unreachable), 1, 1s);
  EXPECT_FALSE(r.c.gave_up());
  r.go(of(outcome::unreachable), 3, 1s);
  EXPECT_TRUE(r.c.gave_up());
  EXPECT_EQ(r.said(event::what::gave_up), 1U);
  r.go(of(outcome::ok));
  EXPECT_FALSE(r.c.gave_up());
}

TEST(controller, one_success_begins_the_outage_anew) {
  run r;
  for (int i = 0; i < 10; ++i) {
    r.go(of(outcome::ok));
    r.go(of(outcome::unreachable), 30, 1s);
  }
  EXPECT_FALSE(r.c.gave_up());
}

TEST(controller, does_not_give_up_on_what_never_answered) {
  run r;  // whoever asks first is told at once instead (traits::impatient)
  r.go(of(outcome::unreachable), 200, 1s);
  EXPECT_FALSE(r.c.gave_up());
  EXPECT_FALSE(r.c.ever_answered());
}

TEST(controller, a_poisoned_pool_is_recognised_within_seconds_and_is_no_outage) {
  run r;
  int n = 0;
  for (; n < 40 && !r.c.starved(); ++n) r.go(of(outcome::overload, trouble::no_connection, true), 1, 300ms);
  EXPECT_TRUE(r.c.starved());
  EXPECT_LE(r.now - start, 3s);
  EXPECT_EQ(r.said(event::what::starved), 1U);
  r.go(of(outcome::overload, trouble::no_connection, true), 60, 300ms);
  EXPECT_EQ(r.c.state().breaker_opened, 0U);
  EXPECT_EQ(r.c.state().tokens, 20) << "nor do such refusals use up the budget";
  EXPECT_EQ(r.c.concurrency(), 1U);
  EXPECT_GT(r.c.earliest(), r.now) << "but nobody hammers";
  r.go(of(outcome::ok, trouble::none, true), 10);
  EXPECT_FALSE(r.c.starved());
  EXPECT_EQ(r.said(event::what::fed), 1U);
}

TEST(controller, nothing_is_tried_in_a_starved_pool) {
  run r;
  r.go(of(outcome::overload, trouble::no_connection, true), 12, 300ms);
  ASSERT_TRUE(r.c.starved());
  for (int i = 0; i < 30; ++i) {
    r.go(of(outcome::ok, trouble::none, true), 8);
    r.go(of(outcome::overload, trouble::no_connection, true));
  }
  EXPECT_TRUE(r.c.starved());
  EXPECT_EQ(r.c.state().limit, 1);
}

TEST(controller, refused_among_others_of_ours_it_is_our_load) {
  run r;
  r.climb(4);
  r.go(of(outcome::overload, trouble::no_connection, false), 4, 1s);
  EXPECT_FALSE(r.c.starved());
  EXPECT_LT(r.c.concurrency(), 4U);
}

TEST(controller, a_neighbour_is_felt_through_latency) {
  run r;
  r.climb(4);
  auto slow = of(outcome::ok);
  slow.latency = 2s;
  auto const before = r.now;
  while (r.c.concurrency() > 1 && r.now - before < 60s) r.go(slow, 1, 500ms);
  EXPECT_EQ(r.c.concurrency(), 1U);
  EXPECT_LE(r.now - before, 20s);
  EXPECT_EQ(r.c.state().refused, 0U);
  r.go(slow, 20, 2s);
  EXPECT_GT(r.c.state().gap, milliseconds(400)) << "one in flight gives way by a gap";
}

TEST(controller, a_new_kind_of_request_is_no_gain) {
  run r;
  r.climb(2);
  for (int i = 0; i < 100 && !(r.c.concurrency() > 2); ++i) r.go(of(outcome::ok), 1);
  auto const tried = r.c.concurrency();
  ASSERT_GT(tried, 2U);
  auto other = of(outcome::ok);
  other.endpoint = "machines";
  other.latency = 100ms;  // quick, but compared with nothing
  r.go(other, 1, 400ms);
  r.go(other, 1, 400ms);
  EXPECT_LT(r.c.concurrency(), tried);
}

RC_GTEST_PROP(controller_property, holds_its_bounds_for_any_sequence, ()) {
  auto const ceiling = *rc::gen::inRange<std::size_t>(1, 12);
  controller c(ceiling, seconds(*rc::gen::inRange(1, 100)), *rc::gen::arbitrary<std::uint64_t>());
  auto now = start;
  for (int const o : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 24))) {
    now += milliseconds(*rc::gen::inRange(0, 4000));
    bool const probe = c.wants_probe(now) && *rc::gen::arbitrary<bool>();
    c.started(now, probe, *rc::gen::inRange<std::size_t>(1, ceiling + 1));
    attempt a = of(o > 10 ? outcome::ok : static_cast<outcome>(o),
                   *rc::gen::element(trouble::none, trouble::no_connection), *rc::gen::arbitrary<bool>());
    a.latency = milliseconds(*rc::gen::inRange(0, 5000));
    a.objects = *rc::gen::inRange<std::size_t>(1, 100);
    now += a.latency;
    if (*rc::gen::inRange(0, 20) == 0) c.hold_until(now + 10s);
    c.ended(now, a, probe);
    auto const s = c.state();
    RC_ASSERT(c.concurrency() >= 1);
    RC_ASSERT(c.concurrency() <= ceiling);
    RC_ASSERT(s.limit >= 1);
    RC_ASSERT(s.limit <= static_cast<double>(ceiling));
    RC_ASSERT(s.highest_limit <= static_cast<double>(ceiling));
    RC_ASSERT(s.gap.count() >= 0);
    RC_ASSERT(s.gap <= milliseconds(5000));
    RC_ASSERT(s.tokens >= 0);
    RC_ASSERT(s.tokens <= 20);
    RC_ASSERT(!(s.inflation < 0));
    RC_ASSERT(c.earliest() != never);  // no probe is under way: time alone helps
    RC_ASSERT(c.earliest() <= now + 60s);
    RC_ASSERT(c.take_events().size() <= 1000);
  }
}

// --- through the gate

TEST(adaptive_gate, a_post_that_may_have_landed_is_given_back_and_others_are_repeated) {
  for (auto const verb : {method::get, method::patch, method::del, method::post}) {
    gate g(adaptive_limits(), 1);
    g.submit(start, 1, {verb, "s", 5, "backups"});
    ASSERT_EQ(g.next(start), ticket{1});
    EXPECT_EQ(g.done(start + 1s, 1, how(outcome::unknown)).again, verb != method::post);
  }
}

TEST(adaptive_gate, retry_after_holds_everybody) {
  gate g(adaptive_limits(), 1);
  g.submit(start, 1, a_write());
  g.submit(start, 2, a_write());
  ASSERT_EQ(g.next(start), ticket{1});
  auto e = how(outcome::overload);
  e.retry_after = milliseconds(30000);
  g.done(start, 1, e);
  EXPECT_FALSE(g.next(start + 29s));
  EXPECT_GE(g.wake(start), start + 30s);
  EXPECT_TRUE(g.next(start + 30s));
}

TEST(adaptive_gate, observing_it_decides_but_does_not_limit) {
  auto l = adaptive_limits();
  l.control = control::observe;
  gate g(l, 1);
  auto now = start;
  for (ticket t = 1; t <= 4; ++t) g.submit(now, t, a_write());
  std::vector<ticket> out;
  while (auto const t = g.next(now)) out.push_back(*t);
  EXPECT_EQ(out.size(), 4U) << "the ceiling alone";
  for (ticket t = 1; t <= 4; ++t) g.done(now += 10ms, t, how(outcome::unreachable));
  for (int i = 0; i < 3; ++i) {
    auto const t = await(g, now);
    ASSERT_TRUE(t);
    EXPECT_NE(*t, probe_ticket);
    g.done(now, *t, how(outcome::unreachable));
  }
  EXPECT_EQ(g.adaptation().circuit, state::open) << "it would have stopped";
  EXPECT_FALSE(g.gave_up());
  EXPECT_EQ(g.list_size(method::post, "backups", 50), 50U);
}

TEST(adaptive_gate, an_outage_opens_the_breaker_and_one_probe_follows) {
  auto l = adaptive_limits();
  l.max_in_flight = 1;
  l.backoff_base = milliseconds(10);
  gate g(l, 1);
  auto now = start;
  for (ticket t = 1; t <= 3; ++t) g.submit(now, t, a_write());
  auto first = await(g, now);
  g.done(now, *first, how(outcome::ok));
  for (int i = 0; i < 5; ++i) {
    auto const t = await(g, now);
    ASSERT_TRUE(t);
    ASSERT_NE(*t, probe_ticket);
    EXPECT_TRUE(g.done(now, *t, how(outcome::unreachable)).again);
  }
  auto const down = now;
  ASSERT_EQ(await(g, now), probe_ticket);
  EXPECT_GE(now - down, 5s);
  EXPECT_FALSE(g.next(now + 100s)) << "one probe at a time";
  g.done(now += 15ms, probe_ticket, how(outcome::unreachable));
  auto const again = now;
  ASSERT_EQ(await(g, now), probe_ticket);
  EXPECT_GE(now - again, 10s);
  g.done(now += 15ms, probe_ticket, how(outcome::ok));
  auto const back = now;
  auto const t = await(g, now);
  ASSERT_TRUE(t);
  EXPECT_LE(now - back, 1s) << "nobody waits out a backoff that was meant for the outage";
  EXPECT_EQ(g.count().peak_in_flight, 1U);
}

TEST(adaptive_gate, gives_everything_back_when_it_gave_up) {
  auto l = adaptive_limits();
  l.max_in_flight = 1;
  gate g(l, 1);
  auto now = start;
  for (ticket t = 1; t <= 5; ++t) g.submit(now, t, a_write());
  g.done(now, *await(g, now), how(outcome::ok));
  for (int i = 0; i < 1000 && !g.gave_up(); ++i) {
    auto const t = await(g, now);
    ASSERT_TRUE(t);
    g.done(now, *t, how(outcome::unreachable));
  }
  ASSERT_TRUE(g.gave_up());
  EXPECT_GE(now - start, 60s);
  EXPECT_LE(now - start, 130s);
  EXPECT_GE(g.take_waiting().size(), 3U);
  EXPECT_EQ(g.count().waiting, 0U);
}

TEST(adaptive_gate, new_work_goes_before_repeats_when_half_of_the_budget_is_used_up) {
  for (bool const used_up : {false, true}) {
    auto l = adaptive_limits();
    l.max_in_flight = 1;
    l.backoff_base = milliseconds(1);
    gate g(l, 1);
    auto now = start;
    ticket last = 0;
    auto const one = [&](ended const& e) {
      g.submit(now += 10s, ++last, a_write());
      EXPECT_EQ(await(g, now), last);
      return g.done(now += 100ms, last, e).again;
    };
    // Refused now and then, never twice in a row.
    auto hopeless = how(outcome::overload);
    hopeless.hopeless = true;
    for (int i = 0; used_up && i < 12; ++i) {
      EXPECT_FALSE(one(hopeless));
      EXPECT_FALSE(one(how(outcome::ok)));
    }
    EXPECT_EQ(g.adaptation().tokens < 10, used_up);
    EXPECT_TRUE(one(how(outcome::overload)));
    auto const parked = last;
    g.submit(now += 10s, ++last, a_write());
    EXPECT_EQ(await(g, now), used_up ? last : parked);
    g.done(now += 100ms, used_up ? last : parked, how(outcome::ok));
    EXPECT_EQ(await(g, now), used_up ? parked : last) << "parked, not lost";
  }
}

TEST(adaptive_gate, the_poisoned_pool_keeps_its_requests_however_often_they_are_refused) {
  auto l = adaptive_limits();
  l.max_in_flight = 1;
  l.max_attempts = 3;
  gate g(l, 1);
  auto now = start;
  g.submit(now, 1, a_write());
  for (int i = 0; i < 40; ++i) {
    auto const t = await(g, now);
    ASSERT_EQ(t, ticket{1}) << i;
    EXPECT_TRUE(g.done(now += 13ms, 1, how(outcome::overload, trouble::no_connection)).again) << i;
  }
  EXPECT_TRUE(g.adaptation().starved);
  EXPECT_EQ(g.adaptation().breaker_opened, 0U);
  EXPECT_EQ(await(g, now), ticket{1});
  EXPECT_FALSE(g.done(now, 1, how(outcome::ok)).again);
}
