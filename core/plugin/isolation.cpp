#include "core/plugin/isolation.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "core/plugin/output.hpp"
#include "core/plugin/plugin_file.hpp"
#include "core/plugin/process.hpp"
#include "core/plugin/remote.hpp"
#include "core/plugin/stage_json.hpp"
#include "core/plugin/wire.hpp"

namespace weir::plugin {
namespace {

namespace fs = std::filesystem;
using clock = std::chrono::steady_clock;
using base::error_code;
using base::log::level;
using std::chrono::milliseconds;

// How long the loop sleeps until it looks at the clock and at cancelled().
constexpr milliseconds tick{100};
// From the end of a connection to the end of its process, which comes at the same time where it crashed.
constexpr milliseconds close_grace{1000};
// A process that was killed is gone at once, unless the kernel is in the middle of something for it.
constexpr milliseconds kill_grace{5000};
constexpr std::size_t read_at_once = std::size_t{64} << 10;
// A child that asks for more than this at once, or takes less of its answers, is not listened to for a while.
constexpr std::size_t max_outstanding = 256;
constexpr std::size_t max_unsent = std::size_t{64} << 20;
// What is read of a pipe after the process's end: more than a pipe can hold.
constexpr std::size_t max_left_behind = std::size_t{4} << 20;
constexpr std::size_t max_workers = 16;
// After so many messages in a row everything else is looked at.
constexpr unsigned look_around = 64;

template <class... Case>
struct cases : Case... {
  using Case::operator()...;
};
template <class... Case>
cases(Case...) -> cases<Case...>;

std::string seconds(milliseconds t) {
  return t.count() % 1000 == 0 ? fmt::format("{} s", t.count() / 1000) : fmt::format("{} ms", t.count());
}

std::string signal_name(int number) {
  auto const* name = sigabbrev_np(number);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

// Answers that come from other threads. Outlives the run: an answer may come after it was stopped.
class arrivals {
 public:
  struct one {
    std::uint64_t call = 0;
    fetched answer;
    std::optional<std::string> thrown;
  };

  arrivals() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  bool good() const { return static_cast<bool>(event_); }
  int event() const { return event_.get(); }

  void put(one answer) {
    std::lock_guard const lock(mutex_);
    if (abandoned_) return;
    queue_.push_back(std::move(answer));
    std::uint64_t const more = 1;
    [[maybe_unused]] auto const n = write(event_.get(), &more, sizeof more);
  }
  std::deque<one> take() {
    std::lock_guard const lock(mutex_);
    std::uint64_t count = 0;
    [[maybe_unused]] auto const n = read(event_.get(), &count, sizeof count);
    return std::exchange(queue_, {});
  }
  void abandon() {
    std::deque<one> dropped;  // freed without the lock
    std::lock_guard const lock(mutex_);
    abandoned_ = true;
    dropped.swap(queue_);
  }

 private:
  descriptor event_;
  std::mutex mutex_;
  std::deque<one> queue_;
  bool abandoned_ = false;
};

// Threads for calls that block; all of them have returned when it is gone.
class workers {
 public:
  ~workers() {
    {
      std::lock_guard const lock(mutex_);
      over_ = true;
      jobs_.clear();
    }
    some_.notify_all();
    for (auto& t : threads_) t.join();
  }
  void add(std::function<void()> job) {
    std::lock_guard const lock(mutex_);
    jobs_.push_back(std::move(job));
    if (idle_ < jobs_.size() && threads_.size() < max_workers) threads_.emplace_back([this] { work(); });
    some_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      some_.wait(lock, [&] { return over_ || !jobs_.empty(); });
      --idle_;
      if (over_) return;
      auto const job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable some_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool over_ = false;
};

// What a child came to: what it said, or how it ended without a word.
struct ending {
  std::optional<wire::said_done> said;
  base::error how;    // without the stage's name
  std::string fault;  // of weir's own, in a call that has no answer
};

// One child, from its start to its end. All on one thread, but for what `workers` carry out.
class supervisor {
 public:
  supervisor(child_process child, process_limits const& limits, services* offered)
      : child_(std::move(child)),
        limits_(limits),
        offered_(offered),
        output_([this](level l, std::string const& line) { log_line(l, line); }, last_) {}

  ending run(wire::start const& start);

 private:
  enum class killed { no, wall, cancel, closed, garbage, lingered };

  void loop();
  void wait();
  void watch_the_clock();
  bool read_socket(int flags = MSG_DONTWAIT);
  void handle_messages();
  void handle(wire::message const& m);
  void answer_arrivals();
  void read_pipe(int fd, level as, std::string& partial, void (child_process::*close)());
  void after_its_end();
  void send();
  void put(std::optional<std::string> frame, std::uint64_t call);
  void thrown(std::uint64_t call, std::string_view what);
  template <class F>
  void answering(std::uint64_t call, F body);
  template <class F>
  void unanswered(char const* function, F body);
  bool begin_call(std::uint64_t call);
  void log_line(level l, std::string const& line);
  void kill(killed why);
  bool paused() const { return outstanding_.size() >= max_outstanding || unsent_.size() - sent_ > max_unsent; }
  std::string where() const;
  std::string memory_hint() const;
  ending judge();
  base::error words() const;

  child_process child_;
  process_limits const limits_;
  services* const offered_;  // null: it has nothing to ask for
  std::shared_ptr<arrivals> const arrivals_ = std::make_shared<arrivals>();
  last_lines last_;
  output output_;
  std::string partial_out_, partial_err_;
  wire::decoder in_;
  bool heard_ = false;   // something came in the last round
  unsigned rounds_ = 0;  // in which that was so
  std::string unsent_;
  std::size_t sent_ = 0;
  std::unordered_set<std::uint64_t> outstanding_;
  std::optional<wire::phase> phase_;
  std::optional<wire::said_done> done_;
  std::string garbage_;  // what was wrong with what it sent
  std::string fault_;
  bool told_ = false;  // to stop
  bool closed_ = false;
  killed killed_ = killed::no;
  std::optional<process_end> end_;
  bool lost_ = false;  // it can't even be killed
  clock::time_point const began_ = clock::now();
  std::optional<clock::time_point> cancel_until_, close_until_, linger_until_, kill_until_;
  workers workers_;  // gone first
};

// --- calls -----------------------------------------------------------------------------------------------------------

void supervisor::put(std::optional<std::string> frame, std::uint64_t call) {
  if (!frame) return thrown(call, "the answer is longer than the 256 MiB that a process of its own can be given");
  unsent_ += *frame;
}

void supervisor::thrown(std::uint64_t call, std::string_view what) {
  wire::writer w(wire::type::threw, call);
  w.text(what);
  if (auto const frame = std::move(w).take()) unsent_ += *frame;
}

template <class F>
void supervisor::answering(std::uint64_t call, F body) {
  try {
    put(wire::frame(call, body()), call);
  } catch (std::exception const& e) {
    thrown(call, e.what());
  } catch (...) {
    thrown(call, "not a std::exception");
  }
}

template <class F>
void supervisor::unanswered(char const* function, F body) {
  std::string what;
  try {
    return body();
  } catch (std::exception const& e) {
    what = e.what();
  } catch (...) {
    what = "not a std::exception";
  }
  if (fault_.empty()) fault_ = fmt::format("weir itself failed in {}(): {}", function, what);
}

bool supervisor::begin_call(std::uint64_t call) {
  if (outstanding_.insert(call).second) return true;
  garbage_ = "a call by the number of another that is under way";
  return false;
}

void supervisor::log_line(level l, std::string const& line) {
  if (offered_ != nullptr) unanswered("log", [&] { offered_->log(l, line, {}); });
}

void supervisor::handle(wire::message const& m) {
  auto const said = wire::parse(m);
  if (!said) {
    garbage_ = said.error().what;
    return;
  }
  if (auto const* p = std::get_if<wire::said_phase>(&*said)) {
    phase_ = p->now;
    return;
  }
  if (auto const* d = std::get_if<wire::said_done>(&*said)) {
    done_ = *d;
    linger_until_ = clock::now() + limits_.cancel_grace;
    return;
  }
  if (offered_ == nullptr) {
    garbage_ = "a request, where there is nothing to ask for";
    return;
  }
  auto& s = *offered_;
  auto const call = m.call;
  std::visit(
      cases{
          [&](wire::said_emit const& e) {
            if (call != 0) return answering(call, [&] { return s.emit(e.kind, e.key, e.fields); });
            unanswered("emit", [&] {
              auto const taken = s.emit(e.kind, e.key, e.fields);
              if (!taken && !s.cancelled() && fault_.empty()) fault_ = "emit(): " + taken.error().what;
            });
          },
          [&](wire::said_complete const& c) { answering(call, [&] { return s.complete(c.kind, c.scope); }); },
          [&](wire::said_metric const& x) { answering(call, [&] { return s.metric(x.kind, x.name, x.value); }); },
          [&](wire::said_get const& g) { answering(call, [&] { return s.state_get(g.key); }); },
          [&](wire::said_put const& p) { answering(call, [&] { return s.state_put(p.key, p.value); }); },
          [&](wire::said_scope const&) {
            answering(call, [&]() -> base::result<std::optional<std::string>> {
              auto got = s.scope();
              if (!got) return got.error();
              return std::optional(std::move(*got));
            });
          },
          [&](wire::said_log const& l) {
            if (l.level >= level::info) last_.add(l.message);
            unanswered("log", [&] { s.log(l.level, l.message, l.fields); });
          },
          [&](wire::said_progress const& p) { unanswered("progress", [&] { s.progress(p.done, p.total, p.note); }); },
          [&](wire::said_notice const& n) { unanswered("notice", [&] { s.notice(n.level, n.message, n.hint); }); },
          [&](wire::said_fetch const& f) {
            if (end_ || !begin_call(call)) return;
            try {
              s.fetch_async(std::string(f.target), [to = arrivals_, call](fetched answer) {
                to->put({call, std::move(answer), {}});
              });
            } catch (std::exception const& e) {
              outstanding_.erase(call);
              thrown(call, e.what());
            } catch (...) {
              outstanding_.erase(call);
              thrown(call, "not a std::exception");
            }
          },
          [&](wire::said_read const& r) {
            if (end_ || !begin_call(call)) return;
            workers_.add([to = arrivals_, &s, call, target = std::string(r.target)] {
              arrivals::one out{call, {}, {}};
              try {
                out.answer = s.netbox_read(target);
              } catch (std::exception const& e) {
                out.thrown = e.what();
              } catch (...) {
                out.thrown = "not a std::exception";
              }
              to->put(std::move(out));
            });
          },
          [&](wire::said_write const& w) {
            if (end_ || !begin_call(call)) return;
            workers_.add([to = arrivals_, &s, call, method = std::string(w.method), target = std::string(w.target),
                          body = std::string(w.body)] {
              arrivals::one out{call, {}, {}};
              try {
                out.answer = s.netbox_write(method, target, body);
              } catch (std::exception const& e) {
                out.thrown = e.what();
              } catch (...) {
                out.thrown = "not a std::exception";
              }
              to->put(std::move(out));
            });
          },
          [](wire::said_phase const&) {},
          [](wire::said_done const&) {},
      },
      *said);
}

void supervisor::handle_messages() {
  while (!done_ && garbage_.empty() && !paused()) {
    auto const m = in_.next();
    if (!m) break;
    handle(*m);
  }
  if (garbage_.empty() && !done_) garbage_ = in_.error();
}

void supervisor::answer_arrivals() {
  for (auto& one : arrivals_->take()) {
    if (outstanding_.erase(one.call) == 0) continue;  // answered twice
    if (one.thrown)
      thrown(one.call, *one.thrown);
    else
      put(wire::frame(one.call, one.answer), one.call);
  }
}

// --- the child's ends
// -------------------------------------------------------------------------------------------------

void supervisor::send() {
  while (sent_ < unsent_.size() && !closed_) {
    auto const n = ::send(child_.socket(), unsent_.data() + sent_, unsent_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent_ += static_cast<std::size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      if (n < 0 && errno == EAGAIN) {
        // What it has taken need not be kept until it has taken all.
        if (sent_ > read_at_once) unsent_.erase(0, std::exchange(sent_, 0));
        return;
      }
      break;  // it reads no more; that its end is closed is seen when reading
    }
  }
  unsent_.clear();
  sent_ = 0;
}

// False: there was nothing to read.
bool supervisor::read_socket(int flags) {
  std::array<char, read_at_once> bytes;
  auto const n = recv(child_.socket(), bytes.data(), bytes.size(), flags);
  if (n > 0) {
    if (!done_) in_.feed({bytes.data(), static_cast<std::size_t>(n)});
    return true;
  }
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    closed_ = true;
    close_until_ = clock::now() + close_grace;
  }
  return false;
}

void supervisor::read_pipe(int fd, level as, std::string& partial, void (child_process::*close)()) {
  std::array<char, read_at_once> bytes;
  auto const n = read(fd, bytes.data(), bytes.size());
  if (n > 0) {
    output_.feed(as, partial, {bytes.data(), static_cast<std::size_t>(n)});
  } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
    output_.finish(as, partial);
    (child_.*close)();
  }
}

void supervisor::kill(killed why) {
  if (killed_ != killed::no) return;
  killed_ = why;
  child_.kill();
  kill_until_ = clock::now() + kill_grace;
}

void supervisor::watch_the_clock() {
  auto const now = clock::now();
  auto const passed = [&](std::optional<clock::time_point> const& t) { return t && now >= *t; };
  if (!garbage_.empty()) kill(killed::garbage);
  if (!told_ && !done_ && offered_ != nullptr && offered_->cancelled()) {
    told_ = true;
    cancel_until_ = now + limits_.cancel_grace;
    put(wire::writer(wire::type::cancel).take(), 0);
  }
  if (passed(kill_until_)) lost_ = true;
  if (done_) {
    if (passed(linger_until_)) kill(killed::lingered);
    return;
  }
  if (passed(cancel_until_)) kill(killed::cancel);
  if (now - began_ >= limits_.wall) kill(killed::wall);
  if (passed(close_until_)) kill(killed::closed);
}

void supervisor::wait() {
  // A stage that has just been answered mostly asks again at once, and an emit() is nothing but such a turn: waiting
  // for the socket alone, for a moment, takes a fifth of its time less than looking at everything.
  if (std::exchange(heard_, false) && outstanding_.empty() && !closed_ && !paused() && ++rounds_ % look_around != 0) {
    heard_ = read_socket(0);
    if (heard_) return;
  }
  auto const now = clock::now();
  auto until = now + tick;
  for (auto const& t : {cancel_until_, close_until_, linger_until_, kill_until_})
    if (t) until = std::min(until, *t);
  until = std::min(until, began_ + limits_.wall);
  auto const timeout = std::clamp(std::chrono::ceil<milliseconds>(until - now), milliseconds(0), tick);

  bool const listens = !closed_ && !paused();
  short const for_socket = static_cast<short>((listens ? POLLIN : 0) | (sent_ < unsent_.size() ? POLLOUT : 0));
  pollfd at[] = {{for_socket != 0 && !closed_ ? child_.socket() : -1, for_socket, 0},
                 {child_.out(), POLLIN, 0},
                 {child_.err(), POLLIN, 0},
                 {arrivals_->event(), POLLIN, 0},
                 {child_.exited(), POLLIN, 0}};
  // Past a deadline that has been acted upon there is nothing to wait for but the end; do not spin.
  int const ready = poll(at, std::size(at), static_cast<int>(std::max<milliseconds::rep>(timeout.count(), 1)));
  if (ready < 0) return;
  if (at[0].revents != 0 && (listens || (at[0].revents & (POLLHUP | POLLERR)) != 0)) heard_ = read_socket();
  if (at[1].revents != 0) read_pipe(child_.out(), level::info, partial_out_, &child_process::close_out);
  if (at[2].revents != 0) read_pipe(child_.err(), level::warning, partial_err_, &child_process::close_err);
  if (at[3].revents != 0) answer_arrivals();
  bool const look = child_.exited() >= 0 ? at[4].revents != 0 : ready == 0 || closed_;
  if (process_end end; look && child_.reap(end)) end_ = end;
}

void supervisor::loop() {
  while (!end_ && !lost_) {
    handle_messages();
    watch_the_clock();
    send();
    wait();
  }
}

// What it said and printed before it ended. Nobody takes answers any more.
void supervisor::after_its_end() {
  auto const listen = [&] {
    outstanding_.clear();
    unsent_.clear();
    sent_ = 0;
    handle_messages();
    return !closed_ && !done_ && garbage_.empty() && read_socket();
  };
  if (killed_ == killed::no)
    while (listen()) {
    }
  for (std::size_t left = max_left_behind; left > read_at_once && child_.out() >= 0; left -= read_at_once)
    read_pipe(child_.out(), level::info, partial_out_, &child_process::close_out);
  for (std::size_t left = max_left_behind; left > read_at_once && child_.err() >= 0; left -= read_at_once)
    read_pipe(child_.err(), level::warning, partial_err_, &child_process::close_err);
}

// --- how it ended
// -----------------------------------------------------------------------------------------------------

std::string supervisor::where() const {
  if (!phase_) return "while it was started";
  switch (*phase_) {
    case wire::phase::loading:
      return "while its plugin was loaded";
    case wire::phase::create:
      return "in create()";
    case wire::phase::collect:
      return "in collect()";
    case wire::phase::destroy:
      return "in destroy()";
    case wire::phase::check:
      return "while it was checked";
  }
  return "";
}

base::error supervisor::words() const {
  static constexpr char plugin_fault[] = "this is a fault of the plugin: report it to those who make it";
  auto const at = where();
  auto const fault = [](std::string what) { return base::fail(std::move(what), plugin_fault); };
  if (!garbage_.empty()) return fault(fmt::format("its process sent weir what is no message {}: {}", at, garbage_));
  switch (killed_) {
    case killed::wall: {
      auto what = fmt::format("its process had not ended after {} ({}) and was killed", seconds(limits_.wall), at);
      if (offered_ == nullptr) return fault(std::move(what));  // it was only to be looked at
      return base::fail(std::move(what), "limits.wall of this stage says so: make it longer if it has that much to do");
    }
    case killed::cancel:
      return fault(fmt::format("its process did not stop within {} of being told to ({}) and was killed",
                               seconds(limits_.cancel_grace), at));
    case killed::closed:
      return fault("its process closed its connection to weir " + at);
    default:
      break;
  }
  if (lost_ || !end_ || !end_->known) return base::fail("its process ended " + at + ", and nobody knows how");
  auto const cpu_used = end_->cpu >= limits_.cpu;
  if (end_->signal == SIGXCPU || (end_->signal == SIGKILL && cpu_used))
    return base::fail(fmt::format("its process used up its {} s of CPU time {}", limits_.cpu.count(), at),
                      "limits.cpu of this stage says so: give it more if it has that much to do");
  if (end_->signal == SIGSYS)
    return fault(fmt::format("its process tried to start another process {}, which a stage must not (SIGSYS)", at));
  if (end_->signal == SIGKILL)
    return base::fail(fmt::format("its process was ended by SIGKILL (Killed) {}", at),
                      "weir did not do it: the kernel does where memory runs out, see its log");
  if (end_->signal != 0) {
    auto const* description = sigdescr_np(end_->signal);
    return fault(fmt::format("its process was ended by {} ({}) {}", signal_name(end_->signal),
                             description != nullptr ? description : "a signal without a name", at));
  }
  if (end_->exit_code == static_cast<int>(child_exit::no_memory))
    return base::fail(fmt::format("its process ran out of memory {}", at), memory_hint());
  if (end_->exit_code == static_cast<int>(child_exit::no_connection))
    return fault("its process closed its connection to weir " + at);
  if (!phase_)
    return base::fail(fmt::format("its process ended with exit code {} {}", end_->exit_code, at),
                      "the program that is started for it must be a weir of this version");
  return fault(fmt::format("its process ended with exit code {} {}: a plugin must not end it", end_->exit_code, at));
}

std::string supervisor::memory_hint() const {
  return fmt::format("its process may use {} MiB of memory, which did not suffice: see limits.memory_mib of this stage",
                     limits_.address_space_bytes >> 20);
}

ending supervisor::judge() {
  ending out;
  out.fault = fault_;
  if (done_) {
    if (done_->out_of_memory && !done_->ok) {
      auto& hint = done_->error.hint;
      hint += (hint.empty() ? "" : "; ") + memory_hint();
    }
    std::string unclean;
    if (killed_ == killed::lingered)
      unclean = fmt::format("had not ended {} later and was killed", seconds(limits_.cancel_grace));
    else if (end_ && end_->signal != 0)
      unclean = "was ended by " + signal_name(end_->signal);
    else if (end_ && end_->exit_code != 0)
      unclean = fmt::format("ended with exit code {}", end_->exit_code);
    if (!unclean.empty())
      log_line(level::warning, "the stage had done its work, but its process " + unclean + ": a fault of the plugin");
    out.said = std::move(done_);
    return out;
  }
  out.how = words();
  if (told_) out.how.code = error_code::interrupted;
  if (auto const lines = last_.text(); !lines.empty())
    out.how.hint += (out.how.hint.empty() ? "its last lines: " : "; its last lines: ") + lines;
  return out;
}

ending supervisor::run(wire::start const& start) {
  struct at_end {
    arrivals& queue;
    ~at_end() { queue.abandon(); }
  } const guard{*arrivals_};
  auto first = wire::frame(start);
  if (!arrivals_->good()) return {{}, base::fail("can't make an eventfd: " + std::string(std::strerror(errno))), {}};
  if (!first) return {{}, base::fail("its options are too long to be given to a process"), {}};
  unsent_ = std::move(*first);
  loop();
  if (end_) after_its_end();
  return judge();
}

ending supervise(wire::start start, process_options const& how, services* offered) {
  start.parent = static_cast<std::uint64_t>(getpid());
  start.address_space = how.limits.address_space_bytes;
  start.cpu_seconds = static_cast<std::uint64_t>(std::max<std::chrono::seconds::rep>(how.limits.cpu.count(), 1));
  auto child = child_process::start(how.program);
  if (!child) return {{}, child.error(), {}};
  return supervisor(std::move(*child), how.limits, offered).run(start);
}

// Of whoever is described: the file is checked before any process is given it.
base::result<fs::path> checked(fs::path const& file) {
  std::error_code ec;
  auto real = fs::canonical(file, ec);
  if (ec) return base::fail(error_code::config, fmt::format("plugin {}: {}", file.string(), ec.message()));
  if (auto const good = check_plugin_file(real); !good) return good.error();
  return real;
}

}  // namespace

base::result<void> run_isolated(loaded_stage const& stage, std::string const& options_json, services& offered,
                                process_options const& how) {
  auto const name = "stage \"" + stage.id + "\"";
  auto const file = checked(stage.file);
  if (!file) return file.error();
  wire::start start;
  start.what = wire::job::run;
  start.file = file->string();
  start.stage = stage.id;
  start.options_json = options_json;
  start.source = offered.source_name();
  start.dry = offered.dry();
  start.unanswered = offered.takes_all_that_is_sound();
  for (auto const l : {level::trace, level::debug, level::info, level::warning, level::error})
    if (offered.log_enabled(l)) start.levels |= 1u << static_cast<unsigned>(l);
  auto end = supervise(std::move(start), how, &offered);
  if (!end.said) {
    end.how.what = name + ": " + end.how.what;
    return end.how;
  }
  if (!end.said->ok) return end.said->error;
  if (!end.fault.empty()) return base::fail(name + ": " + end.fault);
  return {};
}

load_report describe(fs::path const& file, process_options const& how) {
  load_report report;
  auto const real = checked(file);
  if (!real) {
    report.problems.push_back(real.error());
    return report;
  }
  auto const problem = [&](base::error e) {
    report.problems.push_back(
        base::fail(error_code::config, fmt::format("plugin {}: {}", real->string(), e.what), std::move(e.hint)));
    return report;
  };
  wire::start start;
  start.what = wire::job::describe;
  start.file = real->string();
  auto end = supervise(std::move(start), how, nullptr);
  if (!end.said) return problem(std::move(end.how));
  if (!end.said->ok) return problem(std::move(end.said->error));
  auto found = report_from_json(end.said->text);
  if (!found) return problem(found.error());
  for (auto& stage : found->stages) {
    // Its process had the plugin's code in it, and may have told anything.
    if (auto const good = check_contents(stage, "plugin " + real->string()); !good) {
      found->problems.push_back(good.error());
      continue;
    }
    stage.file = *real;
    stage.isolated = true;
    report.stages.push_back(std::move(stage));
  }
  report.problems = std::move(found->problems);
  return report;
}

base::result<std::string> check_in_process(fs::path const& file, conformance_options const& with,
                                           process_options const& how) {
  auto const real = checked(file);
  if (!real) return real.error();
  wire::start start;
  start.what = wire::job::check;
  start.file = real->string();
  start.options_json = with.options_json;
  if (!with.answers.empty()) {
    std::error_code ec;
    auto const answers = fs::canonical(with.answers, ec);
    if (ec) return base::fail(error_code::usage, fmt::format("answers {}: {}", with.answers.string(), ec.message()));
    start.answers = answers.string();
  }
  auto end = supervise(std::move(start), how, nullptr);
  if (!end.said) {
    end.how.what = fmt::format("plugin {}: {}", real->string(), end.how.what);
    return end.how;
  }
  if (!end.said->ok) return end.said->error;
  return std::move(end.said->text);
}

}  // namespace weir::plugin
