#include "core/config/check.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/text.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

std::string join_path(std::string_view parent, std::string_view name) {
  return parent.empty() ? std::string(name) : std::string(parent) + "." + std::string(name);
}

// "token_env, token_file, token_command or token_credential" of the map at `parent`.
std::string forms_of(schema::document which, std::string_view parent, std::string_view secret) {
  std::vector<std::string> names;
  for (auto const& row : schema::keys())
    if (row.in == which && row.secret == secret && !row.form.empty() && row.path.starts_with(parent) &&
        row.path.substr(parent.size() + 1).find('.') == std::string_view::npos)
      names.emplace_back(row.path.substr(parent.size() + 1));
  if (names.size() < 2) return base::join(names);
  auto const last = names.back();
  names.pop_back();
  return base::join(names) + " or " + last;
}

std::set<std::string> words_of(std::string_view name) {
  std::set<std::string> out;
  for (std::size_t start = 0; start <= name.size();) {
    auto const end = std::min(name.find_first_of("_-", start), name.size());
    out.insert(base::lower(name.substr(start, end - start)));
    start = end + 1;
  }
  return out;
}

// verify-tls for tls_verify.
std::optional<std::string> same_words(std::string_view name, std::vector<std::string> const& known) {
  for (auto const& one : known)
    if (words_of(one) == words_of(name)) return one;
  return {};
}

// What is missing, and what it may look like.
std::string with_example(schema::key const& row) {
  std::string out(row.help);
  if (row.example.empty()) return out;
  if (out.ends_with('.')) out.pop_back();
  return out + ", such as " + std::string(row.path.substr(row.path.rfind('.') + 1)) + ": " + std::string(row.example);
}

// A URL's example is the key's own.
std::string url_hint(schema::key const& row, std::string const& hint) {
  if (hint != "such as https://netbox.example" || row.example.empty()) return hint;
  auto example = row.example;
  if (example.starts_with('[')) example = example.substr(1, example.size() - 2);
  return "such as " + std::string(example);
}

}  // namespace

view::view(checker const* owner, yaml::node const* n, std::string pattern, std::string shown)
    : owner_(owner),
      node_(n),
      pattern_(std::move(pattern)),
      shown_(std::move(shown)),
      key_(schema::find(owner->which(), pattern_)) {}

bool view::present() const { return node_ != nullptr && !owner_->bad(node_); }

view view::operator[](std::string_view name) const {
  auto pattern = join_path(pattern_, name);
  // A key with a dot in it is a name, never a way around the nesting.
  if (name.find_first_of(".*") != name.npos || schema::find(owner_->which(), pattern) == nullptr)
    pattern = join_path(pattern_, "*");
  return {owner_, node_ != nullptr ? node_->find(name) : nullptr, std::move(pattern),
          join_path(shown_, base::shorten(name, 60))};
}

yaml::node view::effective() const {
  if (present()) return *node_;
  yaml::node n;
  n.is = yaml::node::form::scalar;
  n.text = key_ != nullptr ? std::string(key_->default_value) : std::string();
  return n;
}

bool view::boolean() const { return resolve(effective()).boolean; }
long long view::integer() const { return resolve(effective()).integer; }
double view::number() const { return resolve(effective()).number; }
std::string view::text() const { return effective().text; }
std::chrono::milliseconds view::duration() const {
  return std::chrono::milliseconds(std::llround(parse_duration(effective().text).value_or(0)));
}

std::pair<double, double> view::range() const {
  auto const n = effective();
  if (n.is != yaml::node::form::list) return {resolve(n).number, resolve(n).number};
  return {resolve(n.children.at(0)).number, resolve(n.children.at(1)).number};
}

std::vector<view> view::children() const {
  std::vector<view> out;
  if (!present()) return out;
  for (std::size_t i = 0; i < node_->children.size(); ++i) {
    auto const& child = node_->children[i];
    if (owner_->bad(&child)) continue;
    if (node_->is == yaml::node::form::map)
      out.push_back((*this)[child.key]);
    else
      out.push_back(view(owner_, &child, pattern_, shown_ + "[" + std::to_string(i) + "]"));
  }
  return out;
}

