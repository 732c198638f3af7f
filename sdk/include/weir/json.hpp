// weir/json.hpp: stage.hpp with nlohmann::json, for those who want it. Everything handed to the host is valid UTF-8.
#pragma once
#include <weir/stage.hpp>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace weir {

using json = nlohmann::json;

// As JSON text; bytes that are no UTF-8 become U+FFFD instead of an exception.
inline std::string dump(json const& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

// The stage's options; they have passed its schema. An empty object if there are none.
inline json options(context const& c) {
  if (c.options_json.empty()) return json::object();
  json j = json::parse(c.options_json, nullptr, false);
  if (!j.is_object()) throw error("the options handed to the stage are no JSON object", {}, WEIR_E_INVALID);
  return j;
}

// Text that came from `target` as JSON. Throws source_error that names the target and the place of the fault. `seen`:
// nlohmann's callback while it reads.
inline json parse(std::string_view target, std::string_view body, unsigned http_status = 200,
                  json::parser_callback_t const& seen = nullptr) {
  std::string const answer = "the answer of " + std::string{target};
  if (body.empty()) throw source_error(answer + " is empty", http_status);
  try {
    return json::parse(body, seen);
  } catch (json::parse_error const& e) {
    std::string_view why = e.what();
    if (auto const at = why.find("syntax error"); at != why.npos) why.remove_prefix(at);
    std::string said{why.substr(0, 160)};
    // It quotes the answer, which may hold anything.
    for (char& c : said) c = static_cast<unsigned char>(c) < 0x80 ? c : '?';
    std::string message =
        answer + " is no JSON: " + said + " at byte " + std::to_string(e.byte) + " of " + std::to_string(body.size());
    if (e.byte > body.size()) message += ": truncated?";
    if (auto const first = body.find_first_not_of(" \t\r\n"); first != body.npos && body[first] == '<') {
      message += ": it looks like a web page";
    }
    throw source_error(message, http_status);
  }
}

// The `data` member of an answer, as Proxmox VE wraps all of its own.
inline json data(std::string_view target, reply const& r) {
  json j = parse(target, r.body(), r.http_status());
  if (!j.is_object() || !j.contains("data")) {
    throw source_error("the answer of " + std::string{target} + " has no member \"data\"", r.http_status());
  }
  return std::move(j["data"]);
}

// The objects of the list in `data`, one after the other: of an answer with 100,000 of them only one is in memory.
// Throws source_error as data() does, also where `data` is no list; what was handed to `each` before stays handed over.
template <class Each>
void each_of_data(std::string_view target, reply const& r, Each&& each) {
  bool in_data = false, in_list = false;
  json const rest = parse(target, r.body(), r.http_status(), [&](int depth, json::parse_event_t event, json& parsed) {
    using what = json::parse_event_t;
    if (depth == 1 && event == what::key) in_data = parsed == "data";
    if (depth == 1 && (event == what::array_start || event == what::array_end))
      in_list = in_data && event == what::array_start;
    if (depth != 2 || event != what::object_end || !in_list) return true;
    each(static_cast<json const&>(parsed));
    return false;
  });
  auto const list = rest.is_object() ? rest.find("data") : rest.end();
  if (!rest.is_object() || list == rest.end()) {
    throw source_error("the answer of " + std::string{target} + " has no member \"data\"", r.http_status());
  }
  if (!list->is_array()) {
    throw source_error(
        "the answer of " + std::string{target} + " holds " + list->type_name() + " where a list was expected",
        r.http_status());
  }
}

// [any] GET, parse, unwrap. Throws source_error.
inline json fetch(run const& r, std::string_view target) { return data(target, r.fetch(target)); }

// [any] One desired object.
inline void emit(run const& r, std::string_view kind, json const& key, json const& fields) {
  r.emit_json(kind, dump(key), dump(fields));
}

// [stage] Everything of this kind in this scope has been emitted.
inline void complete(run const& r, std::string_view kind, json const& scope) { r.complete_json(kind, dump(scope)); }

}  // namespace weir
