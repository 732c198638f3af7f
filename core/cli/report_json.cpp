#include <nlohmann/json.hpp>

#include "core/cli/report.hpp"
#include "core/cli/version.hpp"

namespace weir::cli {
namespace {

using nlohmann::ordered_json;

ordered_json to_json(engine::counts const& c) {
  return {{"seen", c.seen},       {"created", c.created},     {"updated", c.updated},
          {"deleted", c.deleted}, {"unchanged", c.unchanged}, {"kept", c.kept},
          {"skipped", c.skipped}, {"failed", c.failed},       {"deferred", c.deferred}};
}

ordered_json to_json(base::error const& e) { return {{"message", e.what}, {"hint", e.hint}}; }

ordered_json to_json(config::profile const& p) {
  return {
      {"name", p.name},
      {"batch",
       {{"size", p.batch_size}, {"delay_ms", p.batch_delay.count()}, {"objects_per_request", p.objects_per_request}}},
      {"max_in_flight", p.max_in_flight},
      {"requests_per_second", p.requests_per_second},
      {"overrides", p.overrides}};
}

ordered_json to_json(throttle::throttle_state const& t) {
  return {{"limit", t.limit},         {"highest_limit", t.highest_limit},        {"cuts", t.cuts},
          {"gap_ms", t.gap.count()},  {"longest_gap_ms", t.longest_gap.count()}, {"latency_inflation", t.inflation},
          {"retry_budget", t.tokens}, {"breaker_opened", t.breaker_opened},      {"probes", t.probes},
          {"refused", t.refused},     {"pool_starved", t.starved_times > 0},     {"gave_up", t.gave_up}};
}

ordered_json changes(engine::report const& r) {
  ordered_json out = ordered_json::array();
  for (auto const& job : r.jobs)
    for (auto const& plan : job.plans)
      for (auto const* list : {&plan.updates, &plan.creates, &plan.deletes})
        for (auto const& c : *list) {
          ordered_json fields = ordered_json::object();
          for (auto const& f : c.fields) fields[f.field] = {f.before, f.after};
          ordered_json item = {{"source", job.source},
                               {"stage", job.stage},
                               {"action", engine::name(c.what)},
                               {"kind", plan.kind->name},
                               {"label", c.label}};
          if (!c.key.empty()) item["key"] = ordered_json::parse(c.key);
          if (c.object < engine::first_pending) item["id"] = c.object;
          if (c.adopted) item["adopted"] = true;
          item["fields"] = std::move(fields);
          out.push_back(std::move(item));
        }
  return out;
}

}  // namespace

std::string summary_json(engine::report const& r) {
  ordered_json out = {{"requests", r.requests},
                      {"peak_in_flight", r.peak_in_flight},
                      {"retried", r.retried},
                      {"batches", r.batches},
                      {"looked_up", r.looked_up},
                      {"throttle", to_json(r.throttle)},
                      {"seconds", static_cast<double>(r.took.count()) / 1000}};
  return out.dump();
}

std::string as_json(engine::report const& r, int exit_code) {
  ordered_json out = {{"weir", version},
                      {"run", r.run_id},
                      {"command", r.dry               ? "plan"
                                  : r.resumes.empty() ? "sync"
                                                      : "resume"},
                      {"exit_code", exit_code},
                      {"profile", to_json(r.profile)},
                      {"netbox", {{"url", r.netbox_url}, {"version", r.netbox_version}}}};
  for (auto const& s : r.sources)
    out["sources"].push_back({{"name", s.name}, {"type", s.type}, {"version", s.version}});
  out["results"] = ordered_json::array();
  for (auto const& job : r.jobs) {
    ordered_json item = {{"source", job.source}, {"stage", job.stage}, {"status", engine::name(job.status)}};
    item.update(to_json(job.total));
    if (job.status != engine::job_status::ok) item["reason"] = to_json(job.reason);
    item["requests_planned"] = job.planned_requests;
    item["seconds"] = static_cast<double>(job.took.count()) / 1000;
    if (!job.metrics.empty()) item["metrics"] = ordered_json::object();
    for (auto const& [name, m] : job.metrics)
      item["metrics"][name] = {{"type", m.counter ? "counter" : "gauge"}, {"value", m.value}};
    item["kinds"] = ordered_json::object();
    for (auto const& [kind, c] : job.kinds) item["kinds"][kind] = to_json(c);
    out["results"].push_back(std::move(item));
  }
  if (r.dry) out["changes"] = changes(r);
  std::uint64_t total = 0;
  out["requests"] = ordered_json::object();
  for (auto const& [method, n] : r.requests) out["requests"][method] = n, total += n;
  out["requests"]["total"] = total;
  out["retried"] = r.retried;
  out["source_requests"] = r.source_requests;
  out["peak_in_flight"] = r.peak_in_flight;
  out["throttle"] = to_json(r.throttle);
  out["throttle"]["retried"] = r.retried;
  if (!r.resumes.empty()) out["resumes"] = r.resumes;
  if (!r.dry) {
    out["batches"] = r.batches;
    out["looked_up"] = r.looked_up;
  }
  out["failures"] = ordered_json::array();
  for (auto const& f : r.failures)
    out["failures"].push_back(
        {{"source", f.source}, {"stage", f.stage}, {"kind", f.kind}, {"key", f.label}, {"error", f.message}});
  out["notices"] = ordered_json::array();
  for (auto const& n : r.notices)
    out["notices"].push_back({{"level", n.level == base::log::level::error     ? "error"
                                        : n.level == base::log::level::warning ? "warning"
                                                                               : "info"},
                              {"source", n.source},
                              {"stage", n.stage},
                              {"message", n.message},
                              {"hint", n.hint}});
  if (r.fatal) out["error"] = to_json(*r.fatal);
  out["seconds"] = static_cast<double>(r.took.count()) / 1000;
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace weir::cli
