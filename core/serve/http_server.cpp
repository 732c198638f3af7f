#include "core/serve/http_server.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <deque>
#include <optional>
#include <set>
#include <thread>

namespace weir::serve {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds beat{100};
constexpr std::size_t answering_threads = 2;  // one that waits for the journal does not hold up the other
constexpr std::size_t most_discarded = 1 << 20;

std::string_view reason_of(unsigned status) {
  auto const text = http::obsolete_reason(static_cast<http::status>(status));
  return {text.data(), text.size()};
}

std::string head_of(response const& r, std::optional<std::size_t> length, bool keep) {
  std::string out = "HTTP/1.1 " + std::to_string(r.status) + " ";
  out.append(reason_of(r.status)).append("\r\n");
  auto const add = [&](std::string_view name, std::string_view value) {
    out.append(name).append(": ").append(value).append("\r\n");
  };
  if (r.status != 204) {
    bool const is_text = r.content_type == "application/json";
    add("Content-Type", is_text ? "application/json; charset=utf-8" : r.content_type);
    if (length) add("Content-Length", std::to_string(*length));
  }
  add("Cache-Control", "no-store");
  add("X-Content-Type-Options", "nosniff");
  add("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
  add("Referrer-Policy", "no-referrer");
  add("Cross-Origin-Resource-Policy", "same-origin");
  if (r.events) add("X-Accel-Buffering", "no");  // nginx
  for (auto const& [name, value] : r.headers) add(name, value);
  add("Connection", keep ? "keep-alive" : "close");
  return out + "\r\n";
}

}  // namespace

struct http_server::core {
  class session;

  server_options options;
  std::function<response(request const&)> answer;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::steady_timer heart{io}, pause{io};
  asio::thread_pool helpers{answering_threads};
  std::thread thread;
  std::set<std::shared_ptr<session>> sessions;
  std::size_t streams = 0;  // of events; the sockets' thread only
  std::atomic<std::size_t> listening{0};
  std::atomic<steady_clock::rep> last_beat{0};
  std::atomic<milliseconds::rep> worst{0};
  std::vector<std::shared_ptr<asio::steady_timer>> timers;
  std::uint16_t port = 0;
  bool stopping = false;  // the sockets' thread only
  bool stopped = false;   // whoever stops

  core(server_options o, std::function<response(request const&)> a) : options(std::move(o)), answer(std::move(a)) {}

  void accept();
  void beat_on();
  void repeat(std::shared_ptr<asio::steady_timer> timer, milliseconds interval, std::function<void()> what);
  base::result<void> listen();
};

// One connection. Everything of it happens on the sockets' thread but the making of its answers.
class http_server::core::session : public std::enable_shared_from_this<session> {
 public:
  session(core& owner, tcp::socket socket) : owner_(owner), stream_(std::move(socket)) {}

  void read() {
    parser_.emplace();
    parser_->header_limit(owner_.options.max_header);
    parser_->body_limit(owner_.options.max_body);
    stream_.expires_after(owner_.options.request_time);
    http::async_read_header(stream_, buffer_, *parser_, [self = shared_from_this()](error_code e, std::size_t) {
      if (e) return self->unread(e);
      self->read_body();
    });
  }

  void close() {
    if (!open_) return;
    open_ = false;
    if (events_) {
      --owner_.streams;
      owner_.listening = owner_.streams;
    }
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_both, ignored);
    stream_.close();
    owner_.sessions.erase(shared_from_this());
  }

  // When the server stops: what is being answered gets its answer.
  void finish() {
    keep_ = false;
    if (events_ || !answering_) close();
  }

  bool listens() const { return events_; }
  void send(std::shared_ptr<std::string const> const& text) {
    if (!open_) return;
    pending_bytes_ += text->size();
    pending_.push_back(text);
    if (pending_bytes_ > owner_.options.max_pending) return close();  // it comes back and begins with the whole status
    if (!writing_) write_next();
  }

 private:
  void unread(error_code e) {
    if (e == http::error::end_of_stream || e == beast::error::timeout || e == asio::error::operation_aborted ||
        e == asio::error::connection_reset || e == http::error::partial_message)
      return close();
    unsigned const status = e == http::error::header_limit ? 431u : e == http::error::body_limit ? 413u : 400u;
    keep_ = false;
    discard_ = true;
    write(failure(status, status == 431   ? "the request's header is too large"
                          : status == 413 ? "the request's body is too large"
                                          : "that is no HTTP request: " + e.message()),
          false);
  }

