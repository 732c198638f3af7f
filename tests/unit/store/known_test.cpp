// What is remembered of NetBox's objects, and what a batch leaves of it.
#include "tests/unit/store/support.hpp"

namespace {

using namespace store_test;

constexpr auto vms = "virtualization.virtualmachine", devices = "dcim.device";

known_record remembered(std::string const& key, std::string const& applied = R"({"name":"a"})") {
  return {key, applied};
}

// "key applied gone", or "-".
std::string known(journal const& j, std::uint64_t id, std::string const& kind = vms, std::string const& url = netbox) {
  auto const found = j.known(url, kind, id);
  if (!found) return found.error().text();
  if (!*found) return "-";
  auto const& k = **found;
  return k.key + " " + k.applied +
         (k.gone_since ? " " + std::to_string(k.gone_since->time_since_epoch() / std::chrono::milliseconds(1)) : "");
}

std::string whose(journal const& j, std::string const& key, std::string const& kind = vms) {
  auto const found = j.known_by_key(netbox, kind, key);
  if (!found) return found.error().text();
  return *found ? std::to_string(**found) : "-";
}

std::vector<object_record> two_to_remember() {
  auto out = objects(2);
  out[0].known = remembered("[\"pve-a\",1]", R"({"name":"one"})");
  out[1].known = remembered("[\"pve-a\",2]", R"({"name":"two"})");
  return out;
}

object_record became(std::size_t position, batch_state state, std::uint64_t id = 0) {
  object_record o;
  o.position = position;
  o.state = state;
  o.netbox_id = id;
  return o;
}

struct with_run : testing::Test {
  folder f;
  std::unique_ptr<journal> j = opened(f.journal());
  void SetUp() override { ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa")))); }
  void put(std::uint64_t id, known_record const& r, std::string const& kind = vms) {
    ASSERT_TRUE(ok(j->put_known(netbox, {{kind, id, r}})));
  }
};

TEST_F(with_run, remembers_by_netbox_kind_and_id) {
  EXPECT_EQ(known(*j, 17), "-");
  EXPECT_EQ(whose(*j, "k"), "-");
  auto gone = remembered("k");
  gone.gone_since = at(5, 678);
  put(17, gone);
  EXPECT_EQ(known(*j, 17), "k {\"name\":\"a\"} 1800000005678");
  EXPECT_EQ(known(*j, 17, vms, "HTTPS://NetBox.Example:443/"), known(*j, 17));
  EXPECT_EQ(known(*j, 17, devices), "-");
  EXPECT_EQ(known(*j, 18), "-");
  EXPECT_EQ(known(*j, 17, vms, "https://other.example"), "-");
  EXPECT_EQ(whose(*j, "k"), "17");
  EXPECT_EQ(whose(*j, "k", devices), "-");
  put(17, remembered("other", "{}"));
  EXPECT_EQ(known(*j, 17), "other {}");
  EXPECT_EQ(whose(*j, "k"), "-");
  j = opened(f.journal());
  EXPECT_EQ(known(*j, 17), "other {}");
}

TEST_F(with_run, the_newest_had_a_key_last) {
  put(5, remembered("k"));
  put(9, remembered("k"));
  put(7, remembered("k"));
  EXPECT_EQ(whose(*j, "k"), "9");
}

TEST_F(with_run, forgets_one_and_keeps_the_others) {
  ASSERT_TRUE(
      ok(j->put_known(netbox, {{vms, 1, remembered("a")}, {devices, 1, remembered("b")}, {vms, 2, remembered("c")}})));
  ASSERT_TRUE(ok(j->put_known(netbox, {{vms, 1, {}}, {vms, 99, {}}})));
  EXPECT_EQ(known(*j, 1), "-");
  EXPECT_NE(known(*j, 1, devices), "-");
  EXPECT_NE(known(*j, 2), "-");
}

TEST_F(with_run, nothing_is_remembered_before_it_is_done) {
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), two_to_remember())));
  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(1))));
  EXPECT_EQ(whose(*j, "[\"pve-a\",1]"), "-");
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::unknown, "502", {}, at(2))));
  EXPECT_EQ(whose(*j, "[\"pve-a\",1]"), "-");
  // Looked up: one is there, the other is not.
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::failed, "",
                                {became(0, batch_state::done, 41), became(1, batch_state::deferred)}, at(3))));
  EXPECT_EQ(known(*j, 41), "[\"pve-a\",1] {\"name\":\"one\"}");
  EXPECT_EQ(whose(*j, "[\"pve-a\",2]"), "-");
}

