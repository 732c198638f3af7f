// What several commands need before they begin: configuration, plugins, the choice of stages.
#pragma once
#include <optional>

#include "core/cli/arguments.hpp"
#include "core/cli/paths.hpp"
#include "core/config/config.hpp"
#include "core/engine/run.hpp"

namespace weir::cli {

struct setup {
  config::configuration settings;
  engine::run_options options;
};
// Prints what is wrong on stderr and returns the exit code, or fills `out`. A plugin that is refused costs a run its
// stages and nothing else (run_options.refused); to the other commands it is a wrong configuration.
std::optional<int> prepare(arguments const& args, setup& out);
// The same without a word: what is wrong, and what is doubtful, goes to `said`.
std::optional<int> prepare(arguments const& args, setup& out, std::vector<config::diagnostic>& said);

// How the configuration is read for this command line: the files in their order, the environment, --set.
config::load_options reading(arguments const& args);
void print(config::diagnostic const& d);  // on stderr

// The plugins along these paths. Those that are not weir's own are looked at, and run, in a process of their own.
plugin::load_report find_plugins(std::vector<std::filesystem::path> const& path);
plugin::load_report load_plugins(std::vector<std::filesystem::path> const& path);  // and prints what was refused

// By the command line alone, before the configuration is known; prepare() does it once more, with the configuration's
// words where the command line has none.
void configure_log(arguments const& args);
void complain(base::error const& e);           // "error: …" with its hint, on stderr
std::optional<base::error> first_complaint();  // what complain() was told first
bool colour_wanted(arguments const& args, int descriptor);

}  // namespace weir::cli
