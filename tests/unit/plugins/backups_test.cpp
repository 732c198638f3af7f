#include <gtest/gtest.h>

#include "loaded.hpp"

namespace {
using namespace shipped;

constexpr char const* kind = "netbox_proxbox.vmbackup";

json scope(std::string const& storage) { return {{"custom_fields.proxmox_source", "pve-a"}, {"storage", storage}}; }
json key(int vmid, std::string const& volid) { return {{"virtual_machine", guest_key(vmid)}, {"volume_id", volid}}; }
std::string content(std::string const& node, std::string const& storage) {
  return "/nodes/" + node + "/storage/" + storage + "/content?content=backup";
}
std::string vzdump(std::string const& storage, int vmid) {
  return storage + ":backup/vzdump-qemu-" + std::to_string(vmid) + "-2026_04_29-01_00_00.vma.zst";
}
json file(std::string const& volid, int vmid, json const& more = json::object()) {
  json row{{"volid", volid},      {"vmid", vmid},        {"ctime", 1777424400}, {"size", 1073741824},
           {"format", "vma.zst"}, {"content", "backup"}, {"subtype", "qemu"}};
  row.update(more);
  return row;
}

class backups : public testing::Test {
 protected:
  backups() {
    nodes({{"pve1", "online"}, {"pve2", "online"}});
    rights({{"/storage", {{"Datastore.Allocate", 1}}}});
  }
  void nodes(std::map<std::string, std::string> const& status, json const& more = json::array()) {
    json rows = json::array();
    for (auto const& [name, is] : status) rows.push_back({{"type", "node"}, {"node", name}, {"status", is}});
    for (auto const& row : more) rows.push_back(row);
    h.answer_data("/cluster/resources", rows);
  }
  void storages(std::initializer_list<json> rows) { h.answer_data("/storage", json::array_t(rows)); }
  void rights(json const& map) { h.answer_data("/access/permissions", map); }
  void files(std::string const& node, std::string const& storage, std::initializer_list<json> rows) {
    h.answer_data(content(node, storage), json::array_t(rows));
  }
  outcome collect() {
    auto out = h.run(stage("backups"));
    EXPECT_TRUE(out.violations.empty()) << out.text();
    return out;
  }
  json const nfs{{"storage", "nfs"}, {"type", "nfs"}, {"content", "images,backup"}, {"shared", 1}};
  json const local{{"storage", "local"}, {"type", "dir"}, {"content", "iso,backup"}, {"shared", 0}};
  host h;
};

TEST_F(backups, all_fields_of_a_dump) {
  storages({nfs});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100, {{"notes", "web"}})});
  auto const out = collect();
  ASSERT_TRUE(out.ok()) << out.text();
  auto const* b = out.find(kind, key(100, vzdump("nfs", 100)));
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->fields,
            json::parse(R"({"storage":"nfs","subtype":"qemu","format":"zst","creation_time":"2026-04-29T01:00:00Z",
    "size":1073741824,"notes":"web","vmid":100,"used":null,"encrypted":"","verification_state":null,
    "verification_upid":null,"custom_fields":{"proxmox_source":"pve-a"}})"));
  EXPECT_EQ(out.completes.size(), 1U);
  EXPECT_TRUE(out.complete(kind, scope("nfs")));
  auto const* field = out.find("extras.customfield", {{"name", "proxmox_source"}});
  EXPECT_EQ(field->fields.at("object_types"), json::array({kind}));
}

TEST_F(backups, all_fields_of_a_backup_server) {
  storages({{{"storage", "pbs"}, {"type", "pbs"}, {"content", "backup"}}});  // no "shared": the type tells
  files("pve1", "pbs",
        {{{"volid", "pbs:backup/ct/101/2026-04-29T01:00:00Z"},
          {"vmid", "101"},
          {"size", 5},
          {"format", "pbs-ct"},
          {"encrypted", "aa:bb"},
          {"verification", {{"state", "ok"}, {"upid", "UPID:x"}}},
          {"used", 3}}});
  auto const out = collect();
  auto const* b = out.find(kind, key(101, "pbs:backup/ct/101/2026-04-29T01:00:00Z"));
  ASSERT_NE(b, nullptr) << out.text();
  // Neither subtype nor ctime: the volid tells both, of this server in UTC.
  EXPECT_EQ(b->fields,
            json::parse(R"({"storage":"pbs","subtype":"lxc","format":"pbs-ct","creation_time":"2026-04-29T01:00:00Z",
    "size":5,"notes":null,"vmid":101,"used":3,"encrypted":"aa:bb","verification_state":"ok","verification_upid":"UPID:x",
    "custom_fields":{"proxmox_source":"pve-a"}})"));
}

