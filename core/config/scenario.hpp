// What `weir throttle simulate` reads: a NetBox, who else uses it, what weir is to write, and what is expected of it.
#pragma once
#include <cstdint>

#include "core/config/config.hpp"

namespace weir::config {

struct scenario {
  std::filesystem::path file;
  std::string description;
  std::uint64_t seed = 1;
  double start_s = 0;  // weir's first request

  struct netbox {
    int workers = 3, threads = 3;
    double cores = 2, next_core = 0.65;  // next_core: what each core after the first adds
    int connections = 97;                // usable ones of PostgreSQL
    double conn_max_age_s = 300, proxy_timeout_s = 60, jitter = 0.1;
    double read_base_ms = 100, read_object_ms = 0.6, db_error_ms = 19;
  } server;
  double users_per_second = 0, user_work_ms = 150;

  struct work {
    std::string kind;
    std::size_t objects = 0;
    double write_base_ms = 45, write_object_ms = 23;
  };
  std::vector<work> works;  // one after the other

  struct event {
    std::string what;  // as the schema allows
    double from_s = 0, to_s = 0, amount = 0, factor = 1, share = 0.5;
  };
  std::vector<event> events;

  struct expectation {
    std::string profile, figure;  // "conservative", "seconds"
    double low = 0, high = 0;
    std::string location;  // "file:line:column"
  };
  std::vector<expectation> expectations;  // in the order of the file
};

struct scenario_outcome {
  std::optional<scenario> value;  // absent if there is an error
  std::vector<diagnostic> errors;
};
scenario_outcome load_scenario(std::filesystem::path const& file);
// The same for text already read; `name` stands for the file in messages.
scenario_outcome load_scenario_text(std::string_view text, std::string const& name);

}  // namespace weir::config
