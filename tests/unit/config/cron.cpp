// When cron expressions start: in several time zones, over the days when their clocks change.
#include "core/config/cron.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/text.hpp"

namespace {

using std::chrono::system_clock;
using weir::config::cron;

system_clock::time_point at(std::string const& text) {
  auto const t = weir::base::parse_instant(text);
  if (!t) throw std::runtime_error("no instant: " + text);
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(t->time_since_epoch()));
}

std::string text(system_clock::time_point t) {
  return weir::base::format_instant(std::chrono::floor<std::chrono::microseconds>(t));
}

// The process's time zone, for as long as it lives.
class zone {
 public:
  explicit zone(char const* name) {
    if (char const* had = getenv("TZ")) before_ = had;
    setenv("TZ", name, 1);
    tzset();
  }
  ~zone() {
    if (before_)
      setenv("TZ", before_->c_str(), 1);
    else
      unsetenv("TZ");
    tzset();
  }
  zone(zone const&) = delete;
  zone& operator=(zone const&) = delete;

 private:
  std::optional<std::string> before_;
};

std::vector<std::string> starts(std::string_view expression, std::string const& from, std::size_t count) {
  auto const parsed = cron::parse(expression);
  if (!parsed) return {parsed.error().what};
  std::vector<std::string> out;
  auto now = at(from);
  while (out.size() < count) {
    auto const next = parsed->next(now);
    if (!next) {
      out.emplace_back("never");
      break;
    }
    EXPECT_GT(*next, now) << expression;
    out.push_back(text(*next));
    now = *next;
  }
  return out;
}

using list = std::vector<std::string>;

TEST(Cron, FieldsListsRangesSteps) {
  zone const utc("UTC0");
  struct {
    char const *expression, *from, *next;
  } const cases[] = {
      {"* * * * *", "2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z"},
      {"* * * * *", "2026-11-22T12:00:59.999Z", "2026-11-22T12:01:00Z"},
      {"15 * * * *", "2026-11-22T12:15:00Z", "2026-11-22T13:15:00Z"},
      {"15 * * * *", "2026-11-22T12:14:59Z", "2026-11-22T12:15:00Z"},
      {"*/15 * * * *", "2026-11-22T12:16:00Z", "2026-11-22T12:30:00Z"},
      {"5-59/15 * * * *", "2026-11-22T12:51:00Z", "2026-11-22T13:05:00Z"},
      {"0,30 8-18 * * *", "2026-11-22T18:30:00Z", "2026-11-23T08:00:00Z"},
      {"59 23 31 12 *", "2026-11-22T12:00:00Z", "2026-12-31T23:59:00Z"},
      {"0 0 29 2 *", "2026-11-22T12:00:00Z", "2028-02-29T00:00:00Z"},
      {"0 0 31 * *", "2026-11-01T00:00:00Z", "2026-12-31T00:00:00Z"},
      {"0 6 * * mon", "2026-11-22T12:00:00Z", "2026-11-23T06:00:00Z"},
      {"0 6 * * MON-fri", "2026-11-20T06:00:00Z", "2026-11-23T06:00:00Z"},
      {"0 6 * * 7", "2026-11-22T06:00:00Z", "2026-11-29T06:00:00Z"},
      {"0 6 * * 0", "2026-11-22T06:00:00Z", "2026-11-29T06:00:00Z"},
      {"0 6 * * sat-sun", "2026-11-22T06:00:00Z", "2026-11-28T06:00:00Z"},
      {"0 6 * * 5-7", "2026-11-28T06:00:00Z", "2026-11-29T06:00:00Z"},
      {"0 0 1 jan *", "2026-11-22T06:00:00Z", "2027-01-01T00:00:00Z"},
      {"0 0 1 Jan,jul *", "2027-01-22T06:00:00Z", "2027-07-01T00:00:00Z"},
      {"0 0 1 */5 *", "2026-11-22T06:00:00Z", "2027-01-01T00:00:00Z"},
      {"\t0  4\t* * *  ", "2026-11-22T06:00:00Z", "2026-11-23T04:00:00Z"},
      {"@hourly", "2026-11-22T06:00:00Z", "2026-11-22T07:00:00Z"},
      {"@Daily", "2026-11-22T06:00:00Z", "2026-11-23T00:00:00Z"},
      {"@midnight", "2026-11-22T06:00:00Z", "2026-11-23T00:00:00Z"},
      {"@weekly", "2026-11-23T06:00:00Z", "2026-11-29T00:00:00Z"},
      {"@monthly", "2026-11-22T06:00:00Z", "2026-12-01T00:00:00Z"},
      {"@yearly", "2026-11-22T06:00:00Z", "2027-01-01T00:00:00Z"},
      {"@annually", "2026-11-22T06:00:00Z", "2027-01-01T00:00:00Z"},
      {"0 0 1 1 *", "1969-06-01T00:00:00Z", "1970-01-01T00:00:00Z"},  // before 1970
  };
  for (auto const& c : cases) EXPECT_EQ(starts(c.expression, c.from, 1), list{c.next}) << c.expression;
}

