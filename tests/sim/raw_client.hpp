// The plainest HTTP client there is, so that what a test sends and sees is exactly what went over the wire.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sim_test {

using header_list = std::vector<std::pair<std::string, std::string>>;

struct reply {
  int status = 0;  // 0: the connection ended without one
  std::string reason;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool complete = false;  // all of Content-Length came

  std::string header(std::string const& name) const {
    auto const it = headers.find(name);
    return it == headers.end() ? std::string() : it->second;
  }
};

class connection {
 public:
  explicit connection(std::string const& url) {
    host_ = url.substr(url.find("//") + 2);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(host_.substr(host_.find(':') + 1).c_str())));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timeval const patience{20, 0};  // a test that waits for ever helps nobody
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect to " + url);
  }
  ~connection() { ::close(fd_); }
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  void send(std::string const& method, std::string const& target, header_list const& headers = {},
            std::string const& body = {}) {
    std::string out = method + " " + target + " HTTP/1.1\r\n";
    bool host = false;
    for (auto const& [name, value] : headers) {
      out += name + ": " + value + "\r\n";
      host = host || name == "Host";
    }
    if (!host) out += "Host: " + host_ + "\r\n";
    if (!body.empty() || method != "GET") out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    out += "\r\n" + body;
    for (std::size_t sent = 0; sent < out.size();) {
      auto const n = ::send(fd_, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
  }

  reply receive() {
    reply r;
    std::size_t end = std::string::npos;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return r;
    auto const head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    auto line_end = head.find("\r\n");
    auto const line = head.substr(0, line_end);
    r.status = std::atoi(line.substr(9, 3).c_str());
    r.reason = line.size() > 13 ? line.substr(13) : "";
    for (auto from = line_end + 2; from < head.size(); from = line_end + 2) {
      line_end = head.find("\r\n", from);
      auto const field = head.substr(from, line_end - from);
      auto const colon = field.find(": ");
      auto name = field.substr(0, colon);
      for (auto& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
      r.headers[name] = field.substr(colon + 2);
    }
    auto const length = static_cast<std::size_t>(std::atoll(r.header("content-length").c_str()));
    while (buffer_.size() < length)
      if (!more()) break;
    r.complete = buffer_.size() >= length;
    r.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return r;
  }

  reply exchange(std::string const& method, std::string const& target, header_list const& headers = {},
                 std::string const& body = {}) {
    send(method, target, headers, body);
    return receive();
  }

  // True once the server has closed the connection (waits for it).
  bool closed_by_server() {
    char c = 0;
    return ::recv(fd_, &c, 1, 0) == 0;
  }

 private:
  int fd_ = -1;
  std::string host_;
  std::string buffer_;

  bool more() {
    char data[65536];
    auto const n = ::recv(fd_, data, sizeof data, 0);
    if (n <= 0) return false;
    buffer_.append(data, static_cast<std::size_t>(n));
    return true;
  }
};

inline reply once(std::string const& url, std::string const& method, std::string const& target,
                  header_list const& headers = {}, std::string const& body = {}) {
  return connection(url).exchange(method, target, headers, body);
}

}  // namespace sim_test
