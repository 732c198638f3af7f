#include "core/sim/control.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <regex>
#include <stdexcept>

namespace weir::sim {

using nlohmann::json;

namespace {

constexpr std::size_t kept_writes = 200;
constexpr std::size_t kept_body = 256U * 1024;

struct fault {
  std::regex path;
  std::string method;
  std::optional<int> status;
  std::string reason;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool cut = false;
  bool hang = false;
  bool after_commit = false;
  std::optional<std::size_t> truncate_body_at;
  std::int64_t delay_ms = 0;
  std::int64_t times = 1;
  std::int64_t skip = 0;
};

fault parse_fault(json const& item) {
  if (!item.is_object()) throw std::invalid_argument("a fault is an object");
  fault f;
  for (auto const& [key, value] : item.items()) {
    if (key == "path_regex")
      f.path = std::regex(value.get<std::string>());
    else if (key == "method")
      f.method = value.get<std::string>();
    else if (key == "status")
      f.status = value.get<int>();
    else if (key == "reason")
      f.reason = value.get<std::string>();
    else if (key == "body")
      f.body = value.is_string() ? value.get<std::string>() : value.dump();
    else if (key == "headers")
      for (auto const& [name, text] : value.items()) f.headers.emplace_back(name, text.get<std::string>());
    else if (key == "cut")
      f.cut = value.get<bool>();
    else if (key == "hang")
      f.hang = value.get<bool>();
    else if (key == "after_commit")
      f.after_commit = value.get<bool>();
    else if (key == "truncate_body_at")
      f.truncate_body_at = value.get<std::size_t>();
    else if (key == "delay_ms")
      f.delay_ms = value.get<std::int64_t>();
    else if (key == "times")
      f.times = value.get<std::int64_t>();
    else if (key == "skip")
      f.skip = value.get<std::int64_t>();
    else
      throw std::invalid_argument("unknown member of a fault: " + key);
  }
  if (!item.contains("path_regex")) throw std::invalid_argument("a fault needs path_regex");
  return f;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

struct control::state {
  mutable std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  request_counters counts;
  std::uint64_t in_flight = 0;
  std::deque<json> writes;
  json fault_list = json::array();
  std::vector<fault> faults;
  std::function<std::string()> extra;
  std::function<void()> reset_extra;

  std::optional<fault> take_fault(http_request const& request) {
    std::lock_guard lock(mutex);
    for (auto& f : faults) {
      if (f.times == 0 || (!f.method.empty() && f.method != request.method)) continue;
      if (!std::regex_search(request.target, f.path)) continue;
      if (f.skip > 0) {
        --f.skip;
        continue;
      }
      if (f.times > 0) --f.times;
      return f;
    }
    return std::nullopt;
  }
};

control::control() : state_(std::make_unique<state>()) {}
control::~control() = default;

http_response json_reply(int status, std::string body) {
  http_response response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(body);
  return response;
}

std::optional<http_response> control::handle(http_request const& request) {
  auto const path = request.path();
  if (path == "/_sim/requests" && request.method == "GET") {
    std::function<std::string()> extra;
    json out;
    {
      std::lock_guard lock(state_->mutex);
      auto const& c = state_->counts;
      json by_status = json::object();
      for (auto const& [status, n] : c.by_status) by_status[std::to_string(status)] = n;
      out = {{"total", c.total},
             {"writes", c.writes},
             {"objects_written", c.objects_written},
             {"in_flight", state_->in_flight},
             {"peak_in_flight", c.peak_in_flight},
             {"by_method", c.by_method.empty() ? json::object() : json(c.by_method)},
             {"by_endpoint", c.by_endpoint.empty() ? json::object() : json(c.by_endpoint)},
             {"by_status", by_status},
             {"last_writes", json(state_->writes)}};
      extra = state_->extra;
    }
    if (extra) out.update(json::parse(extra()));
    return json_reply(200, out.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  if (path == "/_sim/reset-counters" && request.method == "POST") {
    reset_counters();
    return json_reply(200, "{}");
  }
  if (path == "/_sim/faults" && request.method == "GET") {
    std::lock_guard lock(state_->mutex);
    return json_reply(200, state_->fault_list.dump());
  }
  if (path == "/_sim/faults" && (request.method == "PUT" || request.method == "POST")) {
    try {
      set_faults(request.body);
    } catch (std::exception const& e) {
      return json_reply(400, json{{"error", e.what()}}.dump());
    }
    return json_reply(200, "{}");
  }
  return std::nullopt;
}

http_response control::run(http_request const& request, std::string const& endpoint,
                           std::function<http_response()> const& serve) {
  bool const is_write = request.method != "GET" && request.method != "HEAD" && request.method != "OPTIONS";
  {
    std::lock_guard lock(state_->mutex);
    auto& c = state_->counts;
    ++c.total;
    if (is_write) ++c.writes;
    ++c.by_method[request.method];
    ++c.by_endpoint[request.method + " " + endpoint];
    c.peak_in_flight = std::max(c.peak_in_flight, ++state_->in_flight);
  }
  struct leave {
    state& s;
    ~leave() {
      std::lock_guard lock(s.mutex);
      --s.in_flight;
    }
  } const on_leave{*state_};

  auto const f = state_->take_fault(request);
  if (f && f->delay_ms > 0) sleep(std::chrono::milliseconds(f->delay_ms));
  bool const replaces = f && (f->status || f->cut || f->hang);
  http_response response;
  if (!replaces || f->after_commit) response = serve();
  if (replaces) {
    auto const committed = response.objects_written;
    response = {};
    response.objects_written = committed;
    response.status = f->status.value_or(500);
    response.reason = f->reason;
    response.body = f->body;
    response.headers = f->headers;
    if (f->headers.empty()) {
      bool const is_json = !f->body.empty() && (f->body.front() == '{' || f->body.front() == '[');
      response.headers.emplace_back("Content-Type", is_json ? "application/json" : "text/html");
    }
    if (f->cut) response.how = delivery::cut;
    if (f->hang) response.how = delivery::hang;
  }
  if (f && f->truncate_body_at) {
    response.how = delivery::truncate;
    response.truncate_at = *f->truncate_body_at;
  }
  std::lock_guard lock(state_->mutex);
  auto& c = state_->counts;
  int const status = response.how == delivery::cut || response.how == delivery::hang ? 0 : response.status;
  ++c.by_status[status];
  c.objects_written += response.objects_written;
  if (is_write) {
    state_->writes.push_back({{"method", request.method},
                              {"target", request.target},
                              {"status", status},
                              {"objects", response.objects_written},
                              {"body", request.body.substr(0, kept_body)}});
    if (state_->writes.size() > kept_writes) state_->writes.pop_front();
  }
  return response;
}

request_counters control::counters() const {
  std::lock_guard lock(state_->mutex);
  return state_->counts;
}

void control::reset_counters() {
  std::function<void()> reset;
  {
    std::lock_guard lock(state_->mutex);
    state_->counts = {};
    state_->counts.peak_in_flight = state_->in_flight;
    state_->writes.clear();
    reset = state_->reset_extra;
  }
  if (reset) reset();
}

void control::set_faults(std::string const& text) {
  json list;
  std::vector<fault> faults;
  try {
    list = json::parse(text);
    if (!list.is_array()) throw std::invalid_argument("faults are a list");
    for (auto const& item : list) faults.push_back(parse_fault(item));
  } catch (json::exception const& e) {
    throw std::invalid_argument(std::string("faults: ") + e.what());
  } catch (std::regex_error const& e) {
    throw std::invalid_argument(std::string("path_regex: ") + e.what());
  }
  std::lock_guard lock(state_->mutex);
  state_->fault_list = std::move(list);
  state_->faults = std::move(faults);
}

void control::set_extra(std::function<std::string()> extra, std::function<void()> reset) {
  std::lock_guard lock(state_->mutex);
  state_->extra = std::move(extra);
  state_->reset_extra = std::move(reset);
}

bool control::sleep(std::chrono::microseconds time) {
  std::unique_lock lock(state_->mutex);
  return !state_->wake.wait_for(lock, time, [&] { return state_->stopping; });
}

void control::stop() {
  std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->wake.notify_all();
}

std::string url_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!query.empty()) {
    auto const part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (part.empty()) continue;
    auto const equals = part.find('=');
    out.emplace_back(url_decode(part.substr(0, equals)),
                     equals == std::string_view::npos ? std::string() : url_decode(part.substr(equals + 1)));
  }
  return out;
}

}  // namespace weir::sim
