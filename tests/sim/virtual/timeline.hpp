// Virtual time: one thread, a heap of events, nothing that waits. The same calls give the same order of events.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include "core/http/loop.hpp"

namespace weir::simulated {

using instant = std::chrono::nanoseconds;  // since the beginning of the simulation
inline constexpr instant never = instant::max();

// Nothing is ever going to happen that somebody waits for, or far too much happens.
struct stuck : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class timeline {
 public:
  using owner = std::uint64_t;  // whose events they are: a process dies with all of its own
  instant now() const { return now_; }
  std::uint64_t at(instant when, owner whose, std::function<void()> what);
  void cancel(std::uint64_t id);
  void drop(owner whose);
  // Runs the next event that is due by then. False: there is none, and it is `until` now.
  bool step(instant until);
  void pass(instant time);  // lets so much time pass

 private:
  struct event {
    owner whose;
    std::function<void()> what;
  };
  instant now_{0};
  std::uint64_t last_ = 0, steps_ = 0;
  std::map<std::pair<instant, std::uint64_t>, event> events_;
  std::unordered_map<std::uint64_t, instant> when_;
};

// The loop of one process on that time. Whoever waits lets the events happen.
class virtual_loop : public http::loop {
 public:
  virtual_loop(timeline& line, timeline::owner process) : line_(line), process_(process) {}
  throttle::clock::time_point now() const override;
  std::chrono::system_clock::time_point wall_now() const override;
  void post(std::function<void()> what) override;
  timer call_at(throttle::clock::time_point when, std::function<void()> what) override;
  void cancel(timer which) override { line_.cancel(which); }
  bool on_loop_thread() const override { return inside_; }
  bool wait(std::chrono::milliseconds at_most, std::function<bool()> const& ready) override;
  void wake() override {}

  void die();                        // the process is gone: nothing of it happens any more
  std::function<void()> after_each;  // callback of the loop; may be empty

 private:
  std::uint64_t at(instant when, std::function<void()> what);
  timeline& line_;
  timeline::owner process_;
  bool inside_ = false, dead_ = false;
};

// A sanitizer takes ten times as long: then a tenth of the days and steps is lived through.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::uint64_t slowness = 10;
#else
inline constexpr std::uint64_t slowness = 1;
#endif

// The wall clocks' time at the beginning.
inline constexpr std::chrono::seconds wall_epoch{1'780'000'000};

}  // namespace weir::simulated
