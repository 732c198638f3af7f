// The libcurl transport against a server that misbehaves: what is told of each failure, and that nothing is sent twice.
#include <gtest/gtest.h>
#include <zlib.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "core/http/transport.hpp"
#include "unit/http/loop.hpp"
#include "unit/http/scripted_server.hpp"

namespace {

using namespace weir;
using http::failure;
using std::chrono::milliseconds;
using test::answer;
using test::certificate;
using test::connection;
using test::scripted_server;
using test::seen_request;
using throttle::method;

// A proxy of the machine that runs the tests has no business here.
bool const no_proxy = [] { return ::setenv("no_proxy", "*", 1) == 0; }();

std::string gzip(std::string const& plain) {
  z_stream z{};
  deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(compressBound(plain.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

class transport : public testing::Test {
 protected:
  void make(config::tls const& tls = {}, std::size_t connections = 2, std::size_t limit = http::max_reply_bytes) {
    loop_.run([&] { wire_ = http::make_curl_transport(loop_.io, tls, connections, limit); });
  }
  void TearDown() override {
    loop_.run([&] { wire_.reset(); });
  }

  static http::request ask(std::string url, method verb = method::get, std::string body = {}) {
    http::request r;
    r.verb = verb;
    r.url = std::move(url);
    r.body = std::move(body);
    r.headers = {{"Authorization", "Bearer nbt_key.SEKRETSEKRET"}, {"Cookie", "a=SEKRETSEKRET"}};
    if (!r.body.empty()) r.headers.emplace_back("Content-Type", "application/json");
    r.timeout = milliseconds(20000);
    r.connect_timeout = milliseconds(10000);
    return r;
  }

  http::reply send(http::request const& what) {
    if (!wire_) make();
    auto promise = std::make_shared<std::promise<http::reply>>();
    auto future = promise->get_future();
    boost::asio::post(
        loop_.io, [&, promise] { wire_->send(what, [promise](http::reply r) { promise->set_value(std::move(r)); }); });
    auto got = future.get();
    EXPECT_EQ(got.error_text.find("SEKRET"), std::string::npos) << got.error_text;
    EXPECT_EQ(got.error == failure::none, got.error_text.empty()) << got.error_text;
    return got;
  }
  http::reply get(std::string const& url) { return send(ask(url)); }

  test::loop loop_;
  std::unique_ptr<http::transport> wire_;
};

void expect_ok(http::reply const& r) {
  EXPECT_EQ(r.error, failure::none) << r.error_text;
  EXPECT_EQ(r.status, 200);
}

TEST_F(transport, tells_status_reason_headers_and_body) {
  scripted_server server([](auto const&, connection& c) {
    c.write("HTTP/1.1 500 storage 'nfs' is not online\r\nX-Mixed-Case:  two words \r\nContent-Length: 3\r\n\r\nabc");
  });
  auto const r = get(server.url("/x?y=1"));
  EXPECT_EQ(r.error, failure::none);
  EXPECT_EQ(r.status, 500);
  EXPECT_EQ(r.reason, "storage 'nfs' is not online");
  EXPECT_EQ(r.header("x-mixed-case"), "two words");
  EXPECT_EQ(r.header("absent"), "");
  EXPECT_EQ(r.body, "abc");
  EXPECT_EQ(r.server, server.url());
  EXPECT_TRUE(r.request_sent);
  EXPECT_TRUE(r.reply_started);
  EXPECT_FALSE(r.connection_reused);
  ASSERT_EQ(server.seen().size(), 1u);
  EXPECT_EQ(server.seen()[0].line, "GET /x?y=1 HTTP/1.1");
  EXPECT_EQ(server.seen()[0].header("Authorization"), "Bearer nbt_key.SEKRETSEKRET");
  EXPECT_EQ(server.seen()[0].header("Accept-Encoding"), "gzip");
}

TEST_F(transport, sends_each_method_with_its_body) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "{}")); });
  for (auto verb : {method::post, method::patch, method::put, method::del})
    expect_ok(send(ask(server.url("/"), verb, "[{\"id\":1}]")));
  expect_ok(send(ask(server.url("/"), method::del)));
  expect_ok(send(ask(server.url("/"), method::post)));
  auto const seen = server.seen();
  ASSERT_EQ(seen.size(), 6u);
  std::vector<std::string> const lines = {"POST / HTTP/1.1",   "PATCH / HTTP/1.1",  "PUT / HTTP/1.1",
                                          "DELETE / HTTP/1.1", "DELETE / HTTP/1.1", "POST / HTTP/1.1"};
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].line, lines[i]);
    EXPECT_EQ(seen[i].body, i < 4 ? "[{\"id\":1}]" : "");
    EXPECT_EQ(seen[i].header("Content-Type"), i < 4 ? "application/json" : "");
    EXPECT_EQ(seen[i].header("Expect"), "");
  }
}

