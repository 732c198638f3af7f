#include "core/serve/scheduler.hpp"

#include <algorithm>

namespace weir::serve {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

// The wall's clock was set back by more than this: expressions are looked at anew. Smaller steps are corrections, and
// must not start what has just been started.
constexpr auto set_back = 1min;

bool same_times(config::schedule const& a, config::schedule const& b) {
  return a.name == b.name && a.cron == b.cron && a.every == b.every && a.jitter == b.jitter;
}

}  // namespace

milliseconds scheduler::jitter(config::schedule const& what) {
  // More than an interval would change the order of its starts.
  auto const most = what.cron.empty() ? std::min(what.jitter, what.every) : what.jitter;
  return milliseconds(std::uniform_int_distribution<milliseconds::rep>(0, std::max(most, 0ms).count())(random_));
}

base::result<scheduler::entry> scheduler::make_entry(config::schedule const& what, moment now) {
  entry e;
  e.what = what;
  if (what.cron.empty()) {
    e.base = now.steady;
    e.at = e.base + jitter(what);
    return e;
  }
  auto parsed = config::cron::parse(what.cron);
  if (!parsed) {
    auto wrong = parsed.error();
    wrong.what = "serve.schedules." + what.name + ": " + wrong.what;
    return wrong;
  }
  e.when = *parsed;
  e.wall_base = e.when->next(now.wall);
  if (!e.wall_base)
    return base::fail(base::error_code::config,
                      "serve.schedules." + what.name + ": the cron expression '" + what.cron + "' never comes",
                      "look at its day and month");
  e.wall_at = *e.wall_base + jitter(what);
  return e;
}

base::result<scheduler> scheduler::make(std::vector<config::schedule> const& schedules, moment now,
                                        std::uint64_t seed) {
  scheduler out(seed);
  if (auto ok = out.replace(schedules, now); !ok) return ok.error();
  return out;
}

base::result<void> scheduler::replace(std::vector<config::schedule> const& schedules, moment now) {
  std::vector<entry> fresh;
  for (auto const& s : schedules) {
    auto const old =
        std::find_if(entries_.begin(), entries_.end(), [&](auto const& e) { return e.what.name == s.name; });
    auto made = make_entry(s, now);
    if (!made) return made.error();
    if (old != entries_.end() && same_times(old->what, s)) {
      *made = *old;
      made->what = s;
    } else if (old != entries_.end()) {
      made->started = old->started;
      made->refused = old->refused;
      made->last_start = old->last_start;
    }
    fresh.push_back(std::move(*made));
  }
  entries_ = std::move(fresh);
  return {};
}

void scheduler::plan_next(entry& e, moment now) {
  if (e.when) {
    // The minute after the one that was due, also where its jitter reached beyond it. What a clock set forward has
    // passed over is not made up for.
    e.wall_base = e.when->next(std::max(*e.wall_base, now.wall - e.what.jitter));
    e.wall_at = e.wall_base ? std::optional(*e.wall_base + jitter(e.what)) : std::nullopt;
    return;
  }
  // What a busy or sleeping process has missed is not made up for.
  auto const behind = std::max<std::int64_t>((now.steady - e.base) / e.what.every, 0);
  e.base += (behind + 1) * e.what.every;
  e.at = e.base + jitter(e.what);
}

scheduler::decision scheduler::due(moment now, bool busy) {
  if (last_ && (now.wall - last_->wall) - (now.steady - last_->steady) < -set_back)
    for (auto& e : entries_)
      if (e.when) {
        e.wall_base = e.when->next(now.wall);
        e.wall_at = e.wall_base ? std::optional(*e.wall_base + jitter(e.what)) : std::nullopt;
      }
  last_ = now;

  decision out;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    auto& e = entries_[i];
    bool const is_due = e.when ? e.wall_at && *e.wall_at <= now.wall : e.at <= now.steady;
    if (!is_due) continue;
    plan_next(e, now);
    out.refused.push_back(i);
  }
  if (!busy && !out.refused.empty()) {
    auto const longest = std::min_element(out.refused.begin(), out.refused.end(), [&](auto a, auto b) {
      auto const never = std::chrono::steady_clock::time_point::min();
      return entries_[a].last_start.value_or(never) < entries_[b].last_start.value_or(never);
    });
    out.start = *longest;
    out.refused.erase(longest);
    entries_[*out.start].last_start = now.steady;
    ++entries_[*out.start].started;
  }
  for (auto i : out.refused) ++entries_[i].refused;
  return out;
}

std::vector<schedule_view> scheduler::view(moment now) const {
  std::vector<schedule_view> out;
  for (auto const& e : entries_) {
    schedule_view v{e.what, e.wall_at, e.started, e.refused};
    if (!e.when) v.next = now.wall + std::chrono::duration_cast<std::chrono::system_clock::duration>(e.at - now.steady);
    out.push_back(std::move(v));
  }
  return out;
}

}  // namespace weir::serve
