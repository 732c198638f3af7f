// The event loop as the clients see it: time, timers, posted work, and a way for other threads to wait. Asio's is the
// real one (loop.cpp); the simulator has one on a virtual clock.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/throttle/gate.hpp"

namespace boost::asio {
class io_context;
}

namespace weir::http {

class loop {
 public:
  using timer = std::uint64_t;
  virtual ~loop() = default;
  virtual throttle::clock::time_point now() const = 0;
  virtual std::chrono::system_clock::time_point wall_now() const = 0;
  virtual void post(std::function<void()> what) = 0;  // thread-safe; runs on the loop's thread
  // On the loop's thread. A timer whose loop goes away is forgotten.
  virtual timer call_at(throttle::clock::time_point when, std::function<void()> what) = 0;
  virtual void cancel(timer which) = 0;
  virtual bool on_loop_thread() const = 0;
  // Blocks the calling thread, which must not be the loop's, until `ready()` or for so long; false: it was not ready.
  // `ready` is asked again after each wake().
  virtual bool wait(std::chrono::milliseconds at_most, std::function<bool()> const& ready) = 0;
  virtual void wake() = 0;  // thread-safe
};

std::shared_ptr<loop> make_asio_loop(boost::asio::io_context& io);  // `io` outlives it

}  // namespace weir::http
