// What the doctor finds, as data: core/cli/doctor.cpp prints it.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"

namespace weir::doctor {

// problem: objects will be missing or wrong, or a run cannot be. warning: it works, and something should be done.
// note: worth knowing, or it could not be found out.
enum class level { ok, note, warning, problem };
std::string_view name(level l);

struct finding {
  doctor::level level = doctor::level::ok;
  std::string group;                               // "configuration", "NetBox", "source pve-a", "this machine"
  std::string title;                               // what was looked at: "token"
  std::string seen;                                // what was seen, on one line
  std::string todo;                                // a command or a setting; empty where there is nothing to do
  std::string symptom;                             // of symptoms.hpp; may be empty
  base::error_code code = base::error_code::data;  // of a problem: what a run would end with
};

using findings = std::vector<finding>;

// Collects findings of one group.
class notebook {
 public:
  notebook(findings& into, std::string group) : into_(into), group_(std::move(group)) {}
  void ok(std::string title, std::string seen) { add(level::ok, std::move(title), std::move(seen), {}, {}); }
  void note(std::string title, std::string seen, std::string todo = {}, std::string symptom = {}) {
    add(level::note, std::move(title), std::move(seen), std::move(todo), std::move(symptom));
  }
  void warning(std::string title, std::string seen, std::string todo, std::string symptom = {}) {
    add(level::warning, std::move(title), std::move(seen), std::move(todo), std::move(symptom));
  }
  void problem(std::string title, std::string seen, std::string todo, std::string symptom = {},
               base::error_code code = base::error_code::data) {
    add(level::problem, std::move(title), std::move(seen), std::move(todo), std::move(symptom), code);
  }

 private:
  void add(level l, std::string title, std::string seen, std::string todo, std::string symptom,
           base::error_code code = base::error_code::data) {
    into_.push_back({l, group_, std::move(title), std::move(seen), std::move(todo), std::move(symptom), code});
  }
  findings& into_;
  std::string group_;
};

// What the whole comes to: unreachable before credentials before any other problem; nothing if there is no problem.
std::optional<base::error_code> verdict(findings const& all);

}  // namespace weir::doctor
