#include "core/cli/doctor.hpp"

#include <iostream>

#include "core/cli/exit_codes.hpp"

namespace weir::cli {

int doctor(arguments const&) {
  std::cerr << "error: not built yet\n";
  return exit_code::failed;
}

}  // namespace weir::cli
