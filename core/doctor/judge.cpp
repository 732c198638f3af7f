#include "core/doctor/judge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/base/text.hpp"
#include "core/netbox/client.hpp"

namespace weir::doctor {
namespace {

using base::error_code;
using namespace std::chrono_literals;

// What weir is tested with; other versions from the oldest on should work.
constexpr int tested_major = 4, tested_minor = 7;
constexpr auto certificate_soon = std::chrono::days(30), token_soon = std::chrono::days(14);
constexpr auto skew_tolerated = 30s;
constexpr double poisoned_below_ms = 1000;  // who finds no connection fails at once
constexpr std::size_t expected_page = 1000;
constexpr std::uint64_t mib = 1u << 20;

std::string plural(std::size_t n, std::string const& what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : what.ends_with('s') ? "es" : "s");
}

void judge_connection(connection_facts const& c, instant now, std::string const& server, notebook& note) {
  if (c.url.starts_with("http://")) {
    bool const loopback =
        c.url.starts_with("http://127.") || c.url.starts_with("http://localhost") || c.url.starts_with("http://[::1]");
    if (!loopback)
      note.warning("TLS", c.url + " is plain http: the token can be read on the way", "use https in " + server, "tls");
    return;
  }
  if (!c.verified)
    note.warning("TLS", "certificates are not verified (tls_verify: false)",
                 c.certificate ? "ca_file, or fingerprint: \"" + c.certificate->fingerprint + "\""
                               : std::string("set ca_file or fingerprint"),
                 "tls");
  if (!c.certificate) return;
  auto const left = std::chrono::floor<seconds>(c.certificate->ends - std::chrono::floor<seconds>(now));
  auto const seen = left < 0s ? "ended " + in_days(-left) + " ago" : "ends in " + in_days(left);
  auto const how = std::string(c.pinned ? ", pinned by its fingerprint" : c.verified ? ", verified" : "");
  if (left < 0s)
    note.warning("certificate", seen + how, "renew it; a pinned or unverified one works on", "tls");
  else if (left < certificate_soon)
    note.warning(
        "certificate", seen + how,
        c.pinned ? "after its renewal the fingerprint is another one: set it then" : std::string("renew it in time"),
        "tls");
  else
    note.ok("certificate", seen + how);
}

// The symptom that an error is a case of.
std::string symptom_of(base::error const& e) {
  auto const has = [&](std::string_view text) { return e.what.find(text) != std::string::npos; };
  if (has("too old")) return "netbox-too-old";
  if (has("connection slots") || has("too many clients") || has("OperationalError")) return "database-unavailable";
  if (has("certificate") || has("TLS")) return "tls";
  if (has("not NetBox's JSON") || has("HTML")) return "html-answer";
  if (has("HTTP 504") || has("no whole answer")) return "timeout-504";
  if (has("HTTP 502") || has("connection ended")) return "cut-502";
  if (e.code == error_code::credentials) return "credentials-netbox";
  return {};
}

void judge_version(netbox_facts const& f, notebook& note) {
  auto const seen = "NetBox " + f.version;
  if (std::pair(f.major, f.minor) > std::pair(tested_major, tested_minor))
    note.note("version",
              fmt::format("{}, newer than the {}.{} that this weir is tested with", seen, tested_major, tested_minor),
              "look at weir plan before the first sync");
  else
    note.ok("version", fmt::format("{} (oldest supported: {}.{}; tested with {}.{})", seen, netbox::oldest_major,
                                   netbox::oldest_minor, tested_major, tested_minor));
  std::map<std::string, std::set<std::string>> wanted;  // plugin ► stages
  for (auto const& r : f.rights)
    if (!r.plugin.empty()) wanted[r.plugin].insert(r.stages.begin(), r.stages.end());
  for (auto const& [plugin, stages] : wanted) {
    std::vector<std::string> const who(stages.begin(), stages.end());
    if (auto const found = f.plugins.find(plugin); found != f.plugins.end())
      note.ok(plugin, "version " + found->second);
    else
      note.warning(plugin, "NetBox does not have this plugin: " + base::join(who) + " will be skipped",
                   "install it in NetBox, or leave " + base::join(who) + " out of stages", "missing-proxbox");
  }
}

void judge_token(netbox_facts const& f, instant now, notebook& note) {
  auto const who = f.user.empty() ? std::string("its user is not shown") : "user " + f.user;
  if (f.write_enabled && !*f.write_enabled)
    note.problem("token", who + ", read-only: it can plan, and not sync",
                 "switch on 'Write enabled' for the token (NetBox: Admin > API Tokens)", "credentials-netbox",
                 error_code::credentials);
  else
    note.ok("token", who + (f.superuser.value_or(false) ? ", a superuser" : "") +
                         (f.write_enabled ? ", may write" : "; whether it may write could not be determined"));
  if (f.token_expires) {
    auto const left = std::chrono::floor<seconds>(*f.token_expires - now);
    if (left < token_soon)
      note.warning("token's end", "it expires in " + in_days(left), "make a new one in time", "credentials-netbox");
    else
      note.ok("token's end", "it expires in " + in_days(left));
  }
  // A read-only token may do none of it, and that has been said.
  bool const read_only = f.write_enabled && !*f.write_enabled;
  std::vector<std::string> missing, unknown;
  std::size_t good = 0, kinds = 0;
  for (auto const& r : f.rights) {
    if (r.lacks_plugin) continue;
    ++kinds;
    auto const dot = r.kind.find('.');
    auto const permission = [&](std::string_view verb) {
      return r.kind.substr(0, dot + 1) + std::string(verb) + "_" + r.kind.substr(dot + 1);
    };
    auto const look = [&](std::string_view verb, known const& may) {
      if (!may)
        unknown.push_back(permission(verb));
      else if (*may)
        ++good;
      else
        missing.push_back(permission(verb));
    };
    look("view", r.view);
    if (read_only) continue;
    look("add", r.add);
    look("change", r.change);
    if (r.needs_delete) look("delete", r.erase);
  }
  if (!missing.empty())
    note.problem("permissions", "missing: " + base::join(missing),
                 "give them to " + (f.user.empty() ? std::string("the token's user") : f.user) +
                     " (NetBox: Admin > Permissions)",
                 "credentials-netbox", error_code::credentials);
  else if (good > 0 && !read_only)
    note.ok("permissions", fmt::format("all {} that were looked at, on {}", good, plural(kinds, "kind")));
  if (!unknown.empty())
    note.note(
        "permissions", "could not be determined without writing: " + base::join(unknown),
        f.permissions_hidden ? "they may come from a group, which this token may not look at (users.view_group)" : "");
  if (f.change_log && !*f.change_log)
    note.note("change log", "the token may not read it: a lost answer will cost several requests in place of one",
              "core.view_objectchange, if you like");
}

void judge_load(netbox_facts const& f, notebook& note) {
  if (f.database_errors > 0) {
    bool const all = f.database_errors == f.requests;
    bool const fast = f.database_error_ms < poisoned_below_ms;
    auto const seen = fmt::format("{} of {} requests found no database, with one in flight: {}", f.database_errors,
                                  f.requests, f.database_words);
    if (!all && fast)
      note.problem(
          "database", seen + " (a poisoned pool)",
          "restart NetBox's workers (systemctl restart netbox); then fewer threads, or a higher max_connections",
          "poisoned-pool", error_code::unreachable);
    else
      note.problem("database", seen, "is PostgreSQL up? has it connections left (max_connections)?",
                   "database-unavailable", error_code::unreachable);
  } else if (!f.error) {
    note.ok("database", "no error in " + plural(f.requests, "request") + ", one at a time");
  }
  if (f.faults > 0)
    note.warning("faults", plural(f.faults, "request") + " ended in a fault of the server or of the way to it",
                 "see NetBox's log, and the proxy's", "cut-502");
  if (f.page_size) {
    if (*f.page_size < expected_page)
      note.warning(
          "page size",
          fmt::format("NetBox gives {} objects at most at once, where weir asks for {}", *f.page_size, expected_page),
          "MAX_PAGE_SIZE = 1000 in NetBox's configuration", "page-size");
    else
      note.ok("page size", fmt::format("{} objects at once", *f.page_size));
  } else if (!f.error) {
    note.note("page size", "could not be determined");
  }
  if (!f.latencies.empty()) {
    std::vector<std::string> parts;
    for (auto const& l : f.latencies) parts.push_back(fmt::format("{} in {}", l.objects, in_time(l.median_ms)));
    auto const& largest = f.latencies.back();
    auto const seen = "reading " + f.measured + ": " + base::join(parts) + " (median of 3)";
    if (f.latencies.front().median_ms > 1000 || largest.median_ms > 10000)
      note.warning("latency", seen, "NetBox is slow, or busy: a gentler profile, or another hour", "slow-netbox");
    else
      note.ok("latency", seen);
    if (largest.objects < 250)
      note.note("latency", fmt::format("NetBox holds only {} {}: what longer lists take could not be measured",
                                       largest.objects, f.measured));
  }
  if (!f.error) {
    auto const workers = f.rq_workers ? plural(static_cast<std::size_t>(std::max(*f.rq_workers, 0)), "RQ worker") +
                                            ", which weir does not use"
                                      : std::string("not visible");
    note.note("workers", workers + "; NetBox shows neither its web workers nor its database connections",
              "on its host: workers × threads must be less than PostgreSQL's max_connections - 3");
  }
}

}  // namespace

