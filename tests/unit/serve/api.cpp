// What is answered to whom. No sockets.
#include "core/serve/api.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/store/journal.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weir::serve;
using nlohmann::json;
namespace store = weir::store;
namespace base = weir::base;

moment const start{steady(100h), std::chrono::system_clock::from_time_t(1795348800)};

class Api : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "weir-serve-api-" + std::to_string(::getpid());
    std::filesystem::remove_all(dir_);
    who_.journal = dir_ / "journal.db";
    who_.netbox_url = "https://netbox.example";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  api make() {
    backend b;
    b.now = &state_;
    b.schedules = [] { return std::vector<schedule_view>(); };
    b.start = [this](start_request const& r, std::string const& trigger) {
      asked_ = r;
      EXPECT_EQ(trigger, "http");
      return start_;
    };
    b.cancel = [this](std::string const& id) {
      cancelled_ = id;
      return cancel_;
    };
    b.metrics = [] { return std::string("weir_up 1\n"); };
    b.live = [] { return std::vector<check>{{"loop", true, "3 ms", "1 s", ""}}; };
    b.ready = [this] { return std::vector<check>{{"netbox", ready_, "not reachable", "at the last run", ""}}; };
    return api(std::move(b), who_);
  }
  response ask(std::string method, std::string target, std::string body = "",
               std::vector<std::pair<std::string, std::string>> const& headers = {}) {
    request r;
    r.method = std::move(method);
    r.target = std::move(target);
    r.body = std::move(body);
    r.host = "127.0.0.1:9788";
    if (r.method == "POST") r.content_type = "application/json";
    for (auto const& [name, value] : headers) {
      if (name == "host") r.host = value;
      if (name == "origin") r.origin = value;
      if (name == "authorization") r.authorization = value;
      if (name == "content-type") r.content_type = value;
    }
    return make().answer(r);
  }
  static std::string header(response const& r, std::string const& name) {
    for (auto const& [n, value] : r.headers)
      if (n == name) return value;
    return {};
  }

  std::filesystem::path dir_;
  state state_{start};
  weir::serve::access who_;
  start_outcome start_{"7f3a0c1d", {}, ""};
  cancel_outcome cancel_ = cancel_outcome::asked;
  start_request asked_;
  std::string cancelled_;
  bool ready_ = true;
};

TEST_F(Api, Reads) {
  EXPECT_EQ(ask("GET", "/livez").status, 200u);
  EXPECT_EQ(json::parse(ask("GET", "/livez").body)["checks"][0]["value"], "3 ms");
  EXPECT_EQ(ask("GET", "/readyz").status, 200u);
  ready_ = false;
  EXPECT_EQ(ask("GET", "/readyz").status, 503u);
  EXPECT_FALSE(json::parse(ask("GET", "/readyz").body)["ok"]);
  EXPECT_EQ(json::parse(ask("GET", "/status").body)["state"], "idle");
  EXPECT_EQ(json::parse(ask("GET", "/status?x=1").body)["state"], "idle");
  EXPECT_EQ(json::parse(ask("GET", "/gate").body)["samples"].size(), 0u);
  EXPECT_EQ(ask("GET", "/metrics").body, "weir_up 1\n");
  EXPECT_NE(ask("GET", "/metrics").content_type.find("version=0.0.4"), std::string::npos);
  EXPECT_EQ(ask("GET", "/plan").status, 404u);
  auto const events = ask("GET", "/events");
  EXPECT_TRUE(events.events);
  EXPECT_EQ(events.body.substr(0, 42), "retry: 2000\n\nevent: status\ndata: {\"weir\":\"");
  EXPECT_TRUE(events.body.ends_with("}\n\n"));
  EXPECT_EQ(ask("GET", "/").content_type.substr(0, 9), "text/html");
  EXPECT_EQ(ask("HEAD", "/style.css").status, 200u);
}

TEST_F(Api, WhatIsNotThere) {
  for (auto const* path : {"/nothing", "/runs/", "/runs/../status", "/runs/a/b", "/runs/A", "//", "/status/", "/cancel",
                           "/runs//cancel", "/index.html/..", "", "*", "http://127.0.0.1/status"})
    EXPECT_EQ(ask("GET", path).status, 404u) << path;
  EXPECT_EQ(ask("GET", "/" + std::string(5000, 'x')).status, 404u);
  EXPECT_EQ(ask("GET", "/runs/" + std::string(65, 'a')).status, 404u);
}

