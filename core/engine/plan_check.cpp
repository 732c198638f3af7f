#include "core/engine/plan_check.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/base/text.hpp"
#include "core/engine/compare.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/orphans.hpp"
#include "core/engine/plan_format.hpp"
#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
using netbox::put;
using nlohmann::json;

namespace {

constexpr std::size_t most_listed = 20;  // differences, in an error
constexpr std::size_t most_told = 1000;  // as notices

bool is_words(json const& v) {
  return v.is_array() && std::all_of(v.begin(), v.end(), [](json const& w) { return w.is_string(); });
}
bool equal(json const& a, json const& b) {
  if (is_words(a) && is_words(b)) return words(a) == words(b);
  return netbox::same(a, b);
}

// Takes a plan's objects through NetBox as it is now: what still fits, what is done already, what does not fit.
class check {
 public:
  check(planning const& p, stored_plan& plan) : with_(p), plan_(plan) {}
  base::result<std::vector<job_report>> go();

 private:
  netbox::kind const& kind_of(kind_plan const& p) { return *with_.kinds.find(p.kind->name); }
  base::result<void> read();
  base::result<void> read_new_ones();
  void give_numbers();
  void renumber(change& c);
  json renumbered(json value);
  json realised(netbox::kind const& k, packed const& members);
  void look_at(job_report const& j, kind_plan& p);
  // Whether that is what an update of the plan makes of the object's field. Several stages may change one object.
  bool is_made_of(netbox::kind const& k, change const& c, std::string const& leaf, json const& value);
  bool still_to_do(netbox::kind const& k, change const& c);    // updates
  bool still_to_make(netbox::kind const& k, change const& c);  // creates
  bool still_to_delete(job_report const& j, netbox::kind const& k, change const& c);
  void differs(netbox::kind const& k, change const& c, std::string const& how) {
    differences_.push_back(k.title + " " + c.label + " " + how);
  }
  std::string show(netbox::kind const& k, std::string const& leaf, json const& value);
  // "memory is 77, was 2048 when the plan was made"
  std::string changed_since_made(netbox::kind const& k, std::string const& leaf, json const& is, json const& was);

  planning const& with_;
  stored_plan& plan_;
  std::unordered_map<object_id, object_id> numbers_;                  // the file's ► this run's
  std::map<std::string, std::unordered_map<object_id, json>> whole_;  // by kind: what is there that was to be created
  std::set<netbox::kind const*> inside_;  // of which NetBox deletes objects along with what the plan deletes
  std::unordered_multimap<object_id, packed> updates_;  // their bodies, by object
  std::vector<std::string> differences_;
};

std::string check::show(netbox::kind const& k, std::string const& leaf, json const& value) {
  if (auto const ref = k.refs.find(leaf); ref != k.refs.end() && value.is_number_unsigned())
    if (auto const* target = with_.kinds.find(ref->second)) return with_.objects.label(*target, value.get<object_id>());
  if (value.is_null() || (value.is_string() && value.get_ref<std::string const&>().empty())) return "empty";
  return value.is_string() ? value.get<std::string>() : dump(value);
}

std::string check::changed_since_made(netbox::kind const& k, std::string const& leaf, json const& is, json const& was) {
  auto const [now, then] = cut(show(k, leaf, is), show(k, leaf, was));
  return leaf + " is " + now + ", was " + then + " when the plan was made";
}

// With NetBox's own numbers for what is there by now.
json check::realised(netbox::kind const& k, packed const& members) {
  auto out = members.empty() ? json::object() : members.unpack();
  for (auto const& [field, target] : k.refs)
    if (auto const found = out.find(field); found != out.end() && found->is_number_unsigned())
      if (auto const real = with_.objects.real(found->get<object_id>())) *found = *real;
  return out;
}

json check::renumbered(json value) {
  if (value.is_number_unsigned() && value.get<object_id>() >= first_pending) {
    auto const found = numbers_.find(value.get<object_id>());
    return found == numbers_.end() ? value : json(found->second);
  }
  if (value.is_structured())
    for (auto& v : value) v = renumbered(std::move(v));
  return value;
}

void check::renumber(change& c) {
  if (auto const found = numbers_.find(c.object); found != numbers_.end()) c.object = found->second;
  auto applied = remembered(c);  // in the body's words, as long as it has them
  for (auto* part : {&c.body, &c.before, &c.key})
    if (!part->empty()) *part = renumbered(part->unpack());
  remember(c, renumbered(std::move(applied)));
}

void check::give_numbers() {
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans)
      for (auto const& c : p.creates) numbers_[c.object] = with_.objects.new_pending(kind_of(p));
  for (auto& j : plan_.what.jobs)
    for (auto& p : j.plans)
      for (auto* list : {&p.updates, &p.creates, &p.deletes})
        for (auto& c : *list) {
          c.kind = &kind_of(p);
          renumber(c);
          if (c.what == action::update) updates_.emplace(c.object, c.body);
        }
}

