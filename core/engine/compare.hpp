// One object that is wanted against the one that NetBox holds: which fields change, which of people's edits stay.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/engine/plan.hpp"

namespace weir::engine {

// A value for people, whole: references by label.
using show_value = std::function<std::string(std::string const& field, nlohmann::json const& value)>;

constexpr std::size_t longest_value_bytes = 80;  // of a plan's text

// Two values of a field, cut so that what differs is among what is shown ("…;mac=aa → …;mac=bb").
std::pair<std::string, std::string> cut(std::string_view before, std::string_view after);
// Of a field, with both values as `show` gives them.
field_change changed(std::string field, std::string_view before, std::string_view after, bool edited = false);

struct compared {
  std::string body, before;          // JSON objects: the members to send, and what NetBox holds in them
  std::string after;                 // JSON: the whole row as it will be
  std::string applied;               // JSON: leaf ► value, for memory
  std::vector<field_change> fields;  // empty: nothing to send
  std::vector<kept_edit> edits;      // without label and object
};

// `actual`: NetBox's fields, normalised. `wanted` and `key`: what a stage emitted, normalised and resolved. `last`:
// what weir wrote last (leaf ► value); nothing: not known. Pure. Rules: netbox::rule.
//
// What memory shall hold afterwards: of a field that is written, or is as wanted, what is wanted; of one that a person
// changed and that stays, what weir wrote before; of a merged one, weir's own part.
compared compare(netbox::kind const& k, nlohmann::json const& actual, nlohmann::json const& wanted,
                 nlohmann::json const& key, std::optional<nlohmann::json> const& last, show_value const& show);

// Of a new object: what is sent, and what memory holds of it afterwards. `whole`: key, "$create" members and fields.
struct created {
  std::string body, applied;
  std::vector<field_change> fields;
};
created create(netbox::kind const& k, nlohmann::json const& whole, show_value const& show);

// ["custom_fields.a", "name", …]: the leaves that are compared; custom fields one by one, everything else whole.
std::vector<std::string> leaves(nlohmann::json const& fields);

// A set's members.
std::set<std::string> words(nlohmann::json const& list);

}  // namespace weir::engine
