#include <malloc.h>

#include <exception>
#include <iostream>
#include <string_view>

#include "core/cli/commands.hpp"
#include "core/cli/completion.hpp"
#include "core/cli/config_commands.hpp"
#include "core/cli/doctor.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/history.hpp"
#include "core/cli/new_stage.hpp"
#include "core/cli/serve.hpp"
#include "core/cli/stages.hpp"
#include "core/cli/throttle_simulate.hpp"
#include "core/plugin/isolation.hpp"

int main(int argc, char** argv) {
  using namespace weir::cli;
  // How weir starts itself for a stage in a process of its own: descriptor 3 is the way to weir. Not for people.
  if (argc > 1 && std::string_view(argv[1]) == "stage-process") return weir::plugin::stage_process(3);
  // One arena: what a stage's thread has given back is there for the comparing that follows. Of 100,000 objects that is
  // 30 MB less; nothing here allocates on several threads at once for long.
  mallopt(M_ARENA_MAX, 1);
  try {
    auto const line = parse(argc, argv);
    if (line.exit) return *line.exit;
    switch (line.args.what) {
      case arguments::command::sync:
      case arguments::command::resume:
      case arguments::command::plan:
      case arguments::command::apply:
      case arguments::command::adopt:
      case arguments::command::undo:
        return sync(line.args);
      case arguments::command::show:
        return show_plan(line.args);
      case arguments::command::validate:
        return validate(line.args);
      case arguments::command::stages:
        return stages(line.args);
      case arguments::command::new_stage:
        return new_stage(line.args);
      case arguments::command::profiles:
        return list_profiles(line.args);
      case arguments::command::demo:
        return demo(line.args);
      case arguments::command::history:
        return history(line.args);
      case arguments::command::simulate:
        return simulate_throttle(line.args);
      case arguments::command::version:
        return show_version();
      case arguments::command::config:
        return config_command(line.args);
      case arguments::command::serve:
        return serve(line.args);
      case arguments::command::doctor:
        return doctor(line.args);
      case arguments::command::completion:
        return completion(line.args);
      case arguments::command::complete:
        return complete(line.args);
      case arguments::command::man:
        return man(line.args);
      case arguments::command::none:
        break;
    }
    return exit_code::usage;
  } catch (std::exception const& e) {
    std::cerr << "error: weir has a fault, please report it: " << e.what() << "\n";
    return exit_code::failed;
  }
}
