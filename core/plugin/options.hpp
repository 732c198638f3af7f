// Checks of the JSON that a stage carries in its table. The one file behind it that includes valijson is options.cpp.
#pragma once
#include <string>
#include <vector>

namespace weir::plugin {

// What is wrong with a stage's kinds_json or options_schema, in a few words; empty if nothing is.
std::string kinds_problem(std::string const& kinds_json);
std::string schema_problem(std::string const& schema_json);

// An option as its schema tells it, for people. `fallback`: its default as JSON text, empty if it has none.
struct option_row {
  std::string name, expected, fallback, description;
  bool required = false;
};
// The top-level options of a schema without a problem; none for an empty text.
std::vector<option_row> describe_options(std::string const& schema_json);

// One thing that is wrong with the options given to a stage.
struct option_problem {
  std::string pointer;  // RFC 6901, of what is wrong; of what is missing: where it should be inside
  std::string what, hint;
  bool at_key = false;  // the name is wrong, not the value
};

}  // namespace weir::plugin
