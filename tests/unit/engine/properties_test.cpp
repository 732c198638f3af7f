// Properties of diff: of any NetBox and any source, whatever order they answer in.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"
#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;

constexpr char const* vms = "virtualization.virtualmachine";
constexpr char const* backups = "netbox_proxbox.vmbackup";
constexpr char const* whole_source = R"({"custom_fields.proxmox_source":"pve-a"})";

class map_memory : public memory {
 public:
  std::optional<known_object> of(netbox::kind const& k, object_id id) override {
    auto const found = all_.find({k.name, id});
    return found == all_.end() ? std::nullopt : std::optional(found->second);
  }
  std::optional<object_id> find(netbox::kind const& k, std::string const& key_text) override {
    for (auto const& [of, what] : all_)
      if (of.first == k.name && what.key == key_text) return of.second;
    return {};
  }
  void note(netbox::kind const& k, object_id id, known_object const& what) override { all_[{k.name, id}] = what; }
  void forget(netbox::kind const& k, object_id id) { all_.erase({k.name, id}); }

 private:
  std::map<std::pair<std::string, object_id>, known_object> all_;
};

// A NetBox of one kind: what it holds, and what weir remembers of it.
struct simple_netbox {
  std::map<object_id, json> objects;
  map_memory known;
  object_id next = 1000;

  std::vector<json> list(bool backwards = false) const {
    std::vector<json> out;
    for (auto const& [id, fields] : objects) {
      out.push_back(fields);
      out.back()["id"] = id;
    }
    if (backwards) std::reverse(out.begin(), out.end());
    return out;
  }

  void prepare(lab& l, char const* kind, std::vector<desired> const& wanted, bool backwards = false) {
    l.remembered = &known;
    l.holds("virtualization.cluster", {cluster(7)});
    l.holds("dcim.devicerole", {{{"id", 5}, {"slug", "ours"}, {"name", "ours"}}});
    if (std::string(kind) != vms) l.holds(vms, {vm(1, "web", 101)});
    l.holds(kind, list(backwards), wanted);
  }

  void apply(lab& l, kind_plan const& plan) {
    auto const& k = *plan.kind;
    auto const remember = [&](change const& c, object_id id) {
      auto const before = known.of(k, id);
      known_object now{l.w.key_text(k, c.key.unpack()).value_or(""), packed(remembered(c)).text(), {}};
      if (before && c.why == reason::gone) now.gone_since = before->gone_since;
      known.note(k, id, now);
    };
    for (auto const& c : plan.creates) {
      objects[next] = c.body.unpack();
      remember(c, next++);
    }
    for (auto const& c : plan.updates) {
      auto const body = c.body.unpack();
      for (auto const& [member, value] : body.items())
        if (member == "custom_fields")
          objects.at(c.object)[member].update(value);
        else
          objects.at(c.object)[member] = value;
      remember(c, c.object);
    }
    for (auto const& c : plan.deletes) {
      objects.erase(c.object);
      known.forget(k, c.object);
    }
  }

  kind_plan sync(char const* kind, std::vector<desired> const& wanted, std::vector<std::string> const& scopes) {
    lab l;
    prepare(l, kind, wanted);
    auto plan = l.diff(kind, wanted, scopes);
    apply(l, plan);
    plan.kind = nullptr;  // the lab's
    return plan;
  }
};

std::string text_of(kind_plan const& p) {
  std::string out;
  for (auto const* list : {&p.updates, &p.creates, &p.deletes})
    for (auto const& c : *list)
      out += std::string(name(c.what)) + " " + c.label + " " + std::string(name(c.why)) + " " + c.body.text() + " " +
             c.before.text() + " " + remembered(c).dump() + "\n";
  for (auto const& e : p.edits) out += "kept " + e.label + " " + e.field + " " + e.held + " " + e.wanted + "\n";
  for (auto const& k : p.kept) out += "stays " + k.label + "\n";
  for (auto const& f : p.failures) out += "fails " + f.label + " " + f.message + "\n";
  return out + std::to_string(p.unchanged);
}

bool empty(kind_plan const& p) { return p.updates.empty() && p.creates.empty() && p.deletes.empty(); }

rc::Gen<std::string> text() { return rc::gen::element<std::string>("", "a note", "another", "third"); }
// Some of these, in their order.
template <class T>
std::vector<T> some_of(std::vector<T> const& all) {
  std::vector<T> out;
  for (auto const& one : all)
    if (*rc::gen::arbitrary<bool>()) out.push_back(one);
  return out;
}
std::vector<std::string> tags() { return some_of<std::string>({"db", "dev", "prod"}); }
std::vector<int> numbers() { return some_of<int>({100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111}); }

