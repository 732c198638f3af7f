// The simulated NetBox on a socket: its threads and connections, the waiting, and the paths under /_sim/.
#include "core/sim/netbox.hpp"

#include "core/sim/netbox_pool.hpp"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

namespace weir::sim {

namespace {

using nlohmann::json;

// "/api/dcim/devices/7/" becomes "/api/dcim/devices/{id}/".
std::string endpoint_of(std::string_view path) {
  std::string out;
  std::size_t from = 0;
  while (from < path.size()) {
    auto const end = std::min(path.find('/', from + 1), path.size());
    auto const part = path.substr(from, end - from);
    bool const number = part.size() > 1 && part.find_first_not_of("0123456789", 1) == std::string_view::npos;
    out += number ? "/{id}" : std::string(part);
    from = end;
  }
  return out;
}

}  // namespace

struct netbox_server::state {
  explicit state(netbox_options const& o)
      : app({.version = o.version,
             .plugin = o.plugin,
             .tokens = o.tokens,
             .max_page_size = o.max_page_size,
             .https = !o.tls.certificate_pem.empty()}),
        pool(o.load, [this](auto time) { return shared.sleep(time); }) {}

  mutable std::mutex mutex;
  netbox_app app;  // under `mutex`
  control shared;
  netbox_pool pool;
  std::unique_ptr<http_server> server;  // last: it stops before what its handlers use goes away

  // --- control paths

  static netbox_load read_load(json const& o, netbox_load load) {
    auto const number = [&](char const* key, int& to) { to = o.value(key, to); };
    auto const micro = [&](char const* key, std::chrono::microseconds& to) {
      to = std::chrono::microseconds(o.value(key, to.count()));
    };
    number("workers", load.workers);
    number("threads", load.threads);
    number("db_connections", load.db_connections);
    number("cpu_cores", load.cpu_cores);
    micro("base_us", load.base);
    micro("read_object_us", load.read_object);
    micro("write_object_us", load.write_object);
    micro("db_error_us", load.db_error);
    load.conn_max_age = std::chrono::milliseconds(o.value("conn_max_age_ms", load.conn_max_age.count()));
    load.seed = o.value("seed", load.seed);
    return load;
  }

  void configure(std::string const& text) {
    try {
      auto const o = json::parse(text);
      if (!o.is_object()) throw std::invalid_argument("options are an object");
      static std::vector<std::string> const known{"version",         "plugin",      "tokens",  "db_down",
                                                  "redis_down",      "workers",     "threads", "db_connections",
                                                  "conn_max_age_ms", "cpu_cores",   "base_us", "read_object_us",
                                                  "write_object_us", "db_error_us", "seed",    "max_page_size"};
      for (auto const& [key, value] : o.items())
        if (std::find(known.begin(), known.end(), key) == known.end())
          throw std::invalid_argument("unknown option: " + key);
      std::lock_guard lock(mutex);
      auto options = app.options();
      options.version = o.value("version", options.version);
      options.plugin = o.value("plugin", options.plugin);
      options.max_page_size = o.value("max_page_size", options.max_page_size);
      options.db_down = o.value("db_down", options.db_down);
      options.redis_down = o.value("redis_down", options.redis_down);
      if (o.contains("tokens")) {
        std::vector<netbox_token> tokens;
        for (auto const& t : o["tokens"])
          tokens.push_back({t.at("token").get<std::string>(), t.value("read_only", false),
                            t.value("denied", std::vector<std::string>())});
        options.tokens = std::move(tokens);
      }
      app.configure(std::move(options));
      pool.configure(read_load(o, pool.load()));
    } catch (json::exception const& e) {
      throw std::invalid_argument(std::string("options: ") + e.what());
    }
  }

  std::string options_json() const {
    auto const load = pool.load();
    std::lock_guard lock(mutex);
    auto const& options = app.options();
    return json{{"version", options.version},
                {"plugin", options.plugin},
                {"max_page_size", options.max_page_size},
                {"db_down", options.db_down},
                {"redis_down", options.redis_down},
                {"workers", load.workers},
                {"threads", load.threads},
                {"db_connections", load.db_connections},
                {"conn_max_age_ms", load.conn_max_age.count()},
                {"cpu_cores", load.cpu_cores},
                {"base_us", load.base.count()},
                {"read_object_us", load.read_object.count()},
                {"write_object_us", load.write_object.count()},
                {"db_error_us", load.db_error.count()},
                {"seed", load.seed}}
        .dump();
  }

