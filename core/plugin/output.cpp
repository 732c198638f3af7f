#include "core/plugin/output.hpp"

#include <fmt/format.h>

#include <utility>

#include "core/base/text.hpp"
#include "core/plugin/utf8.hpp"

namespace weir::plugin {
namespace {

constexpr std::size_t kept_lines = 10;
constexpr std::size_t kept_bytes = 200;  // of each of them
constexpr std::size_t log_lines = 1000;
constexpr std::size_t log_bytes = 1000;
// A line that does not end ends here.
constexpr std::size_t max_partial = 4096;

}  // namespace

void last_lines::add(std::string line) {
  kept_.push_back(base::shorten(line, kept_bytes));
  if (kept_.size() > kept_lines) kept_.pop_front();
}

std::string last_lines::text() const {
  std::string out;
  for (auto const& line : kept_) out += (out.empty() ? "" : " | ") + line;
  return out;
}

void output::line(base::log::level as, std::string_view raw) {
  if (!raw.empty() && raw.back() == '\r') raw.remove_suffix(1);
  if (raw.empty()) return;
  auto text = base::shorten(repair_utf8(raw), log_bytes);
  ++lines_;
  if (lines_ <= log_lines) to_(as, text);
  if (lines_ == log_lines + 1)
    to_(base::log::level::warning,
        fmt::format("the stage's process has printed {} lines: what else it prints is left out", log_lines));
  last_.add(std::move(text));
}

void output::feed(base::log::level as, std::string& partial, std::string_view bytes) {
  while (!bytes.empty()) {
    auto const end = bytes.find('\n');
    auto const take = bytes.substr(0, end);
    if (partial.size() + take.size() > max_partial) {
      auto const room = max_partial - partial.size();
      partial.append(take.substr(0, room));
      line(as, std::exchange(partial, {}));
      bytes.remove_prefix(room);
      continue;
    }
    partial.append(take);
    if (end == std::string_view::npos) return;
    line(as, std::exchange(partial, {}));
    bytes.remove_prefix(end + 1);
  }
}

void output::finish(base::log::level as, std::string& partial) { line(as, std::exchange(partial, {})); }

}  // namespace weir::plugin
