// Stages through weir/stage.hpp that end badly, each in its own way.
#include <weir/stage.hpp>

#include <cstddef>
#include <memory>
#include <stdexcept>

namespace {

struct throws_in_constructor {
  static constexpr weir::info about{.id = "throws-in-constructor", .version = "1", .title = "throws at once"};
  explicit throws_in_constructor(weir::context const&) { throw std::runtime_error("no such pool: \"prod\""); }
  void collect(weir::run&) const {}
};

struct throws_in_collect {
  static constexpr weir::info about{
      .id = "throws-in-collect", .version = "1", .title = "throws late", .kinds_json = R"(["extras.tag"])"};
  explicit throws_in_collect(weir::context const&) {}
  void collect(weir::run& run) const {
    run.emit_json("extras.tag", R"({"slug":"half"})", R"({"name":"half"})");
    throw std::out_of_range("vector::at: 7 of 3 nodes");
  }
};

struct throws_a_number {
  static constexpr weir::info about{.id = "throws-a-number", .version = "1", .title = "throws what is no exception"};
  explicit throws_a_number(weir::context const&) {}
  void collect(weir::run&) const { throw 42; }
};

struct wants_100_gib {
  static constexpr weir::info about{.id = "wants-100-gib", .version = "1", .title = "wants 100 GiB"};
  explicit wants_100_gib(weir::context const&) {}
  void collect(weir::run& run) const {
    std::size_t const size = std::size_t{100} << 30;
    std::unique_ptr<char[]> const much(new char[size]);
    for (std::size_t i = 0; i < (std::size_t{64} << 20); i += 4096) much[i] = 'x';  // so that it is not left out
    run.log(weir::level::info, "there was room");
  }
};

}  // namespace

WEIR_PLUGIN("wrapped", "1", "weir's tests", throws_in_constructor, throws_in_collect, throws_a_number, wants_100_gib);
