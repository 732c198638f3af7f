// What the configuration says of kinds (`rules`, `adopt`), laid over what the kinds say themselves; and what it says
// of a source's scope, as stages are told.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/netbox/kind.hpp"

namespace weir::engine {

// What is wrong with a rule, and where it stands ("file:line:column").
struct rule_problem {
  std::string location, what, hint;
};

// Applies all that is right to `kinds`, and tells the rest. A kind that nobody defines is told only where `all_known`:
// else it may be that of a plugin that is not loaded. Fields are checked as far as NetBox's are known.
std::vector<rule_problem> apply_rules(config::configuration const& settings, netbox::registry& kinds, bool all_known);

// Which part of its source a run is about, as extension weir.scope/1 has it; "{}": everything.
std::string scope_json(config::scope const& scope, std::vector<std::uint32_t> const& guests);

}  // namespace weir::engine
