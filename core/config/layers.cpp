#include "core/config/layers.hpp"

#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "core/base/text.hpp"
#include "core/config/profiles.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

namespace fs = std::filesystem;
using yaml::node;

constexpr std::string_view wildcards = "*?[";

// A file's credentials belong to its URL, its options to its choice of stages; rules are weighed against one another by
// whoever reads them in one file.
constexpr std::string_view whole[] = {"netbox", "sources", "stages", "rules", "serve"};

// Adds what `lower` has and `base` has not.
void merge_under(node& base, node lower, bool top) {
  for (auto& child : lower.children) {
    auto* const mine = base.find(child.key);
    if (mine == nullptr) {
      base.children.push_back(std::move(child));
    } else if (mine->is == node::form::map && child.is == node::form::map &&
               !(top && std::find(std::begin(whole), std::end(whole), child.key) != std::end(whole))) {
      merge_under(*mine, std::move(child), false);
    }
  }
}

diagnostic without_place(std::string file, std::string summary, std::string detail = {}) {
  diagnostic d;
  d.file = std::move(file);
  d.summary = std::move(summary);
  d.detail = std::move(detail);
  return d;
}

// What glob(3) takes for itself, as a file's name may hold it.
std::string escaped(std::string const& text) {
  std::string out;
  for (char c : text) out += (wildcards.find(c) != std::string_view::npos || c == '\\' ? "\\" : "") + std::string(1, c);
  return out;
}

class reader_of_layers {
 public:
  reader_of_layers(load_options const& options, layers& out) : options_(options), out_(out) {}

  void read(std::optional<std::string_view> text) {
    auto& doc = out_.doc;
    doc.file = options_.file.string();
    doc.usable = true;
    std::string given;
    if (text) {
      given = *text;
    } else if (auto found = read_text(options_.file)) {
      given = std::move(*found);
    } else {
      out_.errors.push_back(without_place(doc.file, found.error().what, "name the configuration with --config FILE"));
      doc.usable = false;
      return;
    }
    doc.root = read_layer(given, options_.file).value_or(node{});
    for (auto const& file : options_.lower_files) {
      std::error_code ignored;
      if (!options_.use_files || fs::equivalent(file, options_.file, ignored)) continue;
      auto const lower = read_text(file);
      if (!lower) {
        auto d = without_place(file.string(), lower.error().what, "it is left out");
        d.severity = severity::warning;
        out_.warnings.push_back(std::move(d));
        continue;
      }
      auto tree = read_layer(*lower, file);
      if (!tree || !is_map(*tree)) continue;
      if (doc.root.is == node::form::null) doc.root.is = node::form::map;
      if (doc.root.is == node::form::map) merge_under(doc.root, std::move(*tree), true);
    }
  }

 private:
  std::optional<node> read_layer(std::string_view text, fs::path const& file) {
    auto const before = static_cast<std::ptrdiff_t>(out_.files.size());
    auto tree = parse(text, file, [](auto const&, auto const&) {});
    // What a file includes was read after it, and lies over it.
    std::reverse(out_.files.begin() + before, out_.files.end());
    return tree;
  }

  // A file or a drop-in of comments alone says nothing, and that is no error beside others.
  bool is_map(node& tree) {
    if (tree.is == node::form::null) return false;
    if (tree.is == node::form::map) return true;
    out_.errors.push_back(out_.doc.complain(tree.at, "the file must be a map of keys, is " + describe(tree)));
    out_.doc.usable = false;
    return false;
  }

  // The file's tree with what it includes laid over it; nothing if it is no YAML.
  std::optional<node> parse(std::string_view text, fs::path const& file, complaint const& complain) {
    if (too_many_) return {};
    if (out_.doc.files.size() >= max_files) {
      too_many_ = true;
      complain("more than " + std::to_string(max_files) + " files make up this configuration",
               "put several of them into one");
      out_.doc.usable = false;
      return {};
    }
    auto parsed = yaml::parse(text, file.string());
    out_.errors.insert(out_.errors.end(), parsed.errors.begin(), parsed.errors.end());
    parsed.errors.clear();
    bool const usable = parsed.usable;
    auto tree = out_.doc.absorb(std::move(parsed));
    out_.files.push_back(file);
    if (!usable) {
      out_.doc.usable = false;
      return {};
    }
    if (tree.is == node::form::map) include_all(tree, file);
    return tree;
  }

  // Takes `include` out of the tree; one that is malformed stays, for the table's check to say so.
  void include_all(node& tree, fs::path const& file) {
    auto const at =
        std::find_if(tree.children.begin(), tree.children.end(), [](node const& n) { return n.key == "include"; });
    if (at == tree.children.end() || at->is != node::form::list || at->children.empty()) return;
    for (auto const& each : at->children)
      if (resolve(each).is != scalar::kind::text || each.text.empty()) return;
    auto const list = std::move(*at);
    tree.children.erase(at);
    if (!options_.use_files) return;
    std::error_code ignored;
    auto identity = fs::weakly_canonical(file, ignored);
    chain_.push_back(ignored ? file : identity);
    for (auto const& pattern : list.children)
      for (auto const& found : expand(pattern)) include(tree, found, pattern);
    chain_.pop_back();
  }

