#include "core/engine/run.hpp"

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "core/base/text.hpp"
#include "core/engine/apply.hpp"
#include "core/engine/diff.hpp"
#include "core/netbox/value.hpp"
#include "core/plugin/host.hpp"
#include "core/source/source.hpp"

namespace weir::engine {

using nlohmann::json;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string_view name(job_status s) {
  switch (s) {
    case job_status::ok:
      return "ok";
    case job_status::failed:
      return "failed";
    case job_status::skipped:
      return "skipped";
    case job_status::stopped:
      return "stopped";
  }
  return "";
}

namespace {

constexpr std::size_t most_objects = 5'000'000;  // of one stage over one source; above it the stage is taken for mad

milliseconds since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

std::string new_run_id() {
  std::random_device device;
  static constexpr char hex[] = "0123456789abcdef";
  std::string id;
  for (int i = 0; i < 8; ++i) id += hex[device() & 15];
  return id;
}

// The loop's thread: every socket and timer of the run lives on it.
class io_thread {
 public:
  io_thread()
      : work_(boost::asio::make_work_guard(loop_)), thread_([this] {
          loop_.run();
          ended_.set_value();
        }) {}
  ~io_thread() {
    // Let it run dry: what closes sockets and timers must run on the loop, not while the loop is being destroyed.
    work_.reset();
    if (ended_.get_future().wait_for(10s) != std::future_status::ready) loop_.stop();
    thread_.join();
  }
  boost::asio::io_context& loop() { return loop_; }

 private:
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::promise<void> ended_;
  std::thread thread_;
};

struct job {
  plugin::loaded_stage const* stage = nullptr;
  source::source* from = nullptr;  // null: a stage without a source
  std::string source_name;
  std::set<std::string> declared;  // kinds it may emit
  collected what;
  base::result<void> ended = base::result<void>{};
  steady_clock::time_point started;
};

// Calls to the observer, one at a time.
class announcer {
 public:
  explicit announcer(observer& to) : to_(to) {}
  void moved(progress const& p) {
    std::scoped_lock lock(mutex_);
    to_.moved(p);
  }
  void connected(report const& r) {
    std::scoped_lock lock(mutex_);
    to_.connected(r);
  }
  void planned(job_report const& j) {
    std::scoped_lock lock(mutex_);
    to_.planned(j);
  }
  void finished(job_report const& j) {
    std::scoped_lock lock(mutex_);
    to_.finished(j);
  }

 private:
  std::mutex mutex_;
  observer& to_;
};

// What a stage's calls come to.
class job_services : public plugin::services {
 public:
  job_services(job& j, netbox::registry const& kinds, netbox::client& nb, announcer& tell, bool dry,
               std::atomic<bool> const& stop)
      : job_(j), kinds_(kinds), netbox_(nb), tell_(tell), dry_(dry), stop_(stop) {}

  std::string const& source_name() const override { return job_.source_name; }
  bool dry() const override { return dry_; }
  bool cancelled() const override { return stop_.load(); }

  void progress(std::uint64_t done, std::uint64_t total, std::string_view note) override {
    tell_.moved(
        {job_.source_name, job_.stage->id, progress::phase::collecting, base::shorten(note, 60), done, total, 0, 0, 0});
  }
  void log(base::log::level l, std::string_view message) override {
    base::log::write(l, base::shorten(message, 512), {{"source", job_.source_name}, {"stage", job_.stage->id}});
  }
  void notice(base::log::level l, std::string_view message, std::string_view hint) override {
    std::scoped_lock lock(mutex_);
    job_.what.notices.push_back({l, job_.source_name, job_.stage->id, std::string(message), std::string(hint)});
  }

  base::result<void> emit(std::string_view kind, std::string_view key_json, std::string_view fields_json) override {
    auto const* k = known(kind);
    if (!k) return undeclared(kind);
    auto taken = take(*k, key_json, fields_json);
    if (!taken) {
      std::scoped_lock lock(mutex_);
      refused_.insert(k->name);
    }
    return taken;
  }

