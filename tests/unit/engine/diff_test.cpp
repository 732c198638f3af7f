#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* backups = "netbox_proxbox.vmbackup";

json body(change const& c) { return c.body.unpack(); }

TEST(diff, plans_nothing_where_all_is_equal) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101)});
  auto const plan = l.diff(vms, {guest(101, "web")});
  EXPECT_EQ(plan.unchanged, 1u);
  EXPECT_TRUE(plan.updates.empty() && plan.creates.empty() && plan.deletes.empty() && plan.failures.empty());
}

TEST(diff, creates_with_key_and_fields_and_create_only_fields) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {});
  auto const plan =
      l.diff(vms, {guest(101, "web", {{"$create", {{"comments", "made by weir"}, {"status", "offline"}}}})});
  ASSERT_EQ(plan.creates.size(), 1u);
  auto const b = body(plan.creates[0]);
  EXPECT_EQ(b.at("custom_fields").at("proxmox_vm_id"), 101);
  EXPECT_EQ(b.at("custom_fields").at("proxmox_source"), "pve-a");
  EXPECT_EQ(b.at("cluster"), 7);
  EXPECT_EQ(b.at("comments"), "made by weir");
  EXPECT_EQ(b.at("status"), "active") << "a known field wins over its $create value";
  EXPECT_FALSE(b.contains("$create"));
  EXPECT_GE(plan.creates[0].object, first_pending);
}

TEST(diff, create_only_fields_do_not_touch_what_is_there) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101)});
  auto const plan = l.diff(vms, {want(vm_key(101), {{"$create", {{"status", "offline"}, {"name", "VM 101"}}}})});
  EXPECT_EQ(plan.unchanged, 1u);
  EXPECT_TRUE(plan.updates.empty());
}

TEST(diff, sends_changed_fields_only) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "old-name", 101)});
  auto const plan = l.diff(vms, {guest(101, "old-name", {{"vcpus", 4}, {"memory", 4096}})});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].object, 1u);
  EXPECT_EQ(body(plan.updates[0]), json({{"vcpus", 4}, {"memory", 4096}}));
  ASSERT_EQ(plan.updates[0].fields.size(), 2u);
  EXPECT_EQ(plan.updates[0].fields[0].field, "memory");
  EXPECT_EQ(plan.updates[0].fields[0].before, "2048");
  EXPECT_EQ(plan.updates[0].fields[0].after, "4096");
}

TEST(diff, a_name_that_nobody_knows_who_wrote_is_kept_and_shown) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "whose", 101)});
  auto const plan = l.diff(vms, {guest(101, "web")});
  EXPECT_TRUE(plan.updates.empty());
  ASSERT_EQ(plan.edits.size(), 1u);
  EXPECT_EQ(plan.edits[0].object, 1u);
  EXPECT_EQ(plan.edits[0].label, "web");
  EXPECT_EQ(plan.edits[0].held, "whose");
  EXPECT_FALSE(plan.edits[0].known);
}

TEST(diff, what_people_change_is_read_only_where_it_can_be_told) {
  lab l;
  json const fields = {
      {"memory", 1}, {"role", {{"slug", "x"}}}, {"comments", ""}, {"$create", {{"tenant", 1}, {"disk", 2}}}};
  auto const needed = fields_needed(l.kind(vms), {want(vm_key(101), fields)}, false);
  EXPECT_TRUE(needed.contains("memory") && needed.contains("role") && needed.contains("tenant"));
  EXPECT_FALSE(needed.contains("comments")) << "the source says nothing that could have been changed";
  EXPECT_FALSE(needed.contains("disk")) << "only new objects get it, whatever its rule is";
  auto const tag =
      fields_needed(l.kind("extras.tag"), {want({{"slug", "a"}}, {{"name", "A"}, {"color", "ff0000"}})}, false);
  EXPECT_FALSE(tag.contains("color")) << "nobody's: nothing is remembered of it";
}

