#include "core/engine/apply.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/engine/match.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;
using throttle::method;
using throttle::outcome;

namespace {

constexpr std::size_t most_doubts = 3;     // look-ups for one list before it is left to the next run
constexpr std::size_t most_give_ups = 10;  // requests in a row that the gate gave up before all the rest is left
constexpr std::size_t look_ahead = 2000;   // changes looked at for a list that touches no parent in flight

method verb_of(action a) {
  switch (a) {
    case action::create:
      return method::post;
    case action::update:
      return method::patch;
    case action::erase:
      return method::del;
  }
  return method::get;
}

}  // namespace

apply::apply(world& w, std::vector<kind_plan>& plans, apply_options options)
    : world_(w), options_(std::move(options)), next_number_(options_.first_number) {
  auto const add_list = [&](action what, netbox::kind const* kind, std::vector<change const*> const& changes) {
    if (changes.empty()) return;
    steps_.push_back({what, kind, {changes.begin(), changes.end()}, {}});
    total_objects_ += changes.size();
  };
  auto const add_step = [&](action what, netbox::kind const* kind, std::vector<change> const& changes) {
    std::vector<change const*> all;
    for (auto const& c : changes) all.push_back(&c);
    add_list(what, kind, all);
  };
  // What is undone goes back step by step through what NetBox has accepted once: the plans are in that order.
  auto const undoes = [](std::vector<change> const& changes) {
    return !changes.empty() && changes.front().why == reason::undone;
  };
  if (std::any_of(plans.begin(), plans.end(),
                  [&](kind_plan const& p) { return undoes(p.updates) || undoes(p.creates) || undoes(p.deletes); })) {
    for (auto const& p : plans) {
      for (auto const& wave : waves(*p.kind, p.updates)) add_list(action::update, p.kind, wave);
      add_step(action::create, p.kind, p.creates);
      add_step(action::erase, p.kind, p.deletes);
    }
    return;
  }
  std::vector<kind_plan const*> order;
  for (auto const& p : plans) order.push_back(&p);
  auto const rank = [&](kind_plan const* p) { return w.kinds().rank(*p->kind); };
  std::stable_sort(order.begin(), order.end(), [&](auto const* a, auto const* b) { return rank(a) < rank(b); });
  for (auto const* p : order) {
    // Names that one object gives up for another: NetBox carries out a list in its own order.
    for (auto const& wave : waves(*p->kind, p->updates)) add_list(action::update, p->kind, wave);
    add_step(action::create, p->kind, p->creates);
  }
  std::reverse(order.begin(), order.end());
  for (auto const* p : order) add_step(action::erase, p->kind, p->deletes);
}

std::string marker_query(std::string_view marker) {
  constexpr std::string_view begin = "weir run ";
  if (marker.starts_with(begin)) marker.remove_prefix(begin.size());
  return std::string(marker);
}

std::string apply::marker_of(std::uint64_t number) const {
  return "weir run " + options_.run + "#" + std::to_string(number) + " " + options_.source +
         (options_.source.empty() ? "" : "/") + options_.stage;
}

// What NetBox locks along with the object: the parents in its natural key (an interface's device, a disk's machine,
// whose counters it keeps). Two lists over the same ones deadlock in PostgreSQL when they come in different orders.
std::set<object_id> apply::parents_of(change const& c) {
  std::set<object_id> out;
  auto const look = [&](json const& fields) {
    for (auto const& member : c.kind->key) {
      if (!c.kind->refs.contains(member)) continue;
      auto const found = fields.find(member);
      if (found != fields.end() && found->is_number_unsigned()) out.insert(found->get<object_id>());
    }
  };
  if (!c.body.empty()) look(c.body.unpack());
  if (out.empty())
    if (auto const* r = world_.of(*c.kind).by_id(c.object)) look(r->fields());
  return out;
}

bool apply::is_free(std::set<object_id> const& parents) const {
  for (auto const& [number, l] : outstanding_)
    for (auto const id : parents)
      if (l.parents.contains(id)) return false;
  return true;
}