// The tables that the plan is about, with what is needed to find its objects and to compare them.
base::result<void> check::read() {
  std::map<std::string, std::set<std::string>> needed;
  auto const add = [&](netbox::kind const& k, std::set<std::string> const& fields) {
    needed[k.name].insert(fields.begin(), fields.end());
  };
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans) {
      if (p.updates.empty() && p.creates.empty() && p.deletes.empty()) continue;
      auto const& k = kind_of(p);
      auto fields = fields_needed(k, {}, true);
      for (auto const* list : {&p.updates, &p.deletes})
        for (auto const& c : *list)
          if (!c.before.empty()) {
            auto const before = c.before.unpack();
            for (auto const& [member, value] : before.items()) fields.insert(member);
          }
      fields.erase("id");
      add(k, fields);
      for (auto const& parent : kinds_needed(with_.kinds, k))
        if (auto const* found = with_.kinds.find(parent)) add(*found, fields_needed(*found, {}, false));
      if (!p.deletes.empty())
        for (auto const* inside : kinds_inside(with_.kinds, k)) inside_.insert(inside);
    }
  std::set<std::string> perhaps;  // not in the plan, and in NetBox if it has the plugin
  for (auto const* k : inside_) {
    if (!needed.contains(k->name)) perhaps.insert(k->name);
    add(*k, fields_needed(*k, {}, true));
  }
  std::vector<netbox::kind const*> order;
  for (auto const& [name, fields] : needed) order.push_back(with_.kinds.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return with_.kinds.rank(*a) < with_.kinds.rank(*b); });
  for (auto const* k : order) {
    if (auto why = with_.stopping ? with_.stopping() : std::nullopt) return *why;
    auto const all = with_.objects.wanted_fields(*k, needed[k->name]);
    world::loader loading(with_.objects, *k, all);
    auto const got =
        with_.netbox.read_all(*k, {all.begin(), all.end()}, "apply", [&](json const& raw) { loading.add(raw); });
    if (!got && perhaps.contains(k->name) && got.error().what.find("404") != std::string::npos) {
      inside_.erase(k);
      continue;
    }
    if (!got) return got;
    loading.finish();
  }
  return {};
}

// What has the key of an object that is to be created: whole, to see whether it is just that.
base::result<void> check::read_new_ones() {
  std::map<std::string, std::vector<std::uint64_t>> there;
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans)
      for (auto const& c : p.creates) {
        auto const& k = kind_of(p);
        if (c.key.empty()) continue;
        if (auto const id = with_.objects.find(k, c.key.unpack()); id && *id < first_pending)
          there[k.name].push_back(*id);
      }
  for (auto& [name, ids] : there) {
    auto const& k = *with_.kinds.find(name);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    auto const got = with_.netbox.read_ids(k, ids, {}, "apply", [&](json const& raw) {
      auto fields = netbox::normalise(k, raw, [](std::uint64_t real, std::string const&) { return real; });
      whole_[k.name][raw.at("id").get<object_id>()] = std::move(fields);
    });
    if (!got) return got;
  }
  return {};
}

