// SHA-256 (FIPS 180-4) of bytes that come in parts.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace weir::base {

class sha256 {
 public:
  sha256();
  ~sha256();
  void add(std::string_view bytes);
  std::string hex();  // 64 digits; ends it: nothing can be added afterwards

 private:
  struct state;
  std::unique_ptr<state> state_;
};

std::string sha256_of(std::string_view bytes);  // 64 hexadecimal digits

}  // namespace weir::base
