#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/netbox/errors.hpp"
#include "core/netbox/kind.hpp"
#include "core/netbox/value.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;

TEST(value, brings_netbox_answers_into_one_form) {
  registry kinds;
  auto const& k = *kinds.find("virtualization.virtualmachine");
  json const raw = {{"status", {{"value", "active"}, {"label", "Active"}}},
                    {"cluster", {{"id", 3}, {"name", "a"}}},
                    {"role", nullptr},
                    {"vcpus", 2.0},
                    {"tags", {{{"slug", "b"}}, {{"slug", "a"}}}},
                    {"custom_fields", {{"x", 1}}}};
  auto const got = normalise(k, raw, [](std::uint64_t id, std::string const& kind) {
    EXPECT_EQ(kind, "virtualization.cluster");
    return id + 100;
  });
  EXPECT_EQ(got, json({{"status", "active"},
                       {"cluster", 103},
                       {"role", nullptr},
                       {"vcpus", 2},
                       {"tags", {"a", "b"}},
                       {"custom_fields", {{"x", 1}}}}));
  EXPECT_TRUE(got.at("vcpus").is_number_integer());
}

TEST(value, compares_as_netbox_stores) {
  EXPECT_TRUE(same(2, 2.0));
  EXPECT_TRUE(same("2.00", 2));
  EXPECT_FALSE(same("2", "2.0"));
  EXPECT_TRUE(same("", nullptr));
  EXPECT_FALSE(same(0, nullptr));
  EXPECT_FALSE(same(false, nullptr));
  EXPECT_FALSE(same("a", "A"));
  EXPECT_TRUE(same("two words\n", " two words"));
  EXPECT_FALSE(same("two words", "twowords"));
  EXPECT_TRUE(same(" \n", nullptr));
}

TEST(errors, names_the_culprits_of_a_list) {
  auto const b = parse_blame(
      R"({"detail":"2 of 4 objects could not be created.","errors":[{"index":1,"errors":{"format":["vma.zst is not a valid choice."]}},
                                {"index":3,"errors":{"__all__":["it already exists."]}}]})");
  ASSERT_EQ(b.by_index.size(), 2u);
  EXPECT_EQ(b.by_index[0].first, 1u);
  EXPECT_EQ(b.by_index[0].second, "format: vma.zst is not a valid choice.");
  EXPECT_EQ(b.by_index[1].second, "it already exists.");
  auto const c = parse_blame(
      R"({"detail":"1 of 2 objects could not be updated.","errors":[{"id":3,"errors":{"format":["no"]}}]})");
  ASSERT_EQ(c.by_id.size(), 1u);
  EXPECT_EQ(c.by_id[0].first, 3u);
}

TEST(errors, says_what_to_do_about_a_protected_object) {
  auto const in_a_list = parse_blame(
      R"({"detail":"1 of 2 objects could not be deleted.","errors":[{"id":7,"errors":{"__all__":["Unable to delete: 1 dependent object(s) prevent deletion."]}}]})");
  ASSERT_EQ(in_a_list.by_id.size(), 1u);
  EXPECT_EQ(in_a_list.by_id[0].first, 7u);
  EXPECT_TRUE(in_a_list.by_id[0].second.starts_with("Unable to delete: 1 dependent object(s) prevent deletion. ("));
  EXPECT_NE(in_a_list.by_id[0].second.find("move or delete those"), std::string::npos);
  EXPECT_EQ(in_a_list.detail, "1 of 2 objects could not be deleted.");
  auto const alone =
      parse_blame(R"({"detail":"Unable to delete object. 1 dependent objects were found: web"})").detail;
  EXPECT_TRUE(alone.starts_with("Unable to delete object. 1 dependent objects were found: web ("));
  EXPECT_NE(alone.find("orphans"), std::string::npos);
}

TEST(errors, takes_every_body) {
  EXPECT_EQ(parse_blame(R"({"detail":"Invalid v2 token"})").detail, "Invalid v2 token");
  EXPECT_EQ(parse_blame(R"(["'start' and 'offset' are mutually exclusive."])").detail,
            "'start' and 'offset' are mutually exclusive.");
  EXPECT_EQ(parse_blame(R"({"virtual_machine":["This field is required."]})").detail,
            "virtual_machine: This field is required.");
  EXPECT_EQ(parse_blame(R"({"error":"FATAL: sorry","exception":"OperationalError"})").detail,
            "OperationalError: FATAL: sorry");
  EXPECT_EQ(parse_blame("<html><title>\n 502 Bad\n Gateway</title></html>").detail,
            "an HTML page (\"502 Bad Gateway\")");
  EXPECT_EQ(parse_blame("").detail, "");
  EXPECT_LE(parse_blame(std::string(100000, 'x')).detail.size(), 210u);
}

TEST(kinds, builtin_ones_come_parents_first) {
  registry kinds;
  for (auto const& name : kinds.names()) {
    auto const& k = *kinds.find(name);
    for (auto const& [field, target] : k.refs)
      EXPECT_LT(kinds.rank(*kinds.find(target)), kinds.rank(k)) << name << "." << field;
    if (name != "extras.tag" && name != "extras.customfield") {
      EXPECT_GT(kinds.rank(k), kinds.rank(*kinds.find("extras.tag"))) << name;
    }
  }
}

TEST(kinds, refuses_what_cannot_be_a_kind) {
  for (auto const* bad :
       {"{}", "[{}]", R"([{"kind":"x.y","path":"a"}])", R"([{"kind":"nodot","path":"a","key":["b"]}])",
        R"([{"kind":"x.y","path":"../a","key":["b"]}])", R"([{"kind":"x.y","path":"a","key":[]}])",
        R"([{"kind":"x.y","path":"a","key":["b"],"orphans":"burn"}])",
        R"([{"kind":"x.y","path":"a","key":["b"],"default_rule":"sometimes"}])"})
    EXPECT_FALSE(parse_kinds(bad)) << bad;
}

TEST(kinds, a_second_definition_must_agree) {
  registry kinds;
  auto same_again = *kinds.find("dcim.site");
  EXPECT_TRUE(kinds.add(same_again, "a plugin"));
  same_again.key = {"name"};
  EXPECT_FALSE(kinds.add(same_again, "a plugin"));
}

TEST(kinds, permissions_are_named_as_netbox_does) {
  registry kinds;
  EXPECT_EQ(kinds.find("virtualization.virtualmachine")->permission("add"), "virtualization.add_virtualmachine");
}

}  // namespace
}  // namespace weir::netbox
