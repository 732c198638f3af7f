#include "core/http/limits.hpp"

namespace weir::http {

throttle::limits limits_of(config::profile const& p, throttle::control control) {
  throttle::limits l;
  l.max_in_flight = p.max_in_flight;
  l.requests_per_second = p.requests_per_second;
  l.batch_size = p.batch_size;
  l.batch_delay = p.batch_delay;
  l.max_attempts = p.max_attempts;
  l.backoff_base = p.backoff_base;
  l.backoff_cap = p.backoff_cap;
  l.max_outage = std::chrono::duration_cast<std::chrono::seconds>(p.max_outage);
  l.control = control;
  l.probe = true;
  return l;
}

}  // namespace weir::http
