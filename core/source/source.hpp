// Where a stage reads from. A source authenticates, fails over and paces; the stage sees paths and bodies.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/config/config.hpp"
#include "core/http/client.hpp"
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
  // ("/cluster/resources"; for Proxmox VE below /api2/json, for a service below its address).
  virtual void fetch(std::string target, std::string lane, std::function<void(fetched)> done) = 0;
  fetched fetch_and_wait(std::string target, std::string lane);
  virtual throttle::counters count() const = 0;
  // Called on the loop's thread after each exchange; before the first request.
  virtual void on_attempt(std::function<void(http::attempt_seen const&)> listener) = 0;
  virtual void stop() = 0;
};

// Proxmox VE: API token or ticket, several addresses of one cluster with failover.
std::unique_ptr<source> make_proxmox(boost::asio::io_context& io, config::source const& settings);

// Any service that speaks JSON over HTTP. With paging, fetch() follows the pages, and the body is one JSON array of all
// their items as the service wrote them; an answer that holds no list comes back as it is. A target that names the
// paging's own parameter (?page=3) gets just that page. A list that cannot be had whole is an error.
std::unique_ptr<source> make_rest(boost::asio::io_context& io, config::source const& settings);

// By settings.type, which the configuration has checked.
std::unique_ptr<source> make_source(boost::asio::io_context& io, config::source const& settings);

}  // namespace weir::source
