// What one stage said about one source.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/result.hpp"
#include "core/engine/packed.hpp"

namespace weir::engine {

struct desired {
  packed key;     // JSON object: the kind's key members
  packed fields;  // JSON object
};

struct notice {
  base::log::level level = base::log::level::warning;
  std::string source, stage, message, hint;
};

struct metric {
  bool counter = false;  // else a gauge
  double value = 0;
};

struct collected {
  std::map<std::string, std::vector<desired>> objects;       // by kind
  std::map<std::string, std::vector<std::string>> complete;  // by kind: scopes, JSON objects
  std::vector<notice> notices;
  std::map<std::string, metric> metrics;                            // the stage's own
  std::map<std::string, std::optional<std::string>> state_changes;  // of what is kept for it; no value: erased
};

}  // namespace weir::engine
