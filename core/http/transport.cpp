#include "core/http/transport.hpp"

#include <algorithm>

#include "core/base/text.hpp"

namespace weir::http {
namespace {

void replace_all(std::string& text, std::string_view secret) {
  if (secret.size() < 8) return;  // shorter ones would tear words apart, and are no secrets of NetBox or Proxmox VE
  for (auto at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3))
    text.replace(at, secret.size(), "***");
}

}  // namespace

std::string_view reply::header(std::string_view lower_case_name) const {
  for (auto const& [key, value] : headers)
    if (key == lower_case_name) return value;
  return {};
}

std::string scrub(std::string text, headers const& sent) {
  for (auto const& [key, value] : sent) {
    auto const lower = base::lower(key);
    if (lower != "authorization" && lower != "cookie" && lower != "csrfpreventiontoken" &&
        lower != "proxy-authorization")
      continue;
    std::string_view const whole = value;
    replace_all(text, whole);
    // "Bearer nbt_key.secret", "PVEAPIToken=user@realm!id=secret", "PVEAuthCookie=ticket": what follows each mark, too.
    for (auto at = whole.find_first_of(" =."); at != std::string_view::npos; at = whole.find_first_of(" =.", at + 1))
      replace_all(text, whole.substr(at + 1));
  }
  return text;
}

std::string server_of(std::string_view url) {
  auto const scheme = url.find("://");
  auto const start = scheme == std::string_view::npos ? 0 : scheme + 3;
  auto const end = std::min(url.find_first_of("/?#", start), url.size());
  auto host = url.substr(start, end - start);
  if (auto const at = host.rfind('@'); at != std::string_view::npos) host.remove_prefix(at + 1);
  return std::string(url.substr(0, start)) + std::string(host);
}

}  // namespace weir::http
