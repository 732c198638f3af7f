// Bad days of the journal: nothing that was recorded is lost, and what cannot be used is named and left alone.
#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "tests/unit/store/support.hpp"

namespace {

using namespace store_test;

constexpr std::size_t page = 4096;

// A journal at rest: closed, all of it in one file.
void fill(fs::path const& file, std::uint64_t batches = 20, std::string const& padding = {}) {
  auto const j = opened(file);
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  for (std::uint64_t n = 1; n <= batches; ++n)
    ASSERT_TRUE(ok(j->add_batch(batch("aaaaaaaa", n), objects(10, padding))));
}

// It cannot be opened, neither to write nor to read; all the patterns are in the error; the file is as it was.
void expect_refused(fs::path const& file, std::vector<std::string> const& says) {
  auto const before = bytes(file);
  for (bool read_only : {false, true}) {
    journal_options options;
    options.read_only = read_only;
    auto const j = journal::open(file, options);
    ASSERT_FALSE(j) << file;
    auto const text = j.error().text();
    EXPECT_NE(text.find(file.string()), std::string::npos) << text;
    EXPECT_FALSE(j.error().hint.empty()) << text;
    for (auto const& s : says) EXPECT_NE(text.find(s), std::string::npos) << "'" << s << "' is not in: " << text;
  }
  EXPECT_TRUE(bytes(file) == before) << "the file was changed";
}

std::string big_endian(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

std::vector<std::string> const damaged{"move it aside", "NetBox itself is not affected",
                                       "the next sync compares everything anew"};

TEST(damage, garbage) {
  folder f;
  std::string noise;
  std::uint32_t x = 12345;
  for (int i = 0; i < 20'000; ++i) x = x * 1664525 + 1013904223, noise += static_cast<char>(x >> 24);
  write(f.journal(), noise);
  expect_refused(f.journal(), damaged);
  write(f.journal(), "# notes\n");
  expect_refused(f.journal(), damaged);
}

TEST(damage, truncated) {
  folder f;
  fill(f.journal());
  auto const whole = bytes(f.journal());
  ASSERT_GT(whole.size(), 6 * page);
  for (std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{50}, std::size_t{100}, std::size_t{511}, std::size_t{512}, page - 1,
        page, page + 1, whole.size() / 2, whole.size() - page, whole.size() - 1}) {
    SCOPED_TRACE(size);
    write(f.journal(), whole.substr(0, size));
    expect_refused(f.journal(), damaged);
  }
  write(f.journal(), whole);
  EXPECT_EQ(opened(f.journal())->batches("aaaaaaaa")->size(), 20u) << "the whole one is good";
}

TEST(damage, any_page_overwritten) {
  folder f;
  fill(f.journal());
  auto const whole = bytes(f.journal());
  for (std::size_t at = 0; at < whole.size(); at += page)
    for (char with : {'\0', '\xa5', '\xff'}) {
      SCOPED_TRACE(at);
      auto broken = whole;
      // The first page's header is what the other tests are about.
      std::fill(broken.begin() + static_cast<std::ptrdiff_t>(at + (at == 0 ? 100 : 0)),
                broken.begin() + static_cast<std::ptrdiff_t>(at + page), with);
      write(f.journal(), broken);
      expect_refused(f.journal(), damaged);
    }
}

TEST(damage, in_a_file_too_large_to_be_checked_on_opening) {
  folder f;
  fill(f.journal(), 300, std::string(3500, ' '));
  auto broken = bytes(f.journal());
  ASSERT_GT(broken.size(), 9u << 20);
  std::fill(broken.begin() + static_cast<std::ptrdiff_t>(broken.size() / 2),
            broken.begin() + static_cast<std::ptrdiff_t>(broken.size() / 2 + 300 * page), '\xa5');
  write(f.journal(), broken);
  auto const j = opened(f.journal());
  std::size_t good = 0, bad = 0;
  for (std::uint64_t n = 1; n <= 300; ++n) {
    auto const o = j->objects("aaaaaaaa", n);
    if (o && o->size() == 10) {
      ++good;
      continue;
    }
    ++bad;
    ASSERT_FALSE(o) << "objects are missing silently";
    for (auto const& s : damaged) EXPECT_NE(o.error().text().find(s), std::string::npos) << o.error().text();
  }
  EXPECT_GT(good, 0u);
  EXPECT_GT(bad, 0u);
}

TEST(damage, from_a_newer_weir) {
  folder f;
  fill(f.journal());
  auto changed = bytes(f.journal());
  changed.replace(60, 4, big_endian(7));
  write(f.journal(), changed);
  expect_refused(f.journal(), {"version 7", "version 4", "newer weir"});
}

TEST(damage, of_another_application) {
  folder f;
  fill(f.journal());
  auto const whole = bytes(f.journal());
  for (std::uint32_t id : {0u, 0x0f055112u}) {
    auto changed = whole;
    changed.replace(68, 4, big_endian(id));
    write(f.journal(), changed);
    expect_refused(f.journal(), {"not a journal of weir", std::to_string(id)});
  }
}

TEST(damage, no_file) {
  folder f;
  fs::create_directory(f.journal());
  EXPECT_FALSE(journal::open(f.journal()));
  write(f.path() / "file", "x");
  auto const j = journal::open(f.path() / "file" / "journal.db");
  ASSERT_FALSE(j);
  EXPECT_NE(j.error().text().find("is a file"), std::string::npos) << j.error().text();
}

TEST(damage, gone_but_for_its_wal) {
  folder f;
  auto const wal = f.journal().string() + "-wal";
  write(wal, std::string(5000, 'x'));
  auto const j = journal::open(f.journal());
  ASSERT_FALSE(j);
  EXPECT_NE(j.error().text().find(wal), std::string::npos) << j.error().text();
  EXPECT_EQ(bytes(wal).size(), 5000u);
  EXPECT_FALSE(fs::exists(f.journal()));
}

TEST(damage, disk_full) {
  folder f;
  journal_options small;
  small.most_pages = 40;
  auto const j = opened(f.journal(), small);
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  std::uint64_t written = 0;
  base::error why;
  for (std::uint64_t n = 1; n <= 200; ++n) {
    auto const added = j->add_batch(batch("aaaaaaaa", n, 100), objects(100));
    if (!added) {
      why = added.error();
      break;
    }
    written = n;
  }
  ASSERT_GT(written, 2u);
  ASSERT_LT(written, 200u) << "it never was full";
  EXPECT_NE(why.text().find(f.journal().string()), std::string::npos) << why.text();
  EXPECT_NE(why.text().find("full"), std::string::npos) << why.text();
  EXPECT_NE(why.text().find("batch " + std::to_string(written + 1) + " of run aaaaaaaa"), std::string::npos)
      << why.text();
  EXPECT_NE(why.hint.find("free space"), std::string::npos) << why.text();

  auto const intact = [&](journal const& which) {
    ASSERT_EQ(which.batches("aaaaaaaa")->size(), written);
    for (std::uint64_t n = 1; n <= written; ++n) EXPECT_EQ(which.objects("aaaaaaaa", n)->size(), 100u);
  };
  intact(*j);
  EXPECT_TRUE(ok(j->batch_sent("aaaaaaaa", 1, at(1)))) << "what needs no room still goes";
  EXPECT_TRUE(ok(j->end_run("aaaaaaaa", run_state::stopped, 75, "disk full", "", at(2))));
  journal_options reading;
  reading.read_only = true;
  intact(*opened(f.journal(), reading));
  intact(*opened(f.journal()));
  EXPECT_TRUE(ok(opened(f.journal())->add_batch(batch("aaaaaaaa", written + 1, 100), objects(100))))
      << "with room again";
}

TEST(damage, disk_full_from_the_start) {
  folder f;
  journal_options tiny;
  tiny.most_pages = 2;
  auto const j = journal::open(f.journal(), tiny);
  ASSERT_FALSE(j);
  EXPECT_NE(j.error().text().find("full"), std::string::npos) << j.error().text();
  EXPECT_TRUE(fs::is_empty(f.path())) << "half a journal was left behind";
  EXPECT_TRUE(ok(journal::open(f.journal())));
}

TEST(damage, the_system_refuses_to_write) {
  folder f;
  fill(f.journal(), 5);
  child limited([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    auto const j = opened(f.journal());
    rlimit const limit{64 << 10, 64 << 10};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    std::uint64_t n = 6;
    for (; n < 100; ++n)
      if (auto const added = j->add_batch(batch("aaaaaaaa", n), objects(50)); !added) {
        if (added.error().hint.find("full") == std::string::npos) return 2;
        if (added.error().what.find("File too large") == std::string::npos) return 3;
        break;
      }
    if (n == 100) return 4;
    auto const b = j->batches("aaaaaaaa");
    return b && b->size() == n - 1 ? 0 : 5;
  });
  EXPECT_EQ(limited.wait(), 0);
  auto const all = opened(f.journal())->batches("aaaaaaaa");
  ASSERT_TRUE(ok(all));
  EXPECT_GE(all->size(), 5u);
}

TEST(damage, read_only_journal_changes_nothing) {
  folder f;
  fill(f.journal());
  auto const before = bytes(f.journal());
  journal_options reading;
  reading.read_only = true;
  {
    auto const j = opened(f.journal(), reading);
    EXPECT_EQ(j->batches("aaaaaaaa")->size(), 20u);
    EXPECT_EQ(j->find_run("aaaa")->id, "aaaaaaaa");
    auto const refused = j->begin_run(run("bbbbbbbb"));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("reading only"), std::string::npos) << refused.error().text();
  }
  EXPECT_TRUE(bytes(f.journal()) == before);
  auto const none = journal::open(f.path() / "none" / "journal.db", reading);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text().find("does not exist"), std::string::npos) << none.error().text();
  EXPECT_FALSE(fs::exists(f.path() / "none"));
}

