// Scenarios of `weir throttle simulate`: what is read, and what is said about what is wrong.
#include "core/config/scenario.hpp"

#include <set>

#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;

scenario_outcome read(std::string const& text) { return load_scenario_text(text, "s.yaml"); }
std::string const work = "work: [{kind: backups, objects: 10}]\n";

std::string said(std::string const& text) {
  auto const outcome = read(text);
  EXPECT_EQ(outcome.value.has_value(), outcome.errors.empty());
  std::string out;
  for (auto const& d : outcome.errors) out += render(d) + "\n";
  return out;
}
void expect_said(std::string const& text, std::vector<std::string> const& parts) {
  auto const out = said(text);
  for (auto const& part : parts) EXPECT_NE(out.find(part), std::string::npos) << part << "\nis not in\n" << out << text;
}

}  // namespace

TEST(scenario, work_alone_is_enough_and_the_rest_is_the_measured_netbox) {
  auto const outcome = read(work);
  ASSERT_TRUE(outcome.value) << said(work);
  scenario const built_in;
  auto const& s = *outcome.value;
  EXPECT_EQ(s.server.workers, built_in.server.workers);
  EXPECT_EQ(s.server.threads, built_in.server.threads);
  EXPECT_EQ(s.server.cores, built_in.server.cores);
  EXPECT_EQ(s.server.next_core, built_in.server.next_core);
  EXPECT_EQ(s.server.connections, built_in.server.connections);
  EXPECT_EQ(s.server.conn_max_age_s, built_in.server.conn_max_age_s);
  EXPECT_EQ(s.server.proxy_timeout_s, built_in.server.proxy_timeout_s);
  EXPECT_EQ(s.server.jitter, built_in.server.jitter);
  EXPECT_EQ(s.server.read_base_ms, built_in.server.read_base_ms);
  EXPECT_EQ(s.server.read_object_ms, built_in.server.read_object_ms);
  EXPECT_EQ(s.server.db_error_ms, built_in.server.db_error_ms);
  EXPECT_EQ(s.users_per_second, built_in.users_per_second);
  EXPECT_EQ(s.user_work_ms, built_in.user_work_ms);
  EXPECT_EQ(s.seed, built_in.seed);
  ASSERT_EQ(s.works.size(), 1U);
  EXPECT_EQ(s.works[0].kind, "backups");
  EXPECT_EQ(s.works[0].objects, 10U);
  EXPECT_EQ(s.works[0].write_base_ms, scenario::work().write_base_ms);
  EXPECT_EQ(s.works[0].write_object_ms, scenario::work().write_object_ms);
  EXPECT_TRUE(s.events.empty());
  EXPECT_TRUE(s.expectations.empty());
}

