#include "core/serve/state.hpp"

#include "core/engine/run.hpp"
#include "core/serve/runs.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weir::serve {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using std::chrono::system_clock;

namespace {

constexpr std::size_t most_log_lines = 1000, most_fields = 50, longest_text = 500;

std::string cut(std::string const& text) {
  if (text.size() <= longest_text) return text;
  auto end = longest_text;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "…";
}

std::shared_ptr<kept_plan const> keep(engine::report const& r, wall now) {
  auto out = std::make_shared<kept_plan>();
  out->run = r.run_id;
  out->made = now;
  for (auto const& j : r.jobs) {
    auto const counts = engine::planned_by(j);
    kept_plan::stage s{j.source,      j.stage,      j.title,          counts.create,
                       counts.update, counts.erase, counts.unchanged, j.planned_requests};
    for (auto const& p : j.plans) {
      for (auto const* list : {&p.updates, &p.creates, &p.deletes})
        for (auto const& c : *list) {
          if (out->changes.size() == shown_changes) {
            ++out->more;
            continue;
          }
          plan_change item{j.source, j.stage, p.kind->name, std::string(engine::name(c.what)), cut(c.label), "", {}};
          if (c.object != 0 && c.object < engine::first_pending)
            item.url = fmt::format("{}/{}/{}/", r.netbox_url, p.kind->path, c.object);
          for (auto const& f : c.fields)
            if (item.fields.size() < most_fields) item.fields.push_back({f.field, cut(f.before), cut(f.after)});
          out->changes.push_back(std::move(item));
        }
    }
    out->stages.push_back(std::move(s));
  }
  return out;
}

int number(throttle::breaker::state s) {
  return s == throttle::breaker::state::open ? 2 : s == throttle::breaker::state::closed ? 0 : 1;
}

// Ended attempts that speak of a server in trouble.
bool failed(throttle::outcome o) { return o != throttle::outcome::ok && o != throttle::outcome::cancelled; }

std::string where(std::string const& source, std::string const& stage) {
  return source.empty() ? stage : stage.empty() ? source : source + " " + stage;
}

}  // namespace

state::state(moment now) : started_(now.wall) {}

void state::configured(config::configuration const& settings, wall now) {
  std::scoped_lock lock(mutex_);
  if (netbox_url_ != settings.netbox.url) netbox_version_.clear();
  netbox_url_ = settings.netbox.url;
  config_file_ = settings.file.string();
  config_loaded_ = now;
  config_error_.reset();
  profile_ = settings.profile;
  observe_only_ = settings.observe_only;
  changed();
}

void state::not_configured(std::string message, wall now) {
  std::scoped_lock lock(mutex_);
  config_error_ = {now, std::move(message)};
  changed();
}

void state::begin(run_view run) {
  std::scoped_lock lock(mutex_);
  run_ = std::move(run);
  heard_ = run_->since;
  connected_ = false;
  gate_.reset();
  breaker_opened_.reset();
  ++runs_started_;
  log(base::log::level::info, fmt::format("run {} begins: {}, {}", run_->id, run_->command, run_->trigger));
  changed();
}

void state::cancelling() {
  std::scoped_lock lock(mutex_);
  if (run_) run_->cancelling = true;
  changed();
}

void state::refused() {
  std::scoped_lock lock(mutex_);
  ++runs_refused_;
  changed();
}

void state::stopping() {
  std::scoped_lock lock(mutex_);
  stopping_ = true;
  changed();
}

