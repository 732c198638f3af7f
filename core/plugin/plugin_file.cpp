#include "core/plugin/plugin_file.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

// The linker's name for the head of the program's own file: what plugins must be built for.
extern "C" __attribute__((visibility("hidden"))) ElfW(Ehdr) const __ehdr_start;

namespace weir::plugin {
namespace {

namespace fs = std::filesystem;

base::error refuse(std::string what, std::string hint = {}) {
  return base::fail(base::error_code::config, std::move(what), std::move(hint));
}

std::string machine_name(unsigned machine) {
  switch (machine) {
    case EM_386:
      return "x86 (32 bit)";
    case EM_X86_64:
      return "x86-64";
    case EM_ARM:
      return "ARM (32 bit)";
    case EM_AARCH64:
      return "AArch64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "POWER";
    case EM_S390:
      return "S/390";
    default:
      return fmt::format("machine {}", machine);
  }
}

}  // namespace

base::result<void> check_plugin_file(fs::path const& file) {
  auto const name = file.string();
  std::error_code ec;
  auto const status = fs::status(file, ec);
  if (ec) return refuse(fmt::format("plugin {}: {}", name, ec.message()));
  if (!fs::is_regular_file(status)) return refuse(fmt::format("plugin {} is no regular file", name));
  constexpr auto others = fs::perms::group_write | fs::perms::others_write;
  if ((status.permissions() & others) != fs::perms::none)
    return refuse(fmt::format("plugin {} can be changed by others (mode {:04o})", name,
                              static_cast<unsigned>(status.permissions() & fs::perms::mask)),
                  "weir runs what is in this file: chmod go-w " + name);
  auto const folder = file.parent_path();
  auto const around = fs::status(folder, ec);
  if (ec) return refuse(fmt::format("plugin {}: {}: {}", name, folder.string(), ec.message()));
  if ((around.permissions() & fs::perms::others_write) != fs::perms::none &&
      (around.permissions() & fs::perms::sticky_bit) == fs::perms::none)
    return refuse(fmt::format("plugin {}: anybody can replace files in its directory (mode {:04o})", name,
                              static_cast<unsigned>(around.permissions() & fs::perms::mask)),
                  "chmod go-w " + folder.string());

  std::ifstream in(file, std::ios::binary);
  if (!in) return refuse(fmt::format("plugin {} can't be opened for reading: {}", name, std::strerror(errno)));
  ElfW(Ehdr) head{};
  in.read(reinterpret_cast<char*>(&head), sizeof head);
  auto const no_library = [&](std::string const& why) {
    return refuse(fmt::format("plugin {} is no shared library: {}", name, why),
                  "plugins are ELF shared objects (.so), built with weir's SDK");
  };
  if (in.gcount() == 0) return no_library("the file is empty");
  if (in.gcount() < SELFMAG || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
    return no_library("it does not begin like an ELF file");
  if (in.gcount() < static_cast<std::streamsize>(sizeof head)) return no_library("the file is cut off");
  auto const& own = __ehdr_start;
  if (head.e_ident[EI_CLASS] != own.e_ident[EI_CLASS] || head.e_ident[EI_DATA] != own.e_ident[EI_DATA] ||
      head.e_machine != own.e_machine)
    return refuse(fmt::format("plugin {} is built for {}{}, this weir for {}", name, machine_name(head.e_machine),
                              head.e_ident[EI_DATA] != own.e_ident[EI_DATA] ? " of the other byte order" : "",
                              machine_name(own.e_machine)),
                  "take the plugin built for this machine");
  if (head.e_type != ET_DYN) return no_library(fmt::format("its ELF type is {}, not a shared object", head.e_type));
  return {};
}

}  // namespace weir::plugin
