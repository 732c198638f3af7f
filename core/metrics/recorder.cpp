#include "core/metrics/recorder.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <numeric>
#include <sstream>

#include "core/base/text.hpp"
#include "core/metrics/exposition.hpp"
#include "core/plugin/utf8.hpp"
#include "weir/abi.h"

namespace weir::metrics {
namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using labels = std::map<std::string, std::string>;

// From 5 ms; NetBox writes a long list in half a minute, and a proxy cuts at 60 s.
std::vector<double> const seconds_buckets{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

// What other people's input names, so that it may grow without end.
constexpr std::array open_labels{"source", "stage", "kind", "endpoint", "name", "server", "profile", "version"};
constexpr char const* overflow = "other";
constexpr std::size_t longest_value = 100;

bool is_open(std::string const& label) {
  return std::find(open_labels.begin(), open_labels.end(), label) != open_labels.end();
}

std::string clean(std::string_view value) { return base::shorten(plugin::repair_utf8(value), longest_value); }

// A stage's own words become part of queries: letters that need no quoting there.
std::string clean_name(std::string_view value) {
  std::string out(value.substr(0, longest_value));
  for (auto& c : out) {
    bool const fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                      c == '.' || c == '-' || c == ':' || c == '/';
    if (!fine) c = '_';
  }
  return out.empty() ? "_" : out;
}

double seconds(std::chrono::milliseconds d) { return static_cast<double>(d.count()) / 1000; }
double number(std::size_t n) { return static_cast<double>(n); }

template <class Metric>
constexpr char const* type_name = "histogram";
template <>
constexpr char const* type_name<Counter> = "counter";
template <>
constexpr char const* type_name<Gauge> = "gauge";

// The metrics of one name.
template <class Metric>
class family {
 public:
  family(prometheus::Registry& in, std::vector<metric_about>& all, char const* name, std::vector<std::string> names,
         char const* help)
      : names_(std::move(names)) {
    all.push_back({name, type_name<Metric>, names_, help});
    if constexpr (std::is_same_v<Metric, Counter>)
      of_ = &prometheus::BuildCounter().Name(name).Help(help).Register(in);
    else if constexpr (std::is_same_v<Metric, Gauge>)
      of_ = &prometheus::BuildGauge().Name(name).Help(help).Register(in);
    else
      of_ = &prometheus::BuildHistogram().Name(name).Help(help).Register(in);
  }

  // Of these labels' values, in the order of their names.
  template <class... Values>
  Metric& at(Values const&... values) {
    std::vector<std::string> const given{clean(values)...};
    labels l;
    for (std::size_t i = 0; i < names_.size(); ++i) l[names_[i]] = given[i];
    return at(std::move(l));
  }
  Metric& at(labels l) {
    if (auto const found = known_.find(l); found != known_.end()) return *found->second;
    if (known_.size() >= most)
      for (auto& [name, value] : l)
        if (is_open(name)) value = overflow;
    auto const [made, is_new] = known_.try_emplace(l, nullptr);
    if (is_new) made->second = &add(l);
    return *made->second;
  }
  // Whether an earlier text's labels are those of today.
  bool fits(labels const& l) const {
    return l.size() == names_.size() &&
           std::all_of(names_.begin(), names_.end(), [&](auto const& n) { return l.contains(n); });
  }
  void forget() {
    for (auto const& [l, m] : known_) of_->Remove(m);
    known_.clear();
  }

 private:
  static constexpr std::size_t most =
      std::is_same_v<Metric, Histogram> ? recorder::most_histograms : recorder::most_series;
  Metric& add(labels const& l) {
    if constexpr (std::is_same_v<Metric, Histogram>)
      return of_->Add(l, seconds_buckets);
    else
      return of_->Add(l);
  }
  prometheus::Family<Metric>* of_ = nullptr;
  std::vector<std::string> names_;
  std::map<labels, Metric*> known_;
};

// Sorted, so that equal counts make equal texts.
std::string serialized(std::vector<prometheus::MetricFamily> families) {
  std::sort(families.begin(), families.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  for (auto& f : families)
    std::sort(f.metric.begin(), f.metric.end(), [](auto const& a, auto const& b) {
      auto const key = [](auto const& l) { return std::pair(l.name, l.value); };
      return std::lexicographical_compare(a.label.begin(), a.label.end(), b.label.begin(), b.label.end(),
                                          [&](auto const& x, auto const& y) { return key(x) < key(y); });
    });
  return prometheus::TextSerializer().Serialize(families);
}

double system_start() {
  std::ifstream in("/proc/stat");
  std::string word;
  double value = 0;
  while (in >> word)
    if (word == "btime") {
      in >> value;
      break;
    }
  return value;
}

// Of /proc/self/stat: what stands behind the command's name, which may hold blanks. [0] is the state (field 3).
std::vector<std::string> own_stat() {
  std::ifstream in("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto const close = text.rfind(')');
  std::vector<std::string> out;
  if (close == std::string::npos) return out;
  std::istringstream rest(text.substr(close + 1));
  for (std::string word; rest >> word;) out.push_back(word);
  return out;
}

std::size_t open_files() {
  std::error_code ignored;
  std::size_t n = 0;
  for (std::filesystem::directory_iterator i("/proc/self/fd", ignored), end; !ignored && i != end; i.increment(ignored))
    ++n;
  return n > 0 ? n - 1 : 0;  // without the one that looks
}

}  // namespace

std::string_view result_of(int exit_code) {
  switch (exit_code) {  // core/cli/exit_codes.hpp; tests/unit/metrics compares
    case 0:
      return "ok";
    case 3:
      return "partly";
    case 4:
      return "refused";
    case 5:
      return "locked";
    case 64:
      return "usage";
    case 69:
      return "unreachable";
    case 75:
      return "stopped";
    case 77:
      return "credentials";
    case 78:
      return "configuration";
    case 130:
      return "interrupted";
    default:
      return "failed";
  }
}

struct recorder::state {
  explicit state(wall_clock clock) : now(std::move(clock)) {
    build.at(WEIR_VERSION, std::to_string(WEIR_ABI_MAJOR) + "." + std::to_string(WEIR_ABI_MINOR)).Set(1);
    // What an alert counts must be there before it happens: a rate has no beginning otherwise.
    for (auto const o : {throttle::outcome::overload, throttle::outcome::unknown, throttle::outcome::stale,
                         throttle::outcome::unreachable, throttle::outcome::lost_race, throttle::outcome::too_large,
                         throttle::outcome::server_fault, throttle::outcome::data, throttle::outcome::credentials})
      signals.at(throttle::name(o));
    for (auto const l : {base::log::level::info, base::log::level::warning, base::log::level::error})
      notices.at(base::log::severity(l));
    for (auto* c : {&limit_reached, &limit_cuts, &refused, &starved_total, &gave_up, &opened, &probes}) c->at();
    runs_active.at();
    std::sort(about.begin(), about.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  }

  template <class Metric>
  family<Metric> make(char const* name, std::vector<std::string> label_names, char const* help) {
    return family<Metric>(registry, about, name, std::move(label_names), help);
  }
  template <class Metric>
  family<Metric> make_process(char const* name, char const* help) {
    return family<Metric>(process_registry, about, name, {}, help);
  }

  void show(throttle::throttle_state const& s);
  void count(throttle::throttle_state const& s);
  void show(engine::gate_now const& g);
  void show_sources(engine::report const& r);
  void look_at_process();

  wall_clock now;
  std::mutex mutex;  // of everything but the registry, which has its own
  bool dry = false, ended = false;
  throttle::throttle_state counted;  // of this run's gate, which counts from nothing in each run
  std::map<std::uint64_t, std::pair<std::string, std::string>> in_doubt;  // this run's batches: source, stage

  prometheus::Registry registry, process_registry;
  std::vector<metric_about> about;

  family<Gauge> build = make<Gauge>("weir_build_info", {"version", "abi"}, "1, of this version and plugin ABI.");

  family<Counter> runs =
      make<Counter>("weir_runs_total", {"command", "result"}, "Runs that ended, by what their exit code says.");
  family<Gauge> runs_active = make<Gauge>("weir_runs_active", {}, "Runs that are connected and not ended.");
  family<Gauge> run_duration =
      make<Gauge>("weir_run_duration_seconds", {"command"}, "How long the last run of this command took.");
  family<Gauge> last_run = make<Gauge>("weir_run_last_timestamp_seconds", {"profile"},
                                       "When the last sync or resume ended, in seconds since 1970.");
  family<Gauge> last_success =
      make<Gauge>("weir_run_last_success_timestamp_seconds", {"profile"},
                  "When the last sync or resume with exit code 0 ended, in seconds since 1970; 0: none has.");
  family<Gauge> last_exit = make<Gauge>("weir_run_last_exit_code", {}, "Exit code of the last sync or resume.");
  family<Counter> notices = make<Counter>("weir_notices_total", {"level"}, "What runs had to tell, by how bad it is.");
  family<Gauge> plugins_refused =
      make<Gauge>("weir_plugins_refused", {}, "Plugins and stages that the last run could not use.");
  family<Gauge> netbox_up = make<Gauge>("weir_netbox_up", {}, "1 if NetBox answered at the start of the last run.");
  family<Gauge> netbox_info = make<Gauge>("weir_netbox_info", {"version"}, "1, of the version that NetBox has.");
  family<Gauge> source_up =
      make<Gauge>("weir_source_up", {"source"}, "1 if the source answered at the start of the last run that read it.");

  family<Counter> stages = make<Counter>("weir_stages_total", {"source", "stage", "result"},
                                         "Stages that ended: ok, failed, skipped, stopped.");
  family<Gauge> stage_success =
      make<Gauge>("weir_stage_success", {"source", "stage"},
                  "1 if the stage's last run did all it had to, 0 if it failed or was stopped.");
  family<Gauge> stage_duration =
      make<Gauge>("weir_stage_duration_seconds", {"source", "stage"}, "How long the stage took last.");
  family<Gauge> stage_metric = make<Gauge>("weir_stage_metric", {"source", "stage", "name"}, "A stage's own gauges.");
  family<Counter> stage_metric_total =
      make<Counter>("weir_stage_metric_total", {"source", "stage", "name"}, "A stage's own counters.");

  family<Counter> objects = make<Counter>(
      "weir_objects_total", {"source", "stage", "kind", "action", "result"},
      "Objects that runs dealt with: create, update, delete with ok; write with failed, deferred; none with unchanged, "
      "kept, skipped.");
  family<Gauge> planned =
      make<Gauge>("weir_planned_objects", {"source", "stage", "kind", "action"},
                  "Objects to create, update or delete by the last plan, before it was carried out.");
  family<Gauge> deferred = make<Gauge>("weir_deferred_objects", {"source", "stage"},
                                       "Objects that the stage's last run left to weir resume or the next run.");
  family<Gauge> failed = make<Gauge>("weir_failed_objects", {"source", "stage"},
                                     "Objects that NetBox or the plan refused in the stage's last run.");
  family<Gauge> deletes_refused =
      make<Gauge>("weir_deletes_refused_objects", {"source", "stage"},
                  "Objects that are gone from the source and were not deleted, because max_deletes allows fewer.");

  family<Counter> batches = make<Counter>("weir_batches_total", {"source", "stage", "result"},
                                          "List requests that were written down and done with.");
  family<Histogram> batch_duration =
      make<Histogram>("weir_batch_duration_seconds", {"stage", "method"},
                      "From writing a list request down to its end, waiting and repeats included.");

  family<Histogram> requests =
      make<Histogram>("weir_http_client_request_duration_seconds", {"server", "method", "endpoint", "outcome"},
                      "Requests to NetBox and to the sources, each attempt by itself.");
  family<Counter> retries = make<Counter>("weir_http_client_retries_total", {"server"}, "Attempts that are repeated.");
  family<Gauge> active = make<Gauge>("weir_http_client_active_requests", {"server"}, "Requests that are under way.");
  family<Gauge> waiting =
      make<Gauge>("weir_http_client_waiting_requests", {"server"}, "Requests that wait for their turn at the gate.");

  family<Gauge> limit =
      make<Gauge>("weir_throttle_concurrency_limit", {}, "Requests that the gate allows at once now.");
  family<Gauge> ceiling =
      make<Gauge>("weir_throttle_concurrency_ceiling", {}, "Requests that the profile allows at once.");
  family<Counter> limit_reached =
      make<Counter>("weir_throttle_limit_reached_total", {},
                    "Looks at the gate, four a second, that saw requests wait because the limit was reached.");
  family<Counter> limit_cuts =
      make<Counter>("weir_throttle_limit_cuts_total", {}, "Times that the gate lowered its limit.");
  family<Gauge> gap = make<Gauge>("weir_throttle_gap_seconds", {}, "Pause between requests that the gate keeps.");
  family<Gauge> batch_size =
      make<Gauge>("weir_throttle_batch_size", {}, "Objects in the last list request that was written.");
  family<Gauge> inflation = make<Gauge>("weir_throttle_latency_inflation_ratio", {},
                                        "NetBox's latency over what is usual for so many requests in flight.");
  family<Counter> signals = make<Counter>("weir_throttle_signals_total", {"class"},
                                          "Attempts at NetBox that did not end well, by what that means for the load.");
  family<Counter> refused =
      make<Counter>("weir_throttle_refused_total", {}, "Attempts that NetBox refused for lack of capacity.");
  family<Gauge> starved = make<Gauge>("weir_throttle_starved", {},
                                      "1 if NetBox's database has no connection for even one request at a time.");
  family<Counter> starved_total =
      make<Counter>("weir_throttle_starved_total", {}, "Times that NetBox's database was found to be like that.");
  family<Counter> gave_up =
      make<Counter>("weir_throttle_gave_up_total", {},
                    "Runs that deferred the rest because NetBox failed for longer than max_outage_s.");
  family<Gauge> tokens =
      make<Gauge>("weir_retry_budget_tokens", {}, "Of 20: repeats go ahead of new work above 10 of them.");
  family<Gauge> breaker =
      make<Gauge>("weir_breaker_state", {"state"}, "1 for the state that the circuit breaker is in.");
  family<Counter> opened = make<Counter>("weir_breaker_opened_total", {}, "Times that the circuit breaker opened.");
  family<Counter> probes = make<Counter>("weir_breaker_probes_total", {}, "Probes whether NetBox is back.");

  family<Gauge> start = make_process<Gauge>("process_start_time_seconds", "When the process began, since 1970.");
  family<Counter> cpu = make_process<Counter>("process_cpu_seconds_total", "User and system time that it has used.");
  family<Gauge> memory = make_process<Gauge>("process_resident_memory_bytes", "Memory that it has resident.");
  family<Gauge> files = make_process<Gauge>("process_open_fds", "File descriptors that it has open.");
  family<Gauge> threads = make_process<Gauge>("process_threads", "Threads that it has.");
};

recorder::recorder(wall_clock now) : state_(std::make_unique<state>(std::move(now))) {}
recorder::~recorder() = default;

std::vector<metric_about> const& recorder::all() {
  static auto const table = state({}).about;
  return table;
}

void recorder::state::look_at_process() {
  auto const fields = own_stat();
  if (fields.size() > 21) {
    auto const ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    auto const value = [&](std::size_t i) { return std::strtod(fields[i].c_str(), nullptr); };
    auto& used = cpu.at();
    used.Increment(std::max(0.0, (value(11) + value(12)) / ticks - used.Value()));
    threads.at().Set(value(17));
    start.at().Set(system_start() + value(19) / ticks);
    memory.at().Set(value(21) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  }
  files.at().Set(number(open_files()));
}

std::string recorder::text() const {
  auto families = state_->registry.Collect();
  std::scoped_lock const lock(state_->mutex);
  state_->look_at_process();
  auto more = state_->process_registry.Collect();
  families.insert(families.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return serialized(std::move(families));
}

std::string recorder::text_of_runs() const { return serialized(state_->registry.Collect()); }

base::result<void> recorder::restore(std::string_view text) {
  auto const parsed = parse_exposition(text);
  if (!parsed) return parsed.error();
  std::scoped_lock const lock(state_->mutex);
  auto& s = *state_;
  std::map<std::string, family<Counter>*, std::less<>> const counters{
      {"weir_runs_total", &s.runs},
      {"weir_notices_total", &s.notices},
      {"weir_stages_total", &s.stages},
      {"weir_stage_metric_total", &s.stage_metric_total},
      {"weir_objects_total", &s.objects},
      {"weir_batches_total", &s.batches},
      {"weir_http_client_retries_total", &s.retries},
      {"weir_throttle_limit_reached_total", &s.limit_reached},
      {"weir_throttle_limit_cuts_total", &s.limit_cuts},
      {"weir_throttle_signals_total", &s.signals},
      {"weir_throttle_refused_total", &s.refused},
      {"weir_throttle_starved_total", &s.starved_total},
      {"weir_throttle_gave_up_total", &s.gave_up},
      {"weir_breaker_opened_total", &s.opened},
      {"weir_breaker_probes_total", &s.probes}};
  std::map<std::string, family<Gauge>*, std::less<>> const times{
      {"weir_run_last_timestamp_seconds", &s.last_run}, {"weir_run_last_success_timestamp_seconds", &s.last_success}};
  std::map<std::string, family<Histogram>*, std::less<>> const histograms{
      {"weir_batch_duration_seconds", &s.batch_duration}, {"weir_http_client_request_duration_seconds", &s.requests}};
  struct earlier {
    std::vector<double> below = std::vector<double>(seconds_buckets.size() + 1, -1);  // cumulative, by bucket
    double sum = -1;
  };
  std::map<std::pair<std::string, labels>, earlier> found;
  for (auto const& sample : *parsed) {
    if (!(sample.value >= 0)) continue;
    if (auto const c = counters.find(sample.name); c != counters.end() && c->second->fits(sample.labels)) {
      c->second->at(sample.labels).Increment(sample.value);
    } else if (auto const t = times.find(sample.name); t != times.end() && t->second->fits(sample.labels)) {
      auto& gauge = t->second->at(sample.labels);
      gauge.Set(std::max(gauge.Value(), sample.value));
    } else if (sample.name.ends_with("_sum")) {
      found[{sample.name.substr(0, sample.name.size() - 4), sample.labels}].sum = sample.value;
    } else if (sample.name.ends_with("_bucket") && sample.labels.contains("le")) {
      auto l = sample.labels;
      auto const le = std::strtod(l.extract("le").mapped().c_str(), nullptr);
      auto const place = std::find(seconds_buckets.begin(), seconds_buckets.end(), le);
      auto const index = static_cast<std::size_t>(place - seconds_buckets.begin());
      if (place == seconds_buckets.end() && le <= seconds_buckets.back()) continue;  // of other buckets than today's
      found[{sample.name.substr(0, sample.name.size() - 7), std::move(l)}].below[index] = sample.value;
    }
  }
  for (auto const& [key, had] : found) {
    auto const h = histograms.find(key.first);
    bool const whole = had.sum >= 0 && std::is_sorted(had.below.begin(), had.below.end()) && had.below.front() >= 0;
    if (h == histograms.end() || !whole || !h->second->fits(key.second)) continue;
    auto increments = had.below;
    std::adjacent_difference(had.below.begin(), had.below.end(), increments.begin());
    h->second->at(key.second).ObserveMultiple(increments, had.sum);
  }
  return {};
}

void recorder::did_not_begin(std::string_view command, int exit_code) {
  std::scoped_lock const lock(state_->mutex);
  state_->runs.at(command, result_of(exit_code)).Increment();
}

bool recorder::has_seen_a_run() const {
  std::scoped_lock const lock(state_->mutex);
  return state_->ended;
}

void recorder::state::show(throttle::throttle_state const& s) {
  using circuit = throttle::breaker::state;
  limit.at().Set(s.limit);
  gap.at().Set(seconds(s.gap));
  inflation.at().Set(s.inflation);
  starved.at().Set(s.starved ? 1 : 0);
  tokens.at().Set(s.tokens);
  breaker.at("closed").Set(s.circuit == circuit::closed ? 1 : 0);
  breaker.at("open").Set(s.circuit == circuit::open ? 1 : 0);
  breaker.at("probing").Set(s.circuit == circuit::half_open ? 1 : 0);
}

void recorder::state::count(throttle::throttle_state const& s) {
  auto const more = [](auto now_is, auto was) { return now_is > was ? static_cast<double>(now_is - was) : 0.0; };
  limit_cuts.at().Increment(more(s.cuts, counted.cuts));
  refused.at().Increment(more(s.refused, counted.refused));
  starved_total.at().Increment(more(s.starved_times, counted.starved_times));
  gave_up.at().Increment(s.gave_up && !counted.gave_up ? 1 : 0);
  opened.at().Increment(more(s.breaker_opened, counted.breaker_opened));
  probes.at().Increment(more(s.probes, counted.probes));
  counted = s;
}

void recorder::state::show(engine::gate_now const& g) {
  show(g.state);
  count(g.state);
  active.at("netbox").Set(number(g.count.in_flight));
  waiting.at("netbox").Set(number(g.count.waiting));
}

void recorder::state::show_sources(engine::report const& r) {
  for (auto const& source : r.sources) source_up.at(source.name).Set(source.version.empty() ? 0 : 1);
  netbox_up.at().Set(r.netbox_version.empty() ? 0 : 1);
  if (r.netbox_version.empty()) return;
  netbox_info.forget();  // it may have been upgraded
  netbox_info.at(r.netbox_version).Set(1);
}

void recorder::connected(engine::report const& r) {
  std::scoped_lock const lock(state_->mutex);
  state_->dry = r.dry;
  state_->runs_active.at().Set(1);
  state_->ceiling.at().Set(number(r.profile.max_in_flight));
  state_->show_sources(r);
}

void recorder::planned(engine::job_report const& j) {
  std::scoped_lock const lock(state_->mutex);
  double refused = 0;
  for (auto const& p : j.plans) {
    auto const to = [&](char const* action, std::size_t n) {
      state_->planned.at(j.source, j.stage, p.kind->name, action).Set(number(n));
    };
    to("create", p.creates.size());
    to("update", p.updates.size());
    to("delete", p.deletes.size());
    if (p.deletes_refused) refused += number(p.refused);
  }
  state_->deletes_refused.at(j.source, j.stage).Set(refused);
}

void recorder::wrote(engine::written_batch const& b) {
  std::scoped_lock const lock(state_->mutex);
  state_->batch_size.at().Set(number(b.objects));
  if (b.state == "unknown") {  // it comes once more when its fate is known
    state_->in_doubt[b.number] = {b.source, b.stage};
    return;
  }
  state_->in_doubt.erase(b.number);
  state_->batches.at(b.source, b.stage, b.state).Increment();
  state_->batch_duration.at(b.stage, b.verb).Observe(seconds(b.took));
}

void recorder::throttled(throttle::event const&, engine::gate_now const& g) {
  std::scoped_lock const lock(state_->mutex);
  state_->show(g);
}

void recorder::ticked(engine::gate_now const& g) {
  std::scoped_lock const lock(state_->mutex);
  state_->show(g);
  bool const reached = g.count.waiting > 0 && number(g.count.in_flight) + 1 > g.state.limit;
  state_->limit_reached.at().Increment(reached ? 1 : 0);
}

void recorder::requested(std::string const& server, http::attempt_seen const& a) {
  std::scoped_lock const lock(state_->mutex);
  bool const netbox = server == "netbox";
  std::string_view const endpoint = !a.endpoint.empty() ? a.endpoint : netbox ? "probe" : "any";
  state_->requests.at(server, throttle::name(a.verb), endpoint, throttle::name(a.outcome)).Observe(seconds(a.elapsed));
  if (a.again) state_->retries.at(server).Increment();
  if (netbox && a.outcome != throttle::outcome::ok && a.outcome != throttle::outcome::cancelled)
    state_->signals.at(throttle::name(a.outcome)).Increment();
}

void recorder::noticed(engine::notice const& n) {
  std::scoped_lock const lock(state_->mutex);
  state_->notices.at(base::log::severity(n.level)).Increment();
}

void recorder::finished(engine::job_report const& j) {
  std::scoped_lock const lock(state_->mutex);
  auto& s = *state_;
  s.stages.at(j.source, j.stage, engine::name(j.status)).Increment();
  // A skipped one had nothing to do, or its fault is another stage's.
  if (j.status != engine::job_status::skipped)
    s.stage_success.at(j.source, j.stage).Set(j.status == engine::job_status::ok ? 1 : 0);
  s.stage_duration.at(j.source, j.stage).Set(seconds(j.took));
  for (auto const& [name, m] : j.metrics) {
    if (m.counter)
      s.stage_metric_total.at(j.source, j.stage, clean_name(name)).Increment(std::max(0.0, m.value));
    else
      s.stage_metric.at(j.source, j.stage, clean_name(name)).Set(m.value);
  }
  if (s.dry || j.status == engine::job_status::skipped) return;
  double deferred = 0, failed = 0;
  for (auto const& [kind, c] : j.kinds) {
    auto const to = [&, &of = kind](char const* action, char const* result, std::size_t n) {
      s.objects.at(j.source, j.stage, of, action, result).Increment(number(n));
    };
    to("create", "ok", c.created);
    to("update", "ok", c.updated);
    to("delete", "ok", c.deleted);
    to("write", "failed", c.failed);
    to("write", "deferred", c.deferred);
    to("none", "unchanged", c.unchanged);
    to("none", "kept", c.kept);
    to("none", "skipped", c.skipped);
    deferred += number(c.deferred);
    failed += number(c.failed);
  }
  s.deferred.at(j.source, j.stage).Set(deferred);
  s.failed.at(j.source, j.stage).Set(failed);
}

void recorder::ended(engine::report const& r, int exit_code) {
  std::scoped_lock const lock(state_->mutex);
  auto& s = *state_;
  auto const command = engine::command_of(r);
  s.ended = true;
  s.runs_active.at().Set(0);
  s.runs.at(command, result_of(exit_code)).Increment();
  s.run_duration.at(command).Set(seconds(r.took));
  s.ceiling.at().Set(number(r.profile.max_in_flight));
  s.show_sources(r);
  s.show(r.throttle);
  s.count(r.throttle);
  s.counted = {};
  for (auto const& [number, whose] : s.in_doubt) s.batches.at(whose.first, whose.second, "unknown").Increment();
  s.in_doubt.clear();
  s.active.at("netbox").Set(0);
  s.waiting.at("netbox").Set(0);
  s.plugins_refused.at().Set(
      number(static_cast<std::size_t>(std::count_if(r.notices.begin(), r.notices.end(), [](engine::notice const& n) {
        return n.level == base::log::level::error && n.source.empty() && n.stage.empty();
      }))));
  if (r.dry) return;
  auto const at = std::chrono::duration<double>(s.now().time_since_epoch()).count();
  s.last_exit.at().Set(exit_code);
  s.last_run.at(r.profile.name).Set(at);
  auto& success = s.last_success.at(r.profile.name);  // 0 until there is one: an alert needs something to look at
  if (exit_code == 0) success.Set(at);
}

}  // namespace weir::metrics
