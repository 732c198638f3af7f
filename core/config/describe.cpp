#include "core/config/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

using nlohmann::ordered_json;
using schema::document;
using schema::key;
using schema::type;

// ---- one key

std::string limit(key const& row, double x) {
  return row.type == type::duration ? format_duration(x) : plain_number(x);
}

std::string limits_of(key const& row) {
  bool const low = row.min != -schema::no_limit, high = row.max != schema::no_limit;
  if (low && high) return "between " + limit(row, row.min) + " and " + limit(row, row.max);
  if (low) return "at least " + limit(row, row.min);
  return high ? "at most " + limit(row, row.max) : "";
}

std::vector<std::string> variables_of(key const& row) {
  std::vector<std::string> out;
  if (auto name = schema::variable(row); !name.empty()) out.push_back(std::move(name));
  if (!row.alias.empty()) out.emplace_back(row.alias);
  return out;
}

std::string type_of(key const& row) {
  return row.type == type::inline_secret ? "text" : std::string(schema::describe(row.type));
}

// A name for the "*" behind `parent`.
std::string some_name(std::string_view parent) {
  if (parent == "sources") return "pve-a";
  if (parent == "stages") return "backups";
  if (parent == "serve.schedules") return "hourly";
  if (parent == "rules") return "virtualization.virtualmachine";
  if (parent.starts_with("rules.")) return "description";
  return parent.ends_with("headers") ? "Accept" : "name";
}

std::string value_for(key const& row) {
  if (!row.example.empty()) return std::string(row.example);
  if (!row.default_value.empty()) return std::string(row.default_value);
  switch (row.type) {
    case type::map:
    case type::named_map:
    case type::options:
      return "";
    case type::inline_secret:
      return "…";
    default:
      return row.allowed.empty() ? "…" : std::string(row.allowed.front());
  }
}

std::string nested(std::vector<std::string> const& steps, std::string const& value) {
  std::string out;
  for (std::size_t i = 0; i < steps.size(); ++i)
    out += std::string(2 * i, ' ') + steps[i] + ":" +
           (i + 1 < steps.size() ? "\n"
            : value.empty()      ? " …"
                                 : " " + value);
  return out;
}

explanation about(key const& row, std::vector<std::string> steps) {
  explanation e;
  e.key = base::join(steps, ".");
  e.where = row.in == document::profile ? "profile" : "configuration";
  e.type = type_of(row);
  e.fallback = row.default_value;
  e.limits = limits_of(row);
  e.allowed = {row.allowed.begin(), row.allowed.end()};
  e.variables = variables_of(row);
  e.help = row.help;
  e.required = row.required;
  e.children = schema::children(row.in, row.path);
  std::string parent;
  for (auto& step : steps) {
    auto const before = parent;
    parent += (parent.empty() ? "" : ".") + step;
    if (step == "*") step = some_name(before);
  }
  if (schema::is_value(row.type)) e.example = nested(steps, value_for(row));
  return e;
}

std::string with_stop(std::string text) {
  if (!text.empty() && text.back() != '.') text += '.';
  return text;
}

explanation about(stage_options const& stage, stage_options::row const& option) {
  explanation e;
  e.key = "stages." + stage.id + "." + option.name;
  e.where = "stage";
  e.type = option.expected;
  e.fallback = option.fallback;
  e.help = with_stop(option.description);
  e.required = option.required;
  e.example = nested({"stages", stage.id, option.name}, option.fallback.empty() ? "…" : option.fallback);
  return e;
}

explanation about(stage_options const& stage) {
  auto e = about(*schema::find(document::configuration, "stages.*"), {"stages", stage.id});
  e.help = with_stop(stage.title);
  for (auto const& option : stage.rows) e.children.push_back(option.name);
  e.example = "stages:\n  " + stage.id + ": {}";
  return e;
}

bool explained(key const& row) { return row.in != document::scenario; }

// ---- JSON Schema

ordered_json default_of(key const& row) {
  yaml::node n;
  n.is = yaml::node::form::scalar;
  n.text = row.default_value;
  n.plain = row.type == type::boolean || row.type == type::integer || row.type == type::number;
  std::optional<json_problem> problem;
  return ordered_json::parse(to_json(n, problem));
}

