// Loading: what is taken, what is refused, and in which words.
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "core/plugin/order.hpp"
#include "helpers.hpp"
#include "weir/abi.h"

namespace weir::plugin {
namespace {

using names = std::vector<std::string>;

// The one problem of a folder in which there is but this plugin; the stages that are left go to `left`.
base::error only_problem(std::string const& plugin, names const& left = {}) {
  folder const f;
  f.add(plugin);
  auto const report = load({f.path()});
  EXPECT_EQ(ids(report.stages), left);
  EXPECT_EQ(report.problems.size(), 1u) << plugin;
  if (report.problems.size() != 1) return {};
  auto const& problem = report.problems.front();
  EXPECT_EQ(problem.code, base::error_code::config);
  EXPECT_HAS(problem.what, (f.path() / (plugin + ".so")).string());
  return problem;
}

TEST(load, takes_a_plugin_in_c11) {
  folder const f;
  auto const file = f.add("good");
  auto const report = load({f.path()});
  EXPECT_TRUE(report.problems.empty()) << report.problems.front().what;
  ASSERT_EQ(report.stages.size(), 1u);
  auto const& s = report.stages.front();
  EXPECT_EQ(s.id, "good");
  EXPECT_EQ(s.version, "1.2.3");
  EXPECT_EQ(s.title, "a good stage");
  EXPECT_EQ(s.needs, names{});
  EXPECT_EQ(s.source_type, "proxmox");
  EXPECT_EQ(s.kinds_json, R"(["extras.tag"])");
  EXPECT_HAS(s.options_schema, "depth");
  EXPECT_EQ(s.plugin_name, "good plugin");
  EXPECT_EQ(s.plugin_version, "4.5.6");
  EXPECT_EQ(s.vendor, "weir's tests");
  EXPECT_EQ(s.file, file);
  EXPECT_STREQ(s.table->id, "good");
}

TEST(load, takes_a_plugin_through_the_wrapper) {
  folder const f;
  f.add("wrapped");
  auto const report = load({f.path()});
  EXPECT_TRUE(report.problems.empty()) << report.problems.front().what;
  EXPECT_EQ(ids(report.stages), names{"wrapped"});
}

TEST(load, takes_structs_that_have_grown) {
  folder const f;
  f.add("longer");
  auto const report = load({f.path()});
  EXPECT_TRUE(report.problems.empty()) << report.problems.front().what;
  ASSERT_EQ(ids(report.stages), names{"longer"});
  EXPECT_GT(report.stages.front().table->h.size, sizeof(weir_stage));
}

TEST(load, sorts_by_dependency) {
  folder const f;
  f.add("dependent");  // "a-dependent" needs "good"
  f.add("good");
  auto const report = load({f.path()});
  EXPECT_TRUE(report.problems.empty()) << report.problems.front().what;
  EXPECT_EQ(ids(report.stages), (names{"good", "a-dependent"}));
}

TEST(load, single_files_and_relative_paths) {
  folder const f;
  auto const file = f.add("good");
  auto const report = load({fs::relative(file)});
  ASSERT_EQ(report.stages.size(), 1u);
  EXPECT_EQ(report.stages.front().file, file);
  EXPECT_TRUE(report.problems.empty());
}

TEST(load, one_file_by_two_names_is_one_plugin) {
  folder const f, links;
  auto const file = f.add("good");
  fs::create_symlink(file, links.path() / "again.so");
  auto const report = load({f.path(), links.path(), file});
  EXPECT_EQ(ids(report.stages), names{"good"});
  EXPECT_TRUE(report.problems.empty()) << report.problems.front().what;
}

TEST(load, a_missing_directory_is_no_problem_a_missing_file_is_one) {
  folder const f;
  auto const report = load({f.path() / "nothing-here", f.path() / "gone.so"});
  EXPECT_TRUE(report.stages.empty());
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, (f.path() / "gone.so").string());
}

TEST(load, looks_at_libraries_only) {
  folder const f;
  std::ofstream(f.path() / "README") << "no plugin";
  auto const report = load({f.path()});
  EXPECT_TRUE(report.stages.empty());
  EXPECT_TRUE(report.problems.empty());
}

TEST(load, one_bad_file_does_not_take_the_others_with_it) {
  folder const f;
  f.add("good");
  f.add("wrong_major");
  f.add("wrapped");
  auto const report = load({f.path()});
  EXPECT_EQ(ids(report.stages), (names{"good", "wrapped"}));
  EXPECT_EQ(report.problems.size(), 1u);
}

TEST(load, refuses_what_others_may_change) {
  for (unsigned const mode : {0775u, 0757u}) {
    folder const f;
    auto const file = f.add("good");
    fs::permissions(file, static_cast<fs::perms>(mode));
    auto const report = load({f.path()});
    EXPECT_TRUE(report.stages.empty());
    ASSERT_EQ(report.problems.size(), 1u);
    EXPECT_HAS(report.problems.front().hint, "chmod go-w " + file.string());
    EXPECT_HAS(report.problems.front().what, mode == 0775u ? "0775" : "0757");
  }
}

TEST(load, looks_at_the_file_behind_a_link) {
  folder const f, links;
  auto const file = f.add("good");
  fs::permissions(file, static_cast<fs::perms>(0777));
  fs::create_symlink(file, links.path() / "innocent.so");
  auto const report = load({links.path()});
  EXPECT_TRUE(report.stages.empty());
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, file.string());
}

