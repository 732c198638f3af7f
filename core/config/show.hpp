// The settings as they hold, each with where it came from.
#pragma once
#include "core/config/check.hpp"
#include "core/config/config.hpp"

namespace weir::config {

// What is set, then the profile's values, then the defaults of what could be set. Secrets are shown as "(set)".
std::vector<setting> list_settings(checker const& check, configuration const& c, load_options const& options);

// As YAML in one line.
std::string one_line(yaml::node const& n);

}  // namespace weir::config
