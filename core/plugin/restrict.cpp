#include "core/plugin/restrict.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "core/plugin/sanitized.hpp"

namespace weir::plugin {
namespace {

namespace fs = std::filesystem;

// What programs read on their own account: libraries, locales, time zones, the number of processors.
constexpr char const* system_paths[] = {"/usr",
                                        "/lib",
                                        "/lib32",
                                        "/lib64",
                                        "/etc/ld.so.cache",
                                        "/etc/localtime",
                                        "/etc/timezone",
                                        "/etc/locale.alias",
                                        "/dev/null",
                                        "/dev/zero",
                                        "/dev/random",
                                        "/dev/urandom",
                                        "/proc/self",
                                        "/proc/cpuinfo",
                                        "/proc/meminfo",
                                        "/proc/sys/kernel/osrelease",
                                        "/proc/sys/vm/overcommit_memory",
                                        "/sys/devices/system/cpu",
                                        "/sys/fs/cgroup"};

// Takes memory or other processes, or the system, out of its own hands; nothing that a stage has to do.
constexpr char const* refused_calls[] = {
    // the network, and other programs through it
    "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4",
    // other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "kcmp", "setsid", "setpgid", "setpriority", "ioprio_set", "sched_setscheduler",
    "sched_setparam", "sched_setattr", "setrlimit", "migrate_pages", "move_pages",
    // files
    "creat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat",
    "truncate", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "mkdir", "mkdirat",
    "rmdir", "mknod", "mknodat", "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr", "fsetxattr",
    "removexattr", "lremovexattr", "fremovexattr", "open_by_handle_at", "name_to_handle_at",
    // the system
    "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount",
    "fspick", "mount_setattr", "unshare", "setns", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load",
    "init_module", "finit_module", "delete_module", "sethostname", "setdomainname", "settimeofday", "clock_settime",
    "clock_adjtime", "adjtimex", "acct", "quotactl", "quotactl_fd", "bpf", "perf_event_open", "userfaultfd", "add_key",
    "request_key", "keyctl", "syslog", "ioperm", "iopl", "fanotify_init", "lookup_dcookie",
    // other users
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid",
    "capset"};

// Programs fall back where these do not exist; their arguments are behind a pointer, where no filter can look.
constexpr char const* missing_calls[] = {"clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register"};

std::string reason(int e) { return std::strerror(e); }

void limit(__rlimit_resource what, char const* name, rlim_t soft, rlim_t hard, std::vector<std::string>& lacking) {
  rlimit now{};
  if (getrlimit(what, &now) == 0 && now.rlim_max != RLIM_INFINITY) {
    soft = std::min(soft, now.rlim_max);
    hard = std::min(hard, now.rlim_max);
  }
  rlimit const to{soft, hard};
  if (setrlimit(what, &to) != 0) lacking.push_back(fmt::format("{} could not be set: {}", name, reason(errno)));
}

void drop_capabilities(std::vector<std::string>& lacking) {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {}, held[_LINUX_CAPABILITY_U32S_3] = {};
  // A service that has none may not be allowed to ask for less, either.
  if (syscall(SYS_capget, &head, held) == 0 && std::memcmp(held, none, sizeof none) == 0) return;
  if (syscall(SYS_capset, &head, none) != 0)
    lacking.push_back(fmt::format("capabilities could not be dropped: {}", reason(errno)));
}

// --- Landlock
// ---------------------------------------------------------------------------------------------------------

int landlock_version() {
  auto const v = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return v < 0 ? 0 : static_cast<int>(v);
}

// All rights over files that this version knows: all that is handled and not allowed is refused.
std::uint64_t handled_rights(int kernel) {
  int const bits = kernel >= 5 ? 16 : kernel >= 3 ? 15 : kernel >= 2 ? 14 : 13;
  return (std::uint64_t{1} << bits) - 1;
}

void allow_reading(int rules, fs::path const& path) {
  int const at = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (at < 0) return;  // not on this system
  struct stat what {};
  landlock_path_beneath_attr beneath{};
  beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
  if (fstat(at, &what) == 0 && S_ISDIR(what.st_mode)) beneath.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
  beneath.parent_fd = at;
  syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
  close(at);
}

std::optional<std::string> landlock(std::vector<fs::path> const& readable) {
  int const kernel = landlock_version();
  if (kernel == 0) return "this kernel has no Landlock: files that weir may read can be read";
  std::uint64_t const handled = handled_rights(kernel);
  auto const rules = static_cast<int>(syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0));
  if (rules < 0) return "Landlock: " + reason(errno);
  for (auto const* path : system_paths) allow_reading(rules, path);
  if (sanitized) allow_reading(rules, "/proc");
  for (auto const& path : readable)
    if (!path.empty()) allow_reading(rules, path);
  std::optional<std::string> out;
  if (syscall(SYS_landlock_restrict_self, rules, 0) != 0) out = "Landlock: " + reason(errno);
  close(rules);
  return out;
}

// --- seccomp
// ----------------------------------------------------------------------------------------------------------

class filter {
 public:
  filter() : context_(seccomp_init(SCMP_ACT_ALLOW), &seccomp_release) {}
  explicit operator bool() const { return context_ != nullptr; }

