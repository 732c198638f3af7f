// Running stages: what they may do, what they may not, and what comes of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "core/plugin/utf8.hpp"
#include "fake_services.hpp"
#include "helpers.hpp"

namespace weir::plugin {
namespace {

using base::error_code;

// Loaded once: plugins are never unloaded anyway.
loaded_stage const& stage(std::string const& id) {
  static auto const all = [] {
    folder const f;
    for (auto const* name : {"good", "behaves", "throws", "wrapped"}) f.add(name);
    std::map<std::string, loaded_stage> out;
    for (auto& s : load({f.path()}).stages) out.emplace(s.id, s);
    return out;
  }();
  return all.at(id);
}

base::result<void> run(std::string const& id, fake_services& s, std::string const& options = "{}") {
  return run_stage(stage(id), options, s);
}

std::string failure(std::string const& id, fake_services& s, error_code code = error_code::failed) {
  auto const result = run(id, s);
  EXPECT_FALSE(result) << id;
  if (result) return {};
  EXPECT_EQ(result.error().code, code) << result.error().what;
  EXPECT_HAS(result.error().what, "stage \"" + id + "\"");
  return result.error().text();
}

std::string failure(std::string const& id, error_code code = error_code::failed) {
  fake_services s;
  return failure(id, s, code);
}

bool destroyed(fake_services const& s) {
  return std::any_of(s.logged.begin(), s.logged.end(), [](auto const& l) { return l.second == "destroyed"; });
}

TEST(host, runs_a_stage_in_c11) {
  fake_services s;
  auto const result = run("good", s, R"({"depth":3})");
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(s.last_emit, R"(extras.tag {"slug":"one"} {"name":"One"})");
  EXPECT_EQ(s.completed, std::vector<std::string>{"extras.tag {}"});
  EXPECT_EQ(s.last_progress.note, "done");
  ASSERT_EQ(s.logged.size(), 1u);
  EXPECT_EQ(s.logged.front(), std::pair(base::log::level::info, std::string(R"({"depth":3})")));
}

TEST(host, runs_a_stage_through_the_wrapper) {
  fake_services s;
  auto const result = run("wrapped", s);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(s.last_emit, R"(extras.tag {"slug":"w"} {"name":"2"})");
  auto const failed = run("wrapped", s, R"({"fail":true})");
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, error_code::credentials);
  EXPECT_HAS(failed.error().what, "the token lacks Sys.Audit");
}

TEST(host, takes_200_000_objects) {
  fake_services s;
  auto const result = run("emits-200k", s);
  ASSERT_TRUE(result) << result.error().what;
  EXPECT_EQ(s.emitted, 200000u);
  EXPECT_EQ(s.bytes, 200000u * (10 + 12 + 34)) << s.last_emit;
  EXPECT_EQ(s.completed.size(), 1u);
}

// --- ends ----------------------------------------------------------------------------------------------------------

TEST(host, passes_on_what_the_stage_said) {
  fake_services s;
  auto const result = run("says-why", s);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what, "stage \"says-why\": there is no pool \"a\"");
  EXPECT_EQ(result.error().hint, "create it");
  EXPECT_TRUE(destroyed(s));
}

TEST(host, names_a_status_it_does_not_know) { EXPECT_HAS(failure("returns-42"), "collect() returned 42, a status"); }

TEST(host, says_that_a_stage_did_not_say_why) {
  EXPECT_HAS(failure("silent"), "collect() returned WEIR_E_FAILED without a reason (it never called fail())");
}

TEST(host, adds_the_last_call_that_failed) {
  EXPECT_HAS(failure("denied", error_code::credentials), "GET /denied: 403, the token lacks Sys.Audit");
  EXPECT_HAS(failure("unanswered", error_code::unreachable), "GET /gone: connection refused");
}

TEST(host, fail_without_an_error_status_is_no_failure) {
  fake_services s;
  EXPECT_TRUE(run("says-but-succeeds", s));
}

TEST(host, a_cancelled_stage_is_interrupted) {
  fake_services s;
  s.stop = true;
  failure("cancels", s, error_code::interrupted);
  EXPECT_TRUE(destroyed(s));
}

TEST(host, a_call_cut_by_the_cancel_is_cancelled_too) {
  fake_services s;
  s.stop = true;
  failure("unanswered", s, error_code::interrupted);
}

