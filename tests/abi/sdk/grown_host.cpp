// A host reduced to its contract: loads every plugin of a folder, runs each stage once, and prints what came of it. Built
// by grown.py against two versions of weir/abi.h.
#include <cstdio>

#include "abi/loader/fake_services.hpp"
#include "core/plugin/loader.hpp"
#include "weir/abi.h"

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  std::printf("host 1.%d, weir_run %zu\n", WEIR_ABI_MINOR, sizeof(weir_run));
  auto const found = weir::plugin::load({argv[1]});
  for (auto const& p : found.problems) std::printf("refused %s\n", p.text().c_str());
  for (auto const& stage : found.stages) {
    weir::plugin::fake_services services;
    auto const ended = weir::plugin::run_stage(stage, "{}", services);
    if (ended)
      std::printf("ran %s %s\n", stage.id.c_str(), services.last_emit.c_str());
    else
      std::printf("failed %s\n", ended.error().text().c_str());
  }
}
