#include "core/cli/events.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <sstream>

namespace {

using namespace weir;
using namespace std::chrono_literals;
using nlohmann::json;

struct pipe_of {
  int from = -1, to = -1;
  pipe_of() {
    int both[2];
    if (::pipe2(both, O_CLOEXEC) == 0) from = both[0], to = both[1];
  }
  ~pipe_of() {
    hang_up();
    ::close(to);
  }
  void hang_up() {
    if (from >= 0) ::close(from);
    from = -1;
  }
  // Until the writer's end is closed.
  std::string read_all() {
    std::string out;
    char buffer[4096];
    for (ssize_t n; (n = ::read(from, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<std::size_t>(n));
    return out;
  }
  void end_writing() {
    ::close(to);
    to = -1;
  }
};

std::vector<std::string> lines(std::string const& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) out.push_back(l);
  return out;
}

// So much that a pipe nobody reads from is full.
std::string const big(200'000, 'x');

TEST(line_writer, keeps_the_order) {
  pipe_of p;
  {
    cli::line_writer w(p.to);
    for (int i = 0; i < 100; ++i) w.put(std::to_string(i) + "\n");
    EXPECT_TRUE(w.finish());
  }
  p.end_writing();
  auto const got = lines(p.read_all());
  ASSERT_EQ(got.size(), 100u);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], std::to_string(i));
}

TEST(line_writer, who_does_not_read_keeps_nobody_waiting_and_loses_nothing_that_counts) {
  pipe_of p;
  cli::line_writer w(p.to);
  w.put(big + "\n");  // the thread is stuck with it
  // None of these returns late, or this test would never come to its end: nobody reads yet.
  for (int i = 0; i < 5000; ++i) {
    w.put("batch " + std::to_string(i) + "\n");
    w.put_newest("a", "progress a " + std::to_string(i) + "\n");
    w.put_newest("b", "progress b " + std::to_string(i) + "\n");
  }
  w.put("end\n");
  std::string text;
  std::thread reader([&] { text = p.read_all(); });
  EXPECT_TRUE(w.finish());
  p.end_writing();
  reader.join();
  auto const got = lines(text);
  std::size_t batches = 0, of_a = 0;
  for (auto const& l : got) batches += l.starts_with("batch "), of_a += l.starts_with("progress a");
  EXPECT_EQ(batches, 5000u);
  // One may have been taken before the pipe was full.
  EXPECT_LE(of_a, 2u) << "only the newest counts";
  ASSERT_GE(got.size(), 4u);
  EXPECT_EQ(got[got.size() - 1], "end");
  EXPECT_EQ(got[got.size() - 2], "progress b 4999") << "behind what came before it";
  EXPECT_EQ(got[got.size() - 3], "progress a 4999");
}

TEST(line_writer, waits_for_room_where_it_is_told_to) {
  pipe_of p;
  cli::line_writer w(p.to);
  w.put(big + "\n");
  std::atomic<std::size_t> put{0};
  std::thread many([&] {
    for (std::size_t i = 0; i < 3 * cli::line_writer::room; ++i) {
      w.put_when_room(big.substr(0, 100) + "\n");
      ++put;
    }
  });
  while (put < cli::line_writer::room - 1) std::this_thread::yield();
  EXPECT_LE(put, cli::line_writer::room + 1) << "the rest waits";
  std::string text;
  std::thread reader([&] { text = p.read_all(); });
  many.join();
  EXPECT_TRUE(w.finish());
  p.end_writing();
  reader.join();
  EXPECT_EQ(lines(text).size(), 1 + 3 * cli::line_writer::room);
}

TEST(line_writer, says_that_the_reader_is_gone) {
  ::signal(SIGPIPE, SIG_IGN);
  pipe_of p;
  cli::line_writer w(p.to);
  p.hang_up();
  w.put("one\n");
  // Whoever waits for room is not forgotten.
  for (std::size_t i = 0; i < 2 * cli::line_writer::room; ++i) w.put_when_room("more\n");
  auto const ok = w.finish();
  ASSERT_FALSE(ok);
  EXPECT_NE(ok.error().what.find("Broken pipe"), std::string::npos) << ok.error().what;
}

engine::progress at(std::string stage, std::uint64_t done) {
  engine::progress p;
  p.source = "pve-a";
  p.stage = std::move(stage);
  p.done = done;
  return p;
}

TEST(pacer, one_a_second_for_each_stage) {
  cli::pacer pace;
  cli::pacer::time const start{1h};
  EXPECT_EQ(pace.next(), cli::pacer::time::max());
  EXPECT_TRUE(pace.admit(start, at("a", 1)));
  EXPECT_TRUE(pace.admit(start, at("b", 1)));
  EXPECT_FALSE(pace.admit(start + 400ms, at("a", 2)));
  EXPECT_FALSE(pace.admit(start + 900ms, at("a", 3)));
  EXPECT_EQ(pace.next(), start + 1s);
  EXPECT_TRUE(pace.due(start + 999ms).empty());
  auto const due = pace.due(start + 1s);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].done, 3u) << "the newest";
  EXPECT_EQ(pace.next(), cli::pacer::time::max());
  EXPECT_FALSE(pace.admit(start + 1500ms, at("a", 4)));
  pace.forget("pve-a", "a");
  EXPECT_TRUE(pace.due(start + 5s).empty()) << "the stage has ended";
  EXPECT_TRUE(pace.admit(start + 6s, at("a", 5)));
}

TEST(event_stream, begins_with_its_version_and_ends_with_the_run) {
  pipe_of p;
  {
    cli::event_stream events(p.to, "7f3a0c1d", false);
    engine::report r;
    r.run_id = "7f3a0c1d";
    r.sources = {{"pve-a", "proxmox", "8.2"}};
    events.connected(r);
    events.stage_started("pve-a", "nodes");
    events.wrote({"pve-a", "nodes", "dcim.device", "POST", 1, 5, 1, "done", "", 12ms});
    engine::job_report job;
    job.source = "pve-a";
    job.stage = "nodes";
    job.kinds["dcim.device"].created = 4;
    job.kinds["dcim.device"].failed = 1;
    events.finished(job);
    r.jobs.push_back(job);
    r.failures.push_back({"pve-a", "nodes", "dcim.device", "node-1", "it is refused \xff"});
    EXPECT_TRUE(events.end(r, 3));
  }
  p.end_writing();
  auto const got = lines(p.read_all());
  std::vector<std::string> types;
  for (auto const& l : got) types.push_back(json::parse(l).at("type"));
  EXPECT_EQ(types, (std::vector<std::string>{"version", "run_start", "stage_start", "batch", "stage_end", "diagnostic",
                                             "run_end"}));
  EXPECT_EQ(json::parse(got.front()).size(), 3u);
  EXPECT_EQ(json::parse(got.front()).at("ui"), "1.1");
  auto const end = json::parse(got.back());
  EXPECT_EQ(end.at("exit_code"), 3);
  EXPECT_EQ(end.at("created"), 4);
  EXPECT_EQ(end.at("failed"), 1);
  EXPECT_EQ(end.at("run"), "7f3a0c1d");
}

TEST(event_stream, the_last_words_of_a_command_that_could_not_do_its_work) {
  EXPECT_EQ(cli::exit_event(69, base::fail("NetBox is away", "wait")),
            "{\"type\":\"exit\",\"code\":69,\"error\":\"NetBox is away\",\"hint\":\"wait\"}\n");
}

}  // namespace
