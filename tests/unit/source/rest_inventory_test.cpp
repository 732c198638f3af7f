// The rest source against the simulated inventory: each way of paging gives the same devices, none missing, none twice.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"
#include "core/sim/inventory.hpp"
#include "core/source/source.hpp"
#include "unit/http/loop.hpp"

namespace {

using namespace weir;
using nlohmann::json;
using styles = config::paging::styles;

bool const no_proxy = [] { return ::setenv("no_proxy", "*", 1) == 0; }();

struct way {
  char const* name;
  config::paging how;
  std::size_t requests;  // for 120 devices, 50 of them on a page
};

void PrintTo(way const& w, std::ostream* out) { *out << w.name; }

config::paging paging(styles style, std::string items, std::string next, std::string parameter,
                      std::string size_parameter, std::string total = {}) {
  config::paging p;
  p.style = style;
  p.items = std::move(items);
  p.next = std::move(next);
  p.parameter = std::move(parameter);
  p.size_parameter = std::move(size_parameter);
  p.size = 50;
  p.total = std::move(total);
  return p;
}

class inventory : public testing::TestWithParam<way> {
 protected:
  void SetUp() override { base::log::configure(base::log::level::error, base::log::format::text, false); }
  void TearDown() override {
    source_.reset();
    loop_.run([] {});
    base::log::configure(base::log::level::info, base::log::format::text, false);
  }
  source::fetched read(std::string const& query = "") {
    config::source s;
    s.name = "inventory";
    s.type = "rest";
    s.urls = {server_.url() + "/api"};
    s.username = "weir";
    s.password = base::secret("simulated");
    s.paging = GetParam().how;
    source_.reset();
    source_ = source::make_source(loop_.io, s);
    return source_->fetch_and_wait(path() + query, "devices");
  }
  static std::string path() {
    return GetParam().how.style == styles::none ? "/devices" : std::string("/") + GetParam().name + "/devices";
  }
  // Never a part of the list, and an error that says what happened.
  void expect_error(source::fetched const& f, std::string const& says) {
    EXPECT_FALSE(f.ok());
    EXPECT_EQ(f.body, "");
    EXPECT_NE(f.error.text().find(says), std::string::npos) << f.error.text();
  }
  bool paged() const { return GetParam().how.style != styles::none; }

  test::loop loop_;
  sim::inventory_server server_;
  std::unique_ptr<source::source> source_;
};

TEST_P(inventory, comes_whole) {
  auto const f = read();
  ASSERT_TRUE(f.ok()) << f.error.text();
  EXPECT_EQ(f.body, server_.model());
  EXPECT_EQ(server_.counters().total, GetParam().requests);
  auto const version = source_->check();
  ASSERT_TRUE(version) << version.error().text();
}

TEST_P(inventory, filtered) {
  auto const f = read("?site=Z%C3%BCrich");
  ASSERT_TRUE(f.ok()) << f.error.text();
  json expected = json::array();
  for (auto const& device : json::parse(server_.model()))
    if (device["site"] == "Zürich") expected.push_back(device);
  EXPECT_GT(expected.size(), 10u);
  EXPECT_EQ(json::parse(f.body), expected);
}

TEST_P(inventory, of_nothing) {
  server_.set_model("[]");
  auto const f = read();
  ASSERT_TRUE(f.ok()) << f.error.text();
  EXPECT_EQ(f.body, "[]");
}

TEST_P(inventory, comes_whole_after_faults) {
  server_.set_faults(R"([{"path_regex": "/devices", "status": 429, "headers": {"Retry-After": "0"}, "body": "{}"},
                         {"path_regex": "/devices", "skip": 1, "status": 500, "body": "{}"},
                         {"path_regex": "/devices", "skip": 1, "truncate_body_at": 20}])");
  auto const f = read();
  ASSERT_TRUE(f.ok()) << f.error.text();
  EXPECT_EQ(f.body, server_.model());
  EXPECT_GT(server_.counters().by_status.at(429), 0u);
}

TEST_P(inventory, is_refused_where_it_goes_wrong) {
  auto const skip = paged() ? "1" : "0";  // the second page, where there is one
  server_.set_faults(std::string(R"([{"path_regex": "/devices", "times": -1, "skip": )") + skip +
                     R"(, "status": 200, "body": "<!DOCTYPE html><p>Log in"}])");
  expect_error(read(), "the answer is HTML, not JSON");
  server_.set_faults(std::string(R"([{"path_regex": "/devices", "times": -1, "skip": )") + skip +
                     R"(, "status": 302, "headers": {"Location": "http://127.0.0.2:1/login"}}])");
  expect_error(read(), "credentials are never sent to another origin");
}

class repeating : public inventory {};
TEST_P(repeating, a_page) {
  server_.set_options(R"({"repeat_page": 2})");
  expect_error(read(), "page 3 at " + server_.url() + "/api: the answer is a page that came before");
}

class pointing : public inventory {};
TEST_P(pointing, to_another_origin) {
  server_.set_options(R"({"foreign_next": "https://evil.example"})");
  expect_error(read(), "is on https://evil.example, not on http://127.0.0.1");
}

class shrinking : public inventory {};
TEST_P(shrinking, while_it_is_read) {
  server_.set_options(R"({"shrink_at": 1})");
  expect_error(read(), "it shrank while it was read");
}

way const none{"none", {}, 1}, link{"link", paging(styles::link, "", "", "", "per_page"), 3},
    next{"next", paging(styles::next, "results", "next", "", "limit", "count"), 3},
    page{"page", paging(styles::page, "data", "", "page", "per_page", "meta.total"), 3},
    offset{"offset", paging(styles::offset, "rows", "", "offset", "limit"), 4},
    cursor{"cursor", paging(styles::cursor, "devices", "response_metadata.next_cursor", "cursor", "limit"), 3};

std::string name_of(testing::TestParamInfo<way> const& one) { return one.param.name; }

INSTANTIATE_TEST_SUITE_P(ways, inventory, testing::Values(none, link, next, page, offset, cursor), name_of);
INSTANTIATE_TEST_SUITE_P(ways, repeating, testing::Values(link, next, page, offset, cursor), name_of);
INSTANTIATE_TEST_SUITE_P(ways, pointing, testing::Values(link, next), name_of);
INSTANTIATE_TEST_SUITE_P(ways, shrinking, testing::Values(next, page), name_of);

}  // namespace
