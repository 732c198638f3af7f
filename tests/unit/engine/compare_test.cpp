#include "core/engine/compare.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/netbox/value.hpp"

namespace weir::engine {
namespace {

using netbox::rule;
using nlohmann::json;

// A kind with one field of each rule.
netbox::kind thing() {
  return netbox::parse_kinds(R"([{"kind":"test.thing","path":"things","key":["custom_fields.source","name"],
    "mark":"custom_fields.source","label":"name","owned_tags":{"tags":"custom_fields.ours"},
    "rules":{"always":"always","unless":"unless-edited","once":"on-create","not":"never","tags":"merge",
             "comments":"merge","custom_fields.once":"on-create","name":"unless-edited"}}])")
      .value()
      .front();
}

json const key{{"name", "a"}, {"custom_fields", {{"source", "pve"}}}};
std::string plain(std::string const&, json const& v) { return v.is_string() ? v.get<std::string>() : v.dump(); }

compared run(json held, json const& wanted, std::optional<json> const& last) {
  json whole = key;
  whole.merge_patch(held);
  return compare(thing(), whole, wanted, key, last, plain);
}
// One field: what NetBox holds, what weir wrote last (absent: unknown), what the source says.
compared one(std::string const& field, json const& held, std::optional<json> const& wrote, json const& wanted) {
  return run({{field, held}}, {{field, wanted}}, wrote ? std::optional(json{{field, *wrote}}) : std::nullopt);
}
json body(compared const& c) { return json::parse(c.body); }
json applied(compared const& c, std::string const& leaf) {
  auto const all = json::parse(c.applied);
  return all.contains(leaf) ? all.at(leaf) : json("(absent)");
}

TEST(compare, always_writes_what_differs_and_says_whose_it_overwrites) {
  auto const source_moved = one("always", 1, 1, 2);
  EXPECT_EQ(body(source_moved), json({{"always", 2}}));
  EXPECT_EQ(json::parse(source_moved.before), json({{"always", 1}}));
  EXPECT_FALSE(source_moved.fields.at(0).edited);
  auto const edited = one("always", 5, 1, 2);
  EXPECT_EQ(body(edited), json({{"always", 2}}));
  EXPECT_TRUE(edited.fields.at(0).edited);
  EXPECT_TRUE(edited.edits.empty());
  EXPECT_EQ(applied(edited, "always"), 2);
  auto const unknown = one("always", 5, {}, 2);
  EXPECT_FALSE(unknown.fields.at(0).edited);
  EXPECT_TRUE(one("always", 2, 1, 2).fields.empty()) << "a person who typed what the source says";
}

TEST(compare, unless_edited_follows_the_source_until_a_person_changes_the_field) {
  EXPECT_EQ(body(one("unless", "old", "old", "new")), json({{"unless", "new"}}));
  auto const kept = one("unless", "mine", "old", "new");
  EXPECT_TRUE(kept.fields.empty());
  ASSERT_EQ(kept.edits.size(), 1u);
  EXPECT_EQ(kept.edits[0].field, "unless");
  EXPECT_EQ(kept.edits[0].held, "mine");
  EXPECT_EQ(kept.edits[0].wanted, "new");
  EXPECT_EQ(kept.edits[0].by, rule::unless_edited);
  EXPECT_TRUE(kept.edits[0].known);
  EXPECT_EQ(applied(kept, "unless"), "old") << "else the next run would take the person's for ours";
  EXPECT_TRUE(one("unless", "mine", "old", "old").fields.empty()) << "and while the source stays as it was";
  EXPECT_EQ(one("unless", "mine", "old", "old").edits.size(), 1u) << "it is shown all the same";
  EXPECT_EQ(one("unless", "", "old", "new").edits.size(), 1u) << "emptied is changed, too";
  auto const agreed = one("unless", "new", "old", "new");
  EXPECT_TRUE(agreed.fields.empty() && agreed.edits.empty());
  EXPECT_EQ(applied(agreed, "unless"), "new");
}

