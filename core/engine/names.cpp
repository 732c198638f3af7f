#include "core/engine/names.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
using netbox::put;
using netbox::rule;
using nlohmann::json;

namespace {

constexpr std::size_t longest_name_bytes = 64;

// "[…]": what no second object may hold; nothing where NetBox does not mind.
std::optional<std::string> held_alone(netbox::uniqueness const& u, json const& fields) {
  for (auto const& f : u.fields)
    if (at(fields, f).is_null() && !u.none_counts.contains(f)) return {};
  return index_text(u.fields, fields, u.fold);
}

bool bears_mark(netbox::kind const& k, json const& fields) {
  return (!k.gone.tag.empty() && words(at(fields, "tags")).contains(k.gone.tag)) ||
         (!k.gone.since.empty() && !at(fields, k.gone.since).is_null());
}

// "web (gone #17)"
std::string out_of_the_way(std::string const& name, object_id id) {
  auto const suffix = " (gone #" + std::to_string(id) + ")";
  std::size_t keep = std::min(name.size(), longest_name_bytes - suffix.size());
  while (keep > 0 && keep < name.size() && (static_cast<unsigned char>(name[keep]) & 0xc0U) == 0x80U) --keep;
  return name.substr(0, keep) + suffix;
}

class settling {
 public:
  settling(world& w, netbox::kind const& k, std::unordered_set<object_id> const& seen, diff_rules const& rules,
           memory& known, kind_plan& plan, show_value const& show)
      : world_(w), table_(w.of(k)), kind_(k), seen_(seen), rules_(rules), memory_(known), plan_(plan), show_(show) {
    for (auto const& c : plan_.deletes) deleted_.insert(c.object);
  }
  void go() {
    while (once()) {
    }
  }

 private:
  // One that comes to hold something by the plan.
  struct newcomer {
    change const* by;
    std::string holds;
  };
  bool once();
  bool settle(netbox::uniqueness const& u);
  std::vector<newcomer> newcomers(netbox::uniqueness const& u);
  json before(change const& c);
  bool is_gone(row const& r, json const& fields) const;
  void move_away(object_id id);
  void refuse(object_id id, std::string message);
  std::string why_it_stays(object_id id);
  bool is_anothers(object_id id);  // another source's
  std::string per(netbox::uniqueness const& u) const;
  std::string named(object_id id);

