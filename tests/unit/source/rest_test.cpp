// The rest source against servers on loopback: login, retries, failover, redirects, error texts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "core/base/log.hpp"
#include "core/source/rest.hpp"
#include "unit/http/loop.hpp"
#include "unit/http/scripted_server.hpp"

namespace {

using namespace weir;
using base::error_code;
using std::chrono::milliseconds;
using styles = config::paging::styles;
using test::answer;
using test::certificate;
using test::connection;
using test::scripted_server;
using test::seen_request;

bool const no_proxy = [] { return ::setenv("no_proxy", "*", 1) == 0; }();

constexpr auto token = "5ecre7aa-token+value";
constexpr auto password = "pass:word=5ecre7";
constexpr auto basic = "d2VpcjpwYXNzOndvcmQ9NWVjcmU3";  // weir:pass:word=5ecre7

std::string json_answer(std::string const& body, int status = 200, std::string const& headers = {}) {
  return answer(status, body, "Content-Type: application/json\r\n" + headers);
}

std::string dead_url() {
  scripted_server gone([](auto const&, connection&) {});
  return gone.url();
}

class rest : public testing::Test {
 protected:
  void SetUp() override {
    base::log::configure(base::log::level::debug, base::log::format::text, false);
    testing::internal::CaptureStderr();
  }
  // No secret in any log line, whatever the test did.
  void TearDown() override {
    source_.reset();
    loop_.run([] {});
    auto const log = log_so_far();
    for (auto const* hidden : {"5ecre7", basic}) EXPECT_EQ(log.find(hidden), std::string::npos) << log;
    testing::internal::GetCapturedStderr();
    base::log::configure(base::log::level::info, base::log::format::text, false);
  }
  std::string const& log_so_far() {
    log_ += testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
    return log_;
  }

  static config::source anonymous(std::vector<std::string> urls) {
    config::source s;
    s.name = "cmdb";
    s.type = "rest";
    s.urls = std::move(urls);
    s.request_timeout = milliseconds(10000);
    s.connect_timeout = milliseconds(5000);
    return s;
  }
  static config::source with_token(std::vector<std::string> urls) {
    auto s = anonymous(std::move(urls));
    s.token = base::secret(token);
    return s;
  }
  static config::source with_password(std::vector<std::string> urls) {
    auto s = anonymous(std::move(urls));
    s.username = "weir";
    s.password = base::secret(password);
    return s;
  }
  static config::source paged(std::vector<std::string> urls, styles style) {
    auto s = with_token(std::move(urls));
    s.paging.style = style;
    s.paging.parameter = style == styles::page ? "page" : "";
    if (style == styles::next) s.paging.items = "results", s.paging.next = "next";
    return s;
  }
  source::source& make(config::source const& settings) {
    source_.reset();
    source_ = source::make_source(loop_.io, settings);
    return *source_;
  }
  source::fetched fetch(std::string const& target) { return source_->fetch_and_wait(target, "devices"); }
  static void expect_text(std::string const& got, std::vector<std::string> const& parts) {
    for (auto const& part : parts)
      EXPECT_NE(got.find(part), std::string::npos) << "missing: " << part << "\nin: " << got;
    for (auto const* hidden : {"5ecre7", basic}) EXPECT_EQ(got.find(hidden), std::string::npos) << got;
  }

  test::loop loop_;
  std::unique_ptr<source::source> source_;
  std::string log_;
};

// ---- login and headers

TEST_F(rest, sends_the_token_below_the_address) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("{\"x\": 1}")); });
  make(with_token({server.url("/cmdb/api")}));
  auto const f = fetch("/devices?site=x");
  EXPECT_TRUE(f.ok()) << f.error.text();
  EXPECT_EQ(f.status, 200);
  EXPECT_EQ(f.body, "{\"x\": 1}");
  auto const r = server.seen().at(0);
  EXPECT_EQ(r.line, "GET /cmdb/api/devices?site=x HTTP/1.1");
  EXPECT_EQ(r.header("Authorization"), std::string("Bearer ") + token);
  EXPECT_EQ(r.header("Accept"), "application/json");
  EXPECT_EQ(source_->name(), "cmdb");
  EXPECT_EQ(source_->type(), "rest");
  EXPECT_EQ(source_->count().started, 1u);
}