TEST(load, refuses_a_directory_where_anybody_can_replace_the_file) {
  folder const f;
  f.add("good");
  fs::permissions(f.path(), static_cast<fs::perms>(0777));
  auto const open = load({f.path()});
  EXPECT_TRUE(open.stages.empty());
  ASSERT_EQ(open.problems.size(), 1u);
  EXPECT_HAS(open.problems.front().hint, "chmod go-w " + f.path().string());

  fs::permissions(f.path(), static_cast<fs::perms>(01777));  // as /tmp: only the owner can replace it
  auto const sticky = load({f.path()});
  EXPECT_EQ(ids(sticky.stages), names{"good"});
}

// --- no shared library ---------------------------------------------------------------------------------------------

base::error problem_with(std::string const& content) {
  folder const f;
  auto const file = f.path() / "x.so";
  std::ofstream(file, std::ios::binary) << content;
  fs::permissions(file, static_cast<fs::perms>(0644));
  auto const report = load({file});
  EXPECT_TRUE(report.stages.empty());
  EXPECT_EQ(report.problems.size(), 1u);
  if (report.problems.size() != 1) return {};
  EXPECT_HAS(report.problems.front().what, file.string());
  return report.problems.front();
}

TEST(load, refuses_what_is_no_shared_library) {
  EXPECT_HAS(problem_with("").what, "is no shared library: the file is empty");
  EXPECT_HAS(problem_with("INPUT(libreal.so.1)\n").what, "is no shared library: it does not begin like an ELF file");
  EXPECT_HAS(problem_with("\x7f"
                          "E")
                 .what,
             "is no shared library");
  EXPECT_HAS(problem_with("\x7f"
                          "ELF\2\1\1")
                 .what,
             "is no shared library: the file is cut off");
}

// The sound plugin with its head changed.
base::error with_head(std::function<void(Elf64_Ehdr&)> const& change) {
  std::ifstream in(fs::path(LOADER_PLUGINS) / "good.so", std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(in)), {});
  Elf64_Ehdr head{};
  content.copy(reinterpret_cast<char*>(&head), sizeof head);
  change(head);
  content.replace(0, sizeof head, reinterpret_cast<char const*>(&head), sizeof head);
  return problem_with(content);
}

TEST(load, refuses_libraries_for_other_machines) {
  auto const machine = with_head([](Elf64_Ehdr& h) { h.e_machine = h.e_machine == EM_RISCV ? EM_S390 : EM_RISCV; });
  EXPECT_HAS(machine.what, "is built for");
  EXPECT_HAS(machine.what, ", this weir for ");
  auto const narrow = with_head([](Elf64_Ehdr& h) { h.e_ident[EI_CLASS] = ELFCLASS32; });
  EXPECT_HAS(narrow.what, "is built for");
  auto const object = with_head([](Elf64_Ehdr& h) { h.e_type = ET_REL; });
  EXPECT_HAS(object.what, "is no shared library");
}

TEST(load, refuses_a_library_that_is_cut_off) {
  std::ifstream in(fs::path(LOADER_PLUGINS) / "good.so", std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(in)), {});
  content.resize(200);
  EXPECT_HAS(problem_with(content).what, "can't be loaded");
}

TEST(load, refuses_other_than_regular_files) {
  folder const f;
  auto const pipe = f.path() / "pipe.so";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  fs::create_directory(f.path() / "folder.so");
  auto const report = load({f.path()});
  EXPECT_EQ(report.problems.size(), 2u);
  for (auto const& p : report.problems) EXPECT_HAS(p.what, "is no regular file");
}

