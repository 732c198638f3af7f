#include "core/config/values.hpp"
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;
using namespace std::chrono_literals;

load_outcome read(std::string const& text, std::vector<flag> flags = {}) {
  load_options options;
  options.environment = {{"NB", "t"}, {"PVE", "t"}};
  options.use_files = false;
  options.list_settings = true;
  options.flags = std::move(flags);
  return load_text(text, "weir.yaml", options);
}

TEST(rules, of_kinds) {
  auto const outcome = read(with(R"(adopt: tagged
rules:
  virtualization.virtualmachine:
    fields: {description: on-create, custom_fields.cost_centre: never, tags: merge}
    orphans: mark
    grace: 7d
    max_deletes: {percent: 5}
  netbox_proxbox.vmbackup: {adopt: never, max_deletes: 3}
  dcim.device: {}
)"));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  auto const& c = *outcome.value;
  EXPECT_EQ(c.adopt, "tagged");
  ASSERT_EQ(c.rules.size(), 3u);
  auto const& guests = c.rules[0];
  EXPECT_EQ(guests.kind, "virtualization.virtualmachine");
  EXPECT_EQ(guests.location, "weir.yaml:6:3");
  EXPECT_EQ(guests.fields, (std::map<std::string, std::string>{
                               {"description", "on-create"}, {"custom_fields.cost_centre", "never"}, {"tags", "merge"}}));
  EXPECT_EQ(guests.field_locations.at("description"), "weir.yaml:7:14");
  EXPECT_EQ(guests.orphans, "mark");
  EXPECT_EQ(guests.grace, 168h);
  EXPECT_EQ(guests.max_deletes, 0u);
  EXPECT_EQ(guests.max_deletes_percent, 5u);
  EXPECT_FALSE(guests.adopt);
  EXPECT_EQ(c.rules[1].adopt, "never");
  EXPECT_EQ(c.rules[1].max_deletes, 3u);
  EXPECT_EQ(c.rules[1].max_deletes_percent, 0u);
  EXPECT_FALSE(c.rules[1].orphans || c.rules[1].grace);
  EXPECT_FALSE(c.rules[2].adopt || c.rules[2].orphans || c.rules[2].grace || c.rules[2].max_deletes ||
               c.rules[2].max_deletes_percent);
}

TEST(rules, without_them) {
  auto const outcome = read(with(""));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->adopt, "matching");
  EXPECT_TRUE(outcome.value->rules.empty());
}

// Names of kinds and custom fields hold dots.
TEST(rules, by_set) {
  auto const outcome = read(with(""), {{"--set", "rules.virtualization.virtualmachine.orphans", "keep"},
                                       {"--set", "rules.virtualization.virtualmachine.fields.custom_fields.owner", "never"},
                                       {"--set", "adopt", "never"}});
  ASSERT_TRUE(outcome.value) << everything(outcome);
  ASSERT_EQ(outcome.value->rules.size(), 1u);
  EXPECT_EQ(outcome.value->rules[0].kind, "virtualization.virtualmachine");
  EXPECT_EQ(outcome.value->rules[0].orphans, "keep");
  EXPECT_EQ(outcome.value->rules[0].fields, (std::map<std::string, std::string>{{"custom_fields.owner", "never"}}));
  EXPECT_EQ(outcome.value->rules[0].location, "--set");
  EXPECT_EQ(outcome.value->adopt, "never");
}

// Who reads the rules of one file reads all that hold; drop-ins of that file add to it.
TEST(rules, come_whole_from_the_highest_file) {
  folder const here;
  auto const file = here.write("weir.yaml", with("include: [conf.d/*.yaml]\nrules:\n  dcim.device: {orphans: keep}\n"));
  auto const lower = here.write("lower.yaml", "adopt: tagged\nrules:\n  virtualization.cluster: {orphans: keep}\n");
  here.write("conf.d/a.yaml", "rules:\n  virtualization.virtualmachine: {orphans: mark}\n");
  auto options = options_for(file);
  options.lower_files = {lower};
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  std::vector<std::string> kinds;
  for (auto const& r : outcome.value->rules) kinds.push_back(r.kind);
  EXPECT_EQ(kinds, (std::vector<std::string>{"dcim.device", "virtualization.virtualmachine"}));
  EXPECT_EQ(outcome.value->adopt, "tagged");
}

TEST(scope, of_a_source) {
  auto const outcome = read(R"(netbox: {url: https://nb.example, token_env: NB}
sources:
  a:
    type: proxmox
    urls: [https://pve:8006]
    token_id: u@pve!t
    token_env: PVE
    scope:
      include: {nodes: [pve1, 'rack-*'], vmids: [100, 200-299, 1-1], tags: [2024, prod], templates: false}
      exclude: {names: ['*-test'], pools: [scratch], storages: ['local*'], states: [stopped, paused]}
  b: {type: proxmox, urls: [https://pve:8006], token_id: u@pve!t, token_env: PVE, scope: {include: {}}}
)");
  ASSERT_TRUE(outcome.value) << everything(outcome);
  auto const& s = outcome.value->sources.at(0).scope;
  using words = std::vector<std::string>;
  EXPECT_EQ(s.include.nodes, (words{"pve1", "rack-*"}));
  EXPECT_EQ(s.include.vmids, (words{"100", "200-299", "1-1"}));
  EXPECT_EQ(s.include.tags, (words{"2024", "prod"}));
  EXPECT_EQ(s.include.templates, false);
  EXPECT_TRUE(s.include.names.empty() && s.include.pools.empty() && s.include.storages.empty());
  EXPECT_EQ(s.exclude.names, words{"*-test"});
  EXPECT_EQ(s.exclude.pools, words{"scratch"});
  EXPECT_EQ(s.exclude.storages, words{"local*"});
  EXPECT_EQ(s.exclude.states, (words{"stopped", "paused"}));
  EXPECT_FALSE(s.exclude.templates);
  auto const& none = outcome.value->sources.at(1).scope;
  EXPECT_TRUE(none.include.nodes.empty() && !none.include.templates && none.exclude.states.empty());
}

TEST(scope, numbers_of_guests) {
  for (auto const* good : {"1", "100", "100-100", "100-999999999"}) EXPECT_TRUE(valid_vmids(good)) << good;
  for (auto const* bad : {"", "0", "-5", "5-", "200-100", "1000000000", "100-200-300", "1e3", "0x10", " 100"})
    EXPECT_FALSE(valid_vmids(bad)) << bad;
}

TEST(rules, names_of_kinds) {
  for (auto const* good : {"dcim.device", "netbox_proxbox.vmbackup"}) EXPECT_TRUE(valid_kind(good)) << good;
  for (auto const* bad : {"", "device", "dcim.", ".device", "a.b.c", "Dcim.device", "dcim.device "})
    EXPECT_FALSE(valid_kind(bad)) << bad;
}

TEST(durations, days) {
  EXPECT_EQ(parse_duration("7d"), 7 * 86'400'000.0);
  EXPECT_EQ(parse_duration("0.5 d"), 43'200'000.0);
  EXPECT_FALSE(parse_duration("d"));
}

}  // namespace