// Another process finds out what became of it.
TEST_F(with_run, a_later_run_settles_what_was_on_the_wire) {
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), two_to_remember())));
  ASSERT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(1))));
  j = opened(f.journal());
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "the change log knows it",
                                {became(0, batch_state::done, 41), became(1, batch_state::done, 42)}, at(3))));
  EXPECT_EQ(known(*j, 41), "[\"pve-a\",1] {\"name\":\"one\"}");
  EXPECT_EQ(known(*j, 42), "[\"pve-a\",2] {\"name\":\"two\"}");
}

TEST_F(with_run, what_is_done_and_remembered_is_not_remembered_again) {
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), two_to_remember())));
  auto const done = {became(0, batch_state::done, 41), became(1, batch_state::done, 42)};
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", done, at(3))));
  put(41, remembered("newer"));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", done, at(4))));
  EXPECT_EQ(known(*j, 41), "newer {\"name\":\"a\"}");
}

TEST_F(with_run, updates_replace_forget_or_leave_alone) {
  for (std::uint64_t id = 1; id <= 4; ++id) put(id, remembered("k" + std::to_string(id)));
  auto changed = objects(4);
  for (std::size_t i = 0; i < 4; ++i) changed[i].action = "update", changed[i].netbox_id = i + 1;
  changed[0].known = remembered("k1", R"({"name":"b"})");
  changed[1].known = known_record{};  // nothing of it is remembered any more
  changed[3].known = remembered("k4", R"({"name":"refused"})");
  changed[0].known->gone_since = at(9);
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1, 4), changed)));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", {became(3, batch_state::failed)}, at(3))));
  EXPECT_EQ(known(*j, 1), "k1 {\"name\":\"b\"} 1800000009000");
  EXPECT_EQ(known(*j, 2), "-");
  EXPECT_EQ(known(*j, 3), "k3 {\"name\":\"a\"}");
  EXPECT_EQ(known(*j, 4), "k4 {\"name\":\"a\"}");
}

TEST_F(with_run, what_is_deleted_is_forgotten) {
  put(1, remembered("k1"));
  put(2, remembered("k2"));
  auto gone = objects(2);
  for (std::size_t i = 0; i < 2; ++i) gone[i].action = "delete", gone[i].netbox_id = i + 1;
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), gone)));
  EXPECT_NE(known(*j, 1), "-");
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::failed, "", {became(0, batch_state::done, 1)}, at(3))));
  EXPECT_EQ(known(*j, 1), "-");
  EXPECT_NE(known(*j, 2), "-") << "NetBox refused that one";
}

TEST_F(with_run, what_was_held_and_sent_comes_back) {
  auto changed = objects(2);
  changed[0].before = R"({"name":"old","tags":["größer"]})";
  changed[0].after = R"({"name":"new"})";
  changed[0].known_before = R"({"key":"k"})";
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), changed)));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "", {}, at(3))));
  auto const back = j->objects("aaaaaaaa", 1);
  ASSERT_TRUE(ok(back));
  EXPECT_EQ(back->at(0).before, changed[0].before);
  EXPECT_EQ(back->at(0).after, changed[0].after);
  EXPECT_EQ(back->at(0).known_before, changed[0].known_before);
  EXPECT_EQ(back->at(1).before, "");
}

TEST_F(with_run, outlives_the_runs_it_comes_from) {
  ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), two_to_remember())));
  ASSERT_TRUE(ok(j->batch_ended("aaaaaaaa", 1, batch_state::done, "",
                                {became(0, batch_state::done, 41), became(1, batch_state::done, 42)}, at(3))));
  ASSERT_TRUE(ok(j->end_run("aaaaaaaa", run_state::done, 0, "", "{}", at(4))));
  ASSERT_TRUE(ok(j->prune(0, std::chrono::hours(1), at(5))));
  ASSERT_TRUE(j->runs(10)->empty());
  EXPECT_EQ(whose(*j, "[\"pve-a\",2]"), "42");
}

// A place (NetBox and kind) is made inside of a transaction: where that fails, what follows must not count on it.
TEST_F(with_run, a_failed_step_leaves_nothing) {
  EXPECT_EQ(known(*j, 1), "-");
  journal_options tight;
  tight.most_pages = fs::file_size(f.journal()) / 4096 + 1;
  j = opened(f.journal(), tight);
  EXPECT_FALSE(j->put_known(netbox, {{vms, 1, remembered("k", std::string(100'000, 'x'))}}));
  EXPECT_EQ(known(*j, 1), "-");
  j = opened(f.journal());
  put(1, remembered("k"));
  EXPECT_EQ(known(*j, 1), "k {\"name\":\"a\"}");
}

}  // namespace
