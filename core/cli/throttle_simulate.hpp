// `weir throttle simulate SCENARIO`: what each profile would do to a described NetBox, as a table and a picture.
#pragma once
#include "core/cli/arguments.hpp"
#include "core/cli/simulation.hpp"
#include "core/config/scenario.hpp"

namespace weir::cli {

int simulate_throttle(arguments const& args);

// The simulation of one profile in a scenario.
simulation_input input_of(config::scenario const& s, config::profile const& p, std::uint64_t seed);
// A figure by the name it has in a scenario's `expect`.
double figure_of(simulation_result const& r, std::string_view name);

}  // namespace weir::cli
