// Which of NetBox's objects an object that is wanted is: by its key, by what is remembered, by what NetBox holds
// unique.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/engine/diff.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/plan.hpp"

namespace weir::engine {

// One object that is wanted, on its way through diff.
struct candidate {
  desired const* from = nullptr;
  std::string key_text;                            // world::key_text
  std::string label(netbox::kind const& k) const;  // how people call it
};

struct matched {
  object_id object = 0;          // 0: NetBox does not have it
  reason why = reason::differs;  // adopted, recreated, renumbered, returned: how it was found, or what it is now
  std::string detail;            // for people
  object_id released = 0;        // the object of an earlier machine that has this key and is another's: gives it up
  std::optional<std::string> refused;  // nobody can tell: why, with the candidates by label and id
};

class matcher {
 public:
  // `all`: everything of the kind that is wanted, by its key text; a row that one of them is by its key is no other's.
  matcher(world& w, netbox::kind const& k, diff_rules const& rules, memory& known, std::vector<candidate> const& all);
  // `whole`: key, "$create" members and fields, normalised and resolved. Each row is given out once.
  matched match(candidate const& c, nlohmann::json const& whole);

 private:
  world& world_;
  netbox::kind const& kind_;
  diff_rules const& rules_;
  memory& memory_;
  std::unordered_set<object_id> taken_;
};

}  // namespace weir::engine