TEST(diff, a_field_that_is_not_known_now_is_left_alone) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101)});
  auto const plan = l.diff(vms, {want(vm_key(101), {{"cluster", cluster_key()}})});
  EXPECT_EQ(plan.unchanged, 1u);
}

TEST(diff, people_keep_their_tags_and_ours_come_and_go) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  auto object = vm(1, "web", 101);
  object["tags"] = {{{"slug", "weir"}}, {{"slug", "by-hand"}}, {{"slug", "old-in-proxmox"}}};
  object["custom_fields"]["proxmox_tags"] = "old-in-proxmox";
  l.holds(vms, {object});
  auto const plan = l.diff(
      vms, {guest(101, "web",
                  {{"tags", {"weir", "new-in-proxmox"}}, {"custom_fields", {{"proxmox_tags", "new-in-proxmox"}}}})});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(body(plan.updates[0]).at("tags"), json({"by-hand", "new-in-proxmox", "weir"}));
}

TEST(diff, a_set_in_another_order_is_the_same_set) {
  lab l;
  auto const wanted = want({{"name", "proxmox_source"}}, {{"type", "text"}, {"object_types", {"dcim.device"}}});
  l.holds("extras.customfield",
          {{{"id", 3}, {"name", "proxmox_source"}, {"object_types", {"virtualization.virtualmachine", "dcim.device"}}}},
          {wanted});
  auto const plan = l.diff("extras.customfield", {wanted});
  EXPECT_EQ(plan.unchanged, 1u);
}

TEST(diff, object_types_are_merged_and_nothing_else_of_a_custom_field_is_touched) {
  lab l;
  auto const wanted = want({{"name", "proxmox_source"}},
                           {{"type", "text"}, {"label", "Proxmox source"}, {"object_types", {"dcim.device"}}});
  l.holds("extras.customfield",
          {{{"id", 3},
            {"name", "proxmox_source"},
            {"label", "named by people"},
            {"object_types", {"virtualization.cluster"}}}},
          {wanted});
  auto const plan = l.diff("extras.customfield", {wanted});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(body(plan.updates[0]), json({{"object_types", {"dcim.device", "virtualization.cluster"}}}));
}

TEST(diff, an_unclaimed_namesake_in_the_same_cluster_is_taken_over) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "WEB", nullptr, nullptr)});
  auto const plan = l.diff(vms, {guest(101, "web")});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::adopted);
  EXPECT_EQ(body(plan.updates[0]).at("custom_fields"), json({{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 101}}));
}

TEST(diff, a_namesake_that_is_another_guest_is_not_taken_over) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 555)});
  auto const plan = l.diff(vms, {guest(101, "web")});
  EXPECT_TRUE(plan.updates.empty() && plan.creates.empty());
  ASSERT_EQ(plan.failures.size(), 1u);  // NetBox would refuse the name
  EXPECT_NE(plan.failures[0].message.find("web #1"), std::string::npos) << plan.failures[0].message;
}

TEST(diff, two_unclaimed_candidates_are_refused_by_name) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", nullptr, nullptr), vm(2, "Web", nullptr, nullptr)});
  auto const plan = l.diff(vms, {guest(101, "web")});
  ASSERT_EQ(plan.failures.size(), 1u);
  EXPECT_NE(plan.failures[0].message.find("web #1, Web #2"), std::string::npos) << plan.failures[0].message;
}

TEST(diff, same_vmid_of_another_source_is_another_guest) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101, "pve-b")});
  auto const plan = l.diff(vms, {guest(101, "web2")}, {R"({"custom_fields.proxmox_source":"pve-a"})"});
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_TRUE(plan.deletes.empty() && plan.kept.empty());
}

