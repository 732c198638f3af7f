#include "core/config/values.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/base/text.hpp"

namespace weir::config {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
bool hex_digit(char c) { return digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); }
bool all(std::string_view text, bool (*test)(char)) {
  return !text.empty() && std::all_of(text.begin(), text.end(), test);
}

// [-+]?( \.[0-9]+ | [0-9]+(\.[0-9]*)? )([eE][-+]?[0-9]+)?
bool looks_like_number(std::string_view text) {
  std::size_t at = 0;
  auto const digits = [&] {
    auto const start = at;
    while (at < text.size() && digit(text[at])) ++at;
    return at - start;
  };
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  auto const whole = digits();
  std::size_t fraction = 0;
  if (at < text.size() && text[at] == '.') ++at, fraction = digits();
  if (whole + fraction == 0) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

double to_double(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc::result_out_of_range) return value;
  // Too large or too small: the exponent's sign tells.
  auto const e = text.find_first_of("eE");
  bool const tiny = e != text.npos && e + 1 < text.size() && text[e + 1] == '-';
  if (tiny) return 0;
  return text.starts_with('-') ? -HUGE_VAL : HUGE_VAL;
}

bool to_integer(std::string_view text, int base, long long& out) {
  if (text.starts_with('+')) text.remove_prefix(1);
  auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return code == std::errc{} && end == text.data() + text.size();
}

void append_json(std::string& out, yaml::node const& n, std::optional<json_problem>& problem) {
  auto const value = resolve(n);
  switch (value.is) {
    case scalar::kind::null:
      out += "null";
      return;
    case scalar::kind::boolean:
      out += value.boolean ? "true" : "false";
      return;
    case scalar::kind::integer:
      if (!value.exact && !problem) problem = json_problem{n.at, "a whole number beyond 64 bits; put it in quotes"};
      out += std::to_string(value.integer);
      return;
    case scalar::kind::number: {
      if (!std::isfinite(value.number)) {
        if (!problem) problem = json_problem{n.at, "a number that JSON cannot hold"};
        out += "null";
        return;
      }
      std::array<char, 40> buffer{};
      auto const end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value.number).ptr;
      std::string_view const digits(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
      out += digits;
      if (digits.find_first_of(".e") == digits.npos) out += ".0";  // it was written as a fraction: it stays one
      return;
    }
    case scalar::kind::text:
      base::append_quoted(out, n.text);
      return;
    case scalar::kind::list:
    case scalar::kind::map: {
      bool const map = value.is == scalar::kind::map;
      out += map ? '{' : '[';
      bool first = true;
      for (auto const& child : n.children) {
        if (!first) out += ',';
        first = false;
        if (map) base::append_quoted(out, child.key), out += ':';
        append_json(out, child, problem);
      }
      out += map ? '}' : ']';
      return;
    }
  }
}

}  // namespace

scalar resolve(yaml::node const& n) {
  using kind = scalar::kind;
  scalar s;
  switch (n.is) {
    case yaml::node::form::null:
      return s;
    case yaml::node::form::list:
      s.is = kind::list;
      return s;
    case yaml::node::form::map:
      s.is = kind::map;
      return s;
    case yaml::node::form::scalar:
      break;
  }
  s.is = kind::text;
  if (!n.plain) return s;
  std::string_view const t = n.text;
  if (t.empty() || t == "~" || t == "null" || t == "Null" || t == "NULL") {
    s.is = kind::null;
  } else if (t == "true" || t == "True" || t == "TRUE" || t == "false" || t == "False" || t == "FALSE") {
    s.is = kind::boolean;
    s.boolean = t[0] == 't' || t[0] == 'T';
  } else if (t.starts_with("0x") && all(t.substr(2), hex_digit)) {
    s.is = kind::integer;
    s.exact = to_integer(t.substr(2), 16, s.integer);
  } else if (t.starts_with("0o") && all(t.substr(2), [](char c) { return c >= '0' && c <= '7'; })) {
    s.is = kind::integer;
    s.exact = to_integer(t.substr(2), 8, s.integer);
  } else if (all(t.substr(t[0] == '-' || t[0] == '+' ? 1 : 0), digit)) {
    s.is = kind::integer;
    s.exact = to_integer(t, 10, s.integer);
  } else if (looks_like_number(t)) {
    s.is = kind::number;
    s.number = to_double(t);
  } else {
    auto const word = t.substr(t[0] == '-' || t[0] == '+' ? 1 : 0);
    if (word == ".inf" || word == ".Inf" || word == ".INF") {
      s.is = kind::number;
      s.number = t[0] == '-' ? -HUGE_VAL : HUGE_VAL;
    } else if (t == ".nan" || t == ".NaN" || t == ".NAN") {
      s.is = kind::number;
      s.number = NAN;
    }
  }
  if (s.is == kind::integer) {
    bool const negative = t[0] == '-';
    if (!s.exact) s.integer = negative ? std::numeric_limits<long long>::min() : std::numeric_limits<long long>::max();
    s.number = static_cast<double>(s.integer);
  }
  return s;
}

