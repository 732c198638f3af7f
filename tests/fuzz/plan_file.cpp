// Any bytes are a plan or an error with a reason; what is a plan is so when it has been stored again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/engine/plan_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

using namespace weir;

std::size_t changes_in(engine::stored_plan const& plan) {
  std::size_t out = 0;
  for (auto const& j : plan.what.jobs)
    for (auto const& p : j.plans) out += p.creates.size() + p.updates.size() + p.deletes.size();
  return out;
}

void look_at(std::string_view text) {
  auto const plan = engine::parse_plan(text, "a plan");
  if (!plan) {
    if (plan.error().what.empty() || plan.error().code != base::error_code::data) std::abort();
    return;
  }
  auto const& p = *plan;
  auto const again = engine::parse_plan(engine::plan_text(p.what, p.made_under, p.command, p.made), "the same");
  if (!again || changes_in(*again) != changes_in(p) || !engine::changed_since(again->made_under, p.made_under).empty())
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  look_at(text);
  // A fuzzer finds no checksum by itself.
  if (auto const sealed = engine::sealed_plan(text); !sealed.empty()) look_at(sealed);
  return 0;
}
