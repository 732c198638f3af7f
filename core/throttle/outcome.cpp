#include "core/throttle/outcome.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace weir::throttle {
namespace {

using std::chrono::milliseconds;
constexpr milliseconds longest_retry_after{120000};
constexpr std::size_t longest_error_body = 64u << 10;  // NetBox's own are below 1 KiB; more is no error message

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// What a 5xx of NetBox says: {"error": …, "exception": <Python class>} or {"detail": …}. Empty where it says nothing.
struct error_body {
  std::string exception;
  std::string error;
  std::string detail;
};

error_body read_error_body(std::string_view body) {
  error_body out;
  auto const start = body.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos || body[start] != '{' || body.size() > longest_error_body) return out;
  auto const document = nlohmann::json::parse(body.begin(), body.end(), nullptr, false);
  if (!document.is_object()) return out;
  auto const text = [&](char const* key) {
    auto const found = document.find(key);
    return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  out.exception = text("exception");
  out.error = text("error");
  out.detail = text("detail");
  return out;
}

outcome classify_server_error(observation const& seen) {
  auto const said = read_error_body(seen.body);
  // By the exception, whatever the status: NetBox's JSON names it, and nothing of its transaction was committed.
  if (said.exception == "OperationalError")
    // A connection that went without PostgreSQL's word may have gone between a commit and its acknowledgement.
    return contains(said.error, "server closed the connection") && !contains(said.error, "terminating connection")
               ? outcome::unknown
               : outcome::overload;
  if (said.exception == "IntegrityError") return outcome::lost_race;
  if (said.exception == "RequestDataTooBig") return outcome::too_large;
  if (!said.exception.empty()) return outcome::server_fault;
  switch (seen.status) {
    case 500:
      // NetBox answers JSON to every fault below /api/; its HTML page comes from before the view, when Redis is down.
      return contains(seen.body, "<title>Server Error</title>") ? outcome::unreachable : outcome::server_fault;
    case 503:
      if (seen.has_retry_after) return outcome::overload;
      if (contains(said.detail, "RQ worker")) return outcome::data;
      // A page instead of JSON: a proxy that has no server behind it.
      return said.detail.empty() ? outcome::unreachable : outcome::server_fault;
    case 501:
    case 505:
    case 507:
      return outcome::server_fault;
    default:
      return outcome::unknown;  // 502, 504 and what proxies invent: NetBox may be at work on it
  }
}

}  // namespace

std::string_view name(method m) {
  switch (m) {
    case method::get:
      return "GET";
    case method::post:
      return "POST";
    case method::patch:
      return "PATCH";
    case method::put:
      return "PUT";
    case method::del:
      return "DELETE";
  }
  return "?";
}

std::string_view name(outcome o) {
  switch (o) {
    case outcome::ok:
      return "ok";
    case outcome::overload:
      return "overload";
    case outcome::unknown:
      return "unknown";
    case outcome::stale:
      return "stale";
    case outcome::unreachable:
      return "unreachable";
    case outcome::lost_race:
      return "lost_race";
    case outcome::too_large:
      return "too_large";
    case outcome::server_fault:
      return "server_fault";
    case outcome::data:
      return "data";
    case outcome::credentials:
      return "credentials";
    case outcome::cancelled:
      return "cancelled";
  }
  return "?";
}

std::string_view name(trouble t) {
  switch (t) {
    case trouble::none:
      return "none";
    case trouble::no_connection:
      return "no_connection";
    case trouble::database_down:
      return "database_down";
    case trouble::deadlock:
      return "deadlock";
  }
  return "?";
}

trouble database_trouble(observation const& seen) {
  if (seen.status < 500) return trouble::none;
  auto const said = read_error_body(seen.body);
  if (said.exception != "OperationalError") return trouble::none;
  // PostgreSQL's own words (53300 too_many_connections, for the server, a role or a database), and PgBouncer's.
  for (auto const* text :
       {"too many clients", "remaining connection slots", "too many connections", "no more connections"})
    if (contains(said.error, text)) return trouble::no_connection;
  if (contains(said.error, "deadlock detected")) return trouble::deadlock;
  for (auto const* text : {"Connection refused", "starting up", "shutting down", "terminating connection",
                           "server closed the connection", "No such file", "could not connect", "timeout expired"})
    if (contains(said.error, text)) return trouble::database_down;
  return trouble::none;
}

