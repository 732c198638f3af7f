// Pace, retry budget, breaker and the watch for a starved pool: each rule as an example.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/throttle/breaker.hpp"
#include "core/throttle/pace.hpp"
#include "core/throttle/retry_budget.hpp"
#include "core/throttle/starvation.hpp"

namespace {

using namespace weir::throttle;
using namespace std::chrono_literals;

constexpr clock::time_point start{std::chrono::hours(1000)};

window_summary window(double inflation, clock::duration latency) {
  window_summary w;
  w.inflation = inflation;
  w.latency = latency;
  return w;
}

}  // namespace

TEST(pace, has_no_gap_without_a_reason) {
  pace p;
  p.started(start);
  EXPECT_EQ(p.gap(), 0s);
  EXPECT_EQ(p.earliest(), start);
}

TEST(pace, overload_doubles_the_gap_at_most_once_in_a_second_up_to_five) {
  pace p;
  auto now = start;
  p.overloaded(now);
  EXPECT_EQ(p.gap(), 50ms);
  EXPECT_EQ(p.earliest(), now + 50ms) << "also for the request that would come next";
  p.overloaded(now + 999ms);
  EXPECT_EQ(p.gap(), 50ms);
  p.overloaded(now += 1s);
  EXPECT_EQ(p.gap(), 100ms);
  for (int i = 0; i < 10; ++i) p.overloaded(now += 1s);
  EXPECT_EQ(p.gap(), 5s);
  EXPECT_EQ(p.longest(), 5s);
  p.started(now);
  EXPECT_EQ(p.earliest(), now + 5s);
}

TEST(pace, decays_by_a_quarter_with_each_good_window) {
  pace p;
  p.overloaded(start);
  p.overloaded(start + 1s);
  p.window_ended(window(1, 1s), 1);
  EXPECT_EQ(p.gap(), 75ms);
  for (int i = 0; i < 10; ++i) p.window_ended(window(1, 1s), 4);
  EXPECT_EQ(p.gap(), 0s) << "below 10 ms it is none";
  EXPECT_EQ(p.longest(), 100ms);
}

TEST(pace, leaves_a_busy_server_up_to_two_thirds_of_its_time) {
  pace p;
  p.window_ended(window(2.1, 400ms), 1);
  EXPECT_EQ(p.gap(), 100ms) << "a quarter of the latency to begin with";
  p.window_ended(window(2.1, 400ms), 1);
  EXPECT_EQ(p.gap(), 125ms);
  for (int i = 0; i < 30; ++i) p.window_ended(window(2.1, 400ms), 1);
  EXPECT_EQ(p.gap(), 800ms) << "twice the latency in the end";
}

TEST(pace, with_several_in_flight_fewer_of_them_are_what_helps) {
  pace p;
  p.window_ended(window(5, 400ms), 2);
  EXPECT_EQ(p.gap(), 0s);
}

RC_GTEST_PROP(pace_property, the_gap_is_never_negative_and_never_above_five_seconds, ()) {
  pace p;
  auto now = start;
  for (int const what : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3))) {
    now += milliseconds(*rc::gen::inRange(0, 5000));
    if (what == 0) p.overloaded(now);
    if (what == 1) p.started(now);
    if (what == 2)
      p.window_ended(window(*rc::gen::element(0.0, 1.0, 2.5, 1e9), milliseconds(*rc::gen::inRange(0, 600000))),
                     *rc::gen::inRange<std::size_t>(1, 9));
    RC_ASSERT(p.gap() >= 0s);
    RC_ASSERT(p.gap() <= 5s);
    RC_ASSERT(p.longest() >= p.gap());
    RC_ASSERT(p.earliest() <= now + 5s);
  }
}

TEST(retry_budget, a_failure_costs_one_and_a_success_brings_a_tenth) {
  retry_budget b;
  EXPECT_EQ(b.tokens(), 20);
  for (int i = 0; i < 9; ++i) b.failed();
  EXPECT_TRUE(b.allows());
  b.failed();
  EXPECT_FALSE(b.allows()) << "half is not above half";
  b.succeeded();
  EXPECT_TRUE(b.allows());
  EXPECT_NEAR(b.tokens(), 10.1, 1e-9);
  for (int i = 0; i < 50; ++i) b.failed();
  EXPECT_EQ(b.tokens(), 0);
  EXPECT_TRUE(b.empty());
  b.refill();
  EXPECT_EQ(b.tokens(), 11);
  EXPECT_TRUE(b.allows());
  for (int i = 0; i < 500; ++i) b.succeeded();
  EXPECT_EQ(b.tokens(), 20);
  b.refill();
  EXPECT_EQ(b.tokens(), 20) << "never takes any";
}

