// A small world for the engine's tests: NetBox's objects as JSON, a stage's wishes as JSON.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/engine/diff.hpp"

namespace weir::engine::testing {

using nlohmann::json;

struct lab {
  netbox::registry kinds;
  world w{kinds};
  diff_rules rules{"pve-a", "stage", 10, 20};
  no_memory nothing;
  memory* remembered = &nothing;

  lab() {
    auto own =
        netbox::parse_kinds(R"([{"kind":"netbox_proxbox.vmbackup","path":"plugins/proxbox/backups","title":"backup",
      "key":["virtual_machine","volume_id"],"refs":{"virtual_machine":"virtualization.virtualmachine"},
      "times":["creation_time"],"label":"volume_id","mark":"custom_fields.proxmox_source","orphans":"delete",
      "skip_when_missing":["virtual_machine"],"requires_plugin":"netbox_proxbox"}])");
    kinds.add(own.value().front(), "test").value();
  }

  netbox::kind const& kind(std::string const& name) { return *kinds.find(name); }
  // What NetBox answered for a kind, as its API gives it.
  void holds(std::string const& name, std::vector<json> const& objects, std::vector<desired> const& wanted = {}) {
    world::loader loading(w, kind(name), fields_needed(kind(name), wanted, true));
    for (auto const& o : objects) loading.add(o);
    loading.finish();
  }
  kind_plan diff(std::string const& name, std::vector<desired> const& wanted,
                 std::vector<std::string> const& scopes = {}) {
    return engine::diff(w, kind(name), wanted, scopes, rules, *remembered);
  }
};

inline desired want(json const& key, json const& fields) { return {key.dump(), fields.dump()}; }

inline json vm_key(int vmid) {
  return {{"custom_fields.proxmox_source", "pve-a"}, {"custom_fields.proxmox_vm_id", vmid}};
}
inline json cluster_key(std::string const& name = "pve-a") {
  return {{"custom_fields.proxmox_source", "pve-a"}, {"name", name}};
}
inline json cluster(int id, std::string const& name = "pve-a", json const& source = "pve-a") {
  return {{"id", id}, {"name", name}, {"custom_fields", {{"proxmox_source", source}}}, {"tags", json::array()}};
}
inline json vm(int id, std::string const& name, json const& vmid, json const& source = "pve-a") {
  return {{"id", id},
          {"name", name},
          {"status", {{"value", "active"}, {"label", "Active"}}},
          {"cluster", {{"id", 7}, {"name", "pve-a"}}},
          {"vcpus", 2.0},
          {"memory", 2048},
          {"tags", json::array({{{"id", 1}, {"slug", "weir"}}})},
          {"custom_fields", {{"proxmox_source", source}, {"proxmox_vm_id", vmid}, {"proxmox_tags", ""}}}};
}
inline desired guest(int vmid, std::string const& name, json extra = json::object()) {
  json fields = {{"name", name},
                 {"status", "active"},
                 {"cluster", cluster_key()},
                 {"vcpus", 2},
                 {"memory", 2048},
                 {"tags", {"weir"}},
                 {"custom_fields", {{"proxmox_tags", ""}}}};
  fields.update(extra);
  return want(vm_key(vmid), fields);
}

}  // namespace weir::engine::testing
