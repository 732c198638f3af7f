// What requests take, per method and endpoint: the reference of good times, against which a slow server shows, and the
// present cost, from which the size of a list follows.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/throttle/limiter.hpp"
#include "core/throttle/outcome.hpp"

namespace weir::throttle {

// Units of work in a request. A write costs about as much as three further objects would, a read as much as a hundred
// (of about 1 KiB; both measured on NetBox 4.7), so that time per unit hardly depends on the list's size.
double work_of(method verb, std::size_t objects, std::size_t reply_bytes);

class latencies {
 public:
  // An answer came: its latency over the reference, into which it goes when the window ends. Where there is no
  // reference yet: 1 if it was `alone` (then it is one), else nothing.
  std::optional<double> seen(method verb, std::string_view endpoint, std::size_t objects, std::size_t reply_bytes,
                             clock::duration latency, bool alone = true);
  // Good windows move the references, others hardly. `usual`: what slowdown our own requests in flight bring
  // (limiter::usual), which is no part of a reference.
  void window_ended(double inflation, double usual = 1);
  // The answers of the last window say nothing about references.
  void window_lost();

  // Objects for a list request that shall take 1 to 2 s, at most `ceiling`. Where nothing is known yet: ten, or 250 to
  // read.
  std::size_t list_size(method verb, std::string_view endpoint, std::size_t ceiling) const;
  // No usable answer came to a list of so many: the next ones carry half; the bound grows again with successes.
  void halve(method verb, std::string_view endpoint, std::size_t objects);

  // One line each: "POST dcim/devices 0.0412" (seconds per unit); for the next run. Lines of another form are skipped.
  std::string save() const;
  void restore(std::string_view text);
  std::optional<double> reference(method verb, std::string_view endpoint) const;  // seconds per unit

 private:
  struct entry {
    double reference = 0;  // s per unit of a request alone; 0: none
    double cost = 0;       // recent; 0: none
    double bound = 0;      // objects; 0: none
    double window_sum = 0;
    std::size_t window_count = 0;
  };
  std::map<std::string, entry, std::less<>> entries_;  // "POST dcim/devices"
};

}  // namespace weir::throttle
