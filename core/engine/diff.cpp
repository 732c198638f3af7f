#include "core/engine/diff.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "core/base/text.hpp"
#include "core/engine/compare.hpp"
#include "core/engine/match.hpp"
#include "core/engine/names.hpp"
#include "core/engine/orphans.hpp"
#include "core/engine/proxbox.hpp"
#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
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

std::string_view name(reason r) {
  switch (r) {
    case reason::differs:
      return "differs";
    case reason::adopted:
      return "adopted";
    case reason::recreated:
      return "recreated";
    case reason::renumbered:
      return "renumbered";
    case reason::gone:
      return "gone";
    case reason::released:
      return "released";
    case reason::returned:
      return "returned";
    case reason::undone:
      return "undone";
  }
  return "";
}

counts& counts::operator+=(counts const& o) {
  seen += o.seen, created += o.created, updated += o.updated, deleted += o.deleted, unchanged += o.unchanged;
  kept += o.kept, skipped += o.skipped, failed += o.failed, deferred += o.deferred;
  return *this;
}

namespace {

class differ {
 public:
  differ(world& w, netbox::kind const& k, diff_rules const& rules, memory& known)
      : world_(w), kind_(k), rules_(rules), memory_(known) {
    plan_.kind = &k;
  }
  kind_plan go(std::vector<desired> wanted, std::vector<std::string> const& scopes);

 private:
  void fail(std::string label, std::string message) {
    plan_.failures.push_back({rules_.source, rules_.stage, kind_.name, std::move(label), std::move(message)});
  }
  void look_at(desired const& d);
  void sort_out();
  void want(candidate const& c, matcher& matches);
  // References in `fields` from key objects to logical ids. False: one is unknown, `missing` names its field.
  bool resolve(json& fields, std::string& missing, std::string& missing_key);
  void update(object_id id, json const& wanted, json const& key, candidate const& c, matched how);
  void release(released const& r);
  void join_releases();
  std::optional<json> last_of(known_object const& known) const;
  std::string to_remember(std::string const& written, std::optional<known_object> const& before) const;
  bool refers_to_pending(known_object const& known) const;
  std::string show(std::string const& field, json const& value);