TEST(damage, a_reader_beside_a_writer) {
  folder f;
  auto const writer = opened(f.journal());
  ASSERT_TRUE(ok(writer->begin_run(run("aaaaaaaa"))));
  journal_options reading;
  reading.read_only = true;
  auto const reader = opened(f.journal(), reading);
  for (std::uint64_t n = 1; n <= 5; ++n) {
    ASSERT_TRUE(ok(writer->add_batch(batch("aaaaaaaa", n), objects(2))));
    EXPECT_EQ(reader->batches("aaaaaaaa")->size(), n);
  }
}

TEST(damage, file_or_folder_that_may_not_be_written) {
  folder f;
  fill(f.journal());
  give_to_nobody(f.path());
  give_to_nobody(f.journal());
  fs::permissions(f.journal(), fs::perms(0400));
  auto const before = bytes(f.journal());
  auto const as_nobody = [&](auto const& body) {
    child c([&] {
      be_nobody();
      return body();
    });
    return c.wait();
  };
  auto const refused = [&](std::string const& word) {
    auto const j = journal::open(f.journal());
    if (j) return 1;
    if (j.error().text().find(f.journal().string()) == std::string::npos) return 2;
    if (j.error().text().find(word) == std::string::npos) {
      ::fprintf(stderr, "%s\n", j.error().text().c_str());
      return 3;
    }
    return j.error().hint.find("writable") == std::string::npos ? 4 : 0;
  };
  auto const readable = [&] {
    journal_options reading;
    reading.read_only = true;
    auto const j = journal::open(f.journal(), reading);
    if (!j) {
      ::fprintf(stderr, "%s\n", j.error().text().c_str());
      return 1;
    }
    auto const b = (*j)->batches("aaaaaaaa");
    return b && b->size() == 20 ? 0 : 2;
  };
  EXPECT_EQ(as_nobody([&] { return refused("read-only"); }), 0);
  EXPECT_EQ(as_nobody(readable), 0);
  fs::permissions(f.journal(), fs::perms(0600));
  fs::permissions(f.path(), fs::perms(0555));
  EXPECT_EQ(as_nobody([&] { return refused(""); }), 0);
  EXPECT_EQ(as_nobody(readable), 0) << "in a read-only folder";
  EXPECT_EQ(as_nobody([&] {
              auto const j = journal::open(f.path() / "new.db");
              auto const k = journal::open(f.path() / "deeper" / "new.db");
              return !j && !k && j.error().hint.find("writable") != std::string::npos &&
                             k.error().hint.find("writable") != std::string::npos
                         ? 0
                         : 1;
            }),
            0);
  EXPECT_TRUE(bytes(f.journal()) == before);
}

