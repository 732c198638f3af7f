// What NetBox would refuse of a plan, seen beforehand: two objects of one name where it allows one, and an object that
// does not agree with the one it belongs to.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_set>

#include "core/engine/compare.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

// Called when everything else of the plan is known, and the world is as the plan leaves it. Creates and updates that
// would give an object what another one holds (kind::unique) are taken back, in the world, too, and become failures
// that name the holder. One that is ours and gone gives its name up instead. `seen`: what the source still has.
void settle_names(world& w, netbox::kind const& k, std::unordered_set<object_id> const& seen, diff_rules const& rules,
                  memory& known, kind_plan& plan, show_value const& show);

// Fields that have to agree with those of an object that this one refers to (kind::inherits).
class inheriting {
 public:
  // `fields` and `extra` (the members of "$create"): normalised and resolved. What a new object would only get where
  // nothing else is known follows that other object.
  inheriting(world& w, netbox::kind const& k, nlohmann::json& fields, nlohmann::json& extra, show_value const& show);
  // Why NetBox would refuse it; `held`: its object's fields, null where it is to be created. `whole`: what is wanted.
  std::optional<std::string> refused(nlohmann::json const& whole, nlohmann::json const& held) const;

 private:
  struct inherited {
    std::string field;
    netbox::inheritance const* by;
    object_id from;
    std::uint64_t value;
  };
  world& world_;
  netbox::kind const& kind_;
  show_value const& show_;
  std::vector<inherited> all_;
};

}  // namespace weir::engine
