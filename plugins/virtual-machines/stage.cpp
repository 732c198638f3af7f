// Stage `virtual-machines`: qemu and lxc guests. One list of the whole cluster, one configuration per guest.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <weir/json.hpp>

#include "proxmox/answers.hpp"
#include "proxmox/identity.hpp"
#include "proxmox/selection.hpp"
#include "proxmox/text.hpp"

namespace weir::virtual_machines {
namespace {

constexpr std::size_t longest_name = 64;
constexpr std::size_t longest_description = 200;
constexpr std::int64_t largest_integer = std::numeric_limits<std::int32_t>::max();  // NetBox's memory and disk

struct guest {
  std::int64_t vmid = 0;
  proxmox::guest type = proxmox::guest::unknown;
  std::string node;
  std::string name;  // as NetBox shall have it; empty: Proxmox VE does not say
  json row;
  json config;             // null: not read
  bool node_down = false;  // the cluster says so: what it tells of the guest is stale
  bool left_out = false;   // not in the run's scope: nothing is written about it
};

std::string lower(std::string_view text) {
  std::string out{text};
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// Collects what is to be said once, however many guests it concerns.
class tally {
 public:
  void add(std::string const& example) {
    if (count_++ < 5) examples_ += (examples_.empty() ? "" : ", ") + example;
  }
  std::size_t count() const { return count_; }
  std::string text() const { return count_ > 5 ? examples_ + ", …" : examples_; }

 private:
  std::size_t count_ = 0;
  std::string examples_;
};

std::string guests(std::size_t n) { return n == 1 ? "1 guest" : std::to_string(n) + " guests"; }

class virtual_machines {
 public:
  static constexpr info about{
      .id = "virtual-machines",
      .version = "1.0.0",
      .title = "Proxmox guests as virtual machines",
      .needs = "nodes",
      .kinds_json = R"(["extras.customfield","extras.tag","dcim.devicerole","virtualization.virtualmachine"])",
      .options_schema = R"json({"type":"object","additionalProperties":false,"properties":{
          "include_templates":{"type":"boolean","default":true,"description":"Templates, too, become virtual machines"},
          "units":{"type":"string","enum":["mib","decimal"],"default":"mib",
                   "description":"Memory and disk in MiB (1048576 bytes), or in NetBox's own MB (1000000 bytes)"}}})json"};

  explicit virtual_machines(context const& c) {
    json const o = options(c);
    templates_ = o.value("include_templates", true);
    unit_ = o.value("units", "mib") == "decimal" ? 1000000U : 1048576U;
  }

  void collect(run& r) const {
    auto const chosen = proxmox::selection::of(r);
    auto const cluster = proxmox::read_cluster(r);
    auto list = read_guests(r, chosen);
    read_configurations(r, list.guests);
    name_apart(r, list.guests);
    if (keep_left_out(r, list.guests, chosen)) return;

    emit_fields_and_roles(r, list.guests);
    emit_tags(r, list.guests);
    std::uint64_t done = 0;
    for (auto const& g : list.guests) {
      r.check();
      emit_guest(r, g, cluster.name);
      if (++done % 20 == 0 || done == list.guests.size()) r.progress(done, list.guests.size(), "guests");
    }
    if (!chosen.few_guests()) complete_if_whole(r, cluster, list);
  }

 private:
  struct listing {
    std::vector<guest> guests;
    bool whole = true;  // every row was understood
    bool has_nodes = false;
  };