TEST_F(transport, sends_a_large_body_whole) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "")); });
  std::string body(3u << 20, 'x');
  body.back() = 'y';
  expect_ok(send(ask(server.url("/"), method::post, body)));
  ASSERT_EQ(server.seen().size(), 1u);
  EXPECT_EQ(server.seen()[0].body, body);
}

TEST_F(transport, reuses_a_connection_that_was_used_just_now) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "a")); });
  expect_ok(get(server.url("/1")));
  auto const second = get(server.url("/2"));
  expect_ok(second);
  EXPECT_TRUE(second.connection_reused);
  EXPECT_EQ(server.connections(), 1);
  auto fresh = ask(server.url("/3"));
  fresh.fresh_connection = true;
  EXPECT_FALSE(send(fresh).connection_reused);
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(transport, does_not_reuse_a_connection_that_was_idle_for_a_second) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "a")); });
  expect_ok(get(server.url("/1")));
  std::this_thread::sleep_for(milliseconds(1150));
  auto const second = get(server.url("/2"));
  expect_ok(second);
  EXPECT_FALSE(second.connection_reused);
}

TEST_F(transport, refused) {
  std::string url;
  {
    scripted_server gone([](auto const&, connection&) {});
    url = gone.url("/");
  }
  auto const r = get(url);
  EXPECT_EQ(r.error, failure::refused);
  EXPECT_EQ(r.status, 0);
  EXPECT_FALSE(r.request_sent);
  EXPECT_FALSE(r.reply_started);
  EXPECT_NE(r.error_text.find("cannot connect"), std::string::npos) << r.error_text;
}

TEST_F(transport, name_that_does_not_resolve) {
  // A label of more than 63 bytes: refused by the resolver itself, no question goes out.
  auto const r = get("http://" + std::string(70, 'a') + ".invalid/");
  EXPECT_EQ(r.error, failure::resolve) << r.error_text;
  EXPECT_FALSE(r.request_sent);
}

TEST_F(transport, cut_before_an_answer) {
  scripted_server server([](auto const&, connection& c) { c.close(); });
  auto const r = send(ask(server.url("/"), method::post, "{}"));
  EXPECT_EQ(r.error, failure::cut) << r.error_text;
  EXPECT_EQ(r.status, 0);
  EXPECT_TRUE(r.request_sent);
  EXPECT_FALSE(r.connection_reused);
  EXPECT_FALSE(r.reply_started);
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST_F(transport, reset_before_an_answer) {
  scripted_server server([](auto const&, connection& c) { c.reset(); });
  auto const r = send(ask(server.url("/"), method::post, "{}"));
  EXPECT_EQ(r.error, failure::cut) << r.error_text;
  EXPECT_TRUE(r.request_sent);
  EXPECT_FALSE(r.reply_started);
}

TEST_F(transport, cut_within_the_head) {
  scripted_server server([](auto const&, connection& c) {
    c.write("HTTP/1.1 20");
    c.close();
  });
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.error, failure::cut) << r.error_text;
  EXPECT_EQ(r.status, 0);
  EXPECT_TRUE(r.request_sent);
}

TEST_F(transport, cut_within_the_body) {
  for (auto const* head : {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"}) {
    scripted_server server([head](auto const&, connection& c) {
      c.write(head);
      c.close();
    });
    auto const r = get(server.url("/"));
    EXPECT_EQ(r.error, failure::cut) << r.error_text;
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.request_sent);
    EXPECT_TRUE(r.reply_started);
  }
}

TEST_F(transport, no_answer_in_time) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  auto what = ask(server.url("/"), method::post, "{}");
  what.timeout = milliseconds(150);
  auto const r = send(what);
  EXPECT_EQ(r.error, failure::timeout) << r.error_text;
  EXPECT_TRUE(r.request_sent);
  EXPECT_FALSE(r.reply_started);
  EXPECT_NE(r.error_text.find("150 ms"), std::string::npos) << r.error_text;
}