void state::end(int exit_code, std::optional<engine::report> const& report, std::optional<base::error> const& error,
                std::string const& nothing, moment now) {
  auto const plan = report && report->dry && !report->fatal && !report->interrupted ? keep(*report, now.wall) : nullptr;
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  past_run past;
  past.id = run_->id;
  past.command = run_->command;
  past.trigger = run_->trigger;
  past.profile = run_->profile;
  past.started = run_->started;
  past.ended = now.wall;
  past.seconds = std::chrono::duration<double>(now.steady - run_->since).count();
  past.exit_code = exit_code;
  if (report) {
    past.state = std::string(store::name(engine::state_of(*report, exit_code)));
    for (auto const& j : report->jobs) past.stages.push_back(view_of(engine::row_of(report->run_id, j)));
    if (report->fatal) past.reason = report->fatal->what;
    asked_ = true;
    last_run_ = past.id;
    reachable_ = !report->netbox_version.empty() && !report->throttle.gave_up;
    if (report->fatal) add_error({now.wall, past.id, "", "", "error", report->fatal->what, report->fatal->hint});
    if (exit_code == 0 && !report->dry) plan_.reset();
    if (plan) plan_ = plan;
  } else {
    past.state = nothing.empty() ? "failed" : "done";
    past.reason = nothing;
  }
  if (error) {
    if (past.reason.empty()) past.reason = error->what;
    add_error({now.wall, past.id, "", "", "error", error->what, error->hint});
  }
  ++runs_ended_;
  ++by_exit_code_[exit_code];
  log(exit_code == 0 ? base::log::level::info : base::log::level::warning,
      fmt::format("run {} ended: {}, exit code {}, {:.1f} s{}", past.id, past.state, exit_code, past.seconds,
                  past.reason.empty() ? "" : ": " + past.reason));
  last_by_trigger_[past.trigger] = past;
  while (last_by_trigger_.size() > kept_runs) last_by_trigger_.erase(last_by_trigger_.begin());
  past_.push_front(std::move(past));
  if (past_.size() > kept_runs) past_.pop_back();
  run_.reset();
  gate_.reset();
  breaker_opened_.reset();
  requests_per_second_ = 0;
  changed();
}

void state::problem(error_view e) {
  std::scoped_lock lock(mutex_);
  add_error(std::move(e));
}

gate_sample state::sample(moment now) {
  std::scoped_lock lock(mutex_);
  gate_sample s;
  s.at = now.wall;
  auto const apart = sampled_ ? std::chrono::duration<double>(now.steady - sampled_->steady).count() : 0;
  // Also of runs that were over before they were sampled.
  auto const requests = std::exchange(requests_since_, 0);
  requests_per_second_ = apart > 0 ? static_cast<double>(requests) / apart : 0;
  sampled_ = now;
  s.requests_per_second = requests_per_second_;
  s.errors = std::exchange(errors_since_, 0);
  if (gate_) {
    s.running = true;
    s.in_flight = gate_->count.in_flight;
    s.limit = gate_->state.limit;
    s.gap_ms = static_cast<double>(gate_->state.gap.count());
    s.inflation = gate_->state.inflation;
    s.breaker = number(gate_->state.circuit);
  }
  samples_.push_back(s);
  if (samples_.size() > gate_samples) samples_.pop_front();
  if (run_) changed();
  return s;
}

std::vector<state::log_line> state::take_log() {
  std::scoped_lock lock(mutex_);
  return std::exchange(log_, {});
}

snapshot state::look(moment now, std::vector<schedule_view> schedules) const {
  std::scoped_lock lock(mutex_);
  snapshot s;
  s.started = started_;
  s.now = now.wall;
  s.steady_now = now.steady;
  s.netbox_url = netbox_url_;
  s.netbox_version = netbox_version_;
  s.config_file = config_file_;
  s.config_loaded = config_loaded_;
  s.config_error = config_error_;
  s.profile = profile_;
  s.observe_only = observe_only_;
  s.stopping = stopping_;
  s.run = run_;
  s.gate = gate_;
  s.requests_per_second = requests_per_second_;
  s.errors.assign(errors_.begin(), errors_.end());
  for (auto& v : schedules) {
    auto const last = last_by_trigger_.find("schedule " + v.what.name);
    s.schedules.push_back({std::move(v), last == last_by_trigger_.end() ? std::nullopt : std::optional(last->second)});
  }
  s.runs_started = runs_started_;
  s.runs_ended = runs_ended_;
  s.runs_refused = runs_refused_;
  s.by_exit_code = by_exit_code_;
  s.plan = plan_;
  return s;
}

