// A simulated Proxmox VE: a deterministic generator of clusters, and the part of the API that reads them.
#pragma once
#include "core/sim/control.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace weir::sim {

struct proxmox_options {
  std::uint16_t port = 0;
  // The generated cluster. The same numbers give the same model, byte for byte.
  std::uint64_t seed = 1;
  int nodes = 3;
  int guests = 60;
  int backups = 600;
  int gone_backups = 0;     // further backups, of guests that no longer exist
  int duplicate_names = 0;  // so many guests take the name of another
  std::string cluster = "pve-a";
  bool standalone = false;    // no cluster row in /cluster/status; use with nodes = 1
  bool backup_rights = true;  // false: the token may not see volumes; lists of backups come back empty with 200
  std::string token_id = "sync@pve!weir";
  std::string token_secret = "00000000-1111-2222-3333-444444444444";
  std::string username = "sync@pve";
  std::string password = "simulated";
  std::chrono::milliseconds latency{0};  // of every API request
  std::chrono::milliseconds idle{5000};  // an idle connection is closed after this long
  certificate tls;                       // empty = plain HTTP
  std::string url_host;
};

// The model as JSON text: {version, cluster, nodes, guests, storages, backups, pools, access}. Guests carry their
// configuration; name, tags, maxcpu, maxmem and maxdisk of /cluster/resources follow from it unless the guest has such
// a member itself. Set a node's "online" to false, or a storage's "active", to take it away; "clock_ahead_s" sets a
// node's clock.
std::string generate_proxmox_model(proxmox_options const& options);

// Also serves, without authentication: GET and PUT /_sim/model, PATCH /_sim/model (RFC 6902), and the paths of
// `control`.
class proxmox_server {
 public:
  explicit proxmox_server(proxmox_options options = {});  // throws std::runtime_error if it cannot listen
  ~proxmox_server();
  proxmox_server(proxmox_server const&) = delete;
  proxmox_server& operator=(proxmox_server const&) = delete;

  std::string const& url() const;          // "http://127.0.0.1:PORT", the API is below /api2/json
  std::string const& fingerprint() const;  // SHA-256 of the certificate, "" without TLS
  std::string model() const;
  void set_model(std::string const& json);  // throws std::invalid_argument if it is not such a model
  request_counters counters() const;
  void reset_counters();
  void set_faults(std::string const& json);  // see control::set_faults

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
