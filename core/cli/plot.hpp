// Simulations as a picture: SVG text, written by hand.
#pragma once
#include <string>
#include <vector>

#include "core/cli/simulation.hpp"

namespace weir::cli {

struct plot_span {
  double from_s = 0, to_s = 0;
  std::string label;
};

struct plot_curve {
  std::string name;
  simulation_result const* of = nullptr;
};

struct plot_input {
  std::string title;
  std::vector<std::string> subtitles;  // a line each
  std::vector<plot_curve> curves;
  std::vector<plot_span> events;
  int connections = 0;  // PostgreSQL's
};
std::string plot(plot_input const& in);

}  // namespace weir::cli
