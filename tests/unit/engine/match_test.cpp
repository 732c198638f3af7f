#include "core/engine/match.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/engine/apply.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;

using rows = std::vector<json>;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* devices = "dcim.device";
constexpr char const* clusters = "virtualization.cluster";
constexpr char const* backups = "netbox_proxbox.vmbackup";
constexpr char const* all_of_it = R"({"custom_fields.proxmox_source":"pve-a"})";

class kept_memory : public memory {
 public:
  std::map<std::pair<std::string, object_id>, known_object> held;
  std::optional<known_object> of(netbox::kind const& k, object_id id) override {
    auto const found = held.find({k.name, id});
    return found == held.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<object_id> find(netbox::kind const& k, std::string const& key_text) override {
    for (auto const& [of, what] : held)
      if (of.first == k.name && what.key == key_text) return of.second;
    return {};
  }
  void note(netbox::kind const& k, object_id id, known_object const& what) override { held[{k.name, id}] = what; }
};

// Facts of a machine by a letter, as the stage writes them.
std::string facts(char letter) {
  std::string const l(1, letter);
  return "type=qemu;uuid=" + l + l + "-0;ctime=17000000" + std::to_string(int{letter}) + ";vmgenid=" + l +
         "-9;mac=bc:24:11:00:00:0" + l;
}
json held_vm(int id, std::string const& name, json const& vmid, std::string const& identity,
             json const& source = "pve-a") {
  auto out = vm(id, name, vmid, source);
  out["custom_fields"]["proxmox_identity"] = identity;
  return out;
}
desired wanted_vm(int vmid, std::string const& name, std::string const& identity) {
  return guest(vmid, name, {{"custom_fields", {{"proxmox_tags", ""}, {"proxmox_identity", identity}}}});
}
json body(change const& c) { return c.body.unpack(); }
json vmid_of(change const& c) { return body(c).at("custom_fields").value("proxmox_vm_id", json("not sent")); }

struct vm_lab : lab {
  kept_memory known;  // weir wrote the names that NetBox holds

  explicit vm_lab(rows const& held) {
    remembered = &known;
    for (auto const& o : held)
      known.held[{vms, o.at("id").get<object_id>()}] = {"", json{{"name", o.at("name")}}.dump(), {}};
    holds(clusters, {cluster(7)});
    holds(vms, held);
  }
  kind_plan plan(std::vector<desired> const& wanted, bool complete = true) {
    return diff(vms, wanted, complete ? std::vector<std::string>{all_of_it} : std::vector<std::string>{});
  }
  object_id who_has(int vmid) { return w.find(kind(vms), vm_key(vmid)).value_or(0); }
};

change const* of_object(std::vector<change> const& list, object_id id) {
  auto const found = std::find_if(list.begin(), list.end(), [&](auto const& c) { return c.object == id; });
  return found == list.end() ? nullptr : &*found;
}

TEST(facts, one_of_a_machines_own_is_enough_and_what_a_clone_inherits_is_not) {
  auto const says = [](char const* a, char const* b) { return compare_facts(a, b).says; };
  EXPECT_EQ(says("", ""), verdict::unknown);
  EXPECT_EQ(says("type=qemu", "type=qemu;uuid=a"), verdict::unknown);
  EXPECT_EQ(says("type=qemu;uuid=a", "type=lxc;uuid=a"), verdict::another);
  EXPECT_EQ(says("uuid=a;mac=1", "uuid=A;mac=2"), verdict::same) << "another card";
  EXPECT_EQ(says("uuid=a;mac=1,2", "uuid=b;mac=2,3"), verdict::same) << "an edited UUID";
  EXPECT_EQ(says("uuid=a;mac=1", "uuid=b;mac=2"), verdict::another);
  EXPECT_EQ(says("uuid=a;ctime=5;mac=1", "uuid=b;ctime=5;mac=2"), verdict::another) << "two clones of one template";
  EXPECT_EQ(says("ctime=5", "ctime=5"), verdict::same);
  EXPECT_EQ(says("ctime=5", "ctime=6"), verdict::another);
  EXPECT_EQ(says("vmgenid=5", "vmgenid=6"), verdict::unknown) << "rolled back";
  EXPECT_EQ(says("uuid=a;vmgenid=5", "uuid=b;vmgenid=5"), verdict::same);
  EXPECT_EQ(compare_facts("uuid=a;mac=1", "uuid=b;mac=2").by, "uuid, mac");
  EXPECT_EQ(says(";;=;uuid;mac=,", "uuid=;mac=,;"), verdict::unknown) << "a person's text";
}

TEST(match, a_renamed_guest_is_the_same_one) {
  vm_lab l(rows{held_vm(1, "old", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(101, "new", facts('a'))});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].object, 1u);
  EXPECT_EQ(plan.updates[0].why, reason::differs);
  EXPECT_TRUE(plan.creates.empty() && plan.kept.empty());
}

