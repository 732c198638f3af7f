// Pages as services send them, without a network: Link headers, URLs, lists, and every way they can go wrong.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/source/paging.hpp"

namespace {

using namespace weir;
using nlohmann::json;
using source::pager;
using styles = config::paging::styles;
using text = std::optional<std::string>;

std::vector<std::string> const urls{"https://cmdb.example/api"};

config::paging how(styles style) {
  config::paging p;
  p.style = style;
  if (style == styles::next) p.items = "results", p.next = "next";
  if (style == styles::cursor) p.items = "devices", p.next = "meta.next_cursor", p.parameter = "cursor";
  if (style == styles::page) p.parameter = "page";
  if (style == styles::offset) p.parameter = "offset", p.items = "rows";
  return p;
}

// A service as a map from targets to answers. What the stage gets, or the error as text.
struct service {
  struct page {
    std::string body;
    std::vector<std::string> links = {};
  };
  std::map<std::string, page> pages;
  std::vector<std::string> asked = {};
  std::size_t max_bytes = 1 << 20;

  std::string read(config::paging const& p, std::string const& target = "/devices") {
    asked.clear();
    pager list(p, urls, target, max_bytes);
    for (;;) {
      EXPECT_LT(asked.size(), 50u) << "it never ends";
      if (asked.size() >= 50) return "";
      asked.push_back(list.target());
      EXPECT_EQ(list.page(), asked.size());
      auto const found = pages.find(list.target());
      if (found == pages.end()) return "not there: " + list.target();
      auto const step = list.take({found->second.body, found->second.links, "application/json",
                                   source::address_of(urls, list.target(), "https://cmdb.example")});
      if (!step) return "error: the answer " + step.error().text();
      if (*step == pager::step::done) return list.take_body();
    }
  }
};

void expect_error(std::string const& got, std::vector<std::string> const& parts) {
  EXPECT_TRUE(got.starts_with("error: ")) << got;
  for (auto const& part : parts) EXPECT_NE(got.find(part), std::string::npos) << "missing: " << part << "\nin: " << got;
}

// ---- Link headers

std::string links(std::string_view header) {
  auto const parsed = source::parse_link_header(header);
  if (!parsed) return "malformed";
  std::string out;
  for (auto const& l : *parsed) out += "[" + l.target + "|" + l.relations + (l.anchored ? "|anchored]" : "]");
  return out;
}

TEST(link_header, as_services_write_it) {
  EXPECT_EQ(links("<https://api.github.com/repositories/1/issues?page=2>; rel=\"next\", "
                  "<https://api.github.com/repositories/1/issues?page=50>; rel=\"last\""),
            "[https://api.github.com/repositories/1/issues?page=2|next]"
            "[https://api.github.com/repositories/1/issues?page=50|last]");
  EXPECT_EQ(links("</x?a=1,2;3>;rel=next"), "[/x?a=1,2;3|next]");
  EXPECT_EQ(links("<a> ; REL = \"Prev  NEXT\"; title=\"a, \\\"b\\\"; <c>\" , <d>;rel=first;rel=next"),
            "[a|prev  next][d|first]");
  EXPECT_EQ(links("<a>; rel=next; anchor=\"/other\""), "[a|next|anchored]");
  EXPECT_EQ(links("<a>; title*=UTF-8''x; rel=next; crossorigin"), "[a|next]");
  EXPECT_EQ(links(" , ,<a>;rel=\"next\",,"), "[a|next]");
  EXPECT_EQ(links("<>; rel=next"), "[|next]");
  EXPECT_EQ(links(""), "");
}

TEST(link_header, that_cannot_be_read) {
  for (auto const* bad : {"<a", "a; rel=next", "<a>; rel=\"next", "<a> rel=next", "<a>; rel=\"x\\", "<a>; rel=next <b>",
                          "<a <b>; rel=next", "next", "<a>; rel=\"next\"x"})
    EXPECT_EQ(links(bad), "malformed") << bad;
}

// ---- URLs

TEST(urls, origins) {
  EXPECT_EQ(source::origin_of("HTTPS://CMDB.example:443/x?y"), text("https://cmdb.example"));
  EXPECT_EQ(source::origin_of("http://cmdb.example:80"), text("http://cmdb.example"));
  EXPECT_EQ(source::origin_of("http://cmdb.example:443/"), text("http://cmdb.example:443"));
  EXPECT_EQ(source::origin_of("https://cmdb.example:0443?x"), text("https://cmdb.example"));
  EXPECT_EQ(source::origin_of("https://[2001:DB8::1]:8443/"), text("https://[2001:db8::1]:8443"));
  EXPECT_EQ(source::origin_of("https://[::1]/"), text("https://[::1]"));
  for (auto const* bad : {"", "/x", "//cmdb.example/x", "ftp://cmdb.example/", "https:cmdb.example", "https:///x",
                          "https://cmdb.example@evil.example/", "https://u:p@cmdb.example/", "https://cmdb.example\\x",
                          "https://cmdb.example /", "https://cmdb.example\n", "https://:443/", "https://a:b/",
                          "https://a:99999/", "javascript:alert(1)"})
    EXPECT_EQ(source::origin_of(bad), text()) << bad;
}

TEST(urls, references) {
  // RFC 3986 section 5.4, as far as http goes.
  std::string const base = "http://a/b/c/d;p?q";
  std::vector<std::pair<std::string, std::string>> const cases = {{"g", "http://a/b/c/g"},
                                                                  {"./g", "http://a/b/c/g"},
                                                                  {"g/", "http://a/b/c/g/"},
                                                                  {"/g", "http://a/g"},
                                                                  {"//g", "http://g/"},
                                                                  {"?y", "http://a/b/c/d;p?y"},
                                                                  {"g?y", "http://a/b/c/g?y"},
                                                                  {"#s", "http://a/b/c/d;p?q"},
                                                                  {"g#s", "http://a/b/c/g"},
                                                                  {"", "http://a/b/c/d;p?q"},
                                                                  {".", "http://a/b/c/"},
                                                                  {"..", "http://a/b/"},
                                                                  {"../g", "http://a/b/g"},
                                                                  {"../../g", "http://a/g"},
                                                                  {"../../../g", "http://a/g"},
                                                                  {"/./g", "http://a/g"},
                                                                  {"/../g", "http://a/g"},
                                                                  {"g..", "http://a/b/c/g.."},
                                                                  {"g;x=1/../y", "http://a/b/c/y"},
                                                                  {"g?y/../x", "http://a/b/c/g?y/../x"},
                                                                  {"https://h/x", "https://h/x"}};
  for (auto const& [reference, expected] : cases) EXPECT_EQ(source::resolve(base, reference), expected) << reference;
  EXPECT_EQ(source::resolve("https://h", "x"), "https://h/x");
  EXPECT_EQ(source::resolve("https://h", "?x"), "https://h/?x");
}

TEST(urls, targets_on_the_same_origin_only) {
  std::vector<std::string> const two{"https://a.example/api", "https://b.example:8443"};
  auto const target = [&](std::string const& url) {
    auto const found = source::target_of(two, url);
    return found ? *found : "error: " + found.error().text();
  };
  EXPECT_EQ(target("https://a.example/api/devices?page=2#x"), "/devices?page=2");
  EXPECT_EQ(target("https://A.example:443/api/devices"), "/devices");
  EXPECT_EQ(target("https://b.example:8443/devices"), "/devices");
  EXPECT_EQ(target("https://b.example:8443"), "/");
  // Another part of the same server.
  EXPECT_EQ(target("https://a.example/apix/devices"), "https://a.example/apix/devices");
  EXPECT_EQ(target("https://a.example/api/../v2/devices"), "https://a.example/v2/devices");
  for (auto const* other :
       {"http://a.example/api/devices", "https://a.example:8443/api", "https://evil.example/api/devices?token=1",
        "https://a.example.evil.example/", "https://b.example/devices"})
    expect_error(target(other), {"credentials are never sent to another origin"});
  expect_error(target("https://evil.example/api?secret=x"),
               {"is on https://evil.example, not on https://a.example or https://b.example:8443"});
  EXPECT_EQ(target("https://evil.example/api?secret=x").find("secret"), std::string::npos);
  expect_error(target("http://a.example/api/devices"), {"X-Forwarded-Proto"});
  for (auto const* bad : {"https://a.example@evil.example/", "ftp://a.example/", "https://a.example\\@evil.example/"})
    expect_error(target(bad), {"is no http(s) URL"});
}

TEST(urls, addresses_of_targets) {
  std::vector<std::string> const two{"https://a.example/api", "https://b.example:8443"};
  EXPECT_EQ(source::address_of(two, "/x?y", "https://a.example"), "https://a.example/api/x?y");
  EXPECT_EQ(source::address_of(two, "/x", "https://b.example:8443"), "https://b.example:8443/x");
  EXPECT_EQ(source::address_of(two, "https://a.example/v2", "https://a.example"), "https://a.example/v2");
}

// ---- JSON

TEST(json_text, what_stands_at_a_path) {
  std::string const body =
      "\xEF\xBB\xBF { \"a\" : {\"b.c\": [1, 2.50, {\"x\":\"]\\\"\"}], \"b\": {\"c\": 7}},"
      "\"\\u0061\\n\":true,\"n\":12 , \"e\":{},\"n\":13}\n";
  EXPECT_EQ(source::json_at(body, "a.b.c"), "[1, 2.50, {\"x\":\"]\\\"\"}]");
  EXPECT_EQ(source::json_at(body, "a.b"), "{\"c\": 7}");
  EXPECT_EQ(source::json_at(body, "a\n"), "true");
  EXPECT_EQ(source::json_at(body, "n"), "13") << "the last of two";
  EXPECT_EQ(source::json_at(body, "e"), "{}");
  for (auto const* nowhere : {"x", "a.x", "n.x", "a.", ".", "e.x", "a.b.c.d"})
    EXPECT_FALSE(source::json_at(body, nowhere)) << nowhere;
  EXPECT_EQ(source::json_at(" [1] ", ""), "[1]");
  EXPECT_EQ(source::json_at("{\"value\":[],\"@odata.nextLink\":\"x\"}", "@odata.nextLink"), "\"x\"");
}

TEST(json_text, items_as_they_are_written) {
  auto const items = source::json_items(" [ 1.10 ,\"a,]\\\\\" , {\"b\" : [1,{}]},[], null,-1e5,[[]] ] ");
  ASSERT_TRUE(items);
  std::vector<std::string_view> const expected = {"1.10", "\"a,]\\\\\"", "{\"b\" : [1,{}]}", "[]", "null",
                                                  "-1e5", "[[]]"};
  EXPECT_EQ(*items, expected);
  EXPECT_EQ(source::json_items("[]")->size(), 0u);
  EXPECT_FALSE(source::json_items("{}"));
  EXPECT_FALSE(source::json_items("\"[]\""));
}

// ---- styles

TEST(pages, without_paging_everything_comes_as_it_is) {
  service s{{{"/devices?page=1", {"a;b\n1;2\n"}}, {"/devices", {" {\"x\": 1} "}}}};
  EXPECT_EQ(s.read(how(styles::none)), " {\"x\": 1} ");
  EXPECT_EQ(s.read(how(styles::none), "/devices?page=1"), "a;b\n1;2\n");
}

TEST(pages, link) {
  auto p = how(styles::link);
  p.size_parameter = "per_page";
  p.size = 2;
  service s{
      {{"/devices?per_page=2",
        {"[1, 2.50]", {"<https://cmdb.example/api/devices?per_page=2&page=2>; rel=\"next\"", "<x>; rel=\"last\""}}},
       {"/devices?per_page=2&page=2", {"[ ]", {"</api/devices?per_page=2&page=3>; rel=\"prev next\""}}},
       {"/devices?per_page=2&page=3", {"[{\"a\" : 3}]", {"<?page=1>; rel=\"first\""}}}}};
  EXPECT_EQ(s.read(p), "[1,2.50,{\"a\" : 3}]") << "an empty page in the middle is no end";
  EXPECT_EQ(s.asked.size(), 3u);
}

TEST(pages, link_without_a_next_page) {
  service s{{{"/devices", {"[]"}}, {"/devices/1", {"{\"id\": 1}"}}, {"/devices/2", {""}}}};
  EXPECT_EQ(s.read(how(styles::link)), "[]");
  EXPECT_EQ(s.read(how(styles::link), "/devices/1"), "{\"id\": 1}");
  EXPECT_EQ(s.read(how(styles::link), "/devices/2"), "");
}

TEST(pages, link_headers_that_cannot_be_trusted) {
  auto const with = [](std::vector<std::string> headers) {
    service s{{{"/devices", {"[1]", std::move(headers)}}}};
    return s.read(how(styles::link));
  };
  expect_error(with({"<https://cmdb.example/api/devices?page=2; rel=\"next\""}), {"Link header that cannot be read"});
  expect_error(with({"<?page=2>; rel=next", "<?page=3>; rel=next"}), {"two different next pages"});
  expect_error(with({"<https://evil.example/api/devices>; rel=next"}),
               {"names a next page (Link header) that is on https://evil.example, not on https://cmdb.example"});
  EXPECT_EQ(with({"<?page=2>; rel=next"}), "not there: /devices?page=2");
  EXPECT_EQ(with({"<?page=2>; rel=next; anchor=\"/other\""}), "[1]");
}

TEST(pages, next) {
  service s{{{"/devices", {R"({"count":3,"next":"https://cmdb.example:443/api/devices?cursor=b%2B","results":[1,2]})"}},
             {"/devices?cursor=b%2B", {R"({"next":"?cursor=c","results":[3]})"}},
             {"/devices?cursor=c", {R"({"next":null,"results":[]})"}}}};
  EXPECT_EQ(s.read(how(styles::next)), "[1,2,3]");
  auto p = how(styles::next);
  p.items = "data.items";
  p.next = "_links.next.href";
  service hal{{{"/devices", {R"({"data":{"items":["a"]},"_links":{"next":{"href":"/api/devices/2"}}})"}},
               {"/devices/2", {R"({"data":{"items":["b"]},"_links":{"self":{}}})"}}}};
  EXPECT_EQ(hal.read(p), R"(["a","b"])");
  for (auto const* end : {"null", "\"\"", "false"}) {
    service one{{{"/devices", {std::string(R"({"results":[1],"next":)") + end + "}"}}}};
    EXPECT_EQ(one.read(how(styles::next)), "[1]") << end;
  }
}

TEST(pages, next_that_cannot_be_followed) {
  auto const with = [](std::string const& next) {
    service s{{{"/devices", {R"({"results":[1],"next":)" + next + "}"}}}};
    return s.read(how(styles::next));
  };
  expect_error(with("2"), {"has no URL at 'next', but 2", "paging.next"});
  expect_error(with("\"https://evil.example/?t=geheim\""),
               {"names a next page ('next') that is on https://evil.example"});
  EXPECT_EQ(with("\"https://evil.example/?t=geheim\"").find("geheim"), std::string::npos);
  expect_error(with("\"//evil.example/\""), {"is on https://evil.example"});
  expect_error(with("\"javascript:1\""), {"is no http(s) URL"});
  expect_error(with("\"https://cmdb.example@evil.example/\""), {"is no http(s) URL"});
  expect_error(with("\"/api/devices\""), {"asked for before", "circles"});
  expect_error(with("\"#\""), {"asked for before"});
}

TEST(pages, page) {
  auto p = how(styles::page);
  p.size_parameter = "per_page";
  p.size = 3;
  service s{{{"/devices?site=x&per_page=3&page=1", {"[1,2]"}},  // the service's own limit is lower
             {"/devices?site=x&per_page=3&page=2", {"[3]"}},
             {"/devices?site=x&per_page=3&page=3", {"[4,5]"}},
             {"/devices?site=x&per_page=3&page=4", {"[]"}}}};
  EXPECT_EQ(s.read(p, "/devices?site=x"), "[1,2,3,4,5]") << "a short page is no end";
  p.first = 0;
  p.size_parameter.clear();
  service zero{{{"/devices?page=0", {"[1]"}}, {"/devices?page=1", {"[]"}}}};
  EXPECT_EQ(zero.read(p), "[1]");
  service none{{{"/devices?page=0", {"[]"}}}};
  EXPECT_EQ(none.read(p), "[]");
}

TEST(pages, offset_counts_what_came) {
  auto p = how(styles::offset);
  p.size_parameter = "limit";
  p.size = 500;
  p.total = "total";
  service s{{{"/devices?limit=500&offset=0", {R"({"total":5,"rows":[1,2]})"}},
             {"/devices?limit=500&offset=2", {R"({"total":5,"rows":[3,4]})"}},
             {"/devices?limit=500&offset=4", {R"({"total":5,"rows":[5]})"}}}};
  EXPECT_EQ(s.read(p), "[1,2,3,4,5]");
  EXPECT_EQ(s.asked.size(), 3u) << "the total tells the end";
  service without{
      {{"/devices?limit=20&offset=0", {R"({"rows":[1]})"}}, {"/devices?limit=20&offset=1", {R"({"rows":[]})"}}}};
  p.total.clear();
  EXPECT_EQ(without.read(p, "/devices?limit=20"), "[1]") << "the stage's own size stays";
}

TEST(pages, cursor) {
  auto p = how(styles::cursor);
  p.size_parameter = "limit";
  service s{{{"/devices?limit=100", {R"({"devices":[1],"meta":{"next_cursor":"a+/=&"}})"}},
             {"/devices?limit=100&cursor=a%2B%2F%3D%26", {R"({"devices":[],"meta":{"next_cursor":17}})"}},
             {"/devices?limit=100&cursor=17", {R"({"devices":[2],"meta":{"next_cursor":""}})"}}}};
  EXPECT_EQ(s.read(p), "[1,2]");
  service one{{{"/devices?limit=100", {R"({"devices":[1],"meta":{}})"}}}};
  EXPECT_EQ(one.read(p), "[1]");
  service odd{{{"/devices?limit=100", {R"({"devices":[1],"meta":{"next_cursor":{"a":1}}})"}}}};
  expect_error(odd.read(p), {"has no cursor at 'meta.next_cursor', but {\"a\":1}"});
}

TEST(pages, of_the_stages_own_are_left_alone) {
  auto p = how(styles::page);
  p.size_parameter = "per_page";
  service s{{{"/devices?page=7&x", {"[ 1 ]"}}}};
  EXPECT_EQ(s.read(p, "/devices?page=7&x"), "[ 1 ]");
}

// ---- never half a list taken for whole

TEST(pages, going_round_in_circles) {
  service same{{{"/devices?page=1", {"[1,2]"}}, {"/devices?page=2", {"[1,2]"}}}};
  expect_error(same.read(how(styles::page)), {"a page that came before", "'page'", "paged at all"});
  EXPECT_EQ(same.asked.size(), 2u);
  service cursor{{{"/devices", {R"({"devices":[1],"meta":{"next_cursor":"a"}})"}},
                  {"/devices?cursor=a", {R"({"devices":[2],"meta":{"next_cursor":"a"}})"}}}};
  expect_error(cursor.read(how(styles::cursor)), {"asked for before"});
  service next{{{"/devices", {R"({"results":[1],"next":"?p=2"})"}},
                {"/devices?p=2", {R"({"results":[2],"next":"?p=3"})"}},
                {"/devices?p=3", {R"({"results":[3],"next":"?p=2"})"}}}};
  expect_error(next.read(how(styles::next)), {"asked for before"});
}

TEST(pages, more_than_max_pages) {
  auto p = how(styles::page);
  p.max_pages = 2;
  service s{{{"/devices?page=1", {"[1]"}}, {"/devices?page=2", {"[2]"}}, {"/devices?page=3", {"[]"}}}};
  expect_error(s.read(p), {"is page 2 (2 items so far) and there are more", "max_pages"});
  p.max_pages = 3;
  EXPECT_EQ(s.read(p), "[1,2]");
}

TEST(pages, a_list_that_shrinks) {
  auto p = how(styles::offset);
  p.total = "total";
  service s{
      {{"/devices?offset=0", {R"({"total":4,"rows":[1,2]})"}}, {"/devices?offset=2", {R"({"total":3,"rows":[4]})"}}}};
  expect_error(s.read(p), {"has 3 items, the page before it said 4", "shrank"});
  service short_one{
      {{"/devices?offset=0", {R"({"total":4,"rows":[1,2]})"}}, {"/devices?offset=2", {R"({"total":4,"rows":[]})"}}}};
  expect_error(short_one.read(p), {"ends the list with 2 items, but 'total' says 4"});
  service long_one{{{"/devices?offset=0", {R"({"total":1,"rows":[1,2]})"}}}};
  expect_error(long_one.read(p), {"ends the list with 2 items, but 'total' says 1"});
  service grows{
      {{"/devices?offset=0", {R"({"total":3,"rows":[1,2]})"}}, {"/devices?offset=2", {R"({"total":4,"rows":[3,4]})"}}}};
  EXPECT_EQ(grows.read(p), "[1,2,3,4]");
  for (auto const* odd : {R"({"rows":[1]})", R"({"total":"many","rows":[1]})", R"({"total":-1,"rows":[1]})",
                          R"({"total":99999999999999999999,"rows":[1]})"}) {
    service strange{{{"/devices?offset=0", {odd}}}};
    expect_error(strange.read(p), {"does not say how many items there are at 'total'"});
  }
  auto n = how(styles::next);
  n.total = "count";
  service drf{{{"/devices", {R"({"count":3,"next":null,"results":[1,2]})"}}}};
  expect_error(drf.read(n), {"2 items, but 'count' says 3"});
}

TEST(pages, without_the_list_where_it_should_be) {
  service later{
      {{"/devices", {R"({"results":[1],"next":"?p=2"})"}}, {"/devices?p=2", {R"({"detail":"oops","next":null})"}}}};
  expect_error(later.read(how(styles::next)),
               {"has no list at 'results'; it has detail, next", "unlike the pages before"});
  auto p = how(styles::next);
  p.items = "result";
  expect_error(later.read(p),
               {"has no list at 'result'; it has results, next", "yet it names a next page", "paging.items"});
  service single{{{"/devices/1", {R"({"id":1,"next":null,"results":{}})"}}}};
  EXPECT_EQ(single.read(how(styles::next), "/devices/1"), R"({"id":1,"next":null,"results":{}})");
  service object{{{"/devices?page=1", {"[1]"}}, {"/devices?page=2", {"{}"}}}};
  expect_error(object.read(how(styles::page)), {"is not a list, unlike the pages before"});
}

TEST(pages, that_are_no_json) {
  for (auto const* bad : {"[1,2", "a;b", "[1]x", "<x/>", "[\"\xff\"]", "[1,]", "[1 2]"}) {
    service s{{{"/devices?page=1", {bad}}}};
    expect_error(s.read(how(styles::page)), {"is not JSON", "application/json"});
  }
  service later{{{"/devices?page=1", {"[1]"}}, {"/devices?page=2", {""}}}};
  expect_error(later.read(how(styles::page)), {"is not JSON"});
}

TEST(pages, of_more_bytes_than_the_limit) {
  service s{{{"/devices?page=1", {"[\"" + std::string(60, 'x') + "\"]"}},
             {"/devices?page=2", {"[\"" + std::string(60, 'y') + "\"]"}},
             {"/devices?page=3", {"[]"}}}};
  s.max_bytes = 120;
  expect_error(s.read(how(styles::page)), {"too much", "more than 120 bytes"});
  s.max_bytes = 200;
  EXPECT_EQ(json::parse(s.read(how(styles::page))).size(), 2u);
}

TEST(pages, deep_ones_cost_no_stack) {
  auto const deep = "[" + std::string(200'000, '[') + std::string(200'000, ']') + "]";
  service s{{{"/devices?page=1", {deep}}, {"/devices?page=2", {"[]"}}}};
  EXPECT_EQ(s.read(how(styles::page)), deep);
}

}  // namespace
