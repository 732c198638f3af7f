// What a run comes to, and what is told while it is under way.
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/engine/collected.hpp"
#include "core/engine/plan.hpp"
#include "core/throttle/controller.hpp"

namespace weir::engine {

enum class job_status { ok, failed, skipped, stopped };
std::string_view name(job_status s);

// A stage over a source.
struct job_report {
  std::string source, stage, title;
  job_status status = job_status::ok;
  base::error reason;                   // unless ok
  counts total;                         // of what the stage is about
  std::map<std::string, counts> kinds;  // of everything, look-up objects included
  std::vector<kind_plan> plans;
  std::map<std::string, metric> metrics;  // the stage's own
  std::size_t planned_requests = 0;       // list requests that the plan takes
  std::chrono::milliseconds took{0};
};

struct source_report {
  std::string name, type, version;
};

struct report {
  std::shared_ptr<netbox::registry const> kinds;  // the plans point into it
  std::string run_id;
  bool dry = false;
  config::profile profile;
  std::string netbox_url, netbox_version;
  std::vector<source_report> sources;
  std::vector<job_report> jobs;
  std::vector<failure> failures;
  std::vector<notice> notices;
  std::map<std::string, std::uint64_t> requests;  // to NetBox, by method
  std::size_t peak_in_flight = 0;
  std::uint64_t source_requests = 0, retried = 0;
  throttle::throttle_state throttle;
  std::uint64_t batches = 0;         // write requests in the journal
  std::uint64_t looked_up = 0;       // requests without a usable answer whose fate was found out
  std::string resumes;               // the run that this one finishes
  std::optional<base::error> fatal;  // what ended the run before or in the middle of its jobs
  bool interrupted = false;
  std::chrono::milliseconds took{0};
};

struct progress {
  std::string source, stage;
  enum class phase { collecting, comparing, writing } now = phase::collecting;
  std::string note;
  std::uint64_t done = 0, total = 0;   // guests read, objects written; total 0: unknown
  std::size_t batch = 0, batches = 0;  // of write requests, by the profile's batch.size
  double requests_per_second = 0;
};

// Called from several threads, one call at a time.
class observer {
 public:
  virtual ~observer() = default;
  virtual void connected(report const&) {}
  virtual void moved(progress const&) {}
  virtual void planned(job_report const&) {}
  virtual void finished(job_report const&) {}
};

}  // namespace weir::engine
