// The inverse of a run, made from the journal: what it created is deleted, what it changed gets its former values, what
// it deleted is made anew. What others have changed since stays, and is reported.
#pragma once
#include <string>

#include "core/engine/run.hpp"
#include "core/store/journal.hpp"

namespace weir::engine {

// `run`: its whole id. The planner's errors: the journal fails, or it holds nothing of the run to go by.
planner inverse_of(store::journal const& journal, std::string run);

}  // namespace weir::engine
