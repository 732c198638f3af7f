#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "core/engine/apply.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;
using throttle::method;
using throttle::outcome;

constexpr char const* backups = "netbox_proxbox.vmbackup";
constexpr char const* vms = "virtualization.virtualmachine";

http::answer answer(outcome o, int status, json const& body) {
  http::answer a;
  a.outcome = o;
  a.reply.status = status;
  a.reply.body = body.dump();
  a.attempts = 1;
  return a;
}

// NetBox as the apply machine sees it: all or nothing, refuses some labels, names them or not.
struct server {
  std::set<std::string> bad;  // volume ids it refuses
  bool names_the_bad = true;
  std::map<std::string, object_id> rows;
  object_id next_id = 1000;
  std::size_t requests = 0;
  std::size_t largest = 0;

  http::answer serve(write_request const& r) {
    ++requests;
    largest = std::max(largest, r.items.size());
    auto const items = json::parse(r.body);
    EXPECT_EQ(items.size(), r.items.size());
    json errors = json::array();
    for (std::size_t i = 0; i < items.size(); ++i)
      if (bad.contains(items[i].value("volume_id", "")))
        errors.push_back({{"index", i}, {"errors", {{"volume_id", {"is bad"}}}}});
    if (!errors.empty())
      return answer(
          outcome::data, 400,
          names_the_bad ? json{{"detail", "some could not be created."}, {"errors", errors}} : json{{"detail", "no"}});
    return commit(items);
  }
  http::answer commit(json const& items) {
    json out = json::array();
    for (auto const& item : items) {
      EXPECT_TRUE(rows.emplace(item.value("volume_id", item.dump()), next_id).second) << "made twice: " << item;
      out.push_back({{"id", next_id++}});
    }
    return answer(outcome::ok, 201, out);
  }
};

apply_options options(std::size_t per_request, std::string stage = "backups") {
  apply_options o;
  o.objects_per_request = per_request;
  o.source = "pve-a";
  o.stage = std::move(stage);
  o.run = "0badcafe";
  return o;
}

struct apply_lab : lab {
  std::vector<kind_plan> plans;

  explicit apply_lab(int count) {
    holds("virtualization.cluster", {cluster(7)});
    holds(vms, {vm(1, "web", 101)});
    std::vector<desired> wanted;
    for (int i = 0; i < count; ++i)
      wanted.push_back(want({{"virtual_machine", vm_key(101)}, {"volume_id", "v" + std::to_string(i)}},
                            {{"storage", "nfs"}, {"size", i}}));
    holds(backups, {}, wanted);
    plans.push_back(diff(backups, wanted));
  }
  apply machine(std::size_t per_request = 50) { return apply(w, plans, options(per_request)); }
};

void run(apply& m, server& s, std::size_t limit = 1000) {
  for (std::size_t i = 0; i < limit && !m.finished(); ++i) {
    auto r = m.next();
    if (!r) {
      ASSERT_FALSE(m.wants_lookup()) << "an unexpected look-up";
      ASSERT_TRUE(m.finished()) << "stuck";
      return;
    }
    m.answered(r->number, s.serve(*r));
  }
  ASSERT_TRUE(m.finished());
}

TEST(apply, sends_lists_of_the_profiles_size) {
  apply_lab l(120);
  auto m = l.machine();
  EXPECT_EQ(m.planned_requests(), 3u);
  server s;
  run(m, s);
  EXPECT_EQ(s.requests, 3u);
  EXPECT_EQ(s.largest, 50u);
  EXPECT_EQ(m.outcomes().at(backups).created, 120u);
  EXPECT_TRUE(m.failures().empty());
}

TEST(apply, one_bad_object_fails_alone_and_is_named) {
  apply_lab l(50);
  auto m = l.machine();
  server s;
  s.bad = {"v17"};
  run(m, s);
  EXPECT_EQ(s.requests, 2u) << "NetBox named the culprit: one more request is enough";
  EXPECT_EQ(m.outcomes().at(backups).created, 49u);
  ASSERT_EQ(m.failures().size(), 1u);
  EXPECT_EQ(m.failures()[0].label, "v17");
  EXPECT_EQ(m.failures()[0].message, "volume_id: is bad");
}