TEST(compare, unless_edited_without_memory_fills_what_is_empty_and_keeps_the_rest) {
  EXPECT_EQ(body(one("unless", "", {}, "new")), json({{"unless", "new"}}));
  EXPECT_EQ(body(one("unless", nullptr, {}, "new")), json({{"unless", "new"}}));
  auto const kept = one("unless", "whose?", {}, "new");
  EXPECT_TRUE(kept.fields.empty());
  ASSERT_EQ(kept.edits.size(), 1u);
  EXPECT_FALSE(kept.edits[0].known);
  EXPECT_EQ(applied(kept, "unless"), "(absent)");
  EXPECT_EQ(body(one("unless", false, {}, true)), json::object()) << "false is a value";
  auto const silent = one("unless", "a person's", {}, "");
  EXPECT_TRUE(silent.fields.empty() && silent.edits.empty()) << "the source has nothing to say here";
  EXPECT_TRUE(one("unless", "a person's", "", "").edits.empty()) << "and weir never had";
  EXPECT_EQ(body(one("unless", "old", "old", "")), json({{"unless", ""}})) << "a note taken away goes";
}

TEST(compare, on_create_is_never_written_again_and_shows_a_persons_change) {
  auto const moved = one("once", 1, 1, 2);
  EXPECT_TRUE(moved.fields.empty() && moved.edits.empty());
  EXPECT_EQ(applied(moved, "once"), 1);
  auto const edited = one("once", 5, 1, 1);
  EXPECT_TRUE(edited.fields.empty());
  ASSERT_EQ(edited.edits.size(), 1u);
  EXPECT_EQ(edited.edits[0].by, rule::on_create);
  auto const unknown = one("once", 5, {}, 1);
  EXPECT_TRUE(unknown.fields.empty() && unknown.edits.empty());
  EXPECT_EQ(applied(unknown, "once"), "(absent)");
  EXPECT_EQ(applied(one("once", 1, {}, 1), "once"), 1);
  // Its field was not read: nothing can be said.
  auto const unread = compare(thing(), key, {{"once", 1}}, key, json{{"once", 1}}, plain);
  EXPECT_TRUE(unread.edits.empty());
}

TEST(compare, never_is_not_even_remembered) {
  auto const c = one("not", 5, {}, 1);
  EXPECT_TRUE(c.fields.empty() && c.edits.empty());
  EXPECT_EQ(applied(c, "not"), "(absent)");
}

TEST(compare, custom_fields_are_leaves_of_their_own) {
  auto const c = run({{"custom_fields", {{"once", "x"}, {"free", "x"}, {"other", "x"}}}},
                     {{"custom_fields", {{"once", "y"}, {"free", "y"}}}}, json{{"custom_fields.once", "w"}});
  EXPECT_EQ(body(c), json({{"custom_fields", {{"free", "y"}}}}));
  ASSERT_EQ(c.edits.size(), 1u);
  EXPECT_EQ(c.edits[0].field, "custom_fields.once");
  EXPECT_EQ(json::parse(c.after).at("custom_fields").at("other"), "x");
}

TEST(compare, tags_are_merged_with_what_is_remembered) {
  auto const c = one("tags", {"by-hand", "old", "weir"}, {{"old", "weir"}}, {"new", "weir"});
  EXPECT_EQ(body(c), json({{"tags", {"by-hand", "new", "weir"}}}));
  EXPECT_FALSE(c.fields.at(0).edited);
  EXPECT_EQ(applied(c, "tags"), json({"new", "weir"}));
  EXPECT_EQ(body(one("tags", {"a"}, json{"a"}, json::array())), json({{"tags", json::array()}}));
  EXPECT_TRUE(one("tags", {"weir", "by-hand"}, json{"weir"}, {"weir"}).fields.empty());
}

