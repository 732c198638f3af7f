#include "core/sim/netbox_store.hpp"

#include "core/base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

namespace weir::sim {

namespace {

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string trimmed(std::string const& text) {
  auto const from = text.find_first_not_of(" \t\r\n\v\f");
  if (from == std::string::npos) return {};
  return text.substr(from, text.find_last_not_of(" \t\r\n\v\f") - from + 1);
}

std::string capitalised(std::string text) {
  std::replace(text.begin(), text.end(), '_', ' ');
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

bool is_slug(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::optional<std::int64_t> as_integer(json const& v) {
  if (v.is_number_integer()) return v.get<std::int64_t>();
  if (v.is_number_float()) {
    auto const d = v.get<double>();
    if (d == std::floor(d) && std::abs(d) < 9e18) return static_cast<std::int64_t>(d);
    return std::nullopt;
  }
  if (!v.is_string()) return std::nullopt;
  auto const text = trimmed(v.get<std::string>());
  try {
    std::size_t used = 0;
    auto const n = std::stoll(text, &used);
    if (used == text.size()) return n;
  } catch (std::exception const&) {
  }
  return std::nullopt;
}

std::optional<double> as_decimal(json const& v) {
  if (v.is_number()) return v.get<double>();
  if (!v.is_string()) return std::nullopt;
  auto const text = trimmed(v.get<std::string>());
  try {
    std::size_t used = 0;
    auto const d = std::stod(text, &used);
    if (used == text.size() && std::isfinite(d)) return d;
  } catch (std::exception const&) {
  }
  return std::nullopt;
}

std::string shown(double bound) {
  return bound == std::floor(bound) ? std::to_string(static_cast<std::int64_t>(bound)) : fmt::format("{}", bound);
}

char const* python_type(json const& v) {
  if (v.is_object()) return "dict";
  if (v.is_array()) return "list";
  if (v.is_string()) return "str";
  if (v.is_boolean()) return "bool";
  if (v.is_number_float()) return "float";
  if (v.is_number()) return "int";
  return "NoneType";
}

// The content types that may be named, simulated or not.
constexpr std::string_view other_types[] = {"dcim.interface",
                                            "dcim.platform",
                                            "dcim.location",
                                            "dcim.region",
                                            "dcim.sitegroup",
                                            "dcim.macaddress",
                                            "virtualization.clustergroup",
                                            "virtualization.vminterface",
                                            "virtualization.virtualdisk",
                                            "virtualization.virtualmachinetype",
                                            "ipam.ipaddress",
                                            "ipam.prefix",
                                            "ipam.vlan",
                                            "tenancy.tenant"};

std::string user_error(char const* text) { return text; }

}  // namespace

std::string format_time(std::int64_t microseconds) {
  auto const seconds = microseconds / 1'000'000;
  auto const rest = microseconds % 1'000'000;
  auto text = base::format_instant(base::instant(std::chrono::microseconds(seconds * 1'000'000)));
  text.pop_back();  // the Z
  return rest == 0 ? text + "Z" : fmt::format("{}.{:06}Z", text, rest);
}

std::string format_etag(std::int64_t microseconds) {
  auto text = format_time(microseconds);
  text.pop_back();
  return "W/\"" + text + "+00:00\"";
}

bool natural_less(std::string_view a, std::string_view b) {
  auto const digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < a.size() && k < b.size()) {
    if (digit(a[i]) && digit(b[k])) {
      auto const run = [&](std::string_view s, std::size_t& at) {
        while (at + 1 < s.size() && s[at] == '0' && digit(s[at + 1])) ++at;
        auto const from = at;
        while (at < s.size() && digit(s[at])) ++at;
        return s.substr(from, at - from);
      };
      auto const x = run(a, i);
      auto const y = run(b, k);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
      continue;
    }
    auto const low = [](char c) { return static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c + 32 : c); };
    if (low(a[i]) != low(b[k])) return low(a[i]) < low(b[k]);
    ++i;
    ++k;
  }
  if (a.size() - i != b.size() - k) return a.size() - i < b.size() - k;
  return a < b;
}

std::string python_repr(json const& v) {
  if (v.is_null()) return "None";
  if (v.is_boolean()) return v.get<bool>() ? "True" : "False";
  if (v.is_string()) return "'" + v.get<std::string>() + "'";
  if (v.is_object() || v.is_array()) {
    std::string out;
    for (auto const& [key, item] : v.items()) {
      if (!out.empty()) out += ", ";
      if (v.is_object()) out += "'" + key + "': ";
      out += python_repr(item);
    }
    return v.is_object() ? "{" + out + "}" : "[" + out + "]";
  }
  return v.dump();
}

std::size_t netbox_table::field(std::string_view name) const {
  for (std::size_t i = 0; i < model->fields.size(); ++i)
    if (model->fields[i].name == name) return i;
  return npos;
}

struct netbox_store::state {
  state(netbox_store& store, std::function<std::int64_t()> time) : self(store), wall(std::move(time)) {
    if (!wall)
      wall = [] {
        return std::int64_t{
            std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count()};
      };
  }

