#include "core/base/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "core/base/log_repeats.hpp"

namespace {

namespace log = weir::base::log;

// One line as it goes to stderr, without its time.
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
      auto const text = line(form, log::level::debug, "m", {{"key", value}});
      EXPECT_EQ(text.find('\n'), text.size() - 1) << text;
      EXPECT_EQ(text.find('\r'), text.npos) << text;
      EXPECT_EQ(text.find('\x1b'), text.npos) << text;
    }
    auto const message = line(form, log::level::debug, "m\r\n\x1b[2Jx", {});
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

std::string taken;
TEST(log, a_taker_gets_the_lines_in_place_of_stderr) {
  taken.clear();
  log::set_line_taker([](std::string&& l) { taken += l; });
  EXPECT_EQ(line(log::format::text, log::level::info, "taken", {}), "");
  line(log::format::text, log::level::trace, "not written", {});
  log::set_line_taker(nullptr);
  EXPECT_EQ(taken.substr(9), "taken\n");
  EXPECT_EQ(line(log::format::text, log::level::info, "to stderr again", {}), "to stderr again\n");
}

TEST(log, lines_bear_their_run) {
  {
    log::run_scope const of("7f3a0c1d");
    EXPECT_EQ(line(log::format::json, log::level::info, "of the run", {{"stage", "nodes"}}),
              "{\"ts\":\"T\",\"level\":\"info\",\"msg\":\"of the run\",\"run\":\"7f3a0c1d\",\"stage\":\"nodes\"}\n");
    EXPECT_EQ(line(log::format::logfmt, log::level::info, "of another", {{"run", "00000000"}}),
              "ts=T level=info msg=\"of another\" run=00000000\n");
    EXPECT_EQ(line(log::format::logfmt, log::level::info, "of none", {{"run", ""}}),
              "ts=T level=info msg=\"of none\"\n");
    EXPECT_EQ(line(log::format::text, log::level::info, "two\nlines", {{"stage", "nodes"}}),
              "two run=7f3a0c1d stage=nodes\nlines\n");
  }
  EXPECT_EQ(line(log::format::json, log::level::info, "after it", {}),
            "{\"ts\":\"T\",\"level\":\"info\",\"msg\":\"after it\"}\n");
}

TEST(log, what_was_asked_for_is_said_at_any_level) {
  testing::internal::CaptureStderr();
  log::configure(log::level::off, log::format::logfmt, false);
  log::error("not this");
  for (int i = 0; i < 20; ++i) log::always("said");
  log::configure(log::level::info, log::format::text, false);
  auto const text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find("not this"), text.npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20);
}

TEST(log, only_errors_are_coloured_and_only_where_it_is_wanted) {
  testing::internal::CaptureStderr();
  log::configure(log::level::info, log::format::text, true);
  log::info("one");
  log::warning("two");
  log::error("three");
  log::configure(log::level::info, log::format::json, true);
  log::error("four");
  log::configure(log::level::info, log::format::text, false);
  log::error("five");
  auto const text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("\x1b[31merror:\x1b[0m three\n"), text.npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\x1b'), 2) << text;
}

// ---- the journal

