// What the simulated NetBox answers: who may do what, the list verbs, and the replies of a NetBox in trouble.
#include "core/sim/netbox_app.hpp"

#include "core/sim/control.hpp"
#include "core/sim/netbox_store.hpp"
#include "core/sim/netbox_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

namespace weir::sim {

namespace {

constexpr std::size_t max_request_line = 4094;  // gunicorn's limit_request_line
constexpr std::size_t max_upload = 2'621'440;   // Django's DATA_UPLOAD_MAX_MEMORY_SIZE
constexpr char const* plugin_version = "0.0.29.post6";
constexpr char const* allow_list = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS";
constexpr char const* allow_object = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS";
constexpr char const* allow_read = "GET, HEAD, OPTIONS";
constexpr char const* may_not = "You do not have permission to perform this action.";

// Ends the handling of a request with this reply.
struct refusal {
  http_response response;
};

http_response reply(int status, std::string body, char const* allow = nullptr) {
  auto r = json_reply(status, std::move(body));
  if (allow != nullptr) r.headers.emplace_back("Allow", allow);
  return r;
}
http_response detail(int status, std::string const& text, char const* allow = nullptr) {
  return reply(status, json{{"detail", text}}.dump(), allow);
}
http_response html(int status, std::string body) {
  http_response r;
  r.status = status;
  r.headers.emplace_back("Content-Type", "text/html; charset=utf-8");
  r.body = std::move(body);
  return r;
}

std::string page(std::string const& title, std::string const& text) {
  return fmt::format(
      "\n<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"UTF-8\" />\n  "
      "<title>{}</title>\n</head>\n<body>\n  <h1>{}</h1>\n</body>\n</html>\n",
      title, text);
}
http_response not_found_page() { return html(404, page("Page Not Found | NetBox", "Page Not Found")); }

std::string gunicorn_page(std::string const& reason, std::string const& text) {
  return fmt::format(
      "<html>\n  <head>\n    <title>{0}</title>\n  </head>\n  <body>\n    <h1><p>{0}</p></h1>\n    {1}\n  "
      "</body>\n</html>\n",
      reason, text);
}

// "line 1 column 14 (char 13)" as Python's json module words it.
std::string python_json_error(std::string const& body, std::size_t byte) {
  auto const at = std::min(byte > 0 ? byte - 1 : 0, body.size());
  auto const before = body.find_last_not_of(" \t\r\n", at == 0 ? 0 : at - 1);
  char const last = before == std::string::npos || at == 0 ? ' ' : body[before];
  auto const object = body.rfind('{', at) != std::string::npos && (last == ',' || last == '{');
  auto const line = std::count(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(at), '\n') + 1;
  auto const newline = at == 0 ? std::string::npos : body.rfind('\n', at - 1);
  auto const column = newline == std::string::npos ? at + 1 : at - newline;
  return fmt::format("JSON parse error - {}: line {} column {} (char {})",
                     object ? "Expecting property name enclosed in double quotes" : "Expecting value", line, column,
                     at);
}

bool valid_host(std::string_view host) {
  return !host.empty() &&
         host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") ==
             std::string_view::npos;
}

char const* action_of(std::string const& method) {
  if (method == "POST") return "add";
  if (method == "PUT" || method == "PATCH") return "change";
  if (method == "DELETE") return "delete";
  return "view";
}

struct target {
  enum class what {
    table,
    object,
    status,
    installed,
    plugin_root,
    root,
    changes,
    change,
    me,
    tokens,
    users
  } kind = what::status;
  netbox_table* table = nullptr;
  std::int64_t id = 0;

  char const* allow() const {
    return kind == what::table ? allow_list : kind == what::object ? allow_object : allow_read;
  }
  std::string type() const {
    if (table != nullptr) return table->model->type;
    if (kind == what::users) return "users.user";
    return kind == what::changes || kind == what::change ? "core.objectchange" : "";
  }
};

}  // namespace

struct netbox_app::state {
  explicit state(netbox_app_options o) : options(std::move(o)), store(options.clock) { store.plugin = options.plugin; }

  netbox_app_options options;
  mutable netbox_store store;
  std::uint64_t next_request = 1;

