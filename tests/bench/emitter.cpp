// A stage that emits as many tags as it is told to, and measures how long its calls take.
#include <chrono>
#include <weir/json.hpp>

namespace {

struct emitter {
  static constexpr weir::info about{
      .id = "emitter",
      .version = "1.0.0",
      .title = "As many tags as are wanted",
      .kinds_json = R"(["extras.tag"])",
      .options_schema = R"({"type":"object","properties":{"count":{"type":"integer"},"bytes":{"type":"integer"}}})"};
  explicit emitter(weir::context const& c)
      : count_(weir::options(c).value("count", 10000)), text_(weir::options(c).value("bytes", std::size_t{100}), 'x') {}

  void collect(weir::run& run) const {
    auto const begin = std::chrono::steady_clock::now();
    for (int i = 0; i < count_; ++i) {
      auto const name = "t" + std::to_string(i);
      run.emit_json("extras.tag", R"({"slug":")" + name + R"("})",
                    R"({"name":")" + name + R"(","description":")" + text_ + R"("})");
    }
    std::chrono::duration<double> const took = std::chrono::steady_clock::now() - begin;
    run.metrics().set("emit_seconds", took.count());
  }

 private:
  int count_;
  std::string text_;
};

}  // namespace

WEIR_PLUGIN("emitter", "1.0.0", "weir's bench", emitter);
