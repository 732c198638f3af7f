// What is remembered of NetBox's objects between runs: what weir wrote last, so that a person's change is seen as one,
// and since when an object has been gone. Losing it is safe: then nothing is known, and diff takes the careful way.
#pragma once
#include <chrono>
#include <optional>
#include <string>

#include "core/engine/world.hpp"

namespace weir::engine {

using wall_clock = std::chrono::system_clock;

struct known_object {
  std::string key;      // world::key_text when it was last seen
  std::string applied;  // JSON object: leaf ("name", "custom_fields.x") ► value as weir wrote it, references as ids;
                        // of a merged set weir's own members
  std::optional<wall_clock::time_point> gone_since;
  bool operator==(known_object const&) const = default;
};

// Called on the engine's thread. Ids are NetBox's own: what is not created yet is not known.
class memory {
 public:
  virtual ~memory() = default;
  virtual std::optional<known_object> of(netbox::kind const& k, object_id id) = 0;
  // Who had this key when it was last seen, where NetBox no longer shows it (a person renamed a device, or emptied the
  // custom field).
  virtual std::optional<object_id> find(netbox::kind const& k, std::string const& key_text) = 0;
  // What is so without anything being written: an object that is as wanted, or has been found to be gone.
  virtual void note(netbox::kind const& k, object_id id, known_object const& what) = 0;
};

// Knows nothing and keeps nothing.
class no_memory : public memory {
 public:
  std::optional<known_object> of(netbox::kind const&, object_id) override { return {}; }
  std::optional<object_id> find(netbox::kind const&, std::string const&) override { return {}; }
  void note(netbox::kind const&, object_id, known_object const&) override {}
};

}  // namespace weir::engine
