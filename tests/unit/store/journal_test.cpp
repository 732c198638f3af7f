// What is written is what is read, in the order that is promised.
#include <SQLiteCpp/SQLiteCpp.h>

#include <atomic>
#include <thread>

#include "tests/unit/store/support.hpp"

namespace {

using namespace store_test;

std::vector<std::string> ids(std::vector<run_record> const& runs) {
  std::vector<std::string> out;
  for (auto const& r : runs) out.push_back(r.id);
  return out;
}

std::vector<std::uint64_t> numbers(std::vector<batch_record> const& batches) {
  std::vector<std::uint64_t> out;
  for (auto const& b : batches) out.push_back(b.number);
  return out;
}

TEST(journal, makes_folder_and_file_for_its_user_only) {
  folder f;
  auto const file = f.path() / "a" / "b" / "journal.db";
  auto const j = opened(file);
  EXPECT_EQ(j->file(), file);
  EXPECT_EQ(fs::status(file).permissions(), fs::perms(0600));
  EXPECT_EQ(fs::status(f.path() / "a" / "b").permissions(), fs::perms(0700));
  EXPECT_EQ(fs::status(f.path() / "a").permissions(), fs::perms(0700));
  for (auto const& entry : fs::directory_iterator(file.parent_path()))
    EXPECT_EQ(entry.path().filename().string().find(".new-"), std::string::npos) << "a draft was left behind";
}

TEST(journal, a_run_comes_back_whole) {
  folder f;
  auto r = run("7f3a2c1b");
  r.command = "resume";
  r.resumes = "00c0ffee";
  r.undoes = "0badcafe";
  r.reason = "it's \"quoted\",\nand späť";
  r.started = at(12, 345);
  {
    auto const j = opened(f.journal());
    ASSERT_TRUE(ok(j->begin_run(r)));
  }
  auto const j = opened(f.journal());
  auto back = j->find_run("7f3a2c1b");
  ASSERT_TRUE(ok(back));
  EXPECT_EQ(back->id, r.id);
  EXPECT_EQ(back->netbox_url, r.netbox_url);
  EXPECT_EQ(back->command, "resume");
  EXPECT_EQ(back->profile, r.profile);
  EXPECT_EQ(back->config_file, r.config_file);
  EXPECT_EQ(back->resumes, "00c0ffee");
  EXPECT_EQ(back->undoes, "0badcafe");
  EXPECT_EQ(back->host, "host-a");
  EXPECT_EQ(back->pid, 4711);
  EXPECT_EQ(back->started, at(12, 345));
  EXPECT_FALSE(back->ended);
  EXPECT_EQ(back->state, run_state::running);
  EXPECT_FALSE(back->exit_code);
  EXPECT_EQ(back->reason, r.reason);

  ASSERT_TRUE(ok(j->end_run("7f3a2c1b", run_state::partly, 3, "two failed", R"({"requests":12})", at(99, 1))));
  back = j->find_run("7f3a2c1b");
  ASSERT_TRUE(ok(back));
  EXPECT_EQ(back->state, run_state::partly);
  EXPECT_EQ(back->exit_code, 3);
  EXPECT_EQ(back->reason, "two failed");
  EXPECT_EQ(back->summary_json, R"({"requests":12})");
  EXPECT_EQ(back->ended, at(99, 1));

  ASSERT_TRUE(ok(j->set_run_state("7f3a2c1b", run_state::resumed, "by 11111111")));
  back = j->find_run("7f3a2c1b");
  EXPECT_EQ(back->state, run_state::resumed);
  EXPECT_EQ(back->reason, "by 11111111");
  EXPECT_EQ(back->exit_code, 3);
}

TEST(journal, every_state_comes_back) {
  folder f;
  auto const j = opened(f.journal());
  for (int i = 0; i < 7; ++i) {
    auto const id = "0000000" + std::to_string(i);
    ASSERT_TRUE(ok(j->begin_run(run(id))));
    ASSERT_TRUE(ok(j->set_run_state(id, static_cast<run_state>(i), "")));
    EXPECT_EQ(j->find_run(id)->state, static_cast<run_state>(i));
  }
  for (int i = 0; i < 5; ++i) {
    stage_record s{"00000000", "pve-a", "s" + std::to_string(i), static_cast<stage_state>(i), 0, 0, 0, 0, 0, ""};
    ASSERT_TRUE(ok(j->put_stage(s)));
    EXPECT_EQ(j->stages("00000000")->back().state, static_cast<stage_state>(i));
  }
  for (int i = 0; i < 6; ++i) {
    auto b = batch("00000000", static_cast<std::uint64_t>(i) + 1);
    b.state = static_cast<batch_state>(i);
    ASSERT_TRUE(ok(j->add_batch(b, {})));
    EXPECT_EQ(j->batches("00000000")->back().state, b.state);
  }
  EXPECT_EQ(name(run_state::interrupted), "interrupted");
  EXPECT_EQ(name(stage_state::skipped), "skipped");
  EXPECT_EQ(name(batch_state::unknown), "unknown");
}

TEST(journal, runs_newest_first_and_by_netbox) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa", 1))));
  ASSERT_TRUE(ok(j->begin_run(run("bbbbbbbb", 2, "https://other.example"))));
  ASSERT_TRUE(ok(j->begin_run(run("cccccccc", 3, "HTTPS://NetBox.Example:443/"))));
  EXPECT_EQ(ids(*j->runs(10)), (std::vector<std::string>{"cccccccc", "bbbbbbbb", "aaaaaaaa"}));
  EXPECT_EQ(ids(*j->runs(2)), (std::vector<std::string>{"cccccccc", "bbbbbbbb"}));
  EXPECT_EQ(ids(*j->runs(10, "https://netbox.example/")), (std::vector<std::string>{"cccccccc", "aaaaaaaa"}));
  EXPECT_EQ(ids(*j->runs(1, netbox)), (std::vector<std::string>{"cccccccc"}));
  EXPECT_TRUE(j->runs(10, "https://nobody.example")->empty());
  EXPECT_TRUE(j->runs(0)->empty());
}

