// Requests through a gate: queues, paces, retries what may be repeated, and tells what came of it.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "core/http/transport.hpp"
#include "core/throttle/gate.hpp"

namespace weir::http {

struct call {
  http::request request;
  std::string lane;  // the stage it is for: lanes are served in turn
  std::size_t objects = 1;
};

struct answer {
  throttle::outcome outcome = throttle::outcome::cancelled;
  http::reply reply;  // of the last attempt
  std::size_t attempts = 0;
};

using classifier = throttle::outcome (*)(throttle::observation const&);

// Thread-safe: everything is posted to the loop's thread. Callbacks come on the loop's thread.
class client {
 public:
  // `name` is for logs ("netbox", "pve-a"). The loop must outlive the client. What an answer means is NetBox's table,
  // unless the server has one of its own.
  client(boost::asio::io_context& io, std::unique_ptr<transport> wire, throttle::limits const& ceilings,
         std::string name, classifier meaning = throttle::classify);
  // As stop(); whoever still waits is told on the loop, if it runs on.
  ~client();
  client(client const&) = delete;
  client& operator=(client const&) = delete;

  void send(call what, std::function<void(answer)> done);
  // Blocks the calling thread; never call it on the loop's thread.
  answer send_and_wait(call what);
  // Ends what waits and what is under way with outcome::cancelled; further sends end so at once. What was under way
  // has attempts > 0 and reply.request_sent: the server may be at work on it.
  void stop();
  throttle::counters count() const;  // a snapshot
  // Time spent by requests in flight, added up; for the report.
  std::chrono::milliseconds time_in_flight() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace weir::http
