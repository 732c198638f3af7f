// Which part of a cluster a run is about: the configuration's `scope`, and --guest (extension weir.scope/1).
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir {
class run;
}

namespace weir::proxmox {

class selection {
 public:
  selection() = default;  // everything
  // Throws weir::error where `text` is no JSON object of the extension's form.
  explicit selection(std::string_view text);
  // The run's own. What it does not understand is told with a notice.
  static selection of(run const& r);

  bool everything() const { return !narrow_; }
  // Only single guests, and what belongs to them.
  bool few_guests() const { return !guests_.empty(); }
  std::set<std::int64_t> const& guests() const { return guests_; }

  bool takes_node(std::string_view name) const;
  bool takes_storage(std::string_view name) const;
  // By its row of /cluster/resources.
  bool takes_guest(nlohmann::json const& row) const;
  std::vector<std::string> const& unknown() const { return unknown_; }

 private:
  struct part {
    std::vector<std::string> nodes, pools, tags, names, storages, states;
    std::vector<std::pair<std::int64_t, std::int64_t>> vmids;
    std::optional<bool> templates;
  };
  void read(nlohmann::json const& from, part& to, std::string const& where);

  bool narrow_ = false;
  std::set<std::int64_t> guests_;
  part include_, exclude_;
  std::vector<std::string> unknown_;  // "include.hosts"
};

// What a guest's row names that is filtered out, of its object in NetBox: {"$keep": true}.
nlohmann::json kept();

}  // namespace weir::proxmox
