#include "core/store/journal.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/base/text.hpp"
#include "core/store/database.hpp"
#include "core/store/files.hpp"

namespace weir::store {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

constexpr std::array<std::string_view, 7> run_states{"running", "done",        "partly", "failed",
                                                     "stopped", "interrupted", "resumed"};
constexpr std::array<std::string_view, 5> stage_states{"running", "done", "failed", "skipped", "stopped"};
constexpr std::array<std::string_view, 6> batch_states{"pending", "sent", "done", "failed", "deferred", "unknown"};

template <class State, std::size_t Count>
State state_of(std::array<std::string_view, Count> const& names, std::string const& text) {
  auto const found = std::find(names.begin(), names.end(), text);
  if (found == names.end())
    throw SQLite::Exception("the state '" + base::shorten(text, 40) + "' is none that this weir knows", SQLITE_CORRUPT);
  return static_cast<State>(found - names.begin());
}

// The system's clock counts nanoseconds and ends in 2262: what is kept stays well within.
constexpr std::int64_t last_instant = 7'258'118'400'000;  // 2200-01-01

std::int64_t milliseconds_of(instant t) {
  return std::clamp<std::int64_t>(std::chrono::floor<milliseconds>(t.time_since_epoch()).count(), 0, last_instant);
}

// --- values into statements and back

void put(SQLite::Statement& s, int at, std::string_view v) { s.bind(at, std::string(v)); }
void put(SQLite::Statement& s, int at, std::int64_t v) { s.bind(at, v); }
void put(SQLite::Statement& s, int at, std::uint64_t v) { s.bind(at, static_cast<std::int64_t>(v)); }
void put(SQLite::Statement& s, int at, int v) { s.bind(at, v); }
void put(SQLite::Statement& s, int at, double v) { s.bind(at, v); }
void put(SQLite::Statement& s, int at, instant v) { s.bind(at, milliseconds_of(v)); }
void put(SQLite::Statement& s, int at, run_state v) { put(s, at, name(v)); }
void put(SQLite::Statement& s, int at, stage_state v) { put(s, at, name(v)); }
void put(SQLite::Statement& s, int at, batch_state v) { put(s, at, name(v)); }
template <class Value>
void put(SQLite::Statement& s, int at, std::optional<Value> const& v) {
  v ? put(s, at, *v) : s.bind(at);
}

// The columns of a row, one after the other.
class columns {
 public:
  explicit columns(SQLite::Statement& s) : statement_(s) {}
  std::string text() { return statement_.getColumn(at_++).getString(); }
  std::int64_t integer() { return statement_.getColumn(at_++).getInt64(); }
  std::uint64_t natural() { return static_cast<std::uint64_t>(integer()); }
  instant time() {
    auto const ms = integer();
    if (ms < 0 || ms > last_instant)
      throw SQLite::Exception("the instant " + std::to_string(ms) + " is none that weir wrote", SQLITE_CORRUPT);
    return instant(milliseconds(ms));
  }
  std::optional<instant> maybe_time() { return null() ? std::nullopt : std::optional(time()); }
  std::optional<int> maybe_int() { return null() ? std::nullopt : std::optional(static_cast<int>(integer())); }

 private:
  bool null() {
    bool const is = statement_.getColumn(at_).isNull();
    if (is) ++at_;
    return is;
  }
  SQLite::Statement& statement_;
  int at_ = 0;
};

object_record object_of(columns& r) {
  object_record o;
  o.position = r.natural();
  o.action = r.text();
  o.label = r.text();
  o.key = r.text();
  o.netbox_id = r.natural();
  o.state = state_of<batch_state>(batch_states, r.text());
  o.reason = r.text();
  return o;
}

// A kept statement while it is used: whatever happens, it lets go of its snapshot.
class query {
 public:
  template <class... Values>
  explicit query(SQLite::Statement& s, Values const&... values) : statement_(s) {
    [[maybe_unused]] int at = 0;
    (put(s, ++at, values), ...);
  }
  ~query() { statement_.tryReset(); }
  query(query const&) = delete;
  query& operator=(query const&) = delete;
  bool next() { return statement_.executeStep(); }
  columns row() { return columns(statement_); }
  int run() { return statement_.exec(); }  // how many rows it changed

 private:
  SQLite::Statement& statement_;
};

}  // namespace

