// stage.hpp's ranges, stop tokens and extensions, driven by the host in memory; and what that host finds.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <ranges>
#include <thread>
#include <weir/testing.hpp>

namespace {
using weir::json;
using weir::level;
using weir::testing::host;
using weir::testing::outcome;
using weir::testing::stage_of;

struct scripted {
  static constexpr weir::info about{.id = "scripted", .version = "1", .title = "t", .kinds_json = R"(["extras.tag"])"};
  static inline std::function<void(weir::run&)> body;
  static inline std::function<void(weir::context const&)> begin;
  explicit scripted(weir::context const& c) {
    if (begin) begin(c);
  }
  void collect(weir::run& r) { body(r); }
};

outcome run(host& h, std::function<void(weir::run&)> body, bool dry = false) {
  scripted::body = std::move(body);
  return h.run(stage_of<scripted>(), json::object(), "src", dry);
}
bool violates(outcome const& out, std::string const& what) {
  return std::any_of(out.violations.begin(), out.violations.end(),
                     [&](auto const& v) { return v.find(what) != std::string::npos; });
}
std::string target(int i) { return "/t/" + std::to_string(i); }
void answer(host& h, int count) {
  for (int i = 0; i < count; ++i) h.answer(target(i), std::to_string(i));
}

// --- fetch_each ------------------------------------------------------------------------------------------------------

TEST(fetch_each, goes_through_all_in_the_targets_order) {
  for (int const count : {0, 1, 3, 4, 5, 64, 65, 200}) {
    for (bool const backwards : {false, true}) {
      host h;
      answer(h, count);
      if (backwards) h.answer_backwards();
      std::vector<std::string> targets;
      for (int i = 0; i < count; ++i) targets.push_back(target(i));
      std::vector<std::string> want, got;
      for (int i = 0; i < count; ++i) want.push_back(std::to_string(i) + "=" + std::to_string(i));
      auto const out = run(h, [&](weir::run& r) {
        for (auto&& [index, reply] : r.fetch_each(targets, 4))
          got.push_back(std::to_string(index) + "=" + std::string{reply.body()});
      });
      EXPECT_TRUE(out.ok()) << out.text();
      EXPECT_EQ(got, want);
    }
  }
}

TEST(fetch_each, takes_targets_that_are_made_on_the_fly_and_refusals_as_values) {
  host h;
  answer(h, 2);
  h.refuse(target(1), 403, "no right");
  std::string got;
  auto const out = run(h, [&](weir::run& r) {
    auto const names = std::views::iota(0, 2) | std::views::transform(target);
    for (auto&& [index, reply] : r.fetch_each(names)) got += reply.ok() ? "ok " : std::string{reply.error()};
    for (auto&& one : r.fetch_each(std::vector<char const*>{"/t/0"})) got += " " + std::string{one.reply.body()};
  });
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(got, "ok GET /t/1: no right 0");
}

TEST(fetch_each, a_break_stops_the_rest) {
  host h;
  answer(h, 100);
  auto const out = run(h, [&](weir::run& r) {
    auto const names = std::views::iota(0, 100) | std::views::transform(target);
    for (auto&& [index, reply] : r.fetch_each(names, 10))
      if (index == 12) break;
  });
  EXPECT_TRUE(out.ok()) << out.text();  // every reply was given back
  EXPECT_EQ(out.fetched.size(), 20u);
}

TEST(fetch_each, an_exception_leaves_nothing_behind) {
  host h;
  answer(h, 10);
  auto const out = run(h, [&](weir::run& r) {
    auto const names = std::views::iota(0, 10) | std::views::transform(target);
    for (auto&& [index, reply] : r.fetch_each(names, 4))
      if (index == 1) throw weir::error("enough");
  });
  EXPECT_EQ(out.message, "enough");
  EXPECT_TRUE(out.violations.empty()) << out.text();
  EXPECT_EQ(out.fetched.size(), 4u);
}

TEST(fetch_each, holds_one_window_of_replies_at_most) {
  host h;
  answer(h, 40);
  std::size_t most = 0;
  auto const out = run(h, [&](weir::run& r) {
    auto const names = std::views::iota(0, 40) | std::views::transform(target);
    auto replies = r.fetch_each(names, 8);
    std::vector<weir::reply> kept;
    for (auto& [index, reply] : replies) {
      most = std::max(most, static_cast<std::size_t>(reply.body().size()));
      if (index == 20) kept.push_back(std::move(reply));  // a reply may outlive its round
    }
    ASSERT_EQ(kept.size(), 1u);
    EXPECT_EQ(kept.front().body(), "20");
  });
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(most, 2u);
}

TEST(fetch_each, a_stop_passes_at_every_place) {
  host h;
  answer(h, 10);
  for (std::uint64_t n = 0; n < 10; ++n) {
    h.cancel_after(n);
    auto const out = run(h, [&](weir::run& r) {
      auto const names = std::views::iota(0, 10) | std::views::transform(target);
      for (auto&& one : r.fetch_each(names, 3)) (void)one;
    });
    EXPECT_EQ(out.status, WEIR_CANCELLED);
    EXPECT_TRUE(out.violations.empty()) << n << out.text();
  }
}

// --- stop_token ------------------------------------------------------------------------------------------------------

TEST(stop_token, is_copied_into_loops_and_threads) {
  host h;
  answer(h, 1);
  h.cancel_after(3);
  int rounds = 0;
  auto const out = run(h, [&](weir::run& r) {
    auto const stop = r.stop_token();
    EXPECT_TRUE(stop.stop_possible());
    EXPECT_FALSE(stop.stop_requested());
    for (auto copy = stop; !copy.stop_requested(); ++rounds) r.fetch("/t/0");
    bool there = false;
    std::thread([&there, stop] { there = stop.stop_requested(); }).join();
    EXPECT_TRUE(there);
    r.check();
  });
  EXPECT_EQ(rounds, 3);
  EXPECT_EQ(out.status, WEIR_CANCELLED);
}

// --- log -------------------------------------------------------------------------------------------------------------

TEST(log, fields_are_kept_apart) {
  host h;
  scripted::begin = [](weir::context const& c) {
    c.log(level::info, "begin", {{"options", c.options_json}});
    c.log(level::info, "plain");
  };
  auto const body = [](weir::run& r) {
    if (r.log_enabled(level::debug)) r.log(level::warn, "skipped", {{"vmid", "101"}, {"node", "pve1"}});
  };
  auto const out = run(h, body);
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.log, (std::vector<std::string>{"begin", "plain", "skipped"}));
  ASSERT_EQ(out.log_fields.size(), 3u);
  EXPECT_EQ(out.log_fields[0].at("options"), "{}");
  EXPECT_TRUE(out.log_fields[1].empty());
  EXPECT_EQ(out.log_fields[2], (std::map<std::string, std::string>{{"vmid", "101"}, {"node", "pve1"}}));
  h.without(WEIR_EXT_LOG);
  auto const bare = run(h, body);
  scripted::begin = nullptr;
  EXPECT_TRUE(bare.ok()) << bare.text();
  EXPECT_EQ(bare.log.back(), "skipped vmid=101 node=pve1");
}

