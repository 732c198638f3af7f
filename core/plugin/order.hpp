// Dependency order of stages: the part of the loader that touches no file.
#pragma once
#include <vector>

#include "core/plugin/loader.hpp"

namespace weir::plugin {

// Stages in dependency order, those free to go in the order of their ids; and one problem per stage that is named
// twice, needs one that is not there, or is part of a cycle. Stages with a problem, and those that need them, are left
// out.
load_report sort_out(std::vector<loaded_stage> stages);

}  // namespace weir::plugin
