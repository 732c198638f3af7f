#include <gtest/gtest.h>

#include "loaded.hpp"

namespace {
using namespace shipped;

outcome collect(host& h, json const& options = json::object()) { return h.run(stage("nodes"), options); }

TEST(nodes, a_cluster) {
  host h;
  h.answer_data("/cluster/status", two_nodes(0));
  auto const out = collect(h);
  ASSERT_TRUE(out.ok()) << out.text();

  auto const* cluster = out.find("virtualization.cluster", named_key("prod"));
  ASSERT_NE(cluster, nullptr);
  EXPECT_EQ(cluster->fields, json::parse(R"({"type":{"slug":"proxmox-ve"},"status":"active","scope_type":"dcim.site",
                                             "scope_id":{"slug":"pve-a"},"tags":["weir"]})"));
  ASSERT_EQ(out.emitted("dcim.device").size(), 2U);
  auto const* up = out.find("dcim.device", named_key("pve1"));
  auto const* down = out.find("dcim.device", named_key("pve2"));
  ASSERT_TRUE(up != nullptr && down != nullptr);
  EXPECT_EQ(up->fields.at("status"), "active");
  EXPECT_EQ(down->fields.at("status"), "offline");
  EXPECT_EQ(up->fields.at("cluster"), named_key("prod"));
  EXPECT_EQ(up->fields.at("tags"), json::array({"weir"}));
  EXPECT_EQ(up->fields.at("device_type"),
            json::parse(R"({"manufacturer":{"slug":"proxmox"},"slug":"proxmox-ve-node"})"));
  EXPECT_EQ(up->fields.at("role"), slug("proxmox-node"));
  EXPECT_FALSE(up->fields.contains("site")) << "what nobody configured gives way to the cluster's in NetBox";
  EXPECT_EQ(up->fields.at("$create").at("site"), slug("pve-a"));
  EXPECT_TRUE(out.complete("dcim.device", source_scope()));
  EXPECT_EQ(out.completes.size(), 1U);  // clusters are never taken for gone: their guests would go with them
  EXPECT_EQ(out.fetched, std::vector<std::string>{"/cluster/status"});
}

TEST(nodes, what_netbox_needs_first) {
  host h;
  h.answer_data("/cluster/status", two_nodes());
  auto const out = collect(h);
  ASSERT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.find("virtualization.clustertype", slug("proxmox-ve"))->fields.at("name"), "Proxmox VE");
  EXPECT_EQ(out.find("dcim.manufacturer", slug("proxmox"))->fields.at("name"), "Proxmox");
  EXPECT_EQ(out.find("dcim.devicerole", slug("proxmox-node"))->fields.at("name"), "Proxmox node");
  EXPECT_EQ(out.find("dcim.site", slug("pve-a"))->fields.at("name"), "pve-a");
  EXPECT_EQ(out.emitted("dcim.devicetype").at(0)->fields.at("model"), "Proxmox VE node");
  EXPECT_NE(out.find("extras.tag", slug("weir")), nullptr);
  auto const* field = out.find("extras.customfield", {{"name", "proxmox_source"}});
  ASSERT_NE(field, nullptr);
  EXPECT_EQ(field->fields.at("object_types"), json::array({"virtualization.cluster", "dcim.device"}));
  EXPECT_EQ(field->fields.at("type"), "text");
}

TEST(nodes, a_standalone_node_names_its_cluster) {
  host h;
  h.answer("/cluster/status",
           R"({"data":[{"type":"node","name":"solo","online":1,"local":1,"id":"node/solo","ip":"192.0.2.1"}]})");
  auto const out = collect(h);
  ASSERT_TRUE(out.ok()) << out.text();
  EXPECT_NE(out.find("virtualization.cluster", named_key("solo")), nullptr);
  EXPECT_EQ(out.find("dcim.device", named_key("solo"))->fields.at("cluster"), named_key("solo"));
}

