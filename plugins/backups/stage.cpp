// Stage `backups`: every backup on every storage that holds some, as netbox-proxbox's VM backups.
#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>
#include <weir/json.hpp>

#include "proxmox/answers.hpp"
#include "proxmox/selection.hpp"
#include "proxmox/text.hpp"

namespace weir::backups {
namespace {

constexpr char const* kind = "netbox_proxbox.vmbackup";
constexpr auto left_alone = "its backups in NetBox are left alone";

// Shared by their nature, whether or not the configuration says so.
bool shared_type(std::string_view type) {
  static std::set<std::string_view> const types{"pbs", "nfs", "cifs", "cephfs", "glusterfs"};
  return types.contains(type);
}

struct storage {
  std::string name;
  bool shared = false;
  std::vector<std::string> nodes;  // shared: to try one after the other; local: all to be read
  std::size_t next = 0;            // shared: the next one to try
  bool whole = true;               // everything on it was read and understood
  std::size_t seen = 0;
  std::unordered_set<std::string> emitted;  // local ones only: two nodes may have copies of one file
  std::set<std::pair<std::int64_t, std::string>> held;  // vmid and volid: on nodes that are not in the run's scope
};

// What the run is about: of the cluster's guests, those in its scope.
struct part {
  proxmox::selection chosen;
  std::map<std::int64_t, bool> guests;  // vmid ► in the scope

  bool takes(std::int64_t vmid) const {
    auto const known = guests.find(vmid);
    // Of a guest that is gone nothing but its number is known.
    return known != guests.end() ? known->second : chosen.takes_guest({{"vmid", vmid}});
  }
};

struct request {
  storage* of;
  std::string node, target;
};

class backups {
 public:
  static constexpr info about{
      .id = "backups",
      .version = "1.0.0",
      .title = "Proxmox backups",
      .needs = "virtual-machines",
      .kinds_json = R"json(["extras.customfield",
          {"kind":"netbox_proxbox.vmbackup","path":"plugins/proxbox/backups","title":"backup",
           "key":["virtual_machine","volume_id"],"refs":{"virtual_machine":"virtualization.virtualmachine"},
           "times":["creation_time"],"label":"volume_id","mark":"custom_fields.proxmox_source","orphans":"delete",
           "skip_when_missing":["virtual_machine"],"requires_plugin":"netbox_proxbox"}])json",
      .options_schema = R"json({"type":"object","additionalProperties":false,"properties":{}})json"};

  explicit backups(context const&) {}

  void collect(run& r) const {
    part of{proxmox::selection::of(r), {}};
    auto storages = plan(r, of);
    proxmox::emit_source_field(r, {kind});
    if (storages.empty()) return;
    bool const few = of.chosen.few_guests();
    auto const asked = few ? proxmox::asked_privileges{} : proxmox::read_privileges(r);

    tallies t;
    std::size_t const total = storages.size();
    for (auto round = first_round(storages, of); !round.empty();) round = read(r, round, of, t);
    std::uint64_t done = 0;
    for (auto& s : storages) {
      keep_held(r, s);
      if (!few) finish(r, s, asked);
      r.progress(++done, total, s.name);
    }
    say(r, t);
  }

 private:
  struct tallies {
    std::map<std::string, std::size_t> formats;  // without a choice in netbox-proxbox
    std::size_t no_guest = 0;                    // no vmid: belongs to no guest
    std::uint64_t lists = 0, lists_done = 0, seen = 0;
  };

