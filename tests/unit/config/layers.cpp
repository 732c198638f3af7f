// One tree of several files, variables and flags; the table's own order.
#include "core/config/layers.hpp"
#include "core/config/describe.hpp"
#include "core/config/values.hpp"
#include "tests/unit/config/support.hpp"

#include <set>

namespace {

using namespace config_test;

TEST(table, gives_every_key_one_variable_of_its_own) {
  std::set<std::string> seen;
  for (auto const& row : schema::keys()) {
    auto const name = schema::variable(row);
    if (name.empty()) continue;
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_EQ(name.rfind("WEIR_", 0), 0u) << name;
  }
  EXPECT_TRUE(seen.contains("WEIR_NETBOX_URL"));
  EXPECT_TRUE(seen.contains("WEIR_BATCH_OBJECTS_PER_REQUEST"));
  EXPECT_FALSE(seen.contains("WEIR_INCLUDE"));
  EXPECT_FALSE(seen.contains("WEIR_NETBOX"));
}

TEST(table, keys_of_configuration_and_profile_never_meet) {
  // --set and explain take both.
  for (auto const& row : schema::keys()) {
    if (row.in != schema::document::profile) continue;
    EXPECT_EQ(schema::find(schema::document::configuration, row.path), nullptr) << row.path;
  }
}

TEST(table, resolves_names_with_dots) {
  using enum schema::document;
  auto const found = schema::resolve(configuration, "sources.a.b.timeout");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->row->path, "sources.*.timeout");
  EXPECT_EQ(found->steps, (std::vector<std::string>{"sources", "a.b", "timeout"}));
  auto const option = schema::resolve(configuration, "stages.backups.keep.last");
  ASSERT_TRUE(option);
  EXPECT_EQ(option->row->path, "stages.*");
  EXPECT_EQ(option->steps, (std::vector<std::string>{"stages", "backups", "keep", "last"}));
  EXPECT_EQ(schema::resolve(configuration, "stages.backups.limits.cpu")->row->path, "stages.*.limits.cpu");
  EXPECT_FALSE(schema::resolve(configuration, "netbox.ulr"));
  EXPECT_FALSE(schema::resolve(configuration, ""));
  EXPECT_FALSE(schema::resolve(configuration, "netbox..url"));
  EXPECT_FALSE(schema::resolve(configuration, "batch.size"));
  EXPECT_TRUE(schema::resolve(profile, "batch.size"));
}

TEST(table, every_example_is_a_good_value) {
  for (auto const& e : explain_all({})) {
    if (e.where != "configuration" || e.example.empty() || e.key.find("token") != e.key.npos ||
        e.key.find("password") != e.key.npos)
      continue;
    load_options options;
    options.use_files = false;
    options.need_secrets = false;
    options.environment = {{"HOME", "/home/user"}};
    for (auto const& d : load_text(e.example, "example.yaml", options).errors)
      // Other keys are missing, and a fingerprint's example is cut short.
      EXPECT_TRUE(d.summary.find(" must be ") == d.summary.npos || e.key.ends_with("fingerprint")) << e.example << "\n"
                                                                                                   << render(d);
  }
}

TEST(explain, knows_every_key_by_its_pattern) {
  for (auto const& e : explain_all({})) {
    std::string near;
    auto const found = explain(e.key, {}, near);
    if (e.key.starts_with("stages.*")) continue;  // by the name of a stage that is there
    ASSERT_TRUE(found) << e.key;
    EXPECT_EQ(found->key, e.key);
    EXPECT_FALSE(found->help.empty()) << e.key;
  }
}

TEST(explain, splices_a_plugins_schema_in) {
  stage_options const stage{"disks",
                            "Disks of guests",
                            R"({"type":"object","properties":{"a":{"$ref":"#/definitions/x"}},)"
                            R"("definitions":{"x":{"type":"string"}},"additionalProperties":false})",
                            {{"a", "text", "\"b\"", "What it is", false}}};
  auto const schema = json_schema(schema::document::configuration, {stage});
  EXPECT_NE(schema.find("\"$ref\": \"#/properties/stages/properties/disks/definitions/x\""), schema.npos);
  std::string near;
  EXPECT_EQ(explain("stages.disks.a", {stage}, near)->help, "What it is.");
  EXPECT_FALSE(explain("stages.disk.a", {stage}, near));
  EXPECT_EQ(near, "stages.disks");
  EXPECT_NE(reference({stage}).find("| `stages.disks.a` | text | `\"b\"` |"), std::string::npos);
}

TEST(listen, is_an_address_and_a_port) {
  EXPECT_TRUE(parse_listen("127.0.0.1:9788")->loopback);
  EXPECT_TRUE(parse_listen("localhost:0")->loopback);
  EXPECT_EQ(parse_listen("[::1]:65535")->port, 65535);
  EXPECT_TRUE(parse_listen("[::1]:1")->loopback);
  EXPECT_FALSE(parse_listen("0.0.0.0:1")->loopback);
  EXPECT_FALSE(parse_listen(":9788")->loopback);
  EXPECT_FALSE(parse_listen("[2001:db8::1]:9788")->loopback);
  for (auto const* bad : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:9788", "[::1]", "[::1:9788",
                          "[127.0.0.1]:1", "example.org:1", "127.0.0.1:-1", "1.2.3:4", "127.0.0.1:9788x"})
    EXPECT_FALSE(parse_listen(bad)) << bad;
}

