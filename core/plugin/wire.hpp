// What weir and the process of an isolated stage say to each other: frames on a stream socket. Pure: no I/O in here.
//
//   frame   = u32 length of what follows | u8 type | u64 call | fields
//   field   = u8 | u32 | u64 | f64 | text (u32 length, bytes)          all in the machine's own byte order
//
// An answer bears the call's number; messages that need no answer bear 0. Both ends are the same program.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/result.hpp"
#include "core/plugin/host.hpp"

namespace weir::plugin::wire {

// Of these messages; both ends must have the same.
constexpr std::uint32_t version = 2;
// The longest text that a stage may hand over is 256 MiB; the rest is for what goes with it.
constexpr std::size_t max_frame = (std::size_t{256} << 20) + (std::size_t{64} << 10);

enum class type : std::uint8_t {
  // to the child
  start = 1,  // once, at the beginning
  cancel,     // once: the run is being stopped
  taken,      // answers emit, complete, metric, state_put
  answered,   // answers fetch, netbox_read, netbox_write
  value,      // answers state_get, scope
  threw,      // answers any of them: weir itself failed
  // from the child
  phase,
  emit,
  complete,
  fetch,
  netbox_read,
  netbox_write,
  metric,
  state_get,
  state_put,
  log,
  progress,
  notice,
  scope,
  done,  // the last one
};

// One frame being written.
class writer {
 public:
  explicit writer(type what, std::uint64_t call = 0);
  writer& u8(std::uint8_t v);
  writer& u32(std::uint32_t v);
  writer& u64(std::uint64_t v);
  writer& f64(double v);
  writer& text(std::string_view v);
  // The frame; nothing if it is longer than max_frame.
  std::optional<std::string> take() &&;

 private:
  template <class T>
  writer& raw(T v);
  std::string bytes_;
};

// The fields of one message, in their order. What is not there reads as 0 or empty and makes good() false.
class reader {
 public:
  explicit reader(std::string_view fields) : left_(fields) {}
  std::uint8_t u8();
  std::uint32_t u32();
  std::uint64_t u64();
  double f64();
  std::string_view text();
  bool good() const { return good_; }
  bool finished() const { return good_ && left_.empty(); }

 private:
  template <class T>
  T raw();
  std::string_view left_;
  bool good_ = true;
};

struct message {
  type what{};
  std::uint64_t call = 0;
  std::string_view fields;  // until the decoder's next feed()
};

// Takes bytes as they come, gives whole messages. After an error nothing comes any more.
class decoder {
 public:
  void feed(std::string_view bytes);
  std::optional<message> next();
  // What is wrong with the bytes, in a few words; empty if nothing is.
  std::string const& error() const { return error_; }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
  std::string error_;
};

// --- to the child ---------------------------------------------------------------------------------------------------

enum class job : std::uint8_t { run, describe, check };

struct start {
  job what = job::run;
  std::uint64_t parent = 0;  // the process that must be there
  std::uint64_t address_space = 0, cpu_seconds = 0;
  std::string file;          // the plugin
  std::string stage;         // run: its id
  std::string options_json;  // run, check
  std::string source;        // run
  bool dry = false;          // run
  std::uint32_t levels = 0;  // run: a bit per log level that is kept
  std::string answers;       // check
  bool unanswered = false;   // run: sound objects are emitted as call 0, which has no answer
};

std::optional<std::string> frame(start const& s);
base::result<start> parse_start(message const& m);

std::optional<std::string> frame(std::uint64_t call, base::result<void> const& taken);
std::optional<std::string> frame(std::uint64_t call, fetched const& answer);
std::optional<std::string> frame(std::uint64_t call, base::result<std::optional<std::string>> const& value);

// Throw std::runtime_error where the message is `threw` or not what was waited for.
base::result<void> parse_taken(message const& m);
fetched parse_answered(message const& m);
base::result<std::optional<std::string>> parse_value(message const& m);

// --- from the child: checked like what a stage in this process says, since a plugin can write to the socket itself
// ----

enum class phase : std::uint8_t { loading, create, collect, destroy, check };
struct said_phase {
  phase now;
};
struct said_emit {
  std::string_view kind, key, fields;
};
struct said_complete {
  std::string_view kind, scope;
};
struct said_fetch {
  std::string_view target;
};
struct said_read {
  std::string_view target;
};
struct said_write {
  std::string_view method, target, body;
};
struct said_metric {
  metric_kind kind;
  std::string_view name;
  double value;
};
struct said_get {
  std::string_view key;
};
struct said_put {
  std::string_view key;
  std::optional<std::string_view> value;
};
struct said_scope {};
struct said_log {
  base::log::level level;
  std::string message;
  std::vector<log_field> fields;
};
struct said_progress {
  std::uint64_t done, total;
  std::string note;
};
struct said_notice {
  base::log::level level;
  std::string message, hint;
};
struct said_done {
  bool ok = false;
  base::error error;           // if not ok
  bool out_of_memory = false;  // an allocation failed on the way
  std::string text;            // describe, check: what was found
};
using said = std::variant<said_phase, said_emit, said_complete, said_fetch, said_read, said_write, said_metric,
                          said_get, said_put, said_scope, said_log, said_progress, said_notice, said_done>;

// An error names the rule that the message breaks, and nothing of its contents. Views into the message.
base::result<said> parse(message const& m);

std::optional<std::string> frame(said_done const& d);
std::optional<std::string> frame(said_log const& l);

}  // namespace weir::plugin::wire