// Guests as a source has them; names are one's own, so that who is who is not in question.
std::vector<desired> guests() {
  std::vector<desired> out;
  for (int const vmid : numbers()) {
    auto own = tags();
    auto all = own;
    all.push_back("weir");
    std::string joined;
    for (auto const& t : own) joined += (joined.empty() ? "" : ";") + t;
    json fields = {{"tags", all},
                   {"memory", *rc::gen::element(1024, 2048, 4096)},
                   {"description", *text()},
                   {"comments", *text()},
                   {"role", {{"slug", "ours"}}},
                   {"custom_fields", {{"proxmox_tags", joined}}}};
    out.push_back(guest(vmid, "vm-" + std::to_string(vmid) + *rc::gen::element<std::string>("", "-b"), fields));
  }
  return out;
}

// Objects that are there already: ours, another source's or nobody's.
simple_netbox some_netbox() {
  simple_netbox out;
  object_id id = 1;
  for (int const vmid : numbers()) {
    auto const whose = *rc::gen::element<std::string>("pve-a", "pve-a", "pve-b", "");
    auto fields = vm(0, (whose == "pve-a" ? "vm-" : "other-") + std::to_string(vmid),
                     whose.empty() ? json() : json(vmid), whose.empty() ? json() : json(whose));
    fields.erase("id");
    fields["tags"] = tags();
    fields["status"] = "active";
    fields["cluster"] = 7;
    fields["description"] = *text();
    fields["comments"] = *text();
    fields["role"] = *rc::gen::element(json(), json(5), json(6));
    out.objects[id++] = fields;
  }
  return out;
}

std::vector<std::string> some_scopes() {
  return *rc::gen::element(std::vector<std::string>{}, std::vector<std::string>{whole_source});
}

RC_GTEST_PROP(diff_property, after_it_is_applied_there_is_nothing_left_to_do, ()) {
  auto netbox = some_netbox();
  auto const wanted = guests();
  auto const scopes = some_scopes();
  netbox.sync(vms, wanted, scopes);
  auto const after = netbox.objects;
  auto const again = netbox.sync(vms, wanted, scopes);
  if (!empty(again)) RC_FAIL(text_of(again));
  RC_ASSERT(netbox.objects == after);
  // And what the source alone decides is as it says.
  for (auto const& d : wanted) {
    auto const fields = json::parse(d.fields.text());
    auto const vmid = json::parse(d.key.text()).at("custom_fields.proxmox_vm_id");
    auto const found = std::count_if(after.begin(), after.end(), [&](auto const& one) {
      auto const& custom = one.second.at("custom_fields");
      if (custom.at("proxmox_source") != "pve-a" || custom.at("proxmox_vm_id") != vmid) return false;
      auto const held = std::set<json>(one.second.at("tags").begin(), one.second.at("tags").end());
      return one.second.at("memory") == fields.at("memory") &&
             std::all_of(fields.at("tags").begin(), fields.at("tags").end(),
                         [&](json const& tag) { return held.contains(tag); });
    });
    RC_ASSERT(found == 1);
  }
}

RC_GTEST_PROP(diff_property, a_source_that_moves_on_is_followed_wherever_nobody_edited, ()) {
  simple_netbox netbox;
  netbox.sync(vms, guests(), {});
  auto const wanted = guests();
  auto const plan = netbox.sync(vms, wanted, {});
  RC_ASSERT(plan.edits.empty());
  for (auto const& d : wanted) {
    auto const fields = json::parse(d.fields.text());
    auto const vmid = json::parse(d.key.text()).at("custom_fields.proxmox_vm_id");
    for (auto const& [id, held] : netbox.objects)
      if (held.at("custom_fields").at("proxmox_vm_id") == vmid)
        for (auto const* field : {"name", "description", "memory"})
          if (!netbox::same(held.at(field), fields.at(field))) RC_FAIL(held.dump() + " instead of " + fields.dump());
  }
}

RC_GTEST_PROP(diff_property, does_not_depend_on_the_order_of_either_side, ()) {
  auto netbox = some_netbox();
  netbox.sync(vms, guests(), {});
  auto wanted = guests();
  auto const scopes = some_scopes();
  lab first, second;
  auto other = netbox;
  netbox.prepare(first, vms, wanted);
  auto const a = text_of(first.diff(vms, wanted, scopes));
  auto const shuffled = *rc::gen::arbitrary<bool>() ? std::vector<desired>(wanted.rbegin(), wanted.rend()) : [&] {
    auto copy = wanted;
    std::rotate(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(copy.size() / 2), copy.end());
    return copy;
  }();
  other.prepare(second, vms, shuffled, true);
  auto const b = text_of(second.diff(vms, shuffled, scopes));
  if (a != b) RC_FAIL(a + "\n-- is not --\n" + b);
}