TEST(log, the_strict_host_finds_bad_fields) {
  host h;
  auto const log = [&](std::initializer_list<weir::field> f) {
    return run(h, [&](weir::run& r) { r.log(level::info, "x", f); });
  };
  EXPECT_TRUE(violates(log({{"VmId", "1"}}), "the field 'VmId' is dropped"));
  EXPECT_TRUE(violates(log({{"", "1"}}), "is dropped"));
  EXPECT_TRUE(violates(log({{"a", "\xff"}}), "UTF-8"));
  std::initializer_list<weir::field> const many{{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}, {"e", ""}, {"f", ""},
                                                {"g", ""}, {"h", ""}, {"i", ""}, {"j", ""}, {"k", ""}, {"l", ""},
                                                {"m", ""}, {"n", ""}, {"o", ""}, {"p", ""}, {"q", ""}};
  EXPECT_TRUE(violates(log(many), "17 fields"));
}

// --- metrics ---------------------------------------------------------------------------------------------------------

TEST(metrics, are_counted_where_the_host_counts) {
  host h;
  auto const body = [](weir::run& r) {
    auto const m = r.metrics();
    m.add("guests_total");
    m.add("guests_total", 2);
    m.set("age_seconds", 5);
    m.set("age_seconds", -1.5);
    std::thread([&] { r.metrics().add("guests_total", 0); }).join();
  };
  auto const out = run(h, body);
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.metrics, (std::map<std::string, double>{{"guests_total", 3}, {"age_seconds", -1.5}}));
  h.without(WEIR_EXT_METRICS);
  auto const bare = run(h, [&](weir::run& r) {
    EXPECT_FALSE(r.metrics());
    body(r);
  });
  EXPECT_TRUE(bare.ok()) << bare.text();
  EXPECT_TRUE(bare.metrics.empty());
}