std::string_view name(level l) {
  switch (l) {
    case level::ok:
      return "ok";
    case level::note:
      return "note";
    case level::warning:
      return "warning";
    case level::problem:
      return "problem";
  }
  return "";
}

std::optional<error_code> verdict(findings const& all) {
  std::optional<error_code> worst;
  for (auto const& f : all) {
    if (f.level != level::problem) continue;
    auto const weight = [](error_code c) {
      return c == error_code::unreachable ? 2 : c == error_code::credentials ? 1 : 0;
    };
    if (!worst || weight(f.code) > weight(*worst)) worst = f.code;
  }
  return worst;
}

std::string in_words(seconds s) {
  auto const n = s.count();
  if (n < 120) return fmt::format("{} s", n);
  if (n < 7200) return fmt::format("{} min", (n + 30) / 60);
  if (n < 172800) return fmt::format("{} h", (n + 1800) / 3600);
  return fmt::format("{} days", n / 86400);
}

std::string in_days(seconds s) {
  auto const days = s.count() / 86400;
  return days == 1 ? "1 day" : days > 1 ? fmt::format("{} days", days) : in_words(s);
}

std::string in_bytes(std::uint64_t n) {
  auto const value = static_cast<double>(n);
  if (n >= 1024 * mib) return fmt::format("{:.1f} GiB", value / (1024.0 * mib));
  if (n >= mib) return fmt::format("{:.1f} MiB", value / mib);
  return fmt::format("{} KiB", (n + 1023) / 1024);
}