  // The storages that can hold backups, each with the nodes to ask.
  static std::vector<storage> plan(run& r, part& of) {
    static constexpr std::string_view storages_target = "/storage";
    static constexpr std::string_view resources_target = "/cluster/resources";
    auto const configured = proxmox::rows(fetch(r, storages_target), storages_target);
    auto const resources = proxmox::rows(fetch(r, resources_target), resources_target);

    std::map<std::string, bool> online;                   // every node of the cluster
    std::map<std::string, std::set<std::string>> usable;  // storage ► nodes on which it is available
    std::set<std::string> shared;
    for (auto const& row : resources) {
      auto const type = proxmox::text(row, "type");
      if (type == "qemu" || type == "lxc")
        if (auto const vmid = proxmox::vmid(row)) of.guests[*vmid] = of.chosen.takes_guest(row);
      if (type == "node") online[proxmox::text(row, "node")] = proxmox::text(row, "status") == "online";
      if (type != "storage") continue;
      auto const name = proxmox::text(row, "storage");
      if (proxmox::text(row, "status") == "available") usable[name].insert(proxmox::text(row, "node"));
      if (proxmox::flag(row, "shared").value_or(false)) shared.insert(name);
    }
    if (online.empty()) throw source_error("/cluster/resources names no node: no storage can be asked", 200);

    std::vector<storage> out;
    std::size_t outside = 0;
    for (auto const& row : configured) {
      std::string const content = proxmox::text(row, "content");
      auto const holds = proxmox::split_list(content);
      if (std::find(holds.begin(), holds.end(), "backup") == holds.end()) continue;
      storage s;
      s.name = proxmox::text(row, "storage");
      if (s.name.empty() || proxmox::flag(row, "disable").value_or(false)) continue;
      if (!of.chosen.takes_storage(s.name)) {
        ++outside;
        continue;
      }
      s.shared = proxmox::flag(row, "shared").value_or(false) || shared.contains(s.name) ||
                 shared_type(proxmox::text(row, "type"));
      std::string const restriction = proxmox::text(row, "nodes");
      auto const only = proxmox::split_list(restriction);
      std::string down;
      for (auto const& [node, is_online] : online) {
        if (!only.empty() && std::find(only.begin(), only.end(), node) == only.end()) continue;
        if (is_online)
          s.nodes.push_back(node);
        else
          down += (down.empty() ? "" : ", ") + node;
      }
      // First the nodes that say they have it.
      auto const& has = usable[s.name];
      std::stable_partition(s.nodes.begin(), s.nodes.end(), [&](auto const& node) { return has.contains(node); });

      if (s.shared ? s.nodes.empty() : !down.empty()) {
        s.whole = false;
        r.notice(level::warn, "storage " + s.name + ": " +
                                  (down.empty() ? "no node of the cluster has it"
                                                : "not read from " + down + ", which is not online") +
                                  "; " + left_alone);
      } else if (s.nodes.empty()) {
        continue;  // restricted to nodes that are no longer part of the cluster
      }
      out.push_back(std::move(s));
    }
    if (configured.empty()) {
      r.notice(
          level::warn, "/storage is empty: the token sees no storage, so no backups",
          "give the token Datastore.Audit and Datastore.Allocate on /storage, or Datastore.AllocateSpace there and "
          "VM.Backup on /vms; with privilege separation the token needs its own ACL");
    } else if (out.empty()) {
      r.notice(level::info, outside == 0 ? "none of the storages that the token sees holds backups"
                                         : "no storage that holds backups is in the source's scope");
    }
    return out;
  }

  static request ask(storage& s, std::string const& node, part const& of) {
    auto target = "/nodes/" + proxmox::url_segment(node) + "/storage/" + proxmox::url_segment(s.name) +
                  "/content?content=backup";
    // One guest's alone are a shorter answer; of several the storage would have to be asked as often.
    if (of.chosen.guests().size() == 1) target += "&vmid=" + std::to_string(*of.chosen.guests().begin());
    return {&s, node, std::move(target)};
  }

  // A shared storage shows the same on every node: one is enough. A local one is another on each.
  static std::vector<request> first_round(std::vector<storage>& storages, part const& of) {
    std::vector<request> out;
    for (auto& s : storages) {
      std::size_t const n = s.shared ? std::min<std::size_t>(1, s.nodes.size()) : s.nodes.size();
      for (std::size_t i = 0; i < n; ++i) out.push_back(ask(s, s.nodes[i], of));
      s.next = n;
    }
    return out;
  }