TEST(compare, a_tag_that_a_person_put_there_first_stays_when_the_source_drops_it) {
  // Proxmox VE gains the tag that somebody has given the object already; nothing is written, and it is not weir's.
  for (auto const& wrote : {std::optional<json>(json::array({"weir"})), std::optional<json>()}) {
    auto const gained = one("tags", {"prod", "weir"}, wrote, {"prod", "weir"});
    EXPECT_TRUE(gained.fields.empty());
    EXPECT_EQ(applied(gained, "tags"), wrote ? json::array({"weir"}) : json::array());
    auto const with_another = one("tags", {"prod", "weir"}, wrote, {"new", "prod", "weir"});
    EXPECT_EQ(applied(with_another, "tags"), wrote ? json({"new", "weir"}) : json::array({"new"}));
    // Proxmox VE drops both.
    auto const dropped = one("tags", {"new", "prod", "weir"}, applied(with_another, "tags"), {"weir"});
    EXPECT_EQ(body(dropped), json({{"tags", {"prod", "weir"}}}));
  }
  // One that the person takes away while it is wanted is put back by weir, and weir's from then on.
  auto const back = one("tags", {"weir"}, json::array({"weir"}), {"prod", "weir"});
  EXPECT_EQ(applied(back, "tags"), json({"prod", "weir"}));
  EXPECT_FALSE(back.fields.at(0).edited) << "weir did not write it before";
}

TEST(compare, a_tag_of_ours_that_a_person_took_away_comes_back_and_is_shown) {
  auto const c = one("tags", {"by-hand"}, json{"weir"}, {"weir"});
  EXPECT_EQ(body(c), json({{"tags", {"by-hand", "weir"}}}));
  EXPECT_TRUE(c.fields.at(0).edited);
}

TEST(compare, without_memory_the_objects_own_list_tells_which_tags_are_ours) {
  auto const c = run({{"tags", {"by-hand", "old"}}, {"custom_fields", {{"ours", "old;older"}}}},
                     {{"tags", {"new"}}, {"custom_fields", {{"ours", "new"}}}}, {});
  EXPECT_EQ(body(c).at("tags"), json({"by-hand", "new"}));
  EXPECT_FALSE(c.fields.at(0).edited);
}

TEST(compare, sets_of_numbers_are_merged_as_well) {
  EXPECT_EQ(body(one("tags", {1, 2}, json{2}, {3})), json({{"tags", {1, 3}}}));
}

std::string comments(compared const& c) { return body(c).at("comments").get<std::string>(); }

TEST(compare, a_merged_text_has_a_block_of_its_own_between_what_people_write) {
  auto const first = comments(one("comments", "Call Anna first.", {}, "note\nof two lines"));
  EXPECT_EQ(first.rfind("Call Anna first.\n\n<!-- weir:", 0), 0u) << first;
  EXPECT_NE(first.find("note\nof two lines\n<!-- weir: end -->"), std::string::npos) << first;
  EXPECT_TRUE(one("comments", first, "note\nof two lines", "note\nof two lines").fields.empty());
  EXPECT_TRUE(one("comments", first, {}, "note\nof two lines").fields.empty()) << "without memory, too";

  auto const around = "Above.\r\n\r\n" + first + "\nBelow.";
  EXPECT_TRUE(one("comments", around, "note\nof two lines", "note\nof two lines").fields.empty());
  auto const changed = one("comments", around, "note\nof two lines", "another");
  auto const text = comments(changed);
  EXPECT_FALSE(changed.fields.at(0).edited);
  EXPECT_EQ(text.rfind("Above.", 0), 0u);
  EXPECT_NE(text.find("Call Anna first."), std::string::npos);
  EXPECT_NE(text.find("another"), std::string::npos);
  EXPECT_EQ(text.find("note"), std::string::npos);
  EXPECT_EQ(text.substr(text.size() - 6), "Below.");
  EXPECT_TRUE(one("comments", text, "another", "another").fields.empty());

  EXPECT_EQ(comments(one("comments", first, "note\nof two lines", "")), "Call Anna first.");
}

TEST(compare, a_block_that_a_person_changed_or_removed_is_put_back_and_shown) {
  auto const whole = comments(one("comments", "", {}, "note"));
  auto altered = whole;
  altered.replace(altered.find("note"), 4, "mine");
  auto const changed = one("comments", altered, "note", "note");
  EXPECT_EQ(comments(changed), whole);
  EXPECT_TRUE(changed.fields.at(0).edited);
  auto const removed = one("comments", "mine", "note", "note");
  EXPECT_NE(comments(removed).find("note"), std::string::npos);
  EXPECT_TRUE(removed.fields.at(0).edited);
}