  world& world_;
  table& table_;
  netbox::kind const& kind_;
  std::unordered_set<object_id> const& seen_;
  diff_rules const& rules_;
  memory& memory_;
  kind_plan& plan_;
  show_value const& show_;
  std::unordered_set<object_id> deleted_;  // held until the very end of the run
};

// What the object holds now, without the change.
json settling::before(change const& c) {
  auto fields = table_.by_id(c.object)->fields();
  auto const was = packed(c.before).unpack();
  for (auto const& leaf : leaves(was)) put(fields, leaf, at(was, leaf));
  return fields;
}

std::vector<settling::newcomer> settling::newcomers(netbox::uniqueness const& u) {
  std::vector<newcomer> out;
  for (auto const& c : plan_.updates) {
    auto const touches = [&](field_change const& f) {
      return std::find(u.fields.begin(), u.fields.end(), f.field) != u.fields.end();
    };
    if (std::none_of(c.fields.begin(), c.fields.end(), touches)) continue;
    auto const now = held_alone(u, table_.by_id(c.object)->fields());
    if (now && now != held_alone(u, before(c))) out.push_back({&c, *now});
  }
  for (auto const& c : plan_.creates)
    if (auto now = held_alone(u, table_.by_id(c.object)->fields())) out.push_back({&c, std::move(*now)});
  return out;
}

// Ours, nobody's in the source any more, and marked as such, or about to be.
bool settling::is_gone(row const& r, json const& fields) const {
  if (deleted_.contains(r.id)) return true;
  if (rules_.adopt_only || kind_.mark.empty() || r.id >= first_pending || seen_.contains(r.id) ||
      at(fields, kind_.mark) != json(rules_.source))
    return false;
  if (bears_mark(kind_, fields)) return true;
  // In its time of grace. What was not believed to be gone, and what is always kept, keeps its name.
  return kind_.when_gone != netbox::orphans::keep && !plan_.deletes_refused &&
         std::any_of(plan_.kept.begin(), plan_.kept.end(), [&](auto const& o) { return o.object == r.id; });
}

std::string settling::named(object_id id) {
  auto label = world_.label(kind_, id);
  return id >= first_pending ? label : label + " #" + std::to_string(id);
}

// "cluster and tenant"
std::string settling::per(netbox::uniqueness const& u) const {
  std::vector<std::string> others;
  for (auto const& f : u.fields)
    if (f != kind_.label && f != "scope_type") others.push_back(f == "scope_id" ? "site" : f);
  return others.empty() ? "" : " for each " + base::join(others, " and ");
}

std::string settling::why_it_stays(object_id id) {
  auto const fields = table_.by_id(id)->fields();
  if (kind_.mark.empty()) return "is there";
  auto const& mark = at(fields, kind_.mark);
  if (mark.is_null()) return "is not weir's";
  if (is_anothers(id)) return "belongs to the source " + (mark.is_string() ? mark.get<std::string>() : "?");
  if (seen_.contains(id)) return "is in " + rules_.source + ", too, and keeps that name";
  return "is not known to be gone from " + rules_.source;
}

bool settling::is_anothers(object_id id) {
  auto const fields = table_.by_id(id)->fields();
  auto const& mark = at(fields, kind_.mark);
  return !kind_.mark.empty() && !mark.is_null() && mark != json(rules_.source);
}

void settling::refuse(object_id id, std::string message) {
  auto& r = *table_.by_id(id);
  auto const of_it = [&](auto const& what) { return what.object == id; };
  auto label = world_.label(kind_, id);
  if (auto const c = std::find_if(plan_.updates.begin(), plan_.updates.end(), of_it); c != plan_.updates.end()) {
    label = c->label;
    table_.replace(r, before(*c));
    plan_.updates.erase(c);
  } else if (auto const made = std::find_if(plan_.creates.begin(), plan_.creates.end(), of_it);
             made != plan_.creates.end()) {
    label = made->label;
    r.removed = true;  // what refers to it cannot be planned either
    plan_.creates.erase(made);
  }
  std::erase_if(plan_.edits, of_it);
  plan_.failures.push_back({rules_.source, rules_.stage, kind_.name, std::move(label), std::move(message)});
}

// An object that is gone gives its name up. What else the plan does to it is done at the same time.
void settling::move_away(object_id id) {
  auto& r = *table_.by_id(id);
  auto fields = r.fields();
  auto const old = at(fields, kind_.label).get<std::string>();
  auto const name = out_of_the_way(old, id);
  auto found = std::find_if(plan_.updates.begin(), plan_.updates.end(), [&](auto const& c) { return c.object == id; });
  if (found == plan_.updates.end()) {
    change c;
    c.what = action::update;
    c.kind = &kind_;
    c.object = id;
    c.label = old;
    c.why = reason::gone;
    c.detail = "gone from " + rules_.source;
    json key = json::object();
    for (auto const& member : kind_.key) key[member] = at(fields, member);
    c.key = dump(key);
    c.body = c.before = "{}";
    auto const was = memory_.of(kind_, id);
    c.applied = was ? was->applied : "{}";
    plan_.updates.push_back(std::move(c));
    found = std::prev(plan_.updates.end());
    // It is no longer left alone.
    std::erase_if(plan_.kept, [&](auto const& o) { return o.object == id; });
  }
  auto const set = [&](auto& members, json const& value) {
    auto object = packed(members).unpack();
    if (!object.is_object()) object = json::object();
    object[kind_.label] = value;
    members = dump(object);
  };
  set(found->body, name);
  set(found->before, old);
  set(found->applied, name);
  found->fields.push_back({kind_.label, show_(kind_.label, old), show_(kind_.label, name)});
  found->detail += found->detail.empty() ? "another one has its name now" : "; another one has its name now";
  put(fields, kind_.label, name);
  table_.replace(r, fields);
  for (auto& c : plan_.deletes)
    if (c.object == id) set(c.before, name);
}

bool settling::once() {
  for (auto const& u : kind_.unique)
    if (settle(u)) return true;
  return false;
}

// True: the plan has changed.
bool settling::settle(netbox::uniqueness const& u) {
  auto const coming = newcomers(u);
  if (coming.empty()) return false;
  struct holders {
    std::vector<object_id> staying, coming;  // without the plan's help, and by it
  };
  std::unordered_map<std::string, holders> of;
  std::unordered_set<object_id> by_the_plan;
  for (auto const& n : coming) {
    of[n.holds].coming.push_back(n.by->object);
    by_the_plan.insert(n.by->object);
  }
  for (auto const& r : table_.rows()) {
    if (by_the_plan.contains(r.id) || (r.removed && !deleted_.contains(r.id))) continue;
    if (rules_.adopt_only && r.id >= first_pending) continue;  // not made this time
    auto const text = held_alone(u, r.fields());
    if (!text) continue;
    if (auto const found = of.find(*text); found != of.end()) found->second.staying.push_back(r.id);
  }
  bool const by_name = std::find(u.fields.begin(), u.fields.end(), kind_.label) != u.fields.end();
  auto const one_only = "NetBox takes one " + kind_.title + (by_name ? " of a name" : "") + per(u) + ", and ";
  std::vector<object_id> moving;
  std::map<object_id, std::string> refused;  // in one order, whatever that of the rows is
  for (auto const& n : coming) {
    auto const& h = of.at(n.holds);
    if (h.staying.empty()) {
      if (h.coming.front() != n.by->object)
        refused.emplace(n.by->object, one_only + named(h.coming.front()) + " gets this one: rename one of the two");
      continue;
    }
    auto const stays = std::find_if(h.staying.begin(), h.staying.end(), [&](object_id id) {
      auto const& r = *table_.by_id(id);
      return !by_name || !is_gone(r, r.fields());
    });
    if (stays == h.staying.end())
      moving.insert(moving.end(), h.staying.begin(), h.staying.end());
    else
      refused.emplace(n.by->object, one_only + named(*stays) + " " + why_it_stays(*stays) + ": rename one of the two" +
                                        (is_anothers(*stays) ? "" : ", or delete that one in NetBox"));
  }
  // First what stands in nobody's way any more: who comes in its stead may then be all right.
  std::sort(moving.begin(), moving.end());
  moving.erase(std::unique(moving.begin(), moving.end()), moving.end());
  for (auto const id : moving) move_away(id);
  if (!moving.empty()) return true;
  for (auto& [id, message] : refused) refuse(id, std::move(message));
  return !refused.empty();
}

}  // namespace

