// How a NetBox behaves under load, on a virtual clock: worker slots, PostgreSQL connections, cores, other users, faults.
// Pure and deterministic: the same calls and seed give the same answers. It says when a request ends and how; what the
// request would have answered is somebody else's part. Numbers of the measured NetBox are the defaults.
//
// Model. A request waits for a free thread (workers × threads); a thread that has no database connection opens one, which
// fails within `db_error` if none is left; it keeps the connection for conn_max_age (0: until the request ends). Requests
// that hold a connection share the cores: with k of them each runs at min(1, min(cores, workers) / k) of a core's speed.
// As on a real gunicorn the thread that takes a request is now and then a fresh one although another is idle, the more so
// the more requests are in flight, so that a burst leaves the lucky threads with all connections (a poisoned pool).
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weir::sim {

using virtual_time = std::chrono::microseconds;  // since the model's beginning

// A stretch of time in which something is different.
struct load_event {
  enum class what {
    database_down,    // every request fails at once: "Connection refused"; connections are lost
    web_down,         // gunicorn is gone: connection refused, and requests under way are cut, rolled back
    bad_gateway,      // the proxy answers 502 at once; nothing reaches NetBox
    bad_gateway_after,// 502 after NetBox has done the work
    slow,             // everything takes `factor` times as long
    neighbour,        // another client keeps `amount` database connections busy (and `amount` × `share` of a core each)
    hang,             // requests that begin in it are never answered (but done)
    too_many,         // 429 with Retry-After `amount` seconds
  } kind = what::slow;
  virtual_time from{0}, to{0};
  double amount = 0, factor = 1, share = 0.5;
};

struct load_scenario {
  int workers = 3, threads = 3;
  double cores = 2;
  int connections = 97;                                 // usable ones of PostgreSQL
  virtual_time conn_max_age = std::chrono::seconds(300);
  virtual_time read_base = std::chrono::milliseconds(100), read_object = std::chrono::microseconds(600);
  virtual_time write_base = std::chrono::milliseconds(45), write_object = std::chrono::milliseconds(23);
  virtual_time db_error = std::chrono::milliseconds(13);
  virtual_time proxy_timeout = std::chrono::seconds(60);  // 504 to the client, NetBox goes on; 0: no proxy
  double jitter = 0.1;                                    // of each request's work, uniform ±
  double users_per_second = 0;                            // other people's requests, at random
  virtual_time user_work = std::chrono::milliseconds(150);
  std::vector<load_event> events;
  std::uint64_t seed = 1;
};

// How a request ended, as its client sees it.
struct load_answer {
  enum class how { ok, no_connection, database_down, refused, cut, bad_gateway, gateway_timeout, too_many } what = how::ok;
  std::uint64_t id = 0;
  virtual_time at{0};
  int retry_after_s = 0;
};

class load_model {
 public:
  explicit load_model(load_scenario scenario);
  ~load_model();

  // A request arrives. Times never go backwards between calls.
  void arrive(virtual_time now, std::uint64_t id, bool write, std::size_t objects);
  // The client went away: no answer comes, but NetBox goes on and commits.
  void abandon(std::uint64_t id);
  // When the next thing happens by itself (a request ends, a fault begins); nothing: never.
  std::optional<virtual_time> next() const;
  // Lets time pass until `now`. Commits and answers come in the order in which they happen.
  struct step {
    std::vector<std::uint64_t> committed;  // NetBox has done the work of these, whether or not its client learns it
    std::vector<load_answer> answers;
  };
  step advance(virtual_time now);

  void restart(virtual_time now);  // gunicorn's: threads and connections are gone, requests under way are cut
  int connections() const;         // held now, neighbours' included
  int peak_connections() const;
  int busy() const;                // requests that hold a thread, other people's included
  std::uint64_t database_errors() const;        // of our requests
  std::uint64_t users_served() const, users_refused() const;  // other people's requests

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
