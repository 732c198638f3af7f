// The sockets: slow clients, too many, too large, the end. Over loopback.
#include "core/serve/http_server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <thread>

namespace {

using namespace std::chrono_literals;
using namespace weir::serve;

class client {
 public:
  explicit client(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer) setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("connect");
  }
  ~client() { ::close(fd_); }
  client(client const&) = delete;
  client& operator=(client const&) = delete;
  void send(std::string_view text) const { ASSERT_GE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), 0); }
  void get(std::string_view path, std::string_view more = "") const {
    send("GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) + "\r\n");
  }
  // What comes until it ends with `end`, or until the other side closes. Waits for up to half a minute.
  std::string until(std::string_view end) {
    char piece[4096];
    while (end.empty() || text_.find(end) == std::string::npos) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, 30'000) <= 0) return text_ + "<nothing more came>";
      auto const n = ::recv(fd_, piece, sizeof piece, 0);
      if (n <= 0) break;
      text_.append(piece, static_cast<std::size_t>(n));
    }
    return std::exchange(text_, {});
  }
  std::string rest() { return until(""); }

 private:
  int fd_;
  std::string text_;
};

response echo(request const& r) {
  response out;
  if (r.target == "/throw") throw std::runtime_error("no answer");
  if (r.target == "/events") {
    out.events = true;
    out.content_type = "text/event-stream";
    out.body = "retry: 2000\n\n";
    return out;
  }
  out.content_type = "text/plain";
  out.body = r.method + " " + r.target + " " + r.body;
  return out;
}

std::unique_ptr<http_server> open(server_options o = {}, std::function<response(request const&)> answer = echo) {
  o.listen = {"127.0.0.1", 0, true};
  auto made = http_server::open(std::move(o), std::move(answer));
  if (!made) throw std::runtime_error(made.error().what);
  return std::move(*made);
}

