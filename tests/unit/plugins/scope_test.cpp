// The run's scope: what the three stages look at, keep and leave alone.
#include <gtest/gtest.h>

#include "loaded.hpp"
#include "proxmox/selection.hpp"

namespace {
using namespace shipped;
using weir::proxmox::selection;

json guest(int vmid, std::string const& node = "pve1", json const& more = json::object()) {
  json row{{"type", "qemu"}, {"vmid", vmid},       {"id", "qemu/" + std::to_string(vmid)},    {"node", node},
           {"name", "vm" + std::to_string(vmid)},  {"status", "running"}, {"template", 0}};
  row.update(more);
  return row;
}

bool takes(std::string const& scope, json const& row) { return selection{scope}.takes_guest(row); }

TEST(selection, everything_unless_something_is_said) {
  for (auto const* all : {"{}", R"({"include":{},"exclude":{}})"}) {
    selection const s{all};
    EXPECT_TRUE(s.takes_guest(guest(100)) && s.takes_node("x") && s.takes_storage("y") && !s.few_guests()) << all;
  }
  EXPECT_TRUE(selection{"{}"}.everything());
  EXPECT_FALSE(selection{R"({"guests":[1]})"}.everything());
}

TEST(selection, each_list) {
  auto const web = guest(120, "pve1", {{"name", "Web-1"}, {"pool", "prod"}, {"tags", "a;netbox"}});
  struct {
    char const *part, *other;
  } const lists[] = {{R"("nodes":["pve[12]"])", R"("nodes":["pve2","rack*"])"},
                     {R"("pools":["pr*"])", R"("pools":["test"])"},
                     {R"("tags":["x","net*"])", R"("tags":["net"])"},
                     {R"("vmids":["7","100-199"])", R"("vmids":["121","1-119"])"},
                     {R"("names":["web-?"])", R"("names":["db*"])"},
                     {R"("states":["stopped","running"])", R"("states":["stopped"])"},
                     {R"("templates":false)", R"("templates":true)"}};
  for (auto const& one : lists) {
    auto const in = [](std::string const& name, char const* list) { return "{\"" + name + "\":{" + list + "}}"; };
    EXPECT_TRUE(takes(in("include", one.part), web)) << one.part;
    EXPECT_FALSE(takes(in("include", one.other), web)) << one.other;
    EXPECT_FALSE(takes(in("exclude", one.part), web)) << one.part;
    EXPECT_TRUE(takes(in("exclude", one.other), web)) << one.other;
  }
}

TEST(selection, all_lists_of_include_and_none_of_exclude) {
  auto const scope = R"({"include":{"nodes":["pve1"],"tags":["prod"]},"exclude":{"names":["*-test"]}})";
  EXPECT_TRUE(takes(scope, guest(1, "pve1", {{"tags", "prod"}})));
  EXPECT_FALSE(takes(scope, guest(1, "pve2", {{"tags", "prod"}})));
  EXPECT_FALSE(takes(scope, guest(1, "pve1")));
  EXPECT_FALSE(takes(scope, guest(1, "pve1", {{"tags", "prod"}, {"name", "WEB-Test"}})));
}

// No pattern names what is not there.
TEST(selection, a_guest_of_no_pool) {
  EXPECT_FALSE(takes(R"({"include":{"pools":["*"]}})", guest(1)));
  EXPECT_TRUE(takes(R"({"exclude":{"pools":["*"]}})", guest(1)));
}

TEST(selection, suspended_to_disk_is_stopped_with_a_lock) {
  auto const asleep = guest(1, "pve1", {{"status", "stopped"}, {"lock", "suspended"}});
  EXPECT_TRUE(takes(R"({"include":{"states":["suspended"]}})", asleep));
  EXPECT_TRUE(takes(R"({"include":{"states":["stopped"]}})", asleep));
  EXPECT_FALSE(takes(R"({"include":{"states":["running"]}})", asleep));
}

TEST(selection, what_it_does_not_know_is_told_and_what_is_malformed_refused) {
  EXPECT_EQ(selection(R"({"include":{"hosts":["a"],"nodes":["b"]},"racks":1})").unknown(),
            (std::vector<std::string>{"include.hosts", "racks"}));
  for (auto const* bad : {"", "[]", R"({"include":[]})", R"({"include":{"nodes":"a"}})", R"({"include":{"nodes":[1]}})",
                          R"({"guests":[]})", R"({"guests":["1"]})", R"({"include":{"vmids":["a-b"]}})",
                          R"({"include":{"vmids":["1-"]}})"})
    EXPECT_THROW(selection{bad}, weir::error) << bad;
}

class narrowed : public testing::Test {
 protected:
  narrowed() {
    h.answer_data("/cluster/status", two_nodes());
    h.answer("/access/permissions",
             R"({"data":{"/":{"Sys.Audit":1},"/vms":{"VM.Audit":1,"VM.Backup":1},
                 "/storage":{"Datastore.Allocate":1,"Datastore.Audit":1}}})");
    json all = json::array({{{"type", "node"}, {"node", "pve1"}, {"status", "online"}},
                            {{"type", "node"}, {"node", "pve2"}, {"status", "online"}}});
    all.push_back(guest(100, "pve1", {{"name", "twin"}, {"tags", "prod"}}));
    all.push_back(guest(101, "pve1", {{"name", "Twin"}, {"tags", "test"}}));
    all.push_back(guest(102, "pve2", {{"pool", "edge"}}));
    h.answer_data("/cluster/resources", all);
    for (auto const* guest : {"pve1/qemu/100", "pve1/qemu/101", "pve2/qemu/102"})
      h.answer_data("/nodes/" + std::string(guest) + "/config", json::object());
    h.answer_data("/storage", json::array({{{"storage", "nfs"}, {"type", "nfs"}, {"content", "backup"}, {"shared", 1}},
                                           {{"storage", "local"}, {"type", "dir"}, {"content", "backup"}}}));
    files("pve1", "nfs", {file("nfs", 100), file("nfs", 101), file("nfs", 102), file("nfs", 900)});
    files("pve1", "local", {file("local", 100), file("local", 102)});
    files("pve2", "local", {file("local", 100), file("local", 101)});
  }

  static std::string volid(std::string const& storage, int vmid) {
    return storage + ":backup/vzdump-qemu-" + std::to_string(vmid) + "-2026_04_29-01_00_00.vma.zst";
  }
  static json file(std::string const& storage, int vmid) {
    return {{"volid", volid(storage, vmid)}, {"vmid", vmid}, {"content", "backup"}, {"size", 1}, {"ctime", 1777424400}};
  }
  void files(std::string const& node, std::string const& storage, json const& rows, std::string const& more = "") {
    h.answer_data("/nodes/" + node + "/storage/" + storage + "/content?content=backup" + more, rows);
  }
  outcome collect(std::string const& id, json const& scope) {
    h.scope(scope);
    auto out = h.run(stage(id));
    EXPECT_TRUE(out.violations.empty()) << out.text();
    EXPECT_TRUE(out.ok()) << out.text();
    return out;
  }
  // "100" written, "(101)" kept, in this order.
  static std::string guests_of(outcome const& out) {
    std::string all;
    for (auto const* o : out.emitted("virtualization.virtualmachine")) {
      auto const number = std::to_string(o->key.at("custom_fields.proxmox_vm_id").get<int>());
      bool const kept = o->fields == json{{"$keep", true}};
      all += (all.empty() ? "" : " ") + (kept ? "(" + number + ")" : number);
    }
    return all;
  }
  static std::set<std::string> backups_of(outcome const& out) {
    std::set<std::string> all;
    for (auto const* o : out.emitted("netbox_proxbox.vmbackup")) {
      auto const number = std::to_string(o->key.at("virtual_machine").at("custom_fields.proxmox_vm_id").get<int>());
      auto const text = o->key.at("volume_id").get<std::string>().substr(0, 3) + number;
      all.insert(o->fields == json{{"$keep", true}} ? "(" + text + ")" : text);
    }
    return all;
  }
  host h;
};

