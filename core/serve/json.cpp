#include "core/serve/json.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::serve {
namespace {

using nlohmann::ordered_json;

std::string text(ordered_json const& document) {
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

ordered_json time_or_null(std::optional<wall> t) {
  return t ? ordered_json(base::format_instant_ms(*t)) : ordered_json(nullptr);
}

// So many decimals, that documents stay short.
double rounded(double value, double to) { return std::round(value * to) / to; }
double seconds(double value) { return rounded(value, 1000); }

ordered_json or_null(std::string const& s) { return s.empty() ? ordered_json(nullptr) : ordered_json(s); }

ordered_json to_json(config::profile const& p) {
  return {
      {"name", p.name},
      {"description", p.description},
      {"batch",
       {{"size", p.batch_size}, {"delay_ms", p.batch_delay.count()}, {"objects_per_request", p.objects_per_request}}},
      {"max_in_flight", p.max_in_flight},
      {"requests_per_second", p.requests_per_second}};
}

ordered_json to_json(job_view const& j, steady now) {
  ordered_json planned = nullptr;
  if (j.planned)
    planned = {{"create", j.planned->create},
               {"update", j.planned->update},
               {"delete", j.planned->erase},
               {"requests", j.planned->requests}};
  double took = 0;
  if (j.started) took = std::chrono::duration<double>(j.ended.value_or(now) - *j.started).count();
  return {{"source", j.source},
          {"stage", j.stage},
          {"title", j.title.empty() ? j.stage : j.title},
          {"state", j.state},
          {"note", j.note},
          {"done", j.done},
          {"total", j.total},
          {"batch", j.batch},
          {"batches", j.batches},
          {"planned", std::move(planned)},
          {"seconds", seconds(took)},
          {"reason", j.reason}};
}

ordered_json to_json(engine::gate_now const& g, snapshot const& s) {
  return {{"in_flight", g.count.in_flight},
          {"waiting", g.count.waiting},
          {"limit", rounded(g.state.limit, 100)},
          {"ceiling", s.profile.max_in_flight},
          {"gap_ms", g.state.gap.count()},
          {"tokens", rounded(g.state.tokens, 100)},
          {"inflation", rounded(g.state.inflation, 100)},
          {"breaker", throttle::name(g.state.circuit)},
          {"breaker_opened", g.state.breaker_opened},
          {"starved", g.state.starved},
          {"gave_up", g.state.gave_up},
          {"refused", g.state.refused},
          {"requests_per_second", rounded(s.requests_per_second, 100)},
          {"control", s.observe_only ? "observe" : "adaptive"}};
}

ordered_json to_json(run_row const& r) {
  return {{"id", r.id},
          {"command", r.command},
          {"trigger", r.trigger},
          {"state", r.state},
          {"exit_code", r.exit_code ? ordered_json(*r.exit_code) : ordered_json(nullptr)},
          {"started", base::format_instant_ms(r.started)},
          {"ended", time_or_null(r.ended)},
          {"seconds", seconds(r.seconds)},
          {"profile", r.profile},
          {"created", r.created},
          {"updated", r.updated},
          {"deleted", r.deleted},
          {"failed", r.failed},
          {"deferred", r.deferred},
          {"reason", r.reason}};
}

ordered_json to_json(gate_sample const& s) {
  auto const known = [&](double v, double to) {
    return s.running ? ordered_json(rounded(v, to)) : ordered_json(nullptr);
  };
  return ordered_json::array({std::chrono::floor<std::chrono::milliseconds>(s.at).time_since_epoch().count(),
                              s.in_flight, known(s.limit, 100), known(s.gap_ms, 1), rounded(s.requests_per_second, 100),
                              known(s.inflation, 100), s.breaker, s.errors});
}

}  // namespace

std::string status_json(snapshot const& s) {
  ordered_json out = {
      {"weir", WEIR_VERSION},
      {"started", base::format_instant_ms(s.started)},
      {"now", base::format_instant_ms(s.now)},
      {"state", s.stopping ? "stopping"
                : s.run    ? "running"
                           : "idle"},
      {"netbox", {{"url", s.netbox_url}, {"version", or_null(s.netbox_version)}}},
      {"config", {{"file", s.config_file}, {"loaded", base::format_instant_ms(s.config_loaded)}, {"error", nullptr}}},
      {"profile", to_json(s.profile)},
      {"run", nullptr},
      {"gate", nullptr},
      {"errors", ordered_json::array()},
      {"schedules", ordered_json::array()},
      {"runs",
       {{"started", s.runs_started},
        {"ended", s.runs_ended},
        {"refused", s.runs_refused},
        {"by_exit_code", ordered_json::object()}}},
      {"plan", nullptr}};
  if (s.config_error)
    out["config"]["error"] = {{"at", base::format_instant_ms(s.config_error->at)},
                              {"message", s.config_error->message}};
  if (s.run) {
    auto jobs = ordered_json::array();
    for (auto const& j : s.run->jobs) jobs.push_back(to_json(j, s.steady_now));
    out["run"] = {{"id", s.run->id},
                  {"command", s.run->command},
                  {"trigger", s.run->trigger},
                  {"started", base::format_instant_ms(s.run->started)},
                  {"seconds", seconds(std::chrono::duration<double>(s.steady_now - s.run->since).count())},
                  {"cancelling", s.run->cancelling},
                  {"jobs", std::move(jobs)}};
  }
  if (s.gate) out["gate"] = to_json(*s.gate, s);
  for (auto const& e : s.errors)
    out["errors"].push_back({{"at", base::format_instant_ms(e.at)},
                             {"run", e.run},
                             {"source", e.source},
                             {"stage", e.stage},
                             {"level", e.level},
                             {"message", e.message},
                             {"hint", e.hint}});
  for (auto const& schedule : s.schedules) {
    auto const& what = schedule.is.what;
    ordered_json last = nullptr;
    if (schedule.last)
      last = {{"run", schedule.last->id},
              {"at", base::format_instant_ms(schedule.last->started)},
              {"exit_code", schedule.last->exit_code}};
    auto const in_seconds = [](config::milliseconds d) { return static_cast<double>(d.count()) / 1000; };
    out["schedules"].push_back(
        {{"name", what.name},
         {"cron", or_null(what.cron)},
         {"every_s", what.cron.empty() ? ordered_json(in_seconds(what.every)) : ordered_json(nullptr)},
         {"jitter_s", in_seconds(what.jitter)},
         {"command", what.plan_only ? "plan" : "sync"},
         {"sources", what.sources},
         {"stages", what.stages},
         {"next", time_or_null(schedule.is.next)},
         {"last", std::move(last)},
         {"refused", schedule.is.refused}});
  }
  for (auto const& [code, n] : s.by_exit_code) out["runs"]["by_exit_code"][std::to_string(code)] = n;
  if (s.plan) {
    kept_plan::stage sum;
    for (auto const& stage : s.plan->stages) {
      sum.create += stage.create;
      sum.update += stage.update;
      sum.erase += stage.erase;
      sum.requests += stage.requests;
    }
    out["plan"] = {{"run", s.plan->run},   {"made", base::format_instant_ms(s.plan->made)},
                   {"create", sum.create}, {"update", sum.update},
                   {"delete", sum.erase},  {"requests", sum.requests}};
  }
  return text(out);
}

std::string sample_json(gate_sample const& s) { return text(to_json(s)); }

std::string gate_json(std::vector<gate_sample> const& samples, std::size_t ceiling) {
  ordered_json out = {
      {"ceiling", ceiling},
      {"columns", {"t", "in_flight", "limit", "gap_ms", "requests_per_second", "inflation", "breaker", "errors"}},
      {"samples", ordered_json::array()}};
  for (auto const& s : samples) out["samples"].push_back(to_json(s));
  return text(out);
}

std::string plan_json(kept_plan const& p) {
  ordered_json out = {{"run", p.run},
                      {"made", base::format_instant_ms(p.made)},
                      {"stages", ordered_json::array()},
                      {"changes", ordered_json::array()},
                      {"more", p.more}};
  for (auto const& s : p.stages)
    out["stages"].push_back({{"source", s.source},
                             {"stage", s.stage},
                             {"title", s.title},
                             {"create", s.create},
                             {"update", s.update},
                             {"delete", s.erase},
                             {"unchanged", s.unchanged},
                             {"requests", s.requests}});
  for (auto const& c : p.changes) {
    auto fields = ordered_json::array();
    for (auto const& f : c.fields) fields.push_back({{"field", f.field}, {"before", f.before}, {"after", f.after}});
    out["changes"].push_back({{"source", c.source},
                              {"stage", c.stage},
                              {"kind", c.kind},
                              {"action", c.action},
                              {"label", c.label},
                              {"url", or_null(c.url)},
                              {"fields", std::move(fields)}});
  }
  return text(out);
}

std::string runs_json(std::vector<run_row> const& runs) {
  ordered_json out = {{"runs", ordered_json::array()}};
  for (auto const& r : runs) out["runs"].push_back(to_json(r));
  return text(out);
}

std::string run_json(run_row const& r) { return text(to_json(r)); }

std::string run_json(run_details const& r) {
  auto out = to_json(r.run);
  out["stages"] = ordered_json::array();
  for (auto const& s : r.stages)
    out["stages"].push_back({{"source", s.source},
                             {"stage", s.stage},
                             {"state", s.state},
                             {"created", s.created},
                             {"updated", s.updated},
                             {"deleted", s.deleted},
                             {"failed", s.failed},
                             {"deferred", s.deferred},
                             {"reason", s.reason}});
  out["changes"] = ordered_json::array();
  for (auto const& c : r.changes)
    out["changes"].push_back({{"source", c.source},
                              {"stage", c.stage},
                              {"kind", c.kind},
                              {"action", c.action},
                              {"label", c.label},
                              {"url", or_null(c.url)},
                              {"state", c.state},
                              {"reason", c.reason}});
  out["more"] = r.more;
  return text(out);
}

std::string error_json(std::string const& error, std::string const& hint) {
  return text({{"error", error}, {"hint", hint}});
}

std::string checks_json(std::vector<check> const& checks) {
  ordered_json out = {{"ok", true}, {"checks", ordered_json::array()}};
  for (auto const& c : checks) {
    if (!c.ok) out["ok"] = false;
    out["checks"].push_back(
        {{"name", c.name}, {"ok", c.ok}, {"value", c.value}, {"limit", c.limit}, {"detail", c.detail}});
  }
  return text(out);
}

base::result<start_request> parse_start(std::string_view body) {
  auto const wrong = [](std::string what) {
    return base::fail(base::error_code::data, std::move(what), R"(such as {"command": "sync", "stages": ["nodes"]})");
  };
  auto const document = ordered_json::parse(body, nullptr, false);
  if (document.is_discarded() || !document.is_object()) return wrong("the body must be a JSON object");
  start_request out;
  auto const names = [&](ordered_json const& value, std::string const& key,
                         std::vector<std::string>& into) -> std::optional<base::error> {
    if (!value.is_array() || value.size() > 1000) return wrong("'" + key + "' must be a list of names");
    for (auto const& item : value) {
      if (!item.is_string()) return wrong("'" + key + "' must be a list of names");
      into.push_back(item.get<std::string>());
    }
    return {};
  };
  for (auto const& [key, value] : document.items()) {
    if (key == "command") {
      auto const* const command = value.get_ptr<std::string const*>();
      if (!command || (*command != "sync" && *command != "plan" && *command != "resume"))
        return wrong("'command' must be sync, plan or resume");
      out.command = *command;
    } else if (key == "sources") {
      if (auto const e = names(value, key, out.sources)) return *e;
    } else if (key == "stages") {
      if (auto const e = names(value, key, out.stages)) return *e;
    } else if (key == "run") {
      auto const* const run = value.get_ptr<std::string const*>();
      if (!run || run->size() > 64) return wrong("'run' must be a run's id");
      out.run = *run;
    } else {
      return wrong("unknown key '" + base::shorten(key, 40) + "'; known: command, sources, stages, run");
    }
  }
  if (!out.run.empty() && out.command != "resume") return wrong("'run' goes with the command resume only");
  return out;
}

}  // namespace weir::serve
