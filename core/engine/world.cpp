#include "core/engine/world.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;

std::string index_text(std::vector<std::string> const& members, json const& object, bool fold) {
  json values = json::array();
  for (auto const& m : members) {
    json value = netbox::at(object, m);
    if (fold && value.is_string()) value = base::lower(value.get_ref<std::string const&>());
    values.push_back(std::move(value));
  }
  return values.dump(-1, ' ', false, json::error_handler_t::replace);
}

json row::fields() const { return data.unpack(); }

std::vector<std::size_t> table::places(hashed const& in, std::vector<std::string> const& members,
                                       std::string const& key_text, bool fold) const {
  std::vector<std::size_t> out;
  auto const [from, to] = in.equal_range(std::hash<std::string>{}(key_text));
  for (auto it = from; it != to; ++it)
    if (index_text(members, rows_[it->second].fields(), fold) == key_text) out.push_back(it->second);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

void table::alias(object_id id, std::string const& key_text) {
  if (auto const found = by_id_.find(id); found != by_id_.end()) aliases_[key_text] = found->second;
}

row* table::by_key(std::string const& key_text) {
  if (auto const found = places(by_key_, kind_->key, key_text, false); !found.empty()) return &rows_[found.front()];
  auto const found = aliases_.find(key_text);
  return found == aliases_.end() ? nullptr : &rows_[found->second];
}

std::vector<row*> table::all_by_key(std::string const& key_text) {
  std::vector<row*> out;
  for (auto const at : places(by_key_, kind_->key, key_text, false)) out.push_back(&rows_[at]);
  return out;
}

row* table::by_id(object_id id) {
  auto const found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &rows_[found->second];
}

std::vector<row*> table::by_adoption(std::size_t which, std::string const& key_text) {
  std::vector<row*> out;
  if (which >= adoption_.size()) return out;
  for (auto const at : places(adoption_[which], kind_->adopt_by[which], key_text, true)) out.push_back(&rows_[at]);
  return out;
}

void table::index(std::size_t at, json const& fields) {
  auto const hash = [&](std::vector<std::string> const& members, bool fold) {
    return std::hash<std::string>{}(index_text(members, fields, fold));
  };
  auto const place = static_cast<std::uint32_t>(at);
  by_key_.emplace(hash(kind_->key, false), place);
  by_id_.emplace(rows_[at].id, place);
  adoption_.resize(kind_->adopt_by.size());
  for (std::size_t i = 0; i < kind_->adopt_by.size(); ++i) adoption_[i].emplace(hash(kind_->adopt_by[i], true), place);
}

row& table::add(object_id id, json const& fields) { return add(id, fields, fields); }

row& table::add(object_id id, json const& fields, packed same) {
  rows_.push_back({id, std::move(same), false});
  index(rows_.size() - 1, fields);
  return rows_.back();
}

void table::replace(row& r, json const& fields) {
  // A key that changes inside a run must not lose the row for whoever refers to it by the former one.
  if (auto former = index_text(kind_->key, r.fields(), false); former != index_text(kind_->key, fields, false))
    aliases_.emplace(std::move(former), static_cast<std::size_t>(&r - rows_.data()));
  r.data = packed(fields);
  index(static_cast<std::size_t>(&r - rows_.data()), fields);
}

bool world::holds(netbox::kind const& k, std::set<std::string> const& fields) const {
  auto const found = tables_.find(k.name);
  if (found == tables_.end() || !found->second.loaded_) return false;
  for (auto const& f : fields)
    if (!found->second.fields_.contains(f)) return false;
  return true;
}

std::set<std::string> world::wanted_fields(netbox::kind const& k, std::set<std::string> const& fields) const {
  auto all = fields;
  if (auto const found = tables_.find(k.name); found != tables_.end())
    all.insert(found->second.fields_.begin(), found->second.fields_.end());
  return all;
}

world::loader::loader(world& w, netbox::kind const& k, std::set<std::string> fields) : world_(w), fresh_(k) {
  fresh_.fields_ = std::move(fields);
  fresh_.loaded_ = true;
}

void world::loader::add(json const& raw) {
  auto const& k = fresh_.kind();
  auto const id = raw.at("id").get<object_id>();
  auto fields = netbox::normalise(
      k, raw, [&](std::uint64_t real, std::string const& kind) { return world_.logical(real, kind); });
  fields.erase("id");
  fresh_.add(world_.logical(id, k.name), fields);
}

void world::loader::finish() {
  auto const& k = fresh_.kind();
  if (auto const old = world_.tables_.find(k.name); old != world_.tables_.end()) {
    for (auto const& r : old->second.rows_)
      if (r.id >= first_pending && !fresh_.by_id(r.id)) fresh_.add(r.id, r.fields());
    // What is planned to be deleted is so, though NetBox still has it.
    for (auto const& r : old->second.rows_)
      if (auto* const now = r.removed ? fresh_.by_id(r.id) : nullptr) now->removed = true;
    old->second = std::move(fresh_);
  } else {
    world_.tables_.emplace(k.name, std::move(fresh_));
  }
}

table& world::of(netbox::kind const& k) { return tables_.try_emplace(k.name, k).first->second; }

std::optional<std::string> world::key_text(netbox::kind const& k, json const& key, std::string* missing) {
  json resolved = json::object();
  for (auto const& member : k.key) {
    // In an emitted key a dotted name is one member; in NetBox's form it is nested.
    json value = key.is_object() && key.contains(member) ? key.at(member) : netbox::at(key, member);
    if (auto const ref = k.refs.find(member); ref != k.refs.end() && value.is_object()) {
      auto const* target = kinds_.find(ref->second);
      auto const id = target ? find(*target, value) : std::nullopt;
      if (!id) {
        if (missing) *missing = member;
        return {};
      }
      value = *id;
    }
    netbox::put(resolved, member, std::move(value));
  }
  return index_text(k.key, netbox::normalise_desired(k, std::move(resolved)), false);
}

std::optional<object_id> world::find(netbox::kind const& k, json const& key) {
  auto const text = key_text(k, key);
  if (!text) return {};
  auto& t = of(k);
  for (auto const* r : t.all_by_key(*text))
    if (!r->removed) return r->id;
  if (auto const* r = t.by_key(*text); r && !r->removed) return r->id;
  return recall_ ? recall_(k, *text) : std::nullopt;
}

object_id world::new_pending(netbox::kind const& k) {
  pending_kinds_.push_back(&k);
  return first_pending + pending_kinds_.size() - 1;
}

void world::created(object_id pending, object_id real) {
  real_of_[pending] = real;
  if (auto const n = pending - first_pending; n < pending_kinds_.size())
    pending_of_[pending_kinds_[n]->name][real] = pending;
}

std::optional<object_id> world::real(object_id logical) const {
  if (logical < first_pending) return logical;
  auto const found = real_of_.find(logical);
  if (found == real_of_.end()) return {};
  return found->second;
}

object_id world::logical(object_id real, std::string const& kind) const {
  auto const of_kind = pending_of_.find(kind);
  if (of_kind == pending_of_.end()) return real;
  auto const found = of_kind->second.find(real);
  return found == of_kind->second.end() ? real : found->second;
}

std::string world::label(netbox::kind const& k, object_id id) {
  if (auto* r = of(k).by_id(id)) {
    auto const fields = r->fields();
    auto const& name = netbox::at(fields, k.label);
    if (name.is_string()) return name.get<std::string>();
    if (!name.is_null()) return name.dump();
  }
  return id >= first_pending ? "(new)" : "#" + std::to_string(id);
}

}  // namespace weir::engine
