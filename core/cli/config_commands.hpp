// weir config: what the configuration comes to, and what each key means.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int config_command(arguments const& args);  // the exit code

}  // namespace weir::cli
