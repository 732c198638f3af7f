// What the recordings do not show: paging over many rows, faults, the model of threads and connections, rights,
// cascades.
#include "core/sim/netbox.hpp"
#include "sim/raw_client.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

namespace {

using nlohmann::json;
using sim_test::once;

class netbox : public ::testing::Test {
 protected:
  weir::sim::netbox_server server;

  sim_test::header_list headers(std::string const& token = "") const {
    return {{"Authorization", "Bearer " + (token.empty() ? server.token() : token)},
            {"Content-Type", "application/json"},
            {"Accept", "application/json"}};
  }
  sim_test::reply call(std::string const& method, std::string const& target, json const& body = nullptr) const {
    return once(server.url(), method, target, headers(), body.is_null() ? "" : body.dump());
  }
  json ok(std::string const& method, std::string const& target, json const& body = nullptr) const {
    auto const r = call(method, target, body);
    EXPECT_LT(r.status, 300) << method << " " << target << ": " << r.body;
    return r.body.empty() ? json() : json::parse(r.body);
  }
  // A cluster with a host and some virtual machines, named vm-1 and so on.
  void machines(int n) const {
    ok("POST", "/api/virtualization/cluster-types/", {{"name", "Proxmox VE"}, {"slug", "proxmox-ve"}});
    ok("POST", "/api/virtualization/clusters/", {{"name", "c"}, {"type", 1}});
    auto list = json::array();
    for (int i = 1; i <= n; ++i) list.push_back({{"name", "vm-" + std::to_string(i)}, {"cluster", 1}});
    ok("POST", "/api/virtualization/virtual-machines/", list);
  }
  void backups(int from, int n, int machine_count) const {
    auto list = json::array();
    for (int i = from; i < from + n; ++i)
      list.push_back({{"virtual_machine", 1 + i % machine_count},
                      {"storage", "s"},
                      {"volume_id", "v" + std::to_string(i)},
                      {"vmid", 100 + i % machine_count}});
    ok("POST", "/api/plugins/proxbox/backups/", list);
  }
};

}  // namespace

TEST_F(netbox, pages_by_cursor_over_every_row_once) {
  machines(10);
  for (int i = 0; i < 5; ++i) backups(i * 500, 500, 10);
  std::set<std::int64_t> seen;
  std::string target = "/api/plugins/proxbox/backups/?start=0&limit=1000&fields=id,volume_id";
  int pages = 0;
  while (true) {
    auto const page = ok("GET", target);
    ++pages;
    EXPECT_TRUE(page["count"].is_null());
    for (auto const& row : page["results"]) {
      EXPECT_EQ(row.size(), 2U);
      EXPECT_TRUE(seen.insert(row["id"].get<std::int64_t>()).second);
    }
    if (page["next"].is_null()) break;
    target = page["next"].get<std::string>().substr(server.url().size());
  }
  EXPECT_EQ(seen.size(), 2500U);
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?limit=5000&fields=id")["results"].size(), 1000U);
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?fields=id")["results"].size(), 50U);
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?storage=nosuch&limit=1")["count"], 2500)
      << "?storage= is no filter";
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?virtual_machine=3&limit=1")["count"], 250);
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?volume_id=v7&volume_id=v8&limit=1")["count"], 2);
}

TEST_F(netbox, answers_a_list_patch_in_its_own_order_and_keeps_custom_fields_that_are_not_named) {
  machines(3);
  for (auto const* name : {"a", "b"})
    ok("POST", "/api/extras/custom-fields/",
       {{"name", name}, {"type", "text"}, {"object_types", {"virtualization.virtualmachine"}}});
  auto const path = "/api/virtualization/virtual-machines/";
  ok("PATCH", path, json::array({{{"id", 2}, {"name", "z"}, {"custom_fields", {{"a", "1"}, {"b", "2"}}}}}));
  auto const answer = ok("PATCH", path,
                         json::array({{{"id", 2}, {"custom_fields", {{"b", "3"}}}},
                                      {{"id", 3}, {"comments", " x "}},
                                      {{"id", 1}, {"comments", "y"}}}));
  ASSERT_EQ(answer.size(), 3U);
  EXPECT_EQ(answer[0]["id"], 1);
  EXPECT_EQ(answer[1]["id"], 3);
  EXPECT_EQ(answer[1]["comments"], "x") << "NetBox strips what surrounds a text";
  EXPECT_EQ(answer[2]["id"], 2);
  EXPECT_EQ(answer[2]["custom_fields"]["a"], "1");
  EXPECT_EQ(answer[2]["custom_fields"]["b"], "3");
  EXPECT_EQ(
      call("PATCH", path, json::array({{{"id", 1}, {"custom_fields", {{"a", 5}}}}})).body,
      R"({"detail":"1 of 1 objects could not be updated.","errors":[{"errors":{"__all__":["Invalid value for custom field 'a': Value must be a string."]},"id":1}]})");
}

