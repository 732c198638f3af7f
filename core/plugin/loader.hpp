// Finds, loads and checks stage plugins (Boost.DLL). A loaded plugin is never unloaded.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/plugin/options.hpp"

struct weir_stage;

namespace weir::plugin {

struct loaded_stage {
  std::string id, version, title;
  std::vector<std::string> needs;
  std::string source_type;
  std::string kinds_json;
  std::string options_schema;  // empty: takes no options
  std::string plugin_name, plugin_version, vendor;
  std::filesystem::path file;
  weir_stage const* table = nullptr;  // null where it was described by a process of its own
  bool isolated = false;              // it runs in a process of its own
};

struct load_report {
  std::vector<loaded_stage> stages;   // in dependency order
  std::vector<base::error> problems;  // one per file or stage that was refused; each names the file and both sides
};

// `path`: directories (every *.so in them, by name) and single files. A directory that is missing is no problem.
// `elsewhere`: asked first for each file (without symbolic links in its path); what it answers is taken instead of
// loading the file into this process.
using describer = std::function<std::optional<load_report>(std::filesystem::path const& file)>;
load_report load(std::vector<std::filesystem::path> const& path, describer const& elsewhere = {});

// One file by itself: what its stages need is not looked for, and they stand in the file's own order.
load_report load_alone(std::filesystem::path const& file);

// Whether what a stage says about itself can be used: its id, texts, kinds and schema. Errors begin with `whose`.
base::result<void> check_contents(loaded_stage const& stage, std::string const& whose);

// Dependency order of the chosen ones. Errors name the cycle or the missing stage. Pure.
base::result<std::vector<loaded_stage>> in_order(std::vector<loaded_stage> stages);

// The options against the stage's JSON Schema (draft 7); defaults of top-level properties are filled in.
// `where` ("file:line:column") is named in the error.
base::result<std::string> check_options(loaded_stage const& stage, std::string const& options_json,
                                        std::string const& where);
// Each thing for itself that check_options() would refuse, where that can be told; else nothing.
std::vector<option_problem> find_option_problems(loaded_stage const& stage, std::string const& options_json);

}  // namespace weir::plugin
