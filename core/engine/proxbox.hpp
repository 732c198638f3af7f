// Objects that the proxbox service made: which guest, node or cluster each of them is, and what `weir adopt` writes.
//
// The service records in its plugin's sync-state rows what it made an object of; older ones wrote it into custom fields
// of the object. Both hold after a person has renamed the object, or the service has made its name unique (" (2)").
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/engine/compare.hpp"
#include "core/engine/diff.hpp"
#include "core/netbox/client.hpp"

namespace weir::engine {

// One row of plugins/proxbox/sync-state/…
struct proxbox_record {
  object_id object = 0;       // NetBox's: the virtual machine, device or cluster
  std::string cluster, node;  // by their names in Proxmox; empty: not said
  std::string type;           // qemu, lxc; empty: not said
  std::optional<std::int64_t> vmid;
};
// Of one row of NetBox's answer; nothing if it does not name an object. `k`: the kind that it is about.
std::optional<proxbox_record> proxbox_record_of(netbox::kind const& k, nlohmann::json const& row);

// Fills in rules.recognised for `k`, whose parents have been diffed. A record counts only inside its own cluster:
// the object stands in the NetBox cluster that the wanted one belongs to (or in none), and the record names no other.
void recognise(world& w, netbox::kind const& k, std::vector<desired> const& wanted,
               std::vector<proxbox_record> const& records, diff_rules& rules);

// Reads the rows when they are first needed: something is wanted that NetBox does not have by its key, while it holds
// objects that are nobody's.
class proxbox_records {
 public:
  void available(bool has_plugin) { available_ = has_plugin; }
  // Error: NetBox did not answer. Without the plugin, or the rows: only the custom fields count.
  base::result<void> recognise(netbox::client& nb, world& w, netbox::kind const& k, std::vector<desired> const& wanted,
                               std::string const& lane, diff_rules& rules);
  // --guest: which objects the rows name as those with these keys (JSON), of the keys that NetBox has not shown an
  // object of. Of guests it reads only their rows.
  base::result<std::set<object_id>> named_as(netbox::client& nb, world& w, netbox::kind const& k,
                                             std::set<std::string> const& keys, std::string const& lane);

 private:
  // What a query lets through ("": all) behind what `to` holds. True: all there is, and nothing else.
  base::result<bool> read(netbox::client& nb, netbox::kind const& k, std::string const& query, std::string const& lane,
                          std::vector<proxbox_record>& to);
  bool available_ = false;
  std::map<std::string, std::vector<proxbox_record>> read_;  // by kind
  std::set<std::string> asked_;                              // vmids that guests' rows were read for one by one
};

// The record of this object says that it is another one of the wanted ones than that with the key `key_text`.
bool recorded_for_another(diff_rules const& rules, netbox::kind const& k, object_id object,
                          std::string const& key_text);

// What the service wrote last into fields that a person may have changed since, as far as the text itself tells.
std::optional<nlohmann::json> written_by_proxbox(netbox::kind const& k, nlohmann::json const& actual);

// weir adopt. Of an update only what makes the object weir's: mark, key and identity (custom fields), tag; and nothing
// of an object that is somebody's already. `last`: as for compare().
void claims_only(world const& w, netbox::kind const& k, nlohmann::json const& actual,
                 std::optional<nlohmann::json> const& last, reason why, compared& found, show_value const& show);
// weir adopt. Whether a new object is what claims need: one of their custom fields, or the tag.
bool serves_claims(world const& w, netbox::kind const& k, nlohmann::json const& whole);
// weir adopt. How many of the wanted objects a plan says nothing of, as NetBox does not have them.
std::size_t not_in_netbox(kind_plan const& plan);

}  // namespace weir::engine
