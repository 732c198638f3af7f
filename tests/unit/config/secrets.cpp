#include "core/config/secrets.hpp"

#include <sys/stat.h>
#include <thread>

#include "core/config/reader.hpp"
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;
using std::chrono::milliseconds;

variables const plain = {{"PATH", "/usr/bin:/bin"}, {"GREETING", "hello"}};

TEST(secret_file, is_read_and_its_newline_trimmed) {
  folder const here;
  auto const found = secret_from_file(here.write("token", "abc\r\n\n"));
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->reveal(), "abc");
}

TEST(secret_file, must_be_its_owners_alone) {
  folder const here;
  for (auto mode : {0644, 0640, 0604, 0660, 0620, 0610}) {
    auto const file = here.write("token", "abc\n", fs::perms(mode));
    auto const found = secret_from_file(file);
    ASSERT_FALSE(found) << std::oct << mode;
    EXPECT_NE(found.error().what.find("can be read by others than its owner"), std::string::npos);
    EXPECT_EQ(found.error().hint, "chmod 600 " + file.string());
  }
  for (auto mode : {0600, 0400, 0700})
    EXPECT_TRUE(secret_from_file(here.write("ok", "abc", fs::perms(mode)))) << std::oct << mode;
}

TEST(secret_file, refuses_what_is_no_secret) {
  folder const here;
  EXPECT_EQ(secret_from_file(here.write("empty", "\n")).error().what, (here.path() / "empty").string() + " is empty");
  EXPECT_NE(secret_from_file(here.write("lines", "a\nb\n")).error().what.find("holds several lines"),
            std::string::npos);
  EXPECT_NE(secret_from_file(here.write("nul", std::string("a\0b", 3))).error().what.find("control characters"),
            std::string::npos);
  EXPECT_NE(secret_from_file(here.write("large", std::string(70'000, 'x'))).error().what.find("more than 65536 bytes"),
            std::string::npos);
  EXPECT_NE(secret_from_file("/dev/null").error().what.find("is not a regular file"), std::string::npos);
  auto const fifo = here.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_NE(secret_from_file(fifo).error().what.find("is not a regular file"), std::string::npos);  // and does not wait
}

TEST(secret_command, gives_its_standard_output) {
  auto const found = secret_from_command("printf '%s\\n' \"$GREETING\"; echo not this >&2", plain);
  ASSERT_TRUE(found) << found.error().text();
  EXPECT_EQ(found->reveal(), "hello");
}

TEST(secret_command, sees_the_environment_it_is_given_and_an_empty_input) {
  EXPECT_EQ(secret_from_command("cat; echo ${HOME-none}", plain)->reveal(), "none");
}

TEST(secret_command, says_how_it_failed) {
  EXPECT_EQ(secret_from_command("exit 3", plain).error().what, "the command failed with exit code 3");
  EXPECT_EQ(secret_from_command("echo secret; exit 1", plain).error().what, "the command failed with exit code 1");
  EXPECT_EQ(secret_from_command("no-such-program-here 2>/dev/null", plain).error().what,
            "the command failed with exit code 127");
  EXPECT_EQ(secret_from_command("kill -9 $$", plain).error().what, "the command was ended by signal 9");
  EXPECT_EQ(secret_from_command("true", plain).error().what, "the command's output is empty");
  EXPECT_NE(secret_from_command("yes | head -c 200000", plain).error().what.find("printed more than 65536 bytes"),
            std::string::npos);
}

TEST(secret_command, ends_with_everything_it_started_when_it_takes_too_long) {
  folder const here;
  auto const file = here.path() / "pid";
  auto const found =
      secret_from_command("sleep 600 & echo $! > '" + file.string() + "'; wait", plain, milliseconds(500));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().what, "the command did not end within 500ms");
  pid_t child = 0;
  std::ifstream(file) >> child;
  ASSERT_GT(child, 1);
  // SIGKILL was sent; whoever adopts the process may need a moment to reap it. A zombie is as good as gone.
  auto const running = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    auto const end = text.rfind(')');
    return end != text.npos && text.substr(end + 2, 1) != "Z";
  };
  for (int i = 0; i < 500 && running(); ++i) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_FALSE(running());
}

TEST(secret_command, that_closes_its_output_is_still_waited_for_until_the_limit) {
  auto const found = secret_from_command("echo x; exec >&-; sleep 600", plain, milliseconds(200));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().what, "the command did not end within 200ms");
}

