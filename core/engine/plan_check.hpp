// A stored plan against NetBox as it is now.
#pragma once
#include "core/engine/plan_file.hpp"

namespace weir::engine {

// Carries a stored plan out: reads what it is about from NetBox and refuses (error_code::guard, every difference named)
// where that is not what it was when the plan was made.
planner from_plan(stored_plan plan);

}  // namespace weir::engine
