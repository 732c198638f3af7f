#include "core/cli/completion.hpp"

#include <iostream>

#include "core/cli/exit_codes.hpp"

namespace weir::cli {

int completion(arguments const&) {
  std::cerr << "error: not built yet\n";
  return exit_code::failed;
}
int complete(arguments const&) { return exit_code::failed; }
int man(arguments const&) {
  std::cerr << "error: not built yet\n";
  return exit_code::failed;
}

}  // namespace weir::cli
