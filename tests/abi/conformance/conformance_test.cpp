// The conformance check: a sound plugin passes every check, and each way of breaking the contract fails the right one.
// Plugins that take their process with them are tried in a child (tests/abi/isolation, tests/cli).
#include "core/plugin/conformance.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "abi/loader/helpers.hpp"

namespace weir::plugin {
namespace {

using nlohmann::json;

// Copies with a mode of their own; the answers that the test stages read.
class conformance : public testing::Test {
 protected:
  json check_case(std::string const& name, conformance_options options = {}, bool with_answers = true) {
    return check_file(fs::path(CONFORMANCE_PLUGINS) / (name + ".so"), std::move(options), with_answers);
  }
  json check_file(fs::path const& from, conformance_options options = {}, bool with_answers = false) {
    // Each in a place of its own: what is loaded stays mapped.
    auto const to = folder_.path() / std::to_string(count_++) / from.filename();
    fs::create_directory(to.parent_path());
    fs::copy_file(from, to);
    fs::permissions(to, static_cast<fs::perms>(0755));
    if (with_answers) {
      options.answers = folder_.path() / "answers";
      write(options.answers / "things.json", R"({"data":[{"id":"1"},{"id":"2"}]})");
      write(options.answers / "things/1.json", R"({"data":{"name":"one"}})");
      write(options.answers / "things/2.json", R"({"data":{"name":"two"}})");
    }
    return json::parse(check(to, options));
  }
  static void write(fs::path const& file, std::string const& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // "check: status: message" of everything that is not ok or skipped.
  static std::string wrong(json const& report) {
    std::string out;
    for (auto const& c : report.at("checks"))
      if (c.at("status") == "failed" || c.at("status") == "warning")
        out += c.at("check").get<std::string>() + ": " + c.at("status").get<std::string>() + ": " +
               c.at("message").get<std::string>() + "\n";
    return out;
  }
  static std::set<std::string> failed(json const& report) {
    std::set<std::string> out;
    for (auto const& c : report.at("checks"))
      if (c.at("status") == "failed") {
        out.insert(c.at("check").get<std::string>());
        EXPECT_FALSE(c.at("message").get<std::string>().empty()) << c;
        EXPECT_FALSE(c.at("hint").get<std::string>().empty()) << c;
      }
    EXPECT_EQ(report.at("passed").get<bool>(), out.empty()) << report.dump(1);
    return out;
  }
  static json line(json const& report, std::string const& name) {
    for (auto const& c : report.at("checks"))
      if (c.at("check") == name) return c;
    ADD_FAILURE() << "no check " << name << " in " << report.dump(1);
    return json::object();
  }

  folder folder_;
  int count_ = 0;
};

using names = std::set<std::string>;

TEST_F(conformance, a_sound_plugin_passes_everything) {
  auto const report = check_case("good");
  EXPECT_EQ(wrong(report), "");
  EXPECT_EQ(failed(report), names{});
  EXPECT_EQ(report.at("plugin").at("version"), "1.2.3");
  EXPECT_EQ(line(report, "collect").at("message"), "3 requests, 2 objects, 0 scopes complete");
  EXPECT_EQ(line(report, "being stopped at each call").at("message"), "5 of 5 places tried");
  for (auto const& c : report.at("checks")) EXPECT_EQ(c.at("status"), "ok") << c;
  EXPECT_GT(report.at("checks").size(), 20u);
}

TEST_F(conformance, without_answers_what_could_not_be_looked_at_is_said) {
  auto const report = check_case("good", {}, false);
  EXPECT_EQ(failed(report), names{});
  auto const collect = line(report, "collect");
  EXPECT_EQ(collect.at("status"), "warning");
  EXPECT_HAS(collect.at("hint").get<std::string>(), "--answers");
}

TEST_F(conformance, the_shipped_stages_pass) {
  for (char const* name : {"nodes", "virtual-machines", "backups"}) {
    auto const report = check_file(fs::path(STAGES) / (std::string(name) + ".so"));
    EXPECT_EQ(failed(report), names{}) << wrong(report);
    EXPECT_EQ(report.at("checks").at(0).at("status"), "ok") << report.at("checks").at(0);
  }
}

TEST_F(conformance, a_plugin_in_c_passes) {
  auto const report = check_file(fs::path(LOADER_PLUGINS) / "good.so");
  EXPECT_EQ(report.at("plugin").at("name"), "good plugin");
  EXPECT_EQ(line(report, "load").at("status"), "ok");
}

TEST_F(conformance, a_file_that_cannot_be_loaded_fails_with_the_loader_s_words) {
  for (auto const& [name, said] : std::vector<std::pair<std::string, std::string>>{
           {"wrong_major", "ABI 2."}, {"no_symbol", "weir_plugin_v1"}, {"undefined", "can't be loaded"}}) {
    auto const report = check_file(fs::path(LOADER_PLUGINS) / (name + ".so"));
    EXPECT_TRUE(failed(report).contains("load")) << report.dump(1);
    EXPECT_HAS(line(report, "load").at("message").get<std::string>(), said);
    EXPECT_TRUE(report.at("plugin").is_null());
  }
  EXPECT_TRUE(failed(check_file(fs::path(LOADER_PLUGINS) / "no_symbol.so")).contains("exports"));
  write(folder_.path() / "text.so", "no library");
  fs::permissions(folder_.path() / "text.so", static_cast<fs::perms>(0644));
  EXPECT_EQ(failed(json::parse(check(folder_.path() / "text.so", {}))), names{"load"});
  fs::copy_file(fs::path(CONFORMANCE_PLUGINS) / "good.so", folder_.path() / "open.so");
  fs::permissions(folder_.path() / "open.so", static_cast<fs::perms>(0777));
  auto const open = json::parse(check(folder_.path() / "open.so", {}));
  EXPECT_EQ(failed(open), names{"load"});
  EXPECT_HAS(line(open, "load").at("hint").get<std::string>(), "chmod go-w");
  EXPECT_EQ(failed(json::parse(check(folder_.path() / "nowhere.so", {}))), names{"load"});
}

struct expectation {
  char const* plugin;
  names checks;      // that fail, no others
  char const* said;  // in what is wrong
};
class conformance_case : public conformance, public testing::WithParamInterface<expectation> {};

TEST_P(conformance_case, fails_the_check_that_is_about_it) {
  auto const report = check_case(GetParam().plugin);
  EXPECT_EQ(failed(report), GetParam().checks) << wrong(report);
  EXPECT_HAS(wrong(report), GetParam().said);
}

INSTANTIATE_TEST_SUITE_P(
    each, conformance_case,
    testing::Values(expectation{"state_in_globals",
                                {"a second run", "answers in another order", "a plan"},
                                "something else than the first time"},
                    expectation{"swallows_errors",
                                {"source answers 500", "source does not answer", "answers cut short",
                                 "answers are web pages", "empty answers", "one answer missing"},
                                "did not say that anything was wrong"},
                    expectation{"completes_anyway",
                                {"source answers 500", "source does not answer", "answers cut short",
                                 "answers are web pages", "empty answers", "one answer missing"},
                                "complete, though nothing could be read"},
                    expectation{
                        "ignores_cancel", {"being stopped at each call", "being stopped"}, "instead of WEIR_CANCELLED"},
                    expectation{"leaks_reply", {"replies"}, "was never released"},
                    expectation{"releases_twice", {"replies"}, "released twice"},
                    expectation{"other_thread",
                                {"threads", "answers cut short", "answers are web pages", "empty answers"},
                                "called on another thread"},
                    expectation{"undeclared_kind", {"collect", "objects"}, "not in the stage's kinds_json"},
                    expectation{"bad_utf8", {"collect", "text"}, "no valid UTF-8"},
                    expectation{"bad_key", {"collect", "objects"}, "the key of extras.tag wants"},
                    expectation{"index_ignored", {"answers in another order"}, "something else than the first time"},
                    expectation{"silent_error", {"errors"}, "an error status without fail()"},
                    expectation{"throws", {"collect", "errors"}, "an exception left"},
                    expectation{"refuses_create", {"create and destroy"}, "no licence"},
                    expectation{"reserved_option", {"options schema"}, "\"isolation\""},
                    expectation{"open_schema", {}, "a misspelt one passes unnoticed"},
                    expectation{"needs_option", {"options"}, "option a is missing"},
                    expectation{"unknown_kind", {"kinds"}, "acme.thing"},
                    expectation{"locale", {"its process"}, "its locale"},
                    expectation{"leaks_files", {"its process"}, "left open"},
                    expectation{"plan_differs", {"a plan"}, "something else than the first time"}),
    [](auto const& i) { return std::string(i.param.plugin); });

TEST_F(conformance, options_reach_the_stage) {
  conformance_options with;
  with.options_json = R"({"a":1})";
  EXPECT_EQ(failed(check_case("needs_option", with)), names{});
  with.options_json = R"({"b":1})";
  auto const report = check_case("needs_option", with);
  EXPECT_EQ(failed(report), names{"options"});
  EXPECT_HAS(line(report, "options").at("message").get<std::string>(), "unknown option b");
}

}  // namespace
}  // namespace weir::plugin
