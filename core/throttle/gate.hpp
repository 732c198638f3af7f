// The one way to a server. Pure: state in, `now` in, action out; core/http/client.cpp carries the actions out.
//
// Layers, outermost first: lanes (fair between stages) ► admission (rate, batches, in flight) ► attempt ► outcome ►
// retry with backoff. A permit is given back before the backoff, and a retry goes ahead of new work.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/throttle/outcome.hpp"

namespace weir::throttle {

using clock = std::chrono::steady_clock;  // only its time_point is used here: `now` is always an argument
using std::chrono::milliseconds;
using ticket = std::uint64_t;

struct limits {
  std::size_t max_in_flight = 1;
  double requests_per_second = 10;   // 0: no limit
  std::size_t batch_size = 5;        // write requests in a batch; 0: no batches
  milliseconds batch_delay{200};     // from the end of a batch's last answer to the next batch's first request
  std::size_t max_attempts = 5;
  milliseconds backoff_base{1000};
  milliseconds backoff_cap{30000};
};

struct traits {
  method verb = method::get;
  std::string lane;         // the stage it is for
  std::size_t objects = 1;  // carried by it
};

// What becomes of a request after an attempt.
struct verdict {
  bool again = false;           // the gate will start it again by itself, not before `at`
  clock::time_point at{};
  std::size_t attempts = 0;
};

struct counters {
  std::uint64_t started = 0, retried = 0;
  std::uint64_t started_by_method[5] = {};
  std::uint64_t outcomes[11] = {};
  std::size_t in_flight = 0, peak_in_flight = 0, waiting = 0;
  std::uint64_t batches = 0;  // of write requests, begun
};

class gate {
 public:
  gate(limits const& ceilings, std::uint64_t seed);

  void submit(clock::time_point now, ticket t, traits const& about);
  // The request to start now, if one may. Call again until it returns nothing.
  std::optional<ticket> next(clock::time_point now);
  // When next() may return something without a further event; time_point::max() if only an answer can change it.
  clock::time_point wake(clock::time_point now) const;
  // An attempt ended. With verdict.again the ticket stays with the gate, else it is forgotten.
  verdict done(clock::time_point now, ticket t, outcome o, milliseconds latency, std::optional<milliseconds> retry_after);
  // Forgets a request that waits (true), or says that it is in flight or unknown (false).
  bool cancel(ticket t);

  counters const& count() const { return counters_; }
  limits const& ceilings() const { return limits_; }

 private:
  struct entry {
    traits about;
    std::size_t attempts = 0;
    bool in_flight = false;
    bool waiting_for_retry = false;
  };
  bool admits(clock::time_point now, bool write) const;

  limits limits_;
  std::mt19937_64 random_;
  std::unordered_map<ticket, entry> entries_;
  std::map<std::string, std::deque<ticket>> lanes_;  // new work
  std::string last_lane_;                            // served last: the next one in order comes first
  std::multimap<clock::time_point, ticket> retries_; // by due time
  std::size_t batch_started_ = 0, batch_in_flight_ = 0;
  clock::time_point next_batch_at_ = clock::time_point::min();
  clock::time_point next_request_at_ = clock::time_point::min();  // the rate
  counters counters_;
};

}  // namespace weir::throttle
