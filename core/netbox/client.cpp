#include "core/netbox/client.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;
using throttle::method;

constexpr std::size_t page_size = 1000;     // at most: NetBox's MAX_PAGE_SIZE by default; a smaller one is followed
constexpr std::size_t most_ids = 100;       // in one query: some 1 kB of URL
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

// "/dcim/devices/17/?x=y" ► "dcim/devices/{id}": latencies are compared within it.
std::string endpoint_of(std::string_view target) {
  target = target.substr(0, target.find('?'));
  std::string out;
  while (!target.empty()) {
    auto const end = std::min(target.find('/'), target.size());
    auto const part = target.substr(0, end);
    target.remove_prefix(std::min(end + 1, target.size()));
    if (part.empty()) continue;
    if (!out.empty()) out += '/';
    out += part.find_first_not_of("0123456789") == std::string_view::npos ? "{id}" : std::string(part);
  }
  return out;
}

}  // namespace

client::client(http::client& wire, config::netbox const& where, config::profile const& timeouts)
    : wire_(wire), where_(where), timeout_(timeouts.request_timeout), connect_timeout_(timeouts.connect_timeout) {
  auto probe = make(method::get, "/status/", {}, "").request;
  probe.timeout = std::min(probe.timeout, std::chrono::milliseconds(15000));
  wire_.probe_with(std::move(probe));
}

http::call client::make(method verb, std::string_view target, std::string body, std::string const& lane) const {
  http::call c;
  c.lane = lane;
  c.endpoint = endpoint_of(target);
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
  auto first = make(method::get, "/status/", {}, "start");
  first.impatient = true;  // whoever starts a run wants to know soon that nobody is there
  auto const got = wire_.send_and_wait(std::move(first));
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
  if (auto const date = throttle::parse_http_date(got.reply.header("date")))
    ahead_ = *date - std::chrono::floor<std::chrono::seconds>(wire_.on().wall_now()).time_since_epoch();
  cursor_ = std::pair(info.major, info.minor) >= std::pair(4, 6);
  if (parsed.contains("plugins") && parsed.at("plugins").is_object())
    for (auto const& [name, version] : parsed.at("plugins").items())
      info.plugins[name] = version.is_string() ? version.get<std::string>() : version.dump();
  if (auto const workers = parsed.find("rq-workers-running"); workers != parsed.end() && workers->is_number_integer())
    info.rq_workers = workers->get<int>();
  return info;
}

std::chrono::system_clock::time_point client::server_time() const { return wire_.on().wall_now() + ahead_; }

std::size_t client::list_size(method verb, kind const& k, std::size_t ceiling) const {
  return wire_.list_size(verb, k.path, ceiling);
}

base::result<std::vector<client::logged_change>> client::find_changes(std::string_view query, std::string_view marker,
                                                                      std::string const& lane) {
  // The newest come first, and a list has 500 objects at most.
  auto const target = "/core/object-changes/?limit=1000&ordering=-time&q=" + base::url_encode(query) +
                      "&fields=id,action,changed_object_type,changed_object_id,message";
  auto const got = wire_.send_and_wait(make(method::get, target, {}, lane));
  auto const tried = "asking the change log, " + what(method::get, target);
  if (got.outcome != throttle::outcome::ok) {
    auto e = describe(got, tried);
    if (got.outcome == throttle::outcome::credentials)
      e.hint = "with the permission core.view_objectchange a lost answer costs one request instead of several";
    return e;
  }
  auto found = parse_changes(got.reply.body, marker);
  if (!found) return no_json(got.reply, tried);
  return std::move(*found);
}

