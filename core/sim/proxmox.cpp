// The API of the simulated Proxmox VE: what each path answers, from the model.
#include "core/sim/proxmox.hpp"

#include <fmt/format.h>

#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <vector>

namespace weir::sim {

using nlohmann::json;

namespace {

// Proxmox puts its message into the reason phrase.
struct api_error {
  int status;
  std::string reason;
};

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> out;
  while (!text.empty()) {
    auto const end = text.find(by);
    if (end != 0) out.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return out;
}

bool lists(std::string const& comma_list, std::string const& word) {
  for (auto const& item : split(comma_list, ','))
    if (item == word) return true;
  return false;
}

std::int64_t number(json const& object, char const* key, std::int64_t fallback) {
  auto const it = object.find(key);
  if (it == object.end()) return fallback;
  if (it->is_number()) return it->get<std::int64_t>();
  if (it->is_string() && !it->get_ref<std::string const&>().empty()) return std::stoll(it->get<std::string>());
  return fallback;
}

// Bytes of "size=32G" in a disk's property string; 0 if it has none.
std::int64_t disk_bytes(std::string const& value) {
  auto const at = value.find("size=");
  if (at == std::string::npos) return 0;
  std::size_t used = 0;
  auto const n = std::stoll(value.substr(at + 5), &used);
  auto const unit = at + 5 + used < value.size() ? value[at + 5 + used] : ',';
  switch (unit) {
    case 'K':
      return n << 10;
    case 'M':
      return n << 20;
    case 'G':
      return n << 30;
    case 'T':
      return n << 40;
    default:
      return n;
  }
}

struct path_of {
  std::string endpoint;  // "/nodes/{node}/qemu/{vmid}/config"
  std::vector<std::string> parts;
};

path_of parse_path(std::string_view path) {
  path_of out;
  constexpr std::string_view root = "/api2/json";
  if (path.starts_with(root)) path.remove_prefix(root.size());
  out.parts = split(path, '/');
  for (std::size_t i = 0; i < out.parts.size(); ++i) {
    bool const after_nodes = i == 1 && out.parts[0] == "nodes";
    bool const guest = i == 3 && out.parts[0] == "nodes" && (out.parts[2] == "qemu" || out.parts[2] == "lxc");
    bool const storage = i == 3 && out.parts[0] == "nodes" && out.parts[2] == "storage";
    out.endpoint += after_nodes ? "/{node}" : guest ? "/{vmid}" : storage ? "/{storage}" : "/" + out.parts[i];
  }
  if (out.endpoint.empty()) out.endpoint = "/";
  return out;
}

class api {
 public:
  explicit api(json const& model, http_request const& request) : model_(model), request_(request) {
    for (auto const& [key, value] : parse_query(request.query())) query_[key] = value;
  }

  json answer(std::vector<std::string> const& p) {
    if (request_.method != "GET")
      throw api_error{501, "Method '" + request_.method + " " + std::string(request_.path()) + "' not implemented"};
    auto const is = [&](std::initializer_list<char const*> form) {
      if (form.size() != p.size()) return false;
      std::size_t i = 0;
      for (auto const* part : form)
        if (auto const& mine = p[i++]; *part != '*' && mine != part) return false;
      return true;
    };
    if (is({"version"})) return model_.at("version");
    if (is({"cluster", "status"})) return cluster_status();
    if (is({"cluster", "resources"})) return cluster_resources();
    if (is({"nodes"})) return nodes();
    if (is({"storage"})) return storage_config();
    if (is({"pools"})) return model_.value("pools", json::array());
    if (is({"access", "permissions"})) return model_.at("access").at("permissions");
    if (p.size() >= 3 && p[0] == "nodes") {
      auto const& node = reachable_node(p[1]);
      if (is({"nodes", "*", "status"})) return node_status(node);
      if (is({"nodes", "*", "time"})) return node_time(node);
      if (is({"nodes", "*", "qemu"}) || is({"nodes", "*", "lxc"})) return node_guests(p[1], p[2]);
      if (is({"nodes", "*", "qemu", "*", "config"}) || is({"nodes", "*", "lxc", "*", "config"}))
        return guest_config(p[1], p[2], p[3]);
      if (is({"nodes", "*", "storage"})) return node_storages(p[1]);
      if (is({"nodes", "*", "storage", "*", "content"})) return storage_content(p[1], p[3]);
    }
    throw api_error{501, "Method 'GET " + std::string(request_.path()) + "' not implemented"};
  }