  void refuse(node const& at, std::string summary, std::string detail) {
    out_.errors.push_back(out_.doc.complain(at.at, std::move(summary), std::move(detail)));
    out_.doc.usable = false;
  }

  void include(node& tree, fs::path const& file, node const& at) {
    std::error_code ignored;
    auto identity = fs::weakly_canonical(file, ignored);
    if (ignored) identity = file;
    if (auto const seen = std::find(chain_.begin(), chain_.end(), identity); seen != chain_.end()) {
      std::vector<std::string> names;
      for (auto i = seen; i != chain_.end(); ++i) names.push_back(i->string());
      names.push_back(identity.string());
      return refuse(at, "the file includes itself: " + base::join(names, " -> "), "take it out of one of them");
    }
    if (chain_.size() > max_include_depth)
      return refuse(at, "files include one another deeper than " + std::to_string(max_include_depth) + " levels",
                    "include them from one file");
    auto const text = read_text(file);
    if (!text) return refuse(at, text.error().what, text.error().hint);
    auto below =
        parse(*text, file, [&](std::string what, std::string hint) { refuse(at, std::move(what), std::move(hint)); });
    if (below && is_map(*below)) merge_over(tree, std::move(*below));
  }

  // The files that a pattern names, in the order of their names.
  std::vector<fs::path> expand(node const& pattern) {
    auto const base = folder_of(out_.doc, pattern.at);
    auto const first = pattern.text.find_first_of(wildcards);
    auto const slash = first == std::string::npos ? std::string::npos : pattern.text.rfind('/', first);
    auto const head = first == std::string::npos   ? pattern.text
                      : slash == std::string::npos ? std::string(".")
                                                   : pattern.text.substr(0, slash + 1);
    auto const where = resolve_path(head, base, options_.environment);
    if (!where) {
      refuse(pattern, "include " + where.error().what, where.error().hint);
      return {};
    }
    std::error_code ignored;
    if (first == std::string::npos) {
      if (fs::exists(*where, ignored)) return {*where};
      refuse(pattern, "include: " + where->string() + " does not exist",
             "a pattern such as conf.d/*.yaml may name nothing, a file may not");
      return {};
    }
    if (fs::exists(*where, ignored) && ::access(where->c_str(), R_OK | X_OK) != 0) {
      refuse(pattern, "include: the folder " + where->string() + " cannot be read", "");
      return {};
    }
    auto const tail = slash == std::string::npos ? pattern.text : pattern.text.substr(slash + 1);
    glob_t found{};
    std::vector<fs::path> out;
    if (::glob((escaped(where->string()) + "/" + tail).c_str(), GLOB_NOSORT, nullptr, &found) == 0)
      for (std::size_t i = 0; i < found.gl_pathc; ++i) out.push_back(fs::path(found.gl_pathv[i]).lexically_normal());
    ::globfree(&found);
    std::sort(out.begin(), out.end());
    return out;
  }

  load_options const& options_;
  layers& out_;
  std::vector<fs::path> chain_;  // of files that include one another, to see a circle
  bool too_many_ = false;        // said once
};

// ---- environment and flags

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

void move_columns(node& n, std::size_t by) {
  n.at.column += by;
  n.key_at.column += by;
  for (auto& child : n.children) move_columns(child, by);
}

class overlayer {
 public:
  overlayer(yaml::document& doc, schema::document which, std::vector<diagnostic>& errors)
      : doc_(doc), which_(which), errors_(errors) {}

  // `value` stands behind `lead` in the one line that shows it.
  void set(schema::match const& key, std::string lead, std::string const& value, yaml::text_source from) {
    auto const offset = lead.size();
    from.lines = {lead + base::shorten(value, 2000)};
    yaml::document one;
    one.files.push_back(std::move(from));
    one.root = value_of(*key.row, value, one, offset);
    one.root.key_at = {1, lead.rfind(' ') + 2, 0};
    if (lead.rfind(' ') == std::string::npos) one.root.key_at.column = 1;
    bool const usable = one.errors.empty();
    for (auto& e : one.errors) errors_.push_back(std::move(e));
    one.errors.clear();
    auto placed = doc_.absorb(std::move(one));
    if (usable) place(key, std::move(placed));
  }

