#include "core/serve/guard.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>

#include "core/base/text.hpp"

namespace weir::serve {
namespace {

// Host and port apart; nothing where it is neither "name", "name:port" nor "[v6]:port".
struct parts {
  std::string host, port;
};
std::optional<parts> split(std::string_view text) {
  parts out;
  if (text.starts_with('[')) {
    auto const end = text.find(']');
    if (end == std::string_view::npos) return {};
    out.host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
    if (out.host.find(':') == std::string::npos) return {};
  } else {
    auto const end = std::min(text.find(':'), text.size());
    out.host = text.substr(0, end);
    text.remove_prefix(end);
  }
  if (text.empty()) return out;
  if (text.front() != ':' || text.size() < 2) return {};
  out.port = text.substr(1);
  for (char const c : out.port)
    if (c < '0' || c > '9') return {};
  return out;
}

bool is_loopback(std::string const& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace

std::string authority(std::string_view host, std::uint16_t port) {
  bool const v6 = host.find(':') != std::string_view::npos;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + std::to_string(port);
}

bool bears(std::string_view authorization, base::secret const& token) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size() || base::lower(authorization.substr(0, scheme.size())) != scheme)
    return false;
  auto given = authorization.substr(scheme.size());
  while (given.starts_with(' ')) given.remove_prefix(1);
  auto const& wanted = token.reveal();
  // Every character of what was given is looked at, whatever it is.
  unsigned different = given.size() == wanted.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned char>(given[i]) ^
                 static_cast<unsigned char>(wanted.empty() ? 0 : wanted[i % wanted.size()]);
  unsigned const volatile result = different;
  return result == 0 && !wanted.empty();
}

bool is_loopback_name(std::string_view host_header) {
  auto const found = split(host_header);
  if (!found) return false;
  auto name = base::lower(found->host);
  if (name.ends_with('.')) name.pop_back();
  return name == "localhost" || name.ends_with(".localhost") || is_loopback(name);
}

bool same_origin(std::string_view origin, std::string_view host_header) {
  auto const low = base::lower(origin);
  std::string_view rest = low;
  std::string_view usual;
  if (rest.starts_with("http://"))
    rest.remove_prefix(7), usual = "80";
  else if (rest.starts_with("https://"))
    rest.remove_prefix(8), usual = "443";
  else
    return false;
  auto const from = split(rest), here = split(host_header);
  if (!from || !here || from->host.empty()) return false;
  auto const port = [&](parts const& p) { return p.port.empty() ? std::string(usual) : p.port; };
  return from->host == base::lower(here->host) && port(*from) == port(*here);
}

}  // namespace weir::serve