TEST_F(netbox, holds_the_rules_of_hosts_and_deletes_what_hangs_on_a_machine) {
  machines(2);
  backups(0, 4, 2);
  ok("POST", "/api/dcim/manufacturers/", {{"name", "P"}, {"slug", "p"}});
  ok("POST", "/api/dcim/device-types/", {{"manufacturer", {{"slug", "p"}}}, {"model", "node"}, {"slug", "node"}});
  ok("POST", "/api/dcim/sites/", {{"name", "S"}, {"slug", "s"}});
  ok("POST", "/api/dcim/devices/",
     json::array({{{"name", "n1"}, {"device_type", 1}, {"role", 1}, {"site", 1}, {"cluster", 1}},
                  {{"name", "n2"}, {"device_type", 1}, {"role", 1}, {"site", 1}}}));
  EXPECT_EQ(call("POST", "/api/dcim/devices/", {{"name", "N1"}, {"device_type", 1}, {"role", 1}, {"site", 1}}).body,
            R"({"__all__":["Device name must be unique per site and tenant."]})");
  EXPECT_EQ(call("PATCH", "/api/virtualization/virtual-machines/1/", {{"device", 2}}).body,
            R"({"device":["The selected device (n2) is not assigned to this cluster (c)."]})");
  EXPECT_EQ(ok("PATCH", "/api/virtualization/virtual-machines/1/", {{"device", 1}})["site"]["id"], 1)
      << "a machine takes its host's site";
  EXPECT_EQ(call("DELETE", "/api/dcim/devices/1/").status, 409);
  EXPECT_EQ(call("DELETE", "/api/virtualization/virtual-machines/", json::array({{{"id", 1}}})).status, 204);
  EXPECT_EQ(ok("GET", "/api/plugins/proxbox/backups/?limit=1")["count"], 2) << "its backups go with it";
  EXPECT_EQ(call("DELETE", "/api/dcim/devices/1/").status, 204);
}

TEST_F(netbox, finds_a_batch_by_its_changelog_message) {
  machines(1);
  ok("POST", "/api/plugins/proxbox/backups/",
     json::array({{{"virtual_machine", 1}, {"volume_id", "x"}, {"changelog_message", "weir 7f3a/12"}}}));
  auto const found = ok("GET", "/api/core/object-changes/?q=7f3a/12");
  ASSERT_EQ(found["count"], 1);
  EXPECT_EQ(found["results"][0]["changed_object_type"], "netbox_proxbox.vmbackup");
  EXPECT_EQ(found["results"][0]["message"], "weir 7f3a/12");
  EXPECT_EQ(ok("GET", "/api/core/object-changes/?q=7f3a/13")["count"], 0);
}

TEST_F(netbox, fails_as_it_is_told) {
  server.set_faults(
      R"([{"path_regex":"/tags/","method":"POST","status":502,"body":"<html>502</html>","after_commit":true},
                        {"path_regex":"/sites/","cut":true,"skip":1},
                        {"path_regex":"/manufacturers/","truncate_body_at":10,"times":-1}])");
  EXPECT_EQ(call("POST", "/api/extras/tags/", {{"name", "t"}, {"slug", "t"}}).status, 502);
  EXPECT_EQ(ok("GET", "/api/extras/tags/")["count"], 1) << "it was committed all the same";
  EXPECT_EQ(call("GET", "/api/dcim/sites/").status, 200);
  EXPECT_EQ(call("GET", "/api/dcim/sites/").status, 0);
  EXPECT_EQ(call("GET", "/api/dcim/sites/").status, 200);
  for (int i = 0; i < 2; ++i) {
    auto const cut = call("GET", "/api/dcim/manufacturers/");
    EXPECT_FALSE(cut.complete);
    EXPECT_EQ(cut.body, "{\"count\":0");
  }
  auto const c = server.counters();
  EXPECT_EQ(c.by_status.at(502), 1U);
  EXPECT_EQ(c.by_status.at(0), 1U);
  EXPECT_EQ(c.objects_written, 1U);
  EXPECT_EQ(c.by_endpoint.at("GET /api/dcim/sites/"), 3U);
  EXPECT_THROW(server.set_faults(R"([{"path":"/x"}])"), std::invalid_argument);
}