  void read_body() {
    stream_.expires_after(owner_.options.request_time);
    if (auto const length = parser_->content_length(); length && *length > owner_.options.max_body)
      return unread(http::error::body_limit);
    if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) {
      static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      asio::async_write(stream_, asio::buffer(go_on), [self = shared_from_this()](error_code e, std::size_t) {
        if (e) return self->close();
        self->read_rest();
      });
      return;
    }
    read_rest();
  }

  void read_rest() {
    http::async_read(stream_, buffer_, *parser_, [self = shared_from_this()](error_code e, std::size_t) {
      if (e) return self->unread(e);
      self->answer();
    });
  }

  void answer() {
    auto message = parser_->release();
    keep_ = message.keep_alive() && !owner_.stopping;
    auto about = std::make_shared<request>();
    about->method = std::string(message.method_string());
    about->target = std::string(message.target());
    auto const header = [&](http::field f) { return std::string(message[f]); };
    about->host = header(http::field::host);
    about->origin = header(http::field::origin);
    about->authorization = header(http::field::authorization);
    about->content_type = header(http::field::content_type);
    about->body = std::move(message.body());
    answering_ = true;
    stream_.expires_never();
    asio::post(owner_.helpers, [self = shared_from_this(), about] {
      response made;
      try {
        made = self->owner_.answer(*about);
      } catch (std::exception const& e) {
        made = failure(500, std::string("weir has a fault, please report it: ") + e.what());
      }
      bool const head = about->method == "HEAD";
      asio::post(self->owner_.io, [self, made = std::move(made), head]() mutable {
        if (!self->open_) return;
        if (made.events && !head && self->owner_.streams >= self->owner_.options.max_streams) {
          made = failure(503, "too many pages listen already");
          made.headers.emplace_back("Retry-After", "10");
        }
        if (made.events && !head)
          self->listen(made);
        else
          self->write(made, head);
      });
    });
  }

  void write(response const& r, bool head) {
    out_ = head_of(r, r.events ? std::nullopt : std::optional(r.body.size()), keep_);
    if (!head && r.status != 204) out_ += r.body;
    stream_.expires_after(owner_.options.write_time);
    asio::async_write(stream_, asio::buffer(out_), [self = shared_from_this()](error_code e, std::size_t) {
      self->answering_ = false;
      self->out_.clear();
      if (e) return self->close();
      if (self->keep_ && !self->owner_.stopping) return self->read();
      if (!self->discard_) return self->close();
      // What the other side is still sending is read for a while: closing now would cut off the answer.
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      self->stream_.expires_after(milliseconds(2000));
      self->read_and_forget(0);
    });
  }

  void read_and_forget(std::size_t so_far) {
    stream_.async_read_some(asio::buffer(scratch_), [self = shared_from_this(), so_far](error_code e, std::size_t n) {
      if (e || so_far + n > most_discarded) return self->close();
      self->read_and_forget(so_far + n);
    });
  }

  void listen(response const& r) {
    events_ = true;
    ++owner_.streams;
    owner_.listening = owner_.streams;
    // Kernel buffers would hold minutes of what nobody reads.
    error_code ignored;
    stream_.socket().set_option(asio::socket_base::send_buffer_size(64 * 1024), ignored);
    keep_ = false;
    read_and_forget(0);  // it ends when the listener goes
    send(std::make_shared<std::string const>(head_of(r, std::nullopt, false) + r.body));
  }

  void write_next() {
    writing_ = !pending_.empty();
    if (!writing_) return;
    auto const text = pending_.front();
    stream_.expires_after(owner_.options.write_time);
    asio::async_write(stream_, asio::buffer(*text), [self = shared_from_this(), text](error_code e, std::size_t) {
      if (e || !self->open_) return self->close();
      self->pending_bytes_ -= text->size();
      self->pending_.pop_front();
      self->write_next();
    });
  }

  core& owner_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::string_body>> parser_;
  std::string out_;
  std::array<char, 1024> scratch_{};
  std::deque<std::shared_ptr<std::string const>> pending_;
  std::size_t pending_bytes_ = 0;
  bool open_ = true, keep_ = false, discard_ = false, answering_ = false, events_ = false, writing_ = false;
};

base::result<void> http_server::core::listen() {
  error_code e;
  auto const host = asio::ip::make_address(options.listen.host, e);
  tcp::endpoint const at(host, options.listen.port);
  auto const wrong = [&](std::string const& what) {
    return base::fail(
        base::error_code::unreachable,
        "cannot listen on " + authority(options.listen.host, options.listen.port) + ": " + what,
        e == asio::error::address_in_use
            ? "another program has this port: stop it, or choose another one with --listen or serve.listen"
            : "look at serve.listen");
  };
  if (!e) acceptor.open(at.protocol(), e);
  if (!e) acceptor.set_option(asio::socket_base::reuse_address(true), e);
  if (!e && host.is_v6()) acceptor.set_option(asio::ip::v6_only(false), e);
  if (!e) acceptor.bind(at, e);
  if (!e) acceptor.listen(128, e);
  if (e) return wrong(e.message());
  port = acceptor.local_endpoint(e).port();
  // Stages start processes; the sockets are none of theirs.
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  return {};
}

