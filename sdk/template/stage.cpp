// my-stage: Proxmox VE's pools as NetBox tags, until you change it into what you need.
#include <string>
#include <weir/json.hpp>

namespace {

struct my_stage {
  static constexpr weir::info about{.id = "my-stage",
                                    .version = "1.0.0",
                                    .title = "Proxmox pools as tags",
                                    .kinds_json = R"(["extras.tag"])",
                                    .options_schema = R"({"type":"object","additionalProperties":false,"properties":{
    "prefix":{"type":"string","default":"pool-","description":"what the tags' names begin with"}}})"};

  explicit my_stage(weir::context const& c) : prefix_(weir::options(c).value("prefix", "pool-")) {}

  void collect(weir::run& run) const {
    weir::json const list = weir::fetch(run, "/pools");  // the host does login, TLS, pacing and retries
    std::uint64_t done = 0;
    for (auto const& pool : list) {
      auto const id = pool.at("poolid").get<std::string>();
      weir::emit(run, "extras.tag", {{"slug", prefix_ + id}},
                 {{"name", prefix_ + id}, {"color", "9e9e9e"}, {"description", pool.value("comment", "")}});
      run.progress(++done, list.size(), id);
    }
    if (list.empty()) run.notice(weir::level::info, "the token sees no pool", "give it Pool.Audit on /pool");
  }

 private:
  std::string prefix_;
};

}  // namespace

WEIR_PLUGIN("my-stage", "1.0.0", "Example Org", my_stage);
