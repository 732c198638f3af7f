// The client's requests and what it makes of the answers, over a transport that answers from a function.
#include "core/netbox/client.hpp"

#include <gtest/gtest.h>

#include <boost/asio/post.hpp>
#include <mutex>
#include <nlohmann/json.hpp>

#include "unit/http/loop.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;
using throttle::method;

struct answering : http::transport {
  using server = std::function<http::reply(http::request const&)>;
  answering(boost::asio::io_context& io, server s) : io_(io), server_(std::move(s)) {}
  void send(http::request const& what, std::function<void(http::reply)> done) override {
    boost::asio::post(io_, [done = std::move(done), r = server_(what)] { done(r); });
  }
  void cancel_all() override {}
  boost::asio::io_context& io_;
  server server_;
};

http::reply ok(json const& body) {
  http::reply r;
  r.status = 200;
  r.headers = {{"content-type", "application/json"}, {"date", "Sun, 22 Nov 2026 12:00:00 GMT"}};
  r.body = body.dump();
  r.request_sent = r.reply_started = true;
  r.elapsed = std::chrono::milliseconds(100);
  return r;
}
http::reply refused(int status, char const* detail) {
  auto r = ok({{"detail", detail}});
  r.status = status;
  return r;
}

class netbox_client : public testing::Test {
 protected:
  client& make(answering::server server) {
    throttle::limits l;
    l.requests_per_second = 0;
    l.control = throttle::control::adaptive;
    l.backoff_base = l.backoff_cap = std::chrono::milliseconds(1);
    wire_ = std::make_unique<http::client>(loop_.io,
                                           std::make_unique<answering>(loop_.io,
                                                                       [this, server](auto const& r) {
                                                                         std::scoped_lock lock(mutex_);
                                                                         asked_.push_back(r.url);
                                                                         return server(r);
                                                                       }),
                                           l, "netbox");
    config::netbox where;
    where.url = "http://netbox";
    where.token = base::secret("nbt_x");
    client_ = std::make_unique<client>(*wire_, where, config::profile{});
    return *client_;
  }
  std::vector<std::string> asked() {
    std::scoped_lock lock(mutex_);
    return asked_;
  }
  test::loop loop_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::unique_ptr<http::client> wire_;
  std::unique_ptr<client> client_;
  registry kinds_;
};

json entry(int object, char const* message, char const* action = "create") {
  return {{"id", object * 10},
          {"action", {{"value", action}, {"label", "x"}}},
          {"changed_object_type", "dcim.site"},
          {"changed_object_id", object},
          {"message", message}};
}

// q is a search within several fields: NetBox also answers with what only looks like it.
TEST_F(netbox_client, takes_only_the_change_log_entries_of_exactly_this_marker) {
  auto& c = make([](auto const&) {
    return ok(
        {{"results",
          {entry(3, "weir run 7f3a2c1b#12 a/b"), entry(2, "weir run 7f3a2c1b#12 a/b, said somebody"),
           entry(1, "weir run 7f3a2c1b#12 a/b"), entry(9, "weir run 7f3a2c1b#123 a/b"), json(17), json::object()}}});
  });
  auto const got = c.find_changes("7f3a2c1b#12 a/b", "weir run 7f3a2c1b#12 a/b", "lane");
  ASSERT_TRUE(got) << got.error().what;
  ASSERT_EQ(got->size(), 2u);
  EXPECT_EQ((*got)[0].object_id, 1u) << "oldest first";
  EXPECT_EQ((*got)[1].object_id, 3u);
  EXPECT_EQ((*got)[0].action, "create");
  EXPECT_EQ((*got)[0].object_type, "dcim.site");
  ASSERT_EQ(asked().size(), 1u);
  EXPECT_NE(asked()[0].find("q=7f3a2c1b%2312%20a%2Fb"), std::string::npos) << asked()[0];
}

TEST_F(netbox_client, says_that_the_change_log_may_not_be_read) {
  auto& c = make([](auto const&) { return refused(403, "You do not have permission to perform this action."); });
  auto const got = c.find_changes("x", "x", "lane");
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, base::error_code::credentials);
  EXPECT_NE(got.error().hint.find("core.view_objectchange"), std::string::npos);
}

TEST_F(netbox_client, knows_netboxs_clock_and_asks_for_recent_objects_by_it) {
  auto& c = make([](http::request const& r) {
    if (r.url.find("/status/") != std::string::npos) return ok({{"netbox-version", "4.7.3"}});
    return ok({{"results", json::array()}, {"next", nullptr}});
  });
  ASSERT_TRUE(c.status());
  auto const noon = std::chrono::sys_days(std::chrono::year(2026) / 11 / 22) + std::chrono::hours(12);
  EXPECT_LT(std::chrono::abs(c.server_time() - noon), std::chrono::minutes(5));
  ASSERT_TRUE(c.read_all(
      *kinds_.find("dcim.site"), {"slug"}, "lane", [](auto const&) {}, noon));
  EXPECT_NE(asked().back().find("created__gte=2026-11-22T12%3A00%3A00Z"), std::string::npos) << asked().back();
}

TEST_F(netbox_client, reads_in_pages_whose_size_follows_what_they_take) {
  std::size_t served = 0;
  auto& c = make([&](http::request const& r) {
    auto const limit = std::stoul(r.url.substr(r.url.find("limit=") + 6));
    json results = json::array();
    for (std::size_t i = 0; i < limit && served < 3000; ++i)
      results.push_back({{"id", ++served}, {"slug", std::string(900, 'x')}});
    auto reply = ok({{"results", results}, {"next", served < 3000 ? json("more") : json()}});
    reply.elapsed = std::chrono::milliseconds(10 * (100 + results.size()));  // a slow one: 10 ms an object
    return reply;
  });
  std::size_t seen = 0;
  ASSERT_TRUE(c.read_all(*kinds_.find("dcim.site"), {"slug"}, "lane", [&](auto const&) { ++seen; }));
  EXPECT_EQ(seen, 3000u);
  std::size_t largest_later = 0;
  for (std::size_t i = 1; i < asked().size(); ++i) {
    auto const url = asked()[i];
    largest_later = std::max<std::size_t>(largest_later, std::stoul(url.substr(url.find("limit=") + 6)));
  }
  EXPECT_LE(largest_later, 120u) << "250 took 3.5 s";
  EXPECT_GE(largest_later, 10u);
}

}  // namespace
}  // namespace weir::netbox
