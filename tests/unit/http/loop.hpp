// An I/O loop on a thread of its own, as the program has one.
#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <future>
#include <thread>

namespace weir::test {

struct loop {
  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  std::thread thread{[this] { io.run(); }};

  loop() = default;
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;
  ~loop() { end(); }
  void end() {
    work.reset();
    io.stop();
    if (thread.joinable()) thread.join();
  }
  // On the loop's thread, to the end.
  void run(std::function<void()> const& what) {
    std::promise<void> done;
    boost::asio::post(io, [&] {
      what();
      done.set_value();
    });
    done.get_future().get();
  }
};

}  // namespace weir::test
