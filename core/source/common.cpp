#include "core/source/common.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/source/paging.hpp"

namespace weir::source {
namespace {

namespace asio = boost::asio;
namespace log = base::log;
using http::failure;
using http::reply;
using std::chrono::milliseconds;

class failover_transport final : public http::transport {
 public:
  failover_transport(asio::io_context& io, config::source const& settings, std::vector<std::string> addresses,
                     std::size_t reply_limit, std::function<void(reply&)> edit)
      : io_(io), shared_(std::make_shared<shared>()) {
    shared_->name = settings.name;
    shared_->urls = std::move(addresses);
    shared_->edit = std::move(edit);
    for (std::size_t i = 0; i < shared_->urls.size(); ++i)
      shared_->wires.push_back(
          http::make_curl_transport(io, settings.tls, std::max<std::size_t>(settings.max_in_flight, 1), reply_limit));
  }

  void send(http::request const& what, std::function<void(reply)> done) override {
    auto t = std::make_shared<attempt>();
    t->what = what;
    t->path = what.url;
    t->done = std::move(done);
    if (shared_->wires.empty()) return fail(*t, "no address is configured");
    if (t->path.starts_with('/')) return try_next(shared_, t);
    for (std::size_t i = 0; i < shared_->urls.size(); ++i) {
      if (origin_of(shared_->urls[i]) != origin_of(t->path)) continue;
      shared_->wires[i]->send(t->what, [weak = std::weak_ptr<shared>(shared_), t](reply r) {
        if (auto const alive = weak.lock(); alive && alive->edit) alive->edit(r);
        t->done(std::move(r));
      });
      return;
    }
    fail(*t, "it is on another server than the source");
  }

  void cancel_all() override {
    for (auto const& wire : shared_->wires) wire->cancel_all();
  }

 private:
  struct shared {
    std::string name;
    std::vector<std::string> urls;
    std::vector<std::unique_ptr<http::transport>> wires;
    std::function<void(reply&)> edit;
    std::size_t current = 0;
  };
  struct attempt {
    http::request what;
    std::string path;
    std::function<void(reply)> done;
    std::vector<bool> tried;
    std::vector<std::string> causes;  // one for each address tried
  };

  void fail(attempt& t, std::string_view why) {
    asio::post(io_, [done = std::move(t.done), why] {
      reply r;
      r.error = failure::other;
      r.error_text = why;
      done(std::move(r));
    });
  }

  static void try_next(std::shared_ptr<shared> const& s, std::shared_ptr<attempt> const& t) {
    auto const count = s->urls.size();
    t->tried.resize(count);
    auto index = s->current;
    while (t->tried[index]) index = (index + 1) % count;
    t->tried[index] = true;
    t->what.url = s->urls[index] + t->path;
    s->wires[index]->send(t->what, [weak = std::weak_ptr<shared>(s), t, index, count](reply r) {
      auto const alive = weak.lock();
      if (alive && alive->edit) alive->edit(r);
      if (!alive || !not_connected(r)) return t->done(std::move(r));
      auto const cause = alive->urls[index] + ": " + r.error_text;
      t->causes.push_back(cause);
      if (alive->current == index && count > 1) {
        alive->current = (index + 1) % count;
        log::warning(fmt::format("{}: {}; going on with {}", alive->name, cause, alive->urls[alive->current]),
                     {{"source", alive->name}});
      }
      if (t->causes.size() < count) return try_next(alive, t);
      if (count > 1) r.error_text = base::join(t->causes, "; ");
      t->done(std::move(r));
    });
  }

  asio::io_context& io_;
  std::shared_ptr<shared> shared_;
};

}  // namespace

bool not_connected(reply const& r) {
  return !r.request_sent && (r.error == failure::refused || r.error == failure::resolve || r.error == failure::tls ||
                             r.error == failure::timeout);
}

std::unique_ptr<http::transport> make_failover(asio::io_context& io, config::source const& settings,
                                               std::vector<std::string> addresses, std::size_t reply_limit,
                                               std::function<void(reply&)> edit) {
  return std::make_unique<failover_transport>(io, settings, std::move(addresses), reply_limit, std::move(edit));
}

throttle::limits limits_of(config::source const& settings, std::size_t attempts) {
  throttle::limits l;
  l.max_in_flight = settings.max_in_flight;
  l.requests_per_second = 0;
  l.batch_size = 0;
  l.max_attempts = attempts;
  l.backoff_base = milliseconds(500);
  l.backoff_cap = milliseconds(5000);
  return l;
}

std::string_view refuse(std::string_view target) {
  if (!target.starts_with('/')) return "it does not begin with '/'";
  for (char c : target) {
    auto const u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u >= 0x7f) return "it contains blanks, control or non-ASCII characters (percent-encode them)";
    if (c == '#' || c == '\\') return "it contains '#' or '\\'";
  }
  auto const path = base::lower(target.substr(0, target.find('?')));
  if (path.find("..") != std::string::npos || path.find("%2e") != std::string::npos) return "it contains '..'";
  return {};
}

std::string endpoint_of(std::string_view target) {
  // What stands behind these words is a name, whatever it looks like.
  static constexpr std::pair<std::string_view, std::string_view> named[] = {
      {"nodes", "{node}"},     {"qemu", "{vmid}"},     {"lxc", "{vmid}"},       {"storage", "{storage}"},
      {"content", "{volume}"}, {"pools", "{pool}"},    {"users", "{user}"},     {"groups", "{group}"},
      {"roles", "{role}"},     {"domains", "{realm}"}, {"token", "{token}"},    {"snapshot", "{snapshot}"},
      {"tasks", "{task}"},     {"backup", "{id}"},     {"replication", "{id}"}, {"resources", "{id}"},
      {"zones", "{zone}"},     {"vnets", "{vnet}"},    {"subnets", "{subnet}"}, {"network", "{interface}"},
      {"ipset", "{name}"},     {"aliases", "{name}"},  {"rules", "{id}"},       {"realms", "{realm}"}};
  constexpr std::size_t deepest = 8, longest_word = 24;
  target = target.substr(0, target.find('?'));
  std::string out;
  std::string_view before;
  for (std::size_t depth = 0; !target.empty();) {
    auto const end = std::min(target.find('/'), target.size());
    auto const part = target.substr(0, end);
    target.remove_prefix(std::min(end + 1, target.size()));
    if (part.empty()) continue;
    if (++depth > deepest) return out + "/{…}";
    auto const name =
        std::find_if(std::begin(named), std::end(named), [&](auto const& n) { return n.first == before; });
    bool const word =
        part.size() <= longest_word && part.find_first_not_of("abcdefghijklmnopqrstuvwxyz-") == std::string_view::npos;
    if (!out.empty()) out += '/';
    out += name != std::end(named) ? name->second : word ? part : "{…}";
    before = name != std::end(named) ? std::string_view() : part;
  }
  return out;
}

std::string hide(std::string text, std::vector<std::string_view> const& secrets) {
  for (auto const plain : secrets) {
    if (plain.size() < 5) continue;  // it would tear words apart
    for (auto const& form : {std::string(plain), base::url_encode(plain)})
      for (auto at = text.find(form); at != std::string::npos; at = text.find(form, at + 3))
        text.replace(at, form.size(), "***");
  }
  return text;
}

}  // namespace weir::source
