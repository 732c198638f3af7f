// Recognises a database without a connection to spare even for one request at a time: a *poisoned pool* (some of
// NetBox's threads sit on all connections, the others fail at once, and silence does not heal it), or a neighbour who
// has them all. Backing off further is no cure then, and no outage either: a share of the requests may still get
// through.
#pragma once
#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

#include "core/throttle/limiter.hpp"

namespace weir::throttle {

// For people: what it is, and what helps. `mixed`: a share of the requests gets through.
std::string starved_text(bool mixed);
inline constexpr std::string_view starved_hint =
    "restart NetBox's workers (systemctl restart netbox); then give it fewer gunicorn threads or PostgreSQL a higher "
    "max_connections (needed: workers x threads, and what others use)";

class starvation {
 public:
  // Of an attempt during which nothing else of ours was in flight: served, or refused for lack of a connection.
  void alone(clock::time_point now, bool refused, clock::duration latency);
  bool holds() const { return holds_; }
  std::size_t times() const { return times_; }
  // Served and refused since it was recognised; both also count in mixed().
  std::size_t served() const { return served_; }
  std::size_t refused() const { return refused_; }
  // Some pass and some do not: threads differ, which a neighbour could not bring about.
  bool mixed() const { return served_ > 0 && refused_ > 0; }
  // How long to wait before the next attempt: refusals cost NetBox next to nothing, but nobody must hammer.
  clock::duration gap() const;

 private:
  struct sample {
    clock::time_point at;
    bool refused = false;
  };
  std::deque<sample> last_;
  bool holds_ = false;
  std::size_t times_ = 0, served_ = 0, refused_ = 0, in_a_row_served_ = 0, in_a_row_refused_ = 0;
};

}  // namespace weir::throttle