checker::checker(yaml::document const& doc, schema::document which, std::vector<diagnostic>& errors)
    : doc_(doc), which_(which), errors_(errors) {
  if (doc_.root.is != yaml::node::form::map) {
    bool const empty = resolve(doc_.root).is == scalar::kind::null;
    errors_.push_back(
        doc_.complain(empty ? yaml::mark{} : doc_.root.at,
                      empty ? "the file is empty" : "the file must be a map of keys, is " + describe(doc_.root),
                      empty && which_ == schema::document::configuration
                          ? "it needs netbox and sources at least; weir config explain lists all keys"
                          : ""));
    bad_.insert(&doc_.root);
    return;
  }
  if (auto const* allow = doc_.root.find("allow_inline_secrets")) inline_secrets_ = resolve(*allow).boolean;
  check_children(root());
}

bool checker::from_file(yaml::mark at) const {
  return at.file >= doc_.files.size() || doc_.files[at.file].is == yaml::text_source::kind::file;
}

diagnostic checker::about(view const& v, std::string summary, std::string detail, show how) const {
  yaml::mark at;
  if (v.node() != nullptr) at = v.node()->at;
  return doc_.complain(at, std::move(summary), std::move(detail), how);
}

void checker::complain(view const& v, std::string summary, std::string detail, show how) {
  errors_.push_back(about(v, std::move(summary), std::move(detail), how));
  bad_.insert(v.node());
}

void checker::complain_at_key(view const& v, std::string summary, std::string detail) {
  yaml::mark at;
  // What stands in a list has no key, the whole file no place.
  if (v.node() != nullptr) at = v.node()->key_at.line == 0 && v.key() != nullptr ? v.node()->at : v.node()->key_at;
  errors_.push_back(doc_.complain(at, std::move(summary), std::move(detail)));
}

void checker::complain_at(yaml::mark at, std::string summary, std::string detail) {
  errors_.push_back(doc_.complain(at, std::move(summary), std::move(detail)));
}

std::string checker::location(yaml::mark at) const {
  if (!from_file(at)) return doc_.origin(at);
  return doc_.origin(at) + ":" + std::to_string(at.column);
}

bool checker::in_profile(std::string_view name) const {
  return which_ == schema::document::configuration && schema::find(schema::document::profile, name) != nullptr;
}

void checker::unknown(view const& parent, yaml::node const& child) {
  auto const& where = parent.path();
  auto const name = base::shorten(child.key, 60);
  auto const pattern = parent.key() != nullptr ? parent.key()->path : std::string_view();
  auto const known = schema::children(which_, pattern);
  std::string detail;
  if (auto const near = base::nearest(child.key, known)) {
    detail = "did you mean '" + *near + "'?";
  } else if (pattern == "rules.*") {
    detail = "a field's rule stands one level below, under fields; known here: " + base::join(known);
  } else if (schema::find(which_, child.key) != nullptr) {
    detail = child.key.find('.') != std::string::npos ? "write it nested, one level for each '.'"
                                                      : "it belongs at the top: is it indented by mistake?";
  } else if (auto const same = same_words(child.key, known)) {
    detail = "did you mean '" + *same + "'?";
  } else if (auto const homes = schema::homes(which_, child.key); !homes.empty() || in_profile(child.key)) {
    if (!homes.empty()) detail = "it belongs under " + base::join(homes, " or ");
    if (in_profile(child.key))
      detail += std::string(homes.empty() ? "it belongs in" : ", or in") +
                " a profile: a file of its own, which 'profile' names";
  } else {
    detail = "known here: " + base::join(known);
  }
  // The value stays out of sight: a misspelt token_… may hold the token itself.
  errors_.push_back(doc_.complain(child.key_at, "unknown key '" + name + "'" + (where.empty() ? "" : " in " + where),
                                  std::move(detail), show::up_to_key));
  bad_.insert(&child);
}

void checker::check_children(view const& v) {
  bool const named = v.key() != nullptr && v.key()->type == schema::type::named_map;
  for (auto const& child : v.node()->children) {
    auto const below = v[child.key];
    if (below.key() == nullptr) {
      unknown(v, child);
    } else if (named && !valid_name(child.key)) {
      errors_.push_back(doc_.complain(child.key_at,
                                      "'" + base::shorten(child.key, 60) + "' cannot be a name in " + v.path(),
                                      "letters, digits, '_', '.' and '-', the first a letter or a digit, at most 100"));
      bad_.insert(&child);
    } else {
      check(below);
    }
  }
  // What is missing; `named` maps have no keys of their own.
  auto const pattern = v.key() != nullptr ? v.key()->path : std::string_view();
  for (auto const& name : schema::children(which_, pattern)) {
    auto const below = v[name];
    if (below.key() == nullptr || !below.key()->required || below.node() != nullptr) continue;
    complain_at_key(v, below.path() + " is missing", with_example(*below.key()));
  }
}