  http_response server_error(std::string const& exception, std::string const& text) const {
    return reply(500, json{{"error", text},
                           {"exception", exception},
                           {"netbox_version", options.version},
                           {"python_version", "3.12.1"}}
                          .dump());
  }

  http_response no_connection() const {
    return server_error("OperationalError",
                        "connection failed: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  "
                        "remaining connection slots are reserved for non-replication superuser connections");
  }
  http_response database_down() const {
    return server_error("OperationalError",
                        "connection failed: connection to server at \"127.0.0.1\", port 5432 failed: Connection "
                        "refused\n\tIs the server running on that host and accepting TCP/IP connections?");
  }

  std::string dump(std::string const& base) const {
    netbox_view const view(base, {});
    std::string out = "{";
    for (auto* t : store.tables()) {
      if (out.size() > 1) out += ',';
      out += "\n\"" + t->model->type + "\":[";
      bool first = true;
      for (auto const& [id, row] : t->rows) {
        out += first ? "" : ",\n";
        first = false;
        out += view.render(store, *t, row);
      }
      out += ']';
    }
    return out + "}";
  }

  // --- routing and rights

  std::optional<target> route(std::string_view path) {
    using what = target::what;
    target t;
    if (path == "/api/") return t.kind = what::root, t;
    if (path == "/api/status/") return t;
    if (path == "/api/plugins/installed-plugins/") return t.kind = what::installed, t;
    if (path == "/api/plugins/proxbox/" && options.plugin) return t.kind = what::plugin_root, t;
    if (path == "/api/core/object-changes/") return t.kind = what::changes, t;
    if (path == "/api/authentication-check/") return t.kind = what::me, t;
    if (path == "/api/users/tokens/") return t.kind = what::tokens, t;
    if (path == "/api/users/users/") return t.kind = what::users, t;
    if (!path.starts_with("/api/") || !path.ends_with("/")) return std::nullopt;
    auto rest = path.substr(5, path.size() - 6);
    if ((t.table = store.at_path(rest)) != nullptr) return t.kind = what::table, t;
    auto const slash = rest.rfind('/');
    if (slash == std::string_view::npos) return std::nullopt;
    auto const number = rest.substr(slash + 1);
    if (number.empty() || number.size() > 18 || number.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    t.id = std::stoll(std::string(number));
    rest = rest.substr(0, slash);
    if (rest == "core/object-changes") return t.kind = what::change, t;
    if ((t.table = store.at_path(rest)) != nullptr) return t.kind = what::object, t;
    return std::nullopt;
  }

  // What a client without (or with a malformed) token hears; this needs no database.
  static std::string refuse_header(std::string_view authorization) {
    auto const space = authorization.find(' ');
    auto const keyword = authorization.substr(0, space);
    if (authorization.empty() || (keyword != "Token" && keyword != "Bearer"))
      return "Authentication credentials were not provided.";
    if (space == std::string_view::npos)
      return "Invalid authorization header: Must be in the form 'Bearer <key>.<token>' or 'Token <token>'";
    auto const value = authorization.substr(space + 1);
    if (value.starts_with("nbt_") && value.find('.') == std::string_view::npos)
      return "Invalid authorization header: Could not parse key from v2 token. Did you mean to use 'Token' instead of "
             "'Bearer'?";
    return {};
  }

  netbox_token const* token_of(http_request const& request) const {
    auto const header = request.header("Authorization");
    auto const value = header.substr(header.find(' ') + 1);
    netbox_token const* mine = nullptr;
    for (auto const& t : options.tokens)
      if (t.token == value) mine = &t;
    return mine;
  }

  static bool denies(netbox_token const& token, std::string const& type, std::string const& action) {
    for (auto const& denied : token.denied)
      for (auto const& model : {type, std::string("*")})
        for (auto const& verb : {action, std::string("*")})
          if (denied == model + ":" + verb) return true;
    return false;
  }

  void check_rights(http_request const& request, target const& where) const {
    auto const header = request.header("Authorization");
    auto const value = header.substr(header.find(' ') + 1);
    auto const* mine = token_of(request);
    if (mine == nullptr)
      throw refusal{detail(403, value.starts_with("nbt_") ? "Invalid v2 token" : "Invalid v1 token", where.allow())};
    std::string const action = action_of(request.method);
    if (mine->read_only && action != "view") throw refusal{detail(403, may_not, where.allow())};
    auto const type = where.type();
    // OPTIONS needs a valid token and no more; who is denied anything is no superuser, and sees no users.
    if (type.empty() || request.method == "OPTIONS") return;
    bool const hidden = where.kind == target::what::users && !mine->denied.empty();
    if (hidden || denies(*mine, type, action)) throw refusal{detail(403, may_not, where.allow())};
  }

  // --- OPTIONS, and who the token's user is: as NetBox 4.7.3 answers

  // A list's OPTIONS names POST and PUT if the token may add and change; of DELETE it never speaks.
  http_response describe(target const& where, netbox_token const& mine) const {
    json out = {{"name", where.table != nullptr ? where.table->model->class_name + std::string(" List") : "API"},
                {"description", ""},
                {"renders", {"application/json", "text/html"}},
                {"parses", {"application/json", "multipart/form-data"}}};
    json actions = json::object();
    if (where.table != nullptr && !mine.read_only) {
      json const fields = {{"id", {{"type", "integer"}, {"required", false}, {"read_only", true}, {"label", "Id"}}}};
      if (!denies(mine, where.type(), "change")) actions["PUT"] = fields;
      if (!denies(mine, where.type(), "add")) actions["POST"] = fields;
    }
    if (!actions.empty()) out["actions"] = actions;
    return reply(200, out.dump(), where.allow());
  }

  // A token that is denied nothing is a superuser's, who holds no permissions; else each is listed.
  json user_of(netbox_token const& mine, std::string const& base) {
    bool const all = mine.denied.empty();
    auto const id = all ? 1 : 2;
    json permissions = json::array();
    if (!all)
      for (auto* t : store.tables()) {
        json actions = json::array();
        for (auto const* action : {"view", "add", "change", "delete"})
          if (!denies(mine, t->model->type, action)) actions.push_back(action);
        if (actions.empty()) continue;
        auto const number = permissions.size() + 1;
        permissions.push_back({{"id", number},
                               {"url", fmt::format("{}/api/users/permissions/{}/", base, number)},
                               {"display", t->model->type},
                               {"name", t->model->type},
                               {"description", ""},
                               {"enabled", true},
                               {"object_types", json::array({t->model->type})},
                               {"actions", actions}});
      }
    return {{"id", id},
            {"url", fmt::format("{}/api/users/users/{}/", base, id)},
            {"display", all ? "admin" : "sync"},
            {"username", all ? "admin" : "sync"},
            {"is_active", true},
            {"groups", json::array()},
            {"permissions", permissions}};
  }

  json tokens_of(netbox_token const& mine, std::string const& base) {
    auto const user = user_of(mine, base);
    json results = json::array();
    for (auto const& t : options.tokens) {
      if (t.denied.empty() != mine.denied.empty()) continue;  // another user's
      bool const second = t.token.starts_with("nbt_");
      results.push_back({{"id", results.size() + 1},
                         {"version", second ? 2 : 1},
                         {"key", second ? json(t.token.substr(4, t.token.find('.') - 4)) : json()},
                         {"user", {{"id", user["id"]}, {"username", user["username"]}}},
                         {"expires", nullptr},
                         {"enabled", true},
                         {"write_enabled", !t.read_only}});
    }
    return {{"count", results.size()}, {"next", nullptr}, {"previous", nullptr}, {"results", results}};
  }

  static json superusers(query_list const& query) {
    json results = json::array();
    bool wanted = true;
    for (auto const& [name, value] : query)
      if (name == "is_superuser") wanted = value == "true";
    if (wanted) results.push_back({{"id", 1}, {"username", "admin"}});
    return {{"count", results.size()}, {"next", nullptr}, {"previous", nullptr}, {"results", results}};
  }

  // --- reads

  json status() const {
    json plugins = json::object();
    if (options.plugin) plugins["netbox_proxbox"] = plugin_version;
    return {{"django-version", "6.1.2"},
            {"hostname", "simulated"},
            {"installed_apps", {{"rest_framework", "3.18.0"}}},
            {"netbox-version", options.version},
            {"netbox-full-version", options.version},
            {"plugins", plugins},
            {"python-version", "3.12.1"},
            {"rq-workers-running", 0}};
  }

  http_response read(target const& where, netbox_token const& mine, std::string const& base, std::string const& path,
                     query_list const& query, std::size_t& objects) {
    using what = target::what;
    objects = 1;
    auto const page_of = [&](netbox_answer answer) {
      objects = answer.objects;
      return reply(answer.status, std::move(answer.body), where.allow());
    };
    switch (where.kind) {
      case what::status:
        return reply(200, status().dump(), where.allow());
      case what::root: {
        json apps = json::object();
        for (auto const* app : {"core", "dcim", "extras", "plugins", "status", "virtualization"})
          apps[app] = base + "/api/" + app + "/";
        return reply(200, apps.dump(), where.allow());
      }
      case what::installed: {
        json list = json::array();
        if (options.plugin)
          list.push_back({{"name", "Proxbox"},
                          {"package", "netbox_proxbox"},
                          {"author", ""},
                          {"author_email", ""},
                          {"description", "Proxmox integration"},
                          {"version", plugin_version}});
        return reply(200, list.dump(), where.allow());
      }
      case what::plugin_root:
        return reply(200,
                     json{{"backups", base + "/api/plugins/proxbox/backups/"},
                          {"storage", base + "/api/plugins/proxbox/storage/"}}
                         .dump(),
                     where.allow());
      case what::me:
        return reply(200, user_of(mine, base).dump(), where.allow());
      case what::tokens:
        return reply(200, tokens_of(mine, base).dump(), where.allow());
      case what::users:
        return reply(200, superusers(query).dump(), where.allow());
      case what::changes:
        return page_of(list_changes(store, base, query, options.max_page_size));
      case what::change: {
        auto const body = render_change(store, base, where.id);
        return body ? reply(200, *body, where.allow())
                    : detail(404, "No ObjectChange matches the given query.", where.allow());
      }
      case what::table:
        return page_of(list_objects(store, *where.table, base, path, query, options.max_page_size));
      case what::object:
        return object_reply(where, base, query, 200);
    }
    return not_found_page();
  }

  http_response object_reply(target const& where, std::string const& base, query_list const& query, int status) {
    auto const found = where.table->rows.find(where.id);
    if (found == where.table->rows.end()) return no_match(where);
    auto r = reply(status, netbox_view(base, query).render(store, *where.table, found->second), where.allow());
    r.headers.emplace_back("ETag", format_etag(found->second.last_updated));
    return r;
  }

  static http_response no_match(target const& where) {
    return detail(404, "No " + where.table->model->class_name + " matches the given query.", where.allow());
  }

  // --- writes: all or nothing

  static void check_etag(http_request const& request, target const& where, netbox_row const& row) {
    auto const wanted = request.header("If-Match");
    auto const current = format_etag(row.last_updated);
    if (wanted.empty() || wanted == "*" || wanted == current) return;
    auto r = detail(412, "Precondition failed.", where.allow());
    r.headers.emplace_back("ETag", current);
    throw refusal{std::move(r)};
  }

  // ?fields= and ?omit= restrict which attributes are written, too.
  static json visible(json const& data, netbox_view const& view) {
    if (!data.is_object() || (view.fields.empty() && view.omit.empty())) return data;
    json out = json::object();
    for (auto const& [key, value] : data.items())
      if (key == "id" || key == "changelog_message" ||
          ((view.fields.empty() || view.fields.count(key) != 0) && view.omit.count(key) == 0))
        out[key] = value;
    return out;
  }

  static std::string failures(std::size_t n, std::size_t of, std::string const& what, json const& errors) {
    return json{{"detail", fmt::format("{} of {} objects {}", n, of, what)}, {"errors", errors}}.dump();
  }

  http_response post(target const& where, json const& body, std::string const& base, query_list const& query) {
    netbox_view const view(base, query);
    auto const all = body.is_array() ? body : json::array({body});
    json errors = json::array();
    std::string out;
    std::vector<std::int64_t> made;
    for (std::size_t i = 0; i < all.size(); ++i) {
      json result;
      if (store.create(*where.table, visible(all[i], view), result))
        made.push_back(result.get<std::int64_t>());
      else
        errors.push_back({{"index", i}, {"errors", result}});
    }
    if (!errors.empty()) {
      store.rollback();
      if (!body.is_array()) return reply(400, errors[0]["errors"].dump(), where.allow());
      return reply(400, failures(errors.size(), all.size(), "could not be created.", errors), where.allow());
    }
    for (auto const id : made)
      out += (out.empty() ? "" : ",") + view.render(store, *where.table, where.table->rows.at(id));
    auto r = reply(201, body.is_array() ? "[" + out + "]" : out, where.allow());
    if (!body.is_array()) {
      r.headers.emplace_back("Location", view.url(*where.table, made[0]));
      r.headers.emplace_back("ETag", format_etag(where.table->rows.at(made[0]).last_updated));
    }
    r.objects_written = made.size();
    return r;
  }

  // The ids a list write names, in request order; throws what NetBox says to a list that is not fit for it.
  std::vector<std::int64_t> ids_of(target const& where, json const& body) const {
    if (!body.is_array())
      throw refusal{detail(
          400, fmt::format("Expected a list of objects, but got {}.", body.is_object() ? "dict" : "another type"),
          where.allow())};
    json errors = json::array();
    std::vector<std::int64_t> ids;
    std::map<std::int64_t, int> seen;
    for (std::size_t i = 0; i < body.size(); ++i) {
      auto const& item = body[i];
      if (item.is_object() && item.contains("id") && item["id"].is_number_integer()) {
        ids.push_back(item["id"].get<std::int64_t>());
        ++seen[ids.back()];
      } else if (!item.is_object()) {
        errors.push_back({{"index", i}, {"errors", {{"__all__", {"Invalid data. Expected a dictionary."}}}}});
      } else {
        errors.push_back(
            {{"index", i},
             {"errors", {{"id", {item.contains("id") ? "A valid integer is required." : "This field is required."}}}}});
      }
    }
    if (!errors.empty())
      throw refusal{reply(400, failures(errors.size(), body.size(), "failed validation.", errors), where.allow())};
    for (auto const& [id, times] : seen)
      if (times > 1)
        errors.push_back(
            {{"id", id},
             {"errors",
              {{"id", {fmt::format("Each object may be specified only once; ID {} is listed {} times", id, times)}}}}});
    if (!errors.empty())
      throw refusal{
          reply(400, failures(errors.size(), body.size(), "are listed more than once.", errors), where.allow())};
    for (auto const id : ids)
      if (where.table->rows.count(id) == 0)
        errors.push_back({{"id", id}, {"errors", {{"id", {fmt::format("Object with ID {} does not exist", id)}}}}});
    if (!errors.empty())
      throw refusal{reply(400, failures(errors.size(), body.size(), "could not be found.", errors), where.allow())};
    return ids;
  }

  http_response patch_list(http_request const& request, target const& where, json const& body, std::string const& base,
                           query_list const& query) {
    netbox_view const view(base, query);
    auto ids = ids_of(where, body);
    std::map<std::int64_t, json const*> by_id;
    for (auto const& item : body) by_id[item["id"].get<std::int64_t>()] = &item;
    store.sort(*where.table, ids);  // NetBox goes through its own queryset, in the model's order
    json errors = json::array();
    for (auto const id : ids) {
      check_etag(request, where, where.table->rows.at(id));
      json failed;
      if (!store.update(*where.table, id, visible(*by_id[id], view), request.method == "PATCH", failed))
        errors.push_back({{"id", id}, {"errors", failed}});
    }
    if (!errors.empty()) {
      store.rollback();
      return reply(400, failures(errors.size(), body.size(), "could not be updated.", errors), where.allow());
    }
    std::string out;
    for (auto const id : ids)
      out += (out.empty() ? "" : ",") + view.render(store, *where.table, where.table->rows.at(id));
    auto r = reply(200, "[" + out + "]", where.allow());
    r.objects_written = ids.size();
    return r;
  }

  http_response delete_list(http_request const& request, target const& where, json const& body) {
    auto const ids = ids_of(where, body);
    json errors = json::array();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      auto const found = where.table->rows.find(ids[i]);
      if (found == where.table->rows.end()) continue;  // went with another of the list
      check_etag(request, where, found->second);
      auto const message = body[i].value("changelog_message", std::string());
      auto const blockers = store.erase(*where.table, ids[i], message);
      if (!blockers.empty())
        errors.push_back(
            {{"id", ids[i]},
             {"errors",
              {{"__all__",
                {fmt::format("Unable to delete: {} dependent object(s) prevent deletion.", blockers.size())}}}}});
    }
    if (!errors.empty()) {
      store.rollback();
      return reply(409, failures(errors.size(), body.size(), "could not be deleted.", errors), where.allow());
    }
    http_response r;
    r.status = 204;
    r.headers.emplace_back("Allow", where.allow());
    r.objects_written = ids.size();
    return r;
  }

