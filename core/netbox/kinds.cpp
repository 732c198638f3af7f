#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"
#include "core/netbox/kind.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;

// Keys follow NetBox 4.7's unique constraints where it has some; see each model's Meta in NetBox's source.
constexpr char const* builtin = R"json([
 {"kind":"extras.customfield","path":"extras/custom-fields","title":"custom field","key":["name"],"label":"name",
  "default_rule":"on-create","rules":{"object_types":"merge"},"supporting":true},
 {"kind":"extras.tag","path":"extras/tags","title":"tag","key":["slug"],"label":"slug","adopt_by":[["name"]],
  "default_rule":"on-create","supporting":true},
 {"kind":"dcim.manufacturer","path":"dcim/manufacturers","title":"manufacturer","key":["slug"],"label":"name",
  "adopt_by":[["name"]],"default_rule":"on-create","rules":{"slug":"on-create"},"supporting":true},
 {"kind":"dcim.devicetype","path":"dcim/device-types","title":"device type","key":["manufacturer","slug"],"label":"model",
  "adopt_by":[["manufacturer","model"]],"refs":{"manufacturer":"dcim.manufacturer"},"default_rule":"on-create",
  "rules":{"slug":"on-create"},"supporting":true},
 {"kind":"dcim.devicerole","path":"dcim/device-roles","title":"role","key":["slug"],"label":"name",
  "adopt_by":[["name"]],"default_rule":"on-create","rules":{"slug":"on-create"},"supporting":true},
 {"kind":"dcim.site","path":"dcim/sites","title":"site","key":["slug"],"label":"name","adopt_by":[["name"]],
  "default_rule":"on-create","rules":{"slug":"on-create"},"supporting":true},
 {"kind":"virtualization.clustertype","path":"virtualization/cluster-types","title":"cluster type","key":["slug"],
  "label":"name","adopt_by":[["name"]],"default_rule":"on-create","rules":{"slug":"on-create"},"supporting":true},
 {"kind":"virtualization.cluster","path":"virtualization/clusters","title":"cluster",
  "key":["custom_fields.proxmox_source","name"],"label":"name","adopt_by":[["name"]],
  "unique":[{"fields":["name","group"]},{"fields":["name","scope_type","scope_id"]}],
  "refs":{"type":"virtualization.clustertype","scope_id":"dcim.site"},
  "rules":{"tags":"merge","name":"unless-edited","type":"on-create","description":"on-create","comments":"on-create",
   "tenant":"on-create","group":"on-create","scope_type":"on-create","scope_id":"on-create"},
  "mark":"custom_fields.proxmox_source","supporting":true},
 {"kind":"dcim.device","path":"dcim/devices","title":"node","key":["custom_fields.proxmox_source","name"],"label":"name",
  "adopt_by":[["name","cluster"],["name","site"]],
  "unique":[{"fields":["name","site","tenant"],"fold":true,"none_counts":["tenant"]}],
  "inherits":{"site":{"from":"cluster","field":"scope_id","when":{"scope_type":"dcim.site"}}},
  "refs":{"device_type":"dcim.devicetype","role":"dcim.devicerole","site":"dcim.site","cluster":"virtualization.cluster"},
  "rules":{"tags":"merge","name":"unless-edited","description":"on-create","comments":"on-create","device_type":"on-create",
   "role":"on-create","site":"on-create","tenant":"on-create","platform":"on-create","location":"on-create",
   "rack":"on-create","serial":"on-create","asset_tag":"on-create"},
  "mark":"custom_fields.proxmox_source","orphans":"mark",
  "gone":{"status":"decommissioning","tag":"weir-gone","since":"custom_fields.proxmox_gone_since"}},
 {"kind":"virtualization.virtualmachine","path":"virtualization/virtual-machines","title":"virtual machine",
  "key":["custom_fields.proxmox_source","custom_fields.proxmox_vm_id"],"label":"name","adopt_by":[["name","cluster"]],
  "unique":[{"fields":["name","cluster","tenant"],"fold":true,"none_counts":["tenant"]}],
  "identity":"custom_fields.proxmox_identity",
  "refs":{"cluster":"virtualization.cluster","device":"dcim.device","role":"dcim.devicerole"},
  "rules":{"tags":"merge","name":"unless-edited","description":"unless-edited","role":"on-create","comments":"on-create",
   "tenant":"on-create","site":"on-create","platform":"on-create"},
  "owned_tags":{"tags":"custom_fields.proxmox_tags"},"frozen_while":{"disk":"virtual_disk_count"},
  "mark":"custom_fields.proxmox_source","orphans":"mark",
  "gone":{"status":"decommissioning","tag":"weir-gone","since":"custom_fields.proxmox_gone_since"}}
])json";

base::result<rule> to_rule(std::string const& text) {
  for (auto const r : {rule::always, rule::unless_edited, rule::on_create, rule::never, rule::merge})
    if (text == name(r)) return r;
  return base::fail(base::error_code::config, "unknown field rule '" + text + "'",
                    "one of: always, unless-edited, on-create, never, merge");
}

