// Proxmox VE: authentication, failover and error texts. Paths and bodies are the stages' business.
#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/http/client.hpp"
#include "core/source/common.hpp"
#include "core/source/source.hpp"

namespace weir::source {
namespace {

namespace asio = boost::asio;
namespace log = base::log;
using base::error_code;
using http::failure;
using http::reply;
using nlohmann::json;
using std::chrono::steady_clock;
using throttle::outcome;

constexpr std::string_view api = "/api2/json";
constexpr auto ticket_renewal = std::chrono::minutes(90);  // a ticket is valid for two hours

// The API's path is part of every request.
std::vector<std::string> addresses_of(config::source const& settings) {
  auto urls = settings.urls;
  for (auto& url : urls) {
    while (url.ends_with('/')) url.pop_back();
    if (url.ends_with(api)) url.resize(url.size() - api.size());
  }
  return urls;
}

// A status of Proxmox VE is its answer and stays the same when asked again; but 596 and 599 are its proxy between two
// nodes, which may have lost a connection: once more. Without a status NetBox's table fits.
outcome classify_proxmox(throttle::observation const& seen) {
  if (seen.cancelled || seen.status == 0 || seen.cut || seen.timed_out) return throttle::classify(seen);
  switch (seen.status) {
    case 401:
    case 403:
      return outcome::credentials;
    case 429:
      return outcome::overload;
    case 502:
    case 503:
    case 504:
      return outcome::unknown;  // a reverse proxy's: Proxmox VE has none of these
    case 596:
    case 599:
      return outcome::server_fault;
    default:
      return seen.status >= 200 && seen.status < 300 ? outcome::ok : outcome::data;
  }
}

// "a: b, c: d" from PVE's {"errors": {"a": "b", "c": "d"}}, or its "message".
std::string body_says(std::string_view body) {
  if (body.empty() || body.size() > (64u << 10)) return {};
  auto const document = json::parse(body.begin(), body.end(), nullptr, false);
  if (!document.is_object()) return {};
  std::vector<std::string> parts;
  if (auto const errors = document.find("errors"); errors != document.end() && errors->is_object())
    for (auto const& [key, value] : errors->items())
      if (value.is_string() && parts.size() < 5) parts.push_back(key + ": " + value.get<std::string>());
  if (parts.empty())
    if (auto const message = document.find("message"); message != document.end() && message->is_string())
      parts.push_back(message->get<std::string>());
  return base::shorten(base::join(parts), 300);
}

class proxmox final : public source {
 public:
  proxmox(asio::io_context& io, config::source const& settings) : state_(std::make_shared<state>(io, settings)) {}
  // The state stays until stop() has told whoever still waits.
  ~proxmox() override {
    stop();
    asio::post(state_->io, [s = state_] {});
  }

  std::string const& name() const override { return state_->settings.name; }
  std::string const& type() const override { return state_->settings.type; }
  void fetch(std::string target, std::string lane, std::function<void(fetched)> done) override {
    asio::post(state_->io,
               [s = state_, target = std::move(target), lane = std::move(lane), done = std::move(done)]() mutable {
                 s->fetch(std::move(target), std::move(lane), std::move(done));
               });
  }
  base::result<std::string> check() override;
  throttle::counters count() const override { return state_->client.count(); }
  void on_attempt(std::function<void(http::attempt_seen const&)> listener) override {
    state_->client.on_attempt(std::move(listener));
  }
  void stop() override { state_->client.stop(); }

 private:
  struct job {
    std::string target, lane;
    std::function<void(fetched)> done;
    bool renewed = false;  // its ticket was renewed because of a 401
  };

  // On the loop's thread. The client's callbacks hold it weakly, since it owns the client.
  struct state : std::enable_shared_from_this<state> {
    state(asio::io_context& loop, config::source const& s)
        : io(loop),
          settings(s),
          client(loop, make_failover(loop, s, addresses_of(s)), limits_of(s, 3), s.name, classify_proxmox) {}

    bool with_ticket() const { return settings.token.empty(); }
    std::string who() const { return with_ticket() ? settings.username : settings.token_id; }

    http::call make_call(job const& j) const {
      http::call c;
      c.request.url = std::string(api) + j.target;
      c.request.timeout = settings.request_timeout;
      c.request.connect_timeout = settings.connect_timeout;
      c.request.headers = {{"Accept", "application/json"}};
      if (with_ticket())
        c.request.headers.emplace_back("Cookie", "PVEAuthCookie=" + ticket.reveal());
      else
        c.request.headers.emplace_back("Authorization",
                                       "PVEAPIToken=" + settings.token_id + "=" + settings.token.reveal());
      c.lane = j.lane;
      c.endpoint = endpoint_of(j.target);
      return c;
    }

