// Options described once: the schema's text, the typed read, and what is wrong with a value.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>
#include <weir/options.hpp>

namespace {

constexpr auto options = weir::schema(
    weir::option<"prefix", std::string>{.help = "what every \"name\"\n begins with", .fallback = "pool-"},
    weir::option<"limit", int>{.help = "at most", .fallback = -5, .min = -10, .max = 1000},
    weir::option<"small", std::uint8_t>{.fallback = std::uint8_t{255}},
    weir::option<"big", std::int64_t>{.fallback = std::numeric_limits<std::int64_t>::min()},
    weir::option<"share", double>{.fallback = 0.1, .min = -1.5}, weir::option<"must", bool>{.required = true},
    weir::option<"skip", std::vector<std::string>>{.one_of = {"a", "b\\", "\xC3\xA4"}},
    weir::option<"colour", std::optional<std::string>>{.one_of = {"red", "green"}},
    weir::option<"depth", std::optional<int>>{});
using values = weir::values<options>;

values read(std::string_view json) { return values(json); }

std::string refusal(std::string_view json) {
  try {
    read(json);
  } catch (weir::error const& e) {
    EXPECT_EQ(e.code, WEIR_E_INVALID);
    return e.what();
  }
  return "not refused";
}

TEST(option_schema, is_json_schema) {
  auto const schema = nlohmann::json::parse(weir::json_schema<options>);
  auto const expected = nlohmann::json::parse(R"({"type":"object","additionalProperties":false,"required":["must"],
    "properties":{
      "prefix":{"type":"string","description":"what every \"name\"\n begins with","default":"pool-"},
      "limit":{"type":"integer","description":"at most","default":-5,"minimum":-10,"maximum":1000},
      "small":{"type":"integer","default":255},
      "big":{"type":"integer","default":-9223372036854775808},
      "share":{"type":"number","default":0.1,"minimum":-1.5},
      "must":{"type":"boolean"},
      "skip":{"type":"array","items":{"type":"string","enum":["a","b\\","ä"]}},
      "colour":{"type":"string","enum":["red","green"]},
      "depth":{"type":"integer"}}})");
  EXPECT_EQ(schema, expected) << weir::json_schema<options>;
}

constexpr auto none = weir::schema();
TEST(option_schema, may_be_empty) {
  EXPECT_STREQ(weir::json_schema<none>, R"({"type":"object","additionalProperties":false,"properties":{}})");
  EXPECT_NO_THROW(weir::values<none>{std::string_view{}});
}

TEST(option_values, fall_back) {
  auto const v = read(R"({"must":false})");
  EXPECT_EQ(v.get<"prefix">(), "pool-");
  EXPECT_EQ(v.get<"limit">(), -5);
  EXPECT_EQ(v.get<"small">(), 255);
  EXPECT_EQ(v.get<"big">(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(v.get<"share">(), 0.1);
  EXPECT_TRUE(v.get<"skip">().empty());
  EXPECT_FALSE(v.get<"colour">());
  static_assert(std::same_as<decltype(v.get<"limit", int>()), int const&>);
  static_assert(std::same_as<decltype(v.get<"depth">()), std::optional<int> const&>);
}

TEST(option_values, are_read) {
  auto const v = read(
      R"( { "must" : true , "limit":7,"small":0,"share":-2.5e-1,"prefix":"\"\\\/\b\f\n\r\t\u00e4\u20ac\ud83d\ude00",
      "skip":["a","b\\"],"colour":"green","depth":null , "big" : 1e3 } )");
  EXPECT_TRUE(v.get<"must">());
  EXPECT_EQ(v.get<"limit">(), 7);
  EXPECT_EQ(v.get<"small">(), 0);
  EXPECT_EQ(v.get<"big">(), 1000);
  EXPECT_EQ(v.get<"share">(), -0.25);
  EXPECT_EQ(v.get<"prefix">(), "\"\\/\b\f\n\r\t\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  EXPECT_EQ(v.get<"skip">(), (std::vector<std::string>{"a", "b\\"}));
  EXPECT_EQ(v.get<"colour">(), "green");
  EXPECT_FALSE(v.get<"depth">());
  EXPECT_EQ(read(R"({"must":true,"limit":10.0,"depth":3})").get<"depth">(), 3);
}

TEST(option_values, against_the_schema_are_refused) {
  for (auto const* json : {R"({"must":1})",
                           R"({"must":"true"})",
                           R"({"must":true,"limit":1001})",
                           R"({"must":true,"limit":-11})",
                           R"({"must":true,"limit":1.5})",
                           R"({"must":true,"limit":"7"})",
                           R"({"must":true,"limit":[7]})",
                           R"({"must":true,"small":256})",
                           R"({"must":true,"small":-1})",
                           R"({"must":true,"big":9223372036854775808})",
                           R"({"must":true,"big":1e300})",
                           R"({"must":true,"share":-2})",
                           R"({"must":true,"share":true})",
                           R"({"must":true,"prefix":7})",
                           R"({"must":true,"prefix":{"a":1}})",
                           R"({"must":true,"skip":"a"})",
                           R"({"must":true,"skip":["c"]})",
                           R"({"must":true,"skip":[1]})",
                           R"({"must":true,"colour":"blue"})",
                           R"({"must":true,"limit":1x})"}) {
    auto const why = refusal(json);
    EXPECT_NE(why.find("has a value that its schema does not allow"), std::string::npos) << json << ": " << why;
  }
  EXPECT_EQ(refusal("{}"), "the option \"must\" is missing");
  EXPECT_EQ(refusal(""), "the option \"must\" is missing");
  EXPECT_EQ(refusal(R"({"must":null})"), "the option \"must\" is missing");
  EXPECT_EQ(refusal(R"({"must":true,"Limit":1})"), "there is no option \"Limit\"");
}

// Whatever arrives: a value or weir::error, and never a read past the end (the tests run under ASan as well).
TEST(option_values, no_bytes_are_believed) {
  std::string const whole =
      R"({"must":true,"skip":["a","b\\"],"prefix":"\u00e4\ud83d\ude00\"x","limit":-7,"share":1.5e1})";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    std::vector<char> const cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));  // no byte behind it
    EXPECT_THROW(read({cut.data(), cut.size()}), weir::error) << n;
  }
  std::size_t refused = 0;
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (char const c : {'{', '}', '[', '"', '\\', ',', ':', 'u', '\0', '\xFF', ' '}) {
      std::string other = whole;
      other[n] = c;
      try {
        read(other);
      } catch (weir::error const&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, whole.size());
  EXPECT_NE(refusal(std::string(100000, '[')), "not refused");
  EXPECT_NE(refusal("{\"prefix\":" + std::string(100000, '[')), "not refused");
  EXPECT_NE(refusal(R"({"must":true} x)"), "not refused");
  EXPECT_NE(refusal("[]"), "not refused");
}

struct stage {
  static constexpr auto schema = weir::schema(weir::option<"prefix", std::string>{.fallback = "p-"});
  static constexpr weir::info about{
      .id = "typed", .version = "1", .title = "t", .options_schema = weir::json_schema<schema>};
  explicit stage(weir::context const& c) : given(c) {}
  void collect(weir::run&) {}
  weir::values<schema> given;
};
static_assert(weir::stage<stage>);
static_assert(std::string_view{stage::about.options_schema}.size() > 50);

}  // namespace