TEST(Cron, TwoDayFields) {
  zone const utc("UTC0");
  // Both restricted: either is enough (2026-11-13 is a Friday).
  EXPECT_EQ(starts("0 0 13 * fri", "2026-11-12T00:00:00Z", 4),
            (list{"2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z"}));
  EXPECT_EQ(starts("0 0 13 * *", "2026-11-13T00:00:00Z", 1), (list{"2026-12-13T00:00:00Z"}));
  EXPECT_EQ(starts("0 0 * * fri", "2026-11-13T00:00:00Z", 1), (list{"2026-11-20T00:00:00Z"}));
  // A field that begins with * is not restricted, also with a step: both must hold.
  EXPECT_EQ(starts("0 0 */2 * fri", "2026-11-13T00:00:00Z", 2), (list{"2026-11-27T00:00:00Z", "2026-12-11T00:00:00Z"}));
  // 31 February never comes, but its Mondays do.
  EXPECT_EQ(starts("0 0 31 2 mon", "2026-11-13T00:00:00Z", 1), (list{"2027-02-01T00:00:00Z"}));
}

TEST(Cron, ImpossibleDates) {
  zone const utc("UTC0");
  for (auto const* never : {"0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 feb *"})
    EXPECT_EQ(starts(never, "2026-11-22T00:00:00Z", 1), list{"never"}) << never;
  // 29 February, seen from the longest gap between leap years within reach of five years.
  EXPECT_EQ(starts("0 0 29 2 *", "2024-02-29T00:00:00Z", 1), list{"2028-02-29T00:00:00Z"});
  EXPECT_EQ(starts("0 0 29 2 *", "2096-02-29T00:00:00Z", 1), list{"never"});  // 2100 is none
}

TEST(Cron, ZonesThatAreNotWholeHours) {
  zone const india("Asia/Kolkata");  // +05:30
  EXPECT_EQ(starts("0 2 * * *", "2026-11-22T00:00:00Z", 2), (list{"2026-11-22T20:30:00Z", "2026-11-23T20:30:00Z"}));
  EXPECT_EQ(starts("0 * * * *", "2026-11-22T00:00:00Z", 2), (list{"2026-11-22T00:30:00Z", "2026-11-22T01:30:00Z"}));
}