TEST_F(Api, Methods) {
  EXPECT_EQ(ask("DELETE", "/runs").status, 405u);
  EXPECT_EQ(header(ask("DELETE", "/runs"), "Allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(ask("POST", "/status").status, 405u);
  EXPECT_EQ(ask("POST", "/").status, 405u);
  EXPECT_EQ(ask("GET", "/runs/7f3a0c1d/cancel").status, 405u);
  EXPECT_EQ(header(ask("GET", "/runs/7f3a0c1d/cancel"), "Allow"), "POST, OPTIONS");
  EXPECT_EQ(ask("OPTIONS", "/runs").status, 204u);
  EXPECT_EQ(header(ask("OPTIONS", "/runs"), "Allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(ask("OPTIONS", "/").status, 204u);
  EXPECT_TRUE(header(ask("OPTIONS", "/runs"), "Access-Control-Allow-Origin").empty());
}

TEST_F(Api, NamesAndOrigins) {
  EXPECT_EQ(ask("GET", "/status", "", {{"host", "evil.example"}}).status, 403u);
  EXPECT_EQ(ask("GET", "/", "", {{"host", "evil.example"}}).status, 403u);
  EXPECT_EQ(ask("GET", "/livez", "", {{"host", ""}}).status, 403u);
  EXPECT_EQ(ask("GET", "/status", "", {{"host", "localhost"}}).status, 200u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"origin", "http://127.0.0.1:9788"}}).status, 202u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"origin", "http://evil.example"}}).status, 403u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"origin", "null"}}).status, 403u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"content-type", "text/plain"}}).status, 415u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"content-type", ""}}).status, 415u);
  EXPECT_EQ(ask("POST", "/runs", "{}", {{"content-type", "Application/JSON; charset=utf-8"}}).status, 202u);
  EXPECT_EQ(ask("POST", "/runs/7f3a0c1d/cancel", "", {{"content-type", "text/plain"}}).status, 415u);
}

TEST_F(Api, Tokens) {
  who_.token = base::secret("s3cret");
  for (auto const* path : {"/status", "/runs", "/runs/7f3a0c1d", "/plan", "/gate", "/events", "/metrics", "/nothing"}) {
    auto const without = ask("GET", path), wrong = ask("GET", path, "", {{"authorization", "Bearer other"}});
    EXPECT_EQ(without.status, 401u) << path;
    EXPECT_EQ(header(without, "WWW-Authenticate"), "Bearer realm=\"weir\"");
    EXPECT_EQ(wrong.status, 401u) << path;
    EXPECT_EQ(wrong.body.find("s3cret"), std::string::npos);
  }
  EXPECT_EQ(ask("POST", "/runs", "{}").status, 401u);
  for (auto const* path : {"/livez", "/readyz", "/", "/style.css"}) EXPECT_EQ(ask("GET", path).status, 200u) << path;
  std::pair<std::string, std::string> const right{"authorization", "Bearer s3cret"};
  EXPECT_EQ(ask("GET", "/status", "", {right}).status, 200u);
  EXPECT_EQ(ask("GET", "/nothing", "", {right}).status, 404u);
  EXPECT_EQ(ask("GET", "/status", "", {right, {"host", "weir.example"}}).status, 200u)
      << "the token does, whatever its name";
  // A new token holds from then on.
  auto const service = make();
  request r;
  r.method = "GET";
  r.target = "/status";
  r.host = "localhost";
  r.authorization = "Bearer s3cret";
  EXPECT_EQ(service.answer(r).status, 200u);
  auto next = who_;
  next.token = base::secret("another");
  const_cast<api&>(service).change(next);
  EXPECT_EQ(service.answer(r).status, 401u);
}

