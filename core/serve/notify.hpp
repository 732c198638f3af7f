// What systemd is told of the service: sd_notify's protocol, over the socket that it names.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weir::serve {

class notifier {
 public:
  // From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; without the first it is silent.
  static notifier from_environment();
  notifier(notifier&& other) noexcept;
  notifier& operator=(notifier&&) = delete;
  ~notifier();

  // One datagram, "READY=1\nSTATUS=…". Never waits; false: it was not sent, or nobody listens.
  bool send(std::string_view state) const;
  bool active() const { return fd_ >= 0; }
  // How long systemd waits for WATCHDOG=1; nothing: it does not.
  std::optional<std::chrono::microseconds> watchdog() const { return watchdog_; }

 private:
  notifier() = default;
  int fd_ = -1;
  std::string path_;  // as the kernel wants it: a leading NUL for an abstract one
  std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace weir::serve
