#include <gtest/gtest.h>

#include "loaded.hpp"

namespace {
using namespace shipped;

constexpr char const* kind = "virtualization.virtualmachine";

json node(std::string const& name, std::string const& status = "online") {
  return {{"type", "node"}, {"node", name}, {"status", status}, {"id", "node/" + name}};
}
json qemu(int vmid, json const& more = json::object()) {
  json row{{"type", "qemu"},
           {"vmid", vmid},
           {"id", "qemu/" + std::to_string(vmid)},
           {"node", "pve1"},
           {"name", "vm" + std::to_string(vmid)},
           {"status", "running"},
           {"maxcpu", 4},
           {"maxmem", 8589934592},
           {"maxdisk", 34359738368},
           {"template", 0},
           {"uptime", 12}};
  row.update(more);
  return row;
}

class virtual_machines : public testing::Test {
 protected:
  virtual_machines() {
    h.answer_data("/cluster/status", two_nodes());
    h.answer("/access/permissions", R"({"data":{"/":{"Sys.Audit":1},"/vms":{"VM.Audit":1}}})");
  }
  void guests(std::initializer_list<json> rows, std::string const& second = "online") {
    json all = json::array({node("pve1"), node("pve2", second)});
    for (auto const& row : rows) all.push_back(row);
    h.answer_data("/cluster/resources", all);
  }
  void config(std::string const& path, json const& value) { h.answer_data("/nodes/" + path + "/config", value); }
  outcome collect(json const& options = json::object()) {
    auto out = h.run(stage("virtual-machines"), options);
    EXPECT_TRUE(out.violations.empty()) << out.text();
    return out;
  }
  host h;
};

TEST_F(virtual_machines, all_fields_of_a_guest) {
  guests({qemu(100, {{"tags", "prod;Web.1"}})});
  config("pve1/qemu/100", {{"scsi0", "local-lvm:vm-100-disk-0,size=32G"},
                           {"virtio1", "local-lvm:vm-100-disk-1,size=528K"},
                           {"ide2", "none,media=cdrom"},
                           {"unused0", "local-lvm:vm-100-disk-9"},
                           {"memory", "8192"},
                           {"tags", "prod;Web.1"},
                           {"description", "\nWeb server\nsecond line"}});
  auto const out = collect();
  ASSERT_TRUE(out.ok()) << out.text();
  auto const* vm = out.find(kind, guest_key(100));
  ASSERT_NE(vm, nullptr);
  EXPECT_EQ(vm->fields, json::parse(R"({
    "name":"vm100","status":"active","vcpus":4,"memory":8192,"disk":32768,"description":"Web server",
    "comments":"\nWeb server\nsecond line",
    "cluster":{"custom_fields.proxmox_source":"pve-a","name":"prod"},
    "device":{"custom_fields.proxmox_source":"pve-a","name":"pve1"},
    "tags":["weir","prod","web-1"],
    "custom_fields":{"proxmox_vm_type":"qemu","proxmox_tags":"prod;web-1","proxmox_identity":"type=qemu"},
    "role":{"slug":"virtual-machine-qemu"}})"));
  EXPECT_TRUE(out.complete(kind, source_scope()));
  EXPECT_EQ(out.find("extras.tag", slug("web-1"))->fields.at("name"), "Web.1");
  EXPECT_TRUE(out.find("dcim.devicerole", slug("virtual-machine-qemu"))->fields.at("vm_role").get<bool>());
}

TEST_F(virtual_machines, what_tells_a_machine_from_the_next_with_its_number) {
  guests({qemu(100), qemu(101), qemu(102, {{"type", "lxc"}}), qemu(103)});
  config("pve1/qemu/100", {{"smbios1", "base64=1,manufacturer=QUNNRQ==,uuid=ABCD0123-0000-4000-a000-000000000001"},
                           {"meta", "creation-qemu=9.0.2,ctime=1735689600"},
                           {"vmgenid", "0000AAAA-0000-4000-b000-000000000001"},
                           {"net1", "e1000=BC:24:11:00:00:02,bridge=vmbr0"},
                           {"net0", "model=virtio,macaddr=BC:24:11:00:00:01,bridge=vmbr1"},
                           {"netmask", "virtio=BC:24:11:00:00:09"}});
  config("pve1/qemu/101", {{"vmgenid", "1"}, {"smbios1", "uuid=a;type=lxc"}, {"net0", "virtio,bridge=vmbr0"}});
  config("pve1/lxc/102", {{"net0", "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:03,ip=dhcp,type=veth"}});
  h.refuse("/nodes/pve1/qemu/103/config", 403, "Permission check failed (/vms/103, VM.Audit)");
  auto const out = collect();
  auto const facts = [&](int vmid) {
    auto const& custom = out.find(kind, guest_key(vmid))->fields.at("custom_fields");
    return custom.value("proxmox_identity", std::string("-"));
  };
  EXPECT_EQ(facts(100),
            "type=qemu;uuid=abcd0123-0000-4000-a000-000000000001;ctime=1735689600;"
            "vmgenid=0000aaaa-0000-4000-b000-000000000001;mac=bc:24:11:00:00:01,bc:24:11:00:00:02");
  EXPECT_EQ(facts(101), "type=qemu") << "what could be taken for two facts is none";
  EXPECT_EQ(facts(102), "type=lxc;mac=bc:24:11:00:00:03");
  EXPECT_EQ(facts(103), "-") << "what is not known is not said";
  EXPECT_NE(out.find("extras.customfield", {{"name", "proxmox_identity"}}), nullptr);
}

TEST_F(virtual_machines, each_thing_is_read_once) {
  guests({qemu(100), qemu(101, {{"tags", "x"}})});
  config("pve1/qemu/100", json::object());
  config("pve1/qemu/101", {{"tags", "x"}});
  auto const out = collect();
  auto fetched = out.fetched;
  std::sort(fetched.begin(), fetched.end());
  EXPECT_EQ(fetched, (std::vector<std::string>{"/access/permissions", "/cluster/options", "/cluster/resources",
                                               "/cluster/status", "/nodes/pve1/qemu/100/config",
                                               "/nodes/pve1/qemu/101/config"}));
}

TEST_F(virtual_machines, containers) {
  guests({{{"type", "lxc"},
           {"vmid", "101"},
           {"node", "pve2"},
           {"name", "ct"},
           {"status", "stopped"},
           {"maxcpu", 0.5},
           {"maxmem", 536870912},
           {"maxdisk", 8589934592}}});
  config("pve2/lxc/101", {{"rootfs", "local-lvm:vm-101-disk-0,size=8G"},
                          {"mp0", "/mnt/bind,mp=/shared"},
                          {"mp1", "nfs:101/vm-101-disk-1.raw,mp=/srv,size=1.5G"}});
  auto const out = collect();
  auto const* vm = out.find(kind, guest_key(101));  // "vmid" came as text
  ASSERT_NE(vm, nullptr) << out.text();
  EXPECT_EQ(vm->fields.at("status"), "offline");
  EXPECT_EQ(vm->fields.at("vcpus"), 0.5);
  EXPECT_EQ(vm->fields.at("disk"), 9728);
  EXPECT_EQ(vm->fields.at("custom_fields").at("proxmox_vm_type"), "lxc");
  EXPECT_EQ(vm->fields.at("role"), slug("container-lxc"));
  EXPECT_EQ(vm->fields.at("description"), "") << "a note that is taken away goes";
  EXPECT_EQ(vm->fields.at("comments"), "");
}

TEST_F(virtual_machines, decimal_units) {
  guests({qemu(100)});
  config("pve1/qemu/100", {{"scsi0", "a:b,size=32G"}});
  auto const fields = collect({{"units", "decimal"}}).find(kind, guest_key(100))->fields;
  EXPECT_EQ(fields.at("memory"), 8589);
  EXPECT_EQ(fields.at("disk"), 34359);
}

TEST_F(virtual_machines, states) {
  guests({qemu(1, {{"status", "running"}}), qemu(2, {{"status", "stopped"}}), qemu(3, {{"status", "paused"}}),
          qemu(4, {{"status", "suspended"}}), qemu(5, {{"status", "unknown"}}), qemu(6, {{"status", nullptr}})});
  for (int i = 1; i <= 6; ++i) config("pve1/qemu/" + std::to_string(i), json::object());
  auto const out = collect();
  auto const fields = [&](int i) { return out.find(kind, guest_key(i))->fields; };
  EXPECT_EQ(fields(1).at("status"), "active");
  EXPECT_EQ(fields(2).at("status"), "offline");
  EXPECT_EQ(fields(3).at("status"), "paused");
  EXPECT_EQ(fields(4).at("status"), "paused");
  for (int i : {5, 6}) {
    EXPECT_FALSE(fields(i).contains("status"));
    EXPECT_EQ(fields(i).at("$create").at("status"), "offline");
  }
}

TEST_F(virtual_machines, a_node_that_is_down_loses_nothing) {
  guests({{{"type", "qemu"}, {"vmid", 100}, {"node", "pve2"}, {"status", "unknown"}, {"id", "qemu/100"}},
          qemu(101, {{"node", "pve2"}, {"status", "running"}, {"tags", "prod"}})},
         "offline");
  auto const out = collect();
  ASSERT_TRUE(out.ok()) << out.text();
  // Only what is known, and nothing that would change what NetBox has.
  EXPECT_EQ(out.find(kind, guest_key(100))->fields, json::parse(R"({
    "cluster":{"custom_fields.proxmox_source":"pve-a","name":"prod"},
    "device":{"custom_fields.proxmox_source":"pve-a","name":"pve2"},
    "custom_fields":{"proxmox_vm_type":"qemu"},
    "role":{"slug":"virtual-machine-qemu"},
    "$create":{"name":"vm-100","status":"offline","tags":["weir"]}})"));
  auto const stale = out.find(kind, guest_key(101))->fields;
  EXPECT_FALSE(stale.contains("status"));
  EXPECT_FALSE(stale.contains("disk"));
  EXPECT_EQ(stale.at("$create").at("disk"), 32768);
  EXPECT_EQ(stale.at("tags"), json::array({"weir", "prod"}));
  // The list itself is whole: it comes from the cluster's own file system.
  EXPECT_TRUE(out.complete(kind, source_scope()));
  EXPECT_EQ(out.times_fetched("/nodes/pve2/qemu/100/config"), 0U);
  EXPECT_NE(out.notice("100, 101"), nullptr);
}

TEST_F(virtual_machines, a_configuration_that_cannot_be_read_loses_nothing) {
  guests({qemu(100), qemu(101), qemu(102), qemu(103)});
  h.refuse("/nodes/pve1/qemu/100/config", 595, "no route to host");
  h.refuse("/nodes/pve1/qemu/101/config", 403, "Permission check failed (/vms/101, VM.Audit)");
  h.answer("/nodes/pve1/qemu/102/config", R"({"data":{"scsi0":"a:b,si)");
  config("pve1/qemu/103", {{"scsi0", "a:b,size=1G"}});
  h.answer_backwards();
  auto const out = collect();
  ASSERT_TRUE(out.ok()) << out.text();
  ASSERT_EQ(out.emitted(kind).size(), 4U);
  for (int i : {100, 101, 102}) {
    auto const& fields = out.find(kind, guest_key(i))->fields;
    EXPECT_EQ(fields.at("status"), "active");
    EXPECT_EQ(fields.at("memory"), 8192);
    EXPECT_FALSE(fields.contains("disk") || fields.contains("description") || fields.contains("tags"));
    EXPECT_FALSE(fields.at("custom_fields").contains("proxmox_tags"));
  }
  EXPECT_EQ(out.find(kind, guest_key(103))->fields.at("disk"), 1024);
  auto const* refused = out.notice("VM.Audit");
  ASSERT_NE(refused, nullptr);
  EXPECT_EQ(refused->severity, level::warn);
  EXPECT_NE(refused->message.find("101"), std::string::npos);
  EXPECT_NE(out.notice("no route to host"), nullptr);
}

TEST_F(virtual_machines, disks_of_guests_that_have_none_to_count) {
  guests({qemu(100, {{"maxdisk", 0}}), qemu(101), qemu(102, {{"maxdisk", 0}})});
  config("pve1/qemu/100", {{"ide2", "none,media=cdrom"}});
  config("pve1/qemu/101", {{"ide2", "none,media=cdrom"}});        // network boot, but the cluster reports one
  config("pve1/qemu/102", {{"scsi0", "/dev/disk/by-id/ata-X"}});  // passthrough: no size
  auto const out = collect();
  EXPECT_FALSE(out.find(kind, guest_key(100))->fields.contains("disk"));
  EXPECT_EQ(out.find(kind, guest_key(101))->fields.at("disk"), 32768);
  EXPECT_FALSE(out.find(kind, guest_key(102))->fields.contains("disk"));
}

TEST_F(virtual_machines, numbers_may_be_text_or_absent) {
  guests({{{"type", "qemu"},
           {"vmid", "100"},
           {"node", "pve1"},
           {"status", "running"},
           {"maxcpu", "2"},
           {"maxmem", "1073741824"},
           {"template", ""}},
          qemu(101, {{"maxcpu", 0}, {"maxmem", 0}, {"maxdisk", 0}})});
  config("pve1/qemu/100", {{"memory", 512}, {"name", "from-config"}});
  config("pve1/qemu/101", json::object());
  auto const out = collect();
  auto const& fields = out.find(kind, guest_key(100))->fields;
  EXPECT_EQ(fields.at("vcpus"), 2);
  EXPECT_EQ(fields.at("memory"), 1024);
  EXPECT_EQ(fields.at("name"), "from-config");
  auto const& zero = out.find(kind, guest_key(101))->fields;
  EXPECT_FALSE(zero.contains("vcpus") || zero.contains("memory") || zero.contains("disk"));
}

TEST_F(virtual_machines, templates_unless_told_otherwise) {
  guests({qemu(100), qemu(900, {{"template", 1}}), qemu(901, {{"template", "1"}})});
  config("pve1/qemu/100", json::object());
  config("pve1/qemu/900", json::object());
  config("pve1/qemu/901", json::object());
  EXPECT_EQ(collect().emitted(kind).size(), 3U);
  EXPECT_EQ(collect({{"include_templates", false}}).emitted(kind).size(), 1U);
}

TEST_F(virtual_machines, tags_of_all_versions) {
  guests({qemu(1, {{"tags", " "}}), qemu(2), qemu(3), qemu(4, {{"tags", "stale"}})});
  config("pve1/qemu/1", {{"tags", " "}});
  config("pve1/qemu/2", {{"tags", "b,a"}});
  config("pve1/qemu/3", {{"tags", "weir;b;B"}});
  config("pve1/qemu/4", json::object());  // the configuration is newer than the cluster's list
  auto const out = collect();
  auto const fields = [&](int i) { return out.find(kind, guest_key(i))->fields; };
  EXPECT_EQ(fields(1).at("tags"), json::array({"weir"}));
  EXPECT_TRUE(fields(1).at("custom_fields").at("proxmox_tags").is_null());
  EXPECT_EQ(fields(2).at("custom_fields").at("proxmox_tags"), "a;b");
  // weir's own tag never counts as one of Proxmox VE's, or the next run could take it away.
  EXPECT_EQ(fields(3).at("tags"), json::array({"weir", "b"}));
  EXPECT_EQ(fields(3).at("custom_fields").at("proxmox_tags"), "b");
  EXPECT_EQ(fields(4).at("tags"), json::array({"weir"}));
  EXPECT_EQ(out.emitted("extras.tag").size(), 3U);  // weir, a, b
}

TEST_F(virtual_machines, tags_keep_the_colours_they_have_in_proxmox) {
  guests({qemu(1, {{"tags", "prod;dev"}})});
  config("pve1/qemu/1", {{"tags", "prod;dev"}});
  h.answer_data("/cluster/options", {{"tag-style", "case-sensitive=1,color-map=prod:FF0000:ffffff;bad:xyz"}});
  auto const out = collect();
  EXPECT_EQ(out.find("extras.tag", slug("prod"))->fields.at("color"), "ff0000");
  EXPECT_EQ(out.find("extras.tag", slug("dev"))->fields.at("color").get<std::string>().size(), 6U);
}

TEST_F(virtual_machines, names_that_netbox_would_refuse) {
  std::string const longest(64, 'n');
  guests({qemu(100, {{"name", "Web"}}), qemu(101, {{"name", "web"}}), qemu(102, {{"name", longest + "é"}}),
          qemu(103, {{"name", longest}})});
  for (int i = 100; i <= 103; ++i) config("pve1/qemu/" + std::to_string(i), json::object());
  auto const out = collect();
  auto const name = [&](int i) { return out.find(kind, guest_key(i))->fields.at("name").get<std::string>(); };
  EXPECT_EQ(name(100), "Web");
  EXPECT_EQ(name(101), "web (101)");
  EXPECT_EQ(name(102), longest);
  EXPECT_EQ(name(103), std::string(58, 'n') + " (103)");
  EXPECT_NE(out.notice("64 characters"), nullptr);
  EXPECT_NE(out.notice("web (101)"), nullptr);
}

TEST_F(virtual_machines, long_notes_are_cut_between_characters) {
  std::string notes;
  for (int i = 0; i < 201; ++i) notes += "€";
  guests({qemu(100)});
  config("pve1/qemu/100", {{"description", notes}});
  EXPECT_EQ(collect().find(kind, guest_key(100))->fields.at("description"), notes.substr(0, 600));
}

TEST_F(virtual_machines, a_migrating_guest_is_one_guest) {
  guests({qemu(100), qemu(100, {{"node", "pve2"}})});
  config("pve1/qemu/100", json::object());
  EXPECT_EQ(collect().emitted(kind).size(), 1U);
}

TEST_F(virtual_machines, no_guests_but_all_rights_is_a_fact) {
  guests({});
  EXPECT_TRUE(collect().complete(kind, source_scope()));
}

TEST_F(virtual_machines, no_guests_and_doubtful_rights_is_none) {
  for (auto const* rights :
       {R"({"data":{}})", R"({"data":{"/":{"Sys.Audit":1}}})", R"({"data":{"/vms":{"VM.Audit":0}}})",
        R"({"data":{"/vms":{"VM.Audit":1},"/vms/100":{"VM.Console":1}}})"}) {
    guests({});
    h.answer("/access/permissions", rights);
    auto const out = collect();
    EXPECT_TRUE(out.ok() && out.completes.empty()) << rights;
    EXPECT_NE(out.notice("VM.Audit"), nullptr) << rights;
  }
  h.answer("/access/permissions", R"({"data":{"/":{"VM.Audit":1}}})");
  EXPECT_TRUE(collect().complete(kind, source_scope()));
}

TEST_F(virtual_machines, rights_that_cannot_be_read_make_nothing_gone) {
  guests({qemu(100)});
  config("pve1/qemu/100", json::object());
  h.refuse("/access/permissions", 500, "got timeout");
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.completes.empty());
  EXPECT_NE(out.notice("got timeout"), nullptr);
}

