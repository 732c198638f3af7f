// Any text is a configuration or a list of errors, and a profile or a list of errors; nothing is read but the text.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/config/config.hpp"
#include "core/config/profiles.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  namespace config = weir::config;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  config::load_options options;
  options.file = "/fuzz/weir.yaml";
  options.use_files = false;
  options.need_secrets = false;
  options.list_settings = true;
  options.environment = {{"HOME", "/fuzz"}};
  auto const outcome = config::load_text(text, "/fuzz/weir.yaml", options);
  if (outcome.value.has_value() != outcome.errors.empty()) std::abort();
  for (auto const* list : {&outcome.errors, &outcome.warnings})
    for (auto const& d : *list)
      if (config::render(d).empty()) std::abort();
  if (outcome.value && (outcome.value->sources.empty() || outcome.value->netbox.url.empty())) std::abort();

  std::vector<config::diagnostic> errors;
  auto const profile = config::read_profile(text, "/fuzz/profile.yaml", {}, errors);
  // Whatever the text says, the ceilings stay within the table's ranges.
  if (profile.batch_size < 1 || profile.batch_size > 100 || profile.max_in_flight < 1 || profile.max_in_flight > 64)
    std::abort();
  if (!(profile.requests_per_second > 0 && profile.requests_per_second <= 1000)) std::abort();
  for (auto const& d : errors)
    if (config::render(d).empty()) std::abort();
  return 0;
}
