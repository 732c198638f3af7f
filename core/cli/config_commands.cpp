#include "core/cli/config_commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
#include "core/config/describe.hpp"
#include "core/plugin/options.hpp"

namespace weir::cli {
namespace {

using nlohmann::ordered_json;

// ---- show

int show(arguments const& args) {
  auto how = reading(args);
  how.need_secrets = false;
  how.list_settings = true;
  auto const loaded = config::load(how);
  for (auto const& d : loaded.warnings) print(d);
  for (auto const& d : loaded.errors) print(d);
  if (!loaded.value) return exit_code::configuration;
  std::vector<config::setting> rows;
  for (auto const& s : loaded.settings)
    if (args.all || !s.built_in || s.key == "profile") rows.push_back(s);
  if (args.output == "json") {
    auto files = ordered_json::array(), settings = ordered_json::array();
    for (auto const& file : loaded.files) files.push_back(file.string());
    for (auto const& s : rows)
      settings.push_back(
          {{"key", s.key}, {"value", ordered_json::parse(s.json, nullptr, false)}, {"origin", s.origin}});
    std::cout << ordered_json{{"weir", version},
                              {"files", std::move(files)},
                              {"profile", loaded.value->profile.file.string()},
                              {"settings", std::move(settings)}}
                     .dump(2)
              << "\n";
    return exit_code::done;
  }
  for (auto const& file : loaded.files) std::cout << "# " << file.string() << "\n";
  std::cout << "# profile " << loaded.value->profile.name << ": " << loaded.value->profile.file.string() << "\n";
  std::size_t width = 0;
  for (auto const& s : rows) width = std::max(width, s.key.size() + 2 + s.value.size());
  width = std::min<std::size_t>(width, 60);
  for (auto const& s : rows) {
    auto const line = s.key + ": " + s.value;
    std::cout << (args.origin ? fmt::format("{:<{}}  # {}", line, width, s.origin) : line) << "\n";
  }
  return exit_code::done;
}

// ---- explain

std::vector<config::stage_options> stage_options(arguments const& args) {
  auto path = find_places(config::current_environment()).plugins;
  // The configuration may name further folders; one that is wrong is no reason not to explain.
  auto how = reading(args);
  how.need_secrets = false;
  if (auto const loaded = config::load(how); loaded.value) path = loaded.value->plugin_path;
  std::vector<config::stage_options> out;
  for (auto const& stage : find_plugins(path).stages) {
    config::stage_options one{stage.id, stage.title, stage.options_schema, {}};
    for (auto& row : plugin::describe_options(stage.options_schema))
      one.rows.push_back({row.name, row.expected, row.fallback, row.description, row.required});
    out.push_back(std::move(one));
  }
  std::sort(out.begin(), out.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
  return out;
}

ordered_json as_json(config::explanation const& e) {
  auto const text = [](std::string const& s) { return s.empty() ? ordered_json() : ordered_json(s); };
  return {
      {"key", e.key},           {"where", e.where},           {"type", e.type},        {"default", text(e.fallback)},
      {"required", e.required}, {"limits", text(e.limits)},   {"allowed", e.allowed},  {"variables", e.variables},
      {"help", e.help},         {"example", text(e.example)}, {"children", e.children}};
}

void print(config::explanation const& e) {
  std::cout << e.key
            << (e.where == "profile" ? "  (of a profile)"
                : e.where == "stage" ? "  (of a plugin)"
                                     : "")
            << "\n"
            << "  " << e.help << "\n\n";
  auto const row = [](std::string_view name, std::string const& text) {
    if (!text.empty()) std::cout << fmt::format("  {:<9} {}\n", name, text);
  };
  row("type", e.type);
  row("default", !e.fallback.empty() ? e.fallback : e.required ? "none: it must be given" : "none");
  row("limits", e.limits);
  row("allowed", base::join(e.allowed));
  row("variable", base::join(e.variables, ", or "));
  row("keys", base::join(e.children));
  std::string example = e.example;
  for (std::size_t at = 0; (at = example.find('\n', at)) != std::string::npos; at += 13)
    example.replace(at, 1, "\n            ");
  row("example", example);
}

int explain(arguments const& args) {
  auto const stages = stage_options(args);
  if (args.key.empty()) {
    auto const all = config::explain_all(stages);
    if (args.output == "json") {
      auto out = ordered_json::array();
      for (auto const& e : all) out.push_back(as_json(e));
      std::cout << out.dump(2) << "\n";
      return exit_code::done;
    }
    std::size_t key = 0;
    for (auto const& e : all) key = std::max(key, e.key.size());
    std::string where;
    for (auto const& e : all) {
      if (e.where == "profile" && where != "profile") std::cout << "\nof a profile:\n";
      where = e.where;
      std::cout << fmt::format("{:<{}}  {}{}\n", e.key, key, e.help, e.fallback.empty() ? "" : " (" + e.fallback + ")");
    }
    return exit_code::done;
  }
  std::string near;
  auto const found = config::explain(args.key, stages, near);
  if (!found) {
    complain(base::fail(base::error_code::usage, "unknown key '" + base::shorten(args.key, 80) + "'",
                        near.empty() ? "weir config explain lists all keys" : "did you mean '" + near + "'?"));
    return exit_code::usage;
  }
  if (args.output == "json")
    std::cout << as_json(*found).dump(2) << "\n";
  else
    print(*found);
  return exit_code::done;
}

}  // namespace

int config_command(arguments const& args) {
  switch (args.config_what) {
    case arguments::config_action::show:
      return show(args);
    case arguments::config_action::explain:
      return explain(args);
    case arguments::config_action::schema:
      std::cout << config::json_schema(
          args.schema_of == "profile" ? config::schema::document::profile : config::schema::document::configuration,
          stage_options(args));
      return exit_code::done;
    case arguments::config_action::reference:
      std::cout << config::reference(stage_options(args));
      return exit_code::done;
  }
  return exit_code::usage;
}

}  // namespace weir::cli