TEST(journal, runs_by_a_beginning_of_their_id) {
  folder f;
  auto const j = opened(f.journal());
  auto none = j->find_run("7f3a");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, base::error_code::usage);
  EXPECT_NE(none.error().text().find("no runs yet"), std::string::npos) << none.error().text();

  for (auto const* id : {"7f3a2c1b", "7f3a9999", "00aa0000"}) ASSERT_TRUE(ok(j->begin_run(run(id))));
  EXPECT_EQ(j->find_run("7f3a2")->id, "7f3a2c1b");
  EXPECT_EQ(j->find_run("00")->id, "00aa0000");
  auto several = j->find_run("7f3a");
  ASSERT_FALSE(several);
  EXPECT_EQ(several.error().code, base::error_code::usage);
  EXPECT_NE(several.error().text().find("7f3a2c1b"), std::string::npos) << several.error().text();
  EXPECT_NE(several.error().text().find("7f3a9999"), std::string::npos) << several.error().text();
  EXPECT_FALSE(j->find_run("7"));
  EXPECT_FALSE(j->find_run(""));
  none = j->find_run("ffff");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text().find("00aa0000"), std::string::npos) << "the ones there are would help";
  EXPECT_FALSE(j->find_run("%%"));
  EXPECT_FALSE(j->find_run("7_"));
  // One whole id that another one begins with.
  ASSERT_TRUE(ok(j->begin_run(run("7f3a2c1b00"))));
  EXPECT_EQ(j->find_run("7f3a2c1b")->id, "7f3a2c1b");
}

