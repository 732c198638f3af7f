// Any bytes are an answer that gets a class, and a Retry-After that is none or within its bounds.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/throttle/outcome.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  using namespace weir::throttle;
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  for (int status : {0, 200, 400, 403, 500, 502, 503}) {
    observation seen;
    seen.status = status;
    seen.request_sent = seen.reply_started = true;
    seen.body = text;
    auto const o = classify(seen);
    // What decides about repeating a POST must never rest on an answer that claims success or blame.
    if (status == 200 && o != outcome::ok) std::abort();
    if (status == 403 && o != outcome::credentials) std::abort();
    if (status == 0 && may_repeat(method::post, o)) std::abort();
    if (name(o) == "?") std::abort();
  }
  auto const wait = retry_after(text, std::chrono::system_clock::time_point(std::chrono::hours(500000)));
  if (wait && (wait->count() < 0 || wait->count() > 120000)) std::abort();
  return 0;
}
