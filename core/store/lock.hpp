// One run per NetBox at a time: a lock file in the state directory, held by flock(2), so that a dead process holds
// nothing.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace weir::store {

struct lock_holder {
  std::string run, command, host;
  std::int64_t pid = 0;
  std::chrono::system_clock::time_point since{};
};

class run_lock {
 public:
  // Error: base::error_code::locked if another process holds it ("another run holds the lock for URL: weir sync, run
  // 7f3a2c1b, pid 4711 on HOST, since 2026-11-22T12:00:00Z"); failed if the file cannot be made.
  // The file is <state_dir>/locks/<slug of the URL>-<hash>.lock, 0600, close-on-exec; it stays behind empty when the
  // lock is given back. Spelling of the URL does not matter (case of scheme and host, default port, trailing slash).
  static base::result<run_lock> take(std::filesystem::path const& state_dir, std::string_view netbox_url,
                                     lock_holder const& me);
  ~run_lock();  // gives it back
  run_lock(run_lock&&) noexcept;
  run_lock& operator=(run_lock&&) noexcept;
  // A process that died with the lock: what its file said.
  std::optional<lock_holder> const& taken_over_from() const;

 private:
  struct state;
  explicit run_lock(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

// --- its parts, for `history`, tests and fuzzing
std::filesystem::path lock_file(std::filesystem::path const& state_dir, std::string_view netbox_url);
// One line of JSON; and back: nothing if it is not a whole record (empty, half written, somebody else's text).
std::string to_record(lock_holder const& holder);
std::optional<lock_holder> parse_record(std::string_view text);
// What the lock file says, without touching the lock: whoever wrote it may be dead.
std::optional<lock_holder> read_lock(std::filesystem::path const& state_dir, std::string_view netbox_url);

}  // namespace weir::store
