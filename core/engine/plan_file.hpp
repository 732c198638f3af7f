// A plan as a file: what `weir plan --out` stores, `weir show` prints and `weir apply` carries out. JSON, versioned: a
// reader refuses a newer major version and ignores members that it does not know.
#pragma once
#include <filesystem>
#include <string>

#include "core/engine/plan_circumstances.hpp"
#include "core/engine/report.hpp"

namespace weir::engine {

inline constexpr int plan_version_major = 1, plan_version_minor = 0;

struct stored_plan {
  plan_circumstances made_under;
  std::string command;  // "plan", "adopt", "undo"
  std::string weir;     // version that made it
  wall_clock::time_point made{};
  report what;  // dry, with jobs, plans, notices and failures
};

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

}  // namespace weir::engine