std::vector<gate_sample> state::samples() const {
  std::scoped_lock lock(mutex_);
  return {samples_.begin(), samples_.end()};
}
std::size_t state::ceiling() const {
  std::scoped_lock lock(mutex_);
  return profile_.max_in_flight;
}
std::vector<past_run> state::past() const {
  std::scoped_lock lock(mutex_);
  return {past_.begin(), past_.end()};
}
std::shared_ptr<kept_plan const> state::plan() const {
  std::scoped_lock lock(mutex_);
  return plan_;
}
std::optional<run_view> state::running() const {
  std::scoped_lock lock(mutex_);
  return run_;
}
std::string state::trigger_of(std::string const& run) const {
  std::scoped_lock lock(mutex_);
  if (run_ && run_->id == run) return run_->trigger;
  for (auto const& p : past_)
    if (p.id == run) return p.trigger;
  return {};
}
std::uint64_t state::version() const {
  std::scoped_lock lock(mutex_);
  return version_;
}

std::string state::status_line(moment now) const {
  std::scoped_lock lock(mutex_);
  if (stopping_) return "stopping";
  if (!run_) return config_error_ ? "idle; the configuration was not reloaded: it is invalid" : "idle";
  auto out = fmt::format("{} {}", run_->command, run_->id);
  for (auto const& j : run_->jobs) {
    if (j.state != "collecting" && j.state != "comparing" && j.state != "writing") continue;
    out += ": " + where(j.source, j.stage) + " " + j.state;
    if (j.total > 0) out += fmt::format(" {}/{}", j.done, j.total);
    break;
  }
  if (gate_) out += fmt::format(", limit {:.1f}", gate_->state.limit);
  if (breaker_opened_)
    out += fmt::format(", breaker open for {} s",
                       std::chrono::duration_cast<std::chrono::seconds>(now.steady - *breaker_opened_).count());
  return out;
}

state::health state::how() const {
  std::scoped_lock lock(mutex_);
  return {run_.has_value(), connected_, heard_, breaker_opened_, asked_, reachable_, last_run_};
}

// --- what the run under way tells

job_view& state::job(std::string const& source, std::string const& stage) {
  for (auto& j : run_->jobs)
    if (j.source == source && j.stage == stage) return j;
  auto& j = run_->jobs.emplace_back();
  j.source = source;
  j.stage = stage;
  return j;
}

void state::note(engine::gate_now const& g) {
  heard_ = steady_clock::now();
  bool const closed = g.state.circuit == throttle::breaker::state::closed;
  if (closed)
    breaker_opened_.reset();
  else if (!breaker_opened_)
    breaker_opened_ = heard_;
  gate_ = g;
}

void state::add_error(error_view e) {
  e.message = cut(e.message);
  e.hint = cut(e.hint);
  errors_.push_front(std::move(e));
  if (errors_.size() > shown_errors) errors_.pop_back();
  changed();
}

void state::log(base::log::level level, std::string text, std::string source, std::string stage) {
  if (log_.size() >= most_log_lines) return;
  log_.push_back({level, std::move(text), run_ ? run_->id : "", std::move(source), std::move(stage)});
}

void state::connected(engine::report const& r) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  heard_ = steady_clock::now();
  connected_ = true;
  netbox_version_ = r.netbox_version;
  changed();
}

void state::stage_started(std::string const& source, std::string const& stage) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  auto& j = job(source, stage);
  j.state = "collecting";
  j.started = heard_ = steady_clock::now();
  changed();
}

void state::moved(engine::progress const& p) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  auto& j = job(p.source, p.stage);
  heard_ = steady_clock::now();
  if (!j.started) j.started = heard_;
  j.state = engine::name(p.now);
  j.note = p.note;
  j.done = p.done;
  j.total = p.total;
  j.batch = p.batch;
  j.batches = p.batches;
  changed();
}

