// Sources of the type rest: what is read out of a good configuration, and what is said about a wrong one.
#include "tests/unit/config/support.hpp"

namespace {

using namespace config_test;
using styles = paging::styles;

std::string rest(std::string const& more) {
  return "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  inventory:\n    type: rest\n    urls: "
         "[https://cmdb.example/api/]\n" +
         more;
}
std::string paged(std::string const& more) { return rest("    paging:\n" + more); }

load_outcome load_rest(std::string const& text) {
  folder const here;
  auto options = options_for(here.write("rest.yaml", text));
  auto outcome = load(options);
  for (auto* list : {&outcome.errors, &outcome.warnings})
    for (auto& d : *list) d.file = "rest.yaml";
  return outcome;
}

source read(std::string const& more) {
  auto const outcome = load_rest(rest(more));
  EXPECT_TRUE(outcome.value) << everything(outcome);
  EXPECT_TRUE(outcome.warnings.empty()) << everything(outcome);
  return outcome.value ? outcome.value->sources.at(0) : source{};
}

TEST(rest_sources, with_everything_left_out) {
  auto const s = read("");
  EXPECT_EQ(s.type, "rest");
  EXPECT_EQ(s.urls, std::vector<std::string>{"https://cmdb.example/api"}) << "/api is part of it";
  EXPECT_TRUE(s.token.empty());
  EXPECT_TRUE(s.username.empty());
  EXPECT_EQ(s.token_header, "Authorization");
  EXPECT_EQ(s.token_prefix, "Bearer ");
  EXPECT_EQ(s.check, "/");
  EXPECT_TRUE(s.headers.empty());
  EXPECT_EQ(s.paging.style, styles::none);
  EXPECT_EQ(s.max_in_flight, 4u);
}

TEST(rest_sources, with_everything) {
  auto const s = read(
      "    token_env: PVE\n    token_header: \"Authorization: Token\"\n    headers: {Accept: application/vnd.x+json, "
      "X-Version: \"2022-11-28\"}\n    check: /health\n    max_in_flight: 2\n    timeout: 5s\n    connect_timeout: 1s\n"
      "    tls_verify: false\n    paging:\n      style: offset\n      items: data.rows\n      parameter: start\n      "
      "total: data.total\n      size_parameter: count\n      size: 500\n      max_pages: 20\n");
  EXPECT_EQ(s.token.reveal(), "pve-secret");
  EXPECT_EQ(s.token_header, "Authorization");
  EXPECT_EQ(s.token_prefix, "Token ");
  std::vector<std::pair<std::string, std::string>> const headers = {{"Accept", "application/vnd.x+json"},
                                                                    {"X-Version", "2022-11-28"}};
  EXPECT_EQ(s.headers, headers);
  EXPECT_EQ(s.check, "/health");
  EXPECT_FALSE(s.tls.verify);
  auto const& p = s.paging;
  EXPECT_EQ(p.style, styles::offset);
  EXPECT_EQ(p.items, "data.rows");
  EXPECT_EQ(p.parameter, "start");
  EXPECT_EQ(p.total, "data.total");
  EXPECT_EQ(p.size_parameter, "count");
  EXPECT_EQ(p.size, 500u);
  EXPECT_EQ(p.max_pages, 20u);
}

TEST(rest_sources, token_headers) {
  for (auto const& [given, header, prefix] :
       {std::tuple{"X-Api-Key", "X-Api-Key", ""}, std::tuple{"'Private-Token:'", "Private-Token", ""},
        std::tuple{"'Authorization:   token  '", "Authorization", "token "},
        std::tuple{"'Authorization: Token token='", "Authorization", "Token token="}}) {
    auto const s = read(std::string("    token_env: PVE\n    token_header: ") + given + "\n");
    EXPECT_EQ(s.token_header, header) << given;
    EXPECT_EQ(s.token_prefix, prefix) << given;
  }
}

TEST(rest_sources, password) {
  auto const s = read("    username: weir\n    password_env: PVE\n");
  EXPECT_EQ(s.username, "weir") << "without a realm";
  EXPECT_EQ(s.password.reveal(), "pve-secret");
}

TEST(rest_sources, what_a_style_brings) {
  auto const next = read("    paging: {style: next}\n").paging;
  EXPECT_EQ(next.items, "results");
  EXPECT_EQ(next.next, "next");
  EXPECT_EQ(next.size_parameter, "");
  auto const page = read("    paging: {style: page, first: 0, size_parameter: per_page, items: ''}\n").paging;
  EXPECT_EQ(page.parameter, "page");
  EXPECT_EQ(page.items, "");
  EXPECT_EQ(page.first, 0u);
  EXPECT_EQ(page.size, 100u);
  EXPECT_EQ(read("    paging: {style: offset}\n").paging.parameter, "offset");
  EXPECT_EQ(read("    paging: {style: cursor, items: a, next: b}\n").paging.parameter, "cursor");
  EXPECT_EQ(read("    paging: {style: link}\n").paging.style, styles::link);
  EXPECT_EQ(read("    paging: {style: none}\n").paging.style, styles::none);
}

struct wrong {
  char const* name;
  std::string text;
  std::vector<std::string> expected;
  std::vector<std::string> unwanted = {};
};

void PrintTo(wrong const& w, std::ostream* out) { *out << w.name; }

std::vector<wrong> const cases = {
    {"token_id",
     rest("    token_id: u@pve!t\n    token_env: PVE\n"),
     {"error: sources.inventory.token_id is for sources of the type proxmox, this one is rest\n"
      "  --> rest.yaml:6:5\n"
      "   |\n"
      " 6 |     token_id: u@pve!t\n"
      "   |     ^^^^^^^^ a rest source takes token_env or another form, and token_header\n"}},
    {"paging_on_proxmox",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    type: proxmox\n    urls: "
     "[https://pve:8006]\n"
     "    token_id: u@pve!t\n    token_env: PVE\n    paging: {style: link}\n    check: /\n",
     {"sources.a.paging is for sources of the type rest, this one is proxmox", "rest.yaml:8:5",
      "sources.a.check is for sources of the type rest, this one is proxmox", "rest.yaml:9:5"}},
    {"type_misspelt",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a:\n    type: rst\n    urls: [https://x]\n",
     {"sources.a.type must be proxmox or rest, is 'rst'", "did you mean 'rest'?"}},
    {"unknown_key",
     rest("    token_heder: X\n"),
     {"unknown key 'token_heder' in sources.inventory", "rest.yaml:6:5", "did you mean 'token_header'?"}},
    {"unknown_in_paging",
     paged("      style: link\n      max_page: 3\n"),
     {"unknown key 'max_page' in sources.inventory.paging", "rest.yaml:8:7", "did you mean 'max_pages'?"}},
    {"inline_token",
     rest("    token: geheim\n"),
     {"sources.inventory.token may not stand in the file", "use token_env"},
     {"geheim"}},
    {"two_logins",
     rest("    token_env: PVE\n    username: weir\n"),
     {"sources.inventory has two logins", "either a token, or username and a password"}},
    {"user_without_password", rest("    username: weir\n"), {"sources.inventory needs a password", "password_env"}},
    {"password_without_user", rest("    password_env: PVE\n"), {"sources.inventory.username is missing"}},
    {"user_with_password",
     rest("    username: weir:geheim\n    password_env: PVE\n"),
     {"sources.inventory.username must not hold ':'", "rest.yaml:6:15"},
     {"geheim"}},
    {"header_without_token",
     rest("    token_header: X-Api-Key\n"),
     {"sources.inventory.token_header has no token to carry", "rest.yaml:6:5", "add token_env"}},
    {"header_is_no_name",
     rest("    token_env: PVE\n    token_header: \"X Api Key\"\n"),
     {"sources.inventory.token_header must be a header's name, or 'Name: Prefix', is 'X Api Key'", "rest.yaml:7:19"}},
    {"header_is_the_connections",
     rest("    token_env: PVE\n    token_header: Host\n"),
     {"token_header must be a header's name, or 'Name: Prefix', is 'Host'"}},
    {"header_with_the_token",
     rest("    token_env: PVE\n    token_header: 'Authorization: Bearer 0123456789abcdef0123456789abcdef'\n"),
     {"sources.inventory.token_header must not hold the token itself", "rest.yaml:7:19"},
     {"0123456789abcdef"}},
    {"secret_header",
     rest("    headers:\n      X-Api-Key: geheim\n"),
     {"sources.inventory.headers.X-Api-Key may not stand in the file: it looks like a secret", "rest.yaml:7:18",
      "token_header: X-Api-Key"},
     {"geheim"}},
    {"secret_in_a_header",
     rest("    headers: {X-Client: 0123456789abcdef0123456789abcdef}\n"),
     {"headers.X-Client looks like a secret"},
     {"0123456789abcdef"}},
    {"header_of_the_connection",
     rest("    headers: {Host: other.example}\n"),
     {"sources.inventory.headers.Host cannot be set", "rest.yaml:6:15"}},
    {"header_with_a_line_break",
     rest("    headers: {X-Client: \"a\\nX-Evil: b\"}\n"),
     {"headers.X-Client must not hold line breaks or control characters"}},
    {"header_is_a_number", rest("    headers: {X-Version: 5}\n"), {"headers.X-Version must be text, is the number 5"}},
    {"check_without_slash",
     rest("    check: health\n"),
     {"sources.inventory.check must begin with '/', is 'health'", "rest.yaml:6:12", "such as /health"}},
    {"url_with_a_query",
     "netbox: {url: https://nb.example, token_env: NB}\nsources:\n  a: {type: rest, urls: ['https://x/api?key=1']}\n",
     {"sources.a.urls[0] must not hold a query or a fragment"}},
    // Paging.
    {"style_misspelt",
     paged("      style: pages\n"),
     {"error: sources.inventory.paging.style must be none or link or next or page or offset or cursor, is 'pages'\n"
      "  --> rest.yaml:7:14\n",
      "did you mean 'page'?"}},
    {"style_missing", paged("      items: results\n"), {"sources.inventory.paging.style is missing", "rest.yaml:6:5"}},
    {"paging_is_text",
     rest("    paging: link\n"),
     {"sources.inventory.paging must be a map of keys, is the text 'link'"}},
    {"next_with_page",
     paged("      style: page\n      next: next\n"),
     {"sources.inventory.paging.next has no meaning with style: page", "rest.yaml:8:7",
      "it belongs to style: next or cursor"}},
    {"first_with_offset",
     paged("      style: offset\n      first: 0\n"),
     {"paging.first has no meaning with style: offset", "it belongs to style: page"}},
    {"parameter_with_link",
     paged("      style: link\n      parameter: page\n"),
     {"paging.parameter has no meaning with style: link", "page, offset or cursor"}},
    {"items_with_none",
     paged("      style: none\n      items: a\n      size: 5\n"),
     {"paging.items has no meaning with style: none", "paging.size has no meaning with style: none"}},
    {"size_without_parameter",
     paged("      style: link\n      size: 50\n"),
     {"sources.inventory.paging.size has no parameter to go in", "rest.yaml:8:7", "size_parameter"}},
    {"cursor_without_next",
     paged("      style: cursor\n      items: devices\n"),
     {"sources.inventory.paging.next is missing", "meta.next_cursor"}},
    {"cursor_without_items",
     paged("      style: cursor\n      next: cursor\n"),
     {"sources.inventory.paging.items must say where the list stands with style: cursor", "rest.yaml:6:5"}},
    {"next_in_a_list",
     paged("      style: next\n      items: ''\n"),
     {"paging.items must say where the list stands with style: next", "rest.yaml:8:7", "such as results"}},
    {"next_is_empty",
     paged("      style: next\n      next: ''\n"),
     {"sources.inventory.paging.next is empty", "rest.yaml:8:13"}},
    {"total_of_a_list",
     paged("      style: page\n      total: count\n"),
     {"sources.inventory.paging.total needs items", "rest.yaml:8:7"}},
    {"parameter_is_no_name",
     paged("      style: page\n      parameter: 'page='\n"),
     {"paging.parameter must be a query parameter's name, is 'page='", "rest.yaml:8:18"}},
    {"one_parameter_twice",
     paged("      style: page\n      size_parameter: page\n"),
     {"paging.size_parameter and the page's parameter are both 'page'", "rest.yaml:8:23"}},
    {"size_of_nothing",
     paged("      style: page\n      size_parameter: n\n      size: 0\n"),
     {"paging.size must be between 1 and 100000, is 0"}},
};

class wrong_rest_source : public testing::TestWithParam<wrong> {};

TEST_P(wrong_rest_source, says_what_is_wrong_and_where) {
  auto const& w = GetParam();
  auto const outcome = load_rest(w.text);
  auto const text = everything(outcome);
  EXPECT_FALSE(outcome.value.has_value()) << text;
  for (auto const& part : w.expected) EXPECT_NE(text.find(part), text.npos) << "missing: " << part << "\nin:\n" << text;
  for (auto const& part : w.unwanted) EXPECT_EQ(text.find(part), text.npos) << "shown: " << part << "\nin:\n" << text;
}

INSTANTIATE_TEST_SUITE_P(table, wrong_rest_source, testing::ValuesIn(cases),
                         [](auto const& one) { return std::string(one.param.name); });

}  // namespace