std::string_view name(run_state s) { return run_states.at(static_cast<std::size_t>(s)); }
std::string_view name(stage_state s) { return stage_states.at(static_cast<std::size_t>(s)); }
std::string_view name(batch_state s) { return batch_states.at(static_cast<std::size_t>(s)); }

struct journal::state {
  state(fs::path f, journal_options o, std::unique_ptr<SQLite::Database> d)
      : file(std::move(f)), options(std::move(o)), db(std::move(d)) {}

  fs::path const file;
  journal_options const options;
  std::mutex mutex;
  std::unique_ptr<SQLite::Database> const db;
  std::unordered_map<char const*, SQLite::Statement> statements;  // by their text's address: one per place of use

  // An older weir's journal that is only read lacks what came later.
  std::int64_t version() { return number_of(*db, "PRAGMA user_version"); }

  std::optional<std::int64_t> place(std::string_view normalised, std::string_view kind) {
    query found(prepared("SELECT number FROM places WHERE netbox = ? AND kind = ?"), normalised, kind);
    if (!found.next()) return {};
    return found.row().integer();
  }
  // Inside of a transaction.
  std::int64_t make_place(std::string_view normalised, std::string_view kind) {
    if (auto const there = place(normalised, kind)) return *there;
    query(prepared("INSERT INTO places (netbox, kind) VALUES (?, ?)"), normalised, kind).run();
    return sqlite3_last_insert_rowid(db->getHandle());
  }
  // For reading: the same few are asked for a hundred thousand times.
  std::optional<std::int64_t> place_to_read(std::string_view url, std::string_view kind) {
    if (last_place && last_url == url && last_kind == kind) return last_place;
    if (version() < 3) return {};
    last_place = place(normalised_url(url), kind);
    last_url = url;
    last_kind = kind;
    return last_place;
  }
  std::string last_url, last_kind;
  std::optional<std::int64_t> last_place;

  void put_known(std::int64_t of, std::uint64_t id, known_record const& r) {
    query(prepared("INSERT INTO known (place, id, key, applied, gone) VALUES (?, ?, ?, ?, ?) ON CONFLICT (place, id) "
                   "DO UPDATE SET key = excluded.key, applied = excluded.applied, gone = excluded.gone"),
          of, id, r.key, r.applied, r.gone_since)
        .run();
  }

  SQLite::Statement& prepared(char const* sql) {
    auto const found = statements.find(sql);
    return found != statements.end() ? found->second
                                     : statements.emplace(sql, SQLite::Statement(*db, sql)).first->second;
  }

  // `body` with the database to itself; `tried` completes "cannot …".
  template <class Body>
  auto attempt(std::string_view tried, Body&& body) -> base::result<decltype(body())> {
    std::lock_guard const lock(mutex);
    // Not sqlite3_system_errno(): a failed COMMIT does not set it, and an old one stays.
    errno = 0;
    try {
      if constexpr (std::is_void_v<decltype(body())>) {
        body();
        return {};
      } else {
        return body();
      }
    } catch (refusal& r) {
      return std::move(r.why);
    } catch (SQLite::Exception const& e) {
      return explain(file.string(), std::string(tried), e, errno);
    }
  }

  // One step that changes the file: all of `body` or nothing.
  template <class Body>
  base::result<void> change(std::string_view step, std::string const& tried, Body&& body) {
    if (options.read_only)
      return base::fail("journal " + file.string() + ": cannot " + tried + ": it was opened for reading only");
    if (options.watch) options.watch(step, true);
    auto done = attempt(tried, [&] {
      query(prepared("BEGIN IMMEDIATE")).run();
      struct undo {
        state& of;
        // SQLite itself may have rolled back, on a full disk for one.
        ~undo() {
          if (sqlite3_get_autocommit(of.db->getHandle())) return;
          int const kept = errno;
          sqlite3_exec(of.db->getHandle(), "ROLLBACK", nullptr, nullptr, nullptr);
          errno = kept;
        }
      } const unless_committed{*this};
      body();
      query(prepared("COMMIT")).run();
    });
    if (done && options.watch) options.watch(step, false);
    return done;
  }

  base::error absent(std::string const& what) const {
    return base::fail("journal " + file.string() + ": there is no " + what);
  }

  std::int64_t run_number(std::string_view id) {
    query found(prepared("SELECT number FROM runs WHERE id = ?"), id);
    if (!found.next()) throw refusal{absent("run " + base::shorten(id, 40))};
    return found.row().integer();
  }

