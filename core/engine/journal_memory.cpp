#include "core/engine/journal_memory.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::dump;
using nlohmann::json;

namespace {

constexpr std::size_t most_notes = 500;  // in one transaction: each costs a sync of the disk

using time = std::chrono::time_point<wall_clock, std::chrono::milliseconds>;

// As the journal keeps it, so that what comes back is what was noted.
std::optional<wall_clock::time_point> in_milliseconds(std::optional<wall_clock::time_point> const& t) {
  if (!t) return {};
  return std::chrono::floor<std::chrono::milliseconds>(*t);
}

// A natural key's text with NetBox's own ids; nothing if one has none.
std::optional<std::string> real_key(world const& w, netbox::kind const& k, std::string const& text) {
  bool const refers =
      std::any_of(k.key.begin(), k.key.end(), [&](auto const& member) { return k.refs.contains(member); });
  if (!refers) return text;
  auto values = json::parse(text, nullptr, false);
  if (!values.is_array()) return {};
  for (std::size_t i = 0; i < values.size() && i < k.key.size(); ++i) {
    if (!k.refs.contains(k.key[i]) || !values[i].is_number_unsigned()) continue;
    auto const real = w.real(values[i].get<object_id>());
    if (!real) return {};
    values[i] = *real;
  }
  return dump(values);
}

}  // namespace

journal_memory::journal_memory(store::journal const& from, store::journal* into, std::string netbox_url)
    : from_(from), into_(into), netbox_url_(std::move(netbox_url)) {}

std::optional<known_object> journal_memory::of(netbox::kind const& k, object_id id) {
  if (auto const fresh = noted_.find({k.name, id}); fresh != noted_.end()) return fresh->second;
  auto found = from_.known(netbox_url_, k.name, id);
  if (!found) {
    if (!failed_) failed_ = found.error();
    return {};
  }
  if (!*found) return {};
  return known_object{std::move((*found)->key), std::move((*found)->applied), (*found)->gone_since};
}

std::optional<object_id> journal_memory::find(netbox::kind const& k, std::string const& key_text) {
  std::optional<object_id> newest;
  for (auto const& [of, what] : noted_)
    if (of.first == k.name && what.key == key_text) newest = of.second;  // they come by id
  if (newest) return newest;
  auto found = from_.known_by_key(netbox_url_, k.name, key_text);
  if (!found) {
    if (!failed_) failed_ = found.error();
    return {};
  }
  // It has another key since.
  if (*found)
    if (auto const fresh = noted_.find({k.name, **found}); fresh != noted_.end()) return {};
  return *found;
}

void journal_memory::note(netbox::kind const& k, object_id id, known_object const& what) {
  if (!into_) return;
  auto& kept = noted_[{k.name, id}];
  kept = what;
  kept.gone_since = in_milliseconds(what.gone_since);
  if (noted_.size() >= most_notes) write();
}

void journal_memory::write() {
  std::vector<store::journal::known_change> changes;
  changes.reserve(noted_.size());
  for (auto& [of, what] : noted_)
    changes.push_back(
        {of.first, of.second, store::known_record{std::move(what.key), std::move(what.applied), what.gone_since}});
  noted_.clear();
  if (auto ok = into_->put_known(netbox_url_, changes); !ok && !failed_) failed_ = ok.error();
}

base::result<void> journal_memory::flush() {
  if (into_ && !noted_.empty()) write();
  if (auto failed = std::exchange(failed_, std::nullopt)) return std::move(*failed);
  return {};
}

std::string with_real_ids(world const& w, netbox::kind const& k, std::string const& fields) {
  if (fields.empty() || k.refs.empty()) return fields;
  auto object = json::parse(fields, nullptr, false);
  if (!object.is_object()) return fields;
  for (auto const& [field, target] : k.refs) {
    auto const found = object.find(field);
    if (found == object.end() || !found->is_number_unsigned()) continue;
    if (auto const real = w.real(found->get<object_id>()))
      *found = *real;
    else
      object.erase(found);
  }
  return dump(object);
}

std::string text_of(known_object const& k) {
  json out{{"key", k.key}, {"applied", json::parse(k.applied, nullptr, false)}};
  if (out["applied"].is_discarded()) out["applied"] = json::object();
  if (k.gone_since)
    out["gone_since"] = std::chrono::floor<std::chrono::milliseconds>(k.gone_since->time_since_epoch()).count();
  return dump(out);
}

std::optional<known_object> known_from(std::string_view text) {
  auto const parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("key") || !parsed.at("key").is_string() || !parsed.contains("applied") ||
      !parsed.at("applied").is_object())
    return {};
  known_object out{parsed.at("key").get<std::string>(), dump(parsed.at("applied")), {}};
  if (auto const gone = parsed.find("gone_since"); gone != parsed.end() && gone->is_number_integer())
    out.gone_since = time(std::chrono::milliseconds(gone->get<std::int64_t>()));
  return out;
}

store::object_record record_of(world& w, memory& known, change const& c) {
  store::object_record o;
  o.action = std::string(name(c.what));
  o.label = c.label;
  o.key = c.key.text();
  auto const real = c.what == action::create ? std::nullopt : w.real(c.object);
  o.netbox_id = real.value_or(0);
  o.before = with_real_ids(w, *c.kind, c.before.text());
  o.after = with_real_ids(w, *c.kind, c.body.text());
  auto const last = real ? known.of(*c.kind, *real) : std::nullopt;
  if (last) o.known_before = text_of(*last);
  if (c.what == action::erase) return o;
  store::known_record now;
  if (!c.applied.empty()) {
    auto const emitted = c.key.unpack();
    auto const text = emitted.is_object() ? w.key_text(*c.kind, emitted) : std::nullopt;
    auto key = text ? real_key(w, *c.kind, *text) : std::nullopt;
    if (!key && last) key = last->key;
    if (key) {
      now.key = std::move(*key);
      now.applied = with_real_ids(w, *c.kind, dump(remembered(c)));
      // What another stage has applied to the same object stays known. What is undone says all there is.
      if (last && c.why != reason::undone) {
        auto all = json::parse(last->applied, nullptr, false);
        auto const fresh = json::parse(now.applied, nullptr, false);
        if (all.is_object() && fresh.is_object()) {
          all.update(fresh);
          now.applied = dump(all);
        }
      }
    }
  }
  // Since when it has been gone stays known while it is.
  if (last && (c.why == reason::gone || c.why == reason::released)) now.gone_since = last->gone_since;
  o.known = std::move(now);
  return o;
}

}  // namespace weir::engine
