#include "core/netbox/value.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;

json const nothing;  // null

json canonical_number(json const& v) {
  if (v.is_number_float()) {
    double const d = v.get<double>();
    if (d == static_cast<double>(static_cast<std::int64_t>(d)) && d < 9e15 && d > -9e15)
      return static_cast<std::int64_t>(d);
  }
  return v;
}

bool as_number(json const& v, double& out) {
  if (v.is_number()) return out = v.get<double>(), true;
  if (!v.is_string()) return false;
  auto const& s = v.get_ref<std::string const&>();
  auto const r = std::from_chars(s.data(), s.data() + s.size(), out);
  return r.ec == std::errc{} && r.ptr == s.data() + s.size();
}

void canonical_time(json& v) {
  if (!v.is_string()) return;
  if (auto const t = base::parse_instant(v.get_ref<std::string const&>())) v = base::format_instant(*t);
}

json tag_slugs(json const& list) {
  std::vector<std::string> slugs;
  for (auto const& tag : list) {
    if (tag.is_string())
      slugs.push_back(tag.get<std::string>());
    else if (tag.is_object() && tag.contains("slug"))
      slugs.push_back(tag.at("slug").get<std::string>());
  }
  std::sort(slugs.begin(), slugs.end());
  slugs.erase(std::unique(slugs.begin(), slugs.end()), slugs.end());
  return slugs;
}

std::string_view trimmed(std::string_view text) {
  constexpr auto blanks = " \t\r\n\v\f";
  auto const from = text.find_first_not_of(blanks);
  return from == std::string_view::npos ? std::string_view{}
                                        : text.substr(from, text.find_last_not_of(blanks) + 1 - from);
}

bool blank(json const& v) { return v.is_null() || (v.is_string() && trimmed(v.get_ref<std::string const&>()).empty()); }

}  // namespace

json normalise(kind const& k, json const& raw,
               std::function<std::uint64_t(std::uint64_t, std::string const&)> const& id_of) {
  json out = json::object();
  for (auto const& [name, value] : raw.items()) {
    if (name == "tags" && value.is_array()) {
      out[name] = tag_slugs(value);
    } else if (auto const ref = k.refs.find(name); ref != k.refs.end()) {
      json const& id = value.is_object() && value.contains("id") ? value.at("id") : value;
      bool const is_id = id.is_number_unsigned() || (id.is_number_integer() && id.get<std::int64_t>() >= 0);
      out[name] = is_id ? json(id_of(id.get<std::uint64_t>(), ref->second)) : id;
    } else if (value.is_object() && value.contains("value") && value.contains("label")) {
      out[name] = value.at("value");
    } else if (value.is_object() && value.contains("id") && value.contains("url")) {
      out[name] = value.at("id");  // refers to a kind that nobody asked about: a tenant
    } else if (k.times.contains(name)) {
      out[name] = value;
      canonical_time(out[name]);
    } else {
      out[name] = canonical_number(value);
    }
  }
  return out;
}

json normalise_desired(kind const& k, json fields) {
  if (!fields.is_object()) return json::object();
  for (auto const& [name, value] : fields.items()) {
    if (name == "tags" && value.is_array())
      value = tag_slugs(value);
    else if (k.times.contains(name))
      canonical_time(value);
    else
      value = canonical_number(value);
  }
  return fields;
}

bool same(json const& a, json const& b) {
  if (a == b) return true;
  if (blank(a) && blank(b)) return true;
  // Django REST framework strips the text it is sent.
  if (a.is_string() && b.is_string())
    return trimmed(a.get_ref<std::string const&>()) == trimmed(b.get_ref<std::string const&>());
  double x = 0, y = 0;
  // Only a number and its text form: two different texts are two different texts ("1" and "01").
  if ((a.is_number() || b.is_number()) && as_number(a, x) && as_number(b, y)) return x == y;
  return false;
}

json const& at(json const& object, std::string_view name) {
  json const* here = &object;
  while (true) {
    auto const dot = name.find('.');
    if (!here->is_object()) return nothing;
    auto const found = here->find(name.substr(0, dot));
    if (found == here->end()) return nothing;
    here = &*found;
    if (dot == std::string_view::npos) return *here;
    name.remove_prefix(dot + 1);
  }
}

void put(json& object, std::string_view name, json value) {
  json* here = &object;
  while (true) {
    auto const dot = name.find('.');
    if (!here->is_object()) *here = json::object();
    json& next = (*here)[std::string(name.substr(0, dot))];
    if (dot == std::string_view::npos) {
      next = std::move(value);
      return;
    }
    here = &next;
    name.remove_prefix(dot + 1);
  }
}

std::string dump(json const& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace weir::netbox
