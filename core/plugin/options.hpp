// Checks of the JSON that a stage carries in its table. The one file behind it that includes valijson is options.cpp.
#pragma once
#include <string>

namespace weir::plugin {

// What is wrong with a stage's kinds_json or options_schema, in a few words; empty if nothing is.
std::string kinds_problem(std::string const& kinds_json);
std::string schema_problem(std::string const& schema_json);

}  // namespace weir::plugin
