// The journal: what every run set out to write, what came of it, and what is left. SQLite in the state directory, WAL,
// synchronous=FULL: what a call has returned success for survives kill -9 and a power cut. Thread-safe.
//
// A batch's row is written before its request can reach the wire, so that after a crash nothing is unknown but the
// batches that are `sent`: those are looked up in NetBox (by marker) before anything is written again.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace weir::store {

using instant = std::chrono::system_clock::time_point;  // kept as milliseconds since 1970, UTC

enum class run_state {
  running,      // or its process died: who holds the lock tells
  done,         // everything is as wanted
  partly,       // finished, but some objects or a stage failed
  failed,       // it could not do its work
  stopped,      // stopped early, can be resumed: outage, breaker, --max-duration, a signal
  interrupted,  // its process died, as a later run found out; can be resumed
  resumed,      // what it left was finished by a later run
};
enum class stage_state { running, done, failed, skipped, stopped };
enum class batch_state {
  pending,   // on disk, never on the wire
  sent,      // may be on the wire
  done,      // NetBox has it
  failed,    // refused, with a reason
  deferred,  // left to `resume`
  unknown,   // sent, and no usable answer came
};
std::string_view name(run_state s);
std::string_view name(stage_state s);
std::string_view name(batch_state s);

struct run_record {
  std::string id;           // 8 hexadecimal digits
  std::string netbox_url;   // without secrets
  std::string command;      // "sync", "resume"
  std::string profile;      // its name
  std::string config_file;  // absolute path
  std::string resumes;      // the run that this one finishes; may be empty
  std::string undoes;       // the run of which this one is the inverse; may be empty
  std::string host;         // where it ran
  std::int64_t pid = 0;
  instant started{};
  std::optional<instant> ended;
  run_state state = run_state::running;
  std::optional<int> exit_code;
  std::string reason;        // why it did not end as done; may be empty
  std::string summary_json;  // requests, peak in flight, …; for `history show`
};

struct stage_record {
  std::string run, source, stage;
  stage_state state = stage_state::running;
  std::uint64_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
  std::string reason;
};

// What is remembered of an object of NetBox's between runs; see engine::memory.
struct known_record {
  std::string key;      // its natural key's text when it was last seen
  std::string applied;  // JSON: field ► value as it was last written
  std::optional<instant> gone_since = {};
};

// What one object of a batch is, and what became of it.
struct object_record {
  std::size_t position = 0;     // in the request's list
  std::string action;           // "create", "update", "delete"
  std::string label;            // how people call it
  std::string key;              // JSON: the natural key with references as emitted; empty for deletes
  std::uint64_t netbox_id = 0;  // 0: not known (yet)
  batch_state state = batch_state::pending;
  std::string reason;  // NetBox's message, if it failed
  // JSON objects, NetBox's own ids in references: what was sent (creates, updates), and what NetBox held before in the
  // same members (updates) or altogether (deletes). Empty: not kept (an older journal). What undo is made of.
  std::string before = {}, after = {};
  // What is remembered of the object from the moment on that NetBox has the change; with an empty `applied` nothing is.
  // Absent: that does not change (what is deleted is always forgotten). Not read back: it has become a known_record.
  std::optional<known_record> known = {};
  std::string known_before = {};  // what was remembered before; whoever writes it reads it
};

struct failed_object {
  std::uint64_t batch = 0;
  object_record object;  // reason: its own, else its batch's
};

struct batch_record {
  std::string run;
  std::uint64_t number = 0;         // counts from 1 within the run
  std::string source, stage, kind;  // kind: NetBox's content type
  std::string path;                 // of the kind's list below /api/, "virtualization/virtual-machines"
  std::string verb;                 // "POST", "PATCH", "DELETE"
  std::string marker;               // in each object's changelog message
  std::size_t objects = 0;
  batch_state state = batch_state::pending;
  std::size_t attempts = 0;
  instant created{};
  std::optional<instant> sent, ended;  // sent: the last attempt's start
  std::string reason;
};

struct journal_options {
  bool read_only = false;        // for `history`: never creates, never changes anything
  bool durable = true;           // false: no fsync (tests)
  std::uint64_t most_pages = 0;  // SQLite's max_page_count, 4 KiB each; 0: no limit (tests use it to fill the disk)
  // Called before and after each step that changes the file ("batch_sent", true = before). Tests crash here.
  // "After" only what succeeded. Called on the caller's thread, with nothing locked; what it throws reaches the caller.
  std::function<void(std::string_view step, bool before)> watch;
  std::chrono::milliseconds wait{5000};  // for another program's lock on the file
};

