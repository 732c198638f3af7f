// SHA-256 against the examples of FIPS 180-4.
#include "core/base/sha256.hpp"

#include <gtest/gtest.h>

namespace weir::base {
namespace {

TEST(sha256, of_the_standards_examples) {
  EXPECT_EQ(sha256_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(sha256, of_parts_is_that_of_the_whole) {
  sha256 one;
  for (int i = 0; i < 1000; ++i) one.add(std::string(1000, 'a'));
  EXPECT_EQ(one.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace weir::base
