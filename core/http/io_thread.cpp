#include "core/http/io_thread.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <future>
#include <thread>

namespace weir::http {

struct io_thread::state {
  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{boost::asio::make_work_guard(loop)};
  std::promise<void> ended;
  std::thread thread;
};

io_thread::io_thread() : state_(std::make_unique<state>()) {
  state_->thread = std::thread([s = state_.get()] {
    s->loop.run();
    s->ended.set_value();
  });
}

io_thread::~io_thread() {
  // What closes sockets and timers must run on the loop, not while the loop is being destroyed.
  state_->work.reset();
  if (state_->ended.get_future().wait_for(std::chrono::seconds(10)) != std::future_status::ready) state_->loop.stop();
  state_->thread.join();
}

boost::asio::io_context& io_thread::loop() { return state_->loop; }

}  // namespace weir::http
