// The service's API: who may ask, which path means what, what is answered. No sockets: http_server.cpp has them.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/serve/guard.hpp"
#include "core/serve/json.hpp"
#include "core/serve/runs.hpp"
#include "core/serve/state.hpp"

namespace weir::serve {

struct request {
  std::string method, target;  // the target as it came: path and query
  std::string host, origin, authorization, content_type;
  std::string body;
};

struct response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool events = false;  // the connection becomes a stream of events; the body is its beginning
};

struct start_outcome {
  std::string id;                    // of the run that was started
  std::optional<base::error> error;  // why none was: locked (one is under way), data (unknown names), stopped
  std::string running;               // the run that is under way
};
enum class cancel_outcome { asked, unknown, not_running };

// What the API is about. Called on several threads at once.
struct backend {
  state* now = nullptr;
  std::function<std::vector<schedule_view>()> schedules;
  std::function<start_outcome(start_request const&, std::string const& trigger)> start;
  std::function<cancel_outcome(std::string const& run)> cancel;
  std::function<std::string()> metrics;
  std::function<std::vector<check>()> live, ready;
};

// What follows the configuration, and changes with it.
struct access {
  base::secret token;    // empty: nobody is asked
  bool loopback = true;  // it listens there only
  std::filesystem::path journal;
  std::string netbox_url;
};

class api {
 public:
  api(backend about, access first)
      : about_(std::move(about)), access_(std::make_shared<access const>(std::move(first))) {}
  void change(access next);
  // Thread-safe; may read the journal, so not for a thread that others wait for.
  response answer(request const& r) const;
  // The whole of /status.
  std::string status() const;

 private:
  response route(request const& r, std::string const& path, std::string const& query, access const& now) const;
  response runs(std::string const& query, access const& now) const;
  response run(std::string const& id, access const& now) const;
  response start(request const& r) const;
  response cancel(std::string const& id) const;

  backend about_;
  mutable std::mutex mutex_;
  std::shared_ptr<access const> access_;
};

response failure(unsigned status, std::string const& error, std::string const& hint = {});
// A server-sent event; `data` is one line.
std::string event_text(std::string_view name, std::string_view data);

}  // namespace weir::serve
