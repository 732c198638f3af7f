// Stages in processes of their own: the same as in this one for those that keep the contract, an error and no more for
// those that harm their process.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "abi/loader/fake_services.hpp"
#include "abi/loader/helpers.hpp"
#include "core/plugin/isolation.hpp"
#include "core/plugin/restrict.hpp"
#include "core/plugin/sanitized.hpp"

namespace weir::plugin {
namespace {

using base::error_code;
using base::log::level;
using namespace std::chrono_literals;

process_options how() {
  process_options out;
  out.program = ISOLATION_CHILD;
  out.limits.wall = 100s;
  out.limits.cancel_grace = 10s;
  return out;
}

// Plugins, with modes that do not depend on who built them; kept to the end of the program.
fs::path plugin_file(std::string const& name) {
  static folder const all;
  auto const to = all.path() / (name + ".so");
  if (!fs::exists(to)) {
    auto const mine = fs::path(ISOLATION_PLUGINS) / (name + ".so");
    fs::copy_file(fs::exists(mine) ? mine : fs::path(LOADER_PLUGINS) / (name + ".so"), to);
    fs::permissions(to, static_cast<fs::perms>(0755));
  }
  return to;
}

loaded_stage stage_of(std::string const& plugin, std::string const& id) {
  loaded_stage out;
  out.id = id;
  out.file = plugin_file(plugin);
  out.isolated = true;
  return out;
}

base::result<void> run(std::string const& id, fake_services& s, process_options const& with = how(),
                       std::string const& plugin = "deadly") {
  return run_isolated(stage_of(plugin, id), "{}", s, with);
}

base::error failure(std::string const& id, fake_services& s, process_options const& with = how(),
                    std::string const& plugin = "deadly") {
  auto const result = run(id, s, with, plugin);
  EXPECT_FALSE(result) << id;
  if (result) return {};
  EXPECT_EQ(result.error().what.find("stage \"" + id + "\""), 0u) << result.error().what;
  return result.error();
}

std::string failure(std::string const& id, process_options const& with = how()) {
  fake_services s;
  auto const e = failure(id, s, with);
  EXPECT_EQ(e.code, error_code::failed) << e.what;
  return e.text();
}

// Stops the run when the stage says that it sleeps.
class stopping_services : public fake_services {
 public:
  void log(level l, std::string_view message, std::vector<log_field> const& fields) override {
    fake_services::log(l, message, fields);
    if (message == "asleep") stop = true;
  }
};

bool no_children() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

// --- the same as in this process -------------------------------------------------------------------------------------

struct outcome {
  std::string result;
  std::vector<std::string> seen;
  bool operator==(outcome const&) const = default;
};

std::ostream& operator<<(std::ostream& out, outcome const& o) {
  out << o.result;
  for (auto const& line : o.seen) out << "\n  " << line;
  return out;
}

outcome outcome_of(base::result<void> const& result, fake_services const& s) {
  outcome out;
  out.result = result ? "fine" : std::to_string(static_cast<int>(result.error().code)) + " " + result.error().text();
  auto const add = [&](std::string line) { out.seen.push_back(std::move(line)); };
  for (auto const& [l, m] : s.logged) add("log " + std::to_string(static_cast<int>(l)) + " " + m);
  for (auto const& [k, v] : s.logged_fields) add("field " + k + " " + v);
  for (auto const& [l, m] : s.notices) add("notice " + std::to_string(static_cast<int>(l)) + " " + m);
  for (auto const& c : s.completed) add("complete " + c);
  for (auto const& n : s.netbox) add("netbox " + n);
  for (auto const& [name, value] : s.metrics) add("metric " + name + " " + std::to_string(value));
  for (auto const& [key, value] : s.state) add("state " + key + " " + value);
  add("emitted " + std::to_string(s.emitted) + " bytes " + std::to_string(s.bytes) + " last " + s.last_emit);
  return out;
}

class same_as_here : public testing::TestWithParam<char const*> {};

TEST_P(same_as_here, every_stage) {
  auto const report = load_alone(plugin_file(GetParam()));
  ASSERT_FALSE(report.stages.empty());
  for (auto const& stage : report.stages) {
    SCOPED_TRACE(stage.id);
    if (sanitized && stage.id == "emits-200k") continue;  // takes minutes
    auto remote = stage;
    remote.table = nullptr;
    remote.isolated = true;
    fake_services here, there;
    auto const expected = outcome_of(run_stage(stage, R"({"depth":3})", here), here);
    auto const got = outcome_of(run_isolated(remote, R"({"depth":3})", there, how()), there);
    EXPECT_EQ(got, expected);
    EXPECT_EQ(there.last_progress.done, here.last_progress.done);
    EXPECT_EQ(there.last_progress.total, here.last_progress.total);
    EXPECT_EQ(there.last_progress.note, here.last_progress.note);
    // Without waiting for the answer to each object: only the JSON's spelling may differ.
    fake_services quick;
    quick.sound_is_taken = true;
    auto const sooner = outcome_of(run_isolated(remote, R"({"depth":3})", quick, how()), quick);
    EXPECT_EQ(sooner.result, expected.result);
    EXPECT_EQ(quick.emitted, here.emitted);
    EXPECT_EQ(quick.completed, here.completed);
  }
  EXPECT_TRUE(no_children());
}

INSTANTIATE_TEST_SUITE_P(isolation, same_as_here, testing::Values("good", "behaves", "extends", "throws", "wrapped"),
                         [](auto const& one) { return std::string(one.param); });

TEST(isolation, passes_options_source_and_plan_on) {
  fake_services s;
  s.plan = true;
  auto const result = run_isolated(stage_of("wrapped", "wrapped"), R"({"fail":true})", s, how());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, error_code::credentials);
  EXPECT_HAS(result.error().what, "the token lacks Sys.Audit");
  EXPECT_TRUE(run("extension", s, how(), "behaves"));
  EXPECT_EQ(s.netbox.size(), 2u);
}

TEST(isolation, refusals_reach_the_stage_with_their_reason) {
  fake_services s;
  s.refuse_emit = base::fail("the kind extras.tag has the key [slug], not [slag]", "see weir kinds");
  auto const e = failure("returns-what-emit-said", s, how(), "behaves");
  EXPECT_HAS(e.what, "WEIR_E_INVALID");
  EXPECT_HAS(e.what, "has the key [slug], not [slag]");
  EXPECT_EQ(e.hint, "see weir kinds");
  s.refuse_emit = base::fail(error_code::interrupted, "stopping");
  auto const stopped = run("returns-what-emit-said", s, how(), "behaves");
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, error_code::interrupted);
}

