#include "proxmox/identity.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "proxmox/answers.hpp"
#include "proxmox/text.hpp"

namespace weir::proxmox {
namespace {

// Facts stand between separators: what holds one is none.
std::string fact(std::string_view text) {
  std::string out;
  for (char const c : text) {
    if (c == ';' || c == '=' || c == ',' || static_cast<unsigned char>(c) <= ' ') return {};
    out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
  }
  return out;
}

bool is_mac(std::string_view text) {
  if (text.size() != 17) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    bool const hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (i % 3 == 2 ? c != ':' : !hex) return false;
  }
  return true;
}

// "virtio=BC:24:11:…,bridge=vmbr0" of a machine, "name=eth0,hwaddr=BC:24:11:…" of a container: the only value of a
// network card that is a MAC.
std::string mac_of(std::string_view card) {
  while (!card.empty()) {
    auto const comma = card.find(',');
    std::string_view const part = card.substr(0, comma);
    auto const value = part.substr(part.find('=') + 1);
    if (is_mac(value)) return fact(value);
    if (comma == card.npos) break;
    card.remove_prefix(comma + 1);
  }
  return {};
}

bool is_card(std::string_view key) {
  return key.size() > 3 && key.starts_with("net") && key.find_first_not_of("0123456789", 3) == key.npos;
}

}  // namespace

std::string identity_of(std::string_view type, json const& config) {
  std::string out = "type=" + fact(type);
  auto const add = [&](char const* name, std::string const& value) {
    if (!value.empty()) out += std::string{";"} + name + "=" + value;
  };
  add("uuid", fact(property(text(config, "smbios1"), "uuid").value_or("")));
  add("ctime", fact(property(text(config, "meta"), "ctime").value_or("")));
  // 0 and 1 switch it off and let the machine make one.
  if (auto const id = fact(text(config, "vmgenid")); id.size() > 1) add("vmgenid", id);
  std::set<std::string> macs;
  if (config.is_object()) {
    for (auto const& [key, value] : config.items()) {
      if (!is_card(key) || !value.is_string()) continue;
      if (auto mac = mac_of(value.get_ref<std::string const&>()); !mac.empty()) macs.insert(std::move(mac));
    }
  }
  std::string joined;
  for (auto const& mac : macs) joined += (joined.empty() ? "" : ",") + mac;
  add("mac", joined);
  return out;
}

}  // namespace weir::proxmox
