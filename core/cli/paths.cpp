#include "core/cli/paths.hpp"

namespace weir::cli {

namespace fs = std::filesystem;

namespace {

std::string value(std::map<std::string, std::string> const& environment, char const* name) {
  auto const found = environment.find(name);
  return found == environment.end() ? std::string{} : found->second;
}

}  // namespace

places find_places(std::map<std::string, std::string> const& environment) {
  places out;
  std::error_code ignored;
  auto const own = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  // WEIR_STAGE_PATH comes first, as CLAP_PATH does: what somebody names is what they want.
  for (auto rest = value(environment, "WEIR_STAGE_PATH"); !rest.empty();) {
    auto const colon = rest.find(':');
    if (auto part = rest.substr(0, colon); !part.empty()) out.plugins.emplace_back(part);
    rest = colon == std::string::npos ? std::string{} : rest.substr(colon + 1);
  }
  if (fs::exists(own / "CMakeCache.txt", ignored)) {
    out.own_plugins = own / "stages";
    out.plugins.push_back(out.own_plugins);
    out.profiles.push_back(own / "profiles");
    out.scenarios.push_back(own / "scenarios");
    out.templates.push_back(own / "template");
    return out;
  }
  auto const prefix = own.parent_path();
  out.own_plugins = prefix / WEIR_LIBDIR / "weir" / "stages";
  out.plugins.push_back(out.own_plugins);
  if (prefix != "/usr/local") out.plugins.emplace_back("/usr/local/lib/weir/stages");
  out.profiles.emplace_back("/etc/weir/profiles");
  out.profiles.push_back(prefix / WEIR_DATADIR / "weir" / "profiles");
  out.scenarios.emplace_back("/etc/weir/scenarios");
  out.scenarios.push_back(prefix / WEIR_DATADIR / "weir" / "scenarios");
  out.templates.push_back(prefix / WEIR_DATADIR / "weir-sdk" / "template");
  // The two packages may come from different places: a weir of one's own and the SDK of the system.
  for (char const* other : {"/usr/local", "/usr"})
    if (prefix != other) out.templates.push_back(fs::path(other) / WEIR_DATADIR / "weir-sdk" / "template");
  return out;
}

config_files find_config_files(std::string const& given, std::map<std::string, std::string> const& environment) {
  auto home = value(environment, "XDG_CONFIG_HOME");
  if (home.empty() && !value(environment, "HOME").empty()) home = value(environment, "HOME") + "/.config";
  fs::path const system = "/etc/weir/config.yaml";
  std::vector<fs::path> found;
  std::error_code ignored;
  if (!given.empty()) found.emplace_back(given);
  if (!home.empty() && fs::exists(fs::path(home) / "weir" / "config.yaml", ignored))
    found.push_back(fs::path(home) / "weir" / "config.yaml");
  if (fs::exists(system, ignored)) found.push_back(system);
  if (found.empty()) return {system, {}};
  return {found.front(), {found.begin() + 1, found.end()}};
}

}  // namespace weir::cli
