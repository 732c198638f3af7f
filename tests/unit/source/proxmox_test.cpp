// The Proxmox VE source against servers on loopback that answer as Proxmox VE does, or do not.
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/base/log.hpp"
#include "core/source/source.hpp"
#include "unit/http/loop.hpp"
#include "unit/http/scripted_server.hpp"

namespace {

using namespace weir;
using base::error_code;
using std::chrono::milliseconds;
using test::answer;
using test::certificate;
using test::connection;
using test::scripted_server;
using test::seen_request;

bool const no_proxy = [] { return ::setenv("no_proxy", "*", 1) == 0; }();

constexpr auto token_secret = "5ecre7aa-0000-1111-2222-333344445555";
constexpr auto password = "pass&word=5ecre7";

std::string json_answer(int status, std::string const& body, std::string const& reason = "OK") {
  return answer(status, body, "Content-Type: application/json;charset=UTF-8\r\n", reason);
}

// A port of loopback on which nobody listens.
std::string dead_url() {
  scripted_server gone([](auto const&, connection&) {});
  return gone.url();
}

class proxmox : public testing::Test {
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
    for (auto const* hidden : {"5ecre7", "TICKET"}) EXPECT_EQ(log.find(hidden), std::string::npos) << log;
    testing::internal::GetCapturedStderr();
    base::log::configure(base::log::level::info, base::log::format::text, false);
  }
  std::string const& log_so_far() {
    log_ += testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
    return log_;
  }

  static config::source with_token(std::vector<std::string> urls) {
    config::source s;
    s.name = "pve-a";
    s.type = "proxmox";
    s.urls = std::move(urls);
    s.token_id = "sync@pve!weir";
    s.token = base::secret(token_secret);
    s.request_timeout = milliseconds(10000);
    s.connect_timeout = milliseconds(5000);
    return s;
  }
  static config::source with_password(std::vector<std::string> urls) {
    auto s = with_token(std::move(urls));
    s.token_id.clear();
    s.token = base::secret();
    s.username = "sync@pve";
    s.password = base::secret(password);
    return s;
  }
  source::source& make(config::source const& s) {
    source_ = source::make_proxmox(loop_.io, s);
    return *source_;
  }
  source::fetched fetch(std::string const& target) {
    auto f = source_->fetch_and_wait(target, "nodes");
    EXPECT_EQ(f.error.text().find("5ecre7"), std::string::npos) << f.error.text();
    EXPECT_EQ(f.error.text().find("TICKET"), std::string::npos) << f.error.text();
    return f;
  }

  test::loop loop_;
  std::unique_ptr<source::source> source_;
  std::string log_;
};

void expect_text(std::string const& text, std::vector<std::string> const& parts) {
  for (auto const& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in: " << text;
}

TEST_F(proxmox, sends_the_token_below_api2_json) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer(200, R"({"data":[]})")); });
  for (auto const& url : {server.url(), server.url("/"), server.url("/api2/json/")}) {
    make(with_token({url}));
    auto const f = fetch("/cluster/resources?type=vm");
    EXPECT_TRUE(f.ok()) << f.error.text();
    EXPECT_EQ(f.status, 200);
    EXPECT_EQ(f.body, R"({"data":[]})");
  }
  ASSERT_EQ(server.seen().size(), 3u);
  for (auto const& r : server.seen()) {
    EXPECT_EQ(r.line, "GET /api2/json/cluster/resources?type=vm HTTP/1.1");
    EXPECT_EQ(r.header("Authorization"), std::string("PVEAPIToken=sync@pve!weir=") + token_secret);
    EXPECT_EQ(r.header("Cookie"), "");
  }
  EXPECT_EQ(source_->name(), "pve-a");
  EXPECT_EQ(source_->type(), "proxmox");
  EXPECT_EQ(source_->count().started, 1u);
}

