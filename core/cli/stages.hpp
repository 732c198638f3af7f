// `weir stages list|show|check`. Returns the exit code.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int stages(arguments const& args);

}  // namespace weir::cli