ordered_json number_or_integer(double x) {
  if (x == static_cast<double>(static_cast<long long>(x))) return static_cast<long long>(x);
  return x;
}

class schema_maker {
 public:
  schema_maker(document which, std::vector<stage_options> const& stages) : which_(which), stages_(stages) {}

  ordered_json root() {
    ordered_json out{{"$schema", "http://json-schema.org/draft-07/schema#"},
                     {"title", which_ == document::profile ? "A profile of weir's" : "A configuration of weir's"},
                     {"description", "Made from weir's table of keys by: weir config schema"},
                     {"type", "object"}};
    out["properties"] = properties("");
    out["additionalProperties"] = false;
    return out;
  }

 private:
  ordered_json properties(std::string const& parent) {
    auto out = ordered_json::object();
    for (auto const& row : schema::keys()) {
      if (row.in != which_) continue;
      auto const dot = row.path.rfind('.');
      auto const home = dot == std::string_view::npos ? std::string_view() : row.path.substr(0, dot);
      auto const name = dot == std::string_view::npos ? row.path : row.path.substr(dot + 1);
      if (home == parent && name != "*") out[std::string(name)] = of(row);
    }
    return out;
  }

  ordered_json required(std::string const& parent) const {
    auto out = ordered_json::array();
    for (auto const& name : schema::children(which_, parent))
      if (schema::find(which_, parent + "." + name)->required) out.push_back(name);
    return out;
  }

  ordered_json object(key const& row) {
    ordered_json out{{"type", "object"}};
    out["properties"] = properties(std::string(row.path));
    if (auto needed = required(std::string(row.path)); !needed.empty()) out["required"] = std::move(needed);
    out["additionalProperties"] = false;
    return out;
  }

  static ordered_json list(ordered_json items) {
    return {{"type", "array"}, {"items", std::move(items)}, {"minItems", 1}};
  }

  ordered_json of(key const& row) {
    ordered_json out;
    static constexpr auto url = "^https?://";
    switch (row.type) {
      case type::map:
        out = object(row);
        break;
      case type::map_list:
        out = list(object(row));
        break;
      case type::named_map:
        out = named(row);
        break;
      case type::options:
        out = {{"type", {"object", "null"}}, {"properties", properties(std::string(row.path))}};
        break;
      case type::text:
        out = {{"type", "string"}};
        if (!row.allowed.empty())
          out["enum"] = row.allowed;
        else if (!row.may_be_empty)
          out["minLength"] = 1;
        break;
      case type::inline_secret:
      case type::path:
        out = {{"type", "string"}, {"minLength", 1}};
        break;
      case type::url:
        out = {{"type", "string"}, {"pattern", url}};
        break;
      case type::url_list:
        out = list({{"type", "string"}, {"pattern", url}});
        break;
      case type::path_list:
      case type::name_list:
        out = list({{"type", "string"}, {"minLength", 1}});
        break;
      case type::word_list:
        out = list({{"type", {"string", "number"}}, {"minLength", 1}});
        break;
      case type::boolean:
        out = {{"type", "boolean"}};
        break;
      case type::integer:
        out = {{"type", "integer"}};
        break;
      case type::number:
        out = {{"type", "number"}};
        break;
      case type::range:
        out = {{"type", {"number", "array"}}};
        break;
      case type::duration:
        out = {{"type", {"string", "number"}}, {"pattern", R"(^[0-9]*\.?[0-9]+ *(ms|s|m|min|h|d)?$)"}};
        break;
      case type::integer_or_map:
        out = {{"anyOf", ordered_json::array({{{"type", "integer"},
                                               {"minimum", number_or_integer(row.min)},
                                               {"maximum", number_or_integer(row.max)}},
                                              object(row)})}};
        break;
      case type::fingerprint:
        out = {{"type", "string"}, {"pattern", "^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$"}};
        break;
    }
    if (row.type == type::integer || row.type == type::number) {
      if (row.min != -schema::no_limit) out["minimum"] = number_or_integer(row.min);
      if (row.max != schema::no_limit) out["maximum"] = number_or_integer(row.max);
    }
    if (!row.default_value.empty()) out["default"] = default_of(row);
    std::string help(row.help);
    if (row.type == type::duration)
      if (auto const limits = limits_of(row); !limits.empty()) help += " A duration " + limits + ".";
    if (auto const names = variables_of(row); !names.empty()) help += " Variable: " + base::join(names, " or ") + ".";
    if (!help.empty()) out["description"] = help;
    return out;
  }

