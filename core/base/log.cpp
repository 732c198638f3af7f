#include "core/base/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>

#include "core/base/text.hpp"

namespace weir::base::log {
namespace {

std::atomic<format> form{format::text};
std::atomic<void (*)()> before_line{nullptr};
std::atomic<void (*)()> after_line{nullptr};

spdlog::level::level_enum to_spdlog(level l) {
  switch (l) {
    case level::trace:
      return spdlog::level::trace;
    case level::debug:
      return spdlog::level::debug;
    case level::info:
      return spdlog::level::info;
    case level::warning:
      return spdlog::level::warn;
    case level::error:
      return spdlog::level::err;
    case level::off:
      break;
  }
  return spdlog::level::off;
}

std::string_view word(level l) {
  switch (l) {
    case level::trace:
      return "trace";
    case level::debug:
      return "debug";
    case level::info:
      return "info";
    case level::warning:
      return "warn";
    case level::error:
      return "error";
    case level::off:
      break;
  }
  return "off";
}

bool control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" =\"\\") != std::string_view::npos ||
         std::any_of(text.begin(), text.end(), control);
}

void append_fields(std::string& line, std::span<field const> fields) {
  for (auto const& f : fields) {
    line += ' ';
    line += f.key;
    line += '=';
    if (needs_quotes(f.value))
      append_quoted(line, f.value);
    else
      line += f.value;
  }
}

// For people: line breaks stay (an error's hint has a line of its own), what a terminal would obey goes.
void append_plain(std::string& out, std::string_view text) {
  for (char c : text) out += control(c) && c != '\n' ? ' ' : c;
}

spdlog::logger& logger() {
  static auto const instance = [] {
    auto made = std::make_shared<spdlog::logger>("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    return made;
  }();
  return *instance;
}

// Journald adds the time itself and reads a priority in front of the line (sd-daemon(3)).
bool under_journald() {
  static bool const yes = std::getenv("JOURNAL_STREAM") != nullptr;
  return yes;
}

std::string time_now() {
  auto const now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  auto const t = std::chrono::system_clock::to_time_t(now);
  std::tm utc{};
  gmtime_r(&t, &utc);
  char buffer[40];
  auto const n = std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &utc);
  return fmt::format("{}.{:03}Z", std::string_view(buffer, n), now.time_since_epoch().count() % 1000);
}

}  // namespace

void configure(level minimum, format chosen, bool) {
  form = chosen;
  logger().set_level(to_spdlog(minimum));
}

bool enabled(level l) { return logger().should_log(to_spdlog(l)); }

void set_line_hooks(void (*before)(), void (*after)()) {
  before_line = before;
  after_line = after;
}

void write(level l, std::string_view message, std::span<field const> fields) {
  if (!enabled(l)) return;
  std::string line;
  switch (form.load()) {
    case format::text:
      if (under_journald())
        line += l >= level::error ? "<3>" : l == level::warning ? "<4>" : l == level::info ? "<6>" : "<7>";
      else
        line += time_now().substr(11, 8) + ' ';
      if (l != level::info) line += std::string(word(l)) + ": ";
      append_plain(line, message);
      append_fields(line, fields);
      break;
    case format::logfmt:
      line = "ts=" + time_now() + " level=" + std::string(word(l)) + " msg=";
      append_quoted(line, message);
      append_fields(line, fields);
      break;
    case format::json:
      line = "{\"ts\":\"" + time_now() + "\",\"level\":\"" + std::string(word(l)) + "\",\"msg\":";
      append_quoted(line, message);
      for (auto const& f : fields) {
        line += ',';
        append_quoted(line, f.key);
        line += ':';
        append_quoted(line, f.value);
      }
      line += '}';
      break;
  }
  if (auto* hook = before_line.load()) hook();
  logger().log(to_spdlog(l), "{}", line);
  logger().flush();
  if (auto* hook = after_line.load()) hook();
}

bool parse_level(std::string_view text, level& out) {
  for (auto l : {level::trace, level::debug, level::info, level::warning, level::error, level::off})
    if (text == word(l) || (l == level::warning && text == "warning")) return out = l, true;
  return false;
}

bool parse_format(std::string_view text, format& out) {
  if (text == "text") return out = format::text, true;
  if (text == "logfmt") return out = format::logfmt, true;
  if (text == "json") return out = format::json, true;
  return false;
}

}  // namespace weir::base::log
