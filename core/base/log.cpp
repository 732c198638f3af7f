#include "core/base/log.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>

#include "core/base/log_repeats.hpp"
#include "core/base/text.hpp"

namespace weir::base::log {
namespace {

using std::chrono::steady_clock;

std::atomic<format> form{format::text};
std::atomic<level> minimum{level::info};
std::atomic<bool> coloured{false};

constexpr std::chrono::seconds file_tried_again_after{10};

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

void append_field(std::string& line, std::string_view key, std::string_view value) {
  line += ' ';
  line += key;
  line += '=';
  if (needs_quotes(value))
    append_quoted(line, value);
  else
    line += value;
}

// For people: line breaks stay (an error's hint has a line of its own), what a terminal would obey goes.
void append_plain(std::string& out, std::string_view text) {
  for (char c : text) out += control(c) && c != '\n' ? ' ' : c;
}

std::string now_text() { return format_instant_ms(std::chrono::system_clock::now()); }

std::string_view priority(level l) {
  return l >= level::error ? "<3>" : l == level::warning ? "<4>" : l == level::info ? "<6>" : "<7>";
}

// Where a line goes.
struct place {
  bool full_time = false;  // a file is read on another day
  bool journal = false;    // it adds the time itself and reads a priority in front of each line (sd-daemon(3))
  bool colour = false;
  bool run = true;  // people at a terminal know which run they look at
};

std::string text_line(place const& to, level l, std::string_view message, std::string_view run,
                      std::span<field const> fields) {
  auto const end = std::min(message.find('\n'), message.size());
  std::string line;
  if (!to.journal) line += (to.full_time ? now_text() : now_text().substr(11, 8)) + ' ';
  if (l == level::error && to.colour)
    line += "\x1b[31merror:\x1b[0m ";
  else if (l != level::info)
    line += std::string(word(l)) + ": ";
  append_plain(line, message.substr(0, end));
  if (to.run && !run.empty()) append_field(line, "run", run);
  for (auto const& f : fields)
    if (f.key != "run") append_field(line, f.key, f.value);
  append_plain(line, message.substr(end));
  return line;
}

std::string formatted(place const& to, level l, std::string_view message, std::string_view run,
                      std::span<field const> fields) {
  std::string line;
  switch (form.load()) {
    case format::text:
      line = text_line(to, l, message, run, fields);
      break;
    case format::logfmt:
      line = "ts=" + now_text() + " level=" + std::string(word(l)) + " msg=";
      append_quoted(line, message);
      if (!run.empty()) append_field(line, "run", run);
      for (auto const& f : fields)
        if (f.key != "run") append_field(line, f.key, f.value);
      break;
    case format::json: {
      line = "{\"ts\":\"" + now_text() + "\",\"level\":\"" + std::string(word(l)) + "\",\"msg\":";
      append_quoted(line, message);
      auto const add = [&](std::string_view key, std::string_view value) {
        line += ',';
        append_quoted(line, key);
        line += ':';
        append_quoted(line, value);
      };
      if (!run.empty()) add("run", run);
      for (auto const& f : fields)
        if (f.key != "run") add(f.key, f.value);
      line += '}';
      break;
    }
  }
  if (to.journal) {
    std::string prefixed(priority(l));
    for (char c : line) {
      prefixed += c;
      if (c == '\n') prefixed += priority(l);
    }
    line = std::move(prefixed);
  }
  return line + '\n';
}

// The log's file. A sink that failed once is not used again: spdlog's holds a closed file then. A new one is tried
// later.
class file_log {
 public:
  result<void> open(settings const& wanted) {
    if (wanted.file == wanted_.file && wanted.max_mib == wanted_.max_mib && wanted.keep == wanted_.keep && sink_)
      return {};
    sink_.reset();
    lost_ = 0;
    wanted_ = wanted;
    if (wanted_.file.empty()) return {};
    auto const path = std::filesystem::path(wanted_.file);
    auto const folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
    std::error_code ec;
    auto const refuse = [&](std::string why, std::string hint) {
      auto const name = std::exchange(wanted_.file, {});
      sink_.reset();
      return fail(error_code::config, "the log file " + name + " cannot be written: " + std::move(why),
                  std::move(hint));
    };
    if (!std::filesystem::is_directory(folder, ec))
      return refuse("there is no folder " + folder.string(), "make it, and give it to the user who runs weir");
    auto const is = std::filesystem::status(path, ec);
    if (std::filesystem::exists(is) && !std::filesystem::is_regular_file(is))
      return refuse("it is no regular file", "name a file that weir may rename when it is rotated");
    try {
      make_sink();
      if (!wanted_.first_line.empty()) put(formatted(file_place, level::info, wanted_.first_line, {}, {}));
    } catch (spdlog::spdlog_ex const& e) {
      return refuse(e.what(), "see to its folder's rights and space, or leave log.file and --log-file out");
    }
    return {};
  }
  bool wanted() const { return !wanted_.file.empty(); }

  // The text of what went wrong, the first time.
  std::string write(level l, std::string_view message, std::string_view run, std::span<field const> fields) {
    if (!sink_ && steady_clock::now() < again_) {
      ++lost_;
      return {};
    }
    bool const known = lost_ > 0;
    try {
      if (!sink_) make_sink();
      put(formatted(file_place, l, message, run, fields));
      if (auto const n = std::exchange(lost_, 0))
        put(formatted(file_place, level::warning, fmt::format("{} lines before this one could not be written", n), {},
                      {}));
      return {};
    } catch (spdlog::spdlog_ex const& e) {
      sink_.reset();
      ++lost_;
      again_ = steady_clock::now() + file_tried_again_after;
      return known ? "" : fmt::format("the log file {} cannot be written any more: {}", wanted_.file, e.what());
    }
  }

