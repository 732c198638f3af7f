#include "core/engine/policy.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string_view>

#include "core/base/text.hpp"

namespace weir::engine {

namespace {

using netbox::kind;
using netbox::rule;

// What NetBox 4.7 lets write, by kind (OPTIONS of each endpoint); the required ones first, up to '|'.
constexpr std::pair<std::string_view, std::string_view> writable[] = {
    {"virtualization.virtualmachine",
     "name | virtual_machine_type role status start_on_boot site cluster device platform primary_ip4 primary_ip6 vcpus "
     "memory disk description serial tenant owner comments tags local_context_data config_template"},
    {"virtualization.cluster", "name type | group status tenant scope_type scope_id description owner comments tags"},
    {"virtualization.clustertype", "name slug | description owner comments tags"},
    {"dcim.device",
     "device_type role site | name tenant platform serial asset_tag location rack position face latitude longitude "
     "status airflow cooling_method primary_ip4 primary_ip6 oob_ip cluster virtual_chassis vc_position vc_priority "
     "description owner comments config_template local_context_data tags"},
    {"dcim.manufacturer", "name slug | description owner comments tags"},
    {"dcim.devicetype",
     "manufacturer model slug | default_platform part_number u_height exclude_from_utilization is_full_depth "
     "subdevice_role airflow cooling_method weight weight_unit end_of_life description owner comments tags"},
    {"dcim.devicerole", "name slug | color vm_role config_template parent description tags owner comments"},
    {"dcim.site",
     "name slug | status region group tenant facility time_zone description physical_address shipping_address latitude "
     "longitude owner comments asns tags"},
    {"extras.tag", "name slug | color description weight object_types"},
    {"extras.customfield",
     "object_types type name | related_object_type label group_name description required unique search_weight "
     "filter_logic ui_visible ui_editable is_cloneable nulls_first default related_object_filter weight "
     "validation_minimum validation_maximum validation_regex validation_schema choice_set owner comments"},
    {"netbox_proxbox.vmbackup",
     "virtual_machine | proxmox_storage storage subtype format creation_time size notes volume_id vmid used encrypted "
     "verification_state verification_upid tags"}};

struct fields_of_kind {
  std::set<std::string, std::less<>> known, required;
  bool all = false;  // `known` is all there are, custom fields apart
};

fields_of_kind fields_of(kind const& k) {
  fields_of_kind out;
  for (auto const& [name, text] : writable) {
    if (name != k.name) continue;
    out.all = true;
    bool required = true;
    for (std::size_t start = 0; start < text.size();) {
      auto const end = std::min(text.find(' ', start), text.size());
      auto const word = text.substr(start, end - start);
      if (word == "|") {
        required = false;
      } else {
        out.known.emplace(word);
        if (required) out.required.emplace(word);
      }
      start = end + 1;
    }
  }
  out.known.insert(k.key.begin(), k.key.end());
  out.known.insert(k.times.begin(), k.times.end());
  for (auto const& [field, target] : k.refs) out.known.insert(field);
  for (auto const& [field, r] : k.rules) out.known.insert(field);
  return out;
}

rule to_rule(std::string_view text) {
  for (auto const r : {rule::always, rule::unless_edited, rule::on_create, rule::never, rule::merge})
    if (text == netbox::name(r)) return r;
  return rule::always;  // the configuration's table lets no other word through
}

template <class Choice>
std::optional<Choice> to_choice(std::optional<std::string> const& text, std::initializer_list<Choice> all) {
  for (auto const one : all)
    if (text && *text == netbox::name(one)) return one;
  return {};
}

netbox::adoption to_adoption(std::string const& text) {
  using netbox::adoption;
  return to_choice<adoption>(text, {adoption::never, adoption::tagged, adoption::matching})
      .value_or(adoption::matching);
}

bool has(std::vector<std::string> const& list, std::string const& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

class laying {
 public:
  laying(config::configuration const& settings, netbox::registry& kinds) : settings_(settings), kinds_(kinds) {}

  std::vector<rule_problem> all(bool all_known) {
    // Objects of a kind without a mark are nobody's: they are found by their key and used as they are.
    for (auto const& name : kinds_.names())
      if (!kinds_.find(name)->mark.empty()) {
        netbox::kind_policy policy;
        policy.adopt = to_adoption(settings_.adopt);
        apply(name, policy);
      }
    for (auto const& rules : settings_.rules) one(rules, all_known);
    return std::move(problems_);
  }

 private:
  void complain(std::string const& location, std::string what, std::string hint = {}) {
    problems_.push_back({location, std::move(what), std::move(hint)});
  }

  void apply(std::string const& name, netbox::kind_policy const& policy, std::string const& location = {}) {
    if (auto ok = kinds_.apply(name, policy); !ok)
      complain(location, "rules." + name + ": " + ok.error().what, ok.error().hint);
  }

  void one(config::rules const& r, bool all_known) {
    auto const* k = kinds_.find(r.kind);
    if (k == nullptr) {
      if (!all_known) return;
      auto const near = base::nearest(r.kind, kinds_.names());
      return complain(r.location, "rules: no plugin that is here knows the kind '" + base::shorten(r.kind, 60) + "'",
                      near ? "did you mean '" + *near + "'?" : "known: " + base::join(kinds_.names()));
    }
    netbox::kind_policy policy;
    auto const fields = fields_of(*k);
    for (auto const& [field, text] : r.fields)
      if (fits(*k, fields, field, to_rule(text), r.field_locations.at(field))) policy.fields[field] = to_rule(text);
    if (k->mark.empty() && (r.adopt || r.orphans || r.grace || r.max_deletes)) {
      complain(r.location,
               "rules." + r.kind +
                   ": objects of this kind bear nobody's mark: weir uses those that are there and "
                   "deletes none",
               "only fields may be said of it");
    } else {
      if (r.adopt) policy.adopt = to_adoption(*r.adopt);
      using netbox::orphans;
      policy.when_gone = to_choice<orphans>(r.orphans, {orphans::keep, orphans::mark, orphans::erase});
      // Up, so that no one is taken for gone a moment too early.
      if (r.grace) policy.grace = std::chrono::ceil<std::chrono::seconds>(*r.grace);
      policy.max_deletes = r.max_deletes;
      policy.max_deletes_percent = r.max_deletes_percent;
    }
    apply(r.kind, policy, r.location);
  }

  // Whether that field may have that rule; says why not.
  bool fits(kind const& k, fields_of_kind const& fields, std::string const& field, rule r,
            std::string const& location) {
    auto const whole = "rules." + k.name + ".fields." + base::shorten(field, 60);
    auto const word = "'" + std::string(netbox::name(r)) + "'";
    bool const custom = field.starts_with("custom_fields.");
    bool const own = field == k.mark || has(k.key, field) || (!k.identity.empty() && field == k.identity);
    // A kind may let people rename what it finds by its name.
    bool const lenient = k.rules.contains(field) && field != k.mark;
    if (own && r != rule::always && !(lenient && r == rule::unless_edited)) {
      complain(location, whole + " cannot be " + word + ": by it weir knows its objects",
               lenient ? "always or unless-edited" : "leave it out: it is always the source's");
      return false;
    }
    if (field == "custom_fields") {
      complain(location, whole + " needs a field's name", "custom_fields.NAME: each has a rule of its own");
      return false;
    }
    bool const listed = fields.known.contains(field);
    if (!custom && !listed) {
      std::vector<std::string> known(fields.known.begin(), fields.known.end());
      auto const near = base::nearest(field, known);
      // Of a plugin's kind not every field is known here: only what looks misspelt is refused.
      if (fields.all || near) {
        complain(location, whole + ": NetBox has no such field to write",
                 near ? "did you mean '" + *near + "'?" : "known: " + base::join(known));
        return false;
      }
    }
    if (r == rule::never && fields.required.contains(field)) {
      complain(location, whole + " cannot be 'never': NetBox makes no object without it",
               "on-create, or unless-edited");
      return false;
    }
    auto const now = k.rules.find(field);
    bool const several = field == "tags" || field == "comments" || field == "object_types" ||
                         (now != k.rules.end() && now->second == rule::merge);
    if (r == rule::merge && !custom && fields.all && !several) {
      complain(location, whole + " cannot be 'merge': it holds one value",
               "merge is for tags, comments and custom fields of several values");
      return false;
    }
    return true;
  }

  config::configuration const& settings_;
  netbox::registry& kinds_;
  std::vector<rule_problem> problems_;
};

}  // namespace

std::string scope_json(config::scope const& scope, std::vector<std::uint32_t> const& guests) {
  std::string out;
  auto const member = [](std::string& to, std::string_view name, std::string const& value) {
    to += to.empty() ? "" : ",";
    base::append_quoted(to, name);
    to += ":" + value;
  };
  if (!guests.empty()) {
    std::vector<std::string> numbers;
    for (auto const n : guests) numbers.push_back(std::to_string(n));
    member(out, "guests", "[" + base::join(numbers, ",") + "]");
  }
  for (auto const& [name, part] : {std::pair("include", &scope.include), std::pair("exclude", &scope.exclude)}) {
    std::string in;
    for (auto const& [list, words] :
         {std::pair("nodes", &part->nodes), std::pair("pools", &part->pools), std::pair("tags", &part->tags),
          std::pair("vmids", &part->vmids), std::pair("names", &part->names), std::pair("storages", &part->storages),
          std::pair("states", &part->states)}) {
      std::string items;
      for (auto const& word : *words) {
        items += items.empty() ? "" : ",";
        base::append_quoted(items, word);
      }
      if (!items.empty()) member(in, list, "[" + items + "]");
    }
    if (part->templates) member(in, "templates", *part->templates ? "true" : "false");
    if (!in.empty()) member(out, name, "{" + in + "}");
  }
  return "{" + out + "}";
}

std::vector<rule_problem> apply_rules(config::configuration const& settings, netbox::registry& kinds, bool all_known) {
  return laying(settings, kinds).all(all_known);
}

}  // namespace weir::engine
