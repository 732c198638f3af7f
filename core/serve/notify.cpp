#include "core/serve/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace weir::serve {
namespace {

template <class Number>
std::optional<Number> number(char const* text) {
  if (!text) return {};
  Number value{};
  auto const* const last = text + std::strlen(text);
  auto const [end, failed] = std::from_chars(text, last, value);
  return failed == std::errc{} && end == last ? std::optional(value) : std::nullopt;
}

}  // namespace

notifier notifier::from_environment() {
  notifier out;
  char const* where = std::getenv("NOTIFY_SOCKET");
  if (!where || (where[0] != '/' && where[0] != '@') || std::strlen(where) >= sizeof(sockaddr_un{}.sun_path))
    return out;
  out.path_ = where;
  if (out.path_[0] == '@') out.path_[0] = '\0';
  out.fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  auto const wait = number<std::uint64_t>(std::getenv("WATCHDOG_USEC"));
  auto const whose = std::getenv("WATCHDOG_PID") ? number<pid_t>(std::getenv("WATCHDOG_PID")) : getpid();
  if (wait && *wait > 0 && *wait < 86'400'000'000 && whose == getpid())
    out.watchdog_ = std::chrono::microseconds(*wait);
  return out;
}

notifier::notifier(notifier&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), watchdog_(other.watchdog_) {}

notifier::~notifier() {
  if (fd_ >= 0) ::close(fd_);
}

bool notifier::send(std::string_view state) const {
  if (fd_ < 0) return false;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::copy(path_.begin(), path_.end(), to.sun_path);
  auto const size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
  return ::sendto(fd_, state.data(), state.size(), MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<sockaddr const*>(&to),
                  size) == static_cast<ssize_t>(state.size());
}

}  // namespace weir::serve
