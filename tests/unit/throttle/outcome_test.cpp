// The outcome table, against what a real NetBox 4.7.3 (gunicorn, nginx in front for some) has sent: exchanges.json.
#include "core/throttle/outcome.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using namespace weir::throttle;
using std::chrono::milliseconds;
using std::chrono::seconds;

observation answered(int status, std::string_view body = {}) {
  observation o;
  o.status = status;
  o.request_sent = o.reply_started = true;
  o.body = body;
  return o;
}

TEST(classify, what_a_real_netbox_has_sent) {
  std::ifstream in(WEIR_SOURCE_DIR "/tests/unit/throttle/exchanges.json");
  auto const exchanges = nlohmann::json::parse(in);
  ASSERT_GE(exchanges.size(), 49u);
  std::map<std::string, int> seen;
  for (auto const& e : exchanges) {
    auto const body = e.at("body").get<std::string>();
    auto const got = name(classify(answered(e.at("status"), body)));
    EXPECT_EQ(got, e.at("outcome").get<std::string>()) << e.at("name");
    ++seen[std::string(got)];
  }
  for (auto const* o :
       {"ok", "overload", "unknown", "unreachable", "lost_race", "too_large", "server_fault", "data", "credentials"})
    EXPECT_GE(seen[o], 1) << o;
}

TEST(classify, by_status_where_the_body_says_nothing) {
  for (auto const& [status, expected] : std::vector<std::pair<int, outcome>>{
           {200, outcome::ok},           {201, outcome::ok},           {204, outcome::ok},
           {301, outcome::data},         {302, outcome::data},         {400, outcome::data},
           {401, outcome::credentials},  {403, outcome::credentials},  {404, outcome::data},
           {405, outcome::data},         {408, outcome::overload},     {409, outcome::data},
           {412, outcome::data},         {413, outcome::too_large},    {414, outcome::too_large},
           {415, outcome::data},         {422, outcome::data},         {429, outcome::overload},
           {500, outcome::server_fault}, {501, outcome::server_fault}, {502, outcome::unknown},
           {503, outcome::unreachable},  {504, outcome::unknown},      {507, outcome::server_fault},
           {522, outcome::unknown},      {524, outcome::unknown}})
    EXPECT_EQ(classify(answered(status)), expected) << status;
}

TEST(classify, a_503_means_what_its_body_and_headers_say) {
  auto o = answered(503, R"({"detail":"Unable to process request: RQ worker process not running."})");
  EXPECT_EQ(classify(o), outcome::data);
  EXPECT_EQ(classify(answered(503, R"({"error":"x","exception":"OperationalError"})")), outcome::overload);
  EXPECT_EQ(classify(answered(503, R"({"detail":"something else"})")), outcome::server_fault);
  auto with_wait = answered(503, "<html>busy</html>");
  EXPECT_EQ(classify(with_wait), outcome::unreachable);
  with_wait.has_retry_after = true;
  EXPECT_EQ(classify(with_wait), outcome::overload);
}

TEST(classify, other_exceptions_are_server_faults) {
  EXPECT_EQ(classify(answered(500, R"({"error":"x","exception":"AttributeError"})")), outcome::server_fault);
  EXPECT_EQ(classify(answered(500, R"({"error":"OperationalError","exception":"ValueError"})")), outcome::server_fault);
}

TEST(classify, bodies_that_are_not_what_they_seem) {
  for (std::string_view body : {"", "{", "[]", "{\"exception\":", "{\"exception\":7}", "{\"exception\":null}", "null",
                                "\xff\xfe{", "{}", "{\"exception\":{\"exception\":\"OperationalError\"}}"})
    EXPECT_EQ(classify(answered(500, body)), outcome::server_fault) << body;
  std::string const deep(100000, '[');
  EXPECT_EQ(classify(answered(500, deep)), outcome::server_fault);
  EXPECT_EQ(classify(answered(500, "{\"a\":" + std::string(60000, '['))), outcome::server_fault);
  EXPECT_EQ(
      classify(answered(500, "{\"exception\":\"OperationalError\",\"error\":\"" + std::string(70000, 'x') + "\"}")),
      outcome::server_fault)
      << "no error message of NetBox is that long";
  EXPECT_EQ(classify(answered(500, " \r\n{\"exception\":\"OperationalError\"}")), outcome::overload);
}