TEST_F(backups, a_dump_without_ctime_has_no_time_rather_than_a_wrong_one) {
  storages({nfs});
  auto row = file(vzdump("nfs", 100), 100);
  row.erase("ctime");
  files("pve1", "nfs", {row});
  EXPECT_FALSE(collect().find(kind, key(100, vzdump("nfs", 100)))->fields.contains("creation_time"));
}

TEST_F(backups, a_shared_storage_is_listed_once) {
  storages({nfs});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100)});
  auto const out = collect();
  EXPECT_EQ(out.times_fetched(content("pve1", "nfs")), 1U);
  EXPECT_EQ(out.times_fetched(content("pve2", "nfs")), 0U);
}

TEST_F(backups, a_shared_storage_is_asked_for_where_it_is) {
  nodes({{"pve1", "offline"}, {"pve2", "online"}, {"pve3", "online"}},
        json::array(
            {{{"type", "storage"}, {"storage", "nfs"}, {"node", "pve2"}, {"status", "unknown"}, {"shared", 1}},
             {{"type", "storage"}, {"storage", "nfs"}, {"node", "pve3"}, {"status", "available"}, {"shared", 1}}}));
  storages({nfs});
  files("pve3", "nfs", {});
  auto const out = collect();
  EXPECT_EQ(out.times_fetched(content("pve3", "nfs")), 1U);
  EXPECT_TRUE(out.complete(kind, scope("nfs"))) << out.text();
}

TEST_F(backups, a_shared_storage_is_tried_on_a_second_node) {
  storages({nfs});
  h.refuse(content("pve1", "nfs"), 596, "connection timed out");
  files("pve2", "nfs", {file(vzdump("nfs", 100), 100)});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.complete(kind, scope("nfs")));
  EXPECT_TRUE(out.notices.empty()) << out.text();
}

TEST_F(backups, a_local_storage_is_listed_on_each_node) {
  storages({local});
  files("pve1", "local", {file(vzdump("local", 100), 100), file(vzdump("local", 101), 101)});
  // A copy of one file on the other node has the same volid: one object, not two.
  files("pve2", "local", {file(vzdump("local", 100), 100, {{"size", 7}}), file(vzdump("local", 102), 102)});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 3U);
  EXPECT_TRUE(out.complete(kind, scope("local")));
}

TEST_F(backups, a_local_storage_on_a_node_that_is_down_loses_nothing) {
  nodes({{"pve1", "online"}, {"pve2", "offline"}});
  storages({local, nfs});
  files("pve1", "local", {file(vzdump("local", 100), 100)});
  files("pve1", "nfs", {});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_FALSE(out.complete(kind, scope("local")));
  EXPECT_TRUE(out.complete(kind, scope("nfs")));
  auto const* said = out.notice("storage local");
  ASSERT_NE(said, nullptr);
  EXPECT_EQ(said->severity, level::warn);
  EXPECT_NE(said->message.find("pve2"), std::string::npos);
}

TEST_F(backups, a_local_storage_with_one_failed_list_loses_nothing) {
  storages({local});
  files("pve1", "local", {file(vzdump("local", 100), 100)});
  h.refuse(content("pve2", "local"), 500, "storage 'local' is not online");
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.completes.empty());
}

TEST_F(backups, a_storage_that_fails_does_not_stop_the_others) {
  storages({nfs, {{"storage", "bad"}, {"type", "cifs"}, {"content", "backup"}, {"nodes", "pve1"}}});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100)});
  h.refuse(content("pve1", "bad"), 500, "storage 'bad' is not online");
  auto const out = collect();
  EXPECT_EQ(out.status, WEIR_OK);
  EXPECT_TRUE(out.complete(kind, scope("nfs")));
  EXPECT_FALSE(out.complete(kind, scope("bad")));
  auto const* said = out.notice("storage bad on node pve1");
  ASSERT_NE(said, nullptr) << out.text();
  EXPECT_EQ(said->severity, level::error);
  EXPECT_NE(said->message.find("is not online"), std::string::npos);
  EXPECT_NE(said->message.find("left alone"), std::string::npos);
}

TEST_F(backups, a_cut_list_is_no_list) {
  storages({{{"storage", "nfs"}, {"type", "nfs"}, {"content", "backup"}, {"nodes", "pve1"}}});
  h.answer(content("pve1", "nfs"), R"({"data":[{"volid":"nfs:backup/vzdump-qemu-100-)");
  auto const out = collect();
  EXPECT_TRUE(out.emitted(kind).empty() && out.completes.empty());
  EXPECT_EQ(out.notice("truncated?")->severity, level::error);
}

TEST_F(backups, restrictions_are_whole_names) {
  nodes({{"pve1", "online"}, {"pve11", "online"}});
  storages({{{"storage", "local"}, {"type", "dir"}, {"content", "backup"}, {"nodes", "pve11,gone"}}});
  files("pve11", "local", {});
  auto const out = collect();
  EXPECT_EQ(out.times_fetched(content("pve1", "local")), 0U);
  EXPECT_TRUE(out.complete(kind, scope("local"))) << out.text();
}

