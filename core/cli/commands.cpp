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
#include "core/cli/run_once.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
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
  return !args.no_progress && !args.quiet && isatty(STDERR_FILENO) && args.log_format.value_or("text") == "text" &&
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

int sync(arguments const& args) {
  configure_log(args);
  setup ready;
  if (auto code = prepare(args, ready)) return *code;
  catch_signals();
  run_request request;
  request.what = args.what == arguments::command::plan     ? run_request::command::plan
                 : args.what == arguments::command::resume ? run_request::command::resume
                                                           : run_request::command::sync;
  request.resumes = args.run;
  if (args.max_duration_s)
    request.max_duration = std::chrono::milliseconds(static_cast<std::int64_t>(*args.max_duration_s * 1000));
  auto const outcome = [&] {
    progress_display display(live(args));
    return run_once(request, ready, display, stop_requested());
  }();
  if (!outcome.nothing.empty()) {
    std::cerr << "nothing to resume: " << outcome.nothing << "\n";
    if (args.output == "json")
      std::cout << nlohmann::ordered_json{{"weir", version},
                                          {"command", "resume"},
                                          {"exit_code", 0},
                                          {"resumes", nullptr}}
                       .dump(2)
                << "\n";
    return outcome.exit_code;
  }
  if (outcome.error) complain(*outcome.error);
  if (!outcome.report) return outcome.exit_code;
  auto const& report = *outcome.report;
  int code = outcome.exit_code;
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
