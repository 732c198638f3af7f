// A folder of its own per test, records by the dozen, and children to kill.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/store/journal.hpp"
#include "core/store/lock.hpp"

namespace store_test {

using namespace weir;
using namespace weir::store;
namespace fs = std::filesystem;

inline constexpr auto netbox = "https://netbox.example";

inline instant at(std::int64_t seconds, std::int64_t ms = 0) {
  return instant(std::chrono::seconds(1'800'000'000 + seconds) + std::chrono::milliseconds(ms));
}

class folder {
 public:
  folder() {
    std::string name = (fs::temp_directory_path() / "weir-store-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~folder() {
    ::chmod(path_.c_str(), 0700);
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  folder(folder const&) = delete;
  folder& operator=(folder const&) = delete;
  fs::path const& path() const { return path_; }
  fs::path journal() const { return path_ / "journal.db"; }

 private:
  fs::path path_;
};

inline std::unique_ptr<journal> opened(fs::path const& file, journal_options options = {}) {
  options.durable = false;
  auto j = journal::open(file, std::move(options));
  if (!j) throw std::runtime_error(j.error().text());
  return std::move(*j);
}

inline run_record run(std::string const& id, std::int64_t started = 0, std::string const& url = netbox) {
  run_record r;
  r.id = id;
  r.netbox_url = url;
  r.command = "sync";
  r.profile = "conservative";
  r.config_file = "/etc/weir/config.yaml";
  r.host = "host-a";
  r.pid = 4711;
  r.started = at(started);
  return r;
}

inline batch_record batch(std::string const& of, std::uint64_t number, std::size_t objects = 2) {
  batch_record b;
  b.run = of;
  b.number = number;
  b.source = "pve-a";
  b.stage = "virtual-machines";
  b.kind = "virtualization.virtualmachine";
  b.path = "virtualization/virtual-machines";
  b.verb = "POST";
  b.marker = "weir " + of + "/" + std::to_string(number);
  b.objects = objects;
  b.created = at(1, 7);
  return b;
}

inline std::vector<object_record> objects(std::size_t count, std::string const& padding = {}) {
  std::vector<object_record> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].position = i;
    out[i].action = "create";
    out[i].label = "vm-" + std::to_string(i);
    out[i].key = "{\"name\":\"vm-" + std::to_string(i) + "\"}" + padding;
  }
  return out;
}

// Succeeded, or says why not.
template <class Result>
testing::AssertionResult ok(Result const& r) {
  return r ? testing::AssertionSuccess() : testing::AssertionFailure() << r.error().text();
}

inline std::string bytes(fs::path const& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void write(fs::path const& file, std::string const& text) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << text;
  ASSERT_TRUE(out.flush());
}

// A child process that runs `body` and ends with what it returns; killed with the test if it lives that long.
class child {
 public:
  template <class Body>
  explicit child(Body&& body) {
    pid_ = ::fork();
    if (pid_ == 0) {
      int code = 99;
      try {
        code = body();
      } catch (std::exception const& e) {
        ::fprintf(stderr, "child: %s\n", e.what());
      }
      ::_exit(code);
    }
  }
  ~child() {
    if (pid_ > 0) kill();
  }
  child(child const&) = delete;
  child& operator=(child const&) = delete;
  pid_t pid() const { return pid_; }
  void kill() {
    ::kill(pid_, SIGKILL);
    wait();
  }
  // Its exit code, or minus the signal.
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

class pipe_of_numbers {
 public:
  pipe_of_numbers() {
    if (::pipe(ends_) != 0) throw std::runtime_error("pipe");
  }
  ~pipe_of_numbers() {
    ::close(ends_[0]);
    close_writing();
  }
  pipe_of_numbers(pipe_of_numbers const&) = delete;
  pipe_of_numbers& operator=(pipe_of_numbers const&) = delete;
  void write(std::uint64_t n) { [[maybe_unused]] auto const done = ::write(ends_[1], &n, sizeof n); }
  bool read(std::uint64_t& n) { return ::read(ends_[0], &n, sizeof n) == sizeof n; }
  void close_writing() {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }

 private:
  int ends_[2] = {-1, -1};
};

// Root may write everywhere: what a test about permissions does, it does as nobody.
inline void be_nobody() {
  if (::geteuid() != 0) return;
  if (::setgid(65534) != 0 || ::setuid(65534) != 0) throw std::runtime_error("cannot become nobody");
}
inline void give_to_nobody(fs::path const& what) {
  if (::geteuid() == 0 && ::chown(what.c_str(), 65534, 65534) != 0) throw std::runtime_error("chown");
}

}  // namespace store_test
