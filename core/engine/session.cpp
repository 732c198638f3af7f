#include "core/engine/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/log.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/match.hpp"
#include "core/engine/orphans.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using throttle::method;
using throttle::outcome;

namespace {

constexpr milliseconds longest_patience = 60s;  // a proxy's own limit; whoever waited longer waits for nothing
constexpr double unknown_unit_s = 0.05;         // a write's cost per unit where nothing is known: a busy NetBox's
constexpr std::chrono::seconds clock_skew{120};

// What the callbacks on the loop's thread leave for the thread that drives the machine.
struct inbox {
  std::mutex mutex;
  std::deque<std::pair<std::uint64_t, http::answer>> answers;
  std::map<std::uint64_t, throttle::clock::time_point> sent;  // the last attempt's start
  std::optional<base::error> journal_error;
};

}  // namespace

session::session(netbox::client& nb, netbox::registry const& kinds, store::journal* journal, session_options options)
    : netbox_(nb),
      wire_(nb.wire()),
      kinds_(kinds),
      journal_(journal),
      options_(std::move(options)),
      world_(kinds),
      memory_(std::make_unique<no_memory>()) {
  auto const* from = journal_ ? journal_ : options_.remembered_in;
  if (!from) return;
  auto kept = std::make_unique<journal_memory>(*from, options_.dry ? nullptr : journal_, netbox_.url());
  kept_ = kept.get();
  memory_ = std::move(kept);
  // A node that a person renamed is still where its guests run.
  world_.recall_by([this](netbox::kind const& k, std::string const& key) { return recall(world_, k, *memory_, key); });
}

bool session::keep_notes(job_report& r, report& into) {
  auto const ok = kept_ ? kept_->flush() : base::result<void>{};
  if (ok) return true;
  if (options_.dry) {  // then the plan is the careful one
    into.notices.push_back({base::log::level::warning, r.source, r.stage, ok.error().what, ok.error().hint});
    return true;
  }
  r.status = job_status::stopped;
  r.reason = ok.error();
  if (!into.fatal) into.fatal = ok.error();
  return false;
}

base::result<std::vector<store::object_record>> session::recorded(write_request const& request,
                                                                  std::string const& lane) {
  std::unordered_map<std::uint64_t, std::string> whole;
  if (request.verb == method::del) {
    std::vector<std::uint64_t> ids;
    for (auto const* c : request.items)
      if (auto const real = world_.real(c->object)) ids.push_back(*real);
    auto const read = netbox_.read_ids(*request.kind, ids, {}, lane, [&](json const& object) {
      whole[object.at("id").get<std::uint64_t>()] = object.dump(-1, ' ', false, json::error_handler_t::replace);
    });
    if (!read) {
      auto const code = read.error().code;
      if (code == base::error_code::stopped || code == base::error_code::interrupted ||
          code == base::error_code::unreachable || code == base::error_code::credentials)
        return read.error();
      base::log::warning("what is deleted cannot be read beforehand, and not be undone: " + read.error().what,
                         {{"stage", lane}, {"kind", request.kind->name}});
    }
  }
  std::vector<store::object_record> out;
  out.reserve(request.items.size());
  for (auto const* c : request.items) {
    auto o = record_of(world_, *memory_, *c);
    o.position = out.size();
    if (auto const found = whole.find(o.netbox_id); found != whole.end()) o.before = std::move(found->second);
    out.push_back(std::move(o));
  }
  return out;
}

base::result<void> session::read_table(netbox::kind const& k, std::set<std::string> const& fields,
                                       std::string const& lane) {
  if (world_.holds(k, fields) && !few_.contains(k.name)) return {};
  few_.erase(k.name);
  auto const all = world_.wanted_fields(k, fields);
  world::loader loading(world_, k, all);
  auto read = netbox_.read_all(k, {all.begin(), all.end()}, lane, [&](json const& raw) { loading.add(raw); });
  if (!read) return read;
  loading.finish();
  return {};
}

