// Memory that outlives a run, and what of a change gets into the journal for it.
#include "core/engine/journal_memory.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "tests/unit/engine/support.hpp"

namespace weir::engine {
namespace {

using namespace testing;
namespace fs = std::filesystem;

constexpr auto vms = "virtualization.virtualmachine", backups = "netbox_proxbox.vmbackup",
               url = "https://netbox.example";

struct memory_lab : lab, ::testing::Test {
  fs::path folder;
  std::unique_ptr<store::journal> journal;
  std::size_t written = 0;  // transactions

  memory_lab() {
    std::string name = (fs::temp_directory_path() / "weir-memory-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    store::journal_options options;
    options.durable = false;
    options.watch = [this](std::string_view, bool before) { written += before; };
    journal = store::journal::open(folder / "journal.db", options).value();
  }
  ~memory_lab() override {
    journal.reset();
    fs::remove_all(folder);
  }
  journal_memory memory() { return {*journal, journal.get(), url}; }
};

TEST_F(memory_lab, what_is_noted_is_known_at_once_and_by_the_next_run) {
  auto const since = wall_clock::time_point(std::chrono::seconds(1'800'000'000)) + std::chrono::microseconds(1234);
  known_object const what{"[\"pve-a\",101]", R"({"name":"web"})", since};
  {
    auto m = memory();
    EXPECT_FALSE(m.of(kind(vms), 17));
    m.note(kind(vms), 17, what);
    ASSERT_TRUE(m.of(kind(vms), 17));
    EXPECT_EQ(m.of(kind(vms), 17)->applied, what.applied);
    EXPECT_EQ(m.find(kind(vms), what.key), 17u);
    EXPECT_FALSE(m.of(kind(backups), 17));
    ASSERT_TRUE(m.flush());
    EXPECT_EQ(written, 1u);
    ASSERT_TRUE(m.flush());
    EXPECT_EQ(written, 1u) << "nothing is written twice";
  }
  auto later = memory();
  auto const back = later.of(kind(vms), 17);
  ASSERT_TRUE(back);
  // In milliseconds, so that what comes back equals what was noted.
  EXPECT_EQ(back->gone_since, std::chrono::floor<std::chrono::milliseconds>(since));
  later.note(kind(vms), 17, *back);
  EXPECT_EQ(later.of(kind(vms), 17), back);
  EXPECT_EQ(later.find(kind(vms), what.key), 17u);
  EXPECT_FALSE(later.find(kind(vms), "[\"pve-a\",102]"));
}

TEST_F(memory_lab, a_key_that_went_to_another_object) {
  auto m = memory();
  m.note(kind(vms), 17, {"k", "{}", {}});
  ASSERT_TRUE(m.flush());
  m.note(kind(vms), 17, {"other", "{}", {}});
  EXPECT_FALSE(m.find(kind(vms), "k"));
  m.note(kind(vms), 18, {"k", "{}", {}});
  EXPECT_EQ(m.find(kind(vms), "k"), 18u);
}

TEST_F(memory_lab, hundreds_at_a_time) {
  auto m = memory();
  for (object_id id = 1; id <= 1200; ++id) m.note(kind(vms), id, {"k" + std::to_string(id), "{}", {}});
  ASSERT_TRUE(m.flush());
  EXPECT_EQ(written, 3u);
  for (object_id id : {1, 500, 501, 1200}) EXPECT_TRUE(m.of(kind(vms), id)) << id;
}

TEST_F(memory_lab, a_dry_run_reads_and_keeps_nothing) {
  auto m = memory();
  m.note(kind(vms), 17, {"k", "{}", {}});
  ASSERT_TRUE(m.flush());
  journal_memory dry(*journal, nullptr, url);
  EXPECT_TRUE(dry.of(kind(vms), 17));
  dry.note(kind(vms), 18, {"l", "{}", {}});
  ASSERT_TRUE(dry.flush());
  EXPECT_FALSE(dry.of(kind(vms), 18));
  EXPECT_EQ(written, 1u);
}

TEST_F(memory_lab, a_record_has_netboxs_own_ids) {
  auto m = memory();
  holds(vms, {vm(1, "web", 101)});
  auto const pending = w.new_pending(kind(vms));
  w.of(kind(vms)).add(pending,
                      {{"name", "db"}, {"custom_fields", {{"proxmox_source", "pve-a"}, {"proxmox_vm_id", 102}}}});
  change c;
  c.what = action::create;
  c.kind = &kind(backups);
  c.object = w.new_pending(kind(backups));
  c.label = "v";
  c.key = json{{"virtual_machine", vm_key(102)}, {"volume_id", "v"}};
  c.body = json{{"virtual_machine", pending}, {"volume_id", "v"}, {"size", 1}};
  c.applied = json{{"virtual_machine", pending}, {"size", 1}};
  w.created(pending, 42);
  auto const o = record_of(w, m, c);
  EXPECT_EQ(o.action, "create");
  EXPECT_EQ(o.netbox_id, 0u);
  EXPECT_EQ(json::parse(o.after), (json{{"virtual_machine", 42}, {"volume_id", "v"}, {"size", 1}}));
  EXPECT_EQ(o.before, "");
  ASSERT_TRUE(o.known);
  EXPECT_EQ(o.known->key, "[42,\"v\"]");
  EXPECT_EQ(json::parse(o.known->applied), (json{{"virtual_machine", 42}, {"size", 1}}));
}

TEST_F(memory_lab, a_record_of_an_update) {
  auto m = memory();
  holds(vms, {vm(1, "web", 101)});
  known_object const was{"[\"pve-a\",101]", R"({"memory":1024,"role":3})",
                         wall_clock::time_point(std::chrono::seconds(1'800'000'000))};
  m.note(kind(vms), 1, was);
  change c;
  c.what = action::update;
  c.kind = &kind(vms);
  c.object = 1;
  c.key = vm_key(101);
  c.body = R"({"memory":2048})";
  c.before = R"({"memory":1024})";
  c.applied = R"({"memory":2048,"name":"web"})";
  auto o = record_of(w, m, c);
  EXPECT_EQ(o.netbox_id, 1u);
  EXPECT_EQ(json::parse(o.before), (json{{"memory", 1024}}));
  EXPECT_EQ(known_from(o.known_before), was);
  ASSERT_TRUE(o.known);
  EXPECT_EQ(o.known->key, was.key);
  // What another stage has applied to the same object stays known.
  EXPECT_EQ(json::parse(o.known->applied), (json{{"memory", 2048}, {"name", "web"}, {"role", 3}}));
  EXPECT_FALSE(o.known->gone_since);
  c.why = reason::gone;
  EXPECT_EQ(record_of(w, m, c).known->gone_since, was.gone_since) << "it is gone all the same";
  c.why = reason::undone;
  EXPECT_EQ(json::parse(record_of(w, m, c).known->applied), (json{{"memory", 2048}, {"name", "web"}}));
  c.applied.clear();
  EXPECT_EQ(record_of(w, m, c).known->applied, "") << "it is to be forgotten";
  c.what = action::erase;
  EXPECT_FALSE(record_of(w, m, c).known);
}

TEST_F(memory_lab, texts_that_are_none) {
  for (auto const* text : {"", "{}", "[]", "null", R"({"key":1,"applied":{}})", R"({"key":"k","applied":3})"})
    EXPECT_FALSE(known_from(text)) << text;
}

}  // namespace
}  // namespace weir::engine