TEST(secret_credential, is_a_file_of_systemds) {
  folder const here;
  here.write("netbox", "abc\n", fs::perms(0440));
  variables environment = {{"CREDENTIALS_DIRECTORY", here.path().string()}};
  EXPECT_EQ(secret_from_credential("netbox", environment)->reveal(), "abc");
  EXPECT_NE(secret_from_credential("other", environment).error().what.find("No such file or directory"),
            std::string::npos);
}

TEST(secrets, all_four_forms_work_from_the_configuration) {
  folder const here;
  here.write("token", "from-file\n");
  here.write("credentials/nb", "from-credential\n");
  struct {
    std::string form, expected;
  } const table[] = {{"token_env: NB", "nbt_key.secret"},
                     {"token_file: token", "from-file"},
                     {"token_command: echo from-command", "from-command"},
                     {"token_credential: nb", "from-credential"}};
  for (auto const& row : table) {
    auto options = options_for(here.write(
        "weir.yaml", "netbox:\n  url: https://nb\n  " + row.form +
                         "\nsources:\n  a: {type: proxmox, urls: [https://p], token_id: u@pve!t, " + row.form + "}\n"));
    options.environment["CREDENTIALS_DIRECTORY"] = (here.path() / "credentials").string();
    auto const outcome = load(options);
    ASSERT_TRUE(outcome.value) << row.form << "\n" << everything(outcome);
    EXPECT_EQ(outcome.value->netbox.token.reveal(), row.expected);
    EXPECT_EQ(outcome.value->sources[0].token.reveal(), row.expected);
  }
}

TEST(secrets, token_file_readable_by_all_is_an_error_at_its_place) {
  folder const here;
  here.write("token", "very-secret\n", fs::perms(0644));
  auto const outcome =
      load(options_for(here.write("weir.yaml",
                                  "netbox:\n  url: https://nb\n  token_file: token\nsources:\n  a: {type: proxmox, "
                                  "urls: [https://p], token_id: u@pve!t, token_env: PVE}\n")));
  auto const text = everything(outcome);
  EXPECT_NE(text.find("weir.yaml:3:15"), text.npos) << text;
  EXPECT_NE(text.find("(mode 0644)"), text.npos) << text;
  EXPECT_NE(text.find("chmod 600 " + (here.path() / "token").string()), text.npos) << text;
  EXPECT_EQ(text.find("very-secret"), text.npos) << text;
}

TEST(secrets, are_not_read_where_they_are_not_needed) {
  folder const here;
  auto options = options_for(here.write("weir.yaml",
                                        "netbox: {url: https://nb, token_command: 'touch ran; echo x'}\nsources:\n  a: "
                                        "{type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: NOT_SET}\n"));
  options.need_secrets = false;
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_TRUE(outcome.value->netbox.token.empty());
  EXPECT_FALSE(fs::exists("ran"));
}

TEST(state_dir, goes_by_the_environment) {
  using environment = std::map<std::string, std::string>;
  EXPECT_EQ(default_state_dir({{"STATE_DIRECTORY", "/a:/b"}, {"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}}, false), "/a");
  EXPECT_EQ(default_state_dir({{"XDG_STATE_HOME", "/x"}, {"HOME", "/h"}}, true), "/x/weir");
  EXPECT_EQ(default_state_dir({{"XDG_STATE_HOME", "relative"}, {"HOME", "/h"}}, false), "/h/.local/state/weir");
  EXPECT_EQ(default_state_dir(environment{{"HOME", "/root"}}, true), "/var/lib/weir");
  EXPECT_EQ(default_state_dir(environment{}, false), std::nullopt);
}

TEST(environment, is_this_process_own) {
  ::setenv("WEIR_TEST_VARIABLE", "a=b", 1);
  EXPECT_EQ(current_environment().at("WEIR_TEST_VARIABLE"), "a=b");
  ::unsetenv("WEIR_TEST_VARIABLE");
  EXPECT_FALSE(current_environment().contains("WEIR_TEST_VARIABLE"));
}

}  // namespace