TEST_F(transport, no_connection_in_time) {
  certificate const cert("IP:127.0.0.1");
  scripted_server server([](auto const&, connection&) {}, &cert, false);  // accepts, and says nothing in TLS
  auto what = ask(server.url("/"), method::post, "{}");
  what.connect_timeout = milliseconds(150);
  auto const r = send(what);
  EXPECT_EQ(r.error, failure::timeout) << r.error_text;
  EXPECT_FALSE(r.request_sent);
  EXPECT_NE(r.error_text.find("no connection"), std::string::npos) << r.error_text;
}

// libcurl would repeat these by itself, the POST too.
TEST_F(transport, stale_connection_is_told_and_nothing_is_sent_twice) {
  for (auto verb : {method::get, method::post, method::patch, method::del}) {
    for (bool reset : {false, true}) {
      scripted_server server([reset](seen_request const& r, connection& c) {
        if (r.on_connection == 0) return c.write(answer(200, "a"));
        reset ? c.reset() : c.close();
      });
      expect_ok(get(server.url("/1")));
      auto const r = send(ask(server.url("/2"), verb, verb == method::get ? "" : "{}"));
      EXPECT_EQ(r.error, failure::cut) << r.error_text;
      EXPECT_EQ(r.status, 0);
      EXPECT_TRUE(r.request_sent);
      EXPECT_TRUE(r.connection_reused);
      EXPECT_FALSE(r.reply_started);
      EXPECT_EQ(server.seen().size(), 2u);
    }
  }
}

TEST_F(transport, a_connection_closed_while_idle_is_not_used) {
  scripted_server server([](auto const&, connection& c) {
    c.write(answer(200, "a"));
    c.close();
  });
  for (int i = 0; i < 3; ++i) {
    auto const r = send(ask(server.url("/"), method::post, "{}"));
    // Either libcurl has seen the end in time, or it was met as a stale one; never twice.
    EXPECT_TRUE(r.error == failure::none || (r.error == failure::cut && r.connection_reused && !r.reply_started))
        << r.error_text;
  }
  EXPECT_LE(server.seen().size(), 3u);
}

TEST_F(transport, chunked_and_gzip) {
  auto const packed = gzip("[1,2,3]");
  scripted_server server([&](seen_request const& r, connection& c) {
    if (r.target() == "/chunked")
      return c.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n3\r\n2]\n\r\n0\r\n\r\n");
    if (r.target() == "/gzip") return c.write(answer(200, packed, "Content-Encoding: gzip\r\n"));
    c.write(answer(200, "this is no gzip", "Content-Encoding: gzip\r\n"));
  });
  EXPECT_EQ(get(server.url("/chunked")).body, "[1,2]\n");
  EXPECT_EQ(get(server.url("/gzip")).body, "[1,2,3]");
  EXPECT_EQ(get(server.url("/broken")).error, failure::malformed);
}

TEST_F(transport, larger_than_allowed) {
  make({}, 2, 1u << 20);
  auto const bomb = gzip(std::string((1u << 20) + 1, ' '));
  scripted_server server([&](seen_request const& r, connection& c) {
    if (r.target() == "/bomb") return c.write(answer(200, bomb, "Content-Encoding: gzip\r\n"));
    c.write(answer(200, std::string(1u << 20, ' ')));
  });
  auto const r = get(server.url("/bomb"));
  EXPECT_EQ(r.error, failure::too_big) << r.error_text;
  EXPECT_TRUE(r.body.empty());
  auto const whole = get(server.url("/just"));
  expect_ok(whole);
  EXPECT_EQ(whole.body.size(), 1u << 20);
}

TEST_F(transport, no_http) {
  for (auto const* text : {"SSH-2.0-OpenSSH_9.2\r\n", "\x15\x03\x01 nonsense", "HTTP/1.1 banana\r\n\r\n"}) {
    scripted_server server([text](auto const&, connection& c) {
      c.write(text);
      c.close();
    });
    auto const r = get(server.url("/"));
    EXPECT_TRUE(r.error == failure::malformed || r.error == failure::cut) << text << ": " << r.error_text;
    EXPECT_TRUE(r.request_sent);
  }
}

