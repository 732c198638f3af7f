// Updates that pass names on to each other, in an order that NetBox accepts. It carries out a list in its own order,
// and holds names unique at every step.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"
#include "core/engine/match.hpp"

namespace weir::engine {

using nlohmann::json;

namespace {

constexpr std::size_t longest_name_bytes = 64;

// What an update does to its object's name; empty where it leaves it.
struct renaming {
  std::string from, to;  // lower case
};

bool holds_names_unique(netbox::kind const& k) {
  return std::any_of(k.adopt_by.begin(), k.adopt_by.end(), [&](auto const& members) {
    return std::find(members.begin(), members.end(), k.label) != members.end();
  });
}

renaming renaming_of(netbox::kind const& k, change const& c) {
  if (std::none_of(c.fields.begin(), c.fields.end(), [&](auto const& f) { return f.field == k.label; })) return {};
  auto const body = c.body.unpack(), before = c.before.unpack();
  auto const name = [&](json const& of) {
    auto const found = of.is_object() ? of.find(k.label) : of.end();
    return of.is_object() && found != of.end() && found->is_string() ? base::lower(found->get<std::string>())
                                                                     : std::string();
  };
  return {name(before), name(body)};
}

// For each update those it has to wait for, by their places. Empty: none waits for another.
std::vector<std::vector<std::size_t>> waits(netbox::kind const& k, std::vector<change> const& updates) {
  std::vector<std::vector<std::size_t>> out;
  std::unordered_multimap<std::string, std::size_t> giving;  // name ► who gives it up
  std::unordered_map<object_id, std::size_t> earlier;        // the same object's
  std::vector<renaming> renamings;
  if (holds_names_unique(k)) {
    for (auto const& c : updates) renamings.push_back(renaming_of(k, c));
    for (std::size_t i = 0; i < updates.size(); ++i)
      if (!renamings[i].from.empty() && renamings[i].from != renamings[i].to) giving.emplace(renamings[i].from, i);
  }
  bool any = false;
  out.resize(updates.size());
  for (std::size_t i = 0; i < updates.size(); ++i) {
    if (auto const [at, first] = earlier.emplace(updates[i].object, i); !first) {
      out[i].push_back(std::exchange(at->second, i));
      any = true;
    }
    if (giving.empty() || renamings[i].to.empty()) continue;
    auto const [from, to] = giving.equal_range(renamings[i].to);
    for (auto it = from; it != to; ++it)
      if (updates[it->second].object != updates[i].object) {
        out[i].push_back(it->second);
        any = true;
      }
  }
  if (!any) out.clear();
  return out;
}

// Places in the order of their waves; `left`: those that wait for each other.
std::vector<std::vector<std::size_t>> in_waves(std::vector<std::vector<std::size_t>> const& waits,
                                               std::vector<std::size_t>& left) {
  std::vector<std::vector<std::size_t>> out;
  std::vector<bool> done(waits.size());
  for (std::size_t i = 0; i < waits.size(); ++i) left.push_back(i);
  while (!left.empty()) {
    std::vector<std::size_t> wave, rest;
    for (auto const i : left)
      (std::all_of(waits[i].begin(), waits[i].end(), [&](auto w) { return done[w]; }) ? wave : rest).push_back(i);
    if (wave.empty()) break;
    for (auto const i : wave) done[i] = true;
    out.push_back(std::move(wave));
    left = std::move(rest);
  }
  return out;
}

}  // namespace

std::vector<std::vector<change const*>> waves(netbox::kind const& k, std::vector<change> const& updates) {
  std::vector<std::vector<change const*>> out;
  if (updates.empty()) return out;
  auto const order = waits(k, updates);
  if (order.empty()) {
    out.emplace_back();
    for (auto const& c : updates) out.back().push_back(&c);
    return out;
  }
  std::vector<std::size_t> left;
  auto places = in_waves(order, left);
  if (!left.empty()) places.push_back(std::move(left));  // NetBox will say what is wrong with them
  for (auto const& wave : places) {
    out.emplace_back();
    for (auto const i : wave) out.back().push_back(&updates[i]);
  }
  return out;
}

void break_rounds(kind_plan& plan) {
  auto const& k = *plan.kind;
  while (true) {
    auto const order = waits(k, plan.updates);
    if (order.empty()) return;
    std::vector<std::size_t> left;
    in_waves(order, left);
    if (left.empty()) return;
    // From any of them, going to what it waits for leads into a round.
    std::set<std::size_t> passed;
    auto at = left.front();
    auto const stuck = [&](std::size_t i) { return std::find(left.begin(), left.end(), i) != left.end(); };
    while (passed.insert(at).second) at = *std::find_if(order[at].begin(), order[at].end(), stuck);
    auto& c = plan.updates[at];
    auto before = c.before.unpack();
    auto const old = before.at(k.label).get<std::string>();
    auto const suffix = " (weir " + std::to_string(c.object) + ")";
    std::size_t keep = std::min(old.size(), longest_name_bytes - suffix.size());
    while (keep > 0 && keep < old.size() && (static_cast<unsigned char>(old[keep]) & 0xc0U) == 0x80U) --keep;
    auto const meanwhile = old.substr(0, keep) + suffix;
    change first;
    first.what = action::update;
    first.kind = &k;
    first.object = c.object;
    first.key = c.key;
    first.label = c.label;
    first.body = json{{k.label, meanwhile}};
    first.before = json{{k.label, old}};
    first.applied = first.body;
    first.fields.push_back({k.label, old, meanwhile});
    first.detail = "for a moment: it changes names with others";
    before[k.label] = meanwhile;
    auto fields = c.fields.unpack();
    for (auto& f : fields)
      if (f.field == k.label) f.before = meanwhile;
    c.before = before;
    c.fields = {fields, c.before, c.body};
    plan.updates.insert(plan.updates.begin() + static_cast<std::ptrdiff_t>(at), std::move(first));
  }
}

}  // namespace weir::engine
