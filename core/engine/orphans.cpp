#include "core/engine/orphans.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
using netbox::put;
using nlohmann::json;

namespace {

std::string date_of(wall_clock::time_point t) {
  return base::format_instant(std::chrono::floor<std::chrono::microseconds>(t)).substr(0, 10);
}

std::string objects(std::size_t n, netbox::kind const& k) {
  return std::to_string(n) + " " + k.title + (n == 1 ? "" : "s");
}

// What is remembered of a marked object beside what was applied: the status that it had before.
constexpr char const* status_before = "status before it was gone";

std::string members(std::string const& dotted) { return dotted.substr(dotted.find('.') + 1); }

bool is_tagged(netbox::kind const& k, json const& object) {
  return !k.gone.tag.empty() && words(at(object, "tags")).contains(k.gone.tag);
}

// Half a mark is one, too: a person has taken the other half away, and is not contradicted.
bool is_marked(netbox::kind const& k, json const& object) {
  return is_tagged(k, object) || (!k.gone.since.empty() && !at(object, k.gone.since).is_null());
}

// One object that nobody in the source is any more.
struct orphan {
  object_id id = 0;
  std::string label;
  std::optional<known_object> known;
  wall_clock::time_point since;  // now, where it is seen for the first time
  bool first_time = true, in_empty_scope = false;
};

class gone_planner {
 public:
  gone_planner(world& w, netbox::kind const& k, std::vector<json> const& scopes,
               std::unordered_set<object_id> const& seen, diff_rules const& rules, memory& known, kind_plan& plan,
               show_value const& show)
      : world_(w), table_(w.of(k)), kind_(k), rules_(rules), memory_(known), plan_(plan), show_(show) {
    find(scopes, seen);
  }
  void go();

 private:
  void find(std::vector<json> const& scopes, std::unordered_set<object_id> const& seen);
  void keep(orphan const& o, std::string detail) { plan_.kept.push_back({o.label, o.id, std::move(detail)}); }
  void remember(orphan const& o);
  void refuse(std::vector<orphan> const& refused, std::string because);
  void mark(orphan const& o);
  void erase(orphan const& o);
  std::string gone_from(orphan const& o) const {
    return o.first_time ? "no longer in " + rules_.source : "gone from " + rules_.source + " since " + date_of(o.since);
  }
  std::string done_to_them() const { return kind_.when_gone == netbox::orphans::erase ? "deleted" : "marked as gone"; }

