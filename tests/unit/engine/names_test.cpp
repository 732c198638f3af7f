#include "core/engine/names.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/engine/match.hpp"
#include "core/engine/packed.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;

using rows = std::vector<json>;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* devices = "dcim.device";
constexpr char const* clusters = "virtualization.cluster";
constexpr char const* sites = "dcim.site";
constexpr char const* roles = "dcim.devicerole";
constexpr char const* all_of_it = R"({"custom_fields.proxmox_source":"pve-a"})";

// Weir wrote what NetBox holds.
class kept_memory : public memory {
 public:
  std::map<std::pair<std::string, object_id>, known_object> held;
  std::optional<known_object> of(netbox::kind const& k, object_id id) override {
    auto const found = held.find({k.name, id});
    return found == held.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<object_id> find(netbox::kind const&, std::string const&) override { return {}; }
  void note(netbox::kind const& k, object_id id, known_object const& what) override { held[{k.name, id}] = what; }
};

json tenant(int id) {
  return {{"id", id}, {"url", "https://netbox.example/api/tenancy/tenants/" + std::to_string(id) + "/"}, {"name", "t"}};
}
json gone_vm(int id, std::string const& name, json const& vmid) {
  auto out = vm(id, name, vmid);
  out["tags"].push_back({{"id", 9}, {"slug", "weir-gone"}});
  out["status"] = {{"value", "decommissioning"}, {"label", "Decommissioning"}};
  out["custom_fields"]["proxmox_gone_since"] = "2026-11-01";
  return out;
}

struct vm_lab : lab {
  kept_memory known;
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
};

json body(change const& c) { return packed(c.body).unpack(); }
change const* of_object(kind_plan const& p, object_id id) {
  auto const found = std::find_if(p.updates.begin(), p.updates.end(), [&](auto const& c) { return c.object == id; });
  return found == p.updates.end() ? nullptr : &*found;
}
std::string only_failure(kind_plan const& p) { return p.failures.size() == 1 ? p.failures[0].message : ""; }
bool says(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }
std::vector<std::string> wave_of(kind_plan const& p) {
  std::vector<std::string> out;
  for (auto const& wave : waves(*p.kind, p.updates)) {
    std::vector<std::string> ids;
    for (auto const* c : wave) ids.push_back(std::to_string(c->object));
    std::sort(ids.begin(), ids.end());
    std::string text;
    for (auto const& id : ids) text += (text.empty() ? "" : ",") + id;
    out.push_back(text);
  }
  return out;
}

// ---- held by what weir may not take

TEST(names, a_new_guest_of_a_name_that_another_source_holds_is_refused) {
  vm_lab l(rows{vm(17, "Web", 700, "pve-b")});
  auto const plan = l.plan({guest(101, "web"), guest(102, "db")});
  ASSERT_EQ(plan.creates.size(), 1u) << "others go on";
  EXPECT_EQ(plan.creates[0].label, "db");
  auto const why = only_failure(plan);
  EXPECT_EQ(plan.failures.at(0).label, "web");
  EXPECT_TRUE(says(why, "Web #17")) << why;
  EXPECT_TRUE(says(why, "the source pve-b")) << why;
  EXPECT_TRUE(says(why, "cluster and tenant")) << why;
  EXPECT_TRUE(says(why, "rename")) << why;
  EXPECT_FALSE(l.w.find(l.kind(vms), vm_key(101)).has_value()) << "its backups are not planned either";
}

TEST(names, a_guest_that_is_renamed_to_such_a_name_is_refused_and_stays_as_it_is) {
  vm_lab l(rows{vm(17, "web", 700, "pve-b"), vm(1, "old", 101)});
  auto const plan = l.plan({guest(101, "web", {{"memory", 4096}})});
  EXPECT_TRUE(plan.updates.empty() && plan.creates.empty() && plan.kept.empty());
  EXPECT_TRUE(says(only_failure(plan), "web #17")) << only_failure(plan);
  EXPECT_EQ(l.w.label(l.kind(vms), 1), "old");
  EXPECT_EQ(plan.seen, 1u);
}

TEST(names, who_waits_for_the_name_of_one_that_is_refused_is_refused_too) {
  vm_lab l(rows{vm(17, "web", 700, "pve-b"), vm(1, "a", 101), vm(2, "b", 102), vm(3, "c", 103)});
  auto const plan = l.plan({guest(101, "web"), guest(102, "a"), guest(103, "b"), guest(104, "c")});
  EXPECT_TRUE(plan.updates.empty());
  EXPECT_TRUE(plan.creates.empty());
  EXPECT_EQ(plan.failures.size(), 4u);
}

TEST(names, an_object_of_another_tenant_or_cluster_is_in_nobodys_way) {
  auto elsewhere = vm(17, "web", 700, "pve-b"), of_tenant = vm(18, "web", 701, "pve-b");
  elsewhere["cluster"]["id"] = 8;
  of_tenant["tenant"] = tenant(5);
  vm_lab l(rows{elsewhere, of_tenant});
  auto const plan = l.plan({guest(101, "web")});
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_TRUE(plan.failures.empty()) << only_failure(plan);
}

TEST(names, a_name_that_its_holder_gives_up_in_the_same_run_is_free) {
  vm_lab l(rows{vm(1, "web", 101)});
  auto const plan = l.plan({guest(101, "db"), guest(105, "web")});
  EXPECT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.creates.size(), 1u);
  EXPECT_TRUE(plan.failures.empty());
}