std::size_t apply::size_for(step const& s) const {
  auto const ceiling = std::max<std::size_t>(1, options_.objects_per_request);
  return options_.list_size ? std::clamp<std::size_t>(options_.list_size(verb_of(s.what), *s.kind), 1, ceiling)
                            : ceiling;
}

// The next list of a step, or nothing while all of them touch parents of lists that are under way.
std::optional<apply::list> apply::cut(step& s) {
  for (auto at = s.again.begin(); at != s.again.end(); ++at) {
    if (!is_free(at->parents)) continue;
    auto l = std::move(*at);
    s.again.erase(at);
    return l;
  }
  if (!s.again.empty() || s.fresh.empty()) return {};
  auto const size = size_for(s);
  list l;
  if (!options_.parallel) {
    while (!s.fresh.empty() && l.items.size() < size) {
      l.items.push_back(s.fresh.front());
      s.fresh.pop_front();
    }
    return l;
  }
  std::vector<change const*> passed;
  while (!s.fresh.empty() && l.items.size() < size && passed.size() < look_ahead) {
    auto const* c = s.fresh.front();
    s.fresh.pop_front();
    auto const parents = parents_of(*c);
    if (is_free(parents)) {
      l.items.push_back(c);
      l.parents.insert(parents.begin(), parents.end());
    } else {
      passed.push_back(c);
    }
  }
  s.fresh.insert(s.fresh.begin(), passed.begin(), passed.end());
  if (l.items.empty()) return {};
  return l;
}

void apply::fail(change const& c, std::string message) {
  ++outcomes_[c.kind->name].failed;
  ++done_objects_;
  failures_.push_back({options_.source, options_.stage, c.kind->name, c.label, std::move(message)});
}

void apply::done(change const& c) {
  auto& o = outcomes_[c.kind->name];
  switch (c.what) {
    case action::create:
      ++o.created;
      break;
    case action::update:
      ++o.updated;
      break;
    case action::erase:
      ++o.deleted;
      break;
  }
  ++done_objects_;
}

void apply::defer_all(list const& l) {
  for (auto const* c : l.items) ++outcomes_[c->kind->name].deferred;
}

void apply::requeue(list l) {
  if (l.items.empty()) return;
  if (stop_reason_) return defer_all(l);
  // In front: what has waited longest goes first, and the step cannot end without it.
  steps_.front().again.push_front(std::move(l));
}

namespace {

// NetBox's and PostgreSQL's ways to say that a unique key is taken.
bool is_there(std::string const& message) {
  return message.find("already exists") != std::string::npos || message.find("must be unique") != std::string::npos ||
         message.find("must make a unique set") != std::string::npos;
}

store::object_record record(std::size_t position, store::batch_state state, std::string reason = {}, object_id id = 0) {
  store::object_record r;
  r.position = position;
  r.state = state;
  r.reason = std::move(reason);
  r.netbox_id = id;
  return r;
}

}  // namespace

void apply::split(list l, std::string const& message, batch_result& result) {
  result.state = store::batch_state::failed;
  result.reason = message;
  if (l.items.size() == 1) {
    result.objects.push_back(record(0, store::batch_state::failed, message));
    return fail(*l.items.front(), message);
  }
  for (std::size_t i = 0; i < l.items.size(); ++i)
    result.objects.push_back(record(i, store::batch_state::deferred, "sent again in a shorter list"));
  auto const middle = l.items.begin() + static_cast<std::ptrdiff_t>(l.items.size() / 2);
  requeue({{middle, l.items.end()}, l.doubts, l.parents});
  requeue({{l.items.begin(), middle}, l.doubts, l.parents});
}

