#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <mutex>

#include "core/base/text.hpp"
#include "core/doctor/answers.hpp"
#include "core/doctor/look.hpp"
#include "core/http/io_thread.hpp"
#include "core/http/limits.hpp"
#include "core/netbox/client.hpp"

namespace weir::doctor {
namespace {

using base::error_code;
using throttle::method;
using throttle::outcome;

constexpr std::size_t sizes[] = {1, 50, 250, 1000};
constexpr std::size_t repeats = 3;
constexpr std::size_t status_attempts = 5;  // where the database refuses some
constexpr std::size_t enough_errors = 8;    // then it is known, and asking on would be no kindness

// What went over the wire. On the loop's thread, but for the reading.
struct wire_log {
  std::mutex mutex;
  std::size_t requests = 0, in_flight = 0, most_in_flight = 0;
  std::optional<http::certificate> certificate;
  std::optional<seconds> ahead;
  std::vector<double> database_error_ms;  // of each request that found no database
  outcome last = outcome::ok;
};

class watched_transport final : public http::transport {
 public:
  watched_transport(std::unique_ptr<http::transport> wire, std::shared_ptr<wire_log> log)
      : wire_(std::move(wire)), log_(std::move(log)) {}
  void send(http::request const& what, std::function<void(http::reply)> done) override {
    {
      std::lock_guard const lock(log_->mutex);
      ++log_->requests;
      log_->most_in_flight = std::max(log_->most_in_flight, ++log_->in_flight);
    }
    wire_->send(what, [log = log_, done = std::move(done)](http::reply r) {
      {
        std::lock_guard const lock(log->mutex);
        --log->in_flight;
        if (r.certificate) log->certificate = r.certificate;
        if (auto const date = throttle::parse_http_date(r.header("date")); date && !log->ahead)
          log->ahead = *date - std::chrono::floor<seconds>(std::chrono::system_clock::now()).time_since_epoch();
      }
      done(std::move(r));
    });
  }
  void cancel_all() override { wire_->cancel_all(); }

 private:
  std::unique_ptr<http::transport> wire_;
  std::shared_ptr<wire_log> log_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

class look {
 public:
  look(config::configuration const& settings, std::vector<plugin::loaded_stage> const& stages,
       std::string const& learnt, std::atomic<bool> const& stop)
      : settings_(settings), stop_(stop), log_(std::make_shared<wire_log>()) {
    auto ceilings = http::limits_of(settings.profile, throttle::control::fixed);
    ceilings.max_in_flight = 1;
    ceilings.max_attempts = 1;  // each failure is a finding
    wire_ = std::make_unique<http::client>(
        io_.loop(),
        std::make_unique<watched_transport>(http::make_curl_transport(io_.loop(), settings.netbox.tls, 1), log_),
        ceilings, "netbox");
    if (!learnt.empty()) wire_->restore(learnt);
    wire_->drain_when([this] { return stop_.load(); });
    wire_->on_attempt([log = log_](http::attempt_seen const& a) {
      std::lock_guard const lock(log->mutex);
      log->last = a.outcome;
      if (a.outcome != outcome::overload || a.status != 500) return;
      log->database_error_ms.push_back(static_cast<double>(a.elapsed.count()));
    });
    netbox_ = std::make_unique<netbox::client>(*wire_, settings.netbox, settings.profile);
    facts_.connection.url = settings.netbox.url;
    facts_.connection.pinned = !settings.netbox.tls.fingerprint.empty();
    facts_.connection.verified = settings.netbox.tls.verify || facts_.connection.pinned;
    list_kinds(stages);
  }

  netbox_facts go() {
    if (status()) {
      who_am_i();
      rights();
      measure();
      change_log();
    }
    std::lock_guard const lock(log_->mutex);
    facts_.connection.certificate = log_->certificate;
    facts_.connection.ahead = log_->ahead;
    facts_.requests = log_->requests;
    facts_.most_in_flight = log_->most_in_flight;
    facts_.database_error_ms = median(log_->database_error_ms);
    facts_.database_errors = log_->database_error_ms.size();
    return std::move(facts_);
  }

  // What earlier runs learnt about writes, per object.
  std::map<std::string, double> learnt() const {
    std::map<std::string, double> out;
    constexpr std::size_t list = 50;
    for (auto const& r : facts_.rights)
      if (auto const ms = wire_->usual_latency(method::post, r.path, list))
        out[r.kind] = static_cast<double>(ms->count()) / list;
    return out;
  }

