#include "core/config/profiles.hpp"

#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;
using std::chrono::milliseconds;

load_outcome read(folder const& here, std::string const& rest, std::map<std::string, std::string> const& extra = {}) {
  auto options = options_for(here.write("weir.yaml", with(rest)));
  options.environment.insert(extra.begin(), extra.end());
  return load(options);
}

TEST(profiles, shipped_ones_hold_what_the_design_promises) {
  std::vector<diagnostic> errors;
  auto const found = list_profiles({shipped_profiles}, errors);
  ASSERT_TRUE(errors.empty()) << render(errors[0]);
  struct {
    std::string name;
    std::size_t size;
    milliseconds delay;
    std::size_t objects, in_flight;
    double per_second;
    std::string description;
  } const table[] = {
      {"aggressive", 10, milliseconds(50), 100, 4, 50, "dedicated NetBox, 50 or more connections, few users"},
      {"conservative", 5, milliseconds(200), 50, 1, 10, "standard NetBox, shared database, several users"},
      {"ultra-conservative", 3, milliseconds(500), 10, 1, 2,
       "frequent \"database unavailable\", an overloaded or shared database"},
  };
  ASSERT_EQ(found.size(), std::size(table));
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].name, table[i].name);
    EXPECT_EQ(found[i].file, shipped_profiles / (table[i].name + ".yaml"));
    EXPECT_EQ(found[i].description, table[i].description);
    EXPECT_EQ(found[i].batch_size, table[i].size);
    EXPECT_EQ(found[i].batch_delay, table[i].delay);
    EXPECT_EQ(found[i].objects_per_request, table[i].objects);
    EXPECT_EQ(found[i].max_in_flight, table[i].in_flight);
    EXPECT_EQ(found[i].requests_per_second, table[i].per_second);
    EXPECT_TRUE(found[i].overrides.empty());
  }
}

TEST(profiles, the_command_line_wins_over_the_file) {
  folder const here;
  auto options = options_for(here.write("weir.yaml", with("profile: no-such\n")));
  options.profile = "aggressive";
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->profile.name, "aggressive");
  options.profile = "agressive";
  auto const text = everything(load(options));
  EXPECT_NE(text.find("unknown profile 'agressive'\n  --> --profile\n   = did you mean 'aggressive'?"), text.npos)
      << text;
}

