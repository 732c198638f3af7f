#include "core/cli/progress.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/arguments.hpp"
#include "core/cli/commands.hpp"

namespace weir::cli {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
namespace log = base::log;

namespace {

constexpr auto frame_time = 100ms;  // ten a second
constexpr auto rate_window = 10s, request_window = 3s;

progress_display* there = nullptr;  // for the log; changed only while no line can come
std::atomic<bool> stands{false}, asked{false}, continued{false};

bool utf8_locale() {
  for (auto const* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    char const* value = std::getenv(name);
    if (!value || !*value) continue;
    auto const text = base::lower(value);
    return text.find("utf-8") != std::string::npos || text.find("utf8") != std::string::npos;
  }
  return false;
}

screen screen_now(bool colour) {
  screen out;
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0)
    out.width = size.ws_col, out.height = size.ws_row;
  out.colour = colour;
  out.unicode = utf8_locale();
  return out;
}

// A shell's job in the background leaves the terminal alone. Without a controlling terminal nobody else is there.
bool in_foreground() {
  auto const group = tcgetpgrp(STDERR_FILENO);
  return group < 0 || group == getpgrp();
}

extern "C" void on_continue(int) { continued = true; }

}  // namespace

bool rows_wanted(arguments const& args) {
  char const* terminal = std::getenv("TERM");
  return !args.no_progress && !args.quiet && args.output != "ndjson" && isatty(STDERR_FILENO) &&
         log::chosen_format() == log::format::text && terminal && *terminal && std::strcmp(terminal, "dumb") != 0;
}

bool display_stands() { return stands; }
void ask_for_progress() { asked = true; }

progress_display::progress_display(progress_options how)
    : how_(std::move(how)), began_(steady_clock::now()), requests_(request_window), pace_(began_) {
  state_.dry = how_.dry;
  for (auto const& [source, stage] : how_.expected) row_of(source, stage);
  there = this;
  log::set_line_taker([](std::string&& line) { there->take(std::move(line)); });
  if (how_.live) {
    struct sigaction action {};
    action.sa_handler = on_continue;
    action.sa_flags = SA_RESTART;
    sigaction(SIGCONT, &action, nullptr);
  }
  stands = true;
  thread_ = std::thread([this] { work(); });
}

progress_display::~progress_display() {
  {
    std::scoped_lock lock(lines_mutex_);
    ending_ = true;
  }
  woken_.notify_all();
  thread_.join();
  stands = false;
  log::settle();
  log::set_line_taker(nullptr);
  base::write_all(STDERR_FILENO, take_lines());
  if (how_.live) signal(SIGCONT, SIG_DFL);
  there = nullptr;
}

job_row& progress_display::row_of(std::string const& source, std::string const& stage) {
  auto const [at, is_new] = place_.try_emplace(source + '\n' + stage, state_.jobs.size());
  if (is_new) {
    job_row row;
    row.source = source;
    row.stage = stage;
    state_.jobs.push_back(std::move(row));
  }
  return state_.jobs[at->second];
}

void progress_display::connected(engine::report const& r) {
  {
    std::scoped_lock lock(mutex_);
    run_ = r.run_id;
    ceiling_ = r.profile.max_in_flight;
  }
  auto const text =
      fmt::format("run {} with profile {}: NetBox {} at {}", r.run_id, r.profile.name, r.netbox_version, r.netbox_url);
  how_.live ? log::to_file(log::level::info, text) : log::info(text);
}

void progress_display::stage_started(std::string const& source, std::string const& stage) {
  std::scoped_lock lock(mutex_);
  row_of(source, stage).now = job_row::state::reading;
}

