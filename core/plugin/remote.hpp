// `services` at the other end of a socket: what a stage's process sees of weir.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/netbox/kind.hpp"
#include "core/plugin/host.hpp"
#include "core/plugin/wire.hpp"

namespace weir::plugin {

// Ends of this process that its parent has words for.
enum class child_exit : int { no_connection = 71, no_memory = 72 };

// The child's end of the socket. Whoever waits for an answer reads for all the others, too; while answers are waited
// for that nobody sits on, a thread of its own does. Where the parent is gone the process ends.
class link {
 public:
  explicit link(int socket);
  link(link const&) = delete;
  link& operator=(link const&) = delete;

  // The first message; blocks.
  std::string first(std::function<void(wire::message const&)> const& take);
  void send(std::string_view frame);  // [any]
  std::uint64_t next_call() { return ++calls_; }
  bool was_cancelled() const { return cancelled_; }  // as far as it has been read
  // Sends, waits, and hands over the answer on this thread. False: `leave_on_cancel`, and the run is being stopped.
  bool ask(std::uint64_t call, std::string_view frame, bool leave_on_cancel,
           std::function<void(wire::message const&)> const& take);  // [any]
  // Sends; `take` is called once, on any thread.
  void ask_later(std::uint64_t call, std::string_view frame, std::function<void(wire::message const&)> take);  // [any]
  bool cancelled();  // [any] never blocks

 private:
  struct answer {
    wire::type what{};
    std::string fields;
    bool here = false;
  };
  struct pending {
    answer* slot = nullptr;  // of a thread that waits, or
    std::function<void(wire::message const&)> take;
  };
  void read_once(std::unique_lock<std::mutex>& lock);
  void read_in_background();

  int const socket_;
  std::mutex writing_;
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<bool> cancelled_{false};

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool reading_ = false;  // a thread is in recv(), and owns decoder_ and buffer_
  bool background_ = false;
  std::size_t later_ = 0;  // answers that nobody sits on
  std::unordered_map<std::uint64_t, pending> waiting_;
  wire::decoder decoder_;
  std::vector<char> buffer_;
};

class remote_services : public services {
 public:
  // `kinds_json`: of the stage.
  remote_services(link& to, wire::start const& start, std::string const& kinds_json);

  std::string const& source_name() const override { return start_.source; }
  bool dry() const override { return start_.dry; }
  bool cancelled() const override { return link_.cancelled(); }
  bool log_enabled(base::log::level l) const override;
  void progress(std::uint64_t done, std::uint64_t total, std::string_view note) override;
  void log(base::log::level l, std::string_view message, std::vector<log_field> const& fields) override;
  void notice(base::log::level l, std::string_view message, std::string_view hint) override;
  base::result<void> emit(std::string_view kind, std::string_view key, std::string_view fields) override;
  base::result<void> complete(std::string_view kind, std::string_view scope) override;
  fetched fetch(std::string_view target) override;
  void fetch_async(std::string target, std::function<void(fetched)> done) override;
  fetched netbox_read(std::string_view target) override;
  fetched netbox_write(std::string_view method, std::string_view target, std::string_view body) override;
  base::result<void> metric(metric_kind kind, std::string_view name, double value) override;
  base::result<std::optional<std::string>> state_get(std::string_view key) override;
  base::result<void> state_put(std::string_view key, std::optional<std::string_view> value) override;
  base::result<std::string> scope() override;

 private:
  base::result<void> taken(std::uint64_t call, wire::writer w);
  fetched answered(std::uint64_t call, wire::writer w, bool leave_on_cancel);

  netbox::kind const* waits_for_nothing(std::string_view kind);

  link& link_;
  wire::start const& start_;
  netbox::registry kinds_;
  std::set<std::string, std::less<>> declared_;  // empty: each emit() waits for its answer
  std::atomic<std::uint64_t> emitted_{0};
};

}  // namespace weir::plugin