  std::string dump() const {
    std::lock_guard lock(mutex);
    return app.dump(server ? server->url() : "");
  }

  std::optional<http_response> control_path(http_request const& request) {
    auto const path = request.path();
    if (path == "/_sim/dump" && request.method == "GET") return json_reply(200, dump());
    if (path == "/_sim/options" && request.method == "GET") return json_reply(200, options_json());
    if (path == "/_sim/options" && (request.method == "PUT" || request.method == "POST")) {
      try {
        configure(request.body);
      } catch (std::exception const& e) {
        return json_reply(400, json{{"error", e.what()}}.dump());
      }
      return json_reply(200, "{}");
    }
    if (path == "/_sim/restart" && request.method == "POST") {
      pool.restart();
      return json_reply(200, "{}");
    }
    return shared.handle(request);
  }

  http_response answer(http_request const& request) {
    return shared.run(request, endpoint_of(request.path()), [&] {
      std::unique_lock lock(mutex);
      auto const load = pool.load();
      std::unique_ptr<netbox_pool::place> place;
      auto const unlocked = [&](auto wait) {
        lock.unlock();
        wait();
        lock.lock();
      };
      netbox_waits waits;
      waits.connect = [&] {
        unlocked([&] {
          place = pool.enter(true);
          if (!place->connected()) pool.work(load.db_error);
        });
        return place->connected();
      };
      waits.before = [&](bool write, std::size_t objects) {
        auto const each = write ? load.write_object * static_cast<std::int64_t>(objects) : std::chrono::microseconds(0);
        unlocked([&] { pool.work(load.base + each); });
      };
      waits.after = [&](std::size_t objects) {
        unlocked([&] { pool.work(load.read_object * static_cast<std::int64_t>(objects)); });
      };
      auto r = app.handle(request, waits);
      lock.unlock();
      place.reset();  // before the answer is sent, as a thread that is done with its request
      return r;
    });
  }
};

netbox_server::netbox_server(netbox_options options) : state_(std::make_unique<state>(options)) {
  auto& s = *state_;
  s.shared.set_extra(
      [&s] {
        return json{{"connections", s.pool.connections()},
                    {"peak_connections", s.pool.peak_connections()},
                    {"database_errors", s.pool.errors()}}
            .dump();
      },
      [&s] { s.pool.reset_counters(); });
  http_options http{.port = options.port,
                    .idle = options.idle,
                    .server_header = "gunicorn",
                    .tls = std::move(options.tls),
                    .url_host = std::move(options.url_host)};
  std::lock_guard lock(s.mutex);  // a handler must not look for `server` before it is there
  s.server = std::make_unique<http_server>(std::move(http), [&s](http_request const& request) {
    if (request.path().starts_with("/_sim/"))
      if (auto control_reply = s.control_path(request)) return *std::move(control_reply);
    return s.answer(request);
  });
}

netbox_server::~netbox_server() {
  state_->shared.stop();
  state_->pool.stop();
  state_->server->stop();
}

std::string const& netbox_server::url() const { return state_->server->url(); }
std::string const& netbox_server::fingerprint() const { return state_->server->fingerprint(); }
std::string netbox_server::token() const {
  std::lock_guard lock(state_->mutex);
  return state_->app.token();
}
request_counters netbox_server::counters() const { return state_->shared.counters(); }
int netbox_server::peak_connections() const { return state_->pool.peak_connections(); }
std::uint64_t netbox_server::database_errors() const { return state_->pool.errors(); }
void netbox_server::reset_counters() { state_->shared.reset_counters(); }
void netbox_server::set_faults(std::string const& text) { state_->shared.set_faults(text); }
void netbox_server::set_options(std::string const& text) { state_->configure(text); }
std::string netbox_server::dump() const { return state_->dump(); }

}  // namespace weir::sim