TEST(damage, readable_in_a_read_only_folder_beside_a_writer) {
  folder f;
  fill(f.journal());
  give_to_nobody(f.path());
  give_to_nobody(f.journal());
  auto const writer = opened(f.journal());
  ASSERT_TRUE(ok(writer->add_batch(batch("aaaaaaaa", 21), objects(2))));
  fs::permissions(f.path(), fs::perms(0555));
  child reader([&] {
    be_nobody();
    journal_options reading;
    reading.read_only = true;
    auto const j = opened(f.journal(), reading);
    auto const b = j->batches("aaaaaaaa");
    return b && b->size() == 21 ? 0 : 1;
  });
  EXPECT_EQ(reader.wait(), 0);
  fs::permissions(f.path(), fs::perms(0700));
  EXPECT_TRUE(ok(writer->add_batch(batch("aaaaaaaa", 22), objects(2))));
}

TEST(damage, locked_by_another_program) {
  folder f;
  journal_options impatient;
  impatient.wait = std::chrono::milliseconds(50);
  auto const j = opened(f.journal(), impatient);
  ASSERT_TRUE(ok(j->begin_run(run("aaaaaaaa"))));
  pipe_of_numbers ready;
  child holder([&] {
    // SQLite's lock for writers: byte 120 of the shared memory's file.
    int const shm = ::open((f.journal().string() + "-shm").c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 120;
    lock.l_len = 1;
    if (::fcntl(shm, F_SETLK, &lock) != 0) return 1;
    ready.write(1);
    for (;;) ::pause();
  });
  std::uint64_t n = 0;
  ASSERT_TRUE(ready.read(n));
  auto const refused = j->add_batch(batch("aaaaaaaa", 1), objects(1));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("locked"), std::string::npos) << refused.error().text();
  EXPECT_NE(refused.error().hint.find("another program"), std::string::npos) << refused.error().text();
  EXPECT_EQ(j->runs(5)->size(), 1u) << "reading goes on";
  holder.kill();
  EXPECT_TRUE(ok(j->add_batch(batch("aaaaaaaa", 1), objects(1))));
}