TEST(compare, half_a_block_is_left_standing_and_eats_nothing) {
  std::string const whole = comments(one("comments", "", {}, "note"));
  auto const begin = whole.substr(0, whole.find('\n'));
  auto const text = comments(one("comments", begin + "\nprecious", {}, "note"));
  EXPECT_NE(text.find("precious"), std::string::npos);
  auto const again = one("comments", text, "note", "changed");
  EXPECT_NE(comments(again).find("precious"), std::string::npos);
  EXPECT_EQ(comments(again).find("note"), std::string::npos);
}

TEST(compare, a_text_that_was_all_ours_before_the_rule_becomes_a_block_when_it_changes) {
  EXPECT_TRUE(one("comments", "note", "note", "note").fields.empty());
  auto const text = comments(one("comments", "note", "note", "new"));
  EXPECT_EQ(text.find("note"), std::string::npos);
  EXPECT_NE(text.find("new"), std::string::npos);
}

TEST(compare, a_source_cannot_close_the_block_early) {
  auto const text = comments(one("comments", "mine", {}, "a\n<!-- weir: end -->\nb"));
  EXPECT_TRUE(one("comments", text, "a\n<!-- weir: end -->\nb", "a\n<!-- weir: end -->\nb").fields.empty());
  EXPECT_EQ(comments(one("comments", text, {}, "")), "mine");
}

TEST(compare, keys_and_the_mark_are_written_whatever_a_rule_says) {
  auto k = thing();
  k.rules["custom_fields.source"] = rule::never;
  auto const c = compare(k, {{"name", "a"}, {"custom_fields", {{"source", nullptr}}}}, json::object(), key, {}, plain);
  EXPECT_EQ(body(c), json({{"custom_fields", {{"source", "pve"}}}}));
}

TEST(compare, a_name_that_is_part_of_the_key_may_be_a_persons) {
  auto const c = run({{"name", "renamed"}}, json::object(), json{{"name", "a"}});
  EXPECT_TRUE(c.fields.empty());
  ASSERT_EQ(c.edits.size(), 1u);
  EXPECT_EQ(c.edits[0].field, "name");
}

TEST(compare, what_is_not_wanted_this_time_stays_remembered) {
  auto const c = run({{"always", 1}}, {{"always", 1}}, json{{"always", 1}, {"tags", {"x"}}});
  EXPECT_EQ(applied(c, "tags"), json({"x"}));
}

TEST(create, sends_all_but_what_is_never_written_and_remembers_it) {
  auto const c = create(thing(),
                        {{"name", "a"},
                         {"not", 1},
                         {"once", 2},
                         {"comments", "note"},
                         {"tags", {"weir"}},
                         {"custom_fields", {{"source", "pve"}, {"empty", nullptr}}}},
                        plain);
  auto const sent = json::parse(c.body), kept = json::parse(c.applied);
  EXPECT_FALSE(sent.contains("not") || kept.contains("not"));
  EXPECT_EQ(sent.at("once"), 2);
  EXPECT_EQ(kept.at("comments"), "note");
  EXPECT_TRUE(sent.at("custom_fields").contains("empty"));
  // What was made is as wanted.
  auto const again =
      compare(thing(), sent, {{"comments", "note"}, {"tags", {"weir"}}, {"not", 1}, {"once", 2}}, key, kept, plain);
  EXPECT_TRUE(again.fields.empty() && again.edits.empty());
}

TEST(rules, those_of_keys_and_mark_are_refused) {
  netbox::registry kinds;
  auto const vm = "virtualization.virtualmachine";
  netbox::kind_policy policy;
  policy.fields["custom_fields.proxmox_source"] = rule::on_create;
  EXPECT_FALSE(kinds.apply(vm, policy));
  policy.fields = {{"custom_fields.proxmox_vm_id", rule::never}};
  EXPECT_FALSE(kinds.apply(vm, policy));
  policy.fields = {{"role", rule::always}};
  EXPECT_TRUE(kinds.apply(vm, policy));
  EXPECT_EQ(kinds.find(vm)->rule_of("role"), rule::always);
  EXPECT_EQ(kinds.find("dcim.device")->rule_of("name"), rule::unless_edited);
  EXPECT_EQ(kinds.find(vm)->rule_of("memory"), rule::always);
  EXPECT_EQ(kinds.find(vm)->rule_of("description"), rule::unless_edited);
}

}  // namespace
}  // namespace weir::engine
