// How many in flight: each rule as an example, and what holds for any server.
#include "core/throttle/limiter.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

namespace {

using namespace weir::throttle;
using namespace std::chrono_literals;

constexpr clock::time_point start{std::chrono::hours(1000)};

// A server that does `speed(n)` requests' worth of work with n in flight; every window is full.
template <class Speed>
void windows(limiter& l, clock::time_point& now, int count, Speed const& speed) {
  for (int i = 0; i < count; ++i) {
    now += 1s;
    window_summary seen;
    seen.answers = 8;
    seen.limit_reached = true;
    seen.slowdown = static_cast<double>(l.limit()) / speed(l.limit());
    seen.inflation = seen.slowdown / l.usual();
    l.window_ended(now, seen);
  }
}
auto cores(std::size_t n, double next = 0.65) {
  return [=](std::size_t limit) { return 1 + next * static_cast<double>(std::min(limit, n) - 1); };
}
window_summary of(double inflation, bool reached = true) {
  window_summary seen;
  seen.answers = 8;
  seen.inflation = seen.slowdown = inflation;
  seen.limit_reached = reached;
  return seen;
}
// Among the last windows, how often the limit was which.
template <class Speed>
std::size_t settled(std::size_t ceiling, Speed const& speed) {
  limiter l(ceiling);
  auto now = start;
  windows(l, now, 60, speed);
  std::map<std::size_t, int> seen;
  for (int i = 0; i < 100; ++i) {
    windows(l, now, 1, speed);
    ++seen[l.limit()];
  }
  return std::max_element(seen.begin(), seen.end(), [](auto const& a, auto const& b) { return a.second < b.second; })
      ->first;
}

}  // namespace

TEST(limiter, begins_with_one_and_climbs_while_more_bring_more) {
  limiter l(16);
  EXPECT_EQ(l.limit(), 1U);
  EXPECT_TRUE(l.climbing());
  auto now = start;
  std::vector<std::size_t> limits;
  for (int i = 0; i < 8; ++i) {
    windows(l, now, 1, cores(64));
    limits.push_back(l.limit());
  }
  // Each is tried in one window and judged in the next.
  EXPECT_EQ(limits, (std::vector<std::size_t>{2, 2, 3, 3, 4, 4, 6, 6}));
  windows(l, now, 40, cores(64));
  EXPECT_EQ(l.limit(), 16U) << "the ceiling";
  EXPECT_EQ(l.cuts(), 0U);
}

TEST(limiter, settles_where_more_bring_nothing) {
  EXPECT_EQ(settled(16, cores(1)), 1U);
  EXPECT_EQ(settled(16, cores(2)), 2U);
  EXPECT_EQ(settled(16, cores(3)), 3U);
  for (std::size_t n : {4, 6, 8}) {
    auto const limit = settled(16, cores(n));
    EXPECT_GE(limit, n * 3 / 4);
    EXPECT_LE(limit, n * 5 / 4);
  }
  EXPECT_EQ(settled(4, cores(64)), 4U);
}

TEST(limiter, goes_back_to_fewer_when_cores_are_lost) {
  limiter l(16);
  auto now = start;
  windows(l, now, 60, cores(8, 0.9));
  ASSERT_GE(l.limit(), 6U);
  windows(l, now, 600, cores(2, 0.9));
  EXPECT_LE(l.limit(), 4U);
  windows(l, now, 1500, cores(8, 0.9));
  EXPECT_GE(l.limit(), 6U) << "and finds those that come back";
}

TEST(limiter, tries_nothing_where_there_is_not_enough_to_do) {
  limiter l(16);
  auto now = start;
  for (int i = 0; i < 20; ++i) l.window_ended(now += 1s, of(1, false));
  EXPECT_EQ(l.limit(), 1U);
  l.window_ended(now += 1s, of(1));
  EXPECT_EQ(l.limit(), 2U);
  EXPECT_TRUE(l.trying());
  l.window_ended(now += 1s, of(1, false));
  EXPECT_EQ(l.limit(), 1U) << "what two bring could not be seen";
  EXPECT_FALSE(l.trying());
}

TEST(limiter, overload_halves_at_most_once_in_four_seconds) {
  limiter l(16);
  auto now = start;
  windows(l, now, 60, cores(64));
  ASSERT_EQ(l.limit(), 16U);
  EXPECT_TRUE(l.overloaded(now));
  EXPECT_EQ(l.limit(), 8U);
  EXPECT_FALSE(l.overloaded(now + 3999ms));
  EXPECT_EQ(l.limit(), 8U);
  EXPECT_TRUE(l.overloaded(now + 4s));
  EXPECT_TRUE(l.overloaded(now + 8s));
  EXPECT_TRUE(l.overloaded(now + 12s));
  EXPECT_EQ(l.limit(), 1U);
  EXPECT_TRUE(l.overloaded(now + 16s));
  EXPECT_EQ(l.limit(), 1U);
  EXPECT_EQ(l.cuts(), 4U);
  EXPECT_FALSE(l.climbing());
}

