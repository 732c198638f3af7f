// `weir new-stage NAME`: a stage of somebody's own, from the SDK's template. Returns the exit code.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int new_stage(arguments const& args);

}  // namespace weir::cli
