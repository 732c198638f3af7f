// What a stranger may send to the service beyond HTTP's own form: a body of POST /runs, a Host, an Origin, an address.
#include <cstdlib>
#include <string_view>

#include "core/config/values.hpp"
#include "core/serve/guard.hpp"
#include "core/serve/json.hpp"

extern "C" int LLVMFuzzerTestOneInput(unsigned char const* data, std::size_t size) {
  using namespace weir::serve;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (auto const wanted = parse_start(text)) {
    if (wanted->command != "sync" && wanted->command != "plan" && wanted->command != "resume") std::abort();
    if (!wanted->run.empty() && wanted->command != "resume") std::abort();
  } else if (wanted.error().what.empty()) {
    std::abort();
  }
  auto const half = text.substr(0, text.size() / 2), rest = text.substr(text.size() / 2);
  if (same_origin(half, rest) && half.find("://") == std::string_view::npos) std::abort();
  if (is_loopback_name(text) && text.empty()) std::abort();
  if (bears(text, weir::base::secret())) std::abort();  // no token is no key
  if (auto const a = weir::config::parse_listen(text); a && a->host.empty()) std::abort();
  return 0;
}