    void fetch(std::string target, std::string lane, std::function<void(fetched)> done) {
      if (auto const problem = refuse(target); !problem.empty()) {
        fetched f;
        f.error =
            base::fail(fmt::format("{}: GET {} was not sent: {}", settings.name, base::shorten(target, 200), problem),
                       "the stage that asks for it is at fault");
        return done(std::move(f));
      }
      run({std::move(target), std::move(lane), std::move(done)});
    }

    void run(job j) {
      if (with_ticket() && (ticket.empty() || steady_clock::now() >= renew_at)) {
        waiting.push_back(std::move(j));
        log_in();
        return;
      }
      auto c = make_call(j);
      auto const number = ticket_number;
      client.send(std::move(c), [weak = weak_from_this(), j = std::move(j), number](http::answer a) mutable {
        if (auto const self = weak.lock()) self->answered(std::move(j), std::move(a), number);
      });
    }

    void answered(job j, http::answer a, std::uint64_t number) {
      if (a.reply.status == 401 && with_ticket() && !j.renewed) {
        j.renewed = true;
        if (number == ticket_number) ticket = base::secret();  // else somebody has renewed it meanwhile
        return run(std::move(j));
      }
      fetched f;
      f.status = a.reply.status;
      if (a.outcome == outcome::ok && a.reply.error == failure::none) {
        auto const first = a.reply.body.find_first_not_of(" \t\r\n");
        if (first != std::string::npos && a.reply.body[first] == '<')
          f.error = base::fail(
              error_code::unreachable,
              fmt::format("{}: GET {} at {}: the answer is HTML, not JSON", settings.name, j.target, a.reply.server),
              "is this Proxmox VE's address (https, port 8006)?");
        else
          f.body = std::move(a.reply.body);
      } else {
        f.error = explain("GET " + j.target, a);
      }
      j.done(std::move(f));
    }

    void log_in(bool second_try = false) {
      if (logging_in) return;
      logging_in = true;
      http::call c;
      c.request.verb = throttle::method::post;
      c.request.url = std::string(api) + "/access/ticket";
      c.request.timeout = settings.request_timeout;
      c.request.connect_timeout = settings.connect_timeout;
      c.request.fresh_connection = true;  // a POST that meets a stale connection is not repeated by the gate
      c.request.headers = {{"Accept", "application/json"}, {"Content-Type", "application/x-www-form-urlencoded"}};
      c.request.body = "username=" + base::url_encode(settings.username) +
                       "&password=" + base::url_encode(settings.password.reveal());
      c.lane = "login";
      c.endpoint = "access/ticket";
      client.send(std::move(c), [weak = weak_from_this(), second_try](http::answer const& a) {
        auto const self = weak.lock();
        if (!self) return;
        self->logging_in = false;
        // To log in twice does no harm, unlike other POSTs.
        if (a.outcome == outcome::unknown && !second_try) return self->log_in(true);
        self->logged_in(a);
      });
    }

    void logged_in(http::answer const& a) {
      std::optional<base::error> problem;
      if (a.outcome == outcome::ok && a.reply.error == failure::none) {
        auto const document = json::parse(a.reply.body.begin(), a.reply.body.end(), nullptr, false);
        auto const* data = document.is_object() && document.contains("data") ? &document.at("data") : nullptr;
        if (data != nullptr && data->is_object() && data->contains("NeedTFA"))
          problem = base::fail(error_code::credentials,
                               fmt::format("{}: POST /access/ticket at {}: {} needs a second factor", settings.name,
                                           a.reply.server, settings.username),
                               "use an API token (token_id and token) instead of the password");
        else if (data != nullptr && data->is_object() && data->contains("ticket") && data->at("ticket").is_string())
          ticket = base::secret(data->at("ticket").get<std::string>());
        if (!problem && ticket.empty())
          problem = base::fail(
              error_code::unreachable,
              fmt::format("{}: POST /access/ticket at {}: the answer holds no ticket", settings.name, a.reply.server),
              "is this Proxmox VE's address (https, port 8006)?");
      } else {
        ticket = base::secret();
        problem = explain("POST /access/ticket", a);
      }
      if (!problem) {
        ++ticket_number;
        renew_at = steady_clock::now() + ticket_renewal;
        log::debug(settings.name + ": logged in as " + settings.username, {{"source", settings.name}});
      }
      auto jobs = std::move(waiting);
      waiting.clear();
      for (auto& j : jobs) {
        if (!problem) {
          run(std::move(j));
          continue;
        }
        fetched f;
        f.status = a.reply.status;
        f.error = *problem;
        j.done(std::move(f));
      }
    }

    std::string clean(std::string text) const {
      return hide(std::move(text), {settings.token.reveal(), settings.password.reveal(), ticket.reveal()});
    }

