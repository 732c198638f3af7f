// What the service knows of its runs: collected while they are under way, shown by the API.
//
// Everything here is quick and never waits for anybody: runs tell it of themselves between their own steps.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/engine/report.hpp"
#include "core/serve/scheduler.hpp"

namespace weir::serve {

using wall = std::chrono::system_clock::time_point;
using steady = std::chrono::steady_clock::time_point;

// A stage over a source, in the run that is under way.
struct job_view {
  std::string source, stage, title;
  std::string state = "waiting";  // collecting, comparing, writing, ok, failed, skipped, stopped
  std::string note, reason;
  std::uint64_t done = 0, total = 0;
  std::size_t batch = 0, batches = 0;
  struct plan {
    std::size_t create = 0, update = 0, erase = 0, requests = 0;
  };
  std::optional<plan> planned;
  std::optional<steady> started, ended;
};

struct run_view {
  std::string id, command, trigger;
  std::string profile;
  wall started{};
  steady since{};
  bool cancelling = false;
  std::vector<job_view> jobs;
};

// A stage of a run that has ended.
struct stage_view {
  std::string source, stage, state, reason;
  std::uint64_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
};

// A run of this process that has ended. The journal has most of them; plans, and runs that did not get as far as the
// journal, are here alone.
struct past_run {
  std::string id, command, trigger, profile, state, reason;
  wall started{}, ended{};
  double seconds = 0;
  int exit_code = 0;
  std::vector<stage_view> stages;
};

struct error_view {
  wall at{};
  std::string run, source, stage, level, message, hint;
};

struct gate_sample {
  wall at{};
  bool running = false;  // else nothing is known of limit, gap and inflation
  std::size_t in_flight = 0;
  double limit = 0, gap_ms = 0, requests_per_second = 0, inflation = 0;
  int breaker = 0;  // 0 closed, 1 probing, 2 open
  std::uint64_t errors = 0;
};

struct plan_change {
  std::string source, stage, kind, action, label, url;  // url: empty: it is not in NetBox yet
  std::vector<engine::field_change> fields;
};
// The last plan that was made and not applied.
struct kept_plan {
  std::string run;
  wall made{};
  struct stage {
    std::string source, stage, title;
    std::size_t create = 0, update = 0, erase = 0, unchanged = 0, requests = 0;
  };
  std::vector<stage> stages;
  std::vector<plan_change> changes;  // the first ones
  std::size_t more = 0;
};

// A problem of a configuration that was not taken.
struct config_error {
  wall at{};
  std::string message;
};

// All of /status, copied at one moment.
struct snapshot {
  wall started{}, now{};
  std::string netbox_url, netbox_version;  // version: empty: not asked yet
  std::string config_file;
  wall config_loaded{};
  std::optional<serve::config_error> config_error;
  config::profile profile;
  bool observe_only = false, stopping = false;
  std::optional<run_view> run;
  std::optional<engine::gate_now> gate;
  double requests_per_second = 0;
  std::vector<error_view> errors;  // newest first
  struct schedule {
    schedule_view is;
    std::optional<past_run> last;
  };
  std::vector<schedule> schedules;
  std::uint64_t runs_started = 0, runs_ended = 0, runs_refused = 0;
  std::map<int, std::uint64_t> by_exit_code;
  std::shared_ptr<kept_plan const> plan;
  steady steady_now{};
};

inline constexpr std::size_t shown_errors = 20, shown_changes = 1000, kept_runs = 200;
inline constexpr std::size_t gate_samples = 1800;  // one per second: half an hour

// Thread-safe. As an observer it hears of one run after the other.
class state final : public engine::observer {
 public:
  explicit state(moment now);

  // --- the service
  void configured(config::configuration const& settings, wall now);
  void not_configured(std::string message, wall now);
  void begin(run_view run);  // before the run's observer calls
  void cancelling();         // the run under way was asked to stop
  void refused();            // a start, because a run was under way
  void stopping();
  // The run is over. `error`: why it did not come to a report.
  void end(int exit_code, std::optional<engine::report> const& report, std::optional<base::error> const& error,
           std::string const& nothing, moment now);
  void problem(error_view e);
  // Once a second: a sample of the gate; it is returned.
  gate_sample sample(moment now);
  // Lines for the log that runs have left since the last call.
  struct log_line {
    base::log::level level = base::log::level::info;
    std::string text, run, source, stage;
  };
  std::vector<log_line> take_log();

  // --- whoever shows it
  snapshot look(moment now, std::vector<schedule_view> schedules) const;
  std::vector<gate_sample> samples() const;
  std::size_t ceiling() const;         // of requests in flight
  std::vector<past_run> past() const;  // newest first
  std::shared_ptr<kept_plan const> plan() const;
  std::optional<run_view> running() const;
  std::string trigger_of(std::string const& run) const;
  std::uint64_t version() const;              // another number: something has changed
  std::string status_line(moment now) const;  // "virtual-machines 120/431, limit 4"; for systemd

  // --- for /readyz and the watchdog
  struct health {
    bool running = false, connected = false;
    steady heard{};                        // when the run under way last said anything
    std::optional<steady> breaker_opened;  // it has been open since
    bool asked = false, reachable = true;  // NetBox, at the last run's end
    std::string run;                       // that run
  };
  health how() const;

  // --- engine::observer
  void connected(engine::report const& r) override;
  void stage_started(std::string const& source, std::string const& stage) override;
  void moved(engine::progress const& p) override;
  void planned(engine::job_report const& j) override;
  void wrote(engine::written_batch const& b) override;
  void throttled(throttle::event const& e, engine::gate_now const& g) override;
  void ticked(engine::gate_now const& g) override;
  void requested(std::string const& server, http::attempt_seen const& a) override;
  void noticed(engine::notice const& n) override;
  void finished(engine::job_report const& j) override;

 private:
  job_view& job(std::string const& source, std::string const& stage);
  void note(engine::gate_now const& g);
  void add_error(error_view e);
  void log(base::log::level level, std::string text, std::string source = {}, std::string stage = {});
  void changed() { ++version_; }

  mutable std::mutex mutex_;
  std::uint64_t version_ = 1;
  wall started_{};
  std::string netbox_url_, netbox_version_, config_file_;
  wall config_loaded_{};
  std::optional<serve::config_error> config_error_;
  config::profile profile_;
  bool observe_only_ = false, stopping_ = false;
  std::optional<run_view> run_;
  std::optional<engine::gate_now> gate_;
  std::optional<steady> breaker_opened_;
  steady heard_{};
  bool connected_ = false, asked_ = false, reachable_ = true;
  std::string last_run_;
  std::deque<error_view> errors_;
  std::deque<past_run> past_;
  std::map<std::string, past_run> last_by_trigger_;
  std::uint64_t runs_started_ = 0, runs_ended_ = 0, runs_refused_ = 0;
  std::map<int, std::uint64_t> by_exit_code_;
  std::shared_ptr<kept_plan const> plan_;
  std::deque<gate_sample> samples_;
  std::uint64_t errors_since_ = 0, requests_since_ = 0;  // attempts that ended since the last sample
  std::optional<moment> sampled_;
  double requests_per_second_ = 0;
  std::vector<log_line> log_;
};

}  // namespace weir::serve