TEST(host, collect_and_destroy_need_a_create_that_worked) {
  fake_services s;
  auto const text = failure("create-refuses", s);
  EXPECT_HAS(text, "the directory is not there");
  EXPECT_HAS(text, "hint: make one");
  EXPECT_TRUE(s.notices.empty());
  EXPECT_FALSE(destroyed(s));
}

TEST(host, a_stage_that_was_not_loaded_cannot_run) {
  fake_services s;
  EXPECT_FALSE(run_stage({}, "{}", s));
}

// --- exceptions ----------------------------------------------------------------------------------------------------

TEST(host, exceptions_of_the_plugin_cost_its_stage_only) {
  EXPECT_HAS(failure("create-throws"), "threw an exception across the plugin boundary in create(): no memory of it");
  fake_services s;
  EXPECT_HAS(failure("collect-throws", s), "across the plugin boundary in collect(): the third node");
  EXPECT_TRUE(destroyed(s));
  EXPECT_HAS(failure("collect-throws-int"), "across the plugin boundary in collect(): not a std::exception");
  EXPECT_HAS(failure("destroy-throws"), "across the plugin boundary in destroy(): still in use");
  EXPECT_HAS(failure("callback-throws"), "callback threw an exception across the plugin boundary");
}

TEST(host, exceptions_of_the_host_stay_out_of_the_plugin) {
  fake_services s;
  s.emit_throws = true;
  EXPECT_HAS(failure("ignores-what-emit-said", s), "weir itself failed in emit(): the sink is full");
  EXPECT_TRUE(destroyed(s));
}

// --- misuse --------------------------------------------------------------------------------------------------------

TEST(host, a_second_release_is_misuse) {
  EXPECT_HAS(failure("double-release"), "release(): the reply to GET /ok was given back twice");
}

TEST(host, replies_that_never_come_back_are_freed_and_named) {
  fake_services s;
  EXPECT_TRUE(run("leaks", s));
  ASSERT_EQ(s.logged.size(), 2u);
  EXPECT_EQ(s.logged.back().first, base::log::level::warning);
  EXPECT_HAS(s.logged.back().second, "did not give back 7 of its replies");
  EXPECT_HAS(s.logged.back().second, "GET /ok");
  EXPECT_HAS(s.logged.back().second, "and 2 more");
}

TEST(host, ill_formed_arguments_make_success_untrue) {
  EXPECT_HAS(failure("bad-utf8"), "emit(): fields_json is not UTF-8");
  EXPECT_HAS(failure("null-text"), "emit(): key_json is a null pointer with a length");
  EXPECT_HAS(failure("empty-kind"), "emit(): kind is empty");
  EXPECT_HAS(failure("null-out"), "fetch(): out is null");
  EXPECT_HAS(failure("many-ill-formed"), "fetch_many(): targets is null");
  EXPECT_HAS(failure("bad-method"), "write(): method is \"BREW\"");
}

TEST(host, a_target_cannot_forge_a_request) {
  EXPECT_HAS(failure("forges"), "fetch(): target \"/a HTTP/1.1  X: y\" holds a blank or a control character");
}

TEST(host, words_for_people_are_repaired) {
  fake_services s;
  EXPECT_TRUE(run("bad-words", s));
  ASSERT_FALSE(s.logged.empty());
  EXPECT_EQ(s.logged.front(), std::pair(base::log::level::error, std::string("caf\xEF\xBF\xBD")));
  ASSERT_EQ(s.notices.size(), 1u);
  EXPECT_EQ(s.notices.front(), std::pair(base::log::level::trace, std::string("caf\xEF\xBF\xBD")));
}

TEST(host, stage_functions_belong_to_the_stages_thread) {
  fake_services s;
  EXPECT_HAS(failure("other-thread", s), "complete() was called on another thread than the stage's");
  EXPECT_TRUE(s.completed.empty());
}

TEST(host, other_functions_may_be_called_from_any_thread) {
  fake_services s;
  auto const result = run("emits-from-threads", s);
  EXPECT_TRUE(result) << result.error().what;
  EXPECT_EQ(s.emitted, 2000u);
}

TEST(host, a_run_is_over_when_collect_has_returned) {
  fake_services s;
  EXPECT_HAS(failure("uses-run-late", s), "emit() was called outside collect()");
  EXPECT_EQ(s.emitted, 0u);
}

