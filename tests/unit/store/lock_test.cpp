// One run per NetBox at a time.
#include <atomic>
#include <thread>

#include "core/store/files.hpp"
#include "tests/unit/store/support.hpp"

namespace {

using namespace store_test;

lock_holder me(std::string const& run = "7f3a2c1b") {
  lock_holder h;
  h.run = run;
  h.command = "sync";
  h.host = "host-a";
  h.pid = ::getpid();
  h.since = at(0);
  return h;
}

TEST(run_lock, is_given_back) {
  folder f;
  auto const file = lock_file(f.path(), netbox);
  {
    auto const lock = run_lock::take(f.path(), netbox, me());
    ASSERT_TRUE(ok(lock));
    EXPECT_FALSE(lock->taken_over_from());
    auto const by = read_lock(f.path(), netbox);
    ASSERT_TRUE(by);
    EXPECT_EQ(by->run, "7f3a2c1b");
    EXPECT_EQ(by->pid, ::getpid());
    EXPECT_EQ(by->since, at(0));
    EXPECT_EQ(fs::status(file).permissions(), fs::perms(0600));
    EXPECT_EQ(fs::status(file.parent_path()).permissions(), fs::perms(0700));
    EXPECT_EQ(file.parent_path(), f.path() / "locks");
  }
  EXPECT_TRUE(fs::exists(file));
  EXPECT_EQ(bytes(file), "");
  EXPECT_FALSE(read_lock(f.path(), netbox));
  auto const again = run_lock::take(f.path(), netbox, me());
  ASSERT_TRUE(ok(again));
  EXPECT_FALSE(again->taken_over_from());
}

TEST(run_lock, refuses_the_same_process) {
  folder f;
  auto first = run_lock::take(f.path(), netbox, me("11111111"));
  ASSERT_TRUE(ok(first));
  auto const second = run_lock::take(f.path(), netbox, me("22222222"));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, base::error_code::locked);
  EXPECT_NE(second.error().text().find("run 11111111"), std::string::npos) << second.error().text();
  // Moving it gives nothing back.
  auto moved = std::move(*first);
  EXPECT_FALSE(run_lock::take(f.path(), netbox, me("22222222")));
  EXPECT_EQ(read_lock(f.path(), netbox)->run, "11111111");
}

TEST(run_lock, however_the_url_is_written) {
  folder f;
  auto const lock = run_lock::take(f.path(), "https://NetBox.example/nb/", me());
  ASSERT_TRUE(ok(lock));
  for (auto const* same :
       {"https://netbox.example/nb", "HTTPS://netbox.EXAMPLE:443/nb//", "https://u:p@netbox.example/nb"})
    EXPECT_FALSE(run_lock::take(f.path(), same, me())) << same;
  for (auto const* other : {"https://netbox.example", "http://netbox.example/nb", "https://netbox.example:8443/nb",
                            "https://netbox.example/NB", "https://netbox-example/nb"})
    EXPECT_TRUE(ok(run_lock::take(f.path(), other, me()))) << other;
}

TEST(run_lock, normalised_urls) {
  EXPECT_EQ(normalised_url("HTTP://A.example:80/"), "http://a.example");
  EXPECT_EQ(normalised_url("http://a.example:443"), "http://a.example:443");
  EXPECT_EQ(normalised_url("https://[::1]:443/x/"), "https://[::1]/x");
  EXPECT_EQ(normalised_url("https://user:secret@a.example/x?y#z"), "https://a.example/x");
  EXPECT_EQ(normalised_url("no url/"), "no url");
  EXPECT_EQ(normalised_url(""), "");
}

TEST(run_lock, names_the_process_that_holds_it_and_the_one_that_died) {
  folder f;
  pipe_of_numbers ready;
  child holder([&] {
    auto const lock = run_lock::take(f.path(), netbox, me("deadbeef"));
    if (!lock) return 1;
    ready.write(1);
    for (;;) ::pause();
  });
  auto const pid = holder.pid();
  std::uint64_t n = 0;
  ASSERT_TRUE(ready.read(n));
  auto const refused = run_lock::take(f.path(), "https://netbox.example/", me());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::error_code::locked);
  EXPECT_EQ(refused.error().what,
            "another run holds the lock for https://netbox.example: weir sync, run deadbeef, pid " +
                std::to_string(pid) + " on host-a, since 2027-01-15T08:00:00Z");
  holder.kill();
  {
    auto const lock = run_lock::take(f.path(), netbox, me());
    ASSERT_TRUE(ok(lock));
    ASSERT_TRUE(lock->taken_over_from());
    EXPECT_EQ(lock->taken_over_from()->run, "deadbeef");
    EXPECT_EQ(lock->taken_over_from()->pid, pid);
    EXPECT_EQ(lock->taken_over_from()->since, at(0));
    EXPECT_EQ(read_lock(f.path(), netbox)->run, "7f3a2c1b");
  }
  EXPECT_FALSE(run_lock::take(f.path(), netbox, me())->taken_over_from());
}

