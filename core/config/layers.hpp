// Makes one tree of the files of a configuration, what they include, the environment and the command line. Its values
// know where they came from.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.hpp"
#include "core/config/schema.hpp"
#include "core/config/yaml.hpp"

namespace weir::config {

inline constexpr std::size_t max_include_depth = 8;
inline constexpr std::size_t max_files = 100;  // of one configuration

struct layers {
  yaml::document doc;                        // `usable`: every file could be read
  std::vector<std::filesystem::path> files;  // the highest first; what a file includes stands before it
  std::vector<diagnostic> errors, warnings;
};
// options.file (or `text` instead of what it holds), over options.lower_files. Maps are merged key by key, lists and
// scalars replaced; netbox, sources, stages and serve come whole from the highest file that has them, so that one
// file's token never goes to another one's URL. Environment and flags set single keys of that.
layers read_layers(load_options const& options, std::optional<std::string_view> text);

// What the environment and the flags say about keys of `which`, over what stands in `doc`.
void overlay(yaml::document& doc, schema::document which, load_options const& options, std::vector<diagnostic>& errors,
             std::vector<diagnostic>& warnings);

// Lays `over` on `base`: maps key by key, everything else replaced.
void merge_over(yaml::node& base, yaml::node over);

// The folder at which a relative path in the value at `at` starts.
std::filesystem::path folder_of(yaml::document const& doc, yaml::mark at);

}  // namespace weir::config
