// The one table of every key that a file of weir's may hold. Validation, defaults, suggestions and the names of the
// environment's overrides derive from it.
#pragma once
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config::schema {

enum class document { configuration, profile, scenario };

enum class type {
  map,        // the children in the table
  map_list,   // a list of such maps
  named_map,  // names of the user's own; the children stand under "*"
  options,    // whatever the stage's own schema allows; empty is allowed
  text,
  url,   // http or https
  path,  // "~/" and relative ones start at the file's folder
  url_list,
  path_list,
  name_list,
  word_list,  // names, patterns, numbers: whatever is one word, as text
  boolean,
  integer,
  number,
  range,           // a number, or [low, high]
  duration,        // "500ms", "30s", "5m", "1h", "7d"; a plain number is seconds
  integer_or_map,  // an integer, or the children in the table
  fingerprint,     // 32 bytes in hexadecimal, with or without colons
  inline_secret,   // refused, unless allow_inline_secrets says otherwise
};

inline constexpr double no_limit = std::numeric_limits<double>::infinity();

struct key {
  document in = document::configuration;
  std::string_view path;  // "sources.*.timeout"; "*" is any name
  schema::type type = type::text;
  std::string_view default_value = {};  // as YAML; empty: none
  double min = -no_limit;               // duration: milliseconds
  double max = no_limit;
  bool required = false;
  std::vector<std::string_view> allowed = {};  // the only texts; empty: any
  std::string_view help = {};                  // one sentence
  std::string_view secret = {};                // "token", "password": this key is a form of that secret …
  std::string_view form = {};                  // … of this kind: "env", "file", "command", "credential"
  std::string_view alias = {};                 // a variable of another program that overrides it, besides WEIR_…
  std::string_view only = {};                  // of a source: the type that has it; empty: every type
  bool may_be_empty = false;                   // text: "" says something, too
  bool only_in_files = false;                  // neither WEIR_… nor --set
  std::string_view example = {};               // a value, as YAML
};

std::span<key const> keys();

// The row of exactly this pattern, or null.
key const* find(document in, std::string_view path);
// "sources.pve-a.timeout" as steps, with the row whose pattern fits; names may hold dots. Behind "stages.NAME" any
// steps may follow: they are the plugin's. Nothing if no row fits.
struct match {
  key const* row = nullptr;
  std::vector<std::string> steps;
};
std::optional<match> resolve(document in, std::string_view path);
std::vector<std::string> steps_of(std::string_view path);  // its parts between the dots
// The variable of the environment that sets it: "WEIR_BATCH_SIZE"; empty if none does (maps, what has a "*").
std::string variable(key const& row);
// The variables that weir knows besides those of the table: the command line's, and those of its tests.
std::vector<std::string> const& other_variables();
// Whether its value is one line of text in the table: neither a map nor a list of maps.
bool is_value(type t);
// The last parts of the paths one level below `path` ("" is the top); inline secrets and "*" left out.
std::vector<std::string> children(document in, std::string_view path);
// Where else a key of this name may stand ("netbox", "sources.*").
std::vector<std::string> homes(document in, std::string_view leaf);
// "a whole number", "true or false".
std::string_view describe(type t);

}  // namespace weir::config::schema
