#include "core/engine/remembered.hpp"

#include <nlohmann/json.hpp>

#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;

namespace {

// Stands for "as in the body". No JSON text has such a value.
json const as_sent = json::binary({});

// "tags@stage" is a stage's part of "tags".
json const& sent(json const& body, std::string const& leaf) { return netbox::at(body, leaf.substr(0, leaf.find('@'))); }

}  // namespace

void remember(change& c, json const& applied) {
  if (c.what != action::create || !applied.is_object()) {
    c.applied = applied.is_null() ? packed() : packed(applied);
    return;
  }
  auto const body = c.body.unpack();
  json all = applied;
  for (auto& [leaf, value] : all.items())
    if (sent(body, leaf) == value) value = as_sent;
  // Most are like the one before, and share its bytes.
  thread_local packed last;
  if (packed const now(all); !(last == now)) last = now;
  c.applied = last;
}

json remembered(change const& c) {
  auto all = c.applied.unpack();
  if (c.what != action::create || !all.is_object()) return all;
  json body;
  for (auto& [leaf, value] : all.items()) {
    if (!value.is_binary()) continue;
    if (body.is_null()) body = c.body.unpack();
    value = sent(body, leaf);
  }
  return all;
}

}  // namespace weir::engine