TEST(match, a_number_that_another_machine_has_now_releases_the_old_object) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(101, "db", facts('b'))}, false);
  ASSERT_EQ(plan.creates.size(), 1u);
  EXPECT_EQ(plan.creates[0].label, "db");
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].object, 1u);
  EXPECT_EQ(plan.updates[0].why, reason::released);
  EXPECT_EQ(body(plan.updates[0]), json({{"custom_fields", {{"proxmox_vm_id", nullptr}}}}));
  EXPECT_EQ(plan.updates[0].before.unpack(), json({{"custom_fields", {{"proxmox_vm_id", 101}}}}));
  EXPECT_NE(plan.updates[0].detail.find("db"), std::string::npos) << plan.updates[0].detail;
  EXPECT_EQ(l.who_has(101), plan.creates[0].object) << "what refers to the number means the new machine";
}

TEST(match, a_released_object_is_gone_and_changes_once) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "x", 102, facts('x'))});
  auto const plan = l.plan({wanted_vm(101, "db", facts('b')), wanted_vm(102, "x", facts('x'))});
  auto const about_it =
      std::count_if(plan.updates.begin(), plan.updates.end(), [](auto const& c) { return c.object == 1; });
  EXPECT_EQ(about_it, 1);
  auto const* c = of_object(plan.updates, 1);
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->why, reason::released);
  EXPECT_EQ(vmid_of(*c), json());
  if (l.kind(vms).when_gone == netbox::orphans::mark) {
    EXPECT_EQ(body(*c).at("status"), l.kind(vms).gone.status);
  }
}

TEST(match, another_machine_of_the_same_name_stays_one_object) {
  vm_lab l(rows{held_vm(1, "WEB", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(101, "web", facts('b'))});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::recreated);
  EXPECT_NE(plan.updates[0].detail.find("uuid, mac differ"), std::string::npos) << plan.updates[0].detail;
  EXPECT_TRUE(plan.creates.empty());
}

TEST(match, one_fact_differs_and_several_differ) {
  vm_lab l(rows{held_vm(1, "web", 101, "type=qemu;uuid=a")});
  auto const plan = l.plan({wanted_vm(101, "web", "type=lxc;mac=b")});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_TRUE(plan.updates[0].detail.ends_with("type differs")) << plan.updates[0].detail;
}

TEST(match, another_machine_of_the_name_that_weir_wrote_stays_one_object) {
  vm_lab l(rows{held_vm(1, "called otherwise by a person", 101, facts('a'))});
  l.known.held[{vms, 1}] = {R"(["pve-a",101])", R"({"name":"web"})", {}};
  auto const plan = l.plan({wanted_vm(101, "web", facts('b'))});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::recreated);
}

TEST(match, what_is_not_known_of_a_machine_is_no_reason) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), vm(2, "db", 102)});
  auto const plan = l.plan({guest(101, "web2"), wanted_vm(102, "db2", facts('b'))});
  EXPECT_TRUE(plan.creates.empty());
  for (auto const& c : plan.updates) EXPECT_EQ(c.why, reason::differs);
}

