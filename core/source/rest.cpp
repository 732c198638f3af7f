// Any service that speaks JSON over HTTP: login, paging, redirects and error texts. Paths and bodies are the stages'
// business.
#include "core/source/rest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/base/text.hpp"
#include "core/http/client.hpp"
#include "core/source/common.hpp"
#include "core/source/paging.hpp"

namespace weir::source {
namespace {

namespace asio = boost::asio;
using base::error_code;
using http::failure;
using http::reply;
using nlohmann::json;
using throttle::outcome;

constexpr std::size_t max_attempts = 4;
constexpr std::size_t max_redirects = 5;
constexpr std::size_t longest_error_body = 64u << 10;

// Everything is a GET, so that whatever may pass is asked for again.
outcome classify_rest(throttle::observation const& seen) {
  if (seen.cancelled || seen.status == 0 || seen.cut || seen.timed_out) return throttle::classify(seen);
  switch (seen.status) {
    case 401:
      return outcome::credentials;
    case 403:  // GitHub's word for too many requests
      return seen.has_retry_after ? outcome::overload : outcome::credentials;
    case 408:
    case 425:
    case 429:
    case 503:
      return outcome::overload;
    case 501:
    case 505:
      return outcome::data;
    default:
      if (seen.status >= 500) return outcome::unknown;
      return seen.status >= 200 && seen.status < 300 ? outcome::ok : outcome::data;
  }
}

// RFC 4648.
std::string base64(std::string_view text) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    auto const byte = [&](std::size_t k) {
      return i + k < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[i + k])) : 0u;
    };
    auto const bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > text.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

// What services put into the body of an error: {"detail": …}, {"message": …}, {"error": {"message": …}}, RFC 9457.
std::string body_says(std::string_view body) {
  if (body.empty() || body.size() > longest_error_body) return {};
  auto const document = json::parse(body.begin(), body.end(), nullptr, false);
  if (!document.is_object()) return {};
  for (auto const* name : {"detail", "message", "messages", "error_description", "error", "errors", "title"}) {
    auto found = document.find(name);
    if (found == document.end()) continue;
    auto const* value = &*found;
    if (value->is_array() && !value->empty()) value = &value->front();
    for (auto const* inner : {"message", "detail"})
      if (value->is_object() && value->contains(inner)) value = &value->at(inner);
    if (value->is_string()) return base::shorten(value->get_ref<std::string const&>(), 300);
  }
  return {};
}

bool is_html(reply const& r) {
  auto const start = r.body.find_first_not_of(" \t\r\n");
  auto const head = start == std::string::npos ? std::string() : base::lower(r.body.substr(start, 15));
  return r.header("content-type").find("html") != std::string_view::npos || head.starts_with("<!doctype html") ||
         head.starts_with("<html");
}

