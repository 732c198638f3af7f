// Any text may be what an earlier weir remembered: what is taken of it keeps lists within their ceiling, and survives
// being saved and restored.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/throttle/latencies.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace weir::throttle;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  latencies learnt;
  learnt.restore(text);
  for (auto verb : {method::get, method::post, method::patch}) {
    std::string_view const endpoint = "dcim/devices";
    auto const list = learnt.list_size(verb, endpoint, 100);
    if (list < 1 || list > 100) std::abort();
    if (auto const known = learnt.reference(verb, endpoint); known && !(*known > 0 && *known <= 1000)) std::abort();
  }
  auto const saved = learnt.save();
  latencies again;
  again.restore(saved);
  if (again.save() != saved) std::abort();
  return 0;
}