 private:
  // What is text in the table is taken as it stands; lists may be written with commas alone.
  node value_of(schema::key const& row, std::string const& value, yaml::document& one, std::size_t offset) {
    using schema::type;
    node n;
    n.is = node::form::scalar;
    n.text = value;
    n.at = {1, offset + 1, 0};
    auto const given = trimmed(value);
    auto const flow = [&](std::string_view text) {
      auto parsed = yaml::parse(text, one.files[0].name);
      for (auto& e : parsed.errors) {
        bool const yaml = e.summary.starts_with("not valid YAML");
        one.errors.push_back(one.complain(
            {1, offset + 1, 0}, std::string(row.path) + (yaml ? ": " + e.summary : " is not valid YAML: " + e.summary),
            row.example.empty() ? e.detail : "such as " + std::string(row.example)));
        break;
      }
      if (!parsed.usable) return n;
      move_columns(parsed.root, offset);
      return parsed.root;
    };
    switch (row.type) {
      case type::text:
      case type::url:
      case type::path:
      case type::fingerprint:
      case type::inline_secret:
        n.plain = false;
        return n;
      case type::boolean:
      case type::integer:
      case type::number:
      case type::range:
      case type::duration:
        n.text = given;
        return n;
      case type::url_list:
      case type::path_list:
      case type::word_list:
      case type::name_list: {
        if (given.starts_with('[')) return flow(value);
        n.is = node::form::list;
        n.text.clear();
        for (std::size_t start = 0; start <= value.size();) {
          auto const comma = std::min(value.find(',', start), value.size());
          node item;
          item.is = node::form::scalar;
          item.plain = false;
          item.text = trimmed(std::string_view(value).substr(start, comma - start));
          item.at = {1, offset + start + 1, 0};
          n.children.push_back(std::move(item));
          start = comma + 1;
        }
        return n;
      }
      case type::integer_or_map:
        if (!given.starts_with('{')) {
          n.text = given;
          return n;
        }
        return flow(value);
      case type::map:
      case type::map_list:
      case type::named_map:
      case type::options:
        break;
    }
    return flow(value);
  }

  void place(schema::match const& key, node value) {
    auto* at = &doc_.root;
    for (std::size_t i = 0; i + 1 < key.steps.size(); ++i) {
      if (at->is == node::form::null || (i > 0 && at->is == node::form::scalar && may_become_map(key, i))) {
        at->is = node::form::map;
        at->text.clear();
      }
      if (at->is != node::form::map) return;  // that is wrong, and reported where it stands
      auto* below = at->find(key.steps[i]);
      if (below == nullptr) {
        node made;
        made.is = node::form::map;
        made.key = key.steps[i];
        made.at = value.at;
        made.key_at = value.key_at;
        at->children.push_back(std::move(made));
        below = &at->children.back();
      }
      at = below;
    }
    if (at->is == node::form::null ||
        (at != &doc_.root && at->is == node::form::scalar && may_become_map(key, key.steps.size() - 1))) {
      at->is = node::form::map;
      at->text.clear();
    }
    if (at->is != node::form::map) return;
    value.key = key.steps.back();
    // Another form of the same secret would be a second one.
    if (!key.row->secret.empty()) {
      auto const parent = key.row->path.substr(0, key.row->path.rfind('.'));
      std::erase_if(at->children, [&](node const& n) {
        auto const* row = schema::find(which_, std::string(parent) + "." + n.key);
        return n.key != value.key && row != nullptr && row->secret == key.row->secret;
      });
    }
    if (auto* mine = at->find(value.key))
      *mine = std::move(value);
    else
      at->children.push_back(std::move(value));
  }

  // max_deletes: 5 gives way to max_deletes.count.
  bool may_become_map(schema::match const& key, std::size_t steps) const {
    std::string path;
    for (std::size_t i = 0; i < steps; ++i) path += (i > 0 ? "." : "") + key.steps[i];
    auto const* row = schema::find(which_, path);
    return row != nullptr && row->type == schema::type::integer_or_map;
  }

  yaml::document& doc_;
  schema::document which_;
  std::vector<diagnostic>& errors_;
};

// Every key by a path, and every variable; for suggestions.
std::vector<std::string> settable_keys() {
  std::vector<std::string> out;
  for (auto const& row : schema::keys())
    if (row.in != schema::document::scenario && !row.only_in_files && row.type != schema::type::inline_secret)
      out.emplace_back(row.path);
  return out;
}

