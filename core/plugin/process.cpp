#include "core/plugin/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/plugin/restrict.hpp"
#include "core/plugin/sanitized.hpp"

namespace weir::plugin {
namespace {

constexpr int socket_in_child = 3;
// Where the child's ends stand before they get their numbers: above all of those.
constexpr int lowest_spare = 10;
// How long a recv() that may wait does so.
constexpr std::chrono::microseconds socket_moment{2000};
// A process that was killed is gone at once, unless the kernel is in the middle of something for it.
constexpr std::chrono::milliseconds kill_patience{10'000};
constexpr char marker[] = "WEIR_STAGE_PROCESS";

base::error cannot(std::string const& what, int e) {
  return base::fail(fmt::format("can't start a process for the stage: {}: {}", what, std::strerror(e)));
}

struct ends {
  descriptor ours, theirs;
};

// Numbers 0 to 3 are what the child is to have: neither end may stand there.
base::result<ends> moved_up(int const (&pair)[2]) {
  descriptor const a(pair[0]), b(pair[1]);
  ends out{descriptor(fcntl(a.get(), F_DUPFD_CLOEXEC, lowest_spare)),
           descriptor(fcntl(b.get(), F_DUPFD_CLOEXEC, lowest_spare))};
  if (!out.ours || !out.theirs) return cannot("a descriptor", errno);
  return out;
}

base::result<ends> make_pipe() {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) return cannot("a pipe", errno);
  auto out = moved_up(pair);
  if (out && fcntl(out->ours.get(), F_SETFL, O_NONBLOCK) != 0) return cannot("a pipe", errno);
  return out;
}

base::result<ends> make_sockets() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return cannot("a socket", errno);
  auto out = moved_up(pair);
  if (!out) return out;
  timeval const moment{0, socket_moment.count()};
  if (setsockopt(out->ours.get(), SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment) != 0)
    return cannot("a socket", errno);
  return out;
}

// All that the child gets to know of ours.
std::vector<std::string> environment() {
  std::vector<std::string> out{std::string(marker) + "=1"};
  for (auto const* name : {"PATH", "LANG", "LC_ALL", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
    auto const* value = std::getenv(name);
    std::string line = value == nullptr ? "" : std::string(name) + "=" + value;
    // Looking for leaks needs ptrace and a process more, which the child may not have.
    if (sanitized && std::string_view(name) == "ASAN_OPTIONS")
      line = line.empty() ? "ASAN_OPTIONS=detect_leaks=0" : line + ":detect_leaks=0";
    if (!line.empty()) out.push_back(std::move(line));
  }
  return out;
}

// The kernel lets a process read another of the same user, unless something forbids it. What is in our memory and our
// environment (tokens) is not for plugins.
void keep_children_out() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!children_are_kept_out() && !sanitized) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  });
}

struct actions {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  int wrong = 0;  // the first error
  actions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~actions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  actions(actions const&) = delete;
  actions& operator=(actions const&) = delete;
  void add(int e) {
    if (wrong == 0) wrong = e;
  }
};

}  // namespace

void descriptor::reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

base::result<child_process> child_process::start(std::filesystem::path const& program) {
  if (std::getenv(marker) != nullptr)
    return base::fail("a stage's process can't start another: " + program.string() + " does not know stage-process");
  auto sockets = make_sockets();
  if (!sockets) return sockets.error();
  auto out = make_pipe();
  if (!out) return out.error();
  auto err = make_pipe();
  if (!err) return err.error();
  keep_children_out();

  actions to;
  to.add(posix_spawn_file_actions_addopen(&to.files, 0, "/dev/null", O_RDONLY, 0));
  to.add(posix_spawn_file_actions_adddup2(&to.files, out->theirs.get(), 1));
  to.add(posix_spawn_file_actions_adddup2(&to.files, err->theirs.get(), 2));
  to.add(posix_spawn_file_actions_adddup2(&to.files, sockets->theirs.get(), socket_in_child));
  to.add(posix_spawn_file_actions_addclosefrom_np(&to.files, socket_in_child + 1));
  to.add(posix_spawn_file_actions_addchdir_np(&to.files, "/"));
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  to.add(posix_spawnattr_setsigmask(&to.attributes, &none));
  to.add(posix_spawnattr_setsigdefault(&to.attributes, &all));
  to.add(posix_spawnattr_setflags(&to.attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
  if (to.wrong != 0) return cannot("its settings", to.wrong);

  std::error_code ec;
  auto const file = std::filesystem::absolute(program, ec).string();
  std::string words[] = {"weir", "stage-process", std::to_string(socket_in_child)};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  auto lines = environment();
  std::vector<char*> variables;
  for (auto& line : lines) variables.push_back(line.data());
  variables.push_back(nullptr);

  child_process child;
  if (int const e =
          posix_spawn(&child.pid_.value, file.c_str(), &to.files, &to.attributes, arguments, variables.data());
      e != 0) {
    child.pid_.value = 0;
    return cannot(file, e);
  }
  // By its number: glibc 2.36 declares pidfd_open() without extern "C".
  child.pidfd_ = descriptor(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_.value, 0)));
  child.socket_ = std::move(sockets->ours);
  child.out_ = std::move(out->ours);
  child.err_ = std::move(err->ours);
  return child;
}

void child_process::kill() {
  if (pid_.value == 0) return;
  ::kill(-pid_.value, SIGKILL);
  ::kill(pid_.value, SIGKILL);  // before it has its group
}

bool child_process::reap(process_end& end) {
  if (pid_.value == 0) return true;
  siginfo_t seen{};
  // It keeps its number until its status is taken: so long nobody else can have it, and what it left behind be killed.
  int got = 0;
  do got = waitid(P_PID, static_cast<id_t>(pid_.value), &seen, WEXITED | WNOHANG | WNOWAIT);
  while (got != 0 && errno == EINTR);
  if (got == 0 && seen.si_pid == 0) return false;
  end = {};
  if (got != 0) {
    end.known = false;
  } else {
    ::kill(-pid_.value, SIGKILL);
    int status = 0;
    rusage used{};
    if (wait4(pid_.value, &status, WNOHANG, &used) != pid_.value) {
      end.known = false;
    } else {
      if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
      if (WIFEXITED(status)) end.exit_code = WEXITSTATUS(status);
      end.cpu = std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    }
  }
  pid_.value = 0;
  return true;
}

child_process::~child_process() {
  process_end ignored;
  if (reap(ignored)) return;
  kill();
  auto const until = std::chrono::steady_clock::now() + kill_patience;
  while (std::chrono::steady_clock::now() < until) {
    if (pollfd at{pidfd_.get(), POLLIN, 0}; at.fd >= 0)
      poll(&at, 1, 100);
    else
      poll(nullptr, 0, 5);
    if (reap(ignored)) return;
  }
  // Stuck in the kernel. Whenever that ends, it shall not stay as a zombie.
  std::thread([pid = pid_.value] { waitpid(pid, nullptr, 0); }).detach();
}

}  // namespace weir::plugin
