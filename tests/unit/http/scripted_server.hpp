// A server on loopback that does what the test says, the wrong things too: a thread for each connection, plain sockets.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace weir::test {

// A key with a self-signed certificate for the names given ("DNS:localhost", "IP:127.0.0.1").
struct certificate {
  EVP_PKEY* key = nullptr;
  X509* x509 = nullptr;

  explicit certificate(std::string const& names) {
    key = EVP_EC_gen("P-256");
    x509 = X509_new();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key);
    auto* const subject = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>("weir test"), -1, -1,
                               0);
    X509_set_issuer_name(x509, subject);
    for (auto const& [nid, value] :
         {std::pair{NID_subject_alt_name, names}, std::pair{NID_basic_constraints, std::string("CA:TRUE")}}) {
      auto* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
      X509_add_ext(x509, extension, -1);
      X509_EXTENSION_free(extension);
    }
    if (X509_sign(x509, key, EVP_sha256()) == 0) throw std::runtime_error("cannot sign a test certificate");
  }
  certificate(certificate const&) = delete;
  certificate& operator=(certificate const&) = delete;
  ~certificate() {
    X509_free(x509);
    EVP_PKEY_free(key);
  }
  std::string fingerprint() const {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    X509_digest(x509, EVP_sha256(), digest, &length);
    std::string out;
    char two[4];
    for (unsigned i = 0; i < length; ++i) {
      std::snprintf(two, sizeof two, "%02X", digest[i]);
      out += (i == 0 ? "" : ":") + std::string(two);
    }
    return out;
  }
  void write_pem(std::string const& path) const {
    auto* const file = std::fopen(path.c_str(), "w");
    if (file == nullptr) throw std::runtime_error("cannot write " + path);
    PEM_write_X509(file, x509);
    std::fclose(file);
  }
};

struct seen_request {
  std::string line;     // "GET /x HTTP/1.1"
  std::string headers;  // as sent, each with its line end
  std::string body;
  int connection = 0;     // counted from 0
  int on_connection = 0;  // counted from 0
  std::string target() const {
    auto const start = line.find(' ') + 1;
    return line.substr(start, line.find(' ', start) - start);
  }
  // "" if absent; the name as sent.
  std::string header(std::string const& name) const {
    auto at = headers.find(name + ": ");
    if (at == std::string::npos) return {};
    at += name.size() + 2;
    return headers.substr(at, headers.find("\r\n", at) - at);
  }
};

