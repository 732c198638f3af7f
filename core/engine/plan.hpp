// What a run is going to do to NetBox. Made by diff(), printed by `weir plan`, carried out by apply.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "core/engine/field_list.hpp"
#include "core/engine/packed.hpp"
#include "core/engine/world.hpp"

namespace weir::engine {

enum class action : char { create, update, erase };
std::string_view name(action a);  // "create", "update", "delete"

// What a change is about, where its fields alone do not tell.
enum class reason : char {
  differs,     // the source says otherwise (creates: NetBox does not have it)
  adopted,     // an update that takes over an object nobody claimed
  recreated,   // the same name and key, another machine: kept as one object
  renumbered,  // the same machine under a new key
  gone,        // no longer in the source: marked, or deleted
  released,    // its key belongs to another machine now: gives it up, and is marked
  returned,    // was marked as gone
  undone,      // the inverse of what an earlier run did
};
std::string_view name(reason r);  // "differs", "adopted", …

struct change {
  action what = action::create;
  reason why = reason::differs;
  netbox::kind const* kind = nullptr;
  object_id object = 0;  // logical
  packed key;            // as emitted; empty for deletes
  std::string label;     // how people call it
  packed body;           // the members to send, references as logical ids
  packed before;         // updates: what NetBox holds in these members now; deletes: what was read
  packed applied;        // what memory shall hold once it is done (read with remembered()); empty: forget it
  field_list fields;     // updates: what changes; creates: what is set
  std::string detail;    // for people, why it is so: "gone from pve-a since 2026-11-20"; may be empty
};

// A field that a person changed since weir wrote it, and that a rule keeps.
struct kept_edit {
  std::string label;  // of the object
  object_id object = 0;
  std::string field;   // plain or dotted
  std::string held;    // what NetBox holds, for people
  std::string wanted;  // what the source says
  netbox::rule by = netbox::rule::on_create;
  bool known = true;  // false: it differs, and nobody knows who wrote it (no record of what weir wrote)
};

// An object that is ours and gone from the source, and stays.
struct kept_object {
  std::string label;
  object_id object = 0;
  std::string detail;  // why: "orphans: keep", "deleted from 2026-11-29 on", "more than 10 …"
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
  std::vector<kept_object> kept;     // ours, gone from the source, and still there after the plan
  std::vector<kept_edit> edits;      // people's changes that stay
  std::size_t seen = 0, unchanged = 0;
  bool deletes_refused = false;  // by max_deletes, or an empty answer: what is gone is neither deleted nor marked
  std::size_t refused = 0, allowed = 0, owned = 0;
  std::string refused_because, refused_hint;  // for people
};

}  // namespace weir::engine