TEST(diff, a_reference_to_something_planned_resolves_to_it) {
  lab l;
  l.holds("virtualization.clustertype", {});
  l.holds("dcim.site", {});
  l.holds("virtualization.cluster", {});
  l.holds(vms, {});
  auto const clusters = l.diff("virtualization.cluster", {want(cluster_key(), {{"status", "active"}})});
  ASSERT_EQ(clusters.creates.size(), 1u);
  auto const plan = l.diff(vms, {guest(101, "web")});
  ASSERT_EQ(plan.creates.size(), 1u);
  EXPECT_EQ(body(plan.creates[0]).at("cluster"), clusters.creates[0].object);
}

TEST(diff, an_unknown_reference_fails_that_object_alone) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {});
  auto const plan = l.diff(vms, {guest(101, "web", {{"cluster", cluster_key("nowhere")}}), guest(102, "db")});
  ASSERT_EQ(plan.failures.size(), 1u);
  EXPECT_EQ(plan.failures[0].label, "web");
  EXPECT_NE(plan.failures[0].message.find("nowhere"), std::string::npos);
  EXPECT_EQ(plan.creates.size(), 1u);
}

TEST(diff, two_different_objects_with_one_key_are_reported) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {});
  auto const plan = l.diff(vms, {guest(101, "a"), guest(101, "b"), guest(101, "b")});
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_EQ(plan.failures.size(), 2u);
}

desired backup(int vmid, int n) {
  return want({{"virtual_machine", vm_key(vmid)}, {"volume_id", "nfs:backup/" + std::to_string(n)}},
              {{"storage", "nfs"},
               {"creation_time", "2026-11-01T02:00:00+00:00"},
               {"size", n},
               {"custom_fields", {{"proxmox_source", "pve-a"}}}});
}
json held_backup(int id, int n, std::string const& storage = "nfs", json const& source = "pve-a") {
  return {{"id", id},
          {"virtual_machine", {{"id", 1}, {"name", "web"}}},
          {"volume_id", "nfs:backup/" + std::to_string(n)},
          {"storage", storage},
          {"creation_time", "2026-11-01T02:00:00Z"},
          {"size", n},
          {"custom_fields", {{"proxmox_source", source}}}};
}
struct backup_lab : lab {
  backup_lab() {
    holds("virtualization.cluster", {cluster(7)});
    holds(vms, {vm(1, "web", 101)});
  }
  void have(std::vector<json> const& objects) { holds(backups, objects, {backup(101, 1)}); }
};
constexpr char const* nfs_scope = R"({"custom_fields.proxmox_source":"pve-a","storage":"nfs"})";

TEST(diff, a_backup_of_an_unknown_guest_is_skipped_and_counted) {
  backup_lab l;
  l.have({});
  auto const plan = l.diff(backups, {backup(101, 1), backup(999, 2)});
  EXPECT_EQ(plan.seen, 2u);
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_EQ(plan.skipped, std::vector<std::string>{"nfs:backup/2"});
  EXPECT_TRUE(plan.failures.empty());
}

TEST(diff, instants_are_compared_as_instants) {
  backup_lab l;
  l.have({held_backup(5, 1)});
  EXPECT_EQ(l.diff(backups, {backup(101, 1)}).unchanged, 1u);
}

TEST(diff, deletes_what_is_ours_in_a_complete_scope_and_nothing_else) {
  backup_lab l;
  l.have({held_backup(1, 1), held_backup(2, 2), held_backup(3, 3, "other"), held_backup(4, 4, "nfs", nullptr),
          held_backup(5, 5, "nfs", "pve-b")});
  auto const plan = l.diff(backups, {backup(101, 1)}, {nfs_scope});
  ASSERT_EQ(plan.deletes.size(), 1u);
  EXPECT_EQ(plan.deletes[0].object, 2u);
  EXPECT_EQ(plan.owned, 2u);
}