  ordered_json named(key const& row) {
    ordered_json out{{"type", "object"}, {"minProperties", 1}};
    auto const path = std::string(row.path) + ".*";
    out["propertyNames"] = {{"pattern", path == "sources.*.headers.*" ? "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
                                        : path == "rules.*"           ? "^[a-z0-9_]+\\.[a-z0-9_]+$"
                                                                      : "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"}};
    if (row.path == "stages") {
      auto all = ordered_json::object();
      for (auto const& stage : stages_) all[stage.id] = of_stage(stage);
      if (!all.empty()) out["properties"] = std::move(all);
    }
    out["additionalProperties"] = of(*schema::find(which_, path));
    return out;
  }

  // What refers to its own beginning must find it where it is now.
  static void move_references(ordered_json& at, std::string const& to) {
    if (at.is_object())
      if (auto const ref = at.find("$ref"); ref != at.end() && ref->is_string())
        if (auto const text = ref->get<std::string>(); text.starts_with('#')) *ref = "#" + to + text.substr(1);
    if (at.is_structured())
      for (auto& part : at) move_references(part, to);
  }

  ordered_json of_stage(stage_options const& stage) {
    auto out = ordered_json::parse(stage.schema_json, nullptr, false);
    if (!out.is_object()) out = {{"type", "object"}, {"additionalProperties", false}};
    move_references(out, "/properties/stages/properties/" + stage.id);
    out.erase("$schema");
    out.erase("$id");
    auto own = properties("stages.*");
    if (out.contains("$ref")) {  // nothing may stand beside it in draft 7
      return ordered_json{{"description", stage.title}, {"allOf", ordered_json::array({out})}};
    }
    if (out.value("type", ordered_json()) == "object") out["type"] = {"object", "null"};
    if (!out.contains("properties") || !out["properties"].is_object()) out["properties"] = ordered_json::object();
    for (auto& [name, part] : own.items()) out["properties"][name] = part;
    if (!stage.title.empty()) out["description"] = stage.title;
    return out;
  }

  document which_;
  std::vector<stage_options> const& stages_;
};

// ---- Markdown

std::string cell(std::string text) {
  std::string out;
  for (char c : text)
    if (c == '|')
      out += "\\|";
    else
      out += c == '\n' ? ' ' : c;
  return out;
}
std::string code(std::string const& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string table(std::vector<explanation> const& rows) {
  std::string out = "| Key | Value | Default | Variable | Meaning |\n|---|---|---|---|---|\n";
  for (auto const& e : rows) {
    auto value = e.type;
    if (!e.allowed.empty()) {
      std::vector<std::string> names;
      for (auto const& one : e.allowed) names.push_back(code(one));
      value = base::join(names, ", ");
    } else if (!e.limits.empty()) {
      value += " " + e.limits;
    }
    std::vector<std::string> names;
    for (auto const& one : e.variables) names.push_back(code(one));
    out += fmt::format("| {} | {} | {} | {} | {} |\n", code(e.key), cell(value),
                       e.required && e.fallback.empty() ? "required" : code(cell(e.fallback)),
                       base::join(names, "<br>"), cell(e.help));
  }
  return out + "\n";
}

std::vector<explanation> rows_below(document in, std::string_view top) {
  std::vector<explanation> out;
  for (auto const& row : schema::keys()) {
    bool const below = row.path == top || (row.path.starts_with(top) && row.path.substr(top.size()).starts_with('.'));
    if (row.in == in && below) out.push_back(about(row, schema::steps_of(row.path)));
  }
  return out;
}

}  // namespace

std::vector<explanation> explain_all(std::vector<stage_options> const& stages) {
  std::vector<explanation> out;
  for (auto const& row : schema::keys()) {
    if (!explained(row)) continue;
    out.push_back(about(row, schema::steps_of(row.path)));
    if (row.path != "stages.*") continue;
    for (auto const& stage : stages)
      for (auto const& option : stage.rows) out.push_back(about(stage, option));
  }
  return out;
}

