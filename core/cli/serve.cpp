#include "core/cli/serve.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/run_once.hpp"
#include "core/cli/setup.hpp"
#include "core/metrics/recorder.hpp"
#include "core/serve/scheduler.hpp"
#include "core/serve/service.hpp"
#include "core/store/journal.hpp"

namespace weir::cli {
namespace {

using namespace std::chrono_literals;
using serve::moment;

constexpr auto round_time = 250ms;  // of the main loop, at most

// --- signals: noted here, acted upon by the main loop

std::atomic<bool> stop_asked{false}, reload_asked{false}, progress_asked{false};
int wake_fd = -1;

void wake() {
  std::uint64_t const one = 1;
  [[maybe_unused]] auto const n = ::write(wake_fd, &one, sizeof one);
}

extern "C" void on_stop(int) {
  if (stop_asked.exchange(true)) _exit(exit_code::interrupted);
  wake();
}
extern "C" void on_reload(int) {
  reload_asked = true;
  wake();
}
extern "C" void on_progress(int) {
  progress_asked = true;
  wake();
}

void catch_service_signals() {
  auto const on = [](int number, void (*what)(int)) {
    struct sigaction action {};
    action.sa_handler = what;
    action.sa_flags = SA_RESTART;
    sigaction(number, &action, nullptr);
  };
  on(SIGTERM, on_stop);
  on(SIGINT, on_stop);
  on(SIGHUP, on_reload);
  on(SIGUSR1, on_progress);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

// --- the configuration

struct loaded {
  std::shared_ptr<setup const> ready;  // absent: `code` and `complaint` say why
  config::listen_address listen;
  int code = exit_code::done;
  std::string complaint;
};

base::result<void> check_names(setup const& ready, std::vector<std::string> const& sources,
                               std::vector<std::string> const& stages, std::string const& where) {
  std::vector<std::string> known_sources, known_stages;
  for (auto const& s : ready.settings.sources)
    if (ready.options.sources.empty() || ready.options.sources.contains(s.name)) known_sources.push_back(s.name);
  for (auto const& s : ready.options.stages) known_stages.push_back(s.id);
  auto const check = [&](std::vector<std::string> const& wanted, std::vector<std::string> const& known,
                         std::string const& what) -> base::result<void> {
    for (auto const& name : wanted) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      auto const near = base::nearest(name, known);
      return base::fail(base::error_code::data, where + "unknown " + what + " '" + base::shorten(name, 60) + "'",
                        (near ? "did you mean '" + *near + "'? " : "") + "known: " + base::join(known));
    }
    return {};
  };
  if (auto ok = check(sources, known_sources, "source"); !ok) return ok;
  return check(stages, known_stages, "stage");
}

loaded load(arguments const& args) {
  loaded out;
  auto ready = std::make_shared<setup>();
  std::vector<config::diagnostic> said;
  auto const refuse = [&](base::error const& e) {
    said.push_back({});
    said.back().summary = e.what;
    said.back().detail = e.hint;
    out.code = exit_code::of(e.code);
  };
  if (auto const code = prepare(args, *ready, said)) {
    out.code = *code;
  } else if (auto const listen = config::parse_listen(ready->settings.serve.listen); !listen) {
    refuse(listen.error());
  } else if (auto const schedules = serve::scheduler::make(ready->settings.serve.schedules, moment::now(), 0);
             !schedules) {
    refuse(schedules.error());
  } else {
    out.listen = *listen;
    out.ready = std::move(ready);
  }
  for (auto const& d : said) {
    print(d);
    if (d.severity == config::severity::error) out.complaint += config::render(d) + "\n";
  }
  while (out.complaint.ends_with('\n')) out.complaint.pop_back();
  return out;
}

serve::service_settings settings_of(setup const& ready, config::listen_address const& listen) {
  serve::service_settings out;
  out.who.token = ready.settings.serve.token;
  out.who.loopback = listen.loopback;
  out.who.journal = ready.settings.state_dir / "journal.db";
  out.who.netbox_url = ready.settings.netbox.url;
  out.state_dir = ready.settings.state_dir;
  out.unready_after = ready.settings.serve.unready_after;
  return out;
}

// --- one run at a time

struct wanted_run {
  run_request request;
  std::vector<std::string> sources, stages;
  std::string trigger;  // "schedule NAME", "http"
};

std::vector<serve::job_view> jobs_of(setup const& ready) {
  std::vector<serve::job_view> out;
  for (auto const& [source, stage] : engine::stages_by_source(ready.settings, ready.options)) {
    serve::job_view j;
    j.source = source;
    j.stage = stage->id;
    j.title = stage->title;
    out.push_back(std::move(j));
  }
  return out;
}

class runs {
 public:
  runs(serve::state& state, metrics::recorder& recorder) : state_(state), recorder_(recorder) {}
  ~runs() {
    if (worker_.joinable()) worker_.join();
  }

