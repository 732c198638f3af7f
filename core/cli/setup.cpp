#include "core/cli/setup.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/version.hpp"
#include "core/plugin/isolation.hpp"

namespace weir::cli {

namespace {

std::optional<base::error> complained;

base::log::settings log_settings(arguments const& args, config::logging const& configured) {
  base::log::settings out;
  auto const level = args.log_level ? args.log_level : configured.level;
  auto const form = args.log_format ? args.log_format : configured.format;
  if (level) base::log::parse_level(*level, out.minimum);
  if (form) base::log::parse_format(*form, out.form);
  if (args.quiet) out.minimum = std::max(out.minimum, base::log::level::warning);
  out.colour = colour_wanted(args, STDERR_FILENO);
  out.max_mib = configured.max_mib;
  out.keep = configured.keep;
  // Who only looks (as root, perhaps) leaves no file behind that the service may not write.
  bool const writes = args.what == arguments::command::sync || args.what == arguments::command::resume ||
                      args.what == arguments::command::serve;
  out.file = !args.log_file.empty() ? args.log_file : writes ? configured.file.string() : "";
  out.first_line = fmt::format("weir {} begins, pid {}", version, getpid());
  return out;
}

}  // namespace

void configure_log(arguments const& args) {
  auto const s = log_settings(args, {});
  base::log::configure(s.minimum, s.form, s.colour);
}

bool colour_wanted(arguments const& args, int descriptor) {
  if (args.color == "always") return true;
  char const* no = std::getenv("NO_COLOR");
  char const* terminal = std::getenv("TERM");
  return args.color == "auto" && isatty(descriptor) && !(no && *no) &&
         !(terminal && std::strcmp(terminal, "dumb") == 0);
}

void complain(base::error const& e) {
  if (!complained) complained = e;
  std::cerr << "error: " << e.what << "\n";
  if (!e.hint.empty()) std::cerr << "  hint: " << e.hint << "\n";
}

std::optional<base::error> first_complaint() { return complained; }

// To load a plugin and read its tables: whatever takes longer hangs.
constexpr std::chrono::seconds longest_look{20};

plugin::load_report find_plugins(std::vector<std::filesystem::path> const& path) {
  std::error_code ignored;
  auto const own = std::filesystem::canonical(find_places(config::current_environment()).own_plugins, ignored);
  return plugin::load(path, [&](std::filesystem::path const& file) -> std::optional<plugin::load_report> {
    if (file.parent_path() == own) return {};
    plugin::process_options how;
    how.limits.wall = longest_look;
    return plugin::describe(file, how);
  });
}

plugin::load_report load_plugins(std::vector<std::filesystem::path> const& path) {
  auto report = find_plugins(path);
  for (auto const& p : report.problems) complain(p);
  return report;
}

namespace {

std::vector<std::string> ids(std::vector<plugin::loaded_stage> const& stages) {
  std::vector<std::string> out;
  for (auto const& s : stages) out.push_back(s.id);
  return out;
}

// "unknown stage 'backup'; …" with the nearest name.
base::error unknown(base::error_code code, std::string const& what, std::string const& name,
                    std::vector<std::string> const& known, std::string const& where) {
  auto e = base::fail(code, (where.empty() ? "" : where + ": ") + "unknown " + what + " '" + name + "'");
  if (auto near = base::nearest(name, known)) e.hint = "did you mean '" + *near + "'? ";
  e.hint += known.empty() ? "none was found" : "known: " + base::join(known);
  return e;
}

// Where the configuration wants it.
base::result<void> choose_isolation(config::stage const& wanted, plugin::loaded_stage& stage) {
  if (wanted.isolation == config::stage_isolation::process) stage.isolated = true;
  if (wanted.isolation != config::stage_isolation::none || !stage.isolated) return {};
  // It was described by another process.
  auto here = plugin::load_alone(stage.file);
  for (auto& s : here.stages)
    if (s.id == stage.id) {
      stage = std::move(s);
      return {};
    }
  return here.problems.empty() ? base::fail("plugin " + stage.file.string() + " no longer has the stage " + stage.id)
                               : here.problems.front();
}

}  // namespace

std::optional<int> prepare(arguments const& args, setup& out) {
  auto const environment = config::current_environment();
  auto const where = find_places(environment);
  config::load_options load;
  load.file = config_file(args.config_file, environment);
  load.profile = args.profile;
  load.profile_path = where.profiles;
  load.default_plugin_path = where.plugins;
  load.environment = environment;
  auto loaded = config::load(load);
  for (auto const& w : loaded.warnings) std::cerr << "warning: " << config::render(w) << "\n";
  for (auto const& e : loaded.errors) std::cerr << config::render(e) << "\n";
  if (!loaded.value || !loaded.errors.empty()) return exit_code::configuration;
  out.settings = std::move(*loaded.value);
  if (auto ok = base::log::configure(log_settings(args, out.settings.logging)); !ok) {
    complain(ok.error());
    return exit_code::of(ok.error().code);
  }

  auto plugins = find_plugins(out.settings.plugin_path);
  bool const runs = args.what == arguments::command::sync || args.what == arguments::command::resume ||
                    args.what == arguments::command::plan;
  auto const known = ids(plugins.stages);
  bool wrong = false;
  if (runs && !known.empty()) {
    out.options.refused = plugins.problems;
  } else {
    for (auto const& p : plugins.problems) complain(p);
    wrong = !plugins.problems.empty();
  }
  if (known.empty() && !wrong) {
    std::vector<std::string> paths;
    for (auto const& p : out.settings.plugin_path) paths.push_back(p.string());
    complain(base::fail(base::error_code::config, "no stage plugin was found in " + base::join(paths),
                        "set plugin_path, or WEIR_STAGE_PATH"));
    wrong = true;
  }
  if (out.settings.stages)
    for (auto const& s : *out.settings.stages) {
      auto const found =
          std::find_if(plugins.stages.begin(), plugins.stages.end(), [&](auto const& p) { return p.id == s.id; });
      if (found == plugins.stages.end()) {
        auto e = unknown(base::error_code::config, "stage", s.id, known, s.location);
        if (!out.options.refused.empty()) {  // it may well be in a plugin that was refused
          e.hint = "a plugin was refused, which may be the one that has it";
          out.options.refused.push_back(std::move(e));
          continue;
        }
        complain(e);
        wrong = true;
        continue;
      }
      if (auto ok = choose_isolation(s, *found); !ok) {
        out.options.refused.push_back(ok.error());
        plugins.stages.erase(found);
        continue;
      }
      if (!s.sources.empty()) out.options.stage_sources[s.id] = s.sources;
      if (found->isolated)
        out.options.process_limits[s.id] = {
            s.limits.memory_mib << 20, std::chrono::duration_cast<std::chrono::seconds>(s.limits.cpu), s.limits.wall};
      auto checked = plugin::check_options(*found, s.options_json, s.location);
      if (checked) {
        out.options.stage_options[s.id] = std::move(*checked);
      } else {
        complain(checked.error());
        wrong = true;
      }
    }
  if (wrong) return exit_code::configuration;

  bool usage = false;
  for (auto const& name : args.stages)
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      complain(unknown(base::error_code::usage, "stage", name, known, "--stage"));
      usage = true;
    }
  std::vector<std::string> sources;
  for (auto const& s : out.settings.sources) sources.push_back(s.name);
  for (auto const& name : args.sources)
    if (std::find(sources.begin(), sources.end(), name) == sources.end()) {
      complain(unknown(base::error_code::usage, "source", name, sources, "--source"));
      usage = true;
    }
  if (usage) return exit_code::usage;
  out.options.sources = {args.sources.begin(), args.sources.end()};

  for (auto& stage : plugins.stages) {
    bool const configured = !out.settings.stages || out.options.stage_options.contains(stage.id);
    bool const chosen = args.stages.empty()
                            ? configured
                            : std::find(args.stages.begin(), args.stages.end(), stage.id) != args.stages.end();
    if (!chosen) continue;
    if (!out.options.stage_options.contains(stage.id)) {
      auto checked = plugin::check_options(stage, "{}", "");
      if (!checked) {
        complain(checked.error());
        return exit_code::configuration;
      }
      out.options.stage_options[stage.id] = std::move(*checked);
    }
    out.options.stages.push_back(std::move(stage));
  }
  if (out.settings.observe_only) out.options.control = throttle::control::observe;
  return {};
}

}  // namespace weir::cli
