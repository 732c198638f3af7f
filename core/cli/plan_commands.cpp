// weir show FILE.
#include <unistd.h>

#include <iostream>

#include "core/base/text.hpp"
#include "core/cli/commands.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/report.hpp"
#include "core/cli/setup.hpp"
#include "core/engine/plan_file.hpp"

namespace weir::cli {

int show_plan(arguments const& args) {
  auto const plan = engine::load_plan(args.plan_file);
  if (!plan) {
    complain(plan.error());
    return exit_code::failed;
  }
  int code = exit_code::done;
  if (args.detailed_exitcode && has_changes(plan->what)) code = exit_code::changes;
  if (args.output == "json")
    write_json(std::cout, plan->what, code);
  else
    std::cout << "Plan made " << base::format_instant(std::chrono::floor<std::chrono::seconds>(plan->made))
              << " by weir " << plan->weir << ", weir " << plan->command << "\n"
              << as_text(plan->what, {colour_wanted(args, STDOUT_FILENO), args.verbose, 96, args.plan_file});
  std::cout << std::flush;
  if (std::cout) return code;
  complain(base::fail("the plan could not be written to stdout"));
  return exit_code::failed;
}

}  // namespace weir::cli
