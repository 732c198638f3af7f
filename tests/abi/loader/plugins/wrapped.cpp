// A stage through the C++ wrapper, as most plugins are.
#include <weir/stage.hpp>

#include <string>
#include <vector>

namespace {

struct wrapped {
  static constexpr weir::info about{
      .id = "wrapped",
      .version = "1.0.0",
      .title = "through weir/stage.hpp",
      .kinds_json = R"(["extras.tag"])",
      .options_schema = R"({"type":"object","properties":{"fail":{"type":"boolean","default":false}}})"};
  bool fail;
  explicit wrapped(weir::context const& c) : fail(c.options_json.find("true") != std::string_view::npos) {}

  void collect(weir::run& run) {
    if (fail) run.fetch("/denied");
    std::vector<std::string> const targets{"/ok?1", "/bad", "/ok?2"};
    int good = 0;
    run.fetch_many(targets, [&](std::size_t, weir::reply const& reply) { good += reply.ok() ? 1 : 0; });
    run.emit_json("extras.tag", R"({"slug":"w"})", R"({"name":")" + std::to_string(good) + "\"}");
    run.complete_json("extras.tag", "{}");
  }
};

}  // namespace

WEIR_PLUGIN("wrapped", "1.0.0", "weir's tests", wrapped);
