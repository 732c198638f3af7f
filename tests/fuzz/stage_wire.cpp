// Any bytes from a stage's process are messages that keep the contract, or an error; however they are cut.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/plugin/stage_json.hpp"
#include "core/plugin/utf8.hpp"
#include "core/plugin/wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

namespace wire = weir::plugin::wire;

void must(bool good) {
  if (!good) std::abort();
}

void check(wire::message const& m) {
  using weir::plugin::valid_utf8;
  for (auto const parse : {+[](wire::message const& a) { (void)wire::parse_taken(a); },
                           +[](wire::message const& a) { (void)wire::parse_answered(a); },
                           +[](wire::message const& a) { (void)wire::parse_value(a); }})
    try {
      parse(m);
    } catch (std::runtime_error const&) {
    }
  if (auto const start = wire::parse_start(m)) must(wire::frame(*start).has_value());
  auto const said = wire::parse(m);
  if (!said) {
    must(!said.error().what.empty());
    return;
  }
  if (auto const* e = std::get_if<wire::said_emit>(&*said))
    must(!e->kind.empty() && valid_utf8(e->kind) && valid_utf8(e->key) && valid_utf8(e->fields));
  if (auto const* f = std::get_if<wire::said_fetch>(&*said))
    must(!f->target.empty() && f->target.find_first_of(" \r\n\t") == std::string_view::npos);
  if (auto const* x = std::get_if<wire::said_metric>(&*said)) must(std::isfinite(x->value) && valid_utf8(x->name));
  if (auto const* l = std::get_if<wire::said_log>(&*said)) {
    must(valid_utf8(l->message) && l->fields.size() <= 16 && l->level <= weir::base::log::level::error);
    must(wire::frame(*l).has_value());
  }
  if (auto const* n = std::get_if<wire::said_notice>(&*said)) must(valid_utf8(n->message) && valid_utf8(n->hint));
  if (auto const* d = std::get_if<wire::said_done>(&*said)) {
    must(valid_utf8(d->error.what) && valid_utf8(d->error.hint) && valid_utf8(d->text));
    if (auto const report = weir::plugin::report_from_json(d->text))
      for (auto const& s : report->stages) must(s.table == nullptr && s.file.empty());
  }
}

struct read_off {
  std::vector<std::string> messages;
  std::string error;
};

read_off read(std::string_view bytes, std::size_t step) {
  read_off out;
  wire::decoder d;
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    d.feed(bytes.substr(at, step));
    while (auto const m = d.next()) {
      out.messages.push_back(std::to_string(static_cast<int>(m->what)) + " " + std::to_string(m->call) + " " +
                             std::string(m->fields));
      if (step >= bytes.size()) check(*m);
    }
  }
  out.error = d.error();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const bytes(reinterpret_cast<char const*>(data), size);
  auto const whole = read(bytes, std::max<std::size_t>(size, 1));
  auto const cut = read(bytes, size == 0 ? 1 : 1 + data[size - 1] % 16);
  must(whole.messages == cut.messages && whole.error == cut.error);
  return 0;
}