TEST(metrics, the_strict_host_finds_breaches) {
  host h;
  auto const breach = [&](std::function<void(weir::metrics_client const&)> const& f, char const* what) {
    auto const out = run(h, [&](weir::run& r) { f(r.metrics()); });
    EXPECT_TRUE(violates(out, what)) << what << "\n" << out.text();
    EXPECT_EQ(out.status, WEIR_E_INVALID) << what;
  };
  breach([](auto& m) { m.set("Age", 1); }, "name");
  breach([](auto& m) { m.set(std::string(65, 'a'), 1); }, "name");
  breach([](auto& m) { m.set("age", std::numeric_limits<double>::infinity()); }, "finite");
  breach([](auto& m) { m.add("guests", 1); }, "_total");
  breach([](auto& m) { m.add("guests_total", -1); }, "negative");
  breach([](auto& m) { m.add("a_total", 1), m.set("a_total", 1); }, "either");
  breach(
      [](auto& m) {
        for (int i = 0; i < 201; ++i) m.set("m" + std::to_string(i), 1);
      },
      "200");
}

// --- state -----------------------------------------------------------------------------------------------------------

TEST(state, is_seeded_read_and_kept) {
  host h;
  h.state("cursor", "5");
  h.state("old", "x");
  auto const body = [](weir::run& r) {
    auto const s = r.state();
    EXPECT_FALSE(s.get("nothing"));
    auto const was = std::stoi(s.get("cursor").value_or("0"));
    s.put("cursor", std::to_string(was + 1));
    EXPECT_EQ(s.get("cursor"), std::to_string(was + 1));
    s.erase("old");
    s.put("raw", std::string_view("\0\xff", 2));
    s.put("empty", "");
    EXPECT_EQ(s.get("empty"), "");
  };
  auto const out = run(h, body);
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_EQ(out.state,
            (std::map<std::string, std::string>{{"cursor", "6"}, {"empty", ""}, {"raw", std::string("\0\xff", 2)}}));
  EXPECT_EQ(run(h, body).state, out.state);  // the seed again
  h.state(out.state);
  EXPECT_EQ(run(h, body).state.at("cursor"), "7");
}

TEST(state, is_kept_only_when_all_went_well) {
  host h;
  h.state("cursor", "5");
  auto const put = [](weir::run& r) { r.state().put("cursor", "9"); };
  EXPECT_EQ(run(h, put, true).state.at("cursor"), "5");
  auto const failed = run(h, [&](weir::run& r) {
    put(r);
    throw weir::error("too bad");
  });
  EXPECT_EQ(failed.state.at("cursor"), "5");
}

TEST(state, is_optional) {
  host h;
  h.state("cursor", "5");
  h.without(WEIR_EXT_STATE);
  auto const out = run(h, [](weir::run& r) {
    EXPECT_FALSE(r.state());
    r.state().put("cursor", "6");
    r.state().erase("cursor");
    EXPECT_FALSE(r.state().get("cursor"));
  });
  EXPECT_TRUE(out.ok()) << out.text();
}

TEST(scope, is_everything_unless_said) {
  host h;
  std::string seen;
  auto const look = [&](weir::run& r) { seen = r.scope_json(); };
  EXPECT_TRUE(run(h, look).ok());
  EXPECT_EQ(seen, "{}");
  h.scope({{"guests", {101}}});
  EXPECT_TRUE(run(h, look).ok());
  EXPECT_EQ(seen, R"({"guests":[101]})");
  h.without(WEIR_EXT_SCOPE);
  EXPECT_TRUE(run(h, look).ok());
  EXPECT_EQ(seen, "{}");
}

TEST(state, the_strict_host_finds_breaches) {
  host h;
  auto const breach = [&](std::function<void(weir::state_client const&)> const& f, char const* what) {
    auto const out = run(h, [&](weir::run& r) { f(r.state()); });
    EXPECT_TRUE(violates(out, what)) << what << "\n" << out.text();
  };
  breach([](auto& s) { s.put("", "v"); }, "printable ASCII");
  breach([](auto& s) { s.get(std::string(129, 'k')); }, "printable ASCII");
  breach([](auto& s) { s.erase("a\nb"); }, "printable ASCII");
  breach([](auto& s) { s.put("k", std::string(65537, 'v')); }, "64 KiB");
  breach(
      [](auto& s) {
        for (int i = 0; i < 1001; ++i) s.put(std::to_string(i), "");
      },
      "1000 keys");
  breach([](auto& s) { std::thread([&] { s.put("k", "v"); }).join(); }, "another thread");
}

TEST(state, a_failing_store_fails_the_stage) {
  host h;
  h.fail_call(1);
  auto const out = run(h, [](weir::run& r) {
    r.state().put("a", "1");
    r.state().put("b", "2");
  });
  EXPECT_EQ(out.status, WEIR_E_FAILED);
  EXPECT_TRUE(out.violations.empty()) << out.text();
}

// --- the host in memory ----------------------------------------------------------------------------------------------

struct folder {
  std::filesystem::path path;
  folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-answers-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path = name;
  }
  ~folder() { std::filesystem::remove_all(path); }
  folder(folder const&) = delete;
  folder& operator=(folder const&) = delete;
  void add(std::string const& name, std::string const& text) const {
    std::filesystem::create_directories((path / name).parent_path());
    std::ofstream(path / name) << text;
  }
};