TEST(diff, deletes_nothing_without_a_complete_scope) {
  backup_lab l;
  l.have({held_backup(1, 1), held_backup(2, 2)});
  auto const plan = l.diff(backups, {});
  EXPECT_TRUE(plan.deletes.empty() && plan.kept.empty());
}

TEST(diff, refuses_all_deletions_above_the_limit) {
  backup_lab l;
  std::vector<json> held;
  for (int i = 0; i < 100; ++i) held.push_back(held_backup(i + 1, i));
  l.have(held);
  std::vector<desired> wanted;
  for (int i = 0; i < 79; ++i) wanted.push_back(backup(101, i));
  auto const plan = l.diff(backups, wanted, {nfs_scope});  // 21 of 100 are gone
  EXPECT_TRUE(plan.deletes.empty());
  EXPECT_TRUE(plan.deletes_refused);
  EXPECT_EQ(plan.refused, 21u);
  EXPECT_EQ(plan.allowed, 20u);
  EXPECT_EQ(plan.kept.size(), 21u);
}

TEST(diff, a_gone_guest_is_marked_and_not_deleted) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101), vm(2, "gone", 102)});
  auto const plan = l.diff(vms, {guest(101, "web")}, {R"({"custom_fields.proxmox_source":"pve-a"})"});
  EXPECT_TRUE(plan.deletes.empty() && plan.kept.empty());
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].label, "gone");
  EXPECT_EQ(plan.updates[0].why, reason::gone);
  EXPECT_FALSE(plan.deletes_refused);
}

TEST(diff, a_scope_may_refer_to_another_object) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101), vm(2, "gone", 102)});
  json const here = {{"cluster", cluster_key()}}, nowhere = {{"cluster", cluster_key("nowhere")}};
  EXPECT_TRUE(l.diff(vms, {guest(101, "web")}, {nowhere.dump()}).updates.empty());
  EXPECT_EQ(l.diff(vms, {guest(101, "web")}, {here.dump()}).updates.at(0).label, "gone");
}

TEST(diff, a_frozen_field_is_not_compared_while_netbox_counts_children) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  auto object = vm(1, "web", 101);
  object["disk"] = 100;
  object["virtual_disk_count"] = 2;
  l.holds(vms, {object});
  EXPECT_EQ(l.diff(vms, {guest(101, "web", {{"disk", 4711}})}).unchanged, 1u);
}

TEST(diff, does_not_depend_on_the_order_of_its_input) {
  auto const run = [](unsigned seed) {
    backup_lab l;
    std::vector<json> held;
    for (int i = 0; i < 40; ++i) held.push_back(held_backup(i + 1, i));
    std::vector<desired> wanted;
    for (int i = 5; i < 60; ++i) wanted.push_back(backup(101, i));
    std::mt19937 random(seed);
    std::shuffle(held.begin(), held.end(), random);
    std::shuffle(wanted.begin(), wanted.end(), random);
    l.have(held);
    auto const plan = l.diff(backups, wanted, {nfs_scope});
    std::string text;
    for (auto const* list : {&plan.updates, &plan.creates, &plan.deletes})
      for (auto const& c : *list) text += std::string(name(c.what)) + " " + c.label + " " + c.body.text() + "\n";
    return text;
  };
  auto const first = run(0);
  EXPECT_NE(first.find("delete nfs:backup/4"), std::string::npos);
  for (unsigned seed = 1; seed < 10; ++seed) EXPECT_EQ(run(seed), first);
}

TEST(diff, what_is_planned_counts_as_there_for_the_next_stage) {
  lab l;
  auto const tag = want({{"slug", "weir"}}, {{"name", "weir"}});
  l.holds("extras.tag", {}, {tag});
  EXPECT_EQ(l.diff("extras.tag", {tag}).creates.size(), 1u);
  auto const again = l.diff("extras.tag", {tag});
  EXPECT_TRUE(again.creates.empty());
  EXPECT_EQ(again.unchanged, 1u);
}

}  // namespace
}  // namespace weir::engine
