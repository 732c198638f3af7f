#include "core/cli/throttle_simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/plot.hpp"
#include "core/cli/setup.hpp"
#include "core/config/profiles.hpp"
#include "core/http/limits.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using what = sim::load_event::what;

constexpr double bearable_percent = 1;  // of requests refused
constexpr std::size_t series_steps = 200;

struct figure {
  std::string_view name;
  double (*of)(simulation_result const&);
};
template <auto Member>
double member(simulation_result const& r) {
  return static_cast<double>(r.*Member);
}
using result = simulation_result;
constexpr std::array<figure, 17> figures{{
    {"seconds", member<&result::seconds>},
    {"requests", member<&result::requests>},
    {"done", member<&result::done>},
    {"deferred", member<&result::deferred>},
    {"lost", member<&result::lost>},
    {"refused", member<&result::refused>},
    {"refused_percent", [](result const& r) { return r.refused_percent(); }},
    {"failed", member<&result::failed>},
    {"errors_percent", [](result const& r) { return r.errors_percent(); }},
    {"retries", member<&result::retries>},
    {"peak_in_flight", member<&result::peak_in_flight>},
    {"peak_connections", member<&result::peak_connections>},
    {"lowest_limit", member<&result::lowest_limit>},
    {"highest_limit", member<&result::highest_limit>},
    {"longest_gap_ms", member<&result::longest_gap_ms>},
    {"breaker_opened", member<&result::breaker_opened>},
    {"starved", member<&result::starved>},
}};

struct event_name {
  std::string_view name;
  std::optional<what> kind;  // none: another client of the driver's
  std::string_view shown;
};
constexpr std::array<event_name, 9> event_names{{
    {"neighbour", what::neighbour, "neighbour takes {:g} connections"},
    {"burst", std::nullopt, "another client, {:g} in flight"},
    {"database_down", what::database_down, "database down"},
    {"web_down", what::web_down, "NetBox down"},
    {"bad_gateway", what::bad_gateway, "proxy answers 502"},
    {"bad_gateway_after", what::bad_gateway_after, "502 after the commit"},
    {"slow", what::slow, "everything takes {:g} times as long"},
    {"hang", what::hang, "no answers"},
    {"too_many", what::too_many, "429, Retry-After {:g} s"},
}};
event_name const& named(std::string_view name) {
  return *std::find_if(event_names.begin(), event_names.end(), [&](auto const& e) { return e.name == name; });
}
std::string label_of(config::scenario::event const& e) {
  return fmt::format(fmt::runtime(named(e.what).shown), e.what == "slow" ? e.factor : e.amount);
}

virtual_time of_seconds(double s) { return virtual_time(std::llround(s * 1e6)); }
virtual_time of_ms(double ms) { return virtual_time(std::llround(ms * 1e3)); }

struct row {
  config::profile profile;
  simulation_result got;
};

struct verdict {
  config::scenario::expectation expected;
  double value = 0;
  bool met = false;
};

std::string short_number(double value) {
  return value == std::floor(value) ? fmt::format("{:.0f}", value) : fmt::format("{:.4g}", value);
}

std::string describe(config::scenario const& s) {
  std::vector<std::string> kinds;
  for (auto const& w : s.works) kinds.push_back(std::to_string(w.objects) + " " + w.kind);
  auto const& n = s.server;
  return fmt::format("NetBox with {} x {} threads on {:g} core{}, {} database connection{}, CONN_MAX_AGE {:g} s{}; {}",
                     n.workers, n.threads, n.cores, n.cores == 1 ? "" : "s", n.connections,
                     n.connections == 1 ? "" : "s", n.conn_max_age_s,
                     s.users_per_second > 0 ? fmt::format(", {:g} other requests a second", s.users_per_second) : "",
                     base::join(kinds, ", then "));
}

// For the operator: one sentence.
std::string recommend(std::vector<row> const& rows, std::optional<std::string>& chosen) {
  row const* quickest = nullptr;
  row const* cleanest = nullptr;  // of those that finish
  for (auto const& r : rows) {
    if (r.got.deferred > 0 || r.got.lost > 0) continue;
    if (!cleanest || r.got.refused_percent() < cleanest->got.refused_percent()) cleanest = &r;
    if (r.got.refused_percent() <= bearable_percent && (!quickest || r.got.seconds < quickest->got.seconds))
      quickest = &r;
  }
  if (quickest) {
    chosen = quickest->profile.name;
    return fmt::format(
        "Recommended here: {}, the quickest with at most {:g} % of its requests refused and nothing "
        "deferred ({:.0f} s, {:.2g} % refused).",
        quickest->profile.name, bearable_percent, quickest->got.seconds, quickest->got.refused_percent());
  }
  if (cleanest)
    return fmt::format(
        "No profile keeps refused requests at {:g} % here; {} finishes with the fewest ({:.1f} % in "
        "{:.0f} s). See whether NetBox's database can have more connections.",
        bearable_percent, cleanest->profile.name, cleanest->got.refused_percent(), cleanest->got.seconds);
  return "No profile finishes here: what is deferred is left to 'weir resume', after NetBox has been seen to.";
}

