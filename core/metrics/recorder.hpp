// What weir counts, in Prometheus's form. prometheus-cpp stays behind recorder.cpp.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/engine/report.hpp"

namespace weir::metrics {

// A metric as docs/metrics.md lists it.
struct metric_about {
  std::string name;
  std::string type;  // "counter", "gauge", "histogram"
  std::vector<std::string> labels;
  std::string help;
};

// Told of runs, one after the other, for as long as the process lives. Thread-safe.
//
// A label's value is never an id or a secret: endpoints are templates, everything else is a name from the configuration
// or from a stage, cleaned and cut. A metric has at most `most_series` combinations of labels; what comes after them is
// counted under "other".
class recorder final : public engine::observer {
 public:
  using wall_clock = std::function<std::chrono::system_clock::time_point()>;
  static constexpr std::size_t most_series = 500;
  static constexpr std::size_t most_histograms = 200;  // each has 16 lines

  explicit recorder(wall_clock now = [] { return std::chrono::system_clock::now(); });
  ~recorder() override;

  // The text exposition format, version 0.0.4, sorted by name and labels.
  std::string text() const;          // with process_…, for whoever scrapes this process
  std::string text_of_runs() const;  // without: beside node_exporter's own process_… they would break its page

  // Adds what an earlier process left (its text_of_runs()): counters and histograms go on from there, and the times of
  // the last runs are known. Error: the text is not one; then nothing has been taken over.
  base::result<void> restore(std::string_view text);

  // A run that was asked for and did not begin: another one holds the lock, the journal cannot be written.
  void did_not_begin(std::string_view command, int exit_code);
  bool has_seen_a_run() const;  // to its end

  void connected(engine::report const& r) override;
  void planned(engine::job_report const& j) override;
  void wrote(engine::written_batch const& b) override;
  void throttled(throttle::event const& e, engine::gate_now const& g) override;
  void ticked(engine::gate_now const& g) override;
  void requested(std::string const& server, http::attempt_seen const& a) override;
  void noticed(engine::notice const& n) override;
  void finished(engine::job_report const& j) override;
  void ended(engine::report const& r, int exit_code) override;

  // Every metric that there can be, by name.
  static std::vector<metric_about> const& all();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// "ok", "partly", "unreachable", …: an exit code of a run as a label.
std::string_view result_of(int exit_code);

}  // namespace weir::metrics
