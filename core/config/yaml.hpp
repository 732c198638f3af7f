// YAML text as a light tree that knows where everything stood. yaml-cpp stays behind yaml.cpp.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.hpp"

namespace weir::config::yaml {

// Limits that no configuration written by people comes near.
inline constexpr std::size_t max_bytes = 512 * 1024;
inline constexpr std::size_t max_depth = 32;
inline constexpr std::size_t max_nodes = 10'000;                  // after aliases are put in
inline constexpr std::size_t max_expanded_bytes = 4 * max_bytes;  // the same for the text of the values

// 1-based, bytes; 0 where there is none. `file` counts in document.files.
struct mark {
  std::size_t line = 0, column = 0, file = 0;
};

// What marks point into: a file, or one line that stands for a variable ("WEIR_STATE_DIR=/x") or an option ("--set
// state_dir=/x").
struct text_source {
  enum class kind { file, environment, flag };
  std::string name;  // of a file its path; "environment"; the option
  std::vector<std::string> lines = {};
  kind is = kind::file;
};

struct node {
  enum class form { null, scalar, list, map };
  form is = form::null;
  std::string text;   // of a scalar
  bool plain = true;  // a scalar without quotes: may be a number or a boolean
  mark at;
  std::string key;  // in a map
  mark key_at;
  std::vector<node> children;  // in order

  node const* find(std::string_view name) const;
  node* find(std::string_view name);
};

struct document {
  std::string file;                // named by complaints without a place
  std::vector<text_source> files;  // parse() fills one; absorb() adds more
  node root;
  std::vector<diagnostic> errors;  // syntax, limits, duplicate keys
  bool usable = false;             // the tree is whole (duplicate keys alone do not spoil it)

  // How much of the source line the diagnostic shows.
  enum class show { all, up_to_value, up_to_key };
  diagnostic complain(mark at, std::string summary, std::string detail = {}, show how = show::all) const;
  // "file:line", "environment WEIR_STATE_DIR" or "--set".
  std::string origin(mark at) const;

  // Takes over the files of `other`, and gives its tree with marks that fit here.
  node absorb(document other);
};

document parse(std::string_view text, std::string file);
std::vector<std::string> split_lines(std::string_view text);

}  // namespace weir::config::yaml