  // After collect(): where an object was refused, nobody knows what else is missing, and nothing may be taken for gone.
  void settle() {
    for (auto const& kind : refused_)
      if (job_.what.complete.erase(kind))
        job_.what.notices.push_back({base::log::level::error, job_.source_name, job_.stage->id,
                                     "an object of kind " + kind + " was refused: nothing of this kind is deleted",
                                     "see the log; this is a fault of the stage"});
  }

 private:
  base::result<void> take(netbox::kind const& kind, std::string_view key_json, std::string_view fields_json) {
    auto const* k = &kind;
    auto const key = json::parse(key_json, nullptr, false);
    auto const fields = json::parse(fields_json, nullptr, false);
    if (!key.is_object())
      return base::fail(base::error_code::data, "the key of an emitted " + k->name + " is no JSON object");
    if (!fields.is_object())
      return base::fail(base::error_code::data, "the fields of an emitted " + k->name + " are no JSON object");
    for (auto const& member : k->key)
      if (!key.contains(member) || key.at(member).is_null())
        return base::fail(base::error_code::data, "the key of an emitted " + k->name + " lacks '" + member + "'",
                          "the key of this kind is: " + base::join(k->key));
    if (key.size() != k->key.size())
      return base::fail(base::error_code::data,
                        "the key of an emitted " + k->name + " has members that are not part of it",
                        "the key of this kind is: " + base::join(k->key));
    std::scoped_lock lock(mutex_);
    if (++emitted_ > most_objects)
      return base::fail("more than " + std::to_string(most_objects) + " objects were emitted");
    job_.what.objects[k->name].push_back({key.dump(), fields.dump()});
    return {};
  }

 public:
  base::result<void> complete(std::string_view kind, std::string_view scope_json) override {
    auto const* k = known(kind);
    if (!k) return undeclared(kind);
    auto const scope = json::parse(scope_json, nullptr, false);
    if (!scope.is_object())
      return base::fail(base::error_code::data, "the scope of complete(" + k->name + ") is no JSON object");
    std::scoped_lock lock(mutex_);
    job_.what.complete[k->name].push_back(scope.dump());
    return {};
  }

  plugin::fetched fetch(std::string_view target) override {
    if (!job_.from) return no_source();
    return convert(job_.from->fetch_and_wait(std::string(target), job_.stage->id));
  }
  void fetch_async(std::string target, std::function<void(plugin::fetched)> done) override {
    if (!job_.from) return done(no_source());
    job_.from->fetch(std::move(target), job_.stage->id,
                     [done = std::move(done)](source::fetched got) { done(convert(std::move(got))); });
  }
  plugin::fetched netbox_read(std::string_view target) override {
    return convert(netbox_.raw(throttle::method::get, target, {}, job_.stage->id), "GET", target);
  }
  plugin::fetched netbox_write(std::string_view method, std::string_view target, std::string_view body) override {
    if (dry_) {
      notice(base::log::level::info, "would send " + std::string(method) + " /api" + std::string(target), "");
      return {0, "", "", true};
    }
    auto const verb = method == "POST"    ? throttle::method::post
                      : method == "PATCH" ? throttle::method::patch
                      : method == "PUT"   ? throttle::method::put
                                          : throttle::method::del;
    return convert(netbox_.raw(verb, target, std::string(body), job_.stage->id), method, target);
  }

 private:
  netbox::kind const* known(std::string_view kind) const {
    return job_.declared.contains(std::string(kind)) ? kinds_.find(kind) : nullptr;
  }
  base::error undeclared(std::string_view kind) const {
    return base::fail(base::error_code::data,
                      "the stage speaks of the kind '" + base::shorten(kind, 80) + "', which it did not declare",
                      "list it in the stage's kinds_json");
  }
  static plugin::fetched no_source() { return {0, "", "this stage has no source to fetch from", false}; }
  static plugin::fetched convert(source::fetched got) {
    bool const ok = got.ok();
    return {got.status, std::move(got.body), std::move(got.error.what), ok};
  }
  static plugin::fetched convert(http::answer got, std::string_view method, std::string_view target) {
    if (got.outcome == throttle::outcome::ok) return {got.reply.status, std::move(got.reply.body), "", true};
    auto e = netbox::describe(got, std::string(method) + " /api" + std::string(target));
    return {got.reply.status, std::move(got.reply.body), std::move(e.what), false};
  }

