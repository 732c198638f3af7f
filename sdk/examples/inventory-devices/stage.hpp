// inventory-devices: the devices of an inventory (a JSON list behind a REST API) as NetBox devices.
#pragma once
#include <map>
#include <set>
#include <string>
#include <utility>
#include <weir/json.hpp>
#include <weir/options.hpp>

class inventory_devices {
 public:
  static constexpr auto options = weir::schema(
      weir::option<"path", std::string>{.help = "of the list of devices, below the source's address", .fallback = "/devices"},
      weir::option<"default_role", std::string>{.help = "of devices that have none", .fallback = "Unknown"});
  static constexpr weir::info about{
      .id = "inventory-devices",
      .version = "1.0.0",
      .title = "An inventory's devices",
      .source_type = "rest",
      .kinds_json =
          R"(["extras.customfield","dcim.manufacturer","dcim.devicetype","dcim.devicerole","dcim.site","dcim.device"])",
      .options_schema = weir::json_schema<options>};

  explicit inventory_devices(weir::context const& c) : options_(c) {}

  void collect(weir::run& run) {
    made_.clear();
    auto const path = options_.get<"path">();
    auto const list = weir::parse(path, run.fetch(path).body());
    if (!list.is_array()) throw weir::source_error("the answer of " + path + " is no list of devices", 200);

    // weir's devices bear the name of their source in this field: it makes them ours.
    weir::emit(run, "extras.customfield", {{"name", "proxmox_source"}},
               {{"type", "text"}, {"object_types", {"dcim.device"}}, {"label", "Source"}, {"ui_editable", "no"}});
    std::size_t done = 0, left_out = 0;
    std::set<std::string> names;
    for (auto const& device : list) {
      auto const name = text(device, "name"), site = text(device, "site");
      if (name.empty() || site.empty() || !names.insert(name).second) {
        ++left_out;
        continue;
      }
      emit_device(run, device, name, site);
      run.progress(++done, list.size(), name);
    }
    if (left_out != 0)
      run.notice(weir::level::warn, std::to_string(left_out) + " devices have no name, no site, or another's name",
                 "give them one of their own in the inventory");
    else if (!list.empty())
      weir::complete(run, "dcim.device", {{"custom_fields.proxmox_source", std::string(run.source())}});
  }

 private:
  void emit_device(weir::run& run, weir::json const& device, std::string const& name, std::string const& site) {
    auto const or_else = [](std::string text, std::string other) { return text.empty() ? std::move(other) : text; };
    auto const maker = or_else(text(device, "manufacturer"), "Unknown");
    auto const model = or_else(text(device, "model"), "Unknown");
    auto const role = or_else(text(device, "role"), options_.get<"default_role">());

    weir::json const maker_key{{"slug", slug(maker)}};
    weir::json const type_key{{"manufacturer", maker_key}, {"slug", slug(model)}};
    weir::json const role_key{{"slug", slug(role)}}, site_key{{"slug", slug(site)}};
    once(run, "dcim.manufacturer", maker_key, {{"name", maker}});
    once(run, "dcim.devicetype", type_key, {{"model", model}});
    once(run, "dcim.devicerole", role_key, {{"name", role}, {"color", "607d8b"}});
    once(run, "dcim.site", site_key, {{"name", site}, {"status", "active"}});

    weir::json fields{{"status", text(device, "status") == "active" ? "active" : "offline"},
                      // People know better where a machine stands by now: only new devices get these.
                      {"$create", {{"device_type", type_key}, {"role", role_key}, {"site", site_key}}}};
    if (auto serial = text(device, "serial"); !serial.empty()) fields["serial"] = std::move(serial);
    weir::emit(run, "dcim.device", {{"custom_fields.proxmox_source", std::string(run.source())}, {"name", name}}, fields);
  }

  // The inventory may spell a name in two ways that make one slug: the first counts.
  void once(weir::run& run, std::string const& kind, weir::json const& key, weir::json const& fields) {
    if (made_.insert(kind + weir::dump(key)).second) weir::emit(run, kind, key, fields);
  }

  // Empty where there is no such text.
  static std::string text(weir::json const& device, char const* member) {
    if (!device.is_object()) return {};
    auto const found = device.find(member);
    return found != device.end() && found->is_string() ? found->get<std::string>() : std::string();
  }
  static std::string slug(std::string const& name) {
    std::string out;
    for (char const raw : name) {
      char const c = raw >= 'A' && raw <= 'Z' ? static_cast<char>(raw - 'A' + 'a') : raw;
      bool const keep = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
      if (keep) out += c;
      if (!keep && !out.empty() && out.back() != '-') out += '-';
    }
    while (!out.empty() && out.back() == '-') out.pop_back();
    return out.empty() ? "unnamed" : out;
  }

  weir::values<options> options_;
  std::set<std::string> made_;
};
