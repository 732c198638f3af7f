// The host's side of the C ABI: gives a stage its run and carries its calls to whoever runs it.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/result.hpp"
#include "core/plugin/loader.hpp"

namespace weir::plugin {

struct fetched {
  int status = 0;
  std::string body;
  std::string error;  // one line; empty on success
  bool ok = false;
};

// A field of a log line of a stage's own; the key has been checked.
struct log_field {
  std::string key, value;
};

enum class metric_kind { counter, gauge };

// What a run of one stage over one source can do. Implemented by core/engine; called on the stage's thread unless it
// says [any].
class services {
 public:
  virtual ~services() = default;
  virtual std::string const& source_name() const = 0;
  virtual bool dry() const = 0;
  virtual bool cancelled() const = 0;                                                            // [any]
  virtual void progress(std::uint64_t done, std::uint64_t total, std::string_view note) = 0;     // [any]
  virtual void log(base::log::level l, std::string_view message, std::vector<log_field> const& fields) = 0;  // [any]
  virtual bool log_enabled(base::log::level l) const = 0;                                        // [any]
  virtual void notice(base::log::level l, std::string_view message, std::string_view hint) = 0;  // [any]
  virtual base::result<void> emit(std::string_view kind, std::string_view key_json,
                                  std::string_view fields_json) = 0;  // [any]
  // emit() refuses nothing that netbox::read_object() takes of a declared kind, unless cancelled(): whoever asks from
  // another process need not wait for the answer.
  virtual bool takes_all_that_is_sound() const { return false; }
  virtual base::result<void> complete(std::string_view kind, std::string_view scope_json) = 0;
  virtual fetched fetch(std::string_view target) = 0;  // [any]
  // Asynchronous: `done` may be called on any thread. The host side of fetch_many bounds nothing itself: the source's
  // gate does.
  virtual void fetch_async(std::string target, std::function<void(fetched)> done) = 0;
  virtual fetched netbox_read(std::string_view target) = 0;  // [any]
  virtual fetched netbox_write(std::string_view method, std::string_view target, std::string_view body) = 0;
  // Name and value have been checked; an error: too many names, or the name is of the other kind.
  virtual base::result<void> metric(metric_kind kind, std::string_view name, double value) = 0;  // [any]
  // Key and value have been checked. put: no value erases.
  virtual base::result<std::optional<std::string>> state_get(std::string_view key) = 0;
  virtual base::result<void> state_put(std::string_view key, std::optional<std::string_view> value) = 0;
  // Which part of the source the run is about, as weir_scope_v1 has it: a JSON object.
  virtual base::result<std::string> scope() { return std::string("{}"); }  // [any]
};

// create, collect, destroy on the calling thread. An error carries the stage's own words (weir_host.fail) and, where it
// broke the contract, which rule. error_code::interrupted if it ended with WEIR_CANCELLED. `entering` is told which of
// the three comes next.
base::result<void> run_stage(loaded_stage const& stage, std::string const& options_json, services& offered,
                             std::function<void(char const*)> const& entering = {});

}  // namespace weir::plugin