std::string as_text(config::scenario const& s, std::uint64_t seed, std::vector<row> const& rows,
                    std::vector<verdict> const& verdicts, std::string const& recommendation) {
  std::string out = fmt::format("{}{}{} (seed {})\n{}\n", s.file.stem().string(), s.description.empty() ? "" : ": ",
                                s.description, seed, describe(s));
  for (auto const& e : s.events) out += fmt::format("  {:g} to {:g} s: {}\n", e.from_s, e.to_s, label_of(e));
  std::size_t name_width = 7;
  for (auto const& r : rows) name_width = std::max(name_width, r.profile.name.size());
  out += fmt::format("\n{:<{}} {:>8} {:>8} {:>7} {:>8} {:>14} {:>7} {:>7} {:>9} {:>11} {:>9} {:>8} {:>7} {:>7}\n",
                     "profile", name_width, "seconds", "requests", "objects", "deferred", "refused", "failed",
                     "retries", "in flight", "connections", "limit", "longest", "breaker", "starved");
  out += fmt::format("{:<{}} {:>8} {:>8} {:>7} {:>8} {:>14} {:>7} {:>7} {:>9} {:>11} {:>9} {:>8} {:>7} {:>7}\n", "",
                     name_width, "", "", "done", "", "", "", "", "peak", "peak", "low..high", "gap, ms", "opened", "");
  for (auto const& r : rows) {
    auto const& g = r.got;
    out += fmt::format("{:<{}} {:>8.1f} {:>8} {:>7} {:>8} {:>14} {:>7} {:>7} {:>9} {:>11} {:>9} {:>8.0f} {:>7} {:>7}\n",
                       r.profile.name, name_width, g.seconds, g.requests, g.done, g.deferred,
                       fmt::format("{} ({:.2f} %)", g.refused, g.refused_percent()), g.failed, g.retries,
                       g.peak_in_flight, fmt::format("{} of {}", g.peak_connections, s.server.connections),
                       fmt::format("{:.0f}..{:.0f}", std::floor(g.lowest_limit), std::floor(g.highest_limit)),
                       g.longest_gap_ms, g.breaker_opened, g.starved > 0 ? "yes" : "no");
  }
  if (!verdicts.empty()) out += "\nexpected:\n";
  for (auto const& v : verdicts)
    out += fmt::format("  {:<{}}  {:<17} {:>18}  {:<8} is {}\n", v.expected.profile, name_width, v.expected.figure,
                       v.expected.low == v.expected.high
                           ? short_number(v.expected.low)
                           : short_number(v.expected.low) + " to " + short_number(v.expected.high),
                       v.met ? "met" : "NOT met:", short_number(v.value));
  return out + "\n" + recommendation + "\n";
}

ordered_json column(std::vector<double> const& values) {
  auto out = ordered_json::array();
  for (auto const v : values)
    if (std::isnan(v))
      out.push_back(nullptr);
    else
      out.push_back(std::round(v * 1000) / 1000);
  return out;
}

