// NetBox's REST API over the gate: paging, list verbs, error bodies. Thread-safe as http::client is.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
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
  std::optional<int> rq_workers;               // that run; older ones do not say
};

inline constexpr int oldest_major = 4, oldest_minor = 5;  // v2 tokens, list errors by index

class client {
 public:
  client(http::client& wire, config::netbox const& where, config::profile const& timeouts);

  // GET /api/status/. error_code: unreachable (no answer, HTML, too old), credentials.
  base::result<server_info> status();

  // Every object of a kind with these top-level fields (id is added), by pages of up to 1000 ordered by id, passed to
  // `each` one by one as NetBox's JSON. No filter: NetBox ignores those it does not know, so a filter proves nothing.
  // `created_since` (NetBox's clock) only saves time: objects that are older may come all the same.
  base::result<void> read_all(kind const& k, std::vector<std::string> const& fields, std::string const& lane,
                              std::function<void(nlohmann::json const&)> const& each,
                              std::optional<std::chrono::system_clock::time_point> created_since = {});

  // Those of these ids that are there, whole (`fields` empty) or with these top-level fields, in lists of up to 100.
  base::result<void> read_ids(kind const& k, std::vector<std::uint64_t> const& ids,
                              std::vector<std::string> const& fields, std::string const& lane,
                              std::function<void(nlohmann::json const&)> const& each);
  // Those that a filter of NetBox's lets through (`query`: "name__ie=web&…", encoded). It may be ignored: whoever asks
  // checks what comes. `at_most` objects; an error if there are more, so that an ignored filter is noticed early.
  base::result<void> read_where(kind const& k, std::string const& query, std::vector<std::string> const& fields,
                                std::size_t at_most, std::string const& lane,
                                std::function<void(nlohmann::json const&)> const& each);

  // A list request on the kind's path: `body` is a JSON array of `objects` members. `done` comes on the loop's thread.
  // `before_attempt`: see http::call.
  void write(throttle::method verb, kind const& k, std::string body, std::size_t objects, std::string const& lane,
             std::function<bool()> before_attempt, std::function<void(http::answer)> done);

  // What the change log says about objects whose changelog message is exactly `marker`, oldest first; `query` is a part
  // of it that finds few others. error_code::credentials: the token may not read it.
  struct logged_change {
    std::string action;       // "create", "update", "delete"
    std::string object_type;  // "virtualization.virtualmachine"
    std::uint64_t object_id = 0;
  };
  base::result<std::vector<logged_change>> find_changes(std::string_view query, std::string_view marker,
                                                        std::string const& lane);
  // Of one answer; nothing if it is no list of NetBox's.
  static std::optional<std::vector<logged_change>> parse_changes(std::string_view body, std::string_view marker);

  // NetBox's clock, by the Date of its first answer.
  std::chrono::system_clock::time_point server_time() const;
  // Objects for the next list, so that it takes 1 to 2 s.
  std::size_t list_size(throttle::method verb, kind const& k, std::size_t ceiling) const;
  http::client& wire() const { return wire_; }

  // Any request below /api for a stage ("/dcim/sites/?name=x"). Blocks.
  http::answer raw(throttle::method verb, std::string_view target, std::string body, std::string const& lane);

  // What NetBox says may be done there: OPTIONS, which changes nothing. Blocks.
  http::answer options(std::string_view target, std::string const& lane);

  std::string const& url() const { return where_.url; }

 private:
  base::result<void> read_pages(kind const& k, std::string const& query, std::size_t at_most, std::string const& lane,
                                std::function<void(nlohmann::json const&)> const& each);
  http::call make(throttle::method verb, std::string_view target, std::string body, std::string const& lane) const;

  http::client& wire_;
  config::netbox where_;
  std::chrono::milliseconds timeout_, connect_timeout_;
  std::chrono::seconds ahead_{0};  // NetBox's clock before ours
  bool cursor_ = true;             // NetBox >= 4.6 pages by id; older ones by offset
};

}  // namespace weir::netbox