base::result<kind> to_kind(json const& j) {
  kind k;
  k.name = j.at("kind").get<std::string>();
  k.path = j.at("path").get<std::string>();
  while (!k.path.empty() && k.path.front() == '/') k.path.erase(0, 1);
  while (!k.path.empty() && k.path.back() == '/') k.path.pop_back();
  if (k.name.find('.') == std::string::npos)
    return base::fail(base::error_code::config, "kind '" + k.name + "' is no content type", "write it as app.model");
  if (k.path.empty() || k.path.find("..") != std::string::npos || k.path.find_first_of("?#\\ ") != std::string::npos)
    return base::fail(base::error_code::config, "kind '" + k.name + "' has the path '" + k.path + "'",
                      "a path below /api, e.g. plugins/example/things");
  k.title = j.value("title", k.name.substr(k.name.find('.') + 1));
  k.key = j.at("key").get<std::vector<std::string>>();
  if (k.key.empty()) return base::fail(base::error_code::config, "kind '" + k.name + "' has an empty key");
  k.adopt_by = j.value("adopt_by", std::vector<std::vector<std::string>>{});
  k.refs = j.value("refs", std::map<std::string, std::string>{});
  for (auto const& u : j.value("unique", json::array())) {
    k.unique.push_back({u.at("fields").get<std::vector<std::string>>(), u.value("fold", false),
                        u.value("none_counts", std::set<std::string>{})});
    if (k.unique.back().fields.empty())
      return base::fail(base::error_code::config, "kind '" + k.name + "' has something unique without fields");
  }
  auto const inherited = j.value("inherits", json::object());
  for (auto const& [field, i] : inherited.items()) {
    inheritance one{i.at("from").get<std::string>(), i.at("field").get<std::string>(),
                    i.value("when", std::map<std::string, std::string>{})};
    if (!k.refs.contains(one.from))
      return base::fail(base::error_code::config, "kind '" + k.name + "' inherits " + field + " from '" + one.from +
                                                      "', which is none of its refs");
    k.inherits.emplace(field, std::move(one));
  }
  k.times = j.value("times", std::set<std::string>{});
  k.label = j.value("label", k.key.back());
  k.mark = j.value("mark", std::string{});
  k.skip_when_missing = j.value("skip_when_missing", std::set<std::string>{});
  k.owned_tags = j.value("owned_tags", std::map<std::string, std::string>{});
  k.frozen_while = j.value("frozen_while", std::map<std::string, std::string>{});
  k.requires_plugin = j.value("requires_plugin", std::string{});
  k.supporting = j.value("supporting", false);
  k.identity = j.value("identity", std::string{});
  if (auto const mark = j.find("gone"); mark != j.end())
    k.gone = {mark->value("status", std::string{}), mark->value("tag", std::string{}),
              mark->value("since", std::string{})};
  auto const gone = j.value("orphans", std::string("keep"));
  bool known = false;
  for (auto const o : {orphans::keep, orphans::mark, orphans::erase})
    if (gone == name(o)) k.when_gone = o, known = true;
  if (!known)
    return base::fail(base::error_code::config, "kind '" + k.name + "' has orphans '" + gone + "'",
                      "one of: keep, mark, delete");
  if (k.when_gone == orphans::mark && k.gone.tag.empty())
    return base::fail(base::error_code::config, "kind '" + k.name + "' has orphans 'mark' and no gone.tag");
  if (auto r = to_rule(j.value("default_rule", std::string("always"))))
    k.default_rule = *r;
  else
    return r.error();
  auto const rules = j.value("rules", std::map<std::string, std::string>{});
  for (auto const& [field, text] : rules) {
    if (auto r = to_rule(text))
      k.rules[field] = *r;
    else
      return r.error();
  }
  return k;
}

}  // namespace

std::string_view name(rule r) {
  switch (r) {
    case rule::always:
      return "always";
    case rule::unless_edited:
      return "unless-edited";
    case rule::on_create:
      return "on-create";
    case rule::never:
      return "never";
    case rule::merge:
      return "merge";
  }
  return "";
}

std::string_view name(orphans o) {
  switch (o) {
    case orphans::keep:
      return "keep";
    case orphans::mark:
      return "mark";
    case orphans::erase:
      return "delete";
  }
  return "";
}

std::string_view name(adoption a) {
  switch (a) {
    case adoption::never:
      return "never";
    case adoption::tagged:
      return "tagged";
    case adoption::matching:
      return "matching";
  }
  return "";
}

rule kind::rule_of(std::string const& field) const {
  auto const found = rules.find(field);
  // Being ours, and what identifies an object, is nothing a person's edit should undo; a name that is part of the key
  // may be a person's where it is said so. What is shared (a site that is found by its name) keeps its own key.
  if (field == mark || (!identity.empty() && field == identity)) return rule::always;
  if (std::find(key.begin(), key.end(), field) != key.end()) {
    bool const may = found != rules.end() &&
                     (found->second == rule::unless_edited || (found->second == rule::on_create && mark.empty()));
    return may ? found->second : rule::always;
  }
  return found != rules.end() ? found->second : default_rule;
}

std::string kind::permission(std::string_view verb) const {
  auto const dot = name.find('.');
  return name.substr(0, dot + 1) + std::string(verb) + "_" + name.substr(dot + 1);
}

