// What a simulated NetBox 4.7 with the netbox-proxbox plugin answers, without sockets, threads and waiting: the content
// side of netbox_server, also for simulations on a virtual clock.
#pragma once
#include "core/sim/http_server.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir::sim {

struct netbox_token {
  std::string token;
  bool read_only = false;
  // "virtualization.virtualmachine:add"; actions are view, add, change, delete. "*:add" and "dcim.site:*" work too.
  std::vector<std::string> denied;
};

// A v2 token, a v1 token and a read-only one.
std::vector<netbox_token> default_tokens();

struct netbox_app_options {
  std::string version = "4.7.3";
  bool plugin = true;  // netbox-proxbox is installed
  std::vector<netbox_token> tokens = default_tokens();
  int max_page_size = 1000;
  bool db_down = false;
  bool redis_down = false;
  bool https = false;  // the scheme of URLs in answers; their host is the request's Host header
  // Microseconds since 1970: where created, last_updated and the change log's times come from; nothing: the system's
  // clock. Two changes are at least 1 µs apart even if it stands still.
  std::function<std::int64_t()> clock = {};
};

// Where a request would wait; each may be empty. Another request may be handled meanwhile.
struct netbox_waits {
  std::function<bool()> connect;                                // to the database; false: no connection is left
  std::function<void(bool write, std::size_t objects)> before;  // the work, with the objects that a write names
  std::function<void(std::size_t objects)> after;               // a read, with the objects that it found
};

// Not thread-safe. Answers depend on the calls (and the clock) alone.
class netbox_app {
 public:
  explicit netbox_app(netbox_app_options options = {});
  ~netbox_app();
  netbox_app(netbox_app const&) = delete;
  netbox_app& operator=(netbox_app const&) = delete;

  // The whole answer but for what the web server adds (Server, Date, Content-Length). A request needs a Host header.
  http_response handle(http_request const& request, netbox_waits const& waits = {});
  // What a request hears that finds no database connection, or no database.
  http_response no_connection();
  http_response database_down();

  netbox_app_options const& options() const;
  void configure(netbox_app_options options);  // all but the clock
  std::string token() const;                   // the first token
  // {"virtualization.virtualmachine": [{…full representation…}, …], …}
  std::string dump(std::string const& base_url = "http://netbox.example") const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
