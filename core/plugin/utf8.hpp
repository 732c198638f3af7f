// UTF-8 at the border: what plugins hand over is checked before anything else sees it.
#pragma once
#include <string>
#include <string_view>

namespace weir::plugin {

// Well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
bool valid_utf8(std::string_view text);

// For text that people read: every byte that is not part of well-formed UTF-8 becomes U+FFFD.
std::string repair_utf8(std::string_view text);

}  // namespace weir::plugin
