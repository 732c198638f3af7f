#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "core/cli/report.hpp"
#include "core/cli/report_parts.hpp"
#include "core/cli/version.hpp"
#include "core/engine/json_stream.hpp"
#include "core/engine/plan_file.hpp"

namespace weir::cli {
namespace {

json_object to_json(engine::counts const& c) {
  return {{"seen", c.seen},       {"created", c.created},     {"updated", c.updated},
          {"deleted", c.deleted}, {"unchanged", c.unchanged}, {"kept", c.kept},
          {"skipped", c.skipped}, {"failed", c.failed},       {"deferred", c.deferred}};
}

double seconds(std::chrono::milliseconds ms) { return static_cast<double>(ms.count()) / 1000; }

}  // namespace

json_object json_of(base::error const& e) { return {{"message", e.what}, {"hint", e.hint}}; }

json_object json_of(config::profile const& p) {
  return {
      {"name", p.name},
      {"batch",
       {{"size", p.batch_size}, {"delay_ms", p.batch_delay.count()}, {"objects_per_request", p.objects_per_request}}},
      {"max_in_flight", p.max_in_flight},
      {"requests_per_second", p.requests_per_second},
      {"overrides", p.overrides}};
}

json_object json_of(throttle::throttle_state const& t) {
  return {{"limit", t.limit},         {"highest_limit", t.highest_limit},        {"cuts", t.cuts},
          {"gap_ms", t.gap.count()},  {"longest_gap_ms", t.longest_gap.count()}, {"latency_inflation", t.inflation},
          {"retry_budget", t.tokens}, {"breaker_opened", t.breaker_opened},      {"probes", t.probes},
          {"refused", t.refused},     {"pool_starved", t.starved_times > 0},     {"gave_up", t.gave_up}};
}

json_object json_of(engine::source_report const& s) {
  return {{"name", s.name}, {"type", s.type}, {"version", s.version}};
}

json_object json_of(engine::job_report const& job) {
  json_object item = {{"source", job.source}, {"stage", job.stage}, {"status", engine::name(job.status)}};
  item.update(to_json(job.total));
  if (job.status != engine::job_status::ok) item["reason"] = json_of(job.reason);
  item["requests_planned"] = job.planned_requests;
  item["seconds"] = seconds(job.took);
  if (!job.metrics.empty()) item["metrics"] = json_object::object();
  for (auto const& [name, m] : job.metrics)
    item["metrics"][name] = {{"type", m.counter ? "counter" : "gauge"}, {"value", m.value}};
  item["kinds"] = json_object::object();
  for (auto const& [kind, c] : job.kinds) item["kinds"][kind] = to_json(c);
  return item;
}

json_object json_of(engine::failure const& f) {
  return {{"source", f.source}, {"stage", f.stage}, {"kind", f.kind}, {"key", f.label}, {"error", f.message}};
}

json_object json_of(engine::notice const& n) {
  return {{"level", base::log::severity(n.level)},
          {"source", n.source},
          {"stage", n.stage},
          {"message", n.message},
          {"hint", n.hint}};
}

void each_change(engine::job_report const& job, std::function<void(json_object&&)> const& to) {
  for (auto const& plan : job.plans)
    for (auto const* list : {&plan.updates, &plan.creates, &plan.deletes})
      for (auto const& c : *list) {
        json_object fields = json_object::object();
        for (auto const& f : c.fields) fields[f.field] = {f.before, f.after};
        json_object item = {{"source", job.source},
                            {"stage", job.stage},
                            {"action", engine::name(c.what)},
                            {"kind", plan.kind->name},
                            {"label", c.label}};
        if (!c.key.empty()) item["key"] = c.key.unpack();
        if (c.object < engine::first_pending) item["id"] = c.object;
        if (c.why == engine::reason::adopted) item["adopted"] = true;
        if (c.why != engine::reason::differs) item["why"] = engine::name(c.why);
        if (!c.detail.empty()) item["detail"] = c.detail;
        for (auto const& f : c.fields)
          if (f.edited) item["edited"].push_back(f.field);
        item["fields"] = std::move(fields);
        to(std::move(item));
      }
}

void each_kept(engine::job_report const& job, std::function<void(json_object&&)> const& edit,
               std::function<void(json_object&&)> const& object) {
  for (auto const& plan : job.plans) {
    auto const about = [&](std::string const& label, engine::object_id id) {
      json_object item = {{"source", job.source}, {"stage", job.stage}, {"kind", plan.kind->name}, {"label", label}};
      if (id < engine::first_pending) item["id"] = id;
      return item;
    };
    for (auto const& e : plan.edits) {
      auto item = about(e.label, e.object);
      item["field"] = e.field;
      item["held"] = e.held;
      item["wanted"] = e.wanted;
      item["rule"] = netbox::name(e.by);
      item["known"] = e.known;
      edit(std::move(item));
    }
    for (auto const& k : plan.kept) {
      auto item = about(k.label, k.object);
      item["detail"] = k.detail;
      object(std::move(item));
    }
  }
}

json_object totals_of(engine::report const& r) {
  json_object out = json_object::object();
  std::uint64_t total = 0;
  out["requests"] = json_object::object();
  for (auto const& [method, n] : r.requests) out["requests"][method] = n, total += n;
  out["requests"]["total"] = total;
  out["retried"] = r.retried;
  out["source_requests"] = r.source_requests;
  out["peak_in_flight"] = r.peak_in_flight;
  out["throttle"] = json_of(r.throttle);
  out["throttle"]["retried"] = r.retried;
  if (!r.resumes.empty()) out["resumes"] = r.resumes;
  if (!r.undoes.empty()) out["undoes"] = r.undoes;
  if (!r.dry) {
    out["batches"] = r.batches;
    out["looked_up"] = r.looked_up;
  }
  return out;
}

std::string text_of(json_object const& j, int indent) {
  return j.dump(indent, ' ', false, json_object::error_handler_t::replace);
}

std::string summary_json(engine::report const& r) {
  json_object out = {{"requests", r.requests},    {"peak_in_flight", r.peak_in_flight},
                     {"retried", r.retried},      {"batches", r.batches},
                     {"looked_up", r.looked_up},  {"throttle", json_of(r.throttle)},
                     {"seconds", seconds(r.took)}};
  return out.dump();
}

void write_json(std::ostream& to, engine::report const& r, int exit_code) {
  engine::json_stream out([&](std::string_view part) { to << part; }, 2);
  out.object();
  // The form of what a plan says: changes, edits_kept, gone_kept. Raised with any change; within 1.x only added to.
  if (r.dry) out.put("plan", fmt::format("{}.{}", engine::plan_version_major, engine::plan_version_minor));
  out.put_all({{"weir", version},
               {"run", r.run_id},
               {"command", engine::command_of(r)},
               {"exit_code", exit_code},
               {"profile", json_of(r.profile)},
               {"netbox", {{"url", r.netbox_url}, {"version", r.netbox_version}}}});
  auto const list = [&](std::string_view name, auto const& all) {
    out.list(name);
    for (auto const& one : all) out.put(json_of(one));
    out.end();
  };
  if (!r.sources.empty()) list("sources", r.sources);
  list("results", r.jobs);
  if (r.dry) {
    auto const put = [&](json_object&& item) { out.put(item); };
    auto const none = [](json_object&&) {};
    out.list("changes");
    for (auto const& job : r.jobs) each_change(job, put);
    out.end();
    out.list("edits_kept");
    for (auto const& job : r.jobs) each_kept(job, put, none);
    out.end();
    out.list("gone_kept");
    for (auto const& job : r.jobs) each_kept(job, none, put);
    out.end();
  }
  out.put_all(totals_of(r));
  list("failures", r.failures);
  list("notices", r.notices);
  if (r.fatal) out.put("error", json_of(*r.fatal));
  out.put("seconds", seconds(r.took));
  out.end();
  to << "\n";
}

}  // namespace weir::cli
