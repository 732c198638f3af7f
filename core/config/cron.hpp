// When a schedule's next start is. Pure: the time is an argument.
#pragma once
#include <chrono>
#include <optional>
#include <string_view>

#include "core/base/result.hpp"

namespace weir::config {

// Five fields as crontab(5) has them: minute hour day-of-month month day-of-week. Lists, ranges, steps, names (jan,
// mon), 7 for Sunday; @hourly and its like. Where both day fields are restricted, either one is enough.
class cron {
 public:
  static base::result<cron> parse(std::string_view text);  // error_code::config, naming the field
  // The first matching minute after `now`, in local time; nothing if there is none within five years (31 February).
  std::optional<std::chrono::system_clock::time_point> next(std::chrono::system_clock::time_point now) const;

 private:
  std::uint64_t minutes_ = 0;
  std::uint32_t hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;
  bool any_day_ = true, any_weekday_ = true;
};

}  // namespace weir::config
