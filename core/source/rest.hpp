// The `rest` source with its limits as arguments, for tests; everybody else calls make_rest().
#pragma once
#include <cstddef>
#include <memory>

#include "core/source/source.hpp"

namespace weir::source {

inline constexpr std::size_t max_list_bytes = 64u << 20;  // of one list, all pages together

std::unique_ptr<source> make_rest(boost::asio::io_context& io, config::source const& settings, std::size_t max_bytes);

}  // namespace weir::source
