// Shell completion and the manual page, made from the command tree.
#pragma once
#include "core/cli/arguments.hpp"

namespace weir::cli {

int completion(arguments const& args);
int complete(arguments const& args);  // the names that a completion asks for, one a line
int man(arguments const& args);       // the exit code

}  // namespace weir::cli
