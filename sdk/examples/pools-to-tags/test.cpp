// The stage against canned answers: no network, no NetBox, no test framework.
#include <cstdio>
#include <weir/testing.hpp>

#include "stage.hpp"

namespace {
int failures = 0;
void check(bool ok, char const* what, weir::testing::outcome const& out) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n%s", what, out.text().c_str());
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FOLDER_OF_ANSWERS\n", argv[0]), 64;
  auto const& stage = weir::testing::stage_of<pools_to_tags>();
  weir::testing::host host;
  host.answers_from(argv[1]);

  auto const out = host.run(stage, {{"prefix", "p-"}});
  check(out.ok() && out.emitted("extras.tag").size() == 3, "one tag per pool", out);
  auto const* web = out.find("extras.tag", {{"slug", "p-web"}});
  check(web != nullptr && web->fields.value("description", "") == "front ends, 2 guests", "comment and guests", out);
  auto const* old = out.find("extras.tag", {{"slug", "p-old"}});
  check(old != nullptr && !old->fields.contains("description"), "what is not known is left alone", out);
  check(out.notice("pool old") != nullptr, "a pool that cannot be read is named", out);

  auto const few = host.run(stage, {{"skip", {"old", "db"}}, {"members", false}});
  check(few.ok() && few.objects.size() == 1 && few.fetched.size() == 1, "skip and members", few);

  for (std::uint64_t n = 0; n < out.calls; ++n) {
    auto stopped = host;
    stopped.cancel_after(n);
    auto const then = stopped.run(stage);
    check(then.status == WEIR_CANCELLED && then.violations.empty(), "it stops when it is told to", then);
  }
  host.refuse("/pools", 500, "no quorum");
  auto const refused = host.run(stage);
  check(refused.status == WEIR_E_SOURCE, "a source that fails fails the stage", refused);
  return failures == 0 ? 0 : 1;
}