std::optional<explanation> explain(std::string_view asked, std::vector<stage_options> const& stages,
                                   std::string& near) {
  std::vector<std::string> known;
  for (auto const& row : schema::keys()) {
    if (!explained(row)) continue;
    auto const names = variables_of(row);
    if (std::find(names.begin(), names.end(), asked) != names.end()) return about(row, schema::steps_of(row.path));
    known.emplace_back(row.path);
  }
  for (auto const in : {document::configuration, document::profile}) {
    auto found = schema::resolve(in, asked);
    if (!found) continue;
    auto const& row = *found->row;
    // A name may hold dots, but what stands behind one is more likely a key that is misspelt.
    // A kind's name holds one.
    auto const dot = found->steps.back().rfind('.');
    bool const kind = row.path == "rules.*" && found->steps.back().find('.') == dot;
    if (row.type == type::map && dot != std::string::npos && !kind) {
      auto const leaf = found->steps.back().substr(dot + 1);
      if (auto const name = base::nearest(leaf, schema::children(in, row.path)))
        near = std::string(asked.substr(0, asked.size() - leaf.size())) + *name;
      return {};
    }
    if (!row.path.starts_with("stages.*") || found->steps[1] == "*") return about(row, std::move(found->steps));
    auto const at = std::find_if(stages.begin(), stages.end(), [&](auto const& s) { return s.id == found->steps[1]; });
    if (at == stages.end()) {
      std::vector<std::string> ids;
      for (auto const& s : stages) ids.push_back(s.id);
      if (auto const id = base::nearest(found->steps[1], ids)) near = "stages." + *id;
      return {};
    }
    if (row.path != "stages.*") return about(row, std::move(found->steps));
    if (found->steps.size() == 2) return about(*at);
    std::vector<std::string> names;
    for (auto const& option : at->rows) {
      if (option.name == found->steps[2]) return about(*at, option);
      names.push_back(option.name);
    }
    for (auto const& name : schema::children(document::configuration, "stages.*")) names.push_back(name);
    if (auto const name = base::nearest(found->steps[2], names)) near = "stages." + at->id + "." + *name;
    return {};
  }
  // The end of a path is what people remember, with whatever sign between the words.
  std::string low = base::lower(asked);
  std::replace(low.begin(), low.end(), '-', '_');
  for (auto const& path : known) {
    auto flat = path;
    std::replace(flat.begin(), flat.end(), '.', '_');
    if (flat == low || path.ends_with("." + low) || flat.ends_with("_" + low)) {
      near = path;
      return {};
    }
  }
  if (auto const found = base::nearest(asked, known)) near = *found;
  return {};
}

std::string json_schema(document which, std::vector<stage_options> const& stages) {
  return schema_maker(which, stages).root().dump(2) + "\n";
}

std::string reference(std::vector<stage_options> const& stages) {
  std::string out =
      "# Every key\n\n"
      "<!-- Made by: weir config reference. A test compares them; do not edit. -->\n\n"
      "`weir config explain KEY` says the same for one key, `weir config show --origin` which value holds and where "
      "it\n"
      "comes from. `*` stands for a name of your own. A duration is `500ms`, `30s`, `5m`, `1h` or `7d`; a plain number is\n"
      "seconds. How files, variables and `--set` go together stands in `docs/configuration.md`.\n\n"
      "## The configuration\n\n";
  std::vector<explanation> single;
  for (auto const& top : schema::children(document::configuration, "")) {
    auto const& row = *schema::find(document::configuration, top);
    if (rows_below(document::configuration, top).size() == 1) single.push_back(about(row, {top}));
  }
  out += table(single);
  for (auto const& top : schema::children(document::configuration, "")) {
    auto rows = rows_below(document::configuration, top);
    if (rows.size() == 1) continue;
    out += "### " + top + "\n\n" + table(rows);
    if (top != "stages") continue;
    for (auto const& stage : stages) {
      std::vector<explanation> options;
      for (auto const& option : stage.rows) options.push_back(about(stage, option));
      out += "The stage `" + stage.id + "`: " + stage.title + ".\n\n";
      out += options.empty() ? "It takes no options of its own.\n\n" : table(options);
    }
  }
  out += "## A profile\n\n";
  std::vector<explanation> rows;
  for (auto const& row : schema::keys())
    if (row.in == document::profile) rows.push_back(about(row, schema::steps_of(row.path)));
  out += table(rows);
  out.pop_back();
  return out;
}

}  // namespace weir::config
