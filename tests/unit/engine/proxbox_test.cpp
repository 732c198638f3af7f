#include "core/engine/proxbox.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* clusters = "virtualization.cluster";

json made(int id, std::string const& name, json const& vmid = nullptr, int cluster_id = 7) {
  auto out = vm(id, name, vmid, nullptr);
  out["cluster"] = {{"id", cluster_id}, {"name", "x"}};
  out["tags"] = json::array({{{"id", 2}, {"slug", "proxbox"}}});
  out["description"] = "Synced from Proxmox node pve1";
  return out;
}

desired typed(int vmid, std::string const& name, std::string const& type = "qemu") {
  return guest(vmid, name, {{"custom_fields", {{"proxmox_tags", ""}, {"proxmox_vm_type", type}}}});
}

struct proxbox_lab : lab {
  explicit proxbox_lab(std::vector<json> const& guests) {
    holds(clusters, {cluster(7), cluster(8, "another", nullptr)});
    holds(vms, guests, {guest(1, "x", {{"description", "x"}})});
  }
  kind_plan plan(std::vector<proxbox_record> const& records, std::vector<desired> const& wanted) {
    recognise(w, kind(vms), wanted, records, rules);
    return diff(vms, wanted);
  }
};

std::vector<std::pair<object_id, std::string>> adopted(kind_plan const& p) {
  std::vector<std::pair<object_id, std::string>> out;
  for (auto const& c : p.updates)
    if (c.why == reason::adopted) out.emplace_back(c.object, c.label);
  std::sort(out.begin(), out.end());
  return out;
}

using pairs = std::vector<std::pair<object_id, std::string>>;

TEST(proxbox, rows_of_the_sync_state) {
  netbox::registry kinds;
  auto const of = [&](char const* kind, char const* text) {
    return proxbox_record_of(*kinds.find(kind), json::parse(text));
  };
  auto const r = of(vms, R"({"virtual_machine":{"id":5},"proxmox_vm_id":101,"proxmox_vm_type":"qemu",
                             "proxmox_cluster_name":"pve-a"})");
  ASSERT_TRUE(r);
  EXPECT_EQ(r->object, 5u);
  EXPECT_EQ(r->vmid, 101);
  EXPECT_EQ(r->type, "qemu");
  EXPECT_EQ(r->cluster, "pve-a");
  EXPECT_FALSE(of(vms, R"({"virtual_machine":null,"proxmox_vm_id":101})"));
  EXPECT_FALSE(of(vms, R"({"virtual_machine":5})"));
  EXPECT_FALSE(of("extras.tag", R"({"virtual_machine":{"id":5}})"));
  EXPECT_FALSE(of(vms, R"({"virtual_machine":{"id":5},"proxmox_vm_id":null})")->vmid);
}

TEST(proxbox, a_renamed_guest_is_known_by_its_record) {
  proxbox_lab l({made(5, "a person's"), made(6, "web (2)")});
  auto const p = l.plan({{5, "pve-a", "", "qemu", 101}, {6, "pve-a", "", "qemu", 102}},
                        {typed(101, "web"), typed(102, "web (102)")});
  EXPECT_EQ(adopted(p), (pairs{{5, "web"}, {6, "web (102)"}}));
  EXPECT_TRUE(p.creates.empty());
  for (auto const& c : p.updates) EXPECT_FALSE(c.body.unpack().contains("name")) << c.body.text();
}

TEST(proxbox, never_across_clusters_nor_types) {
  proxbox_lab l({made(5, "five", nullptr, 8), made(6, "six"), made(7, "seven")});
  auto const p = l.plan({{5, "pve-a", "", "qemu", 101},    // stands in another of NetBox's clusters
                         {6, "another", "", "qemu", 102},  // of another cluster of Proxmox
                         {7, "pve-a", "", "lxc", 103}},
                        {typed(101, "one"), typed(102, "two"), typed(103, "three")});
  EXPECT_EQ(adopted(p), pairs{});
  EXPECT_EQ(p.creates.size(), 3u);
}

TEST(proxbox, a_guest_without_a_cluster_needs_a_record_that_names_it) {
  auto five = made(5, "five"), six = made(6, "six");
  five["cluster"] = six["cluster"] = nullptr;
  proxbox_lab l({five, six});
  EXPECT_EQ(
      adopted(l.plan({{5, "pve-a", "", "qemu", 101}, {6, "", "", "qemu", 102}}, {typed(101, "a"), typed(102, "b")})),
      (pairs{{5, "a"}}));
}

TEST(proxbox, two_records_of_one_guest_are_refused) {
  proxbox_lab l({made(5, "five"), made(6, "six")});
  auto const p = l.plan({{5, "pve-a", "", "qemu", 101}, {6, "pve-a", "", "qemu", 101}}, {typed(101, "web")});
  ASSERT_EQ(p.failures.size(), 1u);
  for (auto const* name : {"five #5", "six #6"}) EXPECT_NE(p.failures[0].message.find(name), std::string::npos);
  EXPECT_TRUE(p.updates.empty());
  EXPECT_TRUE(p.creates.empty());
}

