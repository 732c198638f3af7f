// The service as a whole: API, sockets, samples, events, systemd. Runs are somebody else's: core/cli starts them.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/serve/api.hpp"
#include "core/serve/http_server.hpp"
#include "core/serve/notify.hpp"
#include "core/serve/state.hpp"

namespace weir::serve {

// What of the configuration the service itself goes by.
struct service_settings {
  access who;
  std::filesystem::path state_dir;
  std::chrono::milliseconds unready_after{300'000};
};

struct service_hooks {
  std::function<std::vector<schedule_view>()> schedules;
  std::function<start_outcome(start_request const&, std::string const& trigger)> start;
  std::function<cancel_outcome(std::string const& run)> cancel;
  std::function<std::string()> metrics;
};

// Is everybody still at work? Pure, for the watchdog: a message for the log where somebody is not.
struct pulse {
  std::chrono::milliseconds loop_silent{0};  // since the main loop came by last
  state::health run;
};
std::optional<std::string> unwell(pulse const& p, steady now);
// What /readyz makes of NetBox: "breaker" and "netbox". Pure.
std::vector<check> readiness(state::health const& how, steady now, std::chrono::milliseconds unready_after);

class service {
 public:
  static base::result<std::unique_ptr<service>> open(server_options options, service_settings settings,
                                                     service_hooks hooks, state& now, notifier systemd);
  ~service();

  std::string url() const;
  void change(service_settings next);         // after a reload
  void beat();                                // the main loop is alive: at least every few seconds
  void run_changed();                         // a run has begun or ended
  void tell(std::string_view systemd_state);  // "READY=1"
  void stop();

 private:
  service(service_settings settings, service_hooks hooks, state& now, notifier systemd);
  std::vector<check> live() const;
  std::vector<check> ready() const;
  void each_second();
  void each_half_second();
  void watch();

  state& now_;
  notifier systemd_;
  mutable std::mutex mutex_;
  service_settings settings_;
  std::unique_ptr<api> api_;
  std::unique_ptr<http_server> server_;
  std::string host_;
  std::atomic<steady::rep> beaten_;
  std::uint64_t seconds_ = 0;  // of work; the sockets' thread only
  std::uint64_t shown_ = 0;    // version of the last status event; the sockets' thread only
  std::string said_;           // the last STATUS=; the same
  bool complained_ = false;    // that somebody is unwell; the same
};

}  // namespace weir::serve