  void use(std::shared_ptr<setup const> ready) {
    std::scoped_lock lock(mutex_);
    ready_ = std::move(ready);
  }

  // Thread-safe.
  serve::start_outcome start(wanted_run const& wanted) {
    std::scoped_lock lock(mutex_);
    serve::start_outcome out;
    if (closing_) {
      out.error = base::fail(base::error_code::stopped, "the service is stopping");
      return out;
    }
    if (under_way_) {
      state_.refused();
      out.error = base::fail(base::error_code::locked, "run " + id_ + " is under way", "wait for it, or cancel it");
      out.running = id_;
      return out;
    }
    if (auto ok = check_names(*ready_, wanted.sources, wanted.stages, ""); !ok) {
      out.error = ok.error();
      return out;
    }
    if (worker_.joinable()) worker_.join();  // it has ended
    auto ready = std::make_shared<setup>(*ready_);
    auto& options = ready->options;
    options.run_id = engine::new_run_id();
    if (!wanted.sources.empty()) options.sources = {wanted.sources.begin(), wanted.sources.end()};
    if (!wanted.stages.empty())
      std::erase_if(options.stages, [&](auto const& s) {
        return std::find(wanted.stages.begin(), wanted.stages.end(), s.id) == wanted.stages.end();
      });
    id_ = out.id = options.run_id;
    under_way_ = begun_ = true;
    ended_ = false;
    stop_ = false;

    auto const now = moment::now();
    serve::run_view view;
    view.id = id_;
    view.command = name(wanted.request.what);
    view.trigger = wanted.trigger;
    view.profile = ready->settings.profile.name;
    view.started = now.wall;
    view.since = now.steady;
    if (wanted.request.what != run_request::command::resume) view.jobs = jobs_of(*ready);
    state_.begin(std::move(view));
    worker_ = std::thread([this, ready, request = wanted.request] { work(*ready, request); });
    wake();
    return out;
  }

  serve::cancel_outcome cancel(std::string const& id) {
    {
      std::scoped_lock lock(mutex_);
      if (under_way_ && id == id_) {
        stop_ = true;
        state_.cancelling();
        return serve::cancel_outcome::asked;
      }
    }
    for (auto const& p : state_.past())
      if (p.id == id) return serve::cancel_outcome::not_running;
    auto const file = [&] {
      std::scoped_lock lock(mutex_);
      return ready_->settings.state_dir / "journal.db";
    }();
    store::journal_options reading;
    reading.read_only = true;
    if (auto journal = store::journal::open(file, reading))
      if (auto const found = (*journal)->find_run(id); found && found->id == id)
        return serve::cancel_outcome::not_running;
    return serve::cancel_outcome::unknown;
  }

  // No run from now on; the one under way is asked to stop.
  void close() {
    std::scoped_lock lock(mutex_);
    closing_ = true;
    if (!under_way_) return;
    stop_ = true;
    state_.cancelling();
  }

  bool busy() const {
    std::scoped_lock lock(mutex_);
    return under_way_;
  }

  // The main loop's: true once after each run that has begun.
  bool take_begun() {
    std::scoped_lock lock(mutex_);
    return std::exchange(begun_, false);
  }
  // The same for each that has ended.
  bool settle() {
    run_outcome outcome;
    {
      std::scoped_lock lock(mutex_);
      if (!under_way_ || !ended_) return false;
      outcome = std::move(outcome_);
      outcome_ = {};
    }
    worker_.join();
    state_.end(outcome.exit_code, outcome.report, outcome.error, outcome.nothing, moment::now());
    std::scoped_lock lock(mutex_);
    under_way_ = false;
    return true;
  }

