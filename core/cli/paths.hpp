// Where the parts of this weir are: the build tree it runs in, or the prefix it was installed to.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace weir::cli {

struct places {
  std::vector<std::filesystem::path> profiles;
  std::vector<std::filesystem::path> scenarios;
  std::vector<std::filesystem::path> plugins;
  std::filesystem::path own_plugins;             // weir's own among them: these run inside of weir
  std::vector<std::filesystem::path> templates;  // of the SDK, a package of its own
};
places find_places(std::map<std::string, std::string> const& environment);

// The configuration's file: as given, else the user's, else the system's (whether it is there or not). `lower`: those
// that are read below it, the higher ones first.
struct config_files {
  std::filesystem::path file;
  std::vector<std::filesystem::path> lower;
};
config_files find_config_files(std::string const& given, std::map<std::string, std::string> const& environment);

}  // namespace weir::cli