TEST_F(narrowed, guests_outside_are_kept_and_not_read) {
  auto const out = collect("virtual-machines", {{"include", {{"tags", {"prod"}}}}});
  EXPECT_EQ(guests_of(out), "(101) (102) 100");
  EXPECT_EQ(out.times_fetched("/nodes/pve1/qemu/100/config"), 1U);
  EXPECT_EQ(out.times_fetched("/nodes/pve1/qemu/101/config") + out.times_fetched("/nodes/pve2/qemu/102/config"), 0U);
  EXPECT_TRUE(out.complete("virtualization.virtualmachine", source_scope()));
  EXPECT_EQ(out.find("extras.tag", slug("test")), nullptr);
  ASSERT_EQ(out.notices.size(), 1U);
  EXPECT_NE(out.text().find("2 guests outside of the source's scope"), std::string::npos) << out.text();
}

// 100 holds the name, whether or not it is written: a run of all guests says the same.
TEST_F(narrowed, names_do_not_depend_on_the_scope) {
  auto const name = [&](json const& scope) {
    return collect("virtual-machines", scope).find("virtualization.virtualmachine", guest_key(101))->fields.at("name");
  };
  EXPECT_EQ(name(json::object()), "Twin (101)");
  EXPECT_EQ(name({{"include", {{"tags", {"test"}}}}}), "Twin (101)");
  EXPECT_EQ(name({{"guests", {101}}}), "Twin (101)");
}

