// What memory shall hold of an object, kept beside what is sent.
#include "core/engine/remembered.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace weir::engine {
namespace {

using nlohmann::json;

change of(action what, json const& body) {
  change c;
  c.what = what;
  c.body = body;
  return c;
}

json const body = {{"name", "web"}, {"vcpus", 2}, {"tags", {"weir"}}, {"custom_fields", {{"proxmox_vm_id", 101}}}};
json const as_sent = {
    {"name", "web"}, {"vcpus", 2}, {"tags@virtual-machines", {"weir"}}, {"custom_fields.proxmox_vm_id", 101}};

TEST(remembered, is_what_was_given) {
  json const others[] = {
      as_sent,
      json::object(),
      {{"name", "web"}, {"comments", "not sent"}, {"custom_fields.other", nullptr}},
      {{"name", "Web"}, {"vcpus", nullptr}, {"tags@virtual-machines", {"weir", "prod"}}},
      {{"custom_fields", {{"proxmox_vm_id", 101}}}},
      {{"name", ""}, {"none@stage", 1}},
  };
  for (auto const what : {action::create, action::update})
    for (auto const& applied : others) {
      auto c = of(what, body);
      remember(c, applied);
      EXPECT_EQ(remembered(c), applied);
      EXPECT_FALSE(c.applied.empty());
    }
}

TEST(remembered, is_nothing_where_nothing_is_to_be_known) {
  for (auto const what : {action::create, action::update, action::erase}) {
    auto c = of(what, body);
    EXPECT_TRUE(remembered(c).is_null());
    remember(c, as_sent);
    remember(c, nullptr);
    EXPECT_TRUE(c.applied.empty());
    EXPECT_TRUE(remembered(c).is_null());
  }
}

// Values that are not there are not taken for sent: null is sent, too.
TEST(remembered, tells_null_from_absent) {
  auto c = of(action::create, {{"role", nullptr}});
  json const applied = {{"role", nullptr}, {"site", nullptr}, {"custom_fields.x", nullptr}};
  remember(c, applied);
  EXPECT_EQ(remembered(c), applied);
}

// An update's body is a part of what is remembered, and may grow afterwards.
TEST(remembered, of_an_update_does_not_depend_on_its_body) {
  auto c = of(action::update, body);
  remember(c, as_sent);
  c.body = json{{"name", "other"}};
  EXPECT_EQ(remembered(c), as_sent);
}

// New objects with all that was sent share the memory of it.
TEST(remembered, of_objects_alike_takes_no_room) {
  auto a = of(action::create, body),
       b = of(action::create,
              {{"name", "db"}, {"vcpus", 4}, {"tags", {"weir", "db"}}, {"custom_fields", {{"proxmox_vm_id", 102}}}});
  remember(a, as_sent);
  json const other = {
      {"name", "db"}, {"vcpus", 4}, {"tags@virtual-machines", {"weir", "db"}}, {"custom_fields.proxmox_vm_id", 102}};
  remember(b, other);
  EXPECT_TRUE(a.applied == b.applied);
  EXPECT_EQ(remembered(a), as_sent);
  EXPECT_EQ(remembered(b), other);
}

}  // namespace
}  // namespace weir::engine
