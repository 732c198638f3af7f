// A simulated NetBox 4.7 with the netbox-proxbox plugin: the endpoints weir uses, with NetBox's list verbs (all or
// nothing), its error bodies, and a model of what empties its database connections. tests/sim/netbox holds it against
// recorded exchanges of a real one.
#pragma once
#include "core/sim/control.hpp"
#include "core/sim/netbox_app.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weir::sim {

// What a request costs and what it takes. All zero (the default): nothing waits, nothing runs out.
struct netbox_load {
  int workers = 0;         // gunicorn processes; 0 = no model of threads and connections
  int threads = 3;         // per worker
  int db_connections = 0;  // usable ones of PostgreSQL; 0 = no limit
  std::chrono::milliseconds conn_max_age{
      300'000};                               // a thread keeps its connection so long; 0 = closes it after each request
  int cpu_cores = 0;                          // requests share so many cores; 0 = each has its own
  std::chrono::microseconds base{0};          // CPU time of any request
  std::chrono::microseconds read_object{0};   // and of each object read
  std::chrono::microseconds write_object{0};  // and of each object written
  std::chrono::microseconds db_error{0};      // a request without a connection fails after this
  std::uint64_t seed = 1;                     // which thread takes a request is drawn from this
};

struct netbox_options {
  std::uint16_t port = 0;
  std::vector<netbox_token> tokens = default_tokens();  // the first is token()
  std::string version = "4.7.3";
  bool plugin = true;  // netbox-proxbox is installed
  int max_page_size = 1000;
  netbox_load load;
  std::chrono::milliseconds idle{2000};  // gunicorn's keep-alive
  certificate tls;
  std::string url_host;
};

// Also serves, without a token: the paths of `control` (GET /_sim/requests has the members of netbox_pool_counters,
// too), GET /_sim/dump, GET and PUT /_sim/options, POST /_sim/restart (gunicorn's: threads and connections are gone).
// PUT /_sim/options takes an object with any of: version, plugin, tokens [{token, read_only, denied}], db_down,
// redis_down, workers, threads, db_connections, conn_max_age_ms, cpu_cores, base_us, read_object_us, write_object_us,
// db_error_us, seed.
class netbox_server {
 public:
  explicit netbox_server(netbox_options options = {});  // throws std::runtime_error if it cannot listen
  ~netbox_server();
  netbox_server(netbox_server const&) = delete;
  netbox_server& operator=(netbox_server const&) = delete;

  std::string const& url() const;          // "http://127.0.0.1:PORT", the API is below /api/
  std::string const& fingerprint() const;  // SHA-256 of the certificate, "" without TLS
  std::string token() const;               // the first token
  request_counters counters() const;
  int peak_connections() const;           // database connections held at once, since the last reset
  std::uint64_t database_errors() const;  // requests that found no connection
  void reset_counters();
  void set_faults(std::string const& json);   // see control::set_faults
  void set_options(std::string const& json);  // as PUT /_sim/options; throws std::invalid_argument
  // {"virtualization.virtualmachine": [{…full representation…}, …], …}
  std::string dump() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