TEST(apply, a_refusal_without_names_is_narrowed_down_by_halves) {
  apply_lab l(64);
  auto m = l.machine(64);
  server s;
  s.bad = {"v3", "v40"};
  s.names_the_bad = false;
  run(m, s);
  EXPECT_EQ(m.outcomes().at(backups).created, 62u);
  EXPECT_EQ(m.failures().size(), 2u);
  EXPECT_LE(s.requests, 1u + 2u * 2u * 6u) << "k bad of n: about 2 k log2 n";
}

TEST(apply, an_unknown_outcome_is_looked_up_before_anything_is_sent_again) {
  apply_lab l(50);
  auto m = l.machine();
  server s;
  auto first = m.next();
  ASSERT_TRUE(first);
  s.serve(*first);  // NetBox commits, but the answer is lost
  http::answer lost;
  lost.outcome = outcome::unknown;
  lost.reply.status = 502;
  m.answered(first->number, lost);
  EXPECT_FALSE(m.next());
  ASSERT_TRUE(m.wants_lookup());
  std::unordered_map<std::string, object_id> found;
  for (auto const& [volume, id] : s.rows) found.emplace(json::array({1, volume}).dump(), id);
  EXPECT_EQ(m.wants_lookup()->marker, "weir run 0badcafe#1 pve-a/backups");
  EXPECT_EQ(m.looked_up(first->number, found).state, store::batch_state::done);
  EXPECT_TRUE(m.finished());
  EXPECT_EQ(m.outcomes().at(backups).created, 50u);
  EXPECT_EQ(s.requests, 1u);
}

TEST(apply, what_another_writer_made_a_moment_before_is_looked_up_and_taken) {
  apply_lab l(5);
  auto m = l.machine();
  auto first = m.next();
  auto const refusal =
      answer(outcome::data, 400,
             {{"detail", "2 of 5 objects could not be created."},
              {"errors",
               {{{"index", 1}, {"errors", {{"__all__", {"VM Backup with this Storage, Volume ID already exists."}}}}},
                {{"index", 3}, {"errors", {{"size", {"is bad"}}}}}}}});
  EXPECT_EQ(m.answered(first->number, refusal).state, store::batch_state::unknown);
  ASSERT_TRUE(m.wants_lookup());
  EXPECT_EQ(m.wants_lookup()->after, outcome::lost_race);
  auto const result = m.looked_up(first->number, {{{json::array({1, "v1"}).dump(), object_id{77}}}});
  EXPECT_EQ(result.state, store::batch_state::failed);
  server s;
  run(m, s);
  EXPECT_EQ(s.rows.size(), 3u);
  EXPECT_EQ(m.outcomes().at(backups).created, 4u);
  ASSERT_EQ(m.failures().size(), 1u);
  EXPECT_EQ(m.failures()[0].label, "v3");
}

TEST(apply, a_key_that_is_taken_by_something_else_fails_with_netboxs_words) {
  apply_lab l(1);
  auto m = l.machine();
  auto const taken =
      answer(outcome::data, 400,
             {{"detail", "1 of 1"}, {"errors", {{{"index", 0}, {"errors", {{"name", {"already exists."}}}}}}}});
  std::size_t requests = 0;
  while (!m.finished()) {
    if (auto const d = m.wants_lookup()) {
      m.looked_up(d->number, std::unordered_map<std::string, object_id>{});
      continue;
    }
    auto r = m.next();
    ASSERT_TRUE(r);
    ASSERT_LE(++requests, 5u);
    m.answered(r->number, taken);
  }
  ASSERT_EQ(m.failures().size(), 1u);
  EXPECT_EQ(m.failures()[0].message, "name: already exists.");
}