  netbox_store& self;
  std::function<std::int64_t()> wall;
  std::vector<netbox_table> tables;
  std::map<std::string, std::vector<std::int64_t>, std::less<>> custom_by_type;
  std::vector<change_entry> changes;
  std::uint64_t version = 1;
  std::int64_t clock = 0;
  std::int64_t next_change = 1;
  std::string user;
  std::string request_id;

  struct undo {
    netbox_table* table;
    std::int64_t id;
    std::optional<netbox_row> before;
  };
  std::vector<undo> undos;
  std::size_t changes_before = 0;

  // Strictly rising, so that no two versions of an object bear the same ETag.
  std::int64_t now() {
    clock = std::max(clock + 1, wall());
    return clock;
  }

  json const& at(netbox_table const& t, netbox_row const& r, std::string_view name) const {
    static json const none;
    auto const i = t.field(name);
    return i == netbox_table::npos ? none : r.values[i];
  }

  // --- indexes

  std::optional<std::string> unique_key(netbox_table const& t, unique_rule const& rule, netbox_row const& r) const {
    if (!rule.only_if_set.empty() && at(t, r, rule.only_if_set).is_null()) return std::nullopt;
    if (!rule.only_if_null.empty() && !at(t, r, rule.only_if_null).is_null()) return std::nullopt;
    std::string key;
    for (auto const& name : rule.fields) {
      bool const lower = name.starts_with("lower(");
      auto const& v = at(t, r, lower ? std::string_view(name).substr(6, name.size() - 7) : std::string_view(name));
      if (v.is_null() && rule.nulls_distinct) return std::nullopt;
      key += lower && v.is_string() ? base::lower(v.get<std::string>()) : v.dump();
      key += '\x1f';
    }
    return key;
  }

  // Calls `each(slot, key)` for every uniqueness the row takes part in.
  template <class Each>
  void unique_keys(netbox_table const& t, netbox_row const& r, Each each) const {
    std::size_t slot = 0;
    for (auto const& rule : t.model->unique) {
      if (auto key = unique_key(t, rule, r)) each(slot, *key);
      ++slot;
    }
    for (std::size_t i = 0; i < t.model->fields.size(); ++i) {
      if (!t.model->fields[i].unique) continue;
      if (!r.values[i].is_null()) each(slot, r.values[i].dump());
      ++slot;
    }
  }

  void index(netbox_table& t, netbox_row const& r, bool in) {
    unique_keys(t, r, [&](std::size_t slot, std::string const& key) {
      if (in)
        t.unique[slot][key] = r.id;
      else
        t.unique[slot].erase(key);
    });
    for (std::size_t i = 0; i < t.model->fields.size(); ++i) {
      if (t.model->fields[i].kind != field_kind::reference || r.values[i].is_null()) continue;
      auto& ids = t.referrers[i][r.values[i].get<std::int64_t>()];
      if (in)
        ids.insert(r.id);
      else
        ids.erase(r.id);
    }
  }

  void put(netbox_table& t, netbox_row row, bool remember = true) {
    ++version;
    auto const found = t.rows.find(row.id);
    if (remember) undos.push_back({&t, row.id, found == t.rows.end() ? std::nullopt : std::optional(found->second)});
    if (found != t.rows.end()) index(t, found->second, false);
    index(t, row, true);
    auto const id = row.id;
    t.rows.insert_or_assign(id, std::move(row));
    if (t.model->type == "extras.customfield") list_custom_fields();
  }

  void drop(netbox_table& t, std::int64_t id, bool remember = true) {
    ++version;
    auto const found = t.rows.find(id);
    if (found == t.rows.end()) return;
    if (remember) undos.push_back({&t, id, found->second});
    index(t, found->second, false);
    t.rows.erase(found);
    if (t.model->type == "extras.customfield") list_custom_fields();
  }

  void list_custom_fields() {
    custom_by_type.clear();
    auto& t = self.of("extras.customfield");
    std::vector<std::int64_t> ids;
    for (auto const& [id, row] : t.rows) ids.push_back(id);
    self.sort(t, ids);
    for (auto const id : ids)
      for (auto const& type : at(t, t.rows.at(id), "object_types"))
        custom_by_type[type.get<std::string>()].push_back(id);
  }

  void log(netbox_table const& t, netbox_row const& r, char const* action, std::string const& message) {
    changes.push_back({next_change++, now(), request_id, action, &t, r.id, self.display(t, r), message, user});
  }

  // --- validation, first as the serializer (field by field), then as the model (the object as a whole)

  bool content_type_exists(std::string const& type) const {
    for (auto const& t : tables)
      if (t.model->type == type) return !t.model->plugin || self.plugin;
    return std::find(std::begin(other_types), std::end(other_types), type) != std::end(other_types);
  }