// What a process was told it need not ask about, and is refused all the same, fails the stage in the end.
TEST(isolation, a_refusal_that_nobody_waits_for_is_not_lost) {
  fake_services s;
  s.sound_is_taken = true;
  s.refuse_emit = base::fail("no room for it");
  EXPECT_HAS(failure("ignores-what-emit-said", s, how(), "behaves").what, "emit(): no room for it");
  s.stop = true;  // being stopped is no fault
  auto const stopped = run("ignores-what-emit-said", s, how(), "behaves");
  EXPECT_TRUE(stopped || stopped.error().code == error_code::interrupted) << stopped.error().what;
}

TEST(isolation, what_services_throw_fails_the_stage) {
  fake_services s;
  s.emit_throws = true;
  EXPECT_HAS(failure("ignores-what-emit-said", s, how(), "behaves").what,
             "weir itself failed in emit(): the sink is full");
  class : public fake_services {
   public:
    void notice(level, std::string_view, std::string_view) override { throw std::runtime_error("no paper"); }
  } odd;
  EXPECT_HAS(failure("bad-words", odd, how(), "behaves").what, "weir itself failed in notice(): no paper");
}

TEST(isolation, fetches_many_at_once) {
  for (auto const mode : {fake_services::answers::at_once, fake_services::answers::elsewhere}) {
    fake_services s;
    s.mode = mode;
    auto const result = run("many-1000", s);
    EXPECT_TRUE(result) << result.error().text();
    EXPECT_EQ(s.asked, 1000u);
  }
}