  world& world_;
  table& table_;
  netbox::kind const& kind_;
  diff_rules const& rules_;
  memory& memory_;
  kind_plan& plan_;
  show_value const& show_;
  std::vector<orphan> orphans_;
};

void gone_planner::find(std::vector<json> const& scopes, std::unordered_set<object_id> const& seen) {
  std::vector<bool> shows_something(scopes.size(), false);
  std::vector<std::vector<std::size_t>> scopes_of;  // by orphan
  for (auto const& r : table_.rows()) {
    if (r.removed) continue;
    auto const object = r.fields();
    // Ours by the mark, in scope by our own look at it: no filter of NetBox's was trusted.
    if (at(object, kind_.mark) != json(rules_.source)) continue;
    std::vector<std::size_t> inside;
    for (std::size_t i = 0; i < scopes.size(); ++i)
      if (std::all_of(scopes[i].items().begin(), scopes[i].items().end(),
                      [&](auto const& item) { return netbox::same(at(object, item.key()), item.value()); }))
        inside.push_back(i);
    if (inside.empty()) continue;
    bool const is_new = r.id >= first_pending;
    if (!is_new) ++plan_.owned;
    if (is_new || seen.contains(r.id)) {
      for (auto const i : inside) shows_something[i] = true;
      continue;
    }
    auto const& name = at(object, kind_.label);
    orphan o{r.id, name.is_string() ? name.get<std::string>() : "#" + std::to_string(r.id), memory_.of(kind_, r.id),
             rules_.now};
    if (is_marked(kind_, object)) {
      auto const& date = kind_.gone.since.empty() ? json() : at(object, kind_.gone.since);
      if (kind_.when_gone != netbox::orphans::erase) {
        keep(o, "marked as gone" + (date.is_string() ? " since " + date.get<std::string>() : ""));
        continue;
      }
      // What the mark says counts where the journal has been lost.
      if (date.is_string())
        if (auto const since = base::parse_instant(date.get<std::string>() + "T00:00:00Z"))
          o.since = std::min<wall_clock::time_point>(o.since, *since), o.first_time = false;
    }
    if (o.known && o.known->gone_since) o.since = std::min(o.since, *o.known->gone_since), o.first_time = false;
    orphans_.push_back(std::move(o));
    scopes_of.push_back(std::move(inside));
  }
  // Something else in one of its scopes is enough: that answer was not empty.
  for (std::size_t i = 0; i < orphans_.size(); ++i)
    orphans_[i].in_empty_scope =
        std::none_of(scopes_of[i].begin(), scopes_of[i].end(), [&](std::size_t s) { return shows_something[s]; });
}

void gone_planner::remember(orphan const& o) {
  if (o.known && o.known->gone_since) return;
  auto now = o.known.value_or(known_object{});
  now.gone_since = o.since;
  memory_.note(kind_, o.id, now);
}

void gone_planner::refuse(std::vector<orphan> const& refused, std::string because) {
  plan_.deletes_refused = true;
  plan_.refused += refused.size();
  auto const n = std::to_string(plan_.refused);
  plan_.refused_because += (plan_.refused_because.empty() ? "" : "; ") + because;
  plan_.refused_hint = "if they are really gone, weir plan --allow-deletes " + n + " shows what would be " +
                       done_to_them() + ", and weir sync --allow-deletes " + n +
                       " does it once; if they are not, look at the token's rights and at the nodes and storages";
  for (auto const& o : refused) keep(o, "max_deletes");
}

void gone_planner::mark(orphan const& o) {
  auto& r = *table_.by_id(o.id);
  auto const object = r.fields();
  json body = json::object(), before = json::object(), after = object, applied;
  if (o.known) applied = json::parse(o.known->applied, nullptr, false);
  if (!applied.is_object()) applied = json::object();
  change c;
  auto const set = [&](std::string const& field, json value, json remembered) {
    auto const& held = at(object, field);
    applied[field] = std::move(remembered);
    if (netbox::same(held, value)) return;
    c.fields.push_back(changed(field, show_(field, held), show_(field, value)));
    put(before, field, held);
    put(after, field, value);
    put(body, field, std::move(value));
  };
  if (!kind_.gone.status.empty()) {
    applied[status_before] = at(object, "status");
    set("status", kind_.gone.status, kind_.gone.status);
  }
  auto tags = words(at(object, "tags"));
  tags.insert(kind_.gone.tag);
  auto ours = applied.contains("tags") ? words(applied["tags"]) : std::set<std::string>{};
  ours.insert(kind_.gone.tag);
  set("tags", tags, ours);
  if (!kind_.gone.since.empty()) set(kind_.gone.since, date_of(o.since), date_of(o.since));
  c.what = action::update;
  c.kind = &kind_;
  c.object = o.id;
  c.label = o.label;
  c.why = reason::gone;
  c.detail = gone_from(o);
  json key = json::object();
  for (auto const& member : kind_.key) key[member] = at(object, member);
  c.key = dump(key);
  c.body = dump(body);
  c.before = dump(before);
  c.applied = dump(applied);
  table_.replace(r, after);
  plan_.updates.push_back(std::move(c));
}

change deletion(netbox::kind const& k, row& r, std::string label, std::string detail) {
  change c;
  c.what = action::erase;
  c.kind = &k;
  c.object = r.id;
  c.label = std::move(label);
  c.why = reason::gone;
  c.detail = std::move(detail);
  c.before = dump(r.fields());
  r.removed = true;
  return c;
}

void gone_planner::erase(orphan const& o) {
  plan_.deletes.push_back(deletion(kind_, *table_.by_id(o.id), o.label, gone_from(o)));
}

void gone_planner::go() {
  if (orphans_.empty()) return;
  auto const count = kind_.max_deletes.value_or(rules_.max_deletes);
  auto const percent = kind_.max_deletes_percent.value_or(rules_.max_deletes_percent);
  plan_.allowed = rules_.allow_deletes.value_or(std::max(count, plan_.owned * percent / 100));
  if (kind_.when_gone == netbox::orphans::keep) {
    for (auto const& o : orphans_) {
      remember(o);
      keep(o, "orphans: keep");
    }
    return;
  }
  std::vector<orphan> due, unbelieved;
  for (auto& o : orphans_) {
    // Nothing to be seen where there was something is more often a fault than the truth.
    if (o.in_empty_scope && !rules_.allow_deletes) {
      unbelieved.push_back(std::move(o));
    } else if (rules_.now - o.since < kind_.grace) {
      remember(o);
      keep(o, gone_from(o) + ", to be " + done_to_them() + " from " + date_of(o.since + kind_.grace) + " on");
    } else {
      due.push_back(std::move(o));
    }
  }
  if (!unbelieved.empty())
    refuse(unbelieved, rules_.source + " shows none of the " + objects(unbelieved.size(), kind_) +
                           " that NetBox has of it there: an empty answer is not believed, none was " + done_to_them());
  if (due.size() > plan_.allowed)
    return refuse(due, objects(due.size(), kind_) + " of " + std::to_string(plan_.owned) + " are gone from " +
                           rules_.source + "; more than " + std::to_string(plan_.allowed) +
                           " at once are refused, none was " + done_to_them());
  for (auto const& o : due) {
    remember(o);
    kind_.when_gone == netbox::orphans::erase ? erase(o) : mark(o);
  }
}

}  // namespace

void plan_gone(world& w, netbox::kind const& k, std::vector<json> const& scopes,
               std::unordered_set<object_id> const& seen, diff_rules const& rules, memory& known, kind_plan& plan,
               show_value const& show) {
  if (rules.adopt_only) return;
  gone_planner(w, k, scopes, seen, rules, known, plan, show).go();
}