base::result<bool> session::read_few(netbox::kind const& k, std::set<std::string> const& fields,
                                     asked_for const& wanted, std::string const& lane) {
  if (world_.holds(k, fields) && !few_.contains(k.name)) return true;  // all of it is here
  auto const queries = queries_for(world_, k, wanted);
  if (!queries) return false;
  auto& read = few_[k.name];
  auto now = read;
  now.queries.insert(queries->begin(), queries->end());
  // Whom NetBox shows under another key than weir remembers; a person renamed it.
  std::set<std::string> unknown;
  for (auto const& [key, of_it] : wanted.objects) {
    auto const text = world_.key_text(k, json::parse(key));
    if (auto const id = text ? memory_->find(k, *text) : std::nullopt)
      now.ids.insert(*id);
    else
      unknown.insert(key);
  }
  if (world_.holds(k, fields) && now.queries == read.queries && now.ids == read.ids) return true;
  auto done = read_these(k, fields, now, lane);
  if (!done || !*done) return done;
  // Or under whatever name, as the proxbox service has it on record.
  auto const named = proxbox_.named_as(netbox_, world_, k, unknown, lane);
  if (!named && named.error().code != base::error_code::credentials) return named.error();  // which is told later on
  if (auto const before = now.ids.size(); named) {
    now.ids.insert(named->begin(), named->end());
    if (now.ids.size() > before) done = read_these(k, fields, now, lane);
  }
  if (done && *done) read = std::move(now);
  return done;
}

base::result<bool> session::read_these(netbox::kind const& k, std::set<std::string> const& fields, few const& these,
                                       std::string const& lane) {
  constexpr std::size_t most = 1000;  // a page
  auto const all = world_.wanted_fields(k, fields);
  std::vector<std::string> const members(all.begin(), all.end());
  world::loader loading(world_, k, all);
  std::set<std::uint64_t> here;
  auto const add = [&](json const& raw) {
    if (here.insert(raw.at("id").get<std::uint64_t>()).second) loading.add(raw);
  };
  for (auto const& query : these.queries) {
    std::size_t came = 0;
    auto const ok = netbox_.read_where(k, query, members, most, lane, [&](json const& raw) {
      ++came;
      add(raw);
    });
    if (!ok && came < most) return ok.error();
    if (!ok) return false;  // NetBox does not know that filter
  }
  if (auto ok = netbox_.read_ids(k, {these.ids.begin(), these.ids.end()}, members, lane, add); !ok) return ok.error();
  loading.finish();
  return true;
}

base::result<void> session::read_tables(collected const& what, std::string const& lane) {
  static std::vector<desired> const nothing;
  std::map<std::string, std::set<std::string>> needed;  // kind ► fields
  auto const add = [&](netbox::kind const& k, std::set<std::string> const& fields) {
    needed[k.name].insert(fields.begin(), fields.end());
  };
  std::set<std::string> emitted;
  for (auto const& [name, objects] : what.objects) emitted.insert(name);
  for (auto const& [name, scopes] : what.complete) emitted.insert(name);
  for (auto const& name : emitted) {
    auto const& k = *kinds_.find(name);
    auto const objects = what.objects.find(name);
    add(k, fields_needed(k, objects == what.objects.end() ? nothing : objects->second, what.complete.contains(name)));
    for (auto const& parent : kinds_needed(kinds_, k))
      add(*kinds_.find(parent), fields_needed(*kinds_.find(parent), nothing, false));
    for (auto const& [field, by] : k.inherits) {
      std::set<std::string> of_parent{by.field};
      for (auto const& [condition, value] : by.when) of_parent.insert(condition);
      if (auto const* parent = kinds_.find(k.refs.at(by.from))) add(*parent, of_parent);
    }
  }
  // Parents first: their children's references are translated while reading.
  std::vector<netbox::kind const*> order;
  for (auto const& [name, fields] : needed) order.push_back(kinds_.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return kinds_.rank(*a) < kinds_.rank(*b); });
  auto const wanted = options_.few_guests ? everything_asked_for(kinds_, what) : std::map<std::string, asked_for>{};
  for (auto const* k : order) {
    if (options_.few_guests && !wanted.contains(k->name)) continue;  // nothing refers to one
    if (auto const its = wanted.find(k->name); its != wanted.end()) {
      auto const done = read_few(*k, needed[k->name], its->second, lane);
      if (!done) return done.error();
      if (*done) continue;
    }
    if (auto read = read_table(*k, needed[k->name], lane); !read) return read;
  }
  return {};
}