TEST(limiter, raises_one_by_one_after_an_overload_and_leaves_what_was_too_much_alone_for_longer_each_time) {
  limiter l(16);
  auto now = start;
  auto const speed = cores(64);
  std::vector<clock::duration> until_bad;
  auto last = now;
  std::size_t before = 0;
  for (int i = 0; i < 900; ++i) {
    windows(l, now, 1, speed);
    if (before != 0) {
      EXPECT_LE(l.limit(), before + 1);
    }
    if (l.limit() >= 7) {  // six is what this pool can take
      l.overloaded(now);
      until_bad.push_back(now - last);
      last = now;
    }
    before = until_bad.empty() ? 0 : l.limit();
  }
  ASSERT_GE(until_bad.size(), 3U);
  EXPECT_LE(until_bad.size(), 8U) << "an error in some minutes is what it costs";
  for (std::size_t i = 2; i < until_bad.size(); ++i) EXPECT_GE(until_bad[i], until_bad[i - 1]) << i;
}

TEST(limiter, answers_that_take_twice_as_long_as_usual_lower_it_before_there_are_errors) {
  limiter l(4);
  auto now = start;
  windows(l, now, 30, cores(64, 1));
  ASSERT_EQ(l.limit(), 4U);
  ASSERT_FALSE(l.trying());
  l.window_ended(now += 1s, of(1.9));
  EXPECT_EQ(l.limit(), 4U);
  l.window_ended(now += 1s, of(2.1));
  EXPECT_EQ(l.limit(), 2U);
  l.window_ended(now += 1s, of(2.1));
  EXPECT_EQ(l.limit(), 1U);
  l.window_ended(now += 1s, of(2.1));
  EXPECT_EQ(l.limit(), 1U);
  EXPECT_EQ(l.cuts(), 2U);
}

TEST(limiter, slower_than_usual_but_not_slow_is_no_time_to_try_more) {
  limiter l(4);
  auto now = start;
  for (int i = 0; i < 20; ++i) l.window_ended(now += 1s, of(1.5));
  EXPECT_EQ(l.limit(), 1U);
}

TEST(limiter, what_is_usual_is_what_its_own_requests_bring) {
  limiter l(16);
  auto now = start;
  windows(l, now, 60, cores(4));
  EXPECT_DOUBLE_EQ(l.usual(1), 1);
  EXPECT_NEAR(l.usual(2), 2 / 1.65, 0.01);
  EXPECT_NEAR(l.usual(4), 4 / 2.95, 0.01);
  EXPECT_GE(l.usual(16), l.usual(4)) << "never tried: as far as it is known";
  EXPECT_DOUBLE_EQ(l.usual(0), 1);
  EXPECT_DOUBLE_EQ(l.usual(99), l.usual(16));
}

TEST(limiter, one_after_an_outage_and_then_a_pause) {
  limiter l(16);
  auto now = start;
  windows(l, now, 60, cores(64));
  l.to_one(now);
  EXPECT_EQ(l.limit(), 1U);
  windows(l, now, 3, cores(64));
  EXPECT_EQ(l.limit(), 1U);
  windows(l, now, 2, cores(64));
  EXPECT_EQ(l.limit(), 2U);
}

TEST(limiter, a_ceiling_of_nothing_is_one) {
  limiter l(0);
  auto now = start;
  windows(l, now, 30, cores(64));
  EXPECT_EQ(l.limit(), 1U);
  l.stop_trying();
  EXPECT_EQ(l.limit(), 1U);
}

RC_GTEST_PROP(limiter_property, stays_between_one_and_the_ceiling_for_any_sequence, ()) {
  auto const ceiling = *rc::gen::inRange<std::size_t>(1, 20);
  limiter l(ceiling);
  auto now = start;
  std::size_t before = 1, cuts = 0;
  for (int const what : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 8))) {
    now += milliseconds(*rc::gen::inRange(0, 9000));
    before = l.limit();
    cuts = l.cuts();
    switch (what) {
      case 0:
        if (l.overloaded(now)) RC_ASSERT(l.limit() <= std::max<std::size_t>(1, before / 2));
        break;
      case 1:
        l.to_one(now);
        RC_ASSERT(l.limit() == 1);
        break;
      case 2:
        l.stop_trying();
        RC_ASSERT(!l.trying());
        break;
      default: {
        window_summary seen;
        seen.slowdown = *rc::gen::element(0.01, 0.9, 1.0, 1.2, 1.5, 3.0, 50.0);
        seen.inflation = seen.slowdown / l.usual();
        seen.limit_reached = *rc::gen::arbitrary<bool>();
        bool const was_trying = l.trying();
        l.window_ended(now, seen);
        RC_ASSERT(!(was_trying && l.trying()));  // one window decides
        if (!seen.limit_reached) RC_ASSERT(l.limit() <= before || was_trying);
      }
    }
    RC_ASSERT(l.limit() >= 1);
    RC_ASSERT(l.limit() <= ceiling);
    RC_ASSERT(l.cuts() >= cuts);
    for (std::size_t n = 0; n <= ceiling + 1; ++n) RC_ASSERT(l.usual(n) >= 1);
  }
}
