// NetBox's REST API over the gate: paging, list verbs, error bodies. Thread-safe as http::client is.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/config.hpp"
#include "core/http/client.hpp"
#include "core/netbox/errors.hpp"
#include "core/netbox/kind.hpp"

namespace weir::netbox {

struct server_info {
  std::string version;  // "4.7.3"
  int major = 0, minor = 0;
  std::map<std::string, std::string> plugins;  // name ► version
};

inline constexpr int oldest_major = 4, oldest_minor = 5;  // v2 tokens, list errors by index

class client {
 public:
  client(http::client& wire, config::netbox const& where, config::profile const& timeouts);

  // GET /api/status/. error_code: unreachable (no answer, HTML, too old), credentials.
  base::result<server_info> status();

  // Every object of a kind with these top-level fields (id is added), by pages of 1000 ordered by id, passed to `each`
  // one by one as NetBox's JSON. No filter: NetBox ignores those it does not know, so a filter proves nothing.
  base::result<void> read_all(kind const& k, std::vector<std::string> const& fields, std::string const& lane,
                              std::function<void(nlohmann::json const&)> const& each);

  // A list request on the kind's path: `body` is a JSON array of `objects` members. `done` comes on the loop's thread.
  void write(throttle::method verb, kind const& k, std::string body, std::size_t objects, std::string const& lane,
             std::function<void(http::answer)> done);

  // Any request below /api for a stage ("/dcim/sites/?name=x"). Blocks.
  http::answer raw(throttle::method verb, std::string_view target, std::string body, std::string const& lane);

  std::string const& url() const { return where_.url; }

 private:
  http::call make(throttle::method verb, std::string_view target, std::string body, std::string const& lane) const;

  http::client& wire_;
  config::netbox where_;
  std::chrono::milliseconds timeout_, connect_timeout_;
  bool cursor_ = true;  // NetBox >= 4.6 pages by id; older ones by offset
};

}  // namespace weir::netbox
