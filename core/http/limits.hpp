// From a profile to the ceilings of NetBox's gate: what a run and a simulation of it share.
#pragma once
#include "core/config/config.hpp"
#include "core/throttle/gate.hpp"

namespace weir::http {

throttle::limits limits_of(config::profile const& p, throttle::control control);

}  // namespace weir::http
