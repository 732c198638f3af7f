// What one stage said about one source.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/result.hpp"

namespace weir::engine {

struct desired {
  std::string key;     // JSON object: the kind's key members
  std::string fields;  // JSON object
};

struct notice {
  base::log::level level = base::log::level::warning;
  std::string source, stage, message, hint;
};

struct collected {
  std::map<std::string, std::vector<desired>> objects;       // by kind
  std::map<std::string, std::vector<std::string>> complete;  // by kind: scopes, JSON objects
  std::vector<notice> notices;
};

}  // namespace weir::engine
