#include "core/doctor/advice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/doctor/judge.hpp"

namespace weir::doctor {
namespace {

// Above these NetBox is in trouble, or others are waiting for it.
constexpr double slow_read_ms = 1000, slow_object_ms = 8, spread = 5;
constexpr std::string_view gentle = "ultra-conservative", usual = "conservative", quick = "aggressive";

// What objects cost in lists of 50, one request at a time, on two busy cores, where a read of one backup takes 110 ms.
constexpr double reference_read_ms = 110;
double reference_ms(std::string const& kind) {
  if (kind == "virtualization.virtualmachine") return 65;
  if (kind == "dcim.device") return 60;
  if (kind == "netbox_proxbox.vmbackup") return 23;
  return 20;
}

constexpr double request_target_ms = 1500;  // lists are made so short that one takes 1 to 2 s
constexpr double proxy_patience_ms = 60000;
constexpr std::size_t useful_in_flight = 2;  // NetBox is bound by its CPU: more only wait

bool is_shipped(std::string const& name) { return name == gentle || name == usual || name == quick; }

}  // namespace

advice advise(netbox_facts const& f, state_facts const& state, config::profile const& configured) {
  if (f.database_errors > 0)
    return {std::string(gentle),
            fmt::format("{} of {} single requests found no database connection", f.database_errors, f.requests)};
  if (f.latencies.empty())
    return {std::string(usual), "NetBox's latency could not be measured: this is the one to begin with"};
  double slowest = 0, steady = 0;
  for (auto const& l : f.latencies)
    if (l.slowest_ms > slowest) slowest = l.slowest_ms, steady = l.median_ms;
  auto const& first = f.latencies.front();
  auto const& last = f.latencies.back();
  double const per_object = last.objects > first.objects ? std::max(0.0, last.median_ms - first.median_ms) /
                                                               static_cast<double>(last.objects - first.objects)
                                                         : 0;
  if (first.median_ms > slow_read_ms)
    return {std::string(gentle),
            fmt::format("reading one object takes {}: NetBox is overloaded", in_time(first.median_ms))};
  if (per_object > slow_object_ms)
    return {std::string(gentle),
            fmt::format("each object read takes {:.0f} ms, where 1 is usual: NetBox is overloaded", per_object)};
  if (slowest > spread * steady && slowest > slow_read_ms)
    return {std::string(gentle), fmt::format("the same read takes {} or {}: others are waiting for this NetBox, too",
                                             in_time(steady), in_time(slowest))};
  if (state.stopped > 2 && state.stopped * 2 > state.recent)
    return {std::string(gentle),
            fmt::format("{} of the last {} runs were stopped early or failed", state.stopped, state.recent)};
  auto const fine = fmt::format("no database error, and a read takes {}", in_time(first.median_ms));
  if (configured.name == quick)
    return {std::string(quick), fine +
                                    ": nothing speaks against it, as long as nobody else waits for this NetBox and its "
                                    "database has 50 or more connections, which cannot be seen from here"};
  if (!is_shipped(configured.name)) return {configured.name, fine + ": nothing speaks against your own"};
  return {std::string(usual), fine +
                                  "; aggressive is for a NetBox of your own whose database has 50 or more connections, "
                                  "which cannot be seen from here"};
}

std::vector<load_item> first_sync(netbox_facts const& f, std::vector<source_facts> const& sources,
                                  std::map<std::string, double> const& learnt_ms) {
  std::map<std::string, std::size_t> objects;
  bool any = false;
  for (auto const& s : sources) {
    if (s.type != "proxmox" || s.error || !s.guests) continue;
    any = true;
    ++objects["dcim.site"];
    ++objects["virtualization.cluster"];
    objects["dcim.device"] += s.nodes.size();
    objects["virtualization.virtualmachine"] += *s.guests;
    if (s.backups_wanted)
      for (auto const& b : s.storages) objects["netbox_proxbox.vmbackup"] += b.backup_count.value_or(0);
  }
  if (any) {
    objects["extras.customfield"] = 6;
    for (auto const* once : {"dcim.manufacturer", "dcim.devicetype", "virtualization.clustertype", "extras.tag"})
      objects[once] = 1;
    objects["dcim.devicerole"] = 3;
  }
  // How much quicker or slower than the machine of the reference.
  double const factor =
      f.latencies.empty() ? 1 : std::clamp(f.latencies.front().median_ms / reference_read_ms, 0.25, 20.0);
  std::vector<load_item> out;
  for (auto const& r : f.rights) {
    auto const found = objects.find(r.kind);
    if (found == objects.end() || found->second == 0 || r.lacks_plugin) continue;
    auto const learnt = learnt_ms.find(r.kind);
    out.push_back({r.kind, found->second, learnt != learnt_ms.end() ? learnt->second : reference_ms(r.kind) * factor,
                   learnt != learnt_ms.end()});
  }
  return out;
}

cost cost_at(std::vector<load_item> const& items, config::profile const& p) {
  cost c;
  c.profile = p.name;
  double work_ms = 0;
  for (auto const& i : items) {
    auto const fits = static_cast<std::size_t>(std::max(1.0, request_target_ms / std::max(i.ms_per_object, 0.1)));
    auto const size = std::max<std::size_t>(1, std::min(p.objects_per_request, fits));
    auto const requests = (i.objects + size - 1) / size;
    c.objects += i.objects;
    c.requests += requests;
    // Lists of one cost about three times as much an object: the work of a request is most of it.
    double const overhead_ms = 2 * i.ms_per_object;
    work_ms += static_cast<double>(i.objects) * i.ms_per_object + static_cast<double>(requests) * overhead_ms;
  }
  auto const parallel = static_cast<double>(std::clamp<std::size_t>(p.max_in_flight, 1, useful_in_flight));
  auto const batches = p.batch_size == 0 ? 0 : (c.requests + p.batch_size - 1) / p.batch_size;
  double const pauses_ms =
      batches > 1 ? static_cast<double>(batches - 1) * static_cast<double>(p.batch_delay.count()) : 0;
  double const paced = p.requests_per_second > 0 ? static_cast<double>(c.requests) / p.requests_per_second : 0;
  c.seconds = std::max(paced, (work_ms / parallel + pauses_ms) / 1000);
  return c;
}

void judge_profile(config::profile const& p, std::vector<load_item> const& items, findings& out) {
  notebook note(out, "profile");
  note.ok(
      p.name,
      fmt::format("at most {} in flight, {:g} requests a second, {} objects a request, {} ms after every {}",
                  p.max_in_flight, p.requests_per_second, p.objects_per_request, p.batch_delay.count(), p.batch_size));
  for (auto const& o : p.overrides) note.note("environment", o);
  for (auto const& i : items) {
    double const list_ms = static_cast<double>(std::min(p.objects_per_request, i.objects)) * i.ms_per_object;
    if (list_ms < proxy_patience_ms / 2) continue;
    note.warning("batch.objects_per_request",
                 fmt::format("a list of {} of {} may take {}; proxies give up after 60 s",
                             std::min(p.objects_per_request, i.objects), i.kind, in_time(list_ms)),
                 fmt::format("batch.objects_per_request: {}",
                             std::max(1, static_cast<int>(request_target_ms / i.ms_per_object))),
                 "timeout-504");
  }
  if (p.max_in_flight > 8)
    note.warning("max_in_flight",
                 fmt::format("{} at once: each may take a database connection of NetBox's", p.max_in_flight),
                 "max_in_flight: 4; NetBox's cores are busy with fewer", "database-unavailable");
}

}  // namespace weir::doctor
