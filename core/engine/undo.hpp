// The inverse of a run, made from the journal: what it created is deleted, what it changed gets its former values, what
// it deleted is made anew. What others have changed since stays, and is reported.
//
// The steps go backwards through the run's own, so that NetBox meets nothing but states it has accepted before: a child
// before its parent, a name given back before it is taken.
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/engine/run.hpp"
#include "core/store/journal.hpp"

namespace weir::engine {

// `run`: its whole id. The planner's errors: the journal fails, or it holds nothing of the run to go by.
planner inverse_of(store::journal const& journal, std::string run);

// What the planner does once everything has been read. Pure.
class inversion {
 public:
  inversion(world& w, memory& known);
  ~inversion();
  inversion(inversion const&) = delete;
  inversion& operator=(inversion const&) = delete;

  // What the run did, in its order: objects that are done, and have ids.
  void did(netbox::kind const& k, std::string const& source, std::string const& stage, store::instant when,
           store::object_record what);
  // What weir has written since.
  void written_later(netbox::kind const& k, object_id id, store::instant when);
  // Is there anything that later runs wrote, and that is not this run's? Then its tags and custom fields are in use.
  void later_runs(bool count_on_it);

  // What plan() needs to know of: objects by kind and id, whole; and of kinds all objects' fields.
  std::map<netbox::kind const*, std::vector<object_id>> wanted() const;
  std::map<netbox::kind const*, std::set<std::string>> wanted_tables() const;
  void holds(netbox::kind const& k, nlohmann::json const& raw);  // of wanted(), as NetBox's API gives it
  // The same of all objects of kinds of which NetBox deletes some along with what the run made: keys are enough.
  std::set<netbox::kind const*> wanted_inside() const;
  void holds_inside(netbox::kind const& k, nlohmann::json const& raw);

  // One per stage and source, the last first. The world holds the tables by now.
  std::vector<job_report> plan();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::engine
