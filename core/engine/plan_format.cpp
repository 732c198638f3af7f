#include "core/engine/plan_format.hpp"

#include <nlohmann/json.hpp>

#include "core/base/sha256.hpp"

namespace weir::engine {

using nlohmann::json;

std::string seal_of(std::string_view text) { return std::string(before_checksum) + base::sha256_of(text) + "\"\n}\n"; }

json as_json(netbox::kind const& k) {
  return {{"kind", k.name},         {"path", k.path},
          {"title", k.title},       {"key", k.key},
          {"refs", k.refs},         {"times", k.times},
          {"label", k.label},       {"mark", k.mark},
          {"adopt_by", k.adopt_by}, {"supporting", k.supporting}};
}

}  // namespace weir::engine