class connection {
 public:
  connection(int fd, SSL_CTX* tls) : fd_(fd), ssl_(tls == nullptr ? nullptr : SSL_new(tls)) {
    if (ssl_ != nullptr) SSL_set_fd(ssl_, fd);
  }
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;
  ~connection() {
    SSL_free(ssl_);
    ::close(fd_);
  }
  bool handshake() { return ssl_ == nullptr || SSL_accept(ssl_) == 1; }
  void write(std::string_view text) {
    while (!text.empty()) {
      auto const n = ssl_ != nullptr ? SSL_write(ssl_, text.data(), static_cast<int>(text.size()))
                                     : ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // No further byte, and no goodbye in TLS.
  void close() { over_ = true; }
  void reset() {
    linger const at_once{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    over_ = true;
  }
  // Until the client gives up.
  void wait_until_left() {
    while (!read_more().empty()) {
    }
    over_ = true;
  }
  std::string read_more() {
    char buffer[16384];
    auto const n = ssl_ != nullptr ? SSL_read(ssl_, buffer, sizeof buffer) : ::recv(fd_, buffer, sizeof buffer, 0);
    return n <= 0 ? std::string() : std::string(buffer, static_cast<std::size_t>(n));
  }
  bool over() const { return over_; }
  void shut() { ::shutdown(fd_, SHUT_RDWR); }

 private:
  int fd_;
  SSL* ssl_;
  bool over_ = false;
};

inline std::string answer(int status, std::string const& body, std::string const& headers = {},
                          std::string const& reason = "Whatever") {
  return "HTTP/1.1 " + std::to_string(status) + ' ' + reason + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + headers + "\r\n" + body;
}

class scripted_server {
 public:
  using script = std::function<void(seen_request const&, connection&)>;
  // `read_bodies` false: the script is called when the head has come.
  explicit scripted_server(script what, certificate const* tls = nullptr, bool handshakes = true,
                           bool read_bodies = true)
      : script_(std::move(what)), handshakes_(handshakes), read_bodies_(read_bodies) {
    if (tls != nullptr) {
      context_ = SSL_CTX_new(TLS_server_method());
      SSL_CTX_use_certificate(context_, tls->x509);
      SSL_CTX_use_PrivateKey(context_, tls->key);
    }
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, 64) != 0)
      throw std::runtime_error("cannot listen on loopback");
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  scripted_server(scripted_server const&) = delete;
  scripted_server& operator=(scripted_server const&) = delete;
  ~scripted_server() { stop(); }

  void stop() {
    if (listener_ < 0) return;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    listener_ = -1;
    {
      std::lock_guard const lock(mutex_);
      for (auto& c : open_) c->shut();
    }
    for (auto& t : threads_) t.join();
    SSL_CTX_free(context_);
  }
  int port() const { return port_; }
  std::string url(std::string const& path = "", std::string const& host = "127.0.0.1") const {
    return (context_ != nullptr ? "https://" : "http://") + host + ':' + std::to_string(port_) + path;
  }
  std::vector<seen_request> seen() const {
    std::lock_guard const lock(mutex_);
    return seen_;
  }
  int connections() const {
    std::lock_guard const lock(mutex_);
    return connections_;
  }
  std::size_t peak_connections() const {
    std::lock_guard const lock(mutex_);
    return peak_;
  }

 private:
  void accept_all() {
    for (;;) {
      int const fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      std::lock_guard const lock(mutex_);
      auto const c = std::make_shared<connection>(fd, handshakes_ ? context_ : nullptr);
      open_.push_back(c);
      peak_ = std::max(peak_, open_.size());
      threads_.emplace_back([this, c, number = connections_++] {
        serve(*c, number);
        std::lock_guard const inner(mutex_);
        open_.remove(c);
      });
    }
  }

  void serve(connection& c, int number) {
    // OpenSSL's writes to a client that is gone; for these threads only, so that the transport's own care is tested.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    if (!handshakes_) return c.wait_until_left();
    if (!c.handshake()) return;
    std::string buffer;
    for (int i = 0; !c.over(); ++i) {
      std::size_t end;
      while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
        auto const more = c.read_more();
        if (more.empty()) return;
        buffer += more;
        // As nginx does with a TLS hello on a plain port.
        if (buffer[0] == 0x16)
          return c.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      }
      seen_request r;
      auto const line_end = buffer.find("\r\n");
      r.line = buffer.substr(0, line_end);
      r.headers = buffer.substr(line_end + 2, end - line_end);
      r.connection = number;
      r.on_connection = i;
      buffer.erase(0, end + 4);
      auto const length = r.header("Content-Length");
      auto const wanted = length.empty() || !read_bodies_ ? 0 : std::stoul(length);
      while (buffer.size() < wanted) {
        auto const more = c.read_more();
        if (more.empty()) return;
        buffer += more;
      }
      r.body = buffer.substr(0, wanted);
      buffer.erase(0, wanted);
      {
        std::lock_guard const lock(mutex_);
        seen_.push_back(r);
      }
      script_(r, c);
    }
  }

  script script_;
  bool const handshakes_, read_bodies_;
  SSL_CTX* context_ = nullptr;
  int listener_ = -1;
  int port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::list<std::thread> threads_;
  std::list<std::shared_ptr<connection>> open_;
  std::vector<seen_request> seen_;
  int connections_ = 0;
  std::size_t peak_ = 0;
};

}  // namespace weir::test