void checker::check_list(view const& v) {
  if (v.node()->children.empty()) {
    complain(v, v.path() + " is an empty list", std::string(v.key()->help));
    return;
  }
  for (std::size_t i = 0; i < v.node()->children.size(); ++i) {
    auto const& child = v.node()->children[i];
    auto const shown = v.path() + "[" + std::to_string(i) + "]";
    bool const url = v.key()->type == schema::type::url_list;
    bool const word = v.key()->type == schema::type::word_list;
    auto const is = resolve(child).is;
    if (!(is == scalar::kind::text || (word && (is == scalar::kind::integer || is == scalar::kind::number))) || child.text.empty()) {
      errors_.push_back(doc_.complain(child.at, shown + " must be " +
                                                    (url                                        ? "an http or https URL"
                                                     : word                                     ? "a name or a number"
                                                     : v.key()->type == schema::type::name_list ? "a name"
                                                                                                : "a path") +
                                                    ", is " + describe(child)));
      bad_.insert(&child);
    } else if (url) {
      if (auto const ok = normal_url(child.text); !ok) {
        bool const hide = child.text.find('@') != std::string::npos;
        errors_.push_back(doc_.complain(child.at, shown + " " + ok.error().what, url_hint(*v.key(), ok.error().hint),
                                        hide ? show::up_to_value : show::all));
        bad_.insert(&child);
      }
    }
  }
}

void checker::check_maps(view const& v) {
  if (v.node()->children.empty()) return complain(v, v.path() + " is an empty list", std::string(v.key()->help));
  for (std::size_t i = 0; i < v.node()->children.size(); ++i) {
    auto const& child = v.node()->children[i];
    view const item(this, &child, v.pattern_, v.path() + "[" + std::to_string(i) + "]");
    if (resolve(child).is == scalar::kind::map)
      check_children(item);
    else
      complain(item, item.path() + " must be a map of keys, is " + describe(child), std::string(v.key()->help));
  }
}

void checker::check_pair(view const& v) {
  auto const& n = *v.node();
  auto const is_number = [](yaml::node const& x) {
    auto const value = resolve(x);
    return (value.is == scalar::kind::integer || value.is == scalar::kind::number) && !std::isnan(value.number);
  };
  if (n.children.size() != 2 || !is_number(n.children[0]) || !is_number(n.children[1]))
    return complain(v, v.path() + " must be " + std::string(schema::describe(v.key()->type)), "such as [0, 1]");
  auto const [low, high] = v.range();
  if (low > high)
    return complain(v, v.path() + " has its lowest value above its highest", "the lower one comes first: [0, 1]");
  for (auto const& x : n.children)
    if (!bad(&n)) check_range(v, resolve(x).number, base::shorten(x.text, 40));
}

void checker::check_range(view const& v, double value, std::string const& is) {
  auto const& row = *v.key();
  if (value >= row.min && value <= row.max) return;
  auto const limit = [&](double x) {
    return row.type == schema::type::duration ? format_duration(x) : plain_number(x);
  };
  complain(v, v.path() + " must be between " + limit(row.min) + " and " + limit(row.max) + ", is " + is,
           std::string(row.help));
}