std::string as_json(config::scenario const& s, std::uint64_t seed, std::vector<row> const& rows,
                    std::vector<verdict> const& verdicts, std::string const& recommendation,
                    std::optional<std::string> const& chosen) {
  ordered_json out;
  out["scenario"] = s.file.stem().string();
  out["description"] = s.description;
  out["file"] = s.file.string();
  out["seed"] = seed;
  out["netbox"] = describe(s);
  out["connections"] = s.server.connections;
  out["events"] = ordered_json::array();
  for (auto const& e : s.events)
    out["events"].push_back({{"what", e.what}, {"from_s", e.from_s}, {"to_s", e.to_s}, {"label", label_of(e)}});
  out["profiles"] = ordered_json::array();
  for (auto const& r : rows) {
    ordered_json p;
    p["name"] = r.profile.name;
    for (auto const& f : figures) {
      auto const value = f.of(r.got);
      if (value == std::floor(value))
        p[std::string(f.name)] = static_cast<std::int64_t>(value);
      else
        p[std::string(f.name)] = std::round(value * 1000) / 1000;
    }
    p["gave_up"] = r.got.gave_up;
    p["lookups"] = r.got.lookups;
    auto const t = series_of(r.got, series_steps);
    p["series"] = {{"step_s", t.step_s},
                   {"at_s", column(t.at_s)},
                   {"limit", column(t.limit)},
                   {"in_flight", column(t.in_flight)},
                   {"gap_ms", column(t.gap_ms)},
                   {"latency_s", column(t.latency_s)},
                   {"objects_per_request", column(t.objects)},
                   {"requests", column(t.requests)},
                   {"errors", column(t.errors)},
                   {"connections", column(t.connections)}};
    out["profiles"].push_back(std::move(p));
  }
  out["expected"] = ordered_json::array();
  for (auto const& v : verdicts)
    out["expected"].push_back({{"profile", v.expected.profile},
                               {"figure", v.expected.figure},
                               {"low", v.expected.low},
                               {"high", v.expected.high},
                               {"value", v.value},
                               {"met", v.met}});
  out["met"] = std::all_of(verdicts.begin(), verdicts.end(), [](auto const& v) { return v.met; });
  if (chosen)
    out["recommended"] = *chosen;
  else
    out["recommended"] = nullptr;
  out["recommendation"] = recommendation;
  return out.dump(2) + "\n";
}

// A path, or the name of a scenario that comes with weir.
std::optional<fs::path> find_scenario(std::string const& reference, std::vector<fs::path> const& folders) {
  std::error_code ignored;
  if (reference.find('/') != std::string::npos || reference.ends_with(".yaml") ||
      fs::is_regular_file(reference, ignored))
    return fs::path(reference);
  std::vector<std::string> names;
  for (auto const& folder : folders) {
    if (fs::exists(folder / (reference + ".yaml"), ignored)) return folder / (reference + ".yaml");
    for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored))
      if (at->path().extension() == ".yaml") names.push_back(at->path().stem().string());
  }
  std::sort(names.begin(), names.end());
  auto const near = base::nearest(reference, names);
  complain(base::fail(base::error_code::config, "unknown scenario '" + base::shorten(reference, 60) + "'",
                      (near ? "did you mean '" + *near + "'? " : std::string()) +
                          (names.empty() ? "name a YAML file" : "name a YAML file, or one of " + base::join(names))));
  return {};
}

// Those asked for, else all that are found, from the gentlest to the quickest; nothing after an error, which is
// printed.
std::optional<std::vector<config::profile>> find_profiles(arguments const& args, places const& where,
                                                          std::map<std::string, std::string> const& environment) {
  std::vector<config::profile> out;
  config::load_outcome seen;
  if (args.profiles.empty()) {
    out = config::list_profiles(where.profiles, seen.errors);
    if (out.empty() && seen.errors.empty())
      complain(base::fail(base::error_code::config, "no profile was found", "name one with --profile"));
    std::stable_sort(out.begin(), out.end(),
                     [](auto const& a, auto const& b) { return a.requests_per_second < b.requests_per_second; });
  }
  config::load_options options;
  options.profile_path = where.profiles;
  options.environment = environment;
  for (auto const& name : args.profiles) {
    auto found = config::find_profile(name, fs::current_path(), options, seen.errors,
                                      [&](std::string summary, std::string detail) {
                                        config::diagnostic d;
                                        d.file = "--profile";
                                        d.summary = std::move(summary);
                                        d.detail = std::move(detail);
                                        seen.errors.push_back(std::move(d));
                                      });
    if (found) out.push_back(std::move(*found));
  }
  for (auto& p : out) config::apply_environment(p, environment, seen);
  for (auto const& w : seen.warnings) std::cerr << config::render(w) << "\n";
  for (auto const& e : seen.errors) std::cerr << config::render(e) << "\n";
  if (!seen.errors.empty() || out.empty()) return {};
  return out;
}

// Expectations of profiles that were left out by --profile are not looked at; of those that do not exist, wrong.
std::optional<std::vector<verdict>> judge(config::scenario const& s, std::vector<row> const& rows, bool all_profiles) {
  std::vector<verdict> out;
  std::vector<std::string> known, said;
  for (auto const& r : rows) known.push_back(r.profile.name);
  for (auto const& e : s.expectations) {
    auto const at = std::find_if(rows.begin(), rows.end(), [&](row const& r) { return r.profile.name == e.profile; });
    if (at != rows.end()) {
      auto const value = figure_of(at->got, e.figure);
      constexpr double exact = 1e-9;
      out.push_back({e, value, value >= e.low - exact && value <= e.high + exact});
    } else if (all_profiles && std::find(said.begin(), said.end(), e.profile) == said.end()) {
      said.push_back(e.profile);
      auto const near = base::nearest(e.profile, known);
      complain(base::fail(
          base::error_code::config, e.location + ": expect." + e.profile + " names no profile that was found",
          (near ? "did you mean '" + *near + "'? " : std::string()) + "there are: " + base::join(known)));
    }
  }
  if (!said.empty()) return {};
  return out;
}

}  // namespace

