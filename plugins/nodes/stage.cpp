// Stage `nodes`: the cluster and its nodes, with what NetBox wants to have first (types, role, site).
#include <set>
#include <string>
#include <weir/json.hpp>

#include "proxmox/answers.hpp"
#include "proxmox/selection.hpp"
#include "proxmox/text.hpp"

namespace weir::nodes {
namespace {

using proxmox::slug;

class nodes {
 public:
  static constexpr info about{
      .id = "nodes",
      .version = "1.0.0",
      .title = "Proxmox nodes as devices",
      .kinds_json = R"(["extras.customfield","extras.tag","virtualization.clustertype","virtualization.cluster",
                        "dcim.manufacturer","dcim.devicetype","dcim.devicerole","dcim.site","dcim.device"])",
      .options_schema = R"json({"type":"object","additionalProperties":false,"properties":{
          "site":{"type":"string","minLength":1,"maxLength":100,
                  "description":"Name of the site, existing or new, of the cluster and of new devices; default: the source's name, or the site that the cluster has in NetBox"},
          "device_role":{"type":"string","minLength":1,"maxLength":100,"default":"Proxmox node",
                         "description":"Name of the role of new devices"},
          "device_type":{"type":"string","minLength":1,"maxLength":100,"default":"Proxmox VE node",
                         "description":"Model of new devices, of the manufacturer Proxmox"}}})json"};

  explicit nodes(context const& c) {
    json const o = options(c);
    site_ = o.value("site", "");
    role_ = o.value("device_role", "Proxmox node");
    type_ = o.value("device_type", "Proxmox VE node");
  }

  void collect(run& r) const {
    auto const chosen = proxmox::selection::of(r);
    auto const cluster = proxmox::read_cluster(r);
    auto const hosts = chosen.few_guests() ? hosts_of(r, chosen) : std::set<std::string>{};
    if (chosen.few_guests() && hosts.empty()) return;  // the stage of the guests says so
    std::string const site_name = site_.empty() ? std::string{r.source()} : site_;
    json const site{{"slug", slug(site_name)}};
    json const role{{"slug", slug(role_)}};
    json const type{{"manufacturer", {{"slug", "proxmox"}}}, {"slug", slug(type_)}};
    json const cluster_type{{"slug", "proxmox-ve"}};
    json const cluster_key = proxmox::cluster_key(r.source(), cluster.name);

    proxmox::emit_source_field(r, {"virtualization.cluster", "dcim.device"});
    proxmox::emit_weir_tag(r);
    emit(r, "virtualization.clustertype", cluster_type, {{"name", "Proxmox VE"}});
    emit(r, "dcim.manufacturer", {{"slug", "proxmox"}}, {{"name", "Proxmox"}});
    emit(r, "dcim.devicetype", type, {{"model", type_}});
    emit(r, "dcim.devicerole", role, {{"name", role_}, {"color", "00bcd4"}, {"vm_role", false}});
    emit(r, "dcim.site", site, {{"name", site_name}, {"status", "active"}});
    json const about_cluster{{"type", cluster_type},
                             {"status", "active"},
                             {"scope_type", "dcim.site"},
                             {"scope_id", site},
                             {"tags", json::array({proxmox::weir_tag})}};
    emit(r, "virtualization.cluster", cluster_key, chosen.few_guests() ? only_created(about_cluster) : about_cluster);

    std::uint64_t done = 0;
    for (auto const& node : cluster.nodes) {
      r.check();
      std::string const name = proxmox::text(node, "name");
      if (chosen.few_guests() && !hosts.contains(name)) continue;
      if (!chosen.takes_node(name)) {
        emit(r, "dcim.device", proxmox::device_key(r.source(), name), proxmox::kept());
        continue;
      }
      // People know better than Proxmox VE what machine it is and where it stands: without another rule only new
      // devices get type, role and site.
      json created = json::object();
      json fields{
          {"cluster", cluster_key}, {"device_type", type}, {"role", role}, {"tags", json::array({proxmox::weir_tag})}};
      // NetBox wants a node in its cluster's site, which may be a person's choice: it counts where none was configured.
      (site_.empty() ? created : fields)["site"] = site;
      if (auto const online = proxmox::flag(node, "online")) {
        fields["status"] = *online ? "active" : "offline";
      } else {
        created["status"] = "offline";
      }
      if (!created.empty()) fields["$create"] = std::move(created);
      if (chosen.few_guests()) fields = only_created(fields);
      emit(r, "dcim.device", proxmox::device_key(r.source(), name), fields);
      r.progress(++done, cluster.nodes.size(), name);
    }

    if (!cluster.quorate) {
      r.notice(level::warn, "the cluster " + cluster.name + " has no quorum: no node of it is taken for gone",
               "look at `pvecm status` on a node");
    } else if (!cluster.nodes.empty() && !chosen.few_guests()) {
      complete(r, "dcim.device", proxmox::scope_of(r.source()));
    }
  }

 private:
  // What single guests need to stand on is made where it is missing, and else not touched.
  static json only_created(json fields) {
    json created = fields.value("$create", json::object());
    fields.erase("$create");
    created.update(fields);
    return {{"$create", std::move(created)}};
  }

  static std::set<std::string> hosts_of(run& r, proxmox::selection const& chosen) {
    static constexpr std::string_view target = "/cluster/resources";
    std::set<std::string> out;
    for (auto const& row : proxmox::rows(fetch(r, target), target)) {
      auto const type = proxmox::text(row, "type");
      if ((type == "qemu" || type == "lxc") && chosen.takes_guest(row)) out.insert(proxmox::text(row, "node"));
    }
    return out;
  }

  std::string site_, role_, type_;
};

}  // namespace
}  // namespace weir::nodes

WEIR_PLUGIN("nodes", "1.0.0", "weir", weir::nodes::nodes);
