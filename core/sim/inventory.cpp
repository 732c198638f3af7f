#include "core/sim/inventory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <stdexcept>

namespace weir::sim {

using nlohmann::json;

namespace {

constexpr std::string_view base = "/api";

http_response error_reply(int status, std::string const& detail) {
  return json_reply(status, json{{"detail", detail}}.dump());
}

std::optional<std::size_t> to_number(std::string_view text) {
  std::size_t value = 0;
  auto const [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::string base64(std::string_view text) {
  static constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  unsigned bits = 0;
  int count = 0;
  for (char const c : text) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (count += 8; count >= 6; count -= 6) out += digits[bits >> (count - 6) & 63];
  }
  if (count > 0) out += digits[bits << (6 - count) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

// Refuses a request by a status.
struct refusal {
  int status;
  std::string detail;
};

}  // namespace

std::string generate_inventory(inventory_options const& options) {
  struct make {
    char const* manufacturer;
    char const* model;
    char const* role;
    char const* prefix;
  };
  static constexpr std::array<make, 5> makes{{{"Example Networks", "EX-48", "access-switch", "sw"},
                                              {"Example Networks", "CR-9000", "core-router", "rtr"},
                                              {"Sample Systems", "R750 \"2U\"", "server", "srv"},
                                              {"Sample Systems", "PDU-24", "pdu", "pdu"},
                                              {"Müller & Söhne", "FW-1/2", "firewall", "fw"}}};
  static constexpr std::array<char const*, 4> sites{"Berlin", "Zürich", "Oslo", "Lab"};
  static constexpr std::array<char const*, 6> states{"active", "active", "active", "active", "planned", "offline"};
  std::mt19937_64 random(options.seed);
  json out = json::array();
  for (int i = 1; i <= options.devices; ++i) {
    auto const& kind = makes[random() % makes.size()];
    auto const site = random() % sites.size();
    out.push_back({{"id", i},
                   {"name", fmt::format("{}-{}-{:04}", kind.prefix, site + 1, i)},
                   {"serial", fmt::format("SN{:010X}", random() & 0xFFFFFFFFFF)},
                   {"site", sites[site]},
                   {"manufacturer", kind.manufacturer},
                   {"model", kind.model},
                   {"role", kind.role},
                   {"status", states[random() % states.size()]}});
  }
  return out.dump();
}

struct inventory_server::state {
  inventory_options options;
  mutable std::mutex mutex;
  json devices;
  std::size_t repeat_page = 0, shrink_at = 0, pages_served = 0;
  std::string foreign_next;
  control shared;
  std::unique_ptr<http_server> server;  // last: it stops before what its handlers use goes away

  void replace(std::string const& text) {
    auto fresh = json::parse(text, nullptr, false);
    if (!fresh.is_array()) throw std::invalid_argument("model: it is no JSON array");
    for (auto const& device : fresh)
      if (!device.is_object() || !device.contains("id")) throw std::invalid_argument("model: a device has no id");
    std::lock_guard lock(mutex);
    devices = std::move(fresh);
  }

  void set(std::string const& text) {
    auto const given = json::parse(text, nullptr, false);
    if (!given.is_object()) throw std::invalid_argument("options: no JSON object");
    std::lock_guard lock(mutex);
    try {
      for (auto const& [key, value] : given.items()) {
        if (key == "repeat_page")
          repeat_page = value.get<std::size_t>();
        else if (key == "shrink_at")
          shrink_at = value.get<std::size_t>();
        else if (key == "foreign_next")
          foreign_next = value.get<std::string>();
        else
          throw std::invalid_argument("options: unknown: " + key);
      }
    } catch (json::exception const& e) {
      throw std::invalid_argument(std::string("options: ") + e.what());
    }
    pages_served = 0;
  }

  std::optional<http_response> control_path(http_request const& request) {
    bool const model = request.path() == "/_sim/model";
    if (!model && request.path() != "/_sim/options") return shared.handle(request);
    try {
      if (model && request.method == "GET") {
        std::lock_guard lock(mutex);
        return json_reply(200, devices.dump());
      }
      if (request.method != "PUT") return json_reply(405, "{}");
      if (model)
        replace(request.body);
      else
        set(request.body);
    } catch (std::invalid_argument const& e) {
      return json_reply(400, json{{"error", e.what()}}.dump());
    }
    return json_reply(200, "{}");
  }

  bool may_enter(http_request const& request) const {
    if (options.anonymous) return true;
    return request.header(options.token_header) == options.token_prefix + options.token ||
           request.header("Authorization") == "Basic " + base64(options.username + ":" + options.password);
  }

  struct window {
    json items = json::array();
    std::size_t from = 0, size = 0, total = 0;
    bool more() const { return from + items.size() < total; }
  };

  // Called with the lock held.
  window part(json const& list, std::size_t from, std::size_t size) {
    if (repeat_page > 0 && size > 0) from = std::min(from, (repeat_page - 1) * size);
    window w{json::array(), from, size, list.size()};
    for (auto i = from; i < std::min(list.size(), from + size); ++i) w.items.push_back(list[i]);
    if (shrink_at > 0 && ++pages_served % shrink_at == 0 && !devices.empty()) devices.erase(0);
    return w;
  }

  // As the service itself names the page of another query.
  std::string url_of(std::string_view path, std::string const& query) const {
    return (foreign_next.empty() ? server->url() : foreign_next) + std::string(base) + std::string(path) + "?" + query;
  }

  http_response serve(http_request const& request, std::string_view path) {
    if (options.latency.count() > 0) shared.sleep(options.latency);
    if (request.method != "GET") return error_reply(405, "Method not allowed.");
    if (path == "/health") return json_reply(200, R"({"status":"ok","version":"1.4.2"})");
    if (!may_enter(request)) {
      auto reply = error_reply(401, "Invalid token or login.");
      reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"inventory\"");
      return reply;
    }
    std::lock_guard lock(mutex);
    try {
      return answer(request, path);
    } catch (refusal const& r) {
      return error_reply(r.status, r.detail);
    }
  }

  http_response answer(http_request const& request, std::string_view path) {
    std::map<std::string, std::string> query;
    for (auto& [key, value] : parse_query(request.query())) query[key] = value;
    auto const number = [&](char const* name, std::size_t otherwise, std::size_t least) {
      if (query.count(name) == 0) return otherwise;
      auto const value = to_number(query[name]);
      if (!value || *value < least) throw refusal{400, std::string(name) + ": a number is expected."};
      return *value;
    };
    auto const size_of = [&](char const* name) {
      return std::min(number(name, static_cast<std::size_t>(options.page_size), 1),
                      static_cast<std::size_t>(options.max_page_size));
    };
    if (path.starts_with("/devices/")) {
      auto const id = to_number(path.substr(9));
      for (auto const& device : devices)
        if (id && device["id"] == *id) return json_reply(200, device.dump());
      throw refusal{404, "No such device."};
    }
    json list = json::array();
    std::string filter;  // of the list, for the addresses of other pages
    if (query.count("site") != 0) {
      for (auto const& device : devices)
        if (device.value("site", "") == query["site"]) list.push_back(device);
      auto const raw = request.query();
      auto const at = raw.starts_with("site=") ? 0 : raw.find("&site=") + 1;
      filter = std::string(raw.substr(at, raw.find('&', at) - at)) + "&";
    } else {
      list = devices;
    }
    if (path == "/devices") return json_reply(200, list.dump());
    if (path == "/link/devices" || path == "/page/devices") {
      auto const page = number("page", 1, 1), size = size_of("per_page");
      auto const w = part(list, (page - 1) * size, size);
      if (path == "/page/devices")
        return json_reply(200, json{{"data", w.items}, {"meta", {{"page", page}, {"total", w.total}}}}.dump());
      auto reply = json_reply(200, w.items.dump());
      auto const link = [&](std::size_t which, char const* relation) {
        return fmt::format("<{}>; rel=\"{}\"", url_of(path, fmt::format("{}page={}&per_page={}", filter, which, size)),
                           relation);
      };
      std::string links = link(1, "first");
      if (w.more()) links += ", " + link(page + 1, "next") + ", " + link((w.total + size - 1) / size, "last");
      reply.headers.emplace_back("Link", links);
      return reply;
    }
    if (path == "/next/devices" || path == "/offset/devices") {
      auto const from = number("offset", 0, 0), size = size_of("limit");
      auto const w = part(list, from, size);
      if (path == "/offset/devices") return json_reply(200, json{{"total", w.total}, {"rows", w.items}}.dump());
      auto const neighbour = [&](bool there, std::size_t offset) {
        return there ? json(url_of(path, fmt::format("{}limit={}&offset={}", filter, size, offset))) : json();
      };
      return json_reply(200, json{{"count", w.total},
                                  {"next", neighbour(w.more(), w.from + size)},
                                  {"previous", neighbour(from > 0, from - std::min(from, size))},
                                  {"results", w.items}}
                                 .dump());
    }
    if (path == "/cursor/devices") {
      auto const size = size_of("limit");
      std::size_t from = 0;
      if (query.count("cursor") != 0) {
        // A cursor is the encoded place; there are few enough to try them all.
        while (from <= list.size() && base64(fmt::format("device:{}", from)) != query["cursor"]) ++from;
        if (from > list.size()) throw refusal{400, "invalid_cursor"};
      }
      auto const w = part(list, from, size);
      auto const next = w.more() ? base64(fmt::format("device:{}", w.from + w.items.size())) : std::string();
      return json_reply(200, json{{"devices", w.items}, {"response_metadata", {{"next_cursor", next}}}}.dump());
    }
    throw refusal{404, "Not found."};
  }
};

inventory_server::inventory_server(inventory_options options) : state_(std::make_unique<state>()) {
  auto& s = *state_;
  s.options = options;
  s.devices = json::parse(generate_inventory(options));
  http_options http{.port = options.port,
                    .idle = options.idle,
                    .server_header = "inventory/1.4.2",
                    .tls = options.tls,
                    .url_host = options.url_host};
  s.server = std::make_unique<http_server>(std::move(http), [&s](http_request const& request) {
    auto const path = request.path();
    if (path.starts_with("/_sim/"))
      if (auto reply = s.control_path(request)) return *std::move(reply);
    if (!path.starts_with(base)) return error_reply(404, "Not found.");
    auto const below = path.substr(base.size());
    auto const endpoint = below.starts_with("/devices/") ? std::string("/devices/{id}") : std::string(below);
    return s.shared.run(request, endpoint, [&] { return s.serve(request, below); });
  });
}

inventory_server::~inventory_server() {
  state_->shared.stop();
  state_->server->stop();
}

std::string const& inventory_server::url() const { return state_->server->url(); }
std::string const& inventory_server::fingerprint() const { return state_->server->fingerprint(); }
std::string inventory_server::model() const {
  std::lock_guard lock(state_->mutex);
  return state_->devices.dump();
}
void inventory_server::set_model(std::string const& text) { state_->replace(text); }
void inventory_server::set_options(std::string const& text) { state_->set(text); }
request_counters inventory_server::counters() const { return state_->shared.counters(); }
void inventory_server::reset_counters() { state_->shared.reset_counters(); }
void inventory_server::set_faults(std::string const& text) { state_->shared.set_faults(text); }

}  // namespace weir::sim
