// The one way to a server. Pure: state in, `now` in, action out; core/http/client.cpp carries the actions out.
//
// Layers, outermost first: lanes (fair between stages) ► admission (breaker, rate, batches, pace, in flight) ► attempt
// ► outcome ► retry with backoff. A permit is given back before the backoff, and a retry goes ahead of new work as long
// as the retry budget lasts. What adapts (controller.hpp) moves below the profile's ceilings only.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/throttle/controller.hpp"
#include "core/throttle/outcome.hpp"

namespace weir::throttle {

using ticket = std::uint64_t;

inline constexpr ticket probe_ticket = std::numeric_limits<ticket>::max();

enum class control {
  fixed,    // the ceilings alone (sources)
  observe,  // decides and says so, but does not limit
  adaptive,
};

struct limits {
  std::size_t max_in_flight = 1;
  double requests_per_second = 10;  // 0: no limit
  std::size_t batch_size = 5;       // write requests in a batch; 0: no batches
  milliseconds batch_delay{200};    // from the end of a batch's last answer to the next batch's first request
  std::size_t max_attempts = 5;
  milliseconds backoff_base{1000};
  milliseconds backoff_cap{30000};
  throttle::control control = throttle::control::fixed;
  std::chrono::seconds max_outage{300};  // failing for longer, everything that waits is given back
  bool probe = false;  // adaptive: after the breaker's pause next() returns probe_ticket first, for a cheap request
};

struct traits {
  method verb = method::get;
  std::string lane;           // the stage it is for
  std::size_t objects = 1;    // carried by it
  std::string endpoint = {};  // template, "dcim/devices" or "dcim/devices/{id}": latencies are compared within it
  bool impatient = false;     // max_attempts is the end, whatever the reason (the first request of a run)
};

// How an attempt ended.
struct ended {
  outcome what = outcome::ok;
  milliseconds latency{0};
  std::optional<milliseconds> retry_after = {};
  bool hopeless = false;  // another attempt cannot end better (a certificate that is refused)
  trouble cause = trouble::none;
  std::size_t reply_bytes = 0;
};

// What becomes of a request after an attempt.
struct verdict {
  bool again = false;  // the gate will start it again by itself, not before `at`
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

// Keeps starts apart by 1/rate: never more than rate·t + 1 of them in any window of length t.
class spacing {
 public:
  explicit spacing(double per_second);
  clock::time_point earliest() const { return next_; }
  void started(clock::time_point now);

 private:
  clock::duration gap_;
  clock::time_point next_ = clock::time_point::min();
};

// Writes go in batches: the next one begins when all of the last have been answered and the pause is over.
// A repeated write is a write of the batch that is under way then.
class batches {
 public:
  batches(std::size_t size, milliseconds pause) : size_(size), pause_(pause) {}
  // time_point::max(): only an answer can change it.
  clock::time_point earliest() const;
  bool started();  // true if it is the first of a batch
  void answered(clock::time_point now);

 private:
  std::size_t size_;
  milliseconds pause_;
  std::size_t started_ = 0, in_flight_ = 0;
  clock::time_point next_ = clock::time_point::min();
};

class gate {
 public:
  gate(limits const& ceilings, std::uint64_t seed);

  // A ticket that the gate holds already is left as it is.
  void submit(clock::time_point now, ticket t, traits const& about);
  // The request to start now, if one may. Call again until it returns nothing.
  std::optional<ticket> next(clock::time_point now);
  // When next() may return something without a further event; time_point::max() if only an answer can change it.
  clock::time_point wake(clock::time_point now) const;
  // An attempt ended. With verdict.again the ticket stays with the gate, else it is forgotten.
  verdict done(clock::time_point now, ticket t, ended const& how);
  // Forgets a request that waits (true), or says that it is in flight or unknown (false).
  bool cancel(ticket t);

  // Failing for longer than max_outage: what waits will not be sent. take_waiting() hands it back and forgets it.
  bool gave_up() const { return limits_.control == control::adaptive && controller_.gave_up(); }
  std::vector<ticket> take_waiting();

  // Objects for the next list request, so that it takes 1 to 2 s; never above `ceiling`.
  std::size_t list_size(method verb, std::string_view endpoint, std::size_t ceiling) const;

  counters const& count() const { return counters_; }
  limits const& ceilings() const { return limits_; }
  throttle_state adaptation() const { return controller_.state(); }
  std::vector<event> take_events() { return controller_.take_events(); }
  // What was learnt about this server's latencies; text of them for the next run.
  latencies const& learnt() const { return controller_.learnt(); }
  void restore(std::string_view text) { controller_.learnt().restore(text); }

 private:
  enum kind : std::size_t { read, write };
  enum class place { queued, backoff, in_flight };
  struct entry {
    traits about;
    place where = place::queued;
    std::size_t attempts = 0;
    bool fault_repeated = false;
    std::size_t own_failures = 0;        // failures while others succeeded
    std::uint64_t successes_before = 0;  // of all, when it failed last
    bool alone = false;                  // nothing else was in flight when it started
    std::uint64_t crowd = 0;
    std::uint64_t order = 0;  // of submission
    clock::time_point due{};  // place::backoff only
  };
  struct lane {
    std::deque<ticket> waiting[2];  // by kind, oldest first
    bool empty() const { return waiting[read].empty() && waiting[write].empty(); }
  };
  static kind kind_of(method m) { return m == method::get ? read : write; }

  bool adaptive() const { return limits_.control == control::adaptive; }
  std::size_t concurrency() const;
  clock::time_point earliest(kind k) const;
  bool may_retry(entry& e, ended const& how) const;
  bool retries_first() const { return !adaptive() || controller_.may_repeat_first(); }
  void count_start(method m);
  void release_retries(clock::time_point now);

  std::optional<ticket> due_retry(clock::time_point now, bool const (&open)[2]) const;
  std::optional<ticket> next_in_lanes(bool const (&open)[2]) const;
  clock::duration backoff(std::size_t attempts);
  void take_from_queue(ticket t, entry const& e);

  limits limits_;
  controller controller_;
  spacing spacing_;
  batches batches_;
  std::mt19937_64 random_;
  std::unordered_map<ticket, entry> entries_;
  std::map<std::string, lane> lanes_;                    // new work; only lanes that have some
  std::string last_lane_;                                // served last: the next one in order comes first
  std::size_t queued_[2] = {};                           // in all lanes, by kind
  std::multimap<clock::time_point, ticket> retries_[2];  // by due time, by kind
  std::uint64_t order_ = 0;
  std::uint64_t successes_ = 0;  // answers that say that somebody is there
  std::uint64_t crowd_ = 0;      // how often a request started while others were in flight
  bool probing_ = false;
  counters counters_;
};

}  // namespace weir::throttle
