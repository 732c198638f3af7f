// A stage that uses what weir keeps and shows for it: a counter of its runs in weir.state/1, metrics, fields in the log.
#include <weir/json.hpp>

namespace {

struct notes {
  static constexpr weir::info about{.id = "notes",
                                    .version = "1.0.0",
                                    .title = "What is kept between runs",
                                    .kinds_json = R"(["extras.tag"])",
                                    .options_schema = R"({"type":"object","properties":{"slug":{"type":"string"}}})"};
  explicit notes(weir::context const& c) : slug_(weir::options(c).value("slug", "notes")) {}
  void collect(weir::run& run) const {
    auto const before = run.state().get("runs").value_or("0");
    run.state().put("runs", std::to_string(std::stoi(before) + 1));
    run.metrics().add("looked_total");
    run.metrics().add("looked_total", 2);
    run.metrics().set("last_seconds", 1.5);
    run.log(weir::level::info, "noted", {{"vmid", "101"}});
    run.notice(weir::level::info, "runs before: " + before, "");
    weir::emit(run, "extras.tag", {{"slug", slug_}}, {{"name", slug_}});
  }

 private:
  std::string slug_;
};

}  // namespace

WEIR_PLUGIN("notes", "1.0.0", "weir's tests", notes);