TEST_F(virtual_machines, a_list_without_nodes_or_quorum_makes_nothing_gone) {
  h.answer_data("/cluster/resources", json::array({qemu(100)}));
  config("pve1/qemu/100", json::object());
  EXPECT_TRUE(collect().completes.empty());
  guests({qemu(100)});
  h.answer_data("/cluster/status", two_nodes(1, 0));
  EXPECT_TRUE(collect().completes.empty());
}

TEST_F(virtual_machines, a_row_without_a_number_makes_nothing_gone) {
  guests({qemu(100), {{"type", "qemu"}, {"id", "qemu/x"}, {"node", "pve1"}}});
  config("pve1/qemu/100", json::object());
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.completes.empty());
  ASSERT_NE(out.notice("qemu/x"), nullptr);
  EXPECT_EQ(out.notice("qemu/x")->severity, level::error);
}

TEST_F(virtual_machines, an_unreadable_list_fails_the_stage) {
  h.answer("/cluster/resources", R"({"data":[{"type":"qemu","vmid":100},)");
  auto out = collect();
  EXPECT_EQ(out.status, WEIR_E_SOURCE);
  EXPECT_TRUE(out.objects.empty() && out.completes.empty());
  h.answer("/cluster/resources", R"({"data":null})");
  EXPECT_EQ(collect().status, WEIR_E_SOURCE);
  h.answer("/cluster/resources", "<html>");
  EXPECT_NE(collect().message.find("web page"), std::string::npos);
}

TEST_F(virtual_machines, stops_wherever_the_run_is_stopped) {
  guests({qemu(100, {{"tags", "a"}}), qemu(101)});
  config("pve1/qemu/100", {{"tags", "a"}});
  config("pve1/qemu/101", json::object());
  auto const calls = collect().calls;
  for (std::uint64_t n = 0; n < calls; ++n) {
    h.cancel_after(n);
    auto const out = collect();
    EXPECT_EQ(out.status, WEIR_CANCELLED) << n;
    EXPECT_TRUE(out.completes.empty());
  }
}

}  // namespace
