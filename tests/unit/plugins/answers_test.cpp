#include <gtest/gtest.h>

#include <weir/json.hpp>

#include "plugins/proxmox/answers.hpp"

namespace {
using namespace weir::proxmox;

TEST(values, neighbouring_types) {
  auto const o =
      json::parse(R"({"n":100,"s":"100","f":1.5,"b":true,"z":null,"e":"","x":"12a","big":18446744073709551615,
                                 "neg":-3,"exact":"9007199254740993"})");
  EXPECT_EQ(integer(o, "n"), 100);
  EXPECT_EQ(integer(o, "s"), 100);
  EXPECT_EQ(integer(o, "f"), 1);
  EXPECT_EQ(integer(o, "b"), 1);
  EXPECT_EQ(integer(o, "neg"), -3);
  EXPECT_EQ(integer(o, "exact"), 9007199254740993);
  EXPECT_EQ(number(o, "f"), 1.5);
  for (auto const* m : {"z", "e", "x", "absent"}) EXPECT_FALSE(integer(o, m)) << m;
  EXPECT_FALSE(integer(o, "big"));
  EXPECT_EQ(text(o, "n"), "100");
  EXPECT_EQ(text(o, "z"), "");
  EXPECT_EQ(text(json::array(), "n"), "");
}

TEST(values, flags) {
  auto const o = json::parse(R"({"a":1,"b":"1","c":true,"d":0,"e":"","f":"0","g":"maybe","h":null})");
  for (auto const* m : {"a", "b", "c"}) EXPECT_EQ(flag(o, m), true) << m;
  for (auto const* m : {"d", "e", "f"}) EXPECT_EQ(flag(o, m), false) << m;
  for (auto const* m : {"g", "h", "absent"}) EXPECT_FALSE(flag(o, m).has_value()) << m;
}

TEST(values, vmid_is_what_netbox_can_hold) {
  EXPECT_EQ(vmid({{"vmid", "100"}}), 100);
  EXPECT_EQ(vmid({{"vmid", 999999999}}), 999999999);
  for (auto const& v : {json(0), json(-1), json("x"), json(2147483648LL), json(nullptr)}) {
    EXPECT_FALSE(vmid({{"vmid", v}})) << v;
  }
}

TEST(rows, are_objects_in_a_list) {
  EXPECT_EQ(rows(json::parse(R"([{"a":1},5,null,{"a":2}])"), "/x").size(), 2U);
  EXPECT_THROW(rows(json::object(), "/x"), weir::source_error);
}

TEST(privileges, the_nearest_path_decides) {
  privileges const p{
      json::parse(R"({"/":{"A":1,"B":0},"/storage":{"C":1},"/storage/s":{"D":0},"/vms":{"E":1},"/vms/100":{"E":1}})")};
  EXPECT_TRUE(p.on("/", "A"));
  EXPECT_TRUE(p.on("/", "B"));
  EXPECT_TRUE(p.on("/nodes/x", "A"));
  EXPECT_FALSE(p.on("/nodes/x", "B"));    // does not propagate
  EXPECT_FALSE(p.on("/storage/t", "A"));  // /storage has an entry of its own
  EXPECT_TRUE(p.on("/storage/t", "C"));
  EXPECT_FALSE(p.on("/storage/s", "C"));
  EXPECT_TRUE(p.on("/storage/s", "D"));
  EXPECT_TRUE(p.below("/vms", "E"));
  EXPECT_FALSE(p.below("/storage", "C"));  // /storage/s lacks it
  EXPECT_FALSE(privileges{}.on("/", "A"));
  EXPECT_FALSE(privileges{json::array()}.on("/", "A"));
}

}  // namespace