  // The id of the one object that `v` (an id or a dict of attributes) names.
  std::optional<std::int64_t> resolve(netbox_table const& target, json const& v, std::string& error) const {
    if (v.is_object()) {
      std::vector<std::int64_t> found;
      for (auto const& [id, row] : target.rows) {
        bool all = true;
        for (auto const& [key, wanted] : v.items()) {
          if (key == "id") {
            all = all && as_integer(wanted) == id;
            continue;
          }
          auto const i = target.field(key);
          if (i == netbox_table::npos) {
            error = "Related object not found using the provided attributes: " + python_repr(v);
            return std::nullopt;
          }
          all = all && row.values[i] == wanted;
        }
        if (all) found.push_back(id);
      }
      if (found.size() == 1) return found[0];
      error = (found.empty() ? "Related object not found using the provided attributes: "
                             : "Multiple objects match the provided attributes: ") +
              python_repr(v);
      return std::nullopt;
    }
    auto const id = v.is_boolean() ? std::nullopt : as_integer(v);
    if (!id) {
      error =
          "Related objects must be referenced by numeric ID or by dictionary of attributes. Received an unrecognized "
          "value: " +
          (v.is_string() ? v.get<std::string>() : python_repr(v));
      return std::nullopt;
    }
    if (target.rows.count(*id) == 0) {
      error = "Related object not found using the provided numeric ID: " + std::to_string(*id);
      return std::nullopt;
    }
    return id;
  }

  // The stored form of `v`, or an error.
  std::string clean(model_field const& f, json const& v, json& out) {
    if (v.is_null()) {
      if (!f.nullable) return "This field may not be null.";
      out = nullptr;
      return {};
    }
    switch (f.kind) {
      case field_kind::text:
      case field_kind::slug: {
        if (!v.is_string() && !v.is_number()) return "Not a valid string.";
        auto text = trimmed(v.is_string() ? v.get<std::string>() : v.dump());  // NetBox strips what surrounds a text
        if (text.empty() && !f.blank) return "This field may not be blank.";
        if (text.find('\0') != std::string::npos) return "Null characters are not allowed.";
        if (f.max_length != 0 && code_points(text) > f.max_length)
          return fmt::format("Ensure this field has no more than {} characters.", f.max_length);
        if (f.kind == field_kind::slug && !is_slug(text))
          return "Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens.";
        if (f.name == "color" && (text.size() != 6 || text.find_first_not_of("0123456789abcdef") != std::string::npos))
          return "Enter a valid hexadecimal RGB color code.";
        out = std::move(text);
        return {};
      }
      case field_kind::integer: {
        auto const n = v.is_boolean() ? std::nullopt : as_integer(v);
        if (!n) return "A valid integer is required.";
        auto const d = static_cast<double>(*n);
        if (f.minimum && d < *f.minimum)
          return "Ensure this value is greater than or equal to " + shown(*f.minimum) + ".";
        if (f.maximum && d > *f.maximum) return "Ensure this value is less than or equal to " + shown(*f.maximum) + ".";
        out = *n;
        return {};
      }
      case field_kind::decimal: {
        auto const d = v.is_boolean() ? std::nullopt : as_decimal(v);
        if (!d) return "A valid number is required.";
        auto const scaled = *d * std::pow(10, f.decimal_places);
        if (std::abs(scaled - std::round(scaled)) > 1e-6)
          return fmt::format("Ensure that there are no more than {} decimal places.", f.decimal_places);
        if (f.minimum && *d < *f.minimum)
          return "Ensure this value is greater than or equal to " + shown(*f.minimum) + ".";
        out = *d;
        return {};
      }
      case field_kind::boolean:
        if (v.is_boolean())
          out = v;
        else if (v == 1 || v == "true" || v == "True" || v == "1")
          out = true;
        else if (v == 0 || v == "false" || v == "False" || v == "0")
          out = false;
        else
          return "Must be a valid boolean.";
        return {};
      case field_kind::choice:
        if (v.is_object() || v.is_array())
          return "Value must be passed directly (e.g. \"foo\": 123); do not use a dictionary or list.";
        if (v == "" && f.nullable) {
          out = nullptr;
          return {};
        }
        if (v == "") return "This field may not be blank.";
        for (auto const& [value, label] : f.choices)
          if (v == value) {
            out = value;
            return {};
          }
        return (v.is_string() ? v.get<std::string>() : python_repr(v)) + " is not a valid choice.";
      case field_kind::instant: {
        constexpr char const* wrong =
            "Datetime has wrong format. Use one of these formats instead: "
            "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";
        if (!v.is_string()) return wrong;
        auto t = base::parse_instant(v.get<std::string>());
        if (!t) t = base::parse_instant(v.get<std::string>() + "Z");
        if (!t) return wrong;
        out = format_time(t->time_since_epoch().count());
        return {};
      }
      case field_kind::reference: {
        std::string error;
        auto const id = resolve(self.of(f.target), v, error);
        if (!id) return error;
        out = *id;
        return {};
      }
      case field_kind::foreign:
        if (v.is_object()) return "Related object not found using the provided attributes: " + python_repr(v);
        return "Related object not found using the provided numeric ID: " +
               (v.is_string() ? v.get<std::string>() : v.dump());
      case field_kind::object_types: {
        if (!v.is_array()) return fmt::format("Expected a list of items but got type \"{}\".", python_type(v));
        std::set<std::string> names;
        for (auto const& item : v) {
          if (!item.is_string() || item.get<std::string>().find('.') == std::string::npos)
            return "Invalid value. Specify a content type as '<app_label>.<model_name>'.";
          if (!content_type_exists(item.get<std::string>())) return "Invalid content type: " + item.get<std::string>();
          names.insert(item.get<std::string>());
        }
        out = json(names);
        return {};
      }
      case field_kind::scope_type:
        if (!v.is_string()) return "Invalid value. Specify a content type as '<app_label>.<model_name>'.";
        if (!content_type_exists(v.get<std::string>())) return "Invalid content type: " + v.get<std::string>();
        out = v;
        return {};
      case field_kind::scope_id: {
        auto const n = as_integer(v);
        if (!n) return "A valid integer is required.";
        out = *n;
        return {};
      }
      case field_kind::free_json:
        out = v;
        return {};
      case field_kind::fixed:
      case field_kind::count:
      case field_kind::sum:
      case field_kind::scope:
      case field_kind::data_type:
        return {};
    }
    return {};
  }

