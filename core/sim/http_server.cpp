#include "core/sim/http_server.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <list>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>

namespace weir::sim {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using tcp = asio::ip::tcp;

namespace {

constexpr std::size_t max_body = 64U * 1024 * 1024;
constexpr std::size_t max_header = 256U * 1024;
constexpr std::size_t max_connections = 1024;

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto const low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    if (low(a[i]) != low(b[i])) return false;
  }
  return true;
}

[[noreturn]] void openssl_failed(char const* what) {
  std::array<char, 256> text{};
  ERR_error_string_n(ERR_get_error(), text.data(), text.size());
  throw std::runtime_error(std::string("OpenSSL: ") + what + ": " + text.data());
}

template <auto Free>
struct deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, deleter<EVP_PKEY_free>>;
using x509_ptr = std::unique_ptr<X509, deleter<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, deleter<BIO_free_all>>;
using extension_ptr = std::unique_ptr<X509_EXTENSION, deleter<X509_EXTENSION_free>>;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  auto const size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* cert, int nid, std::string const& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, cert, cert, nullptr, nullptr, 0);
  extension_ptr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(cert, extension.get(), -1) != 1) openssl_failed("certificate extension");
}

// A response as bytes; the body may be longer than what is sent (delivery::truncate).
std::string head_of(http_response const& response, std::string const& server, bool keep_alive, bool with_length) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head += response.reason.empty() ? reason_of(response.status) : std::string_view(response.reason);
  head += "\r\nServer: " + server + "\r\nConnection: " + (keep_alive ? "keep-alive" : "close") + "\r\n";
  for (auto const& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  if (with_length) head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  return head + "\r\n";
}

}  // namespace

std::string_view http_request::path() const { return std::string_view(target).substr(0, target.find('?')); }

std::string_view http_request::query() const {
  auto const mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view(target).substr(mark + 1);
}

std::string_view http_request::header(std::string_view name) const {
  for (auto const& [key, value] : headers)
    if (equal_ignoring_case(key, name)) return value;
  return {};
}

std::string_view reason_of(int status) {
  if (status == 599 || status == 596 || status == 595) return "Error";
  auto const text = http::obsolete_reason(static_cast<http::status>(status));
  if (text == "<unknown-status>") return "Unknown";
  return {text.data(), text.size()};
}

certificate make_self_signed(std::string const& host, int days) {
  key_ptr key(EVP_EC_gen("P-256"));
  if (!key) openssl_failed("key");
  x509_ptr cert(X509_new());
  if (!cert) openssl_failed("certificate");
  X509_set_version(cert.get(), 2);
  std::array<unsigned char, 8> serial{};
  auto const now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::memcpy(serial.data(), &now, serial.size());
  serial[7] = 0x11;  // positive and never zero
  std::unique_ptr<BIGNUM, deleter<BN_free>> number(BN_bin2bn(serial.data(), 8, nullptr));
  BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(cert.get()));
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -2 * 86400L);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), days * 86400L);
  X509_set_pubkey(cert.get(), key.get());
  auto* name = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>(host.c_str()), -1, -1, 0);
  X509_set_issuer_name(cert.get(), name);
  std::array<unsigned char, 16> address{};
  bool const is_ip =
      inet_pton(AF_INET, host.c_str(), address.data()) == 1 || inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
  add_extension(cert.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(cert.get(), NID_subject_alt_name, (is_ip ? "IP:" : "DNS:") + host);
  if (X509_sign(cert.get(), key.get(), EVP_sha256()) == 0) openssl_failed("sign");
  bio_ptr out(BIO_new(BIO_s_mem()));
  bio_ptr secret(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(out.get(), cert.get());
  PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(out.get()), text_of(secret.get())};
}

