#include "core/cli/commands.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/events.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/progress.hpp"
#include "core/cli/report.hpp"
#include "core/cli/run_once.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
#include "core/metrics/publish.hpp"
#include "weir/abi.h"

namespace weir::cli {
namespace {

std::atomic<bool> stop{false};

extern "C" void on_signal(int) {
  if (stop.exchange(true)) _exit(exit_code::interrupted);
  if (display_stands()) return;  // it says so
  constexpr char text[] = "\nstopping: what is in flight is waited for (once more to stop at once)\n";
  [[maybe_unused]] auto const n = write(STDERR_FILENO, text, sizeof text - 1);
}

extern "C" void on_question(int) { ask_for_progress(); }

// The result of what has been done already: that nobody got it is a failure, too.
int delivered(int code) {
  std::cout << std::flush;
  if (std::cout) return code;
  complain(base::fail("the result could not be written to stdout", "the journal has the run: weir history"));
  return code == exit_code::done ? exit_code::failed : code;
}

int deliver(std::string const& text, int code) {
  std::cout << text;
  return delivered(code);
}

// At the end of a command, when its result has been printed: nobody has to wait for a Pushgateway to see it.
class metrics_of_run {
 public:
  metrics_of_run(arguments const& args, setup const& ready, bool dry) : args_(args), ready_(ready), dry_(dry) {}
  ~metrics_of_run() {
    if (dry_) return;
    auto where = ready_.settings.metrics;
    if (!args_.metrics_file.empty()) where.textfile = args_.metrics_file;
    std::cout.flush();
    for (auto const& e : metrics::publish(of, where, ready_.settings.state_dir, ready_.settings.netbox.url))
      base::log::warning(e.what + (e.hint.empty() ? "" : "; " + e.hint));
  }
  metrics::recorder of;

 private:
  arguments const& args_;
  setup const& ready_;
  bool const dry_;
};

run_request request_of(arguments const& args) {
  using command = arguments::command;
  run_request out;
  out.what = args.what == command::plan     ? run_request::command::plan
             : args.what == command::resume ? run_request::command::resume
             : args.what == command::apply  ? run_request::command::apply
             : args.what == command::adopt  ? run_request::command::adopt
             : args.what == command::undo   ? run_request::command::undo
                                            : run_request::command::sync;
  if (out.what == run_request::command::undo)
    out.undoes = args.run;
  else
    out.resumes = args.run;
  out.carry_out = args.carry_out;
  if (args.max_duration_s)
    out.max_duration = std::chrono::milliseconds(static_cast<std::int64_t>(*args.max_duration_s * 1000));
  return out;
}

base::result<void> store(std::string const& file, engine::report const& r, setup const& ready) {
  auto const now = engine::circumstances_of(ready.settings, ready.options);
  if (!now) return now.error();
  return engine::store_plan(file, r, *now, engine::command_of(r), std::chrono::system_clock::now());
}

}  // namespace

std::atomic<bool>& stop_requested() { return stop; }

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = on_question;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a limit on files' sizes (ulimit -f): the journal's write fails and says so
}

int sync(arguments const& given) {
  auto args = given;
  configure_log(args);
  bool const streams = args.output == "ndjson";
  auto request = request_of(args);
  bool const dry = request.only_plans();
  auto const end_early = [&](base::error const& e, int code) {
    if (streams)
      std::cerr << exit_event(code, e);
    else
      complain(e);
    return code;
  };
  if (!dry && !args.out.empty())
    return end_early(base::fail(base::error_code::usage, "--out stores a plan, and --apply carries it out at once",
                                "one of the two"),
                     exit_code::usage);
  if (request.what == run_request::command::apply) {
    auto plan = engine::load_plan(args.plan_file);
    if (!plan) return end_early(plan.error(), exit_code::failed);
    // Its stages, also those that the configuration does not name.
    for (auto const& [stage, made_by] : plan->made_under.plugins) args.stages.push_back(stage);
    request.plan = std::move(*plan);
  }
  setup ready;
  if (auto code = prepare(args, ready)) {
    if (streams)
      std::cerr << exit_event(*code, first_complaint().value_or(base::fail("the configuration is not valid",
                                                                           "weir validate --no-network checks it")));
    return *code;
  }
  catch_signals();
  std::optional<event_stream> events;
  if (streams) events.emplace(STDOUT_FILENO, ready.options.run_id, dry || args.verbose);
  metrics_of_run numbers(args, ready, dry);
  auto const outcome = [&] {
    progress_options how{rows_wanted(args), colour_wanted(args, STDERR_FILENO), dry, {}};
    using command = run_request::command;
    if (request.what != command::resume && request.what != command::apply && request.what != command::undo)
      for (auto const& [source, stage] : engine::stages_by_source(ready.settings, ready.options))
        how.expected.emplace_back(source, stage->id);
    progress_display display(std::move(how));
    std::vector<engine::observer*> all{&display, &numbers.of};
    if (events) all.push_back(&*events);
    engine::observers watching(std::move(all));
    return run_once(request, ready, watching, stop_requested());
  }();
  if (outcome.error && !outcome.report) numbers.of.did_not_begin(name(request.what), outcome.exit_code);
  int code = outcome.exit_code;
  auto const streamed = [&](base::result<void> const& ok) {
    if (ok) return;
    complain(ok.error());
    if (code == exit_code::done) code = exit_code::failed;
  };
  if (!outcome.nothing.empty()) {
    std::cerr << "nothing to resume: " << outcome.nothing << "\n";
    if (events) streamed(events->nothing_to_resume(outcome.nothing));
    if (args.output == "json")
      return deliver(
          nlohmann::ordered_json{{"weir", version}, {"command", "resume"}, {"exit_code", 0}, {"resumes", nullptr}}.dump(
              2) +
              "\n",
          code);
    return code;
  }
  // The last line on stderr, for programs: why there is no result, or why it is not all.
  auto const end_with = [&](base::error const& why) {
    if (streams)
      std::cerr << exit_event(code, why);
    else
      complain(why);
  };
  if (!outcome.report) {
    events.reset();
    if (outcome.error) end_with(*outcome.error);
    return code;
  }
  auto const& report = *outcome.report;
  std::string stored;
  if (dry && !args.out.empty() && !report.fatal && !report.interrupted) {
    auto const ok = store(args.out, report, ready);
    if (ok) {
      stored = args.out;
    } else {
      complain(ok.error());
      if (code == exit_code::done) code = exit_code::failed;
    }
  }
  if (code == exit_code::done && dry && args.detailed_exitcode && has_changes(report)) code = exit_code::changes;
  bool const no_result = report.jobs.empty() && report.fatal;
  if (outcome.error && !streams) complain(*outcome.error);
  if (events) {
    streamed(events->end(report, code));
    if (outcome.error)
      end_with(*outcome.error);
    else if (report.fatal)
      end_with(*report.fatal);
  } else if (args.output == "json") {
    write_json(std::cout, report, code);
    code = delivered(code);
  } else if (no_result) {
    complain(*report.fatal);
  } else {
    code = deliver(as_text(report, {colour_wanted(args, STDOUT_FILENO), args.verbose, 96, stored}), code);
  }
  return code;
}