  static bool read_only(model_field const& f) {
    return f.kind == field_kind::fixed || f.kind == field_kind::count || f.kind == field_kind::sum ||
           f.kind == field_kind::scope || f.kind == field_kind::data_type;
  }

  std::string clean_custom(netbox_table const& fields, netbox_row const& field, json const& v) const {
    auto const type = at(fields, field, "type").get<std::string>();
    if (v.is_null()) return at(fields, field, "required") == true ? "Required field" : "";
    if (type == "text" || type == "longtext" || type == "url") {
      if (!v.is_string()) return user_error("Value must be a string.");
    } else if (type == "integer") {
      if (!v.is_number_integer()) return user_error("Value must be an integer.");
    } else if (type == "decimal") {
      if (!as_decimal(v) || v.is_boolean()) return user_error("Value must be a decimal.");
    } else if (type == "boolean") {
      if (!v.is_boolean() && v != 0 && v != 1) return user_error("Value must be true or false.");
    } else if (type == "date") {
      if (!v.is_string() || !base::parse_instant(v.get<std::string>() + "T00:00:00Z"))
        return user_error("Date values must be in ISO 8601 format (YYYY-MM-DD).");
    } else if (type == "datetime") {
      if (!v.is_string() ||
          (!base::parse_instant(v.get<std::string>()) && !base::parse_instant(v.get<std::string>() + "Z")))
        return user_error("Date and time values must be in ISO 8601 format (YYYY-MM-DD HH:MM:SS).");
    }
    return {};
  }

  void clean_tags(json const& v, netbox_row& row, json& errors) {
    if (!v.is_array()) {
      errors["tags"] = json::array({fmt::format("Expected a list of items but got type \"{}\".", python_type(v))});
      return;
    }
    std::set<std::int64_t> ids;
    for (auto const& item : v) {
      std::string error;
      auto const id = resolve(self.of("extras.tag"), item, error);
      if (!id) {
        errors["tags"] = json::array({error});
        return;
      }
      ids.insert(*id);
    }
    row.tags.assign(ids.begin(), ids.end());
  }

  // The serializer's part: takes `data` into `row`.
  json take(netbox_table& t, json const& data, bool partial, bool fresh, netbox_row& row) {
    json errors = json::object();
    std::size_t slot = t.model->unique.size();
    for (std::size_t i = 0; i < t.model->fields.size(); ++i) {
      auto const& f = t.model->fields[i];
      auto const my_slot = slot;
      if (f.unique) ++slot;
      if (read_only(f)) continue;
      auto const given = data.find(f.name);
      if (given == data.end()) {
        if (f.required && !partial) errors[f.name] = {"This field is required."};
        continue;
      }
      json cleaned;
      if (auto const error = clean(f, *given, cleaned); !error.empty()) {
        errors[f.name] = {error};
        continue;
      }
      if (f.unique && !cleaned.is_null()) {
        auto const other = t.unique[my_slot].find(cleaned.dump());
        if (other != t.unique[my_slot].end() && (fresh || other->second != row.id)) {
          errors[f.name] = {fmt::format("{} with this {} already exists.", t.model->verbose, f.name)};
          continue;
        }
      }
      row.values[i] = std::move(cleaned);
    }
    if (!t.model->taggable) return errors;
    if (auto const tags = data.find("tags"); tags != data.end()) clean_tags(*tags, row, errors);
    if (auto const custom = data.find("custom_fields"); custom != data.end()) {
      if (!custom->is_object()) {
        errors["custom_fields"] = {"Expected a dictionary of custom field data."};
        return errors;
      }
      auto const& fields = self.of("extras.customfield");
      json unknown = json::object();
      for (auto const& [name, v] : custom->items()) {
        bool known = false;
        for (auto const id : self.custom_fields_of(t.model->type))
          known = known || at(fields, fields.rows.at(id), "name") == name;
        if (!known) {
          unknown[name] = fmt::format("Custom field '{}' does not exist for this object type.", name);
          continue;
        }
        std::erase_if(row.custom, [&name = name](auto const& pair) { return pair.first == name; });
        if (!v.is_null()) row.custom.emplace_back(name, v);
      }
      if (!unknown.empty()) errors["custom_fields"] = unknown;
    }
    return errors;
  }

  static void add(json& errors, std::string const& field, std::string const& text) { errors[field].push_back(text); }