struct fresh_file {
  std::filesystem::path path;
  explicit fresh_file(std::string const& name)
      : path(std::filesystem::path(testing::TempDir()) / ("weir-log-" + std::to_string(::getpid())) / name) {
    std::filesystem::create_directories(path.parent_path());
  }
  ~fresh_file() { std::filesystem::remove_all(path.parent_path()); }
  std::string text(std::string const& name = "") const {
    std::ifstream in(name.empty() ? path : path.parent_path() / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST(log, the_journal_is_told_by_device_and_inode) {
  fresh_file const file("journal");
  int const fd = ::open(file.path.c_str(), O_CREAT | O_RDWR, 0600);
  struct stat is {};
  ASSERT_EQ(::fstat(fd, &is), 0);
  auto const name = std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino);
  EXPECT_TRUE(log::leads_to_journal(name.c_str(), fd));
  EXPECT_FALSE(log::leads_to_journal((name + "1").c_str(), fd));
  EXPECT_FALSE(log::leads_to_journal("", fd));
  EXPECT_FALSE(log::leads_to_journal(nullptr, fd));
  ::close(fd);
  EXPECT_FALSE(log::leads_to_journal(name.c_str(), fd));
}

TEST(log, under_the_journal_each_line_has_a_priority_and_no_time) {
  fresh_file const file("journal");
  int const own = ::dup(STDERR_FILENO), fd = ::open(file.path.c_str(), O_CREAT | O_RDWR, 0600);
  struct stat is {};
  ASSERT_EQ(::fstat(fd, &is), 0);
  ::setenv("JOURNAL_STREAM", (std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino)).c_str(), 1);
  ::dup2(fd, STDERR_FILENO);
  log::configure(log::level::debug, log::format::text, false);
  log::error("gone\n  hint: wait");
  log::warning("slow");
  log::info("fine", {{"stage", "nodes"}});
  log::debug("small");
  ::dup2(own, STDERR_FILENO);
  log::configure(log::level::info, log::format::text, false);  // stderr is not the journal any more
  testing::internal::CaptureStderr();
  log::info("with a time");
  auto const after = testing::internal::GetCapturedStderr();
  ::unsetenv("JOURNAL_STREAM");
  ::close(fd);
  ::close(own);
  EXPECT_EQ(file.text(), "<3>error: gone\n<3>  hint: wait\n<4>warn: slow\n<6>fine stage=nodes\n<7>debug: small\n");
  EXPECT_EQ(after.find('<'), after.npos) << after;
}

// ---- the file

log::settings into(fresh_file const& file) {
  log::settings out;
  out.form = log::format::logfmt;
  out.file = file.path.string();
  return out;
}
void no_file() { ASSERT_TRUE(log::configure(log::settings{})); }

TEST(log, the_file_gets_the_lines_and_is_its_owners_alone) {
  fresh_file const file("weir.log");
  auto wanted = into(file);
  wanted.first_line = "begins";
  ASSERT_TRUE(log::configure(wanted));
  testing::internal::CaptureStderr();
  log::info("in both");
  log::to_file(log::level::info, "in the file");
  auto const shown = testing::internal::GetCapturedStderr();
  no_file();
  log::to_file(log::level::info, "in none");
  auto const text = file.text();
  EXPECT_NE(text.find("msg=\"begins\"\n"), text.npos) << text;
  EXPECT_NE(text.find("msg=\"in both\"\n"), text.npos) << text;
  EXPECT_NE(text.find("msg=\"in the file\"\n"), text.npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_EQ(shown.find("in the file"), shown.npos);
  EXPECT_EQ(std::filesystem::status(file.path).permissions(), std::filesystem::perms(0600));
}

TEST(log, a_text_file_has_the_day_too) {
  fresh_file const file("weir.log");
  auto wanted = into(file);
  wanted.form = log::format::text;
  ASSERT_TRUE(log::configure(wanted));
  log::to_file(log::level::warning, "slow");
  no_file();
  auto const text = file.text();
  EXPECT_EQ(text.substr(std::string_view("2026-11-22T07:03:26.396Z").size()), " warn: slow\n");
}

TEST(log, the_file_is_rotated) {
  fresh_file const file("weir.log");
  auto wanted = into(file);
  wanted.max_mib = 1;
  wanted.keep = 2;
  ASSERT_TRUE(log::configure(wanted));
  std::string const kib(1024, 'x');
  for (int i = 0; i < 4000; ++i) log::to_file(log::level::info, std::to_string(i) + kib);
  no_file();
  auto const folder = file.path.parent_path();
  for (auto const* name : {"weir.log", "weir.1.log", "weir.2.log"}) {
    EXPECT_LE(std::filesystem::file_size(folder / name), 1u << 20) << name;
    EXPECT_EQ(std::filesystem::status(folder / name).permissions(), std::filesystem::perms(0600)) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "weir.3.log"));
  EXPECT_NE(file.text().find("\"3999x"), std::string::npos);
  EXPECT_NE(file.text("weir.1.log").find("\"2999x"), std::string::npos);
}

TEST(log, a_file_that_cannot_be_written_is_an_error_at_once) {
  fresh_file const file("weir.log");
  auto wanted = into(file);
  auto const refused = [&](std::filesystem::path const& path) {
    wanted.file = path.string();
    auto const ok = log::configure(wanted);
    EXPECT_FALSE(ok) << path;
    if (!ok) {
      EXPECT_EQ(ok.error().code, weir::base::error_code::config);
      EXPECT_NE(ok.error().what.find(path.string()), std::string::npos) << ok.error().what;
      EXPECT_FALSE(ok.error().hint.empty());
    }
  };
  refused(file.path.parent_path());               // a folder
  refused(file.path.parent_path() / "no" / "x");  // in none
  refused("/dev/full");
  testing::internal::CaptureStderr();
  log::info("still here");
  EXPECT_NE(testing::internal::GetCapturedStderr().find("still here"), std::string::npos);
  no_file();
}

TEST(log, a_file_that_fails_later_costs_its_lines_only) {
  fresh_file const file("weir.log");
  auto wanted = into(file);
  ASSERT_TRUE(log::configure(wanted));
  log::to_file(log::level::info, "before");
  rlimit own{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &own), 0);
  auto const handler = ::signal(SIGXFSZ, SIG_IGN);
  auto small = own;
  small.rlim_cur = std::filesystem::file_size(file.path);  // as full as a disk can be
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  taken.clear();  // stderr may be a file as well, which cannot grow either
  log::set_line_taker([](std::string&& l) { taken += l; });
  for (int i = 0; i < 3; ++i) log::to_file(log::level::info, "lost");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &own), 0);
  log::set_line_taker(nullptr);
  auto const shown = taken;
  ::signal(SIGXFSZ, handler);
  no_file();
  EXPECT_NE(shown.find("cannot be written any more"), std::string::npos) << shown;
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 1) << "once: " << shown;
}