bool check::is_made_of(netbox::kind const& k, change const& c, std::string const& leaf, json const& value) {
  auto const [from, to] = updates_.equal_range(c.object);
  return std::any_of(from, to, [&](auto const& u) {
    auto const body = realised(k, u.second);
    auto const all = leaves(body);
    return std::find(all.begin(), all.end(), leaf) != all.end() && equal(value, at(body, leaf));
  });
}

bool check::still_to_do(netbox::kind const& k, change const& c) {
  auto& t = with_.objects.of(k);
  auto* r = t.by_id(c.object);
  // Created by this plan, and there already.
  if (auto const real = r ? std::nullopt : with_.objects.real(c.object)) r = t.by_id(*real);
  if (!r && c.object >= first_pending) return false;  // what there is instead is a difference, and has been named
  if (!r || r->removed) {
    differs(k, c, "is no longer in NetBox");
    return false;
  }
  auto now = r->fields();
  auto const before = realised(k, c.before), body = realised(k, c.body);
  bool to_do = before.empty();
  for (auto const& leaf : leaves(before)) {
    auto const &is = at(now, leaf), &was = at(before, leaf);
    // By this one, or by one that comes after it; what an earlier one makes of it is what it was.
    bool const done = equal(is, at(body, leaf)) || (!equal(is, was) && is_made_of(k, c, leaf, is));
    to_do = to_do || !done;
    if (!done && !equal(is, was)) differs(k, c, changed_since_made(k, leaf, is, was));
  }
  if (!to_do) return false;
  for (auto const& leaf : leaves(body)) put(now, leaf, at(body, leaf));
  t.replace(*r, now);
  return true;
}

bool check::still_to_make(netbox::kind const& k, change const& c) {
  auto& t = with_.objects.of(k);
  auto const body = realised(k, c.body);
  // As it is created, or as a further stage of the plan makes it.
  auto const wanted = [&](json const& is, std::string const& leaf) {
    if (equal(is, at(body, leaf))) return true;
    return is_made_of(k, c, leaf, is);
  };
  auto const named = [&](row const& r) {
    auto const id = with_.objects.real(r.id);
    return id ? " (#" + std::to_string(*id) + ")" : std::string();
  };
  if (!c.key.empty()) {
    auto const key = c.key.unpack();
    if (auto const text = with_.objects.key_text(k, key))
      for (auto* r : t.all_by_key(*text)) {
        if (r->removed) continue;
        auto const whole = whole_[k.name].find(r->id);
        bool const same = whole != whole_[k.name].end() && [&] {
          auto const all = leaves(body);
          return std::all_of(all.begin(), all.end(),
                             [&](auto const& leaf) { return wanted(at(whole->second, leaf), leaf); });
        }();
        if (!same) {
          differs(k, c, "is in NetBox by now" + named(*r));
        } else if (r->id < first_pending) {
          with_.objects.created(c.object, r->id);  // whoever refers to it refers to this one
        }
        return false;
      }
  }
  for (std::size_t i = 0; i < k.adopt_by.size(); ++i) {
    auto const& members = k.adopt_by[i];
    if (std::any_of(members.begin(), members.end(), [&](auto const& m) { return at(body, m).is_null(); })) continue;
    for (auto* r : t.by_adoption(i, index_text(members, body, true)))
      if (!r->removed) {
        differs(k, c, "is in NetBox by now, by its " + base::join(members, " and ") + named(*r));
        return false;
      }
  }
  t.add(c.object, body);
  return true;
}

bool check::still_to_delete(job_report const& j, netbox::kind const& k, change const& c) {
  auto* r = with_.objects.of(k).by_id(c.object);
  if (!r || r->removed) return false;
  auto const now = r->fields();
  bool fits = true;
  // What goes with its parent may be anybody's.
  bool const was_ours = !c.before.empty() && equal(at(c.before.unpack(), k.mark), json(j.source));
  if (c.why == reason::gone && !k.mark.empty() && was_ours && !equal(at(now, k.mark), json(j.source))) {
    differs(k, c, "is no longer marked as " + j.source + "'s");
    fits = false;
  }
  if (fits && !c.before.empty()) {
    auto const before = c.before.unpack();
    for (auto const& leaf : leaves(before)) {
      if (leaf == "id" || equal(at(now, leaf), at(before, leaf))) continue;
      differs(k, c, changed_since_made(k, leaf, at(now, leaf), at(before, leaf)));
      fits = false;
    }
  }
  r->removed = true;
  return fits;
}