  listing read_guests(run& r, proxmox::selection const& chosen) const {
    static constexpr std::string_view target = "/cluster/resources";
    listing out;
    tally unreadable;
    std::map<std::string, std::string> node_status;
    auto all = proxmox::rows(fetch(r, target), target);
    for (auto const& row : all) {
      if (proxmox::text(row, "type") == "node") node_status[proxmox::text(row, "node")] = proxmox::text(row, "status");
    }
    out.has_nodes = !node_status.empty();
    std::set<std::int64_t> seen;
    for (auto& row : all) {
      auto const kind = proxmox::text(row, "type");
      if (kind != "qemu" && kind != "lxc") continue;
      auto const number = proxmox::vmid(row);
      if (!number) {
        unreadable.add(proxmox::text(row, "id"));
        continue;
      }
      if (!templates_ && proxmox::flag(row, "template").value_or(false)) continue;
      // While a guest migrates, two nodes may show it.
      if (!seen.insert(*number).second) continue;
      guest g;
      g.vmid = *number;
      g.type = proxmox::to_guest(kind);
      g.node = proxmox::text(row, "node");
      auto const status = node_status.find(g.node);
      g.node_down = status != node_status.end() && !status->second.empty() && status->second != "online";
      g.left_out = !chosen.takes_guest(row);
      g.row = std::move(row);
      out.guests.push_back(std::move(g));
    }
    std::sort(out.guests.begin(), out.guests.end(), [](auto const& a, auto const& b) { return a.vmid < b.vmid; });
    if (unreadable.count() != 0) {
      out.whole = false;
      r.notice(level::error, guests(unreadable.count()) + " of " + std::string{target} +
                                 " left out, no usable vmid: " + unreadable.text());
    }
    return out;
  }

  static void read_configurations(run& r, std::vector<guest>& list) {
    std::vector<std::string> targets;
    std::vector<guest*> of;
    tally down;
    for (auto& g : list) {
      if (g.left_out) continue;
      // Asking a node that is down costs a timeout each and tells nothing.
      if (g.node_down || g.node.empty()) {
        down.add(std::to_string(g.vmid));
        continue;
      }
      targets.push_back("/nodes/" + proxmox::url_segment(g.node) + "/" + std::string{proxmox::to_text(g.type)} + "/" +
                        std::to_string(g.vmid) + "/config");
      of.push_back(&g);
    }
    // By index: answers come in any order, and the report shall read the same each time.
    std::set<std::size_t> not_allowed;
    std::map<std::size_t, std::string> unreadable;
    std::uint64_t done = 0;
    r.progress(0, targets.size(), "configurations");
    r.fetch_many(targets, [&](std::size_t i, reply const& answer) {
      try {
        if (answer.http_status() == 403) {
          not_allowed.insert(i);
        } else if (!answer.ok()) {
          throw source_error(std::string{answer.error()}, answer.http_status());
        } else {
          json config = data(targets[i], answer);
          if (!config.is_object()) throw source_error("the answer of " + targets[i] + " is no configuration", 200);
          of[i]->config = std::move(config);
        }
      } catch (source_error const& e) {
        unreadable.emplace(i, e.what());
      }
      if (++done % 20 == 0 || done == targets.size()) r.progress(done, targets.size(), "configurations");
    });
    tally refused, failed;
    for (auto const i : not_allowed) refused.add(std::to_string(of[i]->vmid));
    for (auto const& [i, why] : unreadable) failed.add(std::to_string(of[i]->vmid));
    static constexpr auto left_alone = "what NetBox holds of their disks and notes is left as it is";
    if (down.count() != 0) {
      r.notice(level::info,
               guests(down.count()) + " on nodes that are not online (" + down.text() + "): " + left_alone);
    }
    if (refused.count() != 0) {
      r.notice(level::warn,
               "the token may not read the configuration of " + guests(refused.count()) + " (" + refused.text() +
                   "), VM.Audit is missing: " + left_alone,
               "give the token VM.Audit on /vms (the role PVEAuditor has it)");
    }
    if (failed.count() != 0) {
      r.notice(level::warn, "the configuration of " + guests(failed.count()) + " (" + failed.text() +
                                ") could not be read: " + left_alone + "; the first: " + unreadable.begin()->second);
    }
  }

