#include "core/base/sha256.hpp"

#include <openssl/evp.h>

#include <array>

namespace weir::base {

struct sha256::state {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

sha256::sha256() : state_(std::make_unique<state>()) {
  EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr);
}
sha256::~sha256() = default;

void sha256::add(std::string_view bytes) { EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()); }

std::string sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned int length = 0;
  EVP_DigestFinal_ex(state_->context.get(), bytes.data(), &length);
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (unsigned int i = 0; i < length; ++i) (out += digits[bytes[i] >> 4]) += digits[bytes[i] & 15];
  return out;
}

std::string sha256_of(std::string_view bytes) {
  sha256 one;
  one.add(bytes);
  return one.hex();
}

}  // namespace weir::base