TEST_F(narrowed, a_single_guest) {
  auto const out = collect("virtual-machines", {{"guests", {102}}});
  EXPECT_EQ(guests_of(out), "102");
  EXPECT_TRUE(out.completes.empty());
  EXPECT_EQ(out.times_fetched("/access/permissions"), 0U);
  EXPECT_EQ(out.times_fetched("/nodes/pve2/qemu/102/config"), 1U);
  EXPECT_TRUE(out.notices.empty()) << out.text();
}

TEST_F(narrowed, a_single_guest_that_is_not_there_or_outside) {
  auto const missing = collect("virtual-machines", {{"guests", {7}}});
  EXPECT_TRUE(missing.objects.empty() && missing.completes.empty());
  EXPECT_NE(missing.text().find("this cluster has no guest 7"), std::string::npos) << missing.text();
  auto const outside = collect("virtual-machines", {{"guests", {102}}, {"exclude", {{"pools", {"edge"}}}}});
  EXPECT_TRUE(outside.objects.empty());
  EXPECT_NE(outside.text().find("outside of the source's scope, and left as they are: 102"), std::string::npos);
}

TEST_F(narrowed, nodes_outside_are_kept) {
  auto const out = collect("nodes", {{"exclude", {{"nodes", {"pve2"}}}}});
  EXPECT_EQ(out.find("dcim.device", named_key("pve2"))->fields, (json{{"$keep", true}}));
  EXPECT_TRUE(out.find("dcim.device", named_key("pve1"))->fields.contains("status"));
  EXPECT_TRUE(out.complete("dcim.device", source_scope()));
}

TEST_F(narrowed, a_single_guests_node_is_only_made) {
  auto const out = collect("nodes", {{"guests", {102}}});
  ASSERT_EQ(out.emitted("dcim.device").size(), 1U);
  auto const& device = out.find("dcim.device", named_key("pve2"))->fields;
  EXPECT_EQ(device.size(), 1U);
  EXPECT_EQ(device.at("$create").at("status"), "active");
  EXPECT_EQ(device.at("$create").at("role"), slug("proxmox-node"));
  auto const& cluster = out.find("virtualization.cluster", named_key("prod"))->fields;
  EXPECT_EQ(cluster.size(), 1U);
  EXPECT_EQ(cluster.at("$create").at("status"), "active");
  EXPECT_TRUE(out.completes.empty());
}

TEST_F(narrowed, backups_of_guests_outside_are_kept) {
  auto const out = collect("backups", {{"include", {{"vmids", {"100"}}}}});
  EXPECT_EQ(backups_of(out),
            (std::set<std::string>{"nfs100", "(nfs101)", "(nfs102)", "(nfs900)", "loc100", "(loc101)", "(loc102)"}));
  EXPECT_EQ(out.completes.size(), 2U);
}

// Of a storage of each node's own, copies on the other node stay; of a shared one the guest's node counts.
TEST_F(narrowed, backups_on_nodes_outside_are_kept) {
  auto const out = collect("backups", {{"exclude", {{"nodes", {"pve2"}}}}});
  EXPECT_EQ(backups_of(out),
            (std::set<std::string>{"nfs100", "nfs101", "(nfs102)", "nfs900", "loc100", "(loc101)", "(loc102)"}));
  EXPECT_EQ(out.completes.size(), 2U);
}

TEST_F(narrowed, storages_outside_are_not_read) {
  auto const out = collect("backups", {{"include", {{"storages", {"n*"}}}}});
  EXPECT_EQ(backups_of(out), (std::set<std::string>{"nfs100", "nfs101", "nfs102", "nfs900"}));
  EXPECT_EQ(out.completes.size(), 1U);
  for (auto const& target : out.fetched) EXPECT_EQ(target.find("/storage/local"), std::string::npos) << target;
  EXPECT_TRUE(collect("backups", {{"exclude", {{"storages", {"*"}}}}}).completes.empty());
}

TEST_F(narrowed, backups_of_a_single_guest) {
  files("pve1", "nfs", {file("nfs", 102), file("nfs", 100)}, "&vmid=102");  // a storage that knows no such filter
  files("pve1", "local", json::array({file("local", 102)}), "&vmid=102");
  files("pve2", "local", json::array(), "&vmid=102");
  auto const out = collect("backups", {{"guests", {102}}});
  EXPECT_EQ(backups_of(out), (std::set<std::string>{"nfs102", "loc102"}));
  EXPECT_TRUE(out.completes.empty());
  EXPECT_EQ(out.times_fetched("/access/permissions"), 0U);
}

TEST_F(narrowed, a_host_without_the_extension_means_everything) {
  h.without(WEIR_EXT_SCOPE);
  EXPECT_EQ(guests_of(collect("virtual-machines", {{"guests", {102}}})), "100 101 102");
}

}  // namespace