std::string in_time(double ms) {
  return ms < 1000 ? fmt::format("{} ms", std::lround(ms)) : fmt::format("{:.1f} s", ms / 1000);
}

void judge_netbox(netbox_facts const& f, instant now, findings& out) {
  notebook note(out, "NetBox");
  if (f.error && (f.database_errors == 0 || f.version.empty())) {
    note.problem("address", f.error->what, f.error->hint, symptom_of(*f.error), f.error->code);
    judge_connection(f.connection, now, "netbox.url", note);
    if (f.database_errors > 0) judge_load(f, note);
    return;
  }
  note.ok("address", f.connection.url);
  judge_connection(f.connection, now, "netbox.url", note);
  if (!f.version.empty()) judge_version(f, note);
  judge_token(f, now, note);
  judge_load(f, note);
}

bool holds(privileges const& p, std::string_view path, std::string_view privilege) {
  for (auto at = std::string(path);; at.resize(at.rfind('/'))) {
    auto const listed = p.find(at.empty() ? "/" : at);
    if (listed != p.end()) {
      auto const found = listed->second.find(std::string(privilege));
      return found != listed->second.end() && (found->second || listed->first == path);
    }
    if (at.empty()) return false;
  }
}

namespace {

// Proxmox VE lists no backup, with 200, for whom this is not so.
bool sees_backups(privileges const& p, std::string const& storage) {
  auto const path = "/storage" + (storage.empty() ? "" : "/" + storage);
  return holds(p, path, "Datastore.Allocate") ||
         (holds(p, path, "Datastore.AllocateSpace") && holds(p, "/vms", "VM.Backup"));
}

void judge_privileges(source_facts const& f, notebook& note) {
  auto const& p = *f.privileges;
  auto const own = f.with_token ? "--tokens '" + f.who + "'" : "--users '" + f.who + "'";
  auto const separate =
      f.with_token ? std::string("; a token with privilege separation has none of its user's") : std::string();
  if (p.empty() || std::all_of(p.begin(), p.end(), [](auto const& at) { return at.second.empty(); })) {
    note.problem("rights", f.who + " has no privilege at all" + separate,
                 "pveum acl modify / " + own + " --roles PVEAuditor", "credentials-proxmox", error_code::credentials);
    return;
  }
  auto const anywhere = [&](std::string_view below, std::string_view privilege) {
    return std::any_of(p.begin(), p.end(), [&](auto const& at) {
      return (at.first.starts_with(below) || at.first.starts_with("/pool/")) &&
             at.second.contains(std::string(privilege));
    });
  };
  struct need {
    std::string_view path, privilege, what;
    bool partly;  // a part of the objects may be all that is meant
  };
  std::vector<std::string> held;
  for (auto const& n : {need{"/vms", "VM.Audit", "guests", true}, need{"/storage", "Datastore.Audit", "storages", true},
                        need{"/nodes", "Sys.Audit", "nodes' state", false}}) {
    auto const grant = "pveum acl modify / " + own + " --roles PVEAuditor";
    if (holds(p, n.path, n.privilege))
      held.emplace_back(n.privilege);
    else if (n.partly && anywhere(n.path, n.privilege))
      note.warning("rights", fmt::format("{} on a part only: weir sees none of the other {}", n.privilege, n.what),
                   "if all are meant: " + grant, "credentials-proxmox");
    else if (n.privilege == "Sys.Audit")
      note.warning("rights", fmt::format("{} is missing on {}", n.privilege, n.path), grant, "credentials-proxmox");
    else
      note.problem("rights", fmt::format("{} is missing: no {} can be seen{}", n.privilege, n.what, separate), grant,
                   "credentials-proxmox", error_code::credentials);
  }
  if (!held.empty()) note.ok("rights", f.who + ": " + base::join(held));
  if (!f.backups_wanted) return;
  std::vector<std::string> good, bad;
  bool const vm_backup = holds(p, "/vms", "VM.Backup");
  for (auto const& s : f.storages)
    if (s.backups && !s.disabled) (sees_backups(p, s.name) ? good : bad).push_back(s.name);
  if (good.empty() && bad.empty()) {
    if (!sees_backups(p, {}))
      bad.emplace_back("any storage");
    else
      note.note("backups", "no storage that may hold backups is seen");
  }
  if (!bad.empty()) {
    std::vector<std::string> lacking;
    if (!holds(p, "/storage" + (bad.front() == "any storage" ? "" : "/" + bad.front()), "Datastore.AllocateSpace"))
      lacking.emplace_back("Datastore.AllocateSpace");
    if (!vm_backup) lacking.emplace_back("VM.Backup");
    note.problem("backups",
                 fmt::format("the list of backups is empty (with 200) on {} without {}; Datastore.Audit is not enough",
                             base::join(bad), base::join(lacking, " and ")),
                 "pveum role add WeirBackups --privs 'Datastore.AllocateSpace VM.Backup' && pveum acl modify / " + own +
                     " --roles PVEAuditor,WeirBackups",
                 "empty-backup-list", error_code::credentials);
  }
  if (!good.empty()) note.ok("backups", "may be listed on " + base::join(good));
}

}  // namespace

