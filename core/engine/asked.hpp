// What a run was asked for beyond its stages and sources. It stands in the journal with the run's summary, so that
// whoever resumes the run is asked for the same, and nothing more.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::engine {

struct asked {
  std::vector<std::uint32_t> guests;         // --guest; empty: all
  std::optional<std::size_t> allow_deletes;  // --allow-deletes
  bool operator==(asked const&) const = default;

  // Whether a run that was asked for this has done what one was asked that was asked for `other`.
  bool covers(asked const& other) const;
};

// A run's summary (a JSON object, or nothing yet) with it: "guests" and "allow_deletes", where there are any.
std::string with_asked(std::string_view summary_json, asked const& what);
// What a summary says; nothing asked where it says nothing of it.
asked asked_in(std::string_view summary_json);

}  // namespace weir::engine
