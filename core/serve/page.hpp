// The web page's files, as bytes in the program. core/serve/page/embed.cmake makes their .cpp when weir is built.
#pragma once
#include <optional>
#include <string_view>

namespace weir::serve {

struct asset {
  std::string_view bytes;  // for as long as the program lives
  std::string_view content_type;
};

// By its path in the service: "/" (the page), "/style.css", "/app.js", "/icon.svg". Nothing: there is no such file.
std::optional<asset> find_asset(std::string_view path);

}  // namespace weir::serve