void judge_source(source_facts const& f, instant now, findings& out) {
  notebook note(out, "source " + f.name);
  std::size_t dead = 0;
  for (auto const& a : f.addresses)
    if (a.error) ++dead;
  for (auto const& a : f.addresses) {
    if (a.error) {
      auto const symptom = symptom_of(*a.error);
      bool const refused = a.error->code == error_code::credentials;
      if (dead == f.addresses.size())
        note.problem("address", a.error->what, a.error->hint, refused ? "credentials-proxmox" : symptom, a.error->code);
      else
        note.warning("address", a.error->what, a.error->hint, refused ? "credentials-proxmox" : symptom);
    } else {
      note.ok("address", a.connection.url);
    }
    judge_connection(a.connection, now, "sources." + f.name + ".urls", note);
  }
  if (dead == f.addresses.size()) return;
  if (f.error) {
    note.problem("access", f.error->what, f.error->hint,
                 f.error->code == error_code::credentials ? "credentials-proxmox" : symptom_of(*f.error),
                 f.error->code);
    return;
  }
  if (f.type != "proxmox") {
    note.ok("access", f.version.empty() ? "it answers" : f.version);
    return;
  }
  note.ok("version", "Proxmox VE " + f.version + (f.cluster.empty() ? "" : ", cluster " + f.cluster));
  if (f.privileges) judge_privileges(f, note);
  if (f.quorate && !*f.quorate)
    note.warning("cluster", "it has no quorum: it can be read, and may be out of date", "pvecm status",
                 "proxmox-offline");
  std::vector<std::string> offline, away, disabled;
  for (auto const& n : f.nodes)
    if (!n.online) offline.push_back(n.name);
  for (auto const& s : f.storages) {
    if (s.disabled)
      disabled.push_back(s.name);
    else if (!s.away_on.empty())
      away.push_back(s.name + " (on " + base::join(s.away_on) + ")");
  }
  if (!offline.empty())
    note.warning("nodes",
                 base::join(offline) + (offline.size() == 1 ? " is offline" : " are offline") +
                     ": their guests and backups stay in NetBox as they are",
                 "bring them back, or leave it", "proxmox-offline");
  else
    note.ok("nodes", plural(f.nodes.size(), "node") + ", all online");
  if (!away.empty())
    note.warning("storages", "no answer from " + base::join(away) + ": the backups there stay in NetBox as they are",
                 "pvesm status on the node", "proxmox-offline");
  if (!disabled.empty())
    note.note("storages", base::join(disabled) + (disabled.size() == 1 ? " is" : " are") + " disabled");
  if (away.empty() && !f.storages.empty()) note.ok("storages", plural(f.storages.size(), "storage"));
  if (f.guests) {
    std::size_t backups = 0;
    bool counted = true, any = false;
    for (auto const& s : f.storages)
      if (s.backups && !s.disabled) {
        any = true;
        if (s.backup_count && (!f.privileges || sees_backups(*f.privileges, s.name)))
          backups += *s.backup_count;
        else
          counted = false;
      }
    auto seen = plural(*f.guests, "guest");
    if (any && f.backups_wanted) seen += ", " + std::string(counted ? "" : "at least ") + plural(backups, "backup");
    if (f.guests_unknown.value_or(0) > 0) seen += fmt::format("; of {} nothing is known now", *f.guests_unknown);
    note.ok("objects", seen);
  }
  for (auto const& e : f.unread)
    note.note("not read", e.what, e.hint, e.code == error_code::credentials ? "credentials-proxmox" : "");
}