std::vector<netbox::kind const*> kinds_inside(netbox::registry const& kinds, netbox::kind const& k) {
  std::vector<netbox::kind const*> out;
  for (auto const& name : kinds.names()) {
    auto const& other = *kinds.find(name);
    if (!other.mark.empty() && std::any_of(other.key.begin(), other.key.end(), [&](auto const& member) {
          auto const ref = other.refs.find(member);
          return ref != other.refs.end() && ref->second == k.name;
        }))
      out.push_back(&other);
  }
  return out;
}

kind_plan gone_with_parents(world& w, netbox::kind const& k) {
  kind_plan out;
  out.kind = &k;
  auto& t = w.of(k);
  std::vector<std::pair<object_id, std::string>> found;
  for (auto const& r : t.rows()) {
    if (r.removed) continue;
    auto const object = r.fields();
    for (auto const& member : k.key) {
      auto const ref = k.refs.find(member);
      auto const& id = at(object, member);
      if (ref == k.refs.end() || !id.is_number_unsigned()) continue;
      auto const* target = w.kinds().find(ref->second);
      auto const* parent = target ? w.of(*target).by_id(id.get<object_id>()) : nullptr;
      if (!parent || !parent->removed) continue;
      found.emplace_back(r.id, "goes with its " + target->title + " " + w.label(*target, parent->id));
      break;
    }
  }
  for (auto& [id, detail] : found) out.deletes.push_back(deletion(k, *t.by_id(id), w.label(k, id), std::move(detail)));
  std::stable_sort(out.deletes.begin(), out.deletes.end(), [](change const& a, change const& b) {
    return std::tie(a.label, a.object) < std::tie(b.label, b.object);
  });
  return out;
}

bool unmark(netbox::kind const& k, json const& actual, json const& wanted, compared& found, show_value const& show) {
  if (!is_marked(k, actual)) return false;
  json body = json::parse(found.body), before = json::parse(found.before), after = json::parse(found.after),
       applied = json::parse(found.applied);
  auto const set = [&](std::string const& field, json value) {
    auto const& held = at(actual, field);
    std::erase_if(found.fields, [&](field_change const& f) { return f.field == field; });
    if (netbox::same(held, value)) return;
    found.fields.push_back(changed(field, show(field, held), show(field, value)));
    put(before, field, held);
    put(after, field, value);
    put(body, field, std::move(value));
  };
  // The status was the mark's, whatever the rule of the field says, unless a person has set another one since.
  // Where the source does not tell one (the guest's node is down), it is what it was before.
  json status = at(wanted, "status");
  if (auto const before_it = applied.find(status_before); before_it != applied.end()) {
    if (status.is_null()) status = *before_it;
    *before_it = nullptr;
  }
  if (!k.gone.status.empty() && !status.is_null() && at(after, "status") == json(k.gone.status)) {
    set("status", status);
    applied["status"] = status;
    std::erase_if(found.edits, [](kept_edit const& e) { return e.field == "status"; });
  }
  if (is_tagged(k, actual)) {
    auto tags = words(at(after, "tags"));
    tags.erase(k.gone.tag);
    set("tags", tags);
    if (auto ours = applied.find("tags"); ours != applied.end()) {
      auto left = words(*ours);
      left.erase(k.gone.tag);
      *ours = left;
    }
  }
  if (!k.gone.since.empty()) {
    set(k.gone.since, nullptr);
    applied.erase(k.gone.since);
  }
  found.body = dump(body);
  found.before = dump(before);
  found.after = dump(after);
  found.applied = dump(applied);
  return true;
}

std::map<std::string, std::vector<desired>> needed_for_marks(std::vector<kind_plan> const& plans) {
  std::map<std::string, std::set<std::string>> kinds_of_field;
  std::set<std::string> tags;
  for (auto const& p : plans)
    for (auto const& c : p.updates) {
      if (c.why != reason::gone && c.why != reason::released) continue;
      if (!p.kind->gone.tag.empty()) tags.insert(p.kind->gone.tag);
      if (!p.kind->gone.since.empty()) kinds_of_field[members(p.kind->gone.since)].insert(p.kind->name);
    }
  std::map<std::string, std::vector<desired>> out;
  for (auto const& [field, kinds] : kinds_of_field)
    out["extras.customfield"].push_back(
        {json{{"name", field}}, json{{"type", "date"},
                                     {"object_types", kinds},
                                     {"label", "Gone from Proxmox since"},
                                     {"description", "The day on which weir first missed this object in its source"},
                                     {"filter_logic", "exact"},
                                     {"ui_editable", "no"}}});
  for (auto const& tag : tags)
    out["extras.tag"].push_back(
        {json{{"slug", tag}},
         json{{"name", tag}, {"color", "9e9e9e"}, {"description", "No longer in the source it came from"}}});
  return out;
}

}  // namespace weir::engine