  // Returns what is to be tried on another node.
  static std::vector<request> read(run& r, std::vector<request> const& round, part const& of, tallies& t) {
    std::vector<std::string> targets;
    for (auto const& q : round) targets.push_back(q.target);
    t.lists += round.size();
    std::vector<request> again;
    r.fetch_many(targets, [&](std::size_t i, reply const& answer) {
      auto const& q = round[i];
      try {
        if (!answer.ok()) throw source_error(std::string{answer.error()}, answer.http_status());
        each_of_data(q.target, answer, [&](json const& row) { emit_backup(r, q, row, of, t); });
      } catch (source_error const& e) {
        // Where the node, or its mount, is the matter, another one may do. Two are tried, to keep an outage short.
        bool const elsewhere = q.of->shared && q.of->next < std::min<std::size_t>(2, q.of->nodes.size()) &&
                               (e.http_status == 0 || e.http_status >= 500);
        if (elsewhere) {
          r.log(level::info, "storage " + q.of->name + ": " + e.what() + "; trying " + q.of->nodes[q.of->next]);
          again.push_back(ask(*q.of, q.of->nodes[q.of->next++], of));
        } else {
          q.of->whole = false;
          bool const right = e.http_status == 403;
          r.notice(right ? level::warn : level::error,
                   "storage " + q.of->name + " on node " + q.node + ": " + e.what() + "; " + left_alone,
                   right ? "give the token Datastore.Audit on /storage/" + q.of->name : "");
        }
      }
      ++t.lists_done;
      r.progress(t.lists_done, t.lists, q.of->name);
    });
    return again;
  }

  static json key_of(run const& r, std::int64_t vmid, std::string const& volid) {
    return {{"virtual_machine", proxmox::guest_key(r.source(), vmid)}, {"volume_id", volid}};
  }

  // Copies on nodes outside of the scope, unless a node inside has the file, too.
  static void keep_held(run& r, storage const& s) {
    for (auto const& [vmid, volid] : s.held)
      if (!s.emitted.contains(std::to_string(vmid) + "/" + volid)) emit(r, kind, key_of(r, vmid, volid), proxmox::kept());
  }

  static void emit_backup(run& r, request const& q, json const& row, part const& of, tallies& t) {
    auto& s = *q.of;
    if (auto const content = proxmox::text(row, "content"); !content.empty() && content != "backup") return;
    std::string const volid = proxmox::text(row, "volid");
    auto const volume = proxmox::parse_backup_volume(volid);
    if (!volume) {
      s.whole = false;
      r.notice(level::error,
               "storage " + s.name + ": a backup's volid is '" + volid.substr(0, 80) + "'; " + left_alone);
      return;
    }
    auto vmid = proxmox::vmid(row);
    if (!vmid && volume->vmid && *volume->vmid > 0 && *volume->vmid <= 2147483647U) vmid = *volume->vmid;
    if (!vmid) {
      ++t.no_guest;
      return;
    }
    if (!of.chosen.everything()) {
      bool const takes = of.takes(*vmid);
      if (!takes && of.chosen.few_guests()) return;  // nothing is taken for gone anyway
      if (!takes || (!s.shared && !of.chosen.takes_node(q.node))) {
        if (s.shared)
          emit(r, kind, key_of(r, *vmid, volid), proxmox::kept());
        else
          s.held.emplace(*vmid, volid);
        ++s.seen;
        return;
      }
    }
    if (!s.shared && !s.emitted.insert(std::to_string(*vmid) + "/" + volid).second) return;

    std::string format = proxmox::text(row, "format");
    if (format.empty()) format = volume->format;
    auto const choice = proxmox::to_format(format);
    if (choice.value == "undefined") ++t.formats[format];

    auto type = proxmox::to_guest(proxmox::text(row, "subtype"));
    if (type == proxmox::guest::unknown) type = volume->type;

    // null is said, too: a note that was removed in Proxmox VE shall not stay in NetBox.
    auto const or_null = [](std::string const& text) { return text.empty() ? json(nullptr) : json(text); };
    std::string const encrypted = proxmox::text(row, "encrypted");
    json fields{{"storage", s.name},
                {"subtype", proxmox::to_text(type)},
                {"format", choice.value},
                {"vmid", *vmid},
                {"notes", or_null(proxmox::text(row, "notes"))},
                {"encrypted", encrypted == "0" ? "" : encrypted.substr(0, 255)},
                {"custom_fields", {{"proxmox_source", r.source()}}}};
    auto seconds = proxmox::integer(row, "ctime");
    if (!seconds && volume->instant_is_utc) seconds = volume->instant;
    if (seconds) {
      if (auto const utc = proxmox::to_utc(*seconds)) fields["creation_time"] = *utc;
    }
    if (auto const size = proxmox::integer(row, "size")) fields["size"] = *size;
    auto const used = proxmox::integer(row, "used");
    fields["used"] = used ? json(*used) : json(nullptr);
    auto const verification = row.find("verification");
    json const empty;
    json const& verified = verification == row.end() ? empty : *verification;
    fields["verification_state"] = or_null(proxmox::text(verified, "state"));
    fields["verification_upid"] = or_null(proxmox::text(verified, "upid"));

    emit(r, kind, key_of(r, *vmid, volid), fields);
    ++s.seen;
    ++t.seen;
  }

