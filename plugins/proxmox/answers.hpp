// Proxmox VE's JSON as its versions really write it, and what several stages make of it.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {
class run;
}

namespace weir::proxmox {

using json = nlohmann::json;

// Members of an object that may be absent, null, or of the neighbouring type ("100" for 100, 1 for true).
std::optional<std::int64_t> integer(json const& object, char const* member);
std::optional<double> number(json const& object, char const* member);
std::optional<bool> flag(json const& object, char const* member);
// Empty where absent; numbers as their digits.
std::string text(json const& object, char const* member);

// A guest's number, as NetBox's fields hold it: 1 to 2147483647.
std::optional<std::int64_t> vmid(json const& object);

// Throws weir::source_error, naming `target`, unless `list` is an array. Rows that are no objects are left out.
std::vector<json> rows(json list, std::string_view target);

// Of GET /cluster/status. A standalone node answers with its own row alone and gives its own name.
struct cluster_state {
  std::string name;
  bool quorate = true;
  std::vector<json> nodes;  // rows of type node
};
// Throws weir::source_error if the answer names no cluster and no node, and where the token may not ask.
cluster_state read_cluster(run const& r);

// Of GET /access/permissions: what the token may do, by path.
class privileges {
 public:
  // Nothing is allowed and nothing is known.
  privileges() = default;
  // The `data` member.
  explicit privileges(json const& data);
  // On the path itself: its own entry, else that of the nearest shorter path whose privilege propagates.
  bool on(std::string_view path, std::string_view privilege) const;
  // On everything below the path, too: propagates, and no longer path in the map takes it away.
  bool below(std::string_view path, std::string_view privilege) const;

 private:
  struct grant {
    std::string path, privilege;
    bool propagates;
  };
  bool listed(std::string_view path) const;
  grant const* find(std::string_view path, std::string_view privilege) const;
  std::vector<std::string> paths_;
  std::vector<grant> grants_;
};

// Asks for them. Empty if they can't be had (a notice is not given: say what follows from it).
struct asked_privileges {
  privileges held;
  std::string fault;  // why they could not be read
};
asked_privileges read_privileges(run const& r);

// The custom field that says whose an object is, on these kinds of objects.
void emit_source_field(run const& r, std::vector<std::string> const& object_types);
// The tag `weir`.
void emit_weir_tag(run const& r);

inline constexpr char const* weir_tag = "weir";

// Keys of the objects that stages refer to.
json cluster_key(std::string_view source, std::string_view name);
json device_key(std::string_view source, std::string_view name);
json guest_key(std::string_view source, std::int64_t vmid);
json scope_of(std::string_view source);

}  // namespace weir::proxmox
