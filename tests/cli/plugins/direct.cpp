// A stage that asks NetBox and writes to it by itself, through the shared client (extension weir.netbox/1).
#include <weir/json.hpp>

namespace {

struct direct {
  static constexpr weir::info about{.id = "direct", .version = "1.0.0", .title = "Direct writes", .source_type = ""};
  explicit direct(weir::context const&) {}
  void collect(weir::run& run) const {
    auto const netbox = run.netbox();
    if (!netbox) throw weir::error("no weir.netbox/1 here");
    auto const found = weir::json::parse(netbox->read("/extras/tags/?slug=direct").body());
    // A filter may be ignored: look at what came.
    for (auto const& tag : found.at("results"))
      if (tag.at("slug") == "direct") return;
    auto const made = netbox->write("POST", "/extras/tags/", R"([{"name":"direct","slug":"direct"}])");
    run.notice(weir::level::info, "POST answered " + std::to_string(made.http_status()), "");
  }
};

}  // namespace

WEIR_PLUGIN("direct", "1.0.0", "weir's tests", direct);
