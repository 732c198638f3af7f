#include "core/engine/undo.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "core/base/text.hpp"
#include "core/engine/apply.hpp"
#include "core/engine/compare.hpp"
#include "core/engine/journal_memory.hpp"
#include "core/engine/orphans.hpp"
#include "core/netbox/value.hpp"
#include "core/store/files.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
using netbox::put;
using nlohmann::json;

namespace {

constexpr std::size_t most_named = 6;  // fields, in a reason
// NetBox's clock and ours differ, and a list's objects are written before its answer is.
constexpr std::chrono::seconds clock_skew{120};

json parsed(std::string const& text) {
  auto out = text.empty() ? json() : json::parse(text, nullptr, false);
  return out.is_object() ? out : json();
}

bool is_words(json const& v) {
  return v.is_array() && std::all_of(v.begin(), v.end(), [](json const& w) { return w.is_string(); });
}

bool equal(json const& a, json const& b) {
  if (is_words(a) && is_words(b)) return words(a) == words(b);
  return netbox::same(a, b);
}

json const* find(json const& object, std::string const& leaf) {
  if (!object.is_object()) return nullptr;
  auto const found = object.find(leaf);
  return found == object.end() ? nullptr : &*found;
}

// Whether a count of NetBox's ("interface_count", "virtualmachine_count") is of objects of this kind.
bool is_count_of(std::string const& name, std::string const& kind) {
  if (name == "tagged_items") return true;
  auto model = name.substr(0, name.rfind("_count"));
  std::erase(model, '_');
  return kind.ends_with(model);
}

bool ends_with_count(std::string const& name) { return name.ends_with("_count") || name == "tagged_items"; }

// Which object of NetBox's an answer's member refers to: "dcim/sites/3" of its URL; empty: to none.
std::string place_of(json const& value) {
  auto const url = find(value, "url");
  if (!url || !url->is_string()) return {};
  auto const& text = url->get_ref<std::string const&>();
  auto const api = text.find("/api/");
  if (api == std::string::npos) return {};
  auto out = text.substr(api + 5);
  out.resize(std::min(out.size(), out.find('?')));
  while (!out.empty() && out.back() == '/') out.pop_back();
  return out;
}
std::string place_of(netbox::kind const& k, object_id id) { return k.path + "/" + std::to_string(id); }

// Everything that an answer's member refers to.
std::vector<std::string> places_in(json const& value) {
  std::vector<std::string> out;
  if (value.is_array()) {
    for (auto const& item : value)
      if (auto place = place_of(item); !place.empty()) out.push_back(std::move(place));
  } else if (auto place = place_of(value); !place.empty()) {
    out.push_back(std::move(place));
  }
  return out;
}

// What an object is made from anew: members that can be written, references as ids.
json writable(netbox::kind const& k, json const& raw) {
  static std::set<std::string> const made_by_netbox{"id",          "url",          "display",        "display_url",
                                                    "created",     "last_updated", "config_context", "primary_ip",
                                                    "primary_ip4", "primary_ip6",  "oob_ip",         "_depth"};
  auto const normal = netbox::normalise(k, raw, [](std::uint64_t id, std::string const&) { return id; });
  auto const id_of = [](json const& v) {
    auto const id = find(v, "id");
    return id && id->is_number_unsigned() ? *id : json();
  };
  json out = json::object();
  for (auto const& [name, value] : normal.items()) {
    if (made_by_netbox.contains(name) || ends_with_count(name)) continue;
    if (value.is_null() || (value.is_string() && value.get_ref<std::string const&>().empty())) continue;
    if (name == "custom_fields" && value.is_object()) {
      for (auto const& [field, held] : value.items()) {
        json plain = held;
        if (auto const id = id_of(held); !id.is_null()) plain = id;
        if (held.is_array())
          for (auto& item : plain)
            if (auto const id = id_of(item); !id.is_null()) item = id;
        out[name][field] = std::move(plain);
      }
      continue;
    }
    if ((value.is_array() || value.is_object()) && value.empty()) continue;
    if (auto const id = id_of(value); !id.is_null()) {
      out[name] = id;
      continue;
    }
    out[name] = value;
    if (value.is_array())
      for (auto& item : out[name])
        if (auto const id = id_of(item); !id.is_null()) item = id;
  }
  return out;
}

std::string listed(std::vector<std::string> const& what) {
  if (what.size() <= most_named) return base::join(what);
  return base::join({what.begin(), what.begin() + most_named}) + " and " + std::to_string(what.size() - most_named) +
         " more";
}

}  // namespace