TEST(names, a_name_that_a_person_gave_to_another_guest_of_the_source_is_taken) {
  vm_lab l(rows{vm(1, "by-a-person", 101)});
  l.known.held[{vms, 1}] = {R"(["pve-a",101])", R"({"name":"web"})", {}};
  auto const plan = l.plan({guest(101, "web"), guest(102, "by-a-person")});
  EXPECT_TRUE(plan.creates.empty());
  EXPECT_TRUE(says(only_failure(plan), "by-a-person #1")) << only_failure(plan);
  EXPECT_EQ(plan.edits.size(), 1u);
}

TEST(names, what_may_be_there_still_keeps_its_name) {
  vm_lab l(rows{vm(1, "web", 101), vm(2, "db", 102)});
  auto const short_list = l.plan({guest(102, "web")}, false);
  EXPECT_TRUE(short_list.updates.empty());
  EXPECT_TRUE(says(only_failure(short_list), "not known to be gone")) << only_failure(short_list);
  vm_lab filtered(rows{vm(1, "web", 101), vm(2, "db", 102)});
  auto const plan = filtered.plan({guest(102, "web"), want(vm_key(101), {{"$keep", true}})});
  EXPECT_TRUE(says(only_failure(plan), "web #1")) << only_failure(plan);
}

TEST(names, a_new_node_of_a_name_that_its_site_has_is_refused) {
  lab l;
  l.holds(sites, {{{"id", 3}, {"slug", "berlin"}, {"name", "Berlin"}}});
  l.holds(clusters, {cluster(7)});
  l.holds(devices, {{{"id", 17},
                     {"name", "N1"},
                     {"site", {{"id", 3}}},
                     {"cluster", nullptr},
                     {"tags", json::array()},
                     {"custom_fields", {{"proxmox_source", "pve-b"}}}}});
  auto const plan = l.diff(devices, {want({{"custom_fields.proxmox_source", "pve-a"}, {"name", "n1"}},
                                          {{"cluster", cluster_key()}, {"site", {{"slug", "berlin"}}}})});
  EXPECT_TRUE(plan.creates.empty());
  EXPECT_TRUE(says(only_failure(plan), "N1 #17")) << only_failure(plan);
  EXPECT_TRUE(says(only_failure(plan), "site and tenant")) << only_failure(plan);
}

TEST(names, a_new_cluster_of_a_name_that_its_site_has_is_refused) {
  lab l;
  l.holds(sites, {{{"id", 3}, {"slug", "berlin"}, {"name", "Berlin"}}});
  auto theirs = cluster(7, "prod", "pve-b");
  theirs.update({{"scope_type", "dcim.site"}, {"scope_id", 3}, {"group", nullptr}});
  l.holds(clusters, {theirs});
  auto const wanted = [](char const* site) {
    return want(cluster_key("prod"), {{"scope_type", "dcim.site"}, {"scope_id", {{"slug", site}}}});
  };
  auto const plan = l.diff(clusters, {wanted("berlin")});
  EXPECT_TRUE(plan.creates.empty());
  EXPECT_TRUE(says(only_failure(plan), "prod #7")) << only_failure(plan);
  auto at_site = theirs;
  at_site["scope_id"] = 4;
  l.holds(clusters, {at_site});
  EXPECT_EQ(l.diff(clusters, {wanted("berlin")}).creates.size(), 1u);
}

