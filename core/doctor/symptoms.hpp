// What people see when something is wrong, why it is so, and what helps. README's section "When something is wrong" is
// this table; a test compares them.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace weir::doctor {

struct symptom {
  std::string_view id;     // "poisoned-pool": what the doctor's findings refer to
  std::string_view seen;   // what is seen, in weir's or NetBox's words
  std::string_view cause;  // why
  std::string_view cure;   // a setting, a command
};

std::span<symptom const> symptoms();
symptom const* find_symptom(std::string_view id);  // null: there is none of that name
std::string symptoms_markdown();                   // the table's rows with their head, as in the README

}  // namespace weir::doctor
