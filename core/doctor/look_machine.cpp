#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/doctor/look.hpp"
#include "core/store/files.hpp"
#include "core/store/journal.hpp"

namespace weir::doctor {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t looked_back = 20;
constexpr std::chrono::hours learnt_lasts{24 * 7};

std::string user_name(uid_t id) {
  std::array<char, 4096> room{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(id, &entry, room.data(), room.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(id);
}

bool may_write(fs::path const& folder) {
  return ::faccessat(AT_FDCWD, folder.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

// Whether the folder could be made: the nearest one above it that is there may be written.
bool may_make(fs::path folder) {
  std::error_code ignored;
  folder = fs::absolute(folder, ignored);
  while (!fs::exists(folder, ignored) && folder.has_parent_path() && folder != folder.parent_path())
    folder = folder.parent_path();
  return fs::is_directory(folder, ignored) && may_write(folder);
}

void look_at_journal(config::configuration const& settings, state_facts& f, std::string& learnt) {
  auto const file = f.dir / "journal.db";
  std::error_code ignored;
  f.journal_exists = fs::exists(file, ignored);
  if (!f.journal_exists) return;
  std::uint64_t bytes = 0;
  for (auto const* part : {"journal.db", "journal.db-wal"})
    if (auto const size = fs::file_size(f.dir / part, ignored); !ignored) bytes += size;
  f.journal_bytes = bytes;
  store::journal_options how;
  how.read_only = true;
  auto journal = store::journal::open(file, how);
  if (!journal) {
    f.journal_error = journal.error();
    return;
  }
  auto const& url = settings.netbox.url;
  auto runs = (*journal)->runs(looked_back, url);
  auto unfinished = (*journal)->unfinished(url);
  if (!runs || !unfinished) {
    f.journal_error = !runs ? runs.error() : unfinished.error();
    return;
  }
  f.recent = runs->size();
  for (auto const& r : *runs)
    if (r.state == store::run_state::stopped || r.state == store::run_state::failed) ++f.stopped;
  for (auto const& r : *unfinished) f.unfinished.push_back(r.id);
  auto const remembered = (*journal)->recall(url, learnt_lasts, std::chrono::system_clock::now());
  if (remembered && *remembered) learnt = **remembered;
}

}  // namespace

state_facts look_at_state(config::configuration const& settings, std::string& learnt) {
  state_facts f;
  f.dir = settings.state_dir;
  f.me = user_name(::geteuid());
  struct stat about {};
  if (::stat(f.dir.c_str(), &about) != 0) {
    f.creatable = errno == ENOENT && may_make(f.dir);
    return f;
  }
  f.exists = true;
  f.directory = S_ISDIR(about.st_mode);
  if (!f.directory) return f;
  f.owner = user_name(about.st_uid);
  f.mode = about.st_mode;
  f.writable = may_write(f.dir);
  struct statvfs room {};
  if (::statvfs(f.dir.c_str(), &room) == 0) f.free_bytes = std::uint64_t{room.f_bavail} * room.f_frsize;
  look_at_journal(settings, f, learnt);
  f.lock = store::read_lock(f.dir, settings.netbox.url);
  // Looked at and not tried: for the moment of a try, a run that begins would find it taken.
  if (f.lock && f.lock->host == store::host_name())
    f.lock_held = f.lock->pid > 0 && (::kill(static_cast<pid_t>(f.lock->pid), 0) == 0 || errno == EPERM);
  return f;
}

machine_facts look_at_machine(engine::run_options const& options) {
  machine_facts f;
  f.now = std::chrono::system_clock::now();
  timex clock{};  // modes 0: it is only asked
  if (auto const state = ::adjtimex(&clock); state >= 0) f.clock_synchronised = (clock.status & STA_UNSYNC) == 0;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) f.open_files = files.rlim_cur;
  f.refused_plugins = options.refused;
  for (auto const& s : options.stages) f.stages.push_back(s.id);
  return f;
}

}  // namespace weir::doctor