  job& job_;
  netbox::registry const& kinds_;
  netbox::client& netbox_;
  announcer& tell_;
  bool dry_;
  std::atomic<bool> const& stop_;
  std::mutex mutex_;
  std::size_t emitted_ = 0;
  std::set<std::string> refused_;  // kinds of which an object was refused
};

// One run's state, in the order in which a run uses it.
class runner {
 public:
  runner(config::configuration const& settings, run_options const& options, observer& watching,
         std::atomic<bool> const& stop)
      : settings_(settings),
        options_(options),
        tell_(watching),
        stop_(stop),
        own_kinds_(std::make_shared<netbox::registry>()),
        kinds_(*own_kinds_),
        world_(kinds_) {
    report_.kinds = own_kinds_;
  }
  report go();

 private:
  bool connect();
  base::result<void> register_kinds();
  void make_jobs();
  void collect_from(std::size_t lane);
  void handle(job& j);
  base::result<void> read_tables(job& j);
  base::result<void> read_table(netbox::kind const& k, std::set<std::string> const& fields, std::string const& lane);
  void carry_out(job& j, job_report& r);
  void finish(job& j, job_report r);
  std::optional<base::error> failed_dependency(job const& j);
  netbox::kind const* missing_plugin(job const& j) const;

  config::configuration const& settings_;
  run_options const& options_;
  announcer tell_;
  std::atomic<bool> const& stop_;
  report report_;
  std::shared_ptr<netbox::registry> own_kinds_;
  netbox::registry& kinds_;
  world world_;
  netbox::server_info server_;

  std::unique_ptr<io_thread> io_;
  std::unique_ptr<http::client> wire_;
  std::unique_ptr<netbox::client> netbox_;
  std::vector<std::unique_ptr<source::source>> sources_;

