#include "core/engine/orphans.hpp"

#include <gtest/gtest.h>

#include <map>

#include "core/engine/apply.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;
using namespace std::chrono_literals;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* backups = "netbox_proxbox.vmbackup";
std::vector<std::string> const whole_source{R"({"custom_fields.proxmox_source":"pve-a"})"};
auto const monday = wall_clock::time_point(std::chrono::sys_days(std::chrono::year(2026) / 11 / 23)) + 10h;

class noted final : public memory {
 public:
  std::optional<known_object> of(netbox::kind const& k, object_id id) override {
    auto const found = all.find({k.name, id});
    return found == all.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<object_id> find(netbox::kind const&, std::string const&) override { return {}; }
  void note(netbox::kind const& k, object_id id, known_object const& what) override {
    all[{k.name, id}] = what;
    ++notes;
  }
  std::map<std::pair<std::string, object_id>, known_object> all;
  std::size_t notes = 0;
};

// A cluster with the guests 101 to 100 + n, all in NetBox as #1 to #n.
struct source : lab {
  noted kept;
  std::vector<json> rows;
  explicit source(int n, std::function<void(netbox::kind_policy&)> const& policy = {}) {
    netbox::kind_policy said;
    if (policy) policy(said);
    kinds.apply(vms, said).value();
    remembered = &kept;
    rules.now = monday;
    for (int i = 1; i <= n; ++i) rows.push_back(vm(i, "guest-" + std::to_string(i), 100 + i));
  }
  // The source shows the guests from..to (by row's number) and says that these are all.
  kind_plan shows(int from, int to) {
    holds("virtualization.cluster", {cluster(7)});
    holds(vms, rows);
    std::vector<desired> wanted;
    for (int i = from; i <= to; ++i) wanted.push_back(guest(100 + i, "guest-" + std::to_string(i)));
    return diff(vms, wanted, whole_source);
  }
  void marked(std::size_t at, std::string const& since = "2026-11-20") {
    auto& r = rows[at];
    r["status"] = {{"value", "decommissioning"}, {"label", "Decommissioning"}};
    r["tags"].push_back({{"id", 9}, {"slug", "weir-gone"}});
    r["custom_fields"]["proxmox_gone_since"] = since;
  }
};

std::vector<std::string> labels(std::vector<change> const& changes) {
  std::vector<std::string> out;
  for (auto const& c : changes) out.push_back(c.label);
  return out;
}

TEST(orphans, a_guest_that_is_gone_is_marked_and_not_deleted) {
  source s(6);
  s.rows[0]["tags"].push_back({{"id", 5}, {"slug", "by-hand"}});
  auto const plan = s.shows(2, 6);
  EXPECT_TRUE(plan.deletes.empty());
  ASSERT_EQ(labels(plan.updates), std::vector<std::string>{"guest-1"});
  auto const& c = plan.updates[0];
  EXPECT_EQ(c.object, 1u);
  EXPECT_EQ(c.why, reason::gone);
  EXPECT_EQ(c.detail, "no longer in pve-a");
  EXPECT_EQ(c.body.unpack(), json({{"status", "decommissioning"},
                                   {"tags", {"by-hand", "weir", "weir-gone"}},
                                   {"custom_fields", {{"proxmox_gone_since", "2026-11-23"}}}}));
  EXPECT_EQ(c.before.unpack(), json({{"status", "active"},
                                     {"tags", {"by-hand", "weir"}},
                                     {"custom_fields", {{"proxmox_gone_since", nullptr}}}}));
  EXPECT_EQ(s.kept.all.at({vms, 1}).gone_since, s.rules.now);
}

TEST(orphans, what_is_marked_is_left_alone) {
  source s(6);
  s.marked(0);
  auto plan = s.shows(2, 6);
  EXPECT_TRUE(plan.updates.empty() && plan.deletes.empty());
  ASSERT_EQ(plan.kept.size(), 1u);
  EXPECT_EQ(plan.kept[0].detail, "marked as gone since 2026-11-20");
  EXPECT_FALSE(plan.deletes_refused);
  // A person has taken the tag away, or the date: neither is put back.
  s.rows[0]["tags"] = json::array();
  EXPECT_TRUE(s.shows(2, 6).updates.empty());
  s.marked(0);
  s.rows[0]["custom_fields"]["proxmox_gone_since"] = nullptr;
  s.rows[0]["status"] = {{"value", "failed"}, {"label", "Failed"}};
  EXPECT_TRUE(s.shows(2, 6).updates.empty());
}

TEST(orphans, what_was_marked_and_returns_is_as_before) {
  source s(3);
  s.marked(0);
  auto const plan = s.shows(1, 3);
  ASSERT_EQ(labels(plan.updates), std::vector<std::string>{"guest-1"});
  EXPECT_EQ(plan.updates[0].why, reason::returned);
  EXPECT_EQ(plan.updates[0].body.unpack(),
            json({{"status", "active"}, {"tags", {"weir"}}, {"custom_fields", {{"proxmox_gone_since", nullptr}}}}));
}

TEST(orphans, what_returns_without_a_status_has_the_one_it_had) {
  source s(3);
  s.rows[0]["status"] = {{"value", "paused"}, {"label", "Paused"}};
  auto const marked = s.shows(2, 3);
  ASSERT_EQ(marked.updates.size(), 1u);
  // Its node is down: the stage knows the guest, and not whether it runs.
  auto const back = [&] {
    s.holds("virtualization.cluster", {cluster(7)});
    s.holds(vms, s.rows);
    auto first = guest(101, "guest-1");
    auto fields = first.fields.unpack();
    fields.erase("status");
    auto const plan = s.diff(vms, {want(first.key.unpack(), fields), guest(102, "guest-2"), guest(103, "guest-3")});
    EXPECT_EQ(plan.updates.size(), 1u);
    EXPECT_EQ(plan.updates.at(0).why, reason::returned);
    return plan.updates.at(0).body.unpack();
  };
  s.marked(0);
  auto applied = marked.updates[0].applied.unpack();
  s.kept.all[{vms, 1}] = {"", applied.dump(), s.rules.now};
  EXPECT_EQ(back(),
            json({{"status", "paused"}, {"tags", {"weir"}}, {"custom_fields", {{"proxmox_gone_since", nullptr}}}}));
  // A person has set another status meanwhile.
  s.rows[0]["status"] = {{"value", "failed"}, {"label", "Failed"}};
  EXPECT_FALSE(back().contains("status"));
  // Nobody remembers: the marks go, the status waits for the node.
  s.rows[0]["status"] = {{"value", "decommissioning"}, {"label", "Decommissioning"}};
  s.kept.all.clear();
  EXPECT_EQ(back(), json({{"tags", {"weir"}}, {"custom_fields", {{"proxmox_gone_since", nullptr}}}}));
}

TEST(orphans, the_marks_status_goes_whatever_the_rule_of_the_field_says) {
  for (auto const rule : {netbox::rule::on_create, netbox::rule::unless_edited}) {
    source s(3, [&](auto& p) { p.fields["status"] = rule; });
    s.marked(0);
    auto plan = s.shows(1, 3);
    ASSERT_EQ(plan.updates.size(), 1u);
    EXPECT_EQ(plan.updates[0].body.unpack().value("status", ""), "active") << name(rule);
    EXPECT_TRUE(plan.edits.empty()) << name(rule);
    // One that a person has set since is the person's.
    s.rows[0]["status"] = {{"value", "failed"}, {"label", "Failed"}};
    plan = s.shows(1, 3);
    ASSERT_EQ(plan.updates.size(), 1u);
    EXPECT_FALSE(plan.updates[0].body.unpack().contains("status")) << name(rule);
  }
}

TEST(orphans, half_of_the_guests_lost_is_refused_and_the_hint_says_what_to_do) {
  source s(60);
  auto const plan = s.shows(31, 60);
  EXPECT_TRUE(plan.updates.empty() && plan.deletes.empty());
  EXPECT_TRUE(plan.deletes_refused);
  EXPECT_EQ(plan.refused, 30u);
  EXPECT_EQ(plan.owned, 60u);
  EXPECT_EQ(plan.allowed, 12u);  // 20 % of 60
  EXPECT_EQ(plan.kept.size(), 30u);
  EXPECT_NE(plan.refused_because.find("30 virtual machines of 60 are gone from pve-a"), std::string::npos)
      << plan.refused_because;
  EXPECT_NE(plan.refused_hint.find("--allow-deletes 30"), std::string::npos) << plan.refused_hint;
  for (auto const& [of, what] : s.kept.all) EXPECT_FALSE(what.gone_since) << "#" << of.second << ": not believed";
}

TEST(orphans, allow_deletes_is_a_number_and_holds_for_that_number_only) {
  source s(60);
  s.rules.allow_deletes = 29;
  EXPECT_TRUE(s.shows(31, 60).deletes_refused);
  s.rules.allow_deletes = 30;
  auto const plan = s.shows(31, 60);
  EXPECT_FALSE(plan.deletes_refused);
  EXPECT_EQ(plan.updates.size(), 30u);
  // A smaller number than max_deletes is stricter.
  s.rules.allow_deletes = 0;
  EXPECT_TRUE(s.shows(2, 60).deletes_refused);
}

TEST(orphans, the_larger_of_number_and_percentage_is_allowed_and_a_kind_may_have_its_own) {
  source by_number(20);
  EXPECT_FALSE(by_number.shows(11, 20).deletes_refused);  // 10 of 20
  EXPECT_TRUE(by_number.shows(12, 20).deletes_refused);
  source own(20, [](auto& p) { p.max_deletes = 1, p.max_deletes_percent = 50; });
  EXPECT_FALSE(own.shows(11, 20).deletes_refused);
  EXPECT_TRUE(own.shows(12, 20).deletes_refused);
}

TEST(orphans, an_empty_answer_is_not_believed_however_few_there_were) {
  source s(1);
  auto plan = s.shows(2, 1);
  EXPECT_TRUE(plan.deletes_refused);
  EXPECT_EQ(plan.refused, 1u);
  EXPECT_TRUE(plan.updates.empty());
  EXPECT_NE(plan.refused_because.find("an empty answer is not believed"), std::string::npos) << plan.refused_because;
  s.rules.allow_deletes = 1;
  plan = s.shows(2, 1);
  EXPECT_FALSE(plan.deletes_refused);
  EXPECT_EQ(plan.updates.size(), 1u);
  // Nothing of ours inside: nothing to refuse.
  source none(0);
  EXPECT_FALSE(none.shows(2, 1).deletes_refused);
  // All that is there has been marked before: nothing is asked for.
  source marked(1);
  marked.marked(0);
  EXPECT_FALSE(marked.shows(2, 1).deletes_refused);
}

TEST(orphans, an_empty_scope_refuses_its_own_objects_only) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101)});
  auto const backup = [](int id, std::string const& volume, std::string const& storage) {
    return json{{"id", id},
                {"virtual_machine", {{"id", 1}}},
                {"volume_id", volume},
                {"storage", storage},
                {"custom_fields", {{"proxmox_source", "pve-a"}}}};
  };
  auto const scope = [](std::string const& storage) {
    return json{{"custom_fields.proxmox_source", "pve-a"}, {"storage", storage}}.dump();
  };
  auto const wanted = want({{"virtual_machine", vm_key(101)}, {"volume_id", "a:1"}},
                           {{"storage", "a"}, {"custom_fields", {{"proxmox_source", "pve-a"}}}});
  l.holds(backups, {backup(1, "a:1", "a"), backup(2, "a:2", "a"), backup(3, "b:1", "b")}, {wanted});
  auto const plan = l.diff(backups, {wanted}, {scope("a"), scope("b")});
  EXPECT_EQ(labels(plan.deletes), std::vector<std::string>{"a:2"});
  EXPECT_TRUE(plan.deletes_refused);
  EXPECT_EQ(plan.refused, 1u);
  ASSERT_EQ(plan.kept.size(), 1u);
  EXPECT_EQ(plan.kept[0].label, "b:1");
}