double figure_of(simulation_result const& r, std::string_view name) {
  for (auto const& f : figures)
    if (f.name == name) return f.of(r);
  return std::nan("");
}

simulation_input input_of(config::scenario const& s, config::profile const& p, std::uint64_t seed) {
  simulation_input in;
  auto const& n = s.server;
  in.netbox.workers = n.workers;
  in.netbox.threads = n.threads;
  in.netbox.cores = n.cores;
  in.netbox.next_core = n.next_core;
  in.netbox.connections = n.connections;
  in.netbox.conn_max_age = of_seconds(n.conn_max_age_s);
  in.netbox.proxy_timeout = of_seconds(n.proxy_timeout_s);
  in.netbox.jitter = n.jitter;
  in.netbox.read_base = of_ms(n.read_base_ms);
  in.netbox.read_object = of_ms(n.read_object_ms);
  in.netbox.db_error = of_ms(n.db_error_ms);
  in.netbox.users_per_second = s.users_per_second;
  in.netbox.user_work = of_ms(s.user_work_ms);
  in.netbox.seed = seed;
  for (auto const& e : s.events) {
    auto const& name = named(e.what);
    if (!name.kind) {
      in.bursts.push_back({of_seconds(e.from_s), of_seconds(e.to_s), static_cast<int>(e.amount)});
      continue;
    }
    sim::load_event to;
    to.kind = *name.kind;
    to.from = of_seconds(e.from_s);
    to.to = of_seconds(e.to_s);
    to.amount = e.amount;
    to.factor = e.factor;
    to.share = e.share;
    in.netbox.events.push_back(to);
  }
  for (auto const& w : s.works)
    in.work.push_back({w.kind, w.objects, of_ms(w.write_base_ms), of_ms(w.write_object_ms)});
  in.start = of_seconds(s.start_s);
  in.limits = http::limits_of(p, throttle::control::adaptive);
  in.objects_per_request = p.objects_per_request;
  in.request_timeout = p.request_timeout;
  in.seed = seed * 7919 + 17;
  return in;
}

int simulate_throttle(arguments const& args) {
  auto const environment = config::current_environment();
  auto const where = find_places(environment);
  auto const file = find_scenario(args.scenario, where.scenarios);
  if (!file) return exit_code::configuration;
  auto const loaded = config::load_scenario(*file);
  for (auto const& e : loaded.errors) std::cerr << config::render(e) << "\n";
  if (!loaded.value) return exit_code::configuration;
  auto const& s = *loaded.value;
  auto const profiles = find_profiles(args, where, environment);
  if (!profiles) return exit_code::configuration;

  auto const seed = args.seed.value_or(s.seed);
  std::vector<row> rows;
  for (auto const& p : *profiles) rows.push_back({p, simulate(input_of(s, p, seed))});
  auto const verdicts = judge(s, rows, args.profiles.empty());
  if (!verdicts) return exit_code::configuration;

  if (!args.svg_file.empty()) {
    plot_input picture;
    picture.title = s.file.stem().string();
    if (!s.description.empty()) picture.subtitles.push_back(s.description);
    picture.subtitles.push_back(describe(s));
    for (auto const& r : rows) picture.curves.push_back({r.profile.name, &r.got});
    for (auto const& e : s.events) picture.events.push_back({e.from_s, e.to_s, label_of(e)});
    picture.connections = s.server.connections;
    std::ofstream out(args.svg_file, std::ios::binary);
    out << plot(picture);
    out.close();
    if (!out) {
      complain(base::fail("cannot write " + args.svg_file, "see that its folder is there and may be written to"));
      return exit_code::failed;
    }
  }
  std::optional<std::string> chosen;
  auto const sentence = recommend(rows, chosen);
  std::cout << (args.output == "json" ? as_json(s, seed, rows, *verdicts, sentence, chosen)
                                      : as_text(s, seed, rows, *verdicts, sentence));
  bool const met = std::all_of(verdicts->begin(), verdicts->end(), [](auto const& v) { return v.met; });
  return met ? exit_code::done : exit_code::partly;
}

}  // namespace weir::cli
