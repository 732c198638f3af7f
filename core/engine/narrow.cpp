#include "core/engine/narrow.hpp"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

namespace {

using nlohmann::json;

constexpr std::size_t most_objects = 50;     // wanted of one kind; above it all of the kind is read
constexpr std::size_t longest_query = 2000;  // bytes; gunicorn takes 4094 for the whole request line
constexpr std::string_view custom = "custom_fields.";

class gathering {
 public:
  explicit gathering(netbox::registry const& kinds) : kinds_(kinds) {}

  void add(netbox::kind const& k, json const& key, json const* fields) {
    auto& text = all_[k.name].objects[key.dump()];
    if (fields) text = fields->dump();
    refer(k, key);
    if (!fields) return;
    refer(k, *fields);
    if (auto const create = fields->find("$create"); create != fields->end()) refer(k, *create);
  }

  std::map<std::string, asked_for> take() { return std::move(all_); }

 private:
  void refer(netbox::kind const& k, json const& object) {
    for (auto const& [field, target] : k.refs) {
      auto const value = object.find(field);
      if (value == object.end() || !value->is_object()) continue;
      if (auto const* parent = kinds_.find(target)) add(*parent, *value, nullptr);
    }
  }

  netbox::registry const& kinds_;
  std::map<std::string, asked_for> all_;
};

// A parameter of NetBox's lists, with the values of which one must hold.
using parameters = std::map<std::string, std::set<std::string>>;

std::string as_text(json const& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// Adds what the member says of one object; false if it says nothing that NetBox can be asked for.
bool add_member(world& w, netbox::kind const& k, std::string const& member, json const& value, parameters& to) {
  if (auto const ref = k.refs.find(member); ref != k.refs.end()) {
    auto const* target = w.kinds().find(ref->second);
    auto const id = value.is_object() && target ? w.find(*target, value) : std::nullopt;
    auto const real = id ? w.real(*id) : std::nullopt;
    if (!real) return false;
    to[member + "_id"].insert(std::to_string(*real));
    return true;
  }
  if (value.is_null() || value.is_structured() || as_text(value).empty()) return false;
  if (member.starts_with(custom))
    to["cf_" + member.substr(custom.size())].insert(as_text(value));
  else
    to[value.is_string() ? member + "__ie" : member].insert(as_text(value));
  return true;
}

// Nothing, if it would be too long or would let everything through.
std::optional<std::string> to_query(parameters const& all) {
  std::string out;
  for (auto const& [name, values] : all)
    for (auto const& value : values) out += (out.empty() ? "" : "&") + name + "=" + base::url_encode(value);
  if (out.empty() || out.size() > longest_query) return {};
  return out;
}

}  // namespace

std::map<std::string, asked_for> everything_asked_for(netbox::registry const& kinds, collected const& what) {
  gathering all(kinds);
  for (auto const& [name, objects] : what.objects)
    for (auto const& d : objects) {
      auto const fields = d.fields.unpack();
      all.add(*kinds.find(name), d.key.unpack(), &fields);
    }
  return all.take();
}

std::optional<std::vector<std::string>> queries_for(world& w, netbox::kind const& k, asked_for const& wanted) {
  // Shared kinds are small, and what is found there by its name may be anybody's.
  if (k.mark.empty() || k.supporting) return {};
  // One parent's children are few, whatever they are called; their names would make the request long.
  std::vector<std::string> members;
  for (auto const& member : k.key)
    if (k.refs.contains(member)) members.push_back(member);
  bool const by_parent = !members.empty();
  // By the rest of the key: what the proxbox service made has the same, and nobody's mark.
  if (!by_parent)
    std::copy_if(k.key.begin(), k.key.end(), std::back_inserter(members),
                 [&](auto const& member) { return member != k.mark || k.key.size() == 1; });
  parameters by_key;
  std::vector<parameters> by_adoption(k.adopt_by.size());
  if (!by_parent && wanted.objects.size() > most_objects) return {};
  for (auto const& [key_text, fields_text] : wanted.objects) {
    auto const key = json::parse(key_text);
    parameters one;
    bool whole = true;
    for (auto const& member : members) {
      auto const value = key.contains(member) ? key.at(member) : netbox::at(key, member);
      whole = whole && add_member(w, k, member, value, one);
    }
    // Whose parent is not in NetBox is not there either.
    if (whole)
      for (auto& [name, values] : one) by_key[name].merge(values);
    if (fields_text.empty()) continue;
    auto const fields = json::parse(fields_text);
    static json const none = json::object();
    auto const created = fields.find("$create");
    for (std::size_t i = 0; i < k.adopt_by.size(); ++i) {
      parameters other;
      bool all = true;
      for (auto const& member : k.adopt_by[i]) {
        json value;
        for (json const* from : {&fields, created == fields.end() ? &none : &*created, &key})
          if (value.is_null()) value = from->contains(member) ? from->at(member) : netbox::at(*from, member);
        all = all && add_member(w, k, member, value, other);
      }
      if (all)
        for (auto& [name, values] : other) by_adoption[i][name].merge(values);
    }
  }
  std::vector<std::string> out;
  auto const take = [&](parameters const& from) {
    if (from.empty()) return true;
    auto query = to_query(from);
    if (query) out.push_back(std::move(*query));
    return query.has_value();
  };
  if (!take(by_key)) return {};
  for (auto const& one : by_adoption)
    if (!take(one)) return {};
  return out;
}

}  // namespace weir::engine
