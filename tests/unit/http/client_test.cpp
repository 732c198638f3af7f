// The client over gate and transport: with a transport that does what the test says, and over loopback.
#include "core/http/client.hpp"

#include <gtest/gtest.h>

#include <deque>

#include "core/base/log.hpp"
#include "unit/http/loop.hpp"
#include "unit/http/scripted_server.hpp"

namespace {

using namespace weir;
using http::failure;
using std::chrono::milliseconds;
using test::answer;
using throttle::method;
using throttle::outcome;

throttle::limits fast(std::size_t attempts = 4) {
  throttle::limits l;
  l.max_in_flight = 2;
  l.requests_per_second = 0;
  l.batch_size = 0;
  l.max_attempts = attempts;
  l.backoff_base = milliseconds(1);
  l.backoff_cap = milliseconds(2);
  return l;
}

http::call ask(std::string url, method verb = method::get) {
  http::call c;
  c.request.verb = verb;
  c.request.url = std::move(url);
  c.request.headers = {{"Authorization", "Bearer nbt_key.SEKRETSEKRET"}};
  c.lane = "backups";
  return c;
}

http::reply status(int code, std::string body = {}, http::headers headers = {}) {
  http::reply r;
  r.status = code;
  r.reason = "Reason";
  r.body = std::move(body);
  r.headers = std::move(headers);
  r.request_sent = r.reply_started = true;
  return r;
}

http::reply broken(failure how, bool sent, bool reused = false) {
  http::reply r;
  r.error = how;
  r.error_text = "broken as asked, Bearer nbt_key.SEKRETSEKRET";
  r.request_sent = sent;
  r.connection_reused = reused;
  return r;
}

// Answers from a list; without one it keeps the request until cancel_all().
struct fake : http::transport {
  struct record {
    std::mutex mutex;
    std::vector<http::request> sent;
    std::deque<http::reply> answers;
  };
  fake(boost::asio::io_context& loop, std::shared_ptr<record> r) : io(loop), log(std::move(r)) {}
  void send(http::request const& what, std::function<void(http::reply)> done) override {
    std::lock_guard const lock(log->mutex);
    log->sent.push_back(what);
    if (log->answers.empty()) {
      kept.push_back(std::move(done));
      return;
    }
    boost::asio::post(io, [done = std::move(done), r = log->answers.front()] { done(r); });
    log->answers.pop_front();
  }
  void cancel_all() override {
    for (auto& done : kept) boost::asio::post(io, [done = std::move(done)] { done(broken(failure::cancelled, true)); });
    kept.clear();
  }
  boost::asio::io_context& io;
  std::shared_ptr<record> log;
  std::vector<std::function<void(http::reply)>> kept;
};

class client : public testing::Test {
 protected:
  http::client& make(std::deque<http::reply> answers, throttle::limits const& l = fast()) {
    record_->answers = std::move(answers);
    client_ = std::make_unique<http::client>(loop_.io, std::make_unique<fake>(loop_.io, record_), l, "netbox");
    return *client_;
  }
  std::size_t sent() {
    std::lock_guard const lock(record_->mutex);
    return record_->sent.size();
  }
  test::loop loop_;
  std::shared_ptr<fake::record> record_ = std::make_shared<fake::record>();
  std::unique_ptr<http::client> client_;
};

TEST_F(client, repeats_what_may_be_repeated) {
  auto& c =
      make({status(500, R"({"exception":"OperationalError"})"), broken(failure::refused, false), status(200, "[]")});
  auto const a = c.send_and_wait(ask("http://h/api/x/", method::post));
  EXPECT_EQ(a.outcome, outcome::ok);
  EXPECT_EQ(a.reply.body, "[]");
  EXPECT_EQ(a.attempts, 3u);
  auto const n = c.count();
  EXPECT_EQ(n.started, 3u);
  EXPECT_EQ(n.retried, 2u);
  EXPECT_EQ(n.started_by_method[static_cast<int>(method::post)], 3u);
  EXPECT_EQ(n.outcomes[static_cast<int>(outcome::overload)], 1u);
  EXPECT_EQ(n.in_flight, 0u);
}

// Refused for lack of a connection although nothing else of ours is in flight: said once, with the cure, and not given
// up.
TEST_F(client, names_a_starved_pool_and_goes_on) {
  auto l = fast(2);
  l.backoff_base = l.backoff_cap = milliseconds(1500);  // it takes 2 s to be told from a burst of somebody else's
  l.control = throttle::control::adaptive;
  l.max_in_flight = 1;
  std::deque<http::reply> answers;
  auto const refused =
      status(500, R"({"error":"FATAL:  sorry, too many clients already","exception":"OperationalError"})");
  for (int i = 0; i < 16; ++i) {
    answers.push_back(refused);
    if (i % 4 == 3) answers.push_back(status(200, "[]"));  // a share gets through
  }
  auto& c = make(answers, l);
  std::vector<throttle::event::what> said;
  c.on_event([&](throttle::event const& e, throttle::throttle_state const&) {
    if (e.kind != throttle::event::what::limit) said.push_back(e.kind);
  });
  testing::internal::CaptureStderr();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(c.send_and_wait(ask("http://h/api/x/", method::post)).outcome, outcome::ok);
  auto const text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said, (std::vector{throttle::event::what::starved}));
  EXPECT_NE(text.find("poisoned"), std::string::npos) << text;
  EXPECT_NE(text.find("restart NetBox's workers"), std::string::npos) << text;
  EXPECT_EQ(c.adaptation().refused, 16u);
  EXPECT_EQ(c.adaptation().breaker_opened, 0u);
}

