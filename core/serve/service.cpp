#include "core/serve/service.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/log.hpp"

namespace weir::serve {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// The main loop comes by four times a second, but a reload may look at plugins for a while.
constexpr auto longest_silence = 3min;
// A run tells of itself four times a second once it is connected; before that it may wait for servers that do not
// answer.
constexpr auto longest_quiet = 3min, longest_connect = 30min;
constexpr auto longest_lag = 1s;
constexpr std::uintmax_t least_space = 1 << 20;

std::string seconds_text(steady::duration d) {
  return fmt::format("{} s", std::chrono::duration_cast<std::chrono::seconds>(d).count());
}

check journal_check(std::filesystem::path const& dir) {
  check c{"journal", true, dir.string(), "can be written", ""};
  struct statvfs about {};
  std::error_code ignored;
  auto const file = dir / "journal.db";
  bool const there = std::filesystem::exists(file, ignored);
  if (::access(dir.c_str(), W_OK | X_OK) != 0)
    c.ok = false, c.detail = "the state directory cannot be written";
  else if (there && ::access(file.c_str(), W_OK) != 0)
    c.ok = false, c.detail = "journal.db cannot be written";
  else if (::statvfs(dir.c_str(), &about) == 0 && about.f_bavail * about.f_frsize < least_space)
    c.ok = false, c.detail = "the disk is full";
  return c;
}

}  // namespace

std::optional<std::string> unwell(pulse const& p, steady now) {
  if (p.loop_silent > longest_silence) return "the main loop has been silent for " + seconds_text(p.loop_silent);
  if (!p.run.running) return {};
  auto const quiet = now - p.run.heard;
  if (quiet > (p.run.connected ? steady::duration(longest_quiet) : steady::duration(longest_connect)))
    return "the run under way has been silent for " + seconds_text(quiet);
  return {};
}

std::vector<check> readiness(state::health const& how, steady now, milliseconds unready_after) {
  std::vector<check> out;
  check breaker{"breaker", true, "closed", seconds_text(unready_after), ""};
  if (how.breaker_opened) {
    auto const open = now - *how.breaker_opened;
    breaker.value = "open for " + seconds_text(open);
    breaker.ok = open <= unready_after;
    if (!breaker.ok) breaker.detail = "NetBox has been failing for longer than serve.unready_after";
  }
  out.push_back(std::move(breaker));
  check netbox{"netbox", how.reachable, how.reachable ? "reachable" : "not reachable", "at the last run", ""};
  if (!how.asked)
    netbox.value = "not asked yet", netbox.detail = "no run has ended yet";
  else
    netbox.detail = "run " + how.run;
  out.push_back(std::move(netbox));
  return out;
}

service::service(service_settings settings, service_hooks hooks, state& now, notifier systemd)
    : now_(now),
      systemd_(std::move(systemd)),
      settings_(std::move(settings)),
      beaten_(steady_clock::now().time_since_epoch().count()) {
  backend about;
  about.now = &now_;
  about.schedules = std::move(hooks.schedules);
  about.start = std::move(hooks.start);
  about.cancel = std::move(hooks.cancel);
  about.metrics = std::move(hooks.metrics);
  about.live = [this] { return live(); };
  about.ready = [this] { return ready(); };
  api_ = std::make_unique<api>(std::move(about), settings_.who);
}

service::~service() { stop(); }

base::result<std::unique_ptr<service>> service::open(server_options options, service_settings settings,
                                                     service_hooks hooks, state& now, notifier systemd) {
  std::unique_ptr<service> made(new service(std::move(settings), std::move(hooks), now, std::move(systemd)));
  auto& s = *made;
  s.host_ = options.listen.host;
  auto server = http_server::open(std::move(options), [&s](request const& r) { return s.api_->answer(r); });
  if (!server) return server.error();
  s.server_ = std::move(*server);
  s.server_->every(1s, [&s] { s.each_second(); });
  s.server_->every(500ms, [&s] { s.each_half_second(); });
  if (auto const wait = s.systemd_.watchdog())
    s.server_->every(std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(*wait) / 3),
                     [&s] { s.watch(); });
  return made;
}

std::string service::url() const { return "http://" + authority(host_, server_->port()); }

void service::change(service_settings next) {
  api_->change(next.who);
  std::scoped_lock lock(mutex_);
  settings_ = std::move(next);
}

void service::beat() { beaten_ = steady_clock::now().time_since_epoch().count(); }

void service::tell(std::string_view systemd_state) { systemd_.send(systemd_state); }

void service::run_changed() {
  if (server_->listeners() == 0) return;
  auto const running = now_.running();
  auto const past = running ? std::vector<past_run>() : now_.past();
  if (running)
    server_->publish(event_text("run", run_json(row_of(*running, moment::now()))));
  else if (!past.empty())
    server_->publish(event_text("run", run_json(row_of(past.front()))));
}

void service::stop() {
  if (server_) server_->stop();
}

// --- on the sockets' thread

void service::each_second() {
  auto const sample = now_.sample(moment::now());
  if (++seconds_ % 15 == 0) server_->publish(": still here\n\n");
  if (server_->listeners() > 0) server_->publish(event_text("gate", sample_json(sample)));
  if (!systemd_.active()) return;
  auto line = now_.status_line(moment::now());
  if (line == said_) return;
  systemd_.send("STATUS=" + line);
  said_ = std::move(line);
}

void service::each_half_second() {
  if (server_->listeners() == 0) return;
  auto const version = now_.version();
  if (version == shown_) return;
  shown_ = version;
  server_->publish(event_text("status", api_->status()));
}

void service::watch() {
  auto const silent = steady_clock::now().time_since_epoch() - steady::duration(beaten_.load());
  auto const wrong = unwell({std::chrono::duration_cast<milliseconds>(silent), now_.how()}, steady_clock::now());
  if (!wrong) {
    systemd_.send("WATCHDOG=1");
  } else if (!std::exchange(complained_, true)) {
    base::log::error("systemd's watchdog is no longer told that all is well: " + *wrong);
  }
}

// --- checks

std::vector<check> service::live() const {
  auto const lag = server_->lag();
  return {{"loop", lag < longest_lag, fmt::format("{} ms", lag.count()), "1 s",
           lag < longest_lag ? "" : "the thread of the sockets is late"}};
}

std::vector<check> service::ready() const {
  auto const settings = [&] {
    std::scoped_lock lock(mutex_);
    return settings_;
  }();
  auto const now = steady_clock::now();
  auto const how = now_.how();
  auto const seen = now_.look(moment::now(), {});
  std::vector<check> out;
  out.push_back({"configuration", true, seen.config_file, "loaded",
                 seen.config_error ? "the last reload was refused, see /status; the one before it holds" : ""});
  out.push_back(journal_check(settings.state_dir));
  for (auto& c : readiness(how, now, settings.unready_after)) out.push_back(std::move(c));
  return out;
}

}  // namespace weir::serve
