#include "core/cli/arguments.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <sstream>

#include "core/cli/exit_codes.hpp"
#include "core/cli/version.hpp"
#include "core/config/values.hpp"

namespace weir::cli {
namespace {

using command = arguments::command;

void add_set_option(CLI::App& to, arguments& a) {
  to.add_option("--set", a.settings, "A setting of the configuration, over everything else; may be repeated")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->check(CLI::Validator(
          [](std::string const& text) {
            return text.find('=') == std::string::npos ? "'" + text + "' has no '='; such as max_deletes=50"
                                                       : std::string();
          },
          ""));
}

void add_run_options(CLI::App& to, arguments& a, bool chooses = true) {
  to.add_option("-c,--config", a.config_file, "Configuration file (default: the user's, then /etc/weir/config.yaml)")
      ->type_name("FILE")
      ->envname("WEIR_CONFIG");
  to.add_option("-p,--profile", a.profile, "Profile: a name (see 'weir profiles') or a YAML file")
      ->type_name("PROFILE")
      ->envname("WEIR_PROFILE");
  if (chooses) {
    to.add_option("-s,--stage", a.stages, "Only this stage; may be repeated")->type_name("STAGE")->take_all();
    to.add_option("--source", a.sources, "Only this source; may be repeated")->type_name("SOURCE")->take_all();
  }
  add_set_option(to, a);
}

void add_duration_option(CLI::App& to, arguments& a) {
  to.add_option_function<std::string>(
        "--max-duration",
        [&a](std::string const& text) {
          auto const ms = config::parse_duration(text);
          if (!ms || *ms <= 0)
            throw CLI::ValidationError("--max-duration", "'" + text + "' is no duration like 90s, 30m or 2h");
          a.max_duration_s = std::min(*ms / 1000, 366 * 86'400.0);  // clocks do not count for ever
        },
        "Stop cleanly after so long (90s, 30m, 2h); weir resume does the rest")
      ->type_name("DURATION")
      ->envname("WEIR_MAX_DURATION");
}

void add_output_options(CLI::App& to, arguments& a, bool streams = false) {
  to.add_option("-o,--output", a.output,
                streams ? "Form of the result on stdout; ndjson: events as "
                          "they happen, one JSON object a line"
                        : "Form of the result on stdout")
      ->check(streams ? CLI::IsMember({"text", "json", "ndjson"}) : CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_metrics_option(CLI::App& to, arguments& a) {
  to.add_option("--metrics-file", a.metrics_file, "Write the run's metrics into this file, for node_exporter")
      ->type_name("FILE")
      ->envname("WEIR_METRICS_FILE");
}

void add_log_options(CLI::App& to, arguments& a) {
  to.add_option("--log-level", a.log_level, "What goes to stderr (default: info)")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->envname("WEIR_LOG_LEVEL");
  to.add_option("--log-format", a.log_format, "Form of the log (default: text)")
      ->check(CLI::IsMember({"text", "logfmt", "json"}))
      ->envname("WEIR_LOG_FORMAT");
  to.add_option("--log-file", a.log_file, "Log into this file, too; it is rotated")
      ->type_name("FILE")
      ->envname("WEIR_LOG_FILE");
  to.add_flag("--no-progress", a.no_progress, "No live status line");
  to.add_flag("-q,--quiet", a.quiet, "Only warnings and errors on stderr");
  to.add_option("--color", a.color, "Colour in the text output")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

void add_out_option(CLI::App& to, arguments& a) {
  to.add_option("--out", a.out, "Store the plan in this file, for 'weir apply'")->type_name("FILE");
}

void add_scope_options(CLI::App& to, arguments& a) {
  to.add_option("--guest", a.guests, "Only this guest, by its vmid, and what belongs to it; may be repeated")
      ->type_name("VMID")
      ->check(CLI::Range(1u, 2147483647u))
      ->take_all();
  to.add_option("--allow-deletes", a.allow_deletes,
                "For this run, so many objects of a kind may be deleted or marked as gone, instead of max_deletes")
      ->type_name("N");
}

// Of commands that plan and, if told so, carry it out at once.
void add_planned_options(CLI::App& to, arguments& a) {
  add_run_options(to, a);
  add_output_options(to, a, true);
  add_log_options(to, a);
  to.add_flag("-v,--verbose", a.verbose, "List every change");
  to.add_flag("--detailed-exitcode", a.detailed_exitcode, "Exit with 2, not 0, if there are changes");
  add_out_option(to, a);
  to.add_flag("--apply", a.carry_out, "Carry the plan out at once");
  add_duration_option(to, a);
  add_metrics_option(to, a);
}

constexpr char const* about =
    "weir copies what Proxmox VE knows into NetBox, as fast as that NetBox can "
    "take it and never faster.";

// All commands and options. After parsing, the function it gives says in `a`
// what was chosen; both must still be there.
std::function<void()> declare(CLI::App& app, arguments& a) {
  app.set_version_flag("--version", std::string("weir ") + version);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 the run failed, 2 there are changes (--detailed-exitcode), 3 some objects or a stage\n"
      "failed, 4 refused: deletions or a stored plan, 5 another run is at work, 64 usage, 69 unreachable, 75 stopped\n"
      "early (weir resume), 77 credentials, 78 configuration, 130 interrupted.\n"
      "Unknown codes must be treated as failure.");

  auto* sync = app.add_subcommand("sync", "Bring NetBox up to date");
  add_run_options(*sync, a);
  add_output_options(*sync, a, true);
  add_log_options(*sync, a);
  sync->add_flag("-v,--verbose", a.verbose, "List every change in the result");
  add_duration_option(*sync, a);
  add_metrics_option(*sync, a);
  add_scope_options(*sync, a);
  auto* resume = app.add_subcommand("resume", "Finish what a run left: its stages that are not done, planned anew");
  resume
      ->add_option("run", a.run,
                   "The run's id, or the beginning of it (default: the last "
                   "unfinished one)")
      ->type_name("RUN");
  add_run_options(*resume, a);
  add_output_options(*resume, a, true);
  add_log_options(*resume, a);
  resume->add_flag("-v,--verbose", a.verbose, "List every change in the result");
  add_duration_option(*resume, a);
  add_metrics_option(*resume, a);
  auto* plan = app.add_subcommand("plan", "Show what sync would do; sends no write");
  add_run_options(*plan, a);
  add_output_options(*plan, a, true);
  add_log_options(*plan, a);
  plan->add_flag("-v,--verbose", a.verbose, "List every change");
  plan->add_flag("--detailed-exitcode", a.detailed_exitcode, "Exit with 2, not 0, if there are changes");
  add_out_option(*plan, a);
  add_scope_options(*plan, a);
  auto* apply = app.add_subcommand("apply", "Carry out a stored plan, exactly; refuses where it no longer fits");
  apply->add_option("FILE", a.plan_file, "The plan, as 'weir plan --out' stored it")->type_name("")->required();
  add_run_options(*apply, a, false);
  add_output_options(*apply, a, true);
  add_log_options(*apply, a);
  apply->add_flag("-v,--verbose", a.verbose, "List every change in the result");
  add_duration_option(*apply, a);
  add_metrics_option(*apply, a);
  auto* show_plan = app.add_subcommand("show", "Print a stored plan");
  show_plan->add_option("FILE", a.plan_file, "The plan, as 'weir plan --out' stored it")->type_name("")->required();
  add_output_options(*show_plan, a);
  show_plan->add_flag("-v,--verbose", a.verbose, "List every change");
  show_plan->add_flag("--detailed-exitcode", a.detailed_exitcode, "Exit with 2, not 0, if there are changes");
  show_plan->add_option("--color", a.color, "Colour in the text output")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  auto* adopt = app.add_subcommand("adopt",
                                   "Plan the taking over of objects that another service made; changes "
                                   "nothing else about them");
  adopt->add_option("--from", a.adopt_from, "The service that made them")
      ->check(CLI::IsMember({"proxbox"}))
      ->capture_default_str();
  add_planned_options(*adopt, a);
  auto* undo = app.add_subcommand("undo", "Plan the inverse of a run: what it created, changed and deleted");
  undo->add_option("RUN", a.run, "Its id, or the beginning of it")->type_name("")->required();
  add_planned_options(*undo, a);
  auto* demo = app.add_subcommand("demo",
                                  "Sync a simulated Proxmox VE cluster into a "
                                  "simulated NetBox, on loopback");
  demo->add_option("-p,--profile", a.profile, "Profile: a name (see 'weir profiles') or a YAML file")
      ->type_name("PROFILE");
  demo->add_option("--nodes", a.demo_nodes, "Nodes of the simulated cluster")
      ->check(CLI::Range(1u, 32u))
      ->capture_default_str();
  demo->add_option("--guests", a.demo_guests, "Its guests")->check(CLI::Range(1u, 20000u))->capture_default_str();
  demo->add_option("--backups", a.demo_backups, "Its backups")->check(CLI::Range(0u, 200000u))->capture_default_str();
  demo->add_option("--plugin", a.plugins, "A plugin of your own, or a folder of them; may be repeated")
      ->type_name("FILE")
      ->take_all();
  demo->add_option("-s,--stage", a.stages, "Only this stage; may be repeated")->type_name("STAGE")->take_all();
  add_log_options(*demo, a);
  auto* stages = app.add_subcommand("stages", "List the stages that were found, show one, or check a plugin file");
  stages->add_option("-c,--config", a.config_file, "Configuration file, for its plugin_path")->type_name("FILE");
  add_output_options(*stages, a);
  stages->require_subcommand(0, 1);
  stages->add_subcommand("list", "All of them; what 'weir stages' alone does")->fallthrough();
  auto* stages_show = stages->add_subcommand("show", "One stage: what it is, emits and takes")->fallthrough();
  stages_show->add_option("ID", a.stage, "The stage's id")->type_name("STAGE")->required();
  auto* stages_check = stages
                           ->add_subcommand("check",
                                            "Whether a plugin keeps weir's contract: "
                                            "what is wrong, and what to do")
                           ->fallthrough();
  stages_check->add_option("FILE", a.plugin_file, "The plugin (.so)")->type_name("")->required();
  stages_check->add_option("--options", a.stage_options, "Options of its stages: a JSON object, or @FILE")
      ->type_name("JSON");
  stages_check->add_option("--answers", a.answers, "Folder of canned answers of the source (see the SDK's guide)")
      ->type_name("DIR");
  auto* new_stage = app.add_subcommand("new-stage", "Lay out a stage of your own: code, test, build files");
  new_stage->add_option("NAME", a.stage, "Its id, and its folder's name: a to z, 0 to 9 and '-'")
      ->type_name("")
      ->required();
  new_stage->add_option("--into", a.into, "Where to make the folder")->type_name("DIR")->capture_default_str();
  auto* profiles = app.add_subcommand("profiles", "List the profiles and their ceilings");
  add_output_options(*profiles, a);
  profiles->add_option("-c,--config", a.config_file, "Configuration file: marks the profile it chooses")
      ->type_name("FILE");
  auto* validate = app.add_subcommand("validate", "Check the configuration, the plugins, NetBox and the sources");
  add_run_options(*validate, a);
  add_output_options(*validate, a);
  validate->add_flag("--no-network", a.no_network, "Only what can be checked without NetBox and the sources");
  add_log_options(*validate, a);
  auto* history = app.add_subcommand("history", "List the runs, or show one: what it did, what failed, what is left");
  history->add_option("-c,--config", a.config_file, "Configuration file, for its state_dir")
      ->type_name("FILE")
      ->envname("WEIR_CONFIG");
  history->add_option("--state-dir", a.state_dir, "Folder with the journal, instead of the configuration's")
      ->type_name("DIR");
  history->add_option("--limit", a.history_limit, "So many runs, the newest ones")
      ->check(CLI::Range(1u, 1000000u))
      ->capture_default_str();
  add_output_options(*history, a);
  auto* show = history->add_subcommand("show", "One run; takes the options of 'history'")->fallthrough();
  show->add_option("RUN", a.history_run, "Its id, or the beginning of it")->type_name("")->required();
  auto* throttle = app.add_subcommand("throttle", "Try the throttle before it meets the real NetBox");
  throttle->require_subcommand(1);
  auto* simulate = throttle->add_subcommand("simulate",
                                            "Run weir's throttle against a described NetBox: a table and "
                                            "a picture of what each profile would do");
  simulate->add_option("SCENARIO", a.scenario, "A YAML file, or the name of a shipped scenario")
      ->type_name("")
      ->required();
  simulate->add_option("-p,--profile", a.profiles, "Only this profile, a name or a YAML file; may be repeated")
      ->type_name("PROFILE")
      ->take_all();
  simulate->add_option("--svg", a.svg_file, "Draw the course of it into this file")->type_name("FILE");
  simulate->add_option("--seed", a.seed, "Instead of the scenario's: another draw of what is random");
  add_output_options(*simulate, a);
  auto* config = app.add_subcommand("config", "What the configuration comes to, and what each key means");
  config->require_subcommand(1);
  auto* config_show = config->add_subcommand("show",
                                             "The settings as they hold, from all files, the environment and "
                                             "the command line");
  add_run_options(*config_show, a);
  add_output_options(*config_show, a);
  config_show->add_flag("--origin", a.origin, "Say where each value comes from");
  config_show->add_flag("--all", a.all, "The defaults, too");
  auto* config_explain = config->add_subcommand("explain",
                                                "What a key means, its type, default and limits; without a "
                                                "key: all of them");
  config_explain->add_option("KEY", a.key, "Such as netbox.url, batch.size or stages.backups")->type_name("");
  config_explain->add_option("-c,--config", a.config_file, "Configuration file, for its plugin_path")
      ->type_name("FILE")
      ->envname("WEIR_CONFIG");
  add_output_options(*config_explain, a);
  auto* config_schema = config->add_subcommand("schema",
                                               "The JSON Schema of weir.yaml, for editors, with the options "
                                               "of the stages found");
  config_schema->add_option("DOCUMENT", a.schema_of, "configuration or profile")
      ->check(CLI::IsMember({"configuration", "profile"}))
      ->capture_default_str();
  config_schema->add_option("-c,--config", a.config_file, "Configuration file, for its plugin_path")
      ->type_name("FILE")
      ->envname("WEIR_CONFIG");
  auto* config_reference = config->add_subcommand("reference", "All keys, as Markdown");
  auto* serve = app.add_subcommand("serve", "Run by schedules, with a web page, health checks and metrics");
  add_run_options(*serve, a);
  add_log_options(*serve, a);
  serve
      ->add_option("--listen", a.listen,
                   "Address and port instead of the configuration's, such as "
                   "127.0.0.1:9788")
      ->type_name("ADDRESS");
  auto* doctor = app.add_subcommand("doctor",
                                    "Look at NetBox, the sources and this machine; say what is "
                                    "wrong and which profile suits");
  add_run_options(*doctor, a);
  add_output_options(*doctor, a);
  add_log_options(*doctor, a);
  auto* completion = app.add_subcommand("completion", "Print the completion for a shell");
  completion->add_option("SHELL", a.shell, "bash, zsh or fish")
      ->type_name("")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  // What the completions ask for while somebody types. Not for people.
  auto* complete = app.add_subcommand("complete", "Names that a completion offers, one a line")->group("");
  complete->add_option("WHAT", a.complete_what)
      ->required()
      ->check(CLI::IsMember({"stages", "sources", "profiles", "runs", "scenarios", "keys"}));
  complete->add_option("-c,--config", a.config_file)->envname("WEIR_CONFIG");
  auto* man = app.add_subcommand("man", "Print a manual page, in roff");
  man->add_option("PAGE", a.page, "weir, or weir.yaml: the keys of configuration and profiles")
      ->check(CLI::IsMember({"weir", "weir.yaml"}))
      ->capture_default_str();
  auto* show_version = app.add_subcommand("version", "Print the version");

  auto const chosen = [=] {
    if (sync->parsed()) return command::sync;
    if (resume->parsed()) return command::resume;
    if (plan->parsed()) return command::plan;
    if (apply->parsed()) return command::apply;
    if (show_plan->parsed()) return command::show;
    if (adopt->parsed()) return command::adopt;
    if (undo->parsed()) return command::undo;
    if (demo->parsed()) return command::demo;
    if (stages->parsed()) return command::stages;
    if (new_stage->parsed()) return command::new_stage;
    if (profiles->parsed()) return command::profiles;
    if (validate->parsed()) return command::validate;
    if (history->parsed()) return command::history;
    if (simulate->parsed()) return command::simulate;
    if (show_version->parsed()) return command::version;
    if (config->parsed()) return command::config;
    if (serve->parsed()) return command::serve;
    if (doctor->parsed()) return command::doctor;
    if (completion->parsed()) return command::completion;
    if (complete->parsed()) return command::complete;
    if (man->parsed()) return command::man;
    return command::none;
  };
  return [=, &a] {
    a.what = chosen();
    if (stages_show->parsed()) a.action = arguments::stages_action::show;
    if (config_explain->parsed()) a.config_what = arguments::config_action::explain;
    if (config_schema->parsed()) a.config_what = arguments::config_action::schema;
    if (config_reference->parsed()) a.config_what = arguments::config_action::reference;
    if (stages_check->parsed()) a.action = arguments::stages_action::check;
  };
}

// "{text,json}" in what CLI11 says of a value.
std::vector<std::string> choices_in(std::string const& type) {
  std::vector<std::string> out;
  auto const from = type.find('{'), to = type.rfind('}');
  if (from == std::string::npos || to == std::string::npos) return out;
  std::stringstream list(type.substr(from + 1, to - from - 1));
  for (std::string one; std::getline(list, one, ',');) out.push_back(one);
  return out;
}

// "[1 - 32]" in it: "1 to 32".
std::string range_in(std::string const& type) {
  auto const from = type.find(" in ["), middle = type.find(" - ", from), to = type.rfind(']');
  if (from == std::string::npos || middle == std::string::npos || to == std::string::npos) return {};
  return type.substr(from + 5, middle - from - 5) + " to " + type.substr(middle + 3, to - middle - 3);
}

option_info describe(CLI::Option const& o) {
  option_info out;
  out.positional = o.get_positional();
  for (auto const& n : o.get_snames()) out.names.push_back("-" + n);
  for (auto const& n : o.get_lnames()) out.names.push_back("--" + n);
  if (out.positional) out.names = {o.get_name(true)};
  if (o.get_items_expected_max() > 0) {
    auto const type = o.get_type_name();
    out.choices = choices_in(type);
    out.range = range_in(type);
    out.value = type.substr(0, std::min(type.find(':'), type.find('{')));
    if (out.positional && (out.value.empty() || out.value == "TEXT")) out.value = out.names.front();
    out.initial = o.get_default_str();
    out.repeated = o.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  }
  out.environment = o.get_envname();
  out.help = o.get_description();
  out.required = o.get_required();
  return out;
}

command_info describe(CLI::App const& app, std::vector<option_info> const& from_above) {
  command_info out;
  out.name = app.get_name();
  out.help = app.get_description();
  for (auto const* o : app.get_options()) {
    auto info = describe(*o);
    auto& list = info.positional ? out.positionals : out.options;
    list.push_back(std::move(info));
  }
  if (app.get_fallthrough())
    for (auto const& o : from_above)
      if (o.names.back() != "--help") out.options.push_back(o);
  for (auto const* sub : app.get_subcommands([](CLI::App const*) { return true; }))
    if (!sub->get_group().empty()) out.commands.push_back(describe(*sub, out.options));
  out.optional_command = app.get_require_subcommand_min() == 0;
  return out;
}

}  // namespace

command_info command_tree() {
  arguments a;
  CLI::App app{about, "weir"};
  declare(app, a);
  return describe(app, {});
}

parsed parse(int argc, char const* const* argv) {
  parsed out;
  CLI::App app{about, "weir"};
  auto const choose = declare(app, out.args);
  try {
    app.parse(argc, argv);
    choose();
  } catch (CLI::ParseError const& e) {
    // CLI11 prints help and version with success; its own numbers for errors
    // mean nothing outside of it.
    int const code = app.exit(e, std::cout, std::cerr);
    out.exit = code == 0 ? exit_code::done : exit_code::usage;
  }
  return out;
}

}  // namespace weir::cli