TEST(orphans, nothing_is_done_in_the_period_of_grace) {
  source s(6, [](auto& p) { p.grace = 7 * 24h; });
  auto plan = s.shows(2, 6);
  EXPECT_TRUE(plan.updates.empty());
  ASSERT_EQ(plan.kept.size(), 1u);
  EXPECT_EQ(plan.kept[0].detail, "no longer in pve-a, to be marked as gone from 2026-11-30 on");
  EXPECT_EQ(s.kept.all.at({vms, 1}).gone_since, monday);
  auto const notes = s.kept.notes;
  s.rules.now = monday + 6 * 24h;
  plan = s.shows(2, 6);
  EXPECT_TRUE(plan.updates.empty());
  EXPECT_EQ(plan.kept[0].detail, "gone from pve-a since 2026-11-23, to be marked as gone from 2026-11-30 on");
  EXPECT_EQ(s.kept.notes, notes) << "noted once";
  s.rules.now = monday + 7 * 24h;
  plan = s.shows(2, 6);
  ASSERT_EQ(plan.updates.size(), 1u);
  EXPECT_EQ(plan.updates[0].detail, "gone from pve-a since 2026-11-23");
  EXPECT_EQ(plan.updates[0].body.unpack()["custom_fields"]["proxmox_gone_since"], "2026-11-23");
}

