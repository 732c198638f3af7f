// The inverse of a run: from what the journal has of it, and what NetBox holds now.
#include "core/engine/undo.hpp"

#include <gtest/gtest.h>

#include "core/engine/apply.hpp"
#include "core/engine/journal_memory.hpp"
#include "core/netbox/value.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;
using namespace std::chrono_literals;

constexpr auto vms = "virtualization.virtualmachine", clusters = "virtualization.cluster", tags = "extras.tag",
               custom_fields = "extras.customfield", backups = "netbox_proxbox.vmbackup";
store::instant const noon{std::chrono::seconds(1'795'348'800)};  // 2026-11-22T12:00:00Z

struct told : memory {
  std::map<std::pair<std::string, object_id>, known_object> all;
  std::optional<known_object> of(netbox::kind const& k, object_id id) override {
    auto const found = all.find({k.name, id});
    return found == all.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<object_id> find(netbox::kind const&, std::string const&) override { return {}; }
  void note(netbox::kind const&, object_id, known_object const&) override {}
};

json tag(int id, std::string const& slug) {
  return {{"id", id}, {"url", "https://netbox.example/api/extras/tags/" + std::to_string(id) + "/"}, {"slug", slug}};
}
json cluster_ref(int id) {
  return {{"id", id}, {"url", "https://netbox.example/api/virtualization/clusters/" + std::to_string(id) + "/"}};
}

// A guest as NetBox answers it, whole.
json whole_vm(int id, std::string const& name, json extra = json::object()) {
  json out = vm(id, name, 101);
  out.update({{"url", "https://netbox.example/api/virtualization/virtual-machines/" + std::to_string(id) + "/"},
              {"display", name},
              {"cluster", cluster_ref(7)},
              {"tags", {tag(1, "weir")}},
              {"tenant", nullptr},
              {"comments", ""},
              {"interface_count", 0},
              {"virtual_disk_count", 0},
              {"created", "2026-11-22T11:59:00.000000Z"},
              {"last_updated", "2026-11-22T11:59:59.000000Z"}});
  out.update(extra);
  return out;
}

json made_vm(std::string const& name) {
  return {{"name", name},
          {"status", "active"},
          {"cluster", 7},
          {"vcpus", 2},
          {"memory", 2048},
          {"tags", {"weir"}},
          {"custom_fields", {{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 101}, {"proxmox_tags", ""}}}};
}

struct undo_lab : lab, ::testing::Test {
  told known;
  inversion back{w, known};

  void did(std::string const& kind_name, std::string const& action, object_id id, json const& before, json const& after,
           std::string const& stage = "virtual-machines", std::string const& known_before = "") {
    store::object_record o;
    o.action = action;
    o.label = kind_name.substr(kind_name.find('.') + 1) + "-" + std::to_string(id);
    o.netbox_id = id;
    o.before = before.is_null() ? "" : before.dump();
    o.after = after.is_null() ? "" : after.dump();
    o.known_before = known_before;
    back.did(kind(kind_name), "pve-a", stage, noon, std::move(o));
  }
  // As it comes off the wire.
  void is(std::string const& kind_name, json const& raw) { back.holds(kind(kind_name), json::parse(raw.dump())); }

  // "delete virtualmachine-1; keep …", one word per decision, in the order in which it would be carried out.
  std::vector<std::string> decided() {
    std::vector<std::string> out;
    jobs = back.plan();
    for (auto const& j : jobs)
      for (auto const& p : j.plans) {
        for (auto const* list : {&p.updates, &p.creates, &p.deletes})
          for (auto const& c : *list) {
            EXPECT_EQ(c.why, reason::undone);
            out.push_back(std::string(name(c.what)) + " " + c.label);
          }
        for (auto const& k : p.kept) out.push_back("keep " + k.label + ": " + k.detail);
        for (auto const& e : p.edits) out.push_back("edited " + e.label + " " + e.field + " " + e.held);
        for (auto const& f : p.failures) out.push_back("fail " + f.label + ": " + f.message);
        for (std::size_t i = 0; i < p.unchanged; ++i) out.push_back("unchanged");
      }
    return out;
  }
  change const& only() {
    static change const none;
    change const* found = nullptr;
    std::size_t n = 0;
    for (auto const& j : jobs)
      for (auto const& p : j.plans)
        for (auto const* list : {&p.updates, &p.creates, &p.deletes})
          for (auto const& c : *list) found = &c, ++n;
    EXPECT_EQ(n, 1u);
    return found ? *found : none;
  }
  std::vector<job_report> jobs;
};
using words_of = std::vector<std::string>;

TEST_F(undo_lab, what_was_made_is_deleted_children_first) {
  did(clusters, "create", 7, {}, {{"name", "pve-a"}});
  did(vms, "create", 1, {}, made_vm("web"));
  did(backups, "create", 5, {}, {{"volume_id", "v"}, {"virtual_machine", 1}}, "backups");
  is(clusters, {{"id", 7}, {"name", "pve-a"}, {"virtualmachine_count", 1}, {"device_count", 0}});
  is(vms, whole_vm(1, "web"));
  is(backups, {{"id", 5}, {"volume_id", "v"}, {"virtual_machine", {{"id", 1}}}});
  EXPECT_EQ(decided(), (words_of{"delete vmbackup-5", "delete virtualmachine-1", "delete cluster-7"}));
  ASSERT_EQ(jobs.size(), 2u);
  EXPECT_EQ(jobs[0].stage, "backups");
  EXPECT_EQ(jobs[1].stage, "virtual-machines");
}

TEST_F(undo_lab, what_a_person_changed_stays_and_so_does_what_it_needs) {
  did(custom_fields, "create", 3, {}, {{"name", "proxmox_source"}});
  did(custom_fields, "create", 4, {}, {{"name", "proxmox_unused"}});
  did(tags, "create", 1, {}, {{"slug", "weir"}});
  did(clusters, "create", 7, {}, {{"name", "pve-a"}});
  did(vms, "create", 1, {}, made_vm("web"));
  did(vms, "create", 2, {}, made_vm("db"));
  is(custom_fields, {{"id", 3}, {"name", "proxmox_source"}});
  is(custom_fields, {{"id", 4}, {"name", "proxmox_unused"}});
  is(tags, {{"id", 1}, {"slug", "weir"}, {"tagged_items", 2}});
  is(clusters, {{"id", 7}, {"name", "pve-a"}, {"virtualmachine_count", 2}});
  is(vms, whole_vm(1, "web", {{"memory", 4096}}));
  is(vms, whole_vm(2, "db"));
  EXPECT_EQ(decided(), (words_of{"delete virtualmachine-2", "keep virtualmachine-1: changed since: memory",
                                 "keep cluster-7: what stays refers to it", "keep tag-1: what stays refers to it",
                                 "delete customfield-4", "keep customfield-3: what stays has a value in it"}));
}

TEST_F(undo_lab, additions_by_others_are_changes) {
  // In a field that weir never wrote: NetBox's own date tells.
  did(vms, "create", 1, {}, made_vm("web"));
  is(vms, whole_vm(1, "web", {{"comments", "mine"}, {"last_updated", "2026-11-22T15:00:00.000000Z"}}));
  // An interface of its own, which would be lost with it.
  did(vms, "create", 2, {}, made_vm("db"));
  is(vms, whole_vm(2, "db", {{"interface_count", 2}}));
  // A tag.
  did(vms, "create", 3, {}, made_vm("mail"));
  is(vms, whole_vm(3, "mail", {{"tags", {tag(1, "weir"), tag(2, "prod")}}}));
  EXPECT_EQ(decided(), (words_of{"keep virtualmachine-3: changed since: tags",
                                 "keep virtualmachine-2: 2 interfaces that this run did not make belong to it",
                                 "keep virtualmachine-1: changed by others at 2026-11-22T15:00:00Z"}));
}

// The run's own backups go with the guest; that there are some says nothing of its interfaces.
TEST_F(undo_lab, what_the_run_made_does_not_stand_for_what_others_made) {
  did(vms, "create", 2, {}, made_vm("db"));
  did(backups, "create", 5, {}, {{"volume_id", "v"}, {"virtual_machine", 2}}, "backups");
  is(vms, whole_vm(2, "db", {{"interface_count", 1}}));
  is(backups,
     {{"id", 5},
      {"volume_id", "v"},
      {"virtual_machine", {{"id", 2}, {"url", "https://netbox.example/api/virtualization/virtual-machines/2/"}}}});
  EXPECT_EQ(decided(), (words_of{"delete vmbackup-5",
                                 "keep virtualmachine-2: 1 interfaces that this run did not make belong to it"}));
}

TEST_F(undo_lab, a_guest_stays_that_netbox_would_delete_with_backups_of_later_runs) {
  did(vms, "create", 1, {}, made_vm("web"));
  did(vms, "create", 2, {}, made_vm("db"));
  did(backups, "create", 5, {}, {{"virtual_machine", 2}, {"volume_id", "v5"}}, "backups");
  is(vms, whole_vm(1, "web"));
  is(vms, whole_vm(2, "db"));
  is(backups, {{"id", 5}, {"virtual_machine", {{"id", 2}}}, {"volume_id", "v5"}});
  ASSERT_EQ(back.wanted_inside(), std::set{&kind(backups)});
  for (auto const& [id, guest] : {std::pair{5, 2}, std::pair{6, 1}, std::pair{7, 1}})
    back.holds_inside(kind(backups), json{{"id", id}, {"virtual_machine", {{"id", guest}}}, {"volume_id", "v"}});
  EXPECT_EQ(decided(), (words_of{"delete vmbackup-5", "delete virtualmachine-2",
                                 "keep virtualmachine-1: 2 backups that this run did not make belong to it"}));
}

TEST_F(undo_lab, what_weir_itself_wrote_later_is_no_persons_change) {
  did(vms, "create", 1, {}, made_vm("web"));
  is(vms, whole_vm(1, "web", {{"memory", 4096}, {"last_updated", "2026-11-22T18:00:00.000000Z"}}));
  known.all[{vms, 1}] = {"[\"pve-a\",101]", R"({"memory":4096})", {}};
  back.written_later(kind(vms), 1, noon + 6h);
  EXPECT_EQ(decided(), (words_of{"delete virtualmachine-1"}));
}

TEST_F(undo_lab, tags_and_custom_fields_stay_while_later_runs_count_on_them) {
  did(custom_fields, "create", 3, {}, {{"name", "proxmox_source"}});
  did(tags, "create", 1, {}, {{"slug", "weir"}});
  is(custom_fields, {{"id", 3}, {"name", "proxmox_source"}});
  is(tags, {{"id", 1}, {"slug", "weir"}, {"tagged_items", 0}});
  back.later_runs(true);
  EXPECT_EQ(decided(), (words_of{"keep tag-1: later runs use it", "keep customfield-3: later runs use it"}));
}

TEST_F(undo_lab, a_tag_on_what_this_run_did_not_tag_stays) {
  did(tags, "create", 1, {}, {{"slug", "weir"}});
  did(vms, "update", 1, {{"tags", json::array()}}, {{"tags", {"weir"}}});
  is(tags, {{"id", 1}, {"slug", "weir"}, {"tagged_items", 2}});
  is(vms, whole_vm(1, "web"));
  EXPECT_EQ(decided(),
            (words_of{"update virtualmachine-1", "keep tag-1: 1 objects that this run did not make belong to it"}));
}

TEST_F(undo_lab, a_tag_that_this_run_alone_gave_goes) {
  did(tags, "create", 1, {}, {{"slug", "weir"}});
  did(vms, "update", 1, {{"tags", json::array()}}, {{"tags", {"weir"}}});
  is(tags, {{"id", 1}, {"slug", "weir"}, {"tagged_items", 1}});
  is(vms, whole_vm(1, "web"));
  EXPECT_EQ(decided(), (words_of{"update virtualmachine-1", "delete tag-1"}));
}

TEST_F(undo_lab, former_values_come_back_where_nobody_changed_them_since) {
  did(vms, "update", 1,
      {{"memory", 1024}, {"status", "offline"}, {"tags", {"old"}}, {"custom_fields", {{"proxmox_vm_id", nullptr}}}},
      {{"memory", 2048}, {"status", "active"}, {"tags", {"weir"}}, {"custom_fields", {{"proxmox_vm_id", 101}}}});
  is(vms,
     whole_vm(1, "web",
              {{"status", {{"value", "staged"}, {"label", "Staged"}}}, {"tags", {tag(1, "weir"), tag(2, "prod")}}}));
  EXPECT_EQ(decided(), (words_of{"update virtualmachine-1", "edited virtualmachine-1 status staged"}));
  EXPECT_EQ(only().body.unpack(),
            (json{{"memory", 1024}, {"tags", {"old", "prod"}}, {"custom_fields", {{"proxmox_vm_id", nullptr}}}}));
  EXPECT_EQ(only().before.unpack(),
            (json{{"memory", 2048}, {"tags", {"prod", "weir"}}, {"custom_fields", {{"proxmox_vm_id", 101}}}}));
  auto const& plan = jobs[0].plans[0];
  ASSERT_EQ(plan.edits.size(), 1u);
  EXPECT_EQ(plan.edits[0].wanted, "offline");
  EXPECT_EQ(plan.edits[0].object, 1u);
}

TEST_F(undo_lab, twice_is_once) {
  did(vms, "update", 1, {{"memory", 1024}}, {{"memory", 2048}});
  did(vms, "create", 2, {}, made_vm("db"));
  is(vms, whole_vm(1, "web", {{"memory", 1024}}));
  EXPECT_EQ(decided(), (words_of{"unchanged", "unchanged"}));
}

TEST_F(undo_lab, memory_is_what_it_was_before) {
  known.all[{vms, 1}] = {"[\"pve-a\",101]", R"({"memory":2048,"name":"web","vcpus":2})", {}};
  known_object const was{"[\"pve-a\",99]", R"({"memory":1024,"name":"web"})", {}};
  did(vms, "update", 1, {{"memory", 1024}, {"vcpus", 1}}, {{"memory", 2048}, {"vcpus", 2}}, "virtual-machines",
      text_of(was));
  is(vms, whole_vm(1, "web"));
  EXPECT_EQ(decided(), (words_of{"update virtualmachine-1"}));
  EXPECT_EQ(only().applied.unpack(), (json{{"memory", 1024}, {"name", "web"}}));
  EXPECT_EQ(only().key.unpack(), vm_key(99));
}

TEST_F(undo_lab, what_was_adopted_is_forgotten) {
  known.all[{vms, 1}] = {"[\"pve-a\",101]", R"({"memory":2048,"name":"web"})", {}};
  did(vms, "update", 1, {{"custom_fields", {{"proxmox_source", nullptr}, {"proxmox_vm_id", nullptr}}}},
      {{"custom_fields", {{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 101}}}});
  is(vms, whole_vm(1, "web"));
  EXPECT_EQ(decided(), (words_of{"update virtualmachine-1"}));
  EXPECT_EQ(only().applied, "");
}

// Two names that changed places, through a third: each step is one that NetBox accepts.
TEST_F(undo_lab, a_chain_of_names_goes_back_the_way_it_came) {
  did(vms, "update", 1, {{"name", "a"}}, {{"name", "weir-1"}});
  did(vms, "update", 2, {{"name", "b"}}, {{"name", "a"}});
  did(vms, "update", 1, {{"name", "weir-1"}}, {{"name", "b"}});
  is(vms, whole_vm(1, "b"));
  is(vms, whole_vm(2, "a"));
  EXPECT_EQ(decided(), (words_of{"update virtualmachine-1", "update virtualmachine-2", "update virtualmachine-1"}));
  ASSERT_EQ(jobs.size(), 1u);
  ASSERT_EQ(jobs[0].plans.size(), 2u) << "no list names an object twice";
  EXPECT_EQ(jobs[0].plans[1].updates[0].object, 1u);
  EXPECT_EQ(jobs[0].plans[0].updates[0].body.unpack(), (json{{"name", "weir-1"}}));
  EXPECT_EQ(jobs[0].plans[0].updates[1].body.unpack(), (json{{"name", "b"}}));
  EXPECT_EQ(jobs[0].plans[1].updates[0].body.unpack(), (json{{"name", "a"}}));

  apply machine(w, jobs[0].plans, {50, "pve-a", "undo", "0badcafe", 1, false, 1, {}});
  auto first = machine.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->items.size(), 1u) << "the other waits for the name";
  EXPECT_EQ(first->items[0]->object, 1u);
  EXPECT_FALSE(machine.next()) << "what follows waits";
}

TEST_F(undo_lab, what_was_deleted_is_made_anew_from_all_that_it_was) {
  auto const was = whole_vm(1, "web",
                            {{"tenant", {{"id", 9}, {"url", "https://netbox.example/api/tenancy/tenants/9/"}}},
                             {"primary_ip4", {{"id", 77}}},
                             {"config_context", {{"a", 1}}},
                             {"comments", "by hand"},
                             {"device", nullptr}});
  did(vms, "delete", 1, was, {}, "virtual-machines", text_of({"[\"pve-a\",101]", R"({"name":"web"})", {}}));
  EXPECT_TRUE(back.wanted().empty());
  ASSERT_EQ(back.wanted_tables().size(), 1u);
  holds(vms, {});
  EXPECT_EQ(decided(), (words_of{"create virtualmachine-1"}));
  auto const& c = only();
  EXPECT_EQ(c.body.unpack(),
            (json{{"name", "web"},
                  {"status", "active"},
                  {"cluster", 7},
                  {"tenant", 9},
                  {"vcpus", 2},
                  {"memory", 2048},
                  {"comments", "by hand"},
                  {"tags", {"weir"}},
                  {"custom_fields", {{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 101}, {"proxmox_tags", ""}}}}));
  EXPECT_EQ(c.key.unpack(), vm_key(101));
  EXPECT_EQ(c.applied.unpack(), (json{{"name", "web"}}));
  EXPECT_GE(c.object, first_pending);
}

TEST_F(undo_lab, what_was_deleted_together_comes_back_together) {
  did(backups, "delete", 5,
      {{"id", 5}, {"volume_id", "v"}, {"virtual_machine", {{"id", 1}}}, {"size", 0}, {"notes", nullptr}}, {},
      "backups");
  did(vms, "update", 1, {{"memory", 1024}}, {{"memory", 2048}});
  did(vms, "delete", 1, whole_vm(1, "web"), {});
  holds(vms, {});
  holds(backups, {});
  EXPECT_EQ(decided(), (words_of{"create virtualmachine-1", "update virtualmachine-1", "create vmbackup-5"}));
  auto const guest = jobs[0].plans[0].creates[0].object;
  EXPECT_EQ(jobs[0].plans[1].updates[0].object, guest);
  EXPECT_EQ(jobs[1].plans[0].creates[0].body.unpack(),
            (json{{"volume_id", "v"}, {"virtual_machine", guest}, {"size", 0}}));
}

TEST_F(undo_lab, what_has_been_made_anew_is_left_alone) {
  did(vms, "update", 1, {{"memory", 1024}}, {{"memory", 2048}});
  did(vms, "delete", 1, whole_vm(1, "web"), {});
  holds(vms, {vm(12, "web", 101)});
  EXPECT_EQ(decided(), (words_of{"unchanged", "unchanged"}));
}

TEST_F(undo_lab, what_came_and_went_is_nothing) {
  did(vms, "create", 1, {}, made_vm("web"));
  did(vms, "update", 1, {{"memory", 2048}}, {{"memory", 1}});
  did(vms, "delete", 1, whole_vm(1, "web"), {});
  EXPECT_TRUE(back.wanted().empty());
  EXPECT_TRUE(decided().empty());
}

TEST_F(undo_lab, later_changes_of_the_same_run_are_its_own) {
  did(vms, "create", 1, {}, made_vm("web"));
  did(vms, "update", 1, {{"memory", 2048}, {"custom_fields", {{"proxmox_tags", ""}}}},
      {{"memory", 4096}, {"custom_fields", {{"proxmox_tags", "x"}}}}, "other");
  auto now = whole_vm(1, "web", {{"memory", 4096}});
  now["custom_fields"]["proxmox_tags"] = "x";
  is(vms, now);
  EXPECT_EQ(decided(), (words_of{"delete virtualmachine-1"}));
}

TEST_F(undo_lab, an_older_journal_has_not_what_it_takes) {
  did(vms, "create", 1, {}, {});
  did(vms, "update", 2, {}, {});
  did(vms, "delete", 3, {}, {});
  is(vms, whole_vm(1, "web"));
  is(vms, whole_vm(2, "db"));
  holds(vms, {});
  EXPECT_EQ(decided(),
            (words_of{"fail virtualmachine-3: the journal does not hold what it was",
                      "fail virtualmachine-2: the journal of an older weir does not hold what it was before",
                      "keep virtualmachine-1: the journal of an older weir does not hold what it was like"}));
}

TEST_F(undo_lab, what_others_deleted_cannot_be_changed_back) {
  did(vms, "update", 1, {{"memory", 1024}}, {{"memory", 2048}});
  EXPECT_EQ(decided(), (words_of{"fail virtualmachine-1: it is not in NetBox any more"}));
}

}  // namespace
}  // namespace weir::engine
