// weir serve: the service around core/serve.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int serve(arguments const& args);  // the exit code

}  // namespace weir::cli
