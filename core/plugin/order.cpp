#include "core/plugin/order.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "core/base/text.hpp"

namespace weir::plugin {
namespace {

using by_id = std::map<std::string, loaded_stage>;

std::string named(loaded_stage const& stage) {
  auto out = "stage \"" + stage.id + "\"";
  if (!stage.file.empty()) out += " (" + stage.file.string() + ")";
  return out;
}

// Every stage left waits for another that is left: so following the needs from anywhere must come round.
std::vector<std::string> find_cycle(by_id const& left) {
  std::vector<std::string> trail{left.begin()->first};
  for (;;) {
    auto const& needs = left.at(trail.back()).needs;
    auto const next = std::find_if(needs.begin(), needs.end(), [&](auto const& id) { return left.contains(id); });
    auto const first = std::find(trail.begin(), trail.end(), *next);
    std::vector<std::string> cycle(first, trail.end());
    trail.push_back(*next);
    if (cycle.empty()) continue;
    cycle.push_back(*next);
    return cycle;
  }
}

}  // namespace

load_report sort_out(std::vector<loaded_stage> stages) {
  load_report report;
  auto const refuse = [&](std::string what, std::string hint) {
    report.problems.push_back(base::fail(base::error_code::config, std::move(what), std::move(hint)));
  };
  by_id left;
  std::vector<std::string> known;
  for (auto& stage : stages) {
    auto const first = left.find(stage.id);
    if (first != left.end()) {
      refuse(named(stage) + " has the id of " + named(first->second) + ", which is kept",
             "stage ids are unique among all plugins: remove one of the two files");
      continue;
    }
    known.push_back(stage.id);
    left.emplace(stage.id, std::move(stage));
  }

  // What needs something that is not there cannot run, nor can what needs that in turn.
  for (bool again = true; again;) {
    again = false;
    for (auto at = left.begin(); at != left.end();) {
      auto const& needs = at->second.needs;
      auto const missing = std::find_if(needs.begin(), needs.end(), [&](auto const& id) { return !left.contains(id); });
      if (missing == needs.end()) {
        ++at;
        continue;
      }
      bool const was_there = std::find(known.begin(), known.end(), *missing) != known.end();
      std::string hint = "load the plugin that brings it, or leave this stage out";
      if (auto const near = base::nearest(*missing, known); near && !was_there)
        hint += "; did it mean \"" + *near + "\"?";
      refuse(named(at->second) + " needs the stage \"" + *missing + "\", which is not loaded" +
                 (was_there ? " because it lacks a stage itself" : ""),
             std::move(hint));
      at = left.erase(at);
      again = true;
    }
  }

  std::set<std::string> done;
  while (!left.empty()) {
    auto const ready = std::find_if(left.begin(), left.end(), [&](auto const& item) {
      auto const& needs = item.second.needs;
      return std::all_of(needs.begin(), needs.end(), [&](auto const& id) { return done.contains(id); });
    });
    if (ready != left.end()) {
      done.insert(ready->first);
      report.stages.push_back(std::move(ready->second));
      left.erase(ready);
      continue;
    }
    auto const cycle = find_cycle(left);
    std::vector<std::string> files;
    for (std::size_t i = 0; i + 1 < cycle.size(); ++i)
      if (auto const file = left.at(cycle[i]).file.string();
          !file.empty() && std::find(files.begin(), files.end(), file) == files.end())
        files.push_back(file);
    refuse("stages need each other in a circle: " + base::join(cycle, " needs ") +
               (files.empty() ? "" : " (" + base::join(files) + ")"),
           "one of them must do without the other");
    // The circle goes, and with it everything that waits for it.
    std::set<std::string> gone(cycle.begin(), cycle.end());
    for (auto const& id : gone) left.erase(id);
    for (bool again = true; again;) {
      again = false;
      for (auto at = left.begin(); at != left.end();) {
        auto const& needs = at->second.needs;
        auto const lost = std::find_if(needs.begin(), needs.end(), [&](auto const& id) { return gone.contains(id); });
        if (lost == needs.end()) {
          ++at;
          continue;
        }
        refuse(named(at->second) + " needs the stage \"" + *lost + "\", which cannot run: see the circle above",
               "solve the circle first");
        gone.insert(at->first);
        at = left.erase(at);
        again = true;
      }
    }
  }
  return report;
}

base::result<std::vector<loaded_stage>> in_order(std::vector<loaded_stage> stages) {
  auto sorted = sort_out(std::move(stages));
  if (!sorted.problems.empty()) return sorted.problems.front();
  return std::move(sorted.stages);
}

}  // namespace weir::plugin
