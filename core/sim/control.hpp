// What both simulated servers share: request counters, injected faults, and the paths under /_sim/ that reach them.
#pragma once
#include "core/sim/http_server.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace weir::sim {

struct request_counters {
  std::uint64_t total = 0;            // requests to the API; the paths under /_sim/ do not count
  std::uint64_t writes = 0;           // POST, PUT, PATCH, DELETE
  std::uint64_t objects_written = 0;  // created, changed or deleted by requests that succeeded
  std::uint64_t peak_in_flight = 0;
  std::map<std::string, std::uint64_t> by_method;    // "GET"
  std::map<std::string, std::uint64_t> by_endpoint;  // "GET /api/dcim/devices/{id}/"
  std::map<int, std::uint64_t> by_status;            // 0 = cut or hung
};

// Thread-safe.
class control {
 public:
  control();
  ~control();

  // Serves GET /_sim/requests, POST /_sim/reset-counters, GET and PUT /_sim/faults; nothing for other paths.
  std::optional<http_response> handle(http_request const& request);
  // Counts the request and applies the first fault that matches; `serve` makes the normal reply.
  http_response run(http_request const& request, std::string const& endpoint,
                    std::function<http_response()> const& serve);

  request_counters counters() const;
  void reset_counters();
  // A JSON list; each: path_regex (searched in path and query), method, status, reason, body, headers {}, cut, hang,
  // truncate_body_at, delay_ms, after_commit (do it, then fail), times (-1 = always, default 1), skip (let so many
  // pass). Without status, cut, hang or truncate_body_at it only delays. Throws std::invalid_argument if it is not such
  // a list.
  void set_faults(std::string const& json);
  // Further members for the JSON of /_sim/requests; returns a JSON object's text.
  void set_extra(std::function<std::string()> extra, std::function<void()> reset);

  // Sleeps, but wakes at once when the server stops. False: the server stops.
  bool sleep(std::chrono::microseconds time);
  void stop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

http_response json_reply(int status, std::string body);

// %XX and '+' decoded.
std::string url_decode(std::string_view text);
// The query's parameters in order of appearance.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);

}  // namespace weir::sim