// What each state says was reached is reached after any kill: the child reports a step only when it has returned.
TEST(damage, killed_in_the_middle_of_writing) {
  folder f;
  constexpr int rounds = 12;
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    auto const id = "000000" + std::to_string(10 + round);
    pipe_of_numbers steps;
    std::uint64_t reached = 0;
    {
      child writer([&] {
        auto const j = journal::open(f.journal());  // durable, as in life
        if (!j || !(*j)->begin_run(run(id))) return 1;
        for (std::uint64_t n = 1;; ++n) {
          if (!(*j)->add_batch(batch(id, n), objects(20))) return 2;
          steps.write(3 * n);
          if (!(*j)->batch_sent(id, n, at(1))) return 3;
          steps.write(3 * n + 1);
          if (!(*j)->batch_ended(id, n, batch_state::done, "", {}, at(2))) return 4;
          steps.write(3 * n + 2);
        }
      });
      steps.close_writing();
      auto const until = static_cast<std::uint64_t>(3 + (round * 7) % 40);
      while (reached < until) ASSERT_TRUE(steps.read(reached)) << "the child ended with " << writer.wait();
      writer.kill();
      while (steps.read(reached)) {
      }
    }
    auto const j = opened(f.journal());
    auto const batches = j->batches(id);
    ASSERT_TRUE(ok(batches));
    std::map<std::uint64_t, batch_record> by_number;
    for (auto const& b : *batches) by_number[b.number] = b;
    for (std::uint64_t n = 1; n < reached / 3; ++n) EXPECT_EQ(by_number.at(n).state, batch_state::done);
    auto const last = by_number.at(reached / 3);
    EXPECT_GE(static_cast<int>(last.state), static_cast<int>(reached % 3)) << name(last.state);
    for (auto const& b : *batches) EXPECT_EQ(j->objects(id, b.number)->size(), 20u) << "half a batch";
    EXPECT_LE(batches->size(), reached / 3 + 1) << "more than was ever begun";
  }
  EXPECT_EQ(opened(f.journal())->runs(100)->size(), static_cast<std::size_t>(rounds));
}

TEST(damage, two_processes_that_begin_at_once) {
  for (int round = 0; round < 5; ++round) {
    folder f;
    auto const writer = [&](std::string const& id) {
      return [&, id] {
        auto const j = opened(f.path() / "state" / "journal.db");
        if (!j->begin_run(run(id))) return 1;
        for (std::uint64_t n = 1; n <= 20; ++n)
          if (!j->add_batch(batch(id, n), objects(10)) || !j->batch_sent(id, n, at(1))) return 2;
        return 0;
      };
    };
    child a(writer("aaaaaaaa")), b(writer("bbbbbbbb"));
    EXPECT_EQ(a.wait(), 0);
    EXPECT_EQ(b.wait(), 0);
    auto const j = opened(f.path() / "state" / "journal.db");
    for (auto const* id : {"aaaaaaaa", "bbbbbbbb"}) EXPECT_EQ(j->batches(id, batch_state::sent)->size(), 20u);
  }
}

}  // namespace
