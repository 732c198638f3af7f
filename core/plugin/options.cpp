#include "core/plugin/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
// Without this valijson prints a bad schema to stderr and aborts the program.
#define VALIJSON_USE_EXCEPTIONS 1
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "core/base/text.hpp"
#include "core/plugin/loader.hpp"

namespace weir::plugin {
namespace {

using nlohmann::json;
using adapter = valijson::adapters::NlohmannJsonAdapter;
using path = std::vector<std::string>;

// Throws what valijson throws when the schema is none.
void compile(json const& document, valijson::Schema& out) {
  valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
  parser.populateSchema(adapter(document), out);
}

json const* follow(json const& root, json const* schema) {
  // A chain of references is short; a longer one goes in a circle.
  for (int i = 0; i < 16 && schema && schema->is_object() && schema->contains("$ref"); ++i) {
    auto const& ref = (*schema)["$ref"];
    if (!ref.is_string() || ref.get_ref<std::string const&>().rfind('#', 0) != 0) return nullptr;
    try {
      schema = &root.at(json::json_pointer(ref.get_ref<std::string const&>().substr(1)));
    } catch (json::exception const&) {
      return nullptr;
    }
  }
  return schema && schema->is_object() ? schema : nullptr;
}

// Whether a schema comes back to itself without going down into the value: validating by it would never end.
bool goes_in_a_circle(json const& root, json const* schema, std::vector<json const*>& trail) {
  if (!schema->is_object()) return false;
  if (std::find(trail.begin(), trail.end(), schema) != trail.end()) return true;
  trail.push_back(schema);
  auto const same_value = [&](json const& part) { return goes_in_a_circle(root, &part, trail); };
  bool found = false;
  if (auto const ref = schema->find("$ref"); ref != schema->end() && ref->is_string()) {
    auto const& to = ref->get_ref<std::string const&>();
    try {
      if (to.rfind('#', 0) == 0) found = same_value(root.at(json::json_pointer(to.substr(1))));
    } catch (json::exception const&) {
      // valijson says what is wrong with it.
    }
  }
  for (char const* one : {"not", "if", "then", "else"})
    if (auto const part = schema->find(one); !found && part != schema->end()) found = same_value(*part);
  for (char const* list : {"allOf", "anyOf", "oneOf"})
    if (auto const parts = schema->find(list); !found && parts != schema->end() && parts->is_array())
      found = std::any_of(parts->begin(), parts->end(), same_value);
  trail.pop_back();
  return found;
}

// The same for everything inside `at`, schema or not.
bool has_circle(json const& root, json const& at) {
  std::vector<json const*> trail;
  if (goes_in_a_circle(root, &at, trail)) return true;
  return at.is_structured() &&
         std::any_of(at.begin(), at.end(), [&](json const& part) { return has_circle(root, part); });
}

// The schema of a member by its "patternProperties"; null if none fits. Throws std::regex_error.
json const* by_pattern(json const& schema, std::string const& member) {
  auto const patterns = schema.find("patternProperties");
  if (patterns == schema.end() || !patterns->is_object()) return nullptr;
  for (auto const& [pattern, part] : patterns->items())
    if (std::regex_search(member, std::regex(pattern))) return &part;
  return nullptr;
}

// The part of the schema that speaks about the value at `where`; null where it can't be told.
json const* schema_at(json const& root, path const& where) {
  json const* at = follow(root, &root);
  for (auto const& step : where) {
    if (!at) return nullptr;
    json const* next = nullptr;
    if (auto const all = at->find("properties"); all != at->end() && all->is_object() && all->contains(step))
      next = &(*all)[step];
    else if (auto const* fits = by_pattern(*at, step))
      next = fits;
    else if (auto const items = at->find("items"); items != at->end() && items->is_object())
      next = &*items;
    else if (auto const more = at->find("additionalProperties"); more != at->end() && more->is_object())
      next = &*more;
    at = follow(root, next);
  }
  return at;
}

json const* value_at(json const& root, path const& where) {
  json const* at = &root;
  for (auto const& step : where) {
    if (at->is_object() && at->contains(step)) {
      at = &(*at)[step];
    } else if (at->is_array()) {
      std::size_t index = 0;
      if (std::from_chars(step.data(), step.data() + step.size(), index).ec != std::errc{} || index >= at->size())
        return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

// "keep.daily", "storages[2]"; empty for the options as a whole.
std::string spell(json const& root, path const& where) {
  std::string out;
  json const* at = &root;
  path so_far;
  for (auto const& step : where) {
    if (at && at->is_array())
      out += '[' + step + ']';
    else
      out += (out.empty() ? "" : ".") + step;
    so_far.push_back(step);
    at = value_at(root, so_far);
  }
  return out;
}

std::string type_words(std::string const& type) {
  if (type == "boolean") return "true or false";
  if (type == "integer") return "a whole number";
  if (type == "number") return "a number";
  if (type == "string") return "text";
  if (type == "array") return "a list";
  if (type == "object") return "a mapping";
  if (type == "null") return "nothing (null)";
  return type;
}

// What the schema wants, in words: "a whole number from 1 to 10", "one of \"a\", \"b\"". Empty if it can't be told.
std::string expected(json const& root, json const* schema) {
  if (!schema) return {};
  if (auto const c = schema->find("const"); c != schema->end()) return c->dump();
  std::vector<std::string> parts;
  if (auto const e = schema->find("enum"); e != schema->end() && e->is_array()) {
    for (auto const& value : *e) parts.push_back(value.dump());
    return "one of " + base::join(parts);
  }
  for (char const* any : {"anyOf", "oneOf"})
    if (auto const list = schema->find(any); list != schema->end() && list->is_array()) {
      for (auto const& one : *list)
        if (auto words = expected(root, follow(root, &one)); !words.empty()) parts.push_back(std::move(words));
      return base::join(parts, " or ");
    }
  std::string out;
  if (auto const type = schema->find("type"); type != schema->end()) {
    if (type->is_string()) out = type_words(type->get<std::string>());
    if (type->is_array()) {
      for (auto const& one : *type)
        if (one.is_string()) parts.push_back(type_words(one.get<std::string>()));
      out = base::join(parts, " or ");
    }
  }
  auto const limit = [&](char const* key) -> std::string {
    auto const at = schema->find(key);
    return at != schema->end() && at->is_number() ? at->dump() : std::string{};
  };
  auto const range = [&](std::string const& low, std::string const& high, char const* unit) {
    if (!low.empty() && !high.empty())
      out += " from " + low + " to " + high + unit;
    else if (!low.empty())
      out += " of at least " + low + unit;
    else if (!high.empty())
      out += " of at most " + high + unit;
  };
  range(limit("minimum"), limit("maximum"), "");
  if (auto const low = limit("exclusiveMinimum"); !low.empty()) out += " above " + low;
  if (auto const high = limit("exclusiveMaximum"); !high.empty()) out += " below " + high;
  if (auto const step = limit("multipleOf"); !step.empty()) out += ", a multiple of " + step;
  range(limit("minLength"), limit("maxLength"), " characters");
  range(limit("minItems"), limit("maxItems"), " items");
  if (auto const p = schema->find("pattern"); p != schema->end() && p->is_string())
    out += " that matches " + p->get<std::string>();
  if (auto const f = schema->find("format"); f != schema->end() && f->is_string())
    out += " in the format " + f->get<std::string>();
  if (auto const u = schema->find("uniqueItems"); u != schema->end() && *u == true) out += " without repetitions";
  return out;
}

// Text is not shown unless the schema lists what it may be: an option may be a password.
std::string shown(json const* value, json const* schema) {
  if (!value) return "missing";
  if (value->is_boolean() || value->is_number() || value->is_null()) return value->dump();
  if (value->is_string() && schema && schema->contains("enum")) return base::shorten(value->dump(), 60);
  if (value->is_string()) return "text";
  return value->is_array() ? "a list" : "a mapping";
}

// Members of `value` that a closed schema ("additionalProperties": false) does not have.
std::vector<std::string> unknown_members(json const* schema, json const* value) {
  std::vector<std::string> out;
  if (!schema || !value || !value->is_object()) return out;
  if (auto const more = schema->find("additionalProperties"); more == schema->end() || *more != false) return out;
  auto const all = schema->find("properties");
  for (auto const& [key, ignored] : value->items())
    if ((all == schema->end() || !all->contains(key)) && !by_pattern(*schema, key)) out.push_back(key);
  return out;
}

std::vector<std::string> member_names(json const* schema) {
  std::vector<std::string> out;
  if (!schema) return out;
  if (auto const all = schema->find("properties"); all != schema->end() && all->is_object())
    for (auto const& [key, ignored] : all->items()) out.push_back(key);
  return out;
}

struct findings {
  std::vector<std::string> lines;
  std::string hint;
  std::vector<option_problem> problems;
};

std::string pointer_to(path const& where) {
  json::json_pointer out;
  for (auto const& step : where) out.push_back(step);
  return out.to_string();
}

// valijson's errors, leaves first, turned into one line per place.
findings explain(json const& schema, json const& given, json const& full, valijson::ValidationResults const& results) {
  findings out;
  std::set<std::string> told;
  auto const say = [&](path const& where, std::string line, std::string hint, bool at_key = false) {
    if (!told.insert(line).second) return;
    out.problems.push_back({pointer_to(where), line, hint, at_key});
    out.lines.push_back(std::move(line));
    if (out.hint.empty()) out.hint = std::move(hint);
  };
  auto const each = [&](bool wrappers) {
    for (auto const& e : results) {
      // "Failed to validate against …" only repeats on the way up what was said below.
      if ((e.description.rfind("Failed to validate ", 0) == 0) != wrappers) continue;
      path where;
      for (auto const& step : e.context)
        if (step.size() > 2 && step.front() == '[' && step.back() == ']')
          where.push_back(step.substr(1, step.size() - 2));
      auto const* part = schema_at(schema, where);
      auto const* value = value_at(full, where);
      auto const place = spell(full, where);
      auto const inside = place.empty() ? std::string{} : place + ".";

      if (e.description.rfind("Object contains a property", 0) == 0) {
        auto const known = member_names(part);
        for (auto const& key : unknown_members(part, value)) {
          auto line = "unknown option " + inside + key;
          if (auto const near = base::nearest(key, known)) line += " (did you mean " + inside + *near + "?)";
          auto deeper = where;
          deeper.push_back(key);
          say(deeper, std::move(line),
              known.empty() ? "there are no options here" : "options here: " + base::join(known), true);
        }
        continue;
      }
      static constexpr std::string_view missing = "Missing required property '";
      if (e.description.rfind(missing, 0) == 0) {
        auto const key = e.description.substr(missing.size(), e.description.rfind('\'') - missing.size());
        auto deeper = where;
        deeper.push_back(key);
        auto const words = expected(schema, schema_at(schema, deeper));
        say(where, "option " + inside + key + " is missing" + (words.empty() ? "" : ": expected " + words), {});
        continue;
      }
      auto words = e.description;
      if (auto const wanted = expected(schema, part); !wanted.empty()) words = "expected " + wanted;
      if (words.ends_with('.')) words.pop_back();
      auto line = (place.empty() ? std::string("the options") : place) + ": " + words + ", is " + shown(value, part);
      if (value && value->is_string() && part && part->contains("enum")) {
        std::vector<std::string> choices;
        for (auto const& choice : (*part)["enum"])
          if (choice.is_string()) choices.push_back(choice.get<std::string>());
        if (auto const near = base::nearest(value->get<std::string>(), choices))
          line += ", did you mean \"" + *near + "\"?";
      }
      if (!where.empty() && !value_at(given, {where.front()})) line += " (the plugin's own default)";
      std::string hint;
      if (part && part->contains("description") && (*part)["description"].is_string())
        hint = place + ": " + (*part)["description"].get<std::string>();
      say(where, std::move(line), std::move(hint));
    }
  };
  each(false);
  if (out.lines.empty()) each(true);
  if (out.lines.empty()) out.lines.push_back("they do not fit the stage's schema");
  return out;
}

// With the defaults of the top-level options that are not given.
json with_defaults(json const& schema, json full) {
  if (auto const* top = follow(schema, &schema))
    if (auto const all = top->find("properties"); all != top->end() && all->is_object())
      for (auto const& [key, property] : all->items()) {
        auto const* part = follow(schema, &property);
        if (part && part->contains("default") && !full.contains(key)) full[key] = (*part)["default"];
      }
  return full;
}

}  // namespace

std::string kinds_problem(std::string const& kinds_json) {
  auto const kinds = json::parse(kinds_json, nullptr, false);
  if (kinds.is_discarded()) return "kinds_json is not JSON";
  if (!kinds.is_array()) return "kinds_json is no JSON array";
  for (auto const& kind : kinds) {
    if (kind.is_string()) continue;
    if (!kind.is_object() || !kind.contains("kind") || !kind["kind"].is_string())
      return "kinds_json: every entry is the id of a built-in kind or an object with a member \"kind\", not " +
             base::shorten(kind.dump(), 60);
  }
  return {};
}

std::string schema_problem(std::string const& schema_json) {
  auto const schema = json::parse(schema_json, nullptr, false);
  if (schema.is_discarded()) return "options_schema is not JSON";
  if (!schema.is_object()) return "options_schema is no JSON object";
  if (has_circle(schema, schema)) return "options_schema refers to itself in a circle";
  try {
    valijson::Schema compiled;
    compile(schema, compiled);
  } catch (std::exception const& e) {
    return std::string("options_schema is no JSON Schema: ") + e.what();
  }
  return {};
}

std::vector<option_row> describe_options(std::string const& schema_json) {
  std::vector<option_row> out;
  auto const schema = json::parse(schema_json, nullptr, false);
  auto const* top = follow(schema, &schema);
  if (!top) return out;
  auto const all = top->find("properties");
  if (all == top->end() || !all->is_object()) return out;
  auto const required = top->value("required", json::array());
  for (auto const& [name, property] : all->items()) {
    option_row row;
    row.name = name;
    row.required = std::find(required.begin(), required.end(), name) != required.end();
    if (auto const* part = follow(schema, &property)) {
      row.expected = expected(schema, part);
      if (part->contains("default")) row.fallback = (*part)["default"].dump();
      if (auto const d = part->find("description"); d != part->end() && d->is_string()) row.description = *d;
    }
    out.push_back(std::move(row));
  }
  return out;
}

base::result<std::string> check_options(loaded_stage const& stage, std::string const& options_json,
                                        std::string const& where) {
  auto const refuse = [&](std::string const& what, std::string hint) {
    return base::fail(base::error_code::config,
                      fmt::format("{}{}options of stage \"{}\": {}", where, where.empty() ? "" : ": ", stage.id, what),
                      std::move(hint));
  };
  auto given = json::parse(options_json, nullptr, false);
  if (given.is_discarded()) return refuse("not JSON", {});
  // `nodes:` with nothing behind it is null in YAML and means "no options".
  if (given.is_null()) given = json::object();
  if (!given.is_object()) return refuse("expected a mapping, is " + shown(&given, nullptr), {});

  if (stage.options_schema.empty()) {
    if (given.empty()) return std::string("{}");
    std::vector<std::string> keys;
    for (auto const& [key, ignored] : given.items()) keys.push_back(key);
    return refuse("it takes none, but has " + base::join(keys), "remove them");
  }
  auto const schema = json::parse(stage.options_schema, nullptr, false);
  if (!schema.is_object()) return refuse("the stage's own schema is no JSON object", "this is a fault of the plugin");

  auto const full = with_defaults(schema, given);
  try {
    valijson::Schema compiled;
    compile(schema, compiled);
    valijson::ValidationResults results;
    valijson::Validator validator;
    if (!validator.validate(compiled, adapter(full), &results)) {
      auto found = explain(schema, given, full, results);
      return refuse(base::join(found.lines, "; "), std::move(found.hint));
    }
    return full.dump();
  } catch (std::exception const& e) {
    // Also from std::regex, for a pattern that is none.
    return refuse(std::string("they can't be checked: ") + e.what(), "this is a fault of the plugin's schema");
  }
}

std::vector<option_problem> find_option_problems(loaded_stage const& stage, std::string const& options_json) {
  auto given = json::parse(options_json, nullptr, false);
  if (given.is_null()) given = json::object();
  auto const schema = json::parse(stage.options_schema, nullptr, false);
  if (!given.is_object() || !schema.is_object()) return {};
  auto const full = with_defaults(schema, given);
  try {
    valijson::Schema compiled;
    compile(schema, compiled);
    valijson::ValidationResults results;
    valijson::Validator validator;
    if (validator.validate(compiled, adapter(full), &results)) return {};
    return explain(schema, given, full, results).problems;
  } catch (std::exception const&) {
    return {};  // check_options() says so
  }
}

}  // namespace weir::plugin
