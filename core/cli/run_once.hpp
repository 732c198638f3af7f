// One run from the taking of the lock to its end in the journal, as the commands and the service start it.
#pragma once
#include <atomic>
#include <optional>
#include <string>
#include <string_view>

#include "core/cli/setup.hpp"
#include "core/engine/plan_file.hpp"
#include "core/engine/run.hpp"

namespace weir::cli {

struct run_request {
  enum class command { sync, plan, resume, apply, adopt, undo };
  command what = command::sync;
  std::string resumes;  // resume: a run's id, or the beginning of one; empty: the last unfinished
  std::string undoes;   // undo: the same; never empty
  std::optional<engine::stored_plan> plan = {};  // apply
  bool carry_out = false;                        // adopt, undo: apply the plan at once
  std::optional<std::chrono::milliseconds> max_duration = {};

  bool only_plans() const {
    return what == command::plan || ((what == command::adopt || what == command::undo) && !carry_out);
  }
};

std::string_view name(run_request::command c);  // "sync", "plan", "resume", "apply", "adopt", "undo"

struct run_outcome {
  int exit_code = 0;
  std::optional<engine::report> report;  // absent: it did not come to a run, because of `error`, or of `nothing`
  std::optional<base::error> error;      // also of what went wrong in writing down the end of a run
  std::string nothing;                   // resume: why there is nothing to do
};

// Prints nothing. `ready.options` is filled in on the way (journal, what is resumed); its run_id is the run's.
run_outcome run_once(run_request const& request, setup& ready, engine::observer& watching,
                     std::atomic<bool> const& stop);

}  // namespace weir::cli
