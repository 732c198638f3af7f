// Who may ask: addresses, names, origins, tokens.
#include "core/serve/guard.hpp"

#include <gtest/gtest.h>

#include "core/config/values.hpp"

namespace {

using namespace weir::serve;
using weir::base::secret;

TEST(Guard, Addresses) {
  struct {
    char const *text, *host;
    unsigned port;
    bool loopback;
  } const good[] = {
      {"127.0.0.1:9788", "127.0.0.1", 9788, true}, {"[::1]:80", "::1", 80, true},
      {"localhost:0", "127.0.0.1", 0, true},       {"127.8.9.1:65535", "127.8.9.1", 65535, true},
      {":9788", "0.0.0.0", 9788, false},           {"*:9788", "0.0.0.0", 9788, false},
      {"0.0.0.0:1", "0.0.0.0", 1, false},          {"[::]:1", "::", 1, false},
      {"192.0.2.1:1", "192.0.2.1", 1, false},
  };
  for (auto const& c : good) {
    auto const a = weir::config::parse_listen(c.text);
    ASSERT_TRUE(a) << c.text;
    EXPECT_EQ(a->host, c.host);
    EXPECT_EQ(a->port, c.port);
    EXPECT_EQ(a->loopback, c.loopback) << c.text;
  }
  for (auto const* text : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "::1:80",
                           "[::1]", "[::1", "[127.0.0.1]:80", "weir.example:80", "127.0.0.1:80:90", "[::1]80"}) {
    auto const a = weir::config::parse_listen(text);
    ASSERT_FALSE(a) << text;
    EXPECT_EQ(a.error().code, weir::base::error_code::config);
    EXPECT_FALSE(a.error().what.empty());
  }
  EXPECT_EQ(authority("::1", 80), "[::1]:80");
  EXPECT_EQ(authority("127.0.0.1", 80), "127.0.0.1:80");
}

TEST(Guard, Tokens) {
  secret const token("s3cret-token");
  EXPECT_TRUE(bears("Bearer s3cret-token", token));
  EXPECT_TRUE(bears("bearer s3cret-token", token));
  EXPECT_TRUE(bears("BEARER  s3cret-token", token));
  for (auto const* wrong : {"", "Bearer", "Bearer ", "Bearer s3cret-toke", "Bearer s3cret-tokenn",
                            "Bearer S3cret-token", "Basic s3cret-token", "s3cret-token", "Bearer s3cret-token ",
                            "Bearers3cret-token", "Bearer s3cret-tokens3cret-token"})
    EXPECT_FALSE(bears(wrong, token)) << wrong;
  EXPECT_FALSE(bears("Bearer ", secret())) << "no token is no key";
  EXPECT_FALSE(bears("Bearer x", secret()));
}

TEST(Guard, LoopbackNames) {
  for (auto const* good : {"localhost", "LOCALHOST:9788", "127.0.0.1:9788", "127.9.9.9", "[::1]:9788", "[::1]",
                           "weir.localhost:1", "localhost.:80"})
    EXPECT_TRUE(is_loopback_name(good)) << good;
  for (auto const* bad : {"", "weir.example", "weir.example:9788", "127.0.0.1.weir.example", "localhost.example",
                          "notlocalhost", "192.0.2.1", "[::2]:1", "::1", "127.0.0.1:x", "[::1", "0.0.0.0", "1.127.0.0"})
    EXPECT_FALSE(is_loopback_name(bad)) << bad;
}

TEST(Guard, Origins) {
  EXPECT_TRUE(same_origin("http://127.0.0.1:9788", "127.0.0.1:9788"));
  EXPECT_TRUE(same_origin("HTTP://LocalHost:9788", "localhost:9788"));
  EXPECT_TRUE(same_origin("https://weir.example", "weir.example")) << "a proxy with TLS before it";
  EXPECT_TRUE(same_origin("https://weir.example", "weir.example:443"));
  EXPECT_TRUE(same_origin("http://[::1]:9788", "[::1]:9788"));
  for (auto const* other :
       {"null", "", "http://evil.example", "http://127.0.0.1:9789", "http://127.0.0.1", "http://localhost:9788",
        "ftp://127.0.0.1:9788", "http://127.0.0.1:9788.evil.example", "http://", "http://127.0.0.1:9788/"})
    EXPECT_FALSE(same_origin(other, "127.0.0.1:9788")) << other;
}

}  // namespace