struct inversion::state {
  state(world& w, memory& m) : objects(w), known(m) {}

  struct step {
    netbox::kind const* kind = nullptr;
    std::string source, stage;
    store::object_record what;
  };
  // One of NetBox's objects that the run touched.
  struct held {
    netbox::kind const* kind = nullptr;
    object_id id = 0;
    std::size_t times_written = 0;
    bool made = false, deleted = false;  // by the run
    store::instant last_write{};         // weir's
    json written;                        // made: all that the run wrote
    bool there = false, made_anew = false;
    json now;     // NetBox's fields, normalised; on the way back through the steps
    json answer;  // members that refer to something, and counts, as NetBox answered
    std::optional<std::chrono::sys_time<std::chrono::microseconds>> touched;  // last_updated
    object_id logical = 0;        // deleted: the pending id of the one that is made anew
    std::optional<json> applied;  // what is remembered, on the way back
    std::string key;              // the same
  };
  using object = std::pair<std::string, object_id>;  // kind's name, id

  world& objects;
  memory& known;
  std::vector<step> steps;
  std::map<object, held> all;
  std::map<object, store::instant> later;
  bool later_runs = false;
  // Place ► kind ► references from its objects that this plan takes away.
  std::unordered_map<std::string, std::map<std::string, std::size_t>> given_up;
  std::unordered_set<std::string> needed;                       // places that what stays refers to
  std::unordered_map<std::string, std::vector<object>> inside;  // place ► what NetBox deletes along with it
  std::unordered_set<std::string> fields_needed;                // custom fields the same

  std::vector<job_report> jobs;

  kind_plan& plan_for(step const& s, action what, object_id id);
  std::unordered_set<object_id> in_step;  // objects of the plan that is being filled
  action step_action = action::create;

  std::string show(netbox::kind const& k, std::string const& leaf, json const& value);
  void recall(held& h);
  void undo_create(step const& s, held& h);
  void undo_update(step const& s, held& h);
  void undo_delete(step const& s, held& h);
  void keep(held const& h);
  std::vector<std::string> edited_since(held const& h);
  std::string why_needed(held const& h);
  json with_new_ids(netbox::kind const& k, json fields);
  void count_references();
};

inversion::inversion(world& w, memory& known) : state_(std::make_unique<state>(w, known)) {}
inversion::~inversion() = default;

void inversion::did(netbox::kind const& k, std::string const& source, std::string const& stage, store::instant when,
                    store::object_record what) {
  auto& h = state_->all[{k.name, what.netbox_id}];
  h.kind = &k;
  h.id = h.logical = what.netbox_id;
  ++h.times_written;
  h.last_write = std::max(h.last_write, when);
  if (what.action == "create") {
    h.made = true;
    h.written = parsed(what.after);
  } else if (what.action == "update") {
    auto const changed = parsed(what.after);
    if (h.made && h.written.is_object())
      for (auto const& leaf : leaves(changed)) put(h.written, leaf, at(changed, leaf));
  } else {
    h.deleted = true;
  }
  state_->steps.push_back({&k, source, stage, std::move(what)});
}

void inversion::written_later(netbox::kind const& k, object_id id, store::instant when) {
  auto& latest = state_->later[{k.name, id}];
  latest = std::max(latest, when);
}

void inversion::later_runs(bool count_on_it) { state_->later_runs = count_on_it; }