void progress_display::moved(engine::progress const& p) {
  auto const now = steady_clock::now();
  std::string said;
  {
    std::scoped_lock lock(mutex_);
    auto& row = row_of(p.source, p.stage);
    auto const to = p.now == engine::progress::phase::collecting  ? job_row::state::reading
                    : p.now == engine::progress::phase::comparing ? job_row::state::comparing
                                                                  : job_row::state::writing;
    auto& speed_of = speeds_.try_emplace(p.source + '\n' + p.stage, rate_window).first->second;
    if (row.now != to) speed_of.reset();
    row.now = to;
    row.note = p.note;
    row.done = p.done, row.total = p.total;
    row.batch = p.batch, row.batches = p.batches;
    row.requests_per_second = p.requests_per_second;
    speed_of.at(now, p.done);
    if (to == job_row::state::writing && pace_.after_batch(now, name_of(row), p.batch, p.batches, p.done == p.total))
      said = describe(row);
  }
  if (!said.empty()) how_.live ? log::to_file(log::level::info, said) : log::info(said);
}

void progress_display::planned(engine::job_report const& job) {
  auto const counts = engine::planned_by(job);
  auto const name = job.source.empty() ? job.stage : job.source + " " + job.stage;
  auto const text =
      fmt::format("{}: {} to create, {} to update, {} to delete in {} request{}", name, counts.create, counts.update,
                  counts.erase, job.planned_requests, job.planned_requests == 1 ? "" : "s");
  how_.live ? log::to_file(log::level::info, text) : log::info(text);
}

void progress_display::finished(engine::job_report const& job) {
  job_row row;
  {
    std::scoped_lock lock(mutex_);
    auto& r = row_of(job.source, job.stage);
    r.now = job.status == engine::job_status::ok        ? job_row::state::ok
            : job.status == engine::job_status::failed  ? job_row::state::failed
            : job.status == engine::job_status::skipped ? job_row::state::skipped
                                                        : job_row::state::stopped;
    r.note = job.status == engine::job_status::ok ? "" : job.reason.what;
    r.seconds = static_cast<double>(job.took.count()) / 1000;
    r.done = r.total = 0;
    r.created = job.total.created, r.updated = job.total.updated,
    r.deleted = job.total.deleted;  // as the result has it
    row = r;
  }
  auto const text = describe(row);
  if (job.status == engine::job_status::ok)
    how_.live ? log::to_file(log::level::info, text) : log::info(text);
  else
    log::write(job.status == engine::job_status::failed ? log::level::error : log::level::warning, text);
}

void progress_display::note(engine::gate_now const& g, time now) {
  requests_.at(now, g.count.started);
  gate_row gate;
  gate.in_flight = g.count.in_flight;
  gate.waiting = g.count.waiting;
  gate.limit = static_cast<std::size_t>(std::max(1.0, g.state.limit));
  gate.ceiling = ceiling_;
  gate.gap = g.state.gap;
  gate.circuit = g.state.circuit;
  gate.starved = g.state.starved;
  gate.gave_up = g.state.gave_up;
  state_.gate = gate;
}

void progress_display::throttled(throttle::event const& e, engine::gate_now const& g) {
  auto const now = steady_clock::now();
  std::scoped_lock lock(mutex_);
  if (e.kind == throttle::event::what::opened)
    probe_at_ = now + std::chrono::duration_cast<steady_clock::duration>(e.pause);
  note(g, now);
}

void progress_display::ticked(engine::gate_now const& g) {
  std::scoped_lock lock(mutex_);
  note(g, steady_clock::now());
}

display_state progress_display::snapshot(time now) {
  std::scoped_lock lock(mutex_);
  for (auto const& [key, speed_of] : speeds_) {
    auto& row = state_.jobs[place_.at(key)];
    row.per_second = speed_of.per_second(now);
    row.left_s.reset();
    if (row.per_second > 0 && row.total > row.done)
      row.left_s = static_cast<double>(row.total - row.done) / row.per_second;
  }
  if (state_.gate) {
    state_.gate->requests_per_second = requests_.per_second(now);
    state_.gate->probe_in_s.reset();
    if (probe_at_) state_.gate->probe_in_s = std::chrono::duration<double>(*probe_at_ - now).count();
  }
  state_.seconds = std::chrono::duration<double>(now - began_).count();
  state_.stopping = stop_requested();
  return state_;
}

void progress_display::take(std::string&& line) {
  {
    std::scoped_lock lock(lines_mutex_);
    if (waiting_lines_ >= most_lines) {
      ++lost_lines_;
      return;
    }
    ++waiting_lines_;
    lines_ += line;
  }
  if (!how_.live) woken_.notify_all();
}

