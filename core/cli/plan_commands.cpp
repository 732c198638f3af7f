// weir show FILE.
#include "core/base/result.hpp"
#include "core/cli/commands.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/setup.hpp"

namespace weir::cli {

int show_plan(arguments const& args) {
  complain(base::fail("weir show " + args.plan_file + " is not built yet"));
  return exit_code::failed;
}

}  // namespace weir::cli