namespace {

nlohmann::ordered_json as_json(config::diagnostic const& d) {
  nlohmann::ordered_json range;
  if (!d.file.empty()) range = {{"file", d.file}, {"line", d.line}, {"column", d.column}};
  return {{"severity", d.severity == config::severity::warning ? "warning" : "error"},
          {"summary", d.summary},
          {"detail", d.detail},
          {"range", std::move(range)}};
}

// Looks at everything that validate looks at; what it finds goes to `said`, what it sees to `seen`.
int validate(arguments const& args, setup& ready, std::vector<config::diagnostic>& said, engine::report& seen) {
  if (auto code = prepare(args, ready, said)) return *code;
  if (args.no_network) return exit_code::done;
  auto const complain = [&](std::string summary, std::string detail) {
    config::diagnostic d;
    d.summary = std::move(summary);
    d.detail = std::move(detail);
    said.push_back(std::move(d));
  };
  catch_signals();
  // A run without stages: it connects to NetBox and to every source, and stops there.
  auto options = ready.options;
  options.stages.clear();
  options.dry = true;
  engine::observer silent;
  seen = engine::run(ready.settings, options, silent, stop_requested());
  if (seen.fatal) {
    complain(seen.fatal->what, seen.fatal->hint);
    return exit_code::of(seen.fatal->code);
  }
  for (auto const& n : seen.notices) complain(n.message, n.hint);
  return seen.notices.empty() ? exit_code::done : exit_code::unreachable;
}

}  // namespace

int validate(arguments const& args) {
  configure_log(args);
  setup ready;
  std::vector<config::diagnostic> said;
  engine::report seen;
  int const code = validate(args, ready, said, seen);
  std::vector<std::string> stages;
  for (auto const& s : ready.options.stages) stages.push_back(s.id);
  if (args.output == "json") {
    auto diagnostics = nlohmann::ordered_json::array(), sources = nlohmann::ordered_json::array();
    std::size_t warnings = 0;
    for (auto const& d : said) diagnostics.push_back(as_json(d)), warnings += d.severity == config::severity::warning;
    for (auto const& s : seen.sources) sources.push_back({{"name", s.name}, {"type", s.type}, {"version", s.version}});
    nlohmann::ordered_json out{{"weir", version},           {"valid", code == exit_code::done},
                               {"exit_code", code},         {"error_count", said.size() - warnings},
                               {"warning_count", warnings}, {"diagnostics", std::move(diagnostics)}};
    if (code == exit_code::done) {
      out["file"] = ready.settings.file.string();
      out["profile"] = ready.settings.profile.name;
      out["stages"] = stages;
    }
    if (!seen.netbox_version.empty())
      out["netbox"] = {{"url", seen.netbox_url}, {"version", seen.netbox_version}}, out["sources"] = std::move(sources);
    std::cout << out.dump(2) << "\n";
    return code;
  }
  for (auto const& d : said) print(d);
  if (code != exit_code::done) return code;
  if (!args.no_network) {
    std::cout << "NetBox " << seen.netbox_version << " at " << seen.netbox_url << "\n";
    for (auto const& s : seen.sources) std::cout << "source " << s.name << ": " << s.type << " " << s.version << "\n";
  }
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