  std::vector<std::vector<std::unique_ptr<job>>> lanes_;  // by source, in dependency order
  std::mutex ready_mutex_;
  std::condition_variable ready_changed_;
  std::deque<job*> ready_;
  std::set<std::pair<std::string, std::string>>
      not_done_;                       // (source, stage): failed or skipped; the engine's thread only
  std::set<std::string> unreachable_;  // sources; written before the collecting threads start
};

bool runner::connect() {
  auto const& p = settings_.profile;
  throttle::limits ceilings{p.max_in_flight, p.requests_per_second, p.batch_size, p.batch_delay,
                            p.max_attempts,  p.backoff_base,        p.backoff_cap};
  wire_ = std::make_unique<http::client>(
      io_->loop(), http::make_curl_transport(io_->loop(), settings_.netbox.tls, p.max_in_flight), ceilings, "netbox");
  netbox_ = std::make_unique<netbox::client>(*wire_, settings_.netbox, p);
  auto info = netbox_->status();
  if (!info) {
    report_.fatal = info.error();
    return false;
  }
  server_ = std::move(*info);
  report_.netbox_version = server_.version;
  for (auto const& s : settings_.sources) {
    if (!options_.sources.empty() && !options_.sources.contains(s.name)) continue;
    sources_.push_back(source::make_proxmox(io_->loop(), s));
    source_report sr{s.name, s.type, ""};
    if (auto version = sources_.back()->check()) {
      sr.version = *version;
    } else {
      // Only this source's stages fail; who cannot reach any source cannot do anything.
      report_.notices.push_back({base::log::level::error, s.name, "", version.error().what, version.error().hint});
      sources_.back()->stop();
      unreachable_.insert(s.name);
      if (!report_.fatal) report_.fatal = version.error();
    }
    report_.sources.push_back(std::move(sr));
  }
  bool const any =
      std::any_of(report_.sources.begin(), report_.sources.end(), [](auto const& s) { return !s.version.empty(); });
  if (any || report_.sources.empty()) report_.fatal.reset();
  return !report_.fatal;
}

base::result<void> runner::register_kinds() {
  for (auto const& stage : options_.stages) {
    auto parsed = netbox::parse_kinds(stage.kinds_json);
    if (!parsed)
      return base::fail(base::error_code::config,
                        "stage " + stage.id + " (" + stage.file.string() + "): " + parsed.error().what,
                        parsed.error().hint);
    for (auto& k : *parsed)
      if (auto added = kinds_.add(std::move(k), "stage " + stage.id + " (" + stage.file.string() + ")"); !added)
        return added;
  }
  return {};
}

void runner::make_jobs() {
  auto const make = [&](plugin::loaded_stage const& stage, source::source* from) {
    auto j = std::make_unique<job>();
    j->stage = &stage;
    j->from = from;
    j->source_name = from ? from->name() : "";
    for (auto const& item : json::parse(stage.kinds_json))
      j->declared.insert(item.is_string() ? item.get<std::string>() : item.at("kind").get<std::string>());
    return j;
  };
  for (auto const& s : sources_) {
    std::vector<std::unique_ptr<job>> lane;
    for (auto const& stage : options_.stages)
      if (stage.source_type == s->type()) lane.push_back(make(stage, s.get()));
    if (!lane.empty()) lanes_.push_back(std::move(lane));
  }
  std::vector<std::unique_ptr<job>> sourceless;
  for (auto const& stage : options_.stages)
    if (stage.source_type.empty()) sourceless.push_back(make(stage, nullptr));
  if (!sourceless.empty()) lanes_.push_back(std::move(sourceless));
  for (auto const& stage : options_.stages)
    if (!stage.source_type.empty() &&
        std::none_of(sources_.begin(), sources_.end(), [&](auto const& s) { return s->type() == stage.source_type; }))
      report_.notices.push_back({base::log::level::warning, "", stage.id,
                                 "it reads sources of the type '" + stage.source_type + "', and none is configured",
                                 "add one under sources, or leave the stage out"});
}

netbox::kind const* runner::missing_plugin(job const& j) const {
  for (auto const& name : j.declared)
    if (auto const* k = kinds_.find(name);
        k && !k->requires_plugin.empty() && !server_.plugins.contains(k->requires_plugin))
      return k;
  return nullptr;
}

// A source's stages collect one after the other on this thread, while the engine writes what came before.
void runner::collect_from(std::size_t lane) {
  std::set<std::string> broken;
  for (auto& j : lanes_[lane]) {
    j->started = steady_clock::now();
    bool const dependency_broken =
        std::any_of(j->stage->needs.begin(), j->stage->needs.end(), [&](auto const& n) { return broken.contains(n); });
    bool const given_up = unreachable_.contains(j->source_name);
    if (!dependency_broken && !given_up && !missing_plugin(*j) && !stop_) {
      tell_.moved({j->source_name, j->stage->id, progress::phase::collecting, "", 0, 0, 0, 0, 0});
      job_services services(*j, kinds_, *netbox_, tell_, options_.dry, stop_);
      auto const chosen = options_.stage_options.find(j->stage->id);
      j->ended = plugin::run_stage(*j->stage, chosen == options_.stage_options.end() ? "{}" : chosen->second, services);
      services.settle();
      if (!j->ended) broken.insert(j->stage->id);
    } else {
      broken.insert(j->stage->id);
    }
    std::scoped_lock lock(ready_mutex_);
    ready_.push_back(j.get());
    ready_changed_.notify_one();
  }
}

std::optional<base::error> runner::failed_dependency(job const& j) {
  for (auto const& need : j.stage->needs)
    if (not_done_.contains({j.source_name, need}))
      return base::fail("it needs the stage '" + need + "', which did not succeed");
  return {};
}

base::result<void> runner::read_table(netbox::kind const& k, std::set<std::string> const& fields,
                                      std::string const& lane) {
  if (world_.holds(k, fields)) return {};
  auto const all = world_.wanted_fields(k, fields);
  world::loader loading(world_, k, all);
  auto read = netbox_->read_all(k, {all.begin(), all.end()}, lane, [&](json const& raw) { loading.add(raw); });
  if (!read) return read;
  loading.finish();
  return {};
}

base::result<void> runner::read_tables(job& j) {
  static std::vector<desired> const nothing;
  std::map<std::string, std::set<std::string>> needed;  // kind ► fields
  auto const add = [&](netbox::kind const& k, std::set<std::string> const& fields) {
    needed[k.name].insert(fields.begin(), fields.end());
  };
  std::set<std::string> emitted;
  for (auto const& [name, objects] : j.what.objects) emitted.insert(name);
  for (auto const& [name, scopes] : j.what.complete) emitted.insert(name);
  for (auto const& name : emitted) {
    auto const& k = *kinds_.find(name);
    auto const objects = j.what.objects.find(name);
    add(k,
        fields_needed(k, objects == j.what.objects.end() ? nothing : objects->second, j.what.complete.contains(name)));
    for (auto const& parent : kinds_needed(kinds_, k))
      add(*kinds_.find(parent), fields_needed(*kinds_.find(parent), nothing, false));
  }
  // Parents first: their children's references are translated while reading.
  std::vector<netbox::kind const*> order;
  for (auto const& [name, fields] : needed) order.push_back(kinds_.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return kinds_.rank(*a) < kinds_.rank(*b); });
  for (auto const* k : order)
    if (auto read = read_table(*k, needed[k->name], j.stage->id); !read) return read;
  return {};
}

void runner::handle(job& j) {
  job_report r;
  r.source = j.source_name;
  r.stage = j.stage->id;
  r.title = j.stage->title;
  if (auto const* k = missing_plugin(j)) {
    r.status = job_status::skipped;
    r.reason = base::fail("NetBox at " + settings_.netbox.url + " does not have the plugin " + k->requires_plugin +
                              ", which " + k->title + "s need",
                          "install " + k->requires_plugin + " in NetBox, or leave the stage " + r.stage + " out");
    report_.notices.push_back({base::log::level::warning, r.source, r.stage, r.reason.what, r.reason.hint});
    return finish(j, std::move(r));
  }
  if (stop_ || report_.fatal) {
    r.status = job_status::stopped;
    r.reason = stop_ ? base::fail(base::error_code::interrupted, "the run was stopped") : *report_.fatal;
    return finish(j, std::move(r));
  }
  if (unreachable_.contains(j.source_name)) {
    r.status = job_status::failed;
    r.reason = base::fail(base::error_code::unreachable, "the source " + j.source_name + " cannot be read");
    return finish(j, std::move(r));
  }
  if (auto why = failed_dependency(j)) {
    r.status = job_status::skipped;
    r.reason = std::move(*why);
    return finish(j, std::move(r));
  }
  for (auto& n : j.what.notices) report_.notices.push_back(n);
  if (!j.ended) {
    r.status = j.ended.error().code == base::error_code::interrupted ? job_status::stopped : job_status::failed;
    r.reason = j.ended.error();
    return finish(j, std::move(r));
  }
  tell_.moved({r.source, r.stage, progress::phase::comparing, "", 0, 0, 0, 0, 0});
  if (auto read = read_tables(j); !read) {
    r.status = job_status::failed;
    r.reason = read.error();
    return finish(j, std::move(r));
  }
  std::vector<netbox::kind const*> order;
  for (auto const& [name, objects] : j.what.objects) order.push_back(kinds_.find(name));
  for (auto const& [name, scopes] : j.what.complete)
    if (!j.what.objects.contains(name)) order.push_back(kinds_.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return kinds_.rank(*a) < kinds_.rank(*b); });
  diff_rules const rules{r.source, r.stage, settings_.max_deletes, settings_.max_deletes_percent};
  for (auto const* k : order) {
    r.plans.push_back(diff(world_, *k, j.what.objects[k->name], j.what.complete[k->name], rules));
    j.what.objects.erase(k->name);  // its part is in the plan now
    auto const& p = r.plans.back();
    for (auto const* list : {&p.updates, &p.creates, &p.deletes})
      r.planned_requests += requests_for(list->size(), settings_.profile.objects_per_request);
    if (p.deletes_refused)
      report_.notices.push_back({base::log::level::error, r.source, r.stage,
                                 std::to_string(p.refused) + " of " + std::to_string(p.owned) + " " + k->title +
                                     "s are gone from the source; more than " + std::to_string(p.allowed) +
                                     " deletions at once are refused, none was made",
                                 "if they are really gone, raise max_deletes (or max_deletes.percent) for one run"});
  }
  tell_.planned(r);
  if (!options_.dry) carry_out(j, r);
  for (auto& p : r.plans) {
    auto& c = r.kinds[p.kind->name];
    c.seen = p.seen;
    c.unchanged = p.unchanged;
    c.kept = p.kept.size();
    c.skipped = p.skipped.size();
    c.failed += p.failures.size();
    if (options_.dry) {
      c.created = p.creates.size();
      c.updated = p.updates.size();
      c.deleted = p.deletes.size();
    }
    for (auto& f : p.failures) report_.failures.push_back(f);
    if (!p.kind->supporting) r.total += c;
    if (!p.skipped.empty())
      report_.notices.push_back({base::log::level::info, r.source, r.stage,
                                 std::to_string(p.skipped.size()) + " " + p.kind->title +
                                     "s belong to guests that NetBox does not know, e.g. " + p.skipped.front(),
                                 ""});
  }
  bool const deferred =
      std::any_of(r.kinds.begin(), r.kinds.end(), [](auto const& k) { return k.second.deferred > 0; });
  if (deferred && r.status == job_status::ok) r.status = job_status::stopped;
  finish(j, std::move(r));
}

