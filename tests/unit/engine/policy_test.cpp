// Rules of the configuration over what kinds say, and the scope as stages are told.
#include "core/engine/policy.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/engine/narrow.hpp"

namespace {

using namespace weir;
using engine::rule_problem;

config::rules of(std::string kind, std::map<std::string, std::string> fields = {}) {
  config::rules out;
  out.kind = std::move(kind);
  out.location = "weir.yaml:1:1";
  for (auto const& [field, rule] : fields) out.field_locations[field] = "weir.yaml:2:" + std::to_string(field.size());
  out.fields = std::move(fields);
  return out;
}

std::string everything(std::vector<rule_problem> const& problems) {
  std::string out;
  for (auto const& p : problems) out += p.location + ": " + p.what + " (" + p.hint + ")\n";
  return out;
}

constexpr char const* guest = "virtualization.virtualmachine";

TEST(policy, what_is_said_holds_and_the_rest_stays) {
  netbox::registry kinds;
  auto const before = *kinds.find(guest);
  config::configuration c;
  c.rules = {of(guest, {{"description", "never"}, {"memory", "on-create"}, {"custom_fields.owner", "merge"}})};
  c.rules[0].adopt = "tagged";
  c.rules[0].orphans = "keep";
  c.rules[0].grace = std::chrono::milliseconds(1500);
  c.rules[0].max_deletes = 3;
  c.rules[0].max_deletes_percent = 0;
  auto const problems = engine::apply_rules(c, kinds, true);
  EXPECT_TRUE(problems.empty()) << everything(problems);
  auto const& k = *kinds.find(guest);
  EXPECT_EQ(k.rule_of("description"), netbox::rule::never);
  EXPECT_EQ(k.rule_of("memory"), netbox::rule::on_create);
  EXPECT_EQ(k.rule_of("custom_fields.owner"), netbox::rule::merge);
  EXPECT_EQ(k.rule_of("tags"), before.rule_of("tags"));
  EXPECT_EQ(k.adopt, netbox::adoption::tagged);
  EXPECT_EQ(k.when_gone, netbox::orphans::keep);
  EXPECT_EQ(k.grace, std::chrono::seconds(2));  // never a moment too early
  EXPECT_EQ(k.max_deletes, 3u);
  EXPECT_EQ(k.max_deletes_percent, 0u);
  auto const& other = *kinds.find("dcim.device");
  EXPECT_EQ(other.adopt, netbox::adoption::matching);
  EXPECT_FALSE(other.max_deletes);
}

TEST(policy, adopt_is_for_kinds_that_are_somebodys) {
  netbox::registry kinds;
  config::configuration c;
  c.adopt = "never";
  c.rules = {of(guest)};
  c.rules[0].adopt = "matching";
  EXPECT_TRUE(engine::apply_rules(c, kinds, true).empty());
  EXPECT_EQ(kinds.find(guest)->adopt, netbox::adoption::matching);
  EXPECT_EQ(kinds.find("dcim.device")->adopt, netbox::adoption::never);
  EXPECT_EQ(kinds.find("extras.tag")->adopt, netbox::adoption::matching);
}

TEST(policy, what_cannot_be_is_told_at_its_place) {
  struct {
    char const *kind, *field, *rule, *words;
  } const all[] = {{guest, "custom_fields.proxmox_vm_id", "on-create", "by it weir knows its objects"},
                   {guest, "custom_fields.proxmox_source", "never", "by it weir knows its objects"},
                   {"dcim.device", "custom_fields.proxmox_source", "unless-edited", "by it weir knows its objects"},
                   {guest, "custom_fields", "never", "needs a field's name"},
                   {guest, "desription", "never", "did you mean 'description'?"},
                   {guest, "colour", "never", "NetBox has no such field"},
                   {guest, "name", "never", "NetBox makes no object without it"},
                   {guest, "memory", "merge", "it holds one value"}};
  for (auto const& one : all) {
    netbox::registry kinds;
    auto const before = kinds.find(one.kind)->rules;
    config::configuration c;
    c.rules = {of(one.kind, {{one.field, one.rule}})};
    auto const problems = engine::apply_rules(c, kinds, true);
    ASSERT_EQ(problems.size(), 1u) << one.field;
    EXPECT_NE(everything(problems).find(one.words), std::string::npos) << everything(problems);
    EXPECT_EQ(problems[0].location, "weir.yaml:2:" + std::to_string(std::string(one.field).size()));
    EXPECT_EQ(kinds.find(one.kind)->rules, before);
  }
}

TEST(policy, an_unknown_kind_is_wrong_only_where_all_are_known) {
  netbox::registry kinds;
  config::configuration c;
  c.rules = {of("virtualization.virtualmachines")};
  auto const problems = engine::apply_rules(c, kinds, true);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].hint, "did you mean 'virtualization.virtualmachine'?");
  EXPECT_TRUE(engine::apply_rules(c, kinds, false).empty());
}

