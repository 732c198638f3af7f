// NetBox's error bodies, in words, and who in a list was to blame.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/client.hpp"

namespace weir::netbox {

// The body of a refused list request. At most one of by_index and by_id has members.
struct blame {
  std::string detail;                                         // NetBox's summary, or the whole message
  std::vector<std::pair<std::size_t, std::string>> by_index;  // POST
  std::vector<std::pair<std::uint64_t, std::string>> by_id;   // PATCH, PUT, DELETE
};
// Never fails: a body of another form becomes `detail`, shortened.
blame parse_blame(std::string_view body);

// What a request came to, as an error for people. `tried` names method, path and what it was for.
base::error describe(http::answer const& got, std::string const& tried);

}  // namespace weir::netbox