TEST(match, a_machine_under_a_new_number_is_found_by_its_name) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(105, "Web", facts('a'))});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::renumbered);
  EXPECT_EQ(vmid_of(plan.updates[0]), 105);
  EXPECT_EQ(plan.updates[0].detail, "was proxmox_vm_id 101; the same machine by its uuid, mac, vmgenid");
  EXPECT_TRUE(plan.creates.empty() && plan.kept.empty());
  EXPECT_EQ(l.who_has(105), 1u);
}

TEST(match, a_machine_built_anew_under_another_number_stays_one_object) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(105, "web", facts('b'))});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::recreated);
  EXPECT_EQ(vmid_of(plan.updates[0]), 105);
}

TEST(match, a_namesake_is_not_taken_while_its_own_number_may_still_be_there) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a'))});
  auto const short_list = l.plan({wanted_vm(105, "web", facts('a'))}, false);
  EXPECT_TRUE(short_list.updates.empty()) << "the list may be short";
  EXPECT_EQ(short_list.failures.size(), 1u) << "NetBox has one of a name";
  vm_lab kept(rows{held_vm(1, "web", 101, facts('a'))});
  auto const plan = kept.plan({wanted_vm(105, "web", facts('b')), want(vm_key(101), {{"$keep", true}})});
  EXPECT_TRUE(plan.updates.empty()) << "101 is filtered out, not gone";
  EXPECT_EQ(plan.failures.size(), 1u);
}

TEST(match, numbers_that_moved_on_in_a_chain) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "db", 102, facts('b'))});
  auto const plan = l.plan({wanted_vm(101, "db", facts('b')), wanted_vm(105, "web", facts('a'))});
  EXPECT_TRUE(plan.creates.empty() && plan.failures.empty() && plan.kept.empty());
  ASSERT_EQ(plan.updates.size(), 2u);
  EXPECT_EQ(vmid_of(*of_object(plan.updates, 1)), 105);
  EXPECT_EQ(vmid_of(*of_object(plan.updates, 2)), 101);
  for (auto const& c : plan.updates) EXPECT_EQ(c.why, reason::renumbered);
  EXPECT_EQ(l.who_has(101), 2u);
  EXPECT_EQ(l.who_has(105), 1u);
}

TEST(match, two_guests_that_changed_numbers) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "db", 102, facts('b'))});
  auto const plan = l.plan({wanted_vm(101, "db", facts('b')), wanted_vm(102, "web", facts('a'))}, false);
  EXPECT_TRUE(plan.creates.empty() && plan.failures.empty());
  EXPECT_EQ(vmid_of(*of_object(plan.updates, 1)), 102);
  EXPECT_EQ(vmid_of(*of_object(plan.updates, 2)), 101);
}

TEST(match, a_copy_made_in_netbox_is_refused_with_both) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "web copy", 101, facts('a'))});
  auto const plan = l.plan({wanted_vm(101, "web", facts('a'))});
  ASSERT_EQ(plan.failures.size(), 1u);
  EXPECT_NE(plan.failures[0].message.find("web #1, web copy #2"), std::string::npos) << plan.failures[0].message;
  EXPECT_NE(plan.failures[0].message.find("proxmox_source and proxmox_vm_id"), std::string::npos);
  EXPECT_TRUE(plan.updates.empty() && plan.creates.empty() && plan.deletes.empty() && plan.kept.empty());
}

TEST(match, of_two_namesakes_the_one_with_the_facts_else_none) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "web", 102, facts('b'))});  // two tenants'
  auto const plan = l.plan({wanted_vm(105, "web", facts('b'))});
  ASSERT_NE(of_object(plan.updates, 2), nullptr);
  EXPECT_EQ(of_object(plan.updates, 2)->why, reason::renumbered);
  vm_lab unclear(rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "web", 102, facts('b'))});
  auto const none = unclear.plan({wanted_vm(105, "web", facts('c'))});
  ASSERT_EQ(none.failures.size(), 1u);
  EXPECT_NE(none.failures[0].message.find("web #1, web #2"), std::string::npos);
}