  http_response write_object(http_request const& request, target const& where, json const& body,
                             std::string const& base, query_list const& query) {
    auto const found = where.table->rows.find(where.id);
    if (found == where.table->rows.end()) return no_match(where);
    check_etag(request, where, found->second);
    if (request.method == "DELETE") {
      auto const message = body.is_object() ? body.value("changelog_message", std::string()) : std::string();
      auto const blockers = store.erase(*where.table, where.id, message);
      if (!blockers.empty()) {
        std::string names;
        for (auto const& b : blockers) names += (names.empty() ? "" : ", ") + b;
        return detail(
            409, fmt::format("Unable to delete object. {} dependent objects were found: {}", blockers.size(), names),
            where.allow());
      }
      http_response r;
      r.status = 204;
      r.headers.emplace_back("Allow", where.allow());
      r.objects_written = 1;
      return r;
    }
    if (!body.is_object())
      return reply(400, json{{"non_field_errors", {"Invalid data. Expected a dictionary, but got list."}}}.dump(),
                   where.allow());
    json errors;
    if (!store.update(*where.table, where.id, visible(body, netbox_view(base, query)), request.method == "PATCH",
                      errors))
      return reply(400, errors.dump(), where.allow());
    auto r = object_reply(where, base, query, 200);
    r.objects_written = 1;
    return r;
  }

