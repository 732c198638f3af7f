// A NetBox on virtual time: when and how a request ends says the load model, what it is answered netbox_app, at the
// instant of its commit; and what goes wrong on the way, by a list.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/http/transport.hpp"
#include "core/sim/load_model.hpp"
#include "core/sim/netbox_app.hpp"
#include "tests/sim/virtual/timeline.hpp"

namespace weir::simulated {

// What becomes of single requests. "Before" and "after": the commit.
enum class trouble {
  db_error,            // 500 "remaining connection slots", before
  deadlock,            // 500 "deadlock detected", rolled back
  server_fault,        // 500 TypeError, rolled back
  reset_before,        // the connection ends, NetBox never saw it
  reset_after,         // the connection ends instead of the answer
  reset_early,         // the connection ends at once, NetBox goes on and commits
  truncated,           // the answer ends in the middle
  bad_gateway_before,  // 502 at once
  bad_gateway_after,   // 502 instead of the answer
  gateway_timeout,     // 504 after `delay`, NetBox goes on and commits
  hang,                // never answered, but done
  html_page,           // 200 and somebody's page, NetBox never saw it
  late,                // the answer takes `delay` longer: others overtake it
  stale,               // a reused connection was closed already, NetBox never saw it
  other_host,          // just before, somebody else makes one of the same objects
  lost_race,           // the same at the very moment: 500 IntegrityError
};
std::string_view name(trouble t);
inline constexpr std::size_t troubles = static_cast<std::size_t>(trouble::lost_race) + 1;

struct fault {
  trouble what = trouble::db_error;
  bool writes_only = true, posts_only = false;
  int skip = 0, times = 1;  // of the requests that fit
  instant delay{0};
  instant held{0};  // reset_early, gateway_timeout: it lies in a queue for so long before NetBox takes it up
};

class netbox {
 public:
  netbox(timeline& line, sim::load_scenario scenario, sim::netbox_app_options options, std::chrono::seconds ahead);
  ~netbox();

  // A client's request; `answer` comes later, unless it hangs up before. elapsed and server are the transport's.
  std::uint64_t arrive(http::request const& what, bool reused, std::function<void(http::reply)> answer);
  void hang_up(std::uint64_t id);

  void add(fault f) { faults_.push_back(f); }
  // Somebody else's business at that request (they count from 1).
  void at_request(std::uint64_t number, std::function<void()> what) { plans_.emplace(number, std::move(what)); }
  void redis(bool up);
  void restart();  // gunicorn
  void heal();     // no further faults
  // Somebody else's request, done at once. The body's text; "" unless 2xx.
  std::string at_once(std::string const& method, std::string const& target, std::string const& body = {});

  sim::load_model const& model() const { return model_; }
  std::string token() const { return app_.token(); }
  std::uint64_t requests() const { return requests_; }
  std::uint64_t writes() const { return writes_; }
  // Changelog messages of the requests that NetBox has committed, with the instant.
  std::map<std::string, instant> const& landed() const { return landed_; }
  // How often a trouble really struck.
  std::map<trouble, int> const& struck() const { return struck_; }
  bool others_wrote() const { return others_wrote_; }  // at_once(), other_host, lost_race

  static std::string marker_of(std::string const& body);

 private:
  struct request {
    sim::http_request what;
    std::function<void(http::reply)> answer;  // empty: nobody listens
    http::reply result;                       // once committed
    std::string marker;
    bool has_trouble = false, over = false;  // over: NetBox is not at work on it (any more)
    fault wrong;
  };
  void arm();
  void take_up(std::uint64_t id, bool write, std::size_t objects);
  void move();
  void commit(std::uint64_t id);
  void reply_to(std::uint64_t id, http::reply r);
  void reply_in(std::uint64_t id, instant delay, http::reply r);
  void imitate(std::string const& target, std::string const& body);
  http::reply to_reply(sim::http_response const& r) const;
  sim::virtual_time now_us() const { return std::chrono::floor<sim::virtual_time>(line_.now()); }

  timeline& line_;
  std::chrono::seconds ahead_;  // its clock before ours
  sim::load_model model_;
  sim::netbox_app app_;
  std::vector<fault> faults_;
  std::multimap<std::uint64_t, std::function<void()>> plans_;
  std::unordered_map<std::uint64_t, request> open_;
  std::map<std::string, std::size_t> found_;  // by path: how many objects a read found last
  std::map<std::string, instant> landed_;
  std::map<trouble, int> struck_;
  std::uint64_t last_ = 0, requests_ = 0, writes_ = 0, armed_ = 0;
  bool others_wrote_ = false;
};

}  // namespace weir::simulated
