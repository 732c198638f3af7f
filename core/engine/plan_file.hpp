// A plan as a file: what `weir plan --out` stores, `weir show` prints and `weir apply` carries out. JSON, versioned: a
// reader refuses a newer major version and ignores members that it does not know.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "core/engine/report.hpp"
#include "core/engine/run.hpp"

namespace weir::engine {

inline constexpr int plan_version_major = 1, plan_version_minor = 0;

// What must be the same when the plan is carried out. Empty where it does not matter.
struct plan_circumstances {
  std::string netbox_url;
  std::string configuration;  // fingerprint of what decides what a plan says: sources, stages and their options, rules
  std::vector<std::pair<std::string, std::string>>
      parts;  // the same, by part ("rules", "stages.backups"), to say which
  std::vector<std::pair<std::string, std::string>> plugins;  // stage id ► "version sha256"
};

struct stored_plan {
  plan_circumstances made_under;
  std::string command;  // "plan", "adopt", "undo"
  std::string weir;     // version that made it
  wall_clock::time_point made{};
  report what;  // dry, with jobs, plans, notices and failures
};

// Of this configuration and these plugins. Error: a plugin's file cannot be read.
base::result<plan_circumstances> circumstances_of(config::configuration const& settings, run_options const& options);

// Writes it whole or not at all, readable by its owner alone. Errors name the file.
base::result<void> store_plan(std::filesystem::path const& file, report const& r, plan_circumstances const& now,
                              std::string_view command, wall_clock::time_point made);
std::string plan_text(report const& r, plan_circumstances const& now, std::string_view command,
                      wall_clock::time_point made);  // the same, to look at
// The same text with the checksum that it ought to have; empty: it has none.
std::string sealed_plan(std::string_view text);
// Errors (data): no plan, damaged, newer. `kinds` of the report are those that the file brings along.
base::result<stored_plan> load_plan(std::filesystem::path const& file);
base::result<stored_plan> parse_plan(std::string_view text, std::string const& name);

// What has changed since in a way that matters, one line each; empty: nothing.
std::vector<std::string> changed_since(stored_plan const& plan, plan_circumstances const& now);

// Carries a stored plan out: reads what it is about from NetBox and refuses (error_code::guard, every difference named)
// where that is not what it was when the plan was made.
planner from_plan(stored_plan plan);

}  // namespace weir::engine
