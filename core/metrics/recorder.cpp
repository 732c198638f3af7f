#include "core/metrics/recorder.hpp"

namespace weir::metrics {

struct recorder::state {};
recorder::recorder() : state_(std::make_unique<state>()) {}
recorder::~recorder() = default;
std::string recorder::text() const { return {}; }

}  // namespace weir::metrics
