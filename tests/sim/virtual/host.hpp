// The machine that weir runs on: its state directory, and one process after the other that does what engine::run does
// (without plugins and threads), until it ends or crashes. What must hold at every instant is checked at the wire.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/engine/report.hpp"
#include "core/store/journal.hpp"
#include "tests/sim/virtual/day.hpp"
#include "tests/sim/virtual/netbox.hpp"

namespace weir::simulated {

inline constexpr char const* netbox_url = "http://netbox.example";

class host {
 public:
  host(timeline& line, netbox& server, day const& d);
  ~host();
  host(host const&) = delete;
  host& operator=(host const&) = delete;

  struct outcome {
    std::string run_id;
    bool crashed = false;
    std::string crashed_at;   // the journal's step
    std::uint64_t steps = 0;  // of the journal, before and after as one each
    engine::report report;    // of no use after a crash
    bool whole() const;       // every stage did all it wanted
  };
  outcome run(run_plan const& plan, source const& wanted);

  // The journal, for looking at it between two runs.
  std::unique_ptr<store::journal> read_journal() const;
  void problem(std::string text);
  std::vector<std::string> const& problems() const { return problems_; }
  std::uint64_t trace() const { return trace_; }  // of all requests with their times, and all steps of the journal
  void note(std::string_view text);               // into the trace
  std::uint64_t crashes() const { return crashes_; }

 private:
  struct process;
  class wire;
  void work(process& p, run_plan const& plan, source const& wanted, outcome& out);
  void check_budget(process& p);

  timeline& line_;
  netbox& netbox_;
  day const& day_;
  std::filesystem::path folder_;
  weir::netbox::registry kinds_;  // the reports' plans point into it
  std::uint64_t processes_ = 0, crashes_ = 0, trace_ = 0xcbf29ce484222325ULL;
  std::vector<std::string> problems_;
};

}  // namespace weir::simulated