std::map<netbox::kind const*, std::vector<object_id>> inversion::wanted() const {
  std::map<netbox::kind const*, std::vector<object_id>> out;
  for (auto const& [of, h] : state_->all)
    if (!h.deleted) out[h.kind].push_back(h.id);
  return out;
}

std::map<netbox::kind const*, std::set<std::string>> inversion::wanted_tables() const {
  std::map<netbox::kind const*, std::set<std::string>> out;
  for (auto const& [of, h] : state_->all) {
    if (!h.deleted || h.made) continue;
    auto& fields = out[h.kind];
    for (auto const& member : h.kind->key) fields.insert(netbox::kind::top(member));
    fields.insert(netbox::kind::top(h.kind->label));
  }
  return out;
}

void inversion::holds(netbox::kind const& k, json const& raw) {
  auto const id = find(raw, "id");
  if (!id || !id->is_number_unsigned()) return;
  auto const found = state_->all.find({k.name, id->get<object_id>()});
  if (found == state_->all.end()) return;
  auto& h = found->second;
  h.there = true;
  h.now = netbox::normalise(k, raw, [](std::uint64_t real, std::string const&) { return real; });
  h.answer = json::object();
  for (auto const& [name, value] : raw.items())
    if (!places_in(value).empty() || (ends_with_count(name) && value.is_number())) h.answer[name] = value;
  if (auto const t = find(raw, "last_updated"); t && t->is_string())
    h.touched = base::parse_instant(t->get_ref<std::string const&>());
}

std::set<netbox::kind const*> inversion::wanted_inside() const {
  std::set<netbox::kind const*> out;
  for (auto const& [of, h] : state_->all)
    if (h.made && !h.deleted)
      for (auto const* k : kinds_inside(state_->objects.kinds(), *h.kind)) out.insert(k);
  return out;
}

void inversion::holds_inside(netbox::kind const& k, json const& raw) {
  auto const fields = netbox::normalise(k, raw, [](std::uint64_t id, std::string const&) { return id; });
  for (auto const& member : k.key) {
    auto const ref = k.refs.find(member);
    auto const& id = at(fields, member);
    if (ref == k.refs.end() || !id.is_number_unsigned()) continue;
    if (auto const* parent = state_->objects.kinds().find(ref->second))
      state_->inside[place_of(*parent, id.get<object_id>())].emplace_back(k.name, raw.at("id").get<object_id>());
  }
}

std::string inversion::state::show(netbox::kind const& k, std::string const& leaf, json const& value) {
  if (auto const ref = k.refs.find(leaf); ref != k.refs.end() && value.is_number_unsigned())
    if (auto const* target = objects.kinds().find(ref->second)) return objects.label(*target, value.get<object_id>());
  if (value.is_null()) return "none";
  if (value.is_string()) return value.get_ref<std::string const&>().empty() ? "\"\"" : value.get<std::string>();
  if (is_words(value)) {
    auto const set = words(value);
    return "[" + base::join({set.begin(), set.end()}) + "]";
  }
  return dump(value);
}

// The plan that the next change goes into: one per kind and verb, as long as the run's steps are alike. No object comes
// twice into one: NetBox refuses such lists.
kind_plan& inversion::state::plan_for(step const& s, action what, object_id id) {
  bool fresh = false;
  if (jobs.empty() || jobs.back().source != s.source || jobs.back().stage != s.stage) {
    auto& j = jobs.emplace_back();
    j.source = s.source;
    j.stage = j.title = s.stage;
    fresh = true;
  }
  auto& plans = jobs.back().plans;
  if (fresh || plans.back().kind != s.kind || step_action != what || in_step.contains(id)) {
    plans.emplace_back().kind = s.kind;
    in_step.clear();
    step_action = what;
  }
  in_step.insert(id);
  return plans.back();
}

void inversion::state::recall(held& h) {
  if (h.applied) return;
  auto const is = known.of(*h.kind, h.id);
  h.applied = is ? parsed(is->applied) : json();
  if (!h.applied->is_object()) h.applied = json::object();
  if (is) h.key = is->key;
}

