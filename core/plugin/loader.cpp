#include "core/plugin/loader.hpp"

#include <fmt/format.h>

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <mutex>
#include <set>
#include <sstream>

#include "core/base/text.hpp"
#include "core/plugin/options.hpp"
#include "core/plugin/order.hpp"
#include "core/plugin/plugin_file.hpp"
#include "core/plugin/utf8.hpp"
#include "weir/abi.h"

namespace weir::plugin {
namespace {

namespace fs = std::filesystem;

// The sizes of ABI 1.0. Structs only grow at their end, so these never change.
constexpr std::size_t plugin_size_1_0 = offsetof(weir_plugin, reserved0) + sizeof(std::uint32_t);
constexpr std::size_t stage_size_1_0 = offsetof(weir_stage, destroy) + sizeof(void*);
// More stages than this in one file is no list but garbage.
constexpr std::uint32_t max_stages = 1000;
constexpr char exported[] = "weir_plugin_v1";

base::error refuse(std::string what, std::string hint = {}) {
  return base::fail(base::error_code::config, std::move(what), std::move(hint));
}

// The version and the size at the head of a struct that a plugin brought.
base::result<void> check_head(weir_head const& head, std::size_t least, std::string const& whose) {
  if (head.abi_major != WEIR_ABI_MAJOR)
    return refuse(fmt::format("{} is built for weir plugin ABI {}.{}, this weir speaks {}.{}", whose, head.abi_major,
                              head.abi_minor, WEIR_ABI_MAJOR, WEIR_ABI_MINOR),
                  head.abi_major > WEIR_ABI_MAJOR ? "update weir, or take an older build of the plugin"
                                                  : "rebuild the plugin with this weir's SDK");
  if (head.abi_minor > WEIR_ABI_MINOR)
    return refuse(fmt::format("{} needs at least weir plugin ABI {}.{}, this weir speaks {}.{}", whose, head.abi_major,
                              head.abi_minor, WEIR_ABI_MAJOR, WEIR_ABI_MINOR),
                  "update weir, or build the plugin with a lower WEIR_TARGET_MINOR");
  if (head.size < least)
    return refuse(fmt::format("{} is too short: its struct has {} bytes, ABI {}.0 has {}", whose, head.size,
                              WEIR_ABI_MAJOR, least),
                  "set the head with WEIR_HEAD() of weir/abi.h");
  return {};
}

bool good_id(std::string_view id) {
  auto const letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !id.empty() && letter(id.front()) &&
         std::all_of(id.begin(), id.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '-'; });
}

// These are shown to people, in tables: nothing in them may end a line or steer a terminal.
bool one_line(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; });
}

// One stage's table, checked and copied. `whose`: the file and the plugin, for messages.
base::result<loaded_stage> check_stage(weir_stage const* table, std::uint32_t index, std::string const& whose) {
  auto const nth = fmt::format("{}: stage number {}", whose, index + 1);
  if (table == nullptr) return refuse(nth + " is null");
  if (auto good = check_head(table->h, stage_size_1_0, nth); !good) return good.error();
  if (table->id == nullptr) return refuse(nth + " has a null pointer for its id");
  if (!good_id(table->id))
    return refuse(fmt::format("{} has the id \"{}\"", nth, repair_utf8(table->id)),
                  "an id begins with a letter and holds a to z, 0 to 9 and '-' only");
  auto const name = fmt::format("{}: stage \"{}\"", whose, table->id);
  struct {
    char const* what;
    char const* text;
  } const texts[] = {{"version", table->version},
                     {"title", table->title},
                     {"needs", table->needs},
                     {"source_type", table->source_type},
                     {"kinds_json", table->kinds_json}};
  for (auto const& one : texts)
    if (one.text == nullptr) return refuse(fmt::format("{} has a null pointer for its {}", name, one.what));
  if (table->create == nullptr) return refuse(name + " has a null pointer for create()");
  if (table->collect == nullptr) return refuse(name + " has a null pointer for collect()");
  if (table->destroy == nullptr) return refuse(name + " has a null pointer for destroy()");

  loaded_stage out;
  out.id = table->id;
  out.version = table->version;
  out.title = table->title;
  std::istringstream needs(table->needs);
  for (std::string need; needs >> need;)
    if (std::find(out.needs.begin(), out.needs.end(), need) == out.needs.end()) out.needs.push_back(need);
  out.source_type = table->source_type;
  out.kinds_json = table->kinds_json;
  if (table->options_schema != nullptr) out.options_schema = table->options_schema;
  if (auto good = check_contents(out, whose); !good) return good.error();
  out.table = table;
  return out;
}