  http_response write(http_request const& request, target const& where, json const& body, std::string const& base,
                      query_list const& query, std::string const& request_id) {
    store.begin("admin", request_id);
    try {
      if (where.kind == target::what::object) return write_object(request, where, body, base, query);
      for (auto const& [name, value] : query)
        if (name == "background" && (value == "true" || value == "1") && body.is_array())
          return detail(503, "Unable to process request: RQ worker process not running.", where.allow());
      if (request.method == "POST") return post(where, body, base, query);
      if (request.method == "DELETE") return delete_list(request, where, body);
      return patch_list(request, where, body, base, query);
    } catch (refusal const&) {
      store.rollback();
      throw;
    }
  }

  json body_of(http_request const& request, target const& where) const {
    if (request.body.size() > max_upload)
      throw refusal{server_error("RequestDataTooBig", "Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE.")};
    if (request.body.empty() && request.method == "DELETE") return json();
    auto const type = request.header("Content-Type");
    auto const plain = type.substr(0, type.find(';'));
    if (plain != "application/json")
      throw refusal{detail(415, fmt::format("Unsupported media type \"{}\" in request.", plain), where.allow())};
    try {
      return json::parse(request.body);
    } catch (json::parse_error const& e) {
      throw refusal{detail(400, python_json_error(request.body, e.byte), where.allow())};
    }
  }

