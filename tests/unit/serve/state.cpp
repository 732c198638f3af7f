// What is shown of runs, from what they tell.
#include "core/serve/state.hpp"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/serve/json.hpp"
#include "core/serve/service.hpp"

namespace {

using namespace std::chrono_literals;
using namespace weir::serve;
using nlohmann::json;
namespace engine = weir::engine;

moment const start{steady(100h), std::chrono::system_clock::from_time_t(1795348800)};
moment after(std::chrono::milliseconds d) { return {start.steady + d, start.wall + d}; }

weir::config::configuration settings() {
  weir::config::configuration c;
  c.file = "/etc/weir/config.yaml";
  c.netbox.url = "https://netbox.example";
  c.profile.name = "conservative";
  return c;
}

run_view run(std::string id, std::string trigger = "schedule hourly", std::string command = "sync") {
  run_view r;
  r.id = std::move(id);
  r.trigger = std::move(trigger);
  r.command = std::move(command);
  r.profile = "conservative";
  r.started = start.wall;
  r.since = std::chrono::steady_clock::now();
  r.jobs.resize(1);
  r.jobs[0].source = "pve-a";
  r.jobs[0].stage = "nodes";
  r.jobs[0].title = "Nodes";
  return r;
}

engine::report report(std::string id, bool dry = false) {
  engine::report r;
  r.run_id = std::move(id);
  r.dry = dry;
  r.netbox_url = "https://netbox.example";
  r.netbox_version = "4.7.3";
  return r;
}

engine::job_report job(engine::job_status status = engine::job_status::ok) {
  engine::job_report j;
  j.source = "pve-a";
  j.stage = "nodes";
  j.title = "Nodes";
  j.status = status;
  return j;
}

json status(state const& s) { return json::parse(status_json(s.look(moment::now(), {}))); }

TEST(State, FollowsARun) {
  state s(start);
  s.configured(settings(), start.wall);
  EXPECT_EQ(status(s)["state"], "idle");
  EXPECT_EQ(status(s)["run"], nullptr);
  EXPECT_EQ(status(s)["gate"], nullptr);
  EXPECT_EQ(status(s)["netbox"]["version"], nullptr);

  s.begin(run("11111111"));
  auto now = status(s);
  EXPECT_EQ(now["state"], "running");
  EXPECT_EQ(now["run"]["trigger"], "schedule hourly");
  EXPECT_EQ(now["run"]["jobs"][0]["state"], "waiting");
  EXPECT_EQ(now["started"], "2026-11-22T12:00:00.000Z");

  s.connected(report("11111111"));
  s.stage_started("pve-a", "nodes");
  EXPECT_EQ(status(s)["run"]["jobs"][0]["state"], "collecting");
  EXPECT_EQ(status(s)["netbox"]["version"], "4.7.3");
  s.moved({"pve-a", "nodes", engine::progress::phase::writing, "pve1", 3, 10, 1, 2, 4.0});
  now = status(s)["run"]["jobs"][0];
  EXPECT_EQ(now["state"], "writing");
  EXPECT_EQ(now["note"], "pve1");
  EXPECT_EQ(now["done"], 3);
  EXPECT_EQ(now["total"], 10);
  EXPECT_EQ(now["batch"], 1);
  EXPECT_EQ(now["batches"], 2);
  EXPECT_EQ(now["planned"], nullptr);
  engine::kind_plan plan;
  plan.creates.resize(2);
  plan.deletes.resize(1);
  auto planned = job();
  planned.plans.push_back(std::move(plan));
  planned.planned_requests = 2;
  s.planned(planned);
  EXPECT_EQ(status(s)["run"]["jobs"][0]["planned"],
            (json{{"create", 2}, {"update", 0}, {"delete", 1}, {"requests", 2}}));

  engine::gate_now gate;
  gate.count.in_flight = 1;
  gate.count.started = 12;
  gate.state.limit = 1.5;
  s.ticked(gate);
  EXPECT_EQ(status(s)["gate"]["limit"], 1.5);
  EXPECT_EQ(status(s)["gate"]["breaker"], "closed");
  EXPECT_NE(s.status_line(moment::now()).find("pve-a nodes writing 3/10, limit 1.5"), std::string::npos)
      << s.status_line(moment::now());

  s.finished(job());
  EXPECT_EQ(status(s)["run"]["jobs"][0]["state"], "ok");
  s.cancelling();
  EXPECT_TRUE(status(s)["run"]["cancelling"]);
  s.end(0, report("11111111"), {}, "", after(3s));
  now = status(s);
  EXPECT_EQ(now["run"], nullptr);
  EXPECT_EQ(now["runs"], (json{{"started", 1}, {"ended", 1}, {"refused", 0}, {"by_exit_code", {{"0", 1}}}}));
  ASSERT_EQ(s.past().size(), 1u);
  EXPECT_EQ(s.past()[0].state, "done");
  EXPECT_EQ(s.trigger_of("11111111"), "schedule hourly");
  EXPECT_EQ(s.trigger_of("00000000"), "");
}

TEST(State, TheJobOfAnUnknownStageIsAdded) {
  state s(start);
  s.begin(run("11111111"));
  s.stage_started("pve-b", "backups");
  EXPECT_EQ(status(s)["run"]["jobs"].size(), 2u);
  EXPECT_EQ(status(s)["run"]["jobs"][1]["title"], "backups");
}

TEST(State, ErrorsAreKeptNewestFirstAndBounded) {
  state s(start);
  s.begin(run("11111111"));
  auto failed = job(engine::job_status::failed);
  failed.reason = weir::base::fail("the source pve-a cannot be read", "is it up?");
  s.finished(failed);
  auto errors = status(s)["errors"];
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0]["message"], "the source pve-a cannot be read");
  EXPECT_EQ(errors[0]["hint"], "is it up?");
  EXPECT_EQ(errors[0]["level"], "error");
  EXPECT_EQ(errors[0]["run"], "11111111");
  s.noticed({weir::base::log::level::info, "pve-a", "nodes", "nothing to worry about", ""});
  EXPECT_EQ(status(s)["errors"].size(), 1u);
  for (int i = 0; i < 50; ++i)
    s.noticed({weir::base::log::level::warning, "pve-a", "nodes", "notice " + std::to_string(i), ""});
  errors = status(s)["errors"];
  ASSERT_EQ(errors.size(), shown_errors);
  EXPECT_EQ(errors[0]["message"], "notice 49");
  s.noticed({weir::base::log::level::error, "", "", std::string(10'000, 'x'), ""});
  EXPECT_LT(status(s)["errors"][0]["message"].get<std::string>().size(), 600u);
  engine::written_batch batch;
  batch.number = 7;
  batch.objects = 5;
  batch.state = "done";
  s.wrote(batch);
  EXPECT_NE(status(s)["errors"][0]["message"].get<std::string>().substr(0, 7), "batch 7");
  batch.state = "unknown";
  batch.reason = "502";
  s.wrote(batch);
  EXPECT_EQ(status(s)["errors"][0]["message"].get<std::string>().substr(0, 7), "batch 7");
}

TEST(State, EndsAreNamedAsTheJournalNamesThem) {
  struct {
    char const* expected;
    int code;
    engine::report r;
  } cases[5];
  cases[0] = {"done", 0, report("a")};
  cases[1] = {"partly", 3, report("b")};
  cases[2] = {"failed", 69, report("c")};
  cases[2].r.fatal = weir::base::fail("NetBox cannot be reached");
  cases[2].r.netbox_version.clear();
  cases[3] = {"stopped", 130, report("d")};
  cases[3].r.interrupted = true;
  cases[4] = {"stopped", 75, report("e")};
  cases[4].r.jobs.push_back(job());
  cases[4].r.jobs[0].kinds["dcim.device"].deferred = 3;
  state s(start);
  for (auto& c : cases) {
    s.begin(run(c.r.run_id));
    s.end(c.code, c.r, {}, "", after(1s));
    EXPECT_EQ(s.past()[0].state, c.expected);
    EXPECT_EQ(s.how().reachable, c.code != 69) << c.r.run_id;
  }
  // Those that never came to a report.
  s.begin(run("f"));
  s.end(5, {}, weir::base::fail(weir::base::error_code::locked, "another run holds the lock"), "", after(1s));
  EXPECT_EQ(s.past()[0].state, "failed");
  EXPECT_EQ(s.past()[0].reason, "another run holds the lock");
  s.begin(run("g"));
  s.end(0, {}, {}, "no run is unfinished", after(1s));
  EXPECT_EQ(s.past()[0].state, "done");
  EXPECT_EQ(s.past()[0].reason, "no run is unfinished");
  EXPECT_EQ(status(s)["runs"]["by_exit_code"], (json{{"0", 2}, {"3", 1}, {"5", 1}, {"69", 1}, {"75", 1}, {"130", 1}}));
}

TEST(State, PastRunsAreBounded) {
  state s(start);
  for (std::size_t i = 0; i < kept_runs + 20; ++i) {
    s.begin(run(std::to_string(i), "trigger " + std::to_string(i)));
    s.end(0, report(std::to_string(i)), {}, "", after(1s));
  }
  EXPECT_EQ(s.past().size(), kept_runs);
  EXPECT_EQ(s.past()[0].id, std::to_string(kept_runs + 19));
  EXPECT_EQ(status(s)["runs"]["ended"], kept_runs + 20);
}

weir::netbox::kind device() {
  weir::netbox::kind k;
  k.name = "dcim.device";
  k.path = "dcim/devices";
  return k;
}

TEST(State, ThePlanIsKeptUntilASyncSucceeds) {
  state s(start);
  auto const kind = device();
  auto planned = report("11111111", true);
  planned.jobs.push_back(job());
  engine::kind_plan plan;
  plan.kind = &kind;
  plan.unchanged = 9;
  engine::change update;
  update.what = engine::action::update;
  update.object = 17;
  update.label = "pve1";
  update.fields.push_back({"status", "offline", "active"});
  plan.updates.push_back(update);
  engine::change create;
  create.object = engine::first_pending + 3;
  create.label = "pve2";
  plan.creates.assign(shown_changes + 5, create);
  planned.jobs[0].plans.push_back(plan);
  planned.jobs[0].planned_requests = 22;

  s.begin(run("11111111", "http", "plan"));
  s.end(0, planned, {}, "", after(1s));
  ASSERT_TRUE(s.plan());
  auto const shown = json::parse(plan_json(*s.plan()));
  EXPECT_EQ(shown["run"], "11111111");
  EXPECT_EQ(shown["stages"][0], (json{{"source", "pve-a"},
                                      {"stage", "nodes"},
                                      {"title", "Nodes"},
                                      {"create", shown_changes + 5},
                                      {"update", 1},
                                      {"delete", 0},
                                      {"unchanged", 9},
                                      {"requests", 22}}));
  EXPECT_EQ(shown["changes"].size(), shown_changes);
  EXPECT_EQ(shown["more"], 6);
  EXPECT_EQ(shown["changes"][0]["url"], "https://netbox.example/dcim/devices/17/");
  EXPECT_EQ(shown["changes"][0]["fields"][0], (json{{"field", "status"}, {"before", "offline"}, {"after", "active"}}));
  EXPECT_EQ(shown["changes"][1]["url"], nullptr) << "it is not in NetBox yet";
  EXPECT_EQ(status(s)["plan"]["create"], shown_changes + 5);

  // A sync that failed leaves it, one that succeeded has overtaken it; a plan that failed is none.
  s.begin(run("22222222"));
  s.end(3, report("22222222"), {}, "", after(2s));
  EXPECT_TRUE(s.plan());
  s.begin(run("33333333"));
  s.end(0, report("33333333"), {}, "", after(3s));
  EXPECT_FALSE(s.plan());
  auto broken = report("44444444", true);
  broken.fatal = weir::base::fail("NetBox cannot be reached");
  s.begin(run("44444444", "http", "plan"));
  s.end(69, broken, {}, "", after(4s));
  EXPECT_FALSE(s.plan());
}

TEST(State, SamplesTheGateOnceASecondForHalfAnHour) {
  state s(start);
  auto const idle = s.sample(start);
  EXPECT_FALSE(idle.running);
  EXPECT_EQ(json::parse(sample_json(idle)), (json{1795348800000, 0, nullptr, nullptr, 0.0, nullptr, 0, 0}));
  s.begin(run("11111111"));
  engine::gate_now gate;
  gate.count.in_flight = 2;
  gate.state.gap = 200ms;
  gate.state.circuit = weir::throttle::breaker::state::open;
  s.ticked(gate);
  weir::http::attempt_seen attempt;
  attempt.outcome = weir::throttle::outcome::overload;
  s.requested("netbox", attempt);
  s.requested("pve-a", attempt);  // not NetBox's
  attempt.outcome = weir::throttle::outcome::ok;
  s.requested("netbox", attempt);
  auto const busy = s.sample(after(2s));
  EXPECT_EQ(json::parse(sample_json(busy)), (json{1795348802000, 2, 1.0, 200.0, 1.0, 1.0, 2, 1}));
  EXPECT_EQ(json::parse(sample_json(s.sample(after(3s))))[7], 0) << "each error counts in its own second";
  EXPECT_EQ(json::parse(sample_json(s.sample(after(4s))))[4], 0.0);
  for (std::size_t i = 0; i < gate_samples + 10; ++i) s.sample(after(std::chrono::seconds(5 + i)));
  auto const all = json::parse(gate_json(s.samples(), 4));
  EXPECT_EQ(all["samples"].size(), gate_samples);
  EXPECT_EQ(all["ceiling"], 4);
  EXPECT_EQ(all["columns"].size(), all["samples"][0].size());
}

TEST(State, HealthFollowsTheBreaker) {
  state s(start);
  s.begin(run("11111111"));
  engine::gate_now gate;
  gate.state.circuit = weir::throttle::breaker::state::open;
  s.ticked(gate);
  auto const since = s.how().breaker_opened;
  ASSERT_TRUE(since);
  gate.state.circuit = weir::throttle::breaker::state::half_open;
  s.ticked(gate);
  EXPECT_EQ(s.how().breaker_opened, since) << "a probe does not close it";
  EXPECT_NE(s.status_line(moment::now()).find("breaker open for"), std::string::npos);
  gate.state.circuit = weir::throttle::breaker::state::closed;
  s.ticked(gate);
  EXPECT_FALSE(s.how().breaker_opened);
  gate.state.circuit = weir::throttle::breaker::state::open;
  s.ticked(gate);
  s.end(75, report("11111111"), {}, "", after(1s));
  EXPECT_FALSE(s.how().breaker_opened) << "it went with its run";
}

TEST(State, SaysWhatIsWrongWithAConfiguration) {
  state s(start);
  s.configured(settings(), start.wall);
  s.not_configured("error: unknown key 'netbx'", after(5s).wall);
  EXPECT_EQ(status(s)["config"]["error"],
            (json{{"at", "2026-11-22T12:00:05.000Z"}, {"message", "error: unknown key 'netbx'"}}));
  EXPECT_EQ(status(s)["config"]["loaded"], "2026-11-22T12:00:00.000Z");
  s.configured(settings(), after(10s).wall);
  EXPECT_EQ(status(s)["config"]["error"], nullptr);
}

TEST(State, LeavesLinesForTheLog) {
  state s(start);
  s.begin(run("11111111"));
  s.finished(job());
  s.end(0, report("11111111"), {}, "", after(1s));
  auto const lines = s.take_log();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].text, "run 11111111 begins: sync, schedule hourly");
  EXPECT_EQ(lines[1].run, "11111111");
  EXPECT_EQ(lines[2].run, "11111111");
  EXPECT_TRUE(s.take_log().empty());
  s.begin(run("22222222"));
  for (int i = 0; i < 5000; ++i) s.noticed({weir::base::log::level::warning, "", "", "again", ""});
  EXPECT_LE(s.take_log().size(), 1000u) << "whoever does not read them does not fill the memory";
}