TEST(journal, stages_are_replaced_and_keep_their_place) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  ASSERT_TRUE(ok(j->put_stage({"aaaaaaaa", "pve-a", "nodes", stage_state::running, 0, 0, 0, 0, 0, ""})));
  ASSERT_TRUE(ok(j->put_stage({"aaaaaaaa", "pve-a", "backups", stage_state::running, 0, 0, 0, 0, 0, ""})));
  ASSERT_TRUE(ok(j->put_stage({"aaaaaaaa", "pve-a", "nodes", stage_state::failed, 1, 2, 3, 4, 5, "gone"})));
  auto const stages = j->stages("aaaaaaaa");
  ASSERT_TRUE(ok(stages));
  ASSERT_EQ(stages->size(), 2u);
  auto const& s = stages->at(0);
  EXPECT_EQ(s.run, "aaaaaaaa");
  EXPECT_EQ(s.source, "pve-a");
  EXPECT_EQ(s.stage, "nodes");
  EXPECT_EQ(s.state, stage_state::failed);
  EXPECT_EQ((std::vector{s.created, s.updated, s.deleted, s.failed, s.deferred}),
            (std::vector<std::uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(s.reason, "gone");
  EXPECT_EQ(stages->at(1).stage, "backups");
}

TEST(journal, a_batch_goes_its_way) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  auto const b = batch("aaaaaaaa", 1, 3);
  ASSERT_TRUE(ok(j->add_batch(b, objects(3))));
  auto back = j->batches("aaaaaaaa")->at(0);
  EXPECT_EQ(back.run, b.run);
  EXPECT_EQ(back.number, 1u);
  EXPECT_EQ(back.source, b.source);
  EXPECT_EQ(back.stage, b.stage);
  EXPECT_EQ(back.kind, b.kind);
  EXPECT_EQ(back.path, b.path);
  EXPECT_EQ(back.verb, b.verb);
  EXPECT_EQ(back.marker, b.marker);
  EXPECT_EQ(back.objects, 3u);
  EXPECT_EQ(back.state, batch_state::pending);
  EXPECT_EQ(back.attempts, 0u);
  EXPECT_EQ(back.created, b.created);
  EXPECT_FALSE(back.sent);
  EXPECT_FALSE(back.ended);

  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(2))));
  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(3))));
  back = j->batches("aaaaaaaa")->at(0);
  EXPECT_EQ(back.state, batch_state::sent);
  EXPECT_EQ(back.attempts, 2u);
  EXPECT_EQ(back.sent, at(3));
  for (auto const& o : *j->objects("aaaaaaaa", 1)) EXPECT_EQ(o.state, batch_state::sent);

  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::unknown, "502", {}, at(4))));
  for (auto const& o : *j->objects("aaaaaaaa", 1)) EXPECT_EQ(o.state, batch_state::unknown);

  auto found = objects(3);
  found[0].netbox_id = 17;
  found[0].state = batch_state::done;
  found[2].state = batch_state::failed;
  found[2].reason = "name: This field may not be blank.";
  found.erase(found.begin() + 1);
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", found, at(5))));
  auto all = *j->objects("aaaaaaaa", 1);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].netbox_id, 17u);
  EXPECT_EQ(all[0].state, batch_state::done);
  EXPECT_EQ(all[0].action, "create");
  EXPECT_EQ(all[0].label, "vm-0");
  EXPECT_EQ(all[0].key, R"({"name":"vm-0"})");
  EXPECT_EQ(all[1].position, 1u);
  EXPECT_EQ(all[1].state, batch_state::done) << "not listed: the batch's";
  EXPECT_EQ(all[2].state, batch_state::failed);
  EXPECT_EQ(all[2].reason, "name: This field may not be blank.");
  back = j->batches("aaaaaaaa")->at(0);
  EXPECT_EQ(back.state, batch_state::done);
  EXPECT_EQ(back.reason, "");
  EXPECT_EQ(back.ended, at(5));

  // An id that is known stays known.
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::failed, "all", objects(1), at(6))));
  all = *j->objects("aaaaaaaa", 1);
  EXPECT_EQ(all[0].netbox_id, 17u);
  EXPECT_EQ(all[2].state, batch_state::failed);
  EXPECT_EQ(all[2].reason, "");
}

TEST(journal, failed_objects_of_a_run) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  ASSERT_TRUE(ok(j->begin_run(run("bbbbbbbb"))));
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", n), objects(2))));
  EXPECT_TRUE(j->failed_objects("aaaaaaaa")->empty());
  auto one = objects(2);
  one[0].state = batch_state::done;
  one[1].state = batch_state::failed;
  one[1].reason = "name: blank";
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 3, batch_state::done, "", one, at(1))));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 2, batch_state::failed, "403", {}, at(1))));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", {}, at(1))));
  auto const failed = j->failed_objects("aaaaaaaa");
  ASSERT_TRUE(ok(failed));
  std::vector<std::string> said;
  for (auto const& o : *failed) said.push_back(std::to_string(o.batch) + " " + o.object.label + " " + o.object.reason);
  EXPECT_EQ(said, (std::vector<std::string>{"2 vm-0 403", "2 vm-1 403", "3 vm-1 name: blank"}));
  EXPECT_TRUE(j->failed_objects("bbbbbbbb")->empty());
  EXPECT_FALSE(j->failed_objects("nonesuch"));
}

