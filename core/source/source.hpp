// Where a stage reads from. A source authenticates, fails over and paces; the stage sees paths and bodies.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/config/config.hpp"
#include "core/throttle/gate.hpp"

namespace boost::asio {
class io_context;
}

namespace weir::source {

struct fetched {
  int status = 0;  // HTTP; 0: no answer
  std::string body;
  base::error error;  // error.what empty on success (2xx)
  bool ok() const { return error.what.empty(); }
};

class source {
 public:
  virtual ~source() = default;
  virtual std::string const& name() const = 0;
  virtual std::string const& type() const = 0;
  // One cheap request that proves address, TLS and credentials; what it learns (a version) comes back as text.
  virtual base::result<std::string> check() = 0;
  // Thread-safe; `done` is called once, on the loop's thread. `target`: path and query as the stage names it
  // ("/cluster/resources"; for Proxmox VE below /api2/json).
  virtual void fetch(std::string target, std::string lane, std::function<void(fetched)> done) = 0;
  fetched fetch_and_wait(std::string target, std::string lane);
  virtual throttle::counters count() const = 0;
  virtual void stop() = 0;
};

// Proxmox VE: API token or ticket, several addresses of one cluster with failover.
std::unique_ptr<source> make_proxmox(boost::asio::io_context& io, config::source const& settings);

}  // namespace weir::source
