// A simulated inventory of devices behind a REST API, with every way of paging lists that weir's rest source knows.
//
// Below /api, with a token or basic authentication:
//   /health          {"status", "version"}; without authentication
//   /devices         the whole list, a JSON array
//   /devices/{id}    one device
//   /link/devices    an array and a Link header (RFC 8288); ?page=1&per_page=50
//   /next/devices    {"count", "next", "previous", "results"}; ?limit=50&offset=0
//   /page/devices    {"data", "meta": {"page", "total"}}; ?page=1&per_page=50
//   /offset/devices  {"total", "rows"}; ?offset=0&limit=50
//   /cursor/devices  {"devices", "response_metadata": {"next_cursor"}}; ?cursor=…&limit=50
// All lists take ?site=NAME as well.
#pragma once
#include "core/sim/control.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace weir::sim {

struct inventory_options {
  std::uint16_t port = 0;
  std::uint64_t seed = 1;  // the same numbers give the same devices, byte for byte
  int devices = 120;
  int page_size = 50;       // unless the request says another
  int max_page_size = 100;  // whatever the request says
  std::string token = "inventory-token-0001";
  std::string token_header = "Authorization";
  std::string token_prefix = "Bearer ";
  std::string username = "weir";
  std::string password = "simulated";
  bool anonymous = false;                // nobody needs to say who he is
  std::chrono::milliseconds latency{0};  // of every API request
  std::chrono::milliseconds idle{5000};  // an idle connection is closed after this long
  certificate tls;                       // empty = plain HTTP
  std::string url_host;
};

// A JSON array of {"id", "name", "serial", "site", "manufacturer", "model", "role", "status"}.
std::string generate_inventory(inventory_options const& options);

// Also serves, without authentication: GET and PUT /_sim/model (the devices), the paths of `control`, and PUT
// /_sim/options, faults that only a service with pages has:
//   repeat_page N    the pages behind the Nth are the Nth once more
//   shrink_at N      with each Nth page the list's first device goes
//   foreign_next URL next pages are said to be on that origin
// 0 and "" end them.
class inventory_server {
 public:
  explicit inventory_server(inventory_options options = {});  // throws std::runtime_error if it cannot listen
  ~inventory_server();
  inventory_server(inventory_server const&) = delete;
  inventory_server& operator=(inventory_server const&) = delete;

  std::string const& url() const;          // "http://127.0.0.1:PORT", the API is below /api
  std::string const& fingerprint() const;  // SHA-256 of the certificate, "" without TLS
  std::string model() const;
  void set_model(std::string const& json);    // throws std::invalid_argument if it is no array of devices
  void set_options(std::string const& json);  // throws std::invalid_argument
  request_counters counters() const;
  void reset_counters();
  void set_faults(std::string const& json);  // see control::set_faults

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
