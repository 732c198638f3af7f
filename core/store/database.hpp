// A journal's file as an SQLite database: its tables, how it is made, opened and checked, and what SQLite's errors
// mean. Of the journal alone: nothing else knows SQLite.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "core/base/result.hpp"
#include "core/store/journal.hpp"

namespace SQLite {
class Database;
class Exception;
}  // namespace SQLite

namespace weir::store {

// What is returned to the caller instead of thrown; thrown only inside of the journal, to leave a transaction by.
struct refusal {
  base::error why;
};

// Makes it where it is missing and brings an older one up to date, unless options.read_only. Errors: journal::open().
base::result<std::unique_ptr<SQLite::Database>> open_database(std::filesystem::path const& file,
                                                              journal_options const& options);

// `tried` completes "cannot …"; error_number: errno, 0 if unknown.
base::error explain(std::string const& file, std::string const& tried, SQLite::Exception const& e, int error_number);

std::int64_t number_of(SQLite::Database& db, char const* sql);  // the first column of the first row; throws

}  // namespace weir::store
