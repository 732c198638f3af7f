#include "core/cli/commands.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/progress.hpp"
#include "core/cli/report.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
#include "core/store/files.hpp"
#include "core/store/journal.hpp"
#include "core/store/lock.hpp"
#include "weir/abi.h"

namespace weir::cli {
namespace {

std::atomic<bool> stop{false};

extern "C" void on_signal(int) {
  if (stop.exchange(true)) _exit(exit_code::interrupted);
  constexpr char text[] = "\nstopping: what is in flight is waited for (once more to stop at once)\n";
  [[maybe_unused]] auto const n = write(STDERR_FILENO, text, sizeof text - 1);
}

bool live(arguments const& args) {
  char const* terminal = std::getenv("TERM");
  return !args.no_progress && !args.quiet && isatty(STDERR_FILENO) && args.log_format == "text" &&
         !(terminal && std::string_view(terminal) == "dumb");
}

}  // namespace

std::atomic<bool>& stop_requested() { return stop; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a limit on files' sizes (ulimit -f): the journal's write fails and says so
}

namespace {

// The journal and the lock of a run that writes.
struct state {
  std::unique_ptr<store::journal> journal;
  std::optional<store::run_lock> lock;
};

base::result<void> open_state(setup& ready, state& out) {
  auto const& dir = ready.settings.state_dir;
  auto journal = store::journal::open(dir / "journal.db");
  if (!journal) return journal.error();
  store::lock_holder me;
  me.run = ready.options.run_id;
  me.command = ready.options.command;
  me.host = store::host_name();
  me.pid = getpid();
  me.since = std::chrono::system_clock::now();
  auto lock = store::run_lock::take(dir, ready.settings.netbox.url, me);
  if (!lock) return lock.error();
  if (auto const& dead = lock->taken_over_from())
    base::log::warning(
        fmt::format("run {} (pid {}) ended without giving back its lock; taken over", dead->run, dead->pid));
  out.lock.emplace(std::move(*lock));
  out.journal = std::move(*journal);
  ready.options.journal = out.journal.get();
  return {};
}

// Which run to finish. Nothing to do: the exit code.
std::optional<int> choose_run(arguments const& args, setup& ready, store::journal& journal) {
  auto const nothing = [&](std::string const& why) {
    std::cerr << "nothing to resume: " << why << "\n";
    if (args.output == "json")
      std::cout << nlohmann::ordered_json{{"weir", version}, {"command", "resume"}, {"exit_code", 0}, {"resumes", nullptr}}
                       .dump(2)
                << "\n";
    return exit_code::done;
  };
  auto const& url = ready.settings.netbox.url;
  auto unfinished = journal.unfinished(url);
  if (!unfinished) {
    complain(unfinished.error());
    return exit_code::of(unfinished.error().code);
  }
  std::erase_if(*unfinished, [&](auto const& r) { return r.id == ready.options.run_id; });
  if (args.run.empty()) {
    if (unfinished->empty()) {
      return nothing("no run is unfinished");
    }
    ready.options.resumes = unfinished->front().id;
    return {};
  }
  auto found = journal.find_run(args.run);
  if (!found) {
    complain(found.error());
    return exit_code::usage;
  }
  if (store::normalised_url(found->netbox_url) != store::normalised_url(url)) {
    complain(base::fail(base::error_code::usage, "run " + found->id + " wrote to " + found->netbox_url +
                                                     ", and the configuration names " + url));
    return exit_code::usage;
  }
  if (std::none_of(unfinished->begin(), unfinished->end(), [&](auto const& r) { return r.id == found->id; })) {
    return nothing("run " + found->id + " is " + std::string(store::name(found->state)));
  }
  ready.options.resumes = found->id;
  return {};
}

}  // namespace

int sync(arguments const& args) {
  configure_log(args);
  setup ready;
  if (auto code = prepare(args, ready)) return *code;
  catch_signals();
  state kept;
  if (ready.options.dry) {
    // What stages noted in earlier runs; a plan needs no state directory.
    store::journal_options reading;
    reading.read_only = true;
    if (auto earlier = store::journal::open(ready.settings.state_dir / "journal.db", reading)) {
      kept.journal = std::move(*earlier);
      ready.options.state_from = kept.journal.get();
    }
  } else {
    if (args.what == arguments::command::resume) ready.options.command = "resume";
    if (auto ok = open_state(ready, kept); !ok) {
      complain(ok.error());
      return exit_code::of(ok.error().code);
    }
    if (args.what == arguments::command::resume)
      if (auto code = choose_run(args, ready, *kept.journal)) return *code;
  }
  if (args.max_duration_s)
    ready.options.max_duration = std::chrono::milliseconds(static_cast<std::int64_t>(*args.max_duration_s * 1000));
  auto const report = [&] {
    progress_display display(live(args));
    return engine::run(ready.settings, ready.options, display, stop_requested());
  }();
  int code = exit_code_of(report);
  if (ready.options.journal && !report.netbox_version.empty())
    if (auto ok = engine::record_end(*kept.journal, report, code, summary_json(report)); !ok) {
      complain(ok.error());
      if (code == exit_code::done) code = exit_code::failed;
    }
  if (args.output == "json") {
    std::cout << as_json(report, code);
  } else if (report.jobs.empty() && report.fatal) {
    complain(*report.fatal);  // there is no result
  } else {
    std::cout << as_text(report, {colour_wanted(args, STDOUT_FILENO), args.verbose});
  }
  if (code == exit_code::done && args.what == arguments::command::plan && args.detailed_exitcode)
    for (auto const& job : report.jobs)
      for (auto const& p : job.plans)
        if (!p.creates.empty() || !p.updates.empty() || !p.deletes.empty()) code = 2;
  return code;
}

int validate(arguments const& args) {
  configure_log(args);
  setup ready;
  if (auto code = prepare(args, ready)) return *code;
  if (!args.no_network) {
    catch_signals();
    // A run without stages: it connects to NetBox and to every source, and stops there.
    auto options = ready.options;
    options.stages.clear();
    options.dry = true;
    engine::observer silent;
    auto const report = engine::run(ready.settings, options, silent, stop_requested());
    if (report.fatal) {
      complain(*report.fatal);
      return exit_code::of(report.fatal->code);
    }
    bool unreachable = false;
    for (auto const& n : report.notices) complain(base::fail(n.message, n.hint)), unreachable = true;
    if (unreachable) return exit_code::unreachable;
    std::cout << "NetBox " << report.netbox_version << " at " << report.netbox_url << "\n";
    for (auto const& s : report.sources) std::cout << "source " << s.name << ": " << s.type << " " << s.version << "\n";
  }
  std::vector<std::string> stages;
  for (auto const& s : ready.options.stages) stages.push_back(s.id);
  std::cout << ready.settings.file.string() << " is valid: profile " << ready.settings.profile.name << ", "
            << ready.settings.sources.size() << " source" << (ready.settings.sources.size() == 1 ? "" : "s")
            << ", stages " << base::join(stages) << "\n";
  return exit_code::done;
}

int list_profiles(arguments const& args) {
  auto const environment = config::current_environment();
  std::vector<config::diagnostic> errors;
  auto profiles = config::list_profiles(find_places(environment).profiles, errors);
  for (auto const& e : errors) std::cerr << config::render(e) << "\n";
  // From the gentlest to the quickest.
  std::stable_sort(profiles.begin(), profiles.end(),
                   [](auto const& a, auto const& b) { return a.requests_per_second < b.requests_per_second; });
  if (args.output == "json") {
    auto out = nlohmann::ordered_json::array();
    for (auto const& p : profiles)
      out.push_back({{"name", p.name},
                     {"description", p.description},
                     {"batch",
                      {{"size", p.batch_size},
                       {"delay_ms", p.batch_delay.count()},
                       {"objects_per_request", p.objects_per_request}}},
                     {"max_in_flight", p.max_in_flight},
                     {"requests_per_second", p.requests_per_second},
                     {"file", p.file.string()}});
    std::cout << out.dump(2) << "\n";
  } else {
    std::cout << fmt::format("{:<20} {:>10} {:>14} {:>19} {:>13} {:>19}\n", "profile", "batch.size", "batch.delay_ms",
                             "objects_per_request", "max_in_flight", "requests_per_second");
    for (auto const& p : profiles) {
      std::cout << fmt::format("{:<20} {:>10} {:>14} {:>19} {:>13} {:>19g}\n", p.name, p.batch_size,
                               p.batch_delay.count(), p.objects_per_request, p.max_in_flight, p.requests_per_second);
      if (!p.description.empty()) std::cout << "    " << p.description << "\n";
      for (auto const& o : p.overrides) std::cout << "    " << o << "\n";
    }
  }
  return errors.empty() ? exit_code::done : exit_code::configuration;
}

int show_version() {
  std::cout << "weir " << version << " (plugin ABI " << WEIR_ABI_MAJOR << "." << WEIR_ABI_MINOR << ")\n";
  return exit_code::done;
}

}  // namespace weir::cli