void judge_state(state_facts const& f, findings& out) {
  notebook note(out, "this machine");
  auto const dir = f.dir.string();
  if (!f.directory) {
    note.problem("state_dir", dir + " is no folder", "set state_dir to a folder", "state-dir", error_code::failed);
    return;
  }
  if (!f.exists) {
    if (f.creatable)
      note.ok("state_dir", dir + " will be made by the first sync");
    else
      note.problem("state_dir", dir + " does not exist, and " + f.me + " may not make it",
                   fmt::format("install -d -o {} -m 700 {}", f.me, dir), "state-dir", error_code::failed);
    return;
  }
  auto const whose = fmt::format("{}, of {}, mode {:04o}", dir, f.owner, f.mode & 07777);
  if (!f.writable)
    note.problem(
        "state_dir", whose + ", and " + f.me + " may not write to it",
        f.owner == f.me ? "chmod u+rwx " + dir : fmt::format("chown -R {} {}, or run weir as {}", f.me, dir, f.owner),
        "state-dir", error_code::failed);
  else if ((f.mode & 022) != 0)
    note.warning("state_dir", whose + ": others may write to it", "chmod 700 " + dir, "state-dir");
  else if (f.owner != f.me)
    note.warning("state_dir", whose + ", used by " + f.me + ": another user's files may end up in it",
                 "run weir as " + f.owner, "state-dir");
  else
    note.ok("state_dir", whose);
  if (f.free_bytes) {
    if (*f.free_bytes < 20 * mib)
      note.problem("disk", in_bytes(*f.free_bytes) + " free: the journal needs room before anything is written",
                   "make room on the file system of " + dir, "state-dir", error_code::failed);
    else if (*f.free_bytes < 200 * mib)
      note.warning("disk", in_bytes(*f.free_bytes) + " free", "make room on the file system of " + dir, "state-dir");
    else
      note.ok("disk", in_bytes(*f.free_bytes) + " free");
  }
  if (f.journal_error)
    note.problem("journal", f.journal_error->what, f.journal_error->hint, "state-dir", error_code::failed);
  else if (!f.journal_exists)
    note.ok("journal", "none yet: nothing has been synced from here");
  else
    note.ok("journal", "journal.db opens, " + in_bytes(f.journal_bytes.value_or(0)));
  if (f.lock && f.lock_held.value_or(true)) {
    auto const& l = *f.lock;
    auto const seen =
        fmt::format("weir {}, run {}, pid {} on {}, since {}", base::shorten(l.command, 40), base::shorten(l.run, 40),
                    l.pid, base::shorten(l.host, 80), base::format_instant(std::chrono::floor<seconds>(l.since)));
    note.note("lock",
              seen + (f.lock_held ? " is at work on this NetBox" : " is said to be at work, on another machine"),
              "a second run ends with exit code 5 meanwhile", "locked");
  } else if (f.lock) {
    note.note("lock", fmt::format("left by a process that died (pid {}, run {}): the next run takes it over",
                                  f.lock->pid, base::shorten(f.lock->run, 40)));
  }
  // One that is at work is no unfinished one.
  if (!f.unfinished.empty() && !(f.lock && f.lock_held.value_or(true)))
    note.warning("runs", plural(f.unfinished.size(), "run") + " unfinished, the last is " + f.unfinished.front(),
                 "weir resume", "stopped-early");
  if (f.stopped > 0)
    note.note("runs", fmt::format("{} of the last {} were stopped early or failed", f.stopped, f.recent),
              "weir history", "stopped-early");
}