TEST(orphans, who_returns_within_the_grace_begins_anew) {
  source s(6, [](auto& p) { p.grace = 7 * 24h; });
  (void)s.shows(2, 6);
  s.rules.now = monday + 6 * 24h;
  (void)s.shows(1, 6);
  EXPECT_FALSE(s.kept.all.at({vms, 1}).gone_since);
  s.rules.now = monday + 8 * 24h;
  EXPECT_TRUE(s.shows(2, 6).updates.empty());
}

TEST(orphans, kept_where_a_configuration_says_so) {
  source s(6, [](auto& p) { p.when_gone = netbox::orphans::keep; });
  auto const plan = s.shows(4, 6);
  EXPECT_TRUE(plan.updates.empty() && plan.deletes.empty() && !plan.deletes_refused);
  ASSERT_EQ(plan.kept.size(), 3u);
  EXPECT_EQ(plan.kept[0].detail, "orphans: keep");
}

TEST(orphans, what_is_not_ours_is_nobodys_orphan) {
  source s(3);
  s.rows.push_back(vm(4, "theirs", 104, "pve-b"));
  s.rows.push_back(vm(5, "by-hand", nullptr, nullptr));
  auto const plan = s.shows(1, 3);
  EXPECT_EQ(plan.unchanged, 3u);
  EXPECT_EQ(plan.owned, 3u);
  EXPECT_TRUE(plan.updates.empty() && plan.kept.empty());
}