 private:
  static constexpr place file_place{true, false, false, true};

  void make_sink() {
    spdlog::file_event_handlers on;
    // Made here with the mode it shall have; spdlog would leave it to the umask.
    on.before_open = [](spdlog::filename_t const& name) {
      auto const made = ::open(name.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      if (made >= 0) ::close(made);
    };
    sink_ = std::make_shared<spdlog::sinks::rotating_file_sink_st>(
        wanted_.file, std::max<std::size_t>(1, wanted_.max_mib) << 20, wanted_.keep, false, on);
    sink_->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, ""));
  }
  void put(std::string const& line) {
    sink_->log(spdlog::details::log_msg("weir", spdlog::level::info, line));
    sink_->flush();
  }

  settings wanted_;
  std::shared_ptr<spdlog::sinks::rotating_file_sink_st> sink_;
  std::size_t lost_ = 0;
  steady_clock::time_point again_{};
};

enum class target { both, file };

class journalist {
 public:
  ~journalist() {
    for (auto const& s : repeated_.all()) sum_up(s);
  }
  result<void> configure(settings const& wanted) {
    std::scoped_lock lock(mutex_);
    look_at_stderr();
    return file_.open(wanted);
  }
  void look_at_stderr() {
    stderr_.journal = leads_to_journal(std::getenv("JOURNAL_STREAM"), STDERR_FILENO);
    stderr_.run = isatty(STDERR_FILENO) == 0;
  }
  void reconfigure() {
    std::scoped_lock lock(mutex_);
    look_at_stderr();
  }
  void set_run(std::string id) {
    std::scoped_lock lock(mutex_);
    run_ = std::move(id);
  }
  void set_taker(void (*taker)(std::string&&)) {
    std::scoped_lock lock(mutex_);
    taker_ = taker;
  }
  void write(level l, std::string_view message, std::span<field const> fields, target to, bool limited) {
    std::scoped_lock lock(mutex_);
    settle(steady_clock::now());
    if (limited && l > level::debug && !repeated_.admit(steady_clock::now(), static_cast<int>(l), message)) return;
    put(l, message, fields, to);
  }
  void settle() {
    std::scoped_lock lock(mutex_);
    settle(steady_clock::now());
  }

 private:
  void settle(steady_clock::time_point now) {
    for (auto const& s : repeated_.due(now)) sum_up(s);
  }
  void sum_up(repeats::summary const& s) {
    put(static_cast<level>(s.level),
        fmt::format("{} more like it within {} s: {}", s.times, repeats::window.count(), shorten(s.message, 200)), {},
        target::both);
  }
  void put(level l, std::string_view message, std::span<field const> fields, target to) {
    std::string_view run = run_;
    for (auto const& f : fields)
      if (f.key == "run") run = f.value;
    if (file_.wanted())
      if (auto const trouble = file_.write(l, message, run, fields); !trouble.empty())
        out(formatted(stderr_place(), level::error, trouble, run, {}));
    if (to == target::both) out(formatted(stderr_place(), l, message, run, fields));
  }
  place stderr_place() const {
    auto p = stderr_;
    p.colour = coloured;
    return p;
  }
  void out(std::string&& line) {
    if (taker_)
      taker_(std::move(line));
    else
      write_all(STDERR_FILENO, line);  // nobody reads it: there is nobody to tell
  }

  std::mutex mutex_;
  file_log file_;
  place stderr_ = [] {
    place p;
    p.journal = leads_to_journal(std::getenv("JOURNAL_STREAM"), STDERR_FILENO);
    p.run = isatty(STDERR_FILENO) == 0;
    return p;
  }();
  std::string run_;
  void (*taker_)(std::string&&) = nullptr;
  repeats repeated_;
};

journalist& one() {
  static journalist it;
  return it;
}

}  // namespace

bool leads_to_journal(char const* journal_stream, int descriptor) {
  if (!journal_stream) return false;
  struct stat is {};
  if (fstat(descriptor, &is) != 0) return false;
  return std::string_view(journal_stream) == fmt::format("{}:{}", is.st_dev, is.st_ino);
}

result<void> configure(settings const& wanted) {
  form = wanted.form;
  minimum = wanted.minimum;
  coloured = wanted.colour;
  return one().configure(wanted);
}

void configure(level lowest, format chosen, bool colour) {
  form = chosen;
  minimum = lowest;
  coloured = colour;
  one().reconfigure();
}

bool enabled(level l) { return l >= minimum.load() && l != level::off; }
format chosen_format() { return form; }

void set_run(std::string id) { one().set_run(std::move(id)); }
void set_line_taker(void (*taker)(std::string&&)) { one().set_taker(taker); }

void write(level l, std::string_view message, std::span<field const> fields) {
  if (enabled(l)) one().write(l, message, fields, target::both, true);
}

void to_file(level l, std::string_view message, std::initializer_list<field> fields) {
  if (enabled(l)) one().write(l, message, {fields.begin(), fields.size()}, target::file, false);
}

void always(std::string_view message, std::initializer_list<field> fields) {
  one().write(level::info, message, {fields.begin(), fields.size()}, target::both, false);
}

void settle() { one().settle(); }

std::string_view severity(level l) { return l == level::error ? "error" : l == level::warning ? "warning" : "info"; }

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