TEST(journal, batches_by_number_and_state) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  ASSERT_TRUE(ok(j->begin_run(run("bbbbbbbb"))));
  for (std::uint64_t n : {3u, 1u, 2u, 10u}) ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", n), objects(2))));
  auto left = batch("aaaaaaaa", 11, 400);
  ASSERT_TRUE(ok(j->add_deferred(left)));
  ASSERT_TRUE(ok(j->add_batch(batch("bbbbbbbb", 1), objects(2))));
  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 2, at(1))));
  EXPECT_EQ(numbers(*j->batches("aaaaaaaa")), (std::vector<std::uint64_t>{1, 2, 3, 10, 11}));
  EXPECT_EQ(numbers(*j->batches("aaaaaaaa", batch_state::pending)), (std::vector<std::uint64_t>{1, 3, 10}));
  EXPECT_EQ(numbers(*j->batches("aaaaaaaa", batch_state::sent)), (std::vector<std::uint64_t>{2}));
  auto const deferred = *j->batches("aaaaaaaa", batch_state::deferred);
  ASSERT_EQ(deferred.size(), 1u);
  EXPECT_EQ(deferred[0].objects, 400u);
  EXPECT_TRUE(j->objects("aaaaaaaa", 11)->empty());
}

TEST(journal, what_is_not_there_is_an_error_and_changes_nothing) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), objects(2))));
  EXPECT_FALSE(j->begin_run(run("aaaaaaaa"))) << "twice";
  EXPECT_FALSE(j->add_batch(batch("aaaaaaaa", 1), objects(2))) << "twice";
  EXPECT_FALSE(j->add_batch(batch("nonesuch", 1), objects(2)));
  EXPECT_FALSE(j->batch_sent("aaaaaaaa", 2, at(1)));
  EXPECT_FALSE(j->end_run("nonesuch", run_state::done, 0, "", "", at(1)));
  EXPECT_FALSE(j->set_run_state("nonesuch", run_state::done, ""));
  EXPECT_FALSE(j->put_stage({"nonesuch", "a", "b", stage_state::done, 0, 0, 0, 0, 0, ""}));
  EXPECT_FALSE(j->batches("nonesuch"));
  EXPECT_FALSE(j->stages("nonesuch"));
  EXPECT_FALSE(j->objects("aaaaaaaa", 2));
  auto const one_too_many = j->batch_ended("aaaaaaaa", 1, batch_state::done, "", objects(3), at(1));
  ASSERT_FALSE(one_too_many);
  EXPECT_NE(one_too_many.error().text().find(f.journal().string()), std::string::npos);
  EXPECT_EQ(j->batches("aaaaaaaa")->at(0).state, batch_state::pending) << "half a step was kept";
  auto doubled = objects(2);
  doubled[1].position = 0;
  EXPECT_FALSE(j->add_batch(batch("aaaaaaaa", 5), doubled));
  EXPECT_EQ(j->batches("aaaaaaaa")->size(), 1u) << "half a step was kept";
}

TEST(journal, unfinished_runs) {
  folder f;
  auto const j = opened(f.journal());
  for (int i = 0; i < 7; ++i) {
    auto const id = "0000000" + std::to_string(i);
    ASSERT_TRUE(ok(j->begin_run(run(id, i))));
    ASSERT_TRUE(ok(j->set_run_state(id, static_cast<run_state>(i), "")));
  }
  ASSERT_TRUE(ok(j->begin_run(run("11111111", 9, "https://other.example"))));
  auto const left = j->unfinished("https://netbox.example/");
  ASSERT_TRUE(ok(left));
  EXPECT_EQ(ids(*left), (std::vector<std::string>{"00000005", "00000004", "00000000"}));
}

