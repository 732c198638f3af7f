// What the process of an isolated stage may still do. Linux: resource limits, no new privileges, no capabilities,
// Landlock, seccomp.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace weir::plugin {

struct restrictions {
  std::uint64_t address_space = 0;  // bytes; 0: none
  std::uint64_t cpu_seconds = 0;    // 0: none
  // What may be read besides the system's libraries and data; nothing at all may be written.
  std::vector<std::filesystem::path> readable;
};

// For good, and for all threads of this process. Returns what this system could not do, in a few words each.
std::vector<std::string> restrict_process(restrictions const& to);

// Whether restrict_process() keeps a child from its parent's memory and environment (Landlock). Where it does not, the
// parent has to make itself unreadable.
bool children_are_kept_out();

}  // namespace weir::plugin
