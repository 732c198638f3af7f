// What is ours and gone from the source: kept, marked or deleted, under max_deletes. And what was marked and is back.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/engine/compare.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

// `scopes`: declared complete, resolved. `seen`: what the source still has. Adds deletes, updates (marks) and kept
// objects to `plan`; the world is moved along. Nothing is deleted or marked where more than max_deletes would be, or
// where a scope in which we own something showed nothing at all.
void plan_gone(world& w, netbox::kind const& k, std::vector<nlohmann::json> const& scopes,
               std::unordered_set<object_id> const& seen, diff_rules const& rules, memory& known, kind_plan& plan,
               show_value const& show);

// An object that the source has and that bears the mark of one that is gone: the tag and the date are taken away with
// what else changes, and a status that is still the mark's becomes the `wanted` one. False: it bears none.
bool unmark(netbox::kind const& k, nlohmann::json const& actual, nlohmann::json const& wanted, compared& found,
            show_value const& show);

// What must be there before the marks of these plans can be written: the tag, and the custom field for the date. By
// kind.
std::map<std::string, std::vector<desired>> needed_for_marks(std::vector<kind_plan> const& plans);

}  // namespace weir::engine