TEST(journal, prune_keeps_the_newest_of_each_netbox_and_what_is_unfinished) {
  folder f;
  auto const j = opened(f.journal());
  using namespace std::chrono_literals;
  for (int i = 0; i < 6; ++i) {
    auto const id = "a000000" + std::to_string(i);
    ASSERT_TRUE(ok(j->begin_run(run(id, i))));
    ASSERT_TRUE(ok(j->add_batch(batch(id, 1), objects(2))));
    ASSERT_TRUE(ok(j->put_stage({id, "pve-a", "nodes", stage_state::done, 0, 0, 0, 0, 0, ""})));
    if (i != 1) {
      ASSERT_TRUE(ok(j->end_run(id, run_state::done, 0, "", "", at(i))));
    }
  }
  ASSERT_TRUE(ok(j->begin_run(run("b0000000", 0, "https://other.example"))));
  ASSERT_TRUE(ok(j->end_run("b0000000", run_state::done, 0, "", "", at(1))));
  ASSERT_TRUE(ok(j->prune(2, 24h, at(3600))));
  EXPECT_EQ(ids(*j->runs(10)), (std::vector<std::string>{"b0000000", "a0000005", "a0000004", "a0000001"}));
  EXPECT_FALSE(j->batches("a0000000"));
  // The same id may come again, with nothing left of the old one.
  ASSERT_TRUE(ok(j->begin_run(run("a0000000", 7))));
  EXPECT_TRUE(j->batches("a0000000")->empty());
  EXPECT_TRUE(j->stages("a0000000")->empty());
  ASSERT_TRUE(ok(j->end_run("a0000000", run_state::done, 0, "", "", at(8))));
  // Once it is old enough, an unfinished one counts as any other.
  ASSERT_TRUE(ok(j->prune(2, std::chrono::hours::max(), at(1'000'000))));
  EXPECT_EQ(ids(*j->runs(10, netbox)), (std::vector<std::string>{"a0000000", "a0000005", "a0000001"}));
  ASSERT_TRUE(ok(j->prune(2, 24h, at(1'000'000))));
  EXPECT_EQ(ids(*j->runs(10, netbox)), (std::vector<std::string>{"a0000000", "a0000005"}));
  ASSERT_TRUE(ok(j->prune(0, 24h, at(1'000'000))));
  EXPECT_TRUE(j->runs(10)->empty());
}

TEST(journal, remembers_for_a_while) {
  folder f;
  using namespace std::chrono_literals;
  auto const j = opened(f.journal());
  EXPECT_FALSE(j->recall(netbox, 24h, at(0))->has_value());
  ASSERT_TRUE(ok(j->remember(netbox, "old", at(0))));
  ASSERT_TRUE(ok(j->remember("https://NETBOX.example:443/", "{\"limit\":4}", at(10))));
  EXPECT_EQ(j->recall(netbox, 24h, at(20)).value(), "{\"limit\":4}");
  EXPECT_EQ(j->recall(netbox, 1h, at(3610)).value(), "{\"limit\":4}");
  EXPECT_FALSE(j->recall(netbox, 1h, at(3611)).value());
  EXPECT_TRUE(j->recall(netbox, std::chrono::hours::max(), at(1'000'000)).value());
  EXPECT_FALSE(j->recall(netbox, 1h, at(10 - 3601)).value()) << "from the future";
  EXPECT_FALSE(j->recall("https://other.example", 24h, at(20)).value());
}

TEST(journal, keeps_what_stages_note) {
  folder f;
  std::string const bytes("a\0\xff\n", 4);
  {
    auto const j = opened(f.journal());
    EXPECT_TRUE(j->plugin_state(netbox, "a", "pools")->empty());
    ASSERT_TRUE(
        ok(j->put_plugin_state(netbox, "a", "pools", {{"cursor", "5"}, {"raw", bytes}, {"gone", std::nullopt}})));
    ASSERT_TRUE(ok(j->put_plugin_state(netbox, "b", "pools", {{"cursor", "7"}})));
  }
  auto const j = opened(f.journal());
  using kept = std::map<std::string, std::string>;
  EXPECT_EQ(*j->plugin_state("https://NETBOX.example:443/", "a", "pools"), (kept{{"cursor", "5"}, {"raw", bytes}}));
  EXPECT_EQ(*j->plugin_state(netbox, "b", "pools"), (kept{{"cursor", "7"}}));
  EXPECT_TRUE(j->plugin_state(netbox, "a", "other")->empty());
  EXPECT_TRUE(j->plugin_state("https://other.example", "a", "pools")->empty());
  ASSERT_TRUE(ok(j->put_plugin_state(netbox, "a", "pools", {{"cursor", "6"}, {"raw", std::nullopt}})));
  EXPECT_EQ(*j->plugin_state(netbox, "a", "pools"), (kept{{"cursor", "6"}}));
}