  json const* target_row_value(netbox_table const& t, netbox_row const& r, std::string_view ref,
                               std::string_view field) const {
    auto const& v = at(t, r, ref);
    if (v.is_null()) return nullptr;
    auto const& target = self.of(t.model->fields[t.field(ref)].target);
    return &at(target, target.rows.at(v.get<std::int64_t>()), field);
  }
  std::string name_of(std::string_view type, json const& id) const {
    auto const& t = self.of(type);
    return self.display(t, t.rows.at(id.get<std::int64_t>()));
  }
  // The site of a cluster, null if it has none.
  json site_of_cluster(json const& id) const {
    auto const& t = self.of("virtualization.cluster");
    auto const& r = t.rows.at(id.get<std::int64_t>());
    return at(t, r, "scope_type") == "dcim.site" ? at(t, r, "scope_id") : json();
  }

  // The model's part: rules about the object as a whole, and what it fills in by itself.
  json clean_whole(netbox_table& t, netbox_row& row, bool fresh) {
    json errors = json::object();
    auto const& type = t.model->type;
    auto const get = [&](std::string_view name) -> json const& { return at(t, row, name); };
    if (type == "virtualization.virtualmachine") {
      auto const& site = get("site");
      auto const& cluster = get("cluster");
      auto const& device = get("device");
      json const cluster_site = cluster.is_null() ? json() : site_of_cluster(cluster);
      json const device_cluster = device.is_null() ? json() : *target_row_value(t, row, "device", "cluster");
      json const device_site = device.is_null() ? json() : *target_row_value(t, row, "device", "site");
      if (site.is_null() && cluster.is_null() && device.is_null())
        add(errors, "__all__", "A virtual machine must be assigned to a site, cluster, or device.");
      else if (!cluster.is_null() && !site.is_null() && !cluster_site.is_null() && cluster_site != site)
        add(errors, "cluster",
            fmt::format("The selected cluster ({}) is not assigned to this site ({}).",
                        name_of("virtualization.cluster", cluster), name_of("dcim.site", site)));
      else if (!device.is_null() && !site.is_null() && device_site != site)
        add(errors, "site",
            fmt::format("The selected device ({}) is not assigned to this site ({}).", name_of("dcim.device", device),
                        name_of("dcim.site", site)));
      else if (!device.is_null() && cluster.is_null() && !device_cluster.is_null())
        add(errors, "cluster",
            fmt::format("Must specify the assigned device's cluster ({}) when assigning host device {}.",
                        name_of("virtualization.cluster", device_cluster), name_of("dcim.device", device)));
      else if (!device.is_null() && !cluster.is_null() && device_cluster != cluster)
        add(errors, "device",
            fmt::format("The selected device ({}) is not assigned to this cluster ({}).",
                        name_of("dcim.device", device), name_of("virtualization.cluster", cluster)));
      else if (site.is_null())
        row.values[t.field("site")] = !cluster_site.is_null() ? cluster_site : device_site;
    } else if (type == "dcim.device" && !get("cluster").is_null()) {
      auto const cluster_site = site_of_cluster(get("cluster"));
      if (!cluster_site.is_null() && cluster_site != get("site"))
        add(errors, "cluster",
            fmt::format("The assigned cluster belongs to a different site ({})", name_of("dcim.site", cluster_site)));
    } else if (type == "virtualization.cluster") {
      bool const typed = !get("scope_type").is_null();
      bool const with_id = !get("scope_id").is_null();
      if (typed != with_id)
        add(errors, typed ? "scope_id" : "scope_type", "Please select a scope.");
      else if (typed && get("scope_type") == "dcim.site") {
        if (self.of("dcim.site").rows.count(get("scope_id").get<std::int64_t>()) == 0) {
          add(errors, "scope_id", "Invalid scope: no such object.");
        } else if (!fresh) {
          auto& devices = self.of("dcim.device");
          std::size_t elsewhere = 0;
          for (auto const id : devices.referrers[devices.field("cluster")][row.id])
            if (at(devices, devices.rows.at(id), "site") != get("scope_id")) ++elsewhere;
          if (elsewhere != 0)
            add(errors, "scope",
                fmt::format("{} devices are assigned as hosts for this cluster but are not in site {}", elsewhere,
                            name_of("dcim.site", get("scope_id"))));
        }
      } else if (typed) {
        add(errors, "scope_type", "The simulator knows sites only.");
      }
    } else if (type == "extras.customfield") {
      auto const name = get("name").get<std::string>();
      if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
          std::string::npos)
        add(errors, "name", "Only alphanumeric characters and underscores are allowed.");
      if (name.find("__") != std::string::npos)
        add(errors, "name", "Double underscores are not permitted in custom field names.");
      if (!fresh && at(t, t.rows.at(row.id), "type") != get("type"))
        add(errors, "type", "Changing the type of custom fields is not supported.");
    }
    if (t.model->taggable) {
      auto const& fields = self.of("extras.customfield");
      for (auto const id : self.custom_fields_of(type)) {
        auto const& field = fields.rows.at(id);
        auto const name = at(fields, field, "name").get<std::string>();
        auto const found =
            std::find_if(row.custom.begin(), row.custom.end(), [&](auto const& pair) { return pair.first == name; });
        auto const error = clean_custom(fields, field, found == row.custom.end() ? json() : found->second);
        if (error == "Required field")
          add(errors, "__all__", "Missing required custom field '" + name + "'.");
        else if (!error.empty())
          add(errors, "__all__", fmt::format("Invalid value for custom field '{}': {}", name, error));
      }
    }
    unique_keys(t, row, [&](std::size_t slot, std::string const& key) {
      auto const found = t.unique[slot].find(key);
      if (found == t.unique[slot].end() || (!fresh && found->second == row.id) || slot >= t.model->unique.size())
        return;
      auto const& rule = t.model->unique[slot];
      if (!rule.message.empty()) {
        add(errors, "__all__", rule.message);
        return;
      }
      std::vector<std::string> names;
      for (auto const& name : rule.fields) names.push_back(capitalised(name));
      auto const last = names.back();
      names.pop_back();
      add(errors, "__all__",
          fmt::format("{} with this {} and {} already exists.", capitalised(t.model->verbose), base::join(names, ", "),
                      last));
    });
    return errors;
  }

