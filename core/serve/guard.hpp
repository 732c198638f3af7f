// Who may ask the service, and under which name. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/secret.hpp"

namespace weir::serve {

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
