#include "core/source/source.hpp"

#include <future>

#include "core/source/common.hpp"

namespace weir::source {

fetched wait_for(std::string const& name, std::function<void(std::function<void(fetched)>)> const& start) {
  auto promise = std::make_shared<std::promise<fetched>>();
  auto future = promise->get_future();
  start([promise = std::move(promise)](fetched f) { promise->set_value(std::move(f)); });
  try {
    return future.get();
  } catch (std::future_error const&) {  // the loop went away with the request in it
    fetched f;
    f.error = base::fail(base::error_code::interrupted, name + ": the I/O loop ended before the answer came");
    return f;
  }
}

fetched source::fetch_and_wait(std::string target, std::string lane) {
  return wait_for(
      name(), [&](std::function<void(fetched)> done) { fetch(std::move(target), std::move(lane), std::move(done)); });
}

std::unique_ptr<source> make_source(boost::asio::io_context& io, config::source const& settings) {
  return settings.type == "rest" ? make_rest(io, settings) : make_proxmox(io, settings);
}

}  // namespace weir::source