// The tag and the custom field that marks of vanished objects take, made when they are first needed.
base::result<void> session::plan_marks(job_report& r, diff_rules const& rules) {
  std::vector<kind_plan> first;
  for (auto const& [name, wanted] : needed_for_marks(r.plans)) {
    auto const& k = *kinds_.find(name);
    if (auto read = read_table(k, fields_needed(k, wanted, false), r.stage); !read) return read;
    auto plan = diff(world_, k, wanted, {}, rules, *memory_);
    if (plan.creates.empty() && plan.updates.empty()) continue;
    r.planned_requests += requests_for(plan.creates.size(), options_.profile.objects_per_request) +
                          requests_for(plan.updates.size(), options_.profile.objects_per_request);
    first.push_back(std::move(plan));
  }
  r.plans.insert(r.plans.begin(), std::make_move_iterator(first.begin()), std::make_move_iterator(first.end()));
  return {};
}

void session::make_only_what_claims_need(job_report& r) {
  bool const any = std::any_of(r.plans.begin(), r.plans.end(),
                               [](auto const& p) { return !p.kind->mark.empty() && !p.updates.empty(); });
  if (any) {
    r.plans.insert(r.plans.begin(), std::make_move_iterator(held_back_.begin()),
                   std::make_move_iterator(held_back_.end()));
    held_back_.clear();
    return;
  }
  for (auto& p : r.plans) {
    if (p.creates.empty() && p.updates.empty()) continue;
    kind_plan later;
    later.kind = p.kind;
    later.creates = std::exchange(p.creates, {});
    later.updates = std::exchange(p.updates, {});
    held_back_.push_back(std::move(later));
  }
}

// What NetBox deletes along with what the stage deletes (a guest's backups), where weir knows its kind: as deletions of
// their own, which are carried out first, journalled and counted, and can be undone.
base::result<void> session::plan_gone_with_parents(job_report& r, report& into) {
  for (std::size_t i = 0; i < r.plans.size(); ++i) {
    if (r.plans[i].deletes.empty()) continue;
    for (auto const* k : kinds_inside(kinds_, *r.plans[i].kind)) {
      if (auto read = read_table(*k, fields_needed(*k, {}, true), r.stage); !read) {
        auto const& e = read.error();
        if (e.what.find("404") != std::string::npos) continue;  // a plugin's, which this NetBox does not have
        if (e.code != base::error_code::credentials && e.code != base::error_code::data) return e;
        into.notices.push_back(
            {base::log::level::warning, r.source, r.stage,
             "what NetBox deletes along with it of its " + k->title + "s cannot be read, and not be undone: " + e.what,
             e.hint});
        continue;
      }
      auto plan = gone_with_parents(world_, *k);
      if (plan.deletes.empty()) continue;
      r.planned_requests += requests_for(plan.deletes.size(), options_.profile.objects_per_request);
      r.plans.push_back(std::move(plan));
    }
  }
  return {};
}

