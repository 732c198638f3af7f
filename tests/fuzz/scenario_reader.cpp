// Any text is a scenario that makes sense, or a list of errors.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/config/scenario.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  namespace config = weir::config;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  auto const outcome = config::load_scenario_text(text, "/fuzz/scenario.yaml");
  if (outcome.value.has_value() != outcome.errors.empty()) std::abort();
  for (auto const& d : outcome.errors)
    if (config::render(d).empty()) std::abort();
  if (!outcome.value) return 0;
  auto const& s = *outcome.value;
  auto const& n = s.server;
  if (n.workers < 1 || n.workers > 64 || n.threads < 1 || n.threads > 256 || n.connections < 1) std::abort();
  if (!(n.cores >= 0.1 && n.cores <= 256) || !(n.jitter >= 0 && n.jitter <= 0.9)) std::abort();
  if (s.works.empty()) std::abort();
  std::size_t objects = 0;
  for (auto const& w : s.works) {
    if (w.objects < 1 || !(w.write_base_ms > 0) || !(w.write_object_ms >= 0) || w.kind.empty()) std::abort();
    objects += w.objects;
  }
  if (objects > 1'000'000) std::abort();
  for (auto const& e : s.events)
    if (e.what.empty() || !(e.from_s < e.to_s) || !(e.factor >= 1) || !(e.amount >= 0)) std::abort();
  for (auto const& e : s.expectations)
    if (!(e.low <= e.high) || e.profile.empty() || e.figure.empty()) std::abort();
  return 0;
}