TEST_F(transport, redirects_are_answers) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(302, "", "Location: /elsewhere\r\n")); });
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.status, 302);
  EXPECT_EQ(r.header("location"), "/elsewhere");
  EXPECT_EQ(server.seen().size(), 1u);
}

TEST_F(transport, interim_answers_are_left_out) {
  scripted_server server(
      [](auto const&, connection& c) { c.write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(200, "a")); });
  auto const r = get(server.url("/"));
  expect_ok(r);
  EXPECT_EQ(r.header("link"), "");
}

TEST_F(transport, an_answer_that_comes_before_the_body_is_read) {
  scripted_server server(
      [](auto const&, connection& c) {
        c.write(answer(413, "too large", "Connection: close\r\n"));
        c.wait_until_left();
      },
      nullptr, true, false);
  auto const r = send(ask(server.url("/"), method::post, std::string(8u << 20, 'x')));
  EXPECT_EQ(r.status, 413) << r.error_text;
  EXPECT_EQ(r.body, "too large");
}

TEST_F(transport, refuses_what_would_inject_a_header) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "")); });
  std::vector<http::headers> const bad = {
      {{"X", "a\r\nEvil: 1"}}, {{"X", "a\nEvil: 1"}}, {{"X", std::string("a\0b", 3)}},
      {{"X: 1\r\nEvil", "a"}}, {{"", "a"}},           {{"X Y", "a"}}};
  for (auto const& headers : bad) {
    auto what = ask(server.url("/"));
    what.headers = headers;
    auto const r = send(what);
    EXPECT_EQ(r.error, failure::other);
    EXPECT_FALSE(r.request_sent);
    EXPECT_EQ(r.error_text.find("Evil: 1"), std::string::npos) << r.error_text;
  }
  for (auto const& url : {server.url("/ HTTP/1.1\r\nEvil: 1"), server.url("/a b"), std::string("file:///etc/passwd"),
                          std::string("ftp://127.0.0.1/"), std::string(""),
                          "http://user:SEKRETSEKRET@127.0.0.1:" + std::to_string(server.port()) + "/"})
    EXPECT_EQ(get(url).error, failure::other) << url;
  EXPECT_EQ(server.seen().size(), 0u);
  auto what = ask(server.url("/"));
  what.headers = {{"X-Empty", ""}};
  expect_ok(send(what));
  EXPECT_NE(server.seen()[0].headers.find("X-Empty:\r\n"), std::string::npos);
}

TEST_F(transport, many_at_once_stay_within_the_connections_allowed) {
  make({}, 4);
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "a")); });
  constexpr int count = 200;
  std::promise<void> all;
  int left = count, fine = 0;  // on the loop's thread only
  loop_.run([&] {
    for (int i = 0; i < count; ++i)
      wire_->send(ask(server.url("/")), [&](http::reply const& r) {
        fine += r.status == 200;
        if (--left == 0) all.set_value();
      });
  });
  all.get_future().get();
  EXPECT_EQ(fine, count);
  EXPECT_LE(server.peak_connections(), 4u);
}

TEST_F(transport, cancel_ends_what_is_under_way_once) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  make();
  std::promise<http::reply> ended;
  int calls = 0;
  loop_.run([&] {
    wire_->send(ask(server.url("/")), [&](http::reply r) {
      if (++calls == 1) ended.set_value(std::move(r));
    });
    wire_->cancel_all();
    EXPECT_EQ(calls, 0);  // never before send() has returned, nor within cancel_all()
  });
  EXPECT_EQ(ended.get_future().get().error, failure::cancelled);
  loop_.run([] {});
  EXPECT_EQ(calls, 1);
}

TEST_F(transport, destroyed_with_requests_under_way) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  make();
  std::promise<http::reply> ended;
  loop_.run([&] { wire_->send(ask(server.url("/")), [&](http::reply r) { ended.set_value(std::move(r)); }); });
  while (server.seen().empty()) std::this_thread::yield();
  loop_.run([&] { wire_.reset(); });
  EXPECT_EQ(ended.get_future().get().error, failure::cancelled);
}

TEST_F(transport, destroyed_in_its_own_callback) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "a")); });
  make();
  std::promise<void> ended;
  loop_.run([&] {
    wire_->send(ask(server.url("/")), [&](http::reply const&) {
      wire_.reset();
      ended.set_value();
    });
  });
  ended.get_future().get();
}

