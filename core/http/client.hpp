// Requests through a gate: queues, paces, retries what may be repeated, and tells what came of it.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/http/transport.hpp"
#include "core/throttle/gate.hpp"

namespace weir::http {

struct call {
  http::request request;
  std::string lane;         // the stage it is for: lanes are served in turn
  std::size_t objects = 1;
};

struct answer {
  throttle::outcome outcome = throttle::outcome::cancelled;
  http::reply reply;          // of the last attempt
  std::size_t attempts = 0;
};

// Thread-safe: everything is posted to the loop's thread. Callbacks come on the loop's thread.
class client {
 public:
  // `name` is for logs ("netbox", "pve-a"). The loop and the transport must outlive the client.
  client(boost::asio::io_context& io, std::unique_ptr<transport> wire, throttle::limits const& ceilings, std::string name);
  ~client();
  client(client const&) = delete;
  client& operator=(client const&) = delete;

  void send(call what, std::function<void(answer)> done);
  // Blocks the calling thread; never call it on the loop's thread.
  answer send_and_wait(call what);
  // Ends what waits and what is under way with outcome::cancelled; further sends end so at once.
  void stop();
  throttle::counters count() const;  // a snapshot
  // Milliseconds spent by requests in flight, added up; for the report.

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace weir::http
