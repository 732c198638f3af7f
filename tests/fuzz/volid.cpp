// Everything that reads single strings of Proxmox VE, on arbitrary bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "proxmox/text.hpp"

namespace {
void expect(bool held) {
  if (!held) std::abort();
}
// Views must stay inside the text they were taken from.
void expect_inside(std::string_view part, std::string_view whole) {
  expect(part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size()));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace weir::proxmox;
  std::string_view const text{reinterpret_cast<char const*>(data), size};

  if (auto const v = parse_backup_volume(text)) {
    expect(!v->storage.empty());
    expect_inside(v->storage, text);
    expect(!v->instant_is_utc || v->instant.has_value());
    expect(!v->instant || to_utc(*v->instant).has_value());
    expect(to_format(v->format).value.size() > 2);
  }
  parse_size(text);
  auto const equals = text.find('=');
  auto const key = text.substr(0, equals);
  auto const value = equals == text.npos ? text : text.substr(equals + 1);
  disk_bytes(key, value);
  if (auto const p = property(value, "size")) expect_inside(*p, text);
  for (auto const part : split_list(text)) {
    expect(!part.empty());
    expect_inside(part, text);
    auto const s = slug(part);
    expect(!s.empty() && s.size() <= 100 && slug(s) == s);
    expect(s.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") == s.npos);
  }
  expect(characters(cut(text, 7)) <= 7);
  auto const line = first_line(text, 200);
  expect(characters(line) <= 200 && line.find('\n') == line.npos);
  expect(url_segment(text).size() <= 3 * size);
  expect(colour_of(text).size() == 6);
  return 0;
}
