// Whole runs, seeded: the engine, the gate and libcurl against simulated servers that fail at random. Whatever happens,
// nothing is doubled, what a run says about itself is true, and runs that are repeated come to the source's state.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "core/base/log.hpp"
#include "core/engine/run.hpp"
#include "core/sim/netbox.hpp"
#include "core/sim/proxmox.hpp"
#include "core/store/journal.hpp"

namespace weir {
namespace {

using nlohmann::json;

// WEIR_SEED replays one; WEIR_SEEDS says how many (default 15).
std::vector<std::uint64_t> seeds() {
  if (char const* one = std::getenv("WEIR_SEED")) return {std::strtoull(one, nullptr, 10)};
  char const* many = std::getenv("WEIR_SEEDS");
  std::vector<std::uint64_t> out;
  for (std::uint64_t s = 1; s <= (many ? std::strtoull(many, nullptr, 10) : 15); ++s) out.push_back(s);
  return out;
}

json random_faults(std::mt19937_64& random) {
  json const kinds = {
      {{"status", 500},
       {"body", R"({"error":"FATAL:  remaining connection slots are reserved","exception":"OperationalError"})"}},
      {{"status", 500}, {"body", R"({"error":"deadlock detected","exception":"OperationalError"})"}},
      {{"status", 502}, {"body", "<html><title>502 Bad Gateway</title></html>"}},
      {{"status", 502}, {"body", "<html><title>502 Bad Gateway</title></html>"}, {"after_commit", true}},
      {{"status", 504}, {"body", "<html><title>504 Gateway Time-out</title></html>"}, {"after_commit", true}},
      {{"cut", true}},
      {{"cut", true}, {"after_commit", true}},
      {{"truncate_body_at", 40}, {"after_commit", true}},
      {{"status", 429}, {"body", "{}"}},
      {{"status", 503}, {"body", "{}"}, {"headers", {{"Retry-After", "0"}}}},
      {{"status", 500}, {"body", R"({"error":"duplicate key value","exception":"IntegrityError"})"}},
      {{"status", 500}, {"body", R"({"error":"boom","exception":"TypeError"})"}},
      {{"status", 500}, {"body", "<h1>Server Error (500)</h1>"}},
  };
  json out = json::array();
  auto const count = 1 + random() % 6;
  for (std::uint64_t i = 0; i < count; ++i) {
    json f = kinds[random() % kinds.size()];
    f["path_regex"] = random() % 3 ? "/api/(virtualization|plugins|dcim|extras)/" : "/api/plugins/";
    if (random() % 4) f["method"] = random() % 5 ? "POST" : "GET";
    f["times"] = 1 + random() % 3;
    f["skip"] = random() % 12;
    out.push_back(f);
  }
  return out;
}

// Holds what a run tells its observer against what it reports in the end.
class listener final : public engine::observer {
 public:
  void stage_started(std::string const& source, std::string const& stage) override {
    EXPECT_TRUE(open.insert(source + '/' + stage).second) << "started twice";
  }
  void wrote(engine::written_batch const& b) override {
    EXPECT_TRUE(open.contains(b.source + '/' + b.stage)) << "written outside of its stage";
    EXPECT_LE(b.failed, b.objects);
    last_state[b.number] = b.state;
  }
  void requested(std::string const& server, http::attempt_seen const& a) override {
    EXPECT_FALSE(server == "netbox" && a.outcome == throttle::outcome::cancelled);
    ++attempts[server];
  }
  void noticed(engine::notice const&) override { ++notices; }
  void finished(engine::job_report const& j) override {
    auto const mine = j.source + '/' + j.stage;
    if (j.status == engine::job_status::ok) {
      EXPECT_TRUE(open.contains(mine)) << "ended before it began";
    }
    open.erase(mine);
    EXPECT_TRUE(closed.insert(mine).second) << "ended twice";
  }
  void ticked(engine::gate_now const& g) override {
    EXPECT_LE(g.count.in_flight, 3u);
    ++ticks;
  }

  void expect_agrees(engine::report const& r, store::journal const& journal) const {
    EXPECT_EQ(closed.size(), r.jobs.size());
    EXPECT_EQ(notices, r.notices.size());
    std::uint64_t started = 0;
    for (auto const& [method, n] : r.requests) started += n;
    auto const at = [&](char const* server) { return attempts.contains(server) ? attempts.at(server) : 0; };
    EXPECT_EQ(at("netbox"), started);  // probes are requests, too
    EXPECT_EQ(at("pve-a"), r.source_requests);
    EXPECT_EQ(ticks > 0, !r.netbox_version.empty());
    auto const batches = journal.batches(r.run_id);
    ASSERT_TRUE(batches);
    std::map<std::uint64_t, std::string> in_journal;
    for (auto const& b : *batches)
      if (!b.marker.empty()) in_journal[b.number] = store::name(b.state);  // else it never was a request
    EXPECT_EQ(last_state, in_journal);
  }