 private:
  json const& model_;
  http_request const& request_;
  std::map<std::string, std::string> query_;

  // Rights propagate from a path to everything below it.
  bool may(std::string const& path, char const* privilege) const {
    auto const& permissions = model_.at("access").at("permissions");
    for (std::string at = path;; at = at.substr(0, at.rfind('/'))) {
      auto const key = at.empty() ? std::string("/") : at;
      if (permissions.contains(key) && permissions[key].value(privilege, 0) != 0) return true;
      if (at.empty()) return false;
    }
  }
  bool may_see_guest(json const& guest) const {
    return may("/vms/" + std::to_string(number(guest, "vmid", 0)), "VM.Audit");
  }
  bool may_see_storage(std::string const& s) const {
    return may("/storage/" + s, "Datastore.Audit") || may("/storage/" + s, "Datastore.AllocateSpace") ||
           may("/storage/" + s, "Datastore.Allocate");
  }
  bool may_see_backup(json const& backup) const {
    auto const storage = "/storage/" + backup.at("storage").get<std::string>();
    return may(storage, "Datastore.Allocate") ||
           (may(storage, "Datastore.AllocateSpace") &&
            may("/vms/" + std::to_string(number(backup, "vmid", 0)), "VM.Backup"));
  }

  json const* node_named(std::string const& name) const {
    for (auto const& node : model_.at("nodes"))
      if (node.at("node") == name) return &node;
    return nullptr;
  }
  json const& reachable_node(std::string const& name) const {
    auto const* node = node_named(name);
    if (node == nullptr)
      throw api_error{500, "hostname lookup '" + name + "' failed - failed to get address info for: " + name +
                               ": Name or service not known"};
    if (!node->value("online", true)) throw api_error{595, "No route to host"};
    return *node;
  }
  bool on_node(json const& storage, std::string const& node) const {
    return !storage.contains("nodes") || storage["nodes"].is_null() || lists(storage["nodes"].get<std::string>(), node);
  }

  json cluster_status() const {
    json out = json::array();
    auto const& nodes = model_.at("nodes");
    if (auto const& cluster = model_.at("cluster"); !cluster.is_null())
      out.push_back({{"type", "cluster"},
                     {"id", "cluster"},
                     {"name", cluster.at("name")},
                     {"version", cluster.value("version", 1)},
                     {"quorate", cluster.value("quorate", 1)},
                     {"nodes", nodes.size()}});
    bool local = true;
    for (auto const& node : nodes) {
      auto const online = node.value("online", true);
      out.push_back({{"type", "node"},
                     {"id", "node/" + node.at("node").get<std::string>()},
                     {"name", node.at("node")},
                     {"nodeid", node.value("nodeid", 0)},
                     {"ip", node.value("ip", "")},
                     {"online", online ? 1 : 0},
                     {"local", local && online ? 1 : 0},
                     {"level", ""}});
      if (online) local = false;
    }
    return out;
  }

  json node_row(json const& node) const {
    json row = {{"id", "node/" + node.at("node").get<std::string>()},
                {"type", "node"},
                {"node", node.at("node")},
                {"level", ""}};
    if (!node.value("online", true)) {
      row["status"] = "offline";
      return row;
    }
    row["status"] = "online";
    for (auto const* key : {"maxcpu", "cpu", "maxmem", "mem", "maxdisk", "disk", "uptime"})
      if (node.contains(key)) row[key] = node[key];
    return row;
  }

