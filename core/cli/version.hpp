#pragma once

namespace weir::cli {

inline constexpr char const* version = WEIR_VERSION;

}  // namespace weir::cli
