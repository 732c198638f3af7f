#include "core/engine/diff.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::put;
using netbox::rule;
using nlohmann::json;

std::string_view name(action a) {
  switch (a) {
    case action::create:
      return "create";
    case action::update:
      return "update";
    case action::erase:
      return "delete";
  }
  return "";
}

counts& counts::operator+=(counts const& o) {
  seen += o.seen, created += o.created, updated += o.updated, deleted += o.deleted, unchanged += o.unchanged;
  kept += o.kept, skipped += o.skipped, failed += o.failed, deferred += o.deferred;
  return *this;
}

namespace {

constexpr std::size_t longest_value_bytes = 80;  // in a plan's text

// ["custom_fields.a", "name", …]: the leaves that are compared; custom fields one by one, everything else whole.
std::vector<std::string> leaves(json const& fields) {
  std::vector<std::string> out;
  for (auto const& [name, value] : fields.items()) {
    if (name == "custom_fields" && value.is_object()) {
      for (auto const& [sub, ignored] : value.items()) out.push_back("custom_fields." + sub);
    } else {
      out.push_back(name);
    }
  }
  return out;
}

std::set<std::string> words(json const& list) {
  std::set<std::string> out;
  if (list.is_array())
    for (auto const& w : list)
      if (w.is_string()) out.insert(w.get<std::string>());
  return out;
}

std::set<std::string> split(std::string const& text, char separator) {
  std::set<std::string> out;
  std::size_t from = 0;
  while (from <= text.size()) {
    auto const to = std::min(text.find(separator, from), text.size());
    if (to > from) out.insert(text.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

// A merged set: people's members stay, ours of last time go, ours of now come.
json merged(netbox::kind const& k, std::string const& field, json const& before, json const& wanted,
            json const& actual) {
  auto all = words(before);
  if (auto const owned = k.owned_tags.find(field); owned != k.owned_tags.end()) {
    auto const& list = at(actual, owned->second);
    if (list.is_string())
      for (auto const& old : split(list.get<std::string>(), ';')) all.erase(old);
  }
  auto const ours = words(wanted);
  all.insert(ours.begin(), ours.end());
  return all;
}

class differ {
 public:
  differ(world& w, netbox::kind const& k, diff_rules const& rules) : world_(w), kind_(k), rules_(rules) {
    plan_.kind = &k;
  }

  void want(desired const& d);
  void scope(std::vector<std::string> const& scopes);
  kind_plan take() {
    // The order of a plan is the order of its labels, whatever the order of the source's answers was.
    auto const by_label = [](change const& a, change const& b) {
      return std::tie(a.label, a.key, a.object) < std::tie(b.label, b.key, b.object);
    };
    std::stable_sort(plan_.updates.begin(), plan_.updates.end(), by_label);
    std::stable_sort(plan_.deletes.begin(), plan_.deletes.end(), by_label);
    return std::move(plan_);
  }

 private:
  void fail(std::string label, std::string message) {
    plan_.failures.push_back({rules_.source, rules_.stage, kind_.name, std::move(label), std::move(message)});
  }
  // References in `fields` from key objects to logical ids. False: one is unknown, `missing` names its field.
  bool resolve(json& fields, std::string& missing, std::string& missing_key);
  row* adoptable(json const& whole, std::string const& label, bool& failed);
  void compare(row& r, json const& wanted, json const& key, std::string const& key_json, std::string const& label,
               bool adopted);
  std::string show(std::string const& field, json const& value);

  world& world_;
  netbox::kind const& kind_;
  diff_rules const& rules_;
  kind_plan plan_;
  std::unordered_map<std::string, std::string> seen_keys_;  // key text ► fields
  std::unordered_set<object_id> seen_;
};

bool differ::resolve(json& fields, std::string& missing, std::string& missing_key) {
  for (auto const& [field, target] : kind_.refs) {
    auto const found = fields.find(field);
    if (found == fields.end() || !found->is_object()) continue;
    auto const* kind = world_.kinds().find(target);
    auto const id = kind ? world_.find(*kind, *found) : std::nullopt;
    if (!id) {
      missing = field;
      missing_key = found->dump(-1, ' ', false, json::error_handler_t::replace);
      return false;
    }
    *found = *id;
  }
  return true;
}

row* differ::adoptable(json const& whole, std::string const& label, bool& failed) {
  std::set<object_id> candidates;
  auto& t = world_.of(kind_);
  for (std::size_t i = 0; i < kind_.adopt_by.size(); ++i) {
    bool complete = true;
    for (auto const& member : kind_.adopt_by[i]) complete = complete && !at(whole, member).is_null();
    if (!complete) continue;
    for (auto* r : t.by_adoption(i, index_text(kind_.adopt_by[i], whole, true))) {
      if (r->removed || seen_.contains(r->id)) continue;
      auto const actual = json::parse(r->text);
      // Somebody else's, if one of the key's own custom fields says so.
      bool claimed = false;
      for (auto const& member : kind_.key)
        if (member.starts_with("custom_fields.") && !at(actual, member).is_null() &&
            !netbox::same(at(actual, member), at(whole, member)))
          claimed = true;
      if (!claimed) candidates.insert(r->id);
    }
    if (!candidates.empty()) break;
  }
  if (candidates.empty()) return nullptr;
  if (candidates.size() > 1) {
    std::vector<std::string> ids;
    for (auto id : candidates) ids.push_back("#" + std::to_string(id));
    fail(label, "NetBox holds " + std::to_string(ids.size()) + " objects that could be it (" + base::join(ids) +
                    "): give one of them the custom fields of weir, or rename the others");
    failed = true;
    return nullptr;
  }
  return t.by_id(*candidates.begin());
}

std::string differ::show(std::string const& field, json const& value) {
  if (auto const ref = kind_.refs.find(field); ref != kind_.refs.end() && value.is_number_unsigned())
    if (auto const* target = world_.kinds().find(ref->second)) return world_.label(*target, value.get<object_id>());
  if (value.is_null()) return "none";
  if (value.is_string())
    return value.get_ref<std::string const&>().empty() ? "\"\""
                                                       : base::shorten(value.get<std::string>(), longest_value_bytes);
  if (value.is_array()) {
    std::vector<std::string> items;
    for (auto const& v : value) items.push_back(v.is_string() ? v.get<std::string>() : v.dump());
    return "[" + base::shorten(base::join(items), longest_value_bytes) + "]";
  }
  return base::shorten(value.dump(-1, ' ', false, json::error_handler_t::replace), longest_value_bytes);
}

void differ::compare(row& r, json const& wanted, json const& key, std::string const& key_json, std::string const& label,
                     bool adopted) {
  json const actual = json::parse(r.text);
  json body = json::object();
  json after = actual;
  change c;
  auto const consider = [&](std::string const& leaf, json const& value) {
    if (auto const frozen = kind_.frozen_while.find(leaf); frozen != kind_.frozen_while.end()) {
      auto const& count = at(actual, frozen->second);
      if (count.is_number() && count.get<double>() > 0) return;
    }
    json next = value;
    switch (kind_.rule_of(leaf)) {
      case rule::on_create:
        return;
      case rule::always:
        break;
      case rule::merge:
        next = merged(kind_, leaf, at(actual, leaf), value, actual);
        break;
    }
    auto const& before = at(actual, leaf);
    // A set has no order, and NetBox answers some of them in its own.
    bool const is_set = kind_.rule_of(leaf) == rule::merge;
    if (is_set ? words(before) == words(next) : netbox::same(before, next)) return;
    c.fields.push_back({leaf, show(leaf, before), show(leaf, next)});
    put(body, leaf, next);
    put(after, leaf, std::move(next));
  };
  for (auto const& leaf : leaves(wanted)) consider(leaf, at(wanted, leaf));
  for (auto const& member : kind_.key)
    if (at(wanted, member).is_null()) consider(member, at(key, member));
  if (c.fields.empty()) {
    ++plan_.unchanged;
    return;
  }
  c.what = action::update;
  c.kind = &kind_;
  c.object = r.id;
  c.key = key_json;
  c.label = label;
  c.adopted = adopted;
  c.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  world_.of(kind_).replace(r, after);
  plan_.updates.push_back(std::move(c));
}

void differ::want(desired const& d) {
  json const emitted_key = json::parse(d.key);
  json fields = netbox::normalise_desired(kind_, json::parse(d.fields));
  json extra = json::object();
  if (auto const create = fields.find("$create"); create != fields.end()) {
    extra = netbox::normalise_desired(kind_, *create);
    fields.erase(create);
  }
  std::string label;
  for (json const* from : {static_cast<json const*>(&fields), &emitted_key, static_cast<json const*>(&extra)}) {
    if (!label.empty()) break;
    json const& value = from->contains(kind_.label) ? from->at(kind_.label) : at(*from, kind_.label);
    if (value.is_string()) label = value.get<std::string>();
  }
  if (label.empty()) label = d.key;

  std::string missing, missing_key;
  auto const text = world_.key_text(kind_, emitted_key, &missing);
  if (!text) {
    ++plan_.seen;
    if (kind_.skip_when_missing.contains(missing)) {
      plan_.skipped.push_back(label);
    } else {
      fail(label,
           "its " + missing + " " + emitted_key.at(missing).dump() + " is not in NetBox and was not emitted before it");
    }
    return;
  }
  if (auto const [it, first] = seen_keys_.emplace(*text, d.fields); !first) {
    // The same look-up object (a tag, a role) may well be named by many.
    if (kind_.default_rule == rule::on_create || it->second == d.fields) return;
    ++plan_.seen;
    fail(label, "two different objects were emitted with the key " + d.key);
    return;
  }
  ++plan_.seen;

  // The key as an object in NetBox's form: references as ids, custom fields nested.
  json key = json::object();
  json const values = json::parse(*text);
  for (std::size_t i = 0; i < kind_.key.size(); ++i) put(key, kind_.key[i], values.at(i));

  row* r = world_.of(kind_).by_key(*text);
  if (r && r->removed) r = nullptr;
  object_id const known = r ? r->id : 0;
  if (r) seen_.insert(known);

  if (!resolve(fields, missing, missing_key) || !resolve(extra, missing, missing_key)) {
    if (kind_.skip_when_missing.contains(missing))
      plan_.skipped.push_back(label);
    else
      fail(label, "its " + missing + " " + missing_key + " is not in NetBox and was not emitted before it");
    return;
  }
  json whole = key;
  whole.merge_patch(extra);
  whole.merge_patch(fields);

  bool adopted = false;
  if (!r) {
    bool failed = false;
    r = adoptable(whole, label, failed);
    if (failed) return;
    adopted = r != nullptr;
    if (r) seen_.insert(r->id);
  }
  if (r) {
    compare(*r, fields, key, d.key, label, adopted);
    return;
  }
  change c;
  c.what = action::create;
  c.kind = &kind_;
  c.object = world_.new_pending();
  c.key = d.key;
  c.label = label;
  for (auto const& leaf : leaves(whole)) c.fields.push_back({leaf, "", show(leaf, at(whole, leaf))});
  c.body = whole.dump(-1, ' ', false, json::error_handler_t::replace);
  world_.remember_kind(c.object, kind_.name);
  world_.of(kind_).add(c.object, whole);
  seen_.insert(c.object);
  plan_.creates.push_back(std::move(c));
}

void differ::scope(std::vector<std::string> const& scopes) {
  if (scopes.empty() || kind_.mark.empty()) return;
  std::vector<json> parsed;
  for (auto const& s : scopes) {
    json scope = json::parse(s);
    std::string missing, missing_key;
    // Where what it refers to is not in NetBox, nothing of NetBox's can be inside.
    if (resolve(scope, missing, missing_key)) parsed.push_back(std::move(scope));
  }
  auto const inside = [&](json const& object) {
    return std::any_of(parsed.begin(), parsed.end(), [&](json const& scope) {
      return std::all_of(scope.items().begin(), scope.items().end(),
                         [&](auto const& item) { return netbox::same(at(object, item.key()), item.value()); });
    });
  };
  std::vector<change> gone;
  for (auto const& r : world_.of(kind_).rows()) {
    if (r.removed || r.id >= first_pending) continue;
    auto const object = json::parse(r.text);
    // Ours by the mark, in scope by our own look at it: no filter of NetBox's was trusted.
    if (at(object, kind_.mark) != json(rules_.source) || !inside(object)) continue;
    ++plan_.owned;
    if (seen_.contains(r.id)) continue;
    change c;
    c.what = action::erase;
    c.kind = &kind_;
    c.object = r.id;
    auto const& name = at(object, kind_.label);
    c.label = name.is_string() ? name.get<std::string>() : "#" + std::to_string(r.id);
    gone.push_back(std::move(c));
  }
  if (gone.empty()) return;
  plan_.allowed = std::max(rules_.max_deletes, plan_.owned * rules_.max_deletes_percent / 100);
  if (kind_.when_gone != netbox::orphans::erase || gone.size() > plan_.allowed) {
    plan_.deletes_refused = kind_.when_gone == netbox::orphans::erase;
    if (plan_.deletes_refused) plan_.refused = gone.size();
    for (auto& c : gone) plan_.kept.push_back(std::move(c.label));
    return;
  }
  for (auto const& c : gone) world_.of(kind_).by_id(c.object)->removed = true;
  plan_.deletes = std::move(gone);
}

}  // namespace

std::set<std::string> fields_needed(netbox::kind const& k, std::vector<desired> const& wanted, bool scoped) {
  std::set<std::string> out;
  for (auto const& member : k.key) out.insert(netbox::kind::top(member));
  out.insert(netbox::kind::top(k.label));
  if (!k.mark.empty()) out.insert(netbox::kind::top(k.mark));
  if (wanted.empty() && !scoped) return out;
  for (auto const& key : k.adopt_by)
    for (auto const& member : key) out.insert(netbox::kind::top(member));
  for (auto const& [field, list] : k.owned_tags) out.insert(netbox::kind::top(list));
  for (auto const& d : wanted) {
    auto const fields = json::parse(d.fields);
    for (auto const& leaf : leaves(fields)) {
      if (leaf == "$create" || k.rule_of(leaf) == rule::on_create) continue;
      out.insert(netbox::kind::top(leaf));
      if (auto const frozen = k.frozen_while.find(leaf); frozen != k.frozen_while.end()) out.insert(frozen->second);
    }
  }
  return out;
}

std::set<std::string> kinds_needed(netbox::registry const& kinds, netbox::kind const& k) {
  std::set<std::string> out;
  for (auto const& [field, target] : k.refs) {
    if (!out.insert(target).second) continue;
    auto const* parent = kinds.find(target);
    if (!parent || parent == &k) continue;
    // To find the parent by its key, what its key refers to is needed as well.
    for (auto const& member : parent->key)
      if (auto const ref = parent->refs.find(member); ref != parent->refs.end()) {
        out.insert(ref->second);
        if (auto const* grand = kinds.find(ref->second)) out.merge(kinds_needed(kinds, *grand));
      }
  }
  return out;
}

kind_plan diff(world& w, netbox::kind const& k, std::vector<desired> const& wanted,
               std::vector<std::string> const& scopes, diff_rules const& rules) {
  // In the order of the keys: the plan must not depend on the order in which a source answers.
  std::vector<desired const*> order;
  order.reserve(wanted.size());
  for (auto const& d : wanted) order.push_back(&d);
  std::sort(order.begin(), order.end(), [](desired const* a, desired const* b) {
    return std::tie(a->key, a->fields) < std::tie(b->key, b->fields);
  });
  differ it(w, k, rules);
  for (auto const* d : order) it.want(*d);
  it.scope(scopes);
  return it.take();
}

}  // namespace weir::engine