void settle_names(world& w, netbox::kind const& k, std::unordered_set<object_id> const& seen, diff_rules const& rules,
                  memory& known, kind_plan& plan, show_value const& show) {
  if (k.unique.empty() || (plan.updates.empty() && plan.creates.empty())) return;
  settling(w, k, seen, rules, known, plan, show).go();
}

inheriting::inheriting(world& w, netbox::kind const& k, json& fields, json& extra, show_value const& show)
    : world_(w), kind_(k), show_(show) {
  for (auto const& [field, by] : k.inherits) {
    auto const ref = k.refs.find(by.from);
    auto const* target = ref == k.refs.end() ? nullptr : w.kinds().find(ref->second);
    auto const& id = at(fields, by.from).is_null() ? at(extra, by.from) : at(fields, by.from);
    auto const* r = target && id.is_number_unsigned() ? w.of(*target).by_id(id.get<object_id>()) : nullptr;
    if (!r) continue;
    auto const other = r->fields();
    if (std::any_of(by.when.begin(), by.when.end(),
                    [&](auto const& c) { return at(other, c.first) != json(c.second); }))
      continue;
    auto const& value = at(other, by.field);
    if (!value.is_number_unsigned()) continue;
    all_.push_back({field, &by, r->id, value.get<std::uint64_t>()});
    if (at(fields, field).is_null() && extra.contains(field)) extra[field] = value;
  }
}

std::optional<std::string> inheriting::refused(json const& whole, json const& held) const {
  for (auto const& i : all_) {
    bool const is_new = held.is_null();
    auto const by = kind_.rule_of(i.field);
    bool const written = is_new || by == rule::always;
    auto const& will_be = written && !at(whole, i.field).is_null() ? at(whole, i.field) : at(held, i.field);
    if (will_be.is_null() || will_be == json(i.value)) continue;
    // What NetBox has let pass is not weir's to mend.
    if (!is_new && at(held, i.by->from) == at(whole, i.by->from) && at(held, i.field) == will_be) continue;
    auto const* target = world_.kinds().find(kind_.refs.at(i.by->from));
    return "its " + i.field + (written ? " is to be " : " is ") + show_(i.field, will_be) + ", but that of its " +
           i.by->from + " " + world_.label(*target, i.from) + " is " + show_(i.field, json(i.value)) +
           ", and NetBox takes only the same for both: " +
           (written ? "ask for that " + i.field + " or for none, or change the " + i.by->from + "'s in NetBox"
                    : "change one of the two in NetBox");
  }
  return {};
}

}  // namespace weir::engine
