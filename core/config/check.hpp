// Holds a YAML tree against the table of keys, and reads the typed values out of what is right.
#pragma once
#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/schema.hpp"
#include "core/config/yaml.hpp"

namespace weir::config {

class checker;

// One place in the tree, there or not. Typed reads give the table's default where the key is absent or wrong (the error
// is then reported already).
class view {
 public:
  bool present() const;  // there, and right
  yaml::node const* node() const { return node_; }
  std::string const& path() const { return shown_; }  // "sources.pve-a.urls"
  schema::key const* key() const { return key_; }
  view operator[](std::string_view name) const;

  bool boolean() const;
  long long integer() const;
  double number() const;
  std::chrono::milliseconds duration() const;
  std::string text() const;
  std::pair<double, double> range() const;  // of one number: twice the same
  std::vector<view> children() const;       // of a map or a list, the wrong ones left out

 private:
  friend class checker;
  view(checker const* owner, yaml::node const* n, std::string pattern, std::string shown);
  yaml::node effective() const;

  checker const* owner_;
  yaml::node const* node_;
  std::string pattern_, shown_;
  schema::key const* key_;
};

class checker {
 public:
  // Reports unknown keys, wrong types, values out of range and missing keys of the whole tree to `errors`.
  checker(yaml::document const& doc, schema::document which, std::vector<diagnostic>& errors);

  view root() const { return {this, &doc_.root, "", ""}; }
  schema::document which() const { return which_; }
  bool bad(yaml::node const* n) const { return bad_.contains(n); }
  // Whether that value came by a variable or an option.
  bool from_file(yaml::mark at) const;

  using show = yaml::document::show;
  // A complaint about the value at `v` (its key if it has none); the value counts as wrong from now on.
  void complain(view const& v, std::string summary, std::string detail = {}, show how = show::all);
  // The same at the key, for what is missing inside.
  void complain_at_key(view const& v, std::string summary, std::string detail = {});
  void complain_at(yaml::mark at, std::string summary, std::string detail = {});
  diagnostic about(view const& v, std::string summary, std::string detail = {}, show how = show::all) const;
  std::string location(yaml::mark at) const;
  yaml::document const& document() const { return doc_; }

 private:
  void check(view const& v);
  void check_children(view const& v);
  void check_list(view const& v);
  void check_maps(view const& v);
  void check_pair(view const& v);
  void check_range(view const& v, double value, std::string const& is);
  void unknown(view const& parent, yaml::node const& child);
  bool in_profile(std::string_view name) const;

  yaml::document const& doc_;
  schema::document which_;
  std::vector<diagnostic>& errors_;
  std::set<yaml::node const*> bad_;
  bool inline_secrets_ = false;  // allow_inline_secrets
};

}  // namespace weir::config
