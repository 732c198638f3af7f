// What the journal costs for a batch of 50 objects: add_batch, batch_sent and batch_ended, with and without fsync.
#include "core/store/journal.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

int main() {
  using namespace weir::store;
  using clock = std::chrono::steady_clock;
  namespace fs = std::filesystem;
  auto const folder = fs::temp_directory_path() / ("weir-journal-bench-" + std::to_string(getpid()));
  for (bool const durable : {true, false}) {
    auto const file = folder / (durable ? "durable.db" : "fast.db");
    journal_options options;
    options.durable = durable;
    auto opened = journal::open(file, options);
    if (!opened) return std::fprintf(stderr, "%s\n", opened.error().what.c_str()), 1;
    auto& j = **opened;
    run_record run;
    run.id = "0badcafe";
    run.netbox_url = "http://127.0.0.1";
    run.started = std::chrono::system_clock::now();
    if (auto ok = j.begin_run(run); !ok) return std::fprintf(stderr, "%s\n", ok.error().what.c_str()), 1;
    std::vector<object_record> objects(50);
    for (std::size_t i = 0; i < objects.size(); ++i) {
      objects[i].position = i;
      objects[i].action = "create";
      objects[i].label = "pbs:backup/vm/101/2026-11-01T01:46:" + std::to_string(10 + i) + "Z";
      objects[i].key = R"({"virtual_machine":{"custom_fields.proxmox_source":"pve-a"},"volume_id":")" + objects[i].label + "\"}";
    }
    constexpr std::uint64_t batches = 500;
    auto const start = clock::now();
    for (std::uint64_t n = 1; n <= batches; ++n) {
      auto const now = std::chrono::system_clock::now();
      batch_record b;
      b.run = run.id;
      b.number = n;
      b.source = "pve-a";
      b.stage = "backups";
      b.kind = "netbox_proxbox.vmbackup";
      b.path = "plugins/proxbox/backups";
      b.verb = "POST";
      b.marker = "weir run 0badcafe#" + std::to_string(n) + " pve-a/backups";
      b.objects = objects.size();
      b.created = now;
      auto results = objects;
      for (auto& o : results) o.state = batch_state::done, o.netbox_id = 1000 * n + o.position;
      if (!j.add_batch(b, objects) || !j.batch_sent(run.id, n, now) ||
          !j.batch_ended(run.id, n, batch_state::done, "", results, now))
        return std::fprintf(stderr, "the journal failed\n"), 1;
    }
    auto const took = std::chrono::duration<double, std::milli>(clock::now() - start).count();
    std::printf("journal, %s: %.2f ms a batch of %zu objects (%llu batches), %.1f bytes an object\n",
                durable ? "with fsync" : "without fsync", took / static_cast<double>(batches), objects.size(),
                static_cast<unsigned long long>(batches),
                static_cast<double>(fs::file_size(file)) / static_cast<double>(batches * objects.size()));
  }
  fs::remove_all(folder);
}
