// What systemd would hear.
#include "core/serve/notify.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>

#include "core/serve/service.hpp"

namespace {

using namespace std::chrono_literals;
using weir::serve::notifier;

// systemd's end.
class listener {
 public:
  explicit listener(std::string const& path) : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::string name = path;
    if (name[0] == '@') name[0] = '\0';
    std::copy(name.begin(), name.end(), at.sun_path);
    auto const size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0) throw std::runtime_error("bind " + path);
  }
  ~listener() { ::close(fd_); }
  std::string next() const {
    char text[1024];
    auto const n = ::recv(fd_, text, sizeof text, 0);
    return n < 0 ? "nothing" : std::string(text, static_cast<std::size_t>(n));
  }
  listener(listener const&) = delete;
  listener& operator=(listener const&) = delete;

 private:
  int fd_;
};

class Notify : public testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  static void clear() {
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
  }
};

TEST_F(Notify, SocketsInTheFileSystemAndAbstractOnes) {
  std::string const file = testing::TempDir() + "notify-" + std::to_string(getpid());
  for (auto const& path : {file, "@weir-test-" + std::to_string(getpid())}) {
    listener const systemd(path);
    setenv("NOTIFY_SOCKET", path.c_str(), 1);
    auto const n = notifier::from_environment();
    EXPECT_TRUE(n.active());
    EXPECT_TRUE(n.send("READY=1\nSTATUS=idle"));
    EXPECT_EQ(systemd.next(), "READY=1\nSTATUS=idle");
    EXPECT_EQ(systemd.next(), "nothing");
  }
  ::unlink(file.c_str());
}

TEST_F(Notify, SilentWithoutSystemd) {
  EXPECT_FALSE(notifier::from_environment().active());
  EXPECT_FALSE(notifier::from_environment().send("READY=1"));
  setenv("NOTIFY_SOCKET", "relative/path", 1);
  EXPECT_FALSE(notifier::from_environment().active());
  setenv("NOTIFY_SOCKET", ("/" + std::string(200, 'x')).c_str(), 1);
  EXPECT_FALSE(notifier::from_environment().active()) << "longer than a socket's address can be";
  setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
  EXPECT_FALSE(notifier::from_environment().send("READY=1")) << "nobody listens, and nobody waits for it";
}

TEST_F(Notify, Watchdog) {
  auto const path = "@weir-test-" + std::to_string(getpid());
  setenv("NOTIFY_SOCKET", path.c_str(), 1);
  EXPECT_FALSE(notifier::from_environment().watchdog());
  setenv("WATCHDOG_USEC", "3000000", 1);
  EXPECT_EQ(notifier::from_environment().watchdog(), std::optional(std::chrono::microseconds(3s)));
  setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
  EXPECT_TRUE(notifier::from_environment().watchdog());
  setenv("WATCHDOG_PID", "1", 1);
  EXPECT_FALSE(notifier::from_environment().watchdog()) << "it is meant for another process";
  for (auto const* bad : {"", "0", "-1", "x", "1x"}) {
    unsetenv("WATCHDOG_PID");
    setenv("WATCHDOG_USEC", bad, 1);
    EXPECT_FALSE(notifier::from_environment().watchdog()) << bad;
  }
}

TEST(Pulse, TellsWhoIsNotAtWork) {
  using weir::serve::unwell;
  weir::serve::steady const now{100h};
  weir::serve::pulse p;
  EXPECT_FALSE(unwell(p, now));
  p.loop_silent = 2min;
  EXPECT_FALSE(unwell(p, now)) << "a reload looks at plugins";
  p.loop_silent = 4min;
  EXPECT_NE(unwell(p, now).value_or("").find("main loop"), std::string::npos);
  p.loop_silent = 0ms;
  p.run.running = true;
  p.run.connected = true;
  p.run.heard = now - 1min;
  EXPECT_FALSE(unwell(p, now));
  p.run.heard = now - 4min;
  EXPECT_NE(unwell(p, now).value_or("").find("run under way"), std::string::npos);
  p.run.connected = false;
  EXPECT_FALSE(unwell(p, now)) << "it waits for a server";
  p.run.heard = now - 31min;
  EXPECT_TRUE(unwell(p, now));
  p.run.running = false;
  EXPECT_FALSE(unwell(p, now));
}

}  // namespace
