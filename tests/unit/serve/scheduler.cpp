// Schedules on a clock that the tests turn.
#include "core/serve/scheduler.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace {

using namespace std::chrono_literals;
using weir::config::schedule;
using weir::serve::moment;
using weir::serve::scheduler;

// 2026-11-22T12:00:00Z on the wall; tests compare distances only, so the zone they run in does not matter.
moment const noon{std::chrono::steady_clock::time_point(100h), std::chrono::system_clock::from_time_t(1795348800)};

moment after(moment const& m, std::chrono::milliseconds d) { return {m.steady + d, m.wall + d}; }

schedule every(std::string name, std::chrono::milliseconds interval, std::chrono::milliseconds jitter = 0ms) {
  schedule s;
  s.name = std::move(name);
  s.every = interval;
  s.jitter = jitter;
  return s;
}

schedule by_cron(std::string name, std::string expression, std::chrono::milliseconds jitter = 0ms) {
  schedule s;
  s.name = std::move(name);
  s.cron = std::move(expression);
  s.jitter = jitter;
  return s;
}

scheduler make(std::vector<schedule> const& of, moment now = noon, std::uint64_t seed = 1) {
  auto made = scheduler::make(of, now, seed);
  if (!made) throw std::runtime_error(made.error().what);
  return std::move(*made);
}

// Seconds after noon at which each schedule starts, asked every 250 ms, nobody ever busy.
std::map<std::string, std::vector<double>> starts(scheduler& s, std::chrono::milliseconds until) {
  std::map<std::string, std::vector<double>> out;
  for (auto t = 0ms; t <= until; t += 250ms)
    if (auto const due = s.due(after(noon, t), false); due.start)
      out[s.at(*due.start).name].push_back(static_cast<double>(t.count()) / 1000);
  return out;
}

using times = std::vector<double>;

TEST(Scheduler, IntervalsStartAtOnceAndGoFromStartToStart) {
  auto s = make({every("a", 10s)});
  EXPECT_EQ(starts(s, 35s)["a"], (times{0, 10, 20, 30}));
}

TEST(Scheduler, ExpressionsStartOnTheMinute) {
  auto s = make({by_cron("a", "* * * * *")});
  EXPECT_EQ(starts(s, 200s)["a"], (times{60, 120, 180}));
}

TEST(Scheduler, NothingToDoWithoutSchedules) {
  auto s = make({});
  EXPECT_FALSE(s.due(noon, false).start);
  EXPECT_TRUE(s.view(noon).empty());
}

TEST(Scheduler, BusyStartsAreRefusedCountedAndNotMadeUpFor) {
  auto s = make({every("a", 10s)});
  EXPECT_TRUE(s.due(noon, false).start);
  auto const refused = s.due(after(noon, 10s), true);
  EXPECT_FALSE(refused.start);
  EXPECT_EQ(refused.refused, std::vector<std::size_t>{0});
  EXPECT_TRUE(s.due(after(noon, 11s), true).refused.empty()) << "one miss counts once";
  EXPECT_FALSE(s.due(after(noon, 19s), false).start) << "what was refused is not made up for";
  EXPECT_TRUE(s.due(after(noon, 20s), false).start);
  EXPECT_EQ(s.view(noon)[0].refused, 1u);
  EXPECT_EQ(s.view(noon)[0].started, 2u);
}

TEST(Scheduler, WhatASleepingProcessMissedComesOnce) {
  auto s = make({every("a", 10s), by_cron("b", "* * * * *")});
  EXPECT_TRUE(s.due(noon, false).start);
  // An hour without a call: each is due once, and then as if nothing had been.
  auto const later = after(noon, 1h);
  auto const due = s.due(later, false);
  EXPECT_TRUE(due.start);
  EXPECT_EQ(due.refused.size(), 1u);
  EXPECT_FALSE(s.due(after(later, 250ms), false).start);
  EXPECT_TRUE(s.due(after(later, 10s), false).start);
}