void session::process(collected what, job_report& r, report& into) {
  if (options_.moved) options_.moved({r.source, r.stage, progress::phase::comparing, "", 0, 0, 0, 0, 0});
  if (auto read = read_tables(what, r.stage); !read) {
    bool const later = read.error().code == base::error_code::stopped;
    r.status = later ? job_status::stopped : job_status::failed;
    r.reason = read.error();
    if (later) into.fatal = read.error();
    return;
  }
  std::vector<netbox::kind const*> order;
  for (auto const& [name, objects] : what.objects) order.push_back(kinds_.find(name));
  for (auto const& [name, scopes] : what.complete)
    if (!what.objects.contains(name)) order.push_back(kinds_.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return kinds_.rank(*a) < kinds_.rank(*b); });
  diff_rules rules;
  rules.source = r.source;
  rules.stage = r.stage;
  rules.max_deletes = options_.max_deletes;
  rules.max_deletes_percent = options_.max_deletes_percent;
  rules.allow_deletes = options_.allow_deletes;
  rules.now = wire_.on().wall_now();
  rules.adopt_only = options_.adopt_only;
  for (auto const* k : order) {
    auto const its = proxbox_.recognise(netbox_, world_, *k, what.objects[k->name], r.stage, rules);
    if (!its && (options_.adopt_only || its.error().code != base::error_code::credentials)) {
      r.status = its.error().code == base::error_code::stopped ? job_status::stopped : job_status::failed;
      r.reason = its.error();
      if (r.status == job_status::stopped) into.fatal = its.error();
      r.plans.clear();
      return;
    }
    if (!its)  // then renamed ones are new to weir, which the plan shows
      into.notices.push_back({base::log::level::warning, r.source, r.stage, its.error().what, its.error().hint});
    r.plans.push_back(diff(world_, *k, std::move(what.objects[k->name]), what.complete[k->name], rules, *memory_));
    what.objects.erase(k->name);  // its part is in the plan now
    auto const& p = r.plans.back();
    if (auto const left = options_.adopt_only ? not_in_netbox(p) : 0; left > 0)
      into.notices.push_back({base::log::level::info, r.source, r.stage,
                              std::to_string(left) + " " + k->title + (left == 1 ? " is" : "s are") +
                                  " not in NetBox: weir sync makes " + (left == 1 ? "it" : "them"),
                              ""});
    if (p.deletes_refused)
      into.notices.push_back({base::log::level::error, r.source, r.stage, p.refused_because, p.refused_hint});
  }
  if (options_.adopt_only) make_only_what_claims_need(r);
  for (auto const& p : r.plans)
    for (auto const* list : {&p.updates, &p.creates, &p.deletes})
      r.planned_requests += requests_for(list->size(), options_.profile.objects_per_request);
  auto ok = plan_gone_with_parents(r, into);
  if (ok) ok = plan_marks(r, rules);
  if (!ok) {
    r.status = ok.error().code == base::error_code::stopped ? job_status::stopped : job_status::failed;
    r.reason = ok.error();
    if (r.status == job_status::stopped) into.fatal = ok.error();
    r.plans.clear();
    return;
  }
  perform(r, into);
}

void session::perform(job_report& r, report& into) {
  if (options_.planned) options_.planned(r);
  if (keep_notes(r, into) && !options_.dry) carry_out(r, into);
  count(r, into);
}

void session::count(job_report& r, report& into) {
  std::map<netbox::kind const*, counts> of_kind;  // a kind may have several plans
  for (auto& p : r.plans) {
    auto& c = r.kinds[p.kind->name];
    c.seen += p.seen;
    c.unchanged += p.unchanged;
    c.kept += p.kept.size();
    c.skipped += p.skipped.size();
    c.failed += p.failures.size();
    if (options_.dry) {
      c.created += p.creates.size();
      c.updated += p.updates.size();
      c.deleted += p.deletes.size();
    }
    for (auto& f : p.failures) into.failures.push_back(f);
    if (!p.kind->supporting) of_kind[p.kind] = c;
    if (!p.skipped.empty())
      into.notices.push_back({base::log::level::info, r.source, r.stage,
                              std::to_string(p.skipped.size()) + " " + p.kind->title +
                                  "s belong to guests that NetBox does not know, e.g. " + p.skipped.front(),
                              ""});
  }
  for (auto const& [kind, c] : of_kind) r.total += c;
  bool const deferred =
      std::any_of(r.kinds.begin(), r.kinds.end(), [](auto const& k) { return k.second.deferred > 0; });
  if (deferred && r.status == job_status::ok) r.status = job_status::stopped;
}

