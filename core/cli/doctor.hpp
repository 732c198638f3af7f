// weir doctor: prints what core/doctor finds.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int doctor(arguments const& args);  // the exit code

}  // namespace weir::cli