TEST(answers, come_from_a_folder) {
  folder f;
  f.add("nodes.json", "[1]");
  f.add("nodes/pve1/qemu.json", "[2]");
  f.add("cluster/resources?type=vm.json", "[3]");
  f.add("api/hosts/index.json", "[4]");
  f.add("api/hosts/?page=2.json", "[5]");
  f.add("report.csv", "a,b");
  f.add("nodes/pve2/qemu.403", "the token lacks VM.Audit\nmore");
  f.add("nodes/pve3/qemu.0", "refused");
  host h;
  EXPECT_EQ(h.answers_from(f.path), 8u);
  auto const out = run(h, [](weir::run& r) {
    EXPECT_EQ(r.fetch("/nodes").body(), "[1]");
    EXPECT_EQ(r.fetch("/nodes/pve1/qemu").body(), "[2]");
    EXPECT_EQ(r.fetch("/cluster/resources?type=vm").body(), "[3]");
    EXPECT_EQ(r.fetch("/api/hosts/").body(), "[4]");
    EXPECT_EQ(r.fetch("/api/hosts/?page=2").body(), "[5]");
    EXPECT_EQ(r.fetch("/report.csv").body(), "a,b");
    auto const denied = r.try_fetch("/nodes/pve2/qemu");
    EXPECT_EQ(denied.http_status(), 403u);
    EXPECT_EQ(denied.error(), "GET /nodes/pve2/qemu: the token lacks VM.Audit");
    auto const gone = r.try_fetch("/nodes/pve3/qemu");
    EXPECT_FALSE(gone.ok());
    EXPECT_EQ(gone.http_status(), 0u);
    EXPECT_EQ(r.try_fetch("/index").http_status(), 404u);
  });
  EXPECT_TRUE(out.ok()) << out.text();
  EXPECT_THROW(h.answers_from(f.path / "missing"), std::runtime_error);

  host n;
  EXPECT_EQ(n.netbox_answers_from(f.path), 8u);
  EXPECT_TRUE(run(n, [](weir::run& r) { EXPECT_EQ(r.netbox()->read("/api/hosts/").body(), "[4]"); }).ok());
}

TEST(strict, a_call_can_be_made_to_fail) {
  host h;
  answer(h, 3);
  h.fail_call(1);
  auto const out = run(h, [](weir::run& r) {
    EXPECT_TRUE(r.try_fetch("/t/0").ok());
    auto const failed = r.try_fetch("/t/1");
    EXPECT_EQ(failed.http_status(), 0u);
    EXPECT_NE(failed.error().find("no answer came"), std::string_view::npos);
    EXPECT_TRUE(r.try_fetch("/t/1").ok());
  });
  EXPECT_TRUE(out.ok()) << out.text();
}

TEST(strict, a_body_read_after_its_release_is_no_text) {
  host h;
  answer(h, 1);
  auto const out = run(h, [](weir::run& r) {
    std::string_view late;
    {
      auto const reply = r.fetch("/t/0");
      late = reply.body();
    }
    r.notice(level::info, late);
  });
  EXPECT_TRUE(violates(out, "notice: message is no valid UTF-8")) << out.text();
}

TEST(strict, fetch_many_inside_its_callback) {
  host h;
  answer(h, 1);
  std::vector<std::string> const targets{"/t/0"};
  auto const out = run(h, [&](weir::run& r) {
    r.fetch_many(targets, [&](std::size_t, weir::reply const&) {
      r.fetch_many(targets, [](std::size_t, weir::reply const&) {});
    });
  });
  EXPECT_TRUE(violates(out, "by its own callback")) << out.text();
  EXPECT_EQ(out.status, WEIR_E_MISUSE);
  EXPECT_TRUE(run(h, [&](weir::run& r) {
                for (int i = 0; i < 2; ++i) r.fetch_many(targets, [](std::size_t, weir::reply const&) {});
              }).ok());
}

TEST(strict, targets_and_methods) {
  host h;
  auto const breach = [&](std::function<void(weir::run&)> const& f, char const* what) {
    auto const out = run(h, f);
    EXPECT_TRUE(violates(out, what)) << what << "\n" << out.text();
  };
  breach([](weir::run& r) { r.fetch("no/slash"); }, "does not begin with /");
  breach([](weir::run& r) { r.fetch("/a b"); }, "holds a blank");
  breach([](weir::run& r) { r.netbox()->read("/a\r\nX: y"); }, "holds a blank");
  breach([](weir::run& r) { r.netbox()->write("BREW", "/pots/", "{}"); }, "the method is 'BREW'");
  breach([](weir::run& r) { r.progress(1, 2, "\xff"); }, "progress: note is no valid UTF-8");
}

}  // namespace
