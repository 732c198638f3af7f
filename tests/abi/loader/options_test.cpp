// A stage's options against its schema: what passes, what is filled in, what the errors say.
#include <gtest/gtest.h>

#include "core/plugin/options.hpp"
#include "helpers.hpp"

namespace weir::plugin {
namespace {

loaded_stage with(std::string schema) {
  loaded_stage s;
  s.id = "backups";
  s.options_schema = std::move(schema);
  return s;
}

constexpr char schema[] = R"({
  "type": "object", "additionalProperties": false, "required": ["name"],
  "definitions": {"days": {"type": "integer", "minimum": 1, "maximum": 10}},
  "properties": {
    "name": {"type": "string", "minLength": 2, "description": "what to call it"},
    "include_templates": {"type": "boolean", "default": false},
    "units": {"enum": ["binary", "decimal"], "default": "binary"},
    "keep": {"type": "object", "additionalProperties": false, "properties": {"daily": {"$ref": "#/definitions/days"}}},
    "storages": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}, "maxItems": 2},
    "either": {"anyOf": [{"type": "integer"}, {"type": "boolean"}]},
    "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
  }})";

std::string refused(std::string const& options, std::string const& by = schema) {
  auto const checked = check_options(with(by), options, "/etc/weir.yaml:12:5");
  EXPECT_FALSE(checked) << options << " passed as " << *checked;
  if (checked) return {};
  EXPECT_EQ(checked.error().code, base::error_code::config);
  EXPECT_HAS(checked.error().what, "/etc/weir.yaml:12:5: options of stage \"backups\": ");
  return checked.error().text();
}

TEST(options, defaults_are_filled_in) {
  auto const plain = check_options(with(schema), R"({"name":"xy"})", "");
  ASSERT_TRUE(plain) << plain.error().what;
  EXPECT_EQ(*plain, R"({"include_templates":false,"name":"xy","units":"binary"})");
  auto const given = check_options(with(schema), R"({"name":"xy","units":"decimal","keep":{"daily":3}})", "");
  ASSERT_TRUE(given) << given.error().what;
  EXPECT_EQ(*given, R"({"include_templates":false,"keep":{"daily":3},"name":"xy","units":"decimal"})");
}

TEST(options, a_default_may_satisfy_required) {
  auto const checked = check_options(with(R"({"required":["a"],"properties":{"a":{"default":[1]}}})"), "null", "");
  ASSERT_TRUE(checked) << checked.error().what;
  EXPECT_EQ(*checked, R"({"a":[1]})");
}

TEST(options, errors_name_the_place_what_was_expected_and_what_is_there) {
  EXPECT_HAS(refused(R"({"name":"xy","include_templates":"yes"})"),
             "include_templates: expected true or false, is text");
  EXPECT_HAS(refused(R"({"name":"xy","keep":{"daily":0}})"), "keep.daily: expected a whole number from 1 to 10, is 0");
  EXPECT_HAS(refused(R"({"name":"xy","keep":{"daily":2.5}})"),
             "keep.daily: expected a whole number from 1 to 10, is 2.5");
  EXPECT_HAS(refused(R"({"name":"xy","storages":["a","B"]})"), "storages[1]: expected text that matches ^[a-z]+$");
  EXPECT_HAS(refused(R"({"name":"xy","storages":["a","b","c"]})"),
             "storages: expected a list of at most 2 items, is a list");
  EXPECT_HAS(refused(R"({"name":"xy","either":"x"})"), "either: expected a whole number or true or false, is text");
  EXPECT_HAS(refused(R"({"name":"xy","ratio":0})"), "ratio: expected a number of at most 1 above 0, is 0");
  EXPECT_HAS(refused(R"({"name":"xy","keep":[]})"), "keep: expected a mapping, is a list");
  EXPECT_HAS(refused(R"({})"), "option name is missing: expected text of at least 2 characters");
  EXPECT_HAS(refused(R"([1])"), "expected a mapping, is a list");
  EXPECT_HAS(refused("{"), "not JSON");
}

TEST(options, the_description_is_the_hint) { EXPECT_HAS(refused(R"({"name":7})"), "hint: name: what to call it"); }

TEST(options, near_misses_get_a_suggestion) {
  auto const option = refused(R"({"name":"xy","include_template":true})");
  EXPECT_HAS(option, "unknown option include_template (did you mean include_templates?)");
  EXPECT_HAS(option, "options here: ");
  EXPECT_HAS(refused(R"({"name":"xy","keep":{"dayly":1}})"), "unknown option keep.dayly (did you mean keep.daily?)");
  EXPECT_HAS(refused(R"({"name":"xy","units":"decimals"})"),
             R"(units: expected one of "binary", "decimal", is "decimals", did you mean "decimal"?)");
}

TEST(options, patterns_of_names) {
  auto const patterns = R"({"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false})";
  auto const text = refused(R"({"y":1,"x1":"s"})", patterns);
  EXPECT_HAS(text, "x1: expected a whole number, is text");
  EXPECT_HAS(text, "unknown option y");
  EXPECT_FALSE(has(text, "unknown option x1"));
  EXPECT_TRUE(check_options(with(patterns), R"({"x1":1})", ""));
}

TEST(options, schemas_may_be_recursive_but_not_go_in_a_circle) {
  auto const tree = R"({"type":"object","properties":{"child":{"$ref":"#"},"n":{"type":"integer"}}})";
  EXPECT_EQ(schema_problem(tree), "");
  EXPECT_TRUE(check_options(with(tree), R"({"child":{"child":{"n":1}}})", ""));
  EXPECT_HAS(refused(R"({"child":{"child":{"n":"x"}}})", tree), "child.child.n: expected a whole number, is text");
  for (
      auto const* circle :
      {R"({"$ref":"#"})", R"({"allOf":[{"not":{"$ref":"#"}}]})",
       R"({"properties":{"a":{"$ref":"#/definitions/a"}},"definitions":{"a":{"anyOf":[{"$ref":"#/definitions/a"}]}}})"})
    EXPECT_HAS(schema_problem(circle), "in a circle");
}

TEST(options, all_errors_are_told_at_once_and_each_once) {
  auto const text = refused(R"({"include_templates":1,"colour":2,"keep":{"daily":99}})");
  for (auto const* part :
       {"option name is missing", "include_templates: expected", "unknown option colour", "keep.daily: "}) {
    EXPECT_HAS(text, part);
    EXPECT_EQ(text.find(part), text.rfind(part)) << text;
  }
  EXPECT_FALSE(has(text, "Failed to validate"));
}

TEST(options, text_is_not_repeated_in_errors) {
  EXPECT_FALSE(has(refused(R"({"name":"xy","storages":["S3cret!"]})"), "S3cret"));
}

TEST(options, a_stage_without_a_schema_takes_none) {
  EXPECT_EQ(*check_options(with(""), "{}", ""), "{}");
  EXPECT_EQ(*check_options(with(""), "null", ""), "{}");
  EXPECT_HAS(refused(R"({"a":1})", ""), "it takes none, but has a");
}

TEST(options, an_open_schema_takes_more) {
  EXPECT_EQ(*check_options(with(R"({"type":"object"})"), R"({"a":1})", ""), R"({"a":1})");
}

TEST(options, faults_of_the_schema_are_the_plugins) {
  EXPECT_HAS(refused(R"({"a":"x"})", R"({"properties":{"a":{"pattern":"("}}})"), "fault of the plugin");
  EXPECT_HAS(refused("{}", R"({"properties":{"a":{"type":"integer","default":"x"}}})"), "(the plugin's own default)");
}

}  // namespace
}  // namespace weir::plugin
