#include "stage.hpp"

WEIR_PLUGIN("inventory-devices", "1.0.0", "Example Org", inventory_devices);