TEST_F(proxmox, check_learns_the_version) {
  scripted_server server([](auto const&, connection& c) {
    c.write(json_answer(200, R"({"data":{"version":"8.4.1","release":"8.4","repoid":"x"}})"));
  });
  auto const version = make(with_token({server.url()})).check();
  ASSERT_TRUE(version.has_value()) << version.error().text();
  EXPECT_EQ(*version, "8.4.1");
  EXPECT_EQ(server.seen()[0].target(), "/api2/json/version");
}

TEST_F(proxmox, check_knows_what_is_no_proxmox) {
  for (auto const* body : {"{}", "[]", "{\"data\":[]}", "{\"data\":{\"version\":8}}", "{\"data\":{\"vers", "",
                           "<!doctype html><p>hello"}) {
    scripted_server server([&](auto const&, connection& c) { c.write(json_answer(200, body)); });
    auto const version = make(with_token({server.url()})).check();
    ASSERT_FALSE(version.has_value()) << body;
    EXPECT_EQ(version.error().code, error_code::unreachable) << body;
    expect_text(version.error().text(), {"pve-a", "/version", "port 8006"});
  }
}

TEST_F(proxmox, a_bad_token) {
  scripted_server server([](auto const&, connection& c) {
    c.write(json_answer(401, R"({"data":null})", "no such token 'weir' for user 'sync@pve'"));
  });
  make(with_token({server.url()}));
  auto const f = fetch("/version");
  EXPECT_EQ(f.status, 401);
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(),
              {"pve-a: GET /version at " + server.url(), "401 no such token 'weir'", "token_id 'sync@pve!weir'"});
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST_F(proxmox, a_missing_privilege_is_named) {
  scripted_server server([](auto const&, connection& c) {
    c.write(json_answer(403, R"({"data":null})", "Permission check failed (/nodes/pve1, Sys.Audit)"));
  });
  make(with_token({server.url()}));
  auto const f = fetch("/nodes/pve1/status");
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"403 Permission check failed",
                               "grant sync@pve!weir the privilege Sys.Audit on /nodes/pve1", "permissions of its own"});
  scripted_server vague([](auto const&, connection& c) { c.write(json_answer(403, "", "Forbidden")); });
  make(with_token({vague.url()}));
  expect_text(fetch("/x").error.text(), {"403 Forbidden", "PVEAuditor"});
}

TEST_F(proxmox, its_errors_are_answers_and_not_asked_for_again) {
  for (int status : {400, 404, 500, 501, 595}) {
    scripted_server server([&](auto const&, connection& c) {
      c.write(json_answer(status, R"({"data":null})", "storage 'nfs' is not online"));
    });
    make(with_token({server.url()}));
    auto const f = fetch("/nodes/pve1/storage/nfs/content");
    EXPECT_EQ(f.status, status);
    EXPECT_EQ(f.error.code, error_code::failed);
    expect_text(f.error.text(),
                {"GET /nodes/pve1/storage/nfs/content", std::to_string(status) + " storage 'nfs' is not online"});
    EXPECT_EQ(server.seen().size(), 1u) << status;
  }
}

TEST_F(proxmox, its_proxy_between_nodes_is_asked_once_more) {
  for (int status : {596, 599}) {
    scripted_server server(
        [&](auto const&, connection& c) { c.write(json_answer(status, "", "Connection timed out")); });
    make(with_token({server.url()}));
    auto const f = fetch("/nodes/pve2/qemu");
    EXPECT_EQ(f.status, status);
    expect_text(f.error.text(), {"2 attempts", "Connection timed out", "cannot be reached from"});
    EXPECT_EQ(server.seen().size(), 2u);
  }
}

TEST_F(proxmox, what_the_body_says_is_told) {
  scripted_server server([](auto const&, connection& c) {
    c.write(json_answer(400, R"({"errors":{"type":"value 'x' does not have a value in the enumeration"},"data":null})",
                        "Parameter verification failed."));
  });
  make(with_token({server.url()}));
  expect_text(fetch("/cluster/resources?type=x").error.text(),
              {"Parameter verification failed.", "type: value 'x' does not have"});
}

