// Which profile suits this NetBox, and what a first sync would cost it. Pure.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/doctor/facts.hpp"
#include "core/doctor/findings.hpp"

namespace weir::doctor {

struct advice {
  std::string profile;  // a shipped one's name, or the one configured where nothing speaks against it
  std::string reason;
};
advice advise(netbox_facts const& f, state_facts const& state, config::profile const& configured);

// Objects of one kind that a first sync writes, and what one costs.
struct load_item {
  std::string kind;
  std::size_t objects = 0;
  double ms_per_object = 20;
  bool measured = false;  // by an earlier run
};
// What a first sync writes, from what the sources hold. Objects that NetBox already holds are not taken off.
std::vector<load_item> first_sync(netbox_facts const& f, std::vector<source_facts> const& sources,
                                  std::map<std::string, double> const& learnt_ms);

struct cost {
  std::string profile;
  std::size_t objects = 0, requests = 0;
  double seconds = 0;  // NetBox's part, with the profile's pauses
};
cost cost_at(std::vector<load_item> const& items, config::profile const& p);

// A profile whose ceilings do not suit what was measured.
void judge_profile(config::profile const& p, std::vector<load_item> const& items, findings& out);

}  // namespace weir::doctor