TEST(nodes, options_name_site_role_and_type) {
  host h;
  h.answer_data("/cluster/status", two_nodes());
  auto const out = collect(h, {{"site", "Data Centre 1"}, {"device_role", "Hypervisor"}, {"device_type", "R640"}});
  ASSERT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.find("dcim.site", slug("data-centre-1"))->fields.at("name"), "Data Centre 1");
  auto const& fields = out.find("dcim.device", named_key("pve1"))->fields;
  EXPECT_EQ(fields.at("role"), slug("hypervisor"));
  EXPECT_EQ(fields.at("device_type").at("slug"), "r640");
  EXPECT_EQ(fields.at("site"), slug("data-centre-1"));
  EXPECT_FALSE(fields.contains("$create"));
}

TEST(nodes, a_node_whose_state_is_not_told_keeps_the_one_it_has) {
  host h;
  h.answer("/cluster/status", R"({"data":[{"type":"node","name":"solo"}]})");
  auto const out = collect(h);
  ASSERT_TRUE(out.ok()) << out.text();
  auto const& fields = out.find("dcim.device", named_key("solo"))->fields;
  EXPECT_FALSE(fields.contains("status"));
  EXPECT_EQ(fields.at("$create").at("status"), "offline");
}

TEST(nodes, flags_come_as_text_too) {
  host h;
  h.answer("/cluster/status",
           R"({"data":[{"type":"node","name":"a","online":"1"},{"type":"node","name":"b","online":"0"},
                                          {"type":"node","name":"c","online":""}]})");
  auto const out = collect(h);
  EXPECT_EQ(out.find("dcim.device", named_key("a"))->fields.at("status"), "active");
  EXPECT_EQ(out.find("dcim.device", named_key("b"))->fields.at("status"), "offline");
  EXPECT_EQ(out.find("dcim.device", named_key("c"))->fields.at("status"), "offline");
}

TEST(nodes, without_quorum_nothing_is_gone) {
  host h;
  h.answer_data("/cluster/status", two_nodes(0, 0));
  auto const out = collect(h);
  ASSERT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.emitted("dcim.device").size(), 2U);
  EXPECT_TRUE(out.completes.empty());
  EXPECT_NE(out.notice("quorum"), nullptr);
}

TEST(nodes, an_empty_answer_is_a_fault) {
  host h;
  h.answer("/cluster/status", R"({"data":[]})");
  auto const out = collect(h);
  EXPECT_EQ(out.status, WEIR_E_SOURCE);
  EXPECT_TRUE(out.objects.empty() && out.completes.empty() && out.violations.empty()) << out.text();
}

TEST(nodes, a_token_without_rights_is_told_which) {
  host h;
  h.refuse("/cluster/status", 403, "Permission check failed (/, Sys.Audit)");
  auto const out = collect(h);
  EXPECT_EQ(out.status, WEIR_E_SOURCE);
  EXPECT_NE(out.message.find("/cluster/status"), std::string::npos);
  EXPECT_NE(out.hint.find("Sys.Audit"), std::string::npos);
}

TEST(nodes, a_cut_answer_is_said_as_such) {
  host h;
  h.answer("/cluster/status", R"({"data":[{"type":"node","na)");
  auto const out = collect(h);
  EXPECT_EQ(out.status, WEIR_E_SOURCE);
  EXPECT_NE(out.message.find("/cluster/status is no JSON"), std::string::npos) << out.message;
  EXPECT_NE(out.message.find("truncated?"), std::string::npos) << out.message;
  EXPECT_TRUE(out.objects.empty());
}

TEST(nodes, stops_wherever_the_run_is_stopped) {
  host h;
  h.answer_data("/cluster/status", two_nodes());
  auto const calls = collect(h).calls;
  ASSERT_GT(calls, 5U);
  for (std::uint64_t n = 0; n < calls; ++n) {
    h.cancel_after(n);
    auto const out = collect(h);
    EXPECT_EQ(out.status, WEIR_CANCELLED) << n;
    EXPECT_TRUE(out.violations.empty()) << out.text();
  }
}

}  // namespace
