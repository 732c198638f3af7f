// Small text helpers that several folders need.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::base {

// Levenshtein distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b);
// The candidate nearest to `word`, if it is near enough to be meant (distance <= 2 or a third of its length).
std::optional<std::string> nearest(std::string_view word, std::vector<std::string> const& candidates);
// "a, b and c".
std::string join(std::vector<std::string> const& items, std::string_view separator = ", ");
// The first `bytes` of `text`, cut at a UTF-8 boundary, control characters replaced by spaces; "…" added if cut.
std::string shorten(std::string_view text, std::size_t bytes);
// NetBox slug: lower case ASCII letters, digits, '-' and '_'; everything else becomes one '-'. Never empty ("x").
std::string slug(std::string_view text);
std::string lower(std::string_view text);       // ASCII only
std::string url_encode(std::string_view text);  // RFC 3986 unreserved characters stay

// `text` as a JSON string (RFC 8259), quotes included, behind what `out` holds. Bytes above 0x7e stay as they are.
void append_quoted(std::string& out, std::string_view text);

using instant = std::chrono::sys_time<std::chrono::microseconds>;
// RFC 3339 with offset ("2026-11-22T07:03:26.396558+00:00", "…Z"); nothing if it is not one.
std::optional<instant> parse_instant(std::string_view text);
// "2026-11-22T07:03:26Z"; microseconds only where there are some.
std::string format_instant(instant t);
// "2026-11-22T07:03:26.000Z": always with milliseconds, for what programs sort and compare as text.
std::string format_instant_ms(std::chrono::system_clock::time_point t);

// All of it, waiting where the other side is slow (EAGAIN, EINTR). 0, or errno. write(2)
int write_all(int descriptor, std::string_view text);

}  // namespace weir::base