std::string describe(yaml::node const& n) {
  auto const value = resolve(n);
  switch (value.is) {
    case scalar::kind::null:
      return "empty";
    case scalar::kind::boolean:
      return n.text;
    case scalar::kind::integer:
    case scalar::kind::number:
      return "the number " + base::shorten(n.text, 40);
    case scalar::kind::text:
      return "the text '" + base::shorten(without_userinfo(n.text), 60) + "'";
    case scalar::kind::list:
      return "a list";
    case scalar::kind::map:
      return "a map";
  }
  return "";
}

std::optional<double> parse_duration(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 6> units{
      {{"ms", 1}, {"min", 60'000}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  double factor = 1000;
  for (auto const& [unit, value] : units) {
    if (!text.ends_with(unit)) continue;
    factor = value;
    text.remove_suffix(unit.size());
    while (text.ends_with(' ')) text.remove_suffix(1);
    break;
  }
  if (!looks_like_number(text)) return {};
  double const out = to_double(text) * factor;
  return std::isfinite(out) ? std::optional(out) : std::nullopt;
}

std::string format_duration(double ms) {
  auto const text = [](double value) {
    std::array<char, 40> buffer{};
    return std::string(buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr);
  };
  if (ms >= 3'600'000 && std::fmod(ms, 3'600'000) == 0) return text(ms / 3'600'000) + "h";
  if (ms >= 60'000 && std::fmod(ms, 60'000) == 0) return text(ms / 60'000) + "m";
  if (ms >= 1000 && std::fmod(ms, 1000) == 0) return text(ms / 1000) + "s";
  return text(ms) + "ms";
}

std::string plain_number(double value) {
  std::array<char, 64> buffer{};
  auto const end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed).ptr;
  return {buffer.data(), end};
}

base::result<listen_address> parse_listen(std::string_view text) {
  auto const refuse = [&](std::string why) {
    return base::fail(base::error_code::config, std::move(why), "such as 127.0.0.1:9788 or [::1]:9788");
  };
  listen_address out;
  auto const colon = text.rfind(':');
  bool const brackets = text.starts_with('[');
  if (brackets && text.find("]:") == text.npos) return refuse("must be [address]:port");
  if (colon == text.npos) return refuse("must be an address and a port");
  auto const host = brackets ? text.substr(1, text.find(']') - 1) : text.substr(0, colon);
  auto const port = text.substr(colon + 1);
  long long number = 0;
  if (!all(port, digit) || !to_integer(port, 10, number) || number > 65535)
    return refuse("must have a port from 0 to 65535");
  out.port = static_cast<std::uint16_t>(number);
  out.host = host == "localhost" ? "127.0.0.1" : host.empty() || host == "*" ? "0.0.0.0" : std::string(host);
  in_addr v4{};
  in6_addr v6{};
  if (!brackets && ::inet_pton(AF_INET, out.host.c_str(), &v4) == 1)
    out.loopback = ntohl(v4.s_addr) >> 24 == 127;
  else if (brackets && ::inet_pton(AF_INET6, out.host.c_str(), &v6) == 1)
    out.loopback = IN6_IS_ADDR_LOOPBACK(&v6);
  else
    return refuse(host.find(':') != host.npos && !brackets ? "must have an IPv6 address in brackets"
                                                           : "must have a numeric address or localhost");
  return out;
}

base::result<std::string> normal_url(std::string_view text, bool keep_api) {
  auto const refuse = [](std::string what, std::string hint) {
    return base::fail(base::error_code::config, std::move(what), std::move(hint));
  };
  static constexpr std::string_view example = "such as https://netbox.example";
  auto const scheme_end = text.find("://");
  auto const scheme = scheme_end == text.npos ? std::string() : base::lower(text.substr(0, scheme_end));
  auto rest = scheme_end == text.npos ? text : text.substr(scheme_end + 3);
  auto const authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  auto authority = rest.substr(0, authority_end);
  auto path = rest.substr(authority_end);
  // Before any message that shows the URL: what stands in front of '@' may be a password.
  if (authority.find('@') != authority.npos)
    return refuse("must not hold a user name or a password", "write the URL without what stands in front of '@'");
  auto const shown = "'" + base::shorten(without_userinfo(text), 80) + "'";
  if (scheme != "http" && scheme != "https")
    return refuse("must be an http or https URL, is " + shown, std::string(example));
  if (path.find('?') != path.npos || path.find('#') != path.npos)
    return refuse("must not hold a query or a fragment, is " + shown, std::string(example));
  std::string_view host = authority, port;
  if (authority.starts_with('[')) {
    auto const end = authority.find(']');
    if (end == authority.npos)
      return refuse("has a host without the closing ']', is " + shown, "such as https://[2001:db8::1]:8006");
    host = authority.substr(1, end - 1);
    if (!all(host, [](char c) { return hex_digit(c) || c == ':' || c == '.'; }) || host.find(':') == host.npos)
      return refuse("has no IPv6 address between the brackets, is " + shown, "such as https://[2001:db8::1]:8006");
    auto const after = authority.substr(end + 1);
    if (!after.empty() && !after.starts_with(':')) return refuse("has something behind ']', is " + shown, "");
    port = after;
  } else if (auto const colon = authority.find(':'); colon != authority.npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (host.empty()) return refuse("names no host, is " + shown, std::string(example));
  if (!authority.starts_with('[') &&
      !all(host, [](char c) { return digit(c) || letter(c) || c == '-' || c == '.' || c == '_'; }))
    return refuse("names a host with a character that no host name has, is " + shown, std::string(example));
  if (!port.empty()) {
    long long value = 0;
    if (!all(port.substr(1), digit) || !to_integer(port.substr(1), 10, value) || value < 1 || value > 65535)
      return refuse("has no port between 1 and 65535 behind ':', is " + shown, "such as https://netbox.example:8443");
  }
  if (std::any_of(path.begin(), path.end(), [](char c) {
        return static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '"' || c == '<' || c == '>' || c == '\\';
      }))
    return refuse("holds a character that no URL has, is " + shown, "");
  auto const strip = [&](std::string_view end) {
    if (!path.ends_with(end)) return false;
    path.remove_suffix(end.size());
    return true;
  };
  while (strip("/")) {
  }
  if (!keep_api && (strip("/api") || strip("/api2/json")))
    while (strip("/")) {
    }
  return scheme + "://" + std::string(authority) + std::string(path);
}

std::optional<std::string> normal_fingerprint(std::string_view text) {
  std::string digits;
  if (text.find(':') == text.npos) {
    digits = text;
  } else {
    if (text.size() != 32 * 3 - 1) return {};
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (i % 3 != 2)
        digits += text[i];
      else if (text[i] != ':')
        return {};
    }
  }
  if (digits.size() != 64 || !all(digits, hex_digit)) return {};
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && i % 2 == 0) out += ':';
    out += static_cast<char>(digits[i] >= 'a' ? digits[i] - 'a' + 'A' : digits[i]);
  }
  return out;
}

