#include "core/netbox/errors.hpp"

#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::netbox {
namespace {

using nlohmann::json;
constexpr std::size_t longest_message_bytes = 512;

// {"format": ["x is not a valid choice."], "__all__": ["…"]} ► "format: x is not a valid choice.; …"
std::string messages(json const& errors) {
  if (errors.is_string()) return errors.get<std::string>();
  std::vector<std::string> out;
  if (errors.is_array()) {
    for (auto const& e : errors) out.push_back(messages(e));
  } else if (errors.is_object()) {
    for (auto const& [field, e] : errors.items())
      out.push_back(field == "__all__" || field == "non_field_errors" || field == "detail"
                        ? messages(e)
                        : field + ": " + messages(e));
  } else {
    return errors.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  return base::join(out, "; ");
}

// NetBox names neither what protects an object nor what to do about it.
std::string explained(std::string text) {
  if (text.find("Unable to delete") != std::string::npos)
    text +=
        " (NetBox protects what others refer to, and none of it was deleted: its page in NetBox lists them; move or "
        "delete those, or let this kind be marked or kept: orphans)";
  return text;
}

// A page of HTML says little: its title is the best of it.
std::string html_title(std::string_view body) {
  for (auto const& [open, close] : {std::pair{"<title>", "</title>"}, std::pair{"<h1>", "</h1>"}}) {
    auto const from = body.find(open);
    if (from == std::string_view::npos) continue;
    auto const start = from + std::string_view(open).size();
    auto const end = body.find(close, start);
    if (end == std::string_view::npos) continue;
    std::string text;
    bool tag = false;
    for (char c : body.substr(start, end - start)) {
      if (c == '<')
        tag = true;
      else if (c == '>')
        tag = false;
      else if (!tag && !(std::isspace(static_cast<unsigned char>(c)) && (text.empty() || text.back() == ' ')))
        text += std::isspace(static_cast<unsigned char>(c)) ? ' ' : c;
    }
    if (!text.empty()) return text;
  }
  return {};
}

bool looks_like_html(std::string_view body) {
  auto const start = body.find_first_not_of(" \r\n\t");
  return start != std::string_view::npos && body[start] == '<';
}

}  // namespace

blame parse_blame(std::string_view body) {
  blame out;
  auto const parsed = json::parse(body, nullptr, false);
  if (parsed.is_discarded()) {
    out.detail = looks_like_html(body) ? "an HTML page" : "";
    if (auto title = html_title(body); !title.empty()) out.detail += " (\"" + base::shorten(title, 120) + "\")";
    if (out.detail.empty()) out.detail = base::shorten(body, 200);
    return out;
  }
  if (parsed.is_object() && parsed.contains("errors") && parsed.at("errors").is_array()) {
    for (auto const& item : parsed.at("errors")) {
      if (!item.is_object() || !item.contains("errors")) continue;
      auto text = explained(base::shorten(messages(item.at("errors")), longest_message_bytes));
      if (item.contains("index") && item.at("index").is_number_unsigned())
        out.by_index.emplace_back(item.at("index").get<std::size_t>(), std::move(text));
      else if (item.contains("id") && item.at("id").is_number_unsigned())
        out.by_id.emplace_back(item.at("id").get<std::uint64_t>(), std::move(text));
    }
    // A mix cannot be attributed: let the caller split the list instead.
    if (!out.by_index.empty() && !out.by_id.empty()) out.by_index.clear(), out.by_id.clear();
    out.detail = parsed.contains("detail") ? messages(parsed.at("detail")) : messages(parsed.at("errors"));
  } else if (parsed.is_object() && parsed.contains("exception")) {
    out.detail = messages(parsed.value("exception", json("")));
    if (parsed.contains("error")) out.detail += ": " + messages(parsed.at("error"));
  } else {
    out.detail = messages(parsed);
  }
  out.detail = explained(base::shorten(out.detail, longest_message_bytes));
  return out;
}

base::error describe(http::answer const& got, std::string const& tried) {
  using base::error_code;
  using throttle::outcome;
  auto const& r = got.reply;
  std::string came = r.status == 0 ? r.error_text : "HTTP " + std::to_string(r.status);
  if (r.status != 0 && r.error != http::failure::none) came += ", then " + r.error_text;
  if (r.status != 0 && !r.body.empty()) came += ": " + parse_blame(r.body).detail;
  if (got.attempts > 1) came += " (" + std::to_string(got.attempts) + " attempts)";
  base::error e{error_code::failed, tried + ": " + came, ""};
  switch (got.outcome) {
    case outcome::ok:
      break;
    case outcome::overload:
      e.hint =
          "NetBox has no database connection left: choose a gentler profile, or give its PostgreSQL more "
          "connections (max_connections) or NetBox fewer threads";
      e.code = error_code::unreachable;
      break;
    case outcome::unknown:
    case outcome::stale:
      e.hint = "NetBox may have done it all the same: run weir again, it looks before it writes";
      e.code = error_code::unreachable;
      break;
    case outcome::unreachable:
      e.hint = "check netbox.url, that NetBox and its Redis are up, and TLS settings";
      e.code = error_code::unreachable;
      break;
    case outcome::credentials:
      e.hint =
          "check the token (NetBox answers 403 to a wrong one, too), that it is write-enabled, and its permissions";
      e.code = error_code::credentials;
      break;
    case outcome::lost_race:
      e.hint = "somebody else made it at the same moment: run weir again";
      break;
    case outcome::too_large:
      e.hint = "a smaller objects_per_request in the profile helps";
      break;
    case outcome::server_fault:
      e.hint = "see NetBox's log for its traceback";
      break;
    case outcome::data:
      e.code = error_code::data;
      break;
    case outcome::cancelled:
      e.what = tried + ": not sent, the run is being stopped";
      e.code = error_code::interrupted;
      break;
  }
  if (got.gave_up) {
    e.code = error_code::stopped;
    e.hint += (e.hint.empty() ? "" : "; ") + std::string("what is left is deferred: weir resume finishes it");
  }
  return e;
}

}  // namespace weir::netbox
