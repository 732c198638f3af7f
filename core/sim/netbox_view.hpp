// Reading the simulated NetBox: representations of objects, filters, pages.
#pragma once
#include "core/sim/netbox_store.hpp"

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weir::sim {

using query_list = std::vector<std::pair<std::string, std::string>>;

struct netbox_view {
  std::string base;              // "http://127.0.0.1:8000"
  bool brief = false;            // ?brief=1
  std::set<std::string> fields;  // ?fields=
  std::set<std::string> omit;    // ?omit=

  netbox_view(std::string base_url, query_list const& query);

  // The representation as JSON text, members in NetBox's order.
  std::string render(netbox_store const& store, netbox_table const& table, netbox_row const& row) const;
  std::string url(netbox_table const& table, std::int64_t id) const;
};

struct netbox_answer {
  int status = 200;
  std::string body;
  std::size_t objects = 0;  // in the body
};

// GET of a list: filters, ordering and paging by `query`.
netbox_answer list_objects(netbox_store& store, netbox_table& table, std::string const& base, std::string const& path,
                           query_list const& query, int max_page_size);
// GET /api/core/object-changes/
netbox_answer list_changes(netbox_store& store, std::string const& base, query_list const& query, int max_page_size);
std::optional<std::string> render_change(netbox_store& store, std::string const& base, std::int64_t id);

}  // namespace weir::sim