TEST_F(backups, what_is_no_storage_of_backups) {
  storages({{{"storage", "a"}, {"type", "dir"}, {"content", "iso,backups"}},
            {{"storage", "b"}, {"type", "nfs"}, {"content", "backup"}, {"disable", 1}},
            {{"storage", "c"}, {"type", "dir"}, {"content", "backup"}, {"nodes", "gone"}},
            {{"storage", "d"}, {"type", "lvm"}}});
  auto const out = collect();
  EXPECT_EQ(out.fetched, (std::vector<std::string>{"/storage", "/cluster/resources"}));
  EXPECT_TRUE(out.ok() && out.completes.empty());
}

TEST_F(backups, an_empty_list_without_the_right_to_see_deletes_nothing) {
  struct doubtful {
    char const *rights, *lacks;
  };
  for (auto const& [map, lacks] : {
           doubtful{R"({"/storage":{"Datastore.Audit":1}})", "Datastore.Allocate on /storage/nfs"},
           doubtful{R"({})", "Datastore.AllocateSpace there and VM.Backup on /vms"},
           doubtful{R"({"/storage":{"Datastore.AllocateSpace":1},"/vms":{"VM.Audit":1}})", "VM.Backup on /vms"},
           doubtful{R"({"/storage":{"Datastore.Audit":1},"/vms":{"VM.Backup":1}})", "Datastore.AllocateSpace"},
           // an entry at the storage itself replaces what /storage gives
           doubtful{R"({"/storage":{"Datastore.Allocate":1},"/storage/nfs":{"Datastore.Audit":1}})",
                    "Datastore.Allocate"},
           // held on /storage itself, but not passed on
           doubtful{R"({"/storage":{"Datastore.Allocate":0}})", "Datastore.Allocate"},
           // one guest's backups are hidden
           doubtful{R"({"/storage":{"Datastore.AllocateSpace":1},"/vms":{"VM.Backup":1},"/vms/100":{"VM.Audit":1}})",
                    "VM.Backup"},
       }) {
    rights(json::parse(map));
    storages({nfs});
    files("pve1", "nfs", {});
    auto const out = collect();
    EXPECT_TRUE(out.ok()) << map;
    EXPECT_TRUE(out.completes.empty()) << map;
    auto const* said = out.notice("storage nfs");
    ASSERT_NE(said, nullptr) << map;
    EXPECT_EQ(said->severity, level::warn) << map;
    EXPECT_NE(said->message.find(lacks), std::string::npos) << map << " " << said->message;
    EXPECT_NE(said->message.find("left alone"), std::string::npos) << map;
    EXPECT_FALSE(said->hint.empty());
  }
}

TEST_F(backups, an_empty_list_with_the_right_to_see_is_a_fact) {
  for (auto const* map : {R"({"/":{"Datastore.Allocate":1}})", R"({"/storage":{"Datastore.Allocate":1}})",
                          R"({"/storage/nfs":{"Datastore.Allocate":0}})",
                          R"({"/storage/nfs":{"Datastore.AllocateSpace":1},"/vms":{"VM.Backup":1}})",
                          R"({"/":{"Datastore.AllocateSpace":1,"VM.Backup":1}})"}) {
    rights(json::parse(map));
    storages({nfs});
    files("pve1", "nfs", {});
    auto const out = collect();
    EXPECT_TRUE(out.complete(kind, scope("nfs"))) << map << out.text();
    EXPECT_TRUE(out.notices.empty()) << map;
  }
}

TEST_F(backups, rights_that_cannot_be_read_delete_nothing) {
  h.refuse("/access/permissions", 501, "not implemented");
  storages({nfs});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100)});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.completes.empty());
  EXPECT_NE(out.notice("not implemented"), nullptr);
}

TEST_F(backups, a_refused_list_names_the_right) {
  storages({nfs});
  h.refuse(content("pve1", "nfs"), 403, "Permission check failed");
  auto const out = collect();
  EXPECT_TRUE(out.completes.empty());
  auto const* said = out.notice("Datastore.Audit");
  ASSERT_NE(said, nullptr);
  EXPECT_EQ(said->severity, level::warn);
  EXPECT_EQ(out.times_fetched(content("pve2", "nfs")), 0U);  // another node would refuse it as well
}

TEST_F(backups, no_storage_at_all_is_a_question_of_rights) {
  storages({});
  auto const out = collect();
  EXPECT_TRUE(out.completes.empty());
  EXPECT_EQ(out.notice("/storage")->severity, level::warn);
}

