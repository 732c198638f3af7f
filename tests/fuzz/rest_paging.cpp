// Whatever a service answers: no Link header, URL or page may lead to another origin, to half a list or out of bounds.
// The first line is a Link header, a URL in the body or a path to look for; what follows is the body of a page.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/source/paging.hpp"

namespace {

using namespace weir;
using nlohmann::json;
using source::pager;

void expect(bool held) {
  if (!held) std::abort();
}

void expect_inside(std::string_view part, std::string_view whole) {
  expect(part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

std::vector<std::string> const urls{"https://cmdb.example/api", "http://[::1]:8080"};

bool ours(std::string_view target) {
  if (target.starts_with('/')) return true;
  auto const origin = source::origin_of(target);
  return origin == "https://cmdb.example" || origin == "http://[::1]:8080";
}

// One page again and again: it ends, and what comes out is what went in.
void read(config::paging const& how, std::string_view header, std::string_view body) {
  pager list(how, urls, "/devices", 1 << 16);
  for (int i = 0; i < 6; ++i) {
    expect(ours(list.target()));
    auto const step = list.take({std::string(body), {std::string(header)}, "", "https://cmdb.example/api/devices?x"});
    if (!step) return expect(!step.error().what.empty());
    if (*step == pager::step::more) continue;
    auto const out = list.take_body();
    auto const whole = json::parse(body, nullptr, false);
    if (whole.is_discarded() || how.style == config::paging::styles::none) return expect(out == body);
    auto const at = source::json_at(body, how.items);
    auto const got = json::parse(out, nullptr, false);
    expect(!got.is_discarded());
    if (at && at->starts_with('[')) return expect(i > 0 || got == json::parse(*at));
    return expect(out == body);
  }
  expect(false);  // max_pages is 3
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const all{reinterpret_cast<char const*>(data), size};
  auto const line = all.substr(0, all.find('\n'));
  auto const body = all.substr(std::min(line.size() + 1, all.size()));

  if (auto const links = source::parse_link_header(line))
    for (auto const& l : *links) expect(l.target.find_first_of("<>") == std::string::npos && l.target.size() <= size);

  auto const absolute = source::resolve("https://cmdb.example/api/devices?page=1", line);
  if (auto const target = source::target_of(urls, absolute)) {
    expect(ours(*target));
    // Asked for there, it names the same place again.
    auto const back = source::address_of(urls, *target, source::origin_of(absolute).value());
    expect(source::origin_of(back) == source::origin_of(absolute));
    auto const again = source::target_of(urls, back);
    expect(again && *again == *target);
  }

  if (json::accept(body)) {
    auto const document = json::parse(body);
    if (auto const at = source::json_at(body, line)) {
      expect_inside(*at, body);
      expect(json::accept(*at));
    }
    if (document.is_object() && !line.empty() && json::accept("\"" + std::string(line) + "\"")) {
      auto const name = json::parse("\"" + std::string(line) + "\"").get<std::string>();
      if (auto const member = document.find(name); member != document.end())
        expect(json::parse(source::json_at(body, name).value()) == *member);
    }
    auto const items = source::json_items(body);
    expect(items.has_value() == document.is_array());
    if (items) {
      expect(items->size() == document.size());
      for (std::size_t i = 0; i < items->size(); ++i) {
        expect_inside((*items)[i], body);
        expect(json::parse((*items)[i]) == document[i]);
      }
    }
  }

  using styles = config::paging::styles;
  config::paging how;
  how.max_pages = 3;
  for (auto const style : {styles::none, styles::link, styles::next, styles::page, styles::offset, styles::cursor}) {
    how.style = style;
    how.parameter = style == styles::page || style == styles::offset || style == styles::cursor ? "p" : "";
    how.next = style == styles::next || style == styles::cursor ? "n.x" : "";
    for (auto const* items : {"", "r"}) {
      how.items = items;
      how.total = *items != '\0' && style == styles::offset ? "t" : "";
      read(how, line, body);
    }
  }
  return 0;
}