  // NetBox wants names of up to 64 characters, and one of each per cluster, upper and lower case alike; Proxmox VE does
  // not care. Of several the one with the lowest vmid keeps it, so that the next run decides the same.
  static void name_apart(run& r, std::vector<guest>& list) {
    std::set<std::string> taken;
    tally doubled, longer;
    for (auto& g : list) {
      g.name = proxmox::first_line(proxmox::text(g.row, "name"), 1000);
      char const* const member = g.type == proxmox::guest::qemu ? "name" : "hostname";
      if (g.name.empty()) g.name = proxmox::first_line(proxmox::text(g.config, member), 1000);
      if (g.name.empty()) continue;
      if (proxmox::characters(g.name) > longest_name) {
        if (!g.left_out) longer.add(std::to_string(g.vmid));
        g.name = proxmox::cut(g.name, longest_name);
      }
      if (taken.insert(lower(g.name)).second) continue;
      std::string const suffix = " (" + std::to_string(g.vmid) + ")";
      if (!g.left_out) doubled.add(g.name + suffix);
      g.name = std::string{proxmox::cut(g.name, longest_name - suffix.size())} + suffix;
      taken.insert(lower(g.name));
    }
    if (longer.count() != 0) {
      r.notice(level::warn, "the names of " + guests(longer.count()) +
                                " are longer than NetBox's 64 characters and were cut: " + longer.text());
    }
    if (doubled.count() != 0) {
      r.notice(level::warn, guests(doubled.count()) +
                                " with a name that another guest of the cluster has, which NetBox refuses; "
                                "got their vmid added: " +
                                doubled.text());
    }
  }

  // What is outside of the scope: NetBox keeps what it has of it. True: nothing else is left to do.
  static bool keep_left_out(run& r, std::vector<guest>& list, proxmox::selection const& chosen) {
    auto missing = chosen.guests();
    std::size_t count = 0;
    tally outside;
    for (auto const& g : list) {
      bool const asked_for = missing.erase(g.vmid) != 0;
      if (!g.left_out) continue;
      if (asked_for) outside.add(std::to_string(g.vmid));
      ++count;
      if (!chosen.few_guests())
        emit(r, "virtualization.virtualmachine", proxmox::guest_key(r.source(), g.vmid), proxmox::kept());
    }
    std::erase_if(list, [](guest const& g) { return g.left_out; });
    tally unknown;
    for (auto const vmid : missing) unknown.add(std::to_string(vmid));
    if (unknown.count() != 0)
      r.notice(level::warn, "this cluster has no guest " + unknown.text(), "--source names the source that has it");
    if (outside.count() != 0)
      r.notice(level::warn, "outside of the source's scope, and left as they are: " + outside.text(),
               "sources." + std::string{r.source()} + ".scope says which guests are looked at");
    if (!chosen.few_guests() && count != 0)
      r.notice(level::info, guests(count) + " outside of the source's scope: what NetBox has of them is left as it is");
    return chosen.few_guests() && list.empty();
  }

  static void emit_fields_and_roles(run& r, std::vector<guest> const& list) {
    json const on = json::array({"virtualization.virtualmachine"});
    proxmox::emit_source_field(r, {"virtualization.virtualmachine"});
    auto const field = [&](char const* name, char const* type, char const* label, char const* description) {
      emit(r, "extras.customfield", {{"name", name}},
           {{"type", type},
            {"object_types", on},
            {"label", label},
            {"description", description},
            {"filter_logic", "exact"},
            {"ui_editable", "no"}});
    };
    field("proxmox_vm_id", "integer", "Proxmox VMID", "The guest's number in its Proxmox cluster");
    field("proxmox_vm_type", "text", "Proxmox type", "qemu (virtual machine) or lxc (container)");
    field("proxmox_tags", "text", "Proxmox tags",
          "Slugs of the tags that come from Proxmox VE; the others are people's");
    field(proxmox::identity_field, "text", "Proxmox identity",
          "What tells this machine from another with its number: SMBIOS UUID, time of creation, MAC addresses");

    auto const has = [&](proxmox::guest type) {
      return std::any_of(list.begin(), list.end(), [&](guest const& g) { return g.type == type; });
    };
    if (has(proxmox::guest::qemu)) {
      emit(r, "dcim.devicerole", role_key(proxmox::guest::qemu),
           {{"name", "Virtual Machine (QEMU)"}, {"color", "00ffff"}, {"vm_role", true}});
    }
    if (has(proxmox::guest::lxc)) {
      emit(r, "dcim.devicerole", role_key(proxmox::guest::lxc),
           {{"name", "Container (LXC)"}, {"color", "7fffd4"}, {"vm_role", true}});
    }
  }

  static json role_key(proxmox::guest type) {
    return {{"slug", type == proxmox::guest::qemu ? "virtual-machine-qemu" : "container-lxc"}};
  }