 private:
  void work(setup& ready, run_request const& request) {
    run_outcome outcome;
    try {
      engine::observers watching({&recorder_, &state_});
      outcome = run_once(request, ready, watching, stop_);
      if (outcome.error && !outcome.report) recorder_.did_not_begin(name(request.what), outcome.exit_code);
    } catch (std::exception const& e) {
      outcome.exit_code = exit_code::failed;
      outcome.error = base::fail(std::string("weir has a fault, please report it: ") + e.what());
    }
    {
      std::scoped_lock lock(mutex_);
      outcome_ = std::move(outcome);
      ended_ = true;
    }
    wake();
  }

  serve::state& state_;
  metrics::recorder& recorder_;
  mutable std::mutex mutex_;
  std::shared_ptr<setup const> ready_;  // each run has a copy of its own
  std::thread worker_;
  std::string id_;
  std::atomic<bool> stop_{false};
  bool under_way_ = false, begun_ = false, ended_ = false, closing_ = false;
  run_outcome outcome_;
};

// --- the service

class daemon {
 public:
  explicit daemon(arguments const& args) : args_(args), state_(moment::now()), runs_(state_, recorder_) {}
  int go();

 private:
  void reload();
  void round();
  void write_log();
  void log_progress();

  arguments const& args_;
  metrics::recorder recorder_;
  serve::state state_;
  runs runs_;
  std::mutex schedules_mutex_;
  std::optional<serve::scheduler> schedules_;
  std::unique_ptr<serve::service> service_;
  config::listen_address listen_;
};

void daemon::write_log() {
  for (auto const& line : state_.take_log()) {
    std::vector<base::log::field> fields;
    auto const add = [&](std::string_view key, std::string const& value) {
      if (!value.empty()) fields.push_back({key, value});
    };
    add("run", line.run);
    add("source", line.source);
    add("stage", line.stage);
    base::log::write(line.level, line.text, fields);
  }
}

void daemon::log_progress() {
  auto const run = state_.running();
  if (!run) return base::log::always("idle: " + state_.status_line(moment::now()));
  base::log::always(fmt::format("run {}: {}, {}", run->id, run->command, run->trigger));
  for (auto const& j : run->jobs)
    base::log::always(fmt::format("{}{}{}: {}{}{}", j.source, j.source.empty() ? "" : " ", j.stage, j.state,
                                  j.total ? fmt::format(" {}/{}", j.done, j.total) : "",
                                  j.batches ? fmt::format(", batch {} of {}", j.batch, j.batches) : ""));
}

void daemon::reload() {
  auto const since =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch());
  service_->tell(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", since.count()));
  auto next = load(args_);
  if (!next.ready) {
    base::log::error("the configuration was not reloaded: it is invalid, the one before it holds");
    state_.not_configured(std::move(next.complaint), std::chrono::system_clock::now());
  } else {
    if (next.listen.host != listen_.host || next.listen.port != listen_.port)
      base::log::warning("serve.listen has changed: that takes a restart");
    // Where it listens decides, not where it would.
    auto settings = settings_of(*next.ready, listen_);
    if (!listen_.loopback && settings.who.token.empty()) {
      std::string const why = "serve.token is gone, and the service listens where others can reach it";
      base::log::error("the configuration was not reloaded: " + why);
      state_.not_configured("error: " + why, std::chrono::system_clock::now());
    } else {
      {
        std::scoped_lock lock(schedules_mutex_);
        [[maybe_unused]] auto const ok = schedules_->replace(next.ready->settings.serve.schedules, moment::now());
      }
      service_->change(std::move(settings));
      state_.configured(next.ready->settings, std::chrono::system_clock::now());
      runs_.use(next.ready);
      base::log::info("configuration reloaded from " + next.ready->settings.file.string());
    }
  }
  service_->tell("READY=1");
}

void daemon::round() {
  if (runs_.take_begun()) service_->run_changed();
  if (runs_.settle()) service_->run_changed();
  write_log();
  if (progress_asked.exchange(false)) log_progress();
  if (reload_asked.exchange(false)) reload();

  std::optional<config::schedule> next;
  {
    std::scoped_lock lock(schedules_mutex_);
    auto const due = schedules_->due(moment::now(), runs_.busy());
    for (auto const i : due.refused) {
      state_.refused();
      base::log::warning("schedule " + schedules_->at(i).name +
                         ": its start was refused, a run is under way or begins");
    }
    if (due.start) next = schedules_->at(*due.start);
  }
  if (!next) return;
  auto const& s = *next;
  wanted_run wanted;
  wanted.request.what = s.plan_only ? run_request::command::plan : run_request::command::sync;
  wanted.request.max_duration = s.max_duration;
  wanted.sources = s.sources;
  wanted.stages = s.stages;
  wanted.trigger = "schedule " + s.name;
  auto const started = runs_.start(wanted);
  if (started.error && started.error->code != base::error_code::locked) {
    state_.problem({std::chrono::system_clock::now(), "", "", "", "error",
                    "schedule " + s.name + ": " + started.error->what, started.error->hint});
    base::log::error("schedule " + s.name + ": " + started.error->what);
  }
}

int daemon::go() {
  auto first = load(args_);
  if (!first.ready) return first.code;
  auto const& settings = first.ready->settings;
  listen_ = first.listen;
  // A state directory that cannot be used is known now, and not at the first run.
  if (auto journal = store::journal::open(settings.state_dir / "journal.db"); !journal) {
    complain(journal.error());
    return exit_code::of(journal.error().code);
  }
  auto made = serve::scheduler::make(settings.serve.schedules, moment::now(), std::random_device{}());
  if (!made) {
    complain(made.error());
    return exit_code::of(made.error().code);
  }
  schedules_.emplace(std::move(*made));
  state_.configured(settings, std::chrono::system_clock::now());
  runs_.use(first.ready);

  wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  catch_service_signals();

  serve::service_hooks hooks;
  hooks.schedules = [this] {
    std::scoped_lock lock(schedules_mutex_);
    return schedules_->view(moment::now());
  };
  hooks.start = [this](serve::start_request const& r, std::string const& trigger) {
    wanted_run wanted;
    wanted.request.what = r.command == "plan"     ? run_request::command::plan
                          : r.command == "resume" ? run_request::command::resume
                                                  : run_request::command::sync;
    wanted.request.resumes = r.run;
    wanted.sources = r.sources;
    wanted.stages = r.stages;
    wanted.trigger = trigger;
    return runs_.start(wanted);
  };
  hooks.cancel = [this](std::string const& id) { return runs_.cancel(id); };
  hooks.metrics = [this] { return recorder_.text(); };

  serve::server_options options;
  options.listen = listen_;
  auto service = serve::service::open(options, settings_of(*first.ready, listen_), std::move(hooks), state_,
                                      serve::notifier::from_environment());
  if (!service) {
    complain(service.error());
    return exit_code::of(service.error().code);
  }
  service_ = std::move(*service);
  std::cout << "listening on " << service_->url() << std::endl;
  service_->tell("READY=1");

  pollfd wait{wake_fd, POLLIN, 0};
  while (!stop_asked) {
    service_->beat();
    round();
    if (stop_asked) break;
    ::poll(&wait, 1, static_cast<int>(round_time.count()));
    std::uint64_t taken = 0;
    [[maybe_unused]] auto const n = ::read(wake_fd, &taken, sizeof taken);
  }
  service_->tell("STOPPING=1");
  state_.stopping();
  runs_.close();
  if (runs_.busy()) base::log::info("stopping: what is in flight is waited for (once more to stop at once)");
  while (runs_.busy()) {
    service_->beat();
    if (runs_.settle()) service_->run_changed();
    write_log();
    if (runs_.busy()) ::poll(&wait, 1, static_cast<int>(round_time.count()));
    std::uint64_t taken = 0;
    [[maybe_unused]] auto const n = ::read(wake_fd, &taken, sizeof taken);
  }
  write_log();
  service_->stop();
  base::log::info("stopped");
  return exit_code::done;
}

}  // namespace

int serve(arguments const& args) {
  configure_log(args);
  return daemon(args).go();
}

}  // namespace weir::cli