  world& world_;
  netbox::kind const& kind_;
  diff_rules const& rules_;
  memory& memory_;
  kind_plan plan_;
  std::vector<candidate> candidates_;
  std::unordered_set<object_id> seen_;
  show_value const shown_ = [this](std::string const& field, json const& value) { return show(field, value); };
};

bool differ::resolve(json& fields, std::string& missing, std::string& missing_key) {
  for (auto const& [field, target] : kind_.refs) {
    auto const found = fields.find(field);
    if (found == fields.end() || !found->is_object()) continue;
    auto const* kind = world_.kinds().find(target);
    auto const id = kind ? world_.find(*kind, *found) : std::nullopt;
    if (!id) {
      missing = field;
      missing_key = dump(*found);
      return false;
    }
    *found = *id;
  }
  return true;
}

std::string differ::show(std::string const& field, json const& value) {
  if (auto const ref = kind_.refs.find(field); ref != kind_.refs.end() && value.is_number_unsigned())
    if (auto const* target = world_.kinds().find(ref->second)) return world_.label(*target, value.get<object_id>());
  return in_words(value);
}

// What was written last, its references as logical ids. Of a merged field each stage has its own part, which is kept
// under "tags@stage": several may write into one set, and none takes away what another put there.
std::optional<json> differ::last_of(known_object const& known) const {
  auto const all = json::parse(known.applied, nullptr, false);
  if (!all.is_object()) return {};
  json out = json::object();
  for (auto const& [leaf, value] : all.items())
    if (kind_.rule_of(leaf.substr(0, leaf.find('@'))) != rule::merge)
      out[leaf] = value;
    else if (leaf.ends_with("@" + rules_.stage))
      out[leaf.substr(0, leaf.find('@'))] = value;
  for (auto const& [field, target] : kind_.refs)
    if (auto const found = out.find(field); found != out.end() && found->is_number_unsigned())
      *found = world_.logical(found->get<object_id>(), target);
  return out;
}

// The other way round: what this stage wrote, and what `before` holds of the others.
std::string differ::to_remember(std::string const& written, std::optional<known_object> const& before) const {
  json out = json::object();
  if (before)
    if (auto const all = json::parse(before->applied, nullptr, false); all.is_object())
      for (auto const& [leaf, value] : all.items())
        if (leaf.find('@') != leaf.npos) out[leaf] = value;
  auto const own = json::parse(written);
  for (auto const& [leaf, value] : own.items())
    out[kind_.rule_of(leaf) == rule::merge ? leaf + "@" + rules_.stage : leaf] = value;
  return dump(out);
}

// Then another process would not know what is meant; the next run will.
bool differ::refers_to_pending(known_object const& known) const {
  auto const pending = [](json const& v) { return v.is_number_unsigned() && v.get<object_id>() >= first_pending; };
  auto const applied = json::parse(known.applied), key = json::parse(known.key);
  return std::any_of(key.begin(), key.end(), pending) ||
         std::any_of(kind_.refs.begin(), kind_.refs.end(), [&](auto const& ref) {
           auto const found = applied.find(ref.first);
           return found != applied.end() && pending(*found);
         });
}

void differ::update(object_id id, json const& wanted, json const& key, candidate const& c, matched how) {
  auto& t = world_.of(kind_);
  auto& r = *t.by_id(id);
  // What is nobody's (a tag, a role) has many writers: what one of them wrote last tells nothing.
  bool const remembers = id < first_pending && !kind_.mark.empty();
  auto const known = remembers ? memory_.of(kind_, id) : std::nullopt;
  auto const actual = r.fields();
  auto const last = known                        ? last_of(*known)
                    : how.why == reason::adopted ? written_by_proxbox(kind_, actual)
                                                 : std::nullopt;
  auto found = compare(kind_, actual, wanted, key, last, shown_);
  if (unmark(kind_, actual, wanted, found, shown_) && how.why == reason::differs) how.why = reason::returned;
  if (rules_.adopt_only) claims_only(world_, kind_, actual, last, how.why, found, shown_);
  for (auto& e : found.edits) {
    e.label = c.label(kind_);
    e.object = id;
    plan_.edits.push_back(std::move(e));
  }
  found.applied = to_remember(found.applied, known);
  if (found.fields.empty()) {
    ++plan_.unchanged;
    known_object const now{c.key_text, std::move(found.applied), {}};
    if (remembers && (!known || *known != now) && !refers_to_pending(now)) memory_.note(kind_, id, now);
    return;
  }
  change out;
  out.what = action::update;
  out.kind = &kind_;
  out.object = id;
  out.key = c.from->key;
  out.label = c.label(kind_);
  out.why = how.why;
  out.detail = std::move(how.detail);
  out.body = std::move(found.body);
  out.before = std::move(found.before);
  out.applied = std::move(found.applied);
  out.fields = {found.fields, out.before, out.body};
  t.replace(r, json::parse(found.after));
  plan_.updates.push_back(std::move(out));
}

// What is wanted of the kind, before anything is compared: an object's match may depend on who else is wanted.
void differ::look_at(desired const& d) {
  json const emitted_key = d.key.unpack();
  candidate c{&d, {}};
  std::string missing;
  auto text = world_.key_text(kind_, emitted_key, &missing);
  if (!text) {
    if (d.fields.unpack().contains("$keep")) return;  // then there is nothing of it to keep
    ++plan_.seen;
    if (kind_.skip_when_missing.contains(missing)) {
      plan_.skipped.push_back(c.label(kind_));
    } else {
      fail(c.label(kind_),
           "its " + missing + " " + emitted_key.at(missing).dump() + " is not in NetBox and was not emitted before it");
    }
    return;
  }
  c.key_text = std::move(*text);
  candidates_.push_back(std::move(c));
}

// One candidate for each key, in the order of the keys: the plan must not depend on the order in which a source
// answers.
void differ::sort_out() {
  std::sort(candidates_.begin(), candidates_.end(), [](candidate const& a, candidate const& b) {
    return std::tie(a.key_text, a.from) < std::tie(b.key_text, b.from);
  });
  auto kept = candidates_.begin();
  for (auto from = candidates_.begin(); from != candidates_.end();) {
    auto const to = std::find_if(from, candidates_.end(), [&](auto const& c) { return c.key_text != from->key_text; });
    // The same look-up object (a tag, a role) may well be named by many. Of different ones the first by its text
    // counts.
    auto const first = std::min_element(from, to, [](candidate const& a, candidate const& b) {
      return !(a.from->fields == b.from->fields) && a.from->fields.text() < b.from->fields.text();
    });
    for (auto it = from; it != to && kind_.default_rule != rule::on_create; ++it)
      if (!(it->from->fields == first->from->fields)) {
        ++plan_.seen;
        fail(it->label(kind_), "two different objects were emitted with the key " + it->from->key.text());
      }
    auto chosen = std::move(*first);
    *kept++ = std::move(chosen);
    from = to;
  }
  candidates_.erase(kept, candidates_.end());
}

void differ::want(candidate const& c, matcher& matches) {
  auto const& d = *c.from;
  auto const label = c.label(kind_);
  json fields = netbox::normalise_desired(kind_, d.fields.unpack());
  json extra = json::object();
  // Whatever becomes of it: what NetBox has under this key is not gone.
  for (auto const id : matches.held(c)) seen_.insert(id);
  if (fields.contains("$keep")) return;
  if (auto const create = fields.find("$create"); create != fields.end()) {
    extra = netbox::normalise_desired(kind_, *create);
    fields.erase(create);
  }
  ++plan_.seen;

  // The key as an object in NetBox's form: references as ids, custom fields nested.
  json key = json::object();
  json const values = json::parse(c.key_text);
  for (std::size_t i = 0; i < kind_.key.size(); ++i) put(key, kind_.key[i], values.at(i));

  std::string missing, missing_key;
  if (!resolve(fields, missing, missing_key) || !resolve(extra, missing, missing_key)) {
    if (kind_.skip_when_missing.contains(missing))
      plan_.skipped.push_back(label);
    else
      fail(label, "its " + missing + " " + missing_key + " is not in NetBox and was not emitted before it");
    return;
  }
  inheriting const inherited(world_, kind_, fields, extra, shown_);
  json whole = key;
  whole.merge_patch(extra);
  whole.merge_patch(fields);

  auto how = matches.match(c, whole);
  if (how.refused) return fail(label, *how.refused);
  if (auto why_not = inherited.refused(whole, how.object ? world_.of(kind_).by_id(how.object)->fields() : json())) {
    seen_.insert(how.object);
    return fail(label, std::move(*why_not));
  }
  if (how.object != 0) {
    seen_.insert(how.object);
    // What only new objects get is looked at where people's changes of it are to be shown.
    for (auto const& leaf : leaves(extra))
      if ((kind_.rule_of(leaf) == rule::on_create || kind_.inherits.contains(leaf)) && at(fields, leaf).is_null())
        put(fields, leaf, at(extra, leaf));
    return update(how.object, fields, key, c, std::move(how));
  }
  auto made = create(kind_, whole, shown_);
  change out;
  out.what = action::create;
  out.kind = &kind_;
  out.object = world_.new_pending(kind_);
  out.key = d.key;
  out.label = label;
  out.body = std::move(made.body);
  out.fields = {made.fields, {}, out.body};
  remember(out, json::parse(to_remember(made.applied, {})));
  world_.of(kind_).add(out.object, out.body.unpack(), out.body);
  seen_.insert(out.object);
  if (rules_.adopt_only && !serves_claims(world_, kind_, whole)) return;
  plan_.creates.push_back(std::move(out));
}

// An object gives up its key: the custom fields of it that do not say whose it is. What else becomes of it is
// plan_gone's: nobody in the source is it any more.
void differ::release(released const& r) {
  auto& t = world_.of(kind_);
  auto& held = *t.by_id(r.object);
  json fields = held.fields(), body = json::object(), before = json::object(), key = json::object();
  auto const known = r.object < first_pending ? memory_.of(kind_, r.object) : std::nullopt;
  json applied = known ? json::parse(known->applied, nullptr, false) : json();
  if (!applied.is_object()) applied = json::object();
  change out;
  out.what = action::update;
  out.kind = &kind_;
  out.object = r.object;
  auto const& name = at(fields, kind_.label);
  out.label = name.is_string() ? name.get<std::string>() : "#" + std::to_string(r.object);
  out.why = reason::released;
  out.detail = r.detail;
  for (auto const& member : kind_.key) {
    key[member] = at(fields, member);
    if (member == kind_.mark || !member.starts_with("custom_fields.")) continue;
    out.fields.push_back(changed(member, show(member, at(fields, member)), show(member, nullptr)));
    put(before, member, at(fields, member));
    put(body, member, nullptr);
    put(fields, member, nullptr);
    key[member] = nullptr;
    applied.erase(member);
  }
  if (out.fields.empty()) return;
  out.key = key;
  out.body = body;
  out.before = before;
  out.applied = applied;
  t.replace(held, fields);
  seen_.erase(r.object);
  plan_.updates.push_back(std::move(out));
}

// An object that gives up its key and is marked as gone changes once.
void differ::join_releases() {
  std::unordered_map<object_id, std::size_t> releases;
  for (std::size_t i = 0; i < plan_.updates.size(); ++i)
    if (plan_.updates[i].why == reason::released) releases.emplace(plan_.updates[i].object, i);
  if (releases.empty()) return;
  std::vector<std::size_t> joined;
  for (std::size_t i = 0; i < plan_.updates.size(); ++i) {
    auto& gone = plan_.updates[i];
    auto const at_release = gone.why == reason::gone ? releases.find(gone.object) : releases.end();
    if (at_release == releases.end()) continue;
    auto& into = plan_.updates[at_release->second];
    auto const join = [](packed& part, packed const& more) {
      auto both = part.unpack();
      auto const rest = more.empty() ? json::object() : more.unpack();
      // Not merge_patch: a null is a value here.
      for (auto const& [member, value] : rest.items())
        if (member == "custom_fields" && value.is_object() && both.contains(member))
          both[member].update(value);
        else
          both[member] = value;
      part = both;
    };
    join(into.body, gone.body);
    join(into.before, gone.before);
    if (!gone.applied.empty()) join(into.applied, gone.applied);
    for (auto const& f : gone.fields) into.fields.push_back(f);
    joined.push_back(i);
  }
  for (auto i = joined.rbegin(); i != joined.rend(); ++i)
    plan_.updates.erase(plan_.updates.begin() + static_cast<std::ptrdiff_t>(*i));
}

kind_plan differ::go(std::vector<desired> wanted, std::vector<std::string> const& scopes) {
  candidates_.reserve(wanted.size());
  plan_.creates.reserve(wanted.size());  // what is not filled takes no memory
  for (auto const& d : wanted) look_at(d);
  sort_out();
  std::vector<json> parsed;
  for (auto const& s : scopes) {
    json scope = json::parse(s);
    std::string missing, missing_key;
    // Where what it refers to is not in NetBox, nothing of NetBox's can be inside.
    if (resolve(scope, missing, missing_key)) parsed.push_back(std::move(scope));
  }
  matcher matches(world_, kind_, rules_, memory_, candidates_, parsed);
  for (auto const& c : candidates_) {
    want(c, matches);
    wanted[static_cast<std::size_t>(c.from - wanted.data())].fields.clear();  // its part is in the plan now
  }
  if (!rules_.adopt_only)
    for (auto const& r : matches.releases()) release(r);
  if (!scopes.empty() && !kind_.mark.empty()) plan_gone(world_, kind_, parsed, seen_, rules_, memory_, plan_, shown_);
  join_releases();
  settle_names(world_, kind_, seen_, rules_, memory_, plan_, shown_);
  // The order of a plan is the order of its labels, whatever the order of the source's answers was.
  auto const by_label = [](change const& a, change const& b) {
    if (a.label != b.label) return a.label < b.label;
    return std::tuple(a.key.text(), a.object) < std::tuple(b.key.text(), b.object);
  };
  std::stable_sort(plan_.updates.begin(), plan_.updates.end(), by_label);
  std::stable_sort(plan_.deletes.begin(), plan_.deletes.end(), by_label);
  break_rounds(plan_);
  return std::move(plan_);
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
  for (auto const& u : k.unique) out.insert(u.fields.begin(), u.fields.end());
  for (auto const& [field, by] : k.inherits) out.insert({field, by.from});
  for (auto const& [field, list] : k.owned_tags) out.insert(netbox::kind::top(list));
  if (k.when_gone == netbox::orphans::mark && !k.mark.empty()) {
    out.insert("tags");
    for (auto const* field : {&k.gone.status, &k.gone.since})
      if (!field->empty()) out.insert(field == &k.gone.status ? "status" : netbox::kind::top(*field));
  }
  if (k.adopt == netbox::adoption::tagged) out.insert("tags");
  for (auto const& d : wanted) {
    auto const fields = d.fields.unpack();
    auto const need = [&](json const& from, bool created) {
      for (auto const& leaf : leaves(from)) {
        auto const by = k.rule_of(leaf);
        if (leaf == "$create" || by == rule::never) continue;
        // Only to see whether a person changed what weir wrote; it costs no request of its own.
        auto const& value = at(from, leaf);
        if (by == rule::on_create ? k.mark.empty() || netbox::same(value, nullptr) : created) continue;
        out.insert(netbox::kind::top(leaf));
        if (auto const frozen = k.frozen_while.find(leaf); frozen != k.frozen_while.end()) out.insert(frozen->second);
      }
    };
    need(fields, false);
    if (auto const extra = fields.find("$create"); extra != fields.end() && extra->is_object()) need(*extra, true);
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

std::string candidate::label(netbox::kind const& k) const {
  json const key = from->key.unpack(), fields = from->fields.unpack();
  static json const none = json::object();
  auto const create = fields.find("$create");
  for (json const* at_hand : {&fields, &key, create == fields.end() ? &none : &*create}) {
    json const& value = at_hand->contains(k.label) ? at_hand->at(k.label) : at(*at_hand, k.label);
    if (value.is_string() && !value.get_ref<std::string const&>().empty()) return value.get<std::string>();
  }
  return from->key.text();
}

kind_plan diff(world& w, netbox::kind const& k, std::vector<desired> wanted, std::vector<std::string> const& scopes,
               diff_rules const& rules, memory& known) {
  return differ(w, k, rules, known).go(std::move(wanted), scopes);
}

}  // namespace weir::engine
