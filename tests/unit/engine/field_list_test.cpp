#include "core/engine/field_list.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace {

using namespace weir::engine;
using nlohmann::json;
using fields = std::vector<field_change>;

json const before{{"memory", 2048}, {"name", "old"}, {"role", 3}, {"custom_fields", {{"note", nullptr}}}};
json const after{{"memory", 4096}, {"name", ""}, {"role", 4}, {"custom_fields", {{"note", "x"}}}};

TEST(FieldList, GivesBackWhatItWasMadeOf) {
  for (auto const& all : {
           fields{},
           fields{{"memory", "2048", "4096"}, {"name", "old", "\"\""}, {"custom_fields.note", "none", "x"}},
           fields{{"role", "Router", "Switch"}},                          // by label: the values don't tell
           fields{{"memory", "2048", "4096", true}, {"role", "3", "4"}},  // somebody's edit
           fields{{"memory", "", "4096"}, {"tags", "", "[a, b]"}},        // nothing before; a field outside of the body
           fields{{"memory", "2048", "9"}, {"role", "", "", true}},
       }) {
    for (auto const& b : {packed(), packed(before)})
      for (auto const& a : {packed(), packed(after)}) {
        field_list const made(all, b, a);
        EXPECT_EQ(made.unpack(), all);
        EXPECT_EQ(made.size(), all.size());
        EXPECT_EQ(made.empty(), all.empty());
        EXPECT_EQ(fields(made.begin(), made.end()), all);
        auto const copy = made;
        EXPECT_EQ(copy.unpack(), all);
      }
  }
}

TEST(FieldList, GrowsByOne) {
  field_list made({{"memory", "2048", "4096"}}, before, after);
  made.push_back({"role", "Router", "Switch", true});
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0], (field_change{"memory", "2048", "4096"}));
  EXPECT_EQ(made.at(1), (field_change{"role", "Router", "Switch", true}));
  EXPECT_THROW(made.at(2), std::out_of_range);
}

TEST(FieldList, WordsOfAValue) {
  EXPECT_EQ(in_words(nullptr), "none");
  EXPECT_EQ(in_words(""), "\"\"");
  EXPECT_EQ(in_words("a b"), "a b");
  EXPECT_EQ(in_words(json::array({"a", 1})), "[a, 1]");
  EXPECT_EQ(in_words(json{{"a", 1}}), "{\"a\":1}");
}

}  // namespace