 private:
  void list_kinds(std::vector<plugin::loaded_stage> const& stages) {
    for (auto const& stage : stages)
      if (auto own = netbox::parse_kinds(stage.kinds_json))
        for (auto& k : *own) static_cast<void>(kinds_.add(std::move(k), stage.id));  // a run says what is wrong with it
    for (auto const& stage : stages)
      for (auto const& name : netbox::kind_names(stage.kinds_json)) {
        auto const* k = kinds_.find(name);
        if (k == nullptr) continue;
        auto const found =
            std::find_if(facts_.rights.begin(), facts_.rights.end(), [&](auto const& r) { return r.kind == k->name; });
        auto& r = found == facts_.rights.end() ? facts_.rights.emplace_back() : *found;
        r.kind = k->name;
        r.title = k->title;
        r.path = k->path;
        r.plugin = k->requires_plugin;
        r.needs_delete = k->when_gone == netbox::orphans::erase;
        r.stages.push_back(stage.id);
      }
  }

  // Notes what went wrong; true: the answer is there.
  bool note(http::answer const& a) {
    if (a.outcome == outcome::ok) return true;
    if (a.outcome == outcome::overload) {
      facts_.database_words = netbox::parse_blame(a.reply.body).detail;
    } else if (a.outcome != outcome::data && a.outcome != outcome::credentials && a.outcome != outcome::cancelled &&
               a.outcome != outcome::stale) {
      ++facts_.faults;
    }
    return false;
  }
  bool go_on() const {
    std::lock_guard const lock(log_->mutex);
    return !stop_ && log_->database_error_ms.size() < enough_errors && facts_.faults < enough_errors;
  }

  static bool once_more(outcome o) { return o == outcome::overload || o == outcome::unknown || o == outcome::stale; }
  bool was_cut() const {
    std::lock_guard const lock(log_->mutex);
    return log_->last == outcome::unknown || log_->last == outcome::stale;
  }

  http::answer get(std::string const& target) {
    auto a = netbox_->raw(method::get, target, {}, "doctor");
    // A poisoned pool lets a share through, and a connection may be cut once: one more chance.
    if (!note(a) && once_more(a.outcome) && go_on()) {
      a = netbox_->raw(method::get, target, {}, "doctor");
      note(a);
    }
    return a;
  }

  bool status() {
    for (std::size_t n = 0; n < status_attempts && !stop_; ++n) {
      auto info = netbox_->status();
      if (!info) {
        facts_.error = info.error();
        if (n == 0 && was_cut()) continue;
        // Its words are for people; what the database said is looked for in the answer itself.
        if (info.error().what.find("OperationalError") == std::string::npos) return false;
        note(netbox_->raw(method::get, "/status/", {}, "doctor"));
        continue;
      }
      facts_.error.reset();
      facts_.version = info->version;
      facts_.major = info->major;
      facts_.minor = info->minor;
      facts_.plugins = info->plugins;
      facts_.rq_workers = info->rq_workers;
      for (auto& r : facts_.rights) r.lacks_plugin = !r.plugin.empty() && !facts_.plugins.contains(r.plugin);
      return true;
    }
    return false;
  }

  void who_am_i() {
    auto const me = get("/authentication-check/");
    if (me.outcome != outcome::ok) {
      facts_.permissions_hidden = true;
      return;
    }
    user_ = read_user(me.reply.body);
    if (!user_) {
      facts_.permissions_hidden = true;
      return;
    }
    facts_.user = user_->name;
    // By default everybody may look at tokens of his own. v1 tokens' texts are not asked for.
    auto const tokens = get("/users/tokens/?limit=1000&fields=id,version,key,user,expires,enabled,write_enabled");
    if (tokens.outcome == outcome::ok) {
      auto const state = read_tokens(tokens.reply.body, user_->id, settings_.netbox.token.reveal());
      facts_.write_enabled = state.write_enabled;
      facts_.token_expires = state.expires;
    }
    auto const id = std::to_string(user_->id);
    auto const yes = get("/users/users/?is_superuser=true&fields=id&id=" + id);
    if (yes.outcome == outcome::credentials) {
      facts_.superuser = false;  // he may do everything
    } else if (yes.outcome == outcome::ok) {
      auto const no = get("/users/users/?is_superuser=false&fields=id&id=" + id);
      if (no.outcome == outcome::ok) facts_.superuser = read_superuser(yes.reply.body, no.reply.body, user_->id);
    }
    if (!user_->in_groups || facts_.superuser.value_or(false)) return;
    auto const groups = get("/users/groups/?limit=1000");
    facts_.permissions_hidden = groups.outcome != outcome::ok || !add_groups(groups.reply.body, me.reply.body, *user_);
  }

