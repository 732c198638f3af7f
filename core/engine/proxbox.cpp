#include "core/engine/proxbox.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/base/log.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::put;
using nlohmann::json;

namespace {

constexpr char const* cluster_kind = "virtualization.cluster";
constexpr char const* device_kind = "dcim.device";
constexpr char const* guest_kind = "virtualization.virtualmachine";
constexpr char const* weir_tag = "weir";
constexpr char const* proxbox_tag = "proxbox";
constexpr char const* vmid_field = "custom_fields.proxmox_vm_id";
constexpr char const* type_field = "custom_fields.proxmox_vm_type";
constexpr std::string_view made_up_description = "Synced from Proxmox node ";

struct endpoint {
  char const *path, *parent;
  std::vector<std::string> fields;
};

endpoint const* rows_of(netbox::kind const& k) {
  static std::map<std::string, endpoint, std::less<>> const all{
      {cluster_kind, {"plugins/proxbox/sync-state/clusters", "cluster", {"cluster", "proxmox_cluster_name"}}},
      {device_kind,
       {"plugins/proxbox/sync-state/devices", "device", {"device", "proxmox_node_name", "proxmox_cluster_name"}}},
      {guest_kind,
       {"plugins/proxbox/sync-state/virtual-machines",
        "virtual_machine",
        {"virtual_machine", "proxmox_vm_id", "proxmox_vm_type", "proxmox_cluster_name"}}}};
  auto const found = all.find(k.name);
  return found == all.end() ? nullptr : &found->second;
}

std::string text(json const& object, char const* member) {
  auto const found = object.find(member);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool bears(json const& fields, char const* tag) {
  auto const& tags = at(fields, "tags");
  return tags.is_array() && std::find(tags.begin(), tags.end(), json(tag)) != tags.end();
}

// What a wanted object is in Proxmox's words.
struct in_proxmox {
  std::string cluster, node, type;
  std::optional<std::int64_t> vmid;
  std::optional<object_id> netbox_cluster;
};

in_proxmox described(world& w, netbox::kind const& k, json const& key, json const& fields) {
  in_proxmox out;
  auto const& name = at(key, "name").is_null() ? key.value("name", json()) : at(key, "name");
  if (k.name == cluster_kind) {
    if (name.is_string()) out.cluster = name.get<std::string>();
    return out;
  }
  if (k.name == device_kind && name.is_string()) out.node = name.get<std::string>();
  if (auto const vmid = key.find(vmid_field); vmid != key.end() && vmid->is_number_integer())
    out.vmid = vmid->get<std::int64_t>();
  if (auto const& type = at(fields, type_field); type.is_string()) out.type = type.get<std::string>();
  auto const of_new = fields.find("$create");  // of what is only made where it is missing, nothing else is said
  for (auto const* from : {&fields, of_new == fields.end() ? nullptr : &*of_new}) {
    auto const its = from ? from->find("cluster") : fields.end();
    if (!from || its == from->end() || !its->is_object()) continue;
    out.cluster = text(*its, "name");
    if (auto const* kind = w.kinds().find(cluster_kind)) out.netbox_cluster = w.find(*kind, *its);
    break;
  }
  return out;
}

// What a record must agree in, to be of a wanted object, apart from the cluster.
std::string what(netbox::kind const& k, std::string const& cluster, std::string const& node,
                 std::optional<std::int64_t> const& vmid) {
  if (k.name == cluster_kind) return cluster;
  if (k.name == device_kind) return node;
  return vmid ? std::to_string(*vmid) : std::string();
}

std::set<std::string> claim_fields(world const& w) {
  std::set<std::string> out;
  for (auto const& name : w.kinds().names()) {
    auto const& k = *w.kinds().find(name);
    if (k.mark.empty()) continue;
    out.insert(k.mark);
    if (!k.identity.empty()) out.insert(k.identity);
    for (auto const& member : k.key)
      if (member.starts_with("custom_fields.")) out.insert(member);
  }
  return out;
}

}  // namespace

std::optional<proxbox_record> proxbox_record_of(netbox::kind const& k, json const& row) {
  auto const* from = rows_of(k);
  if (!from || !row.is_object()) return {};
  auto const parent = row.find(from->parent);
  if (parent == row.end() || !parent->is_object()) return {};
  auto const id = parent->find("id");
  if (id == parent->end() || !id->is_number_unsigned()) return {};
  proxbox_record out;
  out.object = id->get<object_id>();
  out.cluster = text(row, "proxmox_cluster_name");
  out.node = text(row, "proxmox_node_name");
  out.type = text(row, "proxmox_vm_type");
  if (auto const vmid = row.find("proxmox_vm_id"); vmid != row.end() && vmid->is_number_integer())
    out.vmid = vmid->get<std::int64_t>();
  return out;
}

void recognise(world& w, netbox::kind const& k, std::vector<desired> const& wanted,
               std::vector<proxbox_record> const& records, diff_rules& rules) {
  if (!rows_of(k)) return;
  auto& t = w.of(k);
  std::unordered_map<std::string, std::vector<proxbox_record>> by_what;
  std::unordered_set<object_id> recorded;
  for (auto const& r : records) {
    recorded.insert(r.object);
    if (auto name = what(k, r.cluster, r.node, r.vmid); !name.empty()) by_what[name].push_back(r);
  }
  // Without a row there are the custom fields that older ones wrote.
  if (k.name == guest_kind)
    for (auto const& r : t.rows()) {
      if (r.removed || recorded.contains(r.id)) continue;
      auto const fields = r.fields();
      auto const& vmid = at(fields, vmid_field);
      if (!vmid.is_number_integer() || !at(fields, k.mark).is_null() || !bears(fields, proxbox_tag)) continue;
      auto const& type = at(fields, type_field);
      proxbox_record old{r.id, {}, {}, type.is_string() ? type.get<std::string>() : "", vmid.get<std::int64_t>()};
      by_what[std::to_string(*old.vmid)].push_back(std::move(old));
    }
  auto& by_key = rules.recognised[k.name];
  auto& keys = rules.recorded_for[k.name];
  for (auto const& d : wanted) {
    auto const key = d.key.unpack(), fields = d.fields.unpack();
    if (fields.contains("$keep")) continue;
    auto const it = described(w, k, key, fields);
    auto const found = by_what.find(what(k, it.cluster, it.node, it.vmid));
    if (found == by_what.end()) continue;
    auto const key_text = w.key_text(k, key);
    if (!key_text) continue;
    for (auto const& r : found->second) {
      if (!r.type.empty() && !it.type.empty() && r.type != it.type) continue;
      if (!r.cluster.empty() && r.cluster != it.cluster) continue;
      auto const* row = t.by_id(r.object);
      if (!row || row->removed) continue;
      if (k.name != cluster_kind) {
        auto const held = row->fields();
        auto const& stands_in = at(held, "cluster");
        // Never across clusters: neither NetBox's nor Proxmox's may be another one.
        if (stands_in.is_null() ? r.cluster.empty()
                                : !it.netbox_cluster || !netbox::same(stands_in, json(*it.netbox_cluster)))
          continue;
      }
      by_key[*key_text].push_back(r.object);
      keys.emplace(r.object, *key_text);
    }
  }
}

base::result<void> proxbox_records::recognise(netbox::client& nb, world& w, netbox::kind const& k,
                                              std::vector<desired> const& wanted, std::string const& lane,
                                              diff_rules& rules) {
  auto const* from = rows_of(k);
  if (!from) return {};
  auto& t = w.of(k);
  bool const anybodys = std::any_of(t.rows().begin(), t.rows().end(), [&](row const& r) {
    return !r.removed && r.id < first_pending && at(r.fields(), k.mark).is_null();
  });
  bool const lacking = anybodys && std::any_of(wanted.begin(), wanted.end(), [&](desired const& d) {
                         auto const key_text = w.key_text(k, d.key.unpack());
                         return key_text && !t.by_key(*key_text);
                       });
  if (!lacking) return {};
  if (available_ && !read_.contains(k.name)) {
    std::vector<proxbox_record> rows;
    if (auto ok = read(nb, k, {}, lane, rows); !ok) return ok.error();
    read_[k.name] = std::move(rows);
  }
  engine::recognise(w, k, wanted, read_[k.name], rules);
  return {};
}

base::result<bool> proxbox_records::read(netbox::client& nb, netbox::kind const& k, std::string const& query,
                                         std::string const& lane, std::vector<proxbox_record>& to) {
  constexpr std::size_t most = 1000;  // of what a query lets through
  auto const& from = *rows_of(k);
  netbox::kind plain;
  plain.name = k.name;
  plain.path = from.path;
  auto const take = [&](json const& row) {
    if (auto r = proxbox_record_of(k, row)) to.push_back(std::move(*r));
  };
  bool all = query.empty();
  auto ok = base::result<void>{};
  if (!all) {
    std::size_t came = 0;
    ok = nb.read_where(plain, query, from.fields, most, lane, [&](json const& row) { ++came, take(row); });
    all = !ok && came >= most;  // NetBox does not know that filter
  }
  if (all) {
    to.clear();
    ok = nb.read_all(plain, from.fields, lane, take);
  }
  // The plugin's older releases have no such rows.
  if (!ok && ok.error().what.find("404") == std::string::npos) return ok.error();
  return all;
}

base::result<std::set<object_id>> proxbox_records::named_as(netbox::client& nb, world& w, netbox::kind const& k,
                                                            std::set<std::string> const& keys,
                                                            std::string const& lane) {
  std::set<object_id> out;
  if (!available_ || !rows_of(k)) return out;
  std::set<std::string> names, unread;
  for (auto const& text : keys) {
    auto const key = json::parse(text);
    auto const key_text = w.key_text(k, key);
    if (!key_text || w.of(k).by_key(*key_text)) continue;
    auto const it = described(w, k, key, json::object());
    auto name = what(k, it.cluster, it.node, it.vmid);
    if (name.empty()) continue;
    if (k.name == guest_kind ? !asked_.contains(name) : !read_.contains(k.name)) unread.insert(name);
    names.insert(std::move(name));
  }
  if (!unread.empty()) {
    auto rows = read_[k.name];
    bool all = false;
    // One by one: whether a filter takes several values is the plugin's to say.
    for (auto const& name : unread) {
      if (all) break;
      auto const got = read(nb, k, k.name == guest_kind ? "proxmox_vm_id=" + name : "", lane, rows);
      if (!got) {
        if (rows.empty()) read_.erase(k.name);
        return got.error();
      }
      all = *got;
    }
    // An object has one row; a filter that is not known lets it through each time.
    auto const by_object = [](auto const& a, auto const& b) { return a.object < b.object; };
    auto const same_object = [](auto const& a, auto const& b) { return a.object == b.object; };
    std::stable_sort(rows.begin(), rows.end(), by_object);
    rows.erase(std::unique(rows.begin(), rows.end(), same_object), rows.end());
    read_[k.name] = std::move(rows);
    if (k.name == guest_kind) asked_.insert(unread.begin(), unread.end());
  }
  if (auto const its = read_.find(k.name); its != read_.end())
    for (auto const& r : its->second)
      if (names.contains(what(k, r.cluster, r.node, r.vmid))) out.insert(r.object);
  return out;
}

bool recorded_for_another(diff_rules const& rules, netbox::kind const& k, object_id object,
                          std::string const& key_text) {
  auto const of_kind = rules.recorded_for.find(k.name);
  if (of_kind == rules.recorded_for.end()) return false;
  auto const found = of_kind->second.find(object);
  return found != of_kind->second.end() && found->second != key_text;
}

std::optional<json> written_by_proxbox(netbox::kind const& k, json const& actual) {
  if (k.name != guest_kind || !bears(actual, proxbox_tag)) return {};
  auto const& description = at(actual, "description");
  if (!description.is_string()) return {};
  auto const& it = description.get_ref<std::string const&>();
  if (!it.starts_with(made_up_description) || it.find_first_of(" \n", made_up_description.size()) != it.npos) return {};
  return json{{"description", description}};
}

void claims_only(world const& w, netbox::kind const& k, json const& actual, std::optional<json> const& last, reason why,
                 compared& found, show_value const& show) {
  found.edits.clear();
  auto const claims = claim_fields(w);
  if (k.name == "extras.customfield") {
    auto const& name = at(actual, "name");
    if (name.is_string() && claims.contains("custom_fields." + name.get<std::string>())) return;
  }
  auto const written = json::parse(found.body);
  json body = json::object(), before = json::object(), after = actual, applied = json::parse(found.applied);
  std::vector<field_change> kept;
  auto const set = [&](std::string const& field, json const& value) {
    kept.push_back(changed(field, show(field, at(actual, field)), show(field, value)));
    put(before, field, at(actual, field));
    put(body, field, value);
    put(after, field, value);
    applied[field] = value;
  };
  for (auto const& f : found.fields) {
    if (last && last->contains(f.field))
      applied[f.field] = last->at(f.field);
    else
      applied.erase(f.field);
    if (why != reason::adopted || k.mark.empty()) continue;
    if (claims.contains(f.field)) set(f.field, at(written, f.field));
    if (f.field != "tags" || bears(actual, weir_tag) || !bears(written, weir_tag)) continue;
    auto tags = at(actual, "tags").is_array() ? at(actual, "tags") : json::array();
    tags.push_back(weir_tag);
    set(f.field, tags);
    applied["tags"] = json::array({weir_tag});
  }
  found.fields = std::move(kept);
  found.body = body.dump();
  found.before = before.dump();
  found.after = after.dump();
  found.applied = applied.dump();
}

bool serves_claims(world const& w, netbox::kind const& k, json const& whole) {
  if (k.name == "extras.tag") return at(whole, "slug") == json(weir_tag);
  if (k.name != "extras.customfield") return false;
  auto const& name = at(whole, "name");
  return name.is_string() && claim_fields(w).contains("custom_fields." + name.get<std::string>());
}

std::size_t not_in_netbox(kind_plan const& plan) {
  if (plan.kind->mark.empty()) return 0;
  auto const told =
      plan.updates.size() + plan.unchanged + plan.creates.size() + plan.failures.size() + plan.skipped.size();
  return plan.seen > told ? plan.seen - told : 0;
}

}  // namespace weir::engine
