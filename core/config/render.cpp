#include <algorithm>

#include "core/config/config.hpp"

namespace weir::config {
namespace {

constexpr std::size_t widest = 110;  // of a source line, bytes

bool continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !continuation(c); }));
}

}  // namespace

std::string render(diagnostic const& d) {
  auto const number = d.line > 0 ? std::to_string(d.line) : std::string();
  std::size_t const gutter = std::max<std::size_t>(number.size(), 2);
  std::string const margin(gutter + 1, ' ');
  std::string out = (d.severity == severity::warning ? "warning: " : "error: ") + d.summary + "\n";
  if (!d.file.empty()) {
    out += std::string(gutter, ' ') + "--> " + d.file;
    if (d.line > 0) out += ":" + number + ":" + std::to_string(d.column);
    out += "\n";
  }
  if (d.source_line.empty()) return d.detail.empty() ? out : out + margin + "= " + d.detail + "\n";

  // Cut a long line to a window around the caret.
  std::string_view line = d.source_line;
  std::size_t start = 0, column = std::min(std::max<std::size_t>(d.column, 1) - 1, line.size());
  if (line.size() > widest && column > widest / 2) start = column - widest / 2;
  while (start > 0 && continuation(line[start])) --start;
  std::size_t end = std::min(line.size(), start + widest);
  while (end < line.size() && end > start && continuation(line[end])) --end;
  auto shown = std::string(line.substr(start, end - start));
  std::string lead(line.substr(start, column - start));
  if (start > 0) shown = "…" + shown, lead = "…" + lead;
  if (end < line.size()) shown += "…";
  // Tabs stay tabs, so that the caret lines up however wide they are; other characters are one wide.
  std::string indent;
  for (char c : lead)
    if (c == '\t')
      indent += '\t';
    else if (!continuation(c))
      indent += ' ';
  auto const underlined = line.substr(column, std::min(d.length, end > column ? end - column : 0));
  std::string const caret(std::max<std::size_t>(characters(underlined), 1), '^');

  out += margin + "|\n";
  out += std::string(gutter - number.size(), ' ') + number + " | " + shown + "\n";
  out += margin + "| " + indent + caret + (d.detail.empty() ? "" : " " + d.detail) + "\n";
  return out;
}

}  // namespace weir::config