TEST(apply, what_a_look_up_does_not_find_is_sent_again) {
  apply_lab l(50);
  auto m = l.machine();
  auto first = m.next();
  ASSERT_TRUE(first);
  http::answer lost;
  lost.outcome = outcome::unknown;
  m.answered(first->number, lost);
  auto const result = m.looked_up(first->number, std::unordered_map<std::string, object_id>{});
  EXPECT_EQ(result.state, store::batch_state::failed);
  EXPECT_EQ(result.objects.size(), 50u);
  server s;
  run(m, s);
  EXPECT_EQ(s.rows.size(), 50u);
  EXPECT_EQ(m.outcomes().at(backups).created, 50u);
}

TEST(apply, a_failed_look_up_defers_and_sends_nothing_twice) {
  apply_lab l(50);
  auto m = l.machine();
  auto first = m.next();
  ASSERT_TRUE(first);
  http::answer lost;
  lost.outcome = outcome::unknown;
  m.answered(first->number, lost);
  EXPECT_EQ(m.looked_up(first->number, std::nullopt).state, store::batch_state::unknown);
  m.abandon(base::fail("no"));
  EXPECT_TRUE(m.finished());
  EXPECT_FALSE(m.next());
  EXPECT_EQ(m.outcomes().at(backups).deferred, 50u);
}

TEST(apply, an_outage_defers_the_rest) {
  apply_lab l(120);
  auto m = l.machine();
  server s;
  auto first = m.next();
  m.answered(first->number, s.serve(*first));
  auto second = m.next();
  auto refused =
      answer(outcome::overload, 500, {{"error", "remaining connection slots"}, {"exception", "OperationalError"}});
  refused.gave_up = true;
  EXPECT_EQ(m.answered(second->number, refused).state, store::batch_state::deferred);
  EXPECT_TRUE(m.finished());
  EXPECT_EQ(m.outcomes().at(backups).created, 50u);
  EXPECT_EQ(m.outcomes().at(backups).deferred, 70u);
  ASSERT_TRUE(m.stop_reason());
  EXPECT_NE(m.stop_reason()->what.find("OperationalError"), std::string::npos);
  ASSERT_EQ(m.leftovers().size(), 1u) << "what was never in a request";
  EXPECT_EQ(m.leftovers()[0].objects, 20u);
}

TEST(apply, a_list_that_is_refused_while_others_pass_is_halved) {
  apply_lab l(40);
  auto m = l.machine(40);
  server s;
  std::size_t refused = 0;
  for (int i = 0; i < 100 && !m.finished(); ++i) {
    auto r = m.next();
    ASSERT_TRUE(r);
    if (r->items.size() > 10) {
      ++refused;
      m.answered(r->number, answer(outcome::overload, 500, {{"exception", "OperationalError"}}));
    } else {
      m.answered(r->number, s.serve(*r));
    }
  }
  EXPECT_EQ(refused, 3u);
  EXPECT_EQ(s.rows.size(), 40u);
  EXPECT_FALSE(m.stop_reason());
}

TEST(apply, lists_are_as_long_as_the_throttle_says) {
  apply_lab l(100);
  auto o = options(50);
  std::size_t size = 10;
  o.list_size = [&](method, netbox::kind const&) { return size; };
  apply m(l.w, l.plans, o);
  server s;
  std::vector<std::size_t> sizes;
  while (auto r = m.next()) {
    sizes.push_back(r->items.size());
    EXPECT_EQ(r->number, sizes.size());
    m.answered(r->number, s.serve(*r));
    size = sizes.size() == 1 ? 30 : 500;
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{10, 30, 50, 10})) << "never above the profile's ceiling";
  EXPECT_EQ(m.outcomes().at(backups).created, 100u);
}