TEST(names, a_shared_object_of_the_name_is_used_and_keeps_its_own_key) {
  lab l;
  l.holds(roles, {{{"id", 5}, {"slug", "pve-host"}, {"name", "Proxmox node"}, {"color", "ffffff"}}});
  auto const wanted = want({{"slug", "proxmox-node"}}, {{"name", "Proxmox node"}, {"color", "00bcd4"}});
  auto const plan = l.diff(roles, {wanted});
  EXPECT_TRUE(plan.creates.empty() && plan.updates.empty() && plan.failures.empty());
  EXPECT_EQ(plan.unchanged, 1u);
  EXPECT_EQ(l.w.find(l.kind(roles), {{"slug", "proxmox-node"}}), 5u);
}

TEST(names, a_kind_that_a_stage_brings_may_say_what_is_unique) {
  auto const of = [](char const* more) {
    return netbox::parse_kinds(std::string(R"([{"kind":"a.thing","path":"plugins/a/things","key":["name"])") + more +
                               "}]");
  };
  auto const k = of(R"(,"unique":[{"fields":["name","place"],"fold":true,"none_counts":["place"]}])").value().front();
  ASSERT_EQ(k.unique.size(), 1u);
  EXPECT_EQ(k.unique[0].fields, (std::vector<std::string>{"name", "place"}));
  EXPECT_TRUE(k.unique[0].fold && k.unique[0].none_counts.contains("place"));
  EXPECT_FALSE(of(R"(,"unique":[{"fields":[]}])"));
  EXPECT_FALSE(of(R"(,"inherits":{"site":{"from":"cluster","field":"x"}})")) << "no reference of that name";
}

TEST(names, two_backups_that_another_service_made_of_one_volume_are_refused_with_both) {
  lab l;
  l.holds(vms, {vm(1, "web", 101)});
  auto const wanted = [](char const* volume) {
    return want({{"virtual_machine", vm_key(101)}, {"volume_id", volume}},
                {{"storage", "nfs"}, {"format", "vma.zst"}, {"custom_fields", {{"proxmox_source", "pve-a"}}}});
  };
  auto const held = [](int id, char const* volume, char const* format) {
    return json{{"id", id},
                {"virtual_machine", {{"id", 1}}},
                {"volume_id", volume},
                {"storage", "nfs"},
                {"format", format},
                {"tags", json::array()},
                {"custom_fields", {{"proxmox_source", nullptr}}}};
  };
  std::vector<desired> const all{wanted("nfs:backup/1"), wanted("nfs:backup/2")};
  // NetBox has one of each format.
  l.holds("netbox_proxbox.vmbackup",
          {held(5, "nfs:backup/1", "undefined"), held(6, "nfs:backup/1", "vma"), held(7, "nfs:backup/2", "undefined")},
          all);
  auto const plan = l.diff("netbox_proxbox.vmbackup", all);
  auto const why = only_failure(plan);
  EXPECT_TRUE(says(why, "nfs:backup/1 #5, nfs:backup/1 #6")) << why;
  EXPECT_TRUE(says(why, "all but one")) << why;
  EXPECT_TRUE(plan.creates.empty() && plan.deletes.empty());
  ASSERT_EQ(plan.updates.size(), 1u) << "the other one goes on";
  EXPECT_EQ(plan.updates[0].object, 7u);
  EXPECT_EQ(plan.updates[0].why, reason::adopted);
}

// ---- held by what is gone

TEST(names, one_that_was_marked_as_gone_makes_way_for_a_guest_that_is_renamed) {
  vm_lab l(rows{gone_vm(1, "web", 101), vm(2, "db", 102)});
  auto const plan = l.plan({guest(102, "WEB")});
  EXPECT_TRUE(plan.failures.empty()) << only_failure(plan);
  ASSERT_EQ(plan.updates.size(), 2u);
  auto const* away = of_object(plan, 1);
  ASSERT_NE(away, nullptr);
  EXPECT_EQ(body(*away), json({{"name", "web (gone #1)"}}));
  EXPECT_EQ(packed(away->before).unpack(), json({{"name", "web"}}));
  EXPECT_EQ(packed(away->applied).unpack().at("name"), "web (gone #1)");
  EXPECT_EQ(away->why, reason::gone);
  EXPECT_EQ(wave_of(plan), (std::vector<std::string>{"1", "2"})) << "the name is free before it is taken";
  EXPECT_TRUE(plan.kept.empty());
}