    base::error explain(std::string const& tried, http::answer const& a) const {
      auto const& r = a.reply;
      auto const attempts = a.attempts > 1 ? fmt::format(" ({} attempts)", a.attempts) : std::string();
      if (a.outcome == outcome::cancelled)
        return base::fail(error_code::interrupted,
                          fmt::format("{}: {}: stopped before the answer came", settings.name, tried));
      if (r.error != failure::none) {
        // Several addresses: the text names each with its cause.
        auto const several = settings.urls.size() > 1 && not_connected(r);
        auto const where = several ? std::string("no address answers: ") : r.server + ": ";
        return base::fail(error_code::unreachable,
                          clean(fmt::format("{}: {}{}: {}{}", settings.name, tried, attempts, where, r.error_text)),
                          connection_hint(r));
      }
      auto reason = r.reason;
      if (auto const more = body_says(r.body); !more.empty() && reason.find(more) == std::string::npos)
        reason += reason.empty() ? more : " (" + more + ")";
      auto what = clean(fmt::format("{}: {} at {}{}: {} {}", settings.name, tried, r.server, attempts, r.status,
                                    reason.empty() ? "without a reason" : base::shorten(reason, 500)));
      if (r.status == 401)
        return base::fail(
            error_code::credentials, std::move(what),
            with_ticket()
                ? fmt::format("check the user name '{}' (with its realm) and the password", settings.username)
                : fmt::format("check token_id '{}' and its secret; the token may have expired or been removed",
                              settings.token_id));
      if (r.status == 403) return base::fail(error_code::credentials, std::move(what), permission_hint(r.reason));
      if (r.status == 596 || r.status == 599 || r.status == 595)
        return base::fail(error_code::failed, std::move(what),
                          "the node this is about cannot be reached from the one that was asked");
      if (r.status == 429 || (r.status >= 502 && r.status <= 504))
        return base::fail(error_code::unreachable, std::move(what),
                          "a proxy in front of Proxmox VE answered, not Proxmox VE");
      return base::fail(error_code::failed, std::move(what));
    }

    std::string connection_hint(reply const& r) const {
      switch (r.error) {
        case failure::tls:
          return r.certificate_refused
                     ? "set ca_file to the cluster's CA (/etc/pve/pve-root-ca.pem) or fingerprint to the certificate's "
                       "SHA-256 fingerprint, if this is the server you mean"
                     : "does the address speak TLS (https, port 8006)?";
        case failure::resolve:
          return "check the host name in the source's urls";
        case failure::refused:
          return "is Proxmox VE's API (pveproxy, port 8006) running there, and does a firewall let this host in?";
        case failure::timeout:
          return r.request_sent ? "the node is slow or busy; request_timeout may be raised"
                                : "does a firewall drop the connection?";
        case failure::malformed:
          return "is this Proxmox VE's address (https, port 8006)?";
        default:
          return {};
      }
    }

    // PVE names what is missing: "Permission check failed (/vms/100, VM.Audit)".
    std::string permission_hint(std::string const& reason) const {
      auto const open = reason.find('('), comma = reason.find(", ", open == std::string::npos ? 0 : open);
      auto const close = reason.find(')', comma == std::string::npos ? 0 : comma);
      auto const own =
          with_ticket()
              ? std::string()
              : std::string("; an API token needs permissions of its own, unless privilege separation is off");
      if (open == std::string::npos || comma == std::string::npos || close == std::string::npos)
        return clean(
            fmt::format("grant {} the missing privilege (role PVEAuditor on / is enough to read){}", who(), own));
      return clean(fmt::format("grant {} the privilege {} on {}{}", who(), reason.substr(comma + 2, close - comma - 2),
                               reason.substr(open + 1, comma - open - 1), own));
    }

    asio::io_context& io;
    config::source const settings;
    http::client client;
    base::secret ticket;
    std::uint64_t ticket_number = 0;
    steady_clock::time_point renew_at{};
    bool logging_in = false;
    std::vector<job> waiting;  // for a ticket
  };

  std::shared_ptr<state> state_;
};

base::result<std::string> proxmox::check() {
  auto f = fetch_and_wait("/version", "check");
  if (!f.ok()) return f.error;
  auto const document = json::parse(f.body.begin(), f.body.end(), nullptr, false);
  if (document.is_object() && document.contains("data") && document.at("data").is_object()) {
    auto const& data = document.at("data");
    if (auto const version = data.find("version"); version != data.end() && version->is_string())
      return version->get<std::string>();
  }
  return base::fail(error_code::unreachable, name() + ": GET /version: the answer names no version",
                    "is this Proxmox VE's address (https, port 8006)?");
}

}  // namespace

std::unique_ptr<source> make_proxmox(asio::io_context& io, config::source const& settings) {
  return std::make_unique<proxmox>(io, settings);
}

}  // namespace weir::source
