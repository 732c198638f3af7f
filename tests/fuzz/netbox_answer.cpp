// Any bytes may be NetBox's answer: blame is found or not, and values in weir's form stay the same when brought into it
// again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/netbox/client.hpp"
#include "core/netbox/errors.hpp"
#include "core/netbox/kind.hpp"
#include "core/netbox/value.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace weir::netbox;
  static registry const kinds;
  static kind const& vm = *kinds.find("virtualization.virtualmachine");
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  auto const blamed = parse_blame(text);
  if (!blamed.by_index.empty() && !blamed.by_id.empty()) std::abort();
  if (blamed.detail.size() > 1024) std::abort();
  (void)parse_kinds(text);
  std::string_view const marker = "weir 7f3a2c1b/17";
  if (auto const changes = client::parse_changes(text, marker)) {
    // Whatever the answer holds: only what bears the marker is ours.
    if (!changes->empty() && text.find("weir") == text.npos && text.find("\\u") == text.npos) std::abort();
    if (changes->size() > text.size() / marker.size()) std::abort();
    if (auto const none = client::parse_changes(text, "another's"); !none) std::abort();
  }
  auto const parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object()) return 0;
  auto const same_id = [](std::uint64_t id, std::string const&) { return id; };
  auto const once = normalise(vm, parsed, same_id);
  if (normalise(vm, once, same_id) != once) std::abort();
  return 0;
}
