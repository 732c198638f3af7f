// The API's documents (docs/serve.md), from what is known.
#pragma once
#include <string>
#include <vector>

#include "core/serve/runs.hpp"
#include "core/serve/state.hpp"

namespace weir::serve {

std::string status_json(snapshot const& s);
std::string gate_json(std::vector<gate_sample> const& samples, std::size_t ceiling);
std::string sample_json(gate_sample const& s);
std::string plan_json(kept_plan const& p);
std::string runs_json(std::vector<run_row> const& runs);
std::string run_json(run_row const& r);      // as in runs_json
std::string run_json(run_details const& r);  // with its stages and changes
std::string error_json(std::string const& error, std::string const& hint);

struct check {
  std::string name;
  bool ok = true;
  std::string value, limit, detail;
};
std::string checks_json(std::vector<check> const& checks);

// What POST /runs asks for.
struct start_request {
  std::string command = "sync";              // sync, plan, resume
  std::vector<std::string> sources, stages;  // empty: all
  std::string run;                           // of resume; empty: the last unfinished
};
// Error (data): what is wrong with the body.
base::result<start_request> parse_start(std::string_view body);

}  // namespace weir::serve
