// What a run is going to do to NetBox. Made by diff(), printed by `weir plan`, carried out by apply.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "core/engine/world.hpp"

namespace weir::engine {

enum class action { create, update, erase };
std::string_view name(action a);  // "create", "update", "delete"

struct field_change {
  std::string field;          // plain or dotted
  std::string before, after;  // for people; references by label
};

struct change {
  action what = action::create;
  netbox::kind const* kind = nullptr;
  object_id object = 0;              // logical
  std::string key;                   // JSON, as emitted; empty for deletes
  std::string label;                 // how people call it
  std::string body;                  // JSON: the members to send, references as logical ids
  std::vector<field_change> fields;  // updates: what changes; creates: what is set
  bool adopted = false;              // an update that takes over an object nobody claimed
};

struct failure {
  std::string source, stage, kind, label, message;
};

struct counts {
  std::size_t seen = 0, created = 0, updated = 0, deleted = 0, unchanged = 0, kept = 0, skipped = 0, failed = 0,
              deferred = 0;
  counts& operator+=(counts const& o);
};

// How many list requests so many objects take.
inline std::size_t requests_for(std::size_t objects, std::size_t per_request) {
  auto const size = per_request == 0 ? 1 : per_request;
  return (objects + size - 1) / size;
}

// One kind's part of a stage's plan.
struct kind_plan {
  netbox::kind const* kind = nullptr;
  std::vector<change> updates, creates, deletes;
  std::vector<failure> failures;     // objects that cannot be planned
  std::vector<std::string> skipped;  // labels: what they refer to is not in NetBox
  std::vector<std::string> kept;     // labels: ours, gone from the source, kept by rule
  std::size_t seen = 0, unchanged = 0;
  bool deletes_refused = false;  // above max_deletes
  std::size_t refused = 0, allowed = 0, owned = 0;
};

}  // namespace weir::engine
