#include "core/engine/run.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <thread>

#include "core/base/text.hpp"
#include "core/engine/asked.hpp"
#include "core/engine/policy.hpp"
#include "core/engine/session.hpp"
#include "core/engine/stage_services.hpp"
#include "core/http/io_thread.hpp"
#include "core/http/limits.hpp"
#include "core/plugin/isolation.hpp"
#include "core/source/source.hpp"
#include "core/store/files.hpp"

namespace weir::engine {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

std::string_view name(job_status s) {
  switch (s) {
    case job_status::ok:
      return "ok";
    case job_status::failed:
      return "failed";
    case job_status::skipped:
      return "skipped";
    case job_status::stopped:
      return "stopped";
  }
  return "";
}

std::string_view name(progress::phase p) {
  switch (p) {
    case progress::phase::collecting:
      return "collecting";
    case progress::phase::comparing:
      return "comparing";
    case progress::phase::writing:
      return "writing";
  }
  return "";
}

std::string_view command_of(report const& r) {
  for (std::string_view const one : {"apply", "adopt", "undo"})
    if (r.command == one) return one;
  return r.dry ? "plan" : r.resumes.empty() ? "sync" : "resume";
}

planned_counts planned_by(job_report const& j) {
  planned_counts out;
  for (auto const& p : j.plans) {
    out.create += p.creates.size();
    out.update += p.updates.size();
    out.erase += p.deletes.size();
    out.unchanged += p.unchanged;
    out.deletes_refused = out.deletes_refused || p.deletes_refused;
  }
  return out;
}

std::string new_run_id() {
  std::random_device device;
  static constexpr char hex[] = "0123456789abcdef";
  std::string id;
  for (int i = 0; i < 8; ++i) id += hex[device() & 15];
  return id;
}

namespace {

std::string const no_options = "{}", netbox_name = "netbox";
constexpr std::chrono::hours references_last{24 * 7};
constexpr std::chrono::hours keep_unfinished_for{24 * 30};
constexpr std::size_t keep_runs = 200;  // of each NetBox, in the journal

milliseconds since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

struct job {
  plugin::loaded_stage const* stage = nullptr;
  stage_scope scope;
  collected what;
  base::result<void> ended = base::result<void>{};
  steady_clock::time_point started;
};

// Calls to the observer, one at a time.
class announcer {
 public:
  explicit announcer(observer& to) : to_(to) {}
  template <class... Parameters, class... Given>
  void operator()(void (observer::*what)(Parameters...), Given const&... given) {
    std::scoped_lock lock(mutex_);
    (to_.*what)(given...);
  }

 private:
  std::mutex mutex_;
  observer& to_;
};

// One run's state, in the order in which a run uses it.
class runner {
 public:
  runner(config::configuration const& settings, run_options const& options, observer& watching,
         std::atomic<bool> const& stop)
      : settings_(settings),
        options_(options),
        tell_(watching),
        stop_(stop),
        own_kinds_(std::make_shared<netbox::registry>()),
        kinds_(*own_kinds_) {
    report_.kinds = own_kinds_;
  }
  report go();

 private:
  bool connect();
  void register_kinds();
  void make_jobs();
  base::result<void> run_job(job& j);
  void collect_from(std::size_t lane);
  void handle(job& j);
  std::optional<base::error> why_stop() const;
  base::result<void> open_journal();
  base::result<void> note_jobs();
  void finish(job& j, job_report r);
  void finish(job_report r);
  void carry_out_plans();  // those that options_.plans makes
  void tell_notices();     // those that have not been told
  void tick(std::stop_token ended);
  std::optional<base::error> failed_dependency(job const& j);
  netbox::kind const* missing_plugin(job const& j) const;

  config::configuration const& settings_;
  run_options const& options_;
  announcer tell_;
  std::atomic<bool> const& stop_;
  report report_;
  std::size_t told_ = 0;  // notices
  std::shared_ptr<netbox::registry> own_kinds_;
  netbox::registry& kinds_;
  netbox::server_info server_;
  steady_clock::time_point started_ = steady_clock::now();
  std::set<std::pair<std::string, std::string>> only_;  // (source, stage) of the run to finish; empty: all