// Fields that are not what weir wrote last.
std::vector<std::string> inversion::state::edited_since(held const& h) {
  std::vector<std::string> out;
  for (auto const& leaf : leaves(h.written)) {
    auto const& is = at(h.now, leaf);
    if (equal(is, at(h.written, leaf))) continue;
    auto const* applied = find(*h.applied, leaf);
    if (applied && equal(is, *applied)) continue;
    auto const frozen = h.kind->frozen_while.find(leaf);
    if (frozen != h.kind->frozen_while.end() && at(h.now, frozen->second).is_number() &&
        at(h.now, frozen->second).get<double>() > 0)
      continue;
    out.push_back(leaf);
  }
  return out;
}

// What would be lost along with an object of the run's, or makes NetBox refuse its deletion; empty: nothing.
std::string inversion::state::why_needed(held const& h) {
  auto const place = place_of(*h.kind, h.id);
  if (needed.contains(place)) return "what stays refers to it";
  bool const is_field = h.kind->name == "extras.customfield", is_tag = h.kind->name == "extras.tag";
  if (is_field && fields_needed.contains(at(h.now, "name").is_string() ? at(h.now, "name").get<std::string>() : ""))
    return "what stays has a value in it";
  // NetBox takes their values and marks away with them, and says nothing.
  if ((is_field || is_tag) && later_runs) return "later runs use it";
  std::map<std::string, std::size_t> others;  // by kind, inside of it
  if (auto const its = inside.find(place); its != inside.end())
    for (auto const& of : its->second)
      if (auto const found = all.find(of); found == all.end() || !found->second.made) ++others[of.first];
  for (auto const& [name, n] : others)
    return std::to_string(n) + " " + objects.kinds().find(name)->title + "s that this run did not make belong to it";
  for (auto const& [name, value] : h.answer.items()) {
    if (!ends_with_count(name) || !value.is_number()) continue;
    auto const n = value.get<double>() > 0 ? static_cast<std::size_t>(value.get<double>()) : 0;
    std::size_t left = 0;
    if (auto const found = given_up.find(place); found != given_up.end())
      for (auto const& [kind, references] : found->second)
        if (is_count_of(name, kind)) left += references;
    if (n > left) {
      auto what = name == "tagged_items" ? std::string("objects") : name.substr(0, name.size() - 6) + "s";
      std::replace(what.begin(), what.end(), '_', ' ');
      return std::to_string(n - left) + " " + what + " that this run did not make belong to it";
    }
  }
  return {};
}

// What an object that stays refers to has to stay, too.
void inversion::state::keep(held const& h) {
  for (auto const& [name, value] : h.answer.items())
    for (auto& place : places_in(value)) needed.insert(std::move(place));
  if (auto const* custom = find(h.now, "custom_fields"); custom && custom->is_object())
    for (auto const& [name, value] : custom->items())
      if (!value.is_null()) fields_needed.insert(name);
}

void inversion::state::undo_create(step const& s, held& h) {
  auto& plan = plan_for(s, action::erase, h.logical);
  ++plan.seen;
  if (!h.there) {  // somebody was quicker, or an earlier undo
    ++plan.unchanged;
    return;
  }
  recall(h);
  auto const stays = [&](std::string why) {
    plan.kept.push_back({s.what.label, h.id, std::move(why)});
    keep(h);
  };
  if (!h.written.is_object()) return stays("the journal of an older weir does not hold what it was like");
  if (auto const edited = edited_since(h); !edited.empty()) return stays("changed since: " + listed(edited));
  auto weir_wrote = h.last_write;
  if (auto const at_last = later.find({h.kind->name, h.id}); at_last != later.end())
    weir_wrote = std::max(weir_wrote, at_last->second);
  if (h.touched && *h.touched > weir_wrote + clock_skew)
    return stays("changed by others at " + base::format_instant(std::chrono::floor<std::chrono::seconds>(*h.touched)));
  if (auto why = why_needed(h); !why.empty()) return stays(std::move(why));
  change c;
  c.what = action::erase;
  c.kind = h.kind;
  c.object = h.id;
  c.label = s.what.label;
  c.why = reason::undone;
  plan.deletes.push_back(std::move(c));
}

