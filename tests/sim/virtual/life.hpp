// A day, lived through: the runs in which things go wrong, then healthy ones, and what must hold after each.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/virtual/day.hpp"
#include "tests/sim/virtual/host.hpp"
#include "tests/sim/virtual/netbox.hpp"

namespace weir::simulated {

struct edit {
  std::int64_t vm = 0;
  std::string field, value;  // "comments", "description", "name", or "tag"
};

class life {
 public:
  explicit life(day d);
  ~life();
  // The whole of it; problems() afterwards.
  void live();
  // Part by part, for tests of their own.
  host::outcome run(run_plan const& plan);
  void heal();    // nothing goes wrong any more, and NetBox's workers are fresh
  void arrive();  // the last healthy run brings everything, the one after it nothing
  std::vector<std::string> problems() const;
  std::uint64_t trace() const { return host_.trace(); }
  netbox& server() { return netbox_; }
  timeline& line() { return line_; }
  host& machine() { return host_; }
  day& plan() { return day_; }
  std::string told() const;  // the day and its runs, for a failure's message

 private:
  struct seen;
  seen look();
  void edit_something();
  void check_after(host::outcome const& o, std::size_t edits_before);
  void check_journal(host::outcome const* last, seen const& now);
  void problem(std::string text);

  timeline line_;
  day day_;
  netbox netbox_;
  host host_;
  dice people_;
  std::vector<edit> edits_;
  std::size_t edited_ = 0;  // objects that people touched so that they may differ
  bool deleted_ = false;    // by people: what they took may be missing
  bool crowded_ = false;    // people made or renamed something: names may collide
  std::vector<std::string> story_;
};

// 0 is a fine result: lived through without a problem.
struct tally {
  std::uint64_t days = 0, runs = 0, crashes = 0, requests = 0, writes = 0, looked_up = 0, deferred_runs = 0;
  std::map<std::string, int> struck;
};
tally& total();

}  // namespace weir::simulated
