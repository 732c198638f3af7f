// What memory shall hold of an object once a change of it is done, in little memory: of a new one it is nearly always
// what is sent, and not kept a second time.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "core/engine/plan.hpp"

namespace weir::engine {

// Sets c.applied. `applied`: leaf ► value. To be called when c.body is what it shall be: with another one it would
// mean something else.
void remember(change& c, nlohmann::json const& applied);

// What was given to remember(), or to c.applied itself; null: it is to be forgotten.
nlohmann::json remembered(change const& c);

}  // namespace weir::engine
