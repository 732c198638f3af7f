// What a shared library offers to others, read from its file: none of its code runs.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace weir::plugin {

// Names of the symbols defined and exported, sorted. Nothing where the file is no ELF library of this machine's form,
// or has had its table of symbols cut out.
std::optional<std::vector<std::string>> exported_symbols(std::filesystem::path const& file);

}  // namespace weir::plugin