// ---- repeated messages

using namespace std::chrono_literals;

TEST(log_repeats, a_few_are_shown_and_the_rest_is_counted) {
  log::repeats r;
  log::repeats::time const start{1h};
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(r.admit(start + i * 100ms, 3, "slow"), i < log::repeats::shown) << i;
  EXPECT_TRUE(r.admit(start + 2s, 3, "another message"));
  EXPECT_TRUE(r.admit(start + 2s, 4, "slow")) << "another level is another message";
  EXPECT_TRUE(r.due(start + 9999ms).empty()) << "the window is not over";
  auto const said = r.due(start + 10s);
  ASSERT_EQ(said.size(), 1u) << "those that were all shown need no summary";
  EXPECT_EQ(said[0].message, "slow");
  EXPECT_EQ(said[0].level, 3);
  EXPECT_EQ(said[0].times, 20 - log::repeats::shown);
  EXPECT_TRUE(r.due(start + 30s).empty()) << "said once";
  EXPECT_TRUE(r.admit(start + 30s, 3, "slow")) << "a new window";
}

TEST(log_repeats, windows_begin_with_their_own_message) {
  log::repeats r;
  log::repeats::time const start{1h};
  for (int i = 0; i < 7; ++i) r.admit(start, 2, "a");
  for (int i = 0; i < 8; ++i) r.admit(start + 4s, 2, "b");
  auto first = r.due(start + 10s);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].message, "a");
  EXPECT_EQ(first[0].times, 2u);
  auto second = r.due(start + 14s);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].times, 3u);
}

TEST(log_repeats, what_is_remembered_is_bounded) {
  log::repeats r;
  log::repeats::time const now{1h};
  for (std::size_t i = 0; i < 2 * log::repeats::remembered; ++i)
    for (std::size_t n = 0; n < log::repeats::shown; ++n) EXPECT_TRUE(r.admit(now, 2, std::to_string(i)));
  EXPECT_FALSE(r.admit(now, 2, "0"));
  EXPECT_TRUE(r.admit(now, 2, std::to_string(2 * log::repeats::remembered - 1))) << "unwatched, but not lost";
  EXPECT_EQ(r.all().size(), 1u);
  EXPECT_TRUE(r.all().empty());
}

TEST(log_repeats, the_log_counts_what_is_said_again) {
  testing::internal::CaptureStderr();
  log::configure(log::level::debug, log::format::logfmt, false);
  for (int i = 0; i < 12; ++i) log::warning("the same again", {{"key", std::to_string(i)}});
  for (int i = 0; i < 12; ++i) log::debug("who asks for detail gets it");
  log::configure(log::level::info, log::format::text, false);
  auto const text = testing::internal::GetCapturedStderr();
  auto const times = [&](std::string_view what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(times("the same again"), log::repeats::shown);
  EXPECT_EQ(times("who asks"), 12u);
}

}  // namespace
