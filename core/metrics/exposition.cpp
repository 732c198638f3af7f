#include "core/metrics/exposition.hpp"

#include <cstdlib>
#include <optional>

#include "core/base/text.hpp"

namespace weir::metrics {
namespace {

constexpr std::size_t largest_text = 64u << 20;

bool name_letter(char c, bool first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (!first && c >= '0' && c <= '9');
}

std::string_view take_name(std::string_view& line) {
  std::size_t n = 0;
  while (n < line.size() && name_letter(line[n], n == 0)) ++n;
  auto const name = line.substr(0, n);
  line.remove_prefix(n);
  return name;
}

bool take(std::string_view& line, char c) {
  if (!line.starts_with(c)) return false;
  line.remove_prefix(1);
  return true;
}

// Behind its opening quote.
std::optional<std::string> take_value(std::string_view& line) {
  std::string out;
  while (!line.empty()) {
    char const c = line.front();
    line.remove_prefix(1);
    if (c == '"') return out;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (line.empty()) return {};
    out += line.front() == 'n' ? '\n' : line.front();
    line.remove_prefix(1);
  }
  return {};
}

std::optional<sample> parse_line(std::string_view line) {
  sample out;
  out.name = take_name(line);
  if (out.name.empty()) return {};
  if (take(line, '{')) {
    while (!take(line, '}')) {
      auto const label = take_name(line);
      if (label.empty() || !take(line, '=') || !take(line, '"')) return {};
      auto value = take_value(line);
      if (!value) return {};
      out.labels.insert_or_assign(std::string(label), std::move(*value));
      if (!take(line, ',') && !line.starts_with('}')) return {};
    }
  }
  if (!take(line, ' ') || line.empty() || line.front() == ' ') return {};
  std::string const digits(line);
  char* end = nullptr;
  out.value = std::strtod(digits.c_str(), &end);
  if (end != digits.c_str() + digits.size()) return {};
  return out;
}

}  // namespace

base::result<std::vector<sample>> parse_exposition(std::string_view text) {
  if (text.size() > largest_text) return base::fail("it is larger than 64 MiB");
  std::vector<sample> out;
  for (std::size_t number = 1; !text.empty(); ++number) {
    auto const end = text.find('\n');
    if (end == std::string_view::npos)
      return base::fail("line " + std::to_string(number) + " is cut: " + base::shorten(text, 80));
    auto const line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    auto parsed = parse_line(line);
    if (!parsed) return base::fail("line " + std::to_string(number) + " is no sample: " + base::shorten(line, 80));
    out.push_back(std::move(*parsed));
  }
  return out;
}

}  // namespace weir::metrics