TEST_F(rest, sends_the_token_as_it_is_told) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("1")); });
  auto s = with_token({server.url()});
  s.token_header = "X-Api-Key";
  s.token_prefix = "";
  s.headers = {{"accept", "application/vnd.example+json"}, {"X-Version", "2022-11-28"}};
  make(s);
  EXPECT_TRUE(fetch("/x").ok());
  auto const r = server.seen().at(0);
  EXPECT_EQ(r.header("X-Api-Key"), token);
  EXPECT_EQ(r.header("Authorization"), "");
  EXPECT_EQ(r.header("accept"), "application/vnd.example+json");
  EXPECT_EQ(r.header("Accept"), "");
  EXPECT_EQ(r.header("X-Version"), "2022-11-28");
}

TEST_F(rest, sends_a_password) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("1")); });
  make(with_password({server.url()}));
  EXPECT_TRUE(fetch("/x").ok());
  EXPECT_EQ(server.seen().at(0).header("Authorization"), std::string("Basic ") + basic);
  for (auto const& [name, word, expected] : {std::tuple{"a", "", "Basic YTo="}, std::tuple{"ab", "", "Basic YWI6"},
                                             std::tuple{"\xff\xfe", "", "Basic //46"}}) {
    auto s = with_password({server.url()});
    s.username = name;
    s.password = base::secret(word);
    make(s);
    EXPECT_TRUE(fetch("/x").ok());
    EXPECT_EQ(server.seen().back().header("Authorization"), expected);
  }
}

TEST_F(rest, nobody_needs_to_log_in_everywhere) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("1")); });
  make(anonymous({server.url()}));
  EXPECT_TRUE(fetch("/x").ok());
  EXPECT_EQ(server.seen().at(0).header("Authorization"), "");
}

TEST_F(rest, refusals_name_header_or_user) {
  scripted_server server([](auto const& r, connection& c) {
    c.write(json_answer("{\"detail\":\"Invalid token: " + r.header("Authorization") + r.header("X-Api-Key") + "\"}",
                        r.target() == "/forbidden" ? 403 : 401));
  });
  make(with_token({server.url("/api")}));
  auto f = fetch("/x");
  EXPECT_EQ(f.status, 401);
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"cmdb: GET /x at " + server.url("/api") + ": 401 Whatever (Invalid token: Bearer ***)",
                               "check the token that is sent as 'Authorization: Bearer ***'"});
  EXPECT_EQ(server.seen().size(), 1u) << "asked once";
  auto s = with_token({server.url()});
  s.token_header = "X-Api-Key";
  s.token_prefix = "";
  make(s);
  f = fetch("/forbidden");
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"403 Whatever", "sent as 'X-Api-Key: ***'", "lacks a permission"});
  make(with_password({server.url()}));
  f = fetch("/x");
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"401", "'weir'", "password"});
  make(anonymous({server.url()}));
  expect_text(fetch("/x").error.text(), {"401", "wants a login", "token_env"});
}

TEST_F(rest, a_secret_that_comes_back_is_hidden_in_logs_too) {
  std::atomic<int> count{0};
  scripted_server server([&](auto const& r, connection& c) {
    if (++count > 1) return c.write(json_answer("1"));
    c.write(answer(500, "you sent " + r.header("X-Api-Key") + " 5ecre7aa-token%2Bvalue", "Content-Type: text/plain\r\n",
                   r.header("X-Api-Key")));
  });
  auto s = with_token({server.url()});
  s.token_header = "X-Api-Key";
  s.token_prefix = "";
  make(s);
  EXPECT_TRUE(fetch("/x").ok());
  expect_text(log_so_far(), {"you sent *** ***"});
}

// ---- retries

TEST_F(rest, tries_again_what_may_pass) {
  for (int status : {429, 500, 502, 503, 504, 408}) {
    std::atomic<int> count{0};
    scripted_server server([&](auto const&, connection& c) {
      if (++count > 2) return c.write(json_answer("1"));
      c.write(json_answer("{}", status, "Retry-After: 0\r\n"));
    });
    make(with_token({server.url()}));
    EXPECT_TRUE(fetch("/x").ok()) << status;
    EXPECT_EQ(server.seen().size(), 3u) << status;
  }
}

