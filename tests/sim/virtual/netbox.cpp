#include "tests/sim/virtual/netbox.hpp"

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::simulated {

using nlohmann::json;
using namespace std::chrono_literals;
using how = sim::load_answer::how;

namespace {

constexpr timeline::owner ours = 0;  // outlives every process of weir
constexpr char const* host = "netbox.example";

std::string http_date(std::int64_t seconds) {
  std::time_t const t = seconds;
  std::tm parts{};
  gmtime_r(&t, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

http::reply page(int status, std::string const& title) {
  http::reply r;
  r.status = status;
  r.headers.emplace_back("content-type", "text/html");
  r.body = "<html><head><title>" + title + "</title></head><body><h1>" + title + "</h1></body></html>";
  r.request_sent = r.reply_started = true;
  return r;
}

http::reply database_says(std::string const& exception, std::string const& error) {
  http::reply r;
  r.status = 500;
  r.headers.emplace_back("content-type", "application/json");
  r.body = json{{"error", error}, {"exception", exception}, {"netbox_version", "4.7.3"}}.dump();
  r.request_sent = r.reply_started = true;
  return r;
}

http::reply no_answer(http::failure why, bool reached) {
  http::reply r;
  r.error = why;
  r.error_text = why == http::failure::refused ? "connection refused" : "the connection ended";
  r.request_sent = reached;
  return r;
}

}  // namespace

std::string_view name(trouble t) {
  static constexpr std::string_view names[] = {
      "db_error",  "deadlock", "server_fault", "reset_before", "reset_after", "reset_early", "truncated",  "502-before",
      "502-after", "504",      "hang",         "html_page",    "late",        "stale",       "other_host", "lost_race"};
  return names[static_cast<std::size_t>(t)];
}

netbox::netbox(timeline& line, sim::load_scenario scenario, sim::netbox_app_options options, std::chrono::seconds ahead)
    : line_(line), ahead_(ahead), model_(std::move(scenario)), app_([&] {
        options.clock = [this] { return std::chrono::microseconds(wall_epoch + ahead_).count() + now_us().count(); };
        return std::move(options);
      }()) {
  arm();
}
netbox::~netbox() = default;

void netbox::arm() {
  line_.cancel(armed_);
  armed_ = 0;
  if (auto const next = model_.next()) armed_ = line_.at(instant(*next), ours, [this] { move(); });
}

void netbox::move() {
  armed_ = 0;
  auto step = model_.advance(now_us());
  for (auto const id : step.committed) commit(id);
  for (auto const& a : step.answers) {
    switch (a.what) {
      case how::ok: {
        auto const found = open_.find(a.id);
        if (found != open_.end()) {
          auto const& q = found->second;
          if (q.has_trouble && q.wrong.what == trouble::hang) break;
          bool const held_up = q.has_trouble && q.wrong.what == trouble::late;
          auto result = std::move(found->second.result);
          held_up ? reply_in(a.id, q.wrong.delay, std::move(result)) : reply_to(a.id, std::move(result));
        }
        break;
      }
      case how::no_connection:
        reply_to(a.id, to_reply(app_.no_connection()));
        break;
      case how::database_down:
        reply_to(a.id, to_reply(app_.database_down()));
        break;
      case how::refused:
        reply_to(a.id, no_answer(http::failure::refused, false));
        break;
      case how::cut:
        reply_to(a.id, no_answer(http::failure::cut, true));
        break;
      case how::bad_gateway:
        reply_to(a.id, page(502, "502 Bad Gateway"));
        break;
      case how::gateway_timeout:
        reply_to(a.id, page(504, "504 Gateway Time-out"));
        break;
      case how::too_many: {
        auto r = database_says("", "");
        r.status = 429;
        r.body = R"({"detail":"Request was throttled."})";
        r.headers.emplace_back(
            "retry-after",
            a.retry_after_s % 2
                ? http_date((wall_epoch + ahead_ + std::chrono::floor<std::chrono::seconds>(line_.now())).count() +
                            a.retry_after_s)
                : std::to_string(a.retry_after_s));
        reply_to(a.id, std::move(r));
        break;
      }
    }
  }
  arm();
}

std::string netbox::marker_of(std::string const& body) {
  constexpr std::string_view begin = "\"changelog_message\":\"";
  auto const at = body.find(begin);
  if (at == std::string::npos) return {};
  auto const from = at + begin.size();
  return body.substr(from, body.find('"', from) - from);
}

std::uint64_t netbox::arrive(http::request const& what, bool reused, std::function<void(http::reply)> answer) {
  auto const id = ++last_;
  ++requests_;
  bool const write = what.verb != throttle::method::get;
  if (write) ++writes_;
  request q;
  q.what.method = std::string(throttle::name(what.verb));
  q.what.target = what.url.substr(what.url.find('/', what.url.find("://") + 3));
  q.what.headers = what.headers;
  q.what.headers.emplace_back("Host", host);
  q.what.body = what.body;
  q.marker = marker_of(what.body);
  q.answer = std::move(answer);
  for (auto& f : faults_) {
    if ((f.writes_only && !write) || (f.posts_only && what.verb != throttle::method::post)) continue;
    if (f.what == trouble::stale && !reused) continue;
    if (f.skip > 0) {
      --f.skip;
      continue;
    }
    if (f.times <= 0) continue;
    --f.times;
    q.has_trouble = true;
    q.wrong = f;
    ++struck_[f.what];
    break;
  }
  bool const has = q.has_trouble;
  auto const wrong = q.wrong;
  std::size_t objects = 0;
  if (write) {
    for (auto at = q.what.body.find("\"changelog_message\""); at != std::string::npos;
         at = q.what.body.find("\"changelog_message\"", at + 1))
      ++objects;
  } else if (auto const before = found_.find(std::string(q.what.path())); before != found_.end()) {
    objects = before->second;
  }
  open_.emplace(id, std::move(q));
  for (auto [at, end] = plans_.equal_range(requests_); at != end;) {
    auto const plan = std::move(at->second);
    at = plans_.erase(at);
    plan();
  }
  // What never reaches NetBox.
  open_.at(id).over = true;
  if (has) switch (wrong.what) {
      case trouble::db_error:
        return reply_in(id, 20ms, to_reply(app_.no_connection())), id;
      case trouble::reset_before:
        return reply_in(id, 3ms, no_answer(http::failure::cut, true)), id;
      case trouble::bad_gateway_before:
        return reply_in(id, 3ms, page(502, "502 Bad Gateway")), id;
      case trouble::html_page:
        return reply_in(id, 5ms, page(200, "Sign in")), id;
      case trouble::stale: {
        auto r = no_answer(http::failure::cut, true);
        r.connection_reused = true;
        return reply_in(id, 1ms, r), id;
      }
      default:
        break;
    }
  open_.at(id).over = false;
  bool const given_up = has && (wrong.what == trouble::reset_early || wrong.what == trouble::gateway_timeout);
  if (given_up)
    reply_in(
        id, wrong.delay,
        wrong.what == trouble::reset_early ? no_answer(http::failure::cut, true) : page(504, "504 Gateway Time-out"));
  if (given_up && wrong.held > 0ms)
    line_.at(line_.now() + wrong.held, ours, [this, id, write, objects] { take_up(id, write, objects); });
  else
    take_up(id, write, objects);
  return id;
}

void netbox::take_up(std::uint64_t id, bool write, std::size_t objects) {
  auto const found = open_.find(id);
  if (found == open_.end()) return;
  model_.arrive(now_us(), id, write, std::max<std::size_t>(1, objects));
  if (!found->second.answer) model_.abandon(id);
  arm();
}

void netbox::commit(std::uint64_t id) {
  auto const found = open_.find(id);
  if (found == open_.end()) return;
  auto& q = found->second;
  q.over = true;
  bool const write = q.what.method != "GET";
  auto const wrong = q.has_trouble ? q.wrong.what : trouble::late;
  if (wrong == trouble::deadlock || wrong == trouble::server_fault) {
    q.result = wrong == trouble::deadlock
                   ? database_says("OperationalError", "deadlock detected\nDETAIL:  Process 1 waits for ShareLock")
                   : database_says("TypeError", "unsupported operand");
    if (!q.answer) open_.erase(found);
    return;
  }
  if (wrong == trouble::other_host || wrong == trouble::lost_race) imitate(q.what.target, q.what.body);
  sim::netbox_waits waits;
  waits.after = [&](std::size_t n) { found_[std::string(q.what.path())] = n; };
  if (wrong == trouble::lost_race) {
    q.result = database_says("IntegrityError", "duplicate key value violates unique constraint");
  } else {
    q.result = to_reply(app_.handle(q.what, waits));
    if (write && q.result.status < 300 && !q.marker.empty()) landed_.emplace(q.marker, line_.now());
  }
  if (!q.answer) {
    open_.erase(found);
    return;
  }
  if (!q.has_trouble) return;
  switch (wrong) {
    case trouble::reset_after:
      q.result = no_answer(http::failure::cut, true);
      break;
    case trouble::bad_gateway_after:
      q.result = page(502, "502 Bad Gateway");
      break;
    case trouble::truncated:
      q.result.error = http::failure::cut;
      q.result.error_text = "the answer ended in the middle";
      q.result.body.resize(q.result.body.size() / 2);
      break;
    default:
      break;
  }
}

// Somebody else makes the first object of a list just now.
void netbox::imitate(std::string const& target, std::string const& body) {
  auto items = json::parse(body, nullptr, false);
  if (!items.is_array() || items.empty()) return;
  auto& object = items[items.size() / 2];
  object["changelog_message"] = "another host's";
  at_once("POST", target, object.dump());
}

void netbox::reply_to(std::uint64_t id, http::reply r) {
  auto const found = open_.find(id);
  if (found == open_.end() || !found->second.answer) return;
  auto const answer = std::move(found->second.answer);
  found->second.answer = nullptr;
  model_.abandon(id);  // what is still at work is forgotten when it commits
  if (found->second.over) open_.erase(found);
  answer(std::move(r));
}

void netbox::reply_in(std::uint64_t id, instant delay, http::reply r) {
  line_.at(line_.now() + delay, ours, [this, id, r = std::move(r)]() mutable { reply_to(id, std::move(r)); });
}

void netbox::hang_up(std::uint64_t id) {
  auto const found = open_.find(id);
  if (found == open_.end() || !found->second.answer) return;
  found->second.answer = nullptr;
  model_.abandon(id);
}

void netbox::redis(bool up) {
  auto options = app_.options();
  options.redis_down = !up;
  app_.configure(std::move(options));
}

void netbox::restart() {
  model_.restart(now_us());
  arm();
}

void netbox::heal() {
  faults_.clear();
  plans_.clear();
  redis(true);
}

std::string netbox::at_once(std::string const& method, std::string const& target, std::string const& body) {
  if (method != "GET") others_wrote_ = true;
  sim::http_request q{
      method,
      target,
      {{"Host", host}, {"Authorization", "Bearer " + app_.token()}, {"Content-Type", "application/json"}},
      body};
  auto const down = app_.options().redis_down;  // it is the others' concern, not that of who looks or meddles here
  if (down) redis(true);
  auto r = app_.handle(q);
  if (down) redis(false);
  return r.status < 300 ? std::move(r.body) : std::string();
}

http::reply netbox::to_reply(sim::http_response const& r) const {
  http::reply out;
  out.status = r.status;
  out.body = r.body;
  for (auto const& [key, value] : r.headers) out.headers.emplace_back(base::lower(key), value);
  out.headers.emplace_back(
      "date", http_date((wall_epoch + ahead_ + std::chrono::floor<std::chrono::seconds>(line_.now())).count()));
  out.request_sent = out.reply_started = true;
  return out;
}

}  // namespace weir::simulated