TEST(host, a_refused_object_gives_its_reason) {
  fake_services s;
  s.refuse_emit = base::fail("the kind extras.tag has the key [slug], not [slag]", "see weir kinds");
  auto const text = failure("returns-what-emit-said", s);
  EXPECT_HAS(text, "WEIR_E_INVALID");
  EXPECT_HAS(text, "has the key [slug], not [slag]");
  EXPECT_HAS(text, "hint: see weir kinds");
  // Whether a refused object spoils the run is for the stage, and for whoever refused it, to say.
  EXPECT_TRUE(run("ignores-what-emit-said", s));
  s.refuse_emit = base::fail(error_code::interrupted, "stopping");
  failure("returns-what-emit-said", s, error_code::interrupted);
}

// --- extension -----------------------------------------------------------------------------------------------------

TEST(host, offers_the_netbox_client_and_nothing_unknown) {
  for (bool const plan : {false, true}) {
    fake_services s;
    s.plan = plan;
    auto const result = run("extension", s);
    EXPECT_TRUE(result) << result.error().what;
    EXPECT_EQ(s.netbox, (std::vector<std::string>{"GET /dcim/sites/?name=x", R"(PATCH /dcim/sites/1/ {"name":"y"})"}));
  }
}

// --- fetch_many ----------------------------------------------------------------------------------------------------

TEST(fetch_many, delivers_each_answer_once_on_the_stages_thread) {
  for (auto const mode : {fake_services::answers::at_once, fake_services::answers::elsewhere}) {
    fake_services s;
    s.mode = mode;
    auto const result = run("many", s);
    ASSERT_TRUE(result) << result.error().what;
    EXPECT_EQ(s.asked, 300u);
    EXPECT_EQ(s.last_progress.done, 270u);
    EXPECT_EQ(s.last_progress.total, 30u);  // every tenth target answers 500
  }
}

TEST(fetch_many, stops_when_the_callback_says_so) {
  fake_services s;
  s.hold_after = 3;
  auto const result = run("many-stop", s);
  EXPECT_TRUE(result) << result.error().what;
  EXPECT_LT(s.asked, 300u);
  ASSERT_FALSE(s.held.empty());
  // Answers that come after the stage is gone must hit nothing.
  for (auto& [target, done] : s.held) done(fake_services::answer(target));
}

TEST(fetch_many, has_a_bound_on_what_is_outstanding_and_ends_when_cancelled) {
  fake_services s;
  s.mode = fake_services::answers::held;
  s.on_held = [&] {
    if (s.held.size() == 64) s.stop = true;
  };
  failure("many-passes-on", s, error_code::interrupted);
  EXPECT_EQ(s.held.size(), 64u);
  for (auto& [target, done] : s.held) done(fake_services::answer(target));
}

TEST(fetch_many, may_not_be_called_by_its_own_callback) {
  EXPECT_HAS(failure("many-nested"),
             "says that all went well, but it did not: fetch_many() was called by its own callback");
}

TEST(fetch_many, is_cancelled_from_outside_while_it_waits) {
  fake_services s;
  s.mode = fake_services::answers::held;
  std::thread other;
  s.on_held = [&] {
    if (s.held.size() == 64) other = std::thread([&] { s.stop = true; });
  };
  failure("many-passes-on", s, error_code::interrupted);
  other.join();
}

// --- UTF-8 ---------------------------------------------------------------------------------------------------------

TEST(utf8, well_formed) {
  for (std::string_view const good : {"", "plain text of more than eight bytes", "\xC3\xA4", "12345678\xE2\x82\xAC",
                                      "\xF0\x9F\x98\x80", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF", "\xE0\xA0\x80"})
    EXPECT_TRUE(valid_utf8(good)) << good;
  EXPECT_TRUE(valid_utf8(std::string_view("\0", 1)));
}

TEST(utf8, ill_formed) {
  for (std::string_view const bad :
       {"\xE4", "\x80", "\xC0\xAF", "\xC1\x81", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xFF", "12345678\xC3", "\xE2\x82", "\xF0\x9F\x98", "\xC3(", "\xE2\x28\xA1"})
    EXPECT_FALSE(valid_utf8(bad)) << bad;
}

TEST(utf8, repaired) {
  EXPECT_EQ(repair_utf8("a\xE4 b\xC3\xA4"), "a\xEF\xBF\xBD b\xC3\xA4");
  EXPECT_EQ(repair_utf8("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_TRUE(valid_utf8(repair_utf8("\xF0\x9F\xED\xA0\x80\xFF")));
}

}  // namespace
}  // namespace weir::plugin