TEST(classify, exchanges_without_an_answer) {
  observation never_sent;
  EXPECT_EQ(classify(never_sent), outcome::unreachable);
  never_sent.timed_out = true;
  EXPECT_EQ(classify(never_sent), outcome::unreachable);
  never_sent.connection_reused = never_sent.cut = true;
  EXPECT_EQ(classify(never_sent), outcome::unreachable);

  observation sent;
  sent.request_sent = true;
  auto late = sent;
  late.timed_out = true;
  EXPECT_EQ(classify(late), outcome::unknown);
  auto cut = sent;
  cut.cut = true;
  EXPECT_EQ(classify(cut), outcome::unknown);
  auto stale = cut;
  stale.connection_reused = true;
  EXPECT_EQ(classify(stale), outcome::stale);
  auto reused_and_late = late;
  reused_and_late.connection_reused = true;
  EXPECT_EQ(classify(reused_and_late), outcome::unknown);
  auto begun = stale;
  begun.reply_started = true;
  EXPECT_EQ(classify(begun), outcome::unknown);

  auto stopped = sent;
  stopped.cancelled = true;
  EXPECT_EQ(classify(stopped), outcome::cancelled);
}

TEST(classify, an_answer_that_is_not_whole) {
  auto created = answered(201, "[{\"id\":");
  created.cut = true;
  EXPECT_EQ(classify(created), outcome::unknown);
  auto failed = answered(500, R"({"exception":"OperationalError"})");
  failed.cut = true;
  EXPECT_EQ(classify(failed), outcome::unknown);
  failed.cut = false;
  failed.timed_out = true;
  EXPECT_EQ(classify(failed), outcome::unknown);
  auto refused = answered(403, "{\"det");
  refused.cut = true;
  EXPECT_EQ(classify(refused), outcome::credentials) << "the status is known, and nothing was committed";
}

TEST(classify, a_page_is_no_answer_to_a_write) {
  auto page = answered(200, "<html><title>Sign in</title></html>");
  page.content_type = "text/html; charset=utf-8";
  EXPECT_EQ(classify(page), outcome::ok) << "a read, which finds that it is no JSON";
  for (auto const verb : {method::post, method::patch, method::put, method::del}) {
    page.verb = verb;
    EXPECT_EQ(classify(page), outcome::unknown);
  }
  auto written = answered(200, "[]");
  written.verb = method::patch;
  written.content_type = "application/json";
  EXPECT_EQ(classify(written), outcome::ok);
}

TEST(may_repeat, only_where_nothing_was_committed_or_twice_is_as_once) {
  auto const all = {outcome::ok,          outcome::overload,  outcome::unknown,     outcome::stale,
                    outcome::unreachable, outcome::lost_race, outcome::too_large,   outcome::data,
                    outcome::credentials, outcome::cancelled, outcome::server_fault};
  for (auto verb : {method::get, method::post, method::patch, method::put, method::del})
    for (auto o : all) {
      bool const committed_perhaps = o == outcome::unknown || o == outcome::stale;
      bool const nothing_committed = o == outcome::overload || o == outcome::unreachable || o == outcome::server_fault;
      EXPECT_EQ(may_repeat(verb, o), nothing_committed || (committed_perhaps && verb != method::post))
          << name(verb) << ' ' << name(o);
    }
}

TEST(retry_after, seconds) {
  auto const now = std::chrono::system_clock::now();
  EXPECT_EQ(retry_after("7", now), milliseconds(7000));
  EXPECT_EQ(retry_after(" 0 ", now), milliseconds(0));
  EXPECT_EQ(retry_after("120", now), milliseconds(120000));
  EXPECT_EQ(retry_after("121", now), milliseconds(120000));
  EXPECT_EQ(retry_after("99999999999999999999999999", now), milliseconds(120000));
  for (auto const* text : {"", " ", "-1", "1.5", "soon", "1 2", "+3", "0x10"})
    EXPECT_FALSE(retry_after(text, now)) << text;
}

TEST(retry_after, date) {
  using namespace std::chrono;
  auto const now = system_clock::time_point(sys_days(year{1994} / 11 / 6) + hours(8) + minutes(49) + milliseconds(500));
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), milliseconds(37000));
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:48:00 GMT", now), milliseconds(0));
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 09:49:37 GMT", now), milliseconds(120000));
  EXPECT_EQ(retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now), milliseconds(120000));
  EXPECT_EQ(retry_after("Sat, 01 Jan 0001 00:00:00 GMT", now), milliseconds(0));
  for (auto const* text :
       {"Sun, 06 Nov 1994 08:49:37 CET", "Sun, 36 Nov 1994 08:49:37 GMT", "Sun, 06 Xxx 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 28:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT and more", "Sunday, 06-Nov-94 08:49:37 GMT"})
    EXPECT_FALSE(retry_after(text, now)) << text;
}

}  // namespace
