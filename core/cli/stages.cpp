#include "core/cli/stages.hpp"

#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/setup.hpp"

namespace weir::cli {
namespace {

// Where to look: as the configuration says if one is named, else as weir does without.
std::optional<int> plugin_path(arguments const& args, std::vector<std::filesystem::path>& path) {
  path = find_places(config::current_environment()).plugins;
  if (args.config_file.empty()) return {};
  setup ready;
  if (auto code = prepare(args, ready)) return code;
  path = ready.settings.plugin_path;
  return {};
}

int list(arguments const& args) {
  std::vector<std::filesystem::path> path;
  if (auto const code = plugin_path(args, path)) return *code;
  auto const report = load_plugins(path);
  if (args.output == "json") {
    auto out = nlohmann::ordered_json::array();
    for (auto const& s : report.stages)
      out.push_back({{"id", s.id},
                     {"version", s.version},
                     {"title", s.title},
                     {"needs", s.needs},
                     {"source_type", s.source_type},
                     {"plugin", s.plugin_name},
                     {"vendor", s.vendor},
                     {"file", s.file.string()}});
    std::cout << out.dump(2) << "\n";
  } else {
    std::size_t width = 5;
    for (auto const& s : report.stages) width = std::max(width, s.id.size());
    for (auto const& s : report.stages)
      std::cout << fmt::format(
          "{:<{}}  {:<8} {:<9} {}{}\n{:<{}}  {}\n", s.id, width, s.version, s.source_type.empty() ? "-" : s.source_type,
          s.title, s.needs.empty() ? "" : "  (needs " + base::join(s.needs) + ")", "", width, s.file.string());
    if (report.stages.empty()) std::cerr << "no stage was found\n";
  }
  return report.problems.empty() ? exit_code::done : exit_code::configuration;
}

}  // namespace

int stages(arguments const& args) { return list(args); }

}  // namespace weir::cli