TEST_F(backups, formats_without_a_choice_are_said_once) {
  storages({nfs});
  auto const named = [](int vmid, std::string const& ending) {
    return json{{"volid", "nfs:backup/vzdump-qemu-" + std::to_string(vmid) + "-2026_04_29-01_00_00." + ending},
                {"vmid", vmid},
                {"ctime", 1777424400},
                {"size", 1},
                {"format", ending}};
  };
  files("pve1", "nfs", {named(1, "vma.lzo"), named(2, "vma.lzo"), named(3, "vma.new"), named(4, "vma.zst")});
  auto const out = collect();
  ASSERT_EQ(out.emitted(kind).size(), 4U);
  EXPECT_EQ(out.notices.size(), 2U) << out.text();
  auto const* said = out.notice("2 backups written with the format 'undefined'");
  ASSERT_NE(said, nullptr) << out.text();
  EXPECT_EQ(said->severity, level::info);
  EXPECT_NE(said->message.find("vma.lzo 2"), std::string::npos) << said->message;
  EXPECT_EQ(out.notice("1 backup of the format 'vma.new'")->severity, level::warn);
  EXPECT_EQ(out.emitted(kind).at(2)->fields.at("format"), "undefined");
}

TEST_F(backups, what_netbox_will_refuse_is_left_to_it_to_name) {
  storages({nfs});
  std::string const volid = "nfs:backup/vzdump-qemu-1-2026_04_29-01_00_00." + std::string(250, 'x');
  files("pve1", "nfs", {{{"volid", volid}, {"vmid", 1}, {"ctime", 1777424400}, {"size", 1}, {"format", "vma.zst"}}});
  EXPECT_EQ(collect().emitted(kind).size(), 1U);
}

TEST_F(backups, files_of_no_guest_are_counted) {
  storages({nfs});
  files("pve1", "nfs",
        {{{"volid", "nfs:backup/other.tar"}, {"ctime", 1}, {"size", 1}, {"format", "tar"}},
         file(vzdump("nfs", 7), 7, {{"vmid", nullptr}}),
         file("nfs:iso/x.iso", 9, {{"content", "iso"}})});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);  // the second: its name tells the guest
  EXPECT_NE(out.notice("1 backup left out"), nullptr);
  EXPECT_TRUE(out.complete(kind, scope("nfs")));
}

TEST_F(backups, a_row_that_is_not_understood_makes_nothing_gone) {
  storages({nfs});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100), {{"vmid", 101}, {"ctime", 1}}});
  auto const out = collect();
  EXPECT_EQ(out.emitted(kind).size(), 1U);
  EXPECT_TRUE(out.completes.empty());
}

TEST_F(backups, old_rows_lack_the_subtype) {
  storages({nfs});
  auto qemu = file(vzdump("nfs", 1), 1);
  auto lxc = file("nfs:backup/vzdump-lxc-2-2026_04_29-01_00_00.tar.zst", 2);
  auto strange = file("nfs:backup/mine.vma.zst", 3);
  for (auto* row : {&qemu, &lxc, &strange}) row->erase("subtype");
  lxc.erase("format");
  files("pve1", "nfs", {qemu, lxc, strange});
  auto const out = collect();
  EXPECT_EQ(out.find(kind, key(1, vzdump("nfs", 1)))->fields.at("subtype"), "qemu");
  auto const* of_lxc = out.find(kind, key(2, "nfs:backup/vzdump-lxc-2-2026_04_29-01_00_00.tar.zst"));
  EXPECT_EQ(of_lxc->fields.at("subtype"), "lxc");
  EXPECT_EQ(of_lxc->fields.at("format"), "tzst");
  EXPECT_EQ(out.find(kind, key(3, "nfs:backup/mine.vma.zst"))->fields.at("subtype"), "undefined");
}

TEST_F(backups, odd_storage_names_are_encoded) {
  storages({{{"storage", "b ü/x"}, {"type", "nfs"}, {"content", "backup"}}});
  h.answer_data("/nodes/pve1/storage/b%20%C3%BC%2Fx/content?content=backup", json::array());
  EXPECT_TRUE(collect().complete(kind, scope("b ü/x")));
}

TEST_F(backups, without_nodes_the_stage_fails) {
  nodes({});
  storages({nfs});
  EXPECT_EQ(collect().status, WEIR_E_SOURCE);
}

TEST_F(backups, stops_wherever_the_run_is_stopped) {
  storages({nfs, local});
  files("pve1", "nfs", {file(vzdump("nfs", 100), 100)});
  files("pve1", "local", {file(vzdump("local", 100), 100)});
  files("pve2", "local", {});
  auto const calls = collect().calls;
  for (std::uint64_t n = 0; n < calls; ++n) {
    h.cancel_after(n);
    EXPECT_EQ(collect().status, WEIR_CANCELLED) << n;
  }
}

}  // namespace