TEST(isolation, answers_threads_and_fetch_many_at_once) {
  fake_services s;
  auto const result = run("threads-and-many", s);
  EXPECT_TRUE(result) << result.error().text();
  EXPECT_EQ(s.asked, 1000u + 8 * 200);
  EXPECT_EQ(s.emitted, 8u * 200);
  EXPECT_TRUE(s.logged.empty()) << s.logged.front().second;  // such as a sanitizer's report
}

TEST(isolation, requests_at_once_are_bounded) {
  // Answers nothing until no more is asked for; cancelled() is asked in every round of the loop.
  class : public fake_services {
   public:
    bool cancelled() const override {
      if (held.size() >= 256 && ++rounds_ == 3) release_ = true;
      return false;
    }
    void fetch_async(std::string target, std::function<void(fetched)> done) override {
      fake_services::fetch_async(std::move(target), std::move(done));
      most = std::max(most, held.size());
    }
    std::size_t most = 0;
    bool due() const { return release_; }

   private:
    mutable std::atomic<int> rounds_{0};
    mutable std::atomic<bool> release_{false};
  } s;
  s.mode = fake_services::answers::held;
  std::atomic<bool> over{false};
  std::thread answering([&] {
    while (!over && !s.due()) std::this_thread::sleep_for(1ms);
    // The loop listens to nothing but answers now.
    s.mode = fake_services::answers::at_once;
    for (auto& [target, done] : s.held) done(fake_services::answer(target));
  });
  auto const result = run("crowd", s);
  over = true;
  answering.join();
  EXPECT_TRUE(result) << result.error().text();
  EXPECT_EQ(s.most, 256u);
  EXPECT_TRUE(s.logged.empty()) << s.logged.front().second;
}

TEST(isolation, answers_may_come_when_all_is_over) {
  stopping_services s;
  s.mode = fake_services::answers::held;
  auto const e = run("fetches-for-ever", s);
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().code, error_code::interrupted) << e.error().text();
  ASSERT_EQ(s.held.size(), 1u);
  for (auto& [target, done] : s.held) done(fake_services::answer(target));
}

// --- ends ------------------------------------------------------------------------------------------------------------

TEST(isolation, a_crash_costs_the_stage_and_names_the_signal) {
  fake_services s;
  auto const e = failure("segfaults", s);
  EXPECT_EQ(e.what, "stage \"segfaults\": its process was ended by SIGSEGV (Segmentation fault) in collect()");
  EXPECT_EQ(e.code, error_code::failed);
  EXPECT_HAS(e.hint, "its last lines: ");
  for (auto const* line :
       {"half a word: the third node", "no such \xEF\xBF\xBD thing", "a line of the log", "without an end"})
    EXPECT_HAS(e.hint, line);
  EXPECT_EQ(e.hint.find("too small"), std::string::npos);
  EXPECT_EQ(s.emitted, 1u);
  auto const logged = [&](level l, std::string const& m) {
    return std::find(s.logged.begin(), s.logged.end(), std::pair(l, m)) != s.logged.end();
  };
  EXPECT_TRUE(logged(level::info, "half a word: the third node"));
  EXPECT_TRUE(logged(level::warning, "no such \xEF\xBF\xBD thing"));
  EXPECT_TRUE(logged(level::info, "without an end"));
  EXPECT_TRUE(no_children());
}

TEST(isolation, names_where_it_ended) {
  EXPECT_HAS(failure("create-segfaults"), "(Segmentation fault) in create()");
  EXPECT_HAS(failure("destroy-segfaults"), "(Segmentation fault) in destroy()");
  EXPECT_HAS(failure("aborts"), "its process was ended by SIGABRT (Aborted) in collect()");
  EXPECT_HAS(failure("exits"), "its process ended with exit code 0 in collect(): a plugin must not end it");
  EXPECT_HAS(failure("exits-7"), "its process ended with exit code 7 in collect()");
}

TEST(isolation, a_crash_after_the_work_is_done_is_a_warning) {
  fake_services s;
  EXPECT_TRUE(run("segfaults-at-exit", s));
  ASSERT_FALSE(s.logged.empty());
  EXPECT_EQ(s.logged.back().first, level::warning);
  EXPECT_HAS(s.logged.back().second, "SIGSEGV");
  fake_services again;
  EXPECT_TRUE(run("exits-3-at-exit", again));
  ASSERT_FALSE(again.logged.empty());
  EXPECT_HAS(again.logged.back().second, "ended with exit code 3");
}

