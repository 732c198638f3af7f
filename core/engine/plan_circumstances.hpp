// What a plan was made under: NetBox, what of the configuration decides, and the plugins.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "core/engine/run.hpp"

namespace weir::engine {

// What must be the same when the plan is carried out. Empty where it does not matter.
struct plan_circumstances {
  std::string netbox_url;
  std::string configuration;  // fingerprint of what decides what a plan says: sources, stages and their options, rules
  std::vector<std::pair<std::string, std::string>>
      parts;  // the same, by part ("rules", "stages.backups"), to say which
  std::vector<std::pair<std::string, std::string>> plugins;  // stage id ► "version sha256"
};

// Of this configuration and these plugins. Error: a plugin's file cannot be read.
base::result<plan_circumstances> circumstances_of(config::configuration const& settings, run_options const& options);

// What has changed in a way that matters, one line each; empty: nothing.
std::vector<std::string> changed_since(plan_circumstances const& then, plan_circumstances const& now);

}  // namespace weir::engine
