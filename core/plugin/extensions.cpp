// The tables behind weir_host.extension(): what abi.h says of each call is checked here, before services see it.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/text.hpp"
#include "core/plugin/host_session.hpp"

namespace weir::plugin {
namespace {

constexpr std::size_t max_fields = 16;
constexpr std::size_t max_name = 64;
constexpr std::size_t max_state_key = 128;
constexpr std::size_t max_state_value = std::size_t{64} << 10;

// Names of log fields and metrics: [a-z][a-z0-9_]*.
bool good_name(std::string_view name) {
  auto const letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= max_name && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; });
}

std::optional<std::string_view> bytes(weir_str s) {
  if (s.ptr == nullptr && s.len > 0) return {};
  return s.len == 0 ? std::string_view{} : std::string_view{s.ptr, s.len};
}

// --- weir.netbox/1 ---------------------------------------------------------------------------------------------------

weir_status netbox_read(weir_run const* r, weir_str target, weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) return no_out(s, "read");
  *out = nullptr;
  return guarded(*s, "read", [&]() -> weir_status {
    if (!s->inside_collect("read")) return WEIR_E_MISUSE;
    auto const t = s->target(target, "read");
    if (!t) return WEIR_E_INVALID;
    return answered(*s, s->offered.netbox_read(*t), fmt::format("GET {} of NetBox", *t), WEIR_E_NETBOX, out);
  });
}

weir_status netbox_write(weir_run const* r, weir_str method, weir_str target, weir_str body,
                         weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) return no_out(s, "write");
  *out = nullptr;
  return guarded(*s, "write", [&]() -> weir_status {
    if (!s->on_stage_thread("write") || !s->inside_collect("write")) return WEIR_E_MISUSE;
    auto const m = s->text(method, "write", "method", false);
    auto const t = m ? s->target(target, "write") : m;
    auto const b = t ? s->text(body, "write", "body_json", true) : t;
    if (!b) return WEIR_E_INVALID;
    static constexpr std::string_view methods[] = {"POST", "PATCH", "PUT", "DELETE"};
    if (std::find(std::begin(methods), std::end(methods), *m) == std::end(methods)) {
      s->broke(fmt::format("write(): method is \"{}\", not POST, PATCH, PUT or DELETE", base::shorten(*m, 20)));
      return WEIR_E_INVALID;
    }
    return answered(*s, s->offered.netbox_write(*m, *t, *b), fmt::format("{} {} of NetBox", *m, *t), WEIR_E_NETBOX,
                    out);
  });
}

// --- weir.log/1 ------------------------------------------------------------------------------------------------------

std::int32_t log_enabled(weir_host const* h, std::int32_t l) noexcept {
  auto* s = of(h);
  if (s == nullptr) return 0;
  std::int32_t yes = 1;  // whatever goes wrong in here: better a line too many
  guarded(*s, "enabled", [&] {
    yes = s->offered.log_enabled(to_level(l)) ? 1 : 0;
    return WEIR_OK;
  });
  return yes;
}

// The fields that are kept. What is dropped is said once per run: a stage that logs it logs it thousands of times.
std::vector<log_field> fields_of(session& s, weir_field const* fields, std::size_t count) {
  std::vector<log_field> kept;
  auto const dropped = [&](std::string const& why) {
    if (s.fields_complained.exchange(true)) return;
    s.offered.log(base::log::level::warning,
                  fmt::format("a field of a log line was dropped: {} (said once per run)", why), {});
  };
  for (std::size_t i = 0; i < count; ++i) {
    if (kept.size() == max_fields) {
      dropped(fmt::format("the line has {} fields, at most {} are kept", count, max_fields));
      break;
    }
    auto const key = bytes(fields[i].key);
    if (!key || !good_name(*key)) {
      dropped(fmt::format("its key \"{}\" is not [a-z][a-z0-9_]* of at most {} bytes",
                          key ? base::shorten(s.words(fields[i].key, "log", "key"), 80) : "(null)", max_name));
      continue;
    }
    kept.push_back({std::string(*key), s.words(fields[i].value, "write", "value")});
  }
  return kept;
}

void log_write(weir_host const* h, std::int32_t l, weir_str message, weir_field const* fields,
               std::size_t count) noexcept {
  auto* s = of(h);
  if (s == nullptr) return;
  guarded(*s, "write", [&]() -> weir_status {
    if (fields == nullptr && count > 0) {
      s->broke("write() of weir.log/1: fields is null with a count");
      count = 0;  // the line itself is still worth having
    }
    s->offered.log(to_level(l), s->words(message, "write", "message"), fields_of(*s, fields, count));
    return WEIR_OK;
  });
}

// --- weir.metrics/1 --------------------------------------------------------------------------------------------------

weir_status measured(weir_run const* r, char const* function, metric_kind kind, weir_str name, double value) noexcept {
  auto* s = of(r);
  if (s == nullptr) return WEIR_E_INVALID;
  return guarded(*s, function, [&]() -> weir_status {
    if (!s->inside_collect(function)) return WEIR_E_MISUSE;
    auto const n = s->text(name, function, "name", false);
    if (!n) return WEIR_E_INVALID;
    auto const wrong = [&](std::string_view why) {
      s->broke(fmt::format("{}(): the metric \"{}\" {}", function, base::shorten(*n, 80), why));
      return WEIR_E_INVALID;
    };
    if (!good_name(*n)) return wrong("has a name that is not [a-z][a-z0-9_]* of at most 64 bytes");
    if (!std::isfinite(value)) return wrong("got a value that is no finite number");
    if (kind == metric_kind::counter) {
      if (!n->ends_with("_total")) return wrong("is a counter, whose name must end in _total");
      if (value < 0) return wrong("is a counter and got a negative amount");
    }
    auto const taken = s->offered.metric(kind, *n, value);
    return taken ? weir_status{WEIR_OK} : refused(*s, function, taken.error());
  });
}