  // --- one request

  // Everything but what the waiting needs is as a real one does it; what it looked at before a wait it looks at again.
  http_response serve(http_request const& request, std::string const& request_id, netbox_waits const& waits) {
    if (request.method.size() + request.target.size() + 10 > max_request_line)
      return html(400, gunicorn_page("Bad Request", fmt::format("Request Line is too large ({} &gt; {})",
                                                                request.method.size() + request.target.size() + 10,
                                                                max_request_line)));
    if (!valid_host(request.header("Host")))
      return html(400,
                  "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Bad Request "
                  "(400)</title>\n</head>\n<body>\n  <h1>Bad Request (400)</h1><p></p>\n</body>\n</html>\n");
    auto const base = (options.https ? "https://" : "http://") + std::string(request.header("Host"));
    auto const path = std::string(request.path());
    auto const query = parse_query(request.query());
    bool const is_read = request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
    if (options.redis_down)
      return html(500, page("Server Error", "There was a problem with your request. Please contact an administrator."));
    auto const where = route(path);
    if (!where) {
      if (is_read && route(path + "/")) {
        auto r = html(301, "");
        r.headers.emplace_back("Location",
                               path + "/" + (request.query().empty() ? "" : "?" + std::string(request.query())));
        return r;
      }
      return path == "/" || path == "/login/" ? html(200, page("Home | NetBox", "NetBox")) : not_found_page();
    }
    if (auto const no = refuse_header(request.header("Authorization")); !no.empty())
      return detail(403, no, where->allow());
    if (waits.connect && !waits.connect()) return no_connection();
    if (options.db_down) return database_down();
    try {
      check_rights(request, *where);
      auto const mine = *token_of(request);  // tokens may change during the wait
      auto const allowed = std::string(where->allow()) + ",";
      if (allowed.find(request.method + ",") == std::string::npos)
        throw refusal{detail(405, "Method \"" + request.method + "\" not allowed.", where->allow())};
      json body;
      if (!is_read) body = body_of(request, *where);
      // NetBox commits at the end: a client that gave up meanwhile finds it done later.
      if (waits.before) waits.before(!is_read, is_read ? 0 : body.is_array() ? body.size() : 1);
      // The table may be gone with the plugin by now; ids are looked at after the wait.
      if (where->table != nullptr && where->table->model->plugin && !options.plugin) return not_found_page();
      std::size_t objects = 0;
      auto r = request.method == "OPTIONS" ? describe(*where, mine)
               : is_read                   ? read(*where, mine, base, path, query, objects)
                                           : write(request, *where, body, base, query, request_id);
      if (is_read && waits.after) waits.after(objects);
      if (request.header("Accept").starts_with("text/html")) {  // the browsable API
        std::erase_if(r.headers, [](auto const& h) { return h.first == "Content-Type"; });
        r.headers.emplace_back("Content-Type", "text/html; charset=utf-8");
        r.body = page(
            (where->table != nullptr ? where->table->model->class_name : std::string("API")) + " | NetBox REST API",
            std::to_string(r.status));
      }
      return r;
    } catch (refusal& no) {
      return std::move(no.response);
    }
  }