TEST(orphans, backups_go_with_their_deleted_guest_and_count_against_nothing) {
  source s(6, [](auto& p) { p.when_gone = netbox::orphans::erase; });
  auto const plan = s.shows(2, 6);
  ASSERT_EQ(labels(plan.deletes), std::vector<std::string>{"guest-1"});
  std::vector<json> held;
  for (int i = 1; i <= 30; ++i)
    held.push_back({{"id", i},
                    {"virtual_machine", {{"id", 1}}},
                    {"volume_id", "nfs:" + std::to_string(i)},
                    {"custom_fields", {{"proxmox_source", "pve-a"}}}});
  held.push_back({{"id", 31},
                  {"virtual_machine", {{"id", 2}}},
                  {"volume_id", "nfs:31"},
                  {"custom_fields", {{"proxmox_source", "pve-a"}}}});
  held.push_back({{"id", 32},
                  {"virtual_machine", {{"id", 1}}},
                  {"volume_id", "nfs:32, made by hand"},
                  {"custom_fields", {{"proxmox_source", nullptr}}}});
  s.holds(backups, held);
  ASSERT_EQ(kinds_inside(s.kinds, s.kind(vms)), std::vector{&s.kind(backups)});
  EXPECT_TRUE(kinds_inside(s.kinds, s.kind(backups)).empty());
  auto const children = gone_with_parents(s.w, s.kind(backups));
  ASSERT_EQ(children.deletes.size(), 31u);
  EXPECT_EQ(children.deletes[0].label, "nfs:1");
  EXPECT_EQ(children.deletes[0].detail, "goes with its virtual machine guest-1");
  EXPECT_TRUE(gone_with_parents(s.w, s.kind(backups)).deletes.empty()) << "once";

  // The table is read once more, for another stage: NetBox still has them, and they are as good as gone.
  s.holds(vms, s.rows);
  s.holds(backups, held);
  auto const later = s.diff(backups, {}, whole_source);
  EXPECT_EQ(later.owned, 1u);
  EXPECT_TRUE(later.deletes.empty());
  // Its guest was destroyed, and the backup still lies there.
  auto const left =
      s.diff(backups, {want({{"virtual_machine", vm_key(101)}, {"volume_id", "nfs:1"}}, {{"storage", "nfs"}})});
  EXPECT_EQ(left.skipped, std::vector<std::string>{"nfs:1"});
  EXPECT_TRUE(left.creates.empty() && left.failures.empty());
}

