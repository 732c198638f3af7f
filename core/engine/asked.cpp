#include "core/engine/asked.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace weir::engine {

using nlohmann::json;

bool asked::covers(asked const& other) const {
  if (guests.empty()) return true;
  return !other.guests.empty() && std::all_of(other.guests.begin(), other.guests.end(), [&](auto vmid) {
    return std::find(guests.begin(), guests.end(), vmid) != guests.end();
  });
}

std::string with_asked(std::string_view summary_json, asked const& what) {
  if (what == asked{}) return std::string(summary_json);
  auto out = nlohmann::ordered_json::parse(summary_json, nullptr, false);
  if (!out.is_object()) out = nlohmann::ordered_json::object();
  if (!what.guests.empty()) out["guests"] = what.guests;
  if (what.allow_deletes) out["allow_deletes"] = *what.allow_deletes;
  return out.dump();
}

asked asked_in(std::string_view summary_json) {
  asked out;
  auto const all = json::parse(summary_json, nullptr, false);
  if (!all.is_object()) return out;
  if (auto const its = all.find("guests"); its != all.end() && its->is_array())
    for (auto const& vmid : *its)
      if (vmid.is_number_unsigned() && vmid.get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max())
        out.guests.push_back(vmid.get<std::uint32_t>());
  if (auto const its = all.find("allow_deletes"); its != all.end() && its->is_number_unsigned())
    out.allow_deletes = its->get<std::size_t>();
  return out;
}

}  // namespace weir::engine