TEST_F(rest, tries_again_in_the_middle_of_a_list) {
  std::atomic<int> count{0};
  scripted_server server([&](auto const& r, connection& c) {
    if (r.target() == "/devices?page=1") return c.write(json_answer("[1]"));
    if (r.target() == "/devices?page=3") return c.write(json_answer("[]"));
    if (++count > 2) return c.write(json_answer("[2]"));
    if (count > 1) return c.write(json_answer("{}", 403, "Retry-After: 0\r\n"));
    c.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[2,");
    c.close();
  });
  make(paged({server.url()}, styles::page));
  auto const f = fetch("/devices");
  EXPECT_EQ(f.body, "[1,2]") << f.error.text();
  EXPECT_EQ(server.seen().size(), 5u);
}

TEST_F(rest, gives_up_in_the_end) {
  scripted_server server([](auto const&, connection& c) {
    c.write(json_answer("{\"message\":\"slow down\"}", 429, "Retry-After: 0\r\n"));
  });
  make(with_token({server.url()}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.status, 429);
  EXPECT_EQ(f.error.code, error_code::unreachable);
  expect_text(f.error.text(), {"4 attempts", "429 Whatever (slow down)", "max_in_flight"});
  EXPECT_EQ(server.seen().size(), 4u);
}

TEST_F(rest, what_is_wrong_for_good_is_asked_once) {
  for (int status : {400, 404, 410, 422, 501}) {
    scripted_server server([&](auto const&, connection& c) {
      c.write(json_answer("{\"errors\":[{\"message\":\"no such thing\"}]}", status));
    });
    make(with_token({server.url()}));
    auto const f = fetch("/x");
    EXPECT_EQ(f.status, status);
    expect_text(f.error.text(), {"GET /x at " + server.url(), std::to_string(status) + " Whatever (no such thing)"});
    EXPECT_EQ(server.seen().size(), 1u) << status;
  }
}

TEST_F(rest, an_error_on_a_later_page_is_never_half_a_list) {
  scripted_server server([&](auto const& r, connection& c) {
    c.write(r.target() == "/devices?page=1" ? json_answer("[1]") : json_answer("{\"detail\":\"Invalid page.\"}", 404));
  });
  make(paged({server.url()}, styles::page));
  auto const f = fetch("/devices");
  EXPECT_FALSE(f.ok());
  EXPECT_EQ(f.body, "");
  expect_text(f.error.text(),
              {"GET /devices, page 2 at", "404 Whatever (Invalid page.)", "paging.total", "style: next"});
}

TEST_F(rest, what_the_pages_say_wrong_is_told_with_its_place) {
  scripted_server server([&](auto const&, connection& c) { c.write(json_answer("[1]")); });
  make(paged({server.url("/api")}, styles::page));
  auto const f = fetch("/devices");
  EXPECT_EQ(f.error.code, error_code::failed);
  EXPECT_EQ(f.body, "");
  expect_text(f.error.text(),
              {"cmdb: GET /devices, page 2 at " + server.url("/api") + ": the answer is a page that came before"});
}

TEST_F(rest, html_is_no_answer) {
  for (auto const* type : {"text/html", "text/plain"}) {
    scripted_server server([&](auto const&, connection& c) {
      c.write(answer(200, " \n<!DOCTYPE HTML><title>Log in</title>", std::string("Content-Type: ") + type + "\r\n"));
    });
    for (auto style : {styles::none, styles::link}) {
      make(paged({server.url()}, style));
      auto const f = fetch("/x");
      EXPECT_EQ(f.error.code, error_code::unreachable);
      expect_text(f.error.text(), {"GET /x at " + server.url() + ": the answer is HTML, not JSON", "login page"});
    }
  }
}

TEST_F(rest, other_things_than_json_are_the_stages_business) {
  scripted_server server(
      [](auto const&, connection& c) { c.write(answer(200, "name;serial\na;1\n", "Content-Type: text/csv\r\n")); });
  make(with_token({server.url()}));
  EXPECT_EQ(fetch("/devices.csv").body, "name;serial\na;1\n");
}

// ---- limits

TEST_F(rest, a_list_has_an_end) {
  scripted_server server(
      [](auto const& r, connection& c) { c.write(json_answer("[\"" + r.target() + std::string(1000, 'x') + "\"]")); });
  source_ = source::make_rest(loop_.io, paged({server.url()}, styles::page), 5000);
  auto f = fetch("/devices");
  expect_text(f.error.text(), {"GET /devices, page 5", "more than 5000 bytes", "a filter"});
  source_ = source::make_rest(loop_.io, with_token({server.url()}), 500);
  f = fetch("/devices");
  EXPECT_EQ(f.error.code, error_code::failed);
  expect_text(f.error.text(), {"GET /devices: " + server.url(), "larger than 500 bytes", "a filter"});
}

TEST_F(rest, as_many_at_once_as_are_allowed) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("1")); });
  auto s = with_token({server.url()});
  s.max_in_flight = 2;
  make(s);
  std::vector<std::promise<bool>> answers(20);
  for (auto& p : answers) source_->fetch("/x", "devices", [&p](source::fetched const& f) { p.set_value(f.ok()); });
  for (auto& p : answers) EXPECT_TRUE(p.get_future().get());
  EXPECT_LE(source_->count().peak_in_flight, 2u);
  EXPECT_LE(server.peak_connections(), 2u);
}

