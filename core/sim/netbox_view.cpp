#include "core/sim/netbox_view.hpp"

#include "core/base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace weir::sim {

namespace {

using ordered = nlohmann::ordered_json;

std::string dumped(ordered const& value) { return value.dump(-1, ' ', false, ordered::error_handler_t::replace); }

std::set<std::string> words(std::string const& comma_list) {
  std::set<std::string> out;
  std::size_t from = 0;
  while (from <= comma_list.size()) {
    auto const end = std::min(comma_list.find(',', from), comma_list.size());
    if (end > from) out.insert(comma_list.substr(from, end - from));
    from = end + 1;
  }
  return out;
}

std::string const* find(query_list const& query, std::string_view name) {
  std::string const* last = nullptr;
  for (auto const& [key, value] : query)
    if (key == name) last = &value;
  return last;
}

// quote_plus() of Python's urllib.
std::string plus_quoted(std::string_view text) {
  std::string out;
  for (char const c : text) {
    bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain)
      out += c;
    else if (c == ' ')
      out += '+';
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// The request's URL with some parameters set ("" removes one), sorted by name as Django REST framework does.
std::string page_url(std::string const& base, std::string const& path, query_list query, query_list const& changes) {
  for (auto const& [name, value] : changes) {
    std::erase_if(query, [&name = name](auto const& pair) { return pair.first == name; });
    if (!value.empty()) query.emplace_back(name, value);
  }
  std::stable_sort(query.begin(), query.end(), [](auto const& a, auto const& b) { return a.first < b.first; });
  std::string out = base + path;
  char separator = '?';
  for (auto const& [name, value] : query) {
    out += separator + plus_quoted(name) + "=" + plus_quoted(value);
    separator = '&';
  }
  return out;
}

class renderer {
 public:
  renderer(netbox_store const& store, std::string const& base) : store_(store), base_(base) {}

  ordered full(netbox_table const& t, netbox_row const& r, netbox_view const& view) const {
    auto const wanted = [&](std::string const& name) {
      if (!view.fields.empty() && view.fields.count(name) == 0) return false;
      return view.omit.count(name) == 0;
    };
    ordered out = ordered::object();
    if (wanted("id")) out["id"] = r.id;
    if (wanted("url")) out["url"] = url(t, r.id);
    if (t.model->display_url && wanted("display_url")) out["display_url"] = display_url(t, r.id);
    if (wanted("display")) out["display"] = store_.display(t, r);
    for (std::size_t i = 0; i < t.model->fields.size(); ++i) {
      auto const& f = t.model->fields[i];
      if (wanted(f.name)) out[f.name] = field(t, r, f, i);
    }
    if (t.model->taggable && wanted("tags")) out["tags"] = tags(r);
    if (t.model->taggable && wanted("custom_fields")) out["custom_fields"] = custom(t, r);
    if (wanted("created")) out["created"] = format_time(r.created);
    if (wanted("last_updated")) out["last_updated"] = format_time(r.last_updated);
    return out;
  }

  ordered brief(netbox_table const& t, netbox_row const& r) const {
    ordered out = {{"id", r.id}, {"url", url(t, r.id)}, {"display", store_.display(t, r)}};
    for (auto const& name : t.model->brief) {
      auto const i = t.field(name);
      auto const& f = t.model->fields[i];
      // A nested role has no annotations to count by, so its counts are 0; a device type's is a stored counter.
      bool const uncounted = f.kind == field_kind::count && t.model->type == "dcim.devicerole";
      out[name] = uncounted ? ordered(0) : field(t, r, f, i);
    }
    return out;
  }

  std::string url(netbox_table const& t, std::int64_t id) const {
    return fmt::format("{}/api/{}/{}/", base_, t.model->path, id);
  }

 private:
  netbox_store const& store_;
  std::string const& base_;

  std::string display_url(netbox_table const& t, std::int64_t id) const {
    return fmt::format("{}/{}/{}/", base_, t.model->path, id);
  }

  netbox_table const& of(std::string const& type) const { return const_cast<netbox_store&>(store_).of(type); }

  ordered nested(netbox_table const& from, netbox_table const& t, netbox_row const& r) const {
    // The plugin has nested serializers of its own.
    if (from.model->plugin && t.model->type == "virtualization.virtualmachine")
      return {{"id", r.id},
              {"url", url(t, r.id)},
              {"display_url", display_url(t, r.id)},
              {"display", store_.display(t, r)},
              {"name", store_.value(t, r, "name")}};
    return brief(t, r);
  }

  ordered field(netbox_table const& t, netbox_row const& r, model_field const& f, std::size_t i) const {
    auto const& v = r.values[i];
    switch (f.kind) {
      case field_kind::choice:
        if (v.is_null()) return nullptr;
        for (auto const& [value, label] : f.choices)
          if (v == value) return {{"value", value}, {"label", label}};
        return nullptr;
      case field_kind::reference: {
        if (v.is_null()) return nullptr;
        auto const& target = of(f.target);
        return nested(t, target, target.rows.at(v.get<std::int64_t>()));
      }
      case field_kind::count:
        return t.model->type == "extras.tag" ? store_.tagged(r.id) : store_.count(f.target, r.id);
      case field_kind::sum:
        return store_.sum(f.target, r.id);
      case field_kind::scope: {
        auto const& sites = of("dcim.site");
        auto const& type = store_.value(t, r, "scope_type");
        auto const& id = store_.value(t, r, "scope_id");
        if (type != "dcim.site" || id.is_null()) return nullptr;
        return brief(sites, sites.rows.at(id.get<std::int64_t>()));
      }
      case field_kind::data_type: {
        auto const& type = store_.value(t, r, "type");
        if (type == "integer" || type == "decimal" || type == "boolean") return type;
        if (type == "json" || type == "object") return "object";
        if (type == "multiselect" || type == "multiobject") return "array";
        return "string";
      }
      default:
        return v;
    }
  }

  ordered tags(netbox_row const& r) const {
    auto const& t = of("extras.tag");
    auto ids = r.tags;
    store_.sort(t, ids);
    ordered out = ordered::array();
    for (auto const id : ids) {
      auto const& tag = t.rows.at(id);
      out.push_back({{"id", id},
                     {"url", url(t, id)},
                     {"display_url", display_url(t, id)},
                     {"display", store_.display(t, tag)},
                     {"name", store_.value(t, tag, "name")},
                     {"slug", store_.value(t, tag, "slug")},
                     {"color", store_.value(t, tag, "color")}});
    }
    return out;
  }

  ordered custom(netbox_table const& t, netbox_row const& r) const {
    auto const& fields = of("extras.customfield");
    ordered out = ordered::object();
    for (auto const id : store_.custom_fields_of(t.model->type)) {
      auto const name = store_.value(fields, fields.rows.at(id), "name").get<std::string>();
      auto const found =
          std::find_if(r.custom.begin(), r.custom.end(), [&](auto const& pair) { return pair.first == name; });
      out[name] = found == r.custom.end() ? ordered() : ordered(found->second);
    }
    return out;
  }
};

// One row's value against one parameter's values.
using predicate = std::function<bool(netbox_row const&)>;

struct filter_set {
  std::vector<predicate> all;
  ordered errors = ordered::object();
};

bool match_text(std::string const& op, std::string const& mine, std::vector<std::string> const& given) {
  auto const low = base::lower(mine);
  bool const negative = op.starts_with("n") && op != "";
  auto const kind = negative && op != "n" ? op.substr(1) : op;
  bool any = false;
  for (auto const& value : given) {
    auto const v = base::lower(value);
    if (kind == "ic")
      any = any || low.find(v) != std::string::npos;
    else if (kind == "isw")
      any = any || low.starts_with(v);
    else if (kind == "iew")
      any = any || low.ends_with(v);
    else if (kind == "ie")
      any = any || low == v;
    else
      any = any || mine == value;
  }
  return negative ? !any : any;
}

bool match_order(std::string const& op, double mine, std::vector<double> const& given) {
  bool any = false;
  for (auto const v : given) {
    if (op == "gte")
      any = any || mine >= v;
    else if (op == "gt")
      any = any || mine > v;
    else if (op == "lte")
      any = any || mine <= v;
    else if (op == "lt")
      any = any || mine < v;
    else
      any = any || mine == v;
  }
  return op == "n" ? !any : any;
}

bool is_text_op(std::string const& op) {
  static std::set<std::string> const ops{"", "n", "ic", "nic", "isw", "nisw", "iew", "niew", "ie", "nie"};
  return ops.count(op) != 0;
}
bool is_order_op(std::string const& op) {
  return op.empty() || op == "n" || op == "gte" || op == "gt" || op == "lte" || op == "lt";
}

std::optional<std::vector<double>> as_numbers(std::vector<std::string> const& values) {
  std::vector<double> out;
  for (auto const& v : values) {
    try {
      std::size_t used = 0;
      out.push_back(std::stod(v, &used));
      if (used != v.size()) return std::nullopt;
    } catch (std::exception const&) {
      return std::nullopt;
    }
  }
  return out;
}

// Microseconds since 1970.
std::optional<std::vector<double>> as_times(std::vector<std::string> const& values) {
  std::vector<double> out;
  for (auto const& v : values) {
    auto t = base::parse_instant(v);
    if (!t) t = base::parse_instant(v + "Z");
    if (!t) return std::nullopt;
    out.push_back(static_cast<double>(t->time_since_epoch().count()));
  }
  return out;
}

using grouped_query = std::vector<std::pair<std::string, std::vector<std::string>>>;

// A parameter that is repeated means any of its values.
grouped_query grouped(query_list const& query) {
  grouped_query out;
  for (auto const& [name, value] : query) {
    if (value.empty()) continue;  // django-filter ignores an empty value
    auto const found = std::find_if(out.begin(), out.end(), [&name = name](auto const& g) { return g.first == name; });
    if (found == out.end())
      out.push_back({name, {value}});
    else
      found->second.push_back(value);
  }
  return out;
}

class filter_builder {
 public:
  filter_builder(netbox_store& store, netbox_table& table) : store_(store), t_(table) {}

  filter_set build(query_list const& query) {
    for (auto const& [name, values] : grouped(query)) add(name, values);
    return std::move(out_);
  }

 private:
  netbox_store& store_;
  netbox_table& t_;
  filter_set out_;

  void invalid(std::string const& name, std::string const& text) { out_.errors[name] = ordered::array({text}); }
  void no_such_choice(std::string const& name, std::string const& value) {
    invalid(name, fmt::format("Select a valid choice. {} is not one of the available choices.", value));
  }

  std::optional<std::vector<double>> numbers(std::string const& name, std::vector<std::string> const& values) {
    auto out = as_numbers(values);
    if (!out) invalid(name, "Enter a number.");
    return out;
  }
  std::optional<std::vector<double>> times(std::string const& name, std::vector<std::string> const& values) {
    auto out = as_times(values);
    if (!out) invalid(name, "Enter a valid date/time.");
    return out;
  }

  void add(std::string const& name, std::vector<std::string> const& values) {
    auto const cut = name.starts_with("cf_") ? name.rfind("__") : name.find("__");
    auto const base = name.substr(0, cut);
    auto const op = cut == std::string::npos ? std::string() : name.substr(cut + 2);
    if (name.starts_with("cf_")) return add_custom(name, base.substr(3), op, values);
    if (base == "id" && is_order_op(op)) {
      if (auto const given = numbers(name, values)) {
        if (op.empty()) {  // many ids in one request: look each up once
          std::unordered_set<std::int64_t> wanted;
          for (auto const d : *given) wanted.insert(static_cast<std::int64_t>(d));
          out_.all.push_back([wanted](netbox_row const& r) { return wanted.count(r.id) != 0; });
        } else {
          out_.all.push_back(
              [op, v = *given](netbox_row const& r) { return match_order(op, static_cast<double>(r.id), v); });
        }
      }
      return;
    }
    if ((base == "created" || base == "last_updated") && is_order_op(op)) {
      if (auto const given = times(name, values))
        out_.all.push_back([op, v = *given, made = base == "created"](netbox_row const& r) {
          return match_order(op, static_cast<double>(made ? r.created : r.last_updated), v);
        });
      return;
    }
    if (name == "q") return add_search(values.back());
    if ((name == "tag" || name == "tag_id") && t_.model->taggable) return add_tags(name, values);
    if (name == "modified_by_request" || name == "created_by_request" || name == "updated_by_request") {
      std::set<std::int64_t> ids;
      for (auto const& change : store_.changes())
        if (change.table == &t_ && change.request_id == values.back() &&
            (name == "modified_by_request" ||
             std::string_view(change.action) == (name[0] == 'c' ? "create" : "update")))
          ids.insert(change.object_id);
      out_.all.push_back([ids](netbox_row const& r) { return ids.count(r.id) != 0; });
      return;
    }
    if (t_.model->type == "virtualization.cluster" && (base == "site" || base == "site_id"))
      return add_cluster_site(name, values);
    for (std::size_t i = 0; i < t_.model->fields.size(); ++i) {
      auto const& f = t_.model->fields[i];
      if (!f.filter) continue;
      // Core: ?cluster_id=1 and ?cluster=name; the plugin: ?virtual_machine=1.
      if (f.kind == field_kind::reference && !t_.model->plugin && base == f.name + "_id")
        return add_reference(name, i, op, values, true);
      if (base != f.name) continue;
      if (f.kind == field_kind::reference) return add_reference(name, i, op, values, t_.model->plugin);
      return add_field(name, i, op, values);
    }
    // Anything else is ignored, as NetBox does.
  }

  void add_field(std::string const& name, std::size_t i, std::string const& op,
                 std::vector<std::string> const& values) {
    auto const& f = t_.model->fields[i];
    if (op == "empty") {
      bool const wanted = values.back() == "true" || values.back() == "True" || values.back() == "1";
      out_.all.push_back(
          [i, wanted](netbox_row const& r) { return (r.values[i].is_null() || r.values[i] == "") == wanted; });
      return;
    }
    if (f.kind == field_kind::choice && (op.empty() || op == "n"))
      for (auto const& v : values)
        if (std::none_of(f.choices.begin(), f.choices.end(), [&](auto const& c) { return c.first == v; }))
          return no_such_choice(name, v);
    if (f.kind == field_kind::text || f.kind == field_kind::slug || f.kind == field_kind::choice) {
      if (!is_text_op(op)) return;
      out_.all.push_back([i, op, values](netbox_row const& r) {
        return match_text(op, r.values[i].is_null() ? std::string() : r.values[i].get_ref<std::string const&>(),
                          values);
      });
    } else if (f.kind == field_kind::integer || f.kind == field_kind::decimal) {
      if (!is_order_op(op)) return;
      if (auto const given = numbers(name, values))
        out_.all.push_back([i, op, v = *given](netbox_row const& r) {
          return !r.values[i].is_null() && match_order(op, r.values[i].get<double>(), v);
        });
    } else if (f.kind == field_kind::boolean && op.empty()) {
      bool const wanted = values.back() == "true" || values.back() == "True" || values.back() == "1";
      out_.all.push_back([i, wanted](netbox_row const& r) { return r.values[i] == wanted; });
    }
  }

  void add_reference(std::string const& name, std::size_t i, std::string const& op,
                     std::vector<std::string> const& values, bool by_id) {
    if (!op.empty() && op != "n") return;
    auto& target = store_.of(t_.model->fields[i].target);
    std::set<std::int64_t> ids;
    bool null = false;
    for (auto const& v : values) {
      if (v == "null") {
        null = true;
        continue;
      }
      std::optional<std::int64_t> id;
      if (by_id) {
        if (v.find_first_not_of("0123456789") == std::string::npos && v.size() < 18) id = std::stoll(v);
        if (id && target.rows.count(*id) == 0) id.reset();
      } else {
        auto const key = target.field("slug") != netbox_table::npos ? "slug" : "name";
        for (auto const& [other, row] : target.rows)
          if (store_.value(target, row, key) == v) {
            id = other;
            ids.insert(other);
          }
      }
      if (!id) return no_such_choice(name, v);
      ids.insert(*id);
    }
    out_.all.push_back([i, ids, null, negative = op == "n"](netbox_row const& r) {
      bool const in = r.values[i].is_null() ? null : ids.count(r.values[i].get<std::int64_t>()) != 0;
      return in != negative;
    });
  }

  void add_cluster_site(std::string const& name, std::vector<std::string> const& values) {
    auto const& sites = store_.of("dcim.site");
    std::set<std::int64_t> ids;
    for (auto const& v : values) {
      bool found = false;
      for (auto const& [id, row] : sites.rows)
        if (name == "site_id" ? std::to_string(id) == v : store_.value(sites, row, "slug") == v) {
          ids.insert(id);
          found = true;
        }
      if (!found) return no_such_choice(name, v);
    }
    auto const i = t_.field("scope_id");
    out_.all.push_back([i, ids](netbox_row const& r) {
      return !r.values[i].is_null() && ids.count(r.values[i].get<std::int64_t>()) != 0;
    });
  }

  void add_tags(std::string const& name, std::vector<std::string> const& values) {
    auto const& tags = store_.of("extras.tag");
    for (auto const& v : values) {
      std::optional<std::int64_t> id;
      for (auto const& [tag, row] : tags.rows)
        if (name == "tag" ? store_.value(tags, row, "slug") == v : std::to_string(tag) == v) id = tag;
      if (!id) return no_such_choice(name, v);
      out_.all.push_back([id](netbox_row const& r) { return std::binary_search(r.tags.begin(), r.tags.end(), *id); });
    }
  }

  void add_search(std::string const& text) {
    auto const needle = base::lower(text);
    std::vector<std::size_t> columns;
    for (std::size_t i = 0; i < t_.model->fields.size(); ++i)
      if (t_.model->fields[i].kind == field_kind::text || t_.model->fields[i].kind == field_kind::slug)
        columns.push_back(i);
    out_.all.push_back([columns, needle](netbox_row const& r) {
      return std::any_of(columns.begin(), columns.end(), [&](std::size_t i) {
        return r.values[i].is_string() &&
               base::lower(r.values[i].get_ref<std::string const&>()).find(needle) != std::string::npos;
      });
    });
  }

  void add_custom(std::string const& parameter, std::string const& name, std::string const& op,
                  std::vector<std::string> const& values) {
    auto const& fields = store_.of("extras.customfield");
    for (auto const id : store_.custom_fields_of(t_.model->type)) {
      auto const& field = fields.rows.at(id);
      if (store_.value(fields, field, "name") != name) continue;
      auto const logic = store_.value(fields, field, "filter_logic").get<std::string>();
      auto const type = store_.value(fields, field, "type").get<std::string>();
      if (logic == "disabled") return;
      auto const get = [name](netbox_row const& r) -> json const* {
        for (auto const& [key, v] : r.custom)
          if (key == name) return &v;
        return nullptr;
      };
      if (op == "empty") {
        bool const wanted = values.back() == "true" || values.back() == "True" || values.back() == "1";
        out_.all.push_back([get, wanted](netbox_row const& r) {
          auto const* v = get(r);
          return (v == nullptr || *v == "") == wanted;
        });
      } else if (type == "integer" || type == "decimal") {
        if (!is_order_op(op)) return;
        if (auto const given = numbers(parameter, values))
          out_.all.push_back([get, op, v = *given](netbox_row const& r) {
            auto const* mine = get(r);
            return mine != nullptr && match_order(op, mine->get<double>(), v);
          });
      } else if (type == "boolean") {
        bool const wanted = values.back() == "true" || values.back() == "True" || values.back() == "1";
        out_.all.push_back([get, wanted](netbox_row const& r) {
          auto const* mine = get(r);
          return mine != nullptr && *mine == wanted;
        });
      } else {
        if (!is_text_op(op)) return;
        auto const how = op.empty() && logic == "loose" ? std::string("ic") : op;
        out_.all.push_back([get, how, values](netbox_row const& r) {
          auto const* mine = get(r);
          return match_text(
              how, mine != nullptr && mine->is_string() ? mine->get_ref<std::string const&>() : std::string(), values);
        });
      }
      return;
    }
  }
};

std::optional<std::int64_t> whole(std::string const* text) {
  if (text == nullptr || text->empty() || text->size() > 18 ||
      text->find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return std::stoll(*text);
}

struct page {
  std::size_t limit;
  std::size_t offset;
};

page page_of(query_list const& query, int max_page_size) {
  auto const most = static_cast<std::size_t>(max_page_size);
  std::size_t limit = std::min<std::size_t>(50, most);
  if (auto const given = whole(find(query, "limit")))
    limit = *given == 0 ? most : std::min(static_cast<std::size_t>(*given), most);
  return {limit, static_cast<std::size_t>(whole(find(query, "offset")).value_or(0))};
}

// What NetBox says to a `start` that it does not take.
std::optional<std::string> bad_start(query_list const& query, std::string const& start) {
  for (auto const* other : {"offset", "ordering"})
    if (find(query, other) != nullptr) return fmt::format(R"(["'start' and '{}' are mutually exclusive."])", other);
  if (!whole(&start)) return R"(["'start' must be a non-negative integer."])";
  return std::nullopt;
}

// The envelope of a page by id around `results` (JSON texts); `next` is the id to go on with, 0: this is the last page.
std::string cursor_page(std::string const& base, std::string const& path, query_list const& query, page const& p,
                        std::int64_t next, std::string const& results) {
  auto const url =
      next == 0
          ? "null"
          : dumped(page_url(base, path, query, {{"limit", std::to_string(p.limit)}, {"start", std::to_string(next)}}));
  return fmt::format(R"({{"count":null,"next":{},"previous":null,"results":[{}]}})", url, results);
}

// The envelope of a page by offset around `results` (JSON texts).
std::string offset_page(std::string const& base, std::string const& path, query_list const& query, page const& p,
                        std::size_t count, std::string const& results) {
  std::string const limit = std::to_string(p.limit);
  auto const next =
      p.offset + p.limit < count
          ? dumped(page_url(base, path, query, {{"limit", limit}, {"offset", std::to_string(p.offset + p.limit)}}))
          : "null";
  std::string previous = "null";
  if (p.offset > 0)
    previous =
        dumped(page_url(base, path, query,
                        {{"limit", limit}, {"offset", p.offset > p.limit ? std::to_string(p.offset - p.limit) : ""}}));
  return fmt::format(R"({{"count":{},"next":{},"previous":{},"results":[{}]}})", count, next, previous, results);
}

ordered change_json(renderer const& render, std::string const& base, change_entry const& c) {
  std::string const action = c.action;
  auto const& type = c.table->model->type;
  auto const found = c.table->rows.find(c.object_id);
  auto app = type.substr(0, type.find('.'));
  app[0] = static_cast<char>(app[0] - 32);
  auto const label = action == "create" ? "Created" : action == "update" ? "Updated" : "Deleted";
  return {{"id", c.id},
          {"url", fmt::format("{}/api/core/object-changes/{}/", base, c.id)},
          {"display_url", fmt::format("{}/core/changelog/{}/", base, c.id)},
          {"display",
           fmt::format("{} | {} {} {} by {}", app, c.table->model->verbose, c.object_repr, base::lower(label), c.user)},
          {"time", format_time(c.time)},
          {"user", {{"id", 1}, {"url", base + "/api/users/users/1/"}, {"display", c.user}, {"username", c.user}}},
          {"user_name", c.user},
          {"request_id", c.request_id},
          {"action", {{"value", action}, {"label", label}}},
          {"changed_object_type", type},
          {"changed_object_id", c.object_id},
          {"changed_object", found == c.table->rows.end() ? ordered() : render.brief(*c.table, found->second)},
          {"object_repr", c.object_repr},
          {"message", c.message},
          {"prechange_data", nullptr},
          {"postchange_data", nullptr}};
}

struct change_filter_set {
  std::vector<std::function<bool(change_entry const&)>> all;
  ordered errors = ordered::object();
};

// The change log's filters; as everywhere, a parameter of another name (even `message`) is none.
change_filter_set change_filters(query_list const& query) {
  change_filter_set out;
  auto const text = [&](std::vector<std::string> const& values, auto get) {
    out.all.push_back([values, get](change_entry const& c) {
      return std::find(values.begin(), values.end(), get(c)) != values.end();
    });
  };
  auto const order = [&](std::string const& name, std::optional<std::vector<double>> const& given, char const* error,
                         std::string const& op, auto get) {
    if (given)
      out.all.push_back(
          [v = *given, op, get](change_entry const& c) { return match_order(op, static_cast<double>(get(c)), v); });
    else
      out.errors[name] = ordered::array({error});
  };
  for (auto const& [name, values] : grouped(query)) {
    auto const cut = name.find("__");
    auto const base = name.substr(0, cut);
    auto const op = cut == std::string::npos ? std::string() : name.substr(cut + 2);
    if (name == "request_id")
      text(values, [](change_entry const& c) { return c.request_id; });
    else if (name == "action")
      text(values, [](change_entry const& c) { return std::string(c.action); });
    else if (name == "changed_object_type")
      text(values, [](change_entry const& c) { return c.table->model->type; });
    else if (name == "user_name")
      text(values, [](change_entry const& c) { return c.user; });
    else if (base == "id" && is_order_op(op))
      order(name, as_numbers(values), "Enter a number.", op, [](change_entry const& c) { return c.id; });
    else if (base == "changed_object_id" && is_order_op(op))
      order(name, as_numbers(values), "Enter a number.", op, [](change_entry const& c) { return c.object_id; });
    else if (name == "time_after" || name == "time_before")
      order(name, as_times(values), "Enter a valid date/time.", name == "time_after" ? "gte" : "lte",
            [](change_entry const& c) { return c.time; });
    else if (name == "q")
      out.all.push_back([needle = base::lower(values.back())](change_entry const& c) {
        auto const in = [&](std::string const& mine) { return base::lower(mine).find(needle) != std::string::npos; };
        return needle.find_first_not_of(' ') == std::string::npos || in(c.user) || in(c.object_repr) || in(c.message);
      });
  }
  return out;
}

}  // namespace

netbox_view::netbox_view(std::string base_url, query_list const& query) : base(std::move(base_url)) {
  if (auto const* v = find(query, "brief")) brief = *v == "1" || *v == "true" || *v == "True";
  if (auto const* v = find(query, "fields")) fields = words(*v);
  if (auto const* v = find(query, "omit")) omit = words(*v);
}

std::string netbox_view::render(netbox_store const& store, netbox_table const& table, netbox_row const& row) const {
  renderer const render(store, base);
  return dumped(brief ? render.brief(table, row) : render.full(table, row, *this));
}

std::string netbox_view::url(netbox_table const& table, std::int64_t id) const {
  return fmt::format("{}/api/{}/{}/", base, table.model->path, id);
}

netbox_answer list_objects(netbox_store& store, netbox_table& t, std::string const& base, std::string const& path,
                           query_list const& query, int max_page_size) {
  auto const filters = filter_builder(store, t).build(query);
  if (!filters.errors.empty()) return {400, dumped(filters.errors), 0};
  auto const passes = [&](netbox_row const& r) {
    return std::all_of(filters.all.begin(), filters.all.end(), [&](auto const& p) { return p(r); });
  };
  auto const p = page_of(query, max_page_size);
  netbox_view const view(base, query);
  std::string results;
  std::size_t objects = 0;
  auto const add = [&](netbox_row const& r) {
    if (!results.empty()) results += ',';
    results += view.render(store, t, r);
    ++objects;
  };

  if (auto const* start = find(query, "start")) {
    if (auto const refused = bad_start(query, *start)) return {400, *refused, 0};
    auto const from = whole(start);
    std::int64_t next = 0;
    std::int64_t last = 0;
    for (auto it = t.rows.lower_bound(*from); it != t.rows.end(); ++it) {
      if (!passes(it->second)) continue;
      if (objects == p.limit) {
        next = last + 1;
        break;
      }
      last = it->first;
      add(it->second);
    }
    return {200, cursor_page(base, path, query, p, next, results), objects};
  }

  std::vector<std::int64_t> ids;
  auto const* ordering = find(query, "ordering");
  if (ordering != nullptr || !filters.all.empty()) {
    for (auto const& [id, row] : t.rows)
      if (passes(row)) ids.push_back(id);
    if (ordering == nullptr || !store.sort_by(t, ids, *ordering)) store.sort(t, ids);
  } else {
    ids = store.in_order(t);
  }
  for (std::size_t i = p.offset; i < ids.size() && objects < p.limit; ++i) add(t.rows.at(ids[i]));
  return {200, offset_page(base, path, query, p, ids.size(), results), objects};
}

netbox_answer list_changes(netbox_store& store, std::string const& base, query_list const& query, int max_page_size) {
  std::string const path = "/api/core/object-changes/";
  auto const* start = find(query, "start");
  if (start != nullptr)
    if (auto const refused = bad_start(query, *start)) return {400, *refused, 0};
  auto const filters = change_filters(query);
  if (!filters.errors.empty()) return {400, dumped(filters.errors), 0};
  std::vector<change_entry const*> found;
  for (auto const& c : store.changes())
    if (std::all_of(filters.all.begin(), filters.all.end(), [&](auto const& p) { return p(c); })) found.push_back(&c);

  netbox_view const view(base, query);
  renderer const render(store, base);
  std::string results;
  std::size_t objects = 0;
  auto const add = [&](change_entry const& c) {
    auto row = change_json(render, base, c);
    ordered kept = ordered::object();
    for (auto const& [name, value] : row.items())
      if ((view.fields.empty() || view.fields.count(name) != 0) && view.omit.count(name) == 0) kept[name] = value;
    results += (objects++ == 0 ? "" : ",") + dumped(kept);
  };
  auto const p = page_of(query, max_page_size);
  if (start != nullptr) {
    auto const first = std::find_if(found.begin(), found.end(), [&](auto const* c) { return c->id >= *whole(start); });
    auto const left = static_cast<std::size_t>(found.end() - first);
    std::for_each(first, first + static_cast<std::ptrdiff_t>(std::min(p.limit, left)), [&](auto* c) { add(*c); });
    auto const next = left > p.limit ? (*(first + static_cast<std::ptrdiff_t>(p.limit) - 1))->id + 1 : 0;
    return {200, cursor_page(base, path, query, p, next, results), objects};
  }
  auto const* ordering = find(query, "ordering");
  if (ordering == nullptr || *ordering == "-time" || *ordering == "-id") std::reverse(found.begin(), found.end());
  for (std::size_t i = p.offset; i < found.size() && objects < p.limit; ++i) add(*found[i]);
  return {200, offset_page(base, path, query, p, found.size(), results), objects};
}

std::optional<std::string> render_change(netbox_store& store, std::string const& base, std::int64_t id) {
  renderer const render(store, base);
  for (auto const& c : store.changes())
    if (c.id == id) return dumped(change_json(render, base, c));
  return std::nullopt;
}

}  // namespace weir::sim