TEST(apply, no_two_lists_over_the_same_parent_are_under_way) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  std::vector<json> machines;
  std::vector<desired> wanted;
  for (int v = 0; v < 6; ++v) {
    machines.push_back(vm(1 + v, "vm" + std::to_string(v), 101 + v));
    for (int b = 0; b < 7; ++b)
      wanted.push_back(
          want({{"virtual_machine", vm_key(101 + v)}, {"volume_id", std::to_string(v) + "/" + std::to_string(b)}},
               {{"storage", "nfs"}}));
  }
  l.holds(vms, machines);
  l.holds(backups, {}, wanted);
  std::vector<kind_plan> plans;
  plans.push_back(l.diff(backups, wanted));
  auto o = options(4);
  o.parallel = true;
  apply m(l.w, plans, o);
  server s;
  std::map<std::uint64_t, std::set<int>> under_way;
  std::deque<write_request> sent;
  std::size_t most = 0;
  for (int i = 0; i < 1000 && !m.finished(); ++i) {
    while (auto r = m.next()) {
      std::set<int> parents;
      for (auto const& item : json::parse(r->body)) parents.insert(item.at("virtual_machine").get<int>());
      for (auto const& [number, others] : under_way)
        for (int p : parents) EXPECT_FALSE(others.contains(p)) << "machine " << p << " is in two lists at once";
      under_way.emplace(r->number, parents);
      sent.push_back(std::move(*r));
    }
    most = std::max(most, under_way.size());
    ASSERT_FALSE(sent.empty());
    auto r = std::move(sent.front());
    sent.pop_front();
    under_way.erase(r.number);
    m.answered(r.number, s.serve(r));
  }
  EXPECT_EQ(s.rows.size(), 42u);
  EXPECT_GE(most, 2u) << "lists over different parents may be";
}

TEST(apply, says_what_became_of_each_object_for_the_journal) {
  apply_lab l(5);
  auto m = l.machine();
  server s;
  s.bad = {"v2"};
  auto r = m.next();
  ASSERT_EQ(r->items.size(), 5u);
  auto const refused = m.answered(r->number, s.serve(*r));
  EXPECT_EQ(refused.state, store::batch_state::failed);
  ASSERT_EQ(refused.objects.size(), 5u);
  for (auto const& o : refused.objects)
    EXPECT_EQ(o.state, r->items[o.position]->label == "v2" ? store::batch_state::failed : store::batch_state::deferred);
  r = m.next();
  auto const landed = m.answered(r->number, s.serve(*r));
  EXPECT_EQ(landed.state, store::batch_state::done);
  ASSERT_EQ(landed.objects.size(), 4u);
  for (auto const& o : landed.objects) EXPECT_EQ(o.netbox_id, s.rows.at(r->items[o.position]->label));
}

TEST(apply, missing_permission_names_it) {
  apply_lab l(3);
  auto m = l.machine();
  auto first = m.next();
  m.answered(first->number,
             answer(outcome::credentials, 403, {{"detail", "You do not have permission to perform this action."}}));
  ASSERT_TRUE(m.stop_reason());
  EXPECT_EQ(m.stop_reason()->code, base::error_code::credentials);
  EXPECT_NE(m.stop_reason()->hint.find("netbox_proxbox.add_vmbackup"), std::string::npos) << m.stop_reason()->hint;
}

TEST(apply, too_large_is_split_until_it_fits) {
  apply_lab l(40);
  auto m = l.machine();
  std::size_t landed = 0;
  server s;
  for (int i = 0; i < 200 && !m.finished(); ++i) {
    auto r = m.next();
    ASSERT_TRUE(r);
    if (r->items.size() > 10) {
      m.answered(r->number, answer(outcome::too_large, 500, {{"exception", "RequestDataTooBig"}}));
    } else {
      landed += r->items.size();
      m.answered(r->number, s.serve(*r));
    }
  }
  EXPECT_EQ(landed, 40u);
}

