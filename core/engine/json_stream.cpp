#include "core/engine/json_stream.hpp"

#include <nlohmann/json.hpp>

namespace weir::engine {

using ordered = nlohmann::ordered_json;

namespace {
std::string text_of(ordered const& value, int indent = -1) {
  return value.dump(indent, ' ', false, ordered::error_handler_t::replace);
}
}  // namespace

void json_stream::line() { to_("\n" + std::string(open_.size() * indent_, ' ')); }

void json_stream::begin(std::string_view name) {
  if (open_.empty()) return;
  if (open_.back().any) to_(",");
  open_.back().any = true;
  line();
  if (open_.back().closes == '}') to_(text_of(ordered(name)) + ": ");
}

void json_stream::open(std::string_view name, char opens, char closes) {
  begin(name);
  to_({&opens, 1});
  open_.push_back({closes});
}

void json_stream::end() {
  auto const closed = open_.back();
  open_.pop_back();
  if (closed.any) line();
  to_({&closed.closes, 1});
}

// Breaks are between values only: those in strings are escaped.
void json_stream::write(ordered const& value) {
  auto const text = text_of(value, static_cast<int>(indent_));
  for (std::size_t from = 0;;) {
    auto const at = text.find('\n', from);
    to_(std::string_view(text).substr(from, at - from));
    if (at == text.npos) return;
    line();
    from = at + 1;
  }
}

void json_stream::put(std::string_view name, ordered const& value) {
  begin(name);
  write(value);
}

void json_stream::put(ordered const& item) { put({}, item); }

void json_stream::put_all(ordered const& members) {
  for (auto const& [name, value] : members.items()) put(name, value);
}

}  // namespace weir::engine
