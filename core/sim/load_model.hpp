// How a NetBox behaves under load, on a virtual clock: worker slots, PostgreSQL connections, cores, other users,
// faults. Pure and deterministic: the same calls and seed give the same answers. It says when a request ends and how;
// what the request would have answered is somebody else's part. Numbers of the measured NetBox are the defaults:
// work of a request from single backups (14 a second, one at a time) and lists of 50 (42 a second); next_core from two
// lists of 50 at a time (71 a second); db_error from single requests at 6 and 8 in flight over 5 connections (40 and
// 67 % refused: a refusal is quick, and the client goes on at once); the choice of threads: core/sim/threads.hpp.
//
// Model. A client's connection stays with one worker while less than 2 s lie between its requests; a new one goes to a
// worker with a free thread. A request waits for a thread of its worker (core/sim/threads.hpp says which one it gets);
// a thread that has no database connection opens one, which fails after `db_error` of work if none is left; it keeps
// the connection for conn_max_age, looked at only at the ends of its own requests (0: until the request ends). Whatever
// has a thread and is at work shares the cores evenly, none gets more than one core, all together no more than
// `workers` cores, and each core after the first adds only `next_core` of one. As on a real gunicorn a burst touches
// ever more threads and leaves the lucky ones with all connections (a poisoned pool). After the database was down a
// thread's old connection fails once more.
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
    database_down,      // every request fails at once: "Connection refused"; connections are lost
    web_down,           // gunicorn is gone: connection refused, and requests under way are cut, rolled back
    bad_gateway,        // the proxy answers 502 at once; nothing reaches NetBox
    bad_gateway_after,  // 502 instead of what NetBox answers in it, after NetBox has done the work
    slow,               // everything takes `factor` times as long
    neighbour,          // another client wants `amount` database connections and keeps each `share` of a core busy
    hang,               // requests that arrive in it are never answered, not even by the proxy (but done)
    too_many,           // 429 with Retry-After `amount` seconds
  } kind = what::slow;
  virtual_time from{0}, to{0};
  double amount = 0, factor = 1, share = 0.5;
};

struct load_scenario {
  int workers = 3, threads = 3;
  double cores = 2;
  double next_core = 0.65;  // what a second busy core adds (they share caches and memory)
  int connections = 97;     // usable ones of PostgreSQL
  virtual_time conn_max_age = std::chrono::seconds(300);
  virtual_time read_base = std::chrono::milliseconds(100), read_object = std::chrono::microseconds(600);
  virtual_time write_base = std::chrono::milliseconds(45), write_object = std::chrono::milliseconds(23);
  virtual_time db_error = std::chrono::milliseconds(19);  // work of a request that finds no connection
  virtual_time proxy_timeout = std::chrono::seconds(60);  // 504 to the client, NetBox goes on; 0: no proxy
  double jitter = 0.1;                                    // of each request's work, uniform ±
  double users_per_second = 0;                            // other people's requests, at random
  virtual_time user_work = std::chrono::milliseconds(150);
  std::vector<load_event> events;
  std::uint64_t seed = 1;
};

// How a request ended, as its client sees it.
struct load_answer {
  enum class how {
    ok,
    no_connection,    // the database's connections are all in use
    database_down,    // "Connection refused", or the thread's old connection is gone
    refused,          // nobody listens
    cut,              // the connection ended without an answer
    bad_gateway,      // 502
    gateway_timeout,  // 504
    too_many,         // 429
  } what = how::ok;
  std::uint64_t id = 0;
  virtual_time at{0};
  int retry_after_s = 0;
};

class load_model {
 public:
  explicit load_model(load_scenario scenario);
  ~load_model();

  // A request arrives. Times never go backwards between calls.
  // `id` is not that of a request under way. `fresh`: on a new connection, though there may be an idle one.
  void arrive(virtual_time now, std::uint64_t id, bool write, std::size_t objects, bool fresh = false);
  // The client went away: no answer comes, but NetBox goes on and commits.
  void abandon(std::uint64_t id);
  // When the next thing happens by itself (a request ends, a fault begins); nothing: never.
  std::optional<virtual_time> next() const;
  // Lets time pass until `now`. Commits and answers come in the order in which they happen.
  struct step {
    // NetBox has done the work of these (reads, too), whether or not their clients learn it.
    std::vector<std::uint64_t> committed;
    std::vector<load_answer> answers;
  };
  step advance(virtual_time now);

  void restart(virtual_time now);  // gunicorn's: threads and connections are gone, requests under way are cut
  int connections() const;         // held now, neighbours' included
  int peak_connections() const;
  int busy() const;                                           // requests that hold a thread, other people's included
  std::uint64_t database_errors() const;                      // of our requests
  std::uint64_t users_served() const, users_refused() const;  // other people's requests

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
