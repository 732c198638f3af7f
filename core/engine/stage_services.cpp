#include "core/engine/stage_services.hpp"

#include <algorithm>
#include <deque>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/netbox/errors.hpp"

namespace weir::engine {

using nlohmann::json;

namespace {

// Of one stage over one source; above it the stage is taken for mad. Ten times the largest cluster known, and what a
// small machine has in memory.
constexpr std::size_t most_objects = 2'000'000;
constexpr std::size_t most_bytes = std::size_t{1} << 30;
constexpr std::size_t most_metrics = 200;
// Of weir's log: a stage's field of such a name gets an underscore behind it.
constexpr std::string_view own_fields[] = {"ts", "level", "msg", "run", "stage", "source"};
constexpr std::size_t most_keys = 1000;

plugin::fetched no_source() { return {0, "", "this stage has no source to fetch from", false}; }

plugin::fetched convert(source::fetched got) {
  bool const ok = got.ok();
  return {got.status, std::move(got.body), std::move(got.error.what), ok};
}

plugin::fetched convert(http::answer got, std::string_view method, std::string_view target) {
  if (got.outcome == throttle::outcome::ok) return {got.reply.status, std::move(got.reply.body), "", true};
  auto e = netbox::describe(got, std::string(method) + " /api" + std::string(target));
  return {got.reply.status, std::move(got.reply.body), std::move(e.what), false};
}

}  // namespace

stage_services::stage_services(stage_scope const& scope, stage_surroundings around, collected& into)
    : scope_(scope), around_(std::move(around)), what_(into) {}

void stage_services::progress(std::uint64_t done, std::uint64_t total, std::string_view note) {
  around_.progress(done, total, note);
}

void stage_services::log(base::log::level l, std::string_view message, std::vector<plugin::log_field> const& fields) {
  std::vector<base::log::field> all{{"source", scope_.source}, {"stage", scope_.stage}};
  std::deque<std::string> renamed;  // stays where it is while it grows
  for (auto const& f : fields) {
    bool const ours = std::find(std::begin(own_fields), std::end(own_fields), f.key) != std::end(own_fields);
    all.push_back({ours ? std::string_view(renamed.emplace_back(f.key + "_")) : std::string_view(f.key),
                   base::shorten(f.value, 512)});
  }
  base::log::write(l, base::shorten(message, 512), std::span<base::log::field const>(all));
}

void stage_services::notice(base::log::level l, std::string_view message, std::string_view hint) {
  std::scoped_lock lock(mutex_);
  what_.notices.push_back({l, scope_.source, scope_.stage, std::string(message), std::string(hint)});
}

base::result<void> stage_services::emit(std::string_view kind, std::string_view key_json,
                                        std::string_view fields_json) {
  auto const* k = known(kind);
  if (!k) return undeclared(kind);
  auto taken = take(*k, key_json, fields_json);
  if (!taken) {
    std::scoped_lock lock(mutex_);
    refused_.insert(k->name);
  }
  return taken;
}

base::result<void> stage_services::take(netbox::kind const& kind, std::string_view key_json,
                                        std::string_view fields_json) {
  auto read = netbox::read_object(kind, key_json, fields_json);
  if (!read) return read.error();
  desired object{read->key, read->fields};
  std::scoped_lock lock(mutex_);
  ++emitted_;
  bytes_ += sizeof object + read->key.size() + read->fields.size();
  if (emitted_ > most_objects || bytes_ > most_bytes) {
    too_much_ = true;
    return base::fail(base::error_code::interrupted, "too much was emitted");
  }
  what_.objects[kind.name].push_back(std::move(object));
  return {};
}

base::result<void> stage_services::settle(base::result<void> ended) {
  if (too_much_) {
    what_.objects.clear();
    return base::fail("stage \"" + scope_.stage + "\" emitted more than " + std::to_string(most_objects) +
                          " objects or " + std::to_string(most_bytes >> 20) + " MiB; it was stopped",
                      "this is a fault of the stage, or it reads more than it should");
  }
  // Whoever does not ask emits whatever there is.
  bool const heedless = ended && around_.scope != "{}" && !asked_for_scope_ && scope_.from;
  if (heedless && around_.few_guests) {
    what_.objects.clear();
    what_.notices.push_back({base::log::level::warning, scope_.source, scope_.stage,
                             "the stage cannot keep to single guests (--guest): nothing of it is written", ""});
  } else if (heedless) {
    what_.notices.push_back({base::log::level::warning, scope_.source, scope_.stage,
                             "the stage knows nothing of scopes: it covers all of the source",
                             "stages." + scope_.stage + ".sources can leave this source out"});
  }
  for (auto const& kind : refused_)
    if (what_.complete.erase(kind))
      what_.notices.push_back({base::log::level::error, scope_.source, scope_.stage,
                               "an object of kind " + kind + " was refused: nothing of this kind is deleted",
                               "see the log; this is a fault of the stage"});
  return ended;
}

base::result<std::string> stage_services::scope() {
  asked_for_scope_ = true;
  return around_.scope;
}

base::result<void> stage_services::complete(std::string_view kind, std::string_view scope_json) {
  auto const* k = known(kind);
  if (!k) return undeclared(kind);
  auto const scope = json::parse(scope_json, nullptr, false);
  if (!scope.is_object())
    return base::fail(base::error_code::data, "the scope of complete(" + k->name + ") is no JSON object");
  if (around_.few_guests) return {};
  std::scoped_lock lock(mutex_);
  what_.complete[k->name].push_back(scope.dump());
  return {};
}

netbox::kind const* stage_services::known(std::string_view kind) const {
  return scope_.declared.contains(kind) ? around_.kinds.find(kind) : nullptr;
}

base::error stage_services::undeclared(std::string_view kind) const {
  return base::fail(base::error_code::data,
                    "the stage speaks of the kind '" + base::shorten(kind, 80) + "', which it did not declare",
                    "list it in the stage's kinds_json");
}

plugin::fetched stage_services::fetch(std::string_view target) {
  if (!scope_.from) return no_source();
  return convert(scope_.from->fetch_and_wait(std::string(target), scope_.stage));
}

void stage_services::fetch_async(std::string target, std::function<void(plugin::fetched)> done) {
  if (!scope_.from) return done(no_source());
  scope_.from->fetch(std::move(target), scope_.stage,
                     [done = std::move(done)](source::fetched got) { done(convert(std::move(got))); });
}

plugin::fetched stage_services::netbox_read(std::string_view target) {
  return convert(around_.netbox.raw(throttle::method::get, target, {}, scope_.stage), "GET", target);
}

plugin::fetched stage_services::netbox_write(std::string_view method, std::string_view target, std::string_view body) {
  if (around_.dry) {
    notice(base::log::level::info, "would send " + std::string(method) + " /api" + std::string(target), "");
    return {0, "", "", true};
  }
  auto const verb = method == "POST"    ? throttle::method::post
                    : method == "PATCH" ? throttle::method::patch
                    : method == "PUT"   ? throttle::method::put
                                        : throttle::method::del;
  return convert(around_.netbox.raw(verb, target, std::string(body), scope_.stage), method, target);
}

base::result<void> stage_services::metric(plugin::metric_kind kind, std::string_view name, double value) {
  bool const counter = kind == plugin::metric_kind::counter;
  std::scoped_lock lock(mutex_);
  auto found = what_.metrics.find(std::string(name));
  if (found == what_.metrics.end()) {
    if (what_.metrics.size() == most_metrics)
      return base::fail(base::error_code::data, "the stage has more than " + std::to_string(most_metrics) + " metrics");
    found = what_.metrics.emplace(name, engine::metric{counter, 0}).first;
  }
  if (found->second.counter != counter)
    return base::fail(base::error_code::data,
                      "the metric '" + std::string(name) + "' is a " + (counter ? "gauge" : "counter") + " already");
  found->second.value = counter ? found->second.value + value : value;
  return {};
}

base::result<void> stage_services::load_state() {
  if (state_) return {};
  if (!around_.journal) {
    state_.emplace();
    return {};
  }
  auto kept = around_.journal->plugin_state(around_.netbox_url, scope_.source, scope_.stage);
  if (!kept) return kept.error();
  state_ = std::move(*kept);
  return {};
}

base::result<std::optional<std::string>> stage_services::state_get(std::string_view key) {
  std::scoped_lock lock(mutex_);
  if (auto ok = load_state(); !ok) return ok.error();
  auto const found = state_->find(std::string(key));
  return found == state_->end() ? std::optional<std::string>{} : found->second;
}

base::result<void> stage_services::state_put(std::string_view key, std::optional<std::string_view> value) {
  std::scoped_lock lock(mutex_);
  if (auto ok = load_state(); !ok) return ok.error();
  std::string const name(key);
  if (!value) {
    if (state_->erase(name)) what_.state_changes[name] = std::nullopt;
    return {};
  }
  if (!state_->contains(name) && state_->size() == most_keys)
    return base::fail(base::error_code::data, "the stage keeps " + std::to_string(most_keys) + " keys already");
  state_->insert_or_assign(name, std::string(*value));
  what_.state_changes[name] = std::string(*value);
  return {};
}

}  // namespace weir::engine