  // A call that this machine does not have needs no rule.
  template <class... Arg>
  void add(std::uint32_t action, char const* call, Arg... arg) {
    int const number = seccomp_syscall_resolve_name(call);
    if (number == __NR_SCMP_ERROR) return;
    scmp_arg_cmp const compare[] = {arg..., scmp_arg_cmp{}};
    int const e = seccomp_rule_add_array(context_.get(), action, number, sizeof...(arg), compare);
    if (e != 0 && wrong_ == 0) wrong_ = e;
  }

  // 0, or a negative errno.
  int load() {
    if (wrong_ != 0) return wrong_;
    seccomp_attr_set(context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
    seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
    return seccomp_load(context_.get());
  }

 private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int wrong_ = 0;
};

scmp_arg_cmp has_bits(unsigned argument, std::uint64_t bits) { return {argument, SCMP_CMP_MASKED_EQ, bits, bits}; }

std::optional<std::string> seccomp() {
  filter f;
  if (!f) return "seccomp: no memory for the filter";
  auto const refuse = SCMP_ACT_ERRNO(EPERM);
  for (auto const* call : refused_calls) f.add(refuse, call);
  for (auto const* call : missing_calls) f.add(SCMP_ACT_ERRNO(ENOSYS), call);

  // Another process, in whatever way: that is an end, not an error.
  for (auto const* call : {"fork", "vfork", "execve", "execveat"}) f.add(SCMP_ACT_KILL_PROCESS, call);
#if defined(__s390__)
  unsigned const clone_flags = 1;
#else
  unsigned const clone_flags = 0;
#endif
  f.add(SCMP_ACT_KILL_PROCESS, "clone", scmp_arg_cmp{clone_flags, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0});

  for (auto const bits : {O_WRONLY, O_RDWR, O_CREAT, O_TRUNC}) {
    f.add(refuse, "open", has_bits(1, static_cast<std::uint64_t>(bits)));
    f.add(refuse, "openat", has_bits(2, static_cast<std::uint64_t>(bits)));
  }
  // abort() sends itself a signal; nobody else gets one.
  auto const self = static_cast<std::uint64_t>(getpid());
  for (auto const* call : {"kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"})
    f.add(refuse, call, scmp_arg_cmp{0, SCMP_CMP_NE, self, 0});
  // It reads limits, too: only changing one is refused.
  f.add(refuse, "prlimit64", scmp_arg_cmp{2, SCMP_CMP_NE, 0, 0});

  int const e = f.load();
  if (e == 0) return {};
  return fmt::format("the seccomp filter could not be loaded: {}", reason(-e));
}

}  // namespace

bool children_are_kept_out() { return landlock_version() > 0; }

std::vector<std::string> restrict_process(restrictions const& to) {
  std::vector<std::string> lacking;
  auto const note = [&](std::optional<std::string> what) {
    if (what) lacking.push_back(std::move(*what));
  };
  // The shadow memory of a sanitizer is larger than any limit.
  if (to.address_space != 0 && !sanitized)
    limit(RLIMIT_AS, "the limit on memory", to.address_space, to.address_space, lacking);
  // At the first a signal with a name of its own, a second later the end.
  if (to.cpu_seconds != 0) limit(RLIMIT_CPU, "the limit on CPU time", to.cpu_seconds, to.cpu_seconds + 1, lacking);
  limit(RLIMIT_CORE, "the limit on core dumps", 0, 0, lacking);
  limit(RLIMIT_FSIZE, "the limit on files", 0, 0, lacking);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    lacking.push_back(fmt::format("no-new-privileges: {}", reason(errno)));
  drop_capabilities(lacking);
  note(landlock(to.readable));
  // Not readable for other processes of the same user, such as other stages' ones.
  if (!sanitized) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  note(seccomp());
  return lacking;
}

}  // namespace weir::plugin