TEST(match, names_are_never_matched_across_clusters_or_sources) {
  vm_lab l(rows{held_vm(1, "web", 101, facts('a'), "pve-b")});
  auto const theirs = l.plan({wanted_vm(105, "web", facts('a'))});
  EXPECT_TRUE(theirs.updates.empty() && theirs.creates.empty());
  EXPECT_EQ(theirs.failures.size(), 1u);
  auto elsewhere = held_vm(1, "web", 101, facts('a'));
  elsewhere["cluster"]["id"] = 8;
  vm_lab other(rows{elsewhere});
  EXPECT_EQ(other.plan({wanted_vm(105, "web", facts('b'))}).creates.size(), 1u);
}

TEST(match, a_field_that_a_person_emptied_is_filled_again) {
  vm_lab l(rows{held_vm(1, "renamed, too", nullptr, facts('a'))});
  l.known.held[{vms, 1}] = {R"(["pve-a",101])", R"({"name":"web"})", {}};
  auto const plan = l.plan({wanted_vm(101, "web", facts('a'))});
  EXPECT_TRUE(plan.creates.empty());
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(vmid_of(plan.updates[0]), 101);
}

TEST(match, the_adoption_that_is_asked_for) {
  auto const run = [](netbox::adoption how, json const& tags) {
    vm_lab l(rows{});
    netbox::kind_policy policy;
    policy.adopt = how;
    l.kinds.apply(vms, policy).value();
    auto by_hand = vm(17, "web", nullptr, nullptr);
    by_hand["tags"] = tags;
    l.holds(vms, {by_hand});
    return l.plan({guest(101, "web")});
  };
  json const ours = json::array({{{"slug", "proxbox"}}}), theirs = json::array({{{"slug", "prod"}}});
  EXPECT_EQ(run(netbox::adoption::matching, theirs).updates.at(0).why, reason::adopted);
  EXPECT_EQ(run(netbox::adoption::tagged, ours).updates.at(0).why, reason::adopted);
  for (auto const& refused : {run(netbox::adoption::tagged, theirs), run(netbox::adoption::never, ours)}) {
    EXPECT_TRUE(refused.updates.empty() && refused.creates.empty());
    ASSERT_EQ(refused.failures.size(), 1u);
    EXPECT_NE(refused.failures[0].message.find("web #17"), std::string::npos) << refused.failures[0].message;
  }
}

TEST(match, what_a_key_finds_unclaimed_is_adopted_or_refused) {
  auto const run = [](netbox::adoption how) {
    vm_lab l(rows{vm(1, "web", 101)});
    netbox::kind_policy policy;
    policy.adopt = how;
    l.kinds.apply(backups, policy).value();
    auto const wanted = want({{"virtual_machine", vm_key(101)}, {"volume_id", "nfs:backup/1"}},
                             {{"storage", "nfs"}, {"custom_fields", {{"proxmox_source", "pve-a"}}}});
    l.holds(backups,
            {{{"id", 5},
              {"virtual_machine", {{"id", 1}}},
              {"volume_id", "nfs:backup/1"},
              {"storage", "nfs"},
              {"tags", json::array()},
              {"custom_fields", {{"proxmox_source", nullptr}}}}},
            {wanted});
    return l.diff(backups, {wanted});
  };
  EXPECT_EQ(run(netbox::adoption::matching).updates.at(0).why, reason::adopted);
  auto const refused = run(netbox::adoption::never);
  EXPECT_TRUE(refused.updates.empty());
  ASSERT_EQ(refused.failures.size(), 1u);
  EXPECT_NE(refused.failures[0].message.find("nfs:backup/1 #5"), std::string::npos) << refused.failures[0].message;
}