TEST_F(client, leaves_a_post_that_may_have_been_committed_to_its_caller) {
  for (auto const& r : {broken(failure::timeout, true), broken(failure::cut, true), broken(failure::malformed, true),
                        broken(failure::other, true), status(502), status(504)}) {
    auto& c = make({r, status(201)});
    auto const a = c.send_and_wait(ask("http://h/", method::post));
    EXPECT_EQ(a.outcome, outcome::unknown);
    EXPECT_EQ(a.attempts, 1u);
  }
  auto& c = make({broken(failure::cut, true, true), status(201)});
  EXPECT_EQ(c.send_and_wait(ask("http://h/", method::post)).outcome, outcome::stale);
}

TEST_F(client, a_stale_connection_is_followed_by_a_fresh_one) {
  auto& c = make({broken(failure::cut, true, true), status(502), status(200)});
  auto const a = c.send_and_wait(ask("http://h/", method::patch));
  EXPECT_EQ(a.outcome, outcome::ok);
  EXPECT_EQ(a.attempts, 3u);
  std::lock_guard const lock(record_->mutex);
  EXPECT_FALSE(record_->sent[0].fresh_connection);
  EXPECT_TRUE(record_->sent[1].fresh_connection);
  EXPECT_FALSE(record_->sent[2].fresh_connection);
}

TEST_F(client, a_refused_certificate_is_not_tried_again) {
  auto r = broken(failure::tls, false);
  r.certificate_refused = true;
  auto& c = make({r, status(200)});
  auto const a = c.send_and_wait(ask("https://h/"));
  EXPECT_EQ(a.outcome, outcome::unreachable);
  EXPECT_EQ(a.attempts, 1u);
  auto& again = make({broken(failure::tls, false), status(200)});
  EXPECT_EQ(again.send_and_wait(ask("https://h/")).outcome, outcome::ok)
      << "a handshake that was cut is another matter";
}

TEST_F(client, an_answer_that_is_too_big_can_be_asked_for_in_parts) {
  auto r = broken(failure::too_big, true);
  r.status = 200;
  r.reply_started = true;
  EXPECT_EQ(make({r}).send_and_wait(ask("http://h/")).outcome, outcome::too_large);
  EXPECT_EQ(make({r}).send_and_wait(ask("http://h/", method::post)).outcome, outcome::unknown);
}

TEST_F(client, retry_after_is_kept_to) {
  auto& c = make({status(429, "", {{"retry-after", "100"}})});
  std::promise<void> over;
  c.send(ask("http://h/"), [&](http::answer const& a) {
    EXPECT_EQ(a.outcome, outcome::cancelled);
    over.set_value();
  });
  while (c.count().outcomes[static_cast<int>(outcome::overload)] == 0) std::this_thread::yield();
  EXPECT_EQ(c.count().waiting, 1u) << "for a hundred seconds, not for the backoff's two milliseconds";
  c.stop();
  over.get_future().get();
  EXPECT_EQ(sent(), 1u);
}

TEST_F(client, stop_ends_everything_once) {
  auto& c = make({});
  std::mutex mutex;
  std::vector<http::answer> ended;
  for (int i = 0; i < 5; ++i)
    c.send(ask("http://h/", method::post), [&](http::answer a) {
      std::lock_guard const lock(mutex);
      ended.push_back(std::move(a));
    });
  while (sent() < 2) std::this_thread::yield();
  c.stop();
  c.stop();
  EXPECT_EQ(c.send_and_wait(ask("http://h/")).outcome, outcome::cancelled);
  loop_.run([] {});
  loop_.run([] {});
  std::lock_guard const lock(mutex);
  ASSERT_EQ(ended.size(), 5u);
  int under_way = 0;
  for (auto const& a : ended) {
    EXPECT_EQ(a.outcome, outcome::cancelled);
    EXPECT_EQ(a.reply.request_sent, a.attempts == 1);
    under_way += a.attempts == 1;
  }
  EXPECT_EQ(under_way, 2);
  EXPECT_EQ(sent(), 2u);
  EXPECT_EQ(c.count().waiting, 0u);
  EXPECT_EQ(c.count().in_flight, 0u);
}

