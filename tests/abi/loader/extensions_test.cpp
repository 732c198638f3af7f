// What stages do with the extensions log, metrics, state and scope, and what the host does not let them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "fake_services.hpp"
#include "helpers.hpp"

namespace weir::plugin {
namespace {

using base::error_code;

base::result<void> run(std::string const& id, fake_services& s) {
  static auto const all = [] {
    folder const f;
    f.add("extends");
    std::map<std::string, loaded_stage> out;
    for (auto& one : load({f.path()}).stages) out.emplace(one.id, one);
    return out;
  }();
  return run_stage(all.at(id), "{}", s);
}

std::string failure(std::string const& id, fake_services& s, error_code code = error_code::failed) {
  auto const result = run(id, s);
  EXPECT_FALSE(result) << id;
  if (result) return {};
  EXPECT_EQ(result.error().code, code) << result.error().what;
  return result.error().text();
}

std::string good(std::string const& id, fake_services& s) {
  auto const result = run(id, s);
  return result ? "" : result.error().text();
}

using fields = std::vector<std::pair<std::string, std::string>>;

TEST(extension_log, keeps_fields_apart_and_repairs_their_text) {
  fake_services s;
  EXPECT_EQ(good("log-fields", s), "");
  ASSERT_EQ(s.logged.size(), 2u);
  EXPECT_EQ(s.logged.front(), std::pair(base::log::level::info, std::string("seen")));
  EXPECT_EQ(s.logged_fields, (fields{{"vmid", "101"}, {"node", "caf\xEF\xBF\xBD"}}));
}

TEST(extension_log, drops_a_bad_key_with_one_warning_per_run) {
  fake_services s;
  EXPECT_EQ(good("log-bad-keys", s), "");
  EXPECT_EQ(s.logged_fields, (fields{{"good", "5"}, {"good", "5"}, {"good", "5"}}));
  ASSERT_EQ(s.logged.size(), 4u);
  EXPECT_EQ(std::count_if(s.logged.begin(), s.logged.end(),
                          [](auto const& l) { return l.first == base::log::level::warning; }),
            1);
  EXPECT_HAS(s.logged.front().second, "its key \"VmId\" is not [a-z][a-z0-9_]*");
}

TEST(extension_log, keeps_sixteen_fields) {
  fake_services s;
  EXPECT_EQ(good("log-many-fields", s), "");
  EXPECT_EQ(s.logged_fields.size(), 16u);
  EXPECT_HAS(s.logged.front().second, "20 fields, at most 16 are kept");
}

TEST(extension_log, null_fields_with_a_count_break_the_contract_and_keep_the_line) {
  fake_services s;
  EXPECT_HAS(failure("log-null-fields", s), "fields is null with a count");
  ASSERT_EQ(s.logged.size(), 1u);
  EXPECT_EQ(s.logged.front().second, "kept");
}

TEST(extension_metrics, counters_add_up_and_gauges_hold_the_last) {
  fake_services s;
  EXPECT_EQ(good("metrics-good", s), "");
  EXPECT_EQ(s.metrics, (std::map<std::string, double>{{"guests_total", 2.5}, {"age_seconds", -5}}));
}

TEST(extension_metrics, rules_are_checked_before_anybody_counts) {
  struct {
    char const *id, *words;
  } const all[] = {{"metrics-bad-name", "set(): the metric \"Guests\" has a name that is not [a-z][a-z0-9_]*"},
                   {"metrics-no-name", "set(): name is empty"},
                   {"metrics-nan", "\"guests\" got a value that is no finite number"},
                   {"metrics-infinite", "\"guests_total\" got a value that is no finite number"},
                   {"metrics-negative", "\"guests_total\" is a counter and got a negative amount"},
                   {"metrics-no-total", "\"guests\" is a counter, whose name must end in _total"},
                   {"metrics-late", "set() was called outside collect()"}};
  for (auto const& one : all) {
    fake_services s;
    EXPECT_HAS(failure(one.id, s), one.words);
    EXPECT_TRUE(s.metrics.empty()) << one.id;
  }
}

TEST(extension_metrics, may_be_given_from_any_thread) {
  fake_services s;
  EXPECT_EQ(good("metrics-threads", s), "");
  EXPECT_EQ(s.metrics.at("rounds_total"), 2000);
}

// Services that refuse everything, as a full or broken store does.
struct refusing : fake_services {
  base::error why;
  base::result<void> metric(metric_kind, std::string_view, double) override { return why; }
  base::result<std::optional<std::string>> state_get(std::string_view) override { return why; }
  base::result<void> state_put(std::string_view, std::optional<std::string_view>) override { return why; }
  base::result<std::string> scope() override { return why; }
};

TEST(extension_metrics, what_is_refused_gives_its_reason) {
  refusing s;
  s.why = base::fail(error_code::data, "\"guests\" is a counter already");
  auto const text = failure("metrics-refused", s);
  EXPECT_HAS(text, "WEIR_E_INVALID");
  EXPECT_HAS(text, "set(): \"guests\" is a counter already");
}

TEST(extension_state, is_read_put_and_erased) {
  fake_services s;
  s.state = {{"old", "x"}};
  EXPECT_EQ(good("state-counts", s), "");
  EXPECT_EQ(s.state, (std::map<std::string, std::string>{{"old", "x"}, {"cursor", "1"}}));
  EXPECT_EQ(good("state-counts", s), "");
  EXPECT_EQ(s.state, (std::map<std::string, std::string>{{"cursor", "2"}, {"raw bytes", std::string("\0\1\xFF", 3)}}));
}

TEST(extension_state, a_value_is_a_reply_to_be_given_back) {
  fake_services s;
  s.state = {{"cursor", "1"}};
  EXPECT_EQ(good("state-leaks", s), "");
  ASSERT_EQ(s.logged.size(), 1u);
  EXPECT_HAS(s.logged.front().second, "did not give back 1 of its replies");
  EXPECT_HAS(s.logged.front().second, "get(\"cursor\") of weir.state/1");
}

TEST(extension_state, limits_are_checked_before_anything_is_kept) {
  struct {
    char const *id, *words;
  } const all[] = {{"state-null-out", "get(): out is null"},
                   {"state-empty-key", "put() of weir.state/1: the key is not 1 to 128 bytes of printable ASCII"},
                   {"state-odd-key", "put() of weir.state/1: the key is not"},
                   {"state-long-key", "erase() of weir.state/1: the key is not"},
                   {"state-long-value", "the value of \"k\" is longer than 64 KiB"},
                   {"state-null-value", "the value of \"k\" is a null pointer with a length"},
                   {"state-thread", "put() was called on another thread than the stage's"},
                   {"state-late", "put() was called outside collect()"}};
  for (auto const& one : all) {
    fake_services s;
    EXPECT_HAS(failure(one.id, s), one.words);
    EXPECT_TRUE(s.state.empty()) << one.id;
  }
  fake_services s;
  EXPECT_EQ(good("state-longest-key", s), "");
  EXPECT_EQ(good("state-longest-value", s), "");
  EXPECT_EQ(s.state.size(), 2u);
}

TEST(extension_state, a_store_that_fails_is_no_fault_of_the_arguments) {
  refusing s;
  s.why = base::fail("the journal cannot be read: disk I/O error");
  for (auto const* id : {"state-passes-on", "state-put-passes-on"}) {
    auto const text = failure(id, s);
    EXPECT_HAS(text, "WEIR_E_FAILED");
    EXPECT_HAS(text, "disk I/O error");
  }
  s.why = base::fail(error_code::data, "more than 1000 keys");
  EXPECT_HAS(failure("state-put-passes-on", s), "WEIR_E_INVALID");
  s.why = base::fail(error_code::interrupted, "stopping");
  failure("state-passes-on", s, error_code::interrupted);
}

TEST(extension_scope, is_handed_out_as_it_is) {
  fake_services s;
  s.scope_text = R"({"include":{"nodes":["pve1"]}})";
  EXPECT_EQ(good("scope-is-logged", s), "");
  ASSERT_EQ(s.logged.size(), 1u);
  EXPECT_EQ(s.logged.front().second, s.scope_text);
}

TEST(extension_scope, rules_are_checked) {
  fake_services s;
  EXPECT_HAS(failure("scope-null-out", s), "get(): out is null");
  EXPECT_HAS(failure("scope-late", s), "get() was called outside collect()");
}

// Not to be taken for everything.
TEST(extension_scope, one_that_is_not_known_fails) {
  refusing s;
  s.why = base::fail("there is no telling");
  auto const text = failure("scope-passes-on", s);
  EXPECT_HAS(text, "WEIR_E_FAILED");
  EXPECT_HAS(text, "there is no telling");
}

}  // namespace
}  // namespace weir::plugin