// As earlier weirs wrote it: what they lack is not there, and can be written from now on.
void takes_over(int version) {
  folder f;
  {
    auto const j = opened(f.journal());
    ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
    ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), objects(2))));
    ASSERT_TRUE(ok(j->put_plugin_state(netbox, "a", "pools", {{"cursor", "4"}})));
  }
  {
    SQLite::Database db(f.journal().string(), SQLite::OPEN_READWRITE);
    db.exec("ALTER TABLE runs DROP COLUMN undoes; PRAGMA user_version = 3");
    if (version < 3) {
      for (auto const* column : {"held", "written", "known_key", "known_applied", "known_gone", "known_before"})
        db.exec(std::string("ALTER TABLE objects DROP COLUMN ") + column);
      db.exec("DROP TABLE known; DROP TABLE places; PRAGMA user_version = 2");
    }
    if (version < 2) db.exec("DROP TABLE plugin_state; PRAGMA user_version = 1");
  }
  bool const has_notes = version > 1;
  {
    journal_options options;
    options.read_only = true;
    auto const reading = journal::open(f.journal(), options);
    ASSERT_TRUE(reading) << reading.error().text();
    EXPECT_EQ((*reading)->runs(10)->size(), 1u);
    EXPECT_EQ((*reading)->runs(10, netbox)->size(), 1u);
    EXPECT_EQ((*reading)->unfinished(netbox)->size(), 1u);
    EXPECT_EQ((*reading)->find_run("aaaa")->undoes, "");
    EXPECT_EQ((*reading)->plugin_state(netbox, "a", "pools")->size(), has_notes ? 1u : 0u);
    auto const there = (*reading)->objects("aaaaaaaa", 1);
    ASSERT_TRUE(ok(there));
    ASSERT_EQ(there->size(), 2u);
    EXPECT_EQ(there->at(1).label, "vm-1");
    EXPECT_EQ(there->at(1).after, "");
    auto const known = (*reading)->known(netbox, "dcim.device", 1);
    ASSERT_TRUE(ok(known));
    EXPECT_FALSE(*known);
    EXPECT_FALSE((*reading)->known_by_key(netbox, "dcim.device", "[]").value());
  }
  auto const j = opened(f.journal());
  EXPECT_EQ(j->runs(10)->size(), 1u);
  EXPECT_EQ(j->plugin_state(netbox, "a", "pools")->size(), has_notes ? 1u : 0u);
  ASSERT_TRUE(ok(j->put_plugin_state(netbox, "a", "pools", {{"cursor", "5"}})));
  EXPECT_EQ(j->plugin_state(netbox, "a", "pools")->at("cursor"), "5");
  EXPECT_EQ(j->objects("aaaaaaaa", 1)->at(1).key, R"({"name":"vm-1"})");
  auto later = objects(1);
  later[0].after = R"({"name":"vm-0"})";
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 2, 1), later)));
  EXPECT_EQ(j->objects("aaaaaaaa", 2)->at(0).after, later[0].after);
  ASSERT_TRUE(ok(j->put_known(netbox, {{"dcim.device", 1, known_record{"k", "{}"}}})));
  EXPECT_EQ(j->known(netbox, "dcim.device", 1).value()->key, "k");
  auto undo = run("bbbbbbbb");
  undo.undoes = "aaaaaaaa";
  ASSERT_TRUE(ok(j->begin_run(undo)));
  EXPECT_EQ(j->find_run("bbbb")->undoes, "aaaaaaaa");
  EXPECT_EQ(j->find_run("aaaa")->undoes, "");
}

TEST(journal, takes_over_version_1) { takes_over(1); }
TEST(journal, takes_over_version_2) { takes_over(2); }
TEST(journal, takes_over_version_3) { takes_over(3); }

