// The table of symptoms: whole, and the same in the README.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "core/doctor/symptoms.hpp"

namespace {

using namespace weir::doctor;

std::string readme() {
  std::ifstream in(WEIR_SOURCE_DIR "/README.md");
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(symptoms, each_has_a_cause_and_a_cure) {
  std::set<std::string_view> ids;
  for (auto const& s : symptoms()) {
    EXPECT_TRUE(ids.insert(s.id).second) << s.id << " stands there twice";
    EXPECT_FALSE(s.seen.empty() || s.cause.empty() || s.cure.empty()) << s.id;
    for (auto const text : {s.seen, s.cause, s.cure}) {
      EXPECT_EQ(text.find('|'), std::string_view::npos) << s.id << ": it would end the table's cell";
      EXPECT_EQ(text.find('\n'), std::string_view::npos) << s.id;
    }
    EXPECT_EQ(find_symptom(s.id), &s);
  }
  EXPECT_GE(ids.size(), 12u);
  EXPECT_EQ(find_symptom("no-such-thing"), nullptr);
}

TEST(symptoms, the_readme_has_this_table) {
  auto const text = readme();
  auto const section = text.find("## When something is wrong\n");
  ASSERT_NE(section, std::string::npos) << "README.md lacks the section";
  auto const end = text.find("\n## ", section + 1);
  auto const part = text.substr(section, end - section);
  auto const from = part.find("| |");
  ASSERT_NE(from, std::string::npos);
  auto const table = part.substr(from, part.rfind("|\n") + 2 - from);
  EXPECT_EQ(table, symptoms_markdown()) << "README.md's table and core/doctor/symptoms.cpp differ";
}

}  // namespace
