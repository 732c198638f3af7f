// Any bytes in a lock file are a whole record or none; a record survives being written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/store/files.hpp"
#include "core/store/lock.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace weir::store;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  if (auto const holder = parse_record(text)) {
    if (holder->pid <= 0 || holder->run.empty()) std::abort();
    auto const record = to_record(*holder);
    auto const again = parse_record(record);
    // Escapes may make it longer than a lock file's text is ever read.
    if (!again && record.size() <= 4096) std::abort();
    if (again && (again->pid != holder->pid || again->since != holder->since || again->run != holder->run))
      std::abort();
  }
  auto const url = normalised_url(text);
  if (normalised_url(url) != url) std::abort();
  auto const file = lock_file("/state", text);
  if (file.parent_path() != "/state/locks" || file.filename().string().size() > 120) std::abort();
  return 0;
}
