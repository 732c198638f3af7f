#include "core/base/text.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

namespace {

using namespace weir::base;
using namespace std::chrono;

TEST(text, edit_distance_counts_insertions_deletions_and_replacements) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("agressive", "aggressive"), 1u);
  EXPECT_EQ(edit_distance("ab", "ba"), 2u);
}

TEST(text, nearest_is_near_enough_or_nothing) {
  std::vector<std::string> const known = {"url", "token_env", "tls_verify"};
  EXPECT_EQ(nearest("tls_verfy", known), "tls_verify");
  EXPECT_EQ(nearest("urls", known), "url");
  EXPECT_EQ(nearest("colour", known), std::nullopt);
  EXPECT_EQ(nearest("x", {}), std::nullopt);
}

TEST(text, join) {
  EXPECT_EQ(join({}), "");
  EXPECT_EQ(join({"a"}), "a");
  EXPECT_EQ(join({"a", "b"}, " or "), "a or b");
  EXPECT_EQ(join({"", "b"}), ", b");
}

TEST(text, shorten_cuts_between_characters) {
  EXPECT_EQ(shorten("abc", 3), "abc");
  EXPECT_EQ(shorten("abcd", 3), "abc…");
  EXPECT_EQ(shorten("äöü", 4), "äö…");
  EXPECT_EQ(shorten("äöü", 3), "ä…");
  EXPECT_EQ(shorten("ä", 1), "…");
  EXPECT_EQ(shorten("a€b", 3), "a…");  // three bytes
  EXPECT_EQ(shorten("😀x", 4), "😀…");   // four
  EXPECT_EQ(shorten("😀x", 3), "…");
  EXPECT_EQ(shorten("a\nb\tc\x7f", 10), "a b c ");
  EXPECT_EQ(shorten("\x80\x80\x80", 2), "…");  // no lead byte to stop at
}

TEST(text, slug) {
  EXPECT_EQ(slug("Prod / Web_01"), "prod-web_01");
  EXPECT_EQ(slug("--a--"), "a");
  EXPECT_EQ(slug("Müller"), "m-ller");
  EXPECT_EQ(slug(""), "x");
  EXPECT_EQ(slug("…"), "x");
}

TEST(text, lower_and_url_encode) {
  EXPECT_EQ(lower("AbZ-Ä"), "abz-Ä");
  EXPECT_EQ(url_encode("a b/ä~-._"), "a%20b%2F%C3%A4~-._");
}

TEST(instant, reads_offsets_and_fractions) {
  auto const expected = sys_days(2026y / 11 / 22) + 7h + 3min + 26s;
  for (auto const* text : {"2026-11-22T07:03:26Z", "2026-11-22t07:03:26z", "2026-11-22 07:03:26+00:00",
                           "2026-11-22T09:03:26+02:00", "2026-11-21T22:33:26-08:30", "2026-11-22T07:03:26.0Z"}) {
    ASSERT_TRUE(parse_instant(text)) << text;
    EXPECT_EQ(*parse_instant(text), expected) << text;
  }
  EXPECT_EQ(*parse_instant("2026-11-22T07:03:26.396558+00:00"), expected + 396558us);
  EXPECT_EQ(*parse_instant("2026-11-22T07:03:26.3965589Z"), expected + 396558us);  // what NetBox cannot hold is cut
  EXPECT_EQ(*parse_instant("2026-11-22T07:03:26.5Z"), expected + 500ms);
}

TEST(instant, refuses_what_is_none) {
  for (auto const* text :
       {"", "2026-11-22", "2026-11-22T07:03:26", "2026-13-22T07:03:26Z", "2026-02-29T07:03:26Z", "2026-11-22T24:03:26Z",
        "2026-11-22T07:60:26Z", "2026-11-22T07:03:61Z", "2026-11-22T07:03:26.Z", "2026-11-22T07:03:26+0200",
        "2026-11-22T07:03:26+02:60", "2026-11-22T07:03:26Zx", "26-11-22T07:03:26Z", "2026-11-22T07:03:26+25:00"})
    EXPECT_FALSE(parse_instant(text)) << text;
}

TEST(instant, round_trips) {
  for (auto const* text :
       {"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2024-02-29T12:00:00Z", "2026-11-22T07:03:26.396558Z",
        "1969-12-31T23:59:59.000001Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"}) {
    ASSERT_TRUE(parse_instant(text)) << text;
    EXPECT_EQ(format_instant(*parse_instant(text)), text);
  }
  EXPECT_EQ(format_instant(*parse_instant("2026-11-22T07:03:26.500+01:00")), "2026-11-22T06:03:26.500000Z");
}

TEST(instant, with_milliseconds_in_any_case) {
  auto const whole = *parse_instant("2026-11-22T07:03:26Z");
  EXPECT_EQ(format_instant_ms(system_clock::time_point(whole)), "2026-11-22T07:03:26.000Z");
  EXPECT_EQ(format_instant_ms(system_clock::time_point(whole + 7999us)), "2026-11-22T07:03:26.007Z");
  EXPECT_EQ(format_instant_ms(system_clock::time_point(whole - 1ms)), "2026-11-22T07:03:25.999Z");
}

TEST(write_all, writes_more_than_a_pipe_takes_at_once) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  std::string const sent(1'000'000, 'x');
  std::string got;
  std::thread reader([&] {
    char buffer[4096];
    pollfd waits{ends[0], POLLIN, 0};
    while (got.size() < sent.size() && ::poll(&waits, 1, 10'000) == 1) {
      auto const n = ::read(ends[0], buffer, sizeof buffer);
      if (n > 0) got.append(buffer, static_cast<std::size_t>(n));
    }
  });
  EXPECT_EQ(write_all(ends[1], sent), 0);
  reader.join();
  EXPECT_EQ(got, sent);
  ::close(ends[0]);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(write_all(ends[1], "nobody reads"), EPIPE);
  ::close(ends[1]);
}

}  // namespace