void state::planned(engine::job_report const& report) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  heard_ = steady_clock::now();
  auto& j = job(report.source, report.stage);
  auto const counts = engine::planned_by(report);
  j.planned = job_view::plan{counts.create, counts.update, counts.erase, report.planned_requests};
  log(base::log::level::info,
      fmt::format("{}: {} to create, {} to update, {} to delete in {} requests", where(report.source, report.stage),
                  j.planned->create, j.planned->update, j.planned->erase, j.planned->requests),
      report.source, report.stage);
  changed();
}

void state::wrote(engine::written_batch const& b) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  heard_ = steady_clock::now();
  if (b.state != "done" || b.failed > 0)
    add_error({system_clock::now(), run_->id, b.source, b.stage, b.state == "failed" ? "error" : "warning",
               fmt::format("batch {} ({} {}, {} objects, {} failed): {}{}", b.number, b.verb, b.kind, b.objects,
                           b.failed, b.state, b.reason.empty() ? "" : ": " + b.reason),
               ""});
  changed();
}

void state::throttled(throttle::event const& e, engine::gate_now const& g) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  note(g);
  if (e.kind == throttle::event::what::opened || e.kind == throttle::event::what::closed ||
      e.kind == throttle::event::what::starved || e.kind == throttle::event::what::gave_up)
    log(e.kind == throttle::event::what::closed ? base::log::level::info : base::log::level::warning,
        fmt::format("NetBox: {}", e.kind == throttle::event::what::opened   ? "the circuit breaker opened"
                                  : e.kind == throttle::event::what::closed ? "the circuit breaker closed"
                                  : e.kind == throttle::event::what::starved
                                      ? "no database connection to spare"
                                      : "failing for longer than the profile allows; the rest is deferred"));
  changed();
}

void state::ticked(engine::gate_now const& g) {
  std::scoped_lock lock(mutex_);
  if (run_) note(g);
}

void state::requested(std::string const& server, http::attempt_seen const& a) {
  std::scoped_lock lock(mutex_);
  heard_ = steady_clock::now();
  if (server != "netbox") return;
  ++requests_since_;
  if (failed(a.outcome)) ++errors_since_;
}

void state::noticed(engine::notice const& n) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  heard_ = steady_clock::now();
  log(n.level, where(n.source, n.stage).empty() ? n.message : where(n.source, n.stage) + ": " + n.message, n.source,
      n.stage);
  if (n.level != base::log::level::warning && n.level != base::log::level::error) return;
  add_error(
      {system_clock::now(), run_->id, n.source, n.stage, std::string(base::log::severity(n.level)), n.message, n.hint});
}

void state::finished(engine::job_report const& report) {
  std::scoped_lock lock(mutex_);
  if (!run_) return;
  heard_ = steady_clock::now();
  auto& j = job(report.source, report.stage);
  j.title = report.title;
  j.state = engine::name(report.status);
  j.note.clear();
  j.ended = heard_;
  if (!j.started) j.started = heard_;
  if (report.status == engine::job_status::ok) {
    log(base::log::level::info,
        fmt::format("{}: done in {:.1f} s", where(report.source, report.stage),
                    static_cast<double>(report.took.count()) / 1000),
        report.source, report.stage);
  } else {
    j.reason = report.reason.what;
    bool const bad = report.status == engine::job_status::failed;
    auto const level = bad ? base::log::level::error : base::log::level::warning;
    log(level,
        fmt::format("{}: {}: {}", where(report.source, report.stage), engine::name(report.status), report.reason.what),
        report.source, report.stage);
    add_error({system_clock::now(), run_->id, report.source, report.stage, std::string(base::log::severity(level)),
               report.reason.what, report.reason.hint});
  }
  changed();
}

}  // namespace weir::serve