TEST(isolation, threads_left_behind_end_with_their_process) {
  fake_services s;
  auto const result = run("leaves-threads", s);
  EXPECT_TRUE(result) << result.error().text();
  EXPECT_EQ(s.emitted, 1u);
  EXPECT_TRUE(no_children());
}

TEST(isolation, a_program_that_is_no_weir) {
  fake_services s;
  auto with = how();
  with.program = "/bin/false";
  auto const e = failure("segfaults", s, with);
  EXPECT_HAS(e.what, "its process ended with exit code 1 while it was started");
  EXPECT_HAS(e.hint, "must be a weir of this version");
  with.program = "/nowhere/weir";
  EXPECT_HAS(failure("segfaults", s, with).what, "can't start a process for the stage: /nowhere/weir: No such file");
}

// --- limits ----------------------------------------------------------------------------------------------------------

TEST(isolation, cpu_time_is_limited) {
  auto with = how();
  with.limits.cpu = 1s;
  EXPECT_HAS(failure("spins", with), "its process used up its 1 s of CPU time in collect()");
}

TEST(isolation, wall_time_is_limited) {
  auto with = how();
  with.limits.wall = 300ms;
  EXPECT_HAS(failure("sleeps", with), "its process had not ended after 300 ms (");
  EXPECT_HAS(failure("destroy-sleeps", with), "its process had not ended after 300 ms (");
  EXPECT_TRUE(no_children());
}

TEST(isolation, memory_is_limited) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow memory is larger than any limit";
  auto with = how();
  with.limits.address_space_bytes = std::size_t{512} << 20;
  EXPECT_HAS(failure("allocates", with), "WEIR_E_NOMEM");
  fake_services s;
  auto const e = failure("greedy", s, with, "greedy");
  EXPECT_HAS(e.hint, "its process may use 512 MiB of memory, which did not suffice");
  EXPECT_EQ(s.emitted, 0u);
}

TEST(isolation, a_stage_that_stops_when_told_is_interrupted) {
  stopping_services s;
  auto const e = run("waits-for-cancel", s);
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().code, error_code::interrupted);
  EXPECT_HAS(e.error().what, "was cancelled");
}

TEST(isolation, a_stage_that_ignores_the_cancel_is_killed) {
  stopping_services s;
  auto with = how();
  with.limits.cancel_grace = 200ms;
  auto const e = failure("sleeps", s, with);
  EXPECT_EQ(e.code, error_code::interrupted);
  EXPECT_EQ(e.what,
            "stage \"sleeps\": its process did not stop within 200 ms of being told to (in collect()) and was killed");
  EXPECT_HAS(e.hint, "its last lines: asleep");
  EXPECT_TRUE(no_children());
}

TEST(isolation, a_crash_on_the_way_out_is_named) {
  stopping_services s;
  auto const e = failure("crashes-when-cancelled", s);
  EXPECT_EQ(e.code, error_code::interrupted);
  EXPECT_HAS(e.what, "SIGSEGV");
}

// --- the connection --------------------------------------------------------------------------------------------------

TEST(isolation, garbage_on_the_socket_ends_the_process) {
  auto const text = failure("garbage");
  EXPECT_HAS(text, "its process sent weir what is no message in collect(): a length of");
  EXPECT_EQ(text.find("Token"), std::string::npos);
  EXPECT_HAS(failure("endless-frame"), "a length of 4294967295 bytes");
  EXPECT_HAS(failure("odd-type"), "a message of the unknown type 200");
  EXPECT_HAS(failure("plays-weir"), "a message that only weir itself sends");
  EXPECT_TRUE(no_children());
}

TEST(isolation, a_closed_connection_ends_the_process) {
  EXPECT_HAS(failure("closes-connection"), "its process closed its connection to weir in collect()");
  EXPECT_HAS(failure("closes-all"), "its process closed its connection to weir in collect()");
  EXPECT_TRUE(no_children());
}

// --- what it may not -------------------------------------------------------------------------------------------------