void runner::carry_out(job& j, job_report& r) {
  struct inbox {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::pair<std::uint64_t, http::answer>> answers;
  };
  auto const box = std::make_shared<inbox>();
  apply machine(world_, r.plans,
                {settings_.profile.objects_per_request, r.source, r.stage, "weir run " + report_.run_id,
                 std::max<std::size_t>(1, settings_.profile.max_in_flight) * 2});
  auto const started = steady_clock::now();
  std::size_t const batch_size = std::max<std::size_t>(1, settings_.profile.batch_size);
  auto const show = [&] {
    auto const elapsed = std::chrono::duration<double>(steady_clock::now() - started).count();
    tell_.moved({r.source, r.stage, progress::phase::writing, "", machine.done_objects(), machine.total_objects(),
                 (machine.answered_requests() + batch_size - 1) / batch_size,
                 (machine.planned_requests() + batch_size - 1) / batch_size,
                 elapsed > 0 ? static_cast<double>(machine.answered_requests()) / elapsed : 0});
  };
  while (!machine.finished()) {
    if (stop_ && !machine.stop_reason())
      machine.abandon(base::fail(base::error_code::interrupted, "the run was stopped"));
    while (auto request = machine.next())
      netbox_->write(request->verb, *request->kind, std::move(request->body), request->objects, j.stage->id,
                     [box, number = request->number](http::answer got) {
                       std::scoped_lock lock(box->mutex);
                       box->answers.emplace_back(number, std::move(got));
                       box->changed.notify_one();
                     });
    if (auto const* kind = machine.wants_lookup()) {
      base::log::warning("looking up which of the objects without an answer NetBox has",
                         {{"stage", r.stage}, {"kind", kind->name}});
      std::unordered_map<std::string, object_id> found;
      auto fields = fields_needed(*kind, {}, false);
      auto read = netbox_->read_all(*kind, {fields.begin(), fields.end()}, j.stage->id, [&](json const& raw) {
        auto const object = netbox::normalise(
            *kind, raw, [&](std::uint64_t real, std::string const& of) { return world_.logical(real, of); });
        found.emplace(index_text(kind->key, object, false), raw.at("id").get<object_id>());
      });
      machine.looked_up(read ? std::optional(std::move(found)) : std::nullopt);
      if (!read && !machine.stop_reason()) machine.abandon(read.error());
      continue;
    }
    if (machine.finished()) break;
    std::unique_lock lock(box->mutex);
    box->changed.wait_for(lock, 100ms, [&] { return !box->answers.empty(); });
    while (!box->answers.empty()) {
      auto [number, got] = std::move(box->answers.front());
      box->answers.pop_front();
      lock.unlock();
      machine.answered(number, got);
      show();
      lock.lock();
    }
  }
  for (auto const& [kind, o] : machine.outcomes()) {
    auto& c = r.kinds[kind];
    c.created = o.created, c.updated = o.updated, c.deleted = o.deleted, c.failed = o.failed, c.deferred = o.deferred;
  }
  for (auto const& f : machine.failures()) report_.failures.push_back(f);
  if (auto const& why = machine.stop_reason()) {
    r.reason = *why;
    r.status = why->code == base::error_code::credentials ? job_status::failed : job_status::stopped;
    // Nobody home, or no way in: the stages that follow would only knock again.
    if (why->code != base::error_code::interrupted) report_.fatal = *why;
  }
}

