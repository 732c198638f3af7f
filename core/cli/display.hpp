// What a run looks like on a terminal: state in, lines out. Pure; progress.cpp keeps the state and draws.
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/throttle/breaker.hpp"

namespace weir::cli {

// A stage over a source.
struct job_row {
  enum class state { waiting, reading, comparing, writing, ok, failed, skipped, stopped };
  std::string source, stage;
  state now = state::waiting;
  std::string note;                                   // reading: the stage's own; ended: the reason, unless ok
  std::uint64_t done = 0, total = 0;                  // guests read, objects written; total 0: unknown
  std::size_t batch = 0, batches = 0;                 // writing
  double per_second = 0;                              // of what `done` counts, of late; 0: unknown
  std::optional<double> left_s;                       // at that rate
  double requests_per_second = 0;                     // writing: since the stage's first one
  double seconds = 0;                                 // ended: it took so long
  std::size_t created = 0, updated = 0, deleted = 0;  // ended
  bool operator==(job_row const&) const = default;
};

struct gate_row {
  std::size_t in_flight = 0, waiting = 0, limit = 1, ceiling = 1;
  std::chrono::milliseconds gap{0};
  double requests_per_second = 0;  // of late
  throttle::breaker::state circuit = throttle::breaker::state::closed;
  std::optional<double> probe_in_s;  // the breaker is open
  bool starved = false, gave_up = false;
  bool operator==(gate_row const&) const = default;
};

struct display_state {
  std::vector<job_row> jobs;     // in the order in which they were heard of
  std::optional<gate_row> gate;  // absent: not connected yet
  double seconds = 0;            // since the run began
  bool stopping = false;
  bool dry = false;  // nothing is written: ended stages were planned
  bool operator==(display_state const&) const = default;
};

struct screen {
  std::size_t width = 80, height = 24;  // columns, lines
  bool colour = false, unicode = true;
};

// A row per stage, and the gate's; none as wide as the screen, fewer than it is high: those that do nothing are summed
// up where they are too many.
std::vector<std::string> rows(display_state const& state, screen const& on);
// "pve-a nodes: 20/60 objects, batch 4 of 12, 3.1 requests/s", for logs.
std::string describe(job_row const& job);
std::string name_of(job_row const& job);                    // "pve-a nodes"
std::string describe(gate_row const& gate);                 // the gate's row in full length
std::string duration_text(double seconds);                  // "0:42", "12:05", "1h02m"
std::size_t columns(std::string_view utf8);                 // on a terminal; a colour's escape sequence takes none
std::string fit(std::string_view utf8, std::size_t width);  // at most so many columns, "…" where cut; no controls

// How quickly a count grows, over the last seconds.
class speed {
 public:
  using time = std::chrono::steady_clock::time_point;
  explicit speed(std::chrono::milliseconds window) : window_(window) {}
  void at(time now, std::uint64_t count);
  void reset() { samples_.clear(); }
  double per_second(time now) const;  // 0: unknown, or nothing has moved for a window

 private:
  struct sample {
    time when;
    std::uint64_t count;
  };
  std::chrono::milliseconds window_;
  std::deque<sample> samples_;
};

// When a log that nobody watches says how far a run is: after ten batches, at a stage's end, and every thirty seconds.
class plain_pace {
 public:
  using time = std::chrono::steady_clock::time_point;
  explicit plain_pace(time start) : last_(start) {}
  bool after_batch(time now, std::string const& job, std::size_t batch, std::size_t batches, bool at_end);
  bool due(time now);  // once per thirty seconds without a line

 private:
  time last_;
  std::map<std::string, std::size_t> said_;  // the last batch, by job
};

}  // namespace weir::cli
