#include "core/engine/asked.hpp"

#include <gtest/gtest.h>

namespace weir::engine {
namespace {

TEST(asked, stands_in_the_summary) {
  EXPECT_EQ(with_asked("", {}), "");
  EXPECT_EQ(with_asked(R"({"batches":3})", {}), R"({"batches":3})");
  EXPECT_EQ(with_asked(R"({"batches":3})", {{101, 7}, 5}), R"({"batches":3,"guests":[101,7],"allow_deletes":5})");
  for (asked const& what : {asked{}, asked{{101}, {}}, asked{{}, 0}, asked{{101, 102}, 500}})
    EXPECT_EQ(asked_in(with_asked(R"({"requests":{}})", what)), what);
}

TEST(asked, what_is_no_summary_asks_for_nothing) {
  for (auto const* text : {"", "null", "[]", "{", R"({"guests":5})", R"({"guests":[-1,"x",4294967296]})"})
    EXPECT_EQ(asked_in(text), asked{}) << text;
}

TEST(asked, who_has_done_what) {
  asked const all, one{{101}, {}}, other{{102}, {}}, both{{102, 101}, {}};
  EXPECT_TRUE(all.covers(all) && all.covers(one) && one.covers(one) && both.covers(one));
  EXPECT_FALSE(one.covers(all) || one.covers(other) || one.covers(both));
}

}  // namespace
}  // namespace weir::engine