  // The guest's Proxmox tags; nothing if they are not known.
  static std::optional<std::string> tags_of(guest const& g) {
    if (g.config.is_object()) return proxmox::text(g.config, "tags");
    if (g.row.contains("tags")) return proxmox::text(g.row, "tags");
    return std::nullopt;
  }

  // Slugs, sorted, without weir's own: that one is not Proxmox VE's to take away.
  static std::set<std::string> slugs_of(std::string_view tags) {
    std::set<std::string> out;
    for (auto const tag : proxmox::split_list(tags)) out.insert(proxmox::slug(tag));
    out.erase(proxmox::weir_tag);
    return out;
  }

  static void emit_tags(run& r, std::vector<guest> const& list) {
    proxmox::emit_weir_tag(r);
    std::map<std::string, std::string> names;  // slug ► the first spelling of it
    for (auto const& g : list) {
      std::string const tags = tags_of(g).value_or("");
      for (auto const tag : proxmox::split_list(tags)) names.emplace(proxmox::slug(tag), proxmox::cut(tag, 100));
    }
    names.erase(proxmox::weir_tag);
    if (names.empty()) return;
    auto const colours = read_colours(r);
    for (auto const& [slug, name] : names) {
      auto const own = colours.find(name);
      emit(r, "extras.tag", {{"slug", slug}},
           {{"name", name},
            {"color", own == colours.end() ? proxmox::colour_of(name) : own->second},
            {"description", "A tag of Proxmox VE"}});
    }
  }

  // The colours that people gave their tags ("color-map=prod:ff0000:ffffff;dev:00ff00"). A nicety: without the right to
  // ask, or in versions without it, tags get a colour made of their name.
  static std::map<std::string, std::string> read_colours(run& r) {
    static constexpr std::string_view target = "/cluster/options";
    std::map<std::string, std::string> out;
    try {
      json const all = fetch(r, target);
      std::string const style = proxmox::text(all, "tag-style");
      auto const map = proxmox::property(style, "color-map");
      for (auto const entry : proxmox::split_list(map.value_or(""))) {
        auto const colon = entry.find(':');
        if (colon == entry.npos) continue;
        auto const colour = entry.substr(colon + 1, 6);
        if (colour.size() == 6 && colour.find_first_not_of("0123456789abcdefABCDEF") == colour.npos) {
          out[std::string{entry.substr(0, colon)}] = lower(colour);
        }
      }
    } catch (source_error const& e) {
      r.log(level::debug, std::string{"no colours of tags: "} + e.what());
    }
    return out;
  }

  // In NetBox's unit; nothing for 0, and for what its field cannot hold.
  std::optional<std::int64_t> in_units(std::uint64_t bytes) const {
    auto const n = bytes / unit_;
    if (n == 0 || n > static_cast<std::uint64_t>(largest_integer)) return std::nullopt;
    return static_cast<std::int64_t>(n);
  }

  std::optional<std::int64_t> in_units(json const& row, char const* member) const {
    auto const bytes = proxmox::integer(row, member);
    return bytes && *bytes > 0 ? in_units(static_cast<std::uint64_t>(*bytes)) : std::nullopt;
  }

  void add_disk(guest const& g, json& fields, json& created) const {
    auto const largest = in_units(g.row, "maxdisk");
    if (!g.config.is_object()) {
      // maxdisk is the first disk's only: better than nothing for a new object, worse than what NetBox has of an old
      // one.
      if (largest) created["disk"] = *largest;
      return;
    }
    std::uint64_t sum = 0;
    bool any = false;
    for (auto const& [key, value] : g.config.items()) {
      if (!value.is_string() || !proxmox::is_disk_key(key)) continue;
      auto const& description = value.get_ref<std::string const&>();
      if (auto const bytes = proxmox::disk_bytes(key, description)) {
        sum += *bytes;
        any = true;
      }
    }
    if (auto const disk = in_units(sum); any && disk)
      fields["disk"] = *disk;
    else if (largest)
      fields["disk"] = *largest;
  }