  json guest_row(json const& guest) const {
    auto const type = guest.at("type").get<std::string>();
    auto const vmid = number(guest, "vmid", 0);
    json row = {{"id", type + "/" + std::to_string(vmid)},
                {"type", type},
                {"vmid", guest.at("vmid")},
                {"node", guest.at("node")}};
    if (guest.contains("pool")) row["pool"] = guest["pool"];
    auto const* node = node_named(guest.at("node").get<std::string>());
    if (node == nullptr || !node->value("online", true)) {  // nobody reports on it
      row["status"] = "unknown";
      return row;
    }
    auto const& c = guest.at("config");
    bool const qemu = type == "qemu";
    bool const stopped = guest.at("status") == "stopped";
    row["status"] = guest["status"];
    row["name"] = c.contains(qemu ? "name" : "hostname") ? c[qemu ? "name" : "hostname"]
                                                         : json((qemu ? "VM " : "CT") + std::to_string(vmid));
    row["template"] = number(c, "template", 0);
    if (c.contains("tags")) row["tags"] = c["tags"];
    auto const cpus = qemu ? number(c, "vcpus", number(c, "cores", 1) * number(c, "sockets", 1))
                           : number(c, "cores", number(*node, "maxcpu", 1));
    row["maxcpu"] = number(guest, "maxcpu", cpus);
    auto const maxmem = number(guest, "maxmem", number(c, "memory", 512) * 1024 * 1024);
    row["maxmem"] = maxmem;
    std::int64_t maxdisk = 0;
    for (auto const* key : {"rootfs", "scsi0", "virtio0", "sata0", "ide0"})
      if (c.contains(key) && maxdisk == 0 && c[key].get<std::string>().find("media=cdrom") == std::string::npos)
        maxdisk = disk_bytes(c[key].get<std::string>());
    row["maxdisk"] = number(guest, "maxdisk", maxdisk);
    row["uptime"] = stopped ? 0 : number(guest, "uptime", 1);
    row["cpu"] = stopped ? json(0) : json(0.0123);
    row["mem"] = stopped ? 0 : maxmem / 2;
    row["disk"] = stopped || qemu ? 0 : maxdisk / 2;
    for (auto const* key : {"netin", "netout", "diskread", "diskwrite"}) row[key] = stopped ? 0 : 1'000'000 + vmid;
    for (auto const* key : {"lock", "hastate"})
      if (guest.contains(key)) row[key] = guest[key];
    return row;
  }

  json cluster_resources() const {
    auto const wanted = query_.count("type") != 0 ? query_.at("type") : std::string();
    if (!wanted.empty() && wanted != "vm" && wanted != "node" && wanted != "storage" && wanted != "sdn")
      throw api_error{400, "Parameter verification failed."};
    json out = json::array();
    if (wanted.empty())
      for (auto const& pool : model_.value("pools", json::array()))
        out.push_back(
            {{"type", "pool"}, {"id", "/pool/" + pool.at("poolid").get<std::string>()}, {"pool", pool["poolid"]}});
    if (wanted.empty() || wanted == "vm")
      for (auto const& guest : model_.at("guests"))
        if (may_see_guest(guest)) out.push_back(guest_row(guest));
    if (wanted.empty() || wanted == "node")
      for (auto const& node : model_.at("nodes")) {
        auto row = node_row(node);
        if (node.value("online", true)) row["cgroup-mode"] = 2;
        out.push_back(std::move(row));
      }
    for (auto const& node : model_.at("nodes")) {
      auto const name = node.at("node").get<std::string>();
      bool const online = node.value("online", true);
      if (wanted.empty() || wanted == "storage")
        for (auto const& s : model_.at("storages")) {
          auto const id = s.at("storage").get<std::string>();
          if (!on_node(s, name) || !may_see_storage(id)) continue;
          bool const available = online && s.value("active", true);
          json row = {{"type", "storage"},
                      {"id", "storage/" + name + "/" + id},
                      {"storage", id},
                      {"node", name},
                      {"shared", s.value("shared", 0)},
                      {"content", s.at("content")},
                      {"plugintype", s.at("type")},
                      {"status", available ? "available" : "unknown"}};
          if (available) {
            row["maxdisk"] = s.value("total", 0LL);
            row["disk"] = s.value("used", 0LL);
          }
          out.push_back(std::move(row));
        }
      if (wanted.empty() || wanted == "sdn")
        out.push_back({{"type", "sdn"},
                       {"id", "sdn/" + name + "/localnetwork"},
                       {"sdn", "localnetwork"},
                       {"node", name},
                       {"status", online ? "ok" : "unknown"}});
    }
    return out;
  }