TEST(Scheduler, TheOneThatHasWaitedLongestComesFirst) {
  // Every minute and every third minute meet: the frequent one must not shut the other out.
  auto s = make({by_cron("often", "* * * * *"), by_cron("seldom", "*/3 * * * *")});
  auto const seen = starts(s, 30min);
  EXPECT_GE(seen.at("seldom").size(), 9u);
  EXPECT_GE(seen.at("often").size(), 19u);
  // Two of the same pace take turns.
  auto twins = make({every("x", 10s), every("y", 10s)});
  auto const both = starts(twins, 100s);
  EXPECT_EQ(both.at("x").size() + both.at("y").size(), 11u);
  EXPECT_LE(both.at("x").size(), both.at("y").size() + 1);
  EXPECT_LE(both.at("y").size(), both.at("x").size() + 1);
}

TEST(Scheduler, JitterIsDrawnAnewWithinItsBoundsAndDoesNotAddUp) {
  auto s = make({every("a", 60s, 20s)});
  auto const seen = starts(s, 100min)["a"];
  ASSERT_GE(seen.size(), 99u);
  std::set<double> offsets;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    auto const late = seen[i] - 60.0 * static_cast<double>(i);
    EXPECT_GE(late, 0);
    EXPECT_LE(late, 20.25);
    offsets.insert(late);
  }
  EXPECT_GT(offsets.size(), 20u) << "it is drawn anew each time";
  // The same seed, the same draws; another one, others.
  auto again = make({every("a", 60s, 20s)}), other = make({every("a", 60s, 20s)}, noon, 2);
  EXPECT_EQ(starts(again, 100min)["a"], seen);
  EXPECT_NE(starts(other, 100min)["a"], seen);
}

TEST(Scheduler, JitterLargerThanTheIntervalStartsEachOnceInOrder) {
  auto s = make({every("a", 10s, 10min)});
  auto const seen = starts(s, 10min)["a"];
  EXPECT_GE(seen.size(), 40u);
  EXPECT_LE(seen.size(), 61u);
}

TEST(Scheduler, JitterOfExpressions) {
  auto s = make({by_cron("a", "*/5 * * * *", 60s)});
  auto const seen = starts(s, 10h)["a"];
  ASSERT_GE(seen.size(), 119u);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    auto const late = seen[i] - 300.0 * static_cast<double>(i + 1);
    EXPECT_GE(late, 0);
    EXPECT_LE(late, 60.25);
  }
}

TEST(Scheduler, TheWallsClockIsSetForward) {
  auto s = make({by_cron("hourly", "0 * * * *"), every("a", 10s)});
  EXPECT_TRUE(s.due(noon, false).start);
  moment const jumped{noon.steady + 1s, noon.wall + 72h};
  auto const due = s.due(jumped, false);
  EXPECT_EQ(due.start, std::optional<std::size_t>(0)) << "once, not 72 times";
  EXPECT_TRUE(due.refused.empty()) << "intervals do not go by the wall";
  EXPECT_FALSE(s.due({jumped.steady + 1s, jumped.wall + 1s}, false).start);
}

TEST(Scheduler, TheWallsClockIsSetBack) {
  auto s = make({by_cron("hourly", "0 * * * *"), every("a", 10s)});
  EXPECT_TRUE(s.due(noon, false).start);
  // By a day: the next one is within the hour, not in 25 hours; intervals go on as they did.
  moment const back{noon.steady + 1s, noon.wall - 24h};
  EXPECT_FALSE(s.due(back, false).start);
  EXPECT_LE(*s.view(back)[0].next, back.wall + 1h);
  EXPECT_EQ(s.due({noon.steady + 10s, back.wall + 9s}, false).start, std::optional<std::size_t>(1));
}

TEST(Scheduler, ASmallCorrectionDoesNotStartTwice) {
  auto s = make({by_cron("hourly", "0 * * * *")});
  moment const one{noon.steady + 1h, noon.wall + 1h};
  EXPECT_TRUE(s.due(one, false).start);
  for (auto t = 250ms; t < 30s; t += 250ms)
    EXPECT_FALSE(s.due({one.steady + t, one.wall + t - 10s}, false).start) << "ten seconds back over the full hour";
}

