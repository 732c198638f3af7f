#include "core/plugin/wire.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "core/plugin/utf8.hpp"

namespace weir::plugin::wire {
namespace {

constexpr std::size_t length_size = sizeof(std::uint32_t);
constexpr std::size_t head_size = sizeof(std::uint8_t) + sizeof(std::uint64_t);
// What has been read is dropped when so much of it has gathered.
constexpr std::size_t drop_after = std::size_t{64} << 10;
constexpr auto last_code = static_cast<std::uint8_t>(base::error_code::data);
constexpr auto last_level = static_cast<std::uint8_t>(base::log::level::error);
// The limits of weir/abi.h.
constexpr std::size_t max_name = 64, max_key = 128, max_value = std::size_t{64} << 10, max_fields = 16;

bool good_name(std::string_view name) {
  auto const letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !name.empty() && name.size() <= max_name && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; });
}

bool good_key(std::string_view key) {
  return !key.empty() && key.size() <= max_key &&
         std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

bool good_text(std::string_view text) { return !text.empty() && valid_utf8(text); }

bool good_target(std::string_view target) {
  return good_text(target) && std::all_of(target.begin(), target.end(), [](char c) {
           auto const u = static_cast<unsigned char>(c);
           return u > 0x20 && u != 0x7f;
         });
}

bool good_method(std::string_view method) {
  return method == "POST" || method == "PATCH" || method == "PUT" || method == "DELETE";
}

void put_error(writer& w, base::error const& e) { w.u8(static_cast<std::uint8_t>(e.code)).text(e.what).text(e.hint); }

// Text that came from a plugin's process is for people only here.
base::error get_error(reader& r) {
  auto const code = r.u8();
  auto const what = r.text(), hint = r.text();
  auto const known = code <= last_code ? static_cast<base::error_code>(code) : base::error_code::failed;
  return base::fail(known, repair_utf8(what), repair_utf8(hint));
}

// What a stage can end with: anything else would end the run in a way that is not for a plugin to choose.
bool of_a_stage(base::error_code code) {
  using base::error_code;
  return code == error_code::failed || code == error_code::interrupted || code == error_code::unreachable ||
         code == error_code::credentials || code == error_code::config;
}

// An answer that is not what was waited for means that the other end is not this program.
void expect(message const& m, type want) {
  if (m.what == type::threw) throw std::runtime_error(std::string(reader(m.fields).text()));
  if (m.what != want) throw std::runtime_error("an answer of the wrong type came");
}

void expect_all(reader const& r) {
  if (!r.finished()) throw std::runtime_error("an answer of the wrong length came");
}

}  // namespace

// --- fields ----------------------------------------------------------------------------------------------------------

template <class T>
writer& writer::raw(T v) {
  char bytes[sizeof v];
  std::memcpy(bytes, &v, sizeof v);
  bytes_.append(bytes, sizeof v);
  return *this;
}

writer::writer(type what, std::uint64_t call) {
  bytes_.assign(length_size, '\0');
  u8(static_cast<std::uint8_t>(what)).u64(call);
}
writer& writer::u8(std::uint8_t v) { return raw(v); }
writer& writer::u32(std::uint32_t v) { return raw(v); }
writer& writer::u64(std::uint64_t v) { return raw(v); }
writer& writer::f64(double v) { return raw(v); }
writer& writer::text(std::string_view v) {
  // A length that does not fit makes a frame that is too long in any case.
  raw(static_cast<std::uint32_t>(std::min(v.size(), max_frame + 1)));
  bytes_.append(v.substr(0, max_frame + 1));
  return *this;
}

std::optional<std::string> writer::take() && {
  auto const length = bytes_.size() - length_size;
  if (length > max_frame) return {};
  auto const encoded = static_cast<std::uint32_t>(length);
  std::memcpy(bytes_.data(), &encoded, sizeof encoded);
  return std::move(bytes_);
}

template <class T>
T reader::raw() {
  T v{};
  if (left_.size() < sizeof v) {
    good_ = false;
    left_ = {};
    return v;
  }
  std::memcpy(&v, left_.data(), sizeof v);
  left_.remove_prefix(sizeof v);
  return v;
}

std::uint8_t reader::u8() { return raw<std::uint8_t>(); }
std::uint32_t reader::u32() { return raw<std::uint32_t>(); }
std::uint64_t reader::u64() { return raw<std::uint64_t>(); }
double reader::f64() { return raw<double>(); }
std::string_view reader::text() {
  auto const length = u32();
  if (left_.size() < length) {
    good_ = false;
    left_ = {};
    return {};
  }
  auto const out = left_.substr(0, length);
  left_.remove_prefix(length);
  return out;
}

// --- frames ----------------------------------------------------------------------------------------------------------