bool redirects(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

class rest final : public source {
 public:
  rest(asio::io_context& io, config::source const& settings, std::size_t max_bytes)
      : state_(std::make_shared<state>(io, settings, max_bytes)) {}
  // The state stays until stop() has told whoever still waits.
  ~rest() override {
    stop();
    asio::post(state_->io, [s = state_] {});
  }

  std::string const& name() const override { return state_->settings.name; }
  std::string const& type() const override { return state_->settings.type; }
  void fetch(std::string target, std::string lane, std::function<void(fetched)> done) override {
    begin(std::move(target), std::move(lane), false, std::move(done));
  }
  base::result<std::string> check() override;
  throttle::counters count() const override { return state_->client.count(); }
  void on_attempt(std::function<void(http::attempt_seen const&)> listener) override {
    state_->client.on_attempt(std::move(listener));
  }
  void stop() override { state_->client.stop(); }

 private:
  // A list on its way, one page after the other.
  struct job {
    job(config::source const& s, std::string what, std::size_t max_bytes)
        : target(what), pages(s.paging, s.urls, std::move(what), max_bytes) {}
    std::string target, lane;  // as the stage asked
    bool probe = false;        // any answer will do
    pager pages;
    std::string sent;           // the target under way: the page's, or where a redirect led
    std::size_t redirects = 0;  // of this page
    std::function<void(fetched)> done;
  };

  // On the loop's thread. The client's callbacks hold it weakly, since it owns the client.
  struct state : std::enable_shared_from_this<state> {
    state(asio::io_context& loop, config::source const& s, std::size_t limit)
        : io(loop),
          settings(s),
          max_bytes(limit),
          login(make_login(s)),
          client(loop,
                 make_failover(loop, s, s.urls, limit, [secrets = secrets_of(s)](reply& r) { clean(r, secrets); }),
                 limits_of(s, max_attempts), s.name, classify_rest) {}

    static std::string basic(config::source const& s) { return base64(s.username + ":" + s.password.reveal()); }

    static base::secret make_login(config::source const& s) {
      if (!s.token.empty()) return base::secret(s.token_prefix + s.token.reveal());
      if (!s.username.empty()) return base::secret("Basic " + basic(s));
      return {};
    }

    static std::vector<base::secret> secrets_of(config::source const& s) {
      std::vector<base::secret> out{s.token, s.password};
      if (!s.username.empty()) out.emplace_back(basic(s));
      return out;
    }

    // Before anybody logs it: a service may say what it was sent, and under which name a token travels is known here
    // only.
    static void clean(reply& r, std::vector<base::secret> const& secrets) {
      std::vector<std::string_view> plain;
      for (auto const& s : secrets) plain.emplace_back(s.reveal());
      r.reason = hide(std::move(r.reason), plain);
      r.error_text = hide(std::move(r.error_text), plain);
      if (r.status < 400) return;
      r.body.resize(std::min(r.body.size(), longest_error_body));
      r.body = hide(std::move(r.body), plain);
    }

    std::string clean(std::string text) const {
      std::vector<std::string_view> plain;
      auto const secrets = secrets_of(settings);
      for (auto const& s : secrets) plain.emplace_back(s.reveal());
      return hide(std::move(text), plain);
    }

    void begin(std::string target, std::string lane, bool probe, std::function<void(fetched)> done) {
      if (auto const problem = refuse(target); !problem.empty()) {
        fetched f;
        f.error =
            base::fail(fmt::format("{}: GET {} was not sent: {}", settings.name, base::shorten(target, 200), problem),
                       "the stage that asks for it is at fault");
        return done(std::move(f));
      }
      auto const j = std::make_shared<job>(settings, std::move(target), max_bytes);
      j->lane = std::move(lane);
      j->probe = probe;
      j->sent = probe ? j->target : j->pages.target();
      j->done = std::move(done);
      send(j);
    }

    void send(std::shared_ptr<job> const& j) {
      http::call c;
      c.request.url = j->sent;
      c.request.timeout = settings.request_timeout;
      c.request.connect_timeout = settings.connect_timeout;
      c.request.headers = settings.headers;
      auto const given = [&](std::string_view name) {
        return std::any_of(settings.headers.begin(), settings.headers.end(),
                           [&](auto const& h) { return base::lower(h.first) == name; });
      };
      if (!given("accept")) c.request.headers.emplace_back("Accept", "application/json");
      if (!login.empty())
        c.request.headers.emplace_back(settings.token.empty() ? "Authorization" : settings.token_header,
                                       login.reveal());
      c.lane = j->lane;
      client.send(std::move(c), [weak = weak_from_this(), j](http::answer a) {
        if (auto const self = weak.lock()) self->answered(j, std::move(a));
      });
    }

    // "GET /devices", "GET /devices, page 3".
    std::string tried(job const& j) const {
      return "GET " + base::shorten(j.target, 300) +
             (j.pages.page() > 1 ? fmt::format(", page {}", j.pages.page()) : "");
    }

    // Where it was asked: the address of the configuration, not only its host.
    std::string where(reply const& r) const {
      auto out = address_of(settings.urls, "/", r.server);
      out.pop_back();
      return out;
    }

    void answered(std::shared_ptr<job> const& j, http::answer a) {
      auto& r = a.reply;
      fetched f;
      f.status = r.status;
      if (r.error == failure::none && redirects(r.status) && !r.header("location").empty()) {
        auto const from = address_of(settings.urls, j->sent, r.server);
        auto to = target_of(settings.urls, resolve(from, r.header("location")));
        if (to && ++j->redirects <= max_redirects) {
          j->sent = std::move(*to);
          return send(j);
        }
        if (!j->probe) {
          f.error = to ? base::fail(error_code::unreachable,
                                    fmt::format("{}: {} at {}: more than {} redirects", settings.name, tried(*j),
                                                where(r), max_redirects),
                                    "is this the service's API, or a login page?")
                       : base::fail(error_code::unreachable,
                                    clean(fmt::format("{}: {} at {}: {}: a redirect to an address that {}",
                                                      settings.name, tried(*j), where(r), r.status, to.error().what)),
                                    clean(to.error().hint));
          return j->done(std::move(f));
        }
      }
      if (j->probe && r.error == failure::none && r.status < 500 && r.status != 401 && r.status != 403) {
        f.body = std::move(r.body);
        return j->done(std::move(f));
      }
      if (a.outcome != outcome::ok || r.error != failure::none) {
        f.error = explain(*j, a);
        return j->done(std::move(f));
      }
      if (is_html(r)) {
        f.error =
            base::fail(error_code::unreachable,
                       fmt::format("{}: {} at {}: the answer is HTML, not JSON", settings.name, tried(*j), where(r)),
                       "is this the service's API? A login page, or the page for people, answers instead");
        return j->done(std::move(f));
      }
      pager::answer page;
      for (auto const& [name, value] : r.headers)
        if (name == "link") page.link_headers.push_back(value);
      page.content_type = r.header("content-type");
      page.url = address_of(settings.urls, j->sent, r.server);
      auto const at = where(r);
      page.body = std::move(r.body);
      auto const step = j->pages.take(std::move(page));
      if (!step) {
        f.error = base::fail(
            step.error().code,
            clean(fmt::format("{}: {} at {}: the answer {}", settings.name, tried(*j), at, step.error().what)),
            clean(step.error().hint));
        return j->done(std::move(f));
      }
      if (*step == pager::step::more) {
        j->sent = j->pages.target();
        j->redirects = 0;
        return send(j);
      }
      f.body = j->pages.take_body();
      j->done(std::move(f));
    }

    base::error explain(job const& j, http::answer const& a) const {
      auto const& r = a.reply;
      auto const attempts = a.attempts > 1 ? fmt::format(" ({} attempts)", a.attempts) : std::string();
      auto const what = tried(j);
      if (a.outcome == outcome::cancelled)
        return base::fail(error_code::interrupted,
                          fmt::format("{}: {}: stopped before the answer came", settings.name, what));
      if (r.error != failure::none) {
        // Several addresses: the text names each with its cause.
        auto const several = settings.urls.size() > 1 && not_connected(r) && j.sent.starts_with('/');
        auto const place = several ? std::string("no address answers: ") : where(r) + ": ";
        return base::fail(r.error == failure::too_big ? error_code::failed : error_code::unreachable,
                          clean(fmt::format("{}: {}{}: {}{}", settings.name, what, attempts, place, r.error_text)),
                          connection_hint(r));
      }
      auto reason = r.reason;
      if (auto const more = body_says(r.body); !more.empty() && reason.find(more) == std::string::npos)
        reason += reason.empty() ? more : " (" + more + ")";
      auto text = clean(fmt::format("{}: {} at {}{}: {} {}", settings.name, what, where(r), attempts, r.status,
                                    reason.empty() ? "without a reason" : base::shorten(reason, 500)));
      if ((r.status == 401 || r.status == 403) && a.outcome == outcome::credentials)
        return base::fail(error_code::credentials, std::move(text), login_hint(r.status));
      if (a.outcome == outcome::overload && r.status != 503)
        return base::fail(
            error_code::unreachable, std::move(text),
            "the service wants fewer requests: lower max_in_flight, or let fewer programs use this login");
      if (r.status >= 500)
        return base::fail(error_code::unreachable, std::move(text),
                          "the service or a proxy in front of it is at fault");
      if (r.status == 404 && j.pages.page() == 1)
        return base::fail(error_code::failed, std::move(text), "is the path in the source's urls right?");
      if (r.status == 404)
        return base::fail(error_code::failed, std::move(text),
                          "if the service answers so behind its last page, say paging.total, or style: next");
      return base::fail(error_code::failed, std::move(text));
    }

    std::string login_hint(int status) const {
      bool const unknown = status == 401;
      if (!settings.token.empty()) {
        auto const sent =
            fmt::format("the token that is sent as '{}: {}***'", settings.token_header, settings.token_prefix);
        return unknown ? "check " + sent + "; it may have expired" : sent + " lacks a permission for this";
      }
      if (!settings.username.empty())
        return unknown ? fmt::format("check the user name '{}' and the password", settings.username)
                       : fmt::format("the user '{}' lacks a permission for this", settings.username);
      return "the service wants a login: add token_env, or username and password_env";
    }

    static std::string connection_hint(reply const& r) {
      switch (r.error) {
        case failure::tls:
          return r.certificate_refused ? "set ca_file to the authority that signed it, or fingerprint to the "
                                         "certificate's SHA-256 fingerprint, if this is the server you mean"
                                       : "does the address speak TLS?";
        case failure::resolve:
          return "check the host name in the source's urls";
        case failure::refused:
          return "is the service running there, and does a firewall let this host in?";
        case failure::timeout:
          return r.request_sent ? "the service is slow or busy; timeout may be raised"
                                : "does a firewall drop the connection?";
        case failure::too_big:
          return "a list must fit into memory: let the stage ask for less of it (a filter, fewer fields), or page it";
        case failure::malformed:
          return "does the address speak HTTP?";
        default:
          return {};
      }
    }

    asio::io_context& io;
    config::source const settings;
    std::size_t const max_bytes;
    base::secret const login;  // the header's value
    http::client client;
  };

  void begin(std::string target, std::string lane, bool probe, std::function<void(fetched)> done) {
    asio::post(state_->io, [s = state_, target = std::move(target), lane = std::move(lane), probe,
                            done = std::move(done)]() mutable {
      s->begin(std::move(target), std::move(lane), probe, std::move(done));
    });
  }

  std::shared_ptr<state> state_;
};

base::result<std::string> rest::check() {
  auto const f = wait_for(name(), [this](std::function<void(fetched)> done) {
    begin(state_->settings.check, "check", true, std::move(done));
  });
  if (!f.ok()) return f.error;
  auto const document = json::parse(f.body.begin(), f.body.end(), nullptr, false);
  if (document.is_object())
    if (auto const version = document.find("version"); version != document.end() && version->is_string())
      if (auto text = base::shorten(version->get_ref<std::string const&>(), 40); !text.empty()) return text;
  return fmt::format("HTTP {}", f.status);
}

}  // namespace

std::unique_ptr<source> make_rest(asio::io_context& io, config::source const& settings, std::size_t max_bytes) {
  return std::make_unique<rest>(io, settings, max_bytes);
}

std::unique_ptr<source> make_rest(asio::io_context& io, config::source const& settings) {
  return make_rest(io, settings, max_list_bytes);
}

}  // namespace weir::source
