// What a kind of NetBox's objects is like: where it lives, what identifies one, how its fields are treated.
// Kinds of NetBox itself are built in (kinds.cpp); a stage brings further ones in the same form (kinds_json).
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace weir::netbox {

// Who decides what a field says once the object is there. Where nobody knows what weir wrote last (the journal is
// lost), unless_edited keeps whatever NetBox holds, unless that is nothing.
enum class rule {
  always,         // the source
  unless_edited,  // the source, until a person has changed what weir wrote
  on_create,      // written when the object is new, never after
  never,          // not even then
  merge,  // a set: ours are added (and taken away again), other people's stay; of a text: weir's own block of it
};
std::string_view name(rule r);  // "always", "unless-edited", "on-create", "never", "merge"

// What becomes of an object that is ours and gone from the source.
enum class orphans { keep, mark, erase };
std::string_view name(orphans o);  // "keep", "mark", "delete"

// Which objects that nobody has claimed may be taken over, where they are what is wanted by a key that NetBox holds
// unique (kind::adopt_by).
enum class adoption {
  never,     // none: such an object is a conflict
  tagged,    // those that bear the tag of weir, or of the proxbox service
  matching,  // all
};
std::string_view name(adoption a);  // "never", "tagged", "matching"

// How an object that is gone from its source is marked; see orphans::mark.
struct gone_mark {
  std::string status;  // the field `status` gets this; empty: nothing
  std::string tag;     // slug of the tag; empty: the kind cannot be marked
  std::string since;   // dotted field that gets the date; empty: none
};

// What NetBox allows one object only to have: no two agree in all of these fields.
struct uniqueness {
  std::vector<std::string> fields;    // plain ones; a reference counts by its id
  bool fold = false;                  // upper and lower case alike
  std::set<std::string> none_counts;  // where "none" is a value like others; none of any other field: not held unique
};

// A field in which an object must agree with one that it refers to, where that one is `when` (a device's site with its
// cluster's, where the cluster is in a site).
struct inheritance {
  std::string from;   // the field that refers to it
  std::string field;  // its field
  std::map<std::string, std::string> when;
};

// What a configuration says about a kind, over what the kind says itself. Absent: as it is.
struct kind_policy {
  std::map<std::string, rule> fields;
  std::optional<adoption> adopt;
  std::optional<orphans> when_gone;
  std::optional<std::chrono::seconds> grace;
  std::optional<std::size_t> max_deletes, max_deletes_percent;
};

struct kind {
  std::string name;                                // NetBox's content type, "virtualization.virtualmachine"
  std::string path;                                // below /api, "virtualization/virtual-machines"
  std::string title;                               // for people: "virtual machine"
  std::vector<std::string> key;                    // the natural key's members; dotted ones address custom fields
  std::vector<std::vector<std::string>> adopt_by;  // other keys NetBox holds unique: an unclaimed match is taken over
  std::vector<uniqueness> unique;                  // what NetBox refuses two of
  std::map<std::string, std::string> refs;         // field ► kind it points to
  std::map<std::string, inheritance> inherits;     // field ► what NetBox wants it to be
  std::set<std::string> times;                     // fields that hold an instant
  std::map<std::string, rule> rules;               // per field; custom fields by their dotted name
  rule default_rule = rule::always;
  std::string label;  // the field that names an object to people
  std::string mark;   // the field that says whose it is: equals the source's name; empty: shared, never deleted
  netbox::orphans when_gone = netbox::orphans::keep;
  std::chrono::seconds grace{0};  // so long an object must have been gone before anything is done about it
  gone_mark gone;
  netbox::adoption adopt = netbox::adoption::matching;
  std::optional<std::size_t> max_deletes, max_deletes_percent;  // absent: the run's
  // Dotted field with facts that tell an object's next holder of the same key from itself, "uuid=…;mac=…"; see match.
  std::string identity;
  std::set<std::string> skip_when_missing;          // refs without which an object is skipped (and counted), not failed
  std::map<std::string, std::string> owned_tags;    // merge field ► dotted field that lists the members that are ours
  std::map<std::string, std::string> frozen_while;  // field ► count field: not compared while NetBox counts children
  std::string requires_plugin;  // NetBox plugin that has it ("netbox_proxbox"); empty: NetBox itself
  bool supporting = false;      // a look-up or container object: counted apart from what a stage is about

  rule rule_of(std::string const& field) const;
  // "virtualization.add_virtualmachine" for verb "add".
  std::string permission(std::string_view verb) const;
  // Dotted or plain field ► its top-level member ("custom_fields.x" ► "custom_fields").
  static std::string top(std::string_view field);
};

// An object as a stage emits it, in one spelling of its JSON.
struct object_text {
  std::string key, fields;
};
// Both are JSON objects, and the key has exactly the kind's key members. Errors (data) say what is wrong.
base::result<object_text> read_object(kind const& k, std::string_view key_json, std::string_view fields_json);

// The names of all kinds in a stage's kinds_json, which has been checked: NetBox's own that it uses and those it
// brings.
std::set<std::string, std::less<>> kind_names(std::string_view json);

// A JSON array as a stage's kinds_json; plain strings (names of built-in kinds) are left out.
base::result<std::vector<kind>> parse_kinds(std::string_view json);

class registry {
 public:
  registry();  // the built-in kinds
  // A second definition of the same name must be the same in path and key, else it is an error that names both.
  base::result<void> add(kind k, std::string const& by);
  kind const* find(std::string_view name) const;
  // Error (config): nobody defines the kind, or what is asked for is not possible with it.
  base::result<void> apply(std::string_view name, kind_policy const& policy);
  std::vector<std::string> names() const;
  // Parents before children; tags and custom fields before everything.
  std::size_t rank(kind const& k) const;

 private:
  std::map<std::string, kind, std::less<>> kinds_;
};

}  // namespace weir::netbox
