// Profiles: found by name or path, with what they extend, and what the environment says on top.
#pragma once
#include <functional>

#include "core/config/config.hpp"

namespace weir::config {

using complaint = std::function<void(std::string summary, std::string detail)>;

// The profile that `reference` names: a path (it holds '/' or ends in .yaml; relative ones start at `folder`), or a
// name found in options.profile_path. Errors in profiles' files go to `errors`, those about the reference itself to
// `complain`.
std::optional<profile> find_profile(std::string const& reference, std::filesystem::path const& folder,
                                    load_options const& options, std::vector<diagnostic>& errors,
                                    complaint const& complain);

// One profile's text laid over `base`, whatever it says it extends (fuzzing, editors).
profile read_profile(std::string_view text, std::string const& file, profile base, std::vector<diagnostic>& errors);

// Every number of a profile, in the table's order.
struct profile_value {
  std::string_view path;
  double value;
};
std::vector<profile_value> values_of(profile const& p);

// What environment and flags say, honoured as the operator's own words, with a warning where they go beyond the
// profile.
void apply_environment(profile& p, load_options const& options, load_outcome& out);
// The environment alone.
void apply_environment(profile& p, std::map<std::string, std::string> const& environment, load_outcome& out);

// A whole file as text, at most yaml::max_bytes and one byte more.
base::result<std::string> read_text(std::filesystem::path const& file);

}  // namespace weir::config