void check::look_at(job_report const& j, kind_plan& p) {
  auto const& k = kind_of(p);
  auto const keep = [&](std::vector<change>& list, auto const& test) {
    std::vector<change> rest;
    for (auto& c : list) {
      if (test(c))
        rest.push_back(std::move(c));
      else
        ++p.unchanged;
    }
    list = std::move(rest);
  };
  p.seen = p.updates.size() + p.creates.size() + p.deletes.size();
  p.unchanged = 0;
  keep(p.updates, [&](change const& c) { return still_to_do(k, c); });
  keep(p.creates, [&](change const& c) { return still_to_make(k, c); });
  keep(p.deletes, [&](change const& c) { return still_to_delete(j, k, c); });
  p.kind = &k;
}

base::result<std::vector<job_report>> check::go() {
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans) {
      auto const* k = with_.kinds.find(p.kind->name);
      if (!k)
        return base::fail(base::error_code::guard,
                          "the plan has objects of the kind " + p.kind->name + ", which no plugin here knows",
                          "was a plugin removed? make a new plan: weir " + plan_.command + " --out FILE");
      if (as_json(*k) != as_json(*p.kind))
        return base::fail(base::error_code::guard,
                          "the kind " + p.kind->name + " is not what it was when the plan was made",
                          "make a new plan: weir " + plan_.command + " --out FILE");
    }
  if (auto ok = read(); !ok) return ok.error();
  give_numbers();
  if (auto ok = read_new_ones(); !ok) return ok.error();
  std::vector<job_report> out;
  for (auto& j : plan_.what.jobs) {
    std::erase_if(j.plans, [](auto const& p) { return p.updates.empty() && p.creates.empty() && p.deletes.empty(); });
    if (j.plans.empty()) continue;
    for (auto& p : j.plans) look_at(j, p);
    job_report r;
    r.source = j.source, r.stage = j.stage, r.title = j.title;
    for (auto& p : j.plans) {
      kind_plan left;  // what was said about the rest was said when the plan was made
      left.kind = p.kind, left.seen = p.seen, left.unchanged = p.unchanged;
      left.updates = std::move(p.updates), left.creates = std::move(p.creates), left.deletes = std::move(p.deletes);
      r.plans.push_back(std::move(left));
    }
    out.push_back(std::move(r));
  }
  for (auto const* k : inside_) {
    auto const unplanned = gone_with_parents(with_.objects, *k);
    for (auto const& c : unplanned.deletes) differs(*k, c, c.detail + ", and the plan does not know of it");
  }
  if (differences_.empty()) return out;
  for (std::size_t i = 0; i < std::min(differences_.size(), most_told); ++i)
    with_.into.notices.push_back({base::log::level::error, "", "", differences_[i], ""});
  auto text = "NetBox is not what it was when the plan was made, and nothing of the plan is done:";
  auto what = std::string(text);
  for (std::size_t i = 0; i < std::min(differences_.size(), most_listed); ++i) what += "\n  " + differences_[i];
  if (differences_.size() > most_listed)
    what += "\n  and " + std::to_string(differences_.size() - most_listed) + " more differences";
  return base::fail(base::error_code::guard, std::move(what),
                    "look at it, and make a new plan: weir " + plan_.command + " --out FILE");
}

}  // namespace

planner from_plan(stored_plan plan) {
  auto const kept = std::make_shared<stored_plan>(std::move(plan));
  return [kept](planning const& p) -> base::result<std::vector<job_report>> {
    auto copy = *kept;
    return check(p, copy).go();
  };
}

}  // namespace weir::engine