void inversion::state::undo_update(step const& s, held& h) {
  auto& plan = plan_for(s, action::update, h.logical);
  ++plan.seen;
  auto const before = parsed(s.what.before), after = parsed(s.what.after);
  auto const fail = [&](std::string why) {
    plan.failures.push_back({s.source, s.stage, h.kind->name, s.what.label, std::move(why)});
  };
  if (h.made_anew) {
    ++plan.unchanged;
    return;
  }
  if (!h.there) return fail("it is not in NetBox any more");
  if (!before.is_object() || !after.is_object())
    return fail("the journal of an older weir does not hold what it was before");
  recall(h);
  auto const was = known_from(s.what.known_before);
  auto const was_applied = was ? parsed(was->applied) : json();
  json body = json::object(), old = json::object();
  change c;
  bool identity = false;  // is what makes it ours taken back?
  for (auto const& leaf : leaves(after)) {
    json const is = at(h.now, leaf);
    auto const &from = at(after, leaf), &to = at(before, leaf);
    json next = to;
    if (is_words(from) && (is_words(to) || to.is_null()) && is_words(is)) {
      // A set: what the run added goes, what it took away comes back; what others did about it stays.
      auto set = words(is);
      auto const ours = words(from), former = words(to);
      for (auto const& w : ours)
        if (!former.contains(w)) set.erase(w);
      for (auto const& w : former)
        if (!ours.contains(w)) set.insert(w);
      next = set;
    }
    if (!equal(is, next) && !is_words(next) && !equal(is, from)) {
      kept_edit e;
      e.label = s.what.label;
      e.object = h.id;
      e.field = leaf;
      std::tie(e.held, e.wanted) = cut(show(*h.kind, leaf, is), show(*h.kind, leaf, to));
      e.by = netbox::rule::unless_edited;
      plan.edits.push_back(std::move(e));
      continue;
    }
    if (auto const* former = find(was_applied, leaf))
      (*h.applied)[leaf] = *former;
    else
      h.applied->erase(leaf);
    // The same of a merged field's parts, one for each stage ("tags@nodes").
    auto const is_part = [&](std::string const& name) { return name.starts_with(leaf + "@"); };
    for (auto it = h.applied->begin(); it != h.applied->end();)
      it = is_part(it.key()) ? h.applied->erase(it) : std::next(it);
    if (was_applied.is_object())
      for (auto const& [name, value] : was_applied.items())
        if (is_part(name)) (*h.applied)[name] = value;
    identity = identity || leaf == h.kind->mark ||
               std::find(h.kind->key.begin(), h.kind->key.end(), leaf) != h.kind->key.end();
    if (equal(is, next)) continue;
    c.fields.push_back(changed(leaf, show(*h.kind, leaf, is), show(*h.kind, leaf, next)));
    put(old, leaf, is);
    put(body, leaf, next);
    put(h.now, leaf, std::move(next));
  }
  if (body.empty()) {
    ++plan.unchanged;
    return;
  }
  if (was) h.key = was->key;
  if (identity && !was) *h.applied = json::object();
  c.what = action::update;
  c.kind = h.kind;
  c.object = h.logical;
  c.label = s.what.label;
  c.why = reason::undone;
  c.body = dump(with_new_ids(*h.kind, std::move(body)));
  c.before = dump(old);
  // The key as an object again.
  if (auto const values = json::parse(h.key, nullptr, false);
      values.is_array() && values.size() == h.kind->key.size()) {
    json key = json::object();
    for (std::size_t i = 0; i < values.size(); ++i) key[h.kind->key[i]] = values[i];
    c.key = dump(key);
  }
  if (!h.applied->empty()) c.applied = dump(with_new_ids(*h.kind, *h.applied));
  plan.updates.push_back(std::move(c));
}