std::string without_userinfo(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto const scheme = text.find("://");
    auto const start = scheme == text.npos ? text.size() : scheme + 3;
    out += text.substr(0, start);
    text.remove_prefix(start);
    // To the last '@' of the word, not of the authority: a password may hold a '/'.
    auto const word = text.substr(0, text.find_first_of(" \t,\"'"));
    if (auto const at = word.rfind('@'); at != word.npos) {
      out += "***";
      text.remove_prefix(at);
    }
  }
  return out;
}

bool valid_name(std::string_view text) {
  return !text.empty() && text.size() <= 100 && (digit(text[0]) || letter(text[0])) &&
         all(text, [](char c) { return digit(c) || letter(c) || c == '_' || c == '.' || c == '-'; });
}

bool valid_variable(std::string_view text) {
  return !text.empty() && !digit(text[0]) && all(text, [](char c) { return digit(c) || letter(c) || c == '_'; });
}

bool valid_username(std::string_view text) {
  auto const at = text.rfind('@');
  if (at == text.npos || at == 0 || at + 1 == text.size() || !letter(text[at + 1])) return false;
  return all(text.substr(at + 1), [](char c) { return digit(c) || letter(c) || c == '_' || c == '.' || c == '-'; }) &&
         all(text.substr(0, at), [](char c) {
           return static_cast<unsigned char>(c) > ' ' && c != ':' && c != '/' && c != '!' && c != 0x7f;
         });
}

