#include "core/engine/packed.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <random>

namespace weir::engine {
namespace {

using nlohmann::json;

json any(std::mt19937& draw, int depth) {
  auto const text = [&] {
    std::string out;
    for (auto n = draw() % 30; n > 0; --n) out += "ab\"\\ {},:.é\n0"[draw() % 13];
    return json(out).dump(-1, ' ', false, json::error_handler_t::replace).substr(1);
  };
  switch (draw() % (depth > 0 ? 10 : 7)) {
    case 0:
      return nullptr;
    case 1:
      return draw() % 2 == 0;
    case 2:
      return static_cast<std::int64_t>(draw()) - 2'000'000'000;
    case 3:
      return static_cast<std::uint64_t>(draw()) << (draw() % 33);
    case 4:
      return static_cast<double>(draw()) / 7;
    case 5:
      return text();
    case 6:
      return std::string(draw() % 40, 'x');
    case 7: {
      json out = json::array();
      for (auto n = draw() % 4; n > 0; --n) out.push_back(any(draw, depth - 1));
      return out;
    }
    default: {
      json out = json::object();
      for (auto n = draw() % 6; n > 0; --n) out[text()] = any(draw, depth - 1);
      return out;
    }
  }
}

TEST(packed, gives_back_what_it_was_given) {
  std::mt19937 draw(7);
  for (int i = 0; i < 5000; ++i) {
    auto const value = any(draw, 4);
    packed const p(value);
    ASSERT_EQ(p.unpack(), value) << value.dump();
    ASSERT_EQ(p.text(), value.dump());
    ASSERT_EQ(packed(value.dump()), p);
  }
}

TEST(packed, extremes) {
  for (json const& v : {json(std::numeric_limits<std::int64_t>::min()), json(std::numeric_limits<std::uint64_t>::max()),
                        json(-1), json(0), json(1.5), json(""), json::object(), json::array(),
                        json({{"", {{"", nullptr}}}, {"a", json::object()}})})
    EXPECT_EQ(packed(v).unpack(), v) << v.dump();
}

TEST(packed, shapes_that_look_alike_are_told_apart) {
  json const nested = {{"a", {{"b", 1}}}}, flat = {{"a", 1}, {"b", 2}}, dotted = {{"a.b", 1}}, brace = {{"a{", 1}};
  for (auto const& one : {nested, flat, dotted, brace})
    for (auto const& other : {nested, flat, dotted, brace}) {
      EXPECT_EQ(packed(one) == packed(other), one == other);
      EXPECT_EQ(packed(one).unpack(), one);
    }
}

TEST(packed, equal_values_are_equal_however_they_came) {
  EXPECT_EQ(packed(json{{"n", 1U}}), packed(json{{"n", 1}}));
  std::string const fresh = "seen first now";
  packed const before(json{{"s", fresh}});
  EXPECT_EQ(before, packed(json{{"s", fresh}}));
  EXPECT_FALSE(before == packed(json{{"s", "another"}}));
}

TEST(packed, empty_is_not_an_empty_object) {
  EXPECT_TRUE(packed().empty());
  EXPECT_TRUE(packed("").empty());
  EXPECT_EQ(packed().text(), "");
  EXPECT_FALSE(packed(json::object()).empty());
  EXPECT_FALSE(packed() == packed(json::object()));
  EXPECT_TRUE(packed() == packed());
  EXPECT_THROW(packed("{"), json::parse_error);
}

}  // namespace
}  // namespace weir::engine
