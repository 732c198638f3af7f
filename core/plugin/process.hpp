// A child of this program: started with nothing but three descriptors and a socket, and gone when its owner is.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>

#include "core/base/result.hpp"

namespace weir::plugin {

// A file descriptor, closed at the end.
class descriptor {
 public:
  explicit descriptor(int fd = -1) : fd_(fd) {}
  descriptor(descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  descriptor& operator=(descriptor&& o) noexcept {
    if (this != &o) {
      reset();
      fd_ = std::exchange(o.fd_, -1);
    }
    return *this;
  }
  ~descriptor() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_;
};

struct process_end {
  int signal = 0;     // that ended it; 0: it ended by itself
  int exit_code = 0;  // if it did
  bool known = true;  // false: somebody else took its status
  std::chrono::microseconds cpu{0};
};

class child_process {
 public:
  // `weir stage-process`, leader of a session and process group of its own.
  static base::result<child_process> start(std::filesystem::path const& program);
  child_process(child_process&& o) noexcept = default;
  child_process& operator=(child_process&&) = delete;
  ~child_process();  // killed and reaped, if it was not

  int socket() const { return socket_.get(); }  // without MSG_DONTWAIT recv() waits for a moment
  int out() const { return out_.get(); }        // these two never block
  int err() const { return err_.get(); }
  int exited() const { return pidfd_.get(); }  // readable when it has ended; -1 where the system has no such thing

  void close_socket() { socket_.reset(); }
  void close_out() { out_.reset(); }
  void close_err() { err_.reset(); }
  // The whole process group, with SIGKILL.
  void kill();
  // True when it has ended: `end` is filled in, its status taken, its process group killed. Does not wait.
  bool reap(process_end& end);

 private:
  child_process() = default;
  struct id {  // moves like a descriptor
    pid_t value = 0;
    id() = default;
    id(id&& o) noexcept : value(std::exchange(o.value, 0)) {}
  };
  id pid_;
  descriptor socket_, out_, err_, pidfd_;
};

}  // namespace weir::plugin
