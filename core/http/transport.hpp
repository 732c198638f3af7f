// One exchange with a server, asynchronously, on the I/O thread. curl_transport.cpp is the real one.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/config.hpp"
#include "core/throttle/outcome.hpp"

namespace boost::asio {
class io_context;
}

namespace weir::http {

using headers = std::vector<std::pair<std::string, std::string>>;  // request: as given; reply: names in lower case

struct request {
  throttle::method verb = throttle::method::get;
  bool options = false;  // sent as OPTIONS, which counts as the read that it is; `verb` is get
  std::string url;       // absolute
  http::headers headers;
  std::string body;
  std::chrono::milliseconds timeout{120000};
  std::chrono::milliseconds connect_timeout{10000};
  bool fresh_connection = false;  // on a new connection, whatever idle ones there are
};

enum class failure {
  none,
  refused,  // connection refused or reset while connecting, no route
  resolve,  // DNS
  tls,      // handshake or verification
  timeout,
  cut,        // the connection ended before the answer was whole
  too_big,    // the answer is larger than max_reply_bytes
  malformed,  // the answer is no HTTP
  cancelled,
  other,
};

// The server's, as it showed it when the connection was made.
struct certificate {
  std::string fingerprint;  // SHA-256, "AB:CD:…"
  std::chrono::sys_seconds ends{};
};

struct reply {
  int status = 0;      // 0: no answer
  std::string reason;  // the status line's text (Proxmox VE puts its error message there)
  http::headers headers;
  std::string body;  // decompressed
  failure error = failure::none;
  std::string error_text;     // for people, without secrets; empty if error is none
  bool request_sent = false;  // at least a byte of the request was written
  bool connection_reused = false;
  bool reply_started = false;                    // at least a line of the answer came
  bool certificate_refused = false;              // with failure::tls: the same certificate will be refused again
  std::string server;                            // "https://host:port" that answered or failed
  std::optional<http::certificate> certificate;  // absent on a connection that was there before
  std::chrono::milliseconds elapsed{0};

  std::string_view header(std::string_view lower_case_name) const;  // "" if absent
};

inline constexpr std::size_t max_reply_bytes = 256u << 20;

class transport {
 public:
  virtual ~transport() = default;
  // Calls `done` exactly once, never before send() has returned. Both on the I/O thread.
  virtual void send(request const& what, std::function<void(reply)> done) = 0;
  // Ends every exchange under way with failure::cancelled.
  virtual void cancel_all() = 0;
};

// `text` without the secrets that `sent` carries (authorization, cookie): a server's answer may echo them.
std::string scrub(std::string text, headers const& sent);
// "https://host:port" of an absolute URL, without user info; the port only if the URL names it.
std::string server_of(std::string_view url);

// libcurl's multi interface on this loop. One per server: its connections share these TLS settings.
// HTTP(S)_PROXY and NO_PROXY are honoured; connections idle for more than a second are not reused (gunicorn closes
// them after 2 s); gzip is accepted; redirects are not followed.
std::unique_ptr<transport> make_curl_transport(boost::asio::io_context& io, config::tls const& tls,
                                               std::size_t max_connections, std::size_t reply_limit = max_reply_bytes);

}  // namespace weir::http
