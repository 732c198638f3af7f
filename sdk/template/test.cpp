// The built plugin, loaded and run against canned answers. Any test framework will do; this needs none.
#include <dlfcn.h>

#include <cstdio>
#include <weir/testing.hpp>

namespace {
int failures = 0;
void check(bool ok, char const* what, weir::testing::outcome const& out) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n%s", what, out.text().c_str());
}
}  // namespace

int main(int argc, char** argv) {
  void* const library = dlopen(argc > 1 ? argv[1] : "./my-stage.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 1;
  auto const* plugin = static_cast<weir_plugin const*>(dlsym(library, "weir_plugin_v1"));
  if (plugin == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 1;
  weir_stage const& stage = weir::testing::stage_of(*plugin, "my-stage");

  weir::testing::host host;
  host.answers_from(argc > 2 ? argv[2] : "answers");
  auto const out = host.run(stage, {{"prefix", "p-"}});
  check(out.ok(), "the stage succeeds and keeps the contract", out);
  check(out.emitted("extras.tag").size() == 2, "one tag per pool", out);
  auto const* web = out.find("extras.tag", {{"slug", "p-web"}});
  check(web != nullptr && web->fields.at("description") == "front ends", "the comment becomes the description", out);

  host.refuse("/pools", 500, "no quorum");
  check(host.run(stage).status == WEIR_E_SOURCE, "a source that fails fails the stage", out);
  host.cancel_after(0);
  check(host.run(stage).status == WEIR_CANCELLED, "the stage stops when it is told to", out);
  return failures == 0 ? 0 : 1;
}