std::string progress_display::take_lines() {
  std::scoped_lock lock(lines_mutex_);
  waiting_lines_ = 0;
  auto out = std::exchange(lines_, {});
  if (auto const n = std::exchange(lost_lines_, 0))
    out += fmt::format("{} log lines are left out: stderr did not take them in time\n", n);
  return out;
}

void progress_display::work() {
  bool ending = false;
  while (!ending) {
    {
      std::unique_lock lock(lines_mutex_);
      woken_.wait_for(lock, frame_time, [&] { return ending_ || (!how_.live && waiting_lines_ > 0); });
      ending = ending_;
    }
    auto const now = steady_clock::now();
    auto const state = snapshot(now);
    if (state.stopping && !std::exchange(said_stopping_, true))
      log::always("stopping: what is in flight is waited for (once more to stop at once)");
    if (asked.exchange(false)) answer(state);
    bool say = false;
    if (!how_.live) {
      std::scoped_lock lock(mutex_);
      say = pace_.due(now);
    }
    if (say)
      for (auto const& job : state.jobs)
        if (job.now == job_row::state::reading || job.now == job_row::state::comparing ||
            job.now == job_row::state::writing)
          log::info(describe(job));
    log::settle();
    if (how_.live && !ending) {
      draw(state, take_lines());
    } else if (how_.live) {
      base::write_all(STDERR_FILENO, take_away(screen_now(false).width) + take_lines());  // the result takes its place
    } else {
      base::write_all(STDERR_FILENO, take_lines());
    }
  }
}

// Row by row: where everything on the screen is cleared at once, some terminals keep it in their history.
std::string progress_display::take_away(std::size_t width) const {
  // Terminals break the lines anew that have become too long.
  std::size_t high = 0;
  for (auto const& line : drawn_) high += std::max<std::size_t>(1, (columns(line) + width - 1) / width);
  if (high == 0) return "\r";
  auto out = fmt::format("\r\x1b[{}A\x1b[2K", high);
  for (std::size_t i = 1; i < high; ++i) out += "\x1b[B\x1b[2K";
  if (high > 1) out += fmt::format("\x1b[{}A", high - 1);
  return out;
}

// The rows end with a line break, so that whatever ends weir, the shell's prompt stands below them; the cursor is
// hidden within a frame only.
void progress_display::draw(display_state const& now, std::string lines) {
  auto const on = screen_now(how_.colour);
  if (continued.exchange(false)) drawn_.clear();  // what the shell has written since is not ours to clear
  if (!in_foreground()) {
    drawn_.clear();
    base::write_all(STDERR_FILENO, lines);
    return;
  }
  auto fresh = rows(now, on);
  if (fresh == drawn_ && lines.empty() && on.width == drawn_width_) return;
  std::string frame = "\x1b[?25l";
  if (lines.empty() && on.width == drawn_width_)
    frame += drawn_.empty() ? "\r" : fmt::format("\r\x1b[{}A", drawn_.size());
  else
    frame += take_away(on.width) + lines;
  frame += "\x1b[?7l";
  for (auto const& line : fresh) frame += line + "\x1b[K\n";
  frame += "\x1b[J\x1b[?7h\x1b[?25h";
  base::write_all(STDERR_FILENO, frame);
  drawn_ = std::move(fresh);
  drawn_width_ = on.width;
}

void progress_display::answer(display_state const& now) {
  std::string run;
  {
    std::scoped_lock lock(mutex_);
    run = run_;
  }
  if (log::chosen_format() != log::format::text) {
    for (auto const& job : now.jobs) log::always(describe(job), {{"stage", job.stage}, {"source", job.source}});
    if (now.gate) log::always(describe(*now.gate));
    return;
  }
  auto on = screen_now(false);
  on.height = 10'000;
  std::string text =
      fmt::format("{} after {}\n", run.empty() ? "not connected" : "run " + run, duration_text(now.seconds));
  for (auto const& line : rows(now, on)) text += line + "\n";
  take(std::move(text));
}

}  // namespace weir::cli
