#include "core/cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <mutex>

#include "core/base/log.hpp"
#include "core/base/text.hpp"

namespace weir::cli {

using namespace std::chrono_literals;
namespace log = base::log;

namespace {

// The live line stands on the terminal between log lines; the hooks take it away and put it back.
std::mutex line_mutex;
std::string live_line;

void erase_line() {
  std::scoped_lock lock(line_mutex);
  if (!live_line.empty()) std::fputs("\r\x1b[K", stderr);
}
void restore_line() {
  std::scoped_lock lock(line_mutex);
  if (!live_line.empty()) std::fputs(live_line.c_str(), stderr);
  std::fflush(stderr);
}

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

std::string where(std::string const& source, std::string const& stage) {
  return source.empty() ? stage : source + " " + stage;
}

std::string describe(engine::progress const& p) {
  auto const name = where(p.source, p.stage);
  switch (p.now) {
    case engine::progress::phase::collecting:
      return p.total ? fmt::format("{}: reading {}/{} {}", name, p.done, p.total, p.note)
                     : name + ": reading" + (p.note.empty() ? "" : " " + p.note);
    case engine::progress::phase::comparing:
      return name + ": comparing with NetBox";
    case engine::progress::phase::writing:
      return fmt::format("{}: {}/{} objects, batch {} of {}, {:.1f} requests/s", name, p.done, p.total, p.batch,
                         p.batches, p.requests_per_second);
  }
  return name;
}

}  // namespace

progress_display::progress_display(bool live) : live_(live) {
  if (live_) log::set_line_hooks(erase_line, restore_line);
}

progress_display::~progress_display() {
  if (!live_) return;
  log::set_line_hooks(nullptr, nullptr);
  erase_line();
  std::scoped_lock lock(line_mutex);
  live_line.clear();
  std::fflush(stderr);
}

void progress_display::draw(std::string const& line) {
  std::scoped_lock lock(line_mutex);
  live_line = base::shorten(line, terminal_width() - 4);
  std::fputs(("\r\x1b[K" + live_line).c_str(), stderr);
  std::fflush(stderr);
}

void progress_display::connected(engine::report const& r) {
  log::info(
      fmt::format("run {} with profile {}: NetBox {} at {}", r.run_id, r.profile.name, r.netbox_version, r.netbox_url));
}

void progress_display::moved(engine::progress const& p) {
  auto const now = std::chrono::steady_clock::now();
  if (live_ && now - last_drawn_ >= 100ms) {
    last_drawn_ = now;
    draw(describe(p));
  }
  if (p.now == engine::progress::phase::writing) {
    // Every tenth batch and the end, so that a log tells how far a long run is.
    auto& logged = logged_batch_[p.source + '\n' + p.stage];
    bool const at_end = p.done == p.total;
    if (p.batch >= logged + 10 || (at_end && p.batch > logged)) {
      logged = at_end ? p.batches : p.batch;
      last_logged_ = now;
      log::info(describe(p));
      return;
    }
  }
  if (!live_ && now - last_logged_ >= 30s) {
    last_logged_ = now;
    log::info(describe(p));
  }
}

void progress_display::planned(engine::job_report const& job) {
  std::size_t creates = 0, updates = 0, deletes = 0;
  for (auto const& p : job.plans) creates += p.creates.size(), updates += p.updates.size(), deletes += p.deletes.size();
  log::info(fmt::format("{}: {} to create, {} to update, {} to delete in {} request{}", where(job.source, job.stage),
                        creates, updates, deletes, job.planned_requests, job.planned_requests == 1 ? "" : "s"));
}

void progress_display::finished(engine::job_report const& job) {
  auto const name = where(job.source, job.stage);
  auto const text = job.status == engine::job_status::ok
                        ? fmt::format("{}: done in {:.1f} s", name, static_cast<double>(job.took.count()) / 1000)
                        : fmt::format("{}: {}: {}", name, engine::name(job.status), job.reason.what);
  log::write(job.status == engine::job_status::ok       ? log::level::info
             : job.status == engine::job_status::failed ? log::level::error
                                                        : log::level::warning,
             text);
}

}  // namespace weir::cli
