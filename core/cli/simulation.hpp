// The production gate on a virtual clock against a modelled NetBox: what a profile would do to it, and how long it
// would take. Deterministic. It cuts lists, splits, looks up and defers as core/engine/apply.cpp does.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/sim/load_model.hpp"
#include "core/throttle/gate.hpp"

namespace weir::cli {

using sim::virtual_time;

struct simulated_work {
  std::string kind;
  std::size_t objects = 0;
  virtual_time write_base{45'000}, write_object{23'000};
};

// Another client, which keeps so many reads in flight and heeds nothing.
struct simulated_burst {
  virtual_time from{0}, to{0};
  int in_flight = 1;
};

struct simulation_input {
  sim::load_scenario netbox;  // writes cost what the work says
  std::vector<simulated_work> work;
  std::vector<simulated_burst> bursts;
  virtual_time start{0};
  throttle::limits limits;
  std::size_t objects_per_request = 50;
  virtual_time request_timeout{120'000'000};
  std::uint64_t seed = 1;  // of the gate; the model's is in `netbox`
};

// One moment; lists hold one whenever something has changed.
struct simulation_moment {
  virtual_time at{0};
  double limit = 1, gap_ms = 0;
  std::size_t in_flight = 0;
  int connections = 0;
  bool open = false;  // the breaker
};

struct simulation_attempt {
  virtual_time ended{0}, latency{0};
  throttle::method verb = throttle::method::get;
  throttle::outcome what = throttle::outcome::ok;
  std::size_t objects = 0;
};

struct simulation_result {
  double seconds = 0;                  // from weir's beginning to its end
  std::size_t done = 0, deferred = 0;  // objects
  std::size_t lost = 0;                // taken for done, but not in NetBox
  std::size_t doubled = 0;             // sent again although NetBox had them: it refuses those by its constraints
  std::uint64_t requests = 0, refused = 0, failed = 0, retries = 0, lookups = 0;  // failed: outage, no usable answer
  std::size_t peak_in_flight = 0;
  int peak_connections = 0;
  double highest_limit = 1, lowest_limit = 1;  // lowest: after it was highest
  double longest_gap_ms = 0;
  std::size_t breaker_opened = 0, starved = 0;  // how often
  bool gave_up = false;
  std::vector<simulation_moment> moments;
  std::vector<simulation_attempt> attempts;

  double refused_percent() const;
  double errors_percent() const;
};
simulation_result simulate(simulation_input const& in);

// A simulation's course in equal steps of time, for people to look at. NaN: nothing was answered in that step.
struct simulation_series {
  double step_s = 0;
  std::vector<double> at_s;                                   // where each step begins, from the model's beginning
  std::vector<double> limit, in_flight, gap_ms, connections;  // in_flight, connections: the most in that step
  std::vector<double> latency_s, objects;                     // means: of answers to writes
  std::vector<double> requests, errors;                       // that ended in that step
};
simulation_series series_of(simulation_result const& r, std::size_t steps);

}  // namespace weir::cli
