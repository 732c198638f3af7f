// `--output ndjson`: what happens in a run, as it happens, one JSON object a line (docs/events.md).
#pragma once
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/engine/report.hpp"

namespace weir::cli {

// Lines for a reader who may be slow, written by a thread of their own, each at once and whole.
class line_writer {
 public:
  static constexpr std::size_t room = 1000;  // lines that put_when_room() lets wait

  explicit line_writer(int descriptor);
  ~line_writer();  // all that was put is written, or the reader is gone
  // None of these waits for the reader, but put_when_room().
  void put(std::string line);  // never lost; few: some for each request to NetBox
  // In the place of what was put with the same name and still waits: only the newest counts. It goes to the end.
  void put_newest(std::string const& name, std::string line);
  void put_when_room(std::string line);
  // Called by the thread, between lines and at the times it returns.
  void ask(std::function<std::chrono::steady_clock::time_point()> due);
  // Waits until all is written or cannot be. Errors: the reader is gone, or the disk is full; what came then is lost.
  base::result<void> finish();

 private:
  struct entry {
    std::string name, line;
  };
  void work();
  std::optional<std::string> write(std::string_view text) const;  // what went wrong

  int descriptor_;
  std::mutex mutex_;
  std::condition_variable changed_, taken_;
  std::list<entry> waiting_;
  std::map<std::string, std::list<entry>::iterator> newest_;
  std::function<std::chrono::steady_clock::time_point()> due_;
  std::optional<std::string> broken_;
  bool ending_ = false;
  std::thread thread_;
};

// Lets one thing of a kind through a second; the newest of those held back follows when the second is over.
class pacer {
 public:
  using time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds apart{1};
  bool admit(time now, engine::progress const& p);  // false: it is held back
  std::vector<engine::progress> due(time now);
  time next() const;  // when something is due; max(): nothing is held back
  void forget(std::string const& source, std::string const& stage);

 private:
  struct entry {
    time last{};
    std::optional<engine::progress> held;
  };
  std::map<std::pair<std::string, std::string>, entry> entries_;
};

class event_stream final : public engine::observer {
 public:
  event_stream(int descriptor, std::string run, bool changes);  // changes: each one of the plan is told
  void connected(engine::report const& r) override;
  void stage_started(std::string const& source, std::string const& stage) override;
  void moved(engine::progress const& p) override;
  void planned(engine::job_report const& job) override;
  void wrote(engine::written_batch const& b) override;
  void throttled(throttle::event const& e, engine::gate_now const& g) override;
  void noticed(engine::notice const& n) override;
  void finished(engine::job_report const& job) override;
  // The end, when nothing of the run waits any more: changes, failures, run_end. Waits for the reader. Errors: not all
  // of the stream was read.
  base::result<void> end(engine::report const& r, int exit_code);
  base::result<void> nothing_to_resume(std::string const& why);

 private:
  void tell(engine::progress const& p);

  std::string const run_;
  bool const changes_;
  std::size_t ceiling_ = 1;
  std::mutex mutex_;
  pacer pace_;
  line_writer out_;  // last: its thread uses the others
};

// The line on stderr with which a command ends that could not do its work; it has a line break.
std::string exit_event(int code, base::error const& why);

}  // namespace weir::cli
