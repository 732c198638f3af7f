#include "core/doctor/look.hpp"

#include <algorithm>

#include "core/doctor/judge.hpp"
#include "core/netbox/kind.hpp"

namespace weir::doctor {
namespace {

bool reads(engine::run_options const& options, plugin::loaded_stage const& stage, config::source const& source) {
  auto const only = options.stage_sources.find(stage.id);
  return stage.source_type == source.type &&
         (only == options.stage_sources.end() ||
          std::find(only->second.begin(), only->second.end(), source.name) != only->second.end());
}

bool wants_backups(engine::run_options const& options, config::source const& source) {
  return std::any_of(options.stages.begin(), options.stages.end(), [&](auto const& stage) {
    return reads(options, stage, source) && netbox::kind_names(stage.kinds_json).contains("netbox_proxbox.vmbackup");
  });
}

std::vector<std::pair<std::string, seconds>> clocks(report const& r) {
  std::vector<std::pair<std::string, seconds>> out;
  if (r.netbox.connection.ahead) out.emplace_back("NetBox", *r.netbox.connection.ahead);
  for (auto const& s : r.sources) {
    bool nodes = false;
    for (auto const& n : s.nodes)
      if (n.ahead) out.emplace_back(s.name + " node " + n.name, *n.ahead), nodes = true;
    if (nodes) continue;
    for (auto const& a : s.addresses)
      if (a.connection.ahead) out.emplace_back(a.connection.url, *a.connection.ahead);
  }
  return out;
}

}  // namespace

report examine(config::configuration const& settings, engine::run_options const& options,
               std::vector<config::profile> const& profiles, std::function<void(std::string_view)> const& saying,
               std::atomic<bool> const& stop) {
  report r;
  std::string learnt;
  std::map<std::string, double> learnt_ms;
  r.machine = look_at_machine(options);
  r.state = look_at_state(settings, learnt);
  saying("NetBox at " + settings.netbox.url);
  r.netbox = look_at_netbox(settings, options.stages, learnt, learnt_ms, stop);
  for (auto const& s : settings.sources) {
    if (stop || (!options.sources.empty() && !options.sources.contains(s.name))) continue;
    saying("source " + s.name);
    r.sources.push_back(look_at_source(s, wants_backups(options, s), stop));
  }
  r.stopped = stop;
  if (r.stopped) return r;
  auto const now = r.machine.now;
  notebook(r.findings, "configuration").ok("valid", settings.file.string());
  r.first_sync = first_sync(r.netbox, r.sources, learnt_ms);
  judge_profile(settings.profile, r.first_sync, r.findings);
  judge_netbox(r.netbox, now, r.findings);
  for (auto const& s : r.sources) judge_source(s, now, r.findings);
  judge_state(r.state, r.findings);
  judge_machine(r.machine, r.findings);
  judge_clocks(clocks(r), r.findings);
  r.advice = advise(r.netbox, r.state, settings.profile);
  for (auto const& p : profiles) r.costs.push_back(cost_at(r.first_sync, p));
  return r;
}

}  // namespace weir::doctor
