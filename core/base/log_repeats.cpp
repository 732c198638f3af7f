#include "core/base/log_repeats.hpp"

#include <algorithm>
#include <utility>

namespace weir::base::log {

bool repeats::admit(time now, int level, std::string_view message) {
  std::string key(1, static_cast<char>('0' + level));
  key += message;
  auto found = seen_.find(key);
  if (found == seen_.end()) {
    if (seen_.size() >= remembered) return true;
    found = seen_.emplace(std::move(key), entry{now, level, 0}).first;
    next_ = std::min(next_, now + window);
  }
  return ++found->second.seen <= shown;
}

std::vector<repeats::summary> repeats::due(time now) {
  if (now < next_) return {};
  std::vector<std::pair<time, summary>> over;
  next_ = time::max();
  for (auto at = seen_.begin(); at != seen_.end();) {
    auto const& e = at->second;
    if (now < e.since + window) {
      next_ = std::min(next_, e.since + window);
      ++at;
      continue;
    }
    if (e.seen > shown) over.push_back({e.since, {e.level, at->first.substr(1), e.seen - shown}});
    at = seen_.erase(at);
  }
  std::sort(over.begin(), over.end(), [](auto const& a, auto const& b) {
    return std::pair(a.first, std::string_view(a.second.message)) <
           std::pair(b.first, std::string_view(b.second.message));
  });
  std::vector<summary> out;
  for (auto& [since, s] : over) out.push_back(std::move(s));
  return out;
}

std::vector<repeats::summary> repeats::all() { return due(time::max()); }

}  // namespace weir::base::log