json device(int id, std::string const& name, json const& source = "pve-a") {
  return {{"id", id},
          {"name", name},
          {"cluster", {{"id", 7}}},
          {"site", {{"id", 3}}},
          {"status", {{"value", "active"}, {"label", "Active"}}},
          {"tags", json::array({{{"slug", "weir"}}})},
          {"custom_fields", {{"proxmox_source", source}}}};
}
json device_key(std::string const& name) { return {{"custom_fields.proxmox_source", "pve-a"}, {"name", name}}; }
desired node(std::string const& name) {
  return want(device_key(name), {{"cluster", cluster_key()}, {"status", "active"}, {"tags", {"weir"}}});
}

struct device_lab : lab {
  kept_memory known;
  explicit device_lab(rows const& held) {
    remembered = &known;
    known.held[{devices, 4}] = {R"(["pve-a","pve1"])", R"({"name":"pve1"})", {}};
    holds(clusters, {cluster(7)});
    holds(devices, held, {node("pve1")});
  }
};

TEST(match, a_device_that_a_person_renamed_is_known_by_what_it_was) {
  device_lab l(rows{device(4, "rack 7, left")});
  auto const plan = l.diff(devices, {node("pve1")}, {all_of_it});
  EXPECT_TRUE(plan.creates.empty() && plan.kept.empty() && plan.deletes.empty());
  EXPECT_EQ(l.w.find(l.kind(devices), device_key("pve1")), object_id{4}) << "guests refer to it by its node's name";
}

TEST(match, a_device_that_a_person_renamed_and_that_is_filtered_out_is_not_gone) {
  device_lab l(rows{device(4, "rack 7, left")});
  auto const plan = l.diff(devices, {want(device_key("pve1"), {{"$keep", true}})}, {all_of_it});
  EXPECT_TRUE(plan.updates.empty() && plan.kept.empty() && plan.deletes.empty());
}

TEST(match, a_renamed_device_is_found_by_those_that_only_refer_to_it) {
  device_lab l(rows{device(4, "rack 7, left")});
  EXPECT_FALSE(l.w.find(l.kind(devices), device_key("pve1")));
  l.w.recall_by([&](netbox::kind const& k, std::string const& key) { return recall(l.w, k, l.known, key); });
  EXPECT_EQ(l.w.find(l.kind(devices), device_key("pve1")), object_id{4});
  EXPECT_FALSE(l.w.find(l.kind(devices), device_key("pve2")));
}

TEST(match, an_object_that_is_no_longer_ours_is_nobody_we_know) {
  device_lab l(rows{device(4, "someone else's", nullptr)});
  l.w.recall_by([&](netbox::kind const& k, std::string const& key) { return recall(l.w, k, l.known, key); });
  EXPECT_FALSE(l.w.find(l.kind(devices), device_key("pve1")));
  EXPECT_EQ(l.diff(devices, {node("pve1")}).creates.size(), 1u);
}

TEST(match, a_device_renamed_to_another_nodes_name_is_that_nodes) {
  device_lab l(rows{device(4, "pve2")});
  auto const plan = l.diff(devices, {node("pve1"), node("pve2")}, {all_of_it});
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_EQ(plan.creates[0].label, "pve1");
}

TEST(match, what_another_service_recorded) {
  auto const run = [](std::vector<object_id> const& recorded, std::vector<json> const& held) {
    vm_lab l(held);
    l.rules.recognised[vms][R"(["pve-a",101])"] = recorded;
    return l.plan({guest(101, "web")});
  };
  auto const one = run({3}, {vm(3, "web (2)", nullptr, nullptr)});
  ASSERT_EQ(one.updates.size(), 1u);
  EXPECT_EQ(one.updates[0].object, 3u);
  EXPECT_EQ(one.updates[0].why, reason::adopted);
  auto const two = run({3, 4}, {vm(3, "a", nullptr, nullptr), vm(4, "b", nullptr, nullptr)});
  ASSERT_EQ(two.failures.size(), 1u);
  EXPECT_NE(two.failures[0].message.find("a #3, b #4"), std::string::npos) << two.failures[0].message;
  EXPECT_EQ(run({3}, {vm(3, "web (2)", 101, "pve-b")}).creates.size(), 1u) << "another source's";
  EXPECT_EQ(run({99}, {}).creates.size(), 1u) << "deleted since";
}