TEST(isolation, another_process_is_an_end) {
  for (auto const* id : {"forks", "executes", "shells"})
    EXPECT_HAS(failure(id), "its process tried to start another process in collect(), which a stage must not (SIGSYS)");
}

TEST(isolation, what_is_not_its_own_is_refused) {
  EXPECT_HAS(failure("sockets"), "socket(): EPERM");
  EXPECT_HAS(failure("unlinks-itself"), "unlink(): E");
  EXPECT_HAS(failure("overwrites-itself"), "open(): E");
  EXPECT_HAS(failure("writes-a-file"), "open(): E");
  EXPECT_HAS(failure("signals-weir"), "kill(): EPERM");
  EXPECT_TRUE(fs::file_size(plugin_file("deadly")) > 0);
  EXPECT_FALSE(fs::exists("/tmp/weir-isolation-test"));
}

TEST(isolation, what_weir_knows_is_not_to_be_read) {
  if (sanitized && !children_are_kept_out()) GTEST_SKIP() << "no Landlock, and a sanitizer wants weir to be readable";
  EXPECT_HAS(failure("reads-weir"), "open(): E");
  EXPECT_HAS(failure("reads-weirs-memory"), "open(): E");
}

TEST(isolation, files_are_not_to_be_read_but_the_systems_own) {
  if (!children_are_kept_out()) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_HAS(failure("reads-passwd"), "open(): EACCES");
}

TEST(isolation, gets_nothing_but_its_connection) {
  setenv("WEIR_TEST_SECRET", "do-not-tell", 1);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);  // open, and not marked to be closed
  fake_services s;
  auto const result = run("looks-around", s);
  unsetenv("WEIR_TEST_SECRET");
  close(ends[0]);
  close(ends[1]);
  ASSERT_TRUE(result) << result.error().text();
  std::set<std::string> const allowed{"PATH",         "LANG",          "LC_ALL",       "TZ",
                                      "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "WEIR_STAGE_PROCESS"};
  std::vector<std::string> descriptors, others;
  for (auto const& [l, m] : s.logged) {
    if (m.starts_with("descriptor "))
      descriptors.push_back(m.substr(11));
    else if (auto const equal = m.find('='); equal != std::string::npos)
      EXPECT_TRUE(allowed.contains(m.substr(0, equal))) << m;
    else
      others.push_back(m);
  }
  EXPECT_EQ(descriptors, (std::vector<std::string>{"0", "1", "2", "3"}));
  EXPECT_EQ(others, (std::vector<std::string>{"no new privileges: 1", "/", "leader: 1"}));
}

// --- output ----------------------------------------------------------------------------------------------------------

TEST(isolation, output_is_bounded) {
  fake_services s;
  auto const e = failure("prints", s);
  EXPECT_HAS(e.what, "that was all");
  ASSERT_EQ(s.logged.size(), 1001u);
  EXPECT_EQ(s.logged[0], std::pair(level::info, std::string("line 1")));
  EXPECT_EQ(s.logged[999], std::pair(level::info, std::string("line 1000")));
  EXPECT_HAS(s.logged[1000].second, "is left out");
}

TEST(isolation, output_is_made_fit_for_a_log) {
  fake_services s;
  auto const result = run("prints-oddly", s);
  EXPECT_TRUE(result) << result.error().text();
  ASSERT_EQ(s.logged.size(), 4u);
  EXPECT_LE(s.logged[0].second.size(), 1010u);
  EXPECT_EQ(s.logged[3].second, " [31mred\xEF\xBF\xBD");
}

// --- describe
// ---------------------------------------------------------------------------------------------------------

