#include "core/netbox/client.hpp"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;
using throttle::method;

constexpr std::size_t page_size = 1000;     // NetBox's MAX_PAGE_SIZE by default; a smaller one is followed, too
constexpr std::size_t most_pages = 100000;  // a server that always says "next" must not keep us for ever

bool is_json(http::reply const& r) { return r.header("content-type").find("json") != std::string_view::npos; }

std::string what(method m, std::string_view target) {
  return std::string(throttle::name(m)) + " /api" + std::string(target.substr(0, target.find('?')));
}

// "4.7.3", "v4.7.3-Docker" ► 4, 7
bool parse_version(std::string_view text, int& major, int& minor) {
  if (!text.empty() && (text[0] == 'v' || text[0] == 'V')) text.remove_prefix(1);
  auto const dot = text.find('.');
  if (dot == std::string_view::npos) return false;
  auto const a = std::from_chars(text.data(), text.data() + dot, major);
  auto const b = std::from_chars(text.data() + dot + 1, text.data() + text.size(), minor);
  return a.ec == std::errc{} && b.ec == std::errc{};
}

base::error no_json(http::reply const& r, std::string const& tried) {
  auto const detail = parse_blame(r.body).detail;
  return base::fail(base::error_code::unreachable,
                    tried + ": HTTP " + std::to_string(r.status) + ", but the answer is not NetBox's JSON: " + detail,
                    "is netbox.url NetBox's own address (not a login page, a proxy or another service)?");
}

}  // namespace

client::client(http::client& wire, config::netbox const& where, config::profile const& timeouts)
    : wire_(wire), where_(where), timeout_(timeouts.request_timeout), connect_timeout_(timeouts.connect_timeout) {}

http::call client::make(method verb, std::string_view target, std::string body, std::string const& lane) const {
  http::call c;
  c.lane = lane;
  c.request.verb = verb;
  c.request.url = where_.url + "/api" + std::string(target);
  c.request.timeout = timeout_;
  c.request.connect_timeout = connect_timeout_;
  c.request.headers.emplace_back("Accept", "application/json");
  // The prefix decides for NetBox, the keyword does not; v2 tokens are documented with Bearer.
  auto const& token = where_.token.reveal();
  c.request.headers.emplace_back("Authorization", (token.starts_with("nbt_") ? "Bearer " : "Token ") + token);
  if (!body.empty()) {
    c.request.headers.emplace_back("Content-Type", "application/json");
    c.request.body = std::move(body);
  }
  return c;
}

base::result<server_info> client::status() {
  auto const got = wire_.send_and_wait(make(method::get, "/status/", {}, "start"));
  auto const tried = "GET " + where_.url + "/api/status/";
  if (got.outcome != throttle::outcome::ok) {
    auto e = describe(got, tried);
    // Another service on that address answers 404 or the like with a page of its own.
    if (got.outcome == throttle::outcome::data) {
      e.code = base::error_code::unreachable;
      e.hint = "is netbox.url NetBox's own address?";
    } else if (got.reply.status == 401 && !is_json(got.reply)) {
      e.hint = "something in front of NetBox asks for a login: is netbox.url NetBox's own address?";
    }
    return e;
  }
  auto const parsed = json::parse(got.reply.body, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("netbox-version") || !parsed.at("netbox-version").is_string())
    return no_json(got.reply, tried);
  server_info info;
  info.version = parsed.at("netbox-version").get<std::string>();
  if (!parse_version(info.version, info.major, info.minor))
    return base::fail(
        base::error_code::unreachable, tried + ": NetBox calls itself version '" + info.version + "'",
        "weir needs NetBox " + std::to_string(oldest_major) + "." + std::to_string(oldest_minor) + " or newer");
  if (std::pair(info.major, info.minor) < std::pair(oldest_major, oldest_minor))
    return base::fail(base::error_code::unreachable,
                      "NetBox at " + where_.url + " is version " + info.version + ", too old for weir",
                      "weir needs NetBox " + std::to_string(oldest_major) + "." + std::to_string(oldest_minor) +
                          " or newer: upgrade NetBox");
  cursor_ = std::pair(info.major, info.minor) >= std::pair(4, 6);
  if (parsed.contains("plugins") && parsed.at("plugins").is_object())
    for (auto const& [name, version] : parsed.at("plugins").items())
      info.plugins[name] = version.is_string() ? version.get<std::string>() : version.dump();
  return info;
}

base::result<void> client::read_all(kind const& k, std::vector<std::string> const& fields, std::string const& lane,
                                    std::function<void(json const&)> const& each) {
  std::string const query =
      "/" + k.path + "/?limit=" + std::to_string(page_size) + "&fields=id," + base::join(fields, ",");
  std::uint64_t next_id = 0;  // cursor: the smallest id wanted
  std::size_t offset = 0;     // older NetBox
  for (std::size_t page = 0; page < most_pages; ++page) {
    auto const target =
        query + (cursor_ ? "&start=" + std::to_string(next_id) : "&ordering=id&offset=" + std::to_string(offset));
    auto const got = wire_.send_and_wait(make(method::get, target, {}, lane));
    auto const tried = "reading " + k.title + "s, " + what(method::get, target);
    if (got.outcome != throttle::outcome::ok) {
      auto e = describe(got, tried);
      if (got.outcome == throttle::outcome::credentials)
        e.hint = "give the token's user the permission " + k.permission("view");
      return e;
    }
    auto const parsed = json::parse(got.reply.body, nullptr, false);
    if (!parsed.is_object() || !parsed.contains("results") || !parsed.at("results").is_array())
      return no_json(got.reply, tried);
    auto const& results = parsed.at("results");
    std::size_t seen = 0;
    for (auto const& object : results) {
      auto const id = object.is_object() ? object.find("id") : object.end();
      if (!object.is_object() || id == object.end() || !id->is_number_unsigned())
        return base::fail(base::error_code::unreachable, tried + ": an object without an id came back");
      auto const value = id->get<std::uint64_t>();
      if (cursor_ && value < next_id) continue;  // never twice, whatever the server does
      next_id = value + 1;
      ++seen;
      each(object);
    }
    offset += results.size();
    // The link itself is not followed: its host is whatever the request's Host header made of it.
    if (!parsed.contains("next") || parsed.at("next").is_null() || seen == 0) return {};
  }
  return base::fail("reading " + k.title + "s: more than " + std::to_string(most_pages) + " pages");
}

void client::write(method verb, kind const& k, std::string body, std::size_t objects, std::string const& lane,
                   std::function<void(http::answer)> done) {
  auto c = make(verb, "/" + k.path + "/", std::move(body), lane);
  c.objects = objects;
  wire_.send(std::move(c), std::move(done));
}

http::answer client::raw(method verb, std::string_view target, std::string body, std::string const& lane) {
  return wire_.send_and_wait(make(verb, target, std::move(body), lane));
}

}  // namespace weir::netbox
