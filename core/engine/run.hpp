// One run: every chosen stage over every chosen source, planned and (unless dry) applied.
#pragma once
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/report.hpp"
#include "core/netbox/client.hpp"
#include "core/plugin/isolation.hpp"
#include "core/store/journal.hpp"
#include "core/throttle/gate.hpp"

namespace weir::engine {

std::string new_run_id();  // 8 hexadecimal digits

// What a plan that does not come from stages is made from, once NetBox is there.
struct planning {
  netbox::client& netbox;
  netbox::registry const& kinds;
  world& objects;  // the planner puts in what its plans are about
  memory& remembered;
  report& into;  // for notices
  std::function<std::optional<base::error>()> const& stopping;
};
// Jobs with source, stage, title and plans; or why there are none (error_code::guard: what is there does not fit).
using planner = std::function<base::result<std::vector<job_report>>(planning const&)>;

struct run_options {
  bool dry = false;
  std::vector<plugin::loaded_stage> stages;                       // in dependency order
  std::map<std::string, std::string> stage_options;               // by id, checked, JSON
  std::map<std::string, std::vector<std::string>> stage_sources;  // by id; absent: all of the type that it reads
  std::map<std::string, plugin::process_limits> process_limits;   // by id, of stages that run isolated
  std::vector<base::error> refused;                               // plugins and stages that cannot run; the others do
  std::set<std::string> sources;                                  // empty: all
  std::string run_id = new_run_id();
  std::string command = "sync";
  store::journal* journal = nullptr;           // null in a dry run
  store::journal const* state_from = nullptr;  // a dry run's: what stages keep between runs is read from it
  // The run to finish: its stages that are not done, over their sources. Empty: all of the above.
  std::string resumes;
  std::string undoes;                                     // the run of which `plans` makes the inverse
  planner plans;                                          // instead of collecting from sources: apply FILE, undo
  bool adopt_only = false;                                // weir adopt
  std::vector<std::uint32_t> guests;                      // --guest
  std::optional<std::size_t> allow_deletes;               // --allow-deletes
  std::optional<std::chrono::milliseconds> max_duration;  // then what is in flight is waited for, the rest is deferred
  throttle::control control = throttle::control::adaptive;
};

// A stage over a source ("": the stage reads none), in the order of the configuration's sources, those without one
// last.
struct stage_of_source {
  std::string source;
  plugin::loaded_stage const* stage = nullptr;
};
// What a run consists of, if it does not finish an earlier one. Points into `options`.
std::vector<stage_of_source> stages_by_source(config::configuration const& settings, run_options const& options);

// `stop` becomes true when the run shall end cleanly: what is in flight is waited for, the rest is deferred.
report run(config::configuration const& settings, run_options const& options, observer& watching,
           std::atomic<bool> const& stop);

// A stage's row in the journal, once it has ended.
store::stage_record row_of(std::string const& run, job_report const& r);

// How a run ended, as the journal has it.
store::run_state state_of(report const& r, int exit_code);

// After a run: its end in the journal, and what it finished of earlier ones.
base::result<void> record_end(store::journal& journal, report const& r, int exit_code, std::string_view summary_json);

}  // namespace weir::engine