  // Custom field data of an object type that a custom field no longer applies to goes away.
  void purge_custom(std::string const& name, json const& before, json const& after) {
    for (auto const& type : before) {
      if (std::find(after.begin(), after.end(), type) != after.end()) continue;
      if (!content_type_exists(type.get<std::string>())) continue;
      for (auto& t : tables) {
        if (t.model->type != type) continue;
        std::vector<netbox_row> purged;
        for (auto const& [id, row] : t.rows) {
          auto without = row;
          if (std::erase_if(without.custom, [&](auto const& pair) { return pair.first == name; }) != 0)
            purged.push_back(std::move(without));
        }
        for (auto& row : purged) put(t, std::move(row));
      }
    }
  }

  // What stands in the way of deleting, and what goes with it (in the order in which it must go).
  void collect(netbox_table& t, std::int64_t id, std::vector<std::pair<netbox_table*, std::int64_t>>& going,
               std::vector<std::string>& blockers) {
    if (std::find(going.begin(), going.end(), std::pair(&t, id)) != going.end()) return;
    for (auto& other : tables)
      for (std::size_t i = 0; i < other.model->fields.size(); ++i) {
        auto const& f = other.model->fields[i];
        if (f.kind != field_kind::reference || f.target != t.model->type) continue;
        auto const found = other.referrers[i].find(id);
        if (found == other.referrers[i].end()) continue;
        auto const ids = found->second;
        for (auto const referrer : ids) {
          if (f.rule == on_delete::protect)
            blockers.push_back(fmt::format("{} ({})", self.display(other, other.rows.at(referrer)), referrer));
          else if (f.rule == on_delete::cascade)
            collect(other, referrer, going, blockers);
        }
      }
    if (t.model->type == "dcim.site") {
      auto& clusters = self.of("virtualization.cluster");
      for (auto const& [cluster, row] : clusters.rows)
        if (at(clusters, row, "scope_type") == "dcim.site" && at(clusters, row, "scope_id") == id)
          collect(clusters, cluster, going, blockers);
    }
    going.emplace_back(&t, id);
  }

  int compare(netbox_table const& t, netbox_row const& a, netbox_row const& b, std::string_view name) const {
    auto const less_greater = [](auto const& x, auto const& y) { return x < y ? -1 : y < x ? 1 : 0; };
    if (name == "id") return less_greater(a.id, b.id);
    if (name == "created") return less_greater(a.created, b.created);
    if (name == "last_updated") return less_greater(a.last_updated, b.last_updated);
    auto const i = t.field(name);
    if (i == netbox_table::npos) return 0;
    auto const& x = a.values[i];
    auto const& y = b.values[i];
    if (x.is_null() || y.is_null()) return less_greater(x.is_null(), y.is_null());  // PostgreSQL: NULLs last
    auto const& f = t.model->fields[i];
    if (f.kind == field_kind::reference) {
      if (x == y) return 0;
      auto const& target = self.of(f.target);
      auto const& ra = target.rows.at(x.get<std::int64_t>());
      auto const& rb = target.rows.at(y.get<std::int64_t>());
      for (auto const& by : target.model->ordering)
        if (auto const c = compare(target, ra, rb, by); c != 0) return c;
      return less_greater(ra.id, rb.id);
    }
    if (f.kind == field_kind::text || f.kind == field_kind::slug) {
      auto const& s = x.get_ref<std::string const&>();
      auto const& u = y.get_ref<std::string const&>();
      return natural_less(s, u) ? -1 : natural_less(u, s) ? 1 : 0;
    }
    return less_greater(x, y);
  }
};

netbox_store::netbox_store(std::function<std::int64_t()> clock) : state_(new state(*this, std::move(clock))) {
  auto& s = *state_;
  s.tables.reserve(netbox_models().size());
  for (auto const& model : netbox_models()) {
    auto& t = s.tables.emplace_back();
    t.model = &model;
    std::size_t slots = model.unique.size();
    for (auto const& f : model.fields) {
      slots += f.unique ? 1 : 0;
      t.defaults.push_back(json::parse(f.fallback));
    }
    t.unique.resize(slots);
    t.referrers.resize(model.fields.size());
  }
  // What the plugin's migrations put into a new database.
  begin("", "00000000-0000-0000-0000-000000000000");
  json out;
  of("extras.customfield").next_id = 8;
  for (auto const& [name, label] :
       {std::pair("proxmox_node", "Proxmox target node"), std::pair("proxmox_storage", "Proxmox storage pool")})
    create(of("extras.customfield"),
           {{"name", name},
            {"label", label},
            {"type", "text"},
            {"object_types", {"virtualization.virtualmachine"}},
            {"search_weight", 0}},
           out);
  of("extras.customfield").next_id = 18;
  create(of("dcim.devicerole"),
         {{"name", "Virtual Machine (QEMU)"}, {"slug", "virtual-machine-qemu"}, {"color", "9c27b0"}}, out);
  create(of("dcim.devicerole"), {{"name", "Container (LXC)"}, {"slug", "container-lxc"}, {"color", "00bcd4"}}, out);
  s.changes.clear();
  s.next_change = 1;
}

