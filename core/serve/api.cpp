#include "core/serve/api.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/text.hpp"
#include "core/serve/page.hpp"

namespace weir::serve {
namespace {

constexpr std::size_t longest_path = 256, most_runs = 1000;

response document(std::string body, unsigned status = 200) {
  response out;
  out.status = status;
  out.body = std::move(body);
  return out;
}

response checked(std::vector<check> const& checks) {
  bool const ok = std::all_of(checks.begin(), checks.end(), [](auto const& c) { return c.ok; });
  return document(checks_json(checks), ok ? 200 : 503);
}

response unreadable(base::error const& e) { return failure(503, e.what, e.hint); }

// The media type without its parameters.
std::string media_type(std::string_view content_type) {
  auto type = base::lower(content_type.substr(0, content_type.find(';')));
  while (type.ends_with(' ') || type.ends_with('\t')) type.pop_back();
  return type;
}

}  // namespace

response failure(unsigned status, std::string const& error, std::string const& hint) {
  return document(error_json(error, hint), status);
}

std::string event_text(std::string_view name, std::string_view data) {
  while (data.ends_with('\n')) data.remove_suffix(1);
  std::string out = "event: ";
  out.append(name).append("\ndata: ").append(data).append("\n\n");
  return out;
}

void api::change(access next) {
  auto made = std::make_shared<access const>(std::move(next));
  std::scoped_lock lock(mutex_);
  access_ = std::move(made);
}

std::string api::status() const { return status_json(about_.now->look(moment::now(), about_.schedules())); }

response api::answer(request const& r) const {
  auto const now = [&] {
    std::scoped_lock lock(mutex_);
    return access_;
  }();
  auto const mark = r.target.find('?');
  auto const path = r.target.substr(0, mark);
  auto const query = mark == std::string::npos ? std::string() : r.target.substr(mark + 1);
  if (path.empty() || path.front() != '/' || path.size() > longest_path) return failure(404, "there is nothing here");

  // A page of another name whose name was pointed at this machine would otherwise be this service to a browser.
  if (now->loopback && now->token.empty() && !is_loopback_name(r.host))
    return failure(
        403, "this service answers on loopback by loopback's names only, not as '" + base::shorten(r.host, 80) + "'",
        "ask for http://127.0.0.1 or http://localhost; behind a reverse proxy set serve.token_file");
  bool const reads = r.method == "GET" || r.method == "HEAD";
  if (auto const file = find_asset(path)) {
    if (!reads) {
      auto out = r.method == "OPTIONS" ? document("", 204) : failure(405, path + " takes GET and HEAD");
      out.headers.emplace_back("Allow", "GET, HEAD, OPTIONS");
      return out;
    }
    response out;
    out.content_type = file->content_type;
    out.body = file->bytes;
    return out;
  }
  bool const open = path == "/livez" || path == "/readyz";
  if (!open && !now->token.empty() && !bears(r.authorization, now->token)) {
    auto out =
        failure(401, r.authorization.empty() ? "a bearer token is needed" : "the bearer token is not the right one",
                "send 'Authorization: Bearer TOKEN', the token of serve.token_file or its like");
    out.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"weir\"");
    return out;
  }
  return route(r, path, query, *now);
}

