#include "core/cli/events.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/report_parts.hpp"
#include "core/cli/version.hpp"

namespace weir::cli {

using std::chrono::steady_clock;

namespace {

constexpr std::string_view ui_version = "1.1";

json_object event(std::string_view type, std::string const& run) {
  return {{"type", type}, {"ts", base::format_instant_ms(std::chrono::system_clock::now())}, {"run", run}};
}
json_object event(std::string_view type, std::string const& run, std::string const& source, std::string const& stage) {
  auto out = event(type, run);
  out["source"] = source;
  out["stage"] = stage;
  return out;
}

std::string line(json_object const& e) { return text_of(e) + "\n"; }

std::int64_t in_ms(throttle::clock::duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

}  // namespace

// ---- line_writer

line_writer::line_writer(int descriptor) : descriptor_(descriptor), thread_([this] { work(); }) {}

line_writer::~line_writer() {
  if (thread_.joinable()) static_cast<void>(finish());
}

void line_writer::put(std::string text) {
  {
    std::scoped_lock lock(mutex_);
    if (broken_) return;
    waiting_.push_back({"", std::move(text)});
  }
  changed_.notify_one();
}

void line_writer::put_newest(std::string const& name, std::string text) {
  {
    std::scoped_lock lock(mutex_);
    if (broken_) return;
    if (auto const old = newest_.find(name); old != newest_.end()) waiting_.erase(old->second);
    waiting_.push_back({name, std::move(text)});
    newest_[name] = std::prev(waiting_.end());
  }
  changed_.notify_one();
}

void line_writer::put_when_room(std::string text) {
  {
    std::unique_lock lock(mutex_);
    taken_.wait(lock, [&] { return broken_ || waiting_.size() < room; });
    if (broken_) return;
    waiting_.push_back({"", std::move(text)});
  }
  changed_.notify_one();
}

void line_writer::ask(std::function<steady_clock::time_point()> due) {
  std::scoped_lock lock(mutex_);
  due_ = std::move(due);
}

base::result<void> line_writer::finish() {
  {
    std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (broken_)
    return base::fail("the events could not be written to stdout: " + *broken_,
                      "the journal has the run: weir history");
  return {};
}

void line_writer::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (waiting_.empty()) {
      if (ending_) return;
      auto const due = due_;
      auto next = steady_clock::time_point::max();
      if (due) {
        lock.unlock();
        next = due();
        lock.lock();
      }
      auto const awake = [&] { return ending_ || !waiting_.empty(); };
      // Asked again after a while: what it waits for may have begun meanwhile.
      changed_.wait_until(lock, std::min(next, steady_clock::now() + std::chrono::milliseconds(250)), awake);
      continue;
    }
    auto const first = std::move(waiting_.front());
    waiting_.pop_front();
    if (!first.name.empty()) newest_.erase(first.name);
    lock.unlock();
    taken_.notify_all();
    auto trouble = write(first.line);
    if (trouble)
      base::log::warning("stdout does not take events any more (" + *trouble + "); the run goes on without it");
    lock.lock();
    if (!trouble) continue;
    broken_ = std::move(trouble);
    waiting_.clear();
    newest_.clear();
    taken_.notify_all();
    return;
  }
}

std::optional<std::string> line_writer::write(std::string_view text) const {
  auto const failed = base::write_all(descriptor_, text);
  return failed ? std::optional<std::string>(std::strerror(failed)) : std::nullopt;
}

// ---- pacer

bool pacer::admit(time now, engine::progress const& p) {
  auto& e = entries_[{p.source, p.stage}];
  if (e.last != time{} && now - e.last < apart) {
    e.held = p;
    return false;
  }
  e.last = now;
  e.held.reset();
  return true;
}

std::vector<engine::progress> pacer::due(time now) {
  std::vector<engine::progress> out;
  for (auto& [job, e] : entries_) {
    if (!e.held || now - e.last < apart) continue;
    out.push_back(std::move(*e.held));
    e.held.reset();
    e.last = now;
  }
  return out;
}

pacer::time pacer::next() const {
  auto out = time::max();
  for (auto const& [job, e] : entries_)
    if (e.held) out = std::min(out, e.last + apart);
  return out;
}

void pacer::forget(std::string const& source, std::string const& stage) {
  if (auto const found = entries_.find({source, stage}); found != entries_.end()) found->second.held.reset();
}

// ---- event_stream

event_stream::event_stream(int descriptor, std::string run, bool changes)
    : run_(std::move(run)), changes_(changes), out_(descriptor) {
  out_.put(line({{"type", "version"}, {"weir", version}, {"ui", ui_version}}));
  out_.ask([this] {
    std::scoped_lock lock(mutex_);
    for (auto const& p : pace_.due(steady_clock::now())) tell(p);
    return pace_.next();
  });
}

void event_stream::connected(engine::report const& r) {
  ceiling_ = r.profile.max_in_flight;
  auto e = event("run_start", run_);
  e["command"] = engine::command_of(r);
  if (!r.resumes.empty()) e["resumes"] = r.resumes;
  if (!r.undoes.empty()) e["undoes"] = r.undoes;
  e["profile"] = json_of(r.profile);
  e["netbox"] = {{"url", r.netbox_url}, {"version", r.netbox_version}};
  e["sources"] = json_object::array();
  for (auto const& s : r.sources) e["sources"].push_back(json_of(s));
  out_.put(line(e));
}

void event_stream::stage_started(std::string const& source, std::string const& stage) {
  out_.put(line(event("stage_start", run_, source, stage)));
}

void event_stream::tell(engine::progress const& p) {
  auto e = event("progress", run_, p.source, p.stage);
  e["phase"] = engine::name(p.now);
  e["note"] = p.note;
  e["done"] = p.done;
  e["total"] = p.total;
  e["batch"] = p.batch;
  e["batches"] = p.batches;
  e["requests_per_second"] = p.requests_per_second;
  out_.put_newest(p.source + '\n' + p.stage, line(e));
}

void event_stream::moved(engine::progress const& p) {
  std::scoped_lock lock(mutex_);
  if (pace_.admit(steady_clock::now(), p)) tell(p);
}

void event_stream::planned(engine::job_report const& job) {
  auto const counts = engine::planned_by(job);
  auto e = event("change_summary", run_, job.source, job.stage);
  e["create"] = counts.create;
  e["update"] = counts.update;
  e["delete"] = counts.erase;
  e["unchanged"] = counts.unchanged;
  e["requests"] = job.planned_requests;
  e["deletes_refused"] = counts.deletes_refused;
  out_.put(line(e));
}

void event_stream::wrote(engine::written_batch const& b) {
  auto e = event("batch", run_, b.source, b.stage);
  e["number"] = b.number;
  e["kind"] = b.kind;
  e["verb"] = b.verb;
  e["objects"] = b.objects;
  e["failed"] = b.failed;
  e["state"] = b.state;
  e["reason"] = b.reason;
  e["dur_ms"] = b.took.count();
  out_.put(line(e));
}

void event_stream::throttled(throttle::event const& ev, engine::gate_now const& g) {
  auto e = event("throttle", run_);
  e["event"] = throttle::name(ev.kind);
  e["limit"] = g.state.limit;
  e["ceiling"] = ceiling_;
  e["gap_ms"] = g.state.gap.count();
  e["in_flight"] = g.count.in_flight;
  e["waiting"] = g.count.waiting;
  e["latency_inflation"] = ev.inflation;
  e["retry_budget"] = g.state.tokens;
  e["breaker"] = throttle::name(g.state.circuit);
  if (ev.kind == throttle::event::what::opened) e["pause_ms"] = in_ms(ev.pause);
  if (ev.kind == throttle::event::what::limit)
    out_.put_newest("throttle", line(e));
  else
    out_.put(line(e));
}

void event_stream::noticed(engine::notice const& n) {
  auto e = event("diagnostic", run_, n.source, n.stage);
  e["severity"] = base::log::severity(n.level);
  e["message"] = n.message;
  e["hint"] = n.hint;
  out_.put(line(e));
}

void event_stream::finished(engine::job_report const& job) {
  {
    std::scoped_lock lock(mutex_);
    pace_.forget(job.source, job.stage);
  }
  auto e = event("stage_end", run_);
  e.update(json_of(job));
  out_.put(line(e));
}

base::result<void> event_stream::end(engine::report const& r, int exit_code) {
  if (changes_)
    for (auto const& job : r.jobs)
      each_change(job, [&](json_object&& c) {
        auto e = event("planned_change", run_);
        e.update(c);
        out_.put_when_room(line(e));
      });
  if (changes_)
    for (auto const& job : r.jobs) {
      auto const tell = [&](char const* type) {
        return [this, type](json_object&& c) {
          auto e = event(type, run_);
          e.update(c);
          out_.put_when_room(line(e));
        };
      };
      each_kept(job, tell("edit_kept"), tell("gone_kept"));
    }
  for (auto const& f : r.failures) {
    auto e = event("diagnostic", run_, f.source, f.stage);
    e["severity"] = "error";
    e["kind"] = f.kind;
    e["key"] = f.label;
    e["message"] = f.message;
    e["hint"] = "";
    out_.put_when_room(line(e));
  }
  auto e = event("run_end", run_);
  e["command"] = engine::command_of(r);
  e["exit_code"] = exit_code;
  engine::counts all;
  for (auto const& job : r.jobs)
    for (auto const& [kind, c] : job.kinds) all += c;
  e["created"] = all.created;
  e["updated"] = all.updated;
  e["deleted"] = all.deleted;
  e["unchanged"] = all.unchanged;
  e["failed"] = all.failed;
  e["deferred"] = all.deferred;
  e.update(totals_of(r));
  if (r.fatal) e["error"] = json_of(*r.fatal);
  e["seconds"] = static_cast<double>(r.took.count()) / 1000;
  out_.put_when_room(line(e));
  return out_.finish();
}

base::result<void> event_stream::nothing_to_resume(std::string const& why) {
  auto e = event("run_end", run_);
  e["command"] = "resume";
  e["exit_code"] = 0;
  e["resumes"] = nullptr;
  e["reason"] = why;
  out_.put(line(e));
  return out_.finish();
}

std::string exit_event(int code, base::error const& why) {
  return line({{"type", "exit"}, {"code", code}, {"error", why.what}, {"hint", why.hint}});
}

}  // namespace weir::cli
