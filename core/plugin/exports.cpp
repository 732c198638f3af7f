#include "core/plugin/exports.hpp"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

namespace weir::plugin {
namespace {

// A T at this offset of the file, if it is long enough.
template <class T>
std::optional<T> at(std::string_view file, std::size_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return {};
  T out;
  std::memcpy(&out, file.data() + offset, sizeof out);
  return out;
}

}  // namespace

std::optional<std::vector<std::string>> exported_symbols(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  std::string const bytes{std::istreambuf_iterator<char>(in), {}};
  auto const head = at<ElfW(Ehdr)>(bytes, 0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
      head->e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) ||
      head->e_shentsize != sizeof(ElfW(Shdr)))
    return {};
  auto const section = [&](std::size_t n) {
    return n < head->e_shnum ? at<ElfW(Shdr)>(bytes, head->e_shoff + n * sizeof(ElfW(Shdr)))
                             : std::optional<ElfW(Shdr)>{};
  };
  for (std::size_t i = 0; i < head->e_shnum; ++i) {
    auto const symbols = section(i);
    if (!symbols || symbols->sh_type != SHT_DYNSYM) continue;
    auto const names = section(symbols->sh_link);
    if (!names || names->sh_offset > bytes.size() || bytes.size() - names->sh_offset < names->sh_size) return {};
    std::string_view const text(bytes.data() + names->sh_offset, names->sh_size);
    std::vector<std::string> out;
    for (std::size_t n = 0; n * sizeof(ElfW(Sym)) < symbols->sh_size; ++n) {
      auto const symbol = at<ElfW(Sym)>(bytes, symbols->sh_offset + n * sizeof(ElfW(Sym)));
      if (!symbol) return {};
      // The linker's own marks are absolute; a version's name is one of them.
      auto const bind = symbol->st_info >> 4;
      if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx == SHN_ABS || bind == STB_LOCAL ||
          symbol->st_name >= text.size())
        continue;
      auto const name = text.substr(symbol->st_name);
      out.emplace_back(name.substr(0, name.find('\0')));
    }
    std::sort(out.begin(), out.end());
    return out;
  }
  return {};
}

}  // namespace weir::plugin