TEST(breaker, opens_after_five_failures_in_a_row) {
  breaker b;
  for (int i = 0; i < 4; ++i) b.failed(start, 0);
  b.succeeded();
  for (int i = 0; i < 4; ++i) b.failed(start, 0);
  EXPECT_EQ(b.now(), breaker::state::closed);
  b.failed(start, 0);
  EXPECT_EQ(b.now(), breaker::state::open);
  EXPECT_EQ(b.opened(), 1U);
  EXPECT_EQ(b.until(), start + 5s);
}

TEST(breaker, one_failed_probe_opens_it_again_for_twice_as_long_up_to_thirty_seconds) {
  breaker b;
  auto now = start;
  b.trip(now, 0);
  for (auto const pause : {5s, 10s, 20s, 30s, 30s}) {
    EXPECT_EQ(b.until() - now, pause);
    now = b.until();
    b.probing();
    EXPECT_EQ(b.now(), breaker::state::half_open);
    b.failed(now, 0);
    EXPECT_EQ(b.now(), breaker::state::open);
  }
  EXPECT_EQ(b.opened(), 6U);
}

TEST(breaker, the_pause_has_up_to_fifteen_percent_of_jitter) {
  breaker b;
  b.trip(start, 1);
  EXPECT_EQ(b.until(), start + 5750ms);
}

TEST(breaker, three_successes_close_it_and_a_failure_among_them_does_not) {
  breaker b;
  b.trip(start, 0);
  b.probing();
  b.succeeded();
  b.succeeded();
  EXPECT_EQ(b.now(), breaker::state::half_open);
  b.succeeded();
  EXPECT_EQ(b.now(), breaker::state::closed);
  b.trip(start, 0);
  b.probing();
  b.succeeded();
  b.succeeded();
  b.failed(start, 0);
  EXPECT_EQ(b.now(), breaker::state::open);
}

TEST(breaker, an_answer_to_an_older_request_is_an_answer) {
  breaker b;
  b.trip(start, 0);
  b.succeeded();
  EXPECT_EQ(b.now(), breaker::state::half_open);
}

TEST(breaker, long_pauses_are_forgotten_after_twenty_successes) {
  breaker b;
  b.trip(start, 0);
  b.trip(start, 0);
  b.trip(start, 0);
  b.probing();
  for (int i = 0; i < 19; ++i) b.succeeded();
  b.trip(start, 0);
  EXPECT_EQ(b.until(), start + 30s);
  b.probing();
  for (int i = 0; i < 20; ++i) b.succeeded();
  b.trip(start, 0);
  EXPECT_EQ(b.until(), start + 5s);
}

TEST(starvation, is_four_quick_refusals_of_single_requests_over_two_seconds) {
  starvation s;
  for (int i = 0; i < 6; ++i) s.alone(start + 300ms * i, true, 13ms);
  EXPECT_FALSE(s.holds()) << "a burst of somebody else's is over sooner";
  s.alone(start + 2s, true, 13ms);
  EXPECT_TRUE(s.holds());
  EXPECT_EQ(s.times(), 1U);
  EXPECT_FALSE(s.mixed());
}

TEST(starvation, is_seen_although_some_get_through) {
  starvation s;
  for (int i = 0; i < 12 && !s.holds(); ++i) s.alone(start + 400ms * i, i % 3 != 0, 13ms);
  EXPECT_TRUE(s.holds());
  EXPECT_TRUE(s.mixed());
  EXPECT_NE(starved_text(true), starved_text(false));
}

TEST(starvation, slow_refusals_have_another_reason) {
  starvation s;
  for (int i = 0; i < 20; ++i) s.alone(start + 1s * i, true, 1100ms);
  EXPECT_FALSE(s.holds());
}

TEST(starvation, ends_with_ten_successes_in_a_row) {
  starvation s;
  for (int i = 0; i < 10; ++i) s.alone(start + 1s * i, true, 13ms);
  ASSERT_TRUE(s.holds());
  for (int i = 0; i < 9; ++i) s.alone(start + 20s, false, 75ms);
  s.alone(start + 20s, true, 13ms);
  for (int i = 0; i < 9; ++i) s.alone(start + 20s, false, 75ms);
  EXPECT_TRUE(s.holds());
  s.alone(start + 20s, false, 75ms);
  EXPECT_FALSE(s.holds());
  EXPECT_EQ(s.times(), 1U);
}

TEST(starvation, asks_less_often_only_while_nothing_gets_through) {
  starvation s;
  for (int i = 0; i < 9; ++i) s.alone(start + 1s * i, true, 13ms);
  EXPECT_EQ(s.gap(), 300ms);
  for (int i = 0; i < 200; ++i) s.alone(start + 1s * i, true, 13ms);
  EXPECT_EQ(s.gap(), 5s);
  s.alone(start + 500s, false, 75ms);
  EXPECT_EQ(s.gap(), 300ms);
}
