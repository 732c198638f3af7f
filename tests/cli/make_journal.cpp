// Writes a journal for the tests of `weir history`, through the code that every run writes its own with:
// make_journal STATE_DIR LIVE_PID DEAD_PID
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "core/store/journal.hpp"

namespace {

using namespace weir::store;

instant const noon{std::chrono::seconds(1'795'348'800)};  // 2026-11-22T12:00:00Z

template <class Result>
void must(Result const& r) {
  if (!r) throw std::runtime_error(r.error().text());
}

run_record run(std::string const& id, instant started) {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  run_record r;
  r.id = id;
  r.netbox_url = "https://netbox.example";
  r.command = "sync";
  r.profile = "conservative";
  r.config_file = "/etc/weir/config.yaml";
  r.host = host;
  r.pid = 1;
  r.started = started;
  return r;
}

batch_record batch(std::string const& of, std::uint64_t number, std::size_t objects) {
  batch_record b;
  b.run = of;
  b.number = number;
  b.source = "pve-a";
  b.stage = "virtual-machines";
  b.kind = "virtualization.virtualmachine";
  b.path = "virtualization/virtual-machines";
  b.verb = "POST";
  b.marker = "weir " + of + "/" + std::to_string(number);
  b.objects = objects;
  b.created = noon;
  return b;
}

std::vector<object_record> objects(std::size_t count) {
  std::vector<object_record> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].position = i;
    out[i].action = "create";
    out[i].label = "vm-" + std::to_string(i) + (i == 0 ? "-größer" : "");
    out[i].key = "{\"name\":\"vm-" + std::to_string(i) + "\"}";
  }
  return out;
}

void fill(journal& j, std::int64_t live, std::int64_t dead) {
  using std::chrono::seconds;
  must(j.begin_run(run("aaaa0001", noon)));
  must(j.put_stage({"aaaa0001", "pve-a", "nodes", stage_state::done, 3, 2, 1, 0, 0, ""}));
  must(j.put_stage({"aaaa0001", "pve-a", "backups", stage_state::done, 1000, 0, 0, 0, 0, ""}));
  must(j.end_run("aaaa0001", run_state::done, 0, "", R"({"requests":{"POST":20},"peak_in_flight":1})",
                 noon + std::chrono::milliseconds(64'250)));

  must(j.begin_run(run("aaaa0002", noon + seconds(100))));
  must(j.put_stage({"aaaa0002", "pve-a", "virtual-machines", stage_state::failed, 1, 0, 0, 2, 430, "NetBox is away"}));
  must(j.add_batch(batch("aaaa0002", 1, 3), objects(3)));
  must(j.batch_sent("aaaa0002", 1, noon + seconds(101)));
  auto came = objects(3);
  came[0].state = came[2].state = batch_state::failed;
  came[0].reason = came[2].reason = "name: This field may not be blank.\nReally.";
  came[1].state = batch_state::done;
  came[1].netbox_id = 17;
  must(j.batch_ended("aaaa0002", 1, batch_state::done, "", came, noon + seconds(102)));
  must(j.add_batch(batch("aaaa0002", 2, 30), objects(30)));
  must(j.batch_sent("aaaa0002", 2, noon + seconds(103)));
  must(j.batch_ended("aaaa0002", 2, batch_state::unknown, "502 Bad Gateway", {}, noon + seconds(104)));
  must(j.add_deferred(batch("aaaa0002", 3, 400)));
  must(j.end_run("aaaa0002", run_state::stopped, 75, "NetBox did not answer for 300 s", "", noon + seconds(500)));

  auto gone = run("bbbb0003", noon + seconds(1000));
  gone.pid = dead;
  must(j.begin_run(gone));
  must(j.add_batch(batch("bbbb0003", 1, 2), objects(2)));
  auto reused = run("bbbb0004", noon - std::chrono::hours(24 * 365 * 6));  // older than the process of that number
  reused.pid = live;
  must(j.begin_run(reused));
  auto elsewhere = run("cccc0005", noon + seconds(2000));
  elsewhere.pid = dead;
  elsewhere.host = "another-host.example";
  elsewhere.netbox_url = "https://other.example";
  must(j.begin_run(elsewhere));
  auto at_work = run("cccc0006", std::chrono::system_clock::now());
  at_work.pid = live;
  at_work.command = "resume";
  at_work.resumes = "aaaa0002";
  must(j.begin_run(at_work));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) return 64;
  try {
    auto j = journal::open(std::string(arguments[1]) + "/journal.db");
    must(j);
    fill(**j, std::atoll(arguments[2]), std::atoll(arguments[3]));
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