TEST(orphans, deletions_come_children_first) {
  source s(6, [](auto& p) { p.when_gone = netbox::orphans::erase; });
  std::vector<kind_plan> plans;
  plans.push_back(s.shows(2, 6));
  s.holds(backups,
          {{{"id", 5}, {"virtual_machine", {{"id", 1}}}, {"volume_id", "v"}, {"custom_fields", json::object()}}});
  plans.push_back(gone_with_parents(s.w, s.kind(backups)));
  apply_options how;
  how.stage = "virtual-machines";
  apply machine(s.w, plans, how);
  http::answer ok;
  ok.outcome = throttle::outcome::ok;
  std::vector<std::string> order;
  while (auto const request = machine.next()) {
    order.push_back(request->kind->name);
    machine.answered(request->number, ok);
  }
  EXPECT_EQ(order, (std::vector<std::string>{backups, vms}));
  EXPECT_EQ(machine.outcomes().at(backups).deleted, 1u);
}

TEST(orphans, tag_and_custom_field_are_asked_for_by_a_mark_only) {
  source s(6);
  std::vector<kind_plan> plans;
  plans.push_back(s.shows(1, 6));
  EXPECT_TRUE(needed_for_marks(plans).empty());
  plans.push_back(s.shows(2, 6));
  auto const needed = needed_for_marks(plans);
  ASSERT_EQ(needed.size(), 2u);
  auto const& field = needed.at("extras.customfield").at(0);
  EXPECT_EQ(field.key.unpack(), json({{"name", "proxmox_gone_since"}}));
  EXPECT_EQ(field.fields.unpack().at("type"), "date");
  EXPECT_EQ(field.fields.unpack().at("object_types"), json({vms}));
  EXPECT_EQ(needed.at("extras.tag").at(0).key.unpack(), json({{"slug", "weir-gone"}}));
}

TEST(orphans, weir_adopt_takes_nothing_for_gone) {
  source s(6);
  s.rules.adopt_only = true;
  auto const plan = s.shows(2, 6);
  EXPECT_TRUE(plan.updates.empty() && plan.kept.empty());
}

}  // namespace
}  // namespace weir::engine
