// The names that a completion asks for. Nothing is said of what is wrong: somebody is typing.
#include <iostream>
#include <set>

#include "core/cli/completion.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/setup.hpp"
#include "core/config/config.hpp"
#include "core/config/schema.hpp"
#include "core/store/files.hpp"
#include "core/store/journal.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t runs_offered = 30;

std::vector<std::string> scenarios(std::vector<fs::path> const& folders) {
  std::set<std::string> out;
  std::error_code ignored;
  for (auto const& folder : folders)
    for (auto const& file : fs::directory_iterator(folder, ignored))
      if (file.path().extension() == ".yaml") out.insert(file.path().stem());
  return {out.begin(), out.end()};
}

// A source's or a stage's name stands for "*" in a key, and cannot be guessed: those are left out.
std::vector<std::string> keys() {
  std::set<std::string> out;
  for (auto const& k : config::schema::keys())
    if (k.in != config::schema::document::scenario && k.path.find('*') == std::string_view::npos) out.emplace(k.path);
  return {out.begin(), out.end()};
}

}  // namespace

int complete(arguments const& args) {
  auto const environment = config::current_environment();
  auto const where = find_places(environment);
  auto const& what = args.complete_what;
  std::vector<std::string> names;

  auto load = reading(args);
  load.need_secrets = false;
  auto const loaded = config::load(load);

  if (what == "stages") {
    for (auto const& s : find_plugins(loaded.value ? loaded.value->plugin_path : where.plugins).stages)
      names.push_back(s.id);
  } else if (what == "sources" && loaded.value) {
    for (auto const& s : loaded.value->sources) names.push_back(s.name);
  } else if (what == "profiles") {
    std::vector<config::diagnostic> ignored;
    for (auto const& p : config::list_profiles(where.profiles, ignored)) names.push_back(p.name);
  } else if (what == "scenarios") {
    names = scenarios(where.scenarios);
  } else if (what == "keys") {
    names = keys();
  } else if (what == "runs" && loaded.value) {
    std::error_code ignored;
    auto const file = loaded.value->state_dir / "journal.db";
    store::journal_options how;
    how.read_only = true;
    if (fs::exists(file, ignored))
      if (auto const journal = store::journal::open(file, how))
        if (auto const runs = (*journal)->runs(runs_offered))
          for (auto const& r : *runs) names.push_back(r.id);
  }
  for (auto const& n : names) std::cout << n << "\n";
  return exit_code::done;
}

}  // namespace weir::cli
