// What the doctor makes of what it saw.
#include <gtest/gtest.h>

#include "core/doctor/advice.hpp"
#include "core/doctor/judge.hpp"
#include "core/doctor/symptoms.hpp"

namespace {

using namespace weir;
using namespace weir::doctor;
using namespace std::chrono_literals;
using base::error_code;

instant const now{1'790'000'000s};

kind_rights kind(std::string name, bool needs_delete = false) {
  kind_rights r;
  r.kind = std::move(name);
  r.title = r.kind.substr(r.kind.find('.') + 1);
  r.stages = {"virtual-machines"};
  r.needs_delete = needs_delete;
  r.view = r.add = r.change = r.erase = true;
  return r;
}

netbox_facts healthy() {
  netbox_facts f;
  f.connection.url = "https://netbox.example";
  f.connection.certificate = http::certificate{"AB:CD", std::chrono::floor<seconds>(now) + std::chrono::days(200)};
  f.version = "4.7.3";
  f.major = 4;
  f.minor = 7;
  f.plugins = {{"netbox_proxbox", "0.0.29"}};
  f.user = "weir";
  f.write_enabled = true;
  f.superuser = false;
  f.rights = {kind("virtualization.virtualmachine"), kind("netbox_proxbox.vmbackup", true)};
  f.rights[1].plugin = "netbox_proxbox";
  f.change_log = true;
  f.page_size = 1000;
  f.measured = "backups";
  f.latencies = {{1, 1, 40, 38, 45}, {50, 50, 60, 50, 70}, {250, 250, 120, 100, 130}, {1000, 900, 400, 390, 420}};
  f.requests = 30;
  return f;
}

// The findings of at least this level, as "title: seen"; each symptom is one that the README knows.
std::vector<std::string> said(findings const& all, level at_least = level::note) {
  std::vector<std::string> out;
  for (auto const& f : all) {
    if (!f.symptom.empty()) {
      EXPECT_NE(find_symptom(f.symptom), nullptr) << f.symptom << " is not in the table";
    }
    if (f.level == level::problem) {
      EXPECT_FALSE(f.todo.empty()) << f.seen;
    }
    if (f.level >= at_least) out.push_back(f.title + ": " + f.seen);
  }
  return out;
}

finding const* find(findings const& all, std::string_view part) {
  for (auto const& f : all)
    if ((f.title + ": " + f.seen).find(part) != std::string::npos) return &f;
  return nullptr;
}

findings judged(netbox_facts const& f) {
  findings out;
  judge_netbox(f, now, out);
  return out;
}

TEST(judge, a_netbox_in_health) {
  auto const all = judged(healthy());
  EXPECT_EQ(said(all, level::warning), std::vector<std::string>{});
  EXPECT_FALSE(verdict(all));
  ASSERT_TRUE(find(all, "ends in 200 days, verified"));
  ASSERT_TRUE(find(all, "all 7 that were looked at, on 2 kinds"));
}

TEST(judge, a_netbox_that_cannot_be_used) {
  auto f = healthy();
  f.version.clear();
  f.error = base::fail(error_code::unreachable, "NetBox is version 4.2.1, too old for weir", "upgrade NetBox");
  auto const old = judged(f);
  ASSERT_EQ(old.front().level, level::problem);
  EXPECT_EQ(old.front().symptom, "netbox-too-old");
  EXPECT_EQ(verdict(old), error_code::unreachable);
  f.error = base::fail(error_code::credentials, "GET …: HTTP 403: Invalid v1 token", "check the token");
  EXPECT_EQ(verdict(judged(f)), error_code::credentials);
  EXPECT_EQ(judged(f).front().symptom, "credentials-netbox");
}

TEST(judge, certificates_in_their_last_days) {
  auto f = healthy();
  f.connection.certificate->ends = std::chrono::floor<seconds>(now) + std::chrono::days(9) + 1h;
  ASSERT_TRUE(find(judged(f), "certificate: ends in 9 days, verified"));
  EXPECT_EQ(find(judged(f), "ends in 9 days")->level, level::warning);
  f.connection.certificate->ends = std::chrono::floor<seconds>(now) - std::chrono::days(2);
  f.connection.pinned = true;
  EXPECT_TRUE(find(judged(f), "certificate: ended 2 days ago, pinned"));
  f.connection.verified = f.connection.pinned = false;
  auto const all = judged(f);
  ASSERT_TRUE(find(all, "TLS: certificates are not verified"));
  EXPECT_NE(find(all, "TLS: ")->todo.find("AB:CD"), std::string::npos);
  f.connection.url = "http://10.0.0.5";
  f.connection.certificate.reset();
  EXPECT_TRUE(find(judged(f), "plain http"));
  f.connection.url = "http://127.0.0.1:8000";
  EXPECT_FALSE(find(judged(f), "plain http"));
}

TEST(judge, permissions) {
  auto f = healthy();
  f.rights[0].add = false;
  f.rights[1].erase = {};
  f.permissions_hidden = true;
  auto const all = judged(f);
  ASSERT_TRUE(find(all, "missing: virtualization.add_virtualmachine"));
  EXPECT_EQ(find(all, "missing: ")->code, error_code::credentials);
  ASSERT_TRUE(find(all, "could not be determined without writing: netbox_proxbox.delete_vmbackup"));
  EXPECT_EQ(find(all, "could not be determined")->level, level::note);
  EXPECT_EQ(verdict(all), error_code::credentials);

  f = healthy();
  f.write_enabled = false;
  f.rights[0].add = f.rights[0].change = f.rights[1].add = f.rights[1].change = false;
  auto const read_only = judged(f);
  ASSERT_TRUE(find(read_only, "token: user weir, read-only"));
  EXPECT_FALSE(find(read_only, "missing: ")) << "that is the token's doing, and has been said";

  f = healthy();
  f.rights[1].lacks_plugin = true;
  f.rights[1].add = false;
  f.plugins.clear();
  auto const without = judged(f);
  ASSERT_TRUE(find(without, "NetBox does not have this plugin: virtual-machines will be skipped"));
  EXPECT_FALSE(find(without, "missing: "));
  EXPECT_EQ(find(without, "does not have this plugin")->symptom, "missing-proxbox");
}

TEST(judge, a_token_that_expires) {
  auto f = healthy();
  f.token_expires = now + 72h + 1min;
  EXPECT_EQ(find(judged(f), "it expires in 3 days")->level, level::warning);
  f.token_expires = now + 2000h;
  EXPECT_EQ(find(judged(f), "it expires in 83 days")->level, level::ok);
}

TEST(judge, a_poisoned_pool_and_a_database_that_is_away) {
  auto f = healthy();
  f.database_errors = 5;
  f.database_error_ms = 13;
  f.database_words = "OperationalError: remaining connection slots are reserved";
  auto const poisoned = judged(f);
  ASSERT_TRUE(find(poisoned, "5 of 30 requests found no database, with one in flight"));
  EXPECT_EQ(find(poisoned, "5 of 30")->symptom, "poisoned-pool");
  EXPECT_NE(find(poisoned, "5 of 30")->todo.find("restart NetBox's workers"), std::string::npos);
  EXPECT_EQ(verdict(poisoned), error_code::unreachable);
  f.database_errors = f.requests = 5;
  f.version.clear();
  f.error = base::fail(error_code::unreachable, "GET …: HTTP 500: OperationalError: Connection refused");
  EXPECT_EQ(find(judged(f), "5 of 5")->symptom, "database-unavailable");
}

TEST(judge, a_small_page_and_slow_lists) {
  auto f = healthy();
  f.page_size = 100;
  f.latencies[0].median_ms = 1500;
  auto const all = judged(f);
  EXPECT_EQ(find(all, "page size: NetBox gives 100 objects")->symptom, "page-size");
  EXPECT_EQ(find(all, "latency: reading backups: 1 in 1.5 s, 50 in 60 ms")->level, level::warning);
  f = healthy();
  f.page_size.reset();
  f.latencies.resize(1);
  f.change_log = false;
  f.minor = 8;
  auto const notes = said(judged(f));
  EXPECT_EQ(notes.size(), 5u);  // newer, change log, page size, too few objects, workers
  EXPECT_EQ(said(judged(f), level::warning), std::vector<std::string>{});
}

// --- Proxmox VE

source_facts cluster() {
  source_facts f;
  f.name = "pve-a";
  f.type = "proxmox";
  f.version = "8.4.1";
  f.who = "sync@pve!weir";
  f.with_token = true;
  f.backups_wanted = true;
  f.addresses.resize(2);
  f.addresses[0].connection.url = "https://pve1:8006";
  f.addresses[1].connection.url = "https://pve2:8006";
  f.nodes = {{"pve1", true, 0s}, {"pve2", true, 1s}};
  storage_facts s;
  s.name = "pbs";
  s.backups = s.shared = true;
  s.on = {"pve1", "pve2"};
  s.backup_count = 600;
  f.storages = {s};
  f.guests = 60;
  f.privileges = privileges{{"/", {{"Sys.Audit", true}}},
                            {"/nodes", {{"Sys.Audit", true}}},
                            {"/vms", {{"VM.Audit", true}, {"VM.Backup", true}}},
                            {"/storage", {{"Datastore.Audit", true}, {"Datastore.AllocateSpace", true}}}};
  return f;
}
findings judged(source_facts const& f) {
  findings out;
  judge_source(f, now, out);
  return out;
}

TEST(judge, a_cluster_in_health) {
  auto const all = judged(cluster());
  EXPECT_EQ(said(all), std::vector<std::string>{});
  EXPECT_TRUE(find(all, "objects: 60 guests, 600 backups"));
  EXPECT_TRUE(find(all, "sync@pve!weir: VM.Audit, Datastore.Audit, Sys.Audit"));
}

TEST(judge, privileges_of_the_nearest_path) {
  privileges const p{{"/", {{"VM.Audit", true}}}, {"/vms", {{"VM.Audit", false}}}, {"/vms/100", {{"VM.Backup", true}}}};
  EXPECT_TRUE(holds(p, "/vms", "VM.Audit")) << "there, but not below";
  EXPECT_FALSE(holds(p, "/vms/7", "VM.Audit"));
  EXPECT_FALSE(holds(p, "/vms/100", "VM.Audit")) << "what stands nearer replaces what stands above";
  EXPECT_TRUE(holds(p, "/vms/100", "VM.Backup"));
  EXPECT_TRUE(holds(p, "/storage/local", "VM.Audit"));
  EXPECT_FALSE(holds({}, "/", "VM.Audit"));
}

TEST(judge, the_trap_of_the_empty_backup_list) {
  auto f = cluster();
  (*f.privileges)["/storage"] = {{"Datastore.Audit", true}};
  auto const all = judged(f);
  auto const* trap =
      find(all, "backups: the list of backups is empty (with 200) on pbs without Datastore.AllocateSpace;");
  ASSERT_TRUE(trap);
  EXPECT_EQ(trap->symptom, "empty-backup-list");
  EXPECT_NE(trap->todo.find("--tokens 'sync@pve!weir'"), std::string::npos) << trap->todo;
  EXPECT_EQ(verdict(all), error_code::credentials);
  (*f.privileges)["/storage"]["Datastore.Allocate"] = true;  // that alone is enough
  EXPECT_FALSE(find(judged(f), "list of backups is empty"));
  (*f.privileges)["/storage"] = {{"Datastore.Audit", true}, {"Datastore.AllocateSpace", true}};
  (*f.privileges)["/vms"].erase("VM.Backup");
  EXPECT_TRUE(find(judged(f), "on pbs without VM.Backup;"));
  f.backups_wanted = false;
  EXPECT_EQ(said(judged(f)), std::vector<std::string>{});
}

TEST(judge, missing_privileges) {
  auto f = cluster();
  f.privileges = privileges{{"/", {}}, {"/vms", {}}};
  auto const none = judged(f);
  ASSERT_TRUE(find(none, "has no privilege at all; a token with privilege separation has none of its user's"));
  f = cluster();
  (*f.privileges)["/vms"].erase("VM.Audit");
  EXPECT_EQ(find(judged(f), "VM.Audit is missing: no guests can be seen")->level, level::problem);
  (*f.privileges)["/pool/web"] = {{"VM.Audit", true}};
  EXPECT_EQ(find(judged(f), "VM.Audit on a part only")->level, level::warning);
}

TEST(judge, what_is_away) {
  auto f = cluster();
  f.addresses[1].error = base::fail(error_code::unreachable, "pve-a: GET /version: https://pve2:8006: cannot connect");
  f.nodes[1].online = false;
  f.quorate = false;
  f.storages[0].away_on = {"pve1"};
  storage_facts off;
  off.name = "old";
  off.disabled = true;
  f.storages.push_back(off);
  auto const all = judged(f);
  EXPECT_FALSE(verdict(all)) << "the other address does";
  EXPECT_TRUE(find(all, "nodes: pve2 is offline"));
  EXPECT_TRUE(find(all, "storages: no answer from pbs (on pve1)"));
  EXPECT_TRUE(find(all, "storages: old is disabled"));
  EXPECT_TRUE(find(all, "it has no quorum"));
  f.addresses[0].error = f.addresses[1].error;
  EXPECT_EQ(verdict(judged(f)), error_code::unreachable);
  EXPECT_FALSE(find(judged(f), "offline")) << "nothing is known of it";
}

TEST(judge, a_part_that_cannot_be_counted) {
  auto f = cluster();
  f.storages[0].backup_count.reset();
  f.unread.push_back(base::fail(error_code::failed, "pve-a: GET /nodes/pve1/storage/pbs/content: 500 no"));
  EXPECT_TRUE(find(judged(f), "60 guests, at least 0 backups"));
  EXPECT_TRUE(find(judged(f), "not read: pve-a: GET /nodes"));
}

// --- this machine

state_facts good_state() {
  state_facts f;
  f.dir = "/var/lib/weir";
  f.exists = f.directory = f.writable = f.journal_exists = true;
  f.owner = f.me = "weir";
  f.mode = 0700;
  f.free_bytes = 5ull << 30;
  f.journal_bytes = 3u << 20;
  f.recent = 10;
  return f;
}
findings judged(state_facts const& f) {
  findings out;
  judge_state(f, out);
  return out;
}

TEST(judge, the_state_directory) {
  EXPECT_EQ(said(judged(good_state())), std::vector<std::string>{});
  EXPECT_TRUE(find(judged(good_state()), "5.0 GiB free"));
  auto f = good_state();
  f.writable = false;
  f.owner = "root";
  EXPECT_TRUE(find(judged(f), "/var/lib/weir, of root, mode 0700, and weir may not write to it"));
  EXPECT_EQ(verdict(judged(f)), error_code::failed);
  f = good_state();
  f.exists = false;
  EXPECT_EQ(find(judged(f), "does not exist, and weir may not make it")->todo,
            "install -d -o weir -m 700 /var/lib/weir");
  f.creatable = true;
  EXPECT_EQ(said(judged(f)), std::vector<std::string>{});
  f = good_state();
  f.directory = false;
  EXPECT_TRUE(find(judged(f), "is no folder"));
  f = good_state();
  f.free_bytes = 1000;
  EXPECT_EQ(find(judged(f), "1 KiB free")->level, level::problem);
  f.free_bytes = 100u << 20;
  EXPECT_EQ(find(judged(f), "100.0 MiB free")->level, level::warning);
  f = good_state();
  f.mode = 0777;
  EXPECT_EQ(find(judged(f), "others may write to it")->todo, "chmod 700 /var/lib/weir");
  f = good_state();
  f.owner = "somebody";
  EXPECT_TRUE(find(judged(f), "another user's files"));
  f = good_state();
  f.journal_error = base::fail("journal.db is no database", "move it away");
  EXPECT_EQ(find(judged(f), "is no database")->symptom, "state-dir");
}

TEST(judge, locks_and_what_runs_left) {
  auto f = good_state();
  f.unfinished = {"7f3a0c1d", "0a"};
  f.stopped = 3;
  EXPECT_EQ(find(judged(f), "2 runs unfinished, the last is 7f3a0c1d")->todo, "weir resume");
  EXPECT_TRUE(find(judged(f), "3 of the last 10 were stopped early or failed"));
  f.lock = store::lock_holder{"7f3a0c1d", "sync", "host", 4711, now};
  f.lock_held = true;
  EXPECT_TRUE(find(judged(f), "weir sync, run 7f3a0c1d, pid 4711 on host, since 2026-09-21T14:13:20Z is at work"));
  EXPECT_FALSE(find(judged(f), "unfinished")) << "it is at work";
  f.lock_held = false;
  EXPECT_TRUE(find(judged(f), "left by a process that died (pid 4711"));
  EXPECT_TRUE(find(judged(f), "unfinished"));
  f.lock_held.reset();
  EXPECT_TRUE(find(judged(f), "is said to be at work, on another machine"));
}

TEST(judge, the_machine) {
  machine_facts f;
  f.now = now;
  f.open_files = 1024;
  f.clock_synchronised = true;
  findings good;
  judge_machine(f, good);
  EXPECT_EQ(said(good), std::vector<std::string>{});
  f.now = instant(0s);
  f.open_files = 64;
  f.clock_synchronised = false;
  f.refused_plugins = {base::fail(error_code::config, "bad.so is no plugin", "rebuild it")};
  findings bad;
  judge_machine(f, bad);
  EXPECT_EQ(said(bad, level::warning).size(), 3u);
  EXPECT_EQ(find(bad, "bad.so")->symptom, "plugin-refused");
  EXPECT_TRUE(find(bad, "it says 1970-01-01T00:00:00Z"));
}

TEST(judge, whose_clock_is_wrong) {
  auto const judge = [](std::vector<std::pair<std::string, seconds>> const& ahead) {
    findings out;
    judge_clocks(ahead, out);
    return out;
  };
  EXPECT_EQ(said(judge({{"NetBox", 1s}, {"pve1", -2s}})), std::vector<std::string>{});
  auto const one = judge({{"NetBox", 1s}, {"pve1", -600s}});
  EXPECT_TRUE(find(one, "pve1: 10 min behind this machine"));
  EXPECT_EQ(said(one, level::warning).size(), 1u);
  EXPECT_TRUE(find(judge({{"NetBox", 7200s}}), "NetBox: 2 h ahead of this machine"));
  auto const ours = judge({{"NetBox", 3600s}, {"pve1", 3601s}, {"pve2", 3599s}});
  EXPECT_TRUE(find(ours, "this machine: all 3 servers are 60 min ahead of this machine"));
  EXPECT_EQ(said(ours, level::warning).size(), 1u);
  EXPECT_TRUE(judge({}).empty());
}

TEST(judge, the_worst_of_several) {
  findings f;
  notebook note(f, "x");
  note.warning("a", "b", "c");
  EXPECT_FALSE(verdict(f));
  note.problem("a", "b", "c");
  EXPECT_EQ(verdict(f), error_code::data);
  note.problem("a", "b", "c", "", error_code::credentials);
  note.problem("a", "b", "c", "", error_code::failed);
  EXPECT_EQ(verdict(f), error_code::credentials);
  note.problem("a", "b", "c", "", error_code::unreachable);
  EXPECT_EQ(verdict(f), error_code::unreachable);
}

// --- advice

config::profile profile(std::string name, std::size_t size, int delay, std::size_t objects, std::size_t in_flight,
                        double rps) {
  config::profile p;
  p.name = std::move(name);
  p.batch_size = size;
  p.batch_delay = std::chrono::milliseconds(delay);
  p.objects_per_request = objects;
  p.max_in_flight = in_flight;
  p.requests_per_second = rps;
  return p;
}
config::profile const gentle = profile("ultra-conservative", 3, 500, 10, 1, 2),
                      usual = profile("conservative", 5, 200, 50, 1, 10),
                      quick = profile("aggressive", 10, 50, 100, 4, 50);

TEST(advice, which_profile) {
  auto f = healthy();
  EXPECT_EQ(advise(f, {}, usual).profile, "conservative");
  EXPECT_EQ(advise(f, {}, gentle).profile, "conservative");
  EXPECT_EQ(advise(f, {}, quick).profile, "aggressive");
  EXPECT_NE(advise(f, {}, quick).reason.find("50 or more connections"), std::string::npos);
  EXPECT_EQ(advise(f, {}, profile("mine", 5, 100, 20, 2, 5)).profile, "mine");
  f.latencies[0].median_ms = 1200;
  EXPECT_EQ(advise(f, {}, usual).profile, "ultra-conservative");
  f = healthy();
  f.latencies[3].median_ms = 12000;
  EXPECT_NE(advise(f, {}, usual).reason.find("each object read takes"), std::string::npos);
  f = healthy();
  f.latencies[2].slowest_ms = 5000;  // beside 120
  EXPECT_EQ(advise(f, {}, quick).profile, "ultra-conservative");
  EXPECT_NE(advise(f, {}, quick).reason.find("120 ms or 5.0 s"), std::string::npos);
  f = healthy();
  f.database_errors = 1;
  EXPECT_EQ(advise(f, {}, quick).profile, "ultra-conservative");
  f = healthy();
  f.latencies.clear();
  EXPECT_EQ(advise(f, {}, quick).profile, "conservative");
  state_facts bad;
  bad.recent = 6;
  bad.stopped = 5;
  EXPECT_EQ(advise(healthy(), bad, usual).profile, "ultra-conservative");
}

TEST(advice, what_a_first_sync_costs) {
  auto f = healthy();
  f.rights = {kind("virtualization.virtualmachine"), kind("netbox_proxbox.vmbackup", true), kind("dcim.device"),
              kind("extras.tag")};
  auto const items = first_sync(f, {cluster()}, {{"netbox_proxbox.vmbackup", 10}});
  ASSERT_EQ(items.size(), 4u);
  EXPECT_EQ(items[1].objects, 600u);
  EXPECT_EQ(items[1].ms_per_object, 10);
  EXPECT_TRUE(items[1].measured && !items[0].measured);
  auto const at = [&](config::profile const& p) { return cost_at(items, p); };
  EXPECT_EQ(at(usual).objects, 60u + 600u + 2u + 1u);
  EXPECT_EQ(at(gentle).requests, 6u + 60u + 1u + 1u);
  EXPECT_LT(at(usual).requests, at(gentle).requests);
  EXPECT_LE(at(quick).seconds, at(usual).seconds);
  EXPECT_LT(at(usual).seconds, at(gentle).seconds);
  EXPECT_GE(at(gentle).seconds, static_cast<double>(at(gentle).requests) / 2)
      << "two requests a second are the ceiling";
  // Twice as slow, about twice as long.
  auto slow = items;
  for (auto& i : slow) i.ms_per_object *= 2;
  EXPECT_GT(cost_at(slow, quick).seconds, 1.8 * at(quick).seconds);
  EXPECT_EQ(cost_at({}, usual).requests, 0u);
  // Without a source that can be read there is nothing to count.
  auto none = cluster();
  none.error = base::fail("no");
  EXPECT_TRUE(first_sync(f, {none}, {}).empty());
}

TEST(advice, a_list_that_outlasts_the_proxy) {
  auto const judge = [](config::profile const& p, double ms) {
    findings out;
    judge_profile(p, {{"virtualization.virtualmachine", 1000, ms, true}}, out);
    return out;
  };
  EXPECT_EQ(said(judge(usual, 65)), std::vector<std::string>{});
  auto const all = judge(profile("mine", 5, 0, 1000, 16, 50), 65);
  auto const* list = find(all, "a list of 1000 of virtualization.virtualmachine may take 65.0 s");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->todo, "batch.objects_per_request: 23");
  EXPECT_TRUE(find(all, "16 at once"));
}

TEST(words, of_times_and_sizes) {
  EXPECT_EQ(in_words(90s), "90 s");
  EXPECT_EQ(in_words(600s), "10 min");
  EXPECT_EQ(in_words(7200s), "2 h");
  EXPECT_EQ(in_words(24h * 5), "5 days");
  EXPECT_EQ(in_days(25h), "1 day");
  EXPECT_EQ(in_days(3h), "3 h");
  EXPECT_EQ(in_time(999), "999 ms");
  EXPECT_EQ(in_time(1500), "1.5 s");
  EXPECT_EQ(in_bytes(0), "0 KiB");
}

}  // namespace