TEST_F(rest, targets_that_leave_the_api_are_not_sent) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("{}")); });
  make(paged({server.url()}, styles::page));
  for (auto const* target :
       {"", "devices", "http://elsewhere/", "/a/../b", "/a/%2e%2E/b", "/a b", "/a\r\nX: 1", "/a#b", "@evil/"}) {
    auto const f = fetch(target);
    EXPECT_FALSE(f.ok()) << target;
    EXPECT_EQ(f.status, 0);
  }
  EXPECT_EQ(server.seen().size(), 0u);
}

// ---- other addresses

TEST_F(rest, credentials_never_go_to_another_origin) {
  scripted_server other([](auto const&, connection& c) { c.write(json_answer("[]")); });
  scripted_server server([&](auto const& r, connection& c) {
    if (r.target().starts_with("/redirect"))
      return c.write(json_answer("", 302, "Location: " + other.url("/x") + "\r\n"));
    if (r.target().starts_with("/link"))
      return c.write(json_answer("[1]", 200, "Link: <" + other.url("/x") + ">; rel=\"next\"\r\n"));
    c.write(json_answer("{\"results\":[1],\"next\":\"" + other.url("/x?t=1") + "\"}"));
  });
  auto const refused = "is on " + other.url() + ", not on " + server.url() + ": credentials are never sent";
  make(paged({server.url()}, styles::next));
  expect_text(fetch("/devices").error.text(), {"GET /devices at", "names a next page ('next') that " + refused});
  expect_text(fetch("/redirect").error.text(), {"302: a redirect to an address that " + refused, "urls"});
  make(paged({server.url()}, styles::link));
  expect_text(fetch("/link").error.text(), {"names a next page (Link header) that " + refused});
  EXPECT_TRUE(other.seen().empty());
}

TEST_F(rest, redirects_on_the_same_origin_are_followed) {
  scripted_server server([](auto const& r, connection& c) {
    if (r.target() == "/api/devices?page=1") return c.write(json_answer("", 301, "Location: /api/devices/?page=1\r\n"));
    if (r.target() == "/api/devices/?page=1") return c.write(json_answer("", 308, "Location: /v2/devices?page=1\r\n"));
    if (r.target() == "/v2/devices?page=1") return c.write(json_answer("[1]"));
    if (r.target() == "/api/devices?page=2") return c.write(json_answer("[]"));
    if (r.target() == "/api/round?page=1") return c.write(json_answer("", 302, "Location: round?page=1\r\n"));
    c.write(json_answer("", 304));
  });
  make(paged({server.url("/api")}, styles::page));
  auto f = fetch("/devices");
  EXPECT_EQ(f.body, "[1]") << f.error.text();
  for (auto const& r : server.seen()) EXPECT_EQ(r.header("Authorization"), std::string("Bearer ") + token);
  expect_text(fetch("/round").error.text(), {"more than 5 redirects"});
  expect_text(fetch("/other").error.text(), {"304"});
}

TEST_F(rest, next_pages_elsewhere_on_the_same_server) {
  scripted_server server([&](auto const& r, connection& c) {
    if (r.target() == "/api/devices")
      return c.write(json_answer("[1]", 200, "Link: </elsewhere?c=2>; rel=next\r\nLink: </x>; rel=last\r\n"));
    if (r.target() == "/elsewhere?c=2") return c.write(json_answer("[2]", 200, "Link: <?c=3>; rel=next\r\n"));
    c.write(r.target() == "/elsewhere?c=3" ? json_answer("[3]") : json_answer("{}", 404));
  });
  make(paged({dead_url(), server.url("/api")}, styles::link));
  auto const f = fetch("/devices");
  EXPECT_EQ(f.body, "[1,2,3]") << f.error.text();
  expect_text(log_so_far(), {"going on with " + server.url("/api")});
}

