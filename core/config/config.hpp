// The typed configuration of a run. reader.cpp makes it from YAML, profiles.cpp from the profiles' files.
#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/result.hpp"
#include "core/base/secret.hpp"

namespace weir::config {

using std::chrono::milliseconds;

// A promise to whoever runs NetBox's database: weir never goes above these.
struct profile {
  std::string name;               // "conservative"
  std::filesystem::path file;     // where it was read from
  std::string description;        // one line: for whom it is
  std::size_t batch_size = 5;     // write requests in a batch
  milliseconds batch_delay{200};  // pause between two batches
  std::size_t objects_per_request = 50;
  std::size_t max_in_flight = 1;
  double requests_per_second = 10;
  std::size_t max_attempts = 5;     // of one request, the first one included
  milliseconds backoff_base{1000};  // doubles with each attempt, full jitter
  milliseconds backoff_cap{30000};
  milliseconds max_outage{300000};       // nothing has succeeded for so long: the rest is deferred
  milliseconds request_timeout{120000};  // a whole request
  milliseconds connect_timeout{10000};
  std::vector<std::string> overrides;  // "batch.size 5 (PROXBOX_BACKUP_BATCH_SIZE)": what the environment changed
  std::map<std::string, std::string> origins;  // "batch.size": "profile conservative.yaml:7"; absent: built-in
};

struct tls {
  bool verify = true;
  std::string ca_file;      // PEM; empty: the system's
  std::string fingerprint;  // SHA-256 of the leaf certificate, "AB:CD:…"; replaces the chain's verification
};

struct netbox {
  std::string url;  // without a trailing slash and without /api
  base::secret token;
  config::tls tls;
};

// How the lists of a `rest` source go on; core/source/paging.hpp does it.
struct paging {
  enum class styles { none, link, next, page, offset, cursor };
  styles style = styles::none;
  std::string items;           // dotted path of the list in an answer; empty: the answer is the list
  std::string next;            // next, cursor: dotted path of the next page's URL or cursor
  std::string parameter;       // page, offset, cursor: the query's parameter
  std::string total;           // dotted path of how many items there are; empty: the service does not say
  std::string size_parameter;  // empty: the service decides how large a page is
  std::size_t size = 100;      // with size_parameter
  std::size_t first = 1;       // page: the first one's number
  std::size_t max_pages = 1000;
};

// Which guests, storages and nodes of a source are looked at. Empty lists: no restriction. All lists of `include` must
// let a thing through, and no list of `exclude` may name it; a list lets through what one of its members names.
struct selection {
  std::vector<std::string> nodes, pools, tags;  // names; shell patterns: "web-*"
  std::vector<std::string> vmids;               // "100", "100-199"
  std::vector<std::string> names;               // of guests; shell patterns, upper and lower case alike
  std::vector<std::string> storages;            // shell patterns
  std::vector<std::string> states;              // "running", "stopped", "paused"
  std::optional<bool> templates;                // true: templates (alone), false: what is none
};
struct scope {
  selection include, exclude;
};

struct source {
  std::string name;               // scopes NetBox's objects
  std::string type;               // "proxmox", "rest"
  std::vector<std::string> urls;  // one cluster or service, in order of preference
  std::string token_id;           // proxmox: "user@realm!id", with `token`
  base::secret token;
  std::string username;  // proxmox: "user@realm", with `password`
  base::secret password;
  config::tls tls;
  std::string token_header = "Authorization";                     // rest: the header that carries the token …
  std::string token_prefix = "Bearer ";                           // … behind this
  std::vector<std::pair<std::string, std::string>> headers = {};  // rest: sent with every request
  std::string check = "/";                                        // rest: what proves that it is there
  config::paging paging = {};
  std::size_t max_in_flight = 4;
  milliseconds request_timeout{30000};
  milliseconds connect_timeout{5000};
  config::scope scope = {};  // proxmox
};

// What holds for one kind of NetBox's objects, over what the kind says itself; see netbox::kind_policy for what each
// means. Checked against the plugins' kinds where they are known.
struct rules {
  std::string kind;                           // "virtualization.virtualmachine"
  std::map<std::string, std::string> fields;  // "description": always, unless-edited, on-create, never, merge
  std::optional<std::string> adopt;           // never, tagged, matching
  std::optional<std::string> orphans;         // keep, mark, delete
  std::optional<milliseconds> grace;
  std::optional<std::size_t> max_deletes, max_deletes_percent;
  std::string location;                                // "file:line:column" of the kind's name
  std::map<std::string, std::string> field_locations;  // the same of each field's name
};

enum class stage_isolation { automatic, process, none };

// Of a stage in a process of its own.
struct stage_limits {
  std::size_t memory_mib = 4096;
  milliseconds cpu{600'000}, wall{3'600'000};
};

struct stage {
  std::string id;
  std::string options_json = "{}";
  std::string location;      // "file:line:column" of its options, for error messages
  std::string key_location;  // the same of its name
  // The same for each option, by JSON pointer ("/include_templates"): of its value, and of its name.
  std::map<std::string, std::string> option_locations, option_key_locations;
  std::vector<std::string> sources;  // by name; empty: all of the type that it reads
  stage_isolation isolation = stage_isolation::automatic;
  stage_limits limits;
};

// Where the log goes; the command line's own words win.
struct logging {
  std::optional<std::string> level, format;  // absent: the command line's defaults
  std::filesystem::path file;                // empty: stderr alone
  std::size_t max_mib = 10, keep = 5;        // of the file, before it is rotated; how many old ones are kept
};

// Where a run's metrics go at its end.
struct metrics {
  std::filesystem::path textfile;  // for node_exporter's textfile collector; empty: none
  std::string pushgateway;         // URL; empty: none
};

// When `weir serve` starts a run by itself.
struct schedule {
  std::string name;
  std::string cron;                          // five fields; empty: `every`
  milliseconds every{0};                     // from start to start
  milliseconds jitter{0};                    // at most so much later, drawn anew each time
  bool plan_only = false;                    // command: plan
  std::vector<std::string> sources, stages;  // empty: all
  std::vector<std::string> stage_locations;  // "file:line:column" of each of `stages`
  std::optional<milliseconds> max_duration;
};

struct serve {
  std::string listen = "127.0.0.1:9788";  // "host:port", "[::1]:port"; port 0: any free one
  base::secret token;                     // whoever asks must bear it; empty: loopback only, nobody is asked
  milliseconds unready_after{300'000};    // the breaker open for longer: /readyz says no
  std::vector<schedule> schedules;
};

struct configuration {
  std::filesystem::path file;
  config::profile profile;
  config::netbox netbox;
  std::vector<source> sources;
  std::optional<std::vector<stage>> stages;  // absent: every stage of every plugin found
  std::vector<std::filesystem::path> plugin_path;
  std::string plugin_path_location;  // "file:line:column"; empty: the default
  std::filesystem::path state_dir;
  bool observe_only = false;     // throttle.mode: observe
  std::size_t max_deletes = 10;  // per kind and run, or max_deletes_percent of what is ours there, the larger
  std::size_t max_deletes_percent = 20;
  std::string adopt = "matching";  // of kinds whose rules do not say
  std::vector<config::rules> rules;
  config::logging logging;
  config::metrics metrics;
  config::serve serve;
};

// One complaint about a file. Lines and columns are 1-based; 0 where there is none.
enum class severity { error, warning };
struct diagnostic {
  std::string file;
  std::size_t line = 0, column = 0;
  std::size_t length = 1;   // of what the caret underlines, bytes
  std::string summary;      // "netbox.url must be an http or https URL, is 'netbox.example'"
  std::string detail;       // what would be right; may be empty
  std::string source_line;  // the line's text; may be empty; secrets in it are replaced by ***
  config::severity severity = config::severity::error;
};
// The form of CONVENTIONS: "error: …\n  --> file:line:column\n   |\n14 | …\n   |   ^^^ detail".
std::string render(diagnostic const& d);

// One setting of the command line, over everything else.
struct flag {
  std::string name;        // "--set", "--listen"
  std::string key, value;  // "netbox.url"; the value as YAML, or as it stands where the key takes text
};

// One value as it holds. Secrets are never in it.
struct setting {
  std::string key;    // "sources.pve-a.urls"; of the profile "batch.size"
  std::string value;  // as YAML, in one line
  std::string json;   // the same as JSON
  std::string
      origin;  // "/etc/weir/config.yaml:12", "environment WEIR_STATE_DIR", "--set", "profile mine.yaml:3", "built-in"
  bool built_in = false;
};

struct load_options {
  std::filesystem::path file;                       // the configuration's file
  std::vector<std::filesystem::path> lower_files;   // read below it, the higher ones first; they are there
  std::optional<std::string> profile;               // --profile: a shipped one's name or a path; wins over the file
  std::vector<std::filesystem::path> profile_path;  // where shipped profiles are looked for
  std::vector<std::filesystem::path> default_plugin_path;
  std::map<std::string, std::string> environment;  // WEIR_…, PROXBOX_…, XDG_…, and what *_env names
  std::vector<flag> flags;                         // the last one wins
  bool need_secrets = true;                        // validate --no-network still reads them
  bool serving = false;                            // the service's own token is read, too
  bool list_settings = false;                      // fill load_outcome.settings
  bool use_files = true;  // false: look at no file (fuzzing): built-in profile, no secrets, ca_file is not checked
};

struct load_outcome {
  std::optional<configuration> value;  // absent if there is an error
  std::optional<configuration> rest;   // then: what is not wrong, to look for further errors in
  std::vector<diagnostic> errors;      // all of them, not only the first
  std::vector<diagnostic> warnings;
  std::vector<std::filesystem::path> files;  // that were read, the highest first
  std::vector<setting> settings;
};
load_outcome load(load_options const& options);
// The same for text already read; `name` stands for the file in messages, and its folder is where relative paths start.
load_outcome load_text(std::string_view text, std::string const& name, load_options const& options);

// A complaint about what stands at "file:line:column", with the line as the file has it.
diagnostic complain_at_location(std::string const& location, std::string summary, std::string detail);

// Every profile found in `path`, by name; files that do not parse are in `errors`.
std::vector<profile> list_profiles(std::vector<std::filesystem::path> const& path, std::vector<diagnostic>& errors);

// The environment of this process.
std::map<std::string, std::string> current_environment();

}  // namespace weir::config