  std::unique_ptr<http::io_thread> io_;
  std::unique_ptr<http::client> wire_;
  std::unique_ptr<netbox::client> netbox_;
  std::unique_ptr<session> session_;
  std::vector<std::unique_ptr<source::source>> sources_;

  std::vector<std::vector<std::unique_ptr<job>>> lanes_;  // by source, in dependency order
  std::mutex ready_mutex_;
  std::condition_variable ready_changed_;
  std::deque<job*> ready_;
  std::set<std::pair<std::string, std::string>>
      not_done_;                                 // (source, stage): failed or skipped; the engine's thread only
  std::set<std::string> unreachable_;            // sources; written before the collecting threads start
  std::map<std::string, base::error> unusable_;  // stages; the same
};

// Ctrl-C, or the time that was given is over.
std::optional<base::error> runner::why_stop() const {
  if (stop_) return base::fail(base::error_code::interrupted, "the run was stopped", "weir resume finishes it");
  if (options_.max_duration && steady_clock::now() - started_ >= *options_.max_duration)
    return base::fail(
        base::error_code::stopped,
        "the time given by --max-duration (" +
            std::to_string(std::chrono::duration_cast<std::chrono::seconds>(*options_.max_duration).count()) +
            " s) is over",
        "weir resume finishes it");
  return {};
}

// Before anything is written: this run's row, and what earlier runs left in doubt.
base::result<void> runner::open_journal() {
  auto& journal = *options_.journal;
  store::run_record row;
  row.id = report_.run_id;
  row.netbox_url = settings_.netbox.url;
  row.command = options_.command;
  row.profile = settings_.profile.name;
  row.config_file = settings_.file.empty() ? "" : std::filesystem::absolute(settings_.file).string();
  row.resumes = options_.resumes;
  row.undoes = options_.undoes;
  row.summary_json = with_asked("", {options_.guests, options_.allow_deletes});
  row.host = store::host_name();
  row.pid = getpid();
  row.started = system_clock::now();
  auto earlier = journal.unfinished(settings_.netbox.url);
  if (!earlier) return earlier.error();
  if (auto ok = journal.begin_run(row); !ok) return ok;
  // The lock is ours: whoever was at work is not any more.
  auto const settled = session_->settle(*earlier);
  if (!settled) return settled.error();
  report_.looked_up += *settled;
  if (!options_.resumes.empty()) {
    auto stages = journal.stages(options_.resumes);
    if (!stages) return stages.error();
    for (auto const& s : *stages)
      if (s.state != store::stage_state::done) only_.emplace(s.source, s.stage);
  }
  return {};
}

base::result<void> runner::note_jobs() {
  for (auto const& lane : lanes_)
    for (auto const& j : lane)
      if (auto ok = options_.journal->put_stage({report_.run_id, j->scope.source, j->stage->id, {}, 0, 0, 0, 0, 0, ""});
          !ok)
        return ok;
  return {};
}

bool runner::connect() {
  auto const& p = settings_.profile;
  auto const ceilings = http::limits_of(p, options_.control);
  wire_ = std::make_unique<http::client>(
      io_->loop(), http::make_curl_transport(io_->loop(), settings_.netbox.tls, p.max_in_flight), ceilings, "netbox");
  wire_->on_event([this](throttle::event const& e, throttle::throttle_state const& s) {
    tell_(&observer::throttled, e, gate_now{wire_->count(), s});
  });
  wire_->on_attempt([this](http::attempt_seen const& a) { tell_(&observer::requested, netbox_name, a); });
  wire_->drain_when([this] { return why_stop().has_value(); });
  netbox_ = std::make_unique<netbox::client>(*wire_, settings_.netbox, p);
  if (options_.journal)
    if (auto const learnt = options_.journal->recall(settings_.netbox.url, references_last, system_clock::now());
        learnt && *learnt)
      wire_->restore(**learnt);
  session_options how;
  how.profile = p;
  how.max_deletes = settings_.max_deletes;
  how.max_deletes_percent = settings_.max_deletes_percent;
  how.allow_deletes = options_.allow_deletes;
  how.adopt_only = options_.adopt_only;
  how.few_guests = !options_.guests.empty();
  how.run_id = report_.run_id;
  how.dry = options_.dry;
  how.remembered_in = options_.state_from;
  how.stop = [this] { return why_stop(); };
  how.moved = [this](progress const& now) { tell_(&observer::moved, now); };
  how.planned = [this](job_report const& j) { tell_(&observer::planned, j); };
  how.wrote = [this](written_batch const& b) { tell_(&observer::wrote, b); };
  session_ = std::make_unique<session>(*netbox_, kinds_, options_.journal, std::move(how));
  auto info = netbox_->status();
  if (!info) {
    report_.fatal = info.error();
    return false;
  }
  server_ = std::move(*info);
  session_->proxbox_installed(server_.plugins.contains("netbox_proxbox"));
  report_.netbox_version = server_.version;
  if (options_.plans) return true;
  for (auto const& s : settings_.sources) {
    if (!options_.sources.empty() && !options_.sources.contains(s.name)) continue;
    sources_.push_back(source::make_source(io_->loop(), s));
    sources_.back()->on_attempt(
        [this, name = s.name](http::attempt_seen const& a) { tell_(&observer::requested, name, a); });
    source_report sr{s.name, s.type, ""};
    if (auto version = sources_.back()->check()) {
      sr.version = *version;
    } else {
      // Only this source's stages fail; who cannot reach any source cannot do anything.
      report_.notices.push_back({base::log::level::error, s.name, "", version.error().what, version.error().hint});
      sources_.back()->stop();
      unreachable_.insert(s.name);
      if (!report_.fatal) report_.fatal = version.error();
    }
    report_.sources.push_back(std::move(sr));
  }
  bool const any =
      std::any_of(report_.sources.begin(), report_.sources.end(), [](auto const& s) { return !s.version.empty(); });
  if (any || report_.sources.empty()) report_.fatal.reset();
  return !report_.fatal;
}

// A stage whose kinds cannot be used fails; the others run.
void runner::register_kinds() {
  for (auto const& stage : options_.stages) {
    auto const whose = "stage " + stage.id + " (" + stage.file.string() + ")";
    auto parsed = netbox::parse_kinds(stage.kinds_json);
    if (!parsed) {
      unusable_[stage.id] =
          base::fail(base::error_code::config, whose + ": " + parsed.error().what, parsed.error().hint);
      continue;
    }
    for (auto& k : *parsed)
      if (auto added = kinds_.add(std::move(k), whose); !added) unusable_[stage.id] = added.error();
  }
  // Whoever prepared the run has looked at them; what is wrong all the same is not passed over.
  for (auto const& p : apply_rules(settings_, kinds_, false))
    report_.notices.push_back(
        {base::log::level::error, "", "", (p.location.empty() ? "" : p.location + ": ") + p.what, p.hint});
  for (auto const& e : options_.refused) report_.notices.push_back({base::log::level::error, "", "", e.what, e.hint});
}

void runner::make_jobs() {
  auto const chosen = [&](std::string const& source, std::string const& stage) {
    return only_.empty() || only_.contains({source, stage});
  };
  for (auto const& [source, stage] : stages_by_source(settings_, options_)) {
    if (!chosen(source, stage->id)) continue;
    auto const from =
        std::find_if(sources_.begin(), sources_.end(), [&of = source](auto const& s) { return s->name() == of; });
    auto j = std::make_unique<job>();
    j->stage = stage;
    j->scope.from = source.empty() ? nullptr : from->get();
    j->scope.source = source;
    j->scope.stage = stage->id;
    j->scope.declared = netbox::kind_names(stage->kinds_json);
    if (lanes_.empty() || lanes_.back().front()->scope.source != source) lanes_.emplace_back();
    lanes_.back().push_back(std::move(j));
  }
  if (!options_.resumes.empty() && !options_.guests.empty())
    report_.notices.push_back({base::log::level::info, "", "",
                               "run " + options_.resumes +
                                   " was asked for single guests, and so is this one: --guest " +
                                   fmt::format("{}", fmt::join(options_.guests, " --guest ")),
                               ""});
  if (lanes_.empty() && !only_.empty())
    report_.notices.push_back({base::log::level::warning, "", "",
                               "nothing that run " + options_.resumes + " left is among the chosen stages and sources",
                               "weir history show " + options_.resumes + " lists what it left"});
  for (auto const& stage : options_.stages)
    if (!stage.source_type.empty() &&
        std::none_of(sources_.begin(), sources_.end(), [&](auto const& s) { return s->type() == stage.source_type; }))
      report_.notices.push_back({base::log::level::warning, "", stage.id,
                                 "it reads sources of the type '" + stage.source_type + "', and none is configured",
                                 "add one under sources, or leave the stage out"});
}

netbox::kind const* runner::missing_plugin(job const& j) const {
  for (auto const& name : j.scope.declared)
    if (auto const* k = kinds_.find(name);
        k && !k->requires_plugin.empty() && !server_.plugins.contains(k->requires_plugin))
      return k;
  return nullptr;
}

base::result<void> runner::run_job(job& j) {
  auto const configured = std::find_if(settings_.sources.begin(), settings_.sources.end(),
                                       [&](auto const& s) { return s.name == j.scope.source; });
  stage_services services(
      j.scope,
      {kinds_, *netbox_, settings_.netbox.url, options_.dry, options_.journal ? options_.journal : options_.state_from,
       configured == settings_.sources.end() ? "{}" : scope_json(configured->scope, options_.guests),
       !options_.guests.empty(), [this] { return why_stop().has_value(); },
       [this, &j](std::uint64_t done, std::uint64_t total, std::string_view note) {
         tell_(&observer::moved, progress{j.scope.source, j.scope.stage, progress::phase::collecting,
                                          base::shorten(note, 60), done, total, 0, 0, 0});
       }},
      j.what);
  auto const chosen = options_.stage_options.find(j.scope.stage);
  auto const& options = chosen == options_.stage_options.end() ? no_options : chosen->second;
  if (!j.stage->isolated) return services.settle(plugin::run_stage(*j.stage, options, services));
  auto const limits = options_.process_limits.find(j.scope.stage);
  plugin::process_options how;
  if (limits != options_.process_limits.end()) how.limits = limits->second;
  return services.settle(plugin::run_isolated(*j.stage, options, services, how));
}

// A source's stages collect one after the other on this thread, while the engine writes what came before.
void runner::collect_from(std::size_t lane) {
  std::set<std::string> broken;
  for (auto& j : lanes_[lane]) {
    j->started = steady_clock::now();
    bool const dependency_broken =
        std::any_of(j->stage->needs.begin(), j->stage->needs.end(), [&](auto const& n) { return broken.contains(n); });
    bool const given_up = unreachable_.contains(j->scope.source) || unusable_.contains(j->scope.stage);
    if (!dependency_broken && !given_up && !missing_plugin(*j) && !why_stop()) {
      tell_(&observer::stage_started, j->scope.source, j->stage->id);
      tell_(&observer::moved, progress{j->scope.source, j->stage->id, progress::phase::collecting, "", 0, 0, 0, 0, 0});
      j->ended = run_job(*j);
      if (!j->ended) broken.insert(j->stage->id);
    } else {
      broken.insert(j->stage->id);
    }
    std::scoped_lock lock(ready_mutex_);
    ready_.push_back(j.get());
    ready_changed_.notify_one();
  }
}

std::optional<base::error> runner::failed_dependency(job const& j) {
  for (auto const& need : j.stage->needs)
    if (not_done_.contains({j.scope.source, need}))
      return base::fail("it needs the stage '" + need + "', which did not succeed");
  return {};
}

void runner::handle(job& j) {
  job_report r;
  r.source = j.scope.source;
  r.stage = j.stage->id;
  r.title = j.stage->title;
  if (auto const* k = missing_plugin(j)) {
    r.status = job_status::skipped;
    r.reason = base::fail("NetBox at " + settings_.netbox.url + " does not have the plugin " + k->requires_plugin +
                              ", which " + k->title + "s need",
                          "install " + k->requires_plugin + " in NetBox, or leave the stage " + r.stage + " out");
    report_.notices.push_back({base::log::level::warning, r.source, r.stage, r.reason.what, r.reason.hint});
    return finish(j, std::move(r));
  }
  auto const stopping = why_stop();
  if (stopping || report_.fatal) {
    // That it was stopped is no fault; that it had to be killed, or broke on its way out, is one, and says what to do.
    if (!j.ended && !j.ended.error().hint.empty())
      report_.notices.push_back(
          {base::log::level::warning, r.source, r.stage, j.ended.error().what, j.ended.error().hint});
    r.status = job_status::stopped;
    r.reason = stopping ? *stopping : *report_.fatal;
    if (stopping && stopping->code != base::error_code::interrupted && !report_.fatal) report_.fatal = *stopping;
    return finish(j, std::move(r));
  }
  if (unreachable_.contains(j.scope.source)) {
    r.status = job_status::failed;
    r.reason = base::fail(base::error_code::unreachable, "the source " + j.scope.source + " cannot be read");
    return finish(j, std::move(r));
  }
  if (auto const found = unusable_.find(r.stage); found != unusable_.end()) {
    r.status = job_status::failed;
    r.reason = found->second;
    return finish(j, std::move(r));
  }
  if (auto why = failed_dependency(j)) {
    r.status = job_status::skipped;
    r.reason = std::move(*why);
    return finish(j, std::move(r));
  }
  for (auto& n : j.what.notices) report_.notices.push_back(n);
  r.metrics = std::move(j.what.metrics);
  if (!j.ended) {
    r.status = j.ended.error().code == base::error_code::interrupted ? job_status::stopped : job_status::failed;
    r.reason = j.ended.error();
    return finish(j, std::move(r));
  }
  auto const state = std::move(j.what.state_changes);
  session_->process(std::move(j.what), r, report_);
  // A stage that noted how far it has read must read it again unless all of it came into NetBox.
  bool const landed = std::all_of(r.kinds.begin(), r.kinds.end(),
                                  [](auto const& k) { return k.second.failed == 0 && k.second.deferred == 0; });
  if (options_.journal && r.status == job_status::ok && landed && !state.empty())
    if (auto ok = options_.journal->put_plugin_state(settings_.netbox.url, r.source, r.stage, state);
        !ok && !report_.fatal)
      report_.fatal = ok.error();
  finish(j, std::move(r));
}

void runner::finish(job& j, job_report r) {
  r.took = j.started == steady_clock::time_point{} ? 0ms : since(j.started);
  finish(std::move(r));
}

void runner::finish(job_report r) {
  if (r.status != job_status::ok) not_done_.emplace(r.source, r.stage);
  if (options_.journal) {
    auto ok = options_.journal->put_stage(row_of(report_.run_id, r));
    if (ok) ok = options_.journal->remember(settings_.netbox.url, wire_->learnt(), system_clock::now());
    if (!ok && !report_.fatal) report_.fatal = ok.error();
  }
  tell_notices();
  tell_(&observer::finished, r);
  report_.jobs.push_back(std::move(r));
}

void runner::carry_out_plans() {
  std::function<std::optional<base::error>()> const stopping = [this] { return why_stop(); };
  auto jobs = options_.plans({*netbox_, kinds_, session_->objects(), session_->remembered(), report_, stopping});
  tell_notices();
  if (!jobs) {
    report_.fatal = jobs.error();
    return;
  }
  for (auto const& j : *jobs)
    if (options_.journal)
      if (auto ok = options_.journal->put_stage({report_.run_id, j.source, j.stage, {}, 0, 0, 0, 0, 0, ""}); !ok) {
        report_.fatal = ok.error();
        return;
      }
  for (auto& j : *jobs) {
    auto const started = steady_clock::now();
    for (auto const& p : j.plans)
      for (auto const* list : {&p.updates, &p.creates, &p.deletes})
        j.planned_requests += requests_for(list->size(), settings_.profile.objects_per_request);
    tell_(&observer::stage_started, j.source, j.stage);
    if (auto why = why_stop()) {
      j.status = job_status::stopped;
      j.reason = std::move(*why);
    } else {
      session_->perform(j, report_);
    }
    j.took = since(started);
    finish(std::move(j));
  }
}

void runner::tell_notices() {
  for (; told_ < report_.notices.size(); ++told_) tell_(&observer::noticed, report_.notices[told_]);
}

void runner::tick(std::stop_token ended) {
  std::mutex mutex;
  std::condition_variable_any over;
  std::unique_lock lock(mutex);
  do {
    tell_(&observer::ticked, gate_now{wire_->count(), wire_->adaptation()});
  } while (!over.wait_for(lock, ended, 250ms, [&] { return ended.stop_requested(); }));
}

report runner::go() {
  report_.run_id = options_.run_id;
  report_.command = options_.command;
  report_.resumes = options_.resumes;
  report_.undoes = options_.undoes;
  report_.dry = options_.dry;
  report_.profile = settings_.profile;
  report_.netbox_url = settings_.netbox.url;
  io_ = std::make_unique<http::io_thread>();
  register_kinds();
  bool const connected = connect();
  tell_notices();
  if (connected) {
    tell_(&observer::connected, report_);
    std::jthread const ticker([this](std::stop_token ended) { tick(std::move(ended)); });
    auto ready = options_.journal ? open_journal() : base::result<void>{};
    if (ready && options_.plans) {
      carry_out_plans();
    } else if (ready) {
      make_jobs();
      if (options_.journal) ready = note_jobs();
    }
    if (!ready) {
      report_.fatal = ready.error();
      lanes_.clear();
    }
    tell_notices();
    std::size_t expected = 0;
    for (auto const& lane : lanes_) expected += lane.size();
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < lanes_.size(); ++i) threads.emplace_back([this, i] { collect_from(i); });
    for (std::size_t handled = 0; handled < expected; ++handled) {
      std::unique_lock lock(ready_mutex_);
      while (!ready_changed_.wait_for(lock, 100ms, [&] { return !ready_.empty(); }))
        if (why_stop())
          for (auto const& s : sources_) s->stop();
      job& j = *ready_.front();
      ready_.pop_front();
      lock.unlock();
      handle(j);
    }
    for (auto& t : threads) t.join();
  }
  if (wire_) {
    auto const n = wire_->count();
    for (auto m : {throttle::method::get, throttle::method::post, throttle::method::patch, throttle::method::put,
                   throttle::method::del})
      report_.requests[std::string(throttle::name(m))] = n.started_by_method[static_cast<std::size_t>(m)];
    report_.peak_in_flight = n.peak_in_flight;
    report_.retried = n.retried;
    report_.throttle = wire_->adaptation();
    if (report_.throttle.starved_times > 0)
      report_.notices.push_back(
          {base::log::level::warning, "", "",
           "NetBox had no database connection to spare even for one request at a time: a poisoned "
           "pool, or another program that holds them",
           std::string(throttle::starved_hint)});
    tell_notices();
    wire_->stop();
  }
  for (auto const& s : sources_) {
    report_.source_requests += s->count().started;
    s->stop();
  }
  // By source as configured, whatever order they came in.
  auto const place = [&](job_report const& j) {
    return std::find_if(report_.sources.begin(), report_.sources.end(),
                        [&](auto const& s) { return s.name == j.source; }) -
           report_.sources.begin();
  };
  std::stable_sort(report_.jobs.begin(), report_.jobs.end(),
                   [&](auto const& a, auto const& b) { return place(a) < place(b); });
  report_.interrupted = stop_;
  report_.took = since(started_);
  // The clients go before the loop that carries them.
  session_.reset();
  netbox_.reset();
  sources_.clear();
  wire_.reset();
  io_.reset();
  return std::move(report_);
}

}  // namespace

