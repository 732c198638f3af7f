#include <gtest/gtest.h>

#include "core/source/common.hpp"

namespace weir::source {
namespace {

TEST(endpoint, keeps_the_words_of_the_api_and_nothing_else) {
  std::pair<char const*, char const*> const cases[] = {
      {"/version", "version"},
      {"/cluster/resources?type=vm", "cluster/resources"},
      {"/nodes", "nodes"},
      {"/nodes/pve1/qemu/100/config", "nodes/{node}/qemu/{vmid}/config"},
      {"/nodes/status/lxc/200/config?current=1", "nodes/{node}/lxc/{vmid}/config"},
      {"/nodes/pve1/storage/pbs-1/content?content=backup", "nodes/{node}/storage/{storage}/content"},
      {"/nodes/pve1/storage/local/content/local:backup/vzdump-qemu-100.vma.zst",
       "nodes/{node}/storage/{storage}/content/{volume}/{…}"},
      {"/nodes/pve1/storage/pbs/content/pbs%3Abackup%2Fvm%2F100%2F2026",
       "nodes/{node}/storage/{storage}/content/{volume}"},
      {"/storage/qemu", "storage/{storage}"},
      {"/pools/customer", "pools/{pool}"},
      {"/access/users/jo@pve/token/weir", "access/users/{user}/token/{token}"},
      {"/cluster/ha/resources/vm:100", "cluster/ha/resources/{id}"},
      {"/something/UPID:pve1:0004", "something/{…}"},
      {"/something/10.0.0.1/x9", "something/{…}/{…}"},
      {"/averyveryveryveryverylongword", "{…}"},
      {"/a/b/c/d/e/f/g/h/i/j", "a/b/c/d/e/f/g/h/{…}"},
      {"//nodes///pve1//", "nodes/{node}"},
      {"", ""},
      {"/", ""},
  };
  for (auto const& [target, expected] : cases) EXPECT_EQ(endpoint_of(target), expected) << target;
}

}  // namespace
}  // namespace weir::source