TEST(State, WhatIsToldBetweenRunsIsForgotten) {
  state s(start);
  s.connected(report("11111111"));
  s.stage_started("pve-a", "nodes");
  s.moved({});
  s.planned(job());
  s.wrote({});
  s.throttled({}, {});
  s.ticked({});
  s.noticed({});
  s.finished(job());
  s.end(0, report("11111111"), {}, "", after(1s));
  EXPECT_EQ(status(s)["runs"]["ended"], 0);
  EXPECT_EQ(status(s)["run"], nullptr);
}

TEST(Readiness, breaker_and_netbox) {
  auto const now = steady{} + 1h;
  state::health how;
  auto const ok = [&] {
    std::map<std::string, bool> out;
    for (auto const& c : readiness(how, now, 300s)) out[c.name] = c.ok;
    return out;
  };
  using checks = std::map<std::string, bool>;
  EXPECT_EQ(ok(), (checks{{"breaker", true}, {"netbox", true}})) << "nothing has been asked yet";
  how.breaker_opened = now - 300s;
  EXPECT_EQ(ok(), (checks{{"breaker", true}, {"netbox", true}}));
  how.breaker_opened = now - 300001ms;
  EXPECT_EQ(ok(), (checks{{"breaker", false}, {"netbox", true}}));
  how.breaker_opened.reset();
  how.asked = true;
  how.reachable = false;
  EXPECT_EQ(ok(), (checks{{"breaker", true}, {"netbox", false}}));
}

}  // namespace