TEST(run_lock, a_program_started_meanwhile_does_not_keep_it) {
  folder f;
  std::unique_ptr<child> started;
  {
    auto const lock = run_lock::take(f.path(), netbox, me());
    ASSERT_TRUE(ok(lock));
    started = std::make_unique<child>([] { return ::execl("/bin/sleep", "sleep", "30", nullptr); });
    // Until it runs the other program: its name in /proc changes with exec.
    auto const comm = "/proc/" + std::to_string(started->pid()) + "/comm";
    for (int i = 0; i < 10'000 && bytes(comm) != "sleep\n"; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ASSERT_EQ(bytes(comm), "sleep\n");
  }
  EXPECT_TRUE(ok(run_lock::take(f.path(), netbox, me())));
}

TEST(run_lock, a_holder_whose_record_cannot_be_read) {
  folder f;
  auto const lock = run_lock::take(f.path(), netbox, me());
  ASSERT_TRUE(ok(lock));
  write(lock_file(f.path(), netbox), "{\"run\":\"7f");
  auto const refused = run_lock::take(f.path(), netbox, me());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::error_code::locked);
  EXPECT_NE(refused.error().text().find(lock_file(f.path(), netbox).string()), std::string::npos)
      << refused.error().text();
}

TEST(run_lock, a_record_that_comes_late_is_waited_for) {
  folder f;
  auto const lock = run_lock::take(f.path(), netbox, me("11111111"));
  ASSERT_TRUE(ok(lock));
  auto const file = lock_file(f.path(), netbox);
  auto const record = bytes(file);
  write(file, "");
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(40));
    write(file, record);
  });
  auto const refused = run_lock::take(f.path(), netbox, me());
  writer.join();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, base::error_code::locked);
}

TEST(run_lock, garbage_from_a_dead_process_is_no_holder) {
  folder f;
  fs::create_directories(f.path() / "locks");
  write(lock_file(f.path(), netbox), "\x01\xff garbage");
  auto const lock = run_lock::take(f.path(), netbox, me());
  ASSERT_TRUE(ok(lock));
  EXPECT_FALSE(lock->taken_over_from());
  EXPECT_EQ(read_lock(f.path(), netbox)->run, "7f3a2c1b") << "nothing is left of what was there";
}

TEST(run_lock, a_file_that_cannot_be_made) {
  folder f;
  write(f.path() / "locks", "a file");
  auto const lock = run_lock::take(f.path(), netbox, me());
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, base::error_code::failed);
  EXPECT_NE(lock.error().text().find("locks"), std::string::npos) << lock.error().text();
}

TEST(run_lock, records_there_and_back) {
  auto h = me();
  h.host = "h\"ost\n\xff";
  h.since = at(5, 250);
  auto const back = parse_record(to_record(h));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->run, h.run);
  EXPECT_EQ(back->command, "sync");
  EXPECT_EQ(back->pid, h.pid);
  EXPECT_EQ(back->since, h.since);
  auto const good = to_record(me());
  for (std::size_t cut = 0; cut + 2 < good.size(); ++cut) EXPECT_FALSE(parse_record(good.substr(0, cut))) << cut;
  for (auto const* bad :
       {"", "[]", "{}", "null", R"({"run":"a","command":"b","host":"c","pid":-1,"since":"2027-01-15T08:00:00Z"})",
        R"({"run":"a","command":"b","host":"c","pid":1,"since":"yesterday"})",
        R"({"run":"a","command":"b","host":"c","pid":1,"since":"4052-11-22T12:00:00Z"})",
        R"({"run":"a","command":"b","host":"c","pid":1,"since":"1000-11-22T12:00:00Z"})",
        R"({"run":7,"command":"b","host":"c","pid":1,"since":"2027-01-15T08:00:00Z"})"})
    EXPECT_FALSE(parse_record(bad)) << bad;
  EXPECT_TRUE(parse_record(R"({"run":"a","command":"b","host":"c","pid":1,"since":"2027-01-15T08:00:00Z","more":1})"));
}

TEST(run_lock, never_two_at_once) {
  folder f;
  std::atomic<int> inside{0}, taken{0}, broken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 30; ++i) {
        auto const lock = run_lock::take(f.path(), netbox, me());
        if (!lock) {
          if (lock.error().code != base::error_code::locked) ++broken;
          continue;
        }
        if (lock->taken_over_from()) ++broken;  // nobody died
        if (++inside != 1) ++broken;
        ++taken;
        --inside;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(broken, 0);
  EXPECT_GT(taken, 0);
}

}  // namespace
