// Desired objects against what NetBox holds. Deterministic: the same input in any order gives the same plan.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/engine/collected.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

struct diff_rules {
  std::string source, stage;     // for failures; `source` is what the mark must say
  std::size_t max_deletes = 10;  // the larger of this and
  std::size_t max_deletes_percent =
      20;  // this share of what is ours in the scopes may be deleted, unless the kind says
  std::optional<std::size_t> allow_deletes = {};  // --allow-deletes: instead, and also where an answer is empty
  wall_clock::time_point now = {};                // for periods of grace, and the date of a mark
  // What another service recorded of its objects, by kind and key text: which of NetBox's objects this one is.
  std::map<std::string, std::unordered_map<std::string, std::vector<object_id>>> recognised = {};
  std::map<std::string, std::unordered_map<object_id, std::string>> recorded_for = {};  // the same by object ► key text
  bool adopt_only = false;  // weir adopt: objects are claimed (mark, key, tag), nothing else about them is touched
};

// The top-level fields that must be in the world's table of `k` before diff() is called: for objects of it that are
// wanted, or (with nothing wanted) for being referred to.
std::set<std::string> fields_needed(netbox::kind const& k, std::vector<desired> const& wanted, bool scoped);

// Every kind that `wanted` objects of `k` refer to, directly or through keys.
std::set<std::string> kinds_needed(netbox::registry const& kinds, netbox::kind const& k);

// `scopes`: declared complete, JSON objects. The world is moved to the state after the plan: what is planned counts as
// there for the stages that follow.
//
// A desired object with the one field "$keep": true is in the source and not to be written (it is filtered out): what
// NetBox has of it stays as it is and is not taken for gone.
kind_plan diff(world& w, netbox::kind const& k, std::vector<desired> wanted, std::vector<std::string> const& scopes,
               diff_rules const& rules, memory& known);

}  // namespace weir::engine
