#include "core/throttle/latencies.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace weir::throttle {
namespace {

constexpr double write_overhead = 3, read_overhead = 100;  // in units
constexpr double target_s = 1.8;
constexpr double first_write = 10, first_read = 250;
constexpr std::size_t most_entries = 1000;  // endpoints are templates: there are some dozens

std::string key_of(method verb, std::string_view endpoint) {
  return std::string(name(verb)) + " " + std::string(endpoint);
}

double overhead(method verb) { return verb == method::get ? read_overhead : write_overhead; }

}  // namespace

double work_of(method verb, std::size_t objects, std::size_t reply_bytes) {
  auto const units = verb == method::get ? static_cast<double>(reply_bytes) / 1024 : static_cast<double>(objects);
  return overhead(verb) + units;
}

std::optional<double> latencies::seen(method verb, std::string_view endpoint, std::size_t objects,
                                      std::size_t reply_bytes, clock::duration latency, bool alone) {
  auto key = key_of(verb, endpoint);
  if (entries_.size() >= most_entries && !entries_.contains(key)) return {};
  auto& e = entries_[std::move(key)];
  auto const per_unit =
      std::max(1e-7, std::chrono::duration<double>(latency).count() / work_of(verb, objects, reply_bytes));
  e.cost = e.cost == 0 ? per_unit : e.cost + 0.3 * (per_unit - e.cost);
  if (e.bound > 0) e.bound *= 1.25;
  if (e.reference == 0 && alone) e.reference = per_unit;
  e.window_sum += per_unit;
  ++e.window_count;
  if (e.reference == 0) return {};
  return per_unit / e.reference;
}

void latencies::window_ended(double inflation, double usual) {
  for (auto& [key, e] : entries_) {
    if (e.window_count == 0) continue;
    auto const mean = e.window_sum / static_cast<double>(e.window_count) / usual;
    e.window_sum = 0;
    e.window_count = 0;
    if (e.reference == 0)
      e.reference = mean;
    else if (mean < e.reference)
      e.reference += 0.5 * (mean - e.reference);
    else if (inflation <= calm_inflation)
      e.reference += 0.1 * (mean - e.reference);
    else
      e.reference *= 1.01;  // a server that stays as slow as this for minutes is simply like that
  }
}

void latencies::window_lost() {
  for (auto& [key, e] : entries_) e.window_sum = 0, e.window_count = 0;
}

std::size_t latencies::list_size(method verb, std::string_view endpoint, std::size_t ceiling) const {
  double size = verb == method::get ? first_read : first_write;
  if (auto const found = entries_.find(key_of(verb, endpoint)); found != entries_.end()) {
    auto const& e = found->second;
    auto const per_unit = e.cost > 0 ? e.cost : e.reference;
    if (per_unit > 0) size = std::floor(target_s / per_unit - overhead(verb));
    if (e.bound > 0) size = std::min(size, std::floor(e.bound));
  }
  return static_cast<std::size_t>(std::clamp(size, 1.0, static_cast<double>(std::max<std::size_t>(1, ceiling))));
}

void latencies::halve(method verb, std::string_view endpoint, std::size_t objects) {
  auto& e = entries_[key_of(verb, endpoint)];
  e.bound = std::max(1.0, std::floor(static_cast<double>(objects) / 2));
}

std::string latencies::save() const {
  std::string out;
  for (auto const& [key, e] : entries_)
    if (e.reference > 0) out += fmt::format("{} {:.6g}\n", key, e.reference);
  return out;
}

void latencies::restore(std::string_view text) {
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto const line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto const space = line.rfind(' ');
    if (space == std::string_view::npos || line.find(' ') == space || entries_.size() >= most_entries) continue;
    std::string const number(line.substr(space + 1));
    char* rest = nullptr;
    double const value = std::strtod(number.c_str(), &rest);
    if (*rest != '\0' || !(value >= 1e-7) || value > 1000) continue;
    entries_[std::string(line.substr(0, space))].reference = value;
  }
}

std::optional<double> latencies::reference(method verb, std::string_view endpoint) const {
  auto const found = entries_.find(key_of(verb, endpoint));
  if (found == entries_.end() || found->second.reference == 0) return {};
  return found->second.reference;
}

}  // namespace weir::throttle
