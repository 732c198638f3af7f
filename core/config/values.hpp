// What one YAML scalar means, and the small formats of single values.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/config/yaml.hpp"

namespace weir::config {

// A node by YAML 1.2's core schema; quoted scalars are always text.
struct scalar {
  enum class kind { null, boolean, integer, number, text, list, map };
  kind is = kind::null;
  bool boolean = false;
  long long integer = 0;  // the nearest one, if `exact` is false
  double number = 0;      // of an integer, too
  bool exact = true;      // the integer fits 64 bits
};
scalar resolve(yaml::node const& n);

// "the number 500", "the text 'abc'", "a list".
std::string describe(yaml::node const& n);

// "500ms", "30s", "5m", "1h", "7d", "1.5" (seconds) as milliseconds.
std::optional<double> parse_duration(std::string_view text);
std::string format_duration(double milliseconds);
std::string plain_number(double value);  // "10", "0.5": no exponent, no zeros at the end

// Where `weir serve` listens: "127.0.0.1:9788", "[::1]:9788", "localhost:0".
struct listen_address {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  bool loopback = false;
};
base::result<listen_address> parse_listen(std::string_view text);

// Checks an http(s) URL; returns it without trailing slashes and, unless it is to be kept, without a trailing /api or
// /api2/json. The error's text never holds the URL's user part.
base::result<std::string> normal_url(std::string_view text, bool keep_api = false);

// 32 bytes in hexadecimal with or without colons as "AB:CD:…"; nothing if it is not that.
std::optional<std::string> normal_fingerprint(std::string_view text);

// "https://***@host" for "https://user:password@host", anywhere in a text.
std::string without_userinfo(std::string_view text);

bool valid_name(std::string_view text);        // [A-Za-z0-9][A-Za-z0-9_.-]*
bool valid_variable(std::string_view text);    // [A-Za-z_][A-Za-z0-9_]*
bool valid_token_id(std::string_view text);    // user@realm!name
bool valid_username(std::string_view text);    // user@realm
bool looks_like_token(std::string_view text);  // a secret where a name should stand
bool valid_header(std::string_view name);      // RFC 9110: a token
bool valid_kind(std::string_view text);        // a content type: [a-z0-9_]+.[a-z0-9_]+
bool valid_vmids(std::string_view text);       // "100", "100-199": from 1 to 999999999

// `~` and relative paths, resolved at `base`; fails for "~user" and for "~" without HOME.
base::result<std::filesystem::path> resolve_path(std::string_view text, std::filesystem::path const& base,
                                                 std::map<std::string, std::string> const& environment);

// The node as JSON text; the first thing that JSON cannot say (.inf, a number beyond 64 bits) goes to `problem`.
struct json_problem {
  yaml::mark at;
  std::string summary;
};
std::string to_json(yaml::node const& n, std::optional<json_problem>& problem);

}  // namespace weir::config