// What a change sends: references as NetBox's ids, tags as attributes, and who did it.
std::optional<std::string> apply::body_of(list& l, std::string const& marker) {
  json body = json::array();
  std::vector<change const*> kept;
  for (auto const* c : l.items) {
    json object = c->body.empty() ? json::object() : c->body.unpack();
    bool possible = true;
    for (auto const& [field, target] : c->kind->refs) {
      auto const found = object.find(field);
      if (found == object.end() || !found->is_number_unsigned()) continue;
      auto const logical = found->get<object_id>();
      if (auto const real = world_.real(logical)) {
        *found = *real;
      } else {
        auto const* kind = world_.kinds().find(target);
        fail(*c, "its " + field + " '" + (kind ? world_.label(*kind, logical) : std::string("?")) +
                     "' could not be created");
        possible = false;
        break;
      }
    }
    if (!possible) continue;
    if (auto const tags = object.find("tags"); tags != object.end() && tags->is_array()) {
      json slugs = json::array();
      for (auto const& slug : *tags) slugs.push_back({{"slug", slug}});
      *tags = std::move(slugs);
    }
    if (c->what != action::create) {
      auto const real = world_.real(c->object);
      if (!real) {
        fail(*c, "it could not be created before it was to be changed");
        continue;
      }
      object["id"] = *real;
    }
    object["changelog_message"] = marker;
    kept.push_back(c);
    body.push_back(std::move(object));
  }
  l.items = std::move(kept);
  if (l.items.empty()) return {};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

void apply::advance() {
  while (!steps_.empty() && steps_.front().fresh.empty() && steps_.front().again.empty() && outstanding_.empty() &&
         doubtful_.empty())
    steps_.pop_front();
}

std::optional<write_request> apply::next() {
  advance();
  while (!stop_reason_ && !steps_.empty() && doubtful_.empty() && outstanding_.size() < options_.most_outstanding) {
    auto& s = steps_.front();
    auto l = cut(s);
    if (!l) return {};
    auto marker = marker_of(next_number_);
    auto body = body_of(*l, marker);
    if (!body) {  // nothing of it can be sent
      advance();
      continue;
    }
    write_request r{next_number_++, verb_of(s.what), s.kind, std::move(*body), std::move(marker), l->items};
    outstanding_.emplace(r.number, std::move(*l));
    return r;
  }
  return {};
}

std::size_t apply::planned_requests() const {
  std::size_t left = 0;
  for (auto const& s : steps_) left += s.again.size() + requests_for(s.fresh.size(), size_for(s));
  return answered_requests_ + outstanding_.size() + doubtful_.size() + left;
}

void apply::landed(std::uint64_t number, list const& l, http::reply const& reply, batch_result& result) {
  if (l.items.front()->what != action::create) {
    for (std::size_t i = 0; i < l.items.size(); ++i) {
      done(*l.items[i]);
      result.objects.push_back(record(i, store::batch_state::done, {}, world_.real(l.items[i]->object).value_or(0)));
    }
    return;
  }
  auto const parsed = json::parse(reply.body, nullptr, false);
  bool const whole = parsed.is_array() && parsed.size() == l.items.size();
  // What landed but whose number NetBox did not say is looked up. Positions stay: what is known becomes a null.
  auto unclear = l.items;
  for (std::size_t i = 0; i < l.items.size(); ++i) {
    auto const id = whole && parsed[i].is_object() ? parsed[i].find("id") : parsed.end();
    if (!whole || !parsed[i].is_object() || id == parsed[i].end() || !id->is_number_unsigned()) continue;
    world_.created(l.items[i]->object, id->get<object_id>());
    done(*l.items[i]);
    result.objects.push_back(record(i, store::batch_state::done, {}, id->get<object_id>()));
    unclear[i] = nullptr;
  }
  if (result.objects.size() == l.items.size()) return;
  result.state = store::batch_state::unknown;
  result.reason = "the answer does not name the new objects";
  doubtful_.push_back(
      {number, {std::move(unclear), l.doubts + 1, l.parents}, outcome::unknown, std::exchange(result.objects, {})});
}

void apply::refused(std::uint64_t number, list l, netbox::blame const& blame, batch_result& result) {
  std::map<std::size_t, std::string> named;  // index ► message
  for (auto const& [index, message] : blame.by_index)
    if (index < l.items.size()) named[index] = message;
  for (auto const& [id, message] : blame.by_id)
    for (std::size_t i = 0; i < l.items.size(); ++i)
      if (world_.real(l.items[i]->object) == id) named[i] = message;
  if (named.empty()) return split(std::move(l), blame.detail, result);
  result.state = store::batch_state::failed;
  result.reason = blame.detail;
  // What was not there when it was read, and is now: another writer was quicker. Whether it is what is wanted is looked
  // up.
  bool const lost_race = l.items.front()->what == action::create && l.doubts < most_doubts &&
                         std::any_of(named.begin(), named.end(), [](auto const& n) { return is_there(n.second); });
  if (lost_race) {
    doubtful d{number, std::move(l), outcome::lost_race, {}};
    ++d.what.doubts;
    for (auto const& [i, message] : named) {
      if (is_there(message)) continue;
      fail(*d.what.items[i], message);
      d.known.push_back(record(i, store::batch_state::failed, message));
      d.what.items[i] = nullptr;
    }
    result.state = store::batch_state::unknown;
    doubtful_.push_back(std::move(d));
    return;
  }
  list good{{}, l.doubts, l.parents};
  for (std::size_t i = 0; i < l.items.size(); ++i) {
    auto const found = named.find(i);
    if (found == named.end()) {
      good.items.push_back(l.items[i]);
      result.objects.push_back(record(i, store::batch_state::deferred, "sent again without those that were refused"));
    } else if (l.items[i]->what == action::erase && found->second.find("does not exist") != std::string::npos) {
      done(*l.items[i]);  // gone already: that is what was wanted
      result.objects.push_back(record(i, store::batch_state::done, std::string(gone_already)));
    } else {
      fail(*l.items[i], found->second);
      result.objects.push_back(record(i, store::batch_state::failed, found->second));
    }
  }
  // Nothing of it is left to be sent, and nothing is wrong with it.
  if (std::all_of(result.objects.begin(), result.objects.end(),
                  [](auto const& o) { return o.state == store::batch_state::done; })) {
    result.state = store::batch_state::done;
    result.reason = gone_already;
  }
  requeue(std::move(good));
}

batch_result apply::answered(std::uint64_t number, http::answer const& got) {
  batch_result result;
  auto const found = outstanding_.find(number);
  if (found == outstanding_.end()) return result;
  auto l = std::move(found->second);
  outstanding_.erase(found);
  ++answered_requests_;
  auto const what = l.items.front()->what;
  auto const& kind = *l.items.front()->kind;
  auto const tried = [&] {
    return std::string(name(what)) + " " + std::to_string(l.items.size()) + " " + kind.title +
           (l.items.size() == 1 ? "" : "s") + ", " + std::string(throttle::name(verb_of(what))) + " /api/" + kind.path +
           "/";
  };
  // All of the request is left to a later run, and so is everything else.
  auto const stop = [&](base::error e) {
    result.state = store::batch_state::deferred;
    result.reason = e.what;
    defer_all(l);
    abandon(std::move(e));
  };
  bool const capacity = got.outcome == outcome::overload || got.outcome == outcome::unreachable ||
                        got.outcome == outcome::unknown || got.outcome == outcome::stale;
  if (!capacity) gave_up_in_a_row_ = 0;
  switch (got.outcome) {
    case outcome::ok:
      landed(number, l, got.reply, result);
      break;
    case outcome::data:
      refused(number, std::move(l), netbox::parse_blame(got.reply.body), result);
      break;
    case outcome::too_large:
    case outcome::server_fault: {
      auto const message = netbox::describe(got, tried()).what;
      split(std::move(l), message, result);
      break;
    }
    case outcome::unknown:
    case outcome::stale:
    case outcome::lost_race:
      if (what == action::create && ++l.doubts <= most_doubts && !(got.gave_up && got.attempts == 0)) {
        result.state = store::batch_state::unknown;
        result.reason = netbox::describe(got, tried()).what;
        doubtful_.push_back({number, std::move(l), got.outcome, {}});
        break;
      }
      [[fallthrough]];
    case outcome::overload:
    case outcome::unreachable: {
      auto e = netbox::describe(got, tried());
      e.code = e.code == base::error_code::credentials ? e.code : base::error_code::stopped;
      // A list that was refused alone may be too long for this server; an object that was, waits for a better time.
      // What refers to a new object cannot go on without it.
      bool const others_get_through = !got.gave_up && ++gave_up_in_a_row_ < most_give_ups &&
                                      got.outcome != outcome::unreachable &&
                                      (what != action::create || got.outcome == outcome::overload);
      if (!others_get_through || (what == action::create && l.items.size() == 1)) {
        stop(std::move(e));
      } else if (l.items.size() > 1) {
        split(std::move(l), e.what, result);
      } else {
        result.state = store::batch_state::deferred;
        result.reason = e.what;
        defer_all(l);
      }
      break;
    }
    case outcome::credentials: {
      auto e = netbox::describe(got, tried());
      auto const verb = what == action::create ? "add" : what == action::update ? "change" : "delete";
      e.hint = "the token must be write-enabled and its user needs the permission " + kind.permission(verb);
      if (kind.name == "extras.customfield" || kind.name == "extras.tag") {
        e.hint += ", or create by hand:";
        for (auto const* c : l.items) e.hint += "\n    " + kind.title + " " + c->label + " " + c->body.text();
      }
      result.state = store::batch_state::failed;
      result.reason = e.what;
      for (auto const* c : l.items) fail(*c, e.what);
      abandon(std::move(e));
      break;
    }
    case outcome::cancelled: {
      auto e = netbox::describe(got, tried());
      // It was under way when everything was stopped at once: NetBox may be at work on it.
      bool const on_the_wire = got.attempts > 0 && got.reply.request_sent;
      stop(std::move(e));
      if (on_the_wire) result.state = store::batch_state::unknown;
      break;
    }
  }
  advance();
  return result;
}

std::optional<doubt> apply::wants_lookup() const {
  if (doubtful_.empty()) return {};
  auto const& d = doubtful_.front();
  auto const first = std::find_if(d.what.items.begin(), d.what.items.end(), [](auto const* c) { return c != nullptr; });
  return doubt{d.number, (*first)->kind, marker_of(d.number), d.what.items.size(), d.after};
}

batch_result apply::looked_up(std::uint64_t number,
                              std::optional<std::unordered_map<std::string, object_id>> const& found) {
  batch_result result;
  auto const at =
      std::find_if(doubtful_.begin(), doubtful_.end(), [&](doubtful const& d) { return d.number == number; });
  if (at == doubtful_.end()) return result;
  auto d = std::move(*at);
  doubtful_.erase(at);
  result.objects = std::move(d.known);
  bool const partly_failed = std::any_of(result.objects.begin(), result.objects.end(),
                                         [](auto const& o) { return o.state == store::batch_state::failed; });
  list again{{}, d.what.doubts, d.what.parents};
  for (std::size_t i = 0; i < d.what.items.size(); ++i) {
    auto const* c = d.what.items[i];
    if (!c) continue;
    auto const text = found ? world_.key_text(*c->kind, c->key.unpack()) : std::nullopt;
    auto const there = text ? found->find(*text) : std::unordered_map<std::string, object_id>::const_iterator();
    if (!text || there == found->end()) {
      again.items.push_back(c);
      result.objects.push_back(record(i, found ? store::batch_state::deferred : store::batch_state::unknown,
                                      found ? "not in NetBox: sent again" : "could not be looked up"));
    } else {
      world_.created(c->object, there->second);
      done(*c);
      result.objects.push_back(record(i, store::batch_state::done, "found by looking it up", there->second));
    }
  }
  result.state = !found && !again.items.empty()          ? store::batch_state::unknown
                 : again.items.empty() && !partly_failed ? store::batch_state::done
                                                         : store::batch_state::failed;
  if (!again.items.empty())
    result.reason = found ? std::to_string(again.items.size()) + " of its objects are not in NetBox" : "no answer";
  if (found)
    requeue(std::move(again));
  else
    defer_all(again);
  advance();
  return result;
}

void apply::abandon(base::error why) {
  if (!stop_reason_) stop_reason_ = std::move(why);
  for (auto& s : steps_) {
    leftover rest{s.kind, s.what, s.fresh.size()};
    for (auto const* c : s.fresh) ++outcomes_[c->kind->name].deferred;
    for (auto const& l : s.again) {
      rest.objects += l.items.size();
      defer_all(l);
    }
    if (rest.objects > 0) leftovers_.push_back(rest);
    s.fresh.clear();
    s.again.clear();
  }
  advance();
}

bool apply::finished() const { return steps_.empty() || (stop_reason_ && outstanding_.empty() && doubtful_.empty()); }

}  // namespace weir::engine