// Libraries stay loaded to the end of the process: their tables, threads and destructors may be in use anywhere.
void keep(boost::dll::shared_library library) {
  static std::mutex mutex;
  static auto& kept = *new std::vector<boost::dll::shared_library>;
  std::lock_guard const lock(mutex);
  kept.push_back(std::move(library));
}

// dlerror's text out of what Boost.DLL wraps around it; all of it where it does not look as expected.
std::string dlerror_text(std::string const& what) {
  static constexpr std::string_view before = "dlerror system message: ";
  auto const from = what.find(before);
  auto const to = what.rfind("): ");
  if (from == std::string::npos || to == std::string::npos || to < from + before.size()) return what;
  return what.substr(from + before.size(), to - from - before.size());
}

base::result<weir_plugin const*> open(fs::path const& file) {
  namespace dll = boost::dll;
  dll::shared_library library;
  try {
    // Only the throwing overload carries dlerror's text.
    library.load(file, dll::load_mode::rtld_now | dll::load_mode::rtld_local);
  } catch (std::exception const& e) {
    return refuse(fmt::format("plugin {} can't be loaded: {}", file.string(), repair_utf8(dlerror_text(e.what()))),
                  "an undefined symbol or a missing library: see ldd -r " + file.string());
  }
  auto const found = library.has(exported);
  auto const* plugin = found ? &library.get<weir_plugin const>(exported) : nullptr;
  keep(std::move(library));
  if (plugin == nullptr)
    return refuse(fmt::format("plugin {} does not export the symbol {}", file.string(), exported),
                  "a weir plugin exports one data symbol, `const weir_plugin weir_plugin_v1` (weir/abi.h); a file that "
                  "is no plugin does not belong into plugin_path");
  return plugin;
}

void load_file(fs::path const& file, load_report& report, std::vector<loaded_stage>& found) {
  auto const problem = [&](base::error e) { report.problems.push_back(std::move(e)); };
  if (auto good = check_plugin_file(file); !good) return problem(good.error());
  auto const opened = open(file);
  if (!opened) return problem(opened.error());
  auto const& plugin = **opened;
  auto whose = "plugin " + file.string();
  if (auto good = check_head(plugin.h, plugin_size_1_0, whose); !good) return problem(good.error());
  struct {
    char const* what;
    char const* text;
  } const texts[] = {{"name", plugin.name}, {"version", plugin.version}, {"vendor", plugin.vendor}};
  for (auto const& one : texts) {
    if (one.text == nullptr) return problem(refuse(fmt::format("{} has a null pointer for its {}", whose, one.what)));
    if (!valid_utf8(one.text)) return problem(refuse(fmt::format("{}: its {} is not UTF-8", whose, one.what)));
    if (!one_line(one.text))
      return problem(refuse(fmt::format("{}: its {} holds a control character", whose, one.what)));
  }
  if (plugin.stages == nullptr) return problem(refuse(whose + " has a null pointer for its list of stages"));
  if (plugin.stage_count == 0 || plugin.stage_count > max_stages)
    return problem(refuse(
        fmt::format("{} says that it has {} stages; 1 to {} are possible", whose, plugin.stage_count, max_stages)));
  for (std::uint32_t i = 0; i < plugin.stage_count; ++i) {
    auto stage = check_stage(plugin.stages[i], i, whose);
    if (!stage) {
      problem(stage.error());
      continue;
    }
    stage->file = file;
    stage->plugin_name = plugin.name;
    stage->plugin_version = plugin.version;
    stage->vendor = plugin.vendor;
    found.push_back(std::move(*stage));
  }
}

}  // namespace