TEST_F(Api, Starts) {
  auto const started = ask("POST", "/runs", R"({"command":"plan","sources":["pve-a"],"stages":["nodes","backups"]})");
  EXPECT_EQ(started.status, 202u);
  EXPECT_EQ(json::parse(started.body)["id"], "7f3a0c1d");
  EXPECT_EQ(header(started, "Location"), "/runs/7f3a0c1d");
  EXPECT_EQ(asked_.command, "plan");
  EXPECT_EQ(asked_.sources, std::vector<std::string>{"pve-a"});
  EXPECT_EQ(asked_.stages, (std::vector<std::string>{"nodes", "backups"}));
  EXPECT_EQ(ask("POST", "/runs").status, 202u) << "no body: everything";
  EXPECT_EQ(asked_.command, "sync");
  EXPECT_EQ(ask("POST", "/runs", R"({"command":"resume","run":"7f3a"})").status, 202u);
  EXPECT_EQ(asked_.run, "7f3a");
  for (auto const* bad :
       {"x", "[]", "null", "1", "{", R"({"command":"drop"})", R"({"command":1})", R"({"comand":"sync"})",
        R"({"stages":"nodes"})", R"({"stages":[1]})", R"({"sources":{}})", R"({"run":"x"})",
        R"({"run":1,"command":"resume"})", "{} {}", "\xff\xfe", R"({"command":"sync",})"}) {
    auto const r = ask("POST", "/runs", bad);
    EXPECT_EQ(r.status, 400u) << bad;
    EXPECT_FALSE(json::parse(r.body)["error"].get<std::string>().empty());
  }
  EXPECT_EQ(ask("POST", "/runs", std::string(60000, '[')).status, 400u);

  start_ = {"", base::fail(base::error_code::locked, "run 11111111 is \"under way\"", "wait"), "11111111"};
  auto const busy = ask("POST", "/runs", "{}");
  EXPECT_EQ(busy.status, 409u);
  EXPECT_EQ(json::parse(busy.body)["run"], "11111111");
  EXPECT_EQ(json::parse(busy.body)["error"], "run 11111111 is \"under way\"");
  start_.error = base::fail(base::error_code::data, "unknown stage 'x'");
  EXPECT_EQ(ask("POST", "/runs", "{}").status, 422u);
  start_.error = base::fail(base::error_code::stopped, "the service is stopping");
  EXPECT_EQ(ask("POST", "/runs", "{}").status, 503u);
}

TEST_F(Api, Cancels) {
  EXPECT_EQ(ask("POST", "/runs/7f3a0c1d/cancel").status, 202u);
  EXPECT_EQ(cancelled_, "7f3a0c1d");
  cancel_ = cancel_outcome::not_running;
  EXPECT_EQ(ask("POST", "/runs/7f3a0c1d/cancel").status, 409u);
  cancel_ = cancel_outcome::unknown;
  EXPECT_EQ(ask("POST", "/runs/7f3a0c1d/cancel").status, 404u);
}

void write_run(store::journal& journal, std::string const& id, std::chrono::system_clock::time_point at,
               std::size_t objects) {
  store::run_record r;
  r.id = id;
  r.netbox_url = "https://netbox.example/";
  r.command = "sync";
  r.profile = "conservative";
  r.host = "elsewhere";
  r.pid = 1;
  r.started = at;
  ASSERT_TRUE(journal.begin_run(r));
  ASSERT_TRUE(journal.put_stage({id, "pve-a", "nodes", store::stage_state::done, objects, 1, 2, 3, 4, ""}));
  store::batch_record b;
  b.run = id;
  b.number = 1;
  b.source = "pve-a";
  b.stage = "nodes";
  b.kind = "dcim.device";
  b.path = "dcim/devices";
  b.verb = "POST";
  b.objects = objects;
  b.created = at;
  std::vector<store::object_record> all(objects);
  for (std::size_t i = 0; i < objects; ++i) {
    all[i].position = i;
    all[i].action = i == 1 ? "delete" : "create";
    all[i].label = "pve" + std::to_string(i);
    all[i].key = "{}";
  }
  ASSERT_TRUE(journal.add_batch(b, all));
  ASSERT_TRUE(journal.batch_sent(id, 1, at));
  for (std::size_t i = 0; i < objects; ++i) all[i].netbox_id = 100 + i, all[i].state = store::batch_state::done;
  ASSERT_TRUE(journal.batch_ended(id, 1, store::batch_state::done, "", all, at + 1s));
  ASSERT_TRUE(journal.end_run(id, store::run_state::done, 0, "", "{}", at + 2s));
}