bool valid_token_id(std::string_view text) {
  auto const mark = text.find('!');
  if (mark == text.npos || !valid_username(text.substr(0, mark))) return false;
  auto const name = text.substr(mark + 1);
  return !name.empty() && letter(name[0]) &&
         all(name, [](char c) { return digit(c) || letter(c) || c == '_' || c == '.' || c == '-'; });
}

bool looks_like_token(std::string_view text) {
  return (text.size() >= 32 && all(text, hex_digit)) || text.starts_with("nbt_") ||
         (text.size() == 36 && all(text, [](char c) { return hex_digit(c) || c == '-'; }));
}

bool valid_header(std::string_view name) {
  return !name.empty() && all(name, [](char c) {
    return letter(c) || digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool valid_kind(std::string_view text) {
  auto const dot = text.find('.');
  auto const word = [](char c) { return digit(c) || c == '_' || (c >= 'a' && c <= 'z'); };
  return dot != text.npos && all(text.substr(0, dot), word) && all(text.substr(dot + 1), word);
}

bool valid_vmids(std::string_view text) {
  auto const dash = text.find('-');
  auto const number = [](std::string_view t) {
    long long value = 0;
    return all(t, digit) && t.size() <= 9 && to_integer(t, 10, value) ? value : 0;
  };
  auto const first = number(text.substr(0, dash));
  return first > 0 && (dash == text.npos || number(text.substr(dash + 1)) >= first);
}

base::result<std::filesystem::path> resolve_path(std::string_view text, std::filesystem::path const& base,
                                                 std::map<std::string, std::string> const& environment) {
  std::filesystem::path path{std::string(text)};
  if (text.starts_with('~')) {
    if (text.size() > 1 && text[1] != '/')
      return base::fail(base::error_code::config, "starts with another user's home, which is not looked up",
                        "write the whole path");
    auto const home = environment.find("HOME");
    if (home == environment.end() || home->second.empty())
      return base::fail(base::error_code::config, "starts with '~', but HOME is not set",
                        "set HOME or write the whole path");
    path = std::filesystem::path(home->second) / std::string(text.substr(std::min<std::size_t>(2, text.size())));
  }
  if (path.is_relative()) path = base / path;
  auto normal = path.lexically_normal();
  if (normal.has_relative_path() && !normal.has_filename()) normal = normal.parent_path();
  return normal;
}

std::string to_json(yaml::node const& n, std::optional<json_problem>& problem) {
  std::string out;
  append_json(out, n, problem);
  return out;
}

}  // namespace weir::config