std::string fingerprint_of(std::string const& certificate_pem) {
  bio_ptr in(BIO_new_mem_buf(certificate_pem.data(), static_cast<int>(certificate_pem.size())));
  x509_ptr cert(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (!cert) openssl_failed("reading a certificate");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  X509_digest(cert.get(), EVP_sha256(), digest.data(), &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    constexpr char const* hex = "0123456789ABCDEF";
    if (i != 0) text += ':';
    text += hex[digest[i] >> 4U];
    text += hex[digest[i] & 15U];
  }
  return text;
}

struct http_server::state {
  struct connection {
    std::thread thread;
    int fd = -1;  // -1 once its thread is done with it; guarded by `mutex`
    bool done = false;
  };

  http_options options;
  http_handler handler;
  std::string url;
  std::string fingerprint;
  std::uint16_t port = 0;
  int listener = -1;
  int wake = -1;  // eventfd: readable once the server stops
  std::optional<asio::ssl::context> tls;
  std::atomic<bool> stopping{false};
  std::mutex mutex;
  std::list<connection> connections;
  std::thread acceptor;

  // Waits until `fd` is readable. False: nothing came in time, or the server stops.
  bool readable(int fd, int timeout_ms) const {
    std::array<pollfd, 2> polled{{{fd, POLLIN, 0}, {wake, POLLIN, 0}}};
    int const n = ::poll(polled.data(), polled.size(), timeout_ms);
    return n > 0 && polled[1].revents == 0 && polled[0].revents != 0;
  }

  template <class Stream>
  void serve(Stream& stream, int fd, bool buffered) {
    boost::beast::flat_buffer buffer;
    boost::system::error_code failed;
    // The TLS handshake may already have taken the first request off the socket, so it is not waited for there.
    for (bool look = !buffered; !stopping; look = true) {
      if (look && buffer.size() == 0 && !readable(fd, static_cast<int>(options.idle.count()))) return;
      http::request_parser<http::string_body> parser;
      parser.body_limit(max_body);
      parser.header_limit(static_cast<std::uint32_t>(max_header));
      http::read_header(stream, buffer, parser, failed);
      if (failed) return;
      if (parser.get()[http::field::expect] == "100-continue") {
        asio::write(stream, asio::buffer(std::string_view("HTTP/1.1 100 Continue\r\n\r\n")), failed);
        if (failed) return;
      }
      http::read(stream, buffer, parser, failed);
      if (failed) return;
      auto message = parser.release();
      bool const keep = message.keep_alive();
      bool const head_only = message.method() == http::verb::head;
      http_request request;
      request.method = std::string(message.method_string());
      request.target = std::string(message.target());
      for (auto const& field : message)
        request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
      request.body = std::move(message.body());
      http_response response;
      try {
        response = handler(request);
      } catch (std::exception const& e) {
        response = {500, "", {{"Content-Type", "text/plain"}}, std::string("simulator: ") + e.what() + "\n"};
      }
      if (response.how == delivery::cut) return;
      if (response.how == delivery::hang) {
        std::array<char, 4096> ignored{};
        while (!stopping && readable(fd, -1))
          if (::recv(fd, ignored.data(), ignored.size(), 0) <= 0) return;
        return;
      }
      bool const truncated = response.how == delivery::truncate;
      bool const bodyless = head_only || response.status == 204 || response.status == 304;
      auto out = head_of(response, options.server_header, keep && !truncated, response.status != 204);
      if (!bodyless)
        out.append(response.body, 0,
                   truncated ? std::min(response.truncate_at, response.body.size()) : std::string::npos);
      asio::write(stream, asio::buffer(out), failed);
      if (failed || !keep || truncated) return;
    }
  }

  void run(connection& mine, int fd) {
    asio::io_context io;
    tcp::socket socket(io);
    try {
      socket.assign(tcp::v4(), fd);
      if (tls) {
        asio::ssl::stream<tcp::socket&> stream(socket, *tls);
        boost::system::error_code failed;
        stream.handshake(asio::ssl::stream_base::server, failed);
        if (!failed) serve(stream, fd, true);
      } else {
        serve(socket, fd, false);
      }
    } catch (std::exception const&) {
      // The connection ends; the client sees it closed.
    }
    std::lock_guard lock(mutex);
    mine.fd = -1;  // before the socket closes it: stop() must not touch a descriptor that is somebody else's by then
    mine.done = true;
  }

  // Joins the threads that are done, so that a long run does not collect them.
  void reap() {
    std::list<connection> finished;
    {
      std::lock_guard lock(mutex);
      for (auto it = connections.begin(); it != connections.end();) {
        auto const next = std::next(it);
        if (it->done) finished.splice(finished.end(), connections, it);
        it = next;
      }
    }
    for (auto& old : finished) old.thread.join();
  }

  void accept() {
    while (!stopping) {
      if (!readable(listener, -1)) continue;
      int const fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      int const on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      reap();
      std::lock_guard lock(mutex);
      if (stopping || connections.size() >= max_connections) {
        ::close(fd);
        continue;
      }
      auto& mine = connections.emplace_back();
      mine.fd = fd;
      mine.thread = std::thread([this, &mine, fd] { run(mine, fd); });
    }
  }
};

http_server::http_server(http_options options, http_handler handler) : state_(std::make_unique<state>()) {
  auto& s = *state_;
  s.options = std::move(options);
  s.handler = std::move(handler);
  if (!s.options.tls.certificate_pem.empty()) {
    s.tls.emplace(asio::ssl::context::tls_server);
    s.tls->use_certificate_chain(asio::buffer(s.options.tls.certificate_pem));
    s.tls->use_private_key(asio::buffer(s.options.tls.key_pem), asio::ssl::context::pem);
    s.fingerprint = fingerprint_of(s.options.tls.certificate_pem);
  }
  s.listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  s.wake = ::eventfd(0, EFD_CLOEXEC);
  int const on = 1;
  ::setsockopt(s.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(s.options.port);
  socklen_t size = sizeof address;
  if (inet_pton(AF_INET, s.options.address.c_str(), &address.sin_addr) != 1 ||
      ::bind(s.listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(s.listener, 512) != 0 ||
      ::getsockname(s.listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::string const why = std::strerror(errno);
    ::close(s.listener);
    ::close(s.wake);
    throw std::runtime_error("simulator cannot listen on " + s.options.address + ":" + std::to_string(s.options.port) +
                             ": " + why);
  }
  s.port = ntohs(address.sin_port);
  s.url = (s.tls ? "https://" : "http://") + (s.options.url_host.empty() ? s.options.address : s.options.url_host) +
          ":" + std::to_string(s.port);
  s.acceptor = std::thread([&s] { s.accept(); });
}

http_server::~http_server() {
  stop();
  ::close(state_->listener);
  ::close(state_->wake);
}

std::string const& http_server::url() const { return state_->url; }
std::string const& http_server::fingerprint() const { return state_->fingerprint; }
std::uint16_t http_server::port() const { return state_->port; }

void http_server::stop() {
  auto& s = *state_;
  if (s.stopping.exchange(true)) return;
  std::uint64_t const one = 1;
  [[maybe_unused]] auto const written = ::write(s.wake, &one, sizeof one);
  s.acceptor.join();
  {
    std::lock_guard lock(s.mutex);
    for (auto& connection : s.connections)
      if (connection.fd >= 0) ::shutdown(connection.fd, SHUT_RDWR);
  }
  for (auto& connection : s.connections) connection.thread.join();
  s.connections.clear();
}

}  // namespace weir::sim
