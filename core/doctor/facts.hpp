// What was seen of NetBox, the sources and this machine, without a judgement. look_*.cpp fills it in; judge.cpp reads
// it.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/http/transport.hpp"
#include "core/store/lock.hpp"

namespace weir::doctor {

using std::chrono::seconds;
using instant = std::chrono::system_clock::time_point;

// Empty where it could not be determined.
using known = std::optional<bool>;

// How a server is reached.
struct connection_facts {
  std::string url;
  bool verified = true;  // certificates are verified, or pinned
  bool pinned = false;
  std::optional<http::certificate> certificate;  // none over http
  std::optional<seconds> ahead;                  // its clock before ours, by the Date of an answer
};

// What the token may do with a kind's objects.
struct kind_rights {
  std::string kind, title, path;
  std::vector<std::string> stages;  // that use it
  bool lacks_plugin = false;        // NetBox does not have the plugin that has it
  std::string plugin;
  bool needs_delete = false;
  known view, add, change, erase;
  std::optional<std::size_t> count;  // of its objects in NetBox
};

// Reads of one size, one after the other.
struct latency {
  std::size_t limit = 0, objects = 0;
  double median_ms = 0, fastest_ms = 0, slowest_ms = 0;
};

struct netbox_facts {
  connection_facts connection;
  std::optional<base::error> error;  // why it cannot be used
  std::string version;
  int major = 0, minor = 0;
  std::map<std::string, std::string> plugins;
  std::optional<int> rq_workers;
  std::string user;
  known superuser, write_enabled;
  bool permissions_hidden = false;  // the user's groups may hold more than what is seen
  std::optional<instant> token_expires;
  std::vector<kind_rights> rights;
  known change_log;
  std::optional<std::size_t> page_size;  // what NetBox makes of limit=1000
  std::vector<latency> latencies;
  std::string measured;  // the kind they were measured on: "virtual machines"
  // Requests, and those that ended with a database error, or in another fault of the server's.
  std::size_t requests = 0, database_errors = 0, faults = 0, most_in_flight = 0;
  double database_error_ms = 0;  // the median of those
  std::string database_words;    // of the last one
};

struct address_facts {
  connection_facts connection;
  std::optional<base::error> error;
};

struct node_facts {
  std::string name;
  bool online = true;
  std::optional<seconds> ahead;
};
struct storage_facts {
  std::string name;
  bool backups = false, shared = false, disabled = false;
  std::vector<std::string> on, away_on;  // nodes where it answers, and where it does not
  std::optional<std::size_t> backup_count;
};

// Path ► privilege ► whether it holds below the path, too: GET /access/permissions.
using privileges = std::map<std::string, std::map<std::string, bool>>;

struct source_facts {
  std::string name, type;
  std::vector<address_facts> addresses;
  std::optional<base::error> error;  // why it cannot be read
  std::string version;
  std::string who;  // token id or user
  bool with_token = false;
  std::optional<doctor::privileges> privileges;
  bool backups_wanted = false;  // a stage reads backups from it
  std::string cluster;
  known quorate;
  std::vector<node_facts> nodes;
  std::vector<storage_facts> storages;
  std::optional<std::size_t> guests, guests_unknown;
  std::vector<base::error> unread;  // parts that could not be read
};

struct state_facts {
  std::filesystem::path dir;
  bool exists = false, creatable = false, directory = true, writable = false;
  std::string owner, me;  // user names, or numbers
  unsigned mode = 0;
  std::optional<std::uint64_t> free_bytes, journal_bytes;
  std::optional<base::error> journal_error;
  bool journal_exists = false;
  std::vector<std::string> unfinished;  // runs, newest first
  std::size_t recent = 0, stopped = 0;  // of the last runs: how many, and how many NetBox's trouble ended early
  std::optional<store::lock_holder> lock;
  known lock_held;  // empty: its holder is on another machine
};

struct machine_facts {
  instant now{};
  known clock_synchronised;
  std::uint64_t open_files = 0;  // RLIMIT_NOFILE, soft
  std::vector<base::error> refused_plugins;
  std::vector<std::string> stages;  // that a run would run
};

}  // namespace weir::doctor