  std::vector<run_record> runs(query& rows) {
    std::vector<run_record> out;
    while (rows.next()) {
      auto r = rows.row();
      auto& run = out.emplace_back();
      run.id = r.text();
      run.netbox_url = r.text();
      run.command = r.text();
      run.profile = r.text();
      run.config_file = r.text();
      run.resumes = r.text();
      run.host = r.text();
      run.pid = r.integer();
      run.started = r.time();
      run.ended = r.maybe_time();
      run.state = state_of<run_state>(run_states, r.text());
      run.exit_code = r.maybe_int();
      run.reason = r.text();
      run.summary_json = r.text();
      run.undoes = r.text();
    }
    return out;
  }

  std::vector<batch_record> batches(query& rows, std::string_view run) {
    std::vector<batch_record> out;
    while (rows.next()) {
      auto r = rows.row();
      auto& b = out.emplace_back();
      b.run = run;
      b.number = r.natural();
      b.source = r.text();
      b.stage = r.text();
      b.kind = r.text();
      b.path = r.text();
      b.verb = r.text();
      b.marker = r.text();
      b.objects = r.natural();
      b.state = state_of<batch_state>(batch_states, r.text());
      b.attempts = r.natural();
      b.created = r.time();
      b.sent = r.maybe_time();
      b.ended = r.maybe_time();
      b.reason = r.text();
    }
    return out;
  }

  // Remembers what is done of a batch.
  void learn(std::int64_t run, std::uint64_t number, batch_state became) {
    std::string netbox, kind;
    {
      query found(prepared("SELECT r.netbox, b.kind FROM runs r JOIN batches b ON b.run = r.number WHERE r.number = ? "
                           "AND b.number = ?"),
                  run, number);
      if (!found.next()) return;
      auto r = found.row();
      netbox = r.text();
      kind = r.text();
    }
    auto const of = make_place(netbox, kind);
    query(prepared("INSERT INTO known (place, id, key, applied, gone) SELECT ?, netbox_id, known_key, known_applied, "
                   "known_gone FROM objects WHERE run = ? AND batch = ? AND coalesce(state, ?) = 'done' AND "
                   "action <> 'delete' AND netbox_id <> 0 AND known_key IS NOT NULL AND known_applied <> '' "
                   "ON CONFLICT (place, id) DO UPDATE SET key = excluded.key, applied = excluded.applied, "
                   "gone = excluded.gone"),
          of, run, number, became)
        .run();
    query(prepared("DELETE FROM known WHERE place = ? AND id IN (SELECT netbox_id FROM objects WHERE run = ? AND "
                   "batch = ? AND coalesce(state, ?) = 'done' AND (action = 'delete' OR known_applied = ''))"),
          of, run, number, became)
        .run();
    query(prepared("UPDATE objects SET known_key = NULL, known_applied = NULL, known_gone = NULL WHERE run = ? AND "
                   "batch = ? AND coalesce(state, ?) = 'done' AND netbox_id <> 0 AND known_key IS NOT NULL"),
          run, number, became)
        .run();
  }