TEST(profiles, of_the_user_extend_others) {
  folder const here;
  here.write("mine.yaml",
             "extends: conservative\nbatch: {size: 4}\nrequests_per_second: 2.5\ntimeouts: {request_s: 60}\n");
  here.write("sub/lower.yaml",
             "description: lower\nextends: ../mine.yaml\nbatch: {delay_ms: 900}\nretry: {max_attempts: 2}\n");
  auto const outcome = read(here, "profile: sub/lower.yaml\n");
  ASSERT_TRUE(outcome.value) << everything(outcome);
  auto const& p = outcome.value->profile;
  EXPECT_EQ(p.name, "lower");
  EXPECT_EQ(p.file, here.path() / "sub/lower.yaml");
  EXPECT_EQ(p.description, "lower");
  EXPECT_EQ(p.batch_size, 4u);
  EXPECT_EQ(p.batch_delay, milliseconds(900));
  EXPECT_EQ(p.objects_per_request, 50u);
  EXPECT_EQ(p.requests_per_second, 2.5);
  EXPECT_EQ(p.max_attempts, 2u);
  EXPECT_EQ(p.request_timeout, milliseconds(60'000));
  EXPECT_EQ(p.connect_timeout, milliseconds(10'000));
}

TEST(profiles, are_found_by_name_in_every_folder_of_the_path_the_first_wins) {
  folder const here;
  here.write("weir.yaml", with("profile: conservative\n"));
  here.write("own/conservative.yaml", "batch: {size: 1}\n");
  auto options = options_for(here.path() / "weir.yaml");
  options.profile_path = {here.path() / "missing", here.path() / "own", shipped_profiles};
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->profile.batch_size, 1u);
  std::vector<diagnostic> errors;
  auto const listed = list_profiles(options.profile_path, errors);
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[1].batch_size, 1u);
}

TEST(profiles, that_extend_themselves_are_refused) {
  folder const here;
  here.write("a.yaml", "extends: ./b.yaml\n");
  here.write("b.yaml", "description: x\nextends: ./a.yaml\n");
  auto const text = everything(read(here, "profile: ./a.yaml\n"));
  EXPECT_NE(text.find("the profile extends itself: "), text.npos) << text;
  EXPECT_NE(text.find("b.yaml:2:10"), text.npos) << text;
  here.write("conservative.yaml", "extends: conservative\n");
  auto options = options_for(here.path() / "weir.yaml");
  options.profile_path = {here.path()};
  options.profile = "conservative";
  EXPECT_NE(everything(load(options)).find("conservative.yaml:1:10"), std::string::npos);
}

TEST(profiles, with_faults_say_where) {
  folder const here;
  struct {
    std::string text;
    std::vector<std::string> expected;
  } const table[] = {
      {"batch:\n  size: 500\n", {"batch.size must be between 1 and 100, is 500", "p.yaml:2:9"}},
      {"batch: 5\n", {"batch must be a map of keys, is the number 5", "p.yaml:1:8"}},
      {"batch:\n  sise: 5\n", {"unknown key 'sise' in batch", "p.yaml:2:3", "did you mean 'size'?"}},
      {"batch_size: 5\n", {"unknown key 'batch_size'", "p.yaml:1:1"}},
      {"requests_per_second: 0\n", {"requests_per_second must be between 0.01 and 1000, is 0"}},
      {"requests_per_second: .nan\n", {"requests_per_second must be a number, is the number .nan"}},
      {"requests_per_second: .inf\n", {"must be between 0.01 and 1000, is .inf"}},
      {"retry: {base_ms: 500, cap_ms: 100}\n", {"retry.cap_ms (100) is below retry.base_ms (500)", "p.yaml:1:31"}},
      {"retry: {base_ms: 40000}\n", {"retry.cap_ms (30000) is below retry.base_ms (40000)", "p.yaml:1:18"}},
      {"extends: agressive\n", {"unknown profile 'agressive'", "p.yaml:1:10", "did you mean 'aggressive'?"}},
      {"extends: 5\n", {"extends must be text, is the number 5"}},
      {"extends: /nonexistent.yaml\n", {"cannot read /nonexistent.yaml", "p.yaml:1:10"}},
      {"", {"the file is empty"}},
  };
  for (auto const& row : table) {
    here.write("p.yaml", row.text);
    auto const outcome = read(here, "profile: p.yaml\n");
    auto const text = everything(outcome);
    EXPECT_FALSE(outcome.value) << row.text;
    for (auto const& part : row.expected)
      EXPECT_NE(text.find(part), text.npos) << "missing: " << part << "\nin:\n" << text;
  }
  std::vector<diagnostic> errors;
  here.write("p.yaml", "batch: [\n");
  fs::remove(here.path() / "weir.yaml");
  EXPECT_TRUE(list_profiles({here.path()}, errors).empty());
  EXPECT_EQ(errors.size(), 1u);
}

TEST(environment_overrides, are_honoured_and_recorded) {
  folder const here;
  auto const outcome = read(here, "profile: aggressive\n",
                            {{"PROXBOX_BACKUP_BATCH_SIZE", "5"},
                             {"PROXBOX_BACKUP_BATCH_DELAY_MS", "200"},
                             {"PROXBOX_NETBOX_MAX_CONCURRENT", "1"}});
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_TRUE(outcome.warnings.empty()) << everything(outcome);
  auto const& p = outcome.value->profile;
  EXPECT_EQ(p.batch_size, 5u);
  EXPECT_EQ(p.batch_delay, milliseconds(200));
  EXPECT_EQ(p.max_in_flight, 1u);
  EXPECT_EQ(p.objects_per_request, 100u);
  EXPECT_EQ(p.overrides, (std::vector<std::string>{"batch.size 5 (PROXBOX_BACKUP_BATCH_SIZE)",
                                                   "batch.delay_ms 200 (PROXBOX_BACKUP_BATCH_DELAY_MS)",
                                                   "max_in_flight 1 (PROXBOX_NETBOX_MAX_CONCURRENT)"}));
}

TEST(environment_overrides, beyond_the_profile_warn) {
  folder const here;
  auto const outcome = read(here, "",
                            {{"PROXBOX_BACKUP_BATCH_SIZE", "20"},
                             {"PROXBOX_BACKUP_BATCH_DELAY_MS", "0"},
                             {"PROXBOX_NETBOX_MAX_CONCURRENT", "8"}});
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->profile.batch_size, 20u);
  EXPECT_EQ(outcome.value->profile.batch_delay, milliseconds(0));
  EXPECT_EQ(outcome.value->profile.max_in_flight, 8u);
  auto const text = everything(outcome);
  EXPECT_NE(
      text.find("warning: PROXBOX_BACKUP_BATCH_SIZE sets batch.size to 20, beyond the 5 of the profile conservative"),
      text.npos)
      << text;
  EXPECT_NE(text.find("warning: PROXBOX_BACKUP_BATCH_DELAY_MS sets batch.delay_ms to 0, beyond the 200"), text.npos)
      << text;
  EXPECT_NE(text.find("warning: PROXBOX_NETBOX_MAX_CONCURRENT sets max_in_flight to 8, beyond the 1"), text.npos)
      << text;
}

TEST(environment_overrides, that_are_no_numbers_are_errors) {
  folder const here;
  for (auto const* value : {"many", "0", "-1", "1.5", "101", "99999999999999999999"}) {
    auto const outcome = read(here, "", {{"PROXBOX_BACKUP_BATCH_SIZE", value}});
    EXPECT_FALSE(outcome.value) << value;
    auto const text = everything(outcome);
    EXPECT_NE(text.find("error: batch.size must be "), text.npos) << text;
    EXPECT_NE(text.find("--> environment\n   |\n   | PROXBOX_BACKUP_BATCH_SIZE=" + std::string(value) + "\n"),
              text.npos)
        << text;
  }
  EXPECT_TRUE(read(here, "", {{"PROXBOX_BACKUP_BATCH_SIZE", ""}}).value);
}

}  // namespace
