#include "core/sim/load_model.hpp"

#include "core/sim/threads.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <set>
#include <unordered_map>
#include <utility>

namespace weir::sim {

namespace {

using what = load_event::what;
using how = load_answer::how;

constexpr virtual_time at_once{2'000};            // an answer that costs NetBox nothing
constexpr virtual_time keep_alive{2'000'000};     // gunicorn closes an idle connection of a client after this
constexpr virtual_time neighbour_retry{100'000};  // another client asks again for a connection it did not get
constexpr virtual_time longest_wait = std::chrono::hours(24);  // looks again instead of computing with infinities
constexpr double done = 2e-3;                                  // µs of work that count as none

class dice {
 public:
  explicit dice(std::uint64_t seed) : state_(seed) {}
  double roll() {  // [0, 1); splitmix64
    auto z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
    return static_cast<double>((z ^ (z >> 31U)) >> 11U) * 0x1.0p-53;
  }

 private:
  std::uint64_t state_;
};

double micros(virtual_time t) { return static_cast<double>(t.count()); }

// Cores' worth of work done by `busy` cores.
double speed_of(double busy, double next_core) { return busy <= 1 ? busy : 1 + (busy - 1) * next_core; }

}  // namespace

struct load_model::state {
  enum class fate { served, no_connection, database_down };

  struct request {
    std::uint64_t id = 0;  // 0 and not ours: somebody else's
    bool ours = false;
    bool listening = true;  // somebody waits for the answer
    virtual_time work{0};
    std::size_t worker = 0;
    std::size_t thread = worker_threads::none;  // none: waits for one
    fate end = fate::served;
    double ends_at = 0;  // on the clock of `service`
  };
  struct thread {
    bool connected = false;
    bool stale = false;  // the database went away under its connection, and it does not know yet
    virtual_time since{0};
  };
  struct worker {
    worker_threads pool;
    std::vector<thread> threads;
    std::deque<std::uint64_t> waiting;  // serials
  };
  struct kept {
    std::size_t worker;
    virtual_time since;
  };

  load_scenario scenario;
  virtual_time now{0};
  double service = 0;  // µs of work that a request has got that was at work since the beginning
  std::vector<worker> workers;
  std::unordered_map<std::uint64_t, request> requests;      // by serial
  std::unordered_map<std::uint64_t, std::uint64_t> serial;  // by id; ours that somebody waits for
  std::uint64_t next_serial = 1;
  std::set<std::pair<double, std::uint64_t>> at_work;  // (ends_at, serial)
  std::deque<std::pair<virtual_time, std::uint64_t>> timeouts;
  std::deque<load_answer> quick;       // answers that never reached NetBox, by time
  std::vector<kept> connections_kept;  // our client's idle connections, the most recent last
  std::vector<virtual_time> edges;     // when events begin and end
  std::size_t next_edge = 0;
  std::optional<virtual_time> next_user, next_retry;
  dice choice, works, users;  // of their own each, so that other people's requests do not depend on ours
  int held = 0;               // by our threads
  int neighbours = 0;
  int peak = 0;
  std::uint64_t errors = 0, served = 0, refused = 0;
  step pending;

  explicit state(load_scenario s)
      : scenario(std::move(s)), choice(scenario.seed * 3), works(scenario.seed * 3 + 1), users(scenario.seed * 3 + 2) {
    start_workers();
    for (auto const& e : scenario.events) {
      edges.push_back(e.from);
      edges.push_back(e.to);
    }
    std::sort(edges.begin(), edges.end());
    plan_user();
    run(virtual_time(0));
  }

  void start_workers() {
    auto const threads = static_cast<std::size_t>(std::max(1, scenario.threads));
    workers.assign(static_cast<std::size_t>(std::max(1, scenario.workers)),
                   worker{worker_threads(threads), std::vector<thread>(threads), {}});
    connections_kept.clear();
    held = 0;
  }

  load_event const* active(what kind) const {
    for (auto const& e : scenario.events)
      if (e.kind == kind && e.from <= now && now < e.to) return &e;
    return nullptr;
  }
  bool just_begun(what kind) const {
    return std::any_of(scenario.events.begin(), scenario.events.end(),
                       [&](auto const& e) { return e.kind == kind && e.from == now && now < e.to; });
  }

  void plan_user() {
    if (scenario.users_per_second <= 0) return;
    auto const wait = -std::log(1 - users.roll()) / scenario.users_per_second;
    next_user = now + virtual_time(1 + std::llround(std::min(wait, 1e9) * 1e6));
  }

  // --- time

  // Of a core, for each request at work.
  double rate() const {
    if (at_work.empty()) return 0;
    auto const n = static_cast<double>(at_work.size());
    double slower = 1;
    double others = 0;  // cores that the neighbours want
    int left = neighbours;
    for (auto const& e : scenario.events) {
      if (e.from > now || now >= e.to) continue;
      if (e.kind == what::slow && e.factor > 0) slower *= e.factor;
      if (e.kind != what::neighbour) continue;
      int const mine = std::min(left, static_cast<int>(e.amount));
      others += mine * e.share;
      left -= mine;
    }
    auto const most = std::min(n, static_cast<double>(workers.size()));
    auto const mine = speed_of(std::min(most, scenario.cores), scenario.next_core);
    auto const fair = speed_of(std::min(n + others, scenario.cores), scenario.next_core) * n / (n + others);
    return std::min({1.0, mine / n, fair / n}) / slower;
  }

  std::optional<virtual_time> next_event() const {
    std::optional<virtual_time> first;
    auto const at = [&](virtual_time t) { first = std::min(first.value_or(t), t); };
    if (next_edge < edges.size()) at(std::max(now, edges[next_edge]));
    if (!at_work.empty()) {
      auto const r = rate();
      auto const left = std::max(0.0, at_work.begin()->first - service);
      if (left <= done)
        at(now);
      else
        at(now + (r > 0 ? virtual_time(std::llround(std::min(std::ceil((left - done / 2) / r), micros(longest_wait))))
                        : longest_wait));
    }
    if (!timeouts.empty()) at(std::max(now, timeouts.front().first));
    if (!quick.empty()) at(std::max(now, quick.front().at));
    if (next_user) at(*next_user);
    if (next_retry) at(*next_retry);
    return first;
  }

  void move_to(virtual_time t) {
    if (t <= now) return;
    service += rate() * micros(t - now);
    now = t;
  }

  void run(virtual_time until) {
    for (auto t = next_event(); t && *t <= until; t = next_event()) {
      move_to(*t);
      begin_and_end_events();
      while (!at_work.empty() && at_work.begin()->first - service <= done) finish(at_work.begin()->second);
      forget_answered();
      for (; !timeouts.empty() && timeouts.front().first <= now; forget_answered())
        answer(requests.at(timeouts.front().second), how::gateway_timeout);
      for (; !quick.empty() && quick.front().at <= now; quick.pop_front()) pending.answers.push_back(quick.front());
      if (next_retry && *next_retry <= now) seat_neighbours();
      if (next_user && *next_user <= now) {
        arrive(0, false, work_of(scenario.user_work, users), true);
        plan_user();
      }
      forget_answered();
    }
    move_to(until);
  }

  // --- events

  void begin_and_end_events() {
    bool changed = false;
    for (; next_edge < edges.size() && edges[next_edge] <= now; ++next_edge) changed = true;
    if (!changed) return;
    if (just_begun(what::database_down)) lose_database();
    if (just_begun(what::web_down)) restart();
    seat_neighbours();
  }

  void lose_database() {
    neighbours = 0;
    std::vector<std::uint64_t> lost;
    for (auto const& [at, s] : at_work)
      if (requests.at(s).end == fate::served) lost.push_back(s);
    for (auto& w : workers)
      for (auto& t : w.threads)
        if (t.connected) {
          t.connected = false;
          t.stale = true;
        }
    held = 0;
    for (auto const s : lost) {
      auto& r = requests.at(s);
      r.end = fate::database_down;
      workers[r.worker].threads[r.thread].stale = false;  // it has just learnt of it
      finish(s);
    }
  }

  void seat_neighbours() {
    int wanted = 0;
    for (auto const& e : scenario.events)
      if (e.kind == what::neighbour && e.from <= now && now < e.to) wanted += static_cast<int>(e.amount);
    bool const up = active(what::database_down) == nullptr;
    neighbours = up ? std::min(wanted, std::max(0, scenario.connections - held)) : 0;
    peak = std::max(peak, held + neighbours);
    next_retry = neighbours < wanted ? std::optional(now + neighbour_retry) : std::nullopt;
  }

  void restart() {
    std::vector<std::uint64_t> gone;
    for (auto const& [s, r] : requests) gone.push_back(s);
    std::sort(gone.begin(), gone.end());
    at_work.clear();
    start_workers();
    for (auto const s : gone) {
      auto& r = requests.at(s);
      if (!r.ours) ++refused;
      if (r.listening) answer(r, how::cut);
      requests.erase(s);
    }
    forget_answered();
  }

  // --- requests

  bool waits(std::uint64_t s) const {
    auto const found = requests.find(s);
    return found != requests.end() && found->second.listening;
  }

  void forget_answered() {
    while (!timeouts.empty() && !waits(timeouts.front().second)) timeouts.pop_front();
  }

  virtual_time work_of(virtual_time base, dice& random) const {
    return virtual_time(std::llround(micros(base) * (1 + scenario.jitter * (2 * random.roll() - 1))));
  }

  void answer(request& r, how result) {
    if (!r.listening) return;
    r.listening = false;
    if (!r.ours) return;
    serial.erase(r.id);
    pending.answers.push_back({result, r.id, now, 0});
  }

  void answer_quickly(std::uint64_t id, bool ours, how result, int retry_after = 0) {
    if (!ours) {
      ++refused;
      return;
    }
    quick.push_back({result, id, now + at_once, retry_after});
  }

  void arrive(std::uint64_t id, bool ours, virtual_time work, bool fresh) {
    if (auto const* e = active(what::too_many))
      return answer_quickly(id, ours, how::too_many, static_cast<int>(e->amount));
    if (active(what::bad_gateway) != nullptr) return answer_quickly(id, ours, how::bad_gateway);
    if (active(what::web_down) != nullptr) return answer_quickly(id, ours, how::refused);
    auto const s = next_serial++;
    request r;
    r.id = id;
    r.ours = ours;
    r.listening = ours && active(what::hang) == nullptr;
    r.work = work;
    r.worker = worker_for(ours && !fresh);
    auto& w = workers[r.worker];
    if (r.listening) {
      serial[id] = s;
      if (scenario.proxy_timeout.count() > 0) timeouts.emplace_back(now + scenario.proxy_timeout, s);
    }
    requests.emplace(s, r);
    w.waiting.push_back(s);
    start_waiting(w);
  }

  std::size_t worker_for(bool kept_connection) {
    auto const pick = choice.roll();
    if (kept_connection) {
      std::erase_if(connections_kept, [&](kept const& k) { return now - k.since >= keep_alive; });
      if (!connections_kept.empty()) {
        auto const mine = connections_kept.back().worker;
        connections_kept.pop_back();
        return mine;
      }
    }
    std::vector<std::size_t> fit;  // those that take it soonest
    auto const queue = [](worker const& w) { return w.pool.any_free() ? 0 : w.waiting.size() + 1; };
    auto shortest = queue(workers[0]);
    for (auto const& w : workers) shortest = std::min(shortest, queue(w));
    for (std::size_t i = 0; i < workers.size(); ++i)
      if (queue(workers[i]) == shortest) fit.push_back(i);
    return fit[static_cast<std::size_t>(pick * static_cast<double>(fit.size()))];
  }

  void start_waiting(worker& w) {
    while (!w.waiting.empty() && w.pool.any_free()) {
      auto const s = w.waiting.front();
      w.waiting.pop_front();
      auto& r = requests.at(s);
      r.thread = w.pool.take(now, choice.roll());
      r.end = connect(w.threads[r.thread]);
      r.ends_at = service + micros(r.end == fate::served ? r.work : work_of(scenario.db_error, works));
      at_work.emplace(r.ends_at, s);
    }
  }

  bool too_old(thread const& t) const { return now - t.since >= scenario.conn_max_age; }

  fate connect(thread& t) {
    if ((t.connected || t.stale) && too_old(t)) disconnect(t);
    if (std::exchange(t.stale, false)) return fate::database_down;
    if (t.connected) return fate::served;
    if (active(what::database_down) != nullptr) return fate::database_down;
    if (held + neighbours >= scenario.connections) return fate::no_connection;
    t.connected = true;
    t.since = now;
    ++held;
    peak = std::max(peak, held + neighbours);
    return fate::served;
  }

  void disconnect(thread& t) {
    if (std::exchange(t.connected, false)) --held;
    t.stale = false;
  }

  void finish(std::uint64_t s) {
    auto r = requests.at(s);
    at_work.erase({r.ends_at, s});
    requests.erase(s);
    auto& w = workers[r.worker];
    if (auto& t = w.threads[r.thread]; t.connected && too_old(t)) disconnect(t);
    w.pool.give_back(r.thread, now);
    if (!r.ours) ++(r.end == fate::served ? served : refused);
    if (r.ours && r.end != fate::served) ++errors;
    if (r.ours && r.end == fate::served) pending.committed.push_back(r.id);
    if (r.listening) {
      bool const lost = active(what::bad_gateway_after) != nullptr;
      answer(r, lost                           ? how::bad_gateway
                : r.end == fate::no_connection ? how::no_connection
                : r.end == fate::database_down ? how::database_down
                                               : how::ok);
      connections_kept.push_back({r.worker, now});
    }
    start_waiting(w);
  }
};

load_model::load_model(load_scenario scenario) : state_(std::make_unique<state>(std::move(scenario))) {}
load_model::~load_model() = default;

void load_model::arrive(virtual_time now, std::uint64_t id, bool write, std::size_t objects, bool fresh) {
  auto& s = *state_;
  s.run(now);
  auto const& of = s.scenario;
  auto const n = static_cast<std::int64_t>(objects);
  s.arrive(id, true,
           s.work_of(write ? of.write_base + n * of.write_object : of.read_base + n * of.read_object, s.works), fresh);
}

void load_model::abandon(std::uint64_t id) {
  auto& s = *state_;
  std::erase_if(s.quick, [&](auto const& a) { return a.id == id; });
  std::erase_if(s.pending.answers, [&](auto const& a) { return a.id == id; });
  if (auto const found = s.serial.find(id); found != s.serial.end()) {
    s.requests.at(found->second).listening = false;
    s.serial.erase(found);
    s.forget_answered();
  }
}

std::optional<virtual_time> load_model::next() const {
  auto const& s = *state_;
  if (!s.pending.answers.empty() || !s.pending.committed.empty()) return s.now;
  return s.next_event();
}

load_model::step load_model::advance(virtual_time now) {
  state_->run(now);
  return std::exchange(state_->pending, {});
}

void load_model::restart(virtual_time now) {
  state_->run(now);
  state_->restart();
}

int load_model::connections() const { return state_->held + state_->neighbours; }
int load_model::peak_connections() const { return state_->peak; }
int load_model::busy() const { return static_cast<int>(state_->at_work.size()); }
std::uint64_t load_model::database_errors() const { return state_->errors; }
std::uint64_t load_model::users_served() const { return state_->served; }
std::uint64_t load_model::users_refused() const { return state_->refused; }

}  // namespace weir::sim
