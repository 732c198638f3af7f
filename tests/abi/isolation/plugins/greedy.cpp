// Takes memory until there is no more.
#include <weir/stage.hpp>

#include <memory>
#include <vector>

namespace {

struct greedy {
  static constexpr weir::info about{.id = "greedy", .version = "1", .title = "greedy"};
  explicit greedy(weir::context const&) {}
  void collect(weir::run& run) {
    std::vector<std::unique_ptr<char[]>> all;
    for (int i = 0; i < 1 << 14; ++i) all.push_back(std::unique_ptr<char[]>(new char[1 << 20]));
    run.emit_json("extras.tag", R"({"slug":"all"})", "{}");
  }
};

}  // namespace

WEIR_PLUGIN("greedy", "1", "weir's tests", greedy);
