// What those who write, read and carry out a plan's file have to agree on, and nobody else needs.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/engine/world.hpp"

namespace weir::engine {

// Stands for an object that is not there yet: {"$new": 1} for the plan's first.
inline constexpr std::string_view new_object = "$new";

// The checksum is the last member, and of all bytes before it.
inline constexpr std::string_view before_checksum = ",\n \"checksum\": \"";
std::string seal_of(std::string_view text);  // from before_checksum to the end

// What a kind is, as far as a plan's objects are found, checked and written by it. In the form of a stage's kinds_json.
nlohmann::json as_json(netbox::kind const& k);

// "FILE is no plan that weir can carry out: WHY" (data).
base::error no_plan(std::string const& file, std::string why);

}  // namespace weir::engine
