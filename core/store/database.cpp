#include "core/store/database.hpp"

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <utility>

#include "core/base/text.hpp"
#include "core/store/files.hpp"

namespace weir::store {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t application_id = 0x77656972;  // "weir"
constexpr std::int64_t schema_version = 4;
// Up to here the whole file is checked on opening (some 10 ms); beyond, damage is found where it is met.
constexpr std::uintmax_t checked_on_opening = std::uintmax_t{8} << 20;
constexpr off_t smallest_page = 512;

// A batch's objects are found by its key, without an index besides. state NULL: as the batch's.
constexpr char schema[] = R"(
CREATE TABLE runs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  netbox TEXT NOT NULL,
  netbox_url TEXT NOT NULL,
  command TEXT NOT NULL,
  profile TEXT NOT NULL,
  config_file TEXT NOT NULL,
  resumes TEXT NOT NULL,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER,
  state TEXT NOT NULL,
  exit_code INTEGER,
  reason TEXT NOT NULL,
  summary TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_netbox ON runs (netbox, number);
CREATE TABLE stages (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  source TEXT NOT NULL,
  stage TEXT NOT NULL,
  state TEXT NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  deferred INTEGER NOT NULL,
  reason TEXT NOT NULL,
  UNIQUE (run, source, stage)
) STRICT;
CREATE TABLE batches (
  run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  source TEXT NOT NULL,
  stage TEXT NOT NULL,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  verb TEXT NOT NULL,
  marker TEXT NOT NULL,
  objects INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  created INTEGER NOT NULL,
  sent INTEGER,
  ended INTEGER,
  reason TEXT NOT NULL,
  PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE objects (
  run INTEGER NOT NULL,
  batch INTEGER NOT NULL,
  position INTEGER NOT NULL,
  action TEXT NOT NULL,
  label TEXT NOT NULL,
  key TEXT NOT NULL,
  netbox_id INTEGER NOT NULL,
  state TEXT,
  reason TEXT NOT NULL,
  PRIMARY KEY (run, batch, position),
  FOREIGN KEY (run, batch) REFERENCES batches (run, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE memory (
  netbox TEXT PRIMARY KEY,
  text TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
)";

// What version 2 added.
constexpr char schema_2[] = R"(
CREATE TABLE plugin_state (
  netbox TEXT NOT NULL,
  source TEXT NOT NULL,
  stage TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (netbox, source, stage, key)
) STRICT, WITHOUT ROWID;
)";

// What version 3 added. known_…: what is remembered once the object is done, NULL from then on. A kind's objects of one
// NetBox are a place, so that a row does not repeat their names.
constexpr char schema_3[] = R"(
ALTER TABLE objects ADD COLUMN held TEXT NOT NULL DEFAULT '';
ALTER TABLE objects ADD COLUMN written TEXT NOT NULL DEFAULT '';
ALTER TABLE objects ADD COLUMN known_key TEXT;
ALTER TABLE objects ADD COLUMN known_applied TEXT;
ALTER TABLE objects ADD COLUMN known_gone INTEGER;
ALTER TABLE objects ADD COLUMN known_before TEXT NOT NULL DEFAULT '';
CREATE TABLE places (
  number INTEGER PRIMARY KEY,
  netbox TEXT NOT NULL,
  kind TEXT NOT NULL,
  UNIQUE (netbox, kind)
) STRICT;
CREATE TABLE known (
  place INTEGER NOT NULL REFERENCES places (number) ON DELETE CASCADE,
  id INTEGER NOT NULL,
  key TEXT NOT NULL,
  applied TEXT NOT NULL,
  gone INTEGER,
  PRIMARY KEY (place, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_by_key ON known (place, key);
)";

// What version 4 added.
constexpr char schema_4[] = R"(
ALTER TABLE runs ADD COLUMN undoes TEXT NOT NULL DEFAULT '';
)";

std::string user() { return "uid " + std::to_string(::geteuid()); }

std::string aside(std::string const& file) {
  return "move it aside (mv " + file + " " + file +
         ".bad, and with it -wal and -shm, if they are there): runs can no longer be resumed, NetBox itself is not "
         "affected; "
         "the next sync compares everything anew";
}

std::string hint_for(std::string const& file, int code, int error_number) {
  auto const folder = fs::path(file).parent_path().string();
  auto const writable = "it must be writable for the user that weir runs as (" + user() +
                        "), its folder too, or set state_dir to another folder";
  std::string const full = "the disk or a quota is full: free space where " + folder +
                           " is, then 'weir resume'; what was recorded before is kept";
  switch (code & 0xff) {
    case SQLITE_FULL:
      return full;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return writable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // a table or a column is missing
    case SQLITE_MISMATCH:
      return aside(file);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "another program has it locked (a backup, the sqlite3 shell, a stopped weir?): let it end, then try again";
    case SQLITE_IOERR:
      if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) return full;
      return "the file system refused: look at the system's log and at the disk";
    case SQLITE_NOMEM:
      return "there is no memory left";
    default:
      return "this should not happen, please report it";
  }
}

void set_up(SQLite::Database& db, journal_options const& options) {
  db.exec("PRAGMA foreign_keys = ON");
  db.exec(options.durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF");
  if (options.most_pages > 0) db.exec("PRAGMA max_page_count = " + std::to_string(options.most_pages));
}

int milliseconds_to_wait(journal_options const& options) {
  return static_cast<int>(std::clamp<std::int64_t>(options.wait.count(), 0, 3'600'000));
}

// Makes the whole journal under another name and gives it its own at the end: a file under the journal's name always is
// a whole journal, so that an empty one is damage, and two processes that begin at once do not meet half-made tables.
// Nothing happens if the file turns out to be there.
void create(fs::path const& file, journal_options const& options) {
  static std::atomic<unsigned> counter{0};
  fs::path const draft = file.string() + ".new-" + std::to_string(::getpid()) + "-" + std::to_string(++counter);
  auto const refuse = [&](char const* tried, int error_number) {
    int const code = error_number == ENOSPC || error_number == EDQUOT ? SQLITE_FULL : SQLITE_CANTOPEN;
    throw refusal{base::fail("journal " + file.string() + ": cannot " + tried + " it: " + system_words(error_number),
                             hint_for(file.string(), code, error_number))};
  };
  ::unlink(draft.c_str());  // of a dead process that had our number
  int const descriptor = ::open(draft.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) refuse("create", errno);
  ::close(descriptor);
  struct remover {
    std::string file;
    ~remover() {
      for (auto const* end : {"", "-wal", "-shm", "-journal"}) ::unlink((file + end).c_str());
    }
  } const at_the_end{draft.string()};
  {
    SQLite::Database db(draft.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX);
    errno = 0;
    try {
      set_up(db, options);
      db.exec("BEGIN IMMEDIATE");
      db.exec(schema);
      db.exec(schema_2);
      db.exec(schema_3);
      db.exec(schema_4);
      db.exec("PRAGMA application_id = " + std::to_string(application_id));
      db.exec("PRAGMA user_version = " + std::to_string(schema_version));
      db.exec("COMMIT");
      db.execAndGet("PRAGMA journal_mode = WAL");
    } catch (SQLite::Exception const& e) {
      // Here: closing it and removing what there is of it may change errno.
      throw refusal{explain(file.string(), "create it", e, errno)};
    }
  }
  if (::link(draft.c_str(), file.c_str()) != 0 && errno != EEXIST) {
    // A file system without hard links.
    if (::rename(draft.c_str(), file.c_str()) != 0) refuse("name", errno);
  }
  if (!options.durable) return;
  int const folder = ::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;  // we may write to it and not read it: the name gets there with the next sync
  ::fsync(folder);
  ::close(folder);
}

std::uintmax_t size_of(fs::path const& file) {
  struct stat about {};
  return ::stat(file.c_str(), &about) == 0 ? static_cast<std::uintmax_t>(about.st_size) : 0;
}

// WAL needs a -shm file beside it, which nobody can make in a read-only folder. Where there is no -wal either, nobody
// writes, and a copy in memory that was read while nothing changed is the journal.
std::unique_ptr<SQLite::Database> copy_in_memory(fs::path const& file) {
  auto const wal = file.string() + "-wal";
  struct stat before {
  }, after{};
  if (size_of(wal) > 0) return nullptr;
  int const descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return nullptr;
  struct closer {
    int number;
    ~closer() { ::close(number); }
  } const at_the_end{descriptor};
  if (::fstat(descriptor, &before) != 0 || before.st_size < 100) return nullptr;
  auto const size = static_cast<std::size_t>(before.st_size);
  std::unique_ptr<unsigned char, void (*)(void*)> bytes(static_cast<unsigned char*>(sqlite3_malloc64(size)),
                                                        sqlite3_free);
  if (!bytes) return nullptr;
  for (std::size_t have = 0; have < size;) {
    auto const n = ::pread(descriptor, bytes.get() + have, size - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return nullptr;
    have += static_cast<std::size_t>(n);
  }
  if (::fstat(descriptor, &after) != 0 || size_of(wal) > 0 || after.st_size != before.st_size ||
      after.st_mtim.tv_sec != before.st_mtim.tv_sec || after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
    return nullptr;
  // Memory knows no WAL: the header says with these two which kind of journal it has.
  bytes.get()[18] = bytes.get()[19] = 1;
  auto db = std::make_unique<SQLite::Database>(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX);
  auto const length = static_cast<sqlite3_int64>(size);
  if (sqlite3_deserialize(db->getHandle(), "main", bytes.release(), length, length,
                          SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY) != SQLITE_OK)
    return nullptr;
  return db;
}

// Throws if the file is none of ours.
void identify(SQLite::Database& db, std::string const& file) {
  auto const id = number_of(db, "PRAGMA application_id");
  auto const version = number_of(db, "PRAGMA user_version");
  if (id != application_id)
    throw refusal{base::fail("journal " + file +
                                 ": it is an SQLite database, and not a journal of weir (application id " +
                                 std::to_string(id) + ", weir's is " + std::to_string(application_id) + ")",
                             "it was not touched; set state_dir to a folder of weir's own")};
  if (version > schema_version)
    throw refusal{base::fail("journal " + file + ": its format is version " + std::to_string(version) +
                                 ", this weir knows version " + std::to_string(schema_version) +
                                 ": a newer weir wrote it",
                             "use that newer weir, or " + aside(file))};
  if (version < 1)
    throw refusal{base::fail("journal " + file + ": its format is version " + std::to_string(version) +
                                 ", which no weir wrote (this one knows version " + std::to_string(schema_version) +
                                 ")",
                             aside(file))};
}

void check(SQLite::Database& db, std::string const& file) {
  SQLite::Statement statement(db, "PRAGMA quick_check(1)");
  std::string found;
  if (statement.executeStep()) found = statement.getColumn(0).getString();
  if (found != "ok")
    throw refusal{base::fail("journal " + file + ": it is damaged: " + base::shorten(found, 300), aside(file))};
}

}  // namespace

base::error explain(std::string const& file, std::string const& tried, SQLite::Exception const& e, int error_number) {
  int const code = e.getExtendedErrorCode() > 0 ? e.getExtendedErrorCode() : e.getErrorCode();
  auto what = "journal " + file + ": cannot " + tried + ": " + base::shorten(e.what(), 300);
  bool const system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
  if (system && error_number != 0) what += " (" + system_words(error_number) + ")";
  if (code > 0) what += " [SQLite " + std::to_string(code) + "]";
  return base::fail(what, hint_for(file, code, error_number));
}

std::int64_t number_of(SQLite::Database& db, char const* sql) { return db.execAndGet(sql).getInt64(); }

base::result<std::unique_ptr<SQLite::Database>> open_database(fs::path const& file, journal_options const& options) {
  auto const named = "journal " + file.string();
  std::unique_ptr<SQLite::Database> db;
  auto const error_number = [&] { return db ? sqlite3_system_errno(db->getHandle()) : errno; };
  try {
    if (!options.read_only)
      if (auto made = make_folder(file.parent_path()); !made) return made.error();
    struct stat about {};
    if (::stat(file.c_str(), &about) != 0) {
      if (errno != ENOENT)
        return base::fail(named + ": cannot look at it: " + system_words(errno),
                          hint_for(file.string(), SQLITE_PERM, 0));
      if (options.read_only) return base::fail(named + ": it does not exist", "the first 'weir sync' makes it");
      // SQLite would delete it together with what is recorded in it alone.
      if (auto const left = size_of(file.string() + "-wal"); left > 0)
        return base::fail(
            named + ": it is gone, but " + std::to_string(left) + " bytes of it are left in " + file.string() + "-wal",
            "put the file back beside it, or " + aside(file.string()));
      create(file, options);
    } else if (!S_ISREG(about.st_mode)) {
      return base::fail(named + ": it is not a file", "move it away, or set state_dir to another folder");
    } else if (about.st_size < smallest_page) {
      return base::fail(
          named + ": it is damaged: " +
              (about.st_size == 0 ? "it is empty" : "only " + std::to_string(about.st_size) + " bytes of it are left"),
          aside(file.string()));
    }
    int const mode = options.read_only ? SQLite::OPEN_READONLY : SQLite::OPEN_READWRITE;
    auto const connect = [&] {
      db =
          std::make_unique<SQLite::Database>(file.string(), mode | SQLite::OPEN_NOMUTEX, milliseconds_to_wait(options));
      identify(*db, file.string());
    };
    if (options.read_only) {
      try {
        connect();
      } catch (SQLite::Exception const& e) {
        if (e.getErrorCode() != SQLITE_CANTOPEN && e.getErrorCode() != SQLITE_READONLY) throw;
        auto copy = copy_in_memory(file);
        if (!copy) throw;
        db = std::move(copy);
        identify(*db, file.string());
      }
    } else {
      connect();
      if (sqlite3_db_readonly(db->getHandle(), "main") == 1)
        return base::fail(named + ": it is read-only for this user", hint_for(file.string(), SQLITE_READONLY, 0));
    }
    // SQLite takes half a page at the end for a whole one. Beside a WAL it is: a checkpoint was cut and will be
    // repeated.
    if (size_of(file.string() + "-wal") == 0 &&
        size_of(file) % static_cast<std::uintmax_t>(number_of(*db, "PRAGMA page_size")) != 0)
      return base::fail(named + ": it is damaged: its end is missing", aside(file.string()));
    if (size_of(file) + size_of(file.string() + "-wal") <= checked_on_opening) check(*db, file.string());
    if (!options.read_only) {
      set_up(*db, options);
      if (auto const in_use = db->execAndGet("PRAGMA journal_mode = WAL").getString(); in_use != "wal")
        return base::fail(named + ": its file system cannot do write-ahead logging (journal mode " + in_use + ")",
                          "set state_dir to a folder on a local disk");
      // What cannot be written is known before the run begins, and not by its first batch.
      db->exec("BEGIN IMMEDIATE");
      if (auto const found = number_of(*db, "PRAGMA user_version"); found < schema_version) {
        if (found < 2) db->exec(schema_2);
        if (found < 3) db->exec(schema_3);
        db->exec(schema_4);
        db->exec("PRAGMA user_version = " + std::to_string(schema_version));
      }
      db->exec("COMMIT");
    }
  } catch (refusal& r) {
    return std::move(r.why);
  } catch (SQLite::Exception const& e) {
    return explain(file.string(), options.read_only ? "open it for reading" : "open it", e, error_number());
  }
  return db;
}

}  // namespace weir::store