void decoder::feed(std::string_view bytes) {
  if (!error_.empty()) return;
  if (at_ == bytes_.size()) {
    bytes_.clear();
    at_ = 0;
  } else if (at_ >= drop_after) {
    bytes_.erase(0, at_);
    at_ = 0;
  }
  bytes_.append(bytes);
}

std::optional<message> decoder::next() {
  if (!error_.empty() || bytes_.size() - at_ < length_size) return {};
  reader head(std::string_view(bytes_).substr(at_));
  auto const length = head.u32();
  if (length < head_size || length > max_frame) {
    error_ = fmt::format("a length of {} bytes, where {} to {} are possible", length, head_size, max_frame);
    return {};
  }
  if (bytes_.size() - at_ < length_size + head_size) return {};
  auto const what = head.u8();
  if (what < static_cast<std::uint8_t>(type::start) || what > static_cast<std::uint8_t>(type::done)) {
    error_ = fmt::format("a message of the unknown type {}", what);
    return {};
  }
  if (bytes_.size() - at_ < length_size + length) return {};
  auto const call = head.u64();
  message out{static_cast<type>(what), call,
              std::string_view(bytes_).substr(at_ + length_size + head_size, length - head_size)};
  at_ += length_size + length;
  return out;
}

// --- to the child ----------------------------------------------------------------------------------------------------

std::optional<std::string> frame(start const& s) {
  writer w(type::start);
  w.u32(version).u8(static_cast<std::uint8_t>(s.what)).u64(s.parent).u64(s.address_space).u64(s.cpu_seconds);
  w.text(s.file)
      .text(s.stage)
      .text(s.options_json)
      .text(s.source)
      .u8(s.dry ? 1 : 0)
      .u32(s.levels)
      .text(s.answers)
      .u8(s.unanswered ? 1 : 0);
  return std::move(w).take();
}

base::result<start> parse_start(message const& m) {
  if (m.what != type::start) return base::fail("the first message is no start");
  reader r(m.fields);
  if (auto const theirs = r.u32(); theirs != version)
    return base::fail(fmt::format("the other end speaks version {}, this one {}", theirs, version));
  start s;
  auto const what = r.u8();
  if (what > static_cast<std::uint8_t>(job::check)) return base::fail("the start asks for an unknown job");
  s.what = static_cast<job>(what);
  s.parent = r.u64();
  s.address_space = r.u64();
  s.cpu_seconds = r.u64();
  s.file = r.text();
  s.stage = r.text();
  s.options_json = r.text();
  s.source = r.text();
  s.dry = r.u8() != 0;
  s.levels = r.u32();
  s.answers = r.text();
  s.unanswered = r.u8() != 0;
  if (!r.finished()) return base::fail("the start has the wrong length");
  return s;
}

std::optional<std::string> frame(std::uint64_t call, base::result<void> const& taken) {
  writer w(type::taken, call);
  w.u8(taken ? 1 : 0);
  if (!taken) put_error(w, taken.error());
  return std::move(w).take();
}

std::optional<std::string> frame(std::uint64_t call, fetched const& answer) {
  writer w(type::answered, call);
  w.u8(answer.ok ? 1 : 0).u32(static_cast<std::uint32_t>(answer.status)).text(answer.body).text(answer.error);
  return std::move(w).take();
}

std::optional<std::string> frame(std::uint64_t call, base::result<std::optional<std::string>> const& value) {
  writer w(type::value, call);
  w.u8(value ? 1 : 0);
  if (!value)
    put_error(w, value.error());
  else
    w.u8(*value ? 1 : 0).text(*value ? std::string_view(**value) : std::string_view{});
  return std::move(w).take();
}

base::result<void> parse_taken(message const& m) {
  expect(m, type::taken);
  reader r(m.fields);
  base::result<void> out;
  if (r.u8() == 0) out = get_error(r);
  expect_all(r);
  return out;
}

fetched parse_answered(message const& m) {
  expect(m, type::answered);
  reader r(m.fields);
  fetched out;
  out.ok = r.u8() != 0;
  out.status = static_cast<int>(r.u32());
  out.body = r.text();
  out.error = r.text();
  expect_all(r);
  return out;
}

base::result<std::optional<std::string>> parse_value(message const& m) {
  expect(m, type::value);
  reader r(m.fields);
  if (r.u8() == 0) {
    auto e = get_error(r);
    expect_all(r);
    return e;
  }
  bool const there = r.u8() != 0;
  std::optional<std::string> out(r.text());
  expect_all(r);
  if (!there) out.reset();
  return out;
}

// --- from the child --------------------------------------------------------------------------------------------------

