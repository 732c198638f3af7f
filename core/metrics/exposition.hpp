// Reads back what TextSerializer wrote.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace weir::metrics {

struct sample {
  std::string name;
  std::map<std::string, std::string> labels;
  double value = 0;
};

// Lines of Prometheus's text format 0.0.4, without timestamps. Error: names the line that is none.
base::result<std::vector<sample>> parse_exposition(std::string_view text);

}  // namespace weir::metrics
