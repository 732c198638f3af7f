#include "core/engine/orphans.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using nlohmann::json;

void plan_gone(world& w, netbox::kind const& k, std::vector<json> const& scopes,
               std::unordered_set<object_id> const& seen, diff_rules const& rules, memory& known, kind_plan& plan) {
  (void)known;
  auto const inside = [&](json const& object) {
    return std::any_of(scopes.begin(), scopes.end(), [&](json const& scope) {
      return std::all_of(scope.items().begin(), scope.items().end(),
                         [&](auto const& item) { return netbox::same(at(object, item.key()), item.value()); });
    });
  };
  std::vector<change> gone;
  for (auto const& r : w.of(k).rows()) {
    if (r.removed || r.id >= first_pending) continue;
    auto const object = r.fields();
    // Ours by the mark, in scope by our own look at it: no filter of NetBox's was trusted.
    if (at(object, k.mark) != json(rules.source) || !inside(object)) continue;
    ++plan.owned;
    if (seen.contains(r.id)) continue;
    change c;
    c.what = action::erase;
    c.kind = &k;
    c.object = r.id;
    auto const& name = at(object, k.label);
    c.label = name.is_string() ? name.get<std::string>() : "#" + std::to_string(r.id);
    c.why = reason::gone;
    gone.push_back(std::move(c));
  }
  if (gone.empty()) return;
  plan.allowed = std::max(rules.max_deletes, plan.owned * rules.max_deletes_percent / 100);
  if (k.when_gone != netbox::orphans::erase || gone.size() > plan.allowed) {
    plan.deletes_refused = k.when_gone == netbox::orphans::erase;
    if (plan.deletes_refused) plan.refused = gone.size();
    for (auto& c : gone) plan.kept.push_back({std::move(c.label), c.object, ""});
    return;
  }
  for (auto const& c : gone) w.of(k).by_id(c.object)->removed = true;
  plan.deletes = std::move(gone);
}

}  // namespace weir::engine