json inversion::state::with_new_ids(netbox::kind const& k, json fields) {
  for (auto const& [field, target] : k.refs) {
    auto const found = fields.find(field);
    if (found == fields.end() || !found->is_number_unsigned()) continue;
    if (auto const made = all.find({target, found->get<object_id>()}); made != all.end()) *found = made->second.logical;
  }
  return fields;
}

void inversion::state::undo_delete(step const& s, held& h) {
  auto& plan = plan_for(s, action::create, h.logical);
  ++plan.seen;
  auto const raw = parsed(s.what.before);
  if (!raw.is_object()) {
    plan.failures.push_back({s.source, s.stage, h.kind->name, s.what.label, "the journal does not hold what it was"});
    return;
  }
  auto const& k = *h.kind;
  auto body = with_new_ids(k, writable(k, raw));
  json key = json::object();
  bool whole = true;
  for (auto const& member : k.key) {
    key[member] = at(body, member);
    whole = whole && !key[member].is_null();
  }
  if (auto const text = whole ? objects.key_text(k, key) : std::nullopt)
    if (auto const* there = objects.of(k).by_key(*text)) {
      ++plan.unchanged;  // it has been made anew already
      h.logical = there->id;
      h.made_anew = true;
      return;
    }
  change c;
  c.what = action::create;
  c.kind = h.kind;
  c.object = h.logical = objects.new_pending(k);
  objects.of(k).add(c.object, body);
  c.label = s.what.label;
  c.why = reason::undone;
  c.key = dump(key);
  c.body = dump(body);
  for (auto const& leaf : leaves(body)) c.fields.push_back(changed(leaf, "", show(k, leaf, at(body, leaf))));
  h.applied = json::object();
  if (auto const was = known_from(s.what.known_before)) {
    h.applied = parsed(was->applied);
    h.key = was->key;
    c.applied = dump(with_new_ids(k, *h.applied));
  }
  h.there = true;  // and the run's earlier changes of it are taken back on the way
  h.now = std::move(body);
  plan.creates.push_back(std::move(c));
}

// How many references to each object go away with what is deleted, or gets another value.
void inversion::state::count_references() {
  for (auto const& [of, h] : all) {
    if (!h.there || h.deleted) continue;
    std::set<std::string> gone;
    if (h.made) {
      for (auto const& [name, value] : h.answer.items())
        for (auto& place : places_in(value)) gone.insert(std::move(place));
    }
    for (auto const& place : gone) ++given_up[place][h.kind->name];
  }
  for (auto const& s : steps) {
    auto const& h = all.at({s.kind->name, s.what.netbox_id});
    if (s.what.action != "update" || h.made || h.deleted || !h.there) continue;
    auto const before = parsed(s.what.before);
    for (auto const& leaf : leaves(parsed(s.what.after))) {
      auto const* members = find(h.answer, leaf);
      if (!members) continue;
      auto const former = words(at(before, leaf));
      for (auto const& item : members->is_array() ? *members : json::array({*members})) {
        auto const slug = item.value("slug", json());
        if (members->is_array() && slug.is_string() && former.contains(slug.get<std::string>())) continue;
        if (auto const place = place_of(item); !place.empty()) ++given_up[place][h.kind->name];
      }
    }
  }
}

std::vector<job_report> inversion::plan() {
  auto& st = *state_;
  st.count_references();
  for (auto s = st.steps.rbegin(); s != st.steps.rend(); ++s) {
    auto& h = st.all.at({s->kind->name, s->what.netbox_id});
    if (h.made && h.deleted) continue;  // it came and went
    if (s->what.action == "create")
      st.undo_create(*s, h);
    else if (s->what.action == "delete")
      st.undo_delete(*s, h);
    else if (!h.made)
      st.undo_update(*s, h);
  }
  return std::move(st.jobs);
}

