#include "core/sim/netbox_pool.hpp"

#include "core/sim/threads.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace weir::sim {

namespace {
using clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds slice{5000};  // CPU time is handed out in slices of this length
}  // namespace

struct netbox_pool::state {
  struct thread {
    bool connected = false;
    clock::time_point connected_since;
  };

  mutable std::mutex mutex;
  std::condition_variable thread_free;
  std::condition_variable core_free;
  netbox_load load;
  std::function<bool(std::chrono::microseconds)> sleep;
  std::vector<worker_threads> workers;
  std::vector<thread> threads;  // worker w has the indexes [w * per_worker(), (w + 1) * per_worker())
  std::uint64_t random = 1;
  std::uint64_t generation = 0;  // a place of an older one is of threads that are gone
  int working = 0;
  int connections = 0;
  int peak = 0;
  std::uint64_t errors = 0;
  bool stopping = false;

  double roll() {  // [0, 1)
    random ^= random << 13U;
    random ^= random >> 7U;
    random ^= random << 17U;
    return static_cast<double>(random >> 11U) * 0x1.0p-53;
  }
  std::size_t per_worker() const { return static_cast<std::size_t>(std::max(1, load.threads)); }
  static std::chrono::microseconds now() {
    return std::chrono::duration_cast<std::chrono::microseconds>(clock::now().time_since_epoch());
  }

  void reset() {
    auto const n = static_cast<std::size_t>(std::max(0, load.workers));
    workers.assign(n, worker_threads(per_worker()));
    threads.assign(n * per_worker(), {});
    random = load.seed * 0x9E3779B97F4A7C15ULL | 1U;
    connections = 0;
    ++generation;
    thread_free.notify_all();
  }

  bool too_old(thread const& t) const {
    return load.conn_max_age.count() == 0 || clock::now() - t.connected_since >= load.conn_max_age;
  }

  // -1: all are busy. Any worker that has a free thread takes the request.
  int take_thread() {
    auto const first = static_cast<std::size_t>(roll() * static_cast<double>(workers.size()));
    for (std::size_t k = 0; k < workers.size(); ++k) {
      auto const w = (first + k) % workers.size();
      auto const mine = workers[w].take(now(), roll());
      if (mine != worker_threads::none) return static_cast<int>(w * per_worker() + mine);
    }
    return -1;
  }
};

netbox_pool::netbox_pool(netbox_load const& load, std::function<bool(std::chrono::microseconds)> sleep)
    : state_(std::make_unique<state>()) {
  state_->load = load;
  state_->sleep = std::move(sleep);
  state_->reset();
}
netbox_pool::~netbox_pool() = default;

netbox_pool::place::place(netbox_pool& pool, int thread, std::uint64_t generation)
    : pool_(pool), thread_(thread), generation_(generation) {}

netbox_pool::place::~place() {
  if (thread_ < 0) return;
  auto& s = *pool_.state_;
  std::lock_guard lock(s.mutex);
  if (generation_ != s.generation) return;  // a restart came between
  auto const i = static_cast<std::size_t>(thread_);
  s.workers[i / s.per_worker()].give_back(i % s.per_worker(), state::now());
  auto& t = s.threads[i];
  // Django looks at a connection's age only at both ends of its own thread's requests.
  if (t.connected && s.too_old(t)) {
    t.connected = false;
    --s.connections;
  }
  s.thread_free.notify_one();
}

std::unique_ptr<netbox_pool::place> netbox_pool::enter(bool needs_database) {
  auto& s = *state_;
  std::unique_lock lock(s.mutex);
  int thread = -1;
  while (!s.threads.empty() && !s.stopping && (thread = s.take_thread()) < 0) s.thread_free.wait(lock);
  auto mine = std::make_unique<place>(*this, thread, s.generation);
  if (thread < 0) return mine;
  auto& t = s.threads[static_cast<std::size_t>(thread)];
  if (!needs_database) return mine;
  if (t.connected) {
    if (s.too_old(t)) t.connected_since = clock::now();  // closed and opened again, in its own place
    return mine;
  }
  if (s.load.db_connections > 0 && s.connections >= s.load.db_connections) {
    ++s.errors;
    mine->connected_ = false;
    return mine;
  }
  t.connected = true;
  t.connected_since = clock::now();
  s.peak = std::max(s.peak, ++s.connections);
  return mine;
}

void netbox_pool::work(std::chrono::microseconds time) {
  auto& s = *state_;
  if (time.count() <= 0) return;
  {
    std::unique_lock lock(s.mutex);
    if (s.load.cpu_cores <= 0) {
      lock.unlock();
      s.sleep(time);
      return;
    }
  }
  while (time.count() > 0) {
    auto const now = std::min(time, slice);
    {
      std::unique_lock lock(s.mutex);
      s.core_free.wait(lock, [&] { return s.stopping || s.load.cpu_cores <= 0 || s.working < s.load.cpu_cores; });
      if (s.stopping) return;
      ++s.working;
    }
    bool const go_on = s.sleep(now);
    {
      std::lock_guard lock(s.mutex);
      --s.working;
      s.core_free.notify_one();
    }
    if (!go_on) return;
    time -= now;
  }
}

void netbox_pool::restart() {
  std::lock_guard lock(state_->mutex);
  state_->reset();
}

void netbox_pool::configure(netbox_load const& load) {
  std::lock_guard lock(state_->mutex);
  auto& now = state_->load;
  bool const other_threads = load.workers != now.workers || load.threads != now.threads || load.seed != now.seed;
  now = load;
  if (other_threads) state_->reset();
  state_->core_free.notify_all();
}

netbox_load netbox_pool::load() const {
  std::lock_guard lock(state_->mutex);
  return state_->load;
}
int netbox_pool::connections() const {
  std::lock_guard lock(state_->mutex);
  return state_->connections;
}
int netbox_pool::peak_connections() const {
  std::lock_guard lock(state_->mutex);
  return state_->peak;
}
std::uint64_t netbox_pool::errors() const {
  std::lock_guard lock(state_->mutex);
  return state_->errors;
}
void netbox_pool::reset_counters() {
  std::lock_guard lock(state_->mutex);
  state_->peak = state_->connections;
  state_->errors = 0;
}
void netbox_pool::stop() {
  std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->thread_free.notify_all();
  state_->core_free.notify_all();
}

}  // namespace weir::sim
