// Logging to stderr and into a file, with fixed keys. spdlog stays behind log.cpp.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace weir::base::log {

enum class level { trace, debug, info, warning, error, off };
enum class format { text, logfmt, json };

// Keys are from the fixed set: run stage source kind key attempt status dur_ms limit (docs/logs.md). Stages' own lines
// may bring further ones.
struct field {
  std::string_view key;
  std::string value;
};

struct settings {
  level minimum = level::info;
  format form = format::text;
  bool colour = false;  // text on stderr: errors in red
  std::string file;     // the same lines, too; empty: stderr alone. New ones get mode 0600
  std::size_t max_mib = 10, keep = 5;
  std::string first_line;  // written into the file at once, so that one that cannot be written is known at the start
};

// Errors (config): the file cannot be opened or written; then stderr alone is used. May be called again.
result<void> configure(settings const& wanted);
void configure(level minimum, format form, bool colour);  // leaves the file as it is
bool enabled(level l);
format chosen_format();

// Above debug, the same message is written a few times in ten seconds; those after are counted into one line more.
void write(level l, std::string_view message, std::span<field const> fields);
inline void write(level l, std::string_view message, std::initializer_list<field> fields = {}) {
  write(l, message, std::span<field const>(fields.begin(), fields.size()));
}
// Into the file alone, where there is one: what people at a terminal see in another form.
void to_file(level l, std::string_view message, std::initializer_list<field> fields = {});
// Whatever the minimum is, and however often: what somebody has just asked for.
void always(std::string_view message, std::initializer_list<field> fields = {});
// The summaries of repeated messages whose ten seconds are over. Each write does that, too.
void settle();

// The run that lines belong to from now on: they bear it as `run`, unless they bring a `run` of their own (an empty
// one: the line is of no run). Empty: none.
void set_run(std::string id);
class run_scope {
 public:
  explicit run_scope(std::string id) { set_run(std::move(id)); }
  ~run_scope() { set_run({}); }
  run_scope(run_scope const&) = delete;
  run_scope& operator=(run_scope const&) = delete;
};

// Gets each line meant for stderr (its line break included) in its place, so that a display can put it above itself and
// nobody waits for a terminal. Called under a lock: must be quick and not log. Null: lines go to stderr again.
void set_line_taker(void (*taker)(std::string&& line));

// Whether $JOURNAL_STREAM ("device:inode") is what the descriptor leads to, and not what some parent's one led to.
bool leads_to_journal(char const* journal_stream, int descriptor);

inline void trace(std::string_view m, std::initializer_list<field> f = {}) { write(level::trace, m, f); }
inline void debug(std::string_view m, std::initializer_list<field> f = {}) { write(level::debug, m, f); }
inline void info(std::string_view m, std::initializer_list<field> f = {}) { write(level::info, m, f); }
inline void warning(std::string_view m, std::initializer_list<field> f = {}) { write(level::warning, m, f); }
inline void error(std::string_view m, std::initializer_list<field> f = {}) { write(level::error, m, f); }

std::string_view severity(level l);                     // for programs: "error", "warning", else "info"
bool parse_level(std::string_view text, level& out);    // "debug" and so on; false if unknown
bool parse_format(std::string_view text, format& out);  // "text", "logfmt", "json"

}  // namespace weir::base::log