  void insert(std::int64_t run, batch_record const& b, batch_state as) {
    query(
        prepared("INSERT INTO batches (run, number, source, stage, kind, path, verb, marker, objects, state, attempts, "
                 "created, sent, ended, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        run, b.number, b.source, b.stage, b.kind, b.path, b.verb, b.marker, b.objects, as, b.attempts, b.created,
        b.sent, b.ended, b.reason)
        .run();
  }
};

// Runs in the order of columns that state::runs() reads; a macro, as statements are known by their literals.
#define WEIR_RUN_COLUMNS                                                                                         \
  "SELECT id, netbox_url, command, profile, config_file, resumes, host, pid, started, ended, state, exit_code, " \
  "reason, summary, "
#define WEIR_RUNS(s, which)                                                 \
  ((s).version() < 4 ? (s).prepared(WEIR_RUN_COLUMNS "'' FROM runs " which) \
                     : (s).prepared(WEIR_RUN_COLUMNS "undoes FROM runs " which))
#define WEIR_BATCH_COLUMNS                                                                                          \
  "SELECT number, source, stage, kind, path, verb, marker, objects, state, attempts, created, sent, ended, reason " \
  "FROM batches "

journal::journal(std::unique_ptr<state> s) : state_(std::move(s)) {}
journal::~journal() = default;
fs::path const& journal::file() const { return state_->file; }

base::result<std::unique_ptr<journal>> journal::open(fs::path const& given, journal_options options) {
  std::error_code ignored;
  auto const file = fs::absolute(given, ignored);
  auto db = open_database(file, options);
  if (!db) return db.error();
  return std::unique_ptr<journal>(new journal(std::make_unique<state>(file, std::move(options), std::move(*db))));
}

base::result<void> journal::begin_run(run_record const& r) {
  auto& s = *state_;
  return s.change("begin_run", "record the beginning of run " + r.id, [&] {
    query(s.prepared(
              "INSERT INTO runs (id, netbox, netbox_url, command, profile, config_file, resumes, host, pid, started, "
              "ended, state, exit_code, reason, summary, undoes) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
          r.id, normalised_url(r.netbox_url), r.netbox_url, r.command, r.profile, r.config_file, r.resumes, r.host,
          r.pid, r.started, r.ended, r.state, r.exit_code, r.reason, r.summary_json, r.undoes)
        .run();
  });
}

base::result<void> journal::end_run(std::string_view run, run_state became, int exit_code, std::string_view reason,
                                    std::string_view summary_json, instant now) {
  auto& s = *state_;
  return s.change("end_run", "record the end of run " + std::string(run), [&] {
    query(s.prepared("UPDATE runs SET state = ?, exit_code = ?, reason = ?, summary = ?, ended = ? WHERE number = ?"),
          became, exit_code, reason, summary_json, now, s.run_number(run))
        .run();
  });
}

base::result<void> journal::set_run_state(std::string_view run, run_state became, std::string_view reason) {
  auto& s = *state_;
  return s.change("set_run_state", "record the state of run " + std::string(run), [&] {
    query(s.prepared("UPDATE runs SET state = ?, reason = ? WHERE number = ?"), became, reason, s.run_number(run))
        .run();
  });
}

base::result<void> journal::put_stage(stage_record const& r) {
  auto& s = *state_;
  return s.change("put_stage", "record stage " + r.stage + " of " + r.source + " in run " + r.run, [&] {
    query(s.prepared(
              "INSERT INTO stages (run, source, stage, state, created, updated, deleted, failed, deferred, reason) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, source, stage) DO UPDATE SET "
              "state = excluded.state, created = excluded.created, updated = excluded.updated, "
              "deleted = excluded.deleted, failed = excluded.failed, deferred = excluded.deferred, "
              "reason = excluded.reason"),
          s.run_number(r.run), r.source, r.stage, r.state, r.created, r.updated, r.deleted, r.failed, r.deferred,
          r.reason)
        .run();
  });
}

namespace {
std::string batch_of(std::string_view run, std::uint64_t number) {
  return "batch " + std::to_string(number) + " of run " + base::shorten(run, 40);
}
}  // namespace

base::result<void> journal::add_batch(batch_record const& b, std::vector<object_record> const& objects) {
  auto& s = *state_;
  return s.change("add_batch", "record " + batch_of(b.run, b.number), [&] {
    auto const run = s.run_number(b.run);
    s.insert(run, b, b.state);
    auto& statement = s.prepared(
        "INSERT INTO objects (run, batch, position, action, label, key, netbox_id, reason, state, held, written, "
        "known_before, known_key, known_applied, known_gone) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, nullif(nullif(?, 'pending'), ?), ?, ?, ?, ?, ?, ?)");
    for (auto const& o : objects) {
      std::optional<std::string_view> key, applied;
      if (o.known) key = o.known->key, applied = o.known->applied;
      query(statement, run, b.number, o.position, o.action, o.label, o.key, o.netbox_id, o.reason, o.state, b.state,
            o.before, o.after, o.known_before, key, applied, o.known ? o.known->gone_since : std::nullopt)
          .run();
    }
  });
}

base::result<void> journal::add_deferred(batch_record const& b) {
  auto& s = *state_;
  return s.change("add_deferred", "record " + batch_of(b.run, b.number),
                  [&] { s.insert(s.run_number(b.run), b, batch_state::deferred); });
}

base::result<void> journal::batch_sent(std::string_view run, std::uint64_t number, instant now) {
  auto& s = *state_;
  return s.change("batch_sent", "record the sending of " + batch_of(run, number), [&] {
    if (query(s.prepared(
                  "UPDATE batches SET state = 'sent', attempts = attempts + 1, sent = ?, ended = NULL, reason = '' "
                  "WHERE run = ? AND number = ?"),
              now, s.run_number(run), number)
            .run() != 1)
      throw refusal{s.absent(batch_of(run, number))};
  });
}

base::result<void> journal::batch_ended(std::string_view run, std::uint64_t number, batch_state became,
                                        std::string_view reason, std::vector<object_record> const& objects,
                                        instant now) {
  auto& s = *state_;
  return s.change("batch_ended", "record the end of " + batch_of(run, number), [&] {
    auto const of = s.run_number(run);
    if (query(s.prepared("UPDATE batches SET state = ?, reason = ?, ended = ? WHERE run = ? AND number = ?"), became,
              reason, now, of, number)
            .run() != 1)
      throw refusal{s.absent(batch_of(run, number))};
    query(s.prepared("UPDATE objects SET state = NULL, reason = '' WHERE run = ? AND batch = ? AND state IS NOT NULL"),
          of, number)
        .run();
    auto& statement = s.prepared(
        "UPDATE objects SET state = nullif(?1, ?2), reason = ?3, netbox_id = CASE ?4 WHEN 0 THEN netbox_id ELSE ?4 "
        "END WHERE run = ?5 AND batch = ?6 AND position = ?7");
    for (auto const& o : objects)
      if (query(statement, o.state, became, o.reason, o.netbox_id, of, number, o.position).run() != 1)
        throw refusal{s.absent("object " + std::to_string(o.position) + " in " + batch_of(run, number))};
    s.learn(of, number, became);
  });
}

base::result<void> journal::prune(std::size_t keep, std::chrono::hours unfinished_for, instant now) {
  auto& s = *state_;
  // In double: a limit of hours::max() must not overflow.
  std::chrono::duration<double, std::milli> const limit = unfinished_for;
  return s.change("prune", "forget old runs", [&] {
    query(s.prepared("DELETE FROM runs WHERE number IN (SELECT number FROM (SELECT number, row_number() OVER "
                     "(PARTITION BY netbox ORDER BY number DESC) AS rank FROM runs WHERE "
                     "state NOT IN ('running', 'stopped', 'interrupted') OR ?1 - started >= ?2) WHERE rank > ?3)"),
          now, limit.count(), static_cast<std::int64_t>(std::min<std::size_t>(keep, INT64_MAX)))
        .run();
  });
}

base::result<std::vector<run_record>> journal::runs(std::size_t at_most, std::string_view netbox_url) const {
  auto& s = *state_;
  return s.attempt("read the runs", [&] {
    auto const limit = static_cast<std::int64_t>(std::min<std::size_t>(at_most, INT64_MAX));
    if (netbox_url.empty()) {
      query rows(WEIR_RUNS(s, "ORDER BY number DESC LIMIT ?"), limit);
      return s.runs(rows);
    }
    query rows(WEIR_RUNS(s, "WHERE netbox = ? ORDER BY number DESC LIMIT ?"), normalised_url(netbox_url), limit);
    return s.runs(rows);
  });
}

base::result<run_record> journal::find_run(std::string_view wanted) const {
  auto& s = *state_;
  auto const quoted = "'" + base::shorten(wanted, 40) + "'";
  auto const list = [](std::vector<run_record> const& runs) {
    std::vector<std::string> ids;
    for (auto const& r : runs) ids.push_back(r.id);
    return base::join(ids);
  };
  if (wanted.size() < 2)
    return base::fail(base::error_code::usage, "a run is named by at least 2 characters of its id, not by " + quoted,
                      "'weir history' lists the runs");
  return s.attempt("look up run " + quoted, [&] {
    query rows(WEIR_RUNS(s, "WHERE substr(id, 1, length(?1)) = ?1 ORDER BY id = ?1 DESC, number DESC LIMIT 11"),
               wanted);
    auto found = s.runs(rows);
    if (found.empty()) {
      query known(WEIR_RUNS(s, "ORDER BY number DESC LIMIT 10"));
      auto const ids = list(s.runs(known));
      throw refusal{base::fail(base::error_code::usage, "there is no run " + quoted + " in " + s.file.string(),
                               ids.empty() ? "there are no runs yet" : "the latest are " + ids)};
    }
    if (found.size() > 1 && found[0].id != wanted)
      throw refusal{base::fail(base::error_code::usage, quoted + " is the beginning of several runs: " + list(found),
                               "give more characters")};
    return std::move(found[0]);
  });
}

base::result<std::vector<stage_record>> journal::stages(std::string_view run) const {
  auto& s = *state_;
  return s.attempt("read the stages of run " + std::string(run), [&] {
    query rows(
        s.prepared("SELECT source, stage, state, created, updated, deleted, failed, deferred, reason FROM stages "
                   "WHERE run = ? ORDER BY rowid"),
        s.run_number(run));
    std::vector<stage_record> out;
    while (rows.next()) {
      auto r = rows.row();
      auto& stage = out.emplace_back();
      stage.run = run;
      stage.source = r.text();
      stage.stage = r.text();
      stage.state = state_of<stage_state>(stage_states, r.text());
      stage.created = r.natural();
      stage.updated = r.natural();
      stage.deleted = r.natural();
      stage.failed = r.natural();
      stage.deferred = r.natural();
      stage.reason = r.text();
    }
    return out;
  });
}

base::result<std::vector<batch_record>> journal::batches(std::string_view run) const {
  auto& s = *state_;
  return s.attempt("read the batches of run " + std::string(run), [&] {
    query rows(s.prepared(WEIR_BATCH_COLUMNS "WHERE run = ? ORDER BY number"), s.run_number(run));
    return s.batches(rows, run);
  });
}

base::result<std::vector<batch_record>> journal::batches(std::string_view run, batch_state in) const {
  auto& s = *state_;
  return s.attempt("read the batches of run " + std::string(run), [&] {
    query rows(s.prepared(WEIR_BATCH_COLUMNS "WHERE run = ? AND state = ? ORDER BY number"), s.run_number(run), in);
    return s.batches(rows, run);
  });
}

base::result<std::vector<object_record>> journal::objects(std::string_view run, std::uint64_t batch) const {
  auto& s = *state_;
  return s.attempt("read the objects of " + batch_of(run, batch), [&] {
    auto const of = s.run_number(run);
    query whole(s.prepared("SELECT state FROM batches WHERE run = ? AND number = ?"), of, batch);
    if (!whole.next()) throw refusal{s.absent(batch_of(run, batch))};
    auto const shared = whole.row().text();
    bool const older = s.version() < 3;
    query rows(older ? s.prepared("SELECT position, action, label, key, netbox_id, coalesce(state, ?), reason, '', '', "
                                  "'' FROM objects WHERE run = ? AND batch = ? ORDER BY position")
                     : s.prepared("SELECT position, action, label, key, netbox_id, coalesce(state, ?), reason, held, "
                                  "written, known_before FROM objects WHERE run = ? AND batch = ? ORDER BY position"),
               shared, of, batch);
    std::vector<object_record> out;
    while (rows.next()) {
      auto r = rows.row();
      auto& o = out.emplace_back(object_of(r));
      o.before = r.text();
      o.after = r.text();
      o.known_before = r.text();
    }
    return out;
  });
}

base::result<std::vector<failed_object>> journal::failed_objects(std::string_view run) const {
  auto& s = *state_;
  return s.attempt("read the failed objects of run " + std::string(run), [&] {
    query rows(s.prepared("SELECT o.batch, o.position, o.action, o.label, o.key, o.netbox_id, 'failed', "
                          "CASE o.reason WHEN '' THEN b.reason ELSE o.reason END FROM batches b JOIN objects o "
                          "ON o.run = b.run AND o.batch = b.number WHERE b.run = ? AND coalesce(o.state, b.state) = "
                          "'failed' ORDER BY o.batch, o.position"),
               s.run_number(run));
    std::vector<failed_object> out;
    while (rows.next()) {
      auto r = rows.row();
      auto const batch = r.natural();
      out.push_back({batch, object_of(r)});
    }
    return out;
  });
}

base::result<std::vector<run_record>> journal::unfinished(std::string_view netbox_url) const {
  auto& s = *state_;
  return s.attempt("read the unfinished runs", [&] {
    query rows(WEIR_RUNS(s, "WHERE netbox = ? AND state IN ('running', 'stopped', 'interrupted') ORDER BY number DESC"),
               normalised_url(netbox_url));
    return s.runs(rows);
  });
}

base::result<std::optional<known_record>> journal::known(std::string_view netbox_url, std::string_view kind,
                                                         std::uint64_t id) const {
  auto& s = *state_;
  return s.attempt("read what is remembered of an object", [&]() -> std::optional<known_record> {
    auto const of = s.place_to_read(netbox_url, kind);
    if (!of) return {};
    query found(s.prepared("SELECT key, applied, gone FROM known WHERE place = ? AND id = ?"), *of, id);
    if (!found.next()) return {};
    auto r = found.row();
    known_record out;
    out.key = r.text();
    out.applied = r.text();
    out.gone_since = r.maybe_time();
    return out;
  });
}

base::result<std::optional<std::uint64_t>> journal::known_by_key(std::string_view netbox_url, std::string_view kind,
                                                                 std::string_view key) const {
  auto& s = *state_;
  return s.attempt("read whose a key was", [&]() -> std::optional<std::uint64_t> {
    auto const of = s.place_to_read(netbox_url, kind);
    if (!of) return {};
    query found(s.prepared("SELECT id FROM known WHERE place = ? AND key = ? ORDER BY id DESC LIMIT 1"), *of, key);
    if (!found.next()) return {};
    return found.row().natural();
  });
}

base::result<void> journal::put_known(std::string_view netbox_url, std::vector<known_change> const& changes) {
  auto& s = *state_;
  if (changes.empty()) return {};
  return s.change("put_known", "remember what NetBox's objects were like", [&] {
    auto const netbox = normalised_url(netbox_url);
    std::map<std::string, std::int64_t> places;
    for (auto const& c : changes) {
      auto [at, fresh] = places.try_emplace(c.kind);
      if (fresh) at->second = s.make_place(netbox, c.kind);
      if (c.now)
        s.put_known(at->second, c.id, *c.now);
      else
        query(s.prepared("DELETE FROM known WHERE place = ? AND id = ?"), at->second, c.id).run();
    }
  });
}

base::result<void> journal::remember(std::string_view netbox_url, std::string_view text, instant now) {
  auto& s = *state_;
  return s.change("remember", "keep what was learnt about " + normalised_url(netbox_url), [&] {
    query(s.prepared("INSERT INTO memory (netbox, text, at) VALUES (?, ?, ?) ON CONFLICT (netbox) DO UPDATE SET "
                     "text = excluded.text, at = excluded.at"),
          normalised_url(netbox_url), text, now)
        .run();
  });
}

base::result<std::optional<std::string>> journal::recall(std::string_view netbox_url, std::chrono::hours not_older_than,
                                                         instant now) const {
  auto& s = *state_;
  return s.attempt("read what was learnt about " + normalised_url(netbox_url), [&]() -> std::optional<std::string> {
    query found(s.prepared("SELECT text, at FROM memory WHERE netbox = ?"), normalised_url(netbox_url));
    if (!found.next()) return {};
    auto r = found.row();
    auto text = r.text();
    std::chrono::duration<double> const age = now - r.time();
    // A clock that was set back makes it young: better a little stale than never expiring.
    if (age > std::chrono::duration<double>(not_older_than) || -age > std::chrono::duration<double>(not_older_than))
      return {};
    return text;
  });
}

base::result<std::map<std::string, std::string>> journal::plugin_state(std::string_view netbox_url,
                                                                       std::string_view source,
                                                                       std::string_view stage) const {
  auto& s = *state_;
  return s.attempt("read what stage " + std::string(stage) + " keeps", [&] {
    std::map<std::string, std::string> out;
    if (s.version() < 2) return out;
    query rows(s.prepared("SELECT key, value FROM plugin_state WHERE netbox = ? AND source = ? AND stage = ?"),
               normalised_url(netbox_url), source, stage);
    while (rows.next()) {
      auto r = rows.row();
      auto key = r.text();
      out.emplace(std::move(key), r.text());
    }
    return out;
  });
}

base::result<void> journal::put_plugin_state(std::string_view netbox_url, std::string_view source,
                                             std::string_view stage,
                                             std::map<std::string, std::optional<std::string>> const& changes) {
  auto& s = *state_;
  return s.change("put_plugin_state", "keep what stage " + std::string(stage) + " noted", [&] {
    auto const netbox = normalised_url(netbox_url);
    for (auto const& [key, value] : changes)
      if (value)
        query(s.prepared("INSERT INTO plugin_state (netbox, source, stage, key, value) VALUES (?, ?, ?, ?, "
                         "CAST(? AS BLOB)) ON CONFLICT DO UPDATE SET value = excluded.value"),
              netbox, source, stage, key, *value)
            .run();
      else
        query(s.prepared("DELETE FROM plugin_state WHERE netbox = ? AND source = ? AND stage = ? AND key = ?"), netbox,
              source, stage, key)
            .run();
  });
}

}  // namespace weir::store
