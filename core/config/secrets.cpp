#include "core/config/secrets.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/text.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

base::error refuse(std::string what, std::string hint = {}) {
  return base::fail(base::error_code::config, std::move(what), std::move(hint));
}

std::string reason(int code) { return std::strerror(code); }

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  ~descriptor() { reset(); }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

base::result<base::secret> clean(std::string value, std::string const& whence) {
  while (value.ends_with('\n') || value.ends_with('\r')) value.pop_back();
  if (value.empty()) return refuse(whence + " is empty");
  if (value.size() > secret_bytes)
    return refuse(whence + " holds more than " + std::to_string(secret_bytes) + " bytes");
  // It goes into an HTTP header: a line break would start another one.
  if (std::any_of(value.begin(), value.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
    return refuse(whence + " holds several lines or control characters", "it must hold the secret and nothing else");
  return base::secret(std::move(value));
}

// Reads until the end or one byte more than allowed.
std::optional<int> read_all(int fd, std::string& out) {
  std::array<char, 4096> buffer{};
  while (out.size() <= secret_bytes) {
    auto const n = ::read(fd, buffer.data(), buffer.size());
    if (n == 0) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return {};
}

base::result<base::secret> read_file(std::filesystem::path const& file, bool private_only) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer before it is refused.
  descriptor const fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return refuse("cannot read " + file.string() + ": " + reason(errno));
  struct stat about {};
  if (::fstat(fd.get(), &about) != 0) return refuse("cannot read " + file.string() + ": " + reason(errno));
  if (!S_ISREG(about.st_mode)) return refuse(file.string() + " is not a regular file");
  if (private_only && (about.st_mode & 077) != 0) {
    std::array<char, 8> mode{};
    std::snprintf(mode.data(), mode.size(), "%04o", static_cast<unsigned>(about.st_mode & 07777));
    return refuse(file.string() + " can be read by others than its owner (mode " + mode.data() + ")",
                  "chmod 600 " + file.string());
  }
  std::string value;
  if (auto const failed = read_all(fd.get(), value))
    return refuse("cannot read " + file.string() + ": " + reason(*failed));
  return clean(std::move(value), file.string());
}

// Waits for the process until `deadline`; false if it is still there.
bool wait_until(pid_t pid, int& status, std::chrono::steady_clock::time_point deadline) {
  for (;;) {
    auto const got = ::waitpid(pid, &status, WNOHANG);
    if (got == pid || (got < 0 && errno != EINTR)) return true;
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

base::result<base::secret> secret_from_environment(std::string const& variable, variables const& environment) {
  auto const found = environment.find(variable);
  if (found == environment.end())
    return refuse("environment variable " + variable + " is not set", "export " + variable + "=…");
  return clean(found->second, "environment variable " + variable);
}

base::result<base::secret> secret_from_file(std::filesystem::path const& file) { return read_file(file, true); }

base::result<base::secret> secret_from_credential(std::string const& name, variables const& environment) {
  auto const directory = environment.find("CREDENTIALS_DIRECTORY");
  if (directory == environment.end() || directory->second.empty())
    return refuse("CREDENTIALS_DIRECTORY is not set, so there are no systemd credentials",
                  "run weir as a unit with LoadCredential=" + name + ":/path/to/file");
  return read_file(std::filesystem::path(directory->second) / name, false);
}

base::result<base::secret> secret_from_command(std::string const& command, variables const& environment,
                                               std::chrono::milliseconds limit) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return refuse("the command cannot be started: " + reason(errno));
  descriptor output(ends[0]), input(ends[1]);

  std::vector<std::string> settings;
  for (auto const& [name, value] : environment) settings.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (auto& setting : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);
  std::array<std::string, 3> words{"/bin/sh", "-c", command};
  std::array<char*, 4> argv{words[0].data(), words[1].data(), words[2].data(), nullptr};

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A process group of its own, so that what the shell started ends with it.
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = 0;
  int const failed = ::posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv.data(), envp.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return refuse("/bin/sh cannot be started: " + reason(failed));
  input.reset();

  auto const deadline = std::chrono::steady_clock::now() + limit;
  std::string value;
  bool late = false, ended = false;
  std::array<char, 4096> buffer{};
  while (!late && !ended && value.size() <= secret_bytes) {
    auto const left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd waiting{output.get(), POLLIN, 0};
    int const ready = ::poll(&waiting, 1, static_cast<int>(std::max<long long>(left, 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      late = true;
      break;
    }
    auto const n = ::read(output.get(), buffer.data(), buffer.size());
    if (n > 0)
      value.append(buffer.data(), static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR)
      ended = true;
  }
  int status = 0;
  bool const exited = ended && wait_until(pid, status, deadline);
  if (!exited) {
    ::kill(-pid, SIGKILL);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (value.size() > secret_bytes)
      return refuse("the command printed more than " + std::to_string(secret_bytes) + " bytes");
    return refuse("the command did not end within " + format_duration(static_cast<double>(limit.count())),
                  "its standard input is empty: it must not ask anything");
  }
  if (WIFSIGNALED(status)) return refuse("the command was ended by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0)
    return refuse("the command failed with exit code " + std::to_string(WEXITSTATUS(status)),
                  "its standard error says why");
  return clean(std::move(value), "the command's output");
}

}  // namespace weir::config
