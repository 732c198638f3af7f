#include "core/sim/netbox_model.hpp"

namespace weir::sim {

namespace {

using list = std::vector<std::string>;
using choice_list = std::vector<std::pair<std::string, std::string>>;

model_field text(std::string name, std::size_t max_length = 0) {
  model_field f{.name = std::move(name), .kind = field_kind::text};
  f.max_length = max_length;
  f.fallback = "\"\"";
  return f;
}
model_field required_text(std::string name, std::size_t max_length) {
  auto f = text(std::move(name), max_length);
  f.required = true;
  f.blank = false;
  f.fallback = "null";
  return f;
}
model_field nullable_text(std::string name, std::size_t max_length) {
  auto f = text(std::move(name), max_length);
  f.nullable = true;
  f.fallback = "null";
  return f;
}
model_field slug() {
  auto f = required_text("slug", 100);
  f.kind = field_kind::slug;
  return f;
}
model_field unique(model_field f) {
  f.unique = true;
  return f;
}
model_field unfiltered(model_field f) {
  f.filter = false;
  return f;
}
model_field integer(std::string name, double minimum, double maximum, std::string fallback = "null") {
  model_field f{.name = std::move(name), .kind = field_kind::integer};
  f.nullable = fallback == "null";
  f.minimum = minimum;
  f.maximum = maximum;
  f.fallback = std::move(fallback);
  return f;
}
model_field decimal(std::string name, int places, std::optional<double> minimum, std::string fallback = "null") {
  model_field f{.name = std::move(name), .kind = field_kind::decimal};
  f.nullable = fallback == "null";
  f.minimum = minimum;
  f.decimal_places = places;
  f.fallback = std::move(fallback);
  return f;
}
model_field boolean(std::string name, bool fallback) {
  model_field f{.name = std::move(name), .kind = field_kind::boolean};
  f.fallback = fallback ? "true" : "false";
  return f;
}
model_field choice(std::string name, choice_list choices, std::string fallback) {
  model_field f{.name = std::move(name), .kind = field_kind::choice};
  f.nullable = fallback.empty();
  f.choices = std::move(choices);
  f.fallback = fallback.empty() ? "null" : "\"" + fallback + "\"";
  return f;
}
model_field instant(std::string name) {
  model_field f{.name = std::move(name), .kind = field_kind::instant};
  f.nullable = true;
  return f;
}
model_field reference(std::string name, std::string target, on_delete rule) {
  model_field f{.name = std::move(name), .kind = field_kind::reference};
  f.nullable = true;
  f.target = std::move(target);
  f.rule = rule;
  return f;
}
model_field required_reference(std::string name, std::string target, on_delete rule = on_delete::protect) {
  auto f = reference(std::move(name), std::move(target), rule);
  f.nullable = false;
  f.required = true;
  return f;
}
model_field foreign(std::string name) {
  model_field f{.name = std::move(name), .kind = field_kind::foreign};
  f.nullable = true;
  f.filter = false;
  return f;
}
model_field fixed(std::string name, std::string value) {
  model_field f{.name = std::move(name), .kind = field_kind::fixed};
  f.filter = false;
  f.fallback = std::move(value);
  return f;
}
model_field count(std::string name, std::string target) {
  model_field f{.name = std::move(name), .kind = field_kind::count};
  f.filter = false;
  f.target = std::move(target);
  return f;
}
model_field sum(std::string name, std::string target) {
  auto f = count(std::move(name), std::move(target));
  f.kind = field_kind::sum;
  return f;
}
model_field special(std::string name, field_kind kind, std::string fallback) {
  model_field f{.name = std::move(name), .kind = kind};
  f.filter = false;
  f.nullable = fallback == "null";
  f.fallback = std::move(fallback);
  return f;
}

void add_fixed(std::vector<model_field>& to, list const& names, std::string const& value) {
  for (auto const& name : names) to.push_back(fixed(name, value));
}

choice_list const airflow{{"front-to-rear", "Front to rear"},
                          {"rear-to-front", "Rear to front"},
                          {"left-to-right", "Left to right"},
                          {"right-to-left", "Right to left"},
                          {"side-to-rear", "Side to rear"},
                          {"rear-to-side", "Rear to side"},
                          {"bottom-to-top", "Bottom to top"},
                          {"top-to-bottom", "Top to bottom"},
                          {"passive", "Passive"},
                          {"mixed", "Mixed"}};
choice_list const cooling{{"air", "Air"}, {"liquid", "Liquid"}, {"hybrid", "Hybrid"}, {"immersion", "Immersion"}};

model_field description() { return text("description", 200); }
model_field comments() { return unfiltered(text("comments")); }

object_model tags() {
  return {.type = "extras.tag",
          .path = "extras/tags",
          .class_name = "Tag",
          .verbose = "tag",
          .taggable = false,
          .display_field = "name",
          .ordering = {"weight", "name"},
          .brief = {"name", "slug", "color"},
          .fields = {unique(required_text("name", 100)), unique(slug()), text("color", 6), description(),
                     integer("weight", 0, 32767, "1000"), special("object_types", field_kind::object_types, "[]"),
                     count("tagged_items", "")}};
}

object_model custom_fields() {
  choice_list const types{{"text", "Text"},
                          {"longtext", "Text (long)"},
                          {"integer", "Integer"},
                          {"decimal", "Decimal"},
                          {"boolean", "Boolean (true/false)"},
                          {"date", "Date"},
                          {"datetime", "Date & time"},
                          {"url", "URL"},
                          {"json", "JSON"},
                          {"select", "Selection"},
                          {"multiselect", "Multiple selection"},
                          {"object", "Object"},
                          {"multiobject", "Multiple objects"}};
  auto type = choice("type", types, "");
  type.required = true;
  type.nullable = false;
  auto object_types = special("object_types", field_kind::object_types, "null");
  object_types.required = true;
  object_types.nullable = false;
  object_model m{.type = "extras.customfield",
                 .path = "extras/custom-fields",
                 .class_name = "CustomField",
                 .verbose = "custom field",
                 .taggable = false,
                 .ordering = {"group_name", "weight", "name"},
                 .brief = {"name", "description"},
                 .first_id = 8};
  m.fields = {object_types,
              type,
              fixed("related_object_type", "null"),
              special("data_type", field_kind::data_type, "null"),
              unique(required_text("name", 50)),
              text("label", 50),
              text("group_name", 50),
              description(),
              boolean("required", false),
              boolean("unique", false),
              integer("search_weight", 0, 32767, "1000"),
              choice("filter_logic", {{"disabled", "Disabled"}, {"loose", "Loose"}, {"exact", "Exact"}}, "loose"),
              choice("ui_visible", {{"always", "Always"}, {"if-set", "If set"}, {"hidden", "Hidden"}}, "always"),
              choice("ui_editable", {{"yes", "Yes"}, {"no", "No"}, {"hidden", "Hidden"}}, "yes"),
              boolean("is_cloneable", false),
              boolean("nulls_first", true),
              special("default", field_kind::free_json, "null"),
              special("related_object_filter", field_kind::free_json, "null"),
              integer("weight", 0, 32767, "100"),
              decimal("validation_minimum", 4, {}),
              decimal("validation_maximum", 4, {}),
              text("validation_regex", 500),
              special("validation_schema", field_kind::free_json, "null"),
              foreign("choice_set"),
              fixed("status", R"({"value":"active","label":"Active"})"),
              foreign("owner"),
              comments()};
  return m;
}

// Manufacturer and cluster type differ in their counts only.
object_model named(std::string type, std::string path, std::string class_name, std::string verbose) {
  return {.type = std::move(type),
          .path = std::move(path),
          .class_name = std::move(class_name),
          .verbose = std::move(verbose),
          .display_field = "name",
          .ordering = {"name"},
          .brief = {"name", "slug", "description"},
          .fields = {unique(required_text("name", 100)), unique(slug()), description(), foreign("owner"), comments()}};
}

object_model manufacturers() {
  auto m = named("dcim.manufacturer", "dcim/manufacturers", "Manufacturer", "manufacturer");
  m.fields.push_back(count("devicetype_count", "dcim.devicetype.manufacturer"));
  add_fixed(m.fields, {"moduletype_count", "inventoryitem_count", "platform_count"}, "0");
  return m;
}

object_model cluster_types() {
  auto m = named("virtualization.clustertype", "virtualization/cluster-types", "ClusterType", "cluster type");
  m.fields.push_back(count("cluster_count", "virtualization.cluster.type"));
  return m;
}

object_model device_types() {
  object_model m{.type = "dcim.devicetype",
                 .path = "dcim/device-types",
                 .class_name = "DeviceType",
                 .verbose = "device type",
                 .display_field = "model",
                 .ordering = {"manufacturer", "model"},
                 .brief = {"manufacturer", "model", "slug", "description", "device_count"},
                 .unique = {{.fields = {"manufacturer", "model"}}, {.fields = {"manufacturer", "slug"}}}};
  m.fields = {required_reference("manufacturer", "dcim.manufacturer"),
              foreign("default_platform"),
              required_text("model", 100),
              slug(),
              text("part_number", 50),
              decimal("u_height", 1, 0.0, "1.0"),
              boolean("exclude_from_utilization", false),
              boolean("is_full_depth", true),
              choice("subdevice_role", {{"parent", "Parent"}, {"child", "Child"}}, ""),
              choice("airflow", airflow, ""),
              choice("cooling_method", cooling, ""),
              decimal("weight", 2, {}),
              choice("weight_unit", {{"kg", "Kilograms"}, {"g", "Grams"}, {"lb", "Pounds"}, {"oz", "Ounces"}}, ""),
              fixed("end_of_life", "null"),
              fixed("front_image", "null"),
              fixed("rear_image", "null"),
              description(),
              foreign("owner"),
              comments(),
              count("device_count", "dcim.device.device_type")};
  add_fixed(m.fields,
            {"console_port_template_count", "console_server_port_template_count", "power_port_template_count",
             "power_outlet_template_count", "cooling_intake_template_count", "cooling_outflow_template_count",
             "interface_template_count", "front_port_template_count", "rear_port_template_count",
             "device_bay_template_count", "module_bay_template_count", "inventory_item_template_count"},
            "0");
  return m;
}

object_model device_roles() {
  return {.type = "dcim.devicerole",
          .path = "dcim/device-roles",
          .class_name = "DeviceRole",
          .verbose = "device role",
          .display_field = "name",
          .ordering = {"name"},
          .brief = {"name", "slug", "description", "device_count", "virtualmachine_count", "_depth"},
          .unique = {{.fields = {"parent", "name"}, .nulls_distinct = false},
                     {.fields = {"parent", "slug"}, .nulls_distinct = false}},
          .fields = {required_text("name", 100), slug(), text("color", 6), boolean("vm_role", true),
                     foreign("config_template"), foreign("parent"), description(),
                     count("device_count", "dcim.device.role"),
                     count("virtualmachine_count", "virtualization.virtualmachine.role"), foreign("owner"), comments(),
                     fixed("_depth", "0")}};
}

object_model sites() {
  object_model m{.type = "dcim.site",
                 .path = "dcim/sites",
                 .class_name = "Site",
                 .verbose = "site",
                 .display_field = "name",
                 .ordering = {"name"},
                 .brief = {"name", "slug", "description"}};
  m.fields = {unique(required_text("name", 100)),
              unique(slug()),
              choice("status",
                     {{"planned", "Planned"},
                      {"staging", "Staging"},
                      {"active", "Active"},
                      {"decommissioning", "Decommissioning"},
                      {"retired", "Retired"}},
                     "active"),
              foreign("region"),
              foreign("group"),
              foreign("tenant"),
              text("facility", 50),
              unfiltered(nullable_text("time_zone", 63)),
              description(),
              unfiltered(text("physical_address", 200)),
              unfiltered(text("shipping_address", 200)),
              decimal("latitude", 6, -90.0),
              decimal("longitude", 6, -180.0),
              foreign("owner"),
              comments(),
              fixed("asns", "[]"),
              fixed("circuit_count", "0"),
              count("device_count", "dcim.device.site"),
              fixed("prefix_count", "0"),
              fixed("rack_count", "0"),
              count("virtualmachine_count", "virtualization.virtualmachine.site"),
              fixed("vlan_count", "0")};
  return m;
}

object_model clusters() {
  object_model m{
      .type = "virtualization.cluster",
      .path = "virtualization/clusters",
      .class_name = "Cluster",
      .verbose = "cluster",
      .display_field = "name",
      .ordering = {"name"},
      .brief = {"name", "description"},
      .unique = {{.fields = {"scope_id", "name"}, .message = "Cluster with this Site and Name already exists."}}};
  m.fields = {required_text("name", 100),
              required_reference("type", "virtualization.clustertype"),
              foreign("group"),
              choice("status",
                     {{"planned", "Planned"},
                      {"staging", "Staging"},
                      {"active", "Active"},
                      {"decommissioning", "Decommissioning"},
                      {"offline", "Offline"}},
                     "active"),
              foreign("tenant"),
              special("scope_type", field_kind::scope_type, "null"),
              special("scope_id", field_kind::scope_id, "null"),
              special("scope", field_kind::scope, "null"),
              description(),
              foreign("owner"),
              comments(),
              count("device_count", "dcim.device.cluster"),
              count("virtualmachine_count", "virtualization.virtualmachine.cluster"),
              sum("allocated_vcpus", "virtualization.virtualmachine.cluster.vcpus"),
              sum("allocated_memory", "virtualization.virtualmachine.cluster.memory"),
              sum("allocated_disk", "virtualization.virtualmachine.cluster.disk")};
  return m;
}

object_model devices() {
  object_model m{.type = "dcim.device",
                 .path = "dcim/devices",
                 .class_name = "Device",
                 .verbose = "device",
                 .ordering = {"name", "id"},
                 .brief = {"name", "description"},
                 .unique = {{.fields = {"lower(name)", "site", "tenant"},
                             .nulls_distinct = false,
                             .only_if_set = "name",
                             .message = "Device name must be unique per site and tenant."}}};
  m.fields = {nullable_text("name", 64),
              required_reference("device_type", "dcim.devicetype"),
              required_reference("role", "dcim.devicerole"),
              foreign("tenant"),
              foreign("platform"),
              text("serial", 50),
              unique(nullable_text("asset_tag", 50)),
              required_reference("site", "dcim.site"),
              foreign("location"),
              foreign("rack"),
              decimal("position", 1, 0.5),
              choice("face", {{"front", "Front"}, {"rear", "Rear"}}, ""),
              decimal("latitude", 6, -90.0),
              decimal("longitude", 6, -180.0),
              fixed("parent_device", "null"),
              choice("status",
                     {{"offline", "Offline"},
                      {"active", "Active"},
                      {"planned", "Planned"},
                      {"staged", "Staged"},
                      {"failed", "Failed"},
                      {"inventory", "Inventory"},
                      {"decommissioning", "Decommissioning"}},
                     "active"),
              choice("airflow", airflow, ""),
              choice("cooling_method", cooling, ""),
              fixed("primary_ip", "null"),
              foreign("primary_ip4"),
              foreign("primary_ip6"),
              foreign("oob_ip"),
              reference("cluster", "virtualization.cluster", on_delete::set_null),
              foreign("virtual_chassis"),
              integer("vc_position", 0, 255),
              integer("vc_priority", 0, 255),
              description(),
              foreign("owner"),
              comments(),
              foreign("config_template"),
              fixed("config_context", "{}"),
              special("local_context_data", field_kind::free_json, "null")};
  add_fixed(m.fields,
            {"console_port_count", "console_server_port_count", "power_port_count", "power_outlet_count",
             "cooling_intake_count", "cooling_outflow_count", "interface_count", "front_port_count", "rear_port_count",
             "device_bay_count", "module_bay_count", "inventory_item_count"},
            "0");
  return m;
}

object_model virtual_machines() {
  object_model m{.type = "virtualization.virtualmachine",
                 .path = "virtualization/virtual-machines",
                 .class_name = "VirtualMachine",
                 .verbose = "virtual machine",
                 .display_field = "name",
                 .ordering = {"name", "id"},
                 .brief = {"name", "description"},
                 .unique = {{.fields = {"lower(name)", "cluster", "tenant"},
                             .nulls_distinct = false,
                             .only_if_set = "cluster",
                             .message = "Virtual machine name must be unique per cluster and tenant."},
                            {.fields = {"lower(name)", "device", "tenant"},
                             .nulls_distinct = false,
                             .only_if_set = "device",
                             .only_if_null = "cluster",
                             .message = "Virtual machine name must be unique per device and tenant."}}};
  m.fields = {required_text("name", 64),
              foreign("virtual_machine_type"),
              reference("role", "dcim.devicerole", on_delete::protect),
              choice("status",
                     {{"offline", "Offline"},
                      {"active", "Active"},
                      {"planned", "Planned"},
                      {"staged", "Staged"},
                      {"failed", "Failed"},
                      {"decommissioning", "Decommissioning"},
                      {"paused", "Paused"}},
                     "active"),
              choice("start_on_boot", {{"on", "On"}, {"off", "Off"}, {"laststate", "Last State"}}, "off"),
              reference("site", "dcim.site", on_delete::protect),
              reference("cluster", "virtualization.cluster", on_delete::protect),
              reference("device", "dcim.device", on_delete::protect),
              foreign("platform"),
              fixed("primary_ip", "null"),
              foreign("primary_ip4"),
              foreign("primary_ip6"),
              decimal("vcpus", 2, 0.01),
              integer("memory", 0, 2147483647),
              integer("disk", 0, 2147483647),
              description(),
              text("serial", 50),
              foreign("tenant"),
              foreign("owner"),
              comments(),
              special("local_context_data", field_kind::free_json, "null"),
              foreign("config_template"),
              fixed("interface_count", "0"),
              fixed("virtual_disk_count", "0"),
              fixed("config_context", "{}")};
  return m;
}

object_model storages() {
  object_model m{.type = "netbox_proxbox.proxmoxstorage",
                 .path = "plugins/proxbox/storage",
                 .class_name = "ProxmoxStorage",
                 .verbose = "Proxmox Storage",
                 .display_url = false,
                 .plugin = true,
                 .ordering = {"name"},
                 .brief = {"cluster", "name"},
                 .unique = {{.fields = {"cluster", "name"}}}};
  m.fields = {required_reference("cluster", "virtualization.cluster", on_delete::cascade),
              required_text("name", 255),
              nullable_text("storage_type", 100),
              nullable_text("content", 255),
              nullable_text("path", 255),
              nullable_text("nodes", 0),
              boolean("shared", false),
              boolean("enabled", true),
              nullable_text("server", 255),
              integer("port", 0, 2147483647),
              nullable_text("username", 255),
              nullable_text("export", 255),
              nullable_text("share", 255),
              nullable_text("pool", 255),
              nullable_text("monhost", 512),
              nullable_text("namespace", 255),
              nullable_text("datastore", 255),
              nullable_text("subdir", 255),
              nullable_text("mountpoint", 255),
              nullable_text("is_mountpoint", 255),
              nullable_text("preallocation", 50),
              nullable_text("format", 100),
              nullable_text("prune_backups", 512),
              integer("max_protected_backups", -2147483648.0, 2147483647),
              special("raw_config", field_kind::free_json, "{}")};
  return m;
}

object_model backups() {
  constexpr double big = 9223372036854775807.0;
  auto vm = required_reference("virtual_machine", "virtualization.virtualmachine", on_delete::cascade);
  auto storage = unfiltered(nullable_text("storage", 255));  // a real one ignores ?storage=
  object_model m{.type = "netbox_proxbox.vmbackup",
                 .path = "plugins/proxbox/backups",
                 .class_name = "VMBackup",
                 .verbose = "VM Backup",
                 .display_url = false,
                 .plugin = true,
                 .ordering = {"storage", "virtual_machine", "creation_time"},
                 .brief = {"proxmox_storage", "storage", "creation_time"},
                 .unique = {{.fields = {"storage", "virtual_machine", "subtype", "format", "volume_id", "vmid"}}}};
  m.fields = {
      reference("proxmox_storage", "netbox_proxbox.proxmoxstorage", on_delete::set_null),
      vm,
      storage,
      choice("subtype", {{"undefined", "Undefined"}, {"lxc", "LXC"}, {"ct", "CT"}, {"qemu", "QEMU"}, {"vm", "VM"}},
             "undefined"),
      choice("format",
             {{"undefined", "Undefined"},
              {"pbs-vm", "PBS VM"},
              {"pbs-ct", "PBS CT"},
              {"zst", "ZST"},
              {"iso", "ISO"},
              {"tzst", "TZST"},
              {"tgz", "TGZ"},
              {"qcow2", "QCOW2"},
              {"raw", "RAW"},
              {"tar", "TAR"},
              {"tbz", "TBZ"}},
             "undefined"),
      unfiltered(instant("creation_time")),
      unfiltered(integer("size", -big, big)),
      unfiltered(nullable_text("notes", 0)),
      nullable_text("volume_id", 255),
      integer("vmid", 0, 2147483647),
      unfiltered(integer("used", -big, big)),
      unfiltered(text("encrypted", 255)),
      unfiltered(nullable_text("verification_state", 255)),
      unfiltered(nullable_text("verification_upid", 255))};
  return m;
}

// What netbox-proxbox keeps beside an object that its service has made. `more`: after the link to the object.
object_model sync_state(std::string parent, std::string target, std::string path, std::string class_name,
                        std::string verbose, std::vector<model_field> more) {
  object_model m{.type = "netbox_proxbox.proxbox" + target.substr(target.find('.') + 1) + "syncstate",
                 .path = "plugins/proxbox/sync-state/" + path,
                 .class_name = std::move(class_name),
                 .verbose = std::move(verbose),
                 .display_url = false,
                 .plugin = true,
                 .ordering = {"id"},
                 .brief = {parent}};
  m.fields = {unique(required_reference(parent, std::move(target), on_delete::cascade))};
  for (auto& f : more) m.fields.push_back(std::move(f));
  m.fields.push_back(instant("proxmox_last_updated"));
  m.fields.push_back(text("last_run_id", 255));
  return m;
}

object_model guests_sync_state() {
  constexpr double big = 2147483647;
  return sync_state("virtual_machine", "virtualization.virtualmachine", "virtual-machines",
                    "ProxboxVirtualMachineSyncState", "Proxbox Virtual Machine Sync State",
                    {foreign("endpoint"), foreign("proxmox_node"), text("proxmox_node_name", 255),
                     foreign("proxmox_cluster"), text("proxmox_cluster_name", 255),
                     integer("proxmox_endpoint_raw_id", -big - 1, big), integer("proxmox_vm_id", -big - 1, big),
                     text("proxmox_vm_type", 64), text("proxmox_vm_name", 255),
                     text("proxmox_status", 64)});
}

object_model clusters_sync_state() {
  constexpr double big = 2147483647;
  return sync_state(
      "cluster", "virtualization.cluster", "clusters", "ProxboxClusterSyncState", "Proxbox Cluster Sync State",
      {foreign("proxmox_cluster"), text("proxmox_cluster_name", 255),
       text("proxmox_cluster_status", 64), integer("proxmox_cluster_raw_id", -big - 1, big)});
}

object_model devices_sync_state() {
  constexpr double big = 2147483647;
  return sync_state("device", "dcim.device", "devices", "ProxboxDeviceSyncState", "Proxbox Device Sync State",
                    {foreign("endpoint"), foreign("proxmox_node"), text("proxmox_node_name", 255),
                     foreign("proxmox_cluster"), text("proxmox_cluster_name", 255),
                     integer("proxmox_endpoint_raw_id", -big - 1, big)});
}

}  // namespace

std::vector<object_model> const& netbox_models() {
  static std::vector<object_model> const all = [] {
    std::vector<object_model> m{tags(),     custom_fields(), manufacturers(), device_types(), device_roles(),
                                sites(),    cluster_types(), clusters(),      devices(),      virtual_machines(),
                                storages(), backups(),       guests_sync_state(), clusters_sync_state(),
                                devices_sync_state()};
    for (auto& model : m)
      for (auto& f : model.fields)
        if (f.name == "color") f.fallback = "\"9e9e9e\"";
    return m;
  }();
  return all;
}

}  // namespace weir::sim