TEST(proxbox, a_record_is_stronger_than_a_name) {
  // Each has the other's name.
  proxbox_lab l({made(5, "b"), made(6, "a")});
  EXPECT_EQ(adopted(l.plan({{5, "pve-a", "", "qemu", 101}, {6, "pve-a", "", "qemu", 102}},
                           {typed(101, "a"), typed(102, "b")})),
            (pairs{{5, "a"}, {6, "b"}}));
  // What is somebody else's by its record is not taken by its name.
  proxbox_lab m(std::vector<json>{made(5, "a")});
  auto const p = m.plan({{5, "pve-a", "", "qemu", 102}}, {typed(101, "a"), typed(102, "b")});
  EXPECT_EQ(adopted(p), (pairs{{5, "b"}}));
}

TEST(proxbox, custom_fields_of_older_releases) {
  auto untagged = made(6, "six", 102);
  untagged["tags"] = json::array();
  auto other_type = made(7, "seven", 103);
  other_type["custom_fields"]["proxmox_vm_type"] = "lxc";
  proxbox_lab l({made(5, "five", 101), untagged, other_type, made(8, "eight", 104, 8), made(9, "nine", 105)});
  // A row is newer than the field: 9 is 106.
  auto const p = l.plan({{9, "pve-a", "", "qemu", 106}}, {typed(101, "a"), typed(102, "b"), typed(103, "c"),
                                                          typed(104, "d"), typed(105, "e"), typed(106, "f")});
  EXPECT_EQ(adopted(p), (pairs{{5, "a"}, {9, "f"}}));
}

TEST(proxbox, the_services_description_is_nobodys_edit) {
  auto edited = made(6, "b");
  edited["description"] = "Synced from Proxmox node pve1, ask Ann";
  proxbox_lab l({made(5, "a"), edited});
  auto const p =
      l.plan({}, {guest(101, "a", {{"description", "a note"}}), guest(102, "b", {{"description", "a note"}})});
  ASSERT_EQ(p.updates.size(), 2u);
  EXPECT_EQ(p.updates[0].body.unpack().value("description", ""), "a note");
  EXPECT_FALSE(p.updates[1].body.unpack().contains("description"));
}

TEST(proxbox, adopt_writes_claims_alone) {
  auto mine = vm(6, "b", 102);  // weir's already, and not as it should be
  proxbox_lab l({made(5, "a"), mine});
  l.rules.adopt_only = true;
  auto const p = l.plan({}, {guest(101, "A", {{"memory", 1}, {"tags", {"weir", "prod"}}, {"description", "note"}}),
                             guest(102, "b", {{"memory", 1}}), guest(103, "new")});
  ASSERT_EQ(p.updates.size(), 1u);
  auto const& c = p.updates[0];
  EXPECT_EQ(c.object, 5u);
  EXPECT_EQ(c.body.unpack(), json({{"tags", {"proxbox", "weir"}},
                                   {"custom_fields", {{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 101}}}}));
  EXPECT_EQ(c.fields.size(), 3u);
  // What it did not write is not weir's in its memory.
  auto const applied = c.applied.unpack();
  EXPECT_FALSE(applied.contains("memory"));
  EXPECT_EQ(applied.at("tags@stage"), json({"weir"}));
  EXPECT_EQ(applied.at("description"), "Synced from Proxmox node pve1");
  EXPECT_TRUE(p.creates.empty());
  EXPECT_EQ(p.unchanged, 1u);
  EXPECT_EQ(not_in_netbox(p), 1u);
}

TEST(proxbox, adopt_makes_what_claims_need) {
  lab l;
  l.rules.adopt_only = true;
  for (auto const* kind : {"extras.customfield", "extras.tag", "dcim.site"}) l.holds(kind, {});
  auto const fields = l.diff("extras.customfield", {want({{"name", "proxmox_source"}}, {{"type", "text"}}),
                                                    want({{"name", "proxmox_tags"}}, {{"type", "text"}})});
  ASSERT_EQ(fields.creates.size(), 1u);
  EXPECT_EQ(fields.creates[0].label, "proxmox_source");
  EXPECT_EQ(
      l.diff("extras.tag", {want({{"slug", "weir"}}, {{"name", "weir"}}), want({{"slug", "prod"}}, {{"name", "prod"}})})
          .creates.size(),
      1u);
  EXPECT_TRUE(l.diff("dcim.site", {want({{"slug", "s"}}, {{"name", "s"}})}).creates.empty());
}

}  // namespace
}  // namespace weir::engine