void session::carry_out(job_report& r, report& into) {
  auto const& profile = options_.profile;
  apply_options how;
  how.objects_per_request = profile.objects_per_request;
  how.source = r.source;
  how.stage = r.stage;
  how.run = options_.run_id;
  how.most_outstanding = std::max<std::size_t>(1, profile.max_in_flight) * 2;
  how.parallel = profile.max_in_flight > 1;
  how.first_number = next_batch_;
  how.list_size = [&](method verb, netbox::kind const& k) {
    return netbox_.list_size(verb, k, profile.objects_per_request);
  };
  apply machine(world_, r.plans, how);
  auto const box = std::make_shared<inbox>();
  auto& on = wire_.on();
  auto const started = on.now();
  std::size_t const batch_size = std::max<std::size_t>(1, profile.batch_size);
  auto const show = [&] {
    if (!options_.moved) return;
    auto const elapsed = std::chrono::duration<double>(on.now() - started).count();
    options_.moved({r.source, r.stage, progress::phase::writing, "", machine.done_objects(), machine.total_objects(),
                    (machine.answered_requests() + batch_size - 1) / batch_size,
                    (machine.planned_requests() + batch_size - 1) / batch_size,
                    elapsed > 0 ? static_cast<double>(machine.answered_requests()) / elapsed : 0});
  };
  std::map<std::uint64_t, written_batch> under_way;  // by number
  std::map<std::uint64_t, throttle::clock::time_point> begun;
  auto const journal_failed = [&](base::error e) {
    if (!into.fatal) into.fatal = e;
    machine.abandon(std::move(e));
  };
  auto const write_down = [&](std::uint64_t number, batch_result const& result) {
    if (options_.wrote) {
      auto told = std::move(under_way.at(number));
      told.state = std::string(store::name(result.state));
      told.reason = result.reason;
      for (auto const& o : result.objects) told.failed += o.state == store::batch_state::failed;
      if (result.state == store::batch_state::failed && told.failed == 0) told.failed = told.objects;
      told.took = std::chrono::duration_cast<milliseconds>(on.now() - begun[number]);
      options_.wrote(told);
      // What is unknown comes once more, when it has been looked up.
      if (result.state == store::batch_state::unknown) told.failed = 0, under_way[number] = std::move(told);
    }
    if (auto ok =
            journal_->batch_ended(options_.run_id, number, result.state, result.reason, result.objects, on.wall_now());
        !ok)
      journal_failed(ok.error());
  };
  auto const send = [&](write_request request) {
    store::batch_record b;
    b.run = options_.run_id;
    b.number = request.number;
    b.source = r.source;
    b.stage = r.stage;
    b.kind = request.kind->name;
    b.path = request.kind->path;
    b.verb = std::string(throttle::name(request.verb));
    b.marker = request.marker;
    b.objects = request.items.size();
    b.created = on.wall_now();
    http::answer not_sent;
    not_sent.reply.error = http::failure::cancelled;
    auto const objects = recorded(request, r.stage);
    if (!objects) {
      auto why = objects.error();
      if (why.code == base::error_code::unreachable) why.code = base::error_code::stopped;
      not_sent.reply.error_text = "not sent: " + why.what;
      machine.abandon(std::move(why));
      machine.answered(request.number, not_sent);
      if (auto ok = journal_->add_deferred(b); !ok) journal_failed(ok.error());
      return;
    }
    ++into.batches;
    if (options_.wrote) {
      under_way[b.number] = {b.source, b.stage, b.kind, b.verb, b.number, b.objects, 0, "", "", milliseconds(0)};
      begun[b.number] = on.now();
    }
    if (auto ok = journal_->add_batch(b, *objects); !ok) {
      not_sent.reply.error_text = "not sent: " + ok.error().what;
      journal_failed(ok.error());
      machine.answered(request.number, not_sent);
      return;
    }
    auto const objects_in_it = request.items.size();
    netbox_.write(
        request.verb, *request.kind, std::move(request.body), objects_in_it, r.stage,
        [this, box, number = request.number, &on] {
          auto ok = journal_->batch_sent(options_.run_id, number, on.wall_now());
          std::scoped_lock lock(box->mutex);
          box->sent[number] = on.now();
          if (!ok) box->journal_error = ok.error();
          return ok.has_value();
        },
        [box, number = request.number, &on](http::answer got) {
          {
            std::scoped_lock lock(box->mutex);
            box->answers.emplace_back(number, std::move(got));
          }
          on.wake();
        });
  };
  while (!machine.finished()) {
    if (auto why = options_.stop ? options_.stop() : std::nullopt; why && !machine.stop_reason()) {
      machine.abandon(std::move(*why));
      wire_.drain();  // what waits for its turn, or for an outage to end, does not go out any more
    }
    while (auto request = machine.next()) send(std::move(*request));
    if (auto const d = machine.wants_lookup()) {
      throttle::clock::time_point sent = on.now();
      {
        std::scoped_lock lock(box->mutex);
        if (auto const at = box->sent.find(d->number); at != box->sent.end()) sent = at->second;
      }
      auto const found = look_up(*d, sent, r.stage);
      if (found) ++into.looked_up;
      write_down(d->number, machine.looked_up(d->number, found ? std::optional(*found) : std::nullopt));
      if (!found && !machine.stop_reason()) {
        auto why = options_.stop ? options_.stop() : std::nullopt;
        machine.abandon(why ? *why
                            : base::fail(base::error_code::stopped,
                                         "NetBox could not be asked whether a request without an answer was carried "
                                         "out: " +
                                             found.error().what,
                                         found.error().hint));
      }
      show();
      continue;
    }
    if (machine.finished()) break;
    on.wait(100ms, [&] {
      std::scoped_lock lock(box->mutex);
      return !box->answers.empty();
    });
    while (true) {
      std::unique_lock lock(box->mutex);
      if (box->journal_error && !machine.stop_reason()) {
        auto e = *box->journal_error;
        lock.unlock();
        journal_failed(std::move(e));
        lock.lock();
      }
      if (box->answers.empty()) break;
      auto [number, got] = std::move(box->answers.front());
      box->answers.pop_front();
      lock.unlock();
      write_down(number, machine.answered(number, got));
      show();
    }
  }
  next_batch_ = machine.next_number();
  for (auto const& rest : machine.leftovers()) {
    store::batch_record b;
    b.run = options_.run_id;
    b.number = next_batch_++;
    b.source = r.source;
    b.stage = r.stage;
    b.kind = rest.kind->name;
    b.path = rest.kind->path;
    b.verb = rest.what == action::create ? "POST" : rest.what == action::update ? "PATCH" : "DELETE";
    b.objects = rest.objects;
    b.created = on.wall_now();
    b.reason = machine.stop_reason() ? machine.stop_reason()->what : "";
    if (auto ok = journal_->add_deferred(b); !ok && !into.fatal) into.fatal = ok.error();
  }
  for (auto const& [kind, o] : machine.outcomes()) {
    auto& c = r.kinds[kind];
    c.created = o.created, c.updated = o.updated, c.deleted = o.deleted, c.failed = o.failed, c.deferred = o.deferred;
  }
  for (auto const& f : machine.failures()) into.failures.push_back(f);
  if (auto const& why = machine.stop_reason()) {
    r.reason = *why;
    r.status = why->code == base::error_code::credentials ? job_status::failed : job_status::stopped;
    // Nobody home, no way in, no journal: the stages that follow would only knock again.
    if (why->code != base::error_code::interrupted && !into.fatal) into.fatal = *why;
  }
}