TEST(policy, shared_kinds_take_rules_of_fields_alone) {
  netbox::registry kinds;
  config::configuration c;
  c.rules = {of("dcim.site", {{"status", "always"}})};
  EXPECT_TRUE(engine::apply_rules(c, kinds, true).empty());
  EXPECT_EQ(kinds.find("dcim.site")->rule_of("status"), netbox::rule::always);
  c.rules[0].orphans = "delete";
  EXPECT_NE(everything(engine::apply_rules(c, kinds, true)).find("bear nobody's mark"), std::string::npos);
  EXPECT_EQ(kinds.find("dcim.site")->when_gone, netbox::orphans::keep);
}

// ---- the scope

TEST(scope_json, holds_what_is_said_and_nothing_else) {
  config::scope s;
  EXPECT_EQ(engine::scope_json(s, {}), "{}");
  EXPECT_EQ(engine::scope_json(s, {101, 7}), R"({"guests":[101,7]})");
  s.include.nodes = {"pve1", "a\"b"};
  s.include.templates = false;
  s.exclude.vmids = {"100-199"};
  EXPECT_EQ(engine::scope_json(s, {}),
            R"({"include":{"nodes":["pve1","a\"b"],"templates":false},"exclude":{"vmids":["100-199"]}})");
}

// ---- what a run of single guests reads

struct few : testing::Test {
  netbox::registry kinds;
  engine::world world{kinds};
  engine::collected what;

  void emit(std::string const& kind, std::string const& key, std::string const& fields) {
    what.objects[kind].push_back({key, fields});
  }
  std::optional<std::vector<std::string>> queries(std::string const& kind) {
    auto const all = engine::everything_asked_for(kinds, what);
    auto const found = all.find(kind);
    return found == all.end() ? std::vector<std::string>{}
                              : engine::queries_for(world, *kinds.find(kind), found->second);
  }
  void cluster(engine::object_id id) {
    auto const& k = *kinds.find("virtualization.cluster");
    world.of(k).add(id, nlohmann::json{{"name", "prod"}, {"custom_fields", {{"proxmox_source", "pve"}}}});
  }
  static constexpr char const* guest_fields =
      R"({"name":"a b","cluster":{"custom_fields.proxmox_source":"pve","name":"prod"}})";
  static constexpr char const* guest_key =
      R"({"custom_fields.proxmox_source":"pve","custom_fields.proxmox_vm_id":101})";
};

TEST_F(few, a_guest_by_its_number_and_by_its_name) {
  cluster(9);
  emit(guest, guest_key, guest_fields);
  EXPECT_EQ(queries(guest), (std::vector<std::string>{"cf_proxmox_vm_id=101", "cluster_id=9&name__ie=a%20b"}));
}

// A cluster that NetBox does not have yet holds nobody of that name.
TEST_F(few, a_guest_of_a_new_cluster_by_its_number_alone) {
  emit(guest, guest_key, guest_fields);
  EXPECT_EQ(queries(guest), (std::vector<std::string>{"cf_proxmox_vm_id=101"}));
}

TEST_F(few, parents_that_are_referred_to_by_their_keys) {
  emit(guest, guest_key,
       R"({"name":"x","device":{"custom_fields.proxmox_source":"pve","name":"n1"},"$create":{"role":{"slug":"r"}}})");
  EXPECT_EQ(queries("dcim.device"), (std::vector<std::string>{"name__ie=n1"}));
  EXPECT_FALSE(queries("dcim.devicerole"));                     // shared: read all
  EXPECT_EQ(queries("dcim.site"), std::vector<std::string>{});  // nobody refers to one
}

TEST_F(few, many_are_not_few) {
  for (int i = 0; i < 60; ++i)
    emit(guest, R"({"custom_fields.proxmox_source":"pve","custom_fields.proxmox_vm_id":)" + std::to_string(i) + "}",
         R"({"name":"x"})");
  EXPECT_FALSE(queries(guest));
}

}  // namespace
