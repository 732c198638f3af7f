#include "core/cli/stages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/setup.hpp"
#include "core/netbox/kind.hpp"
#include "core/plugin/isolation.hpp"
#include "core/plugin/options.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Of a whole check: what takes longer hangs.
constexpr std::chrono::seconds longest_check{120};

// Where to look, and how the configuration has the stages run: as it says if one is named, else as weir does without.
struct choice {
  std::vector<fs::path> path;
  std::vector<config::stage> stages;
};
std::optional<int> choose(arguments const& args, choice& out) {
  out.path = find_places(config::current_environment()).plugins;
  if (args.config_file.empty()) return {};
  setup ready;
  if (auto code = prepare(args, ready)) return code;
  out.path = ready.settings.plugin_path;
  out.stages = ready.settings.stages.value_or(std::vector<config::stage>{});
  return {};
}

int list(arguments const& args) {
  choice chosen;
  if (auto const code = choose(args, chosen)) return *code;
  auto const report = load_plugins(chosen.path);
  if (args.output == "json") {
    auto out = ordered_json::array();
    for (auto const& s : report.stages)
      out.push_back({{"id", s.id},
                     {"version", s.version},
                     {"title", s.title},
                     {"needs", s.needs},
                     {"source_type", s.source_type},
                     {"plugin", s.plugin_name},
                     {"vendor", s.vendor},
                     {"file", s.file.string()}});
    std::cout << out.dump(2) << "\n";
  } else {
    std::size_t width = 5;
    for (auto const& s : report.stages) width = std::max(width, s.id.size());
    for (auto const& s : report.stages)
      std::cout << fmt::format(
          "{:<{}}  {:<8} {:<9} {}{}\n{:<{}}  {}\n", s.id, width, s.version, s.source_type.empty() ? "-" : s.source_type,
          s.title, s.needs.empty() ? "" : "  (needs " + base::join(s.needs) + ")", "", width, s.file.string());
    if (report.stages.empty()) std::cerr << "no stage was found\n";
  }
  return report.problems.empty() ? exit_code::done : exit_code::configuration;
}

// ---- show

struct isolation {
  bool process = false;
  std::string why;
};

isolation isolation_of(plugin::loaded_stage const& stage, choice const& chosen) {
  for (auto const& s : chosen.stages)
    if (s.id == stage.id && s.isolation != config::stage_isolation::automatic)
      return {s.isolation == config::stage_isolation::process, "the configuration says so"};
  if (!stage.isolated) return {false, "its plugin is one of weir's own"};
  return {true, "its plugin is not one of weir's own; \"isolation: none\" in the configuration changes that"};
}

// The kinds it emits, as they are: those of NetBox itself are known by their name alone.
std::vector<netbox::kind> kinds_of(plugin::loaded_stage const& stage) {
  std::vector<netbox::kind> out;
  auto const listed = ordered_json::parse(stage.kinds_json, nullptr, false);
  auto const brought = netbox::parse_kinds(stage.kinds_json);
  netbox::registry const known;
  if (!listed.is_array()) return out;
  for (auto const& item : listed) {
    auto const name = item.is_string() ? item.get<std::string>() : item.value("kind", std::string());
    netbox::kind k;
    k.name = name;
    if (auto const* built_in = known.find(name)) k = *built_in;
    if (brought)
      for (auto const& own : *brought)
        if (own.name == name) k = own;
    out.push_back(std::move(k));
  }
  return out;
}

