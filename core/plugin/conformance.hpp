// Whether a plugin keeps the contract: its file, its tables, and each of its stages under a strict host in memory.
#pragma once
#include <filesystem>
#include <string>

namespace weir::plugin {

struct conformance_options {
  std::string options_json = "{}";       // for stages that take some
  std::filesystem::path answers;         // a folder of canned answers (weir/testing.hpp); empty: none
};

// Each check begins with a line on stderr: this, the stage's id and the check's name. Where the plugin takes its process
// with it, the last such line says what it was asked to do.
inline constexpr char checking_mark[] = "now checking: ";

// Runs the plugin's code in this process (call it in a child). JSON text, an object:
//   {"file", "plugin": {"name","version","vendor"} or null, "checks": [{"stage": id or "", "check": "abi head",
//    "status": "ok"|"failed"|"warning"|"skipped", "message": one line, "hint": what to do}], "passed": bool}
std::string check(std::filesystem::path const& file, conformance_options const& options);

}  // namespace weir::plugin