TEST(match, does_not_depend_on_the_order_of_its_input) {
  auto const run = [](bool reversed) {
    std::vector<json> held{held_vm(1, "web", 101, facts('a')), held_vm(2, "db", 102, facts('b')),
                           held_vm(3, "x", 103, facts('c')), held_vm(4, "y", 104, facts('d'))};
    std::vector<desired> wanted{wanted_vm(101, "db", facts('b')), wanted_vm(105, "web", facts('a')),
                                wanted_vm(103, "z", facts('e')), wanted_vm(104, "x", facts('d'))};
    if (reversed) std::reverse(wanted.begin(), wanted.end()), std::reverse(held.begin(), held.end());
    vm_lab l(held);
    auto const plan = l.plan(wanted, false);
    std::string out;
    for (auto const* list : {&plan.updates, &plan.creates})
      for (auto const& c : *list) out += c.label + " " + std::string(name(c.why)) + " " + c.body.text() + "\n";
    return out;
  };
  EXPECT_EQ(run(false), run(true));
  EXPECT_NE(run(false).find("released"), std::string::npos);
}

// ---- names that are passed on

std::vector<std::vector<std::string>> named(std::vector<std::vector<change const*>> const& all) {
  std::vector<std::vector<std::string>> out;
  for (auto const& wave : all) {
    out.emplace_back();
    for (auto const* c : wave)
      out.back().push_back(std::to_string(c->object) + " " + body(*c).value("name", std::string("-")));
  }
  return out;
}

TEST(names, that_nobody_waits_for_go_at_once) {
  vm_lab l(rows{held_vm(1, "a", 101, facts('a')), held_vm(2, "b", 102, facts('b'))});
  auto const plan = l.plan({wanted_vm(101, "c", facts('a')), wanted_vm(102, "d", facts('b'))});
  EXPECT_EQ(waves(l.kind(vms), plan.updates).size(), 1u);
  EXPECT_TRUE(waves(l.kind(vms), {}).empty());
}

TEST(names, that_are_passed_on_go_in_that_order) {
  vm_lab l(rows{held_vm(1, "a", 101, facts('a')), held_vm(2, "B", 102, facts('b')), held_vm(3, "c", 103, facts('c'))});
  auto const plan =
      l.plan({wanted_vm(101, "b", facts('a')), wanted_vm(102, "C", facts('b')), wanted_vm(103, "d", facts('c'))});
  EXPECT_EQ(named(waves(l.kind(vms), plan.updates)),
            (std::vector<std::vector<std::string>>{{"3 d"}, {"2 C"}, {"1 b"}}));
}

TEST(names, that_are_swapped_take_one_step_more) {
  vm_lab l(
      rows{held_vm(1, "web", 101, facts('a')), held_vm(2, "db", 102, facts('b')), held_vm(3, "x", 103, facts('c'))});
  auto const plan =
      l.plan({wanted_vm(101, "db", facts('a')), wanted_vm(102, "web", facts('b')), wanted_vm(103, "y", facts('c'))});
  auto const order = named(waves(l.kind(vms), plan.updates));
  ASSERT_EQ(order.size(), 3u);
  EXPECT_EQ(plan.updates.size(), 4u);
  EXPECT_NE(std::find(order[0].begin(), order[0].end(), "3 y"), order[0].end());
  // Played on a NetBox that holds names unique at every step.
  std::map<object_id, std::string> held{{1, "web"}, {2, "db"}, {3, "x"}};
  for (auto const& wave : waves(l.kind(vms), plan.updates))
    for (auto const* c : wave) {
      auto const next = body(*c).at("name").get<std::string>();
      for (auto const& [id, name] : held) EXPECT_TRUE(id == c->object || name != next) << next;
      EXPECT_EQ(c->before.unpack().at("name"), held[c->object]);
      held[c->object] = next;
    }
  EXPECT_EQ(held[1], "db");
  EXPECT_EQ(held[2], "web");
}

