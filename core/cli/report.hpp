// A run's result for people and for programs. Both go to stdout.
#pragma once
#include <iosfwd>
#include <string>

#include "core/engine/run.hpp"

namespace weir::cli {

int exit_code_of(engine::report const& r);

struct text_style {
  bool colour = false;
  bool verbose = false;
  std::size_t width = 96;
  std::string plan_file = {};  // where the plan has been stored; empty: nowhere
};
std::string as_text(engine::report const& r, text_style const& style);
void write_json(std::ostream& to, engine::report const& r, int exit_code);
bool has_changes(engine::report const& r);          // does its plan change anything?
std::string summary_json(engine::report const& r);  // for the journal

// "≤1 request at once, 5 list requests of ≤50 objects a batch, 200 ms between batches, ≤10 requests/s"
std::string promise(config::profile const& p);

}  // namespace weir::cli
