#include "core/cli/display.hpp"

#include <gtest/gtest.h>

namespace {

using namespace weir::cli;
using namespace std::chrono_literals;
using state = job_row::state;

job_row job(std::string source, std::string stage, state now) {
  job_row out;
  out.source = std::move(source);
  out.stage = std::move(stage);
  out.now = now;
  return out;
}
job_row writing(std::string source, std::string stage, std::uint64_t done, std::uint64_t total) {
  auto out = job(std::move(source), std::move(stage), state::writing);
  out.done = done, out.total = total;
  out.batch = done / 5, out.batches = total / 5;
  out.per_second = 12.34;
  out.left_s = static_cast<double>(total - done) / 12.34;
  return out;
}

display_state a_run() {
  display_state out;
  auto nodes = job("pve-a", "nodes", state::ok);
  nodes.created = 3;
  nodes.seconds = 1.23;
  auto guests = writing("pve-a", "virtual-machines", 120, 431);
  auto backups = job("pve-a", "backups", state::reading);
  backups.note = "storage pbs-1";
  auto failed = job("pve-a", "disks", state::failed);
  failed.note = "the stage threw";
  out.jobs = {nodes, guests, backups, failed, job("pve-a", "snapshots", state::waiting)};
  gate_row gate;
  gate.in_flight = 1, gate.limit = 2, gate.ceiling = 4, gate.waiting = 3;
  gate.gap = 200ms;
  gate.requests_per_second = 4.2;
  out.gate = gate;
  out.seconds = 42;
  return out;
}

std::string text(std::vector<std::string> const& lines) {
  std::string out;
  for (auto const& l : lines) out += l + "\n";
  return out;
}

TEST(display, eighty_columns) {
  EXPECT_EQ(text(rows(a_run(), {80, 24, false, true})),
            "nodes             done  + 3  ~ 0  - 0  1.2 s\n"
            "virtual-machines  ████░░░░░░░░░░░░    120/431   12.3/s   0:25 left  batch 24/86\n"
            "backups           reading storage pbs-1\n"
            "disks             failed: the stage threw\n"
            "snapshots         waiting\n"
            "NetBox  1/2/4 in flight · 3 waiting · gap 200 ms · 4.2/s · closed · 0:42\n");
}

TEST(display, a_hundred_and_twenty_columns) {
  auto const lines = rows(a_run(), {120, 24, false, true});
  EXPECT_EQ(lines[1],
            "virtual-machines  ███████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    120/431   12.3/s   0:25 left  batch 24/86");
  EXPECT_EQ(lines.back(),
            "NetBox  1 in flight, limit 2 of 4 · 3 waiting · gap 200 ms · 4.2 requests/s · breaker closed · 0:42");
}

TEST(display, forty_columns_and_no_unicode) {
  EXPECT_EQ(text(rows(a_run(), {40, 24, false, false})),
            "nodes          done\n"
            "virtual-mach~  ###..........    120/431\n"
            "backups        reading storage pbs-1\n"
            "disks          failed: the stage threw\n"
            "snapshots      waiting\n"
            "1/2/4 in flight | 4.2/s | closed\n");
}

TEST(display, no_row_is_as_wide_as_the_screen) {
  auto s = a_run();
  s.jobs.push_back(writing("源源源源源源源源源源源源源源源源源源", "名前", 1, 1'000'000'000'000));
  s.jobs.push_back(job("pve-b", "backups", state::reading));
  s.jobs.back().note = std::string(300, 'n') + "\x1b[31m\xff\n";
  s.jobs.back().total = 10;
  s.gate->circuit = weir::throttle::breaker::state::open;
  s.gate->probe_in_s = 12;
  s.stopping = true;
  for (bool const colour : {false, true})
    for (std::size_t width = 1; width < 130; ++width)
      for (auto const& line : rows(s, {width, 24, colour, true})) {
        EXPECT_LT(columns(line), std::max<std::size_t>(width, 2)) << width << ": " << line;
        EXPECT_EQ(line.find('\n'), line.npos);
      }
}

TEST(display, several_sources_are_named) {
  auto s = a_run();
  s.jobs.push_back(job("pve-b", "nodes", state::waiting));
  auto const lines = rows(s, {100, 24, false, true});
  EXPECT_EQ(lines[0].substr(0, 11), "pve-a nodes");
  EXPECT_EQ(lines[5].substr(0, 11), "pve-b nodes");
}

TEST(display, too_many_rows_are_summed_up) {
  display_state s;
  for (int i = 0; i < 30; ++i)
    s.jobs.push_back(job("pve-" + std::to_string(i), "nodes", i < 10 ? state::ok : state::waiting));
  s.jobs[20].now = state::failed;
  s.jobs[25].now = state::reading;
  auto const lines = rows(s, {80, 12, false, true});
  ASSERT_EQ(lines.size(), 10u) << "two lines of the screen stay free";
  auto const all = text(lines);
  EXPECT_NE(all.find("pve-25 nodes"), all.npos) << "what works is shown";
  EXPECT_NE(all.find("pve-20 nodes"), all.npos) << "what failed is shown";
  EXPECT_NE(all.find("and 12 waiting, 10 done\n"), all.npos) << all;
}

TEST(display, the_gate_says_what_it_waits_for) {
  auto s = a_run();
  auto const last = [&](std::size_t width) { return rows(s, {width, 24, false, true}).back(); };
  s.gate->circuit = weir::throttle::breaker::state::open;
  s.gate->probe_in_s = 12.4;
  EXPECT_NE(last(120).find("breaker open, probe in 12 s"), std::string::npos) << last(120);
  EXPECT_NE(last(40).find("open, probe in 12 s"), std::string::npos) << last(40);
  s.gate->circuit = weir::throttle::breaker::state::half_open;
  EXPECT_NE(last(80).find("probing"), std::string::npos) << last(80);
  s.gate->circuit = weir::throttle::breaker::state::closed;
  s.gate->starved = true;
  EXPECT_NE(last(80).find("no database connection"), std::string::npos) << last(80);
  s.gate->gave_up = true;
  EXPECT_NE(last(120).find("gave up"), std::string::npos) << last(120);
  s.stopping = true;
  EXPECT_EQ(last(120).find("stopping"), 0u) << last(120);
  s.gate.reset();
  EXPECT_NE(last(120).find("connecting"), std::string::npos) << last(120);
}

TEST(display, colour_has_two_meanings) {
  auto const lines = rows(a_run(), {80, 24, true, true});
  EXPECT_EQ(lines[0], "nodes             \x1b[32mdone\x1b[0m  \x1b[32m+ 3\x1b[0m  ~ 0  - 0  1.2 s");
  EXPECT_EQ(lines[3], "disks             \x1b[31mfailed\x1b[0m: the stage threw");
  for (auto i : {1u, 2u, 4u, 5u}) EXPECT_EQ(lines[i].find('\x1b'), std::string::npos) << lines[i];
}

TEST(display, a_plan_says_planned) {
  auto s = a_run();
  s.dry = true;
  EXPECT_EQ(rows(s, {80, 24, false, true})[0], "nodes             planned  + 3  ~ 0  - 0  1.2 s");
}

TEST(display, a_full_bar_is_the_end_only) {
  display_state s;
  s.jobs = {writing("", "x", 999, 1000)};
  EXPECT_NE(rows(s, {80, 24, false, true})[0].find("░"), std::string::npos);
  s.jobs = {writing("", "x", 1000, 1000)};
  EXPECT_EQ(rows(s, {80, 24, false, true})[0].find("░"), std::string::npos);
}

TEST(display, columns_of_what_is_written) {
  EXPECT_EQ(columns("abc"), 3u);
  EXPECT_EQ(columns("äöü"), 3u);
  EXPECT_EQ(columns("a\xcc\x81"), 1u) << "a combining accent";
  EXPECT_EQ(columns("日本"), 4u);
  EXPECT_EQ(columns("🙂"), 2u);
  EXPECT_EQ(columns("\x1b[32mok\x1b[0m"), 2u);
  EXPECT_EQ(columns("\xff\xc3"), 2u) << "no UTF-8";
}

TEST(display, cut_between_characters) {
  EXPECT_EQ(fit("abcdef", 6), "abcdef");
  EXPECT_EQ(fit("abcdef", 5), "abcd…");
  EXPECT_EQ(fit("日本語", 4), "日…");
  EXPECT_EQ(fit("日本語", 5), "日本…");
  EXPECT_EQ(fit("abc", 0), "");
  EXPECT_EQ(fit("a\x1b[2Jb\nc", 20), "a [2Jb c") << "what steers a terminal is not theirs to say";
  EXPECT_EQ(fit("\x1b[31mfailed\x1b[0m", 4), "\x1b[31mfai\x1b[0m…");
}

TEST(display, times) {
  EXPECT_EQ(duration_text(0), "0:00");
  EXPECT_EQ(duration_text(59.9), "0:59");
  EXPECT_EQ(duration_text(725), "12:05");
  EXPECT_EQ(duration_text(3720), "1h02m");
  EXPECT_EQ(duration_text(90'000), "1d01h");
  EXPECT_EQ(duration_text(-3), "0:00");
}

TEST(display, lines_for_logs) {
  auto j = writing("pve-a", "backups", 20, 60);
  j.requests_per_second = 3.14;
  EXPECT_EQ(describe(j), "pve-a backups: 20/60 objects, batch 4 of 12, 3.1 requests/s");
  EXPECT_EQ(describe(*a_run().gate),
            "NetBox: 1 in flight, limit 2 of 4 | 3 waiting | gap 200 ms | 4.2 requests/s | breaker closed");
}

TEST(speed, of_the_last_seconds) {
  speed s(10s);
  speed::time const start{1h};
  EXPECT_EQ(s.per_second(start), 0);
  for (int i = 0; i <= 20; ++i) s.at(start + i * 1s, static_cast<std::uint64_t>(i) * 5);
  EXPECT_NEAR(s.per_second(start + 20s), 5, 0.01);
  for (int i = 21; i <= 40; ++i) s.at(start + i * 1s, 100 + static_cast<std::uint64_t>(i - 20) * 50);
  EXPECT_NEAR(s.per_second(start + 40s), 50, 0.01) << "what was long ago does not count";
  EXPECT_LT(s.per_second(start + 45s), 50) << "it has stopped";
  EXPECT_EQ(s.per_second(start + 51s), 0) << "long ago";
}

TEST(plain_pace, ten_batches_and_thirty_seconds) {
  plain_pace::time const start{1h};
  plain_pace p(start);
  std::vector<std::size_t> said;
  for (std::size_t b = 1; b <= 25; ++b)
    if (p.after_batch(start + 1s, "a", b, 25, b == 25)) said.push_back(b);
  EXPECT_EQ(said, (std::vector<std::size_t>{10, 20, 25}));
  EXPECT_FALSE(p.after_batch(start + 2s, "a", 25, 25, true)) << "the end is said once";
  EXPECT_TRUE(p.after_batch(start + 2s, "b", 10, 11, false)) << "each stage for itself";
  EXPECT_FALSE(p.due(start + 31s));
  EXPECT_TRUE(p.due(start + 32s));
  EXPECT_FALSE(p.due(start + 61s));
  EXPECT_TRUE(p.due(start + 62s));
}

}  // namespace
