#include "core/engine/match.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"
#include "core/engine/proxbox.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using nlohmann::json;

namespace {

constexpr char const* tags_of_services[] = {"weir", "proxbox"};  // what bears one was made by a program

std::string folded(json const& name) {
  return name.is_string() ? base::lower(name.get_ref<std::string const&>()) : std::string();
}

// "type=qemu;uuid=…;mac=a,b" ► name ► values.
std::map<std::string, std::set<std::string>, std::less<>> facts_of(std::string_view text) {
  std::map<std::string, std::set<std::string>, std::less<>> out;
  while (!text.empty()) {
    auto const part = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    auto const equals = part.find('=');
    if (equals == part.npos) continue;
    auto& values = out[base::lower(part.substr(0, equals))];
    auto rest = part.substr(equals + 1);
    while (!rest.empty()) {
      auto const value = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), value.size() + 1));
      if (!value.empty()) values.insert(base::lower(value));
    }
  }
  return out;
}

// "uuid, mac differ", "type differs"
std::string differ(std::string const& facts) {
  return facts + (facts.find(',') == facts.npos ? " differs" : " differ");
}

std::string text_or_none(json const& value) {
  if (value.is_null()) return "none";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

// A machine keeps its UUID and its MACs, unless somebody changes one of them; a clone gets its own. Its time of
// creation tells where nothing else does: a clone has that of its template. A vmgenid changes with every rollback, so
// that another one says nothing.
judgement compare_facts(std::string_view a, std::string_view b) {
  auto const left = facts_of(a), right = facts_of(b);
  std::vector<std::string> equal, different;
  auto const look = [&](char const* name) {
    auto const x = left.find(name), y = right.find(name);
    if (x == left.end() || y == right.end() || x->second.empty() || y->second.empty()) return;
    bool const common =
        std::any_of(x->second.begin(), x->second.end(), [&](auto const& v) { return y->second.contains(v); });
    (common ? equal : different).emplace_back(name);
  };
  look("type");
  if (!different.empty()) return {verdict::another, "type"};
  equal.clear();
  look("uuid");
  look("mac");
  if (equal.empty() && different.empty()) look("ctime");
  auto const told = different;
  look("vmgenid");
  if (!equal.empty()) return {verdict::same, base::join(equal)};
  if (!told.empty()) return {verdict::another, base::join(told)};
  return {};
}

matcher::matcher(world& w, netbox::kind const& k, diff_rules const& rules, memory& known,
                 std::vector<candidate> const& all, std::vector<json> const& scopes)
    : world_(w), kind_(k), rules_(rules), memory_(known), scopes_(scopes), all_(all) {
  if (kind_.identity.empty()) return;
  auto& t = world_.of(kind_);
  for (auto const& c : all) {
    auto rows = t.all_by_key(c.key_text);
    std::erase_if(rows, [](row const* r) { return r->removed; });
    if (rows.size() != 1) continue;
    auto const wanted = c.from->fields.unpack();
    auto const held = rows.front()->fields();
    auto const &theirs = at(held, kind_.identity), &ours = at(wanted, kind_.identity);
    if (!theirs.is_string() || !ours.is_string()) continue;
    auto const judged = compare_facts(theirs.get_ref<std::string const&>(), ours.get_ref<std::string const&>());
    if (judged.says != verdict::another) continue;
    contest it{rows.front()->id, false, false, c.label(kind_), judged.by};
    auto const name = base::lower(it.by);
    it.same_name = name == folded(at(held, kind_.label));
    // Or what it was called before somebody gave it another name in NetBox.
    if (!it.same_name && it.object < first_pending)
      if (auto const last = memory_.of(kind_, it.object); last && !last->applied.empty())
        it.same_name = name == folded(json::parse(last->applied, nullptr, false).value(kind_.label, json()));
    contested_[it.object] = c.key_text;
    contests_.emplace(c.key_text, std::move(it));
  }
}

bool matcher::is_wanted(std::string const& key_text) const {
  auto const found = std::lower_bound(all_.begin(), all_.end(), key_text,
                                      [](candidate const& c, std::string const& text) { return c.key_text < text; });
  return found != all_.end() && found->key_text == key_text;
}

bool matcher::is_ours(json const& fields) const {
  return !kind_.mark.empty() && at(fields, kind_.mark) == json(rules_.source);
}

// Ours, and nobody's in the source any more.
bool matcher::is_free(row const& r, json const& fields) const {
  if (r.removed || taken_.contains(r.id) || !is_ours(fields)) return false;
  if (auto const found = contested_.find(r.id); found != contested_.end())
    return !contests_.at(found->second).same_name;
  for (auto const& member : kind_.key)
    if (at(fields, member).is_null()) return true;
  if (is_wanted(index_text(kind_.key, fields, false))) return false;
  return std::any_of(scopes_.begin(), scopes_.end(), [&](json const& scope) {
    return std::all_of(scope.items().begin(), scope.items().end(),
                       [&](auto const& item) { return netbox::same(at(fields, item.key()), item.value()); });
  });
}

std::string matcher::names_of(std::vector<object_id> const& ids) {
  std::vector<std::string> out;
  for (auto const id : ids) {
    auto const label = world_.label(kind_, id);
    auto const number = "#" + std::to_string(id);
    out.push_back(label == number ? number : label + " " + number);
  }
  return base::join(out);
}

std::optional<std::string> matcher::may_adopt(object_id id, json const& fields) {
  if (kind_.mark.empty() || kind_.adopt == netbox::adoption::matching) return {};
  if (kind_.adopt == netbox::adoption::tagged) {
    auto const& tags = at(fields, "tags");
    for (auto const* service : tags_of_services)
      if (tags.is_array() && std::find(tags.begin(), tags.end(), json(service)) != tags.end()) return {};
  }
  return "NetBox holds " + names_of({id}) + " in its place, which is not weir's" +
         (kind_.adopt == netbox::adoption::tagged ? " and bears neither the tag weir nor proxbox" : "") +
         ", and adopt is '" + std::string(name(kind_.adopt)) + "' for " + kind_.title +
         "s: rename that object, or allow that it is taken over";
}

matched matcher::take(candidate const& c, object_id id, reason why, std::string detail) {
  taken_.insert(id);
  // Whoever refers to it by the key it is wanted under finds it, whatever it is called in NetBox.
  world_.of(kind_).alias(id, c.key_text);
  return {id, why, std::move(detail), {}};
}

matched matcher::by_key(candidate const& c, json const& whole) {
  auto& t = world_.of(kind_);
  auto rows = t.all_by_key(c.key_text);
  std::erase_if(rows, [](row const* r) { return r->removed; });
  if (rows.empty()) {
    auto const* r = t.by_key(c.key_text);
    return r && !r->removed ? matched{r->id, reason::differs, {}, {}} : matched{};
  }
  if (rows.size() > 1) {
    std::vector<object_id> ids;
    for (auto const* r : rows) ids.push_back(r->id);
    std::vector<std::string> members;
    for (auto const& member : kind_.key)
      if (member.starts_with("custom_fields.")) members.push_back(member.substr(member.find('.') + 1));
    return {0,
            reason::differs,
            {},
            "NetBox holds " + std::to_string(ids.size()) + " objects that say they are it (" + names_of(ids) +
                "): a copy, perhaps; " +
                (members.empty() ? "delete or rename all but one"
                                 : "empty the custom fields " + base::join(members, " and ") + " of all but one")};
  }
  auto const id = rows.front()->id;
  if (auto const found = contests_.find(c.key_text); found != contests_.end())
    return {id, reason::recreated, "another machine of the same name: " + differ(found->second.facts), {}};
  bool const mark_in_key = std::find(kind_.key.begin(), kind_.key.end(), kind_.mark) != kind_.key.end();
  if (kind_.mark.empty() || mark_in_key) return {id, reason::differs, {}, {}};
  auto const fields = rows.front()->fields();
  if (!at(fields, kind_.mark).is_null() || at(whole, kind_.mark).is_null()) return {id, reason::differs, {}, {}};
  if (auto why_not = may_adopt(id, fields)) return {0, reason::differs, {}, std::move(why_not)};
  return {id, reason::adopted, {}, {}};
}

// The object that had this key when it was last seen, if it is ours still and is nobody else by the key it has now.
std::optional<object_id> matcher::last_seen(std::string const& key_text) {
  if (kind_.mark.empty()) return {};
  auto const id = memory_.find(kind_, key_text);
  auto const* r = id ? world_.of(kind_).by_id(*id) : nullptr;
  if (!r || r->removed || taken_.contains(r->id)) return {};
  auto const fields = r->fields();
  if (!is_ours(fields) || is_wanted(index_text(kind_.key, fields, false))) return {};
  return r->id;
}

std::optional<matched> matcher::remembered(candidate const& c) {
  auto const id = last_seen(c.key_text);
  if (!id) return {};
  if (!kind_.identity.empty()) {
    auto const held = world_.of(kind_).by_id(*id)->fields(), wanted = c.from->fields.unpack();
    auto const &theirs = at(held, kind_.identity), &ours = at(wanted, kind_.identity);
    if (theirs.is_string() && ours.is_string() &&
        compare_facts(theirs.get_ref<std::string const&>(), ours.get_ref<std::string const&>()).says ==
            verdict::another)
      return {};
  }
  return take(c, *id, reason::differs, "known from an earlier run: its key was changed in NetBox");
}

std::optional<matched> matcher::recognised(candidate const& c) {
  auto const of_kind = rules_.recognised.find(kind_.name);
  if (of_kind == rules_.recognised.end()) return {};
  auto const found = of_kind->second.find(c.key_text);
  if (found == of_kind->second.end()) return {};
  std::set<object_id> ids;
  for (auto const id : found->second) {
    auto const* r = world_.of(kind_).by_id(id);
    if (!r || r->removed || taken_.contains(id)) continue;
    auto const fields = r->fields();
    if (kind_.mark.empty() || at(fields, kind_.mark).is_null()) ids.insert(id);
  }
  if (ids.empty()) return {};
  if (ids.size() > 1)
    return matched{0,
                   reason::differs,
                   {},
                   "another service recorded it as " + std::to_string(ids.size()) + " objects (" +
                       names_of({ids.begin(), ids.end()}) + "): delete the record of all but one"};
  auto const id = *ids.begin();
  if (auto why_not = may_adopt(id, world_.of(kind_).by_id(id)->fields()))
    return matched{0, reason::differs, {}, std::move(why_not)};
  return take(c, id, reason::adopted, "as another service recorded it");
}

// Of an owner's own objects those that nobody in the source is any more: one of the same name in its place is it, under
// a new key (or a new machine in its stead).
std::optional<matched> matcher::by_name(candidate const& c, json const& whole) {
  if (kind_.identity.empty() || kind_.mark.empty()) return {};
  auto const& ours = at(whole, kind_.identity);
  struct namesake {
    object_id id;
    judgement judged;
    std::string had;  // what differs in the key: "proxmox_vm_id 101"
  };
  std::vector<namesake> found;
  for (std::size_t i = 0; i < kind_.adopt_by.size() && found.empty(); ++i) {
    auto const& members = kind_.adopt_by[i];
    if (std::any_of(members.begin(), members.end(), [&](auto const& m) { return at(whole, m).is_null(); })) continue;
    for (auto const* r : world_.of(kind_).by_adoption(i, index_text(members, whole, true))) {
      auto const fields = r->fields();
      if (!is_free(*r, fields)) continue;
      namesake n{r->id, {}, {}};
      if (auto const& theirs = at(fields, kind_.identity); theirs.is_string() && ours.is_string())
        n.judged = compare_facts(theirs.get_ref<std::string const&>(), ours.get_ref<std::string const&>());
      for (auto const& member : kind_.key)
        if (auto const& had = at(fields, member); !had.is_null() && !netbox::same(had, at(whole, member)))
          n.had += (n.had.empty() ? "" : ", ") + netbox::kind::top(member.substr(member.find('.') + 1)) + " " +
                   text_or_none(had);
      found.push_back(std::move(n));
    }
  }
  if (found.empty()) return {};
  if (found.size() > 1) {
    std::vector<namesake> sure;
    for (auto const& n : found)
      if (n.judged.says == verdict::same) sure.push_back(n);
    if (sure.size() != 1) {
      std::vector<object_id> ids;
      for (auto const& n : found) ids.push_back(n.id);
      return matched{0,
                     reason::differs,
                     {},
                     "NetBox holds " + std::to_string(ids.size()) + " objects of that name that could be it (" +
                         names_of(ids) + "): rename or delete all but one"};
    }
    found = std::move(sure);
  }
  auto const& n = found.front();
  auto const was = n.had.empty() ? std::string() : "was " + n.had;
  auto const and_so = [&](std::string text) { return was.empty() ? text : was + "; " + text; };
  if (n.judged.says == verdict::another)
    return take(c, n.id, reason::recreated, and_so("another machine of the same name: " + differ(n.judged.by)));
  return take(c, n.id, n.had.empty() ? reason::differs : reason::renumbered,
              and_so(n.judged.says == verdict::same ? "the same machine by its " + n.judged.by
                                                    : "the same machine by its name"));
}

std::optional<matched> matcher::unclaimed(candidate const& c, json const& whole) {
  auto& t = world_.of(kind_);
  std::set<object_id> candidates;
  for (std::size_t i = 0; i < kind_.adopt_by.size() && candidates.empty(); ++i) {
    auto const& members = kind_.adopt_by[i];
    if (std::any_of(members.begin(), members.end(), [&](auto const& m) { return at(whole, m).is_null(); })) continue;
    for (auto const* r : t.by_adoption(i, index_text(members, whole, true))) {
      if (r->removed || taken_.contains(r->id) || recorded_for_another(rules_, kind_, r->id, c.key_text)) continue;
      auto const actual = r->fields();
      if (is_wanted(index_text(kind_.key, actual, false))) continue;
      // Somebody else's, if one of the key's own custom fields says so.
      bool const claimed = std::any_of(kind_.key.begin(), kind_.key.end(), [&](auto const& member) {
        return member.starts_with("custom_fields.") && !at(actual, member).is_null() &&
               !netbox::same(at(actual, member), at(whole, member));
      });
      if (!claimed) candidates.insert(r->id);
    }
  }
  if (candidates.empty()) return {};
  if (candidates.size() > 1)
    return matched{0,
                   reason::differs,
                   {},
                   "NetBox holds " + std::to_string(candidates.size()) + " objects that could be it (" +
                       names_of({candidates.begin(), candidates.end()}) +
                       "): give one of them the custom fields of weir, or rename the others"};
  auto const id = *candidates.begin();
  auto const fields = t.by_id(id)->fields();
  if (is_ours(fields)) return take(c, id, reason::differs);
  if (auto why_not = may_adopt(id, fields)) return matched{0, reason::differs, {}, std::move(why_not)};
  return take(c, id, reason::adopted);
}

matched matcher::match(candidate const& c, json const& whole) {
  auto const found = contests_.find(c.key_text);
  bool const contested = found != contests_.end() && !found->second.same_name;
  if (!contested) {
    if (auto m = by_key(c, whole); m.object != 0 || m.refused) return m;
    if (auto m = remembered(c)) return std::move(*m);
    if (auto m = recognised(c)) return std::move(*m);
  }
  auto m = by_name(c, whole);
  if (!m) m = unclaimed(c, whole);
  if (contested) found->second.settled = !m || !m->refused;
  return m ? std::move(*m) : matched{};
}

std::vector<object_id> matcher::held(candidate const& c) {
  std::vector<object_id> out;
  auto& t = world_.of(kind_);
  for (auto const* r : t.all_by_key(c.key_text))
    if (!r->removed) out.push_back(r->id);
  if (!out.empty()) return out;
  if (auto const* r = t.by_key(c.key_text); r && !r->removed)
    out.push_back(r->id);
  else if (auto const id = last_seen(c.key_text))
    out.push_back(*id);
  return out;
}

std::vector<released> matcher::releases() {
  std::vector<released> out;
  for (auto const& [key, it] : contests_)
    if (it.settled && !it.same_name && !taken_.contains(it.object))
      out.push_back({it.object, "its key is now " + it.by + "'s, another machine: " + differ(it.facts)});
  return out;
}

std::optional<object_id> recall(world& w, netbox::kind const& k, memory& known, std::string const& key_text) {
  auto const at_mark = std::find(k.key.begin(), k.key.end(), k.mark);
  if (k.mark.empty() || at_mark == k.key.end()) return {};
  auto const id = known.find(k, key_text);
  auto const* r = id ? w.of(k).by_id(*id) : nullptr;
  if (!r || r->removed) return {};
  auto const values = json::parse(key_text, nullptr, false);
  auto const place = static_cast<std::size_t>(at_mark - k.key.begin());
  if (!values.is_array() || place >= values.size() || values[place].is_null()) return {};
  if (at(r->fields(), k.mark) != values[place]) return {};
  return r->id;
}

}  // namespace weir::engine