response api::route(request const& r, std::string const& path, std::string const& query, access const& now) const {
  auto const of_run = [&]() -> std::optional<std::string> {  // "/runs/ID" or "/runs/ID/cancel"
    constexpr std::string_view before = "/runs/";
    if (!path.starts_with(before)) return {};
    auto id = path.substr(before.size());
    if (id.ends_with("/cancel")) id.resize(id.size() - 7);
    bool const plain = !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
    });
    return plain ? std::optional(id) : std::nullopt;
  }();
  bool const cancels = of_run && path.ends_with("/cancel");
  static constexpr std::string_view reads[] = {"/livez", "/readyz", "/status", "/plan", "/gate", "/events", "/metrics"};
  bool const plain = std::find(std::begin(reads), std::end(reads), path) != std::end(reads);
  if (!plain && path != "/runs" && !of_run) return failure(404, "there is nothing at " + base::shorten(path, 80));

  std::string const allowed = cancels           ? "POST, OPTIONS"
                              : path == "/runs" ? "GET, HEAD, POST, OPTIONS"
                                                : "GET, HEAD, OPTIONS";
  bool const get = r.method == "GET" || r.method == "HEAD";
  if (r.method == "OPTIONS") {
    auto out = document("", 204);
    out.headers.emplace_back("Allow", allowed);
    return out;
  }
  if (!(get && !cancels) && !(r.method == "POST" && (cancels || path == "/runs"))) {
    auto out = failure(405, base::shorten(r.method, 20) + " is not for " + path, "it takes " + allowed);
    out.headers.emplace_back("Allow", allowed);
    return out;
  }
  if (!get) {
    // A form in some other page can send a POST, but neither this type nor this origin.
    if (!r.origin.empty() && !same_origin(r.origin, r.host))
      return failure(403, "the request comes from another page (Origin: " + base::shorten(r.origin, 80) + ")",
                     "a reverse proxy must pass the Host header on");
    if (media_type(r.content_type) != "application/json")
      return failure(415, "Content-Type must be application/json", R"(also without a body: send {})");
    return cancels ? cancel(*of_run) : start(r);
  }
  if (path == "/livez") return checked(about_.live());
  if (path == "/readyz") return checked(about_.ready());
  if (path == "/status") return document(status());
  if (path == "/gate") return document(gate_json(about_.now->samples(), about_.now->ceiling()));
  if (path == "/metrics") {
    auto out = document(about_.metrics());
    out.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return out;
  }
  if (path == "/plan") {
    auto const plan = about_.now->plan();
    return plan ? document(plan_json(*plan))
                : failure(404, "no plan is waiting", R"(POST /runs with {"command": "plan"})");
  }
  if (path == "/events") {
    response out;
    out.content_type = "text/event-stream";
    out.body = "retry: 2000\n\n" + event_text("status", status());
    out.events = true;
    return out;
  }
  return path == "/runs" ? runs(query, now) : run(*of_run, now);
}

response api::runs(std::string const& query, access const& now) const {
  std::size_t limit = 50;
  std::string_view rest = query;
  while (!rest.empty()) {
    auto const one = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    if (one.empty()) continue;
    constexpr std::string_view key = "limit=";
    auto const value = one.starts_with(key) ? one.substr(key.size()) : std::string_view();
    auto const [end, failed] = std::from_chars(value.data(), value.data() + value.size(), limit);
    if (failed != std::errc{} || end != value.data() + value.size() || limit < 1 || limit > most_runs)
      return failure(400, "the query '" + base::shorten(one, 40) + "' is not known", "limit=1 to limit=1000");
  }
  auto const found = run_reader(now.journal, now.netbox_url, *about_.now).list(limit);
  return found ? document(runs_json(*found)) : unreadable(found.error());
}

response api::run(std::string const& id, access const& now) const {
  auto const found = run_reader(now.journal, now.netbox_url, *about_.now).find(id);
  if (!found) return unreadable(found.error());
  return *found ? document(run_json(**found)) : failure(404, "there is no run " + id);
}

response api::start(request const& r) const {
  auto const wanted = parse_start(r.body.empty() ? std::string_view("{}") : std::string_view(r.body));
  if (!wanted) return failure(400, wanted.error().what, wanted.error().hint);
  auto const outcome = about_.start(*wanted, "http");
  if (!outcome.error) {
    auto out = document("{\"id\":\"" + outcome.id + "\"}\n", 202);
    out.headers.emplace_back("Location", "/runs/" + outcome.id);
    return out;
  }
  if (outcome.error->code == base::error_code::locked) {
    std::string body = "{\"error\":";
    base::append_quoted(body, outcome.error->what);
    body += ",\"hint\":";
    base::append_quoted(body, outcome.error->hint);
    return document(body + ",\"run\":\"" + outcome.running + "\"}\n", 409);
  }
  return failure(outcome.error->code == base::error_code::data ? 422 : 503, outcome.error->what, outcome.error->hint);
}

response api::cancel(std::string const& id) const {
  switch (about_.cancel(id)) {
    case cancel_outcome::asked:
      return document("{\"id\":\"" + id + "\"}\n", 202);
    case cancel_outcome::not_running:
      return failure(409, "run " + id + " is not under way");
    case cancel_outcome::unknown:
      break;
  }
  return failure(404, "there is no run " + id);
}

}  // namespace weir::serve
