// The service's sockets: HTTP/1.1 and server-sent events, on a thread of their own. Beast stays behind http_server.cpp.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/config/values.hpp"
#include "core/serve/api.hpp"

namespace weir::serve {

struct server_options {
  config::listen_address listen;
  std::size_t max_connections = 128, max_streams = 32;
  std::uint32_t max_header = 16 * 1024;
  std::uint64_t max_body = 64 * 1024;
  std::chrono::milliseconds request_time{
      15'000};                                   // to send a request's header, or its body; also how long one may idle
  std::chrono::milliseconds write_time{15'000};  // to take an answer, or an event
  std::size_t max_pending = 512 * 1024;          // bytes of events that a slow listener may leave unread in here
  std::chrono::milliseconds stop_time{2'000};    // for what is being answered when it stops
};

class http_server {
 public:
  // Answers are made on threads of the server's own, never on that of the sockets. Error: unreachable, naming address
  // and cause (the port is taken).
  static base::result<std::unique_ptr<http_server>> open(server_options options,
                                                         std::function<response(request const&)> answer);
  ~http_server();
  http_server(http_server const&) = delete;
  http_server& operator=(http_server const&) = delete;

  std::uint16_t port() const;
  // To all that listen to /events. Thread-safe.
  void publish(std::string text);
  std::size_t listeners() const;
  // Calls `what` on the sockets' thread again and again.
  void every(std::chrono::milliseconds interval, std::function<void()> what);
  // How far the sockets' thread is behind its clock.
  std::chrono::milliseconds lag() const;
  // Takes no further connection, ends the streams, waits a moment for answers under way.
  void stop();

 private:
  struct core;
  explicit http_server(std::unique_ptr<core> c);
  std::unique_ptr<core> core_;
};

}  // namespace weir::serve
