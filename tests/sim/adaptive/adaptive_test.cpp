// The adaptive throttle against the best that a fixed number of requests in flight can reach, on ten NetBoxes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "core/cli/simulation.hpp"

namespace {

using namespace std::chrono_literals;
using weir::cli::simulate;
using weir::cli::simulation_input;
using weir::cli::simulation_result;
using weir::cli::virtual_time;
using weir::throttle::control;

constexpr std::size_t most_in_flight = 16;

struct box {
  std::string name;
  int workers, threads;
  double cores, next_core;
  int connections;
  std::chrono::seconds conn_max_age;
  double cost = 1;   // how many times as long as the measured NetBox everything takes
  double users = 0;  // other people's requests per second
};

// Of every kind that people run. The pool has room for what the cores can use: where it has not, nobody could know
// before a request is refused (see below).
std::vector<box> const boxes = {
    {"one core, one worker", 1, 4, 1, 0.65, 97, 300s},
    {"standard", 3, 3, 2, 0.65, 97, 300s},
    {"standard, with users", 3, 3, 2, 0.65, 97, 300s, 1, 1.5},
    {"four cores", 4, 2, 4, 0.65, 50, 300s},
    {"four cores, slow and in use", 4, 4, 4, 0.65, 50, 60s, 2, 2},
    {"eight cores", 8, 2, 8, 0.65, 97, 300s},
    {"eight quick cores", 8, 2, 8, 0.9, 60, 300s, 0.4},
    {"many cores, two workers", 2, 8, 16, 0.8, 40, 300s},
    {"starved, one worker", 1, 8, 2, 0.65, 5, 0s},
    {"starved, two workers", 2, 8, 2, 0.65, 7, 0s},
};

simulation_input input(box const& b, std::uint64_t seed) {
  simulation_input in;
  auto const cost = [&](double ms) { return virtual_time(static_cast<std::int64_t>(1000 * ms * b.cost)); };
  in.netbox.workers = b.workers;
  in.netbox.threads = b.threads;
  in.netbox.cores = b.cores;
  in.netbox.next_core = b.next_core;
  in.netbox.connections = b.connections;
  in.netbox.conn_max_age = b.conn_max_age;
  in.netbox.read_base = cost(100);
  in.netbox.db_error = cost(19);
  in.netbox.users_per_second = b.users;
  in.netbox.seed = seed;
  // Some ten minutes' work for one request at a time.
  auto const objects = [&](double n) { return static_cast<std::size_t>(n / b.cost); };
  in.work = {{"guests", objects(2000), cost(130), cost(64)}, {"backups", objects(20000), cost(45), cost(23)}};
  in.limits.max_in_flight = most_in_flight;
  in.limits.requests_per_second = 0;
  in.limits.batch_size = 0;
  in.limits.probe = true;
  in.objects_per_request = 50;
  in.seed = seed;
  return in;
}

simulation_result fixed(box const& b, std::uint64_t seed, std::size_t in_flight) {
  auto in = input(b, seed);
  in.limits.control = control::fixed;
  in.limits.max_in_flight = in_flight;
  return simulate(in);
}
simulation_result adaptive(box const& b, std::uint64_t seed) {
  auto in = input(b, seed);
  in.limits.control = control::adaptive;
  return simulate(in);
}
std::uint64_t errors(simulation_result const& r) { return r.refused + r.failed; }

}  // namespace

TEST(adaptive, is_never_much_worse_than_the_best_fixed_setting) {
  std::string table =
      fmt::format("{:<28} {:>4} {:>10} {:>8} {:>8} {:>12} {:>8} {:>8} {:>6} {:>7} {:>9}\n", "NetBox", "seed",
                  "best fixed", "time, s", "errors", "adaptive, s", "errors", "in fl.", "conn.", "ratio", "16 fixed");
  for (auto const& b : boxes)
    for (std::uint64_t const seed : {1, 2, 3}) {
      std::vector<simulation_result> all;
      std::size_t best = 0;
      for (std::size_t c = 1; c <= most_in_flight; ++c) {
        all.push_back(fixed(b, seed, c));
        auto const& r = all.back();
        if (r.deferred == 0 && (all[best].deferred > 0 || r.seconds < all[best].seconds)) best = c - 1;
      }
      auto const mine = adaptive(b, seed);
      table +=
          fmt::format("{:<28} {:>4} {:>10} {:>8.1f} {:>8} {:>12.1f} {:>8} {:>8} {:>6} {:>7.3f} {:>9}\n", b.name, seed,
                      best + 1, all[best].seconds, errors(all[best]), mine.seconds, errors(mine), mine.peak_in_flight,
                      mine.peak_connections, mine.seconds / all[best].seconds, errors(all.back()));
      SCOPED_TRACE(b.name + ", seed " + std::to_string(seed));
      ASSERT_EQ(all[best].deferred, 0U);
      EXPECT_EQ(mine.deferred, 0U);
      EXPECT_EQ(mine.lost, 0U);
      EXPECT_LE(mine.seconds, 1.15 * all[best].seconds);
      for (std::size_t c = 1; c <= most_in_flight; ++c) {
        auto const& r = all[c - 1];
        if (r.deferred > 0 || r.seconds > 1.15 * mine.seconds) continue;
        EXPECT_TRUE(errors(mine) < errors(r) || errors(mine) == 0) << c << " in flight: " << errors(r);
      }
    }
  std::printf("%s", table.c_str());
}

// A pool with fewer connections than there are cores to use them: nobody can know before a request is refused. It is
// found out at the price of a few, and remembered for longer each time. Where the threads keep connections that others
// need, not even one request at a time goes without refusals in the long run; there it must still finish.
TEST(adaptive, finds_out_about_a_pool_smaller_than_the_cores_at_the_price_of_few_errors) {
  std::string table = fmt::format("{:<34} {:>4} {:>9} {:>9} {:>8} {:>9} {:>9}\n", "NetBox", "seed", "time, s",
                                  "requests", "refused", "percent", "16 fixed");
  for (auto const& b : {box{"eight cores, 5 connections", 8, 2, 8, 0.65, 5, 0s},
                        box{"eight cores, 9 connections", 8, 2, 8, 0.65, 9, 0s},
                        box{"two workers, 7 connections kept", 2, 8, 2, 0.65, 7, 300s}})
    for (std::uint64_t const seed : {1, 2, 3}) {
      auto const mine = adaptive(b, seed);
      table += fmt::format("{:<34} {:>4} {:>9.1f} {:>9} {:>8} {:>9.2f} {:>9.2f}\n", b.name, seed, mine.seconds,
                           mine.requests, mine.refused, mine.refused_percent(), fixed(b, seed, 16).refused_percent());
      SCOPED_TRACE(b.name + ", seed " + std::to_string(seed));
      EXPECT_EQ(mine.deferred, 0U);
      EXPECT_EQ(mine.lost, 0U);
      if (b.conn_max_age.count() == 0) {
        EXPECT_LE(mine.refused_percent(), 1.5);
      }
    }
  std::printf("%s", table.c_str());
}
