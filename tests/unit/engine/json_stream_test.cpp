#include "core/engine/json_stream.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace {

using weir::engine::json_stream;
using ordered = nlohmann::ordered_json;

void stream(json_stream& to, ordered const& value, std::string const& name = {}) {
  if (!value.is_structured()) return name.empty() ? to.put(value) : to.put(name, value);
  value.is_object() ? to.object(name) : to.list(name);
  for (auto const& [member, inner] : value.items()) stream(to, inner, value.is_object() ? member : std::string());
  to.end();
}

TEST(JsonStream, WritesWhatTheWholeIsDumpedAs) {
  auto const value = ordered::parse(R"({"z": 1, "a": [], "b": {}, "text": "two\nlines, \"quoted\"", "n\n": null,
    "list": [{"x": [1, 2, {"y": {}}]}, [], [[]], "s", 1.5], "deep": {"er": {"est": [true, {"k": "v"}]}}})");
  for (int indent : {1, 2, 4}) {
    std::string text, in_parts;
    json_stream whole([&](std::string_view part) { in_parts += part; }, static_cast<std::size_t>(indent));
    stream(whole, value);
    EXPECT_EQ(in_parts, value.dump(indent));
    json_stream members([&](std::string_view part) { text += part; }, static_cast<std::size_t>(indent));
    members.object();
    members.put_all(value);
    members.end();
    EXPECT_EQ(text, value.dump(indent));
  }
}

TEST(JsonStream, ReplacesWhatIsNoUtf8) {
  std::string text;
  json_stream to([&](std::string_view part) { text += part; }, 1);
  to.list();
  to.put("a\xFFz");
  to.end();
  EXPECT_EQ(ordered::parse(text), ordered::array({"a\uFFFDz"}));
}

}  // namespace