TEST_F(Api, RunsWithoutAJournal) {
  EXPECT_EQ(json::parse(ask("GET", "/runs").body)["runs"].size(), 0u);
  EXPECT_EQ(ask("GET", "/runs/7f3a0c1d").status, 404u);
  // One that did not get as far as the journal.
  run_view v;
  v.id = "7f3a0c1d";
  v.command = "plan";
  v.trigger = "http";
  v.started = start.wall;
  v.since = start.steady;
  state_.begin(v);
  EXPECT_EQ(json::parse(ask("GET", "/runs").body)["runs"][0]["state"], "running");
  EXPECT_EQ(json::parse(ask("GET", "/runs/7f3a0c1d").body)["state"], "running");
  state_.end(69, {}, base::fail("NetBox cannot be reached"), "", {start.steady + 2s, start.wall + 2s});
  auto const row = json::parse(ask("GET", "/runs").body)["runs"][0];
  EXPECT_EQ(row["exit_code"], 69);
  EXPECT_EQ(row["reason"], "NetBox cannot be reached");
  EXPECT_EQ(row["seconds"], 2.0);
  EXPECT_EQ(json::parse(ask("GET", "/runs/7f3a0c1d").body)["changes"].size(), 0u);
}

TEST_F(Api, RunsFromTheJournal) {
  {
    store::journal_options quick;
    quick.durable = false;
    auto journal = store::journal::open(who_.journal, quick);
    ASSERT_TRUE(journal) << journal.error().what;
    write_run(**journal, "aaaaaaaa", start.wall, 3);
    write_run(**journal, "bbbbbbbb", start.wall + 10min, shown_changes + 7);
  }
  auto const runs = json::parse(ask("GET", "/runs").body)["runs"];
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0]["id"], "bbbbbbbb");
  EXPECT_EQ(runs[1]["created"], 3);
  EXPECT_EQ(runs[1]["deferred"], 4);
  EXPECT_EQ(runs[1]["seconds"], 2.0);
  EXPECT_EQ(runs[1]["trigger"], "");
  EXPECT_EQ(json::parse(ask("GET", "/runs?limit=1").body)["runs"].size(), 1u);
  for (auto const* bad : {"limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "limit=1x", "offset=1", "limit",
                          "limit=99999999999999999999"})
    EXPECT_EQ(ask("GET", std::string("/runs?") + bad).status, 400u) << bad;
  EXPECT_EQ(ask("GET", "/runs?&limit=5&").status, 200u);

  auto const one = json::parse(ask("GET", "/runs/aaaaaaaa").body);
  ASSERT_EQ(one["changes"].size(), 3u);
  EXPECT_EQ(one["changes"][0]["url"], "https://netbox.example/dcim/devices/100/");
  EXPECT_EQ(one["changes"][0]["state"], "done");
  EXPECT_EQ(one["changes"][1]["url"], nullptr) << "what was deleted is not there any more";
  EXPECT_EQ(one["more"], 0);
  EXPECT_EQ(one["stages"][0]["state"], "done");
  auto const large = json::parse(ask("GET", "/runs/bbbbbbbb").body);
  EXPECT_EQ(large["changes"].size(), shown_changes);
  EXPECT_EQ(large["more"], 7);
  EXPECT_EQ(ask("GET", "/runs/aaaa").status, 404u) << "by its whole id";
  // Another NetBox is configured by now: links would lead to strangers.
  who_.netbox_url = "https://other.example";
  EXPECT_EQ(json::parse(ask("GET", "/runs/aaaaaaaa").body)["changes"][0]["url"], nullptr);
}

TEST_F(Api, AJournalThatCannotBeReadIsSaid) {
  std::filesystem::create_directories(dir_);
  FILE* f = fopen(who_.journal.c_str(), "w");
  fputs("this is no database, and longer than SQLite's header is, so that it looks at all of it ................", f);
  fclose(f);
  auto const r = ask("GET", "/runs");
  EXPECT_EQ(r.status, 503u);
  EXPECT_NE(json::parse(r.body)["error"].get<std::string>().find("journal.db"), std::string::npos);
}

}  // namespace