TEST(load, shows_what_dlopen_said) {
  auto const problem = only_problem("undefined");
  EXPECT_HAS(problem.what, "undefined symbol: symbol_that_nobody_has");
  EXPECT_FALSE(has(problem.what, "boost"));
}

// --- the plugin's table --------------------------------------------------------------------------------------------

TEST(load, says_what_a_plugin_must_export) {
  auto const problem = only_problem("no_symbol");
  EXPECT_HAS(problem.what, "does not export the symbol weir_plugin_v1");
  EXPECT_HAS(problem.hint, "weir/abi.h");
}

TEST(load, names_both_sides_of_a_version_mismatch) {
  EXPECT_HAS(only_problem("wrong_major").what, "is built for weir plugin ABI 2.0, this weir speaks 1.0");
  auto const newer = only_problem("newer_minor");
  EXPECT_HAS(newer.what, "needs at least weir plugin ABI 1.9, this weir speaks 1.0");
  EXPECT_HAS(newer.hint, "WEIR_TARGET_MINOR");
}

TEST(load, refuses_structs_that_are_too_short) {
  EXPECT_HAS(only_problem("short_plugin").what, "its struct has 24 bytes");
  EXPECT_HAS(only_problem("short_stage", {"sound"}).what, "stage number 1 is too short: its struct has 40 bytes");
}

TEST(load, refuses_null_members) {
  EXPECT_HAS(only_problem("null_name").what, "null pointer for its name");
  EXPECT_HAS(only_problem("null_list").what, "null pointer for its list of stages");
  EXPECT_HAS(only_problem("null_id").what, "null pointer for its id");
  EXPECT_HAS(only_problem("null_title").what, "null pointer for its title");
  EXPECT_HAS(only_problem("null_collect").what, "null pointer for collect()");
}

TEST(load, refuses_counts_that_cannot_be) {
  EXPECT_HAS(only_problem("no_stages").what, "says that it has 0 stages");
  EXPECT_HAS(only_problem("many_stages").what, "4000000000 stages");
}

TEST(load, a_bad_stage_costs_this_stage_only) {
  EXPECT_HAS(only_problem("bad_id", {"sound"}).what, "\"Upper Case\"");
  EXPECT_HAS(only_problem("bad_kinds", {"sound"}).what, "stage \"broken\": kinds_json is not JSON");
  folder const f;
  f.add("null_stage");
  auto const report = load({f.path()});
  EXPECT_EQ(ids(report.stages), (names{"broken", "sound"}));
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, "stage number 3 is null");
}

TEST(load, refuses_bad_text_and_bad_json) {
  EXPECT_HAS(only_problem("bad_title").what, "its title is not UTF-8");
  EXPECT_HAS(only_problem("bad_needs").what, "needs \"a,b\"");
  EXPECT_HAS(only_problem("kinds_object").what, "kinds_json is no JSON array");
  EXPECT_HAS(only_problem("kinds_number").what, "not 7");
  EXPECT_HAS(only_problem("bad_schema").what, "options_schema is not JSON");
  EXPECT_HAS(only_problem("odd_schema").what, "options_schema is no JSON Schema");
  EXPECT_HAS(only_problem("far_schema").what, "options_schema is no JSON Schema");
}

TEST(load, the_first_of_two_stages_with_one_id_is_kept) {
  folder const f;
  auto const first = f.add("good");
  auto const second = f.add("twin");
  auto const report = load({f.path()});
  ASSERT_EQ(ids(report.stages), names{"good"});
  EXPECT_EQ(report.stages.front().file, first);
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, "stage \"good\" (" + second.string() + ")");
  EXPECT_HAS(report.problems.front().what, "(" + first.string() + "), which is kept");
}

TEST(load, a_circle_is_named_in_full_and_leaves_the_rest) {
  folder const f;
  for (auto const* name : {"cycle_a", "cycle_b", "cycle_c", "good"}) f.add(name);
  auto const report = load({f.path()});
  EXPECT_EQ(ids(report.stages), names{"good"});
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, "aa needs cc needs bb needs aa");
  EXPECT_HAS(report.problems.front().what, (f.path() / "cycle_b.so").string());
}