  json nodes() const {
    json out = json::array();
    for (auto const& node : model_.at("nodes")) {
      auto row = node_row(node);
      if (node.contains("ssl_fingerprint")) row["ssl_fingerprint"] = node["ssl_fingerprint"];
      out.push_back(std::move(row));
    }
    return out;
  }

  json node_status(json const& node) const {
    return {
        {"uptime", node.value("uptime", 0)},
        {"pveversion", "pve-manager/" + model_.at("version").at("version").get<std::string>() + "/0123456789abcdef"},
        {"cpuinfo", {{"cpus", node.value("maxcpu", 1)}, {"sockets", 1}, {"model", "Simulated CPU"}}},
        {"memory", {{"total", node.value("maxmem", 0LL)}, {"used", node.value("mem", 0LL)}}}};
  }

  json node_time(json const& node) const {
    auto const name = node.at("node").get<std::string>();
    if (!may("/nodes/" + name, "Sys.Audit"))
      throw api_error{403, "Permission check failed (/nodes/" + name + ", Sys.Audit)"};
    auto const now =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() +
        node.value("clock_ahead_s", 0);
    return {{"time", now}, {"localtime", now}, {"timezone", "UTC"}};
  }

  json node_guests(std::string const& node, std::string const& type) const {
    json out = json::array();
    for (auto const& guest : model_.at("guests"))
      if (guest.at("type") == type && guest.at("node") == node && may_see_guest(guest)) {
        auto row = guest_row(guest);
        for (auto const* key : {"id", "type", "node", "maxcpu"}) row.erase(key);
        row["cpus"] = number(guest_row(guest), "maxcpu", 1);
        if (row["template"] == 0) row["template"] = "";  // as the per-node lists do
        out.push_back(std::move(row));
      }
    return out;
  }

  json guest_config(std::string const& node, std::string const& type, std::string const& vmid) const {
    for (auto const& guest : model_.at("guests")) {
      if (guest.at("type") != type || guest.at("node") != node || std::to_string(number(guest, "vmid", 0)) != vmid)
        continue;
      if (!may_see_guest(guest)) throw api_error{403, "Permission check failed (/vms/" + vmid + ", VM.Audit)"};
      return guest.at("config");
    }
    throw api_error{500, "Configuration file 'nodes/" + node + "/" + (type == "qemu" ? "qemu-server" : "lxc") + "/" +
                             vmid + ".conf' does not exist"};
  }

  json storage_config() const {
    json out = json::array();
    for (auto s : model_.at("storages")) {
      if (!may_see_storage(s.at("storage").get<std::string>())) continue;
      for (auto const* runtime : {"active", "total", "used"}) s.erase(runtime);
      s["digest"] = "0123456789abcdef0123456789abcdef01234567";
      out.push_back(std::move(s));
    }
    return out;
  }

  json node_storages(std::string const& node) const {
    json out = json::array();
    for (auto const& s : model_.at("storages")) {
      if (!on_node(s, node) || !may_see_storage(s.at("storage").get<std::string>())) continue;
      auto const content = s.at("content").get<std::string>();
      if (query_.count("content") != 0 && !lists(content, query_.at("content"))) continue;
      bool const enabled = s.value("disable", 0) == 0;
      if (query_.count("enabled") != 0 && !enabled) continue;
      json row = {{"storage", s["storage"]},    {"type", s["type"]},
                  {"content", content},         {"shared", s.value("shared", 0)},
                  {"enabled", enabled ? 1 : 0}, {"active", enabled && s.value("active", true) ? 1 : 0}};
      if (row["active"] == 1) {
        auto const total = s.value("total", 1LL);
        auto const used = s.value("used", 0LL);
        row["total"] = total;
        row["used"] = used;
        row["avail"] = total - used;
        row["used_fraction"] = static_cast<double>(used) / static_cast<double>(total);
      }
      out.push_back(std::move(row));
    }
    return out;
  }