TEST_F(netbox, denies_and_hides_as_configured) {
  server.set_options(
      R"({"plugin":false,"version":"4.2.9","tokens":[{"token":"t1","denied":["extras.tag:add"]},{"token":"t2","read_only":true}]})");
  auto const post = [&](std::string const& token, std::string const& path) {
    return once(server.url(), "POST", path, headers(token), R"({"name":"a","slug":"a"})").status;
  };
  EXPECT_EQ(post("t1", "/api/extras/tags/"), 403);
  EXPECT_EQ(post("t1", "/api/dcim/sites/"), 201);
  EXPECT_EQ(post("t2", "/api/dcim/sites/"), 403);
  EXPECT_EQ(post("t3", "/api/dcim/sites/"), 403);
  auto const missing = call("GET", "/api/plugins/proxbox/backups/");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.header("content-type"), "text/html; charset=utf-8");
  auto const status = ok("GET", "/api/status/");
  EXPECT_EQ(status["netbox-version"], "4.2.9");
  EXPECT_TRUE(status["plugins"].empty());
  EXPECT_EQ(missing.header("api-version"), "4.2");
  EXPECT_EQ(call("POST", "/api/extras/custom-fields/",
                 {{"name", "x"}, {"type", "text"}, {"object_types", {"netbox_proxbox.vmbackup"}}})
                .body,
            R"({"object_types":["Invalid content type: netbox_proxbox.vmbackup"]})");
}

TEST_F(netbox, refuses_what_is_too_large) {
  auto const big = once(server.url(), "POST", "/api/extras/tags/", headers(), "[" + std::string(2'621'440, ' '));
  EXPECT_EQ(big.status, 500);
  EXPECT_EQ(json::parse(big.body)["exception"], "RequestDataTooBig");
  EXPECT_EQ(call("GET", "/api/extras/tags/?q=" + std::string(4100, 'x')).header("content-type"),
            "text/html; charset=utf-8");
}

namespace {

// Sends `requests` in all, `at_once` at a time, and counts the failures.
int failures(weir::sim::netbox_server const& server, int requests, int at_once) {
  std::atomic<int> left{requests};
  std::atomic<int> failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < at_once; ++i)
    clients.emplace_back([&] {
      while (left-- > 0)
        if (once(server.url(), "GET", "/api/status/", {{"Authorization", "Bearer " + server.token()}}).status == 500)
          ++failed;
    });
  for (auto& client : clients) client.join();
  return failed;
}

}  // namespace

TEST_F(netbox, runs_out_of_connections_when_many_threads_are_touched_and_stays_so_until_restarted) {
  server.set_options(R"({"workers":2,"threads":8,"db_connections":7,"conn_max_age_ms":300000,"base_us":3000})");
  EXPECT_EQ(failures(server, 5, 1), 0) << "a few requests one after the other touch a few threads";
  EXPECT_GT(failures(server, 200, 16), 0);
  EXPECT_EQ(server.peak_connections(), 7);
  EXPECT_GT(failures(server, 60, 1), 0) << "poisoned: the other threads find no connection even now";
  EXPECT_GT(server.database_errors(), 0U);
  EXPECT_EQ(once(server.url(), "POST", "/_sim/restart").status, 200);
  server.reset_counters();
  EXPECT_EQ(failures(server, 5, 1), 0);
}

TEST_F(netbox, without_persistent_connections_only_the_requests_in_flight_count) {
  server.set_options(R"({"workers":1,"threads":8,"db_connections":5,"conn_max_age_ms":0,"base_us":2000})");
  EXPECT_EQ(failures(server, 100, 5), 0);
  EXPECT_LE(server.peak_connections(), 5);
  EXPECT_GT(failures(server, 200, 8), 0);
  EXPECT_EQ(failures(server, 20, 1), 0) << "it heals at once";
}

TEST_F(netbox, keeps_a_connection_alive_and_closes_an_idle_one) {
  weir::sim::netbox_options options;
  options.idle = std::chrono::milliseconds(50);
  weir::sim::netbox_server impatient(options);
  sim_test::connection connection(impatient.url());
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(connection.exchange("GET", "/api/status/", {{"Authorization", "Bearer " + impatient.token()}}).status,
              200);
  EXPECT_TRUE(connection.closed_by_server());
}

TEST_F(netbox, stops_although_a_client_hangs) {
  auto other = std::make_unique<weir::sim::netbox_server>();
  other->set_faults(R"([{"path_regex":"/status/","hang":true},{"path_regex":"/tags/","delay_ms":600000}])");
  sim_test::connection hanging(other->url());
  sim_test::connection delayed(other->url());
  sim_test::connection idle(other->url());
  hanging.send("GET", "/api/status/");
  delayed.send("GET", "/api/extras/tags/");
  for (int i = 0; i < 200 && other->counters().total < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(other->counters().total, 2U);
  other.reset();
  EXPECT_EQ(hanging.receive().status, 0);
}
