// What weir's exit codes mean. Unknown codes must be treated as failure.
#pragma once
#include "core/base/result.hpp"

namespace weir::cli::exit_code {

inline constexpr int done = 0;
inline constexpr int failed = 1;          // the run failed
inline constexpr int changes = 2;         // --detailed-exitcode: there are changes
inline constexpr int partly = 3;          // finished, but some objects or a stage failed
inline constexpr int refused = 4;         // a guard refused: deletions, a stored plan that no longer fits, an undo
inline constexpr int locked = 5;          // another run holds the lock of this NetBox
inline constexpr int usage = 64;          // sysexits(3) EX_USAGE
inline constexpr int unreachable = 69;    // EX_UNAVAILABLE: NetBox or Proxmox VE cannot be reached or used
inline constexpr int stopped_early = 75;  // EX_TEMPFAIL: the rest is left to the next run
inline constexpr int credentials = 77;    // EX_NOPERM
inline constexpr int configuration = 78;  // EX_CONFIG
inline constexpr int interrupted = 130;   // SIGINT or SIGTERM

struct meaning {
  int code;
  char const* says;
};
// All of them, as the manual page prints them.
inline constexpr meaning meanings[] = {
    {done, "Done. With plan: also where there are no changes."},
    {failed, "The run failed."},
    {changes, "Only with --detailed-exitcode (plan, show, adopt, undo): it succeeded, and there are changes."},
    {partly, "Finished, but some objects or a stage failed; the result names them."},
    {refused,
     "Refused. Deletions, or marks of what is gone (max_deletes, an empty answer): all else was done. apply: the plan "
     "no "
     "longer fits NetBox, the configuration or the plugins; nothing was done. undo: nothing of that run is on record."},
    {locked, "Another run holds the lock of this NetBox; nothing was done."},
    {usage, "The command line is wrong."},
    {unreachable, "NetBox, or every source, cannot be reached or used."},
    {stopped_early, "Stopped early, with everything accounted for: weir resume, or the next run, does the rest."},
    {credentials, "NetBox or a source refused the credentials, or they lack a permission."},
    {configuration, "The configuration is wrong."},
    {interrupted, "Interrupted by SIGINT or SIGTERM, with everything accounted for."},
};

inline int of(base::error_code code) {
  switch (code) {
    case base::error_code::failed:
      return failed;
    case base::error_code::usage:
      return usage;
    case base::error_code::config:
      return configuration;
    case base::error_code::unreachable:
      return unreachable;
    case base::error_code::credentials:
      return credentials;
    case base::error_code::interrupted:
      return interrupted;
    case base::error_code::guard:
      return refused;
    case base::error_code::locked:
      return locked;
    case base::error_code::stopped:
      return stopped_early;
    case base::error_code::data:
      return partly;
  }
  return failed;
}

}  // namespace weir::cli::exit_code
