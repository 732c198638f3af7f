#include "core/config/schema.hpp"
#include "core/config/values.hpp"
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;
using std::chrono::milliseconds;

load_outcome read(std::string const& text, load_options options = options_for("/etc/weir/weir.yaml")) {
  return load_text(text, options.file.string(), options);
}

TEST(good_forms, design_example) {
  folder const here;
  here.write("ca.pem", "x");
  std::string const print =
      "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89";
  auto const file =
      here.write("weir.yaml", R"(profile: conservative              # a shipped profile's name, or a path to one
netbox:
  url: https://netbox.example
  token_env: NB
  ca_file: ca.pem
sources:
  pve-a:
    type: proxmox
    urls: [https://pve1.example:8006, https://pve2.example:8006]
    token_id: sync@pve!weir
    token_env: PVE
    fingerprint: ")" + print + R"("
stages:
  nodes: {}
  virtual-machines: {include_templates: false}
  backups:
plugin_path: [/usr/lib/weir/stages]
state_dir: /var/lib/weir
)");
  auto const outcome = load(options_for(file));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_TRUE(outcome.warnings.empty()) << everything(outcome);
  auto const& c = *outcome.value;
  EXPECT_EQ(c.file, file);
  EXPECT_EQ(c.profile.name, "conservative");
  EXPECT_EQ(c.netbox.url, "https://netbox.example");
  EXPECT_EQ(c.netbox.token.reveal(), "nbt_key.secret");
  EXPECT_EQ(c.netbox.tls.ca_file, (here.path() / "ca.pem").string());
  EXPECT_TRUE(c.netbox.tls.verify);
  ASSERT_EQ(c.sources.size(), 1u);
  auto const& s = c.sources[0];
  EXPECT_EQ(s.name, "pve-a");
  EXPECT_EQ(s.type, "proxmox");
  EXPECT_EQ(s.urls, (std::vector<std::string>{"https://pve1.example:8006", "https://pve2.example:8006"}));
  EXPECT_EQ(s.token_id, "sync@pve!weir");
  EXPECT_EQ(s.token.reveal(), "pve-secret");
  EXPECT_EQ(s.tls.fingerprint, print);
  EXPECT_EQ(s.max_in_flight, 4u);
  EXPECT_EQ(s.request_timeout, milliseconds(30000));
  EXPECT_EQ(s.connect_timeout, milliseconds(5000));
  ASSERT_TRUE(c.stages);
  ASSERT_EQ(c.stages->size(), 3u);
  EXPECT_EQ((*c.stages)[0].id, "nodes");
  EXPECT_EQ((*c.stages)[0].options_json, "{}");
  EXPECT_EQ((*c.stages)[1].options_json, R"({"include_templates":false})");
  EXPECT_EQ((*c.stages)[1].location, file.string() + ":15:21");
  EXPECT_EQ((*c.stages)[1].option_locations.at("/include_templates"), file.string() + ":15:41");
  EXPECT_EQ((*c.stages)[2].options_json, "{}");
  EXPECT_EQ((*c.stages)[2].location, file.string() + ":16:3");
  EXPECT_EQ(c.plugin_path, std::vector<fs::path>{"/usr/lib/weir/stages"});
  EXPECT_EQ(c.state_dir, "/var/lib/weir");
  EXPECT_EQ(c.max_deletes, 10u);
  EXPECT_EQ(c.max_deletes_percent, 20u);
}

// weir's own names among a stage's options do not reach the plugin.
TEST(good_forms, isolation_of_stages) {
  load_options options;
  options.environment = {{"NB", "t"}, {"PVE", "t"}};
  options.use_files = false;
  auto const outcome = load_text(R"(netbox: {url: "https://netbox.example", token_env: NB}
sources: {pve-a: {type: proxmox, urls: ["https://pve1.example:8006"], token_id: s@pve!w, token_env: PVE}}
stages:
  nodes: {isolation: process, limits: {memory_mib: 256, cpu: 30s, wall: 2m}}
  pools: {prefix: p-, isolation: none, sources: [pve-a]}
  backups:
)",
                                 "weir.yaml", options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  auto const& stages = *outcome.value->stages;
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[0].options_json, "{}");
  EXPECT_TRUE(stages[0].isolation == stage_isolation::process);
  EXPECT_EQ(stages[0].limits.memory_mib, 256u);
  EXPECT_EQ(stages[0].limits.cpu, milliseconds(30'000));
  EXPECT_EQ(stages[0].limits.wall, milliseconds(120'000));
  EXPECT_EQ(stages[1].options_json, R"({"prefix":"p-"})");
  EXPECT_TRUE(stages[1].isolation == stage_isolation::none);
  EXPECT_FALSE(stages[1].option_locations.contains("/isolation"));
  EXPECT_EQ(stages[1].sources, std::vector<std::string>{"pve-a"});
  EXPECT_TRUE(stages[2].isolation == stage_isolation::automatic);
  EXPECT_EQ(stages[2].limits.memory_mib, 4096u);
}

TEST(good_forms, shipped_example_reads) {
  auto options = options_for(fs::path(WEIR_SOURCE_DIR) / "configs/weir.yaml");
  options.environment["NETBOX_TOKEN"] = "t";
  options.environment["PVE_TOKEN"] = "u";
  auto const outcome = load(options);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->stages->size(), 3u);
  EXPECT_EQ(outcome.value->plugin_path, std::vector<fs::path>{"/opt/stages"});
}

TEST(good_forms, defaults_where_nothing_is_said) {
  auto const outcome = read(with(""));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_FALSE(outcome.value->stages);
  EXPECT_EQ(outcome.value->profile.name, "conservative");
  EXPECT_EQ(outcome.value->plugin_path, std::vector<fs::path>{"/opt/stages"});
}

TEST(good_forms, table_and_structures_agree_on_defaults) {
  auto const value = [](schema::document in, char const* path) {
    auto const* row = schema::find(in, path);
    EXPECT_NE(row, nullptr) << path;
    yaml::node n;
    n.is = yaml::node::form::scalar;
    n.text = row == nullptr ? "" : std::string(row->default_value);
    return resolve(n).number;
  };
  auto const c = schema::document::configuration, p = schema::document::profile;
  EXPECT_EQ(value(c, "sources.*.max_in_flight"), static_cast<double>(source().max_in_flight));
  EXPECT_EQ(value(c, "max_deletes.count"), static_cast<double>(configuration().max_deletes));
  EXPECT_EQ(value(c, "max_deletes.percent"), static_cast<double>(configuration().max_deletes_percent));
  EXPECT_EQ(parse_duration(schema::find(c, "sources.*.timeout")->default_value),
            static_cast<double>(source().request_timeout.count()));
  EXPECT_EQ(parse_duration(schema::find(c, "sources.*.connect_timeout")->default_value),
            static_cast<double>(source().connect_timeout.count()));
  profile const built_in;
  EXPECT_EQ(value(p, "batch.size"), static_cast<double>(built_in.batch_size));
  EXPECT_EQ(value(p, "batch.delay_ms"), static_cast<double>(built_in.batch_delay.count()));
  EXPECT_EQ(value(p, "batch.objects_per_request"), static_cast<double>(built_in.objects_per_request));
  EXPECT_EQ(value(p, "max_in_flight"), static_cast<double>(built_in.max_in_flight));
  EXPECT_EQ(value(p, "requests_per_second"), built_in.requests_per_second);
  EXPECT_EQ(value(p, "retry.max_attempts"), static_cast<double>(built_in.max_attempts));
  EXPECT_EQ(value(p, "retry.base_ms"), static_cast<double>(built_in.backoff_base.count()));
  EXPECT_EQ(value(p, "retry.cap_ms"), static_cast<double>(built_in.backoff_cap.count()));
  EXPECT_EQ(value(p, "timeouts.request_s") * 1000, static_cast<double>(built_in.request_timeout.count()));
  EXPECT_EQ(value(p, "timeouts.connect_s") * 1000, static_cast<double>(built_in.connect_timeout.count()));
}

TEST(good_forms, every_row_of_the_table_has_a_parent_and_says_what_it_is) {
  for (auto const& row : schema::keys()) {
    auto const dot = row.path.rfind('.');
    if (dot != row.path.npos) {
      EXPECT_NE(schema::find(row.in, row.path.substr(0, dot)), nullptr) << row.path;
    }
    if (row.type != schema::type::inline_secret) {
      EXPECT_FALSE(row.help.empty()) << row.path;
    }
    EXPECT_EQ(&row, schema::find(row.in, row.path)) << row.path << " stands in the table twice";
  }
}

TEST(good_forms, username_and_password) {
  auto const outcome = read(
      "netbox: {url: http://127.0.0.1:8000/, token_env: NB, tls_verify: true}\n"
      "sources:\n"
      "  a: {type: proxmox, urls: ['https://[::1]:8006/'], username: root@pam, password_env: PVE, tls_verify: false, "
      "timeout: 500ms, max_in_flight: 2}\n");
  ASSERT_TRUE(outcome.value) << everything(outcome);
  auto const& s = outcome.value->sources[0];
  EXPECT_EQ(outcome.value->netbox.url, "http://127.0.0.1:8000");
  EXPECT_EQ(s.urls[0], "https://[::1]:8006");
  EXPECT_EQ(s.username, "root@pam");
  EXPECT_EQ(s.password.reveal(), "pve-secret");
  EXPECT_TRUE(s.token.empty());
  EXPECT_FALSE(s.tls.verify);
  EXPECT_EQ(s.request_timeout, milliseconds(500));
  EXPECT_EQ(s.max_in_flight, 2u);
}

TEST(good_forms, urls_lose_what_the_client_adds_itself) {
  EXPECT_EQ(*normal_url("https://nb.example/"), "https://nb.example");
  EXPECT_EQ(*normal_url("https://nb.example/api/"), "https://nb.example");
  EXPECT_EQ(*normal_url("https://nb.example/api"), "https://nb.example");
  EXPECT_EQ(*normal_url("HTTPS://nb.example:8443/netbox//"), "https://nb.example:8443/netbox");
  EXPECT_EQ(*normal_url("http://nb/netbox/api/"), "http://nb/netbox");
  EXPECT_EQ(*normal_url("https://pve:8006/api2/json"), "https://pve:8006");
  EXPECT_EQ(*normal_url("https://nb/myapi"), "https://nb/myapi");
  EXPECT_FALSE(normal_url("https://"));
  EXPECT_FALSE(normal_url("https://a:0"));
  EXPECT_FALSE(normal_url("https://a/\x01"));
}

TEST(good_forms, userinfo_is_hidden_wherever_it_stands) {
  EXPECT_EQ(without_userinfo("a https://u:p@h/x, ftp://v@i b@c"), "a https://***@h/x, ftp://***@i b@c");
  EXPECT_EQ(without_userinfo("https://u:p@ss@h"), "https://***@h");
  EXPECT_EQ(without_userinfo("https://h/x"), "https://h/x");
}

TEST(good_forms, fingerprints_are_written_one_way) {
  std::string const plain = "ab" + std::string(60, '0') + "Cd";
  auto const normal = normal_fingerprint(plain);
  ASSERT_TRUE(normal);
  EXPECT_EQ(normal->substr(0, 5), "AB:00");
  EXPECT_EQ(normal->size(), 95u);
  EXPECT_EQ(normal_fingerprint(*normal), normal);
  EXPECT_FALSE(normal_fingerprint(plain + "00"));
  EXPECT_FALSE(normal_fingerprint("xy" + std::string(62, '0')));
}

TEST(good_forms, durations) {
  EXPECT_EQ(parse_duration("500ms"), 500);
  EXPECT_EQ(parse_duration("30s"), 30'000);
  EXPECT_EQ(parse_duration("1.5"), 1500);
  EXPECT_EQ(parse_duration("2 min"), 120'000);
  EXPECT_EQ(parse_duration("2m"), 120'000);
  EXPECT_EQ(parse_duration("1h"), 3'600'000);
  for (auto const* bad : {"", "s", "ms", "5 parsecs", "1:30", "0x10s", ".", "1e999"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  for (double ms : {1.0, 1500.0, 30'000.0, 90'000.0, 120'000.0, 3'600'000.0, 0.5})
    EXPECT_EQ(parse_duration(format_duration(ms)), ms);
}

TEST(good_forms, token_ids_and_user_names) {
  for (auto const* good : {"root@pam!weir", "a.b-c@example.com!t-1", "u@ad@realm!x"})
    EXPECT_TRUE(valid_token_id(good)) << good;
  for (auto const* bad : {"", "root@pam", "root!weir", "@pam!x", "root@!x", "root@pam!", "root@pam!1a", "ro ot@pam!a",
                          "root@pam!a=b", "root@pam!a!b"})
    EXPECT_FALSE(valid_token_id(bad)) << bad;
  EXPECT_TRUE(valid_username("root@pam"));
  EXPECT_FALSE(valid_username("root"));
}

TEST(good_forms, stage_options_follow_yaml_1_2) {
  auto const outcome = read(with(R"(stages:
  t:
    nothing: ~
    empty:
    yes_is_text: yes
    flag: True
    quoted: "5"
    whole: -7
    plus: +7
    hex: 0x1F
    octal: 0o17
    leading_zero: 010
    fraction: 2.50
    round: 1.0
    point: .5
    power: 1e3
    date: 2026-01-02
    text: "a\"\\\n\t\u00e9"
    list: [1, [a, {b: c}], {}]
    block: |
      two
      lines
    "strange key": 1
)"));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(
      (*outcome.value->stages)[0].options_json,
      R"({"nothing":null,"empty":null,"yes_is_text":"yes","flag":true,"quoted":"5","whole":-7,"plus":7,"hex":31,"octal":15,)"
      R"("leading_zero":10,"fraction":2.5,"round":1.0,"point":0.5,"power":1000.0,"date":"2026-01-02",)"
      R"("text":"a\"\\\n\u0009é","list":[1,["a",{"b":"c"}],{}],"block":"two\nlines\n","strange key":1})");
  auto const& at = (*outcome.value->stages)[0].option_locations;
  EXPECT_EQ(at.at("/list/1/1/b"), "/etc/weir/weir.yaml:22:23");
  EXPECT_EQ(at.at("/empty"), "/etc/weir/weir.yaml:7:5");
}

TEST(good_forms, aliases_stand_for_what_they_name) {
  auto const outcome = read(with("stages:\n  a: &o {x: 1}\n  b: *o\n"));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ((*outcome.value->stages)[1].id, "b");
  EXPECT_EQ((*outcome.value->stages)[1].options_json, R"({"x":1})");
}

TEST(good_forms, byte_order_mark_and_windows_line_ends) {
  auto text = with("stages:\n  nodes: {a: b}\n");
  for (auto at = text.find('\n'); at != text.npos; at = text.find('\n', at + 2)) text.insert(at, "\r");
  auto const outcome = read("\xEF\xBB\xBF" + text);
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ((*outcome.value->stages)[0].options_json, R"({"a":"b"})");
  EXPECT_EQ((*outcome.value->stages)[0].location, "/etc/weir/weir.yaml:5:10");
}

TEST(good_forms, paths_start_at_the_file_and_at_home) {
  auto const outcome = read(with("plugin_path: [stages, ../lib/, ~/s, '~', /abs]\nstate_dir: state\n"));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  EXPECT_EQ(outcome.value->plugin_path,
            (std::vector<fs::path>{"/etc/weir/stages", "/etc/lib", "/home/user/s", "/home/user", "/abs"}));
  EXPECT_EQ(outcome.value->state_dir, "/etc/weir/state");
}

TEST(good_forms, max_deletes_means_no_more_than_is_written) {
  struct {
    char const* text;
    std::size_t count, percent;
  } const table[] = {
      {"3", 3, 0}, {"0", 0, 0}, {"{count: 4}", 4, 0}, {"{percent: 5}", 0, 5}, {"{count: 1, percent: 2}", 1, 2}};
  for (auto const& row : table) {
    auto const outcome = read(with(std::string("max_deletes: ") + row.text + "\n"));
    ASSERT_TRUE(outcome.value) << row.text << "\n" << everything(outcome);
    EXPECT_EQ(outcome.value->max_deletes, row.count) << row.text;
    EXPECT_EQ(outcome.value->max_deletes_percent, row.percent) << row.text;
  }
}

TEST(good_forms, warnings_do_not_stop) {
  folder const here;
  here.write("ca.pem", "x");
  auto const outcome = load(
      options_for(here.write("w.yaml",
                             "netbox: {url: https://nb, token_env: NB, ca_file: ca.pem, tls_verify: false}\n"
                             "sources: {a: {type: proxmox, urls: [https://p], token_id: u@pve!t, token_env: PVE}}\n")));
  ASSERT_TRUE(outcome.value) << everything(outcome);
  ASSERT_EQ(outcome.warnings.size(), 1u);
  EXPECT_NE(everything(outcome).find("warning: netbox.ca_file is not used with tls_verify: false"), std::string::npos);
  EXPECT_NE(everything(outcome).find("w.yaml:1:51"), std::string::npos);
}

}  // namespace
