// Keeps a message that comes again and again from drowning the others. Pure: the time is an argument.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::base::log {

class repeats {
 public:
  using time = std::chrono::steady_clock::time_point;
  static constexpr std::size_t shown = 5;  // of one message within a window
  static constexpr std::chrono::seconds window{10};
  static constexpr std::size_t remembered = 1000;  // messages; beyond, new ones are shown unwatched

  struct summary {
    int level = 0;
    std::string message;  // the one that was left out
    std::size_t times = 0;
  };

  // Whether to write it; what is not written is counted. A window starts with a message's first line.
  bool admit(time now, int level, std::string_view message);
  // What was left out in windows that are over, oldest window first; they are forgotten.
  std::vector<summary> due(time now);
  // The same of all windows.
  std::vector<summary> all();

 private:
  struct entry {
    time since{};
    int level = 0;
    std::size_t seen = 0;
  };
  std::unordered_map<std::string, entry> seen_;  // by level and message
  time next_ = time::max();                      // no window is over before
};

}  // namespace weir::base::log