void http_server::core::accept() {
  acceptor.async_accept([this](error_code e, tcp::socket socket) {
    if (stopping || e == asio::error::operation_aborted) return;
    if (e) {
      // No descriptor to spare: later, perhaps.
      pause.expires_after(beat);
      pause.async_wait([this](error_code cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    if (sessions.size() >= options.max_connections) {
      static constexpr std::string_view full =
          "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";
      error_code ignored;
      socket.non_blocking(true, ignored);
      socket.send(asio::buffer(full), 0, ignored);
    } else {
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      auto const made = std::make_shared<session>(*this, std::move(socket));
      sessions.insert(made);
      made->read();
    }
    accept();
  });
}

void http_server::core::beat_on() {
  auto const due = steady_clock::now() + beat;
  heart.expires_at(due);
  heart.async_wait([this, due](error_code e) {
    if (e) return;
    auto const now = steady_clock::now();
    last_beat = now.time_since_epoch().count();
    worst = std::chrono::duration_cast<milliseconds>(now - due).count();
    beat_on();
  });
}

void http_server::core::repeat(std::shared_ptr<asio::steady_timer> timer, milliseconds interval,
                               std::function<void()> what) {
  // From when it was due, so that "once a second" stays that; not from before it was late.
  auto const now = steady_clock::now();
  auto next = timer->expiry() + interval;
  if (next < now) next = now + interval;
  timer->expires_at(next);
  timer->async_wait([this, timer, interval, what = std::move(what)](error_code e) mutable {
    if (e || stopping) return;
    what();
    repeat(timer, interval, std::move(what));
  });
}

http_server::http_server(std::unique_ptr<core> c) : core_(std::move(c)) {}

base::result<std::unique_ptr<http_server>> http_server::open(server_options options,
                                                             std::function<response(request const&)> answer) {
  auto made = std::make_unique<core>(std::move(options), std::move(answer));
  if (auto ok = made->listen(); !ok) return ok.error();
  auto& c = *made;
  c.last_beat = steady_clock::now().time_since_epoch().count();
  c.beat_on();
  c.accept();
  c.thread = std::thread([&c] { c.io.run(); });
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}

http_server::~http_server() { stop(); }

std::uint16_t http_server::port() const { return core_->port; }
std::size_t http_server::listeners() const { return core_->listening; }

void http_server::publish(std::string text) {
  auto const shared = std::make_shared<std::string const>(std::move(text));
  asio::post(core_->io, [c = core_.get(), shared] {
    auto const all = c->sessions;  // one that is dropped leaves the set
    for (auto const& s : all)
      if (s->listens()) s->send(shared);
  });
}

void http_server::every(milliseconds interval, std::function<void()> what) {
  asio::post(core_->io, [c = core_.get(), interval, what = std::move(what)]() mutable {
    if (c->stopping) return;
    auto const timer = std::make_shared<asio::steady_timer>(c->io, steady_clock::now());
    c->timers.push_back(timer);
    c->repeat(timer, interval, std::move(what));
  });
}

milliseconds http_server::lag() const {
  auto const since = steady_clock::now().time_since_epoch() - steady_clock::duration(core_->last_beat.load());
  return std::max(
      {milliseconds(0), milliseconds(core_->worst.load()), std::chrono::duration_cast<milliseconds>(since) - beat});
}

void http_server::stop() {
  auto& c = *core_;
  if (std::exchange(c.stopped, true)) return;
  asio::post(c.io, [&c] {
    c.stopping = true;
    error_code ignored;
    c.acceptor.close(ignored);
    c.heart.cancel();
    c.pause.cancel();
    for (auto const& t : c.timers) t->cancel();
    auto const all = c.sessions;
    for (auto const& s : all) s->finish();
  });
  // The thread ends by itself once the last answer is out.
  auto const patience = std::make_shared<asio::steady_timer>(c.io, c.options.stop_time);
  asio::post(c.io, [&c, patience] {
    patience->async_wait([&c](error_code e) {
      if (!e) c.io.stop();
    });
    // Looks whether anybody is left.
    auto const look = std::make_shared<std::function<void()>>();
    auto const again = std::make_shared<asio::steady_timer>(c.io);
    std::weak_ptr<std::function<void()>> const weak = look;
    *look = [&c, patience, again, weak] {
      if (c.sessions.empty()) {
        patience->cancel();
        return;
      }
      again->expires_after(milliseconds(10));
      again->async_wait([keep = weak.lock()](error_code e) {
        if (!e && keep) (*keep)();
      });
    };
    (*look)();
  });
  c.thread.join();
  c.helpers.join();
  c.sessions.clear();
}

}  // namespace weir::serve