TEST_F(client, destruction_tells_who_waits) {
  auto& c = make({});
  std::promise<http::answer> ended;
  c.send(ask("http://h/"), [&](http::answer a) { ended.set_value(std::move(a)); });
  client_.reset();
  EXPECT_EQ(ended.get_future().get().outcome, outcome::cancelled);
}

TEST_F(client, waiting_on_the_loops_thread_is_refused) {
  auto& c = make({status(200)});
  loop_.run([&] {
    auto const a = c.send_and_wait(ask("http://h/"));
    EXPECT_EQ(a.reply.error, failure::other);
  });
  EXPECT_EQ(sent(), 0u);
}

TEST_F(client, the_loop_may_end_with_requests_under_way) {
  auto other = std::make_unique<test::loop>();
  auto c = std::make_unique<http::client>(other->io, std::make_unique<fake>(other->io, record_), fast(), "netbox");
  auto waiter = std::async(std::launch::async, [&] { return c->send_and_wait(ask("http://h/")); });
  while (sent() == 0) std::this_thread::yield();
  other->end();
  c.reset();      // cannot be told on a loop that has ended
  other.reset();  // but nobody waits for ever
  EXPECT_EQ(waiter.get().outcome, outcome::cancelled);
}

TEST_F(client, sends_from_many_threads) {
  test::scripted_server server([](auto const&, test::connection& c) { c.write(answer(200, "a")); });
  auto l = fast();
  l.max_in_flight = 3;
  http::client c(loop_.io, http::make_curl_transport(loop_.io, {}, 3), l, "netbox");
  std::vector<std::future<int>> workers;
  for (int w = 0; w < 4; ++w)
    workers.push_back(std::async(std::launch::async, [&, w] {
      int fine = 0;
      for (int i = 0; i < 25; ++i) {
        auto what = ask(server.url("/"));
        what.lane = "lane" + std::to_string(w);
        fine += c.send_and_wait(std::move(what)).outcome == outcome::ok;
      }
      return fine;
    }));
  for (auto& w : workers) EXPECT_EQ(w.get(), 25);
  EXPECT_EQ(c.count().started, 100u);
  EXPECT_LE(c.count().peak_in_flight, 3u);
  EXPECT_LE(server.peak_connections(), 3u);
  EXPECT_GE(c.time_in_flight().count(), 0);
}

TEST_F(client, over_loopback_a_stale_connection_costs_a_get_nothing) {
  test::scripted_server server([](test::seen_request const& r, test::connection& c) {
    if (r.on_connection == 0) return c.write(answer(200, "a"));
    c.close();
  });
  http::client c(loop_.io, http::make_curl_transport(loop_.io, {}, 2), fast(), "netbox");
  EXPECT_EQ(c.send_and_wait(ask(server.url("/1"))).attempts, 1u);
  auto const second = c.send_and_wait(ask(server.url("/2")));
  EXPECT_EQ(second.outcome, outcome::ok);
  EXPECT_EQ(second.attempts, 2u);
  auto const post = c.send_and_wait(ask(server.url("/3"), method::post));
  EXPECT_EQ(post.outcome, outcome::stale);
  EXPECT_EQ(post.attempts, 1u);
  EXPECT_EQ(server.seen().size(), 4u);
}

TEST_F(client, logs_each_request_at_debug_and_repeats_seldom) {
  base::log::configure(base::log::level::debug, base::log::format::logfmt, false);
  testing::internal::CaptureStderr();
  std::deque<http::reply> answers;
  for (int i = 0; i < 3; ++i)
    answers.push_back(
        status(500, R"({"error":"too many clients, nbt_key.SEKRETSEKRET","exception":"OperationalError"})"));
  answers.push_back(status(200));
  auto& c = make(answers);
  EXPECT_EQ(c.send_and_wait(ask("http://h/api/x/?q=PRIVATE&limit=5")).attempts, 4u);
  c.stop();
  loop_.run([] {});
  auto const log = testing::internal::GetCapturedStderr();
  base::log::configure(base::log::level::info, base::log::format::text, false);
  auto const count = [&](std::string const& part) {
    int n = 0;
    for (auto at = log.find(part); at != std::string::npos; at = log.find(part, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("level=debug"), 4) << log;
  EXPECT_EQ(count("will be tried again"), 1) << log;
  EXPECT_EQ(count("2 more requests were tried again after 'overload'"), 1) << log;
  EXPECT_EQ(count("too many clients"), 1) << log;
  EXPECT_EQ(count("/api/x/?q&limit"), 5) << log;
  EXPECT_EQ(count("stage=backups"), 5) << log;
  EXPECT_EQ(count("SEKRET"), 0) << log;
  EXPECT_EQ(count("PRIVATE"), 0) << log;
}

}  // namespace