RC_GTEST_PROP(diff_property, nothing_is_deleted_outside_of_complete_scopes, ()) {
  simple_netbox netbox;
  auto const storage = [] { return *rc::gen::element<std::string>("nfs", "pbs", "local"); };
  std::size_t const n = *rc::gen::inRange<std::size_t>(0, 40);
  for (std::size_t i = 0; i < n; ++i)
    netbox.objects[i + 1] = {
        {"virtual_machine", 1},
        {"volume_id", "v/" + std::to_string(i)},
        {"storage", storage()},
        {"custom_fields", {{"proxmox_source", *rc::gen::element(json("pve-a"), json("pve-b"), json())}}}};
  std::vector<desired> wanted;
  for (std::size_t i = 0; i < n; ++i)
    if (*rc::gen::inRange(0, 4) != 0)
      wanted.push_back(want({{"virtual_machine", vm_key(101)}, {"volume_id", "v/" + std::to_string(i)}},
                            {{"custom_fields", {{"proxmox_source", "pve-a"}}}}));
  std::set<std::string> complete;
  std::vector<std::string> scopes;
  for (auto const* name : {"nfs", "pbs", "local"})
    if (*rc::gen::arbitrary<bool>()) {
      complete.insert(name);
      scopes.push_back(json{{"custom_fields.proxmox_source", "pve-a"}, {"storage", name}}.dump());
    }
  lab l;
  netbox.prepare(l, backups, wanted);
  auto const plan = l.diff(backups, wanted, scopes);
  RC_CLASSIFY(!plan.deletes.empty(), "something is deleted");
  for (auto const& c : plan.deletes) {
    auto const& held = netbox.objects.at(c.object);
    RC_ASSERT(held.at("custom_fields").at("proxmox_source") == "pve-a");
    RC_ASSERT(complete.contains(held.at("storage").get<std::string>()));
    for (auto const& d : wanted) RC_ASSERT(json::parse(d.key.text()).at("volume_id") != held.at("volume_id"));
  }
  RC_ASSERT(plan.deletes.size() <= std::max<std::size_t>(10, plan.owned * 20 / 100));
}

RC_GTEST_PROP(diff_property, what_a_person_typed_survives_as_the_rules_say, ()) {
  simple_netbox netbox;
  auto const first = guests();
  RC_PRE(!first.empty());
  netbox.sync(vms, first, {});
  auto edited = netbox.objects;
  std::size_t edits = 0;
  for (auto& [id, held] : edited) {
    if (*rc::gen::arbitrary<bool>()) continue;
    ++edits;
    for (auto const* field : {"name", "description", "comments"}) held[field] = "a person's " + std::to_string(id);
    held["role"] = 6;
    held["memory"] = 1;
    held["tags"].push_back("by-hand");
  }
  netbox.objects = edited;
  auto const second = guests();  // other values, and some others
  auto const plan = netbox.sync(vms, second, {});
  std::set<object_id> shown;
  for (auto const& e : plan.edits) shown.insert(e.object);
  for (auto const& [id, held] : edited) {
    if (held.at("memory") != 1) continue;
    auto const& now = netbox.objects.at(id);
    for (auto const* field : {"name", "description", "comments", "role"}) RC_ASSERT(now.at(field) == held.at(field));
    auto const& list = now.at("tags");
    RC_ASSERT(std::find(list.begin(), list.end(), "by-hand") != list.end());
    auto const vmid = held.at("custom_fields").at("proxmox_vm_id");
    bool const wanted_still = std::any_of(second.begin(), second.end(), [&](desired const& d) {
      return json::parse(d.key.text()).at("custom_fields.proxmox_vm_id") == vmid;
    });
    RC_ASSERT(shown.contains(id) == wanted_still);
    if (wanted_still) RC_ASSERT(now.at("memory") != 1);
  }
  RC_CLASSIFY(edits != 0, "edited");
  // What is kept stays kept: a third run has nothing to write, and says the same again.
  auto const third = netbox.sync(vms, second, {});
  RC_ASSERT(empty(third));
  RC_ASSERT(third.edits.size() == plan.edits.size());
}

RC_GTEST_PROP(diff_property, losing_the_journal_overwrites_no_name_and_no_note, ()) {
  simple_netbox netbox;
  netbox.sync(vms, guests(), {});
  netbox.known = {};
  auto const before = netbox.objects;
  netbox.sync(vms, guests(), {});
  for (auto const& [id, held] : before)
    for (auto const* field : {"name", "description", "comments", "role"})
      if (!netbox::same(held.at(field), nullptr)) RC_ASSERT(netbox.objects.at(id).at(field) == held.at(field));
}

}  // namespace
}  // namespace weir::engine