TEST(names, one_that_is_gone_by_now_is_marked_and_makes_way_at_once) {
  vm_lab l(rows{vm(1, "web", 101), vm(2, "db", 102)});
  auto const plan = l.plan({guest(102, "web")});
  ASSERT_EQ(plan.updates.size(), 2u);
  auto const* away = of_object(plan, 1);
  ASSERT_NE(away, nullptr);
  EXPECT_EQ(body(*away).at("name"), "web (gone #1)");
  EXPECT_EQ(body(*away).at("status"), "decommissioning");
  EXPECT_EQ(wave_of(plan), (std::vector<std::string>{"1", "2"}));
}

TEST(names, one_whose_number_is_anothers_gives_name_and_number_up) {
  auto old = vm(1, "web", 101), other = vm(2, "db", 102);
  old["custom_fields"]["proxmox_identity"] = "type=qemu;uuid=a";
  vm_lab l(rows{old, other});
  auto const plan =
      l.plan({guest(101, "mail", {{"custom_fields", {{"proxmox_identity", "type=qemu;uuid=b"}}}}), guest(102, "web")});
  EXPECT_TRUE(plan.failures.empty()) << only_failure(plan);
  auto const* away = of_object(plan, 1);
  ASSERT_NE(away, nullptr);
  EXPECT_EQ(away->why, reason::released);
  EXPECT_EQ(body(*away).at("name"), "web (gone #1)");
  EXPECT_EQ(body(*away).at("custom_fields").at("proxmox_vm_id"), json());
  EXPECT_EQ(wave_of(plan), (std::vector<std::string>{"1", "2"}));
}

TEST(names, one_that_is_to_be_deleted_makes_way_first) {
  vm_lab l(rows{vm(1, "web", 101), vm(2, "db", 102)});
  netbox::kind_policy policy;
  policy.when_gone = netbox::orphans::erase;
  l.kinds.apply(vms, policy).value();
  auto const plan = l.plan({guest(102, "web")});
  ASSERT_EQ(plan.deletes.size(), 1u);
  EXPECT_EQ(packed(plan.deletes[0].before).unpack().at("name"), "web (gone #1)");
  EXPECT_EQ(wave_of(plan), (std::vector<std::string>{"1", "2"})) << "deletions come last";
}

TEST(names, one_that_is_always_kept_and_one_that_nobody_believes_to_be_gone_keep_their_names) {
  vm_lab l(rows{vm(1, "web", 101), vm(2, "db", 102)});
  netbox::kind_policy policy;
  policy.when_gone = netbox::orphans::keep;
  l.kinds.apply(vms, policy).value();
  EXPECT_TRUE(says(only_failure(l.plan({guest(102, "web")})), "web #1"));
  vm_lab refused(rows{vm(1, "web", 101), vm(2, "db", 102)});
  refused.rules.max_deletes = refused.rules.max_deletes_percent = 0;
  auto const plan = refused.plan({guest(102, "web")});
  EXPECT_TRUE(plan.updates.empty());
  EXPECT_TRUE(says(only_failure(plan), "web #1"));
}

TEST(names, one_in_its_time_of_grace_makes_way) {
  vm_lab l(rows{vm(1, "web", 101), vm(2, "db", 102)});
  netbox::kind_policy policy;
  policy.grace = std::chrono::hours(24);
  l.kinds.apply(vms, policy).value();
  auto const plan = l.plan({guest(102, "web")});
  ASSERT_NE(of_object(plan, 1), nullptr);
  EXPECT_EQ(body(*of_object(plan, 1)), json({{"name", "web (gone #1)"}}));
}

TEST(names, what_made_way_gets_its_name_back_when_it_returns) {
  auto away = gone_vm(1, "web (gone #1)", 101);
  vm_lab l(rows{away, vm(2, "db", 102)});
  auto const plan = l.plan({guest(101, "web"), guest(102, "db")});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(body(plan.updates[0]).at("name"), "web");
  EXPECT_EQ(plan.updates[0].why, reason::returned);
}

TEST(names, a_long_name_makes_way_within_netboxs_64_bytes) {
  std::string const name(64, 'x');
  vm_lab l(rows{gone_vm(1, name, 101), vm(2, "db", 102)});
  auto const plan = l.plan({guest(102, name)});
  ASSERT_NE(of_object(plan, 1), nullptr);
  EXPECT_EQ(body(*of_object(plan, 1)).at("name").get<std::string>().size(), 64u);
}

// ---- a node and its cluster's site