base::result<void> check_contents(loaded_stage const& stage, std::string const& whose) {
  if (!good_id(stage.id))
    return refuse(fmt::format("{}: a stage has the id \"{}\"", whose, base::shorten(repair_utf8(stage.id), 80)),
                  "an id begins with a letter and holds a to z, 0 to 9 and '-' only");
  auto const name = fmt::format("{}: stage \"{}\"", whose, stage.id);
  struct {
    char const* what;
    std::string const& text;
  } const texts[] = {{"version", stage.version},
                     {"title", stage.title},
                     {"source_type", stage.source_type},
                     {"plugin's name", stage.plugin_name},
                     {"plugin's version", stage.plugin_version},
                     {"vendor", stage.vendor},
                     {"kinds_json", stage.kinds_json}};
  for (auto const& one : texts) {
    if (!valid_utf8(one.text)) return refuse(fmt::format("{}: its {} is not UTF-8", name, one.what));
    if (&one.text != &stage.kinds_json && !one_line(one.text))
      return refuse(fmt::format("{}: its {} holds a control character", name, one.what));
  }
  for (auto const& need : stage.needs)
    if (!good_id(need))
      return refuse(fmt::format("{} needs \"{}\", which is no stage id", name, base::shorten(repair_utf8(need), 80)));
  if (auto const wrong = kinds_problem(stage.kinds_json); !wrong.empty()) return refuse(name + ": " + wrong);
  if (!stage.options_schema.empty())
    if (auto const wrong = schema_problem(stage.options_schema); !wrong.empty()) return refuse(name + ": " + wrong);
  return {};
}

load_report load_alone(fs::path const& file) {
  load_report report;
  std::error_code ec;
  auto const real = fs::canonical(file, ec);
  if (ec)
    report.problems.push_back(refuse(fmt::format("plugin {}: {}", file.string(), ec.message())));
  else
    load_file(real, report, report.stages);
  return report;
}

load_report load(std::vector<fs::path> const& path, describer const& elsewhere) {
  load_report report;
  std::vector<fs::path> files;
  for (auto const& entry : path) {
    std::error_code ec;
    if (!fs::is_directory(entry, ec)) {
      if (fs::exists(fs::symlink_status(entry, ec)))
        files.push_back(entry);
      else if (entry.extension() == ".so")
        report.problems.push_back(refuse(fmt::format("plugin {}: there is no such file", entry.string())));
      continue;
    }
    std::vector<fs::path> here;
    fs::directory_iterator at(entry, ec);
    for (; !ec && at != fs::directory_iterator(); at.increment(ec))
      if (at->path().extension() == ".so") here.push_back(at->path());
    if (ec) report.problems.push_back(refuse(fmt::format("plugin directory {}: {}", entry.string(), ec.message())));
    std::sort(here.begin(), here.end());
    files.insert(files.end(), here.begin(), here.end());
  }

  std::vector<loaded_stage> found;
  std::set<fs::path> seen;
  for (auto const& file : files) {
    std::error_code ec;
    auto const real = fs::canonical(file, ec);
    if (ec) {
      report.problems.push_back(refuse(fmt::format("plugin {}: {}", file.string(), ec.message())));
      continue;
    }
    // The same file by another name is not a second plugin.
    if (!seen.insert(real).second) continue;
    if (auto told = elsewhere ? elsewhere(real) : std::nullopt) {
      std::move(told->stages.begin(), told->stages.end(), std::back_inserter(found));
      std::move(told->problems.begin(), told->problems.end(), std::back_inserter(report.problems));
    } else {
      load_file(real, report, found);
    }
  }
  auto sorted = sort_out(std::move(found));
  report.stages = std::move(sorted.stages);
  for (auto& one : sorted.problems) report.problems.push_back(std::move(one));
  return report;
}

}  // namespace weir::plugin
