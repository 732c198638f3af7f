// Every complaint, word for word where it matters, with its place.
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;

struct bad_case {
  char const* name;
  std::string text;
  std::vector<std::string> expected;       // parts of what is rendered
  std::vector<std::string> unwanted = {};  // what must not be shown
};

void PrintTo(bad_case const& c, std::ostream* out) { *out << c.name; }

std::string netbox(std::string const& rest) {
  return "netbox:\n  url: https://nb.example\n" + rest +
         "sources:\n  a: {type: proxmox, urls: [https://pve:8006], token_id: u@pve!t, token_env: PVE}\n";
}
std::string source(std::string const& rest) {
  return "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    type: proxmox\n    urls: "
         "[https://pve:8006]\n" +
         rest;
}
std::string token_source(std::string const& rest) {
  return source("    token_id: u@pve!t\n    token_env: PVE\n" + rest);
}
std::string url(std::string const& value) {
  return "netbox:\n  url: " + value +
         "\n  token_env: NB\nsources: {a: {type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: PVE}}\n";
}

std::vector<bad_case> const cases = {
    // The file as such.
    {"empty", "", {"error: the file is empty", "--> bad.yaml\n"}},
    {"only_a_comment", "# nothing\n", {"the file is empty"}},
    {"a_list", "- a\n- b\n", {"the file must be a map of keys, is a list", "bad.yaml:1:1"}},
    {"a_word", "hello\n", {"the file must be a map of keys, is the text 'hello'", "bad.yaml:1:1"}},
    {"unclosed_bracket", with("plugin_path: [/a, /b\n"), {"not valid YAML:", "bad.yaml:5:1"}},
    {"unclosed_quote", "profile: \"abc\n", {"not valid YAML: the quote is not closed", "bad.yaml:1:10"}},
    {"unclosed_quote_at_the_end", "profile: 'abc", {"not valid YAML:", "bad.yaml:1:14"}},
    {"unclosed_quote_over_lines",
     "profile: \"abc\n  \\\"\n\n",
     {"not valid YAML: the quote is not closed", "bad.yaml:1:10"}},
    {"unclosed_single_quote", "a: 'it''s\n", {"not valid YAML: the quote is not closed", "bad.yaml:1:4"}},
    {"tab_indent",
     "netbox:\n\turl: x\n",
     {"not valid YAML:", "bad.yaml:2:", "YAML indents with spaces, not with tabs"}},
    {"two_colons", "netbox: url: x\n", {"not valid YAML: illegal map value", "bad.yaml:1:12"}},
    {"two_documents", with("---\nprofile: a\n"), {"more than one YAML document", "bad.yaml:4:1"}},
    {"duplicate_key",
     with("profile: conservative\nprofile: aggressive\n"),
     {"the key 'profile' is given twice", "bad.yaml:5:1", "it stands in line 4 already"}},
    {"duplicate_deep",
     source("    token_id: u@pve!t\n    token_id: v@pve!t\n    token_env: PVE\n"),
     {"the key 'token_id' is given twice", "bad.yaml:7:5"}},
    {"duplicate_in_stage", with("stages:\n  nodes: {a: 1, a: 2}\n"), {"the key 'a' is given twice", "bad.yaml:5:17"}},
    {"not_utf8", "profile: caf\xE9\n", {"the file is not UTF-8 text", "bad.yaml:1:13"}},
    {"utf16", std::string("\xFF\xFEp\0r\0", 6), {"the file is not UTF-8 text", "bad.yaml:1:1"}},
    {"control_character",
     "profile: a\x04"
     "b\n",
     {"control character (byte 4)", "bad.yaml:1:11"}},
    {"nul", std::string("profile: a\0b\n", 13), {"control character (byte 0)", "bad.yaml:1:11"}},
    {"custom_tag",
     "netbox:\n  token: !env NETBOX_TOKEN\n",
     {"the tag '!env' is not supported", "bad.yaml:2:", "token_env"}},
    {"merge_key", "base: &b {x: 1}\nnetbox:\n  <<: *b\n", {"merge keys (<<) are not part of YAML 1.2", "bad.yaml:3:3"}},
    {"unknown_anchor", "profile: *nothing\n", {"not valid YAML:", "bad.yaml:1:10"}},
    {"alias_in_itself",
     "stages: &s {nodes: *s}\n",
     {"an alias cannot stand inside what it refers to", "bad.yaml:1:20"}},
    {"map_as_key", "? {a: b}\n: c\n", {"a key must be text", "bad.yaml:1:3"}},
    {"missing_key", ": 5\n", {"a key is missing before ':'", "bad.yaml:1:1"}},
    // Keys.
    {"unknown_with_suggestion",
     with("profil: conservative\n"),
     {"unknown key 'profil'\n", "bad.yaml:4:1\n", "4 | profil: …\n", "   | ^^^^^^ did you mean 'profile'?"}},
    {"unknown_nested",
     netbox("  token_env: NB\n  tls_verfy: true\n"),
     {"unknown key 'tls_verfy' in netbox", "bad.yaml:4:3", "did you mean 'tls_verify'?"}},
    {"unknown_in_source",
     token_source("    max_inflight: 3\n"),
     {"unknown key 'max_inflight' in sources.a", "bad.yaml:8:5", "did you mean 'max_in_flight'?"}},
    {"unknown_without_suggestion",
     with("colour: red\n"),
     {"unknown key 'colour'", "known here: profile, include, allow_inline_secrets, netbox, sources, stages"}},
    {"key_of_elsewhere",
     with("token_env: NB\n"),
     {"unknown key 'token_env'", "bad.yaml:4:1", "it belongs under netbox or sources.* or serve"}},
    {"dotted_key", with("netbox.url: https://x\n"), {"unknown key 'netbox.url'", "bad.yaml:4:1", "write it nested"}},
    {"star_as_source",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  '*': {}\n",
     {"'*' cannot be a name in sources", "bad.yaml:3:3"}},
    {"source_name",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  pve a: {}\n",
     {"'pve a' cannot be a name in sources", "bad.yaml:3:3", "letters, digits"}},
    {"stage_name", with("stages:\n  -x: {}\n"), {"'-x' cannot be a name in stages", "bad.yaml:5:3"}},
    {"missing_netbox",
     "sources:\n  a: {type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: PVE}\n",
     {"netbox is missing", "--> bad.yaml\n"}},
    {"missing_sources", "netbox: {url: https://nb.example, token_env: NB}\n", {"sources is missing"}},
    {"no_source",
     "netbox: {url: https://nb.example, token_env: NB}\nsources: {}\n",
     {"sources is empty", "bad.yaml:2:10"}},
    {"missing_url",
     "netbox:\n  token_env: NB\nsources: {a: {type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: PVE}}\n",
     {"netbox.url is missing", "bad.yaml:1:1"}},
    {"missing_type_and_urls",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    token_id: u@pve!t\n    token_env: PVE\n",
     {"sources.a.type is missing", "sources.a.urls is missing", "bad.yaml:3:3"}},
    // Types and ranges.
    {"netbox_is_text",
     "netbox: https://nb.example\nsources: {a: {type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: "
     "PVE}}\n",
     {"netbox must be a map of keys, is the text 'https://nb.example'", "bad.yaml:1:9"}},
    {"sources_is_list",
     "netbox: {url: https://nb.example, token_env: NB}\nsources: [a]\n",
     {"sources must be a map of names, is a list", "bad.yaml:2:10"}},
    {"isolation",
     with("stages:\n  nodes: {isolation: thread}\n"),
     {"stages.nodes.isolation", "'thread'", "must be auto or process or none", "bad.yaml:5:22"}},
    {"stage_sources",
     with("stages:\n  nodes: {sources: [nowhere]}\n"),
     {"stages.nodes.sources[0]: there is no source 'nowhere'", "known: ", "bad.yaml:5:21"}},
    {"stage_sources_text",
     with("stages:\n  nodes: {sources: a}\n"),
     {"must be a list of names, is the text 'a'", "write it in brackets", "bad.yaml:5:20"}},
    {"limits",
     with("stages:\n  nodes: {limits: {memory: 3}}\n"),
     {"unknown key 'memory' in stages.nodes.limits", "memory_mib", "bad.yaml:5:20"}},
    {"limits_value", with("stages:\n  nodes: {limits: {cpu: 0s}}\n"), {"stages.nodes.limits.cpu", "bad.yaml:5:25"}},
    {"stages_is_list",
     with("stages: [nodes, backups]\n"),
     {"stages must be a map of names, is a list", "bad.yaml:4:9", "write each as 'name: {}'"}},
    {"stages_is_empty",
     with("stages:\n# nodes: {}\n"),
     {"stages must be a map of names, is empty", "bad.yaml:4:1", "leave the key out to run every stage"}},
    {"stages_has_none", with("stages: {}\n"), {"stages is empty", "bad.yaml:4:9"}},
    {"stage_is_true",
     with("stages:\n  nodes: true\n"),
     {"stages.nodes must be a map of options, is true", "bad.yaml:5:10"}},
    {"profile_is_number", with("profile: 5\n"), {"profile must be text, is the number 5", "bad.yaml:4:10", "quotes"}},
    {"profile_is_empty", with("profile:\n"), {"profile must be text, is empty", "bad.yaml:4:1"}},
    {"profile_is_nothing", with("profile: ''\n"), {"profile is empty", "bad.yaml:4:10"}},
    {"tls_verify_no",
     netbox("  token_env: NB\n  tls_verify: no\n"),
     {"netbox.tls_verify must be true or false, is the text 'no'", "bad.yaml:4:15"}},
    {"tls_verify_quoted",
     netbox("  token_env: NB\n  tls_verify: 'false'\n"),
     {"netbox.tls_verify must be true or false, is the text 'false'", "without quotes"}},
    {"urls_is_text",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    type: proxmox\n    urls: https://p\n    "
     "token_id: u@pve!t\n    token_env: PVE\n",
     {"sources.a.urls must be a list of URLs, is the text 'https://p'", "bad.yaml:5:11", "write it in brackets"}},
    {"in_flight_range",
     token_source("    max_in_flight: 500\n"),
     {"sources.a.max_in_flight must be between 1 and 64, is 500\n", "bad.yaml:8:20\n", " 8 |     max_in_flight: 500\n",
      "|                    ^^^ Requests"}},
    {"in_flight_zero", token_source("    max_in_flight: 0\n"), {"must be between 1 and 64, is 0"}},
    {"in_flight_quoted",
     token_source("    max_in_flight: '4'\n"),
     {"sources.a.max_in_flight must be a whole number, is the text '4'", "write it without quotes"}},
    {"in_flight_fraction", token_source("    max_in_flight: 1.5\n"), {"must be a whole number, is the number 1.5"}},
    {"in_flight_huge",
     token_source("    max_in_flight: 99999999999999999999\n"),
     {"must be between 1 and 64, is 99999999999999999999"}},
    {"timeout_word",
     token_source("    timeout: soon\n"),
     {"sources.a.timeout must be a duration, is the text 'soon'", "bad.yaml:8:14", "30s, 500ms or 2m"}},
    {"timeout_range", token_source("    timeout: 2h\n"), {"sources.a.timeout must be between 100ms and 1h, is 2h"}},
    {"timeout_nan", token_source("    timeout: .nan\n"), {"sources.a.timeout must be a duration"}},
    {"type_misspelt",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    type: proxmx\n    urls: [https://p]\n    "
     "token_id: u@pve!t\n    token_env: PVE\n",
     {"sources.a.type must be proxmox or rest, is 'proxmx'", "bad.yaml:4:11", "did you mean 'proxmox'?"}},
    {"deletes_negative",
     with("max_deletes: -1\n"),
     {"max_deletes must be between 0 and 1000000000, is -1", "bad.yaml:4:14"}},
    {"deletes_percent",
     with("max_deletes: {percent: 101}\n"),
     {"max_deletes.percent must be between 0 and 100, is 101", "bad.yaml:4:24"}},
    {"deletes_unknown",
     with("max_deletes: {number: 3}\n"),
     {"unknown key 'number' in max_deletes", "known here: count, percent"}},
    {"deletes_text",
     with("max_deletes: many\n"),
     {"max_deletes must be a whole number or {count, percent}, is the text 'many'"}},
    {"plugin_path_text",
     with("plugin_path: /x\n"),
     {"plugin_path must be a list of paths, is the text '/x'", "bad.yaml:4:14"}},
    {"plugin_path_empty", with("plugin_path: []\n"), {"plugin_path is an empty list"}},
    {"plugin_path_number",
     with("plugin_path: [/a, 5]\n"),
     {"plugin_path[1] must be a path, is the number 5", "bad.yaml:4:19"}},
    {"foreign_home", with("state_dir: ~other/x\n"), {"state_dir starts with another user's home", "bad.yaml:4:12"}},
    {"option_infinite",
     with("stages:\n  nodes: {limit: .inf}\n"),
     {"stages.nodes holds a number that JSON cannot hold", "bad.yaml:5:18"}},
    {"option_too_large",
     with("stages:\n  nodes: {limit: 99999999999999999999}\n"),
     {"stages.nodes holds a whole number beyond 64 bits", "bad.yaml:5:18"}},
    // URLs.
    {"url_without_scheme",
     url("nb.example"),
     {"netbox.url must be an http or https URL, is 'nb.example'", "bad.yaml:2:8", "such as https://netbox.example"}},
    {"url_ftp", url("ftp://nb.example"), {"must be an http or https URL, is 'ftp://nb.example'"}},
    {"url_without_host", url("https:///x"), {"netbox.url names no host"}},
    {"url_query", url("https://nb.example/?a=1"), {"must not hold a query or a fragment"}},
    {"url_fragment", url("\"https://nb.example/#a\""), {"must not hold a query or a fragment"}},
    {"url_port", url("https://nb.example:99999"), {"has no port between 1 and 65535"}},
    {"url_no_port", url("'https://nb.example:'"), {"has no port between 1 and 65535"}},
    {"url_blank", url("https://nb example"), {"a character that no host name has"}},
    {"url_open_bracket", url("'https://[::1'"), {"without the closing ']'"}},
    {"url_not_ipv6", url("'https://[nb]'"), {"no IPv6 address between the brackets"}},
    {"url_password",
     url("https://admin:geheim@nb.example"),
     {"netbox.url must not hold a user name or a password", "bad.yaml:2:8"},
     {"geheim", "admin"}},
    {"urls_password_and_another",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a: {type: proxmox, urls: [https://u:geheim@p, 5], "
     "token_id: u@pve!t, token_env: PVE}\n",
     {"sources.a.urls[0] must not hold", "sources.a.urls[1] must be an http or https URL, is the number 5",
      "bad.yaml:3:49"},
     {"geheim"}},
    {"urls_text_password",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a: {type: proxmox, urls: 'https://u:geheim@p', "
     "token_id: u@pve!t, token_env: PVE}\n",
     {"sources.a.urls must be a list of URLs"},
     {"geheim"}},
    // TLS.
    {"ca_file_missing",
     netbox("  token_env: NB\n  ca_file: nowhere.pem\n"),
     {"netbox.ca_file:", "nowhere.pem does not exist", "bad.yaml:4:12"}},
    {"ca_file_folder", netbox("  token_env: NB\n  ca_file: /\n"), {"netbox.ca_file: / is not a file"}},
    {"fingerprint_short",
     token_source("    fingerprint: AB:CD\n"),
     {"sources.a.fingerprint must be 32 bytes in hexadecimal", "bad.yaml:8:18", "openssl x509"}},
    {"fingerprint_number",
     token_source("    fingerprint: 1234567890\n"),
     {"sources.a.fingerprint must be a SHA-256 fingerprint, is the number 1234567890"}},
    {"fingerprint_colons",
     token_source("    fingerprint: '" + std::string(62, 'A') + ":A'\n"),
     {"must be 32 bytes in hexadecimal"}},
    {"fingerprint_and_no_verify",
     token_source("    fingerprint: " + std::string(63, 'a') + "b\n    tls_verify: false\n"),
     {"sources.a.fingerprint and tls_verify: false contradict each other", "bad.yaml:8:18"}},
    // Logins and secrets.
    {"inline_token",
     netbox("  token: 0123456789abcdef\n"),
     {"netbox.token may not stand in the file", "bad.yaml:3:10", "3 |   token: ***",
      "use token_env, token_file, token_command or token_credential"},
     {"0123456789abcdef"}},
    {"inline_password",
     source("    username: u@pve\n    password: geheim\n"),
     {"sources.a.password may not stand in the file", "bad.yaml:7:15",
      "password_env, password_file, password_command or password_credential"},
     {"geheim"}},
    {"inline_token_in_syntax_error", "netbox:\n  token: geheim: x\n", {"not valid YAML", "token: ***"}, {"geheim"}},
    {"inline_token_in_flow",
     "netbox: {url: x, token: geheim, foo: 1}\nsources: {a: {type: proxmox, urls: [https://p], token_id: u@pve!t, "
     "token_env: PVE}}\n",
     {"netbox.token may not stand", "netbox.url must be", "unknown key 'foo'"},
     {"geheim"}},
    {"misspelt_token",
     netbox("  token_env: NB\n  tokn: geheim\n"),
     {"unknown key 'tokn' in netbox", "4 |   tokn: …"},
     {"geheim"}},
    {"no_token",
     netbox(""),
     {"netbox needs a token", "bad.yaml:1:1", "one of token_env, token_file, token_command, token_credential"}},
    {"two_tokens",
     netbox("  token_env: NB\n  token_file: /x\n"),
     {"netbox.token_file and netbox.token_env are both given", "bad.yaml:4:15", "exactly one of"}},
    {"variable_missing",
     netbox("  token_env: NETBOX_TOKEN\n"),
     {"netbox.token_env: environment variable NETBOX_TOKEN is not set", "bad.yaml:3:14", "export NETBOX_TOKEN"}},
    {"variable_empty", netbox("  token_env: EMPTY\n"), {"environment variable EMPTY is empty"}},
    {"variable_two_lines",
     netbox("  token_env: LINES\n"),
     {"environment variable LINES holds several lines"},
     {"first"}},
    {"variable_is_token",
     netbox("  token_env: abcdef0123456789abcdef0123456789abcdef01\n"),
     {"netbox.token_env must be the name of an environment variable", "this looks like the secret itself"},
     {"abcdef0123"}},
    {"variable_is_v2_token",
     netbox("  token_env: nbt_abc.geheim\n"),
     {"must be the name of an environment variable"},
     {"geheim"}},
    {"variable_is_number",
     netbox("  token_env: 12345678\n"),
     {"netbox.token_env must be text, is something else"},
     {"12345678"}},
    {"token_file_missing",
     netbox("  token_file: nowhere\n"),
     {"netbox.token_file: cannot read", "nowhere: No such file or directory", "bad.yaml:3:15"}},
    {"token_file_folder", netbox("  token_file: /tmp\n"), {"/tmp is not a regular file"}},
    {"command_fails",
     netbox("  token_command: exit 7\n"),
     {"netbox.token_command: the command failed with exit code 7", "bad.yaml:3:18"}},
    {"command_silent", netbox("  token_command: 'true'\n"), {"netbox.token_command: the command's output is empty"}},
    {"command_lines",
     netbox("  token_command: printf 'geheim\\nb'\n"),
     {"the command's output holds several lines"},
     {"geheim"}},
    {"credential_outside_systemd",
     netbox("  token_credential: netbox\n"),
     {"CREDENTIALS_DIRECTORY is not set", "LoadCredential=netbox:"}},
    {"credential_path",
     netbox("  token_credential: ../x\n"),
     {"netbox.token_credential must be the name of a systemd credential"}},
    {"no_login",
     source(""),
     {"sources.a has no login", "bad.yaml:3:3", "token_id and token_env, or username and password_env"}},
    {"two_logins",
     token_source("    username: u@pve\n    password_env: PVE\n"),
     {"sources.a has two logins", "bad.yaml:3:3"}},
    {"mixed_login", source("    token_id: u@pve!t\n    password_env: PVE\n"), {"sources.a has two logins"}},
    {"token_without_id", source("    token_env: PVE\n"), {"sources.a.token_id is missing", "such as sync@pve!weir"}},
    {"id_without_token", source("    token_id: u@pve!t\n"), {"sources.a needs a token", "bad.yaml:3:3"}},
    {"user_without_password", source("    username: u@pve\n"), {"sources.a needs a password"}},
    {"password_without_user", source("    password_env: PVE\n"), {"sources.a.username is missing"}},
    {"token_id_form",
     source("    token_id: root@pam\n    token_env: PVE\n"),
     {"sources.a.token_id must look like user@realm!name, is 'root@pam'", "bad.yaml:6:15"}},
    {"token_id_with_secret",
     source("    token_id: root@pam!weir=geheim\n    token_env: PVE\n"),
     {"sources.a.token_id must look like user@realm!name", "is the secret"},
     {"geheim"}},
    {"username_form",
     source("    username: root\n    password_env: PVE\n"),
     {"sources.a.username must look like user@realm, is 'root'", "such as root@pam"}},
    // Profiles.
    {"profile_misspelt",
     with("profile: agressive\n"),
     {"unknown profile 'agressive'", "bad.yaml:4:10", "did you mean 'aggressive'?",
      "aggressive, conservative, ultra-conservative"}},
    {"profile_file_missing",
     with("profile: ./mine.yaml\n"),
     {"cannot read", "mine.yaml: No such file or directory", "bad.yaml:4:10"}},
};

class bad_input : public testing::TestWithParam<bad_case> {};

TEST_P(bad_input, says_what_is_wrong_and_where) {
  auto const& c = GetParam();
  folder const here;
  auto const file = here.write("bad.yaml", c.text);
  auto options = options_for(file);
  options.environment["EMPTY"] = "";
  options.environment["LINES"] = "first\nsecond";
  auto const outcome = load(options);
  auto text = everything(outcome);
  // The folder has another name each time.
  for (auto at = text.find(here.path().string()); at != text.npos; at = text.find(here.path().string()))
    text.erase(at, here.path().string().size() + 1);
  EXPECT_FALSE(outcome.value.has_value()) << text;
  EXPECT_FALSE(outcome.errors.empty());
  for (auto const& part : c.expected) EXPECT_NE(text.find(part), text.npos) << "missing: " << part << "\nin:\n" << text;
  for (auto const& part : c.unwanted) EXPECT_EQ(text.find(part), text.npos) << "shown: " << part << "\nin:\n" << text;
}

INSTANTIATE_TEST_SUITE_P(table, bad_input, testing::ValuesIn(cases),
                         [](auto const& one) { return std::string(one.param.name); });

TEST(bad_inputs, are_all_reported_in_the_order_of_the_file) {
  folder const here;
  auto const outcome =
      load(options_for(here.write("bad.yaml",
                                  "profile: agressive\n"
                                  "netbox:\n"
                                  "  url: nb\n"
                                  "  tokn_env: NB\n"
                                  "sources:\n"
                                  "  a: {type: x, urls: [], token_id: u, token_env: NONE, timeout: 0}\n"
                                  "max_deletes: x\n"
                                  "foo: 1\n")));
  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (auto const& d : outcome.errors) places.emplace_back(d.line, d.column);
  std::vector<std::pair<std::size_t, std::size_t>> const expected = {
      {1, 10}, {2, 1}, {3, 8}, {4, 3}, {6, 13}, {6, 22}, {6, 36}, {6, 50}, {6, 65}, {7, 14}, {8, 1}};
  EXPECT_EQ(places, expected) << everything(outcome);
}

TEST(bad_inputs, name_a_file_that_is_not_there) {
  auto const outcome = load(options_for("/nonexistent/weir.yaml"));
  EXPECT_NE(everything(outcome).find("cannot read /nonexistent/weir.yaml: No such file or directory"),
            std::string::npos);
  auto const folder_outcome = load(options_for("/tmp"));
  EXPECT_NE(everything(folder_outcome).find("cannot read /tmp: it is a directory"), std::string::npos);
}

TEST(bad_inputs, limits_hold) {
  auto const errors_of = [](std::string const& text) {
    auto options = options_for("limit.yaml");
    options.use_files = false;
    return everything(load_text(text, "limit.yaml", options));
  };
  EXPECT_NE(errors_of("a: " + std::string(600'000, 'x') + "\n").find("the file is larger than 524288 bytes"),
            std::string::npos);
  EXPECT_NE(errors_of("a: " + std::string(100, '[') + std::string(100, ']')).find("nested deeper than 32 levels"),
            std::string::npos);
  EXPECT_NE(errors_of("a: " + std::string(5000, '[')).find("limit.yaml:1:"), std::string::npos);
  // Ten levels of ten aliases each: 10^10 values.
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    auto const name = "a" + std::to_string(i), before = "*a" + std::to_string(i - 1);
    bomb += name + ": &" + name + " [" + before;
    for (int j = 1; j < 10; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  EXPECT_NE(errors_of(bomb).find("too many values: a file may hold 10000, aliases counted in full"), std::string::npos);
  std::string wide = "a: &a " + std::string(300'000, 'x') + "\nb: [*a";
  for (int i = 0; i < 20; ++i) wide += ", *a";
  EXPECT_NE(errors_of(wide + "]\n").find("too much text"), std::string::npos);
}

TEST(render, follows_the_form) {
  diagnostic d;
  d.file = "/etc/weir/config.yaml";
  d.line = 14;
  d.column = 17;
  d.length = 3;
  d.summary = "batch.size must be between 1 and 100, is 500";
  d.detail = "see the README";
  d.source_line = "    batch_size: 500";
  EXPECT_EQ(render(d),
            "error: batch.size must be between 1 and 100, is 500\n"
            "  --> /etc/weir/config.yaml:14:17\n"
            "   |\n"
            "14 |     batch_size: 500\n"
            "   |                 ^^^ see the README\n");
  d.line = 7;
  d.detail.clear();
  d.severity = severity::warning;
  d.source_line = "\tü: \"ä\"";  // a tab stays, two-byte characters are one wide
  d.column = 6;
  d.length = 4;
  EXPECT_EQ(render(d),
            "warning: batch.size must be between 1 and 100, is 500\n"
            "  --> /etc/weir/config.yaml:7:6\n"
            "   |\n"
            " 7 | \tü: \"ä\"\n"
            "   | \t   ^^^\n");
  d.line = 0;
  d.file = "environment";
  d.detail = "unset it";
  d.source_line = "WEIR_X=ab";  // a line without a number
  d.column = 8;
  d.length = 2;
  EXPECT_EQ(render(d),
            "warning: batch.size must be between 1 and 100, is 500\n"
            "  --> environment\n"
            "   |\n"
            "   | WEIR_X=ab\n"
            "   |        ^^ unset it\n");
  d.source_line.clear();
  EXPECT_EQ(render(d), "warning: batch.size must be between 1 and 100, is 500\n  --> environment\n   = unset it\n");
}

TEST(render, cuts_long_lines_around_the_caret) {
  diagnostic d;
  d.file = "f";
  d.line = 1;
  d.column = 501;
  d.length = 5;
  d.summary = "s";
  d.source_line = std::string(500, 'a') + "WRONG" + std::string(500, 'b');
  auto const text = render(d);
  EXPECT_NE(text.find("| …"), text.npos);
  EXPECT_NE(text.find("b…\n"), text.npos);
  auto const source = text.find("WRONG"), caret = text.find("^^^^^");
  ASSERT_NE(source, text.npos);
  ASSERT_NE(caret, text.npos);
  auto const column_of = [&](std::size_t at) { return at - text.rfind('\n', at); };
  EXPECT_EQ(column_of(source), column_of(caret) + 2);  // "…" takes three bytes, and one column
}

}  // namespace