TEST(names, of_two_rounds_are_all_broken) {
  vm_lab l(rows{held_vm(1, "a", 101, facts('a')), held_vm(2, "b", 102, facts('b')), held_vm(3, "c", 103, facts('c')),
                held_vm(4, "ä" + std::string(61, 'x'), 104, facts('d')), held_vm(5, "e", 105, facts('e'))});
  auto const plan =
      l.plan({wanted_vm(101, "b", facts('a')), wanted_vm(102, "c", facts('b')), wanted_vm(103, "a", facts('c')),
              wanted_vm(104, "e", facts('d')), wanted_vm(105, "ä" + std::string(61, 'x'), facts('e'))});
  EXPECT_EQ(plan.updates.size(), 7u);
  std::size_t sent = 0;
  for (auto const& wave : waves(l.kind(vms), plan.updates)) {
    std::vector<object_id> ids;
    for (auto const* c : wave) {
      ids.push_back(c->object);
      EXPECT_LE(body(*c).at("name").get<std::string>().size(), 64u);
    }
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "twice in one list is refused";
    sent += wave.size();
  }
  EXPECT_EQ(sent, 7u);
}

TEST(names, that_are_passed_on_are_sent_one_list_after_the_other) {
  vm_lab l(rows{held_vm(1, "a", 101, facts('a')), held_vm(2, "b", 102, facts('b'))});
  std::vector<kind_plan> plans{l.plan({wanted_vm(101, "b", facts('a')), wanted_vm(102, "c", facts('b'))})};
  apply machine(l.w, plans, {});
  auto const first = machine.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->items.size(), 1u);
  EXPECT_EQ(first->items[0]->object, 2u);
  EXPECT_FALSE(machine.next()) << "before the first is answered";
  http::answer ok;
  ok.outcome = throttle::outcome::ok;
  machine.answered(first->number, ok);
  auto const second = machine.next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->items[0]->object, 1u);
}

// Each stage takes away only the tags that it wrote itself.
TEST(diff_memory, two_stages_may_tag_one_object) {
  kept_memory known;
  json tags = {"people", "weir"};
  std::vector<std::string> writes;
  auto const sync = [&](std::string const& stage, std::vector<std::string> const& ours) {
    lab l;
    l.remembered = &known;
    l.rules.stage = stage;
    auto node = want({{"custom_fields.proxmox_source", "pve-a"}, {"name", "pve1"}}, {{"tags", ours}});
    json slugs = json::array();
    for (auto const& t : tags) slugs.push_back({{"slug", t}});
    l.holds(devices, {{{"id", 5}, {"name", "pve1"}, {"custom_fields", {{"proxmox_source", "pve-a"}}}, {"tags", slugs}}},
            {node});
    auto const plan = l.diff(devices, {node});
    for (auto const& c : plan.updates) {
      tags = body(c).at("tags");
      known.held[{devices, 5}] = {"", c.applied.text(), {}};
      writes.push_back(stage + " " + tags.dump());
    }
  };
  sync("nodes", {"weir"});
  sync("racks", {"row-1"});
  EXPECT_EQ(writes, std::vector<std::string>{R"(racks ["people","row-1","weir"])"});
  sync("nodes", {"weir"});
  sync("racks", {"row-1"});
  EXPECT_EQ(writes.size(), 1u) << "the stages take each other's tags away";
  sync("racks", {"row-2"});
  EXPECT_EQ(writes.back(), R"(racks ["people","row-2","weir"])");
  sync("nodes", {"weir", "pve"});
  EXPECT_EQ(writes.back(), R"(nodes ["people","pve","row-2","weir"])");
}

}  // namespace
}  // namespace weir::engine
