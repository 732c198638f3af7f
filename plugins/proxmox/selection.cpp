#include "proxmox/selection.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <weir/json.hpp>

#include "proxmox/answers.hpp"
#include "proxmox/text.hpp"

namespace weir::proxmox {
namespace {

constexpr bool any_case = true;

// What is not there (a guest of no pool) is named by no pattern, not even "*".
bool matches(std::vector<std::string> const& patterns, std::string const& text, bool fold = false) {
  if (text.empty()) return false;
  return std::any_of(patterns.begin(), patterns.end(), [&](std::string const& p) {
    return ::fnmatch(p.c_str(), text.c_str(), fold ? FNM_CASEFOLD : 0) == 0;
  });
}

// As the list of `include` and as that of `exclude`: an absent list lets everything through.
bool passes(std::vector<std::string> const& wanted, std::vector<std::string> const& unwanted, std::string const& text,
            bool fold = false) {
  return (wanted.empty() || matches(wanted, text, fold)) && !matches(unwanted, text, fold);
}

bool holds(std::vector<std::pair<std::int64_t, std::int64_t>> const& ranges, std::int64_t number) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](auto const& range) { return number >= range.first && number <= range.second; });
}

std::pair<std::int64_t, std::int64_t> to_range(std::string const& text) {
  auto const dash = text.find('-');
  auto const number = [&](std::string_view t) {
    std::int64_t n = 0;
    auto const [end, fault] = std::from_chars(t.data(), t.data() + t.size(), n);
    if (t.empty() || fault != std::errc{} || end != t.data() + t.size())
      throw error("the scope names the guests '" + text.substr(0, 60) + "', which is no number and no range");
    return n;
  };
  std::string_view const whole{text};
  auto const first = number(whole.substr(0, dash));
  return {first, dash == text.npos ? first : number(whole.substr(dash + 1))};
}

std::vector<std::string> words(json const& list, std::string const& where) {
  std::vector<std::string> out;
  if (!list.is_array()) throw error("the scope's " + where + " is no list");
  for (auto const& word : list) {
    if (!word.is_string()) throw error("the scope's " + where + " holds something else than text");
    out.push_back(word.get<std::string>());
  }
  return out;
}

// The states by which people know a guest: what it does, and that it was put to sleep (a lock).
std::vector<std::string> states_of(json const& row) {
  std::vector<std::string> out{text(row, "status")};
  if (auto const lock = text(row, "lock"); lock == "suspended" || lock == "suspending") out.push_back("suspended");
  return out;
}

}  // namespace

void selection::read(json const& from, part& to, std::string const& where) {
  if (!from.is_object()) throw error("the scope's " + where + " is no object");
  for (auto const& [name, value] : from.items()) {
    auto const here = where + "." + name;
    if (name == "nodes") {
      to.nodes = words(value, here);
    } else if (name == "pools") {
      to.pools = words(value, here);
    } else if (name == "tags") {
      to.tags = words(value, here);
    } else if (name == "names") {
      to.names = words(value, here);
    } else if (name == "storages") {
      to.storages = words(value, here);
    } else if (name == "states") {
      to.states = words(value, here);
    } else if (name == "vmids") {
      for (auto const& word : words(value, here)) to.vmids.push_back(to_range(word));
    } else if (name == "templates" && value.is_boolean()) {
      to.templates = value.get<bool>();
    } else {
      unknown_.push_back(here);
    }
  }
}

selection::selection(std::string_view text) {
  json const all = json::parse(text, nullptr, false);
  if (!all.is_object()) throw error("the scope of this run is no JSON object");
  narrow_ = !all.empty();
  for (auto const& [name, value] : all.items()) {
    if (name == "include") {
      read(value, include_, name);
    } else if (name == "exclude") {
      read(value, exclude_, name);
    } else if (name == "guests") {
      if (!value.is_array() || value.empty()) throw error("the scope's guests are no list of numbers");
      for (auto const& n : value) {
        if (!n.is_number_integer()) throw error("the scope's guests are no list of numbers");
        guests_.insert(n.get<std::int64_t>());
      }
    } else {
      unknown_.push_back(name);
    }
  }
}

selection selection::of(run const& r) {
  selection out{r.scope_json()};
  for (auto const& name : out.unknown())
    r.notice(level::warn, "the scope holds '" + name + "', which this stage does not know: it is left aside",
             "the stage is older than weir: update it");
  return out;
}

bool selection::takes_node(std::string_view name) const {
  return passes(include_.nodes, exclude_.nodes, std::string{name});
}

bool selection::takes_storage(std::string_view name) const {
  return passes(include_.storages, exclude_.storages, std::string{name});
}

bool selection::takes_guest(json const& row) const {
  if (!narrow_) return true;
  auto const number = vmid(row).value_or(0);
  if (!guests_.empty() && !guests_.contains(number)) return false;
  if (!takes_node(text(row, "node"))) return false;
  if (!passes(include_.pools, exclude_.pools, text(row, "pool"))) return false;
  if (!passes(include_.names, exclude_.names, text(row, "name"), any_case)) return false;
  if ((!include_.vmids.empty() && !holds(include_.vmids, number)) || holds(exclude_.vmids, number)) return false;
  std::string const joined = text(row, "tags");
  auto const tags = split_list(joined);
  auto const has = [&](std::vector<std::string> const& patterns, auto const& list) {
    return std::any_of(list.begin(), list.end(), [&](auto const& one) { return matches(patterns, std::string{one}); });
  };
  if ((!include_.tags.empty() && !has(include_.tags, tags)) || has(exclude_.tags, tags)) return false;
  auto const states = states_of(row);
  if ((!include_.states.empty() && !has(include_.states, states)) || has(exclude_.states, states)) return false;
  bool const is_template = flag(row, "template").value_or(false);
  // `exclude: {templates: true}` leaves them out, `include: {templates: true}` leaves everything else out.
  return (!include_.templates || *include_.templates == is_template) &&
         (!exclude_.templates || *exclude_.templates != is_template);
}

json kept() { return {{"$keep", true}}; }

}  // namespace weir::proxmox