TEST_F(transport, the_loop_may_end_first) {
  scripted_server server([](auto const&, connection& c) { c.wait_until_left(); });
  auto other = std::make_unique<test::loop>();
  auto wire = http::make_curl_transport(other->io, {}, 2);
  other->run([&] { wire->send(ask(server.url("/")), [](http::reply const&) {}); });
  while (server.seen().empty()) std::this_thread::yield();
  other->end();
  wire.reset();
}

TEST_F(transport, goes_through_a_proxy) {
  scripted_server proxy([](auto const&, connection& c) { c.write(answer(200, "by proxy")); });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  ::setenv("no_proxy", "localhost", 1);
  auto const r = get("http://netbox.invalid/api/");
  ::unsetenv("http_proxy");
  ::setenv("no_proxy", "*", 1);
  EXPECT_EQ(r.body, "by proxy") << r.error_text;
  ASSERT_EQ(proxy.seen().size(), 1u);
  EXPECT_EQ(proxy.seen()[0].line, "GET http://netbox.invalid/api/ HTTP/1.1");
}

TEST_F(transport, a_proxy_that_refuses_has_sent_nothing_on) {
  scripted_server proxy([](auto const&, connection& c) {
    c.write(answer(407, "", "Connection: close\r\n"));
    c.close();
  });
  ::setenv("https_proxy", proxy.url().c_str(), 1);
  ::setenv("no_proxy", "localhost", 1);
  auto const r = send(ask("https://netbox.invalid/api/", method::post, "{}"));
  ::unsetenv("https_proxy");
  ::setenv("no_proxy", "*", 1);
  EXPECT_EQ(r.error, failure::refused) << r.error_text;
  EXPECT_NE(r.error_text.find("407"), std::string::npos) << r.error_text;
  EXPECT_FALSE(r.request_sent);
  ASSERT_EQ(proxy.seen().size(), 1u);
  EXPECT_EQ(proxy.seen()[0].header("Authorization"), "");
}

TEST_F(transport, options) {
  scripted_server server([](auto const&, connection& c) { c.write(answer(200, "a")); });
  auto what = ask(server.url("/api/extras/tags/"));
  what.options = true;
  expect_ok(send(what));
  ASSERT_EQ(server.seen().size(), 1u);
  EXPECT_EQ(server.seen()[0].line, "OPTIONS /api/extras/tags/ HTTP/1.1");
  EXPECT_EQ(server.seen()[0].body, "");
}

class tls : public transport {
 protected:
  certificate cert_{"IP:127.0.0.1, DNS:localhost"};
  certificate other_{"DNS:other.example, DNS:more.example"};
  std::string ca_ = testing::TempDir() + "weir-ca-" + std::to_string(::getpid()) + ".pem";
  void TearDown() override {
    transport::TearDown();
    std::filesystem::remove(ca_);
  }
  static void say(seen_request const&, connection& c) { c.write(answer(200, "a")); }
};

TEST_F(tls, an_authority_that_is_not_known) {
  scripted_server server(say, &cert_);
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.error, failure::tls);
  EXPECT_TRUE(r.certificate_refused);
  EXPECT_FALSE(r.request_sent);
  EXPECT_NE(r.error_text.find("not trusted"), std::string::npos) << r.error_text;
  EXPECT_NE(r.error_text.find(cert_.fingerprint()), std::string::npos) << r.error_text;
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(tls, an_authority_from_a_file) {
  cert_.write_pem(ca_);
  make({true, ca_, ""});
  scripted_server server(say, &cert_);
  expect_ok(get(server.url("/")));
}

TEST_F(tls, a_certificate_for_another_name) {
  other_.write_pem(ca_);
  make({true, ca_, ""});
  scripted_server server(say, &other_);
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.error, failure::tls);
  EXPECT_TRUE(r.certificate_refused);
  EXPECT_NE(r.error_text.find("not for this name"), std::string::npos) << r.error_text;
  EXPECT_NE(r.error_text.find("other.example, more.example"), std::string::npos) << r.error_text;
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(tls, an_authority_file_that_is_not_there) {
  make({true, "/nonexistent/ca.pem", ""});
  scripted_server server(say, &cert_);
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.error, failure::tls);
  EXPECT_NE(r.error_text.find("/nonexistent/ca.pem"), std::string::npos) << r.error_text;
}

