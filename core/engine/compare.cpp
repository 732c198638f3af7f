#include "core/engine/compare.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::put;
using netbox::rule;
using nlohmann::json;

namespace {

std::string text_of(json const& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

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

}  // namespace

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

compared compare(netbox::kind const& k, json const& actual, json const& wanted, json const& key,
                 std::optional<json> const& last, show_value const& show) {
  compared out;
  json body = json::object(), old = json::object(), after = actual, applied = json::object();
  (void)last;
  auto const consider = [&](std::string const& leaf, json const& value) {
    if (auto const frozen = k.frozen_while.find(leaf); frozen != k.frozen_while.end()) {
      auto const& count = at(actual, frozen->second);
      if (count.is_number() && count.get<double>() > 0) return;
    }
    json next = value;
    switch (k.rule_of(leaf)) {
      case rule::on_create:
      case rule::never:
        return;
      case rule::always:
      case rule::unless_edited:
        break;
      case rule::merge:
        next = merged(k, leaf, at(actual, leaf), value, actual);
        break;
    }
    applied[leaf] = value;
    auto const& before = at(actual, leaf);
    // A set has no order, and NetBox answers some of them in its own.
    bool const is_set = k.rule_of(leaf) == rule::merge;
    if (is_set ? words(before) == words(next) : netbox::same(before, next)) return;
    out.fields.push_back({leaf, show(leaf, before), show(leaf, next)});
    put(old, leaf, before);
    put(body, leaf, next);
    put(after, leaf, std::move(next));
  };
  for (auto const& leaf : leaves(wanted)) consider(leaf, at(wanted, leaf));
  for (auto const& member : k.key)
    if (at(wanted, member).is_null()) consider(member, at(key, member));
  out.body = text_of(body);
  out.before = text_of(old);
  out.after = text_of(after);
  out.applied = text_of(applied);
  return out;
}

created create(netbox::kind const& k, json const& whole, json const& wanted, json const& key, show_value const& show) {
  (void)k, (void)wanted, (void)key;
  created out;
  json applied = json::object();
  for (auto const& leaf : leaves(whole)) {
    out.fields.push_back({leaf, "", show(leaf, at(whole, leaf))});
    applied[leaf] = at(whole, leaf);
  }
  out.body = text_of(whole);
  out.applied = text_of(applied);
  return out;
}

}  // namespace weir::engine
