#include <gtest/gtest.h>

#include "core/engine/compare.hpp"

namespace weir::engine {
namespace {

TEST(cut, what_differs_is_shown) {
  using pair = std::pair<std::string, std::string>;
  EXPECT_EQ(cut("short", "text"), (pair{"short", "text"}));
  std::string const facts = "type=qemu;uuid=00000069-0000-4000-a000-000000000000;ctime=1735689705;vmgenid=";
  std::string const same = "00000069-0000-4000-b000-000000000000;";
  EXPECT_EQ(cut(facts + same + "mac=bc:24:11:00:00:69", facts + same + "mac=bc:24:11:00:ff:ff"),
            (pair{"…mac=bc:24:11:00:00:69", "…mac=bc:24:11:00:ff:ff"}));
  // What differs at the beginning needs none of it left out.
  std::string const long_text(200, 'x');
  EXPECT_EQ(cut("a" + long_text, "b" + long_text),
            (pair{"a" + long_text.substr(0, 79) + "…", "b" + long_text.substr(0, 79) + "…"}));
  // One is the other's beginning; a word is not torn apart, nor a letter.
  std::string words;
  for (int i = 0; i < 40; ++i) words += "Wörter ";
  EXPECT_EQ(cut(words + "Ende", words + "Ende ist nah"), (pair{"…Wörter Wörter Ende", "…Wörter Wörter Ende ist nah"}));
  std::string umlauts;
  for (int i = 0; i < 100; ++i) umlauts += "ä";
  auto const [before, after] = cut(umlauts, umlauts + "ö");
  EXPECT_EQ(before, "…" + umlauts.substr(0, 24));
  EXPECT_EQ(after, before + "ö");
  EXPECT_EQ(cut("", long_text).first, "");
  EXPECT_EQ(cut(long_text, long_text + "\n").second.back(), ' ') << "controls are nothing for a terminal";
}

}  // namespace
}  // namespace weir::engine
