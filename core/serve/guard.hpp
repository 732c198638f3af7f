// Who may ask the service, and under which name. Pure.
#pragma once
#include <cstdint>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/base/secret.hpp"

namespace weir::serve {

struct address {
  std::string host;  // numeric, without brackets
  std::uint16_t port = 0;
  bool loopback = false;
};
// "127.0.0.1:9788", "[::1]:9788", "localhost:0", ":9788" (all IPv4 addresses), "[::]:9788". Error: config.
base::result<address> parse_address(std::string_view text);
// As it stands in a URL: "127.0.0.1:9788", "[::1]:9788".
std::string authority(std::string_view host, std::uint16_t port);

// Whether this Authorization header bears the token. Takes as long for a wrong one as for a right one.
bool bears(std::string_view authorization, base::secret const& token);
// Whether a Host header names this machine to itself. What another name on loopback means is a web page elsewhere whose
// name was pointed here (DNS rebinding).
bool is_loopback_name(std::string_view host_header);
// Whether a browser's Origin is the service that Host names.
bool same_origin(std::string_view origin, std::string_view host_header);

}  // namespace weir::serve
