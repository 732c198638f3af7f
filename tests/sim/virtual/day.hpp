// What a seed comes to: a NetBox, a profile, what the source holds, and everything that goes wrong meanwhile.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/engine/collected.hpp"
#include "core/netbox/kind.hpp"
#include "core/throttle/gate.hpp"
#include "tests/sim/virtual/netbox.hpp"

namespace weir::simulated {

using nlohmann::json;

struct dice {
  explicit dice(std::uint64_t seed) : random(seed) {}
  int below(int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return *(list.begin() + below(static_cast<int>(list.size())));
  }
  std::mt19937_64 random;
};

// A guest or a backup, as the source has it now.
struct guest {
  int vmid = 0;
  std::string name, tag;
  bool running = true;
  int memory = 2048, cpus = 2;
  bool bad = false;  // NetBox refuses it
};
struct backup {
  int vmid = 0;
  std::string volume, notes;
  std::int64_t size = 0;
  bool bad = false;
};

struct source {
  std::vector<std::string> nodes;
  std::vector<guest> guests;
  std::vector<backup> backups;
};
source draw_source(dice& random, int guests, int backups);
void change(source& s, dice& random);  // what a day brings: some are new, changed, gone

inline constexpr char const* source_name = "pve-a";
inline std::vector<std::string> const stage_ids = {"nodes", "virtual-machines", "backups"};
// The backups' kind, as their plugin declares it.
void add_kinds(weir::netbox::registry& to);
// What a stage would emit, in the shapes of the shipped plugins.
engine::collected emitted(source const& s, std::string const& stage);

struct crash_point {
  // At the k-th step of the journal (before and after count as one each), or after so much time.
  std::optional<std::uint64_t> step;
  std::optional<instant> after;
};
struct run_plan {
  std::optional<crash_point> crash;
  std::optional<instant> stop, max_duration;  // since its beginning
  bool resume = false;                        // finishes the run before, if there is something to finish
  bool source_changes = false;                // before it
  instant pause{0};                           // before it
};

struct day {
  std::uint64_t seed = 0;
  sim::load_scenario load;
  sim::netbox_app_options app;
  std::chrono::seconds ahead{0};  // NetBox's clock before ours
  config::profile profile;
  throttle::control control = throttle::control::adaptive;
  source wanted;
  instant begins{0};  // what goes wrong; not 0: NetBox is filled by a quiet run before
  std::vector<fault> faults;
  std::vector<std::uint64_t> edits, redis_restarts, gunicorn_restarts;  // at these requests
  std::vector<run_plan> runs;
  std::vector<std::string> story;  // one line for each thing that goes wrong
};
day draw_day(std::uint64_t seed);
instant quiet_from(day const& d);  // all that goes wrong by the clock is over

}  // namespace weir::simulated