std::string kind::top(std::string_view field) { return std::string(field.substr(0, field.find('.'))); }

base::result<object_text> read_object(kind const& k, std::string_view key_json, std::string_view fields_json) {
  auto const key = json::parse(key_json, nullptr, false);
  auto const fields = json::parse(fields_json, nullptr, false);
  if (!key.is_object())
    return base::fail(base::error_code::data, "the key of an emitted " + k.name + " is no JSON object");
  if (!fields.is_object())
    return base::fail(base::error_code::data, "the fields of an emitted " + k.name + " are no JSON object");
  for (auto const& member : k.key)
    if (!key.contains(member) || key.at(member).is_null())
      return base::fail(base::error_code::data, "the key of an emitted " + k.name + " lacks '" + member + "'",
                        "the key of this kind is: " + base::join(k.key));
  if (key.size() != k.key.size())
    return base::fail(base::error_code::data,
                      "the key of an emitted " + k.name + " has members that are not part of it",
                      "the key of this kind is: " + base::join(k.key));
  return object_text{key.dump(), fields.dump()};
}

std::set<std::string, std::less<>> kind_names(std::string_view text) {
  std::set<std::string, std::less<>> out;
  for (auto const& item : json::parse(text))
    out.insert(item.is_string() ? item.get<std::string>() : item.at("kind").get<std::string>());
  return out;
}

base::result<std::vector<kind>> parse_kinds(std::string_view text) {
  auto const parsed = json::parse(text, nullptr, false);
  if (!parsed.is_array()) return base::fail(base::error_code::config, "a kinds list must be a JSON array");
  std::vector<kind> out;
  for (auto const& item : parsed) {
    if (item.is_string()) continue;
    try {
      auto k = to_kind(item);
      if (!k) return k.error();
      out.push_back(std::move(*k));
    } catch (json::exception const& e) {
      return base::fail(base::error_code::config, std::string("a kind is not understood: ") + e.what(),
                        "each needs at least \"kind\", \"path\" and \"key\"");
    }
  }
  return out;
}

registry::registry() {
  auto kinds = parse_kinds(builtin);
  for (auto& k : kinds.value()) {
    auto name = k.name;
    kinds_.emplace(std::move(name), std::move(k));
  }
}

base::result<void> registry::add(kind k, std::string const& by) {
  if (auto const* known = find(k.name)) {
    if (known->path == k.path && known->key == k.key) return {};
    return base::fail(base::error_code::config,
                      by + " defines the kind " + k.name + " with path " + k.path + ", " +
                          "which is not what is known already (path " + known->path + ")",
                      "two definitions of one kind must agree in path and key");
  }
  for (auto const& [field, target] : k.refs)
    if (!find(target) && target != k.name)
      return base::fail(base::error_code::config, by + ": the kind " + k.name + " refers by '" + field +
                                                      "' to the kind " + target + ", which nobody defines");
  auto name = k.name;
  kinds_.emplace(std::move(name), std::move(k));
  return {};
}

base::result<void> registry::apply(std::string_view name, kind_policy const& policy) {
  auto const found = kinds_.find(name);
  if (found == kinds_.end())
    return base::fail(base::error_code::config, "no plugin that is loaded knows the kind " + std::string(name),
                      "weir stages show STAGE lists the kinds of a stage");
  auto& k = found->second;
  if (policy.when_gone == orphans::mark && k.gone.tag.empty())
    return base::fail(base::error_code::config, "objects of the kind " + k.name + " cannot be marked",
                      "one of: keep, delete");
  for (auto const& [field, r] : policy.fields) {
    auto probe = k;
    probe.rules[field] = r;
    if (probe.rule_of(field) != r)
      return base::fail(base::error_code::config,
                        "the field " + field + " of " + k.name + " cannot be '" + std::string(netbox::name(r)) + "'",
                        "by it weir knows its objects: leave it out, it is always the source's");
  }
  for (auto const& [field, r] : policy.fields) k.rules[field] = r;
  if (policy.adopt) k.adopt = *policy.adopt;
  if (policy.when_gone) k.when_gone = *policy.when_gone;
  if (policy.grace) k.grace = *policy.grace;
  if (policy.max_deletes) k.max_deletes = policy.max_deletes;
  if (policy.max_deletes_percent) k.max_deletes_percent = policy.max_deletes_percent;
  return {};
}

kind const* registry::find(std::string_view name) const {
  auto const found = kinds_.find(name);
  return found == kinds_.end() ? nullptr : &found->second;
}

std::vector<std::string> registry::names() const {
  std::vector<std::string> out;
  for (auto const& [name, k] : kinds_) out.push_back(name);
  return out;
}

std::size_t registry::rank(kind const& k) const {
  if (k.name == "extras.customfield") return 0;
  if (k.name == "extras.tag") return 1;
  std::size_t deepest = 1;
  for (auto const& [field, target] : k.refs)
    if (auto const* parent = find(target); parent && parent != &k) deepest = std::max(deepest, rank(*parent));
  return deepest + 1;
}

}  // namespace weir::netbox
