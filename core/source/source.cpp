#include "core/source/source.hpp"

#include <future>

namespace weir::source {

fetched source::fetch_and_wait(std::string target, std::string lane) {
  auto promise = std::make_shared<std::promise<fetched>>();
  auto future = promise->get_future();
  fetch(std::move(target), std::move(lane),
        [promise = std::move(promise)](fetched f) { promise->set_value(std::move(f)); });
  try {
    return future.get();
  } catch (std::future_error const&) {  // the loop went away with the request in it
    fetched f;
    f.error = base::fail(base::error_code::interrupted, name() + ": the I/O loop ended before the answer came");
    return f;
  }
}

}  // namespace weir::source