TEST(scenario, everything_is_read) {
  auto const outcome = read(
      "description: all of it\nseed: 7\nstart_s: 2.5\n"
      "netbox:\n  {workers: 2, threads: 8, cores: 1.5, next_core: 0.5, connections: 7, conn_max_age_s: 0, "
      "proxy_timeout_s: 30, jitter: 0,\n   costs: {read_base: 1, read_object: 2, write_base: 10, write_object: 4, "
      "db_error: 5}}\n"
      "users: {per_second: 0.5, work_ms: 90}\n"
      "work:\n  - {kind: guests, objects: 3, factor: 2}\n  - {kind: disks, objects: 4, write_object_ms: 9}\n"
      "events:\n  - {what: neighbour, from_s: 1, to_s: 2, amount: 3, share: 0.25}\n"
      "  - {what: slow, from_s: 3, to_s: 4, factor: 1.5}\n  - {what: too_many, from_s: 5, to_s: 6}\n"
      "expect:\n  conservative:\n    seconds: [10, 60]\n    lost: 0\n");
  ASSERT_TRUE(outcome.value);
  auto const& s = *outcome.value;
  EXPECT_EQ(s.description, "all of it");
  EXPECT_EQ(s.seed, 7U);
  EXPECT_EQ(s.start_s, 2.5);
  EXPECT_EQ(s.server.workers, 2);
  EXPECT_EQ(s.server.cores, 1.5);
  EXPECT_EQ(s.server.conn_max_age_s, 0);
  EXPECT_EQ(s.server.db_error_ms, 5);
  EXPECT_EQ(s.users_per_second, 0.5);
  EXPECT_EQ(s.user_work_ms, 90);
  ASSERT_EQ(s.works.size(), 2U);
  EXPECT_EQ(s.works[0].write_base_ms, 20);
  EXPECT_EQ(s.works[0].write_object_ms, 8);
  EXPECT_EQ(s.works[1].write_base_ms, 10);
  EXPECT_EQ(s.works[1].write_object_ms, 9);
  ASSERT_EQ(s.events.size(), 3U);
  EXPECT_EQ(s.events[0].what, "neighbour");
  EXPECT_EQ(s.events[0].amount, 3);
  EXPECT_EQ(s.events[0].share, 0.25);
  EXPECT_EQ(s.events[1].factor, 1.5);
  EXPECT_EQ(s.events[1].to_s, 4);
  ASSERT_EQ(s.expectations.size(), 2U);
  EXPECT_EQ(s.expectations[0].profile, "conservative");
  EXPECT_EQ(s.expectations[0].figure, "seconds");
  EXPECT_EQ(s.expectations[0].low, 10);
  EXPECT_EQ(s.expectations[0].high, 60);
  EXPECT_EQ(s.expectations[0].location, "s.yaml:17:14");
  EXPECT_EQ(s.expectations[1].low, 0);
  EXPECT_EQ(s.expectations[1].high, 0);
}

TEST(scenario, unknown_keys_are_errors_with_the_place_and_a_suggestion) {
  expect_said(work + "netbox: {wokers: 3}\n",
              {"error: unknown key 'wokers' in netbox", "--> s.yaml:2:10", "did you mean 'workers'?", "^^^^^^"});
  expect_said("work:\n  - {kind: a, objcts: 3}\n", {"unknown key 'objcts' in work[0]", "s.yaml:2:15",
                                                    "did you mean 'objects'?", "work[0].objects is missing"});
  expect_said(work + "events:\n  - {what: slow, from_s: 0, to_s: 9, factr: 2}\n",
              {"unknown key 'factr' in events[0]", "did you mean 'factor'?"});
  expect_said(work + "expect: {conservative: {secnds: 3}}\n",
              {"unknown key 'secnds' in expect.conservative", "did you mean 'seconds'?"});
  expect_said(work + "workers: 3\n", {"unknown key 'workers'", "it belongs under netbox"});
}

TEST(scenario, wrong_types_and_values_are_errors) {
  expect_said("", {"the file is empty"});
  expect_said("[1]", {"must be a map of keys"});
  expect_said("description: x\n", {"work is missing"});
  expect_said("work: {kind: a}\n", {"work must be a list of maps, is a map", "s.yaml:1:7"});
  expect_said("work: []\n", {"work is an empty list"});
  expect_said("work: [3]\n", {"work[0] must be a map of keys, is the number 3"});
  expect_said("work: [{kind: a, objects: many}]\n", {"work[0].objects must be a whole number, is the text 'many'"});
  expect_said("work: [{kind: a, objects: 0}]\n", {"work[0].objects must be between 1 and 1000000, is 0"});
  expect_said("work: [{kind: 5, objects: 1}]\n", {"work[0].kind must be text"});
  expect_said(work + "netbox: {cores: .nan}\n", {"netbox.cores must be a number"});
  expect_said(work + "netbox: {connections: 0}\n", {"netbox.connections must be between 1 and 10000, is 0"});
  expect_said(work + "netbox: {costs: {write_base: 0}}\n", {"netbox.costs.write_base must be between"});
  expect_said(work + "seed: -1\n", {"seed must be between 0"});
  expect_said(work + "expect: {}\n", {"expect is empty"});
  expect_said(work + "expect: {conservative: {seconds: fast}}\n",
              {"expect.conservative.seconds must be a number or [lowest, highest]"});
  for (auto const* range : {"[1]", "[1, 2, 3]", "[a, 2]", "[1, .nan]", "[[1], 2]"})
    expect_said(work + "expect: {conservative: {seconds: " + range + "}}\n",
                {"expect.conservative.seconds must be a number or [lowest, highest]", "such as [0, 1]"});
  expect_said(work + "expect: {conservative: {seconds: [2, 1]}}\n", {"has its lowest value above its highest"});
  expect_said(work + "expect: {conservative: {errors_percent: [0, 101]}}\n", {"must be between 0 and 100, is 101"});
  expect_said(work + "expect: {conservative: {lost: -1}}\n", {"is -1"});
}

