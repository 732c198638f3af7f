// Parts of the reader that tests reach for.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace weir::config {

// $STATE_DIRECTORY, else $XDG_STATE_HOME/weir, else /var/lib/weir for root and $HOME/.local/state/weir for others.
std::optional<std::filesystem::path> default_state_dir(std::map<std::string, std::string> const& environment,
                                                       bool root);

}  // namespace weir::config
