// The child's side of isolation: the process that holds a plugin.
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "core/plugin/isolation.hpp"
#include "core/plugin/remote.hpp"
#include "core/plugin/restrict.hpp"
#include "core/plugin/stage_json.hpp"
#include "core/plugin/wire.hpp"

namespace weir::plugin {
namespace {

constexpr int exit_usage = 64;

std::atomic<bool> ran_out_of_memory{false};

// Of operator new, in this program and in plugins that share its C++ library.
void no_memory() {
  ran_out_of_memory = true;
  throw std::bad_alloc();
}

int refuse(std::string const& why) {
  std::fprintf(stderr, "weir stage-process is started by weir itself, for a stage in a process of its own: %s\n",
               why.c_str());
  return exit_usage;
}

// The plugin and the libraries that it may have brought with it; nothing else that lies there, such as a token.
std::vector<std::filesystem::path> readable(wire::start const& start) {
  namespace fs = std::filesystem;
  std::vector<fs::path> out{start.file, start.answers};
  std::error_code ec;
  fs::directory_iterator at(fs::path(start.file).parent_path(), ec);
  for (; !ec && at != fs::directory_iterator(); at.increment(ec)) {
    auto const name = at->path().filename().string();
    std::error_code ignored;
    bool const library = name.ends_with(".so") || name.find(".so.") != std::string::npos;
    if (library && at->is_regular_file(ignored)) out.push_back(at->path());
  }
  return out;
}

class worker {
 public:
  worker(link& to, wire::start const& start) : link_(to), start_(start) {}

  wire::said_done work() {
    switch (start_.what) {
      case wire::job::describe:
        enter(wire::phase::loading);
        return found(to_json(load_alone(start_.file)));
      case wire::job::check:
        enter(wire::phase::check);
        return found(check(start_.file, {start_.options_json, start_.answers}));
      case wire::job::run:
        break;
    }
    enter(wire::phase::loading);
    auto const report = load_alone(start_.file);
    for (auto const& stage : report.stages)
      if (stage.id == start_.stage) return run(stage);
    wire::said_done out;
    out.error = report.problems.empty()
                    ? base::fail(base::error_code::config,
                                 "plugin " + start_.file + " has no stage \"" + start_.stage + "\" any more")
                    : report.problems.front();
    return out;
  }

 private:
  void enter(wire::phase now) {
    wire::writer w(wire::type::phase);
    w.u8(static_cast<std::uint8_t>(now));
    link_.send(*std::move(w).take());
  }

  wire::said_done run(loaded_stage const& stage) {
    remote_services services(link_, start_, stage.kinds_json);
    auto const result = run_stage(stage, start_.options_json, services, [&](char const* function) {
      std::string_view const f(function);
      enter(f == "create" ? wire::phase::create : f == "collect" ? wire::phase::collect : wire::phase::destroy);
    });
    wire::said_done out;
    out.ok = result.has_value();
    if (!result) out.error = result.error();
    return out;
  }

  static wire::said_done found(std::string text) {
    wire::said_done out;
    out.ok = true;
    out.text = std::move(text);
    return out;
  }

  link& link_;
  wire::start const& start_;
};

}  // namespace

int stage_process(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
    return refuse("descriptor " + std::to_string(socket) + " is no socket of its own");

  // Both live as long as the process: threads of the plugin, and the one that reads, may outlive main().
  auto& to = *new link(socket);
  auto& start = *new wire::start;
  std::string wrong;
  auto const broken = to.first([&](wire::message const& m) {
    auto parsed = wire::parse_start(m);
    if (parsed)
      start = std::move(*parsed);
    else
      wrong = parsed.error().what;
  });
  if (!broken.empty() || !wrong.empty()) return refuse(broken.empty() ? wrong : broken);

  // No parent, no stage: also where weir is killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (static_cast<std::uint64_t>(getppid()) != start.parent) return static_cast<int>(child_exit::no_connection);

  std::set_new_handler(&no_memory);
  // What it printed before it crashed is wanted.
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  auto const lacking = restrict_process({start.address_space, start.cpu_seconds, readable(start)});
  if (start.what == wire::job::run && (start.levels >> static_cast<unsigned>(base::log::level::debug) & 1) != 0)
    for (auto const& one : lacking)
      if (auto const line = wire::frame(wire::said_log{base::log::level::debug, "isolation: " + one, {}}))
        to.send(*line);

  wire::said_done done;
  try {
    done = worker(to, start).work();
  } catch (std::exception const& e) {
    done.error = base::fail(std::string("weir itself failed in its process: ") + e.what());
  }
  done.out_of_memory = ran_out_of_memory;
  auto frame = wire::frame(done);
  if (!frame) frame = wire::frame(wire::said_done{false, base::fail("its result is too long"), false, ""});
  to.send(*frame);
  return 0;
}

}  // namespace weir::plugin
