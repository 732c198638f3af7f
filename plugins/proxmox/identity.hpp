// What tells a guest from another that has its number: what Proxmox VE gives a machine for life.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace weir::proxmox {

// The custom field that keeps it in NetBox.
inline constexpr char const* identity_field = "proxmox_identity";

// Of a guest's configuration: "type=qemu;uuid=…;ctime=…;vmgenid=…;mac=bc:24:11:…,…", lower case, what is not there left
// out. A clone keeps its template's ctime; a rollback and a restore change the vmgenid.
std::string identity_of(std::string_view type, nlohmann::json const& config);

}  // namespace weir::proxmox
