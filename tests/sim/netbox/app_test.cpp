// The simulated NetBox without a socket: times from a clock of the caller's, its change log, reads by time.
#include "core/sim/netbox_app.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;
using weir::sim::http_response;
using weir::sim::netbox_app;

constexpr std::int64_t day = 86'400'000'000;

class app_test : public ::testing::Test {
 protected:
  std::int64_t now = 1'700'000'000'000'000;  // 2023-11-14T22:13:20Z
  netbox_app app{{.clock = [this] { return now; }}};

  http_response call(std::string const& method, std::string const& target, json const& body = nullptr) {
    return app.handle(
        {method,
         target,
         {{"Host", "netbox.example"}, {"Authorization", "Bearer " + app.token()}, {"Content-Type", "application/json"}},
         body.is_null() ? "" : body.dump()});
  }
  json ok(std::string const& method, std::string const& target, json const& body = nullptr) {
    auto const r = call(method, target, body);
    EXPECT_LT(r.status, 300) << method << " " << target << ": " << r.body;
    return r.body.empty() ? json() : json::parse(r.body);
  }
  // One of each type that is written by a sync, marked with `message`; the lists' addresses.
  std::vector<std::string> one_of_each(std::string const& tag, std::string const& message) {
    std::vector<std::string> lists;
    auto const add = [&](std::string const& path, json object) {
      object["changelog_message"] = message;
      auto const made = ok("POST", path, json::array({object}));
      lists.push_back(path);
      return made.is_array() && !made.empty() ? made[0]["id"].get<std::int64_t>() : 0;
    };
    add("/api/extras/tags/", {{"name", tag}, {"slug", tag}});
    add("/api/extras/custom-fields/",
        {{"name", tag}, {"type", "text"}, {"object_types", {"virtualization.virtualmachine"}}});
    auto const site = add("/api/dcim/sites/", {{"name", tag}, {"slug", tag}});
    auto const maker = add("/api/dcim/manufacturers/", {{"name", tag}, {"slug", tag}});
    auto const type = add("/api/dcim/device-types/", {{"model", tag}, {"slug", tag}, {"manufacturer", maker}});
    auto const role = add("/api/dcim/device-roles/", {{"name", tag}, {"slug", tag}});
    auto const kind = add("/api/virtualization/cluster-types/", {{"name", tag}, {"slug", tag}});
    auto const cluster = add("/api/virtualization/clusters/", {{"name", tag}, {"type", kind}});
    add("/api/dcim/devices/", {{"name", tag}, {"device_type", type}, {"role", role}, {"site", site}});
    auto const vm = add("/api/virtualization/virtual-machines/", {{"name", tag}, {"cluster", cluster}});
    add("/api/plugins/proxbox/storage/", {{"name", tag}, {"cluster", cluster}});
    add("/api/plugins/proxbox/backups/", {{"virtual_machine", vm}, {"volume_id", tag}});
    return lists;
  }
};

}  // namespace

TEST_F(app_test, takes_its_times_from_the_clock_that_it_is_given) {
  auto const made = ok("POST", "/api/extras/tags/", {{"name", "a"}, {"slug", "a"}});
  EXPECT_EQ(made["created"].get<std::string>().substr(0, 19), "2023-11-14T22:13:20");
  now += day;
  auto const changed = ok("PATCH", "/api/extras/tags/1/", {{"description", "b"}});
  EXPECT_EQ(changed["created"], made["created"]);
  EXPECT_EQ(changed["last_updated"], "2023-11-15T22:13:20Z");
  auto const log = ok("GET", "/api/core/object-changes/");
  EXPECT_EQ(log["results"][0]["time"].get<std::string>().substr(0, 19), "2023-11-15T22:13:20");
  // Two changes are told apart although the clock stands still.
  EXPECT_NE(ok("PATCH", "/api/extras/tags/1/", {{"description", "c"}})["last_updated"], changed["last_updated"]);
}

TEST(app, answers_the_same_to_the_same_calls) {
  auto const run = [] {
    std::int64_t now = 1'700'000'000'000'000;
    netbox_app app({.clock = [&now] { return now += 1000; }});
    std::string seen;
    auto const call = [&](std::string const& method, std::string const& target, std::string const& body = "") {
      auto const r = app.handle({method,
                                 target,
                                 {{"Host", "netbox.example"},
                                  {"Authorization", "Bearer " + app.token()},
                                  {"Content-Type", "application/json"}},
                                 body});
      seen += std::to_string(r.status) + r.body;
      for (auto const& [name, value] : r.headers) seen += name + value;
    };
    call("POST", "/api/extras/tags/", R"([{"name":"a","slug":"a"},{"name":"b","slug":"b"}])");
    call("PATCH", "/api/extras/tags/", R"([{"id":2,"description":"c"},{"id":3}])");
    call("DELETE", "/api/extras/tags/1/");
    call("GET", "/api/core/object-changes/");
    return seen + app.dump();
  };
  EXPECT_EQ(run(), run());
}