void runner::finish(job& j, job_report r) {
  r.took = j.started == steady_clock::time_point{} ? 0ms : since(j.started);
  if (r.status != job_status::ok) not_done_.emplace(r.source, r.stage);
  tell_.finished(r);
  report_.jobs.push_back(std::move(r));
}

report runner::go() {
  auto const started = steady_clock::now();
  report_.run_id = new_run_id();
  report_.dry = options_.dry;
  report_.profile = settings_.profile;
  report_.netbox_url = settings_.netbox.url;
  io_ = std::make_unique<io_thread>();
  if (auto kinds = register_kinds(); !kinds) {
    report_.fatal = kinds.error();
  } else if (connect()) {
    tell_.connected(report_);
    make_jobs();
    std::size_t expected = 0;
    for (auto const& lane : lanes_) expected += lane.size();
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < lanes_.size(); ++i) threads.emplace_back([this, i] { collect_from(i); });
    for (std::size_t handled = 0; handled < expected; ++handled) {
      std::unique_lock lock(ready_mutex_);
      while (!ready_changed_.wait_for(lock, 100ms, [&] { return !ready_.empty(); }))
        if (stop_)
          for (auto const& s : sources_) s->stop();
      job& j = *ready_.front();
      ready_.pop_front();
      lock.unlock();
      handle(j);
    }
    for (auto& t : threads) t.join();
  }
  if (wire_) {
    auto const n = wire_->count();
    for (auto m : {throttle::method::get, throttle::method::post, throttle::method::patch, throttle::method::put,
                   throttle::method::del})
      report_.requests[std::string(throttle::name(m))] = n.started_by_method[static_cast<std::size_t>(m)];
    report_.peak_in_flight = n.peak_in_flight;
    report_.retried = n.retried;
    wire_->stop();
  }
  for (auto const& s : sources_) {
    report_.source_requests += s->count().started;
    s->stop();
  }
  // By source as configured, whatever order they came in.
  auto const place = [&](job_report const& j) {
    return std::find_if(report_.sources.begin(), report_.sources.end(),
                        [&](auto const& s) { return s.name == j.source; }) -
           report_.sources.begin();
  };
  std::stable_sort(report_.jobs.begin(), report_.jobs.end(),
                   [&](auto const& a, auto const& b) { return place(a) < place(b); });
  report_.interrupted = stop_;
  report_.took = since(started);
  // The clients go before the loop that carries them.
  netbox_.reset();
  sources_.clear();
  wire_.reset();
  io_.reset();
  return std::move(report_);
}

}  // namespace

report run(config::configuration const& settings, run_options const& options, observer& watching,
           std::atomic<bool> const& stop) {
  return runner(settings, options, watching, stop).go();
}

}  // namespace weir::engine