  bool listed(std::string const& kind, std::string_view action) const {
    if (!user_) return false;
    auto const found = user_->actions.find(kind);
    return found != user_->actions.end() &&
           std::find(found->second.begin(), found->second.end(), action) != found->second.end();
  }

  static bool counted(kind_rights const& r) {
    return r.kind == "virtualization.virtualmachine" || r.kind == "dcim.device" || r.kind == "netbox_proxbox.vmbackup";
  }

  void rights() {
    bool any_action = false, any_listed = false;
    bool const all = facts_.superuser.value_or(false) && facts_.write_enabled.value_or(false);
    for (auto& r : facts_.rights) {
      if (r.lacks_plugin || !go_on()) continue;
      if (all) {
        r.view = r.add = r.change = r.erase = true;
        any_action = true;
      } else {
        auto const a = netbox_->options("/" + r.path + "/", "doctor");
        if (note(a))
          if (auto const may = read_options(a.reply.body)) {
            r.add = may->add;
            r.change = may->change;
            any_action = any_action || may->add || may->change;
          }
        any_listed = any_listed || listed(r.kind, "add") || listed(r.kind, "change");
        if (listed(r.kind, "view")) r.view = true;
        if (listed(r.kind, "delete") || facts_.superuser.value_or(false))
          r.erase = true;
        else if (facts_.superuser && !facts_.permissions_hidden)
          r.erase = false;
      }
      if (!r.view || counted(r)) {
        auto const first = get("/" + r.path + "/?limit=1&fields=id");
        if (first.outcome == outcome::ok) {
          r.view = true;
          if (auto const p = read_page(first.reply.body)) r.count = p->count;
        } else if (first.outcome == outcome::credentials) {
          r.view = false;
        }
      }
    }
    // OPTIONS speaks of token and permissions together.
    if (any_action)
      facts_.write_enabled = true;
    else if (!facts_.write_enabled && (any_listed || facts_.superuser.value_or(false)) && go_on())
      facts_.write_enabled = false;
  }

  void measure() {
    kind_rights const* largest = nullptr;
    for (auto const& r : facts_.rights)
      if (r.view.value_or(false) && r.count && counted(r) && (largest == nullptr || *r.count > *largest->count))
        largest = &r;
    if (largest == nullptr) return;
    facts_.measured = largest->title + "s";
    auto const read = [&](std::size_t limit) -> std::optional<std::pair<page, double>> {
      // The link back, which comes with an offset, names the page size that NetBox has made of the limit.
      auto const a = get("/" + largest->path + "/?limit=" + std::to_string(limit) + "&offset=1&omit=config_context");
      if (a.outcome != outcome::ok) return {};
      auto const p = read_page(a.reply.body);
      if (!p) return {};
      if (limit == sizes[3]) facts_.page_size = p->limit;
      return std::pair(*p, static_cast<double>(a.reply.elapsed.count()));
    };
    std::size_t before = 0;
    for (auto const limit : sizes) {
      if (before > 0 && *largest->count <= before + 1) break;  // a larger one would bring the same
      before = limit;
      std::vector<double> times;
      latency l;
      l.limit = limit;
      for (std::size_t n = 0; n < repeats && go_on(); ++n)
        if (auto const got = read(limit)) {
          times.push_back(got->second);
          l.objects = got->first.objects;
        }
      if (times.empty()) break;
      l.median_ms = median(times);
      l.fastest_ms = *std::min_element(times.begin(), times.end());
      l.slowest_ms = *std::max_element(times.begin(), times.end());
      facts_.latencies.push_back(l);
    }
    if (!facts_.page_size && go_on()) static_cast<void>(read(sizes[3]));
  }

  void change_log() {
    if (!go_on()) return;
    auto const a = get("/core/object-changes/?limit=1&fields=id");
    if (a.outcome == outcome::ok)
      facts_.change_log = true;
    else if (a.outcome == outcome::credentials)
      facts_.change_log = false;
  }

  config::configuration const& settings_;
  std::atomic<bool> const& stop_;
  std::shared_ptr<wire_log> log_;
  http::io_thread io_;
  std::unique_ptr<http::client> wire_;
  std::unique_ptr<netbox::client> netbox_;
  netbox::registry kinds_;
  netbox_facts facts_;
  std::optional<user> user_;
};

}  // namespace

netbox_facts look_at_netbox(config::configuration const& settings, std::vector<plugin::loaded_stage> const& stages,
                            std::string const& learnt, std::map<std::string, double>& learnt_ms,
                            std::atomic<bool> const& stop) {
  look at(settings, stages, learnt, stop);
  learnt_ms = at.learnt();
  return at.go();
}

}  // namespace weir::doctor
