#include "tests/sim/virtual/timeline.hpp"

#include <algorithm>
#include <vector>

namespace weir::simulated {

namespace {
constexpr instant horizon = std::chrono::hours(48);
constexpr std::uint64_t most_steps = 5'000'000;
constexpr std::chrono::hours steady_epoch{1};
}  // namespace

std::uint64_t timeline::at(instant when, owner whose, std::function<void()> what) {
  auto const id = ++last_;
  when = std::max(when, now_);
  events_.emplace(std::pair(when, id), event{whose, std::move(what)});
  when_.emplace(id, when);
  return id;
}

void timeline::cancel(std::uint64_t id) {
  auto const found = when_.find(id);
  if (found == when_.end()) return;
  events_.erase({found->second, id});
  when_.erase(found);
}

void timeline::drop(owner whose) {
  // Destroyed after it is out of the map: what a callback holds may want to cancel others.
  std::vector<event> gone;
  for (auto at = events_.begin(); at != events_.end();) {
    if (at->second.whose != whose) {
      ++at;
      continue;
    }
    gone.push_back(std::move(at->second));
    when_.erase(at->first.second);
    at = events_.erase(at);
  }
}

bool timeline::step(instant until) {
  if (events_.empty() || events_.begin()->first.first > until) {
    if (until == never) throw stuck("somebody waits, and nothing is ever going to happen");
    now_ = std::max(now_, until);
    return false;
  }
  auto node = events_.extract(events_.begin());
  when_.erase(node.key().second);
  now_ = std::max(now_, node.key().first);
  if (now_ > horizon) throw stuck("two days have passed");
  if (++steps_ > most_steps) throw stuck("five million events");
  node.mapped().what();
  return true;
}

void timeline::pass(instant time) {
  auto const until = now_ + time;
  while (step(until)) {
  }
}

throttle::clock::time_point virtual_loop::now() const {
  return throttle::clock::time_point(steady_epoch) + std::chrono::duration_cast<throttle::clock::duration>(line_.now());
}

std::chrono::system_clock::time_point virtual_loop::wall_now() const {
  return std::chrono::system_clock::time_point(wall_epoch) +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(line_.now());
}

std::uint64_t virtual_loop::at(instant when, std::function<void()> what) {
  if (dead_) return 0;
  return line_.at(when, process_, [this, what = std::move(what)] {
    struct presence {
      bool& inside;
      ~presence() { inside = false; }
    };
    {
      presence const here{inside_ = true};
      what();
    }
    if (after_each) after_each();
  });
}

void virtual_loop::post(std::function<void()> what) { at(line_.now(), std::move(what)); }

http::loop::timer virtual_loop::call_at(throttle::clock::time_point when, std::function<void()> what) {
  return at(std::chrono::duration_cast<instant>(when.time_since_epoch() - steady_epoch), std::move(what));
}

bool virtual_loop::wait(std::chrono::milliseconds at_most, std::function<bool()> const& ready) {
  if (inside_) throw std::logic_error("a wait on the loop's own thread would never end");
  if (dead_) throw std::logic_error("a dead process waits");
  auto const until = at_most == std::chrono::milliseconds::max() ? never : line_.now() + at_most;
  while (!ready())
    if (!line_.step(until)) return ready();
  return true;
}

void virtual_loop::die() {
  dead_ = true;
  after_each = {};
  line_.drop(process_);
}

}  // namespace weir::simulated
