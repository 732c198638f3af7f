#include "core/cli/config_commands.hpp"

#include <iostream>

#include "core/cli/exit_codes.hpp"

namespace weir::cli {

int config_command(arguments const&) {
  std::cerr << "error: not built yet\n";
  return exit_code::failed;
}

}  // namespace weir::cli
