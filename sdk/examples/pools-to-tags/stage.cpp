#include "stage.hpp"

WEIR_PLUGIN("pools-to-tags", "1.0.0", "Example Org", pools_to_tags);
