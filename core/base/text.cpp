#include "core/base/text.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <numeric>

namespace weir::base {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t const above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      diagonal = above;
    }
  }
  return row.back();
}

std::optional<std::string> nearest(std::string_view word, std::vector<std::string> const& candidates) {
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  std::optional<std::string> found;
  for (auto const& candidate : candidates) {
    auto const distance = edit_distance(word, candidate);
    if (distance < best) best = distance, found = candidate;
  }
  return found;
}

std::string join(std::vector<std::string> const& items, std::string_view separator) {
  std::string out;
  bool first = true;
  for (auto const& item : items) {
    if (!first) out += separator;
    first = false;
    out += item;
  }
  return out;
}

std::string shorten(std::string_view text, std::size_t bytes) {
  std::string out(text.substr(0, std::min(text.size(), bytes)));
  if (text.size() > bytes) {
    // Step back over continuation bytes and the lead byte they belong to.
    std::size_t end = bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
    out.resize(end);
  }
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (text.size() > bytes) out += "…";
  return out;
}

std::string slug(std::string_view text) {
  std::string out;
  for (char raw : text) {
    auto const c = static_cast<unsigned char>(raw);
    if (c < 0x80 && (std::isalnum(c) || c == '_'))
      out += static_cast<char>(std::tolower(c));
    else if (!out.empty() && out.back() != '-')
      out += '-';
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out.empty() ? "x" : out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string url_encode(std::string_view text) {
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (char raw : text) {
    auto const c = static_cast<unsigned char>(raw);
    if (c < 0x80 && (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~')) {
      out += raw;
    } else {
      out += '%';
      out += hex[c >> 4];
      out += hex[c & 15];
    }
  }
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    auto const u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (u < 0x20 || u == 0x7f) {
      out += "\\u00";
      out += hex[u >> 4];
      out += hex[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

namespace {

// Reads exactly `count` digits at `at` and moves on; -1 if there are other characters.
int digits(std::string_view text, std::size_t& at, int count) {
  int value = 0;
  for (int i = 0; i < count; ++i, ++at) {
    if (at >= text.size() || text[at] < '0' || text[at] > '9') return -1;
    value = value * 10 + (text[at] - '0');
  }
  return value;
}

bool expect(std::string_view text, std::size_t& at, std::string_view any_of) {
  if (at >= text.size() || any_of.find(text[at]) == std::string_view::npos) return false;
  ++at;
  return true;
}

}  // namespace

std::optional<instant> parse_instant(std::string_view text) {
  using namespace std::chrono;
  std::size_t at = 0;
  int const y = digits(text, at, 4);
  if (y < 0 || !expect(text, at, "-")) return {};
  int const mo = digits(text, at, 2);
  if (mo < 0 || !expect(text, at, "-")) return {};
  int const d = digits(text, at, 2);
  if (d < 0 || !expect(text, at, "Tt ")) return {};
  int const h = digits(text, at, 2);
  if (h < 0 || h > 23 || !expect(text, at, ":")) return {};
  int const mi = digits(text, at, 2);
  if (mi < 0 || mi > 59 || !expect(text, at, ":")) return {};
  int const s = digits(text, at, 2);
  if (s < 0 || s > 60) return {};
  std::int64_t micro = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    int read = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++read)
      if (read < 6) micro = micro * 10 + (text[at] - '0');
    if (read == 0) return {};
    for (; read < 6; ++read) micro *= 10;
  }
  minutes offset{0};
  if (at < text.size() && (text[at] == 'Z' || text[at] == 'z')) {
    ++at;
  } else if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    int const sign = text[at++] == '-' ? -1 : 1;
    int const oh = digits(text, at, 2);
    if (oh < 0 || oh > 23 || !expect(text, at, ":")) return {};
    int const om = digits(text, at, 2);
    if (om < 0 || om > 59) return {};
    offset = minutes(sign * (oh * 60 + om));
  } else {
    return {};  // a time without an offset is no instant
  }
  if (at != text.size()) return {};
  year_month_day const date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  if (!date.ok()) return {};
  return instant(sys_days(date).time_since_epoch() + hours(h) + minutes(mi) + seconds(s) + microseconds(micro) -
                 offset);
}

std::string format_instant(instant t) {
  using namespace std::chrono;
  auto const day_start = floor<days>(t);
  year_month_day const date{day_start};
  hh_mm_ss const time{t - day_start};
  std::array<char, 48> buffer{};
  int n = std::snprintf(buffer.data(), buffer.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                        static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                        static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                        static_cast<int>(time.seconds().count()));
  std::string out(buffer.data(), static_cast<std::size_t>(n));
  if (auto const micro = time.subseconds().count(); micro != 0) {
    n = std::snprintf(buffer.data(), buffer.size(), ".%06lld", static_cast<long long>(micro));
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return out + "Z";
}

std::string format_instant_ms(std::chrono::system_clock::time_point t) {
  auto const ms = std::chrono::floor<std::chrono::milliseconds>(t);
  auto const whole = std::chrono::floor<std::chrono::seconds>(ms);
  auto out = format_instant(whole);
  auto const rest = std::to_string(1000 + (ms - whole).count());
  out.insert(out.size() - 1, "." + rest.substr(1));
  return out;
}

int write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    auto const n = ::write(descriptor, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd waits{descriptor, POLLOUT, 0};
      ::poll(&waits, 1, 1000);
    } else if (n == 0 || errno != EINTR) {
      return n == 0 ? EIO : errno;
    }
  }
  return 0;
}

}  // namespace weir::base
