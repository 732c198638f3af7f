// What can be told about a plugin's file without running any of its code.
#pragma once
#include <filesystem>

#include "core/base/result.hpp"

namespace weir::plugin {

// Readable, changeable by its owner alone, a shared library for this machine. `file` has no symbolic links in it.
base::result<void> check_plugin_file(std::filesystem::path const& file);

}  // namespace weir::plugin
