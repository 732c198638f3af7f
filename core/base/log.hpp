// Logging to stderr with fixed keys. spdlog stays behind log.cpp.
#pragma once
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace weir::base::log {

enum class level { trace, debug, info, warning, error, off };
enum class format { text, logfmt, json };

// Keys are from the fixed set: run stage source kind key attempt status dur_ms limit (see README, "Logs").
struct field {
  std::string_view key;
  std::string value;
};

void configure(level minimum, format form, bool colour);
bool enabled(level l);
void write(level l, std::string_view message, std::span<field const> fields);
inline void write(level l, std::string_view message, std::initializer_list<field> fields = {}) {
  write(l, message, std::span<field const>(fields.begin(), fields.size()));
}

// Runs before and after each line, so that a live status line can step aside. Both may be empty.
void set_line_hooks(void (*before)(), void (*after)());

inline void trace(std::string_view m, std::initializer_list<field> f = {}) { write(level::trace, m, f); }
inline void debug(std::string_view m, std::initializer_list<field> f = {}) { write(level::debug, m, f); }
inline void info(std::string_view m, std::initializer_list<field> f = {}) { write(level::info, m, f); }
inline void warning(std::string_view m, std::initializer_list<field> f = {}) { write(level::warning, m, f); }
inline void error(std::string_view m, std::initializer_list<field> f = {}) { write(level::error, m, f); }

bool parse_level(std::string_view text, level& out);    // "debug" and so on; false if unknown
bool parse_format(std::string_view text, format& out);  // "text", "logfmt", "json"

}  // namespace weir::base::log