TEST(scenario, what_contradicts_itself_is_an_error) {
  auto const event = [](std::string const& fields) { return work + "events: [{" + fields + "}]\n"; };
  expect_said(event("what: slwo, from_s: 0, to_s: 1"), {"events[0].what must be", "did you mean 'slow'?"});
  expect_said(event("what: web_down, from_s: 5, to_s: 5"), {"events[0].to_s must be after from_s, is 5"});
  expect_said(event("what: slow, from_s: 0, to_s: 1"), {"events[0].factor is missing"});
  expect_said(event("what: neighbour, from_s: 0, to_s: 1"), {"events[0].amount is missing"});
  expect_said(event("what: burst, from_s: 0, to_s: 1, amount: 0"), {"events[0].amount must be at least 1 for burst"});
  expect_said(event("what: web_down, from_s: 0, to_s: 1, amount: 3"),
              {"events[0].amount means nothing for web_down", "neighbour or burst or too_many"});
  expect_said(event("what: slow, from_s: 0, to_s: 1, factor: 2, share: 0.5"), {"share means nothing for slow"});
  expect_said(event("what: slow, from_s: 0"), {"events[0].to_s is missing", "events[0].factor is missing"});
  expect_said("work: [{kind: a, objects: 1, factor: 2, write_base_ms: 3}]\n",
              {"work[0].factor and work[0].write_base_ms are both given"});
  expect_said("work: [{kind: a, objects: 600000}, {kind: b, objects: 600000}]\n", {"more than 1000000 objects in all"});
}

TEST(scenario, all_errors_are_told_in_the_order_of_the_file) {
  auto const outcome =
      read("netbox: {workers: 0}\nwork: [{kind: a, objects: 0}]\nevents: [{what: slow, from_s: 2, to_s: 1}]\n");
  ASSERT_EQ(outcome.errors.size(), 4U);
  for (std::size_t i = 1; i < outcome.errors.size(); ++i)
    EXPECT_LE(std::pair(outcome.errors[i - 1].line, outcome.errors[i - 1].column),
              std::pair(outcome.errors[i].line, outcome.errors[i].column));
}

TEST(scenario, a_file_that_is_not_there_is_said) {
  auto const outcome = load_scenario("/nonexistent/scenario.yaml");
  EXPECT_FALSE(outcome.value);
  ASSERT_EQ(outcome.errors.size(), 1U);
  EXPECT_NE(outcome.errors[0].summary.find("/nonexistent/scenario.yaml"), std::string::npos);
}

TEST(scenario, those_that_are_shipped_are_right_and_say_what_is_expected_of_each_profile) {
  std::size_t seen = 0;
  for (auto const& at : fs::directory_iterator(fs::path(WEIR_SOURCE_DIR) / "configs/scenarios")) {
    SCOPED_TRACE(at.path().string());
    auto const outcome = load_scenario(at.path());
    for (auto const& d : outcome.errors) ADD_FAILURE() << render(d);
    ASSERT_TRUE(outcome.value);
    EXPECT_FALSE(outcome.value->description.empty());
    std::set<std::string> profiles;
    for (auto const& e : outcome.value->expectations) profiles.insert(e.profile);
    EXPECT_EQ(profiles, (std::set<std::string>{"aggressive", "conservative", "ultra-conservative"}));
    ++seen;
  }
  EXPECT_GE(seen, 8U);
}