base::result<said> parse(message const& m) {
  reader r(m.fields);
  auto const wrong = [](char const* rule) { return base::fail(rule); };
  auto const level_of = [&](std::uint8_t l) { return static_cast<base::log::level>(std::min(l, last_level)); };
  said out;
  char const* broken = nullptr;
  switch (m.what) {
    case type::phase: {
      auto const now = r.u8();
      if (now > static_cast<std::uint8_t>(phase::check)) return wrong("a phase that there is not");
      out = said_phase{static_cast<phase>(now)};
      break;
    }
    case type::emit: {
      said_emit e;
      e.kind = r.text();
      e.key = r.text();
      e.fields = r.text();
      if (!good_text(e.kind) || !good_text(e.key) || !good_text(e.fields))
        broken = "an emit() with text that is empty or not UTF-8";
      out = e;
      break;
    }
    case type::complete: {
      said_complete c;
      c.kind = r.text();
      c.scope = r.text();
      if (!good_text(c.kind) || !good_text(c.scope)) broken = "a complete() with text that is empty or not UTF-8";
      out = c;
      break;
    }
    case type::fetch: {
      said_fetch const f{r.text()};
      if (!good_target(f.target)) broken = "a fetch() of an ill-formed target";
      out = f;
      break;
    }
    case type::netbox_read: {
      said_read const f{r.text()};
      if (!good_target(f.target)) broken = "a read() of an ill-formed target";
      out = f;
      break;
    }
    case type::netbox_write: {
      said_write w;
      w.method = r.text();
      w.target = r.text();
      w.body = r.text();
      if (!good_method(w.method) || !good_target(w.target) || !valid_utf8(w.body)) broken = "an ill-formed write()";
      out = w;
      break;
    }
    case type::metric: {
      said_metric x{};
      auto const kind = r.u8();
      x.kind = kind == 0 ? metric_kind::counter : metric_kind::gauge;
      x.name = r.text();
      x.value = r.f64();
      if (kind > 1 || !good_name(x.name) || !std::isfinite(x.value) || (x.kind == metric_kind::counter && x.value < 0))
        broken = "an ill-formed metric";
      out = x;
      break;
    }
    case type::state_get: {
      said_get const g{r.text()};
      if (!good_key(g.key)) broken = "an ill-formed key of the state";
      out = g;
      break;
    }
    case type::state_put: {
      said_put p;
      p.key = r.text();
      bool const there = r.u8() != 0;
      auto const value = r.text();
      if (there) p.value = value;
      if (!good_key(p.key) || value.size() > max_value) broken = "an ill-formed key or value of the state";
      out = p;
      break;
    }
    case type::scope:
      out = said_scope{};
      break;
    case type::log: {
      said_log l;
      l.level = level_of(r.u8());
      l.message = repair_utf8(r.text());
      auto const count = r.u32();
      if (count > max_fields) return wrong("a log line with too many fields");
      for (std::uint32_t i = 0; i < count; ++i) {
        auto const key = r.text(), value = r.text();
        if (!good_name(key)) broken = "a log line with an ill-formed field";
        l.fields.push_back({std::string(key), repair_utf8(value)});
      }
      out = std::move(l);
      break;
    }
    case type::progress: {
      said_progress p{};
      p.done = r.u64();
      p.total = r.u64();
      p.note = repair_utf8(r.text());
      out = std::move(p);
      break;
    }
    case type::notice: {
      said_notice n{};
      n.level = level_of(r.u8());
      n.message = repair_utf8(r.text());
      n.hint = repair_utf8(r.text());
      out = std::move(n);
      break;
    }
    case type::done: {
      said_done d;
      d.ok = r.u8() != 0;
      d.error = get_error(r);
      if (!of_a_stage(d.error.code)) d.error.code = base::error_code::failed;
      d.out_of_memory = r.u8() != 0;
      d.text = r.text();
      if (!valid_utf8(d.text)) broken = "a result that is not UTF-8";
      out = std::move(d);
      break;
    }
    default:
      return wrong("a message that only weir itself sends");
  }
  if (!r.finished()) return wrong("a message of the wrong length");
  if (broken != nullptr) return wrong(broken);
  return out;
}

std::optional<std::string> frame(said_done const& d) {
  writer w(type::done);
  w.u8(d.ok ? 1 : 0);
  put_error(w, d.error);
  w.u8(d.out_of_memory ? 1 : 0).text(d.text);
  return std::move(w).take();
}

std::optional<std::string> frame(said_log const& l) {
  writer w(type::log);
  w.u8(static_cast<std::uint8_t>(l.level)).text(l.message).u32(static_cast<std::uint32_t>(l.fields.size()));
  for (auto const& f : l.fields) w.text(f.key).text(f.value);
  return std::move(w).take();
}

}  // namespace weir::plugin::wire