TEST_F(proxmox, an_answer_that_echoes_the_token_is_cleaned) {
  scripted_server server([](seen_request const& r, connection& c) {
    c.write(json_answer(500, "{\"message\":\"you sent " + r.header("Authorization") + "\"}",
                        "got " + r.header("Authorization")));
  });
  make(with_token({server.url()}));
  expect_text(fetch("/x").error.text(), {"sync@pve!weir=***"});
}

TEST_F(proxmox, a_cut_answer_is_asked_for_again) {
  int count = 0;
  scripted_server server([&](auto const&, connection& c) {
    if (count++ > 0) return c.write(json_answer(200, "{\"data\":1}"));
    c.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\"");
    c.close();
  });
  make(with_token({server.url()}));
  auto const f = fetch("/x");
  EXPECT_TRUE(f.ok()) << f.error.text();
  EXPECT_EQ(server.seen().size(), 2u);
}

TEST_F(proxmox, an_answer_that_is_always_cut) {
  scripted_server server([&](auto const&, connection& c) {
    c.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\"");
    c.close();
  });
  make(with_token({server.url()}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.error.code, error_code::unreachable);
  EXPECT_TRUE(f.body.empty());
  expect_text(f.error.text(), {"3 attempts", server.url(), "before the answer was whole"});
  EXPECT_EQ(server.seen().size(), 3u);
}

TEST_F(proxmox, targets_that_leave_the_api_are_not_sent) {
  scripted_server server([](auto const&, connection& c) { c.write(json_answer(200, "{}")); });
  make(with_token({server.url()}));
  for (auto const* target : {"", "version", "http://elsewhere/", "/a/../b", "/..", "/a/%2e%2E/b", "/a b", "/a\r\nX: 1",
                             "/a\tb", "/a#b", "/a\\b", "/\xc3\xa4", "@evil/"}) {
    auto const f = fetch(target);
    EXPECT_FALSE(f.ok()) << target;
    EXPECT_EQ(f.status, 0);
    EXPECT_EQ(f.error.what.find('\n'), std::string::npos);
  }
  EXPECT_EQ(server.seen().size(), 0u);
  EXPECT_TRUE(fetch("/nodes/a.b/x?y=..%2F").ok());
}

TEST_F(proxmox, moves_on_to_the_next_address_and_stays_there) {
  scripted_server second([](auto const&, connection& c) { c.write(json_answer(200, "{\"data\":2}")); });
  auto const first = dead_url();
  make(with_token({first, second.url()}));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fetch("/x").body, "{\"data\":2}");
  EXPECT_EQ(second.seen().size(), 3u);
  auto const& log = log_so_far();
  expect_text(log, {"pve-a: " + first + ": cannot connect", "going on with " + second.url()});
  EXPECT_EQ(log.find("going on"), log.rfind("going on")) << "told once: " << log;
  EXPECT_EQ(source_->count().retried, 0u);
}

TEST_F(proxmox, comes_back_to_the_first_when_the_second_is_gone) {
  scripted_server first([](auto const&, connection& c) {
    c.write(answer(200, "{\"data\":1}", "Connection: close\r\n"));
    c.close();
  });
  auto second = std::make_unique<scripted_server>([](auto const&, connection& c) {
    c.write(answer(200, "{\"data\":2}", "Connection: close\r\n"));
    c.close();
  });
  make(with_token({dead_url(), second->url(), first.url()}));
  EXPECT_EQ(fetch("/x").body, "{\"data\":2}");
  second.reset();
  EXPECT_EQ(fetch("/x").body, "{\"data\":1}");
}

