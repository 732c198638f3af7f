// Thousands of bad days on a virtual clock: production session, gate, client and journal against a model of NetBox.
// WEIR_SEED replays one day; WEIR_SEEDS says how many (200), WEIR_FIRST_SEED from which on (1).
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/base/log.hpp"
#include "tests/sim/virtual/life.hpp"

namespace weir::simulated {
namespace {

std::uint64_t number_of(char const* variable, std::uint64_t otherwise) {
  char const* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string joined(std::vector<std::string> const& lines) {
  std::string out;
  for (auto const& l : lines) out += "\n  " + l;
  return out;
}

// Its trace; nothing if something did not hold.
std::optional<std::uint64_t> lived(std::uint64_t seed) {
  life l(draw_day(seed));
  try {
    l.live();
  } catch (std::exception const& e) {
    ADD_FAILURE() << "WEIR_SEED=" << seed << ": " << e.what() << "\n" << l.told();
    return {};
  }
  if (l.problems().empty()) return l.trace();
  ADD_FAILURE() << "WEIR_SEED=" << seed << ":" << joined(l.problems()) << "\n" << l.told();
  return {};
}

class virtual_days : public ::testing::Test {
 protected:
  void SetUp() override {
    base::log::configure(std::getenv("WEIR_SEED") ? base::log::level::debug : base::log::level::off,
                         base::log::format::text, false);
  }
};

TEST_F(virtual_days, nothing_is_lost_and_nothing_doubled) {
  if (char const* one = std::getenv("WEIR_SEED")) {
    lived(std::strtoull(one, nullptr, 10));
    return;
  }
  auto const first = number_of("WEIR_FIRST_SEED", 1), count = number_of("WEIR_SEEDS", 200 / slowness);
  std::uint64_t failed = 0;
  for (auto seed = first; seed < first + count && failed < 20; ++seed)
    if (!lived(seed)) ++failed;
  auto const& t = total();
  std::cout << t.days << " days, " << t.runs << " runs, " << t.crashes << " crashes, " << t.requests << " requests, "
            << t.writes << " writes, " << t.looked_up << " looked up";
  for (auto const& [what, times] : t.struck) std::cout << ", " << times << " " << what;
  std::cout << "\n";
}

TEST_F(virtual_days, the_same_seed_gives_the_same_day) {
  for (std::uint64_t const seed : {3, 17, 42}) {
    auto const one = lived(seed), two = lived(seed);
    ASSERT_TRUE(one && two);
    EXPECT_EQ(*one, *two) << "WEIR_SEED=" << seed;
  }
}

}  // namespace
}  // namespace weir::simulated
