// Looks at everything a run would need, and sends nothing but reads: to NetBox one at a time, through the gate.
#pragma once
#include <atomic>
#include <functional>
#include <string_view>

#include "core/config/config.hpp"
#include "core/doctor/advice.hpp"
#include "core/doctor/facts.hpp"
#include "core/doctor/findings.hpp"
#include "core/engine/run.hpp"

namespace weir::doctor {

struct report {
  netbox_facts netbox;
  std::vector<source_facts> sources;
  state_facts state;
  machine_facts machine;
  doctor::findings findings;  // by group, in the order of looking
  doctor::advice advice;
  std::vector<load_item> first_sync;
  std::vector<cost> costs;  // of a first sync, at each profile
  bool stopped = false;     // by a signal: the rest was not looked at
};

// `profiles`: the shipped ones and whatever else is to be compared. `saying`: called with what is looked at next.
report examine(config::configuration const& settings, engine::run_options const& options,
               std::vector<config::profile> const& profiles, std::function<void(std::string_view)> const& saying,
               std::atomic<bool> const& stop);

// --- its parts
netbox_facts look_at_netbox(config::configuration const& settings, std::vector<plugin::loaded_stage> const& stages,
                            std::string const& learnt, std::map<std::string, double>& learnt_ms,
                            std::atomic<bool> const& stop);
source_facts look_at_source(config::source const& settings, bool backups_wanted, std::atomic<bool> const& stop);
state_facts look_at_state(config::configuration const& settings, std::string& learnt);
machine_facts look_at_machine(engine::run_options const& options);

}  // namespace weir::doctor