// Rows with columns as wide as their widest cell, but the last.
void print_table(std::vector<std::vector<std::string>> const& rows) {
  std::vector<std::size_t> width;
  for (auto const& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (auto const& row : rows) {
    std::string line = "   ";
    for (std::size_t i = 0; i < row.size(); ++i)
      line += " " + (i + 1 < row.size() ? fmt::format("{:<{}} ", row[i], width[i]) : row[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    std::cout << line << "\n";
  }
}

void print_stage(plugin::loaded_stage const& s, isolation const& runs) {
  std::cout << fmt::format("{} {}: {}\n\n", s.id, s.version, s.title);
  std::vector<std::vector<std::string>> rows{
      {"plugin", fmt::format("{} {} by {}", s.plugin_name, s.plugin_version, s.vendor)},
      {"file", s.file.string()},
      {"needs", s.needs.empty() ? "no other stage" : base::join(s.needs)},
      {"reads", s.source_type.empty() ? "no source, it runs once" : s.source_type + " sources"},
      {"runs", fmt::format("{}: {}", runs.process ? "in a process of its own" : "in weir's own process", runs.why)}};
  print_table(rows);

  std::cout << "\nWhat it emits\n";
  rows = {{"kind", "path", "key"}};
  for (auto const& k : kinds_of(s)) rows.push_back({k.name, k.path, base::join(k.key)});
  if (rows.size() == 1) rows = {{"nothing"}};
  print_table(rows);

  std::cout << "\nOptions\n";
  rows = {{"name", "default", "expected", ""}};
  for (auto const& o : plugin::describe_options(s.options_schema))
    rows.push_back({o.name, o.required && o.fallback.empty() ? "required" : o.fallback, o.expected, o.description});
  if (rows.size() == 1) rows = {{"none"}};
  print_table(rows);
}

ordered_json as_json(plugin::loaded_stage const& s, isolation const& runs) {
  auto kinds = ordered_json::array();
  for (auto const& k : kinds_of(s)) kinds.push_back({{"kind", k.name}, {"path", k.path}, {"key", k.key}});
  auto options = ordered_json::array();
  for (auto const& o : plugin::describe_options(s.options_schema))
    options.push_back({{"name", o.name},
                       {"default", o.fallback.empty() ? ordered_json() : ordered_json::parse(o.fallback)},
                       {"required", o.required},
                       {"expected", o.expected},
                       {"description", o.description}});
  return {{"id", s.id},
          {"version", s.version},
          {"title", s.title},
          {"plugin", {{"name", s.plugin_name}, {"version", s.plugin_version}, {"vendor", s.vendor}}},
          {"file", s.file.string()},
          {"needs", s.needs},
          {"source_type", s.source_type},
          {"isolation", {{"process", runs.process}, {"why", runs.why}}},
          {"kinds", std::move(kinds)},
          {"options", std::move(options)},
          {"options_schema",
           s.options_schema.empty() ? ordered_json() : ordered_json::parse(s.options_schema, nullptr, false)}};
}

int show(arguments const& args) {
  choice chosen;
  if (auto const code = choose(args, chosen)) return *code;
  auto const report = find_plugins(chosen.path);
  auto const found =
      std::find_if(report.stages.begin(), report.stages.end(), [&](auto const& s) { return s.id == args.stage; });
  if (found == report.stages.end()) {
    for (auto const& p : report.problems) complain(p);  // it may be in one of these
    std::vector<std::string> known;
    for (auto const& s : report.stages) known.push_back(s.id);
    auto const near = base::nearest(args.stage, known);
    complain(base::fail(base::error_code::usage, "unknown stage '" + args.stage + "'",
                        (near ? "did you mean '" + *near + "'? " : std::string()) +
                            (known.empty() ? "none was found" : "known: " + base::join(known))));
    return report.problems.empty() ? exit_code::usage : exit_code::configuration;
  }
  auto const runs = isolation_of(*found, chosen);
  if (args.output == "json")
    std::cout << as_json(*found, runs).dump(2) << "\n";
  else
    print_stage(*found, runs);
  return exit_code::done;
}

// ---- check

// The JSON text that --options names; nothing, and what is wrong on stderr.
std::optional<std::string> options_text(std::string const& given) {
  auto text = given;
  if (given.starts_with('@')) {
    std::ifstream in(given.substr(1), std::ios::binary);
    text = std::string{std::istreambuf_iterator<char>(in), {}};
    if (!in.is_open()) {
      complain(base::fail(base::error_code::usage, "--options: cannot read " + given.substr(1)));
      return {};
    }
  }
  if (ordered_json::parse(text, nullptr, false).is_object()) return text;
  complain(base::fail(base::error_code::usage,
                      "--options: " + (given == text ? "it" : given.substr(1)) + " is no JSON object",
                      R"(e.g. --options '{"prefix":"x-"}', or --options @options.json)"));
  return {};
}

// The plugin took its process with it, or could not even be given to one: a report of that alone.
ordered_json lost(fs::path const& file, base::error const& e) {
  auto const all = e.what + "\n" + e.hint;
  std::string where = "load";
  std::string stage;
  if (auto const at = all.rfind(plugin::checking_mark); at != std::string::npos) {
    where = all.substr(at + std::string_view(plugin::checking_mark).size());
    where.resize(std::min(where.find_first_of("|\n"), where.size()));
    where.erase(where.find_last_not_of(' ') + 1);
    if (auto const colon = where.find(": "); colon != std::string::npos) {
      stage = where.substr(0, colon);
      where.erase(0, colon + 2);
    }
  }
  // Of its last lines those that are its own, not ours.
  static constexpr std::string_view last = "its last lines: ";
  std::string said;
  if (auto at = e.hint.find(last); at != std::string::npos)
    for (auto rest = e.hint.substr(at + last.size()); !rest.empty();) {
      auto const end = rest.find(" | ");
      if (auto const line = rest.substr(0, end); !line.starts_with(plugin::checking_mark))
        said += (said.empty() ? "" : " | ") + line;
      rest = end == std::string::npos ? std::string() : rest.substr(end + 3);
    }
  std::string hint = e.hint;
  if (where != "load" || hint.empty())
    hint = "the checks end here: look at it with a debugger, or build it with -fsanitize=address,undefined" +
           (said.empty() ? std::string() : "; it printed: " + said);
  return {{"file", file.string()},
          {"plugin", nullptr},
          {"checks",
           ordered_json::array(
               {{{"stage", stage}, {"check", where}, {"status", "failed"}, {"message", e.what}, {"hint", hint}}})},
          {"passed", false}};
}

void print_check(ordered_json const& report, bool colour) {
  auto const text = [](ordered_json const& j, char const* key) { return j.value(key, std::string()); };
  std::cout << text(report, "file");
  if (auto const& p = report.at("plugin"); p.is_object())
    std::cout << fmt::format(": {} {} by {}", text(p, "name"), text(p, "version"), text(p, "vendor"));
  std::cout << "\n";
  std::map<std::string, int> count;
  std::string stage;
  std::size_t width = 0;
  for (auto const& c : report.at("checks")) width = std::max(width, text(c, "check").size());
  for (auto const& c : report.at("checks")) {
    auto const status = text(c, "status");
    ++count[status];
    if (text(c, "stage") != stage) {
      stage = text(c, "stage");
      std::cout << "\nstage " << stage << "\n";
    }
    bool const bad = status == "failed";
    auto const shown = fmt::format("{:<8}", bad ? "FAILED" : status);
    std::cout << fmt::format("  {}  {:<{}}  {}\n", bad && colour ? "\x1b[31m" + shown + "\x1b[0m" : shown,
                             text(c, "check"), width, text(c, "message"));
    if (status != "ok" && !text(c, "hint").empty())
      std::cout << fmt::format("  {:<8}  {:<{}}  hint: {}\n", "", "", width, text(c, "hint"));
  }
  std::cout << fmt::format("\n{}: {} ok, {} failed, {} warning{}, {} skipped\n",
                           report.value("passed", false) ? "passed" : "FAILED", count["ok"], count["failed"],
                           count["warning"], count["warning"] == 1 ? "" : "s", count["skipped"]);
}

int check(arguments const& args) {
  auto const usage = [](std::string what, std::string hint) {
    complain(base::fail(base::error_code::usage, std::move(what), std::move(hint)));
    return exit_code::usage;
  };
  std::error_code ec;
  fs::path const file = args.plugin_file;
  if (!fs::exists(file, ec)) return usage("there is no file " + file.string(), "name a plugin's .so");
  if (fs::is_directory(file, ec)) return usage(file.string() + " is a folder", "name one plugin's .so");
  plugin::conformance_options with;
  auto const options = options_text(args.stage_options);
  if (!options) return exit_code::usage;
  with.options_json = *options;
  with.answers = args.answers;
  if (!args.answers.empty() && !fs::is_directory(with.answers, ec))
    return usage("--answers: there is no folder " + args.answers, "files in it answer the source's targets");

  plugin::process_options how;
  how.limits.wall = longest_check;
  how.limits.cpu = longest_check;
  auto const found = plugin::check_in_process(file, with, how);
  auto const report = found ? ordered_json::parse(*found, nullptr, false) : lost(file, found.error());
  if (!report.is_object()) {
    complain(base::fail("the check of " + file.string() + " brought no result"));
    return exit_code::failed;
  }
  if (args.output == "json")
    std::cout << report.dump(2) << "\n";
  else
    print_check(report, colour_wanted(args, 1));
  return report.value("passed", false) ? exit_code::done : exit_code::configuration;
}

}  // namespace

int stages(arguments const& args) {
  switch (args.action) {
    case arguments::stages_action::show:
      return show(args);
    case arguments::stages_action::check:
      return check(args);
    case arguments::stages_action::list:
      break;
  }
  return list(args);
}

}  // namespace weir::cli
