#include "core/base/log.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

namespace {

namespace log = weir::base::log;

// One line as it goes to stderr, without its time. JOURNAL_STREAM is looked at once per process: tests run without it.
std::string line(log::format form, log::level level, std::string_view message,
                 std::initializer_list<log::field> fields) {
  ::unsetenv("JOURNAL_STREAM");
  log::configure(log::level::debug, form, false);
  testing::internal::CaptureStderr();
  log::write(level, message, fields);
  log::configure(log::level::info, log::format::text, false);
  auto text = testing::internal::GetCapturedStderr();
  auto const cut = [&](std::string_view before, std::string_view after) {
    auto const start = text.find(before);
    if (start == text.npos) return;
    auto const from = start + before.size(), end = text.find(after, from);
    EXPECT_EQ(end - from, std::string_view("2026-11-22T07:03:26.396Z").size()) << text;
    text.replace(from, end - from, "T");
  };
  if (form == log::format::logfmt) cut("ts=", " ");
  if (form == log::format::json) cut("\"ts\":\"", "\"");
  if (form == log::format::text) text = text.substr(std::min<std::size_t>(text.size(), 9));
  return text;
}

TEST(log, text) {
  EXPECT_EQ(line(log::format::text, log::level::info, "batch done", {{"stage", "nodes"}, {"dur_ms", "12"}}),
            "batch done stage=nodes dur_ms=12\n");
  EXPECT_EQ(line(log::format::text, log::level::warning, "slow", {{"key", "a b"}}), "warn: slow key=\"a b\"\n");
  EXPECT_EQ(line(log::format::text, log::level::error, "gone", {{"key", ""}}), "error: gone key=\"\"\n");
}

TEST(log, logfmt_quotes_what_needs_it) {
  EXPECT_EQ(line(log::format::logfmt, log::level::error, "say \"x\"",
                 {{"kind", "a=b"}, {"key", "c:\\d"}, {"stage", "plain-1"}}),
            "ts=T level=error msg=\"say \\\"x\\\"\" kind=\"a=b\" key=\"c:\\\\d\" stage=plain-1\n");
}

TEST(log, json_escapes) {
  EXPECT_EQ(line(log::format::json, log::level::debug, "two\nlines", {{"key", "\x01\"ä"}}),
            "{\"ts\":\"T\",\"level\":\"debug\",\"msg\":\"two\\nlines\",\"key\":\"\\u0001\\\"ä\"}\n");
}

TEST(log, a_value_cannot_start_a_line_of_its_own) {
  for (auto form : {log::format::text, log::format::logfmt, log::format::json}) {
    for (std::string value : {"a\nlevel=error", "a\rlevel=error", "a\x1b[31m"}) {
      auto const text = line(form, log::level::info, "m", {{"key", value}});
      EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
      EXPECT_EQ(text.find('\r'), text.npos) << text;
      EXPECT_EQ(text.find('\x1b'), text.npos) << text;
    }
    auto const message = line(form, log::level::info, "m\r\n\x1b[2Jx", {});
    // A line break in the message itself (an error's hint) stays where people read it, and only there.
    if (form != log::format::text) {
      EXPECT_EQ(message.find('\n'), message.size() - 1) << message;
    }
    EXPECT_EQ(message.find('\r'), message.npos) << message;
    EXPECT_EQ(message.find('\x1b'), message.npos) << message;
  }
}

TEST(log, below_the_minimum_nothing_is_written) {
  EXPECT_EQ(line(log::format::json, log::level::trace, "m", {}), "");
  log::configure(log::level::warning, log::format::text, false);
  EXPECT_FALSE(log::enabled(log::level::info));
  EXPECT_TRUE(log::enabled(log::level::error));
  log::configure(log::level::info, log::format::text, false);
}

TEST(log, names_are_parsed) {
  log::level l{};
  EXPECT_TRUE(log::parse_level("warning", l));
  EXPECT_EQ(l, log::level::warning);
  EXPECT_TRUE(log::parse_level("warn", l));
  EXPECT_TRUE(log::parse_level("off", l));
  EXPECT_EQ(l, log::level::off);
  EXPECT_FALSE(log::parse_level("loud", l));
  log::format f{};
  EXPECT_TRUE(log::parse_format("logfmt", f));
  EXPECT_EQ(f, log::format::logfmt);
  EXPECT_FALSE(log::parse_format("xml", f));
}

int before = 0, after = 0;
TEST(log, hooks_stand_around_each_line) {
  log::set_line_hooks([] { ++before; }, [] { ++after; });
  line(log::format::text, log::level::info, "m", {});
  line(log::format::text, log::level::trace, "not written", {});
  log::set_line_hooks(nullptr, nullptr);
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 1);
}

}  // namespace
