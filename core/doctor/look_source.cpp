#include <algorithm>
#include <boost/asio/io_context.hpp>

#include "core/doctor/answers.hpp"
#include "core/doctor/look.hpp"
#include "core/http/io_thread.hpp"
#include "core/source/source.hpp"

namespace weir::doctor {
namespace {

using base::error_code;
using std::chrono::system_clock;

constexpr std::size_t most_nodes = 32, most_lists = 64;  // asked one by one

std::string address_of(std::string url, std::string_view type) {
  constexpr std::string_view api = "/api2/json";
  while (url.ends_with('/')) url.pop_back();
  if (type == "proxmox" && url.ends_with(api)) url.resize(url.size() - api.size());
  return url;
}

// One request without credentials: the certificate and the clock show in any answer, also in a 401.
void knock(config::source const& settings, address_facts& into) {
  http::io_thread io;
  throttle::limits once;
  once.requests_per_second = 0;
  once.batch_size = 0;
  once.max_attempts = 1;
  http::client client(io.loop(), http::make_curl_transport(io.loop(), settings.tls, 1), once, settings.name);
  http::call c;
  c.impatient = true;
  c.request.url = into.connection.url + (settings.type == "proxmox" ? "/api2/json/version" : settings.check);
  c.request.timeout = settings.request_timeout;
  c.request.connect_timeout = settings.connect_timeout;
  auto const got = client.send_and_wait(std::move(c));
  into.connection.certificate = got.reply.certificate;
  if (auto const date = throttle::parse_http_date(got.reply.header("date")))
    into.connection.ahead = *date - std::chrono::floor<seconds>(system_clock::now()).time_since_epoch();
}

class look {
 public:
  look(config::source const& settings, bool backups_wanted, std::atomic<bool> const& stop)
      : settings_(settings), stop_(stop) {
    facts_.name = settings.name;
    facts_.type = settings.type;
    facts_.with_token = !settings.token.empty();
    facts_.who = facts_.with_token ? settings.token_id : settings.username;
    facts_.backups_wanted = backups_wanted;
  }

  source_facts go() {
    addresses();
    if (stop_ || std::all_of(facts_.addresses.begin(), facts_.addresses.end(), [](auto const& a) { return !!a.error; }))
      return std::move(facts_);
    source_ = source::make_source(io_.loop(), settings_);
    if (auto version = source_->check())
      facts_.version = *version;
    else
      facts_.error = version.error();
    if (!facts_.error && facts_.type == "proxmox" && !stop_) proxmox();
    source_->stop();
    return std::move(facts_);
  }

 private:
  void addresses() {
    bool refused = false;
    for (auto const& url : settings_.urls) {
      if (stop_) return;
      auto& a = facts_.addresses.emplace_back();
      a.connection.url = address_of(url, settings_.type);
      a.connection.pinned = !settings_.tls.fingerprint.empty();
      a.connection.verified = settings_.tls.verify || a.connection.pinned;
      knock(settings_, a);
      if (refused) continue;  // what one refuses the others do as well: nobody shall be locked out by asking again
      auto one = settings_;
      one.urls = {url};
      auto const only = source::make_source(io_.loop(), one);
      if (auto version = only->check(); !version) {
        a.error = version.error();
        refused = version.error().code == error_code::credentials;
      }
      only->stop();
    }
    // They are all of one cluster: the refusal is that of the first.
    if (refused)
      for (auto& a : facts_.addresses)
        if (!a.error) a.error = facts_.addresses.front().error;
  }

  std::optional<std::string> get(std::string const& target) {
    if (stop_) return {};
    auto f = source_->fetch_and_wait(target, "doctor");
    if (f.ok()) return std::move(f.body);
    facts_.unread.push_back(f.error);
    return {};
  }

  void proxmox() {
    if (auto const body = get("/access/permissions")) facts_.privileges = read_privileges(*body);
    if (auto const body = get("/cluster/status")) read_cluster(*body, facts_);
    if (auto const body = get("/cluster/resources")) read_resources(*body, facts_);
    if (auto const body = get("/storage")) read_storages(*body, facts_);
    std::size_t asked = 0;
    for (auto& n : facts_.nodes) {
      if (!n.online || asked++ == most_nodes) continue;
      auto const before = system_clock::now();
      auto const body = get("/nodes/" + n.name + "/time");
      if (!body) break;  // the others would refuse it, too
      auto const middle = before + (system_clock::now() - before) / 2;
      if (auto const t = read_time(*body))
        n.ahead = seconds(*t) - std::chrono::floor<seconds>(middle).time_since_epoch();
    }
    if (facts_.backups_wanted) count_backups();
  }

  void count_backups() {
    std::size_t asked = 0;
    for (auto& s : facts_.storages) {
      if (!s.backups || s.disabled || s.on.empty()) continue;
      // A shared storage shows the same on every node.
      auto const nodes = s.shared ? std::vector<std::string>{s.on.front()} : s.on;
      std::size_t sum = 0;
      bool whole = true;
      for (auto const& node : nodes) {
        if (asked++ == most_lists) return;
        auto const body = get("/nodes/" + node + "/storage/" + s.name + "/content?content=backup");
        auto const count = body ? read_backup_count(*body) : std::nullopt;
        sum += count.value_or(0);
        whole = whole && count;
      }
      if (whole) s.backup_count = sum;
    }
  }

  config::source const& settings_;
  std::atomic<bool> const& stop_;
  http::io_thread io_;
  std::unique_ptr<source::source> source_;
  source_facts facts_;
};

}  // namespace

source_facts look_at_source(config::source const& settings, bool backups_wanted, std::atomic<bool> const& stop) {
  return look(settings, backups_wanted, stop).go();
}

}  // namespace weir::doctor
