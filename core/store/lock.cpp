#include "core/store/lock.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/base/text.hpp"
#include "core/store/files.hpp"

namespace weir::store {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_record = 4096;
// A holder is between getting the lock and having written its record for microseconds; a busy machine may stretch that.
constexpr int reads = 10;
constexpr std::chrono::milliseconds between_reads{20};

// FNV-1a, 64 bits: tells apart what the slug does not.
std::string hash(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325u;
  for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  std::array<char, 17> out{};
  std::snprintf(out.data(), out.size(), "%016llx", static_cast<unsigned long long>(h));
  return out.data();
}

std::string contents(int descriptor) {
  std::string out(longest_record, '\0');
  std::size_t have = 0;
  while (have < out.size()) {
    auto const n = ::pread(descriptor, out.data() + have, out.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  out.resize(have);
  return out;
}

// False with errno set if it could not be written whole.
bool replace_contents(int descriptor, std::string const& text) {
  if (::ftruncate(descriptor, 0) != 0) return false;
  std::size_t done = 0;
  while (done < text.size()) {
    auto const n = ::pwrite(descriptor, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

class descriptor {
 public:
  explicit descriptor(int number) : number_(number) {}
  ~descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  int number() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

// Somebody may have removed the file between open() and flock(): a lock on a file without a name locks nobody out.
bool still_there(int number, fs::path const& file) {
  struct stat ours {
  }, named{};
  return ::fstat(number, &ours) == 0 && ::stat(file.c_str(), &named) == 0 && ours.st_dev == named.st_dev &&
         ours.st_ino == named.st_ino;
}

base::error held(std::string const& url, std::optional<lock_holder> const& by, fs::path const& file) {
  std::string what = "another run holds the lock for " + url;
  if (!by)
    return base::fail(base::error_code::locked, what,
                      "its lock file " + file.string() + " does not say which one; try again when it has ended");
  what += ": weir " + base::shorten(by->command, 40) + ", run " + base::shorten(by->run, 40) + ", pid " +
          std::to_string(by->pid) + " on " + base::shorten(by->host, 80) + ", since " +
          base::format_instant(std::chrono::floor<std::chrono::seconds>(by->since));
  return base::fail(base::error_code::locked, what,
                    "let it end, or stop it (kill -INT " + std::to_string(by->pid) + "), then try again");
}

}  // namespace

std::string to_record(lock_holder const& holder) {
  nlohmann::ordered_json const record{
      {"run", holder.run},
      {"command", holder.command},
      {"host", holder.host},
      {"pid", holder.pid},
      {"since", base::format_instant(std::chrono::floor<std::chrono::microseconds>(holder.since))}};
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::optional<lock_holder> parse_record(std::string_view text) {
  if (text.size() > longest_record) return {};
  // Bounded depth is not needed: 4 KiB of brackets are no deep recursion for this parser, which keeps its own stack.
  auto const record = nlohmann::json::parse(text, nullptr, false);
  if (!record.is_object()) return {};
  auto const string = [&](char const* key) -> std::optional<std::string> {
    auto const found = record.find(key);
    if (found == record.end() || !found->is_string()) return {};
    return found->get<std::string>();
  };
  auto const run = string("run"), command = string("command"), host = string("host"), since = string("since");
  auto const pid = record.find("pid");
  if (!run || !command || !host || !since || pid == record.end() || !pid->is_number_integer()) return {};
  auto const begun = base::parse_instant(*since);
  auto const number = pid->get<std::int64_t>();
  // The system's clock counts nanoseconds: it ends in 2262.
  using namespace std::chrono;
  if (!begun || *begun < sys_days(1970y / 1 / 1) || *begun > sys_days(2200y / 1 / 1)) return {};
  if (number <= 0 || run->empty()) return {};
  lock_holder out;
  out.run = *run;
  out.command = *command;
  out.host = *host;
  out.pid = number;
  out.since = *begun;
  return out;
}

fs::path lock_file(fs::path const& state_dir, std::string_view netbox_url) {
  auto const url = normalised_url(netbox_url);
  return state_dir / "locks" / (base::slug(url).substr(0, 80) + "-" + hash(url) + ".lock");
}

std::optional<lock_holder> read_lock(fs::path const& state_dir, std::string_view netbox_url) {
  descriptor const file(::open(lock_file(state_dir, netbox_url).c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number() < 0) return {};
  return parse_record(contents(file.number()));
}

struct run_lock::state {
  int number = -1;
  std::optional<lock_holder> before;

  ~state() {
    // The record goes before the lock does: an unlocked file with a record means that its writer died.
    [[maybe_unused]] int const ignored = ::ftruncate(number, 0);
    ::close(number);
  }
};

run_lock::run_lock(std::unique_ptr<state> s) : state_(std::move(s)) {}
run_lock::~run_lock() = default;
run_lock::run_lock(run_lock&&) noexcept = default;
run_lock& run_lock::operator=(run_lock&&) noexcept = default;
std::optional<lock_holder> const& run_lock::taken_over_from() const { return state_->before; }

base::result<run_lock> run_lock::take(fs::path const& state_dir, std::string_view netbox_url, lock_holder const& me) {
  auto const url = normalised_url(netbox_url);
  auto const file = lock_file(state_dir, netbox_url);
  auto const broken = [&](std::string const& tried, int error_number) {
    bool const full = error_number == ENOSPC || error_number == EDQUOT;
    return base::fail("cannot " + tried + " the lock file " + file.string() + ": " + system_words(error_number),
                      full ? "the disk is full: free some space"
                           : "it must be a file that the user weir runs as (uid " + std::to_string(::geteuid()) +
                                 ") may write, on a file system that knows flock(2)");
  };
  if (auto made = make_folder(file.parent_path()); !made) return made.error();
  for (int left = reads;;) {
    descriptor opened(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (opened.number() < 0) return broken("open", errno);
    if (::flock(opened.number(), LOCK_EX | LOCK_NB) == 0) {
      if (!still_there(opened.number(), file)) continue;
      auto mine = std::make_unique<state>();
      mine->before = parse_record(contents(opened.number()));
      mine->number = opened.release();
      if (!replace_contents(mine->number, to_record(me))) return broken("write", errno);
      return run_lock(std::move(mine));
    }
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return broken("lock", errno);
    // Empty or half: the holder is just writing it, or just giving the lock back. A dead process's: not yet replaced.
    auto const by = parse_record(contents(opened.number()));
    bool const stale = by && by->host == me.host && ::kill(static_cast<pid_t>(by->pid), 0) != 0 && errno == ESRCH;
    if ((by && !stale) || --left <= 0) return held(url, by, file);
    std::this_thread::sleep_for(between_reads);
  }
}

}  // namespace weir::store