TEST_F(app_test, finds_every_change_of_a_batch_by_its_message) {
  auto const lists = one_of_each("x", "weir 7f3a/12");
  now += day;
  one_of_each("y", "weir 7F3A/13");
  auto const n = lists.size();
  auto const found = ok("GET", "/api/core/object-changes/?q=7F3A/12&limit=1000");
  EXPECT_EQ(found["count"], n);
  for (auto const& c : found["results"]) {
    EXPECT_EQ(c["message"], "weir 7f3a/12");
    EXPECT_EQ(c["action"], json({{"value", "create"}, {"label", "Created"}}));
    EXPECT_GT(c["changed_object_id"], 0);
    EXPECT_FALSE(c["request_id"].get<std::string>().empty());
    EXPECT_EQ(c["user_name"], "admin");
  }
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?q=weir")["count"], 2 * n);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?q=weir&changed_object_type=netbox_proxbox.vmbackup")["count"], 2);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?time_after=2023-11-15T00:00:00Z")["count"], n);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?time_before=2023-11-15T00:00:00Z")["count"], n);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?action=delete")["count"], 0);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?action=delete&action=create")["count"], 2 * n);
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?message=nothing")["count"], 2 * n) << "no such filter";
  EXPECT_EQ(call("GET", "/api/core/object-changes/?time_after=soon").status, 400);
}

TEST_F(app_test, pages_the_change_log_by_cursor) {
  one_of_each("x", "a");
  one_of_each("y", "b");
  std::vector<std::int64_t> ids;
  std::string target = "/api/core/object-changes/?q=b&start=0&limit=5";
  int pages = 0;
  while (true) {
    auto const page = ok("GET", target);
    ++pages;
    EXPECT_TRUE(page["count"].is_null());
    for (auto const& c : page["results"]) ids.push_back(c["id"].get<std::int64_t>());
    if (page["next"].is_null()) break;
    target = page["next"].get<std::string>().substr(std::string("http://netbox.example").size());
    ASSERT_LT(pages, 10);
  }
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(ids.size(), 12U);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(call("GET", "/api/core/object-changes/?start=0&offset=2").body,
            R"(["'start' and 'offset' are mutually exclusive."])");
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?id__gte=" + std::to_string(ids.back()))["count"], 1);
}

TEST_F(app_test, reads_every_list_by_the_time_of_creation) {
  one_of_each("x", "a");
  now += day;
  for (auto const& list : one_of_each("y", "b")) {
    auto const names = [&](std::string const& filter) {
      auto const page = ok("GET", list + "?start=0&" + filter);
      auto text = page["results"].dump();
      return std::pair(page["results"].size(), text.find("\"y\"") != std::string::npos);
    };
    EXPECT_EQ(names("created__gte=2023-11-15T22:13:20Z"), std::pair(std::size_t{1}, true)) << list;
    EXPECT_EQ(names("created__gte=2023-11-15T22:13:20.000000%2B00:00"), std::pair(std::size_t{1}, true)) << list;
    EXPECT_EQ(names("created__gte=2023-11-16T00:00:00Z").first, 0U) << list;
    EXPECT_EQ(names("last_updated__gte=2023-11-15T22:13:20Z"), std::pair(std::size_t{1}, true)) << list;
    EXPECT_EQ(call("GET", list + "?created__gte=soon").status, 400) << list;
  }
}

TEST_F(app_test, says_what_a_request_without_a_connection_hears) {
  auto const text = [](http_response const& r) {
    EXPECT_EQ(r.status, 500);
    auto const body = json::parse(r.body);
    EXPECT_EQ(body["exception"], "OperationalError");
    return body["error"].get<std::string>();
  };
  EXPECT_NE(text(app.no_connection()).find("remaining connection slots are reserved"), std::string::npos);
  EXPECT_NE(text(app.database_down()).find("Connection refused"), std::string::npos);
  auto options = app.options();
  options.db_down = true;
  app.configure(options);
  EXPECT_EQ(text(call("POST", "/api/extras/tags/", {{"name", "a"}, {"slug", "a"}})), text(app.database_down()));
  options.db_down = false;
  app.configure(options);
  EXPECT_EQ(ok("GET", "/api/extras/tags/")["count"], 0);
}
