// The shipped plugins as they are shipped: loaded from their .so, driven through the C contract.
#pragma once
#include <dlfcn.h>

#include <stdexcept>
#include <string>
#include <weir/testing.hpp>

namespace shipped {

inline weir_stage const& stage(std::string const& id) {
  std::string const file = std::string{WEIR_STAGES_DIR} + "/" + id + ".so";
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed, as weir itself does it
  if (library == nullptr) throw std::runtime_error(dlerror());
  auto const* plugin = static_cast<weir_plugin const*>(dlsym(library, "weir_plugin_v1"));
  if (plugin == nullptr) throw std::runtime_error(file + " has no weir_plugin_v1");
  return weir::testing::stage_of(*plugin, id);
}

using weir::json;
using weir::level;
using weir::testing::host;
using weir::testing::outcome;

inline json source_scope(std::string const& source = "pve-a") { return {{"custom_fields.proxmox_source", source}}; }
inline json named_key(std::string const& name, std::string const& source = "pve-a") {
  return {{"custom_fields.proxmox_source", source}, {"name", name}};
}
inline json guest_key(int vmid, std::string const& source = "pve-a") {
  return {{"custom_fields.proxmox_source", source}, {"custom_fields.proxmox_vm_id", vmid}};
}
inline json slug(std::string const& s) { return {{"slug", s}}; }

// A cluster of two nodes, both there.
inline json two_nodes(int second_online = 1, int quorate = 1) {
  return json::array(
      {{{"type", "cluster"}, {"name", "prod"}, {"quorate", quorate}, {"nodes", 2}, {"id", "cluster"}},
       {{"type", "node"}, {"name", "pve1"}, {"online", 1}, {"local", 1}, {"nodeid", 1}, {"id", "node/pve1"}},
       {{"type", "node"}, {"name", "pve2"}, {"online", second_online}, {"local", 0}, {"nodeid", 2}}});
}

}  // namespace shipped
