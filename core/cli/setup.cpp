#include "core/cli/setup.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <tuple>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/version.hpp"
#include "core/engine/policy.hpp"
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
  using command = arguments::command;
  bool const writes = args.what == command::sync || args.what == command::resume || args.what == command::serve ||
                      args.what == command::apply || args.carry_out;
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

config::diagnostic as_diagnostic(base::error const& e) {
  config::diagnostic d;
  d.summary = e.what;
  d.detail = e.hint;
  return d;
}

// Each at the option's own place, where the configuration has it.
std::vector<config::diagnostic> about_options(plugin::loaded_stage const& stage, config::stage const& given,
                                              base::error const& whole) {
  std::vector<config::diagnostic> out;
  for (auto const& problem : plugin::find_option_problems(stage, given.options_json)) {
    auto const& places = problem.at_key ? given.option_key_locations : given.option_locations;
    auto const at = places.find(problem.pointer);
    out.push_back(config::complain_at_location(at != places.end() ? at->second : given.key_location,
                                               "stages." + given.id + ": " + problem.what, problem.hint));
  }
  if (out.empty()) out.push_back(config::complain_at_location(given.key_location, whole.what, whole.hint));
  return out;
}

// Rules by the kinds of all plugins that are here, the chosen ones or not. `all`: none of them was refused.
std::vector<config::diagnostic> about_rules(config::configuration const& settings,
                                            std::vector<plugin::loaded_stage> const& stages, bool all) {
  netbox::registry kinds;
  for (auto const& stage : stages)
    if (auto parsed = netbox::parse_kinds(stage.kinds_json))
      for (auto& k : *parsed)
        // A kind that contradicts another's costs its stage, and is told by the run.
        if (!kinds.add(std::move(k), stage.id)) all = false;
  std::vector<config::diagnostic> out;
  for (auto& p : engine::apply_rules(settings, kinds, all))
    out.push_back(config::complain_at_location(p.location, std::move(p.what), std::move(p.hint)));
  std::stable_sort(out.begin(), out.end(), [](config::diagnostic const& a, config::diagnostic const& b) {
    return std::tie(a.file, a.line, a.column) < std::tie(b.file, b.line, b.column);
  });
  return out;
}

}  // namespace

config::load_options reading(arguments const& args) {
  auto const environment = config::current_environment();
  auto const where = find_places(environment);
  auto const files = find_config_files(args.config_file, environment);
  config::load_options out;
  out.file = files.file;
  out.lower_files = files.lower;
  out.profile = args.profile;
  out.profile_path = where.profiles;
  out.default_plugin_path = where.plugins;
  out.environment = environment;
  out.serving = args.what == arguments::command::serve;
  for (auto const& text : args.settings) {
    auto const equals = text.find('=');
    out.flags.push_back({"--set", text.substr(0, equals), equals == std::string::npos ? "" : text.substr(equals + 1)});
  }
  if (!args.listen.empty()) out.flags.push_back({"--listen", "serve.listen", args.listen});
  return out;
}

void print(config::diagnostic const& d) {
  bool const plain = d.file.empty() && d.source_line.empty();
  if (plain && d.severity == config::severity::error)
    complain(base::fail(d.summary, d.detail));
  else
    std::cerr << config::render(d) << "\n";
}

std::optional<int> prepare(arguments const& args, setup& out) {
  std::vector<config::diagnostic> said;
  auto const code = prepare(args, out, said);
  for (auto const& d : said) print(d);
  return code;
}

std::optional<int> prepare(arguments const& args, setup& out, std::vector<config::diagnostic>& said) {
  auto const complain = [&](base::error const& e) { said.push_back(as_diagnostic(e)); };
  auto loaded = config::load(reading(args));
  said.insert(said.end(), loaded.warnings.begin(), loaded.warnings.end());
  said.insert(said.end(), loaded.errors.begin(), loaded.errors.end());
  // What is not wrong is looked at, too, so that everything is said at once.
  bool wrong = !loaded.value;
  if (wrong && (!loaded.rest || loaded.rest->plugin_path.empty())) return exit_code::configuration;
  out.settings = std::move(wrong ? *loaded.rest : *loaded.value);
  if (!wrong) {
    if (auto ok = base::log::configure(log_settings(args, out.settings.logging)); !ok) {
      complain(ok.error());
      return exit_code::of(ok.error().code);
    }
  }

  auto plugins = find_plugins(out.settings.plugin_path);
  bool const runs = args.what == arguments::command::sync || args.what == arguments::command::resume ||
                    args.what == arguments::command::plan || args.what == arguments::command::doctor ||
                    args.what == arguments::command::serve || args.what == arguments::command::apply ||
                    args.what == arguments::command::adopt || args.what == arguments::command::undo;
  auto const known = ids(plugins.stages);
  if (runs && !known.empty()) {
    out.options.refused = plugins.problems;
  } else {
    for (auto const& p : plugins.problems) complain(p);
    wrong = wrong || !plugins.problems.empty();
  }
  if (known.empty() && plugins.problems.empty()) {
    std::vector<std::string> paths;
    for (auto const& p : out.settings.plugin_path) paths.push_back(p.string());
    auto const none = "no stage plugin was found in " + base::join(paths);
    if (out.settings.plugin_path_location.empty())
      complain(base::fail(base::error_code::config, none, "set plugin_path, or WEIR_STAGE_PATH"));
    else
      said.push_back(config::complain_at_location(out.settings.plugin_path_location, none,
                                                  "without plugin_path weir looks beside itself"));
    wrong = true;
  }
  if (known.empty()) return exit_code::configuration;
  if (out.settings.stages)
    for (auto const& s : *out.settings.stages) {
      auto const found =
          std::find_if(plugins.stages.begin(), plugins.stages.end(), [&](auto const& p) { return p.id == s.id; });
      if (found == plugins.stages.end()) {
        auto e = unknown(base::error_code::config, "stage", s.id, known, "");
        if (!out.options.refused.empty()) {  // it may well be in a plugin that was refused
          e.what = s.location + ": " + e.what;
          e.hint = "a plugin was refused, which may be the one that has it";
          out.options.refused.push_back(std::move(e));
          continue;
        }
        said.push_back(config::complain_at_location(s.key_location, e.what, e.hint));
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
        for (auto& d : about_options(*found, s, checked.error())) said.push_back(std::move(d));
        wrong = true;
      }
    }
  for (auto const& schedule : out.settings.serve.schedules)
    for (std::size_t i = 0; i < schedule.stages.size() && out.options.refused.empty(); ++i)
      if (auto const& name = schedule.stages[i]; std::find(known.begin(), known.end(), name) == known.end()) {
        auto const e = unknown(base::error_code::config, "stage", name, known, "");
        said.push_back(config::complain_at_location(schedule.stage_locations.at(i), e.what, e.hint));
        wrong = true;
      }
  for (auto& d : about_rules(out.settings, plugins.stages, out.options.refused.empty())) {
    said.push_back(std::move(d));
    wrong = true;
  }
  if (wrong) return exit_code::configuration;

  bool usage = false;
  for (auto const& name : args.stages)
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      if (args.what == arguments::command::apply) continue;  // the plan's: it says so itself
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
  out.options.guests = args.guests;
  if (args.allow_deletes) out.options.allow_deletes = *args.allow_deletes;

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
