// What empties NetBox's database connections, as measured on a real one: each gunicorn thread opens a connection of its
// own and keeps it, so the connections in use follow the number of threads that were ever touched.
#pragma once
#include "core/sim/netbox.hpp"

#include <functional>
#include <memory>

namespace weir::sim {

class netbox_pool {
 public:
  // `sleep` waits for a time and says false when the server stops.
  netbox_pool(netbox_load const& load, std::function<bool(std::chrono::microseconds)> sleep);
  ~netbox_pool();

  // A request's place on a thread; it is given back when this goes away.
  class place {
   public:
    place(netbox_pool& pool, int thread, std::uint64_t generation);
    ~place();
    place(place const&) = delete;
    place& operator=(place const&) = delete;
    bool connected() const { return connected_; }

   private:
    friend class netbox_pool;
    netbox_pool& pool_;
    int thread_;
    std::uint64_t generation_;
    bool connected_ = true;
  };

  // Waits for a free thread. `needs_database`: takes or opens its connection, which may fail (place::connected()).
  std::unique_ptr<place> enter(bool needs_database);
  // Uses CPU time, shared with whoever else does.
  void work(std::chrono::microseconds time);

  void restart();  // all threads and connections are gone
  void configure(netbox_load const& load);
  netbox_load load() const;
  int connections() const;
  int peak_connections() const;
  std::uint64_t errors() const;
  void reset_counters();
  void stop();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::sim
