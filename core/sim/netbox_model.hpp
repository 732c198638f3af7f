// The simulated NetBox's object types as data: what OPTIONS, the unique constraints and the foreign keys of a real one
// say.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weir::sim {

enum class field_kind {
  text,
  slug,
  integer,
  decimal,
  boolean,
  choice,
  instant,
  reference,     // to a simulated object type
  foreign,       // to an object type that is not simulated: only null is possible
  object_types,  // list of content types
  free_json,
  scope_type,
  scope_id,
  fixed,  // read-only and always `fallback`
  count,  // read-only: how many objects refer to this one through `target` ("dcim.device.role")
  sum,    // read-only: the sum of `target`'s field over the objects that refer to this one; null without any
  scope,
  data_type,
};

enum class on_delete { protect, cascade, set_null };

struct model_field {
  std::string name = {};
  field_kind kind = field_kind::text;
  bool required = false;
  bool nullable = false;
  bool blank = true;    // text may be ""
  bool unique = false;  // on its own
  bool filter = true;   // a query parameter of that name narrows the list
  std::size_t max_length = 0;
  std::optional<double> minimum = {};
  std::optional<double> maximum = {};
  int decimal_places = 0;
  std::string fallback = "null";  // JSON text: the value of a new object that does not name the field
  std::vector<std::pair<std::string, std::string>> choices = {};  // value, label
  std::string target = {};
  on_delete rule = on_delete::protect;
};

struct unique_rule {
  std::vector<std::string> fields = {};  // "lower(name)" compares without case
  bool nulls_distinct = true;            // SQL's default: two NULLs are no duplicate
  std::string only_if_set = {};          // holds only where this field is not null
  std::string only_if_null = {};         // and this one is
  std::string message = {};              // "" = Django's default
};

struct object_model {
  std::string type = {};        // "virtualization.virtualmachine"
  std::string path = {};        // "virtualization/virtual-machines"
  std::string class_name = {};  // "VirtualMachine"
  std::string verbose = {};     // "virtual machine"
  bool display_url = true;
  bool taggable = true;  // has tags and custom fields
  bool plugin = false;
  std::string display_field = {};  // "" = made in code
  std::vector<std::string> ordering = {};
  std::vector<std::string> brief = {};              // besides id, url and display
  std::vector<std::string> nested_by_default = {};  // as brief, where another object refers to it; empty = brief
  std::int64_t first_id = 1;
  std::vector<unique_rule> unique = {};
  std::vector<model_field> fields = {};
};

// In an order in which references point backwards only.
std::vector<object_model> const& netbox_models();

}  // namespace weir::sim