  json storage_content(std::string const& node, std::string const& name) const {
    json const* storage = nullptr;
    for (auto const& s : model_.at("storages"))
      if (s.at("storage") == name) storage = &s;
    if (storage == nullptr) throw api_error{500, "storage '" + name + "' does not exist"};
    if (!may_see_storage(name))
      throw api_error{403, "Permission check failed (/storage/" + name + ", Datastore.Audit|Datastore.AllocateSpace)"};
    if (!on_node(*storage, node))
      throw api_error{500, "storage '" + name + "' is not available on node '" + node + "'"};
    if (!storage->value("active", true)) throw api_error{500, "storage '" + name + "' is not online"};
    json out = json::array();
    if (query_.count("content") != 0 && query_.at("content") != "backup") return out;
    for (auto const& b : model_.at("backups")) {
      if (b.at("storage") != name || !may_see_backup(b)) continue;
      if (storage->value("shared", 0) == 0 && b.value("node", json()) != node) continue;
      if (query_.count("vmid") != 0 && std::to_string(number(b, "vmid", 0)) != query_.at("vmid")) continue;
      auto row = b;
      row.erase("storage");
      row.erase("node");
      out.push_back(std::move(row));
    }
    return out;
  }
};

}  // namespace

struct proxmox_server::state {
  proxmox_options options;
  mutable std::mutex mutex;
  json model;
  std::set<std::string> tickets;
  control shared;
  std::unique_ptr<http_server> server;  // last: it stops before what its handlers use goes away

  static http_response reply(int status, std::string reason, json const& body) {
    auto r = json_reply(status, body.dump(-1, ' ', false, json::error_handler_t::replace));
    r.headers[0].second = "application/json;charset=UTF-8";
    r.headers.emplace_back("Cache-Control", "max-age=0");
    r.headers.emplace_back("Pragma", "no-cache");
    r.reason = std::move(reason);
    return r;
  }

  void replace(std::string const& text) {
    json fresh;
    try {
      fresh = json::parse(text);
    } catch (json::exception const& e) {
      throw std::invalid_argument(std::string("model: ") + e.what());
    }
    check(fresh);
    std::lock_guard lock(mutex);
    model = std::move(fresh);
  }

  static void check(json const& fresh) {
    for (auto const* key : {"version", "cluster", "nodes", "guests", "storages", "backups", "access"})
      if (!fresh.is_object() || !fresh.contains(key)) throw std::invalid_argument(std::string("model: lacks ") + key);
  }

  std::optional<http_response> control_path(http_request const& request) {
    if (request.path() != "/_sim/model") return shared.handle(request);
    try {
      if (request.method == "PUT") {
        replace(request.body);
      } else if (request.method == "PATCH") {
        auto const patch = json::parse(request.body);
        std::lock_guard lock(mutex);
        auto fresh = model.patch(patch);
        check(fresh);
        model = std::move(fresh);
      } else if (request.method == "GET") {
        std::lock_guard lock(mutex);
        return json_reply(200, model.dump());
      } else {
        return json_reply(405, "{}");
      }
    } catch (std::exception const& e) {
      return json_reply(400, json{{"error", e.what()}}.dump());
    }
    return json_reply(200, "{}");
  }

