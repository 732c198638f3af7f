// Which thread of a gunicorn worker takes a request: what decides how many database connections a NetBox opens.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>

namespace weir::sim {

// Python's thread pool starts a thread when it believes that none is idle. It counts wrong when one has just answered:
// the next request can come before that thread has said that it is idle, or it grabs a request meant for another. So a
// pool grows beyond what is ever busy at once, but only under requests that follow each other closely: batches with a
// pause between them never start a thread too many.
constexpr std::chrono::microseconds thread_race_window{25'000};
// Chance that a request which follows so closely gets a new thread although another is idle; `busy` threads of the
// worker are at work. Fitted to the refused share of single PATCHes on a fresh NetBox with 2 × 8 threads and 7
// connections kept for 300 s. In flight: measured / this model, in percent. 1: 0 / 0, 2: 5 / 4, 3: 9 / 14, 4: 30 / 28,
// 6: 57 / 49, 8: 65 / 59, 10: 78 / 69, 64: 80 / 81. Batches of 5 every 200 ms: 0 / 0.
inline double fresh_thread_chance(std::size_t busy) { return std::min(1.0, 0.03 + 0.08 * static_cast<double>(busy)); }

// The threads of one worker, numbered from 0 in the order in which they were started. Idle ones take turns.
class worker_threads {
 public:
  explicit worker_threads(std::size_t size = 1) : size_(size) {}

  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  bool any_free() const { return !idle_.empty() || started_ < size_; }
  std::size_t busy() const { return started_ - idle_.size(); }
  // `now` on any clock; `dice` is drawn from [0, 1). none: all are busy.
  std::size_t take(std::chrono::microseconds now, double dice) {
    if (idle_.empty()) return started_ < size_ ? started_++ : none;
    if (started_ < size_ && now - given_back_ <= thread_race_window && dice < fresh_thread_chance(busy()))
      return started_++;
    auto const mine = idle_.front();
    idle_.pop_front();
    return mine;
  }
  void give_back(std::size_t thread, std::chrono::microseconds now) {
    idle_.push_back(thread);
    given_back_ = now;
  }

 private:
  std::size_t size_;
  std::size_t started_ = 0;
  std::deque<std::size_t> idle_;
  std::chrono::microseconds given_back_ = std::chrono::microseconds::min() / 2;
};

}  // namespace weir::sim