  http_response finished(http_response r, std::string const& request_id) const {
    r.headers.emplace_back("X-Request-ID", request_id);
    r.headers.emplace_back("API-Version", api_version());
    r.headers.emplace_back("Vary", "HX-Request, Accept-Language, Cookie, origin");
    r.headers.emplace_back("X-Content-Type-Options", "nosniff");
    r.headers.emplace_back("Content-Language", "en");
    return r;
  }

  std::string new_request_id() {
    auto const n = next_request++;
    return fmt::format("{:08x}-{:04x}-4000-8000-{:012x}", n >> 16U, n & 0xFFFFU, n * 2654435761U % 0xFFFFFFFFFFFFULL);
  }

  std::string api_version() const {
    auto const& v = options.version;
    auto const dot = v.find('.');
    return dot == std::string::npos ? v : v.substr(0, v.find_first_not_of("0123456789", dot + 1));
  }
};

std::vector<netbox_token> default_tokens() {
  return {{"nbt_simulated001.notasecretNOTASECRETnotasecretNOTASECRET", false, {}},
          {"0000000000000000000000000000000000000001", false, {}},
          {"0000000000000000000000000000000000000002", true, {}}};
}

netbox_app::netbox_app(netbox_app_options options) : state_(std::make_unique<state>(std::move(options))) {}
netbox_app::~netbox_app() = default;

http_response netbox_app::handle(http_request const& request, netbox_waits const& waits) {
  auto const request_id = state_->new_request_id();
  return state_->finished(state_->serve(request, request_id, waits), request_id);
}
http_response netbox_app::no_connection() {
  return state_->finished(state_->no_connection(), state_->new_request_id());
}
http_response netbox_app::database_down() {
  return state_->finished(state_->database_down(), state_->new_request_id());
}
netbox_app_options const& netbox_app::options() const { return state_->options; }
void netbox_app::configure(netbox_app_options options) {
  options.clock = state_->options.clock;  // times already given must not be overtaken
  state_->options = std::move(options);
  state_->store.plugin = state_->options.plugin;
}
std::string netbox_app::token() const {
  return state_->options.tokens.empty() ? std::string() : state_->options.tokens.front().token;
}
std::string netbox_app::dump(std::string const& base_url) const { return state_->dump(base_url); }

}  // namespace weir::sim