  // Empty if the caller may come in, else the reason phrase of the 401. Called with the lock held.
  std::string refuse(http_request const& request) const {
    auto const& access = model.at("access");
    auto const header = request.header("Authorization");
    constexpr std::string_view scheme = "PVEAPIToken=";
    if (header.starts_with(scheme)) {
      auto const value = header.substr(scheme.size());
      auto const equals = value.find('=');
      auto const id = std::string(value.substr(0, equals));
      if (equals == std::string_view::npos || id.find('!') == std::string::npos) return "No ticket";
      if (!access.at("tokens").contains(id))
        return "no such token '" + id.substr(id.find('!') + 1) + "' for user '" + id.substr(0, id.find('!')) + "'";
      return access["tokens"][id] == value.substr(equals + 1) ? "" : "invalid token value!";
    }
    for (auto const& cookie : split(request.header("Cookie"), ';')) {
      auto const text = cookie.substr(cookie.find_first_not_of(' '));
      if (text.starts_with("PVEAuthCookie="))
        return tickets.count(url_decode(text.substr(14))) != 0 ? "" : "permission denied - invalid PVE ticket";
    }
    return "No ticket";
  }

  http_response login(http_request const& request) {
    std::map<std::string, std::string> form;
    if (request.header("Content-Type").find("json") != std::string_view::npos) {
      auto const body = json::parse(request.body, nullptr, false);
      if (body.is_object())
        for (auto const& [key, value] : body.items())
          if (value.is_string()) form[key] = value.get<std::string>();
    } else {
      for (auto& [key, value] : parse_query(request.body)) form[key] = value;
    }
    auto user = form["username"];
    if (!form["realm"].empty() && user.find('@') == std::string::npos) user += "@" + form["realm"];
    std::lock_guard lock(mutex);
    auto const& users = model.at("access").at("users");
    if (!users.contains(user) || users[user] != form["password"])
      return reply(401, "authentication failure", {{"data", nullptr}});
    auto const ticket = fmt::format("PVE:{}:{:08X}::simulated+ticket/{:04}==", user, 0x6927B6D0, tickets.size() + 1);
    tickets.insert(ticket);
    return reply(200, "",
                 {{"data",
                   {{"username", user},
                    {"ticket", ticket},
                    {"CSRFPreventionToken", fmt::format("6927B6D0:simulated{:04}", tickets.size())},
                    {"cap", json::object()}}}});
  }

  http_response serve(http_request const& request, path_of const& path) {
    if (options.latency.count() > 0) shared.sleep(options.latency);
    if (!request.path().starts_with("/api2/json")) return reply(404, "", {{"data", nullptr}});
    if (request.method == "POST" && path.endpoint == "/access/ticket") return login(request);
    std::lock_guard lock(mutex);
    if (auto const reason = refuse(request); !reason.empty()) return reply(401, reason, {{"data", nullptr}});
    try {
      return reply(200, "", {{"data", api(model, request).answer(path.parts)}});
    } catch (api_error const& e) {
      return reply(e.status, e.reason, {{"data", nullptr}});
    }
  }
};

proxmox_server::proxmox_server(proxmox_options options) : state_(std::make_unique<state>()) {
  auto& s = *state_;
  s.options = options;
  s.model = json::parse(generate_proxmox_model(options));
  http_options http{.port = options.port,
                    .idle = options.idle,
                    .server_header = "pve-api-daemon/3.0",
                    .tls = options.tls,
                    .url_host = options.url_host};
  s.server = std::make_unique<http_server>(std::move(http), [&s](http_request const& request) {
    if (request.path().starts_with("/_sim/"))
      if (auto reply = s.control_path(request)) return *std::move(reply);
    auto const path = parse_path(request.path());
    return s.shared.run(request, path.endpoint, [&] { return s.serve(request, path); });
  });
}

proxmox_server::~proxmox_server() {
  state_->shared.stop();
  state_->server->stop();
}

std::string const& proxmox_server::url() const { return state_->server->url(); }
std::string const& proxmox_server::fingerprint() const { return state_->server->fingerprint(); }
std::string proxmox_server::model() const {
  std::lock_guard lock(state_->mutex);
  return state_->model.dump();
}
void proxmox_server::set_model(std::string const& text) { state_->replace(text); }
request_counters proxmox_server::counters() const { return state_->shared.counters(); }
void proxmox_server::reset_counters() { state_->shared.reset_counters(); }
void proxmox_server::set_faults(std::string const& text) { state_->shared.set_faults(text); }

}  // namespace weir::sim