// 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
TEST(Cron, ClockGoesForward) {
  zone const berlin("Europe/Berlin");
  // 02:30 does not exist that day: it comes at the first minute behind the gap, once.
  EXPECT_EQ(starts("30 2 * * *", "2026-03-28T00:00:00Z", 4),
            (list{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"}));
  // What would have come several times in the gap comes once, too.
  EXPECT_EQ(starts("*/10 2 29 * *", "2026-03-28T22:00:00Z", 2), (list{"2026-03-29T01:00:00Z", "2026-04-29T00:00:00Z"}));
  // 03:00 exists and comes once, though the gap ends there.
  EXPECT_EQ(starts("0 2,3 * * *", "2026-03-28T22:00:00Z", 2), (list{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}));
  // Every hour: the one that is missing is not made up for.
  EXPECT_EQ(starts("30 * * * *", "2026-03-29T00:00:00Z", 3),
            (list{"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"}));
  EXPECT_EQ(starts("*/20 * * * *", "2026-03-29T00:40:00Z", 2), (list{"2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z"}));
  // On other days than the one it is wanted on, the gap is none of its business.
  EXPECT_EQ(starts("30 2 * * mon", "2026-03-28T22:00:00Z", 1), (list{"2026-03-30T00:30:00Z"}));
}

TEST(Cron, ClockGoesBack) {
  zone const berlin("Europe/Berlin");
  // 02:30 comes twice that day (00:30 and 01:30 UTC): the first time counts.
  EXPECT_EQ(starts("30 2 * * *", "2026-10-24T12:00:00Z", 2), (list{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}));
  // The same asked between the two: it has been.
  EXPECT_EQ(starts("30 2 * * *", "2026-10-25T01:00:00Z", 1), (list{"2026-10-26T01:30:00Z"}));
  // Every hour: both of them.
  EXPECT_EQ(starts("30 * * * *", "2026-10-24T23:45:00Z", 3),
            (list{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}));
}

TEST(Cron, OddClocks) {
  {
    zone const lord_howe("Australia/Lord_Howe");  // by half an hour: 2026-10-04, 02:00 becomes 02:30
    EXPECT_EQ(starts("15 2 * * *", "2026-10-03T10:00:00Z", 2), (list{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}));
    // 2026-04-05: 02:00 becomes 01:30.
    EXPECT_EQ(starts("45 1 * * *", "2026-04-04T10:00:00Z", 2), (list{"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}));
  }
  {
    zone const cairo("Africa/Cairo");  // 2026-04-24: midnight becomes 01:00
    EXPECT_EQ(starts("@daily", "2026-04-23T12:00:00Z", 2), (list{"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}));
  }
  {
    zone const apia("Pacific/Apia");  // it skipped 2011-12-30 as a whole
    EXPECT_EQ(starts("0 12 * * *", "2011-12-29T00:00:00Z", 2), (list{"2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z"}));
  }
}

// Minute by minute over a year with two changes: next() finds what a plain search finds, in zones of all sorts.
TEST(Cron, AgreesWithAPlainSearch) {
  for (auto const* name : {"UTC0", "Europe/Berlin", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe"}) {
    zone const here(name);
    auto const every = cron::parse("*/7 * * * *"), workdays = cron::parse("5,35 * 1-7 * mon-wed");
    ASSERT_TRUE(every && workdays);
    for (auto const* from : {"2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z", "2026-04-04T10:00:00Z"}) {
      auto const start = at(from);
      for (auto const* c : {&*every, &*workdays}) {
        auto expected = c->next(start);
        ASSERT_TRUE(expected);
        for (auto t = start + std::chrono::minutes(1); t < start + std::chrono::hours(24);
             t += std::chrono::minutes(1)) {
          auto const seconds = system_clock::to_time_t(t);
          tm m{};
          localtime_r(&seconds, &m);
          bool const by_minute = c == &*every ? m.tm_min % 7 == 0 : m.tm_min == 5 || m.tm_min == 35;
          bool const by_day = c == &*every || m.tm_mday <= 7 || (m.tm_wday >= 1 && m.tm_wday <= 3);
          if (!by_minute || !by_day) continue;
          ASSERT_EQ(text(*expected), text(t)) << name << " from " << from;
          expected = c->next(t);
        }
      }
    }
  }
}

TEST(Cron, SaysWhichFieldIsWrong) {
  struct {
    char const *expression, *what, *hint;
  } const cases[] = {
      {"", "has 0 fields, must have 5", "minute hour"},
      {"* * * *", "has 4 fields", "such as"},
      {"* * * * * *", "has 6 fields", "such as"},
      {"60 * * * *", "the minute of the cron expression '60 * * * *' must be * or values from 0 to 59, is '60'", ""},
      {"* 24 * * *", "the hour of", ""},
      {"* * 0 * *", "the day of the month of", ""},
      {"* * 32 * *", "values from 1 to 31", ""},
      {"* * * 13 *", "the month of", ""},
      {"* * * foo *", "or their English names, is 'foo'", ""},
      {"* * * * 8", "the day of the week of", ""},
      {"-1 * * * *", "is '-1'", ""},
      {"1- * * * *", "is '1-'", ""},
      {"1,,2 * * * *", "is ''", ""},
      {", * * * *", "is ''", ""},
      {"*/0 * * * *", "must have a step from 1 to 59", ""},
      {"*/x * * * *", "must have a step", ""},
      {"*/ * * * *", "must have a step", ""},
      {"*/60 * * * *", "must have a step", ""},
      {"5/15 * * * *", "must have a range or * before the step", "'5-59/15' starts there"},
      {"* 22-4 * * *", "must have ranges that go up", "'22-23,0-4' goes round the end"},
      {"* * * * fri-mon", "must have ranges that go up", ""},
      {"1.5 * * * *", "is '1.5'", ""},
      {"99999999999999999999 * * * *", "is '99999999999999999999'", ""},
      {"? * * * *", "is '?'", ""},
      {"@reboot", "unknown cron expression '@reboot'", "known: @hourly"},
      {"@dayly", "unknown cron expression", "did you mean '@daily'?"},
      {"jan * * * *", "the minute of", ""},
  };
  for (auto const& c : cases) {
    auto const parsed = cron::parse(c.expression);
    ASSERT_FALSE(parsed) << c.expression;
    EXPECT_EQ(parsed.error().code, weir::base::error_code::config);
    EXPECT_NE(parsed.error().what.find(c.what), std::string::npos) << parsed.error().what;
    EXPECT_NE(parsed.error().hint.find(c.hint), std::string::npos) << parsed.error().hint;
  }
}

}  // namespace
