#include "core/engine/apply.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;
using throttle::method;
using throttle::outcome;

namespace {

constexpr std::size_t most_doubts = 3;  // look-ups for one list before it is left to the next run

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

apply::apply(world& w, std::vector<kind_plan>& plans, apply_options options) : world_(w), options_(std::move(options)) {
  auto const add_step = [&](action what, netbox::kind const* kind, std::vector<change> const& changes) {
    if (changes.empty()) return;
    step s{what, kind, {}};
    auto const size = std::max<std::size_t>(1, options_.objects_per_request);
    for (std::size_t from = 0; from < changes.size(); from += size) {
      list l;
      for (std::size_t i = from; i < std::min(from + size, changes.size()); ++i) l.items.push_back(&changes[i]);
      s.waiting.push_back(std::move(l));
    }
    planned_requests_ += s.waiting.size();
    total_objects_ += changes.size();
    steps_.push_back(std::move(s));
  };
  std::vector<kind_plan const*> order;
  for (auto const& p : plans) order.push_back(&p);
  auto const rank = [&](kind_plan const* p) { return w.kinds().rank(*p->kind); };
  std::stable_sort(order.begin(), order.end(), [&](auto const* a, auto const* b) { return rank(a) < rank(b); });
  for (auto const* p : order) {
    add_step(action::update, p->kind, p->updates);
    add_step(action::create, p->kind, p->creates);
  }
  std::reverse(order.begin(), order.end());
  for (auto const* p : order) add_step(action::erase, p->kind, p->deletes);
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

void apply::defer(list const& l) {
  for (auto const* c : l.items) ++outcomes_[c->kind->name].deferred;
}

void apply::requeue(list l) {
  if (l.items.empty()) return;
  if (stop_reason_) return defer(l);
  // In front: what has waited longest goes first, and the step cannot end without it.
  steps_.front().waiting.push_front(std::move(l));
  ++planned_requests_;
}

void apply::split(list l, std::string const& message) {
  if (l.items.size() == 1) return fail(*l.items.front(), message);
  auto const middle = l.items.begin() + static_cast<std::ptrdiff_t>(l.items.size() / 2);
  requeue({{middle, l.items.end()}, l.doubts});
  requeue({{l.items.begin(), middle}, l.doubts});
}

// What a change sends: references as NetBox's ids, tags as attributes, and who did it.
std::optional<std::string> apply::body_of(list& l) {
  json body = json::array();
  std::vector<change const*> kept;
  for (auto const* c : l.items) {
    json object = c->body.empty() ? json::object() : json::parse(c->body);
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
    object["changelog_message"] = options_.marker;
    kept.push_back(c);
    body.push_back(std::move(object));
  }
  l.items = std::move(kept);
  if (l.items.empty()) return {};
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

void apply::advance() {
  while (!steps_.empty() && steps_.front().waiting.empty() && outstanding_.empty() && doubtful_.empty())
    steps_.pop_front();
}

std::optional<write_request> apply::next() {
  advance();
  while (!stop_reason_ && !steps_.empty() && doubtful_.empty() && !steps_.front().waiting.empty() &&
         outstanding_.size() < options_.most_outstanding) {
    auto& s = steps_.front();
    auto l = std::move(s.waiting.front());
    s.waiting.pop_front();
    auto body = body_of(l);
    if (!body) {
      ++answered_requests_;  // it was planned, and nothing of it is left to send
      advance();
      continue;
    }
    write_request r{next_number_++, verb_of(s.what), s.kind, std::move(*body), l.items.size()};
    outstanding_.emplace(r.number, std::move(l));
    return r;
  }
  return {};
}

void apply::landed(list const& l, http::reply const& reply) {
  auto const& first = *l.items.front();
  if (first.what != action::create) {
    for (auto const* c : l.items) done(*c);
    return;
  }
  auto const parsed = json::parse(reply.body, nullptr, false);
  if (!parsed.is_array() || parsed.size() != l.items.size()) {
    // It landed, but NetBox's numbers are not known: they are looked up.
    doubtful_.push_back({l.items, l.doubts + 1});
    return;
  }
  for (std::size_t i = 0; i < l.items.size(); ++i) {
    auto const id = parsed[i].is_object() ? parsed[i].find("id") : parsed[i].end();
    if (!parsed[i].is_object() || id == parsed[i].end() || !id->is_number_unsigned()) {
      doubtful_.push_back({{l.items[i]}, l.doubts + 1});
      continue;
    }
    world_.created(l.items[i]->object, id->get<object_id>());
    done(*l.items[i]);
  }
}

void apply::refused(list l, netbox::blame const& blame) {
  std::map<std::size_t, std::string> named;  // index ► message
  for (auto const& [index, message] : blame.by_index)
    if (index < l.items.size()) named[index] = message;
  for (auto const& [id, message] : blame.by_id)
    for (std::size_t i = 0; i < l.items.size(); ++i)
      if (world_.real(l.items[i]->object) == id) named[i] = message;
  if (named.empty()) return split(std::move(l), blame.detail);
  list good{{}, l.doubts};
  for (std::size_t i = 0; i < l.items.size(); ++i) {
    auto const found = named.find(i);
    if (found == named.end()) {
      good.items.push_back(l.items[i]);
    } else if (l.items[i]->what == action::erase && found->second.find("does not exist") != std::string::npos) {
      done(*l.items[i]);  // gone already: that is what was wanted
    } else {
      fail(*l.items[i], found->second);
    }
  }
  requeue(std::move(good));
}

void apply::answered(std::uint64_t number, http::answer const& got) {
  auto const found = outstanding_.find(number);
  if (found == outstanding_.end()) return;
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
  switch (got.outcome) {
    case outcome::ok:
      landed(l, got.reply);
      break;
    case outcome::data:
      refused(std::move(l), netbox::parse_blame(got.reply.body));
      break;
    case outcome::too_large:
    case outcome::server_fault:
      split(std::move(l), netbox::describe(got, tried()).what);
      break;
    case outcome::unknown:
    case outcome::stale:
    case outcome::lost_race:
      if (what == action::create && ++l.doubts <= most_doubts) {
        doubtful_.push_back(std::move(l));
        break;
      }
      [[fallthrough]];
    case outcome::overload:
    case outcome::unreachable: {
      auto e = netbox::describe(got, tried());
      defer(l);
      abandon(std::move(e));
      break;
    }
    case outcome::credentials: {
      auto e = netbox::describe(got, tried());
      auto const verb = what == action::create ? "add" : what == action::update ? "change" : "delete";
      e.hint = "the token must be write-enabled and its user needs the permission " + kind.permission(verb);
      if (kind.name == "extras.customfield" || kind.name == "extras.tag") {
        e.hint += ", or create by hand:";
        for (auto const* c : l.items) e.hint += "\n    " + kind.title + " " + c->label + " " + c->body;
      }
      for (auto const* c : l.items) fail(*c, e.what);
      abandon(std::move(e));
      break;
    }
    case outcome::cancelled:
      defer(l);
      abandon(netbox::describe(got, tried()));
      break;
  }
  advance();
}

netbox::kind const* apply::wants_lookup() const {
  return doubtful_.empty() || !outstanding_.empty() ? nullptr : doubtful_.front().items.front()->kind;
}

void apply::looked_up(std::optional<std::unordered_map<std::string, object_id>> found) {
  auto lists = std::move(doubtful_);
  doubtful_.clear();
  for (auto& l : lists) {
    list again{{}, l.doubts};
    for (auto const* c : l.items) {
      if (!found) {
        again.items.push_back(c);
        continue;
      }
      auto const text = world_.key_text(*c->kind, json::parse(c->key));
      auto const there = text ? found->find(*text) : found->end();
      if (there == found->end()) {
        again.items.push_back(c);
      } else {
        world_.created(c->object, there->second);
        done(*c);
      }
    }
    if (found)
      requeue(std::move(again));
    else
      defer(again);
  }
  advance();
}

void apply::abandon(base::error why) {
  if (!stop_reason_) stop_reason_ = std::move(why);
  for (auto& s : steps_) {
    for (auto const& l : s.waiting) defer(l);
    s.waiting.clear();
  }
  for (auto const& l : doubtful_) defer(l);
  doubtful_.clear();
  advance();
}

bool apply::finished() const { return steps_.empty() || (stop_reason_ && outstanding_.empty()); }

}  // namespace weir::engine
