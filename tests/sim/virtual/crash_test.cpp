// weir crashes at every step of its journal, before it and after it, and at many instants between; what comes after
// must not care.
#include <gtest/gtest.h>

#include "core/base/log.hpp"
#include "tests/sim/virtual/life.hpp"

namespace weir::simulated {
namespace {

using namespace std::chrono_literals;

day small_day(std::size_t in_flight) {
  day d;
  d.seed = 4711;
  dice random(d.seed);
  d.wanted = draw_source(random, 4, 9);
  d.profile.name = "small";
  d.profile.objects_per_request = 3;
  d.profile.batch_size = 4;
  d.profile.batch_delay = 50ms;
  d.profile.requests_per_second = 0;
  d.profile.max_in_flight = in_flight;
  return d;
}

class crashes : public ::testing::TestWithParam<std::tuple<bool, bool>> {
 protected:
  void SetUp() override { base::log::configure(base::log::level::off, base::log::format::text, false); }
  // Up to the run that is going to crash. `filled`: it changes, deletes and creates, else it begins from nothing.
  static std::unique_ptr<life> prepared(std::size_t in_flight) {
    auto l = std::make_unique<life>(small_day(in_flight));
    if (!std::get<0>(GetParam())) return l;
    l->run({});
    auto& now = l->plan().wanted;
    now.guests[0].memory += 512;
    now.guests[1].running = !now.guests[1].running;
    now.guests[2].tag = "new-team";
    now.guests.push_back({300, "new-guest", "", true, 1024, 1, false});
    for (auto const at : {0U, 3U, 5U}) now.backups[at].size += 1;
    now.backups.erase(now.backups.begin() + 1, now.backups.begin() + 3);
    for (int n = 0; n < 4; ++n)
      now.backups.push_back(
          {300, "nfs:backup/vzdump-qemu-300-2026_05_0" + std::to_string(n) + ".vma.zst", "", 5, false});
    return l;
  }
  static void crash_and_go_on(crash_point where, std::string const& what, bool& crashed,
                              fault const* always = nullptr) {
    auto l = prepared(3);
    if (always) l->server().add(*always);
    run_plan plan;
    plan.crash = where;
    crashed = l->run(plan).crashed;
    if (std::get<1>(GetParam())) {  // by `weir resume` at once, else by the next run, later
      run_plan resume;
      resume.resume = true;
      l->run(resume);
    } else {
      l->line().pass(20s);
    }
    l->arrive();
    for (auto const& p : l->problems()) ADD_FAILURE() << what << ": " << p << "\n" << l->told();
  }
};

TEST_P(crashes, at_every_step_of_the_journal) {
  auto const steps = prepared(3)->run({}).steps;
  ASSERT_GT(steps, 40u);
  for (std::uint64_t at = 1; at <= steps && !HasFailure(); at += slowness) {
    bool crashed = false;
    crash_and_go_on({at, {}}, "crashed at step " + std::to_string(at), crashed);
    EXPECT_TRUE(crashed) << "step " << at << " of " << steps << " never came";
  }
}

TEST_P(crashes, at_any_instant) {
  auto l = prepared(3);
  auto const begin = l->line().now();
  l->run({});
  auto const lasts = l->line().now() - begin;
  constexpr int instants = 40;
  for (int i = 1; i < instants && !HasFailure(); ++i) {
    bool crashed = false;
    auto const at = lasts * i / instants;
    crash_and_go_on({{}, at}, "crashed after " + std::to_string(at / 1us) + " us", crashed);
    EXPECT_TRUE(crashed);
  }
}

// What lies in a queue in front of NetBox when weir dies is done a good second later: while `resume` looks for it.
TEST_P(crashes, while_netbox_has_yet_to_begin) {
  fault held;
  held.what = trouble::gateway_timeout;
  held.times = 100000;
  held.delay = 50s;
  held.held = 1500ms;
  auto l = prepared(3);
  l->server().add(held);
  auto const begin = l->line().now();
  l->run({});
  auto const lasts = l->line().now() - begin;
  constexpr int instants = 30;
  for (int i = 1; i < instants && !HasFailure(); ++i) {
    bool crashed = false;
    auto const at = lasts * i / instants;
    crash_and_go_on({{}, at}, "crashed after " + std::to_string(at / 1us) + " us", crashed, &held);
    EXPECT_TRUE(crashed);
  }
}

INSTANTIATE_TEST_SUITE_P(all, crashes, ::testing::Combine(::testing::Bool(), ::testing::Bool()), [](auto const& p) {
  return std::string(std::get<0>(p.param) ? "changing" : "filling") +
         (std::get<1>(p.param) ? "_resumed" : "_run_later");
});

}  // namespace
}  // namespace weir::simulated