netbox_store::~netbox_store() = default;

netbox_table* netbox_store::at_path(std::string_view path) {
  for (auto& t : state_->tables)
    if (t.model->path == path && (plugin || !t.model->plugin)) return &t;
  return nullptr;
}

netbox_table& netbox_store::of(std::string_view type) {
  for (auto& t : state_->tables)
    if (t.model->type == type) return t;
  throw std::logic_error("no such object type: " + std::string(type));
}

std::vector<netbox_table*> netbox_store::tables() {
  std::vector<netbox_table*> out;
  for (auto& t : state_->tables)
    if (plugin || !t.model->plugin) out.push_back(&t);
  return out;
}

void netbox_store::begin(std::string user, std::string request_id) {
  state_->undos.clear();
  state_->changes_before = state_->changes.size();
  state_->user = std::move(user);
  state_->request_id = std::move(request_id);
}

void netbox_store::rollback() {
  auto& s = *state_;
  for (auto it = s.undos.rbegin(); it != s.undos.rend(); ++it) {
    if (it->before)
      s.put(*it->table, std::move(*it->before), false);
    else
      s.drop(*it->table, it->id, false);
  }
  s.undos.clear();
  s.changes.resize(s.changes_before);
}

bool netbox_store::create(netbox_table& t, json const& data, json& out) {
  auto& s = *state_;
  if (!data.is_object()) {
    out = {{"__all__", {fmt::format("Invalid data. Expected a dictionary, but got {}.", python_type(data))}}};
    return false;
  }
  netbox_row row;
  row.values = t.defaults;
  if (t.model->taggable) {
    auto const& fields = of("extras.customfield");
    for (auto const id : custom_fields_of(t.model->type))
      if (auto const& fallback = s.at(fields, fields.rows.at(id), "default"); !fallback.is_null())
        row.custom.emplace_back(s.at(fields, fields.rows.at(id), "name").get<std::string>(), fallback);
  }
  out = s.take(t, data, false, true, row);
  if (out.empty()) out = s.clean_whole(t, row, true);
  if (!out.empty()) return false;
  row.id = t.next_id++;
  row.created = s.now();
  row.last_updated = s.now();
  auto const id = row.id;
  auto const message = data.value("changelog_message", json(""));
  s.log(t, row, "create", message.is_string() ? message.get<std::string>() : "");
  s.put(t, std::move(row));
  out = id;
  return true;
}

bool netbox_store::update(netbox_table& t, std::int64_t id, json const& data, bool partial, json& errors) {
  auto& s = *state_;
  auto const& before = t.rows.at(id);
  auto row = before;
  errors = s.take(t, data, partial, false, row);
  if (errors.empty()) errors = s.clean_whole(t, row, false);
  if (!errors.empty()) return false;
  bool const changed = row.values != before.values || row.tags != before.tags || row.custom != before.custom;
  row.last_updated = s.now();  // moves even if nothing changed
  if (changed) {
    auto const message = data.value("changelog_message", json(""));
    s.log(t, row, "update", message.is_string() ? message.get<std::string>() : "");
  }
  if (t.model->type == "extras.customfield")
    s.purge_custom(s.at(t, before, "name").get<std::string>(), s.at(t, before, "object_types"),
                   s.at(t, row, "object_types"));
  s.put(t, std::move(row));
  return true;
}

std::vector<std::string> netbox_store::erase(netbox_table& t, std::int64_t id, std::string const& message) {
  auto& s = *state_;
  std::vector<std::pair<netbox_table*, std::int64_t>> going;
  std::vector<std::string> blockers;
  s.collect(t, id, going, blockers);
  if (!blockers.empty()) return blockers;
  for (auto const& [table, gone] : going) {
    s.log(*table, table->rows.at(gone), "delete", gone == id && table == &t ? message : "");
    for (auto& other : s.tables)
      for (std::size_t i = 0; i < other.model->fields.size(); ++i) {
        auto const& f = other.model->fields[i];
        if (f.kind != field_kind::reference || f.target != table->model->type || f.rule != on_delete::set_null)
          continue;
        auto const ids = other.referrers[i][gone];
        for (auto const referrer : ids) {
          auto row = other.rows.at(referrer);
          row.values[i] = nullptr;
          s.put(other, std::move(row));
        }
      }
    if (table->model->type == "extras.tag") {
      for (auto& other : s.tables) {
        std::vector<netbox_row> untagged;
        for (auto const& [other_id, row] : other.rows)
          if (std::find(row.tags.begin(), row.tags.end(), gone) != row.tags.end()) untagged.push_back(row);
        for (auto& row : untagged) {
          std::erase(row.tags, gone);
          s.put(other, std::move(row));
        }
      }
    }
    if (table->model->type == "extras.customfield") {
      auto const& row = table->rows.at(gone);
      s.purge_custom(s.at(*table, row, "name").get<std::string>(), s.at(*table, row, "object_types"), json::array());
    }
    s.drop(*table, gone);
  }
  return {};
}

