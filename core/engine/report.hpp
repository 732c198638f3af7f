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
#include "core/http/client.hpp"
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

// What all plans of a stage come to.
struct planned_counts {
  std::size_t create = 0, update = 0, erase = 0, unchanged = 0;
  bool deletes_refused = false;
};
planned_counts planned_by(job_report const& j);

struct source_report {
  std::string name, type, version;
};

struct report {
  std::shared_ptr<netbox::registry const> kinds;  // the plans point into it
  std::string run_id;
  std::string command;  // run_options::command
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
  std::string undoes;                // the run of which this one is the inverse
  std::optional<base::error> fatal;  // what ended the run before or in the middle of its jobs
  bool interrupted = false;
  std::chrono::milliseconds took{0};
};

std::string_view command_of(report const& r);  // "plan", "sync", "resume", "apply", "adopt", "undo"

struct progress {
  std::string source, stage;
  enum class phase { collecting, comparing, writing } now = phase::collecting;
  std::string note;
  std::uint64_t done = 0, total = 0;   // guests read, objects written; total 0: unknown
  std::size_t batch = 0, batches = 0;  // of write requests, by the profile's batch.size
  double requests_per_second = 0;
};
std::string_view name(progress::phase p);  // "collecting", …

// A list request that was written down and is now done with, for this run.
struct written_batch {
  std::string source, stage, kind, verb;
  std::uint64_t number = 0;  // in the journal
  std::size_t objects = 0, failed = 0;
  std::string state;   // the journal's word: "done", "failed", "deferred", "unknown" (it will be looked up)
  std::string reason;  // may be empty
  std::chrono::milliseconds took{0};
};

// The gate to NetBox as it stands.
struct gate_now {
  throttle::counters count;
  throttle::throttle_state state;
};

// Called from several threads, one call at a time, between the run's own steps: must be quick and never wait.
class observer {
 public:
  virtual ~observer() = default;
  virtual void connected(report const&) {}  // NetBox and the sources have been asked
  virtual void stage_started(std::string const& /*source*/, std::string const& /*stage*/) {}
  virtual void moved(progress const&) {}
  virtual void planned(job_report const&) {}
  virtual void wrote(written_batch const&) {}
  virtual void throttled(throttle::event const&, gate_now const&) {}  // the gate to NetBox decided something
  virtual void ticked(gate_now const&) {}                             // four times a second, from connecting to the end
  virtual void requested(std::string const& /*server: "netbox", or the source's name*/, http::attempt_seen const&) {}
  virtual void noticed(notice const&) {}  // what the report's notices hold
  virtual void finished(job_report const&) {}
  // After the last of the above, when the journal has the run's end. Whoever calls run() tells it.
  virtual void ended(report const&, int /*exit_code*/) {}
};

// Tells several, in this order.
class observers final : public observer {
 public:
  explicit observers(std::vector<observer*> to) : to_(std::move(to)) {}
  void connected(report const& r) override {
    all([&](auto& o) { o.connected(r); });
  }
  void stage_started(std::string const& source, std::string const& stage) override {
    all([&](auto& o) { o.stage_started(source, stage); });
  }
  void moved(progress const& p) override {
    all([&](auto& o) { o.moved(p); });
  }
  void planned(job_report const& j) override {
    all([&](auto& o) { o.planned(j); });
  }
  void wrote(written_batch const& b) override {
    all([&](auto& o) { o.wrote(b); });
  }
  void throttled(throttle::event const& e, gate_now const& g) override {
    all([&](auto& o) { o.throttled(e, g); });
  }
  void ticked(gate_now const& g) override {
    all([&](auto& o) { o.ticked(g); });
  }
  void requested(std::string const& server, http::attempt_seen const& a) override {
    all([&](auto& o) { o.requested(server, a); });
  }
  void noticed(notice const& n) override {
    all([&](auto& o) { o.noticed(n); });
  }
  void finished(job_report const& j) override {
    all([&](auto& o) { o.finished(j); });
  }
  void ended(report const& r, int exit_code) override {
    all([&](auto& o) { o.ended(r, exit_code); });
  }

 private:
  template <class Call>
  void all(Call const& call) {
    for (auto* o : to_) call(*o);
  }
  std::vector<observer*> to_;
};

}  // namespace weir::engine