namespace {

// What of a batch NetBox has.
base::result<std::vector<store::object_record>> done_of(store::journal const& journal, store::batch_record const& b) {
  auto objects = journal.objects(b.run, b.number);
  if (!objects) return objects.error();
  std::erase_if(*objects, [](auto const& o) {
    return o.state != store::batch_state::done || o.netbox_id == 0 || o.reason == gone_already;
  });
  return objects;
}

class undoing {
 public:
  undoing(store::journal const& journal, std::string run, planning const& p)
      : journal_(journal), run_(std::move(run)), p_(p), back_(p.objects, p.remembered) {}
  base::result<std::vector<job_report>> go();

 private:
  base::result<void> read_journal(store::run_record const& r);
  base::result<void> read_later_runs(store::run_record const& r);
  base::result<void> read_netbox();
  void notice(base::log::level level, std::string what, std::string hint = {}) {
    p_.into.notices.push_back({level, "", "", std::move(what), std::move(hint)});
  }

  store::journal const& journal_;
  std::string const run_;
  planning const& p_;
  inversion back_;
  std::size_t steps_ = 0;
  std::set<std::pair<std::string, object_id>> made_;  // by the run
};

base::result<void> undoing::read_journal(store::run_record const& r) {
  auto const batches = journal_.batches(r.id);
  if (!batches) return batches.error();
  std::size_t in_doubt = 0;
  std::map<std::string, std::size_t> unknown_kinds;
  for (auto const& b : *batches) {
    if (b.state == store::batch_state::sent || b.state == store::batch_state::unknown) in_doubt += b.objects;
    auto objects = done_of(journal_, b);
    if (!objects) return objects.error();
    if (objects->empty()) continue;
    auto const* k = p_.kinds.find(b.kind);
    if (!k) {
      unknown_kinds[b.kind] += objects->size();
      continue;
    }
    for (auto& o : *objects) {
      if (o.action == "create") made_.emplace(b.kind, o.netbox_id);
      back_.did(*k, b.source, b.stage, b.ended.value_or(b.created), std::move(o));
      ++steps_;
    }
  }
  for (auto const& [kind, n] : unknown_kinds) {
    auto const message = "no plugin that is loaded knows the kind " + kind;
    p_.into.failures.push_back({"", "undo", kind, std::to_string(n) + " objects of run " + r.id, message});
    notice(base::log::level::error, std::to_string(n) + " objects of run " + r.id + " stay as they are: " + message,
           "put the plugin that brings it back on plugin_path");
  }
  if (in_doubt > 0)
    notice(base::log::level::warning,
           "of " + std::to_string(in_doubt) + " objects of run " + r.id +
               " the journal does not know whether NetBox has them: they are left alone",
           "the next run that writes finds it out; undo " + r.id + " again after it");
  return {};
}

base::result<void> undoing::read_later_runs(store::run_record const& r) {
  auto runs = journal_.runs(SIZE_MAX, r.netbox_url);
  if (!runs) return runs.error();
  runs->erase(std::find_if(runs->begin(), runs->end(), [&](auto const& other) { return other.id == r.id; }),
              runs->end());
  std::reverse(runs->begin(), runs->end());
  std::set<std::pair<std::string, object_id>> written;  // and neither deleted nor taken back since
  for (auto const& later : *runs) {
    auto const batches = journal_.batches(later.id);
    if (!batches) return batches.error();
    for (auto const& b : *batches) {
      auto const objects = done_of(journal_, b);
      if (!objects) return objects.error();
      auto const* k = p_.kinds.find(b.kind);
      for (auto const& o : *objects) {
        if (k) back_.written_later(*k, o.netbox_id, b.ended.value_or(b.created));
        if (o.action == "delete" || (o.action == "update" && later.command == "undo"))
          written.erase({b.kind, o.netbox_id});
        else if (!b.kind.starts_with("extras.") && !made_.contains({b.kind, o.netbox_id}))
          written.emplace(b.kind, o.netbox_id);
      }
    }
  }
  back_.later_runs(!written.empty());
  return {};
}

base::result<void> undoing::read_netbox() {
  std::map<netbox::kind const*, std::vector<json>> rows;
  auto const tables = back_.wanted_tables();
  for (auto const& [k, ids] : back_.wanted()) {
    if (auto why = p_.stopping ? p_.stopping() : std::nullopt) return *why;
    auto const slim = [&, k = k](json const& raw) {
      json out{{"id", raw.at("id")}};
      for (auto const& [name, value] : raw.items()) {
        bool const is_key = std::any_of(k->key.begin(), k->key.end(),
                                        [&, &name = name](auto const& m) { return netbox::kind::top(m) == name; });
        if (is_key || k->refs.contains(name) || name == netbox::kind::top(k->label)) out[name] = value;
      }
      return out;
    };
    auto const read = p_.netbox.read_ids(*k, ids, {}, "undo", [&, k = k](json const& raw) {
      back_.holds(*k, raw);
      if (!tables.contains(k)) rows[k].push_back(slim(raw));
    });
    if (!read) return read;
  }
  for (auto const* k : back_.wanted_inside()) {
    if (auto why = p_.stopping ? p_.stopping() : std::nullopt) return *why;
    std::vector<std::string> members{"id"};
    for (auto const& member : k->key) members.push_back(netbox::kind::top(member));
    auto const read = p_.netbox.read_all(*k, members, "undo", [&](json const& raw) { back_.holds_inside(*k, raw); });
    // A plugin's kind, which this NetBox does not have.
    if (!read && read.error().what.find("404") == std::string::npos) return read;
  }
  // For their keys and labels. What something was deleted of is read altogether: it may have been made anew.
  for (auto const& [k, objects] : rows) {
    world::loader loading(p_.objects, *k, {});
    for (auto const& raw : objects) loading.add(raw);
    loading.finish();
  }
  for (auto const& [k, fields] : tables) {
    world::loader loading(p_.objects, *k, fields);
    auto const read =
        p_.netbox.read_all(*k, {fields.begin(), fields.end()}, "undo", [&](json const& raw) { loading.add(raw); });
    if (!read) return read;
    loading.finish();
  }
  return {};
}

base::result<std::vector<job_report>> undoing::go() {
  auto const found = journal_.find_run(run_);
  if (!found) return found.error();
  auto const& r = *found;
  if (store::normalised_url(r.netbox_url) != store::normalised_url(p_.netbox.url()))
    return base::fail(base::error_code::usage,
                      "run " + r.id + " wrote to " + r.netbox_url + ", and the configuration names " + p_.netbox.url());
  if (auto ok = read_journal(r); !ok) return ok.error();
  if (steps_ == 0)
    return base::fail(base::error_code::guard,
                      "run " + r.id + " has nothing that could be undone: the journal holds no object that it wrote",
                      "weir history show " + r.id + " tells what it did");
  if (auto ok = read_later_runs(r); !ok) return ok.error();
  if (auto ok = read_netbox(); !ok) return ok.error();
  auto jobs = back_.plan();
  std::vector<std::string> edited, kept;
  for (auto& j : jobs)
    for (auto const& p : j.plans) {
      for (auto const* list : {&p.updates, &p.creates, &p.deletes})
        j.planned_requests += requests_for(list->size(), p_.into.profile.objects_per_request);
      for (auto const& e : p.edits) edited.push_back(e.label + " " + e.field);
      for (auto const& k : p.kept) kept.push_back(k.label + " (" + k.detail + ")");
    }
  if (!edited.empty())
    notice(base::log::level::warning, std::to_string(edited.size()) +
                                          (edited.size() == 1 ? " field has" : " fields have") +
                                          " been changed since run " + r.id +
                                          (edited.size() == 1 ? " and stays: " : " and stay: ") + listed(edited));
  if (!kept.empty())
    notice(base::log::level::warning, std::to_string(kept.size()) +
                                          (kept.size() == 1 ? " object that run " : " objects that run ") + r.id +
                                          (kept.size() == 1 ? " made stays: " : " made stay: ") + listed(kept));
  return jobs;
}

}  // namespace

planner inverse_of(store::journal const& journal, std::string run) {
  return [&journal, run = std::move(run)](planning const& p) { return undoing(journal, run, p).go(); };
}

}  // namespace weir::engine
