#include "core/cli/doctor.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/commands.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
#include "core/doctor/judge.hpp"
#include "core/doctor/look.hpp"
#include "core/doctor/symptoms.hpp"

namespace weir::cli {
namespace {

using doctor::level;
using nlohmann::ordered_json;

constexpr std::size_t widest_title = 24;

int exit_code_of(doctor::report const& r) {
  auto const worst = doctor::verdict(r.findings);
  if (!worst) return exit_code::done;
  bool const of_a_server = *worst == base::error_code::unreachable || *worst == base::error_code::credentials;
  return of_a_server ? exit_code::of(*worst) : exit_code::partly;
}

std::size_t count(doctor::report const& r, level l) {
  return static_cast<std::size_t>(
      std::count_if(r.findings.begin(), r.findings.end(), [l](auto const& f) { return f.level == l; }));
}

// Servers have their say in it: what steers terminals is not theirs to say.
std::string plain(std::string const& text) { return base::shorten(text, 4000); }

std::string as_text(doctor::report const& r, bool colour) {
  auto const paint = [&](level l, std::string const& s) {
    if (!colour || l == level::note || l == level::warning) return s;
    return (l == level::ok ? "\x1b[32m" : "\x1b[31m") + s + "\x1b[0m";
  };
  std::string out;
  std::string group;
  std::size_t width = 0;
  for (auto const& f : r.findings) width = std::max(width, std::min(f.title.size(), widest_title));
  // A group's findings stay together, in the order in which the groups began.
  std::vector<std::string> groups;
  for (auto const& f : r.findings)
    if (std::find(groups.begin(), groups.end(), f.group) == groups.end()) groups.push_back(f.group);
  for (auto const& g : groups) {
    out += (out.empty() ? "" : "\n") + plain(g) + "\n";
    for (auto const& f : r.findings) {
      if (f.group != g) continue;
      out += fmt::format("  {}  {:<{}}  {}", paint(f.level, fmt::format("{:<7}", doctor::name(f.level))),
                         plain(f.title), width, plain(f.seen));
      if (!f.symptom.empty()) out += " [" + f.symptom + "]";
      out += "\n";
      if (!f.todo.empty()) out += fmt::format("  {:<7}  {:<{}}  do: {}\n", "", "", width, plain(f.todo));
    }
  }
  out += fmt::format("\nRecommended profile: {}\n  {}\n", plain(r.advice.profile), plain(r.advice.reason));
  if (!r.first_sync.empty()) {
    bool const measured =
        std::any_of(r.first_sync.begin(), r.first_sync.end(), [](auto const& i) { return i.measured; });
    out += fmt::format("\nA first sync writes {} objects; NetBox's part of it, {}:\n",
                       r.costs.empty() ? 0 : r.costs.front().objects,
                       measured ? "as fast as it was in earlier runs" : "guessed from how fast it reads");
    for (auto const& c : r.costs)
      out += fmt::format("  {:<20}  {:>5} list requests, about {}\n", c.profile, c.requests,
                         doctor::in_words(std::chrono::seconds(std::max(1L, std::lround(c.seconds)))));
  }
  auto const problems = count(r, level::problem), warnings = count(r, level::warning);
  auto const several = [](std::size_t n, char const* what) {
    return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
  };
  out += "\n" + (problems + warnings == 0 ? std::string("Nothing is wrong.")
                                          : several(problems, "problem") + ", " + several(warnings, "warning") + ".");
  if (problems + warnings > 0)
    out += "  A word in [brackets] is explained in the README under \"When something is wrong\".";
  return out + "\n";
}

ordered_json of(std::optional<bool> const& known) { return known ? ordered_json(*known) : ordered_json(); }

ordered_json as_json(doctor::report const& r, config::profile const& configured, int code) {
  auto findings = ordered_json::array();
  for (auto const& f : r.findings)
    findings.push_back({{"level", doctor::name(f.level)},
                        {"group", f.group},
                        {"title", f.title},
                        {"seen", f.seen},
                        {"todo", f.todo},
                        {"symptom", f.symptom.empty() ? ordered_json() : ordered_json(f.symptom)}});
  auto latencies = ordered_json::array();
  for (auto const& l : r.netbox.latencies)
    latencies.push_back({{"limit", l.limit},
                         {"objects", l.objects},
                         {"median_ms", l.median_ms},
                         {"fastest_ms", l.fastest_ms},
                         {"slowest_ms", l.slowest_ms}});
  auto permissions = ordered_json::array();
  for (auto const& p : r.netbox.rights)
    permissions.push_back({{"kind", p.kind},
                           {"stages", p.stages},
                           {"view", of(p.view)},
                           {"add", of(p.add)},
                           {"change", of(p.change)},
                           {"delete", p.needs_delete ? of(p.erase) : ordered_json()},
                           {"needs_delete", p.needs_delete}});
  auto costs = ordered_json::array();
  for (auto const& c : r.costs)
    costs.push_back({{"profile", c.profile}, {"objects", c.objects}, {"requests", c.requests}, {"seconds", c.seconds}});
  return {
      {"weir", version},
      {"command", "doctor"},
      {"exit_code", code},
      {"problems", count(r, level::problem)},
      {"warnings", count(r, level::warning)},
      {"findings", std::move(findings)},
      {"netbox",
       {{"url", r.netbox.connection.url},
        {"version", r.netbox.version.empty() ? ordered_json() : ordered_json(r.netbox.version)},
        {"requests", r.netbox.requests},
        {"peak_in_flight", r.netbox.most_in_flight},
        {"database_errors", r.netbox.database_errors},
        {"page_size", r.netbox.page_size ? ordered_json(*r.netbox.page_size) : ordered_json()},
        {"latencies", std::move(latencies)},
        {"permissions", std::move(permissions)}}},
      {"profile", {{"configured", configured.name}, {"recommended", r.advice.profile}, {"reason", r.advice.reason}}},
      {"first_sync", std::move(costs)}};
}

}  // namespace

int doctor(arguments const& args) {
  configure_log(args);
  setup ready;
  if (auto const code = prepare(args, ready)) return *code;
  catch_signals();
  std::vector<config::diagnostic> ignored;  // prepare() has told what is wrong with the chosen one
  auto profiles = config::list_profiles(find_places(config::current_environment()).profiles, ignored);
  std::stable_sort(profiles.begin(), profiles.end(),
                   [](auto const& a, auto const& b) { return a.requests_per_second < b.requests_per_second; });
  if (std::none_of(profiles.begin(), profiles.end(),
                   [&](auto const& p) { return p.name == ready.settings.profile.name; }))
    profiles.push_back(ready.settings.profile);
  bool const say = !args.quiet && !args.no_progress && isatty(STDERR_FILENO);
  auto const report = doctor::examine(
      ready.settings, ready.options, profiles,
      [&](std::string_view what) {
        if (say) std::cerr << "looking at " << what << " …\n";
      },
      stop_requested());
  if (report.stopped) return exit_code::interrupted;
  int const code = exit_code_of(report);
  if (args.output == "json")
    std::cout
        << as_json(report, ready.settings.profile, code).dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
        << "\n";
  else
    std::cout << as_text(report, colour_wanted(args, STDOUT_FILENO));
  return code;
}

}  // namespace weir::cli
