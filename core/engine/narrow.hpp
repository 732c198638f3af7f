// A run of single guests reads little of NetBox: of the large kinds only what its few objects can be about. Pure.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/engine/collected.hpp"
#include "core/engine/world.hpp"

namespace weir::engine {

// The keys of one kind that a stage's objects have or refer to; of those that are wanted themselves their fields, too.
struct asked_for {
  std::map<std::string, std::string> objects;  // key ► fields as JSON, "" where it is only referred to
};
std::map<std::string, asked_for> everything_asked_for(netbox::registry const& kinds, collected const& what);

// Queries for read_where() that together let through all that may be one of these by its natural key or an adoption
// key; they may let through others. References are resolved in `w`, whose parents must have been read. Nothing: the
// kind cannot be narrowed, read all of it.
std::optional<std::vector<std::string>> queries_for(world& w, netbox::kind const& k, asked_for const& wanted);

}  // namespace weir::engine