void checker::check(view const& v) {
  using schema::type;
  using kind = scalar::kind;
  auto const& row = *v.key();
  auto const& n = *v.node();
  auto const value = resolve(n);
  bool const hide = !row.secret.empty();
  auto const how = hide ? show::up_to_value : show::all;

  if (row.type == type::inline_secret && !inline_secrets_ && from_file(n.at)) {
    auto const parent = row.path.substr(0, row.path.rfind('.'));
    complain(v, v.path() + " may not stand in the file",
             "use " + forms_of(which_, parent, row.secret) + "; or say allow_inline_secrets: true", show::up_to_value);
    return;
  }
  if (row.type == type::inline_secret) {
    if (value.is == kind::null || value.is == kind::list || value.is == kind::map || n.text.empty())
      complain(v, v.path() + " must be text, is " + (n.text.empty() && value.is == kind::text ? "empty" : describe(n)),
               "", how);
    else if (n.plain && value.is != kind::text)
      complain(v, v.path() + " must be text, is something else", "put it in quotes", how);
    return;
  }
  if (row.type == type::options) {
    if (value.is != kind::map && value.is != kind::null)
      complain(v, v.path() + " must be a map of options, is " + describe(n), "write {} for a stage without options");
    // Some names are weir's own; the others are the plugin's to check.
    for (auto const& child : n.children)
      if (auto const own = v[child.key]; own.key() != nullptr) check(own);
    return;
  }
  auto const wrong = [&](std::string detail = {}) {
    auto is = describe(n);
    if (hide && value.is != kind::null && value.is != kind::list && value.is != kind::map) is = "something else";
    complain(v, v.path() + " must be " + std::string(schema::describe(row.type)) + ", is " + is, std::move(detail),
             how);
  };
  bool const number = value.is == kind::integer || value.is == kind::number;
  switch (row.type) {
    case type::map:
    case type::named_map:
      if (value.is != kind::map) {
        std::string detail(row.help);
        if (row.type == type::named_map && value.is == kind::list)
          detail =
              row.path == "stages" ? "write each as 'name: {}'" : "write each as 'name: {…}', with a name of your own";
        if (row.path == "stages" && value.is == kind::null) detail = "leave the key out to run every stage";
        return wrong(std::move(detail));
      }
      if (row.type == type::named_map && n.children.empty())
        return complain(v, v.path() + " is empty",
                        row.path == "stages" ? "leave the key out to run every stage" : std::string(row.help));
      return check_children(v);
    case type::url_list:
    case type::path_list:
    case type::word_list:
    case type::name_list:
      if (value.is != kind::list)
        return wrong(value.is == kind::text ? std::string("write it in brackets: [ … ]") : std::string(row.help));
      return check_list(v);
    case type::map_list:
      if (value.is != kind::list) return wrong("write each as '- {…}'");
      return check_maps(v);
    case type::range:
      if (value.is == kind::list) return check_pair(v);
      if (!number || std::isnan(value.number))
        return wrong(value.is == kind::text && !n.plain ? "write it without quotes" : std::string(row.help));
      return check_range(v, value.number, base::shorten(n.text, 40));
    case type::boolean:
      if (value.is != kind::boolean)
        return wrong("write true or false, without quotes: yes and no are text in YAML 1.2");
      return;
    case type::integer:
    case type::integer_or_map:
      if (row.type == type::integer_or_map && value.is == kind::map) return check_children(v);
      if (value.is != kind::integer)
        return wrong(value.is == kind::text && !n.plain ? "write it without quotes" : std::string(row.help));
      return check_range(v, value.number, base::shorten(n.text, 40));
    case type::number:
      if (!number || std::isnan(value.number))
        return wrong(value.is == kind::text && !n.plain ? "write it without quotes" : std::string(row.help));
      return check_range(v, value.number, base::shorten(n.text, 40));
    case type::duration: {
      auto const ms = number || value.is == kind::text ? parse_duration(n.text) : std::nullopt;
      if (!ms) return wrong("such as 30s, 500ms or 2m; a plain number is seconds");
      return check_range(v, *ms, base::shorten(n.text, 40));
    }
    case type::text:
    case type::path:
    case type::url:
    case type::fingerprint:
      break;
    case type::options:
    case type::inline_secret:
      return;
  }
  if (value.is != kind::text)
    return wrong(value.is == kind::boolean || number ? "put it in quotes if it is meant" : std::string(row.help));
  if (n.text.empty() && row.may_be_empty) return;
  if (n.text.empty()) return complain(v, v.path() + " is empty", std::string(row.help));
  if (row.type == type::url) {
    if (auto const ok = normal_url(n.text); !ok)
      complain(v, v.path() + " " + ok.error().what, url_hint(row, ok.error().hint),
               n.text.find('@') != std::string::npos ? show::up_to_value : how);
  } else if (row.type == type::fingerprint) {
    if (!normal_fingerprint(n.text))
      complain(v, v.path() + " must be 32 bytes in hexadecimal, with or without colons",
               "openssl x509 -noout -fingerprint -sha256 -in certificate.pem prints it");
  } else if (!row.allowed.empty() && std::find(row.allowed.begin(), row.allowed.end(), n.text) == row.allowed.end()) {
    std::vector<std::string> const allowed(row.allowed.begin(), row.allowed.end());
    auto near = base::nearest(n.text, allowed);
    for (auto const& one : allowed)
      if (!near && one.size() > 2 && base::lower(n.text).starts_with(one)) near = one;  // "warning" for warn
    complain(v, v.path() + " must be " + base::join(allowed, " or ") + ", is '" + base::shorten(n.text, 60) + "'",
             near ? "did you mean '" + *near + "'?" : "");
  }
}

}  // namespace weir::config