TEST(load, a_missing_dependency_is_named) {
  folder const f;
  f.add("good");
  f.add("lonely");
  auto const report = load({f.path()});
  EXPECT_EQ(ids(report.stages), names{"good"});
  ASSERT_EQ(report.problems.size(), 1u);
  EXPECT_HAS(report.problems.front().what, "stage \"lonely\"");
  EXPECT_HAS(report.problems.front().what, "needs the stage \"goood\", which is not loaded");
  EXPECT_HAS(report.problems.front().hint, "did it mean \"good\"?");
}

// --- order ---------------------------------------------------------------------------------------------------------

loaded_stage stage(std::string id, names needs = {}) {
  loaded_stage s;
  s.id = std::move(id);
  s.needs = std::move(needs);
  return s;
}

TEST(in_order, by_dependency_then_by_id) {
  auto const sorted = in_order({stage("z"), stage("m", {"z"}), stage("a", {"m", "z"}), stage("b")});
  ASSERT_TRUE(sorted);
  EXPECT_EQ(ids(*sorted), (names{"b", "z", "m", "a"}));
  auto const shuffled = in_order({stage("b"), stage("a", {"m", "z"}), stage("m", {"z"}), stage("z")});
  ASSERT_TRUE(shuffled);
  EXPECT_EQ(ids(*shuffled), ids(*sorted));
  EXPECT_TRUE(in_order({})->empty());
}

TEST(in_order, errors_name_the_circle_or_what_is_missing) {
  auto const circle = in_order({stage("a", {"b"}), stage("b", {"a"}), stage("c", {"a"})});
  ASSERT_FALSE(circle);
  EXPECT_HAS(circle.error().what, "a needs b needs a");
  auto const self = in_order({stage("a", {"a"})});
  ASSERT_FALSE(self);
  EXPECT_HAS(self.error().what, "a needs a");
  // The way into the circle is no part of it.
  auto const behind = in_order({stage("a", {"b"}), stage("b", {"c"}), stage("c", {"b"})});
  ASSERT_FALSE(behind);
  EXPECT_HAS(behind.error().what, "circle: b needs c needs b");
  auto const missing = in_order({stage("a", {"b"})});
  ASSERT_FALSE(missing);
  EXPECT_HAS(missing.error().what, "needs the stage \"b\", which is not loaded");
}

TEST(in_order, what_needs_a_refused_stage_is_refused_too) {
  auto const report = sort_out(
      {stage("a", {"b"}), stage("b", {"gone"}), stage("c"), stage("d", {"e"}), stage("e", {"d"}), stage("f", {"e"})});
  EXPECT_EQ(ids(report.stages), names{"c"});
  ASSERT_EQ(report.problems.size(), 4u);
  EXPECT_HAS(report.problems[0].what, "stage \"b\" needs the stage \"gone\"");
  EXPECT_HAS(report.problems[1].what, "stage \"a\" needs the stage \"b\", which is not loaded because it lacks");
  EXPECT_HAS(report.problems[2].what, "d needs e needs d");
  EXPECT_HAS(report.problems[3].what, "stage \"f\" needs the stage \"e\"");
}

// What a process with the plugin's code in it tells of the plugin is not believed as it stands.
TEST(check_contents, refuses_what_weir_could_not_use) {
  auto const sound = [] {
    auto s = stage("a", {"b"});
    s.kinds_json = R"(["extras.tag"])";
    return s;
  };
  EXPECT_TRUE(check_contents(sound(), "plugin x.so"));
  auto const refused = [&](auto change) {
    auto s = sound();
    change(s);
    auto const found = check_contents(s, "plugin x.so");
    return found ? std::string("not refused") : found.error().what;
  };
  EXPECT_HAS(refused([](auto& s) { s.id = "A\033[2J"; }), "plugin x.so: a stage has the id");
  EXPECT_HAS(refused([](auto& s) { s.needs = {"b c"}; }), "stage \"a\" needs \"b c\", which is no stage id");
  EXPECT_HAS(refused([](auto& s) { s.title = "\033]0;x"; }), "its title holds a control character");
  EXPECT_HAS(refused([](auto& s) { s.vendor = "a\nb"; }), "its vendor holds a control character");
  EXPECT_HAS(refused([](auto& s) { s.version = "\xff"; }), "its version is not UTF-8");
  EXPECT_HAS(refused([](auto& s) { s.kinds_json = "nonsense"; }), "plugin x.so: stage \"a\": ");
  EXPECT_HAS(refused([](auto& s) { s.options_schema = "{nonsense"; }), "plugin x.so: stage \"a\": ");
}

}  // namespace
}  // namespace weir::plugin