TEST_F(rest, a_server_that_goes_away_in_the_middle_of_a_list) {
  auto server = std::make_unique<scripted_server>([](auto const& r, connection& c) {
    if (r.target() != "/api/devices") return c.wait_until_left();
    c.write(json_answer("[1]", 200, "Link: </elsewhere?c=2>; rel=next\r\n"));
  });
  auto const url = server->url();
  make(paged({url + "/api", dead_url()}, styles::link));
  std::promise<source::fetched> ended;
  source_->fetch("/devices", "devices", [&](source::fetched f) { ended.set_value(std::move(f)); });
  while (server->seen().size() < 2) std::this_thread::yield();  // the second page is asked for
  server.reset();
  auto const f = ended.get_future().get();
  EXPECT_FALSE(f.ok());
  EXPECT_EQ(f.body, "");
  expect_text(f.error.text(), {"cmdb: GET /devices, page 2 (4 attempts): " + url + "/api: cannot connect"});
}

TEST_F(rest, no_address_answers) {
  auto const first = dead_url(), second = dead_url();
  make(with_token({first, second}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.status, 0);
  EXPECT_EQ(f.error.code, error_code::unreachable);
  expect_text(f.error.text(), {"cmdb: GET /x (4 attempts): no address answers", first + ": cannot connect",
                               second + ": cannot connect", "is the service running there"});
}

TEST_F(rest, certificates) {
  certificate const cert("IP:127.0.0.1");
  scripted_server server([](auto const&, connection& c) { c.write(json_answer("1")); }, &cert);
  make(with_token({server.url()}));
  expect_text(fetch("/x").error.text(), {"the certificate is not trusted", "ca_file", "fingerprint"});
  EXPECT_TRUE(server.seen().empty());
  auto s = with_token({server.url()});
  s.tls.fingerprint = cert.fingerprint();
  make(s);
  EXPECT_TRUE(fetch("/x").ok());
}

// ---- check

TEST_F(rest, check_takes_any_answer_but_a_refusal) {
  int status = 200;
  std::string body = "{\"version\":\"1.4.2\"}", headers;
  scripted_server server([&](auto const&, connection& c) { c.write(json_answer(body, status, headers)); });
  auto s = paged({server.url("/api")}, styles::page);
  auto const check = [&] {
    auto const version = make(s).check();
    return version ? *version : "error: " + version.error().text();
  };
  EXPECT_EQ(check(), "1.4.2");
  EXPECT_EQ(server.seen().back().target(), "/api/") << "no page is asked for";
  s.check = "/health?deep=1";
  for (auto const* other : {"<html>hello</html>", "[1]", "", "{\"version\":4}", "{\"version\":\"\"}"}) {
    body = other;
    EXPECT_EQ(check(), "HTTP 200") << other;
  }
  EXPECT_EQ(server.seen().back().target(), "/api/health?deep=1");
  for (int fine : {204, 400, 404, 405, 304}) {
    status = fine;
    EXPECT_EQ(check(), "HTTP " + std::to_string(fine));
  }
  status = 302;
  headers = "Location: https://docs.example/\r\n";
  EXPECT_EQ(check(), "HTTP 302");
  headers = "Retry-After: 0\r\n";
  for (int bad : {401, 403, 500, 503}) {
    if (bad == 403) headers.clear();
    status = bad;
    expect_text(check(), {"error: cmdb: GET /health?deep=1 at " + server.url("/api"), std::to_string(bad)});
    if (bad == 403) headers = "Retry-After: 0\r\n";
  }
  auto const gone = make(with_token({dead_url()})).check();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, error_code::unreachable);
}

// ---- the end

TEST_F(rest, stop_and_destruction_end_what_waits) {
  scripted_server server([](auto const& r, connection& c) {
    if (r.target() == "/devices?page=1") return c.write(json_answer("[1]"));
    c.wait_until_left();
  });
  for (bool destroy : {false, true}) {
    make(paged({server.url()}, styles::page));
    std::promise<source::fetched> ended;
    auto const before = server.seen().size();
    source_->fetch("/devices", "devices", [&](source::fetched f) { ended.set_value(std::move(f)); });
    while (server.seen().size() < before + 2) std::this_thread::yield();
    if (destroy)
      source_.reset();
    else
      source_->stop();
    auto const f = ended.get_future().get();
    EXPECT_EQ(f.error.code, error_code::interrupted) << f.error.text();
    EXPECT_EQ(f.body, "");
  }
}

TEST_F(rest, without_an_address) {
  make(with_token({}));
  expect_text(fetch("/x").error.text(), {"no address is configured"});
}

}  // namespace
