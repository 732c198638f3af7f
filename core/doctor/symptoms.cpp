#include "core/doctor/symptoms.hpp"

namespace weir::doctor {
namespace {

// Markdown within: back quotes and links only, no '|'.
constexpr symptom table[] = {
    {"database-unavailable",
     "\"database unavailable\" in NetBox's log; HTTP 500 `OperationalError`: \"too many clients already\", \"remaining "
     "connection slots are reserved\"",
     "PostgreSQL has no connection left for NetBox: each of its threads keeps one (`CONN_MAX_AGE`), and workers × "
     "threads "
     "is more than `max_connections` leaves",
     "`profile: ultra-conservative`; raise PostgreSQL's `max_connections`, or give NetBox fewer workers or threads"},
    {"poisoned-pool",
     "\"a poisoned pool\": database errors at once, in a few milliseconds, although one request is in flight; waiting "
     "does "
     "not help",
     "after a burst (anybody's) the lucky threads sit on the connections and the others fail every request",
     "restart NetBox's workers (`systemctl restart netbox`), then `weir resume`; against the next time: as for "
     "`database-unavailable`"},
    {"cut-502", "502, \"Response ended prematurely\", \"the connection ended before the answer was whole\"",
     "a NetBox worker died or was restarted, or the proxy gave it up, in the middle of a request",
     "nothing is lost: weir looks up what became of it. If it comes again: NetBox's log and memory, and a smaller "
     "`batch.objects_per_request`"},
    {"timeout-504", "504, \"no whole answer within … ms\"",
     "a list took longer than the proxy waits (nginx: 60 s); NetBox goes on and mostly commits",
     "weir looks before it sends again; a smaller `batch.objects_per_request`, or a longer `proxy_read_timeout`"},
    {"slow-netbox", "lists are slow, a sync takes much longer than it used to",
     "NetBox is bound by its CPU, or others are using it",
     "let it run at night (`--max-duration 2h`, then `weir resume`), or choose a gentler profile: faster than NetBox's "
     "cores it will not become"},
    {"credentials-netbox", "exit code 77; HTTP 403 (or 401) from NetBox",
     "the token is wrong, expired, read-only or lacks a permission: NetBox answers 403 to all of these",
     "`weir doctor` names the permissions that are missing; see [NetBox permissions](#what-ends-up-in-netbox)"},
    {"credentials-proxmox", "401 or 403 from Proxmox VE, \"Permission check failed\"",
     "a wrong token, or one with privilege separation: it has none of its user's permissions",
     "`pveum acl modify / --tokens 'sync@pve!weir' --roles PVEAuditor`"},
    {"empty-backup-list", "no backups, although there are some; \"the list of backups is empty\"",
     "Proxmox VE answers 200 with an *empty* list to who may not see backups; `Datastore.Audit` is not enough",
     "`Datastore.AllocateSpace` on the storage and `VM.Backup` on the guests, for the token itself; weir deletes "
     "nothing "
     "meanwhile"},
    {"tls", "\"the certificate is not trusted\", \"certificate has expired\", \"is not for this name\"",
     "Proxmox VE's certificate is signed by the cluster's own CA, or it has been renewed",
     "`ca_file` with a copy of `/etc/pve/pve-root-ca.pem`, or `fingerprint`; the message names the one it saw"},
    {"proxmox-offline", "guests or backups of one node are not updated; \"offline\", 595",
     "the node or the storage does not answer; weir leaves in NetBox what it cannot know",
     "bring it back; nothing needs to be done in weir"},
    {"locked", "exit code 5, \"another run holds the lock\"",
     "a run on this NetBox is not over: the timer's, `weir serve`'s, somebody's by hand",
     "wait for it, or end the process that the message names; the lock of a dead process is taken over"},
    {"stopped-early", "exit code 75, \"what is left is deferred\"",
     "NetBox went away for longer than `retry.max_outage_s`, or `--max-duration` was over", "`weir resume`"},
    {"deletes-refused", "exit code 4, \"at once are refused\", \"an empty answer is not believed\"",
     "more objects are gone at once than `max_deletes` (10, or 20 %) allows, or all of a place: a node or a storage "
     "may "
     "be away, a right may have been lost",
     "`weir plan` shows them; if they are really gone: `weir sync --allow-deletes N`, once"},
    {"plan-refused", "exit code 4 from `weir apply`",
     "NetBox, the configuration or a plugin has changed since the plan was made; each difference is named",
     "look at it, and make a new plan: `weir plan --out FILE`"},
    {"plugin-refused", "exit code 3, and the file of a `.so` in an error",
     "a stage plugin was built for another weir, is damaged, or breaks the contract",
     "`weir stages check FILE` says which"},
    {"html-answer", "500 with an HTML page below `/api/`, \"not NetBox's JSON\"",
     "Redis is down, or `netbox.url` is not NetBox's address (a login page, a proxy)",
     "`systemctl status redis`; `netbox.url` is what stands before `/api/`"},
    {"netbox-too-old", "exit code 69, \"too old for weir\"", "NetBox is older than 4.5", "upgrade NetBox"},
    {"clock-skew", "times are off by minutes or hours; \"certificate is not yet valid\"", "a machine's clock is wrong",
     "`timedatectl set-ntp true` on the machine that `weir doctor` names"},
    {"missing-proxbox", "the stage `backups` is skipped, \"does not have the plugin netbox_proxbox\"",
     "NetBox lacks netbox-proxbox, which backups are kept in",
     "install it in NetBox, or leave `backups` out of `stages`"},
    {"unclaimed-objects", "duplicates; \"NetBox holds 2 objects that could be it\"",
     "another tool made them, or one cluster stands in two sources",
     "keep one of them in NetBox and delete the others; one source for each cluster, under a name that stays; then "
     "`weir plan`"},
    {"state-dir", "\"cannot be made or written\", \"is no database\", at the start of a sync",
     "`state_dir` belongs to another user, is on a full disk, or its journal is damaged",
     "let the user that runs weir own it (`chown -R weir: /var/lib/weir`); a damaged `journal.db` may be moved away: "
     "the "
     "next sync compares everything"},
    {"page-size", "many more reads than usual", "NetBox's `MAX_PAGE_SIZE` is small",
     "`MAX_PAGE_SIZE = 1000` in NetBox's configuration"},
};

}  // namespace

std::span<symptom const> symptoms() { return table; }

symptom const* find_symptom(std::string_view id) {
  for (auto const& s : table)
    if (s.id == id) return &s;
  return nullptr;
}

std::string symptoms_markdown() {
  std::string out = "| | What you see | Why | What helps |\n|---|---|---|---|\n";
  for (auto const& s : table)
    out += "| `" + std::string(s.id) + "` | " + std::string(s.seen) + " | " + std::string(s.cause) + " | " +
           std::string(s.cure) + " |\n";
  return out;
}

}  // namespace weir::doctor