bool soon(std::function<bool()> const& so) {
  for (auto const end = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < end;) {
    if (so()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return false;
}

TEST(HttpServer, AnswersOneAfterTheOtherOnAConnection) {
  auto const server = open();
  client c(server->port());
  c.get("/one");
  EXPECT_NE(c.until("GET /one ").find("HTTP/1.1 200 OK\r\n"), std::string::npos);
  c.send("POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_NE(c.until("POST /two hello").find("Connection: keep-alive"), std::string::npos);
  c.send("HEAD /three HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  auto const head = c.rest();
  EXPECT_NE(head.find("Content-Length: 12\r\n"), std::string::npos) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  client old(server->port());
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.rest().ends_with("GET /old "));
}

TEST(HttpServer, AFaultIsAnAnswer) {
  auto const server = open();
  client c(server->port());
  c.get("/throw", "Connection: close\r\n");
  EXPECT_NE(c.rest().find("HTTP/1.1 500"), std::string::npos);
}

TEST(HttpServer, ShowsOutWhoeverSendsTooSlowly) {
  server_options o;
  o.request_time = 100ms;
  auto const server = open(o);
  client nothing(server->port()), half(server->port()), body(server->port());
  half.send("GET / HTT");
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
  EXPECT_EQ(nothing.rest(), "");
  EXPECT_EQ(half.rest(), "");
  EXPECT_EQ(body.rest(), "");
}

TEST(HttpServer, TakesNoMoreThanItSays) {
  server_options o;
  o.max_header = 1000;
  o.max_body = 100;
  auto const server = open(o);
  client header(server->port()), body(server->port()), exact(server->port());
  header.get("/", "X: " + std::string(2000, 'x') + "\r\n");
  EXPECT_NE(header.rest().find("HTTP/1.1 431"), std::string::npos);
  body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + std::string(101, 'x'));
  EXPECT_NE(body.rest().find("HTTP/1.1 413"), std::string::npos);
  exact.send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n" + std::string(100, 'x'));
  EXPECT_NE(exact.rest().find("HTTP/1.1 200"), std::string::npos);
}

TEST(HttpServer, TakesNoMoreConnectionsThanItSays) {
  server_options o;
  o.max_connections = 2;
  auto const server = open(o);
  auto first = std::make_unique<client>(server->port());
  client second(server->port());
  first->get("/a");
  first->until("GET /a ");
  second.get("/b");
  second.until("GET /b ");
  EXPECT_NE(client(server->port()).rest().find("HTTP/1.1 503"), std::string::npos);
  first.reset();
  EXPECT_TRUE(soon([&] {
    client again(server->port());
    again.get("/c", "Connection: close\r\n");
    return again.rest().ends_with("GET /c ");
  }));
}

TEST(HttpServer, EventsReachEverybodyWhoListens) {
  auto const server = open();
  client a(server->port()), b(server->port());
  a.get("/events");
  b.get("/events");
  EXPECT_NE(a.until("retry: 2000\n\n").find("text/event-stream"), std::string::npos);
  b.until("retry: 2000\n\n");
  EXPECT_EQ(server->listeners(), 2u);
  server->publish("event: x\ndata: 1\n\n");
  EXPECT_EQ(a.until("data: 1\n\n"), "event: x\ndata: 1\n\n");
  EXPECT_EQ(b.until("data: 1\n\n"), "event: x\ndata: 1\n\n");
  server->stop();
  EXPECT_EQ(a.rest(), "") << "the end of the service is the end of the stream";
}

TEST(HttpServer, DropsWhoeverListensAndDoesNotRead) {
  server_options o;
  o.max_pending = 256 * 1024;
  auto const server = open(o);
  client quick(server->port()), slow(server->port(), 4096);
  quick.get("/events");
  slow.get("/events");
  quick.until("retry: 2000\n\n");
  slow.until("retry: 2000\n\n");
  // Some megabytes: more than the kernel keeps for it.
  std::string const text = "data: " + std::string(32 * 1024, 'x') + "\n\n";
  std::size_t sent = 0;
  for (; sent < 400 && server->listeners() == 2; ++sent) {
    server->publish(text);
    EXPECT_TRUE(quick.until("\n\n").ends_with("\n\n")) << "one that is slow does not hold up another";
  }
  EXPECT_TRUE(soon([&] { return server->listeners() == 1; }));
  server->publish("data: still\n\n");
  EXPECT_EQ(quick.until("still\n\n"), "data: still\n\n");
}

TEST(HttpServer, SomeMayListenAndNoMore) {
  server_options o;
  o.max_streams = 1;
  auto const server = open(o);
  auto first = std::make_unique<client>(server->port());
  first->get("/events");
  first->until("retry: 2000\n\n");
  client second(server->port());
  second.get("/events");
  EXPECT_NE(second.until("already").find("HTTP/1.1 503"), std::string::npos);
  first.reset();
  EXPECT_TRUE(soon([&] { return server->listeners() == 0; })) << "one that went is noticed without a word to it";
}

TEST(HttpServer, TicksAndLag) {
  auto const server = open();
  std::atomic<int> count{0};
  server->every(10ms, [&] { ++count; });
  EXPECT_TRUE(soon([&] { return count >= 5; }));
  // A thread of the sockets that hangs is noticed.
  std::mutex mutex;
  std::condition_variable changed;
  bool go_on = false;
  server->every(10ms, [&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return go_on; });
  });
  EXPECT_TRUE(soon([&] { return server->lag() > 200ms; }));
  {
    std::scoped_lock lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  EXPECT_TRUE(soon([&] { return server->lag() < 50ms; }));
}

TEST(HttpServer, AnswersWhatIsUnderWayBeforeItEnds) {
  std::atomic<bool> asked{false};
  std::mutex mutex;
  std::condition_variable changed;
  bool go_on = false;
  server_options patient;
  patient.stop_time = 60s;  // machines that test are busy
  auto const server = open(patient, [&](request const& r) {
    asked = true;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return go_on; });
    return echo(r);
  });
  client c(server->port());
  c.get("/late");
  ASSERT_TRUE(soon([&] { return asked.load(); }));
  std::thread stopping([&] { server->stop(); });
  // Nobody new is let in.
  EXPECT_TRUE(soon([&] {
    try {
      client again(server->port());
      return false;
    } catch (std::runtime_error const&) {
      return true;
    }
  }));
  {
    std::scoped_lock lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  EXPECT_TRUE(c.rest().ends_with("GET /late "));
  stopping.join();
}

TEST(HttpServer, SaysThatThePortIsTaken) {
  auto const server = open();
  server_options o;
  o.listen = {"127.0.0.1", server->port(), true};
  auto const second = http_server::open(o, echo);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, weir::base::error_code::unreachable);
  EXPECT_NE(second.error().what.find(std::to_string(server->port())), std::string::npos);
  EXPECT_NE(second.error().hint.find("--listen"), std::string::npos);
}

}  // namespace