  // What the token lacks to see every backup on this storage; empty if it sees them.
  static std::string missing(proxmox::privileges const& held, std::string const& name) {
    std::string const path = "/storage/" + name;
    if (held.on(path, "Datastore.Allocate")) return {};
    bool const space = held.on(path, "Datastore.AllocateSpace");
    bool const backup = held.below("/vms", "VM.Backup");
    if (space && backup) return {};
    if (space) return "VM.Backup on /vms (or Datastore.Allocate on " + path + ")";
    if (backup) return "Datastore.AllocateSpace (or Datastore.Allocate) on " + path;
    return "Datastore.Allocate on " + path + ", or Datastore.AllocateSpace there and VM.Backup on /vms";
  }

  // Proxmox VE leaves out, with 200, what the token may not see: a short list proves nothing without the rights.
  static void finish(run& r, storage const& s, proxmox::asked_privileges const& asked) {
    if (std::string const lacks = missing(asked.held, s.name); !lacks.empty()) {
      bool const unread = !asked.fault.empty();
      r.notice(level::warn,
               "storage " + s.name + " showed " + std::to_string(s.seen) + " backups, and the token may not see all: " +
                   (unread ? "its rights could not be read (" + asked.fault + ")" : "it lacks " + lacks) + "; " +
                   left_alone,
               "give the token " + lacks + "; with privilege separation the token needs its own ACL");
      return;
    }
    if (!s.whole) return;  // said where it happened
    json scope = proxmox::scope_of(r.source());
    scope["storage"] = s.name;
    complete(r, kind, scope);
  }

  static void say(run& r, tallies const& t) {
    auto const backups_of = [](std::size_t n) {
      return n == 1 ? std::string{"1 backup"} : std::to_string(n) + " backups";
    };
    std::size_t undefined = 0;
    std::string which;
    for (auto const& [format, count] : t.formats) {
      if (proxmox::to_format(format).known) {
        undefined += count;
        which += (which.empty() ? "" : ", ") + format + " " + std::to_string(count);
      } else {
        r.notice(level::warn, backups_of(count) +
                                  (format.empty() ? " without a format" : " of the format '" + format + "'") +
                                  ", which weir does not know: written as 'undefined'");
      }
    }
    if (undefined != 0) {
      r.notice(level::info, backups_of(undefined) +
                                " written with the format 'undefined', netbox-proxbox has no other for them: " + which);
    }
    if (t.no_guest != 0) r.notice(level::info, backups_of(t.no_guest) + " left out: of no guest (no vmid)");
  }
};

}  // namespace
}  // namespace weir::backups

WEIR_PLUGIN("backups", "1.0.0", "weir", weir::backups::backups);