milliseconds session::patience(method verb, std::string_view path, std::size_t objects, bool may_run_on) const {
  if (!may_run_on) return 1s;
  auto const usual = wire_.usual_latency(verb, path, objects);
  auto const once =
      usual ? *usual
            : milliseconds(static_cast<std::int64_t>(1000 * unknown_unit_s * throttle::work_of(verb, objects, 0)));
  return std::min(longest_patience, 3 * once + 2000ms);
}

bool session::pause(milliseconds time) {
  return !wire_.on().wait(time, [&] { return options_.stop && options_.stop().has_value(); });
}

// What the change log knows of a batch: asked until it knows something, or until NetBox cannot be at work on it any
// more. Whoever may not read it waits as long, and learns nothing.
base::result<std::vector<netbox::client::logged_change>> session::logged(std::string const& marker,
                                                                         throttle::clock::time_point deadline,
                                                                         std::string const& lane) {
  auto& on = wire_.on();
  for (auto wait = 250ms;; wait = std::min(wait * 2, milliseconds(2000))) {
    auto changes = netbox_.find_changes(marker_query(marker), marker, lane);
    if (changes && !changes->empty()) return changes;
    bool const in_vain = !changes && (changes.error().code == base::error_code::credentials ||
                                      changes.error().code == base::error_code::data);
    if (!changes && !in_vain) return changes;
    auto const left = std::chrono::ceil<milliseconds>(deadline - on.now());
    if (left <= 0ms) return std::vector<netbox::client::logged_change>{};
    if (!pause(in_vain ? left : wait)) return base::fail(base::error_code::interrupted, "the run was stopped");
    if (in_vain) return std::vector<netbox::client::logged_change>{};
  }
}

