// The commands. Each returns the exit code.
#pragma once
#include <atomic>

#include "core/cli/arguments.hpp"

namespace weir::cli {

int sync(arguments const& args);  // and plan, apply, adopt, undo
int show_plan(arguments const& args);
int validate(arguments const& args);
int list_profiles(arguments const& args);
int demo(arguments const& args);
int show_version();

// True after the first SIGINT or SIGTERM; the second one ends the process at once.
std::atomic<bool>& stop_requested();
void catch_signals();

}  // namespace weir::cli