TEST(layers, merge_maps_and_replace_the_rest) {
  folder const here;
  auto const low =
      here.write("low.yaml", with("log: {level: debug, keep: 3}\nplugin_path: [/low, /lower]\nmax_deletes: 3\n"));
  auto const high = here.write("high.yaml", "log: {level: warn}\nplugin_path: [/high]\nmax_deletes: {percent: 4}\n");
  auto options = options_for(high);
  options.lower_files = {low};
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->logging.level, "warn");
  EXPECT_EQ(outcome.value->logging.keep, 3u);
  EXPECT_EQ(outcome.value->plugin_path, std::vector<fs::path>{"/high"});
  EXPECT_EQ(outcome.value->max_deletes, 0u);
  EXPECT_EQ(outcome.value->max_deletes_percent, 4u);
  EXPECT_EQ(outcome.files, (std::vector<fs::path>{high, low}));
}

TEST(layers, name_the_file_that_is_wrong) {
  folder const here;
  auto const low = here.write("low.yaml", with("log: {level: loud}\ncolour: red\n"));
  auto const high = here.write("high.yaml", "state_dri: /x\n");
  auto options = options_for(high);
  options.lower_files = {low};
  auto const outcome = load(options);
  ASSERT_EQ(outcome.errors.size(), 3u) << everything(outcome);
  EXPECT_EQ(outcome.errors[0].file, high.string());
  EXPECT_EQ(outcome.errors[0].line, 1u);
  EXPECT_EQ(outcome.errors[1].file, low.string());
  EXPECT_EQ(outcome.errors[1].line, 4u);
  EXPECT_EQ(outcome.errors[1].source_line, "log: {level: loud}");
  EXPECT_EQ(outcome.errors[2].summary, "unknown key 'colour'");
}

TEST(layers, a_file_of_comments_gives_way) {
  folder const here;
  auto options = options_for(here.write("high.yaml", "# nothing\n"));
  options.lower_files = {here.write("low.yaml", with(""))};
  EXPECT_TRUE(load(options).value);
  options.lower_files.clear();
  EXPECT_NE(everything(load(options)).find("the file is empty"), std::string::npos);
}

TEST(flags, go_over_everything_and_are_shown_without_secrets) {
  auto options = options_for("/etc/weir/weir.yaml");
  options.flags = {{"--set", "max_deletes.count", "7"},
                   {"--set", "sources.a.max_in_flight", "9"},
                   {"--set", "netbox.token_file", "/nonexistent"}};
  options.need_secrets = false;
  auto const outcome = load_text(with("max_deletes: 5\n"), "weir.yaml", options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->max_deletes, 7u);
  EXPECT_EQ(outcome.value->sources[0].max_in_flight, 9u);
  options.flags = {{"--set", "netbox.token", "hunter2"}, {"--set", "include", "[a.yaml]"}, {"--set", "extends", "x"}};
  auto const text = everything(load_text(with(""), "weir.yaml", options));
  EXPECT_NE(text.find("netbox.token may not stand on the command line"), text.npos) << text;
  EXPECT_NE(text.find("include can be set in files only"), text.npos) << text;
  EXPECT_NE(text.find("extends can be set in files only"), text.npos) << text;
  EXPECT_EQ(text.find("hunter2"), text.npos) << text;
}

TEST(flags, that_miss_a_map_leave_the_error_where_it_is) {
  auto options = options_for("/etc/weir/weir.yaml");
  options.flags = {{"--set", "log.level", "warn"}};
  auto const text = everything(load_text(with("log: loud\n"), "weir.yaml", options));
  EXPECT_NE(text.find("log must be a map of keys, is the text 'loud'"), text.npos) << text;
}

TEST(settings, say_where_they_come_from) {
  auto options = options_for("/etc/weir/weir.yaml");
  options.list_settings = true;
  options.environment["WEIR_BATCH_DELAY_MS"] = "900";
  auto const outcome = load_text(with("state_dir: '5'\n"), "weir.yaml", options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  std::map<std::string, setting> by_key;
  for (auto const& s : outcome.settings) EXPECT_TRUE(by_key.emplace(s.key, s).second) << s.key;
  EXPECT_EQ(by_key["state_dir"].value, "\"5\"");
  EXPECT_EQ(by_key["state_dir"].origin, "weir.yaml:4");
  EXPECT_EQ(by_key["netbox.url"].origin, "weir.yaml:1");
  EXPECT_EQ(by_key["batch.delay_ms"].origin, "environment WEIR_BATCH_DELAY_MS");
  EXPECT_EQ(by_key["batch.size"].origin.rfind("profile conservative.yaml:", 0), 0u);
  EXPECT_TRUE(by_key["log.level"].built_in);
  EXPECT_EQ(by_key["sources.a.timeout"].value, "30s");
  EXPECT_FALSE(by_key.contains("sources.a.check"));
}

}  // namespace