void apply_flags(overlayer& to, schema::document which, load_options const& options, std::vector<diagnostic>& errors) {
  bool const main = which == schema::document::configuration;
  for (auto const& flag : options.flags) {
    yaml::text_source from{flag.name, {}, yaml::text_source::kind::flag};
    auto const lead = flag.name == "--set" ? "--set " + flag.key + "=" : flag.name + " ";
    auto const complain = [&](std::string summary, std::string detail) {
      auto d = without_place(flag.name, std::move(summary), std::move(detail));
      d.source_line = flag.name + " " + base::shorten(flag.key, 100);
      d.column = flag.name.size() + 2;
      d.length = std::max<std::size_t>(std::min<std::size_t>(flag.key.size(), 100), 1);
      errors.push_back(std::move(d));
    };
    auto const key = schema::resolve(which, flag.key);
    if (key && !key->row->only_in_files) {
      if (key->row->type == schema::type::inline_secret) {
        complain(flag.key + " may not stand on the command line: every user of this machine can read it there",
                 "use " + flag.key + "_env or " + flag.key + "_file");
        continue;
      }
      to.set(*key, lead, flag.value, std::move(from));
    } else if (main && key) {
      complain(flag.key + " can be set in files only", std::string(key->row->help));
    } else if (main) {
      auto const other = schema::resolve(schema::document::profile, flag.key);
      if (other && !other->row->only_in_files) continue;
      auto const near = base::nearest(flag.key, settable_keys());
      complain(other ? flag.key + " can be set in files only" : "unknown key '" + base::shorten(flag.key, 60) + "'",
               near ? "did you mean '" + *near + "'?" : "weir config explain lists all keys");
    }
  }
}

}  // namespace

void merge_over(node& base, node over) {
  for (auto& child : over.children) {
    auto* const mine = base.find(child.key);
    if (mine == nullptr)
      base.children.push_back(std::move(child));
    else if (mine->is == node::form::map && child.is == node::form::map)
      merge_over(*mine, std::move(child));
    else
      *mine = std::move(child);
  }
}

fs::path folder_of(yaml::document const& doc, yaml::mark at) {
  if (at.file >= doc.files.size() || doc.files[at.file].is != yaml::text_source::kind::file) return fs::current_path();
  return fs::absolute(doc.files[at.file].name).parent_path();
}

namespace {

void collect_variables_named(node const& n, std::set<std::string>& out) {
  if (n.key.ends_with("_env")) out.insert(n.text);
  for (auto const& child : n.children) collect_variables_named(child, out);
}

// A misspelt WEIR_… would do nothing, in silence. Others' variables may be called so, too.
void warn_about_variables(yaml::document const& doc, load_options const& options, std::vector<diagnostic>& warnings) {
  std::set<std::string> known(schema::other_variables().begin(), schema::other_variables().end());
  std::vector<std::string> names;
  constexpr std::size_t prefix = 5;  // of "WEIR_"
  for (auto const& row : schema::keys())
    if (auto const name = schema::variable(row); !name.empty())
      known.insert(name), names.push_back(name.substr(prefix));
  for (auto const& name : schema::other_variables()) names.push_back(name.substr(prefix));
  collect_variables_named(doc.root, known);
  for (auto const& [name, value] : options.environment) {
    if (!name.starts_with("WEIR_") || known.contains(name) || name.starts_with("WEIR_TEST_") ||
        name.starts_with("WEIR_LAB_"))
      continue;
    auto const near = base::nearest(name.substr(prefix), names);
    if (!near) continue;
    auto d =
        without_place("environment", "the environment variable " + base::shorten(name, 80) + " means nothing to weir",
                      "did you mean 'WEIR_" + *near + "'?");
    d.severity = severity::warning;
    warnings.push_back(std::move(d));
  }
}

}  // namespace

layers read_layers(load_options const& options, std::optional<std::string_view> text) {
  layers out;
  reader_of_layers(options, out).read(text);
  if (!out.doc.usable) return out;
  overlay(out.doc, schema::document::configuration, options, out.errors, out.warnings);
  warn_about_variables(out.doc, options, out.warnings);
  return out;
}

void overlay(yaml::document& doc, schema::document which, load_options const& options, std::vector<diagnostic>& errors,
             std::vector<diagnostic>& warnings) {
  overlayer to(doc, which, errors);
  auto const value = [&](std::string const& name) -> std::string const* {
    auto const found = options.environment.find(name);
    return found == options.environment.end() || found->second.empty() ? nullptr : &found->second;
  };
  for (auto const& row : schema::keys()) {
    if (row.in != which) continue;
    auto name = schema::variable(row);
    if (name.empty()) continue;
    auto const* own = value(name);
    auto const* other = row.alias.empty() ? nullptr : value(std::string(row.alias));
    if (own != nullptr && other != nullptr && *own != *other) {
      auto d =
          without_place("environment", name + " and " + std::string(row.alias) + " are both set, to different values",
                        name + " counts; unset " + std::string(row.alias));
      d.severity = severity::warning;
      warnings.push_back(std::move(d));
    }
    if (own == nullptr && other != nullptr) own = other, name = row.alias;
    if (own == nullptr) continue;
    to.set(*schema::resolve(which, row.path), name + "=", *own,
           {"environment", {}, yaml::text_source::kind::environment});
  }
  apply_flags(to, which, options, errors);
}

}  // namespace weir::config