class journal {
 public:
  // Creates the folder (0700) and the file (0600) where missing. Errors name the file and what to do: the folder cannot
  // be made or written, the file is no database, corrupt, from a newer weir (PRAGMA user_version), of another
  // application (PRAGMA application_id), locked by another program, or absent (read_only).
  static base::result<std::unique_ptr<journal>> open(std::filesystem::path const& file, journal_options options = {});
  ~journal();
  journal(journal const&) = delete;
  journal& operator=(journal const&) = delete;
  std::filesystem::path const& file() const;

  // --- what a run writes; every error (disk full, read-only, corrupt) is returned, nothing is lost silently
  base::result<void> begin_run(run_record const& r);
  base::result<void> end_run(std::string_view run, run_state state, int exit_code, std::string_view reason,
                             std::string_view summary_json, instant now);
  base::result<void> set_run_state(std::string_view run, run_state state, std::string_view reason);
  base::result<void> put_stage(stage_record const& s);  // inserts or replaces
  base::result<void> add_batch(batch_record const& b, std::vector<object_record> const& objects);  // one transaction
  base::result<void> batch_sent(std::string_view run, std::uint64_t number, instant now);          // one more attempt
  // `objects`: what became of each that is listed, by position (state, reason, netbox_id unless 0); those not listed
  // take the batch's state, also when it changes later, and keep their ids. May be called again (unknown, then done).
  // What is done by then is remembered as its object_record::known says, in the same transaction.
  base::result<void> batch_ended(std::string_view run, std::uint64_t number, batch_state state, std::string_view reason,
                                 std::vector<object_record> const& objects, instant now);
  // Changes that never came into a batch: one row with a count and no objects, state deferred.
  base::result<void> add_deferred(batch_record const& b);
  // Forgets finished runs beyond the newest `keep` of each NetBox, with all that belongs to them; never an unfinished
  // one (running, stopped, interrupted) younger than `unfinished_for`; older ones count as finished.
  base::result<void> prune(std::size_t keep, std::chrono::hours unfinished_for, instant now);

  // --- what is asked; newest (last begun) first, batches by number, objects by position, stages as they came. The
  // spelling of a NetBox's URL does not matter. What a run writes and what is asked about one that is not there is an
  // error.
  base::result<std::vector<run_record>> runs(std::size_t at_most, std::string_view netbox_url = {}) const;
  // By id or by an unambiguous beginning of one (at least 2 characters). Error (usage): none, or several, named.
  base::result<run_record> find_run(std::string_view id_or_prefix) const;
  base::result<std::vector<stage_record>> stages(std::string_view run) const;
  base::result<std::vector<batch_record>> batches(std::string_view run) const;
  base::result<std::vector<batch_record>> batches(std::string_view run, batch_state state) const;
  base::result<std::vector<object_record>> objects(std::string_view run, std::uint64_t batch) const;
  // The objects that NetBox refused, by batch and position.
  base::result<std::vector<failed_object>> failed_objects(std::string_view run) const;
  // Runs of this NetBox in state running, stopped or interrupted, newest first.
  base::result<std::vector<run_record>> unfinished(std::string_view netbox_url) const;

  // --- what is remembered of NetBox's objects, by kind ("dcim.device") and id
  base::result<std::optional<known_record>> known(std::string_view netbox_url, std::string_view kind,
                                                  std::uint64_t id) const;
  // The newest, if several had the key.
  base::result<std::optional<std::uint64_t>> known_by_key(std::string_view netbox_url, std::string_view kind,
                                                          std::string_view key) const;
  struct known_change {
    std::string kind;
    std::uint64_t id = 0;
    std::optional<known_record> now;  // nothing: forget it
  };
  base::result<void> put_known(std::string_view netbox_url, std::vector<known_change> const& changes);  // all or none

  // --- what the throttle learnt about a NetBox; opaque text
  base::result<void> remember(std::string_view netbox_url, std::string_view text, instant now);
  base::result<std::optional<std::string>> recall(std::string_view netbox_url, std::chrono::hours not_older_than,
                                                  instant now) const;

  // --- what a stage keeps between runs over a source (weir.state/1): any bytes by key
  base::result<std::map<std::string, std::string>> plugin_state(std::string_view netbox_url, std::string_view source,
                                                                std::string_view stage) const;
  // All of them or none; no value erases.
  base::result<void> put_plugin_state(std::string_view netbox_url, std::string_view source, std::string_view stage,
                                      std::map<std::string, std::optional<std::string>> const& changes);

 private:
  struct state;
  explicit journal(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace weir::store
