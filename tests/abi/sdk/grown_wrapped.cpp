// The same through the C++ wrapper, whose inline code is compiled into the plugin.
#include <weir/stage.hpp>

#include <string>
#include <vector>

namespace {

struct wrapped {
  static constexpr weir::info about{
      .id = "in-cpp", .version = "1", .title = "t", .kinds_json = R"(["extras.tag"])"};
  explicit wrapped(weir::context const& c) { c.log(weir::level::info, "begin", {{"a", "b"}}); }
  void collect(weir::run& run) {
    std::vector<std::string> const targets{"/ok?1", "/ok?2"};
    std::size_t bytes = 0;
    for (auto&& [index, reply] : run.fetch_each(targets)) bytes += reply.body().size() + index;
    run.metrics().add("seen_total");
    run.state().put("k", "v");
    bool const all = run.netbox() && run.netbox()->read("/status/").ok() && run.state().get("k") == "v" && bytes > 2;
    run.emit_json("extras.tag", R"({"slug":"cpp"})", all ? R"({"name":"all"})" : R"({"name":"less"})");
  }
};

}  // namespace

WEIR_PLUGIN("grown-cpp", "1", "weir's tests", wrapped);
