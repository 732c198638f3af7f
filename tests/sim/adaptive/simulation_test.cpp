// What holds for every simulation, whatever happens to NetBox in it; random scenarios by seed.
#include "core/cli/simulation.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <set>

namespace {

using namespace std::chrono_literals;
using namespace weir::cli;
using what = weir::sim::load_event::what;
using weir::throttle::control;

simulation_input random_input(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto const below = [&](std::uint64_t n) { return random() % n; };
  auto const ms = [](std::uint64_t n) { return virtual_time(static_cast<std::int64_t>(n) * 1000); };
  simulation_input in;
  in.netbox.workers = 1 + static_cast<int>(below(5));
  in.netbox.threads = 1 + static_cast<int>(below(6));
  in.netbox.cores = 0.5 * static_cast<double>(1 + below(12));
  in.netbox.connections = 1 + static_cast<int>(below(20));
  in.netbox.conn_max_age = std::chrono::seconds(below(3) * 30);
  in.netbox.proxy_timeout = std::chrono::seconds(below(3) * 4);
  in.netbox.users_per_second = static_cast<double>(below(3));
  in.netbox.seed = seed;
  for (auto n = below(5); n > 0; --n) {
    weir::sim::load_event e;
    e.kind = static_cast<what>(below(8));
    e.from = ms(below(30'000));
    e.to = e.from + ms(1 + below(20'000));
    e.amount = static_cast<double>(1 + below(8));
    e.factor = static_cast<double>(1 + below(6));
    in.netbox.events.push_back(e);
  }
  if (below(3) == 0) in.bursts.push_back({ms(below(5'000)), ms(5'000 + below(8'000)), 1 + static_cast<int>(below(40))});
  for (auto n = 1 + below(3); n > 0; --n)
    in.work.push_back({"kind", 1 + below(400), ms(1 + below(100)), ms(1 + below(60))});
  in.start = ms(below(2) * below(10'000));
  in.limits.max_in_flight = 1 + below(8);
  in.limits.requests_per_second = static_cast<double>(below(3) * 20);
  in.limits.batch_size = below(6);
  in.limits.max_attempts = 2 + below(4);
  in.limits.max_outage = std::chrono::seconds(5 + below(120));
  in.limits.probe = true;
  in.limits.control = static_cast<control>(below(3));
  in.objects_per_request = 1 + below(100);
  in.request_timeout = ms(2'000 + below(60'000));
  in.seed = seed;
  return in;
}

std::size_t objects(simulation_input const& in) {
  return std::accumulate(in.work.begin(), in.work.end(), std::size_t{0},
                         [](std::size_t sum, auto const& w) { return sum + w.objects; });
}

std::string trace(simulation_result const& r) {
  std::string out = std::to_string(r.seconds);
  for (auto const& a : r.attempts)
    out += " " + std::to_string(a.ended.count()) + ":" + std::to_string(static_cast<int>(a.what));
  return out;
}

simulation_input plain() {
  simulation_input in;
  in.work = {{"backups", 500}};
  in.limits.control = control::adaptive;
  in.limits.probe = true;
  return in;
}

}  // namespace

TEST(simulation, accounts_for_every_object_and_holds_the_ceilings) {
  std::size_t finished = 0, deferred = 0;
  std::set<int> ways;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    auto const in = random_input(seed);
    auto const r = simulate(in);
    EXPECT_EQ(r.done + r.deferred, objects(in));
    EXPECT_EQ(r.lost, 0U);
    ++(r.deferred == 0 ? finished : deferred);
    EXPECT_LE(r.peak_in_flight, in.limits.max_in_flight);
    EXPECT_LE(r.peak_connections, in.netbox.connections);
    EXPECT_EQ(r.attempts.size(), r.requests);
    std::size_t in_flight = 0;
    for (auto const& m : r.moments) {
      EXPECT_GE(m.limit, 1);
      EXPECT_LE(m.limit, static_cast<double>(in.limits.max_in_flight));
      EXPECT_GE(m.gap_ms, 0);
      EXPECT_GE(m.at, in.start);
      in_flight = std::max(in_flight, m.in_flight);
    }
    EXPECT_LE(in_flight, r.peak_in_flight);
    for (auto const& a : r.attempts) {
      EXPECT_LE(a.objects, in.objects_per_request);
      EXPECT_LE(a.latency, in.request_timeout);
      ways.insert(static_cast<int>(a.what));
    }
  }
  EXPECT_GT(finished, 50U);
  EXPECT_GT(deferred, 20U);
  EXPECT_GE(ways.size(), 4U);  // ok, overload, unknown, unreachable came up
}

TEST(simulation, tells_the_same_of_the_same_seed) {
  std::set<std::string> traces;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    auto const in = random_input(seed);
    auto const once = trace(simulate(in));
    EXPECT_EQ(once, trace(simulate(in))) << seed;
    traces.insert(once);
  }
  EXPECT_EQ(traces.size(), 30U);
}

TEST(simulation, looks_up_what_got_no_usable_answer_and_sends_nothing_twice_that_has_landed) {
  auto in = plain();
  weir::sim::load_event e;
  e.kind = what::bad_gateway_after;
  e.from = 3s;
  e.to = 4s;
  in.netbox.events = {e};
  auto const r = simulate(in);
  EXPECT_GT(r.failed, 0U);
  EXPECT_GT(r.lookups, 0U);
  EXPECT_EQ(r.doubled, 0U);
  EXPECT_EQ(r.done, 500U);
}

TEST(simulation, an_answer_that_never_comes_ends_at_the_timeout) {
  auto in = plain();
  weir::sim::load_event e;
  e.kind = what::hang;
  e.from = 0s;
  e.to = 1s;
  in.netbox.events = {e};
  in.netbox.proxy_timeout = 0s;
  in.request_timeout = 30s;
  auto const r = simulate(in);
  ASSERT_FALSE(r.attempts.empty());
  EXPECT_EQ(r.attempts.front().ended, virtual_time(30s));
  EXPECT_EQ(r.attempts.front().what, weir::throttle::outcome::unknown);
  EXPECT_EQ(r.done, 500U);
  EXPECT_EQ(r.doubled, 0U) << "NetBox did it, and weir found it by looking";
}

TEST(simulation, defers_what_an_outage_longer_than_allowed_leaves) {
  auto in = plain();
  in.limits.max_outage = 20s;
  weir::sim::load_event e;
  e.kind = what::web_down;
  e.from = 5s;
  e.to = 600s;
  in.netbox.events = {e};
  auto const r = simulate(in);
  EXPECT_TRUE(r.gave_up);
  EXPECT_GT(r.done, 50U);
  EXPECT_GT(r.deferred, 50U);
  EXPECT_GE(r.breaker_opened, 1U);
  EXPECT_LT(r.requests, 40U) << "nobody hammers a NetBox that is down";
  EXPECT_GE(r.seconds, 20);
  EXPECT_LE(r.seconds, 60);
}

TEST(simulation, weir_begins_when_it_shall) {
  auto in = plain();
  in.start = 10s;
  in.bursts = {{0s, 5s, 8}};
  auto const r = simulate(in);
  EXPECT_EQ(r.moments.front().at, virtual_time(10s));
  EXPECT_GE(r.peak_connections, 8);
  EXPECT_EQ(r.done, 500U);
  EXPECT_LT(r.seconds, 60);
}

TEST(simulation, its_series_holds_what_the_moments_hold) {
  auto const r = simulate(plain());
  auto const s = series_of(r, 50);
  ASSERT_EQ(s.at_s.size(), 50U);
  EXPECT_NEAR(s.at_s.front() + 50 * s.step_s, r.seconds, 0.01);
  EXPECT_EQ(std::accumulate(s.requests.begin(), s.requests.end(), 0.0), static_cast<double>(r.requests));
  EXPECT_EQ(std::accumulate(s.errors.begin(), s.errors.end(), 0.0), 0);
  EXPECT_EQ(*std::max_element(s.in_flight.begin(), s.in_flight.end()), static_cast<double>(r.peak_in_flight));
  EXPECT_EQ(*std::max_element(s.limit.begin(), s.limit.end()), r.highest_limit);
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(std::isnan(s.latency_s[i]), std::isnan(s.objects[i]));
    EXPECT_FALSE(s.latency_s[i] <= 0);
  }
}
