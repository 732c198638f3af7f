// A small HTTP/1.1 server on loopback for the simulators: keep-alive, optional TLS, and replies that fail on purpose.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::sim {

struct http_request {
  std::string method;
  std::string target;  // path and query, as sent
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  std::string_view path() const;
  std::string_view query() const;                        // without '?'
  std::string_view header(std::string_view name) const;  // case-insensitive; "" if absent
};

// How a reply is delivered. `cut` closes the connection instead of replying, `hang` waits until the client gives up,
// `truncate` announces the whole body, sends `truncate_at` bytes of it and closes.
enum class delivery { whole, cut, hang, truncate };

struct http_response {
  int status = 200;
  std::string reason;  // "" means the usual phrase of the status
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  delivery how = delivery::whole;
  std::size_t truncate_at = 0;
  std::size_t objects_written = 0;  // for the counters only
};

// Called on the connection's own thread; several run at once.
using http_handler = std::function<http_response(http_request const&)>;

struct certificate {
  std::string certificate_pem;
  std::string key_pem;
};

// A new key and a certificate for `host` (DNS name or IP address), valid from two days ago for so many days from now
// (ten years; -1: it ended yesterday). Throws std::runtime_error if OpenSSL refuses.
certificate make_self_signed(std::string const& host, int days = 3650);
// "AB:CD:…": SHA-256 over the first certificate of a PEM text. Throws std::runtime_error if there is none.
std::string fingerprint_of(std::string const& certificate_pem);

struct http_options {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;                  // 0 = any free one
  std::chrono::milliseconds idle{2000};    // an idle connection is closed after this long
  std::string server_header = "weir-sim";  // value of the Server header
  certificate tls;                         // empty = plain HTTP
  std::string url_host;                    // host in url(); "" means `address`
};

class http_server {
 public:
  // Listens at once. Throws std::runtime_error (port taken, bad certificate).
  http_server(http_options options, http_handler handler);
  ~http_server();
  http_server(http_server const&) = delete;
  http_server& operator=(http_server const&) = delete;

  std::string const& url() const;          // "http://127.0.0.1:40123", no slash at the end
  std::string const& fingerprint() const;  // "" without TLS
  std::uint16_t port() const;
  // Ends every connection and waits for its thread. Handlers that sleep must be woken by their owner before.
  void stop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// The usual reason phrase of a status ("Not Found"), "Unknown" if it has none.
std::string_view reason_of(int status);

}  // namespace weir::sim