TEST(Scheduler, ViewsTellTheNextStart) {
  auto s = make({every("a", 10s), by_cron("b", "*/5 * * * *")});
  EXPECT_EQ(*s.view(noon)[0].next, noon.wall);
  EXPECT_EQ(*s.view(noon)[1].next, noon.wall + 5min);
  s.due(noon, false);
  EXPECT_EQ(*s.view(after(noon, 4s))[0].next, noon.wall + 10s);
}

TEST(Scheduler, ReplacedSchedulesKeepWhatStays) {
  auto s = make({every("a", 10s), every("b", 10s), by_cron("c", "* * * * *")});
  s.due(noon, false);  // a starts, b is refused
  s.due(after(noon, 1s), true);
  auto changed = every("a", 10s);
  changed.stages = {"nodes"};  // what it does, not when
  ASSERT_TRUE(s.replace({changed, every("b", 20s), every("d", 10s)}, after(noon, 2s)));
  auto const seen = s.view(after(noon, 2s));
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(*seen[0].next, noon.wall + 10s) << "a goes on";
  EXPECT_EQ(seen[0].started, 1u);
  EXPECT_EQ(seen[0].what.stages, std::vector<std::string>{"nodes"});
  EXPECT_EQ(seen[1].refused, 1u) << "b's count stays, its times are new";
  EXPECT_EQ(*seen[1].next, noon.wall + 2s);
  // What cannot be read changes nothing.
  auto const bad = s.replace({by_cron("e", "61 * * * *")}, after(noon, 3s));
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().what.find("serve.schedules.e: the minute"), std::string::npos) << bad.error().what;
  EXPECT_EQ(s.size(), 3u);
}

TEST(Scheduler, RefusesWhatNeverComes) {
  auto const made = scheduler::make({by_cron("a", "0 0 31 2 *")}, noon, 1);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, weir::base::error_code::config);
  EXPECT_NE(made.error().what.find("never comes"), std::string::npos);
}

// Ten minutes of a service on a compressed schedule: runs of all lengths, failures, an outage in which a run hangs, a
// stalled process, a clock that jumps both ways. Every start is a start or a refusal, none is lost, none overlaps.
TEST(Scheduler, TenMinutesWithFaults) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    auto s = make({every("quick", 2s), every("slow", 7s, 2s), by_cron("minutely", "* * * * *")}, noon, seed);
    auto now = noon;
    std::optional<moment> run_until;
    std::uint64_t runs = 0, refusals = 0, longest_idle = 0, idle = 0;
    while (now.steady - noon.steady < 10min) {
      bool const busy = run_until && now.steady < run_until->steady;
      auto const due = s.due(now, busy);
      if (busy) {
        ASSERT_FALSE(due.start) << "seed " << seed << ": runs overlap";
      }
      refusals += due.refused.size();
      idle = due.start || busy ? 0 : idle + 1;
      longest_idle = std::max(longest_idle, idle);
      if (due.start) {
        ++runs;
        // Most are done within a second; some hang in an outage of up to half a minute.
        auto const length = random() % 20 == 0 ? std::chrono::milliseconds(random() % 30000)
                                               : std::chrono::milliseconds(random() % 1500);
        run_until = after(now, length);
      }
      auto const step = random() % 500 == 0 ? 15s : 250ms;  // the machine was away for a while
      now = after(now, step);
      if (random() % 400 == 0) now.wall += 1h;
      if (random() % 400 == 0) now.wall -= 1h;
    }
    refusals += s.due(now, true).refused.size();
    std::uint64_t started = 0, refused = 0;
    for (auto const& v : s.view(now)) {
      started += v.started;
      refused += v.refused;
      EXPECT_GT(v.started, 0u) << "seed " << seed << ": " << v.what.name << " never got its turn";
      ASSERT_TRUE(v.next);
      EXPECT_LE(*v.next - now.wall, 62s) << "seed " << seed << ": " << v.what.name;
    }
    EXPECT_EQ(started, runs);
    EXPECT_EQ(refused, refusals);
    EXPECT_GT(refusals, 0u);
    EXPECT_LE(longest_idle, 9u) << "seed " << seed << ": nothing began though 'quick' was due every two seconds";
  }
}

}  // namespace
