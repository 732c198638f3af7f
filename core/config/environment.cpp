#include <unistd.h>

#include "core/config/config.hpp"
#include "core/config/reader.hpp"

namespace weir::config {

std::map<std::string, std::string> current_environment() {
  std::map<std::string, std::string> out;
  for (char** at = ::environ; at != nullptr && *at != nullptr; ++at) {
    std::string_view const entry = *at;
    auto const equals = entry.find('=');
    if (equals != entry.npos && equals > 0) out.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return out;
}

std::optional<std::filesystem::path> default_state_dir(std::map<std::string, std::string> const& environment,
                                                       bool root) {
  auto const get = [&](char const* name) {
    auto const found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  // systemd lists several directories with colons between them.
  if (auto const state = get("STATE_DIRECTORY"); !state.empty()) return state.substr(0, state.find(':'));
  // The XDG specification: what is not absolute is ignored.
  if (auto const xdg = get("XDG_STATE_HOME"); xdg.starts_with('/')) return std::filesystem::path(xdg) / "weir";
  if (root) return "/var/lib/weir";
  if (auto const home = get("HOME"); home.starts_with('/')) return std::filesystem::path(home) / ".local/state/weir";
  return {};
}

}  // namespace weir::config
