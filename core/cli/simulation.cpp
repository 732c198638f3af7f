#include "core/cli/simulation.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <unordered_map>

namespace weir::cli {
namespace {

using how = sim::load_answer::how;
using throttle::clock;
using throttle::method;
using throttle::outcome;
using throttle::ticket;

constexpr clock::time_point beginning{std::chrono::hours(1000)};
constexpr virtual_time longest_run = std::chrono::hours(24);  // then what is left is deferred
constexpr virtual_time probe_work{15'000};                    // GET /api/status/
constexpr virtual_time burst_pause{3'000};                    // from an answer to that client's next request
constexpr std::uint64_t first_burst_id = 1ULL << 40;
constexpr std::size_t most_doubts = 3, most_give_ups = 10;  // as in core/engine/apply.cpp

// An answer as NetBox, its proxy or the network give it (bodies of NetBox 4.7), for the production classifier.
throttle::observation observation_of(how what, method verb) {
  throttle::observation seen;
  seen.verb = verb;
  seen.request_sent = what != how::refused;
  seen.reply_started = what != how::refused && what != how::cut;
  auto const reply = [&](int status, std::string_view type, std::string_view body) {
    seen.status = status;
    seen.content_type = type;
    seen.body = body;
  };
  switch (what) {
    case how::ok:
      reply(verb == method::post ? 201 : 200, "application/json", "[]");
      break;
    case how::no_connection:
      reply(
          500, "application/json",
          R"({"error": "connection failed: FATAL:  remaining connection slots are reserved for non-replication superuser connections", "exception": "OperationalError", "netbox_version": "4.7.3"})");
      break;
    case how::database_down:
      reply(
          500, "application/json",
          R"({"error": "connection failed: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused", "exception": "OperationalError", "netbox_version": "4.7.3"})");
      break;
    case how::refused:
    case how::cut:
      seen.cut = true;
      break;
    case how::bad_gateway:
      reply(502, "text/html", "<html><head><title>502 Bad Gateway</title></head></html>");
      break;
    case how::gateway_timeout:
      reply(504, "text/html", "<html><head><title>504 Gateway Time-out</title></head></html>");
      break;
    case how::too_many:
      reply(429, "application/json", R"({"detail": "Request was throttled."})");
      seen.has_retry_after = true;
      break;
  }
  return seen;
}

struct object {
  bool there = false;  // in NetBox
  bool done = false, deferred = false;
};

struct list {
  std::size_t work = 0;              // index
  std::vector<std::uint32_t> items;  // indices into its objects
  std::size_t doubts = 0;
};

class driver {
 public:
  explicit driver(simulation_input const& in) : in_(in), model_(model_scenario(in)), gate_(in.limits, in.seed) {
    for (auto const& w : in.work) {
      objects_.emplace_back(w.objects);
      fresh_.push_back(0);
      left_ += w.objects;
    }
    for (auto const& b : in.bursts)
      for (int i = 0; i < b.in_flight; ++i) burst_starts_.push({b.from + virtual_time(300 * i), b.to});
  }

  simulation_result run() {
    // What happens before weir begins.
    for (auto t = next_other(); t && *t < in_.start; t = next_other()) pass(*t);
    pass(in_.start);
    note();
    while (!finished()) {
      pump();
      note();
      if (finished()) break;
      auto const next = next_time();
      if (!next) {  // nothing is under way and nothing may start: cannot be, but must not hang
        stop();
        break;
      }
      pass(*next);
      if (now_ - in_.start > longest_run) stop();
    }
    note();
    return result();
  }

 private:
  struct flight {
    list what;
    bool lookup = false;
    bool fresh_connection = false;  // for the next attempt, as core/http/client.cpp does it
    std::size_t work_objects = 0;   // carried, for the record
  };
  struct under_way {
    ticket t = 0;
    virtual_time started{0};
    method verb = method::get;
  };

  // Work in µs instead of objects, so that each kind can have costs of its own.
  static sim::load_scenario model_scenario(simulation_input const& in) {
    auto s = in.netbox;
    s.read_base = s.write_base = virtual_time(0);
    s.read_object = s.write_object = virtual_time(1);
    return s;
  }
  static clock::time_point on_clock(virtual_time t) { return beginning + t; }
  static virtual_time from_clock(clock::time_point t) { return std::chrono::ceil<virtual_time>(t - beginning); }

  // --- time

  std::optional<virtual_time> next_other() const {
    auto next = model_.next();
    if (!burst_starts_.empty()) next = std::min(next.value_or(burst_starts_.top().at), burst_starts_.top().at);
    return next;
  }

  std::optional<virtual_time> next_time() const {
    auto next = next_other();
    auto const at = [&](virtual_time t) { next = std::min(next.value_or(t), t); };
    if (auto const wake = gate_.wake(on_clock(now_)); wake != clock::time_point::max()) at(from_clock(wake));
    if (!deadlines_.empty()) at(deadlines_.front().first);
    // The model alone (other people's requests) would go on for ever.
    if (under_way_.empty() && gate_.wake(on_clock(now_)) == clock::time_point::max()) return {};
    return next;
  }

  void pass(virtual_time until) {
    now_ = std::max(now_, until);
    auto const step = model_.advance(now_);
    for (auto const id : step.committed) commit(id);
    for (auto const& a : step.answers) {
      if (a.id >= first_burst_id)
        burst_answered(a.id);
      else
        answered(a.id, observation_of(a.what, verb_of(a.id)), a.retry_after_s);
    }
    while (!deadlines_.empty() && deadlines_.front().first <= now_) {
      auto const id = deadlines_.front().second;
      deadlines_.pop_front();
      if (!under_way_.contains(id)) continue;
      model_.abandon(id);
      throttle::observation seen;
      seen.verb = verb_of(id);
      seen.timed_out = seen.request_sent = true;
      answered(id, seen, 0);
    }
    for (; !burst_starts_.empty() && burst_starts_.top().at <= now_;) {
      auto const start = burst_starts_.top();
      burst_starts_.pop();
      if (now_ >= start.until) continue;
      auto const id = next_burst_id_++;
      bursts_.emplace(id, start.until);
      model_.arrive(now_, id, false, static_cast<std::size_t>(in_.netbox.read_base.count()), true);
    }
  }

  void burst_answered(std::uint64_t id) {
    auto const found = bursts_.find(id);
    burst_starts_.push({now_ + burst_pause, found->second});
    bursts_.erase(found);
  }

  // --- what weir does

  bool finished() const { return left_ == 0 || (stopped_ && flights_.empty() && under_way_.empty()); }

  void pump() {
    submit_lists();
    while (auto const t = gate_.next(on_clock(now_))) {
      start(*t);
      submit_lists();
    }
  }

  void submit_lists() {
    if (gate_.gave_up()) stop();
    if (stopped_ || lookups_under_way_ > 0) return;
    auto const most = std::max<std::size_t>(1, in_.limits.max_in_flight) * 2;
    while (flights_.size() < most) {
      auto l = cut();
      if (!l) return;
      send(std::move(*l), false);
    }
  }

  std::string endpoint(std::size_t work) const { return "work/" + std::to_string(work); }

  // The next list of the kind that is being written; the next kind begins when nothing of this one is left.
  std::optional<list> cut() {
    if (!again_.empty()) {
      auto l = std::move(again_.front());
      again_.pop_front();
      return l;
    }
    while (current_ < in_.work.size() && fresh_[current_] == in_.work[current_].objects) {
      if (!flights_.empty()) return {};
      ++current_;
    }
    if (current_ == in_.work.size()) return {};
    auto const size = std::min(gate_.list_size(method::post, endpoint(current_), in_.objects_per_request),
                               in_.work[current_].objects - fresh_[current_]);
    list l{current_, {}, 0};
    for (std::size_t i = 0; i < size; ++i) l.items.push_back(static_cast<std::uint32_t>(fresh_[current_]++));
    return l;
  }

  void send(list l, bool lookup) {
    auto const t = ++last_ticket_;
    throttle::traits about;
    about.verb = lookup ? method::get : method::post;
    about.lane = "simulation";
    about.objects = lookup ? 1 : l.items.size();
    about.endpoint = lookup ? "core/object-changes" : endpoint(l.work);
    if (lookup) ++lookups_under_way_, ++out_.lookups;
    gate_.submit(on_clock(now_), t, about);
    auto const carried = l.items.size();
    flights_.emplace(t, flight{std::move(l), lookup, false, carried});
  }

  void start(ticket t) {
    auto const id = next_id_++;
    under_way u{t, now_, method::get};
    auto work = probe_work;
    bool fresh = false;
    if (t != throttle::probe_ticket) {
      auto const& f = flights_.at(t);
      fresh = f.fresh_connection;
      auto const n = static_cast<std::int64_t>(f.what.items.size());
      if (f.lookup) {
        work = in_.netbox.read_base + n * in_.netbox.read_object;
      } else {
        auto const& w = in_.work[f.what.work];
        work = w.write_base + n * w.write_object;
        u.verb = method::post;
        sent_.emplace(id, f.what);
      }
    }
    under_way_.emplace(id, u);
    deadlines_.emplace_back(now_ + in_.request_timeout, id);
    model_.arrive(now_, id, u.verb != method::get, static_cast<std::size_t>(work.count()), fresh);
  }

  method verb_of(std::uint64_t id) const {
    auto const found = under_way_.find(id);
    return found == under_way_.end() ? method::get : found->second.verb;
  }

  // NetBox has done the work, whether or not weir learns it. What is there already it refuses, by its constraints.
  void commit(std::uint64_t id) {
    auto const found = sent_.find(id);
    if (found == sent_.end()) return;
    auto& of = objects_[found->second.work];
    for (auto const i : found->second.items) {
      if (of[i].there) ++out_.doubled;
      of[i].there = true;
    }
    sent_.erase(found);
  }

  void answered(std::uint64_t id, throttle::observation const& seen, int retry_after_s) {
    auto const found = under_way_.find(id);
    if (found == under_way_.end()) return;
    auto const u = found->second;
    under_way_.erase(found);
    throttle::ended e;
    e.what = throttle::classify(seen);
    e.cause = throttle::database_trouble(seen);
    e.latency = std::chrono::duration_cast<throttle::milliseconds>(now_ - u.started);
    if (seen.has_retry_after) e.retry_after = throttle::milliseconds(1000LL * retry_after_s);
    e.reply_bytes = 500;
    auto const f = flights_.find(u.t);
    auto const carried = u.verb == method::post && f != flights_.end() ? f->second.work_objects : 0;
    out_.attempts.push_back({now_, now_ - u.started, u.verb, e.what, carried});
    bool const away = e.cause == throttle::trouble::database_down;
    if (e.what == outcome::overload && !away) ++out_.refused;
    if (e.what == outcome::unknown || e.what == outcome::unreachable || away) ++out_.failed;
    auto const v = gate_.done(on_clock(now_), u.t, e);
    if (v.again) f->second.fresh_connection = e.cause == throttle::trouble::no_connection;
    if (!v.again && f != flights_.end()) {
      auto ended = std::move(f->second);
      flights_.erase(f);
      came_back(std::move(ended), e.what, gate_.gave_up());
    }
    gate_.take_events();
    if (!gate_.gave_up()) return;
    out_.gave_up = true;
    for (auto const t : gate_.take_waiting()) {
      auto handed = std::move(flights_.at(t));
      flights_.erase(t);
      came_back(std::move(handed), outcome::unreachable, true);
    }
  }

  void came_back(flight f, outcome what, bool gave_up) {
    if (f.lookup) {
      --lookups_under_way_;
      return looked_up(std::move(f.what), what);
    }
    if (what == outcome::ok) {
      gave_up_in_a_row_ = 0;
      for (auto const i : f.what.items) done(f.what.work, i);
      return;
    }
    if (what == outcome::unknown && ++f.what.doubts <= most_doubts) return send(std::move(f.what), true);
    bool const others_get_through = !gave_up && ++gave_up_in_a_row_ < most_give_ups && what == outcome::overload;
    if (!others_get_through || f.what.items.size() == 1) {
      defer(f.what);
      return stop();
    }
    auto const middle = f.what.items.begin() + static_cast<std::ptrdiff_t>(f.what.items.size() / 2);
    list second{f.what.work, {middle, f.what.items.end()}, f.what.doubts};
    f.what.items.erase(middle, f.what.items.end());
    requeue(std::move(second));
    requeue(std::move(f.what));
  }

  void looked_up(list l, outcome what) {
    if (what != outcome::ok) return defer(l);
    list again{l.work, {}, l.doubts};
    for (auto const i : l.items) {
      if (objects_[l.work][i].there)
        done(l.work, i);
      else
        again.items.push_back(i);
    }
    if (!again.items.empty()) requeue(std::move(again));
  }

  void done(std::size_t work, std::uint32_t i) {
    auto& o = objects_[work][i];
    if (o.done || o.deferred) return;
    o.done = true;
    --left_;
    ++out_.done;
  }

  void defer(list const& l) {
    for (auto const i : l.items) {
      auto& o = objects_[l.work][i];
      if (o.done || o.deferred) continue;
      o.deferred = true;
      --left_;
      ++out_.deferred;
    }
  }

  void requeue(list l) {
    if (stopped_) return defer(l);
    again_.push_front(std::move(l));
  }

  // What has not been sent is left to the next run; what is in flight is waited for.
  void stop() {
    if (stopped_) return;
    stopped_ = true;
    for (auto const& l : again_) defer(l);
    again_.clear();
    for (; current_ < in_.work.size(); ++current_) {
      list rest{current_, {}, 0};
      for (; fresh_[current_] < in_.work[current_].objects; ++fresh_[current_])
        rest.items.push_back(static_cast<std::uint32_t>(fresh_[current_]));
      defer(rest);
    }
    for (auto const t : gate_.take_waiting()) {
      defer(flights_.at(t).what);
      if (flights_.at(t).lookup) --lookups_under_way_;
      flights_.erase(t);
    }
  }

  // --- the record

  void note() {
    auto const s = gate_.adaptation();
    simulation_moment m;
    m.at = now_;
    m.limit =
        in_.limits.control == throttle::control::adaptive ? s.limit : static_cast<double>(in_.limits.max_in_flight);
    m.gap_ms = static_cast<double>(s.gap.count());
    m.in_flight = gate_.count().in_flight;
    m.connections = model_.connections();
    m.open = s.circuit == throttle::breaker::state::open;
    if (!out_.moments.empty()) {
      auto const& last = out_.moments.back();
      if (last.limit == m.limit && last.gap_ms == m.gap_ms && last.in_flight == m.in_flight &&
          last.connections == m.connections && last.open == m.open)
        return;
    }
    out_.moments.push_back(m);
  }

  simulation_result result() {
    auto const s = gate_.adaptation();
    auto const& c = gate_.count();
    out_.seconds = std::chrono::duration<double>(now_ - in_.start).count();
    out_.requests = c.started;
    auto const lower = [](auto const& a, auto const& b) { return a.limit < b.limit; };
    auto const highest = std::max_element(out_.moments.begin(), out_.moments.end(), lower);
    out_.highest_limit = highest->limit;
    out_.lowest_limit = std::min_element(highest, out_.moments.end(), lower)->limit;
    out_.retries = c.retried;
    out_.peak_in_flight = c.peak_in_flight;
    out_.peak_connections = model_.peak_connections();
    out_.longest_gap_ms = static_cast<double>(s.longest_gap.count());
    out_.breaker_opened = s.breaker_opened;
    out_.starved = s.starved_times;
    for (auto const& of : objects_)
      for (auto const& o : of)
        if (o.done && !o.there) ++out_.lost;
    return std::move(out_);
  }

  struct burst_start {
    virtual_time at, until;
    bool operator>(burst_start const& other) const { return at > other.at; }
  };

  simulation_input const& in_;
  sim::load_model model_;
  throttle::gate gate_;
  virtual_time now_{0};

  std::vector<std::vector<object>> objects_;  // by work
  std::vector<std::size_t> fresh_;            // by work: the first object that was not sent yet
  std::deque<list> again_;
  std::size_t current_ = 0, left_ = 0, lookups_under_way_ = 0, gave_up_in_a_row_ = 0;
  bool stopped_ = false;

  std::unordered_map<ticket, flight> flights_;  // queued, in flight or in backoff
  ticket last_ticket_ = 0;
  std::unordered_map<std::uint64_t, under_way> under_way_;
  std::unordered_map<std::uint64_t, list> sent_;  // by the model's id, until it is committed
  std::deque<std::pair<virtual_time, std::uint64_t>> deadlines_;
  std::uint64_t next_id_ = 1;
  std::priority_queue<burst_start, std::vector<burst_start>, std::greater<>> burst_starts_;
  std::unordered_map<std::uint64_t, virtual_time> bursts_;
  std::uint64_t next_burst_id_ = first_burst_id;
  simulation_result out_;
};

double percent(std::uint64_t part, std::uint64_t of) {
  return of == 0 ? 0 : 100 * static_cast<double>(part) / static_cast<double>(of);
}

}  // namespace

double simulation_result::refused_percent() const { return percent(refused, requests); }
double simulation_result::errors_percent() const { return percent(refused + failed, requests); }

simulation_series series_of(simulation_result const& r, std::size_t steps) {
  auto const seconds = [](virtual_time t) { return std::chrono::duration<double>(t).count(); };
  simulation_series out;
  auto const start = seconds(r.moments.front().at);
  auto const end = std::max(start + 0.1, seconds(r.moments.back().at));
  steps = std::max<std::size_t>(1, steps);
  out.step_s = (end - start) / static_cast<double>(steps);
  auto const step_at = [&](virtual_time t) {
    auto const i = std::floor((seconds(t) - start) / out.step_s);
    return static_cast<std::size_t>(std::clamp(i, 0.0, static_cast<double>(steps - 1)));
  };
  for (std::size_t i = 0; i < steps; ++i) out.at_s.push_back(start + out.step_s * static_cast<double>(i));
  for (auto* column : {&out.limit, &out.in_flight, &out.gap_ms, &out.connections, &out.latency_s, &out.objects,
                       &out.requests, &out.errors})
    column->assign(steps, 0);
  std::size_t filled = 0;
  for (auto const& m : r.moments) {
    auto const last = step_at(m.at);
    // What held until this moment fills the steps in between.
    for (auto i = filled + 1; i <= last; ++i) {
      out.limit[i] = out.limit[filled];
      out.gap_ms[i] = out.gap_ms[filled];
      out.in_flight[i] = static_cast<double>((&m - 1)->in_flight);
      out.connections[i] = (&m - 1)->connections;
    }
    filled = last;
    out.limit[last] = m.limit;
    out.gap_ms[last] = m.gap_ms;
    out.in_flight[last] = std::max(out.in_flight[last], static_cast<double>(m.in_flight));
    out.connections[last] = std::max(out.connections[last], static_cast<double>(m.connections));
  }
  std::vector<double> served(steps, 0);
  for (auto const& a : r.attempts) {
    auto const i = step_at(a.ended);
    ++out.requests[i];
    if (a.what == outcome::overload || a.what == outcome::unknown || a.what == outcome::unreachable) ++out.errors[i];
    if (a.what != outcome::ok || a.verb == method::get) continue;
    ++served[i];
    out.latency_s[i] += seconds(a.latency);
    out.objects[i] += static_cast<double>(a.objects);
  }
  for (std::size_t i = 0; i < steps; ++i) {
    out.latency_s[i] = served[i] > 0 ? out.latency_s[i] / served[i] : std::nan("");
    out.objects[i] = served[i] > 0 ? out.objects[i] / served[i] : std::nan("");
  }
  return out;
}

simulation_result simulate(simulation_input const& in) { return driver(in).run(); }

}  // namespace weir::cli
