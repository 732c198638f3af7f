// What is ours and gone from the source: kept, marked or deleted, under max_deletes.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <unordered_set>
#include <vector>

#include "core/engine/diff.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

// `scopes`: declared complete, resolved. `seen`: what the source still has. Adds deletes, updates (marks) and kept
// objects to `plan`; the world is moved along.
void plan_gone(world& w, netbox::kind const& k, std::vector<nlohmann::json> const& scopes,
               std::unordered_set<object_id> const& seen, diff_rules const& rules, memory& known, kind_plan& plan);

}  // namespace weir::engine