TEST(describe, says_what_load_says) {
  for (auto const* name : {"good", "behaves", "wrapped", "no_symbol"}) {
    SCOPED_TRACE(name);
    auto const expected = load_alone(plugin_file(name));
    auto const got = describe(plugin_file(name), how());
    ASSERT_EQ(ids(got.stages), ids(expected.stages));
    ASSERT_EQ(got.problems.size(), expected.problems.size());
    for (std::size_t i = 0; i < got.problems.size(); ++i) {
      EXPECT_EQ(got.problems[i].text(), expected.problems[i].text());
      EXPECT_EQ(got.problems[i].code, expected.problems[i].code);
    }
    for (std::size_t i = 0; i < got.stages.size(); ++i) {
      auto const &g = got.stages[i], &e = expected.stages[i];
      EXPECT_EQ(g.version, e.version);
      EXPECT_EQ(g.title, e.title);
      EXPECT_EQ(g.needs, e.needs);
      EXPECT_EQ(g.source_type, e.source_type);
      EXPECT_EQ(g.kinds_json, e.kinds_json);
      EXPECT_EQ(g.options_schema, e.options_schema);
      EXPECT_EQ(g.plugin_name, e.plugin_name);
      EXPECT_EQ(g.plugin_version, e.plugin_version);
      EXPECT_EQ(g.vendor, e.vendor);
      EXPECT_EQ(g.file, e.file);
      EXPECT_EQ(g.table, nullptr);
      EXPECT_TRUE(g.isolated);
    }
  }
}

TEST(describe, a_file_that_crashes_is_one_problem) {
  auto const report = describe(plugin_file("ctor"), how());
  EXPECT_TRUE(report.stages.empty());
  ASSERT_EQ(report.problems.size(), 1u);
  auto const& e = report.problems.front();
  EXPECT_EQ(e.code, error_code::config);
  EXPECT_EQ(e.what, "plugin " + plugin_file("ctor").string() +
                        ": its process was ended by SIGSEGV (Segmentation fault) while its plugin was loaded");
  EXPECT_HAS(e.hint, "its last lines: loading");
}

TEST(describe, gives_no_process_a_file_that_others_can_change) {
  folder const f;
  auto const file = f.path() / "ctor.so";
  fs::copy_file(plugin_file("ctor"), file);
  fs::permissions(file, static_cast<fs::perms>(0777));
  auto const report = describe(file, how());
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, "can be changed by others");
  fake_services s;
  loaded_stage stage;
  stage.id = "x";
  stage.file = file;
  auto const result = run_isolated(stage, "{}", s, how());
  ASSERT_FALSE(result);
  EXPECT_HAS(result.error().what, "can be changed by others");
}

// --- the check
// --------------------------------------------------------------------------------------------------------

TEST(check_in_process, says_what_check_says) {
  auto const here = check(plugin_file("good"), {});
  auto const there = check_in_process(plugin_file("good"), {}, how());
  ASSERT_TRUE(there) << there.error().text();
  EXPECT_EQ(*there, here);
}

TEST(check_in_process, a_file_that_crashes_is_an_error) {
  auto const result = check_in_process(plugin_file("ctor"), {}, how());
  ASSERT_FALSE(result);
  EXPECT_HAS(result.error().what, "its process was ended by SIGSEGV (Segmentation fault) while it was checked");
  EXPECT_HAS(result.error().hint, checking_mark);
}

// --- the command
// ------------------------------------------------------------------------------------------------------

TEST(isolation, the_command_is_not_for_people) {
  auto const status = std::system(ISOLATION_CHILD " 3</dev/null 2>/dev/null");
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 64);
}

TEST(isolation, a_child_does_not_outlive_weir) {
  // Orphans come to this process, where their ends can be seen.
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto const file = stage_of("deadly", "tells-pid");
  pid_t const weir = fork();
  if (weir == 0) {
    class telling_services : public fake_services {
     public:
      explicit telling_services(int to) : to_(to) {}
      void log(level, std::string_view message, std::vector<log_field> const&) override {
        if (write(to_, message.data(), message.size()) < 0) _exit(1);
      }

     private:
      int to_;
    } s(ends[1]);
    (void)run_isolated(file, "{}", s, how());
    _exit(1);
  }
  close(ends[1]);
  char digits[32] = {};
  auto const n = read(ends[0], digits, sizeof digits - 1);
  close(ends[0]);
  ASSERT_GT(n, 0);
  auto const child = static_cast<pid_t>(std::atol(digits));
  ASSERT_GT(child, 0);
  kill(weir, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(weir, &status, 0), weir);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

TEST(isolation, a_stage_that_its_file_has_not) {
  fake_services s;
  auto const result = run("nobody", s);
  ASSERT_FALSE(result);
  EXPECT_HAS(result.error().what, "has no stage \"nobody\"");
}

}  // namespace
}  // namespace weir::plugin
