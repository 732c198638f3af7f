// `weir demo`: the main job on simulated servers, inside this process, on loopback.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/cli/commands.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/progress.hpp"
#include "core/cli/report.hpp"
#include "core/cli/setup.hpp"
#include "core/sim/netbox.hpp"
#include "core/sim/proxmox.hpp"
#include "core/store/journal.hpp"

namespace weir::cli {
namespace {

using nlohmann::json;

// A day in the life of a cluster: what the second plan of the demo is about.
std::string change_a_few_things(sim::proxmox_server& source) {
  auto model = json::parse(source.model());
  auto& guests = model.at("guests");
  std::vector<std::string> said;
  if (!guests.empty()) {
    auto& config = guests[0].at("config");
    auto const* field = config.contains("hostname") ? "hostname" : "name";
    auto const old = config.value(field, std::string("the first guest"));
    config[field] = "renamed-in-proxmox";
    said.push_back(old + " is renamed");
  }
  if (guests.size() > 1 && model.at("nodes").size() > 1) {
    auto const& nodes = model.at("nodes");
    auto const here = guests[1].at("node").get<std::string>();
    for (auto const& node : nodes)
      if (auto const name = node.at("node").get<std::string>(); name != here) {
        guests[1]["node"] = name;
        said.push_back("another guest moves to " + name);
        break;
      }
  }
  auto& backups = model.at("backups");
  std::size_t const removed = std::min<std::size_t>(7, backups.size() / 4);
  for (std::size_t i = 0; i < removed; ++i) backups.erase(backups.begin());
  if (removed) said.push_back(std::to_string(removed) + " backups expire");
  source.set_model(model.dump());
  return base::join(said, "; ");
}

}  // namespace

int demo(arguments const& args) {
  configure_log(args);
  auto const environment = config::current_environment();
  auto const where = find_places(environment);
  engine::run_options options;
  config::configuration settings;

  std::vector<config::diagnostic> errors;
  std::string const wanted = args.profile.value_or("conservative");
  std::vector<std::string> names;
  for (auto& p : config::list_profiles(where.profiles, errors)) {
    names.push_back(p.name);
    if (p.name == wanted) settings.profile = std::move(p);
  }
  if (settings.profile.name != wanted) {
    complain(base::fail(base::error_code::config, "unknown profile '" + wanted + "'",
                        "the demo knows: " + base::join(names)));
    return exit_code::configuration;
  }
  auto path = where.plugins;
  path.insert(path.begin(), args.plugins.begin(), args.plugins.end());
  for (auto const& given : args.plugins)
    if (std::error_code ec; !std::filesystem::exists(given, ec)) {
      complain(base::fail(base::error_code::usage, "--plugin: there is no " + given, "a plugin's .so, or a folder"));
      return exit_code::usage;
    }
  auto plugins = load_plugins(path);
  for (auto const& id : args.stages)
    if (std::none_of(plugins.stages.begin(), plugins.stages.end(), [&](auto const& s) { return s.id == id; })) {
      std::vector<std::string> known;
      for (auto const& s : plugins.stages) known.push_back(s.id);
      complain(
          base::fail(base::error_code::usage, "--stage: unknown stage '" + id + "'", "known: " + base::join(known)));
      return exit_code::usage;
    }
  if (!plugins.problems.empty() || plugins.stages.empty()) {
    if (plugins.stages.empty())
      complain(base::fail("no stage plugin was found", "build the whole tree, or set WEIR_STAGE_PATH"));
    return exit_code::configuration;
  }
  for (auto& stage : plugins.stages) {
    bool const named = std::find(args.stages.begin(), args.stages.end(), stage.id) != args.stages.end();
    if (!args.stages.empty() && !named) continue;
    auto checked = plugin::check_options(stage, "{}", "");
    if (!checked && named) {
      complain(checked.error());
      return exit_code::configuration;
    }
    if (!checked) continue;  // a stage that cannot do without options has no place in a demo
    options.stage_options[stage.id] = std::move(*checked);
    options.stages.push_back(std::move(stage));
  }

  sim::proxmox_options cluster;
  cluster.nodes = static_cast<int>(args.demo_nodes);
  cluster.guests = static_cast<int>(args.demo_guests);
  cluster.backups = static_cast<int>(args.demo_backups);
  sim::proxmox_server proxmox(cluster);
  sim::netbox_options server;
  // A small NetBox: two gunicorn workers on two cores, about ten times quicker than a real one.
  server.load.workers = 2;
  server.load.cpu_cores = 2;
  server.load.db_connections = 20;
  server.load.base = std::chrono::milliseconds(6);
  server.load.write_object = std::chrono::milliseconds(2);
  server.load.read_object = std::chrono::microseconds(50);
  sim::netbox_server netbox(server);

  settings.netbox.url = netbox.url();
  settings.netbox.token = base::secret(netbox.token());
  config::source source;
  source.name = "pve-a";
  source.type = "proxmox";
  source.urls = {proxmox.url()};
  source.token_id = cluster.token_id;
  source.token = base::secret(cluster.token_secret);
  settings.sources.push_back(source);
  catch_signals();

  struct folder {  // the demo's own state, gone at its end
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("weir-demo-" + engine::new_run_id() + engine::new_run_id());
    ~folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  } const state;
  auto const journal = store::journal::open(state.path / "journal.db");
  if (!journal) {
    complain(journal.error());
    return exit_code::failed;
  }

  text_style const style{colour_wanted(args, STDOUT_FILENO), args.verbose};
  auto const step = [&](std::string const& title, bool dry) {
    std::cout << "\n== " << title << "\n" << std::flush;
    options.dry = dry;
    options.run_id = engine::new_run_id();
    options.journal = journal->get();
    netbox.reset_counters();
    auto const report = [&] {
      progress_display display({rows_wanted(args), colour_wanted(args, STDERR_FILENO), dry, {}});
      return engine::run(settings, options, display, stop_requested());
    }();
    std::cout << as_text(report, style);
    auto const seen = netbox.counters();
    std::cout << fmt::format("NetBox counted {} requests, {} of them writes, at most {} at once.\n", seen.total,
                             seen.writes, seen.peak_in_flight)
              << std::flush;
    return exit_code_of(report);
  };

  std::cout << fmt::format(
      "A simulated Proxmox VE ({} nodes, {} guests, {} backups) at {}\nand a simulated NetBox at {}, both inside this "
      "process.\n",
      args.demo_nodes, args.demo_guests, args.demo_backups, proxmox.url(), netbox.url());
  if (int code = step("weir plan: what would be done, nothing is written", true)) return code;
  if (int code = step("weir sync", false)) return code;
  if (int code = step("weir sync once more: nothing has changed, nothing is written", false)) return code;
  auto const changed = change_a_few_things(proxmox);
  if (int code = step("In Proxmox VE: " + changed + ". weir plan", true)) return code;
  if (int code = step("weir sync", false)) return code;
  std::cout << "\nNow with your own servers: see \"First real sync\" in README.md.\n";
  return exit_code::done;
}

}  // namespace weir::cli
