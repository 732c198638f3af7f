// Rows of the simulated NetBox: validation as its serializers and models do it, uniqueness by index, transactions.
// Not thread-safe: who uses it holds a lock around each request.
#pragma once
#include "core/sim/netbox_model.hpp"

#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::sim {

using nlohmann::json;

struct netbox_row {
  std::int64_t id = 0;
  std::vector<json> values;        // one per field of the model; references hold an id, choices their value
  std::vector<std::int64_t> tags;  // ids, ascending
  std::vector<std::pair<std::string, json>> custom;  // set custom fields only, by name
  std::int64_t created = 0;                          // microseconds since 1970
  std::int64_t last_updated = 0;
};

struct netbox_table {
  object_model const* model = nullptr;
  std::map<std::int64_t, netbox_row> rows;
  std::vector<json> defaults;  // of a new row, one per field
  std::int64_t next_id = 1;    // a sequence: a rolled-back transaction leaves a gap
  std::vector<std::unordered_map<std::string, std::int64_t>> unique;                // per rule, then per unique field
  std::vector<std::unordered_map<std::int64_t, std::set<std::int64_t>>> referrers;  // per field: target id -> ids here
  std::vector<std::int64_t> sorted;  // in the model's order, if sorted_at is the store's version
  std::uint64_t sorted_at = 0;

  std::size_t field(std::string_view name) const;  // index, or npos
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
};

struct change_entry {
  std::int64_t id = 0;
  std::int64_t time = 0;
  std::string request_id;
  char const* action = "";  // create, update, delete
  netbox_table const* table = nullptr;
  std::int64_t object_id = 0;
  std::string object_repr;
  std::string message;
  std::string user;
};

class netbox_store {
 public:
  // `clock`: microseconds since 1970; nothing: the system's.
  explicit netbox_store(std::function<std::int64_t()> clock = {});
  ~netbox_store();

  netbox_table* at_path(std::string_view path);  // "dcim/devices"; nullptr if there is none
  netbox_table& of(std::string_view type);       // "dcim.device"
  std::vector<netbox_table*> tables();

  // Whoever writes says first who it is and which request; rollback() takes everything back since then.
  void begin(std::string user, std::string request_id);
  void rollback();

  // `out` is the new id, or the errors by field as NetBox words them (return false).
  bool create(netbox_table& table, json const& data, json& out);
  bool update(netbox_table& table, std::int64_t id, json const& data, bool partial, json& errors);
  // Deletes with everything that cascades. Not empty: what protects it ("vm-100 (1)"), and nothing was deleted.
  std::vector<std::string> erase(netbox_table& table, std::int64_t id, std::string const& message);

  std::string display(netbox_table const& table, netbox_row const& row) const;
  // The custom fields of an object type in NetBox's order: ids of rows of extras.customfield.
  std::vector<std::int64_t> const& custom_fields_of(std::string const& type) const;
  json const& value(netbox_table const& table, netbox_row const& row, std::string_view field) const;
  std::size_t count(std::string const& type_and_field, std::int64_t id) const;  // "dcim.device.role"
  json sum(std::string const& type_field_and_summed, std::int64_t id) const;
  std::size_t tagged(std::int64_t tag) const;
  // Ids in the model's order. It is not total: rows that are equal in it come in descending order of id here, so that
  // whoever relies on it finds out.
  std::vector<std::int64_t> const& in_order(netbox_table& table) const;
  void sort(netbox_table const& table, std::vector<std::int64_t>& ids) const;
  // Sorts by one field ("name", "-id", "created"); false if there is no such field.
  bool sort_by(netbox_table const& table, std::vector<std::int64_t>& ids, std::string field) const;

  std::vector<change_entry> const& changes() const;
  bool plugin = true;  // whether the plugin's object types exist

 private:
  struct state;
  std::unique_ptr<state> state_;
};

std::string format_time(std::int64_t microseconds);         // "2026-11-22T07:03:26.396558Z"
std::string format_etag(std::int64_t microseconds);         // W/"2026-11-22T07:03:26.396558+00:00"
bool natural_less(std::string_view a, std::string_view b);  // as NetBox's natural_sort collation: vm-9 before vm-10
std::string python_repr(json const& value);                 // "{'slug': 'nosuch'}"

}  // namespace weir::sim