void judge_machine(machine_facts const& f, findings& out) {
  notebook note(out, "this machine");
  if (f.now < instant(std::chrono::seconds(1704067200)))  // 2024
    note.problem("clock", "it says " + base::format_instant(std::chrono::floor<seconds>(f.now)),
                 "timedatectl set-ntp true", "clock-skew", error_code::failed);
  if (f.clock_synchronised && !*f.clock_synchronised)
    note.note("clock", "the kernel does not know it as synchronised", "timedatectl set-ntp true");
  if (f.open_files < 256)
    note.warning("open files", fmt::format("at most {}: a run may need more", f.open_files),
                 "ulimit -n 1024, or LimitNOFILE=1024 in the unit");
  else
    note.ok("open files", f.open_files > 1'000'000'000 ? "no limit" : fmt::format("at most {}", f.open_files));
  for (auto const& e : f.refused_plugins) note.problem("plugin", e.what, e.hint, "plugin-refused");
  if (!f.stages.empty()) note.ok("stages", base::join(f.stages));
}

void judge_clocks(std::vector<std::pair<std::string, seconds>> const& ahead, findings& out) {
  if (ahead.empty()) return;
  notebook note(out, "clocks");
  std::vector<std::pair<std::string, seconds>> off;
  for (auto const& a : ahead)
    if (a.second > skew_tolerated || a.second < -skew_tolerated) off.push_back(a);
  auto const words = [](seconds s) { return in_words(s < 0s ? -s : s) + (s < 0s ? " behind" : " ahead of"); };
  // All of several servers agree, and only this machine does not.
  auto const [least, most] =
      std::minmax_element(ahead.begin(), ahead.end(), [](auto const& a, auto const& b) { return a.second < b.second; });
  if (ahead.size() > 1 && off.size() == ahead.size() && most->second - least->second <= 2 * skew_tolerated) {
    auto const by = ahead.front().second;
    note.warning("this machine", fmt::format("all {} servers are {} this machine", ahead.size(), words(by)),
                 "timedatectl set-ntp true, here", "clock-skew");
    return;
  }
  for (auto const& [name, by] : off)
    note.warning(name, words(by) + " this machine", "timedatectl set-ntp true, there", "clock-skew");
  if (off.empty())
    note.ok("clocks", fmt::format("{} within {} s of this machine's",
                                  ahead.size() == 1 ? "1 server" : fmt::format("{} servers", ahead.size()),
                                  skew_tolerated.count()));
}

}  // namespace weir::doctor
