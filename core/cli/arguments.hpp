// The command line, parsed. arguments.cpp is the one file with CLI11.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weir::cli {

struct arguments {
  enum class command {
    none,
    sync,
    resume,
    plan,
    demo,
    stages,
    new_stage,
    profiles,
    validate,
    history,
    simulate,
    version,
    config,
    serve,
    doctor,
    completion,
    complete,
    man,
    apply,
    show,
    adopt,
    undo
  };
  enum class config_action { show, explain, schema, reference };
  enum class stages_action { list, show, check };
  command what = command::none;
  config_action config_what = config_action::show;  // of 'config'
  stages_action action = stages_action::list;       // of 'stages'
  std::string config_file;                          // empty: the user's, then the system's
  std::optional<std::string> profile;
  std::vector<std::string> stages, sources;
  std::string output = "text";                       // text, json; of runs also ndjson
  std::optional<std::string> log_level, log_format;  // absent: the configuration's, else info and text
  std::string log_file;                              // empty: the configuration's
  std::vector<std::string> settings;                 // --set KEY=VALUE, over everything else
  std::string metrics_file;                          // empty: the configuration's
  bool origin = false, all = false;                  // config show
  std::string schema_of = "configuration";           // config schema: configuration, profile
  std::string key;                                   // config explain: empty: every key, in a list
  std::string listen;                                // serve; empty: the configuration's
  std::string page = "weir";                         // man
  std::string shell;                                 // completion: bash, zsh, fish
  std::string complete_what;                         // complete: what kind of names
  bool no_progress = false, quiet = false, verbose = false, no_network = false;
  bool detailed_exitcode = false;
  std::string run;         // resume, undo: its id, or the beginning of one; resume: empty: the last unfinished
  std::string plan_file;   // apply, show: a plan that was stored
  std::string out;         // plan, adopt, undo: where the plan is stored; empty: nowhere
  bool carry_out = false;  // adopt, undo: apply the plan at once
  std::string adopt_from = "proxbox";          // adopt: whose objects
  std::vector<std::uint32_t> guests;           // sync, plan: only these, by vmid
  std::optional<std::uint32_t> allow_deletes;  // for this run, instead of max_deletes
  std::optional<double> max_duration_s;
  std::string scenario;               // throttle simulate: a YAML file, or a shipped one's name
  std::vector<std::string> profiles;  // to compare; empty: all that are found
  std::string svg_file;
  std::optional<std::uint64_t> seed;
  std::string color = "auto";  // auto, always, never
  std::string history_run;     // of 'history show'; empty: the list
  std::string state_dir;       // empty: the configuration's
  unsigned history_limit = 20;
  std::string stage;                 // stages show: its id; new-stage: the new one's
  std::string plugin_file;           // stages check
  std::string stage_options = "{}";  // stages check: JSON, or @FILE
  std::string answers;               // stages check: a folder
  std::string into = ".";            // new-stage: where its folder is made
  std::vector<std::string> plugins;  // demo: further plugins, files or folders
  unsigned demo_guests = 60, demo_backups = 600, demo_nodes = 3;
};

// Parsed, or the exit code to end with at once (help and usage errors have been printed).
struct parsed {
  arguments args;
  std::optional<int> exit;
};
parsed parse(int argc, char const* const* argv);

// The command line as data, for what is made from it: completion, the manual page. Hidden commands are left out.
struct option_info {
  std::vector<std::string> names;    // "-c", "--config"; of a positional its one name
  std::string value;                 // what its value is: FILE, DIR, PROFILE, KEY=VALUE, …; empty: a flag
  std::vector<std::string> choices;  // all that it may be; empty: anything
  std::string range;                 // "1 to 32"
  std::string initial;               // the default
  std::string environment;           // the variable that stands for it
  std::string help;
  bool positional = false, required = false, repeated = false;
};
struct command_info {
  std::string name, help;
  std::vector<option_info> options, positionals;
  std::vector<command_info> commands;
  bool optional_command = false;  // it also works without one of `commands`
};
command_info command_tree();

}  // namespace weir::cli
