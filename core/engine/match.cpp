#include "core/engine/match.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using nlohmann::json;

matcher::matcher(world& w, netbox::kind const& k, diff_rules const& rules, memory& known,
                 std::vector<candidate> const& all)
    : world_(w), kind_(k), rules_(rules), memory_(known) {
  for (auto const& c : all)
    if (auto const* r = world_.of(kind_).by_key(c.key_text); r && !r->removed) taken_.insert(r->id);
}

matched matcher::match(candidate const& c, json const& whole) {
  (void)rules_, (void)memory_;
  auto& t = world_.of(kind_);
  matched out;
  if (auto const* r = t.by_key(c.key_text); r && !r->removed) {
    out.object = r->id;
    return out;
  }
  std::set<object_id> candidates;
  for (std::size_t i = 0; i < kind_.adopt_by.size(); ++i) {
    bool complete = true;
    for (auto const& member : kind_.adopt_by[i]) complete = complete && !at(whole, member).is_null();
    if (!complete) continue;
    for (auto* r : t.by_adoption(i, index_text(kind_.adopt_by[i], whole, true))) {
      if (r->removed || taken_.contains(r->id)) continue;
      auto const actual = r->fields();
      // Somebody else's, if one of the key's own custom fields says so.
      bool claimed = false;
      for (auto const& member : kind_.key)
        if (member.starts_with("custom_fields.") && !at(actual, member).is_null() &&
            !netbox::same(at(actual, member), at(whole, member)))
          claimed = true;
      if (!claimed) candidates.insert(r->id);
    }
    if (!candidates.empty()) break;
  }
  if (candidates.empty()) return out;
  if (candidates.size() > 1) {
    std::vector<std::string> ids;
    for (auto id : candidates) ids.push_back("#" + std::to_string(id));
    out.refused = "NetBox holds " + std::to_string(ids.size()) + " objects that could be it (" + base::join(ids) +
                  "): give one of them the custom fields of weir, or rename the others";
    return out;
  }
  out.object = *candidates.begin();
  out.why = reason::adopted;
  taken_.insert(out.object);
  return out;
}

}  // namespace weir::engine