TEST_F(tls, the_pinned_fingerprint_replaces_chain_and_name) {
  auto lower = other_.fingerprint();
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::erase(lower, ':');
  for (auto const& form : {other_.fingerprint(), lower}) {
    make({true, "", form});
    scripted_server server(say, &other_);
    expect_ok(get(server.url("/")));
    auto fresh = ask(server.url("/"));
    fresh.fresh_connection = true;
    expect_ok(send(fresh));  // a second handshake is checked, too
  }
}

TEST_F(tls, another_fingerprint_than_the_pinned_one) {
  make({true, "", other_.fingerprint()});
  scripted_server server(say, &cert_);
  auto const r = get(server.url("/"));
  EXPECT_EQ(r.error, failure::tls);
  EXPECT_TRUE(r.certificate_refused);
  EXPECT_FALSE(r.request_sent);
  EXPECT_NE(r.error_text.find("is " + cert_.fingerprint()), std::string::npos) << r.error_text;
  EXPECT_NE(r.error_text.find("configured is " + other_.fingerprint()), std::string::npos) << r.error_text;
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(tls, verification_switched_off) {
  make({false, "", ""});
  scripted_server server(say, &other_);
  expect_ok(get(server.url("/")));
}

TEST_F(tls, the_certificate_is_told_once_for_each_connection) {
  auto const hour = std::chrono::system_clock::now() + std::chrono::hours(1);
  for (auto const& how : {config::tls{false, "", ""}, config::tls{true, "", other_.fingerprint()},
                          config::tls{true, "", cert_.fingerprint()}, config::tls{true, "", ""}}) {
    make(how);
    scripted_server server(say, &other_);
    auto const r = get(server.url("/"));
    ASSERT_TRUE(r.certificate) << "also where it was refused: " << r.error_text;
    EXPECT_EQ(r.certificate->fingerprint, other_.fingerprint());
    EXPECT_LT(std::chrono::abs(hour - r.certificate->ends), std::chrono::minutes(10));
    if (r.error == failure::none) {
      EXPECT_FALSE(get(server.url("/")).certificate);
    }
  }
}

TEST_F(tls, a_fingerprint_counts_even_with_verification_switched_off) {
  make({false, "", other_.fingerprint()});
  scripted_server server(say, &cert_);
  EXPECT_EQ(get(server.url("/")).error, failure::tls);
}

TEST_F(tls, a_server_without_tls) {
  scripted_server server([](auto const&, connection&) {}, nullptr);
  auto const r = get("https://127.0.0.1:" + std::to_string(server.port()) + "/");
  EXPECT_EQ(r.error, failure::tls) << r.error_text;
  EXPECT_NE(r.error_text.find("handshake failed"), std::string::npos) << r.error_text;
  EXPECT_FALSE(r.request_sent);
  EXPECT_FALSE(r.certificate_refused);
}

TEST_F(tls, stale_connection) {
  make({false, "", ""});
  scripted_server server(
      [](seen_request const& r, connection& c) {
        if (r.on_connection == 0) return c.write(answer(200, "a"));
        c.close();
      },
      &cert_);
  expect_ok(get(server.url("/")));
  auto const r = send(ask(server.url("/"), method::post, "{}"));
  EXPECT_EQ(r.error, failure::cut) << r.error_text;
  EXPECT_TRUE(r.connection_reused && r.request_sent && !r.reply_started);
  EXPECT_EQ(server.seen().size(), 2u);
}

TEST(server_of, leaves_only_scheme_host_and_port) {
  EXPECT_EQ(http::server_of("https://u:p@host:8006/a?b"), "https://host:8006");
  EXPECT_EQ(http::server_of("https://host"), "https://host");
  EXPECT_EQ(http::server_of(""), "");
}

TEST(scrub, takes_out_whatever_the_request_keeps_secret) {
  http::headers const sent = {{"authorization", "PVEAPIToken=a@pve!b=11112222-3333"},
                              {"Cookie", "PVEAuthCookie=PVE:root@pam:ABCDEF"}};
  auto const text = http::scrub("x 11112222-3333 y PVE:root@pam:ABCDEF z PVEAPIToken=a@pve!b=11112222-3333", sent);
  EXPECT_EQ(text, "x *** y *** z ***");
  EXPECT_EQ(http::scrub("secretsecret1", {{"Authorization", "Bearer nbt_key12345.secretsecret1"}}), "***");
  EXPECT_EQ(http::scrub("plain", {{"Accept", "plain"}}), "plain");
}

}  // namespace
