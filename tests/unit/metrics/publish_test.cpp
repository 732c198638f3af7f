#include "core/metrics/publish.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/metrics/support.hpp"

namespace weir::metrics {
namespace {

using namespace testing;
namespace fs = std::filesystem;

struct publishing : ::testing::Test {
  publishing() {
    auto pattern = (fs::temp_directory_path() / "weir-metrics-XXXXXX").string();
    folder = ::mkdtemp(pattern.data());
    where.textfile = folder / "weir.prom";
  }
  ~publishing() override { fs::remove_all(folder); }
  std::vector<std::string> files(fs::path const& in) const {
    std::vector<std::string> out;
    for (auto const& e : fs::directory_iterator(in)) out.push_back(e.path().filename());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::vector<base::error> run(int exit_code, std::int64_t now) {
    recorder r([now] { return at(now); });
    r.ended(a_report(), exit_code);
    return publish(r, where, folder / "state", "https://netbox.example");
  }
  fs::path folder;
  config::metrics where;
};

TEST_F(publishing, run_after_run) {
  ASSERT_TRUE(run(0, 1760000000).empty());
  ASSERT_TRUE(run(75, 1760000600).empty());
  ASSERT_TRUE(run(75, 1760001200).empty());
  auto const text = read(where.textfile);
  EXPECT_EQ(value(text, "weir_runs_total", {{"result", "stopped"}}), 2);
  EXPECT_EQ(value(text, "weir_runs_total", {{"result", "ok"}}), 1);
  EXPECT_EQ(value(text, "weir_run_last_success_timestamp_seconds"), 1760000000);
  EXPECT_EQ(value(text, "weir_run_last_exit_code"), 75);
  EXPECT_EQ(files(folder), (std::vector<std::string>{"state", "weir.prom"})) << "no temporary file stays";
  struct stat about {};
  ASSERT_EQ(::stat(where.textfile.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0644u) << "node_exporter runs as somebody else";
}

TEST_F(publishing, nothing_wanted_nothing_done) {
  where = {};
  recorder r;
  EXPECT_TRUE(publish(r, where, folder / "state", "https://netbox.example").empty());
  EXPECT_TRUE(files(folder).empty());
}

TEST_F(publishing, a_run_that_did_not_begin_shows_with_the_next_one) {
  ASSERT_TRUE(run(0, 1760000000).empty());
  auto const before = read(where.textfile);
  recorder refused;
  refused.did_not_begin("sync", 5);
  ASSERT_TRUE(publish(refused, where, folder / "state", "https://netbox.example").empty());
  EXPECT_EQ(read(where.textfile), before) << "what the last run showed still holds";
  ASSERT_TRUE(run(0, 1760000600).empty());
  EXPECT_EQ(value(read(where.textfile), "weir_runs_total", {{"result", "locked"}}), 1);
  EXPECT_EQ(value(read(where.textfile), "weir_runs_total"), 3);
}

TEST_F(publishing, memory_is_of_one_netbox) {
  auto const a = memory_file("/state", "https://netbox.example"), b = memory_file("/state", "https://other.example");
  EXPECT_NE(a, b);
  EXPECT_EQ(a, memory_file("/state", "https://NetBox.example:443/"));
  EXPECT_EQ(a.extension(), ".prom");
}

TEST_F(publishing, a_broken_memory_is_said_and_replaced) {
  ASSERT_TRUE(run(0, 1760000000).empty());
  auto const memory = memory_file(folder / "state", "https://netbox.example");
  std::ofstream(memory) << "what is this\n";
  auto const errors = run(0, 1760000600);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0].what.find("line 1 is no sample: what is this"), std::string::npos) << errors[0].what;
  EXPECT_TRUE(run(0, 1760001200).empty());
  EXPECT_EQ(value(read(where.textfile), "weir_runs_total"), 2);
}

TEST_F(publishing, what_cannot_be_written_is_returned_and_the_rest_is_done) {
  where.textfile = folder / "not there" / "weir.prom";
  auto const errors = run(0, 1760000000);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0].what.find("not there/weir.prom: No such file or directory"), std::string::npos) << errors[0].what;
  EXPECT_TRUE(fs::exists(memory_file(folder / "state", "https://netbox.example")));
}

TEST_F(publishing, nobody_at_the_gateway) {
  where = {};
  where.pushgateway = "http://127.0.0.1:1";  // tcpmux: nobody listens
  auto const errors = run(0, 1760000000);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_NE(errors[0].what.find("http://127.0.0.1:1/metrics/job/weir/netbox/netbox.example"), std::string::npos)
      << errors[0].what;
}

TEST_F(publishing, replace_file) {
  auto const file = folder / "x.prom";
  std::ofstream(file) << "old";
  ASSERT_TRUE(replace_file(file, "new\n"));
  EXPECT_EQ(read(file), "new\n");
  fs::create_symlink("x.prom", folder / "link.prom");
  ASSERT_TRUE(replace_file(folder / "link.prom", "newer\n"));
  EXPECT_TRUE(fs::is_symlink(folder / "link.prom"));
  EXPECT_EQ(read(file), "newer\n");
  ASSERT_TRUE(replace_file(file, ""));
  EXPECT_EQ(fs::file_size(file), 0u);
}

TEST_F(publishing, neither_a_device_nor_a_folder_is_replaced) {
  auto const device = replace_file("/dev/null", "x");
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().what.find("/dev/null: it is not a regular file"), std::string::npos);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_FALSE(replace_file(folder, "x"));
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_FALSE(replace_file(folder / "fifo", "x"));
}

TEST_F(publishing, relative_paths) {
  auto const before = fs::current_path();
  fs::current_path(folder);
  auto const ok = replace_file("here.prom", "x\n");
  fs::current_path(before);
  ASSERT_TRUE(ok);
  EXPECT_EQ(read(folder / "here.prom"), "x\n");
}

TEST(push, groups_by_netbox) {
  EXPECT_EQ(push_url("http://push.example:9091", "https://netbox.example"),
            "http://push.example:9091/metrics/job/weir/netbox/netbox.example");
  EXPECT_EQ(push_url("http://push.example/gateway/", "https://NetBox.example:8443/"),
            "http://push.example/gateway/metrics/job/weir/netbox/netbox.example%3A8443");
  // The Pushgateway's documentation: echo -n /var/tmp | base64 is what such values look like.
  EXPECT_EQ(push_url("http://p", "https://n.example/nb"), "http://p/metrics/job/weir/netbox@base64/bi5leGFtcGxlL25i");
  EXPECT_EQ(push_url("http://p", "https://n.example/nb1"),
            "http://p/metrics/job/weir/netbox@base64/bi5leGFtcGxlL25iMQ==");
}

}  // namespace
}  // namespace weir::metrics