TEST_F(proxmox, an_error_of_proxmox_is_no_reason_to_move_on) {
  scripted_server first([](auto const&, connection& c) { c.write(json_answer(500, "", "no such node")); });
  scripted_server second([](auto const&, connection& c) { c.write(json_answer(200, "{}")); });
  make(with_token({first.url(), second.url()}));
  EXPECT_EQ(fetch("/x").status, 500);
  EXPECT_TRUE(second.seen().empty());
}

TEST_F(proxmox, no_address_answers) {
  auto const first = dead_url(), second = dead_url();
  make(with_token({first, second}));
  auto const f = fetch("/cluster/status");
  EXPECT_EQ(f.status, 0);
  EXPECT_EQ(f.error.code, error_code::unreachable);
  expect_text(f.error.text(), {"pve-a: GET /cluster/status (3 attempts): no address answers",
                               first + ": cannot connect", second + ": cannot connect", "hint"});
}

TEST_F(proxmox, a_certificate_that_is_refused_is_told_and_the_next_address_tried) {
  certificate const cert("IP:127.0.0.1");
  scripted_server bad([](auto const&, connection& c) { c.write(json_answer(200, "{}")); }, &cert);
  scripted_server good([](auto const&, connection& c) { c.write(json_answer(200, "{\"data\":2}")); });
  make(with_token({bad.url(), good.url()}));
  EXPECT_EQ(fetch("/x").body, "{\"data\":2}");
  expect_text(log_so_far(), {bad.url() + ": the certificate is not trusted"});
  EXPECT_TRUE(bad.seen().empty());

  make(with_token({bad.url()}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.error.code, error_code::unreachable);
  expect_text(f.error.text(), {bad.url() + ": the certificate is not trusted", cert.fingerprint(), "pve-root-ca.pem"});

  auto pinned = with_token({bad.url()});
  pinned.tls.fingerprint = cert.fingerprint();
  make(pinned);
  EXPECT_TRUE(fetch("/x").ok());
}

TEST_F(proxmox, logs_in_with_a_password_once) {
  scripted_server server([](seen_request const& r, connection& c) {
    if (r.target() == "/api2/json/access/ticket")
      return c.write(json_answer(
          200,
          R"({"data":{"ticket":"PVE:sync@pve:TICKET1::abc+/=","CSRFPreventionToken":"x","username":"sync@pve"}})"));
    c.write(json_answer(200, "{\"data\":1}"));
  });
  make(with_password({server.url()}));
  std::vector<std::promise<bool>> answers(8);
  for (auto& p : answers) source_->fetch("/x", "nodes", [&p](source::fetched const& f) { p.set_value(f.ok()); });
  for (auto& p : answers) EXPECT_TRUE(p.get_future().get());
  auto const seen = server.seen();
  ASSERT_EQ(seen.size(), 9u);
  EXPECT_EQ(seen[0].line, "POST /api2/json/access/ticket HTTP/1.1");
  EXPECT_EQ(seen[0].header("Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(seen[0].body, "username=sync%40pve&password=pass%26word%3D5ecre7");
  EXPECT_EQ(seen[0].header("Cookie"), "");
  for (std::size_t i = 1; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].header("Cookie"), "PVEAuthCookie=PVE:sync@pve:TICKET1::abc+/=");
    EXPECT_EQ(seen[i].header("Authorization"), "");
  }
}

TEST_F(proxmox, renews_a_ticket_that_is_refused_once_for_all) {
  std::atomic<int> tickets{0};
  scripted_server server([&](seen_request const& r, connection& c) {
    if (r.target() == "/api2/json/access/ticket")
      return c.write(json_answer(200, "{\"data\":{\"ticket\":\"TICKET" + std::to_string(++tickets) + "\"}}"));
    if (r.header("Cookie") == "PVEAuthCookie=TICKET1")
      return c.write(json_answer(401, "", "permission denied - invalid PVE ticket"));
    c.write(json_answer(200, "{\"data\":1}"));
  });
  make(with_password({server.url()}));
  std::vector<std::promise<bool>> answers(8);
  for (auto& p : answers) source_->fetch("/x", "nodes", [&p](source::fetched const& f) { p.set_value(f.ok()); });
  for (auto& p : answers) EXPECT_TRUE(p.get_future().get());
  EXPECT_EQ(tickets, 2);
  EXPECT_TRUE(fetch("/y").ok());
  EXPECT_EQ(tickets, 2);
}

TEST_F(proxmox, a_ticket_that_is_always_refused) {
  std::atomic<int> tickets{0};
  scripted_server server([&](seen_request const& r, connection& c) {
    if (r.target() == "/api2/json/access/ticket")
      return c.write(json_answer(200, "{\"data\":{\"ticket\":\"TICKET" + std::to_string(++tickets) + "\"}}"));
    c.write(json_answer(401, "", "permission denied - invalid PVE ticket"));
  });
  make(with_password({server.url()}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"401 permission denied", "sync@pve"});
  EXPECT_EQ(tickets, 2);
}

TEST_F(proxmox, a_wrong_password) {
  scripted_server server(
      [](auto const&, connection& c) { c.write(json_answer(401, R"({"data":null})", "authentication failure")); });
  make(with_password({server.url()}));
  auto const f = fetch("/x");
  EXPECT_EQ(f.error.code, error_code::credentials);
  expect_text(f.error.text(), {"pve-a: POST /access/ticket at " + server.url(), "401 authentication failure",
                               "'sync@pve'", "password"});
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST_F(proxmox, logins_that_go_wrong_otherwise) {
  scripted_server tfa(
      [](auto const&, connection& c) { c.write(json_answer(200, R"({"data":{"NeedTFA":1,"ticket":"TICKET"}})")); });
  make(with_password({tfa.url()}));
  auto const second_factor = fetch("/x");
  EXPECT_EQ(second_factor.error.code, error_code::credentials);
  expect_text(second_factor.error.text(), {"second factor", "API token"});

  scripted_server strange([](auto const&, connection& c) { c.write(json_answer(200, "{\"data\":{}}")); });
  make(with_password({strange.url()}));
  EXPECT_EQ(fetch("/x").error.code, error_code::unreachable);

  int count = 0;
  scripted_server cut([&](seen_request const& r, connection& c) {
    if (r.target() != "/api2/json/access/ticket") return c.write(json_answer(200, "{\"data\":1}"));
    if (count++ == 0) return c.close();
    c.write(json_answer(200, "{\"data\":{\"ticket\":\"TICKET\"}}"));
  });
  make(with_password({cut.url()}));
  EXPECT_TRUE(fetch("/x").ok()) << "a login may be sent twice";
}

TEST_F(proxmox, stop_ends_what_waits) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  for (auto const& settings : {with_token({server.url()}), with_password({server.url()})}) {
    make(settings);
    std::promise<source::fetched> ended;
    source_->fetch("/x", "nodes", [&](source::fetched f) { ended.set_value(std::move(f)); });
    source_->stop();
    auto const f = ended.get_future().get();
    EXPECT_EQ(f.error.code, error_code::interrupted) << f.error.text();
  }
}

TEST_F(proxmox, destruction_ends_what_waits) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  for (auto const& settings : {with_token({server.url()}), with_password({server.url()})}) {
    make(settings);
    std::promise<source::fetched> ended;
    auto const before = server.seen().size();
    source_->fetch("/x", "nodes", [&](source::fetched f) { ended.set_value(std::move(f)); });
    while (server.seen().size() == before) std::this_thread::yield();
    source_.reset();
    EXPECT_EQ(ended.get_future().get().error.code, error_code::interrupted);
  }
}

TEST_F(proxmox, without_an_address) {
  make(with_token({}));
  auto const f = fetch("/x");
  EXPECT_FALSE(f.ok());
  expect_text(f.error.text(), {"no address is configured"});
}

}  // namespace