// Whether NetBox carried the request out, and under which numbers. A server that lost its client, or whose proxy lost
// patience, mostly goes on and commits: "not there" holds only when it cannot be at work on it any more.
base::result<std::unordered_map<std::string, object_id>> session::look_up(doubt const& d,
                                                                          throttle::clock::time_point sent,
                                                                          std::string const& lane) {
  auto& on = wire_.on();
  base::log::warning("a request's outcome is not known: looking up what NetBox has of it",
                     {{"stage", lane}, {"kind", d.kind->name}, {"marker", d.marker}});
  std::size_t known = 0;
  if (d.after != outcome::lost_race) {  // that one was rolled back: somebody else has made the object
    auto const changes =
        logged(d.marker, sent + patience(method::post, d.kind->path, d.objects, d.after == outcome::unknown), lane);
    if (!changes) return changes.error();
    known = changes->size();
  }
  auto const read = [&](bool recent_only) -> base::result<std::unordered_map<std::string, object_id>> {
    std::unordered_map<std::string, object_id> found;
    auto fields = fields_needed(*d.kind, {}, false);
    std::optional<std::chrono::system_clock::time_point> since;
    if (recent_only)
      since = netbox_.server_time() - clock_skew -
              std::chrono::duration_cast<std::chrono::system_clock::duration>(on.now() - sent);
    auto const got = netbox_.read_all(
        *d.kind, {fields.begin(), fields.end()}, lane,
        [&](json const& raw) {
          auto const object = netbox::normalise(
              *d.kind, raw, [&](std::uint64_t real, std::string const& of) { return world_.logical(real, of); });
          found.emplace(index_text(d.kind->key, object, false), raw.at("id").get<object_id>());
        },
        since);
    if (!got) return got.error();
    return found;
  };
  if (d.after == outcome::lost_race) return read(false);
  auto found = read(true);
  // The log knows more objects than were found: the clocks differ, or some have been deleted since.
  if (!found || found->size() < known) found = read(false);
  return found;
}

base::result<std::size_t> session::settle(std::vector<store::run_record> const& earlier) {
  std::size_t looked_up = 0;
  for (auto const& e : earlier) {
    if (e.id == options_.run_id) continue;
    if (e.state == store::run_state::running)
      if (auto ok = journal_->set_run_state(e.id, store::run_state::interrupted, "its process ended in the middle");
          !ok)
        return ok.error();
    auto const settled = settle_run(e.id);
    if (!settled) return settled.error();
    looked_up += *settled;
  }
  return looked_up;
}

base::result<std::size_t> session::settle_run(std::string const& earlier_run) {
  std::size_t settled = 0;
  auto& on = wire_.on();
  for (auto const state : {store::batch_state::sent, store::batch_state::unknown, store::batch_state::pending}) {
    auto batches = journal_->batches(earlier_run, state);
    if (!batches) return batches.error();
    for (auto const& b : *batches) {
      ++settled;
      auto const ended = [&](store::batch_state to, std::string const& reason,
                             std::vector<store::object_record> const& objects) {
        return journal_->batch_ended(earlier_run, b.number, to, reason, objects, on.wall_now());
      };
      if (state == store::batch_state::pending) {
        if (auto ok = ended(store::batch_state::deferred, "it was never sent", {}); !ok) return ok.error();
        continue;
      }
      // What NetBox is still at work on would make its objects after they have been looked for, or put old values over
      // newer ones. A late DELETE does no harm.
      auto const verb = b.verb == "POST" ? method::post : b.verb == "PATCH" ? method::patch : method::del;
      auto const since_sent =
          b.sent ? std::max(0ms, std::chrono::duration_cast<milliseconds>(on.wall_now() - *b.sent)) : 0ms;
      auto const wait_for =
          verb == method::del ? milliseconds(0) : patience(verb, b.path, b.objects, true) - since_sent;
      auto const changes = logged(b.marker, on.now() + wait_for, "start");
      if (!changes) return changes.error();
      auto const& seen = *changes;
      std::vector<store::object_record> objects;
      // Made in the order of the request's list.
      if (verb == method::post && seen.size() == b.objects)
        for (std::size_t i = 0; i < seen.size(); ++i)
          objects.push_back({i, {}, {}, {}, seen[i].object_id, store::batch_state::done, {}});
      auto const ok =
          seen.empty() ? ended(store::batch_state::deferred, "not in NetBox's change log, as far as it may be read", {})
                       : ended(store::batch_state::done, "NetBox's change log knows it", objects);
      if (!ok) return ok.error();
    }
  }
  return settled;
}

}  // namespace weir::engine
