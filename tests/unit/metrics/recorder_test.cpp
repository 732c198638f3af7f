#include "core/metrics/recorder.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <regex>
#include <set>
#include <thread>

#include "core/cli/exit_codes.hpp"
#include "tests/unit/metrics/support.hpp"

namespace weir::metrics {
namespace {

using namespace testing;
using std::chrono::milliseconds;
using throttle::method;
using throttle::outcome;

// All that a run can tell, once.
void tell_a_run(recorder& to, int exit_code = 3) {
  auto report = a_report();
  report.sources.push_back({"pve-b", "proxmox", ""});
  report.notices = {{base::log::level::error, "", "", "a plugin was refused", ""},
                    {base::log::level::error, "pve-b", "", "it does not answer", ""}};
  to.connected(report);
  for (auto const& n : report.notices) to.noticed(n);
  to.stage_started("pve-a", "backups");
  to.requested("pve-a", an_attempt(method::get, "nodes/{node}/qemu/{vmid}/config", outcome::ok, 3));
  to.requested("inventory", an_attempt(method::get, "", outcome::ok, 40));
  to.requested("netbox", an_attempt(method::get, "", outcome::ok, 7));
  to.requested("netbox", an_attempt(method::get, "dcim/devices", outcome::ok, 90));
  to.requested("netbox", an_attempt(method::post, "plugins/proxbox/backups", outcome::overload, 13, true));
  to.requested("netbox", an_attempt(method::post, "plugins/proxbox/backups", outcome::ok, 1800));

  netbox::kind backup;
  backup.name = "netbox_proxbox.vmbackup";
  auto job = a_job("backups", engine::job_status::stopped);
  engine::kind_plan plan;
  plan.kind = &backup;
  plan.creates.resize(60);
  plan.updates.resize(2);
  plan.deletes_refused = true;
  plan.refused = 11;
  job.plans = {plan};
  to.planned(job);

  engine::gate_now gate;
  gate.count.in_flight = 2;
  gate.count.waiting = 3;
  gate.state.limit = 2;
  gate.state.cuts = 1;
  gate.state.gap = milliseconds(400);
  gate.state.inflation = 2.5;
  gate.state.tokens = 14.5;
  gate.state.refused = 1;
  to.throttled({}, gate);
  to.ticked(gate);
  gate.state.circuit = throttle::breaker::state::open;
  gate.state.breaker_opened = 1;
  gate.state.starved = true;
  gate.state.starved_times = 1;
  gate.state.limit = 1;
  gate.count.waiting = 0;
  to.ticked(gate);

  engine::written_batch batch{"pve-a", "backups", backup.name, "POST", 1, 50, 1, "done", "", milliseconds(1900)};
  to.wrote(batch);
  batch.number = 2, batch.objects = 10, batch.state = "unknown";
  to.wrote(batch);
  batch.number = 3, batch.state = "unknown";
  to.wrote(batch);
  batch.number = 2, batch.state = "deferred", batch.took = milliseconds(31000);
  to.wrote(batch);

  engine::counts c;
  c.seen = 75, c.created = 49, c.updated = 2, c.unchanged = 5, c.kept = 4, c.skipped = 6, c.failed = 1, c.deferred = 10;
  job.kinds[backup.name] = c;
  job.metrics = {{"files read", {true, 12}}, {"oldest_seconds", {false, 86400}}};
  to.finished(job);
  to.finished(a_job("nodes"));
  to.finished(a_job("extra", engine::job_status::skipped));

  report.throttle = gate.state;
  report.throttle.gave_up = true;
  report.throttle.probes = 2;
  to.ended(report, exit_code);
}

TEST(recorder, text_of_a_run) {
  recorder r([] { return at(1760000000); });
  tell_a_run(r);
  auto const file = std::string(WEIR_SOURCE_DIR) + "/tests/unit/metrics/run.prom";
  auto text = r.text_of_runs();
  auto const version = text.find(std::string("version=\"") + WEIR_VERSION + "\"} 1\n");
  ASSERT_NE(version, std::string::npos);
  text.replace(version + 9, std::string_view(WEIR_VERSION).size(), "0.0.0");  // releases change it
  if (std::getenv("WEIR_UPDATE_GOLDEN")) std::ofstream(file, std::ios::binary) << text;
  EXPECT_EQ(text, read(file)) << "WEIR_UPDATE_GOLDEN=1 rewrites it";
}

TEST(recorder, a_second_run_adds_and_its_gate_counts_from_nothing) {
  recorder r([] { return at(1760000000); });
  tell_a_run(r);
  tell_a_run(r, 0);
  auto const text = r.text_of_runs();
  EXPECT_EQ(value(text, "weir_runs_total"), 2);
  EXPECT_EQ(value(text, "weir_runs_total", {{"result", "partly"}}), 1);
  EXPECT_EQ(value(text, "weir_breaker_opened_total"), 2);
  EXPECT_EQ(value(text, "weir_throttle_limit_cuts_total"), 2);
  EXPECT_EQ(value(text, "weir_throttle_starved_total"), 2);
  EXPECT_EQ(value(text, "weir_throttle_gave_up_total"), 2);
  EXPECT_EQ(value(text, "weir_breaker_probes_total"), 4);
  EXPECT_EQ(value(text, "weir_objects_total", {{"action", "create"}}), 98);
  EXPECT_EQ(value(text, "weir_stage_metric_total", {{"name", "files_read"}}), 24);
  EXPECT_EQ(value(text, "weir_deferred_objects"), 10) << "of the last run";
  EXPECT_EQ(value(text, "weir_http_client_active_requests"), 0);
  EXPECT_EQ(value(text, "weir_runs_active"), 0);
}

TEST(recorder, a_plan_writes_nothing_and_is_no_success) {
  recorder r([] { return at(1760000000); });
  auto report = a_report(true);
  r.connected(report);
  auto job = a_job("nodes");
  job.kinds["dcim.device"].created = 7;  // a plan's counts are what it would do
  r.finished(job);
  r.ended(report, 0);
  auto const text = r.text_of_runs();
  EXPECT_EQ(value(text, "weir_runs_total", {{"command", "plan"}, {"result", "ok"}}), 1);
  EXPECT_EQ(value(text, "weir_objects_total"), -1);
  EXPECT_EQ(value(text, "weir_run_last_success_timestamp_seconds"), -1);
  EXPECT_EQ(value(text, "weir_run_last_exit_code"), -1);
  EXPECT_EQ(value(text, "weir_stages_total", {{"result", "ok"}}), 1);
}

TEST(recorder, last_success_is_there_from_the_first_failure_on) {
  std::int64_t now = 1760000000;
  recorder r([&] { return at(now); });
  r.ended(a_report(), 69);
  EXPECT_EQ(value(r.text(), "weir_run_last_success_timestamp_seconds", {{"profile", "conservative"}}), 0);
  EXPECT_EQ(value(r.text(), "weir_run_last_exit_code"), 69);
  r.ended(a_report(), 0);
  now += 3600;
  r.ended(a_report(), 3);
  EXPECT_EQ(value(r.text(), "weir_run_last_success_timestamp_seconds"), 1760000000);
  EXPECT_EQ(value(r.text(), "weir_run_last_timestamp_seconds"), 1760003600);
}

TEST(recorder, netbox_and_its_version) {
  recorder r;
  auto report = a_report();
  r.ended(report, 0);
  report.netbox_version = "4.8.0";
  r.ended(report, 0);
  EXPECT_EQ(value(r.text(), "weir_netbox_info"), 1) << "one version at a time";
  EXPECT_EQ(value(r.text(), "weir_netbox_info", {{"version", "4.8.0"}}), 1);
  report.netbox_version.clear();
  r.ended(report, 69);
  EXPECT_EQ(value(r.text(), "weir_netbox_up"), 0);
}

TEST(recorder, runs_that_did_not_begin) {
  recorder r;
  r.did_not_begin("sync", 5);
  EXPECT_EQ(value(r.text(), "weir_runs_total", {{"command", "sync"}, {"result", "locked"}}), 1);
  EXPECT_EQ(value(r.text(), "weir_run_last_exit_code"), -1) << "the one that holds the lock will say";
}

TEST(recorder, each_exit_code_has_its_word) {
  namespace code = cli::exit_code;
  std::set<std::string_view> words;
  for (int c : {code::done, code::partly, code::refused, code::locked, code::usage, code::unreachable,
                code::stopped_early, code::credentials, code::configuration, code::interrupted}) {
    EXPECT_NE(result_of(c), "failed") << c;
    words.insert(result_of(c));
  }
  EXPECT_EQ(words.size(), 10u);
  EXPECT_EQ(result_of(code::done), "ok");
  EXPECT_EQ(result_of(code::stopped_early), "stopped");
  EXPECT_EQ(result_of(code::failed), "failed");
  EXPECT_EQ(result_of(99), "failed");
}

TEST(recorder, process_metrics_are_for_the_scraped_page_only) {
  recorder r;
  auto const page = r.text();
  EXPECT_GT(value(page, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(value(page, "process_threads"), 1);
  EXPECT_GE(value(page, "process_open_fds"), 3);
  auto const now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_GT(value(page, "process_start_time_seconds"), now - 86400);
  EXPECT_LT(value(page, "process_start_time_seconds"), now + 60);
  EXPECT_GE(value(page, "process_cpu_seconds_total"), 0);
  auto const runs = parse_exposition(r.text_of_runs());
  ASSERT_TRUE(runs);
  ASSERT_FALSE(runs->empty());
  for (auto const& s : *runs) EXPECT_EQ(s.name.rfind("weir_", 0), 0u) << s.name;
}

// As promtool check metrics looks at them, and a little more.
TEST(recorder, names_follow_the_conventions) {
  static std::regex const good("(weir|process)(_[a-z][a-z0-9]*)+");
  static std::regex const other_unit(
      "_(ms|milliseconds|minutes|hours|kib|kb|mb|mib|percent|count|bucket|sum|total_.*)$");
  std::set<std::string> seen;
  for (auto const& m : recorder::all()) {
    EXPECT_TRUE(seen.insert(m.name).second) << m.name << " twice";
    EXPECT_TRUE(std::regex_match(m.name, good)) << m.name;
    EXPECT_FALSE(std::regex_search(m.name, other_unit)) << m.name;
    EXPECT_EQ(m.type == "counter", m.name.ends_with("_total")) << m.name << " is a " << m.type;
    if (m.type == "histogram") {
      EXPECT_TRUE(m.name.ends_with("_seconds")) << m.name;
    }
    EXPECT_TRUE(m.type == "counter" || m.type == "gauge" || m.type == "histogram") << m.type;
    ASSERT_FALSE(m.help.empty()) << m.name;
    EXPECT_EQ(m.help.back(), '.') << m.name;
    for (auto const& l : m.labels) EXPECT_TRUE(l != "le" && l != "job" && l != "instance") << m.name << " " << l;
  }
  EXPECT_GT(seen.size(), 40u);
}

TEST(recorder, all_that_a_run_tells_is_in_the_list_and_the_other_way_round) {
  recorder r([] { return at(1760000000); });
  tell_a_run(r);
  auto const text = r.text();
  for (auto const& m : recorder::all()) {
    EXPECT_NE(text.find("# HELP " + m.name + " " + m.help + "\n"), std::string::npos) << m.name;
    EXPECT_NE(text.find("# TYPE " + m.name + " " + m.type + "\n"), std::string::npos) << m.name;
  }
  std::size_t families = 0;
  for (auto at = text.find("# TYPE "); at != std::string::npos; at = text.find("# TYPE ", at + 1)) ++families;
  EXPECT_EQ(families, recorder::all().size());
}

TEST(recorder, the_page_in_the_docs_lists_them) {
  auto const docs = read(std::string(WEIR_SOURCE_DIR) + "/docs/metrics.md");
  static std::regex const row(R"(\n\| `([a-z_]+)` \| (\w+) \| ([^|]*) \| ([^|\n]*) \|(?=\n))");
  std::map<std::string, std::vector<std::string>> listed;
  for (std::sregex_iterator i(docs.begin(), docs.end(), row), end; i != end; ++i)
    listed[(*i)[1]] = {(*i)[2], (*i)[3], (*i)[4]};
  std::map<std::string, std::vector<std::string>> expected;
  for (auto const& m : recorder::all()) {
    std::string names;
    for (auto const& l : m.labels) names += (names.empty() ? "`" : ", `") + l + "`";
    expected[m.name] = {m.type, names, m.help};
  }
  EXPECT_EQ(listed, expected);
}

TEST(recorder, labels_are_bounded_and_nothing_is_lost) {
  recorder r;
  constexpr int many = 3000;
  for (int i = 0; i < many; ++i) {
    auto const name = "endpoint-" + std::to_string(i);
    r.requested("netbox", an_attempt(method::get, name, i % 2 ? outcome::ok : outcome::data, 10));
    r.requested("source-" + std::to_string(i), an_attempt(method::get, "", outcome::ok, 10, true));
    auto job = a_job(("stage-" + std::to_string(i)).c_str());
    job.kinds[name].created = 1;
    job.metrics[name] = {true, 1};
    r.finished(job);
  }
  auto const text = r.text_of_runs();
  std::map<std::string, std::size_t> lines;
  auto const samples = parse_exposition(text);
  ASSERT_TRUE(samples);
  for (auto const& s : *samples) ++lines[s.name];
  // The closed labels multiply what is counted as "other": methods and outcomes, actions and results.
  EXPECT_LE(lines["weir_http_client_request_duration_seconds_count"], recorder::most_histograms + 55);
  EXPECT_LE(lines["weir_objects_total"], recorder::most_series + 8);
  EXPECT_LE(lines["weir_stage_success"], recorder::most_series + 1);
  EXPECT_LE(lines["weir_stage_metric_total"], recorder::most_series + 1);
  EXPECT_LE(samples->size(), 12000u);
  EXPECT_EQ(value(text, "weir_http_client_request_duration_seconds_count"), 2 * many);
  EXPECT_EQ(value(text, "weir_objects_total", {{"action", "create"}}), many);
  EXPECT_EQ(value(text, "weir_stage_metric_total"), many);
  EXPECT_GT(value(text, "weir_stage_metric_total", {{"stage", "other"}, {"name", "other"}}), 0);
  EXPECT_EQ(value(text, "weir_http_client_retries_total"), many);
}

TEST(recorder, words_of_strangers_are_cleaned) {
  recorder r;
  auto job = a_job(
      "st\xff"
      "age\n\"\\\x01");
  job.metrics["rate {a=\"b\"}\n\xc3"] = {false, 1};
  job.metrics[std::string(5000, 'x')] = {false, 2};
  job.metrics[""] = {true, -5};
  r.finished(job);
  auto const text = r.text_of_runs();
  auto const samples = parse_exposition(text);
  ASSERT_TRUE(samples) << samples.error().what;
  std::set<std::string> names;
  for (auto const& s : *samples)
    if (s.name == "weir_stage_metric" || s.name == "weir_stage_metric_total") {
      EXPECT_EQ(s.labels.at("stage"),
                "st\xef\xbf\xbd"
                "age \"\\ ");
      names.insert(s.labels.at("name"));
    }
  EXPECT_EQ(names, (std::set<std::string>{"rate__a__b____", std::string(100, 'x'), "_"}));
  EXPECT_EQ(value(text, "weir_stage_metric_total", {{"name", "_"}}), 0) << "a counter does not go down";
}

TEST(recorder, told_and_read_from_many_threads) {
  recorder r;
  constexpr int threads = 4, rounds = 300;
  std::atomic<bool> over{false};
  std::thread reader([&] {
    while (!over) {
      EXPECT_NE(r.text().find("weir_build_info"), std::string::npos);
      r.text_of_runs();
    }
  });
  std::vector<std::thread> tellers;
  for (int t = 0; t < threads; ++t)
    tellers.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        r.requested("netbox", an_attempt(method::get, "e" + std::to_string(i % 50), outcome::ok, i));
        r.ticked({});
        r.noticed({});
        r.finished(a_job(("s" + std::to_string(t)).c_str()));
        r.ended(a_report(), 0);
      }
    });
  for (auto& t : tellers) t.join();
  over = true;
  reader.join();
  auto const text = r.text();
  EXPECT_EQ(value(text, "weir_http_client_request_duration_seconds_count"), threads * rounds);
  EXPECT_EQ(value(text, "weir_runs_total"), threads * rounds);
  EXPECT_EQ(value(text, "weir_stages_total"), threads * rounds);
  EXPECT_EQ(value(text, "weir_notices_total"), threads * rounds);
}

// ---- what goes on from an earlier process

TEST(restore, counters_and_histograms_go_on) {
  recorder first([] { return at(1760000000); });
  tell_a_run(first, 0);
  auto const left = first.text_of_runs();
  recorder second([] { return at(1760000600); }), both([] { return at(1760000600); });
  tell_a_run(second);
  ASSERT_TRUE(second.restore(left));
  tell_a_run(both, 0);
  tell_a_run(both, 3);
  // All as if one process had seen both runs, but for when the first one ended.
  auto expected = both.text_of_runs();
  auto const success = std::string("weir_run_last_success_timestamp_seconds{profile=\"conservative\"} ");
  auto const place = expected.find(success + "1760000600\n");
  ASSERT_NE(place, std::string::npos);
  expected.replace(place, success.size() + 10, success + "1760000000");
  EXPECT_EQ(second.text_of_runs(), expected);
}

TEST(restore, last_success_survives_failed_runs) {
  recorder ok([] { return at(1760000000); });
  ok.ended(a_report(), 0);
  auto left = ok.text_of_runs();
  for (int i = 1; i <= 3; ++i) {
    recorder failing([i] { return at(1760000000 + 600 * i); });
    auto report = a_report();
    report.netbox_version.clear();
    failing.ended(report, 69);
    ASSERT_TRUE(failing.restore(left));
    left = failing.text_of_runs();
  }
  EXPECT_EQ(value(left, "weir_run_last_success_timestamp_seconds"), 1760000000);
  EXPECT_EQ(value(left, "weir_run_last_timestamp_seconds"), 1760001800);
  EXPECT_EQ(value(left, "weir_runs_total", {{"result", "unreachable"}}), 3);
  EXPECT_EQ(value(left, "weir_runs_total", {{"result", "ok"}}), 1);
  EXPECT_EQ(value(left, "weir_netbox_up"), 0) << "how it stands comes from the last run alone";
  EXPECT_EQ(value(left, "weir_netbox_info"), -1);
}

TEST(restore, what_is_no_text_changes_nothing) {
  for (auto const* bad :
       {"weir_runs_total{command=\"sync\",result=\"ok\"} 5\nnonsense here\n", "weir_runs_total 5",
        "weir_runs_total{command=\"sync} 5\n", "weir_runs_total{} x\n", "{} 1\n", "a{b=\"c\" d=\"e\"} 1\n"}) {
    recorder r;
    auto const before = r.text_of_runs();
    EXPECT_FALSE(r.restore(bad)) << bad;
    EXPECT_EQ(r.text_of_runs(), before) << bad;
  }
}

TEST(restore, of_another_version) {
  recorder r;
  auto const before = r.text_of_runs();
  ASSERT_TRUE(
      r.restore("# HELP x y\nweir_gone_total{a=\"b\"} 4\nweir_runs_total{command=\"sync\"} 9\n"
                "weir_runs_total{command=\"sync\",result=\"ok\",more=\"x\"} 9\nweir_notices_total{level=\"info\"} -3\n"
                "weir_notices_total{level=\"info\"} NaN\nweir_deferred_objects{source=\"a\",stage=\"b\"} 7\n"
                "weir_batch_duration_seconds_bucket{stage=\"a\",method=\"POST\",le=\"0.1\"} 3\n"
                "weir_batch_duration_seconds_bucket{stage=\"a\",method=\"POST\",le=\"+Inf\"} 3\n"
                "weir_batch_duration_seconds_sum{stage=\"a\",method=\"POST\"} 3\n"));
  EXPECT_EQ(r.text_of_runs(), before) << "what has other labels or buckets than today's is left";
  ASSERT_TRUE(r.restore(""));
}

}  // namespace
}  // namespace weir::metrics