struct site_lab : lab {
  explicit site_lab(json const& scope) {
    holds(sites,
          {{{"id", 3}, {"slug", "berlin"}, {"name", "Berlin"}}, {{"id", 4}, {"slug", "pve-a"}, {"name", "pve-a"}}});
    auto c = cluster(7);
    c.update(scope);
    holds(clusters, {c}, {want(cluster_key(), {{"scope_type", "dcim.site"}, {"scope_id", {{"slug", "x"}}}})});
  }
  kind_plan plan(json const& fields, rows const& held = {}) {
    json all = {{"cluster", cluster_key()}};
    all.update(fields);
    std::vector<desired> const wanted{want({{"custom_fields.proxmox_source", "pve-a"}, {"name", "n1"}}, all)};
    holds(devices, held, wanted);
    return diff(devices, wanted);
  }
};
json const in_berlin{{"scope_type", "dcim.site"}, {"scope_id", 3}};
json const by_default{{"$create", {{"site", {{"slug", "pve-a"}}}}}};
json const configured{{"site", {{"slug", "pve-a"}}}};

TEST(names, a_new_node_goes_into_its_clusters_site) {
  site_lab l(in_berlin);
  auto const plan = l.plan(by_default);
  ASSERT_EQ(plan.creates.size(), 1u) << only_failure(plan);
  EXPECT_EQ(body(plan.creates[0]).at("site"), 3);
  site_lab nowhere(json{{"scope_type", nullptr}, {"scope_id", nullptr}});
  EXPECT_EQ(body(nowhere.plan(by_default).creates.at(0)).at("site"), 4) << "the cluster is in no site";
  site_lab region(json{{"scope_type", "dcim.region"}, {"scope_id", 3}});
  EXPECT_EQ(body(region.plan(by_default).creates.at(0)).at("site"), 4) << "the cluster is in no site";
}

TEST(names, a_node_by_hand_in_the_clusters_site_is_adopted) {
  site_lab l(in_berlin);
  auto const plan = l.plan(by_default, {{{"id", 17},
                                         {"name", "N1"},
                                         {"site", {{"id", 3}}},
                                         {"cluster", nullptr},
                                         {"tags", json::array()},
                                         {"custom_fields", {{"proxmox_source", nullptr}}}}});
  ASSERT_EQ(plan.updates.size(), 1u) << only_failure(plan);
  EXPECT_EQ(plan.updates[0].why, reason::adopted);
  EXPECT_FALSE(body(plan.updates[0]).contains("site"));
}

TEST(names, a_configured_site_that_is_not_the_clusters_is_refused_beforehand) {
  site_lab l(in_berlin);
  auto const plan = l.plan(configured);
  EXPECT_TRUE(plan.creates.empty());
  auto const why = only_failure(plan);
  EXPECT_TRUE(says(why, "to be pve-a") && says(why, "Berlin") && says(why, "cluster pve-a")) << why;
  site_lab same(json{{"scope_type", "dcim.site"}, {"scope_id", 4}});
  EXPECT_EQ(same.plan(configured).creates.size(), 1u);
}

TEST(names, a_node_that_stands_elsewhere_cannot_get_into_the_cluster) {
  auto const standing = [](json const& in) {
    return rows{{{"id", 17},
                 {"name", "n1"},
                 {"site", {{"id", 4}}},
                 {"cluster", in},
                 {"tags", json::array()},
                 {"custom_fields", {{"proxmox_source", "pve-a"}}}}};
  };
  site_lab l(in_berlin);
  auto const plan = l.plan(by_default, standing(nullptr));
  EXPECT_TRUE(plan.updates.empty());
  EXPECT_TRUE(says(only_failure(plan), "its site is pve-a")) << only_failure(plan);
  site_lab inside(in_berlin);
  EXPECT_TRUE(inside.plan(by_default, standing({{"id", 7}})).failures.empty()) << "what NetBox let pass is not weir's";
}

TEST(names, a_cluster_type_that_a_person_chose_stays) {
  lab l;
  l.holds("virtualization.clustertype",
          {{{"id", 1}, {"slug", "proxmox-ve"}, {"name", "Proxmox VE"}}, {{"id", 2}, {"slug", "hci"}, {"name", "HCI"}}});
  auto const wanted = want(cluster_key(), {{"type", {{"slug", "proxmox-ve"}}}, {"tags", {"weir"}}});
  auto by_hand = cluster(7, "pve-a", nullptr);
  by_hand["type"] = {{"id", 2}};
  l.holds(clusters, {by_hand}, {wanted});
  auto const plan = l.diff(clusters, {wanted});
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].why, reason::adopted);
  EXPECT_FALSE(body(plan.updates[0]).contains("type"));
}

}  // namespace
}  // namespace weir::engine
