// Requests through a gate: queues, paces, retries what may be repeated, and tells what came of it.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "core/http/loop.hpp"
#include "core/http/transport.hpp"
#include "core/throttle/gate.hpp"

namespace weir::http {

struct call {
  http::request request;
  std::string lane;  // the stage it is for: lanes are served in turn
  std::size_t objects = 1;
  std::string endpoint;    // template, "dcim/devices": latencies are compared within it
  bool impatient = false;  // see throttle::traits
  // Called on the loop's thread before each attempt; false: it must not be sent (the journal could not be written), and
  // the answer is outcome::cancelled.
  std::function<bool()> before_attempt;
};

struct answer {
  throttle::outcome outcome = throttle::outcome::cancelled;
  http::reply reply;  // of the last attempt
  std::size_t attempts = 0;
  bool gave_up = false;  // the server has been failing for longer than the profile allows: so would every other request
};

// One exchange with the server that has ended, probes included.
struct attempt_seen {
  throttle::method verb = throttle::method::get;
  std::string_view endpoint;  // as in call; "" of a probe
  std::size_t objects = 0;
  throttle::outcome outcome = throttle::outcome::ok;
  int status = 0;      // 0: no answer
  bool again = false;  // it will be sent once more
  std::chrono::milliseconds elapsed{0};
};

using classifier = throttle::outcome (*)(throttle::observation const&);

// Thread-safe: everything is posted to the loop's thread. Callbacks come on the loop's thread.
class client {
 public:
  // `name` is for logs ("netbox", "pve-a"). The loop must outlive the client. What an answer means is NetBox's table,
  // unless the server has one of its own.
  client(boost::asio::io_context& io, std::unique_ptr<transport> wire, throttle::limits const& ceilings,
         std::string name, classifier meaning = throttle::classify);
  // The same on any loop; `seed` makes what is drawn at random repeatable.
  client(std::shared_ptr<loop> on, std::unique_ptr<transport> wire, throttle::limits const& ceilings, std::string name,
         classifier meaning, std::uint64_t seed);
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
  // Ends what waits in the gate with outcome::cancelled, and whatever is sent later; what is in flight goes on.
  void drain();
  // Asked by whoever waits in send_and_wait(): once true, drain(). Before the first send(); thread-safe.
  void drain_when(std::function<bool()> stopping);
  // The cheap request that asks whether the server is back, after the breaker's pause. Before the first send().
  void probe_with(http::request what);

  throttle::counters count() const;  // a snapshot
  throttle::throttle_state adaptation() const;
  // Called on the loop's thread with everything the gate decides; before the first send().
  void on_event(std::function<void(throttle::event const&, throttle::throttle_state const&)> listener);
  // Called on the loop's thread after each attempt; before the first send().
  void on_attempt(std::function<void(attempt_seen const&)> listener);
  // Objects for the next list request (throttle::latencies).
  std::size_t list_size(throttle::method verb, std::string_view endpoint, std::size_t ceiling) const;
  // What such a request takes in good times, as far as that is known.
  std::optional<std::chrono::milliseconds> usual_latency(throttle::method verb, std::string_view endpoint,
                                                         std::size_t objects) const;
  // What was learnt about latencies, as text for the next run; restore() before the first send().
  std::string learnt() const;
  void restore(std::string text);
  http::loop& on() const;  // where it runs
  // Time spent by requests in flight, added up; for the report.
  std::chrono::milliseconds time_in_flight() const;

 private:
  struct state;
  std::shared_ptr<state> state_;
};

}  // namespace weir::http