  void emit_guest(run& r, guest const& g, std::string const& cluster) const {
    json fields = json::object();
    json created = json::object();
    fields["role"] = role_key(g.type);

    if (!g.name.empty())
      fields["name"] = g.name;
    else
      created["name"] = "vm-" + std::to_string(g.vmid);

    std::string const state = proxmox::text(g.row, "status");
    if (!g.node_down && state == "running")
      fields["status"] = "active";
    else if (!g.node_down && state == "stopped")
      fields["status"] = "offline";
    else if (!g.node_down && (state == "paused" || state == "suspended"))
      fields["status"] = "paused";
    else
      created["status"] = "offline";

    fields["cluster"] = proxmox::cluster_key(r.source(), cluster);
    if (!g.node.empty()) fields["device"] = proxmox::device_key(r.source(), g.node);

    if (auto const n = proxmox::number(g.row, "maxcpu"); n && *n >= 0.01 && *n < 10000) {
      double const hundredths = std::round(*n * 100);  // NetBox keeps two decimals
      if (std::fmod(hundredths, 100) == 0)
        fields["vcpus"] = static_cast<std::int64_t>(hundredths / 100);
      else
        fields["vcpus"] = hundredths / 100;
    }
    if (auto const n = in_units(g.row, "maxmem")) fields["memory"] = *n;
    add_disk(g, fields, created);

    if (g.config.is_object()) {
      // Nothing is said, too: a note that is taken away goes. Of several lines all are worth keeping.
      auto const note = proxmox::text(g.config, "description");
      fields["description"] = proxmox::first_line(note, longest_description);
      fields["comments"] = has_more_lines(note) ? note : "";
    }

    json custom{{"proxmox_vm_type", proxmox::to_text(g.type)}};
    if (g.config.is_object())
      custom[proxmox::identity_field] = proxmox::identity_of(proxmox::to_text(g.type), g.config);
    json tags = json::array({proxmox::weir_tag});
    if (auto const known = tags_of(g)) {
      std::string joined;
      for (auto const& slug : slugs_of(*known)) {
        joined += (joined.empty() ? "" : ";") + slug;
        tags.push_back(slug);
      }
      custom["proxmox_tags"] = joined.empty() ? json(nullptr) : json(joined);
      fields["tags"] = std::move(tags);
    } else {
      created["tags"] = std::move(tags);
    }
    fields["custom_fields"] = std::move(custom);
    if (!created.empty()) fields["$create"] = std::move(created);
    emit(r, "virtualization.virtualmachine", proxmox::guest_key(r.source(), g.vmid), fields);
  }

  static bool has_more_lines(std::string_view note) {
    static constexpr std::string_view blank = " \t\r\n";
    auto const from = note.find_first_not_of(blank);
    if (from == note.npos) return false;
    return note.substr(from, note.find_last_not_of(blank) + 1 - from).find('\n') != note.npos;
  }

  // Others may be taken for gone only if this list held all there are: a list that a missing right or a lost quorum
  // made shorter looks the same as one with fewer guests.
  static void complete_if_whole(run& r, proxmox::cluster_state const& cluster, listing const& list) {
    static constexpr auto not_gone = ": no virtual machine is taken for gone";
    if (!list.whole) return;  // said already
    if (!list.has_nodes) {
      r.notice(level::warn, std::string{"/cluster/resources names no node, so it can't be whole"} + not_gone);
      return;
    }
    if (!cluster.quorate) {
      r.notice(level::warn, "the cluster " + cluster.name + " has no quorum" + not_gone,
               "look at `pvecm status` on a node");
      return;
    }
    auto const asked = proxmox::read_privileges(r);
    if (!asked.held.below("/vms", "VM.Audit")) {
      r.notice(level::warn,
               (asked.fault.empty() ? "the token has no VM.Audit on all of /vms, so some guests may be hidden from it"
                                    : "the token's rights could not be read (" + asked.fault + ")") +
                   std::string{not_gone},
               "give the token VM.Audit on /vms or / (the role PVEAuditor has it); with privilege separation the token "
               "needs its own ACL");
      return;
    }
    complete(r, "virtualization.virtualmachine", proxmox::scope_of(r.source()));
  }

  bool templates_ = true;
  std::uint64_t unit_ = 1048576;
};

}  // namespace
}  // namespace weir::virtual_machines

WEIR_PLUGIN("virtual-machines", "1.0.0", "weir", weir::virtual_machines::virtual_machines);
