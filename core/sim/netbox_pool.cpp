#include "core/sim/netbox_pool.hpp"

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
    bool started = false;
    bool busy = false;
    bool connected = false;
    clock::time_point connected_since;
  };

  mutable std::mutex mutex;
  std::condition_variable thread_free;
  std::condition_variable core_free;
  netbox_load load;
  std::function<bool(std::chrono::microseconds)> sleep;
  std::vector<thread> threads;  // worker w has the indexes [w * load.threads, (w + 1) * load.threads)
  std::uint64_t random = 1;
  std::uint64_t generation = 0;  // a place of an older one is of threads that are gone
  int working = 0;
  int connections = 0;
  int peak = 0;
  std::uint64_t errors = 0;
  bool stopping = false;

  std::size_t below(std::size_t n) {
    random ^= random << 13U;
    random ^= random >> 7U;
    random ^= random << 17U;
    return static_cast<std::size_t>(random % n);
  }

  void reset() {
    threads.assign(static_cast<std::size_t>(std::max(0, load.workers) * std::max(1, load.threads)), {});
    random = load.seed * 0x9E3779B97F4A7C15ULL | 1U;
    connections = 0;
    ++generation;
    thread_free.notify_all();
  }

  // -1: all are busy. A worker starts a new thread when none of its own is idle, and now and then although one is:
  // the one that just answered is not back in the queue yet, the more so the more requests are in flight.
  int take_thread() {
    auto const per_worker = static_cast<std::size_t>(std::max(1, load.threads));
    auto const busy =
        static_cast<std::size_t>(std::count_if(threads.begin(), threads.end(), [](auto const& t) { return t.busy; }));
    std::vector<int> idle;
    std::vector<int> fresh;
    auto const workers = threads.size() / per_worker;
    auto const first = below(workers);
    for (std::size_t k = 0; k < workers; ++k) {
      auto const w = (first + k) % workers;
      idle.clear();
      fresh.clear();
      for (std::size_t i = w * per_worker; i < (w + 1) * per_worker; ++i)
        if (!threads[i].busy) (threads[i].started ? idle : fresh).push_back(static_cast<int>(i));
      if (!idle.empty() && !fresh.empty() && below(50) < busy + 1) return fresh.front();
      if (!idle.empty()) return idle[below(idle.size())];
      if (!fresh.empty()) return fresh.front();
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
  auto& t = s.threads[static_cast<std::size_t>(thread_)];
  t.busy = false;
  // Django looks at a connection's age only at the ends of its own thread's requests.
  if (t.connected && (s.load.conn_max_age.count() == 0 || clock::now() - t.connected_since >= s.load.conn_max_age)) {
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
  t.started = true;
  t.busy = true;
  if (!needs_database || t.connected) return mine;
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
