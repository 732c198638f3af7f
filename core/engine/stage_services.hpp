// What one stage's calls over one source come to: objects are checked and kept, requests go to the source or to NetBox.
#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "core/engine/collected.hpp"
#include "core/netbox/client.hpp"
#include "core/netbox/kind.hpp"
#include "core/plugin/host.hpp"
#include "core/source/source.hpp"
#include "core/store/journal.hpp"

namespace weir::engine {

// A stage over a source, as its calls need to know it. All of it outlives the services.
struct stage_scope {
  source::source* from = nullptr;               // null: a stage without a source
  std::string source;                           // its name, "" without one
  std::string stage;                            // its id
  std::set<std::string, std::less<>> declared;  // kinds that it may emit
};

struct stage_surroundings {
  netbox::registry const& kinds;
  netbox::client& netbox;
  std::string netbox_url;
  bool dry = false;
  store::journal const* journal = nullptr;  // what was kept of the stage's state; null: nothing
  std::string scope = "{}";                 // which part of the source the run is about; see weir.scope/1
  bool few_guests = false;                  // --guest: nothing that is not emitted is taken for gone
  std::function<bool()> stopping;           // [any]
  std::function<void(std::uint64_t done, std::uint64_t total, std::string_view note)> progress;  // [any]
};

class stage_services : public plugin::services {
 public:
  stage_services(stage_scope const& scope, stage_surroundings around, collected& into);

  std::string const& source_name() const override { return scope_.source; }
  bool dry() const override { return around_.dry; }
  bool cancelled() const override { return too_much_ || around_.stopping(); }
  void progress(std::uint64_t done, std::uint64_t total, std::string_view note) override;
  void log(base::log::level l, std::string_view message, std::vector<plugin::log_field> const& fields) override;
  bool log_enabled(base::log::level l) const override { return base::log::enabled(l); }
  void notice(base::log::level l, std::string_view message, std::string_view hint) override;
  bool takes_all_that_is_sound() const override { return true; }
  base::result<void> emit(std::string_view kind, std::string_view key_json, std::string_view fields_json) override;
  base::result<void> complete(std::string_view kind, std::string_view scope_json) override;
  plugin::fetched fetch(std::string_view target) override;
  void fetch_async(std::string target, std::function<void(plugin::fetched)> done) override;
  plugin::fetched netbox_read(std::string_view target) override;
  plugin::fetched netbox_write(std::string_view method, std::string_view target, std::string_view body) override;
  base::result<void> metric(plugin::metric_kind kind, std::string_view name, double value) override;
  base::result<std::optional<std::string>> state_get(std::string_view key) override;
  base::result<void> state_put(std::string_view key, std::optional<std::string_view> value) override;
  base::result<std::string> scope() override;

  // After collect(), with what it came to. Where an object was refused, nobody knows what else is missing, and nothing
  // of its kind may be taken for gone; a stage that emitted without end has failed, whatever it says.
  base::result<void> settle(base::result<void> ended);

 private:
  base::result<void> take(netbox::kind const& kind, std::string_view key_json, std::string_view fields_json);
  netbox::kind const* known(std::string_view kind) const;
  base::error undeclared(std::string_view kind) const;
  base::result<void> load_state();  // once, at the first use

  stage_scope const& scope_;
  stage_surroundings const around_;
  collected& what_;

  std::mutex mutex_;  // guards what follows, and what_
  std::size_t emitted_ = 0, bytes_ = 0;
  std::atomic<bool> too_much_{false};
  std::atomic<bool> asked_for_scope_{false};
  std::set<std::string> refused_;  // kinds of which an object was refused
  std::optional<std::map<std::string, std::string>> state_;
};

}  // namespace weir::engine