std::optional<std::vector<client::logged_change>> client::parse_changes(std::string_view body,
                                                                        std::string_view marker) {
  auto const parsed = json::parse(body, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("results") || !parsed.at("results").is_array()) return {};
  std::vector<logged_change> out;
  for (auto const& entry : parsed.at("results")) {
    if (!entry.is_object() || entry.value("message", json()) != marker) continue;  // no filter is trusted
    auto const id = entry.find("changed_object_id");
    auto const action = entry.find("action");
    if (id == entry.end() || !id->is_number_unsigned() || action == entry.end()) continue;
    logged_change c;
    c.object_id = id->get<std::uint64_t>();
    auto const& verb = action->is_object() ? action->value("value", json()) : *action;
    if (verb.is_string()) c.action = verb.get<std::string>();
    if (auto const type = entry.find("changed_object_type"); type != entry.end() && type->is_string())
      c.object_type = type->get<std::string>();
    out.push_back(std::move(c));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

base::result<void> client::read_all(kind const& k, std::vector<std::string> const& fields, std::string const& lane,
                                    std::function<void(json const&)> const& each,
                                    std::optional<std::chrono::system_clock::time_point> created_since) {
  std::string query = "&fields=id," + base::join(fields, ",");
  if (created_since)
    query += "&created__gte=" +
             base::url_encode(base::format_instant(std::chrono::floor<std::chrono::microseconds>(*created_since)));
  return read_pages(k, query, std::numeric_limits<std::size_t>::max(), lane, each);
}

base::result<void> client::read_ids(kind const& k, std::vector<std::uint64_t> const& ids,
                                    std::vector<std::string> const& fields, std::string const& lane,
                                    std::function<void(json const&)> const& each) {
  for (std::size_t from = 0; from < ids.size(); from += most_ids) {
    auto const to = std::min(ids.size(), from + most_ids);
    std::set<std::uint64_t> const wanted(ids.begin() + static_cast<std::ptrdiff_t>(from),
                                         ids.begin() + static_cast<std::ptrdiff_t>(to));
    // What NetBox computes of a machine's context costs it more than all the rest.
    std::string query = fields.empty() ? "&omit=config_context" : "&fields=id," + base::join(fields, ",");
    for (auto const id : wanted) query += "&id=" + std::to_string(id);
    auto const read = read_pages(k, query, most_ids, lane, [&](json const& object) {
      if (wanted.contains(object.at("id").get<std::uint64_t>())) each(object);
    });
    if (!read) return read;
  }
  return {};
}

base::result<void> client::read_where(kind const& k, std::string const& query, std::vector<std::string> const& fields,
                                      std::size_t at_most, std::string const& lane,
                                      std::function<void(json const&)> const& each) {
  return read_pages(k, "&fields=id," + base::join(fields, ",") + "&" + query, at_most, lane, each);
}

base::result<void> client::read_pages(kind const& k, std::string const& query, std::size_t at_most,
                                      std::string const& lane, std::function<void(json const&)> const& each) {
  std::size_t given = 0;
  std::uint64_t next_id = 0;  // cursor: the smallest id wanted
  std::size_t offset = 0;     // older NetBox
  for (std::size_t page = 0; page < most_pages; ++page) {
    auto const target =
        "/" + k.path + "/?limit=" + std::to_string(list_size(method::get, k, page_size)) + query +
        (cursor_ ? "&start=" + std::to_string(next_id) : "&ordering=id&offset=" + std::to_string(offset));
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
      if (++given > at_most)
        return base::fail("reading " + k.title + "s, " + what(method::get, target) + ": more than " +
                          std::to_string(at_most) + " objects came, NetBox seems to ignore the filter");
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
                   std::function<bool()> before_attempt, std::function<void(http::answer)> done) {
  auto c = make(verb, "/" + k.path + "/", std::move(body), lane);
  c.objects = objects;
  c.before_attempt = std::move(before_attempt);
  wire_.send(std::move(c), std::move(done));
}

http::answer client::raw(method verb, std::string_view target, std::string body, std::string const& lane) {
  return wire_.send_and_wait(make(verb, target, std::move(body), lane));
}

http::answer client::options(std::string_view target, std::string const& lane) {
  auto c = make(method::get, target, {}, lane);
  c.request.options = true;
  c.endpoint += " options";  // it takes another time than a read
  return wire_.send_and_wait(std::move(c));
}

}  // namespace weir::netbox
