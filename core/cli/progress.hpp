// What happens while it happens, on stderr: rows on a terminal (display.hpp), log lines otherwise. Written by a thread
// of its own, so that nobody who tells of something waits for a terminal.
#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/cli/display.hpp"
#include "core/engine/run.hpp"

namespace weir::cli {

struct arguments;

struct progress_options {
  bool live = false;    // rows on the terminal that stderr is
  bool colour = false;  // of the rows
  bool dry = false;
  // (source, stage) that the run is going to have; those not among them are shown when they begin.
  std::vector<std::pair<std::string, std::string>> expected;
};

// One at a time. While it is there, it writes the log's lines to stderr, too; all of them by its end.
class progress_display : public engine::observer {
 public:
  explicit progress_display(progress_options how);
  ~progress_display() override;
  void connected(engine::report const& r) override;
  void stage_started(std::string const& source, std::string const& stage) override;
  void moved(engine::progress const& p) override;
  void planned(engine::job_report const& job) override;
  void finished(engine::job_report const& job) override;
  void throttled(throttle::event const& e, engine::gate_now const& g) override;
  void ticked(engine::gate_now const& g) override;

 private:
  using time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t most_lines = 10'000;  // that wait for stderr; those beyond are counted

  job_row& row_of(std::string const& source, std::string const& stage);
  void note(engine::gate_now const& g, time now);
  display_state snapshot(time now);
  void take(std::string&& line);
  std::string take_lines();  // what waits for stderr
  void work();
  void draw(display_state const& now, std::string lines);
  std::string take_away(std::size_t width) const;  // what removes the rows from a screen so wide
  void answer(display_state const& now);           // somebody asked (SIGUSR1)

  progress_options const how_;
  time const began_;
  std::mutex mutex_;
  display_state state_;
  std::string run_;
  std::map<std::string, std::size_t> place_;  // in state_.jobs, by source and stage
  std::map<std::string, speed> speeds_;       // the same
  speed requests_;
  std::size_t ceiling_ = 1;
  std::optional<time> probe_at_;
  plain_pace pace_;

  std::mutex lines_mutex_;  // taken last
  std::condition_variable woken_;
  std::string lines_;
  std::size_t waiting_lines_ = 0, lost_lines_ = 0;
  bool ending_ = false;

  // The thread's own.
  std::vector<std::string> drawn_;
  std::size_t drawn_width_ = 0;
  bool said_stopping_ = false;
  std::thread thread_;
};

// Whether stderr is a terminal that can show rows, and nothing speaks against it.
bool rows_wanted(arguments const& args);
bool display_stands();    // a progress_display is there: what wants to be said goes through it
void ask_for_progress();  // the next frame says how far the run is, in any mode; may be called in a signal handler

}  // namespace weir::cli
