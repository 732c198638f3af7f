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

// Kinds of which NetBox deletes objects along with one of `k`: those with `k` in their natural key, as far as they are
// marked.
std::vector<netbox::kind const*> kinds_inside(netbox::registry const& kinds, netbox::kind const& k);

// Deletions of all objects of `k`, whoever's they are, with a parent in their natural key that is planned to be
// deleted: NetBox deletes them in any case. Decided on with the parent, they count against no max_deletes. The world is
// moved along.
kind_plan gone_with_parents(world& w, netbox::kind const& k);

// An object that the source has and that bears the mark of one that is gone: the tag and the date are taken away with
// what else changes, and a status that is still the mark's becomes the `wanted` one. False: it bears none.
bool unmark(netbox::kind const& k, nlohmann::json const& actual, nlohmann::json const& wanted, compared& found,
            show_value const& show);

// What must be there before the marks of these plans can be written: the tag, and the custom field for the date. By
// kind.
std::map<std::string, std::vector<desired>> needed_for_marks(std::vector<kind_plan> const& plans);

}  // namespace weir::engine