std::string netbox_store::display(netbox_table const& t, netbox_row const& r) const {
  auto const& s = *state_;
  auto const text = [&](std::string_view name) {
    auto const& v = s.at(t, r, name);
    return v.is_string() ? v.get<std::string>() : std::string();
  };
  if (!t.model->display_field.empty()) return text(t.model->display_field);
  if (t.model->type == "extras.customfield") return !text("label").empty() ? text("label") : capitalised(text("name"));
  if (t.model->type == "dcim.device") {
    if (!text("name").empty()) return text("name");
    return s.name_of("dcim.devicetype", s.at(t, r, "device_type")) + " (" + std::to_string(r.id) + ")";
  }
  if (t.model->type == "netbox_proxbox.proxmoxstorage")
    return s.name_of("virtualization.cluster", s.at(t, r, "cluster")) + "/" + text("name");
  if (t.model->type == "netbox_proxbox.vmbackup") {
    auto when = text("creation_time");
    if (!when.empty()) {  // as Python writes a datetime
      when[10] = ' ';
      when.pop_back();
      when += "+00:00";
    } else {
      when = text("volume_id").empty() ? "None" : text("volume_id");
    }
    return s.name_of("virtualization.virtualmachine", s.at(t, r, "virtual_machine")) + " - " + when;
  }
  return t.model->verbose + " " + std::to_string(r.id);
}

std::vector<std::int64_t> const& netbox_store::custom_fields_of(std::string const& type) const {
  static std::vector<std::int64_t> const none;
  auto const found = state_->custom_by_type.find(type);
  return found == state_->custom_by_type.end() ? none : found->second;
}

json const& netbox_store::value(netbox_table const& t, netbox_row const& r, std::string_view field) const {
  return state_->at(t, r, field);
}

std::size_t netbox_store::count(std::string const& type_and_field, std::int64_t id) const {
  auto const dot = type_and_field.rfind('.');
  auto const& t = const_cast<netbox_store*>(this)->of(type_and_field.substr(0, dot));
  auto const i = t.field(type_and_field.substr(dot + 1));
  auto const found = t.referrers[i].find(id);
  return found == t.referrers[i].end() ? 0 : found->second.size();
}

json netbox_store::sum(std::string const& target, std::int64_t id) const {
  auto const last = target.rfind('.');
  auto const middle = target.rfind('.', last - 1);
  auto const& t = const_cast<netbox_store*>(this)->of(target.substr(0, middle));
  auto const i = t.field(target.substr(middle + 1, last - middle - 1));
  auto const summed = t.field(target.substr(last + 1));
  auto const found = t.referrers[i].find(id);
  json total;
  if (found == t.referrers[i].end()) return total;
  for (auto const referrer : found->second) {
    auto const& v = t.rows.at(referrer).values[summed];
    if (v.is_null()) continue;
    if (total.is_null())
      total = v;
    else if (v.is_number_integer())
      total = total.get<std::int64_t>() + v.get<std::int64_t>();
    else
      total = total.get<double>() + v.get<double>();
  }
  return total;
}

std::size_t netbox_store::tagged(std::int64_t tag) const {
  std::size_t n = 0;
  for (auto const& t : state_->tables)
    for (auto const& [id, row] : t.rows) n += std::binary_search(row.tags.begin(), row.tags.end(), tag) ? 1 : 0;
  return n;
}

void netbox_store::sort(netbox_table const& t, std::vector<std::int64_t>& ids) const {
  std::vector<netbox_row const*> rows;
  rows.reserve(ids.size());
  for (auto const id : ids) rows.push_back(&t.rows.at(id));
  std::sort(rows.begin(), rows.end(), [&](auto const* a, auto const* b) {
    for (auto const& name : t.model->ordering)
      if (auto const c = state_->compare(t, *a, *b, name); c != 0) return c < 0;
    return a->id > b->id;
  });
  for (std::size_t i = 0; i < rows.size(); ++i) ids[i] = rows[i]->id;
}

bool netbox_store::sort_by(netbox_table const& t, std::vector<std::int64_t>& ids, std::string field) const {
  bool const down = field.starts_with("-");
  if (down) field.erase(0, 1);
  if (field != "id" && field != "created" && field != "last_updated" && t.field(field) == netbox_table::npos)
    return false;
  std::sort(ids.begin(), ids.end());
  std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) {
    auto const c = state_->compare(t, t.rows.at(a), t.rows.at(b), field);
    return down ? c > 0 : c < 0;
  });
  return true;
}

std::vector<std::int64_t> const& netbox_store::in_order(netbox_table& t) const {
  if (t.sorted_at != state_->version) {
    t.sorted.clear();
    for (auto const& [id, row] : t.rows) t.sorted.push_back(id);
    sort(t, t.sorted);
    t.sorted_at = state_->version;
  }
  return t.sorted;
}

std::vector<change_entry> const& netbox_store::changes() const { return state_->changes; }

}  // namespace weir::sim