store::stage_record row_of(std::string const& run, job_report const& r) {
  store::stage_record row{run, r.source, r.stage, {}, 0, 0, 0, 0, 0, r.reason.what};
  row.state = r.status == job_status::ok        ? store::stage_state::done
              : r.status == job_status::failed  ? store::stage_state::failed
              : r.status == job_status::skipped ? store::stage_state::skipped
                                                : store::stage_state::stopped;
  for (auto const& [kind, c] : r.kinds) {
    row.created += c.created;
    row.updated += c.updated;
    row.deleted += c.deleted;
    row.failed += c.failed;
    row.deferred += c.deferred;
  }
  return row;
}

store::run_state state_of(report const& r, int exit_code) {
  bool left = r.interrupted;
  for (auto const& j : r.jobs) {
    left = left || j.status == job_status::stopped;
    for (auto const& [kind, c] : j.kinds) left = left || c.deferred > 0;
  }
  return left             ? store::run_state::stopped
         : r.fatal        ? store::run_state::failed
         : exit_code != 0 ? store::run_state::partly
                          : store::run_state::done;
}

base::result<void> record_end(store::journal& journal, report const& r, int exit_code, std::string_view summary_json) {
  auto const state = state_of(r, exit_code);
  auto const now = system_clock::now();
  auto const self = journal.find_run(r.run_id);
  if (!self) return self.error();
  auto const what = asked_in(self->summary_json);
  if (auto ok = journal.end_run(r.run_id, state, exit_code, r.fatal ? r.fatal->what : "",
                                with_asked(summary_json, what), now);
      !ok)
    return ok;
  // What earlier runs left is finished where this one has done all their stages. One that carried out a plan of its own
  // has not looked at the sources, and one of single guests not at the others.
  bool const of_sources = self->command == "sync" || self->command == "resume";
  auto earlier = journal.unfinished(r.netbox_url);
  if (!earlier) return earlier.error();
  for (auto const& e : *earlier) {
    if (e.id == r.run_id || !of_sources || !what.covers(asked_in(e.summary_json))) continue;
    auto stages = journal.stages(e.id);
    if (!stages) return stages.error();
    bool const all = std::all_of(stages->begin(), stages->end(), [&](store::stage_record const& s) {
      if (s.state == store::stage_state::done) return true;
      return std::any_of(r.jobs.begin(), r.jobs.end(), [&](job_report const& j) {
        // What was skipped then and is skipped now (NetBox lacks its plugin) is nothing to wait for.
        bool const ended =
            j.status == job_status::ok || (j.status == job_status::skipped && s.state == store::stage_state::skipped);
        return ended && j.source == s.source && j.stage == s.stage;
      });
    });
    if (all && (!stages->empty() || state == store::run_state::done))
      if (auto ok = journal.set_run_state(e.id, store::run_state::resumed, "finished by run " + r.run_id); !ok)
        return ok;
  }
  return journal.prune(keep_runs, keep_unfinished_for, now);
}

std::vector<stage_of_source> stages_by_source(config::configuration const& settings, run_options const& options) {
  std::vector<stage_of_source> out;
  for (auto const& source : settings.sources) {
    if (!options.sources.empty() && !options.sources.contains(source.name)) continue;
    for (auto const& stage : options.stages) {
      if (stage.source_type != source.type) continue;
      auto const only = options.stage_sources.find(stage.id);
      if (only == options.stage_sources.end() ||
          std::find(only->second.begin(), only->second.end(), source.name) != only->second.end())
        out.push_back({source.name, &stage});
    }
  }
  for (auto const& stage : options.stages)
    if (stage.source_type.empty()) out.push_back({"", &stage});
  return out;
}

report run(config::configuration const& settings, run_options const& options, observer& watching,
           std::atomic<bool> const& stop) {
  return runner(settings, options, watching, stop).go();
}

}  // namespace weir::engine