 private:
  std::set<std::string> open, closed;
  std::map<std::string, std::uint64_t> attempts;
  std::map<std::uint64_t, std::string> last_state;
  std::size_t notices = 0, ticks = 0;
};

struct run_lab {
  sim::proxmox_server proxmox;
  sim::netbox_server netbox;
  config::configuration settings;
  engine::run_options options;
  std::filesystem::path const folder = testing::TempDir() + "weir-runs-" + engine::new_run_id();
  std::unique_ptr<store::journal> journal = store::journal::open(folder / "journal.db", {false, false, 0, {}}).value();
  ~run_lab() {
    journal.reset();
    std::filesystem::remove_all(folder);
  }

  run_lab(sim::proxmox_options const& cluster) : proxmox(cluster) {
    auto& p = settings.profile;
    p.name = "test";
    p.batch_delay = std::chrono::milliseconds(0);
    p.requests_per_second = 0;
    p.objects_per_request = 7;
    p.max_in_flight = 3;
    p.max_attempts = 3;
    p.backoff_base = p.backoff_cap = std::chrono::milliseconds(2);
    settings.netbox.url = netbox.url();
    settings.netbox.token = base::secret(netbox.token());
    config::source s;
    s.name = "pve-a";
    s.type = "proxmox";
    s.urls = {proxmox.url()};
    s.token_id = cluster.token_id;
    s.token = base::secret(cluster.token_secret);
    settings.sources = {s};
    auto plugins = plugin::load({WEIR_BINARY_DIR "/stages"});
    EXPECT_TRUE(plugins.problems.empty());
    for (auto& stage : plugins.stages) {
      options.stage_options[stage.id] = plugin::check_options(stage, "{}", "").value();
      options.stages.push_back(std::move(stage));
    }
    EXPECT_EQ(options.stages.size(), 3u);
  }
  engine::report run() {
    listener heard;
    std::atomic<bool> stop{false};
    options.run_id = engine::new_run_id();
    options.journal = journal.get();
    auto const r = engine::run(settings, options, heard, stop);
    EXPECT_TRUE(engine::record_end(*journal, r, 0, "{}"));
    heard.expect_agrees(r, *journal);
    return r;
  }
};

engine::counts total(engine::report const& r) {
  engine::counts sum;
  for (auto const& job : r.jobs)
    for (auto const& [kind, c] : job.kinds) sum += c;
  return sum;
}

void expect_no_doubles(json const& dump, std::uint64_t seed) {
  std::set<std::string> seen;
  for (auto const& vm : dump.at("virtualization.virtualmachine"))
    EXPECT_TRUE(seen.insert(vm.at("custom_fields").at("proxmox_vm_id").dump()).second)
        << "a guest twice, seed " << seed;
  for (auto const& b : dump.at("netbox_proxbox.vmbackup"))
    EXPECT_TRUE(seen.insert(b.at("virtual_machine").at("id").dump() + b.at("volume_id").dump()).second)
        << "a backup twice, seed " << seed;
  for (auto const& [kind, field] : std::map<std::string, std::string>{{"extras.tag", "slug"},
                                                                      {"extras.customfield", "name"},
                                                                      {"dcim.site", "slug"},
                                                                      {"virtualization.cluster", "name"},
                                                                      {"dcim.device", "name"}})
    for (auto const& o : dump.at(kind))
      EXPECT_TRUE(seen.insert(kind + o.at(field).dump()).second) << kind << " twice, seed " << seed;
}

TEST(faults, nothing_is_doubled_and_repeated_runs_arrive) {
  base::log::configure(base::log::level::off, base::log::format::text, false);
  for (auto const seed : seeds()) {
    SCOPED_TRACE("WEIR_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    sim::proxmox_options cluster;
    cluster.seed = seed;
    cluster.nodes = 2;
    cluster.guests = 15;
    cluster.backups = 60;
    run_lab lab(cluster);
    lab.netbox.set_faults(random_faults(random).dump());
    std::size_t runs = 0;
    bool arrived = false;
    for (; runs < 8 && !arrived; ++runs) {
      if (runs == 4) lab.netbox.set_faults("[]");  // it heals in the end
      auto const r = lab.run();
      auto const sum = total(r);
      bool const whole =
          !r.fatal && r.failures.empty() && sum.deferred == 0 &&
          std::all_of(r.jobs.begin(), r.jobs.end(), [](auto const& j) { return j.status == engine::job_status::ok; });
      EXPECT_LE(r.peak_in_flight, 3u);
      expect_no_doubles(json::parse(lab.netbox.dump()), seed);
      // Nobody else writes here: who is told that something exists already has sent it twice.
      for (auto const& f : r.failures)
        EXPECT_FALSE(f.message.find("already exists") != std::string::npos ||
                     f.message.find("must be unique") != std::string::npos)
            << f.kind << " " << f.label << ": " << f.message;
      arrived = whole && sum.created + sum.updated + sum.deleted == 0;
    }
    EXPECT_TRUE(arrived) << "not even after " << runs << " runs";
    auto const dump = json::parse(lab.netbox.dump());
    EXPECT_EQ(dump.at("virtualization.virtualmachine").size(), 15u);
    EXPECT_EQ(dump.at("netbox_proxbox.vmbackup").size(), 60u);
    EXPECT_EQ(dump.at("dcim.device").size(), 2u);
    lab.netbox.reset_counters();
    lab.run();
    EXPECT_EQ(lab.netbox.counters().writes, 0u);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace weir
