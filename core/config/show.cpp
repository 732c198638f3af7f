#include "core/config/show.hpp"

#include <algorithm>

#include "core/base/text.hpp"
#include "core/config/profiles.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

using yaml::node;

// A scalar that YAML would read as the same text without quotes.
bool plain_enough(std::string const& text) {
  node n;
  n.is = node::form::scalar;
  n.text = text;
  if (text.empty() || resolve(n).is != scalar::kind::text) return false;
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return false;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@`").find(text[0]) != std::string_view::npos) return false;
  if (text.find(": ") != text.npos || text.find(" #") != text.npos) return false;
  return text.find_first_of(",[]{}\n\t\r") == text.npos;
}

// A plugin's options are its own; by their names some are secrets.
bool named_like_a_secret(std::string const& key) {
  auto const lower = base::lower(key);
  for (auto const* word : {"token", "passw", "secret", "api_key", "apikey", "credential"})
    if (lower.find(word) != lower.npos) return true;
  return false;
}

class lister {
 public:
  lister(checker const& check, configuration const& c) : check_(check), c_(c) {}

  std::vector<setting> list(load_options const& options) {
    walk(check_.root());
    if (options.profile) add("profile", text_node(*options.profile), profile_origin(options), false);
    // By the table, as people know it from the reference.
    std::stable_sort(out_.begin(), out_.end(), [](setting const& a, setting const& b) { return rank(a) < rank(b); });
    for (auto const& each : values_of(c_.profile)) {
      auto const from = c_.profile.origins.find(std::string(each.path));
      auto n = text_node(plain_number(each.value));
      n.plain = true;
      bool const built_in = from == c_.profile.origins.end();
      add(std::string(each.path), n, built_in ? "built-in" : from->second, built_in);
    }
    defaults(check_.root(), "");
    return std::move(out_);
  }

 private:
  static node text_node(std::string text) {
    node n;
    n.is = node::form::scalar;
    n.text = std::move(text);
    n.plain = false;
    return n;
  }

  static std::string profile_origin(load_options const& options) {
    // The command line takes WEIR_PROFILE for --profile.
    auto const variable = options.environment.find("WEIR_PROFILE");
    return variable != options.environment.end() && variable->second == *options.profile ? "environment WEIR_PROFILE"
                                                                                         : "--profile";
  }

  static std::size_t rank(setting const& s) {
    std::size_t at = 0;
    auto const top = s.key.substr(0, s.key.find('.'));
    for (auto const& row : schema::keys()) {
      if (row.path == top) return at;
      ++at;
    }
    return at;
  }

  void add(std::string key, node const& n, std::string origin, bool built_in) {
    std::erase_if(out_, [&](setting const& s) { return s.key == key; });
    setting s;
    s.key = std::move(key);
    s.value = one_line(n);
    std::optional<json_problem> problem;
    s.json = to_json(n, problem);
    s.origin = std::move(origin);
    s.built_in = built_in;
    out_.push_back(std::move(s));
  }

  node without_secrets(node n) const {
    for (auto& child : n.children)
      if (n.is == node::form::map && named_like_a_secret(child.key)) {
        auto hidden = text_node("(set)");
        hidden.key = child.key;
        child = std::move(hidden);
      } else {
        child = without_secrets(std::move(child));
      }
    return n;
  }

  void walk(view const& v) {
    for (auto const& child : v.node()->children) {
      auto const below = v[child.key];
      if (below.key() == nullptr) {  // a plugin's option
        bool const hide = named_like_a_secret(child.key);
        add(below.path(), hide ? text_node("(set)") : without_secrets(child), check_.document().origin(child.at),
            false);
        continue;
      }
      bool const deeper = child.is == node::form::map && !child.children.empty();
      if (deeper) {
        walk(below);
        continue;
      }
      auto const& row = *below.key();
      bool const hide = !row.secret.empty() && (row.form.empty() || row.form == "command");
      add(below.path(), hide ? text_node("(set)") : child, check_.document().origin(child.at), false);
    }
  }

  // What the table gives where nothing is said: below each name that there is.
  void defaults(view const& v, std::string const& pattern) {
    for (auto const& name : schema::children(schema::document::configuration, pattern)) {
      auto const below = v[name];
      auto const* row = below.key();
      if (row == nullptr || !fits_source(v, *row)) continue;
      auto const path = std::string(row->path);
      if (below.node() != nullptr && !below.present()) continue;
      if (row->type == schema::type::map || row->type == schema::type::integer_or_map) {
        if (below.node() == nullptr || below.node()->is == node::form::map) defaults(below, path);
      } else if (row->type == schema::type::named_map) {
        for (auto const& child : below.children()) defaults(child, path + ".*");
      } else if (below.node() == nullptr && !row->default_value.empty() && row->path != "profile") {
        auto n = text_node(std::string(row->default_value));
        n.plain = true;
        add(below.path(), n, "built-in", true);
      }
    }
    if (pattern.empty()) {
      if (v["profile"].node() == nullptr && !has("profile"))
        add("profile", text_node(c_.profile.name), "built-in", true);
      if (v["state_dir"].node() == nullptr) add("state_dir", text_node(c_.state_dir.string()), "built-in", true);
      if (v["plugin_path"].node() == nullptr) {
        node list;
        list.is = node::form::list;
        for (auto const& each : c_.plugin_path) list.children.push_back(text_node(each.string()));
        add("plugin_path", list, "built-in", true);
      }
    }
  }

  bool has(std::string_view key) const {
    return std::any_of(out_.begin(), out_.end(), [&](setting const& s) { return s.key == key; });
  }

  static bool fits_source(view const& v, schema::key const& row) {
    return row.only.empty() || v["type"].text() == row.only;
  }

  checker const& check_;
  configuration const& c_;
  std::vector<setting> out_;
};

}  // namespace

std::string one_line(node const& n) {
  std::string out;
  switch (n.is) {
    case node::form::null:
      return "null";
    case node::form::scalar:
      if (n.plain || plain_enough(n.text)) return n.text;
      base::append_quoted(out, n.text);
      return out;
    case node::form::list:
    case node::form::map: {
      bool const map = n.is == node::form::map;
      for (auto const& child : n.children)
        out += (out.empty() ? "" : ", ") + (map ? child.key + ": " : std::string()) + one_line(child);
      return (map ? "{" : "[") + out + (map ? "}" : "]");
    }
  }
  return out;
}

std::vector<setting> list_settings(checker const& check, configuration const& c, load_options const& options) {
  return lister(check, c).list(options);
}

}  // namespace weir::config