weir_status metrics_add(weir_run const* r, weir_str name, double amount) noexcept {
  return measured(r, "add", metric_kind::counter, name, amount);
}

weir_status metrics_set(weir_run const* r, weir_str name, double value) noexcept {
  return measured(r, "set", metric_kind::gauge, name, value);
}

// --- weir.state/1 ----------------------------------------------------------------------------------------------------

std::optional<std::string_view> state_key(session& s, weir_str key, char const* function) {
  auto const k = bytes(key);
  bool const good = k && !k->empty() && k->size() <= max_state_key &&
                    std::all_of(k->begin(), k->end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (good) return k;
  s.broke(
      fmt::format("{}() of weir.state/1: the key is not 1 to {} bytes of printable ASCII", function, max_state_key));
  return {};
}

// A store that cannot be read is no fault of the arguments.
weir_status state_refused(session& s, char const* function, base::error const& e) {
  auto const status = refused(s, function, e);
  return status == WEIR_CANCELLED || e.code == base::error_code::data ? status : weir_status{WEIR_E_FAILED};
}

weir_status state_get(weir_run const* r, weir_str key, weir_reply const** out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) return no_out(s, "get");
  *out = nullptr;
  return guarded(*s, "get", [&]() -> weir_status {
    if (!s->on_stage_thread("get") || !s->inside_collect("get")) return WEIR_E_MISUSE;
    auto const k = state_key(*s, key, "get");
    if (!k) return WEIR_E_INVALID;
    auto found = s->offered.state_get(*k);
    if (!found) return state_refused(*s, "get", found.error());
    if (*found) *out = s->hand_out({0, std::move(**found), {}, true}, fmt::format("get(\"{}\") of weir.state/1", *k));
    return WEIR_OK;
  });
}

weir_status state_change(weir_run const* r, char const* function, weir_str key, weir_str const* value) noexcept {
  auto* s = of(r);
  if (s == nullptr) return WEIR_E_INVALID;
  return guarded(*s, function, [&]() -> weir_status {
    if (!s->on_stage_thread(function) || !s->inside_collect(function)) return WEIR_E_MISUSE;
    auto const k = state_key(*s, key, function);
    if (!k) return WEIR_E_INVALID;
    std::optional<std::string_view> to;
    if (value != nullptr) {
      to = bytes(*value);
      if (!to || to->size() > max_state_value) {
        s->broke(fmt::format("put() of weir.state/1: the value of \"{}\" is {}", *k,
                             to ? "longer than 64 KiB" : "a null pointer with a length"));
        return WEIR_E_INVALID;
      }
    }
    auto const taken = s->offered.state_put(*k, to);
    return taken ? weir_status{WEIR_OK} : state_refused(*s, function, taken.error());
  });
}

weir_status state_put(weir_run const* r, weir_str key, weir_str value) noexcept {
  return state_change(r, "put", key, &value);
}

weir_status state_erase(weir_run const* r, weir_str key) noexcept { return state_change(r, "erase", key, nullptr); }

// --- weir.scope/1 ----------------------------------------------------------------------------------------------------

weir_status scope_get(weir_run const* r, weir_str* out) noexcept {
  auto* s = of(r);
  if (s == nullptr || out == nullptr) return no_out(s, "get");
  *out = {nullptr, 0};
  return guarded(*s, "get", [&]() -> weir_status {
    if (!s->inside_collect("get")) return WEIR_E_MISUSE;
    {
      std::lock_guard const lock(s->mutex);
      if (s->scope_text) {
        *out = {s->scope_text->data(), s->scope_text->size()};
        return WEIR_OK;
      }
    }
    auto got = s->offered.scope();
    if (!got) {
      auto const status = refused(*s, "get", got.error());
      return status == WEIR_CANCELLED ? status : weir_status{WEIR_E_FAILED};
    }
    std::lock_guard const lock(s->mutex);
    if (!s->scope_text) s->scope_text = std::move(*got);
    *out = {s->scope_text->data(), s->scope_text->size()};
    return WEIR_OK;
  });
}

}  // namespace

void fill_extensions(session& s) {
  s.netbox = {{sizeof s.netbox, WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, &netbox_read, &netbox_write};
  s.log = {{sizeof s.log, WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, &log_enabled, &log_write};
  s.metrics = {{sizeof s.metrics, WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, &metrics_add, &metrics_set};
  s.state = {{sizeof s.state, WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, &state_get, &state_put, &state_erase};
  s.scope = {{sizeof s.scope, WEIR_ABI_MAJOR, WEIR_ABI_MINOR}, &scope_get};
}

void const* find_extension(session const& s, std::string_view id) {
  if (id == WEIR_EXT_NETBOX) return &s.netbox;
  if (id == WEIR_EXT_LOG) return &s.log;
  if (id == WEIR_EXT_METRICS) return &s.metrics;
  if (id == WEIR_EXT_STATE) return &s.state;
  if (id == WEIR_EXT_SCOPE) return &s.scope;
  return nullptr;
}

}  // namespace weir::plugin