outcome classify(observation const& seen) {
  if (seen.cancelled) return outcome::cancelled;
  if (seen.status >= 400 && seen.status < 500) {
    // The status alone decides; a body that was cut changes nothing, since nothing was committed.
    switch (seen.status) {
      case 401:
      case 403:
        return outcome::credentials;
      case 408:
      case 429:
        return outcome::overload;
      case 413:
      case 414:
        return outcome::too_large;
      case 400:
        return contains(seen.body, "Request Line is too large") ? outcome::too_large : outcome::data;
      default:
        return outcome::data;
    }
  }
  bool const whole = seen.status != 0 && !seen.cut && !seen.timed_out;
  if (whole) {
    if (seen.status >= 500) return classify_server_error(seen);
    if (seen.status < 200 || seen.status >= 300) return outcome::data;
    // A page (of a proxy's, or a login) in place of NetBox's word on a write: whoever reads finds out by himself.
    return seen.verb != method::get && contains(seen.content_type, "html") ? outcome::unknown : outcome::ok;
  }
  if (!seen.request_sent && seen.status == 0) return outcome::unreachable;
  if (seen.cut && seen.connection_reused && !seen.reply_started && seen.status == 0) return outcome::stale;
  return outcome::unknown;
}

namespace {
bool is_digit(char c) { return c >= '0' && c <= '9'; }
}  // namespace

std::optional<std::chrono::seconds> parse_http_date(std::string_view text) {
  using namespace std::chrono;
  static constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  static constexpr std::string_view form = "aaa, 00 aaa 0000 00:00:00 GMT";
  if (text.size() != form.size()) return {};
  for (std::size_t i = 0; i < form.size(); ++i)
    if (form[i] == '0' ? !is_digit(text[i]) : form[i] != 'a' && text[i] != form[i]) return {};
  auto const number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = 0; i < digits; ++i) value = value * 10 + (text[at + i] - '0');
    return value;
  };
  auto const found = std::find(months.begin(), months.end(), text.substr(8, 3));
  if (found == months.end()) return {};
  year_month_day const date{year{number(12, 4)}, month{static_cast<unsigned>(found - months.begin()) + 1},
                            day{static_cast<unsigned>(number(5, 2))}};
  if (!date.ok() || number(17, 2) > 23 || number(20, 2) > 59 || number(23, 2) > 60) return {};
  // In whole seconds: the clock's own resolution cannot hold the year 9999.
  return duration_cast<seconds>(sys_days(date).time_since_epoch() + hours(number(17, 2)) + minutes(number(20, 2)) +
                                seconds(number(23, 2)));
}

std::optional<milliseconds> retry_after(std::string_view header, std::chrono::system_clock::time_point now) {
  using namespace std::chrono;
  while (!header.empty() && (header.front() == ' ' || header.front() == '\t')) header.remove_prefix(1);
  while (!header.empty() && (header.back() == ' ' || header.back() == '\t')) header.remove_suffix(1);
  if (header.empty()) return {};
  if (std::all_of(header.begin(), header.end(), is_digit)) {
    if (header.size() > 6) return longest_retry_after;
    long seconds_left = 0;
    std::from_chars(header.data(), header.data() + header.size(), seconds_left);
    return std::min(longest_retry_after, milliseconds(seconds(seconds_left)));
  }
  auto const then = parse_http_date(header);
  if (!then) return {};
  auto const left = *then - floor<seconds>(now).time_since_epoch();
  return milliseconds(std::clamp(left, seconds(0), duration_cast<seconds>(longest_retry_after)));
}

bool may_repeat(method verb, outcome o) {
  switch (o) {
    case outcome::overload:
    case outcome::unreachable:
    case outcome::server_fault:
      return true;  // nothing was committed
    case outcome::unknown:
    case outcome::stale:
      return verb != method::post;  // the others give the same result twice
    case outcome::ok:
    case outcome::lost_race:
    case outcome::too_large:
    case outcome::data:
    case outcome::credentials:
    case outcome::cancelled:
      break;
  }
  return false;
}

}  // namespace weir::throttle
