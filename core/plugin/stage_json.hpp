// What a plugin file says about itself, as text that can pass between processes.
#pragma once
#include <string>

#include "core/plugin/loader.hpp"

namespace weir::plugin {

std::string to_json(load_report const& report);
// Every stage comes back with a null `table` and without its file. An error: it is no such text.
base::result<load_report> report_from_json(std::string const& text);

}  // namespace weir::plugin