TEST(journal, watch_sees_each_step_and_may_throw) {
  folder f;
  std::vector<std::string> seen;
  std::string throw_at;
  struct crash {};
  journal_options options;
  options.watch = [&](std::string_view step, bool before) {
    auto const text = std::string(step) + (before ? "<" : ">");
    seen.push_back(text);
    if (text == throw_at) throw crash{};
  };
  auto const j = opened(f.journal(), options);
  EXPECT_TRUE(seen.empty());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  ASSERT_TRUE(ok(j->put_stage({"aaaaaaaa", "a", "b", stage_state::done, 0, 0, 0, 0, 0, ""})));
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), objects(1))));
  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(1))));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", {}, at(1))));
  ASSERT_TRUE(ok(j->add_deferred(batch("aaaaaaaa", 2))));
  ASSERT_TRUE(ok(j->set_run_state("aaaaaaaa", run_state::stopped, "")));
  ASSERT_TRUE(ok(j->end_run("aaaaaaaa", run_state::done, 0, "", "", at(1))));
  ASSERT_TRUE(ok(j->remember(netbox, "x", at(1))));
  ASSERT_TRUE(ok(j->prune(9, std::chrono::hours(1), at(1))));
  std::vector<std::string> expected;
  for (auto const* step : {"begin_run", "put_stage", "add_batch", "batch_sent", "batch_ended", "add_deferred",
                           "set_run_state", "end_run", "remember", "prune"})
    for (auto const* when : {"<", ">"}) expected.push_back(std::string(step) + when);
  EXPECT_EQ(seen, expected);

  seen.clear();
  EXPECT_FALSE(j->batch_sent("aaaaaaaa", 9, at(1)));
  EXPECT_EQ(seen, (std::vector<std::string>{"batch_sent<"})) << "nothing changed";

  throw_at = "add_batch<";
  EXPECT_THROW((void)j->add_batch(batch("aaaaaaaa", 3), objects(1)), crash);
  EXPECT_EQ(numbers(*j->batches("aaaaaaaa")), (std::vector<std::uint64_t>{1, 2}));
  throw_at = "add_batch>";
  EXPECT_THROW((void)j->add_batch(batch("aaaaaaaa", 3), objects(1)), crash);
  EXPECT_EQ(numbers(*j->batches("aaaaaaaa")), (std::vector<std::uint64_t>{1, 2, 3}));
  throw_at.clear();
  EXPECT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 4), objects(1)))) << "the journal is usable after it";
}

TEST(journal, text_of_any_bytes) {
  folder f;
  auto const j = opened(f.journal());
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  auto list = objects(3);
  list[0].label = std::string("a\0b", 3);
  list[1].label = "\xff\xfe not UTF-8";
  list[2].label = std::string(100'000, 'x');
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1, 3), list)));
  auto const back = j->objects("aaaaaaaa", 1);
  ASSERT_TRUE(ok(back));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(back->at(i).label, list[i].label);
}

TEST(journal, instants_at_the_ends_of_the_clock) {
  folder f;
  auto const j = opened(f.journal());
  auto r = run("aaaaaaaa");
  r.started = instant::min();
  r.ended = instant::max();
  ASSERT_TRUE(ok(j->begin_run(r)));
  auto const back = j->find_run("aaaaaaaa");
  ASSERT_TRUE(ok(back));
  EXPECT_EQ(back->started, instant{});
  EXPECT_GT(*back->ended, at(0));
}

TEST(journal, several_threads) {
  folder f;
  auto const j = opened(f.journal());
  constexpr int writers = 4;
  constexpr std::uint64_t each = 25;
  for (int t = 0; t < writers; ++t) ASSERT_TRUE(ok(j->begin_run(run("0000000" + std::to_string(t)))));
  std::atomic<int> failures{0}, going{writers};
  std::vector<std::thread> threads;
  for (int t = 0; t < writers; ++t)
    threads.emplace_back([&, id = "0000000" + std::to_string(t)] {
      for (std::uint64_t n = 1; n <= each; ++n)
        if (!j->add_batch(batch(id, n), objects(5)) || !j->batch_sent(id, n, at(1)) ||
            !j->batch_ended(id, n, batch_state::done, "", {}, at(2)))
          ++failures;
      --going;
    });
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      do {
        auto const runs = j->runs(10);
        if (!runs || runs->size() != writers || !j->batches("00000000") || !j->unfinished(netbox)) ++failures;
      } while (going > 0);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(failures, 0);
  for (int t = 0; t < writers; ++t)
    EXPECT_EQ(j->batches("0000000" + std::to_string(t), batch_state::done)->size(), each);
}

}  // namespace
