// One form for what NetBox answers and for what stages want, so that equal things compare equal.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/netbox/kind.hpp"

namespace weir::netbox {

// An object of a list or a POST's reply in weir's form: choices as their value, references as an id (those of the
// kind's refs passed through `id_of`(id, kind)), tags as a sorted list of slugs, instants in UTC, numbers as numbers.
// Read-only members stay as they are.
nlohmann::json normalise(kind const& k, nlohmann::json const& raw,
                         std::function<std::uint64_t(std::uint64_t, std::string const&)> const& id_of);

// What a stage emitted, in the same form; references are left as they are.
nlohmann::json normalise_desired(kind const& k, nlohmann::json fields);

// Equal for NetBox: 2 and 2.0 and "2.00" are, null and "" are (NetBox stores one where the other was sent), and
// texts that differ in surrounding white space only (it is stripped).
bool same(nlohmann::json const& a, nlohmann::json const& b);

// The value at a plain or dotted name; null if there is none.
nlohmann::json const& at(nlohmann::json const& object, std::string_view name);
void put(nlohmann::json& object, std::string_view name, nlohmann::json value);

// JSON text on one line; bytes that are no UTF-8 are replaced.
std::string dump(nlohmann::json const& value);

}  // namespace weir::netbox
