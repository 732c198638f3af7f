// `weir history` and `weir history show RUN`: what the journal says about earlier runs. Reads only.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int history(arguments const& args);

}  // namespace weir::cli
