// The loop's thread: every socket and timer of a run lives on it.
#pragma once
#include <memory>

namespace boost::asio {
class io_context;
}

namespace weir::http {

class io_thread {
 public:
  io_thread();
  ~io_thread();  // lets it run dry
  io_thread(io_thread const&) = delete;
  io_thread& operator=(io_thread const&) = delete;
  boost::asio::io_context& loop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::http