TEST(apply, children_of_what_could_not_be_made_fail_with_its_name) {
  lab l;
  l.holds("virtualization.clustertype", {});
  l.holds("dcim.site", {});
  l.holds("virtualization.cluster", {});
  l.holds(vms, {});
  std::vector<kind_plan> plans;
  plans.push_back(l.diff("virtualization.cluster", {want(cluster_key(), {{"status", "active"}})}));
  plans.push_back(l.diff(vms, {guest(101, "web")}));
  apply m(l.w, plans, options(50, "virtual-machines"));
  auto r = m.next();
  ASSERT_TRUE(r);
  EXPECT_EQ(r->kind->name, "virtualization.cluster");
  EXPECT_FALSE(m.next()) << "children wait for their parents";
  m.answered(r->number,
             answer(outcome::data, 400,
                    {{"detail", "1 of 1"}, {"errors", {{{"index", 0}, {"errors", {{"name", {"is bad"}}}}}}}}));
  EXPECT_FALSE(m.next());
  EXPECT_TRUE(m.finished());
  ASSERT_EQ(m.failures().size(), 2u);
  EXPECT_EQ(m.failures()[1].label, "web");
  EXPECT_NE(m.failures()[1].message.find("cluster 'pve-a'"), std::string::npos) << m.failures()[1].message;
}

TEST(apply, parents_numbers_reach_their_children) {
  lab l;
  l.holds("virtualization.clustertype", {});
  l.holds("dcim.site", {});
  l.holds("virtualization.cluster", {});
  l.holds(vms, {});
  std::vector<kind_plan> plans;
  plans.push_back(l.diff(vms, {}));
  plans.push_back(l.diff("virtualization.cluster", {want(cluster_key(), {{"status", "active"}})}));
  plans.push_back(l.diff(vms, {guest(101, "web")}));
  apply m(l.w, plans, options(50, "virtual-machines"));
  auto r = m.next();
  m.answered(r->number, answer(outcome::ok, 201, json::array({{{"id", 42}}})));
  r = m.next();
  ASSERT_TRUE(r);
  auto const item = json::parse(r->body).at(0);
  EXPECT_EQ(item.at("cluster"), 42);
  EXPECT_EQ(item.at("tags"), json::array({{{"slug", "weir"}}}));
  EXPECT_EQ(item.at("changelog_message"), "weir run 0badcafe#2 pve-a/virtual-machines");
}

TEST(apply, a_deleted_object_that_is_gone_already_is_done) {
  lab l;
  l.holds("virtualization.cluster", {cluster(7)});
  l.holds(vms, {vm(1, "web", 101)});
  auto const wanted = want({{"virtual_machine", vm_key(101)}, {"volume_id", "v0"}}, {{"storage", "nfs"}});
  std::vector<json> held;
  for (int i = 0; i < 2; ++i)
    held.push_back({{"id", 5 + i},
                    {"virtual_machine", {{"id", 1}}},
                    {"volume_id", "gone" + std::to_string(i)},
                    {"storage", "nfs"},
                    {"custom_fields", {{"proxmox_source", "pve-a"}}}});
  l.rules.allow_deletes = 2;  // else an empty answer is not believed
  l.holds(backups, held, {wanted});
  std::vector<kind_plan> plans;
  plans.push_back(l.diff(backups, {}, {R"({"custom_fields.proxmox_source":"pve-a"})"}));
  ASSERT_EQ(plans[0].deletes.size(), 2u);
  apply m(l.w, plans, options(50, "backups"));
  auto r = m.next();
  ASSERT_EQ(r->verb, method::del);
  m.answered(r->number, answer(outcome::data, 400,
                               {{"detail", "1 of 2 objects could not be found."},
                                {"errors", {{{"id", 5}, {"errors", {{"id", {"Object with ID 5 does not exist"}}}}}}}}));
  r = m.next();
  ASSERT_TRUE(r);
  EXPECT_EQ(r->items.size(), 1u);
  auto const last = m.answered(
      r->number, answer(outcome::data, 400,
                        {{"detail", "1 of 1 objects could not be found."},
                         {"errors", {{{"id", 6}, {"errors", {{"id", {"Object with ID 6 does not exist"}}}}}}}}));
  EXPECT_EQ(last.state, store::batch_state::done);
  ASSERT_EQ(last.objects.size(), 1u);
  EXPECT_EQ(last.objects[0].reason, gone_already);
  EXPECT_EQ(m.outcomes().at(backups).deleted, 2u);
  EXPECT_TRUE(m.failures().empty());
}

}  // namespace
}  // namespace weir::engine
