// The stage against canned answers: no network, no NetBox, no test framework.
#include <cstdio>
#include <weir/testing.hpp>

#include "stage.hpp"

namespace {
int failures = 0;
void check(bool ok, char const* what, weir::testing::outcome const& out) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n%s", what, out.text().c_str());
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER_OF_ANSWERS\n", argv[0]), 64;
  auto const& stage = weir::testing::stage_of<inventory_devices>();
  weir::testing::host host;
  host.answers_from(argv[1]);

  auto const out = host.run(stage, weir::json::object(), "cmdb");
  check(out.ok() && out.emitted("dcim.device").size() == 2, "one device each", out);
  check(out.emitted("dcim.manufacturer").size() == 1 && out.emitted("dcim.site").size() == 1, "shared things once", out);
  auto const* firewall = out.find("dcim.device", {{"custom_fields.proxmox_source", "cmdb"}, {"name", "fw-1"}});
  check(firewall != nullptr && firewall->fields.at("status") == "offline" && !firewall->fields.contains("serial"),
        "a spare one is offline, a serial that is not known is left alone", out);
  check(firewall != nullptr && firewall->fields.at("$create").at("device_type").at("slug") == "srx-300", "its type", out);
  check(out.complete("dcim.device", {{"custom_fields.proxmox_source", "cmdb"}}), "the list was whole", out);

  host.answer("/devices", R"([{"name":"a","site":"s"},{"name":"b"}])");
  auto const partly = host.run(stage);
  check(partly.ok() && partly.completes.empty() && partly.notice("no site") != nullptr, "one left out is said", partly);
  host.answer("/devices", R"({"error":"maintenance"})");
  check(host.run(stage).status == WEIR_E_SOURCE, "no list, no success", partly);
  host.refuse("/devices", 0, "connection refused");
  check(host.run(stage).status == WEIR_E_SOURCE, "a source that fails fails the stage", partly);
  return failures == 0 ? 0 : 1;
}
