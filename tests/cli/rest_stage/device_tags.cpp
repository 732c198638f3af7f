// A stage on a rest source: an inventory's devices as tags. It knows paths and JSON; login, pages and retries are
// weir's.
#include <weir/json.hpp>

namespace {

struct device_tags {
  static constexpr weir::info about{.id = "device-tags",
                                    .version = "1.0.0",
                                    .title = "an inventory's devices as tags",
                                    .source_type = "rest",
                                    .kinds_json = R"(["extras.tag"])",
                                    .options_schema = R"({"type":"object","additionalProperties":false,"properties":{
    "path":{"type":"string","default":"/devices"}}})"};

  explicit device_tags(weir::context const& c) : path_(weir::options(c).value("path", "/devices")) {}

  void collect(weir::run& run) const {
    auto const devices = weir::json::parse(run.fetch(path_).body());
    std::uint64_t done = 0;
    for (auto const& device : devices) {
      auto const name = device.at("name").get<std::string>();
      weir::emit(run, "extras.tag", {{"slug", name}},
                 {{"name", name}, {"color", "9e9e9e"}, {"description", device.at("serial").get<std::string>()}});
      run.progress(++done, devices.size(), name);
    }
  }

 private:
  std::string path_;
};

}  // namespace

WEIR_PLUGIN("device-tags", "1.0.0", "weir's tests", device_tags);
