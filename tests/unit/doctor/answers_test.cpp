// What is read out of answers: NetBox 4.7.3's as it gave them, and what is none of its.
#include <gtest/gtest.h>

#include "core/doctor/answers.hpp"

namespace {

using namespace weir::doctor;
using namespace std::chrono_literals;

// OPTIONS /api/extras/tags/: the fields are left out but for one.
constexpr auto field = R"({"id":{"type":"integer","required":false,"read_only":true,"label":"Id"}})";
std::string tag_list(std::string const& actions) {
  return R"({"name":"Tag List","description":"","renders":["application/json","text/html"],)"
         R"("parses":["application/json","multipart/form-data"])" +
         (actions.empty() ? "" : ",\"actions\":{" + actions + "}") + "}";
}

TEST(answers, options_of_a_list) {
  auto const both = read_options(tag_list(std::string("\"PUT\":") + field + ",\"POST\":" + field));
  ASSERT_TRUE(both);
  EXPECT_TRUE(both->add && both->change);
  auto const add = read_options(tag_list(std::string("\"POST\":") + field));
  ASSERT_TRUE(add);
  EXPECT_TRUE(add->add);
  EXPECT_FALSE(add->change);
  auto const nothing = read_options(tag_list(""));  // a read-only token, or no permission
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(nothing->add || nothing->change);
  EXPECT_FALSE(read_options("<html></html>"));
  EXPECT_FALSE(read_options(R"({"detail":"Invalid v1 token"})"));
  EXPECT_FALSE(read_options("[]"));
}

TEST(answers, the_page_size_stands_in_the_links) {
  auto const last = read_page(
      R"({"count":10,"next":null,"previous":"http://n:8800/api/extras/tags/?limit=1000","results":[{"id":2}]})");
  ASSERT_TRUE(last);
  EXPECT_EQ(last->count, 10u);
  EXPECT_EQ(last->limit, 1000u);
  EXPECT_EQ(last->objects, 1u);
  auto const capped =
      read_page(R"({"count":500,"next":"http://n/api/x/?a=1&limit=100&offset=101","previous":null,"results":[]})");
  EXPECT_EQ(capped->limit, 100u);
  auto const cursor = read_page(R"({"count":null,"next":null,"previous":null,"results":[]})");
  ASSERT_TRUE(cursor);
  EXPECT_FALSE(cursor->count || cursor->limit);
  EXPECT_FALSE(read_page(R"({"count":1})"));
}

// GET /api/authentication-check/, /api/users/groups/ of NetBox 4.7.3, shortened.
constexpr auto partial =
    R"({"id":3,"username":"partial","is_active":true,"groups":[{"id":1,"display":"g","name":"g"}],)"
    R"("permissions":[{"id":1,"name":"vm","enabled":true,"object_types":["extras.tag","virtualization.virtualmachine"],)"
    R"("actions":["view","add"]},{"id":9,"name":"off","enabled":false,"object_types":["dcim.site"],"actions":["view"]}]})";
constexpr auto groups =
    R"({"count":2,"next":null,"previous":null,"results":[{"id":1,"name":"g","permissions":[{"id":2,"name":"bk","enabled":true,)"
    R"("object_types":["netbox_proxbox.vmbackup"],"actions":["view","add","change","delete"]}]},)"
    R"({"id":2,"name":"other","permissions":[{"id":3,"enabled":true,"object_types":["dcim.site"],"actions":["delete"]}]}]})";

TEST(answers, whose_token_it_is_and_what_its_groups_may) {
  auto u = read_user(partial);
  ASSERT_TRUE(u);
  EXPECT_EQ(u->id, 3u);
  EXPECT_EQ(u->name, "partial");
  EXPECT_TRUE(u->in_groups);
  EXPECT_EQ(u->actions["extras.tag"], (std::vector<std::string>{"view", "add"}));
  EXPECT_EQ(u->actions.count("dcim.site"), 0u) << "a permission that is switched off";
  EXPECT_TRUE(add_groups(groups, partial, *u));
  EXPECT_EQ(u->actions["netbox_proxbox.vmbackup"].size(), 4u);
  EXPECT_EQ(u->actions.count("dcim.site"), 0u) << "of a group that he is not in";
  EXPECT_FALSE(add_groups(R"({"results":[]})", partial, *u)) << "a group that may not be seen";
  EXPECT_FALSE(read_user(R"({"detail":"Invalid v1 token"})"));
}

std::string token(int id, int user, bool writes, std::string const& key, std::string const& more = "\"expires\":null") {
  return "{\"id\":" + std::to_string(id) + ",\"version\":" + (key.empty() ? "1" : "2") +
         ",\"key\":" + (key.empty() ? "null" : '"' + key + '"') + ",\"user\":{\"id\":" + std::to_string(user) +
         "},\"enabled\":true,\"write_enabled\":" + (writes ? "true" : "false") + "," + more + "}";
}
std::string tokens(std::string const& items) { return R"({"count":1,"results":[)" + items + "]}"; }

TEST(answers, a_v2_token_is_told_from_others_by_its_key) {
  auto const list = tokens(token(1, 1, true, "aaa") + "," +
                           token(2, 1, false, "labkey000001", R"("expires":"2027-01-01T00:00:00Z")"));
  auto const mine = read_tokens(list, 1, "nbt_labkey000001.secret");
  ASSERT_TRUE(mine.write_enabled);
  EXPECT_FALSE(*mine.write_enabled);
  ASSERT_TRUE(mine.expires);
  EXPECT_EQ(*mine.expires, instant(1798761600s));
  EXPECT_FALSE(read_tokens(list, 1, "nbt_unknown.secret").write_enabled);
  EXPECT_FALSE(read_tokens(list, 7, "nbt_labkey000001.secret").write_enabled) << "another user's";
}

TEST(answers, v1_tokens_cannot_be_told_apart) {
  EXPECT_EQ(read_tokens(tokens(token(1, 1, false, "")), 1, "0123").write_enabled, known(false));
  EXPECT_EQ(read_tokens(tokens(token(1, 1, false, "") + "," + token(2, 1, true, "")), 1, "0123").write_enabled,
            known());
  EXPECT_EQ(read_tokens(tokens(token(1, 1, true, "") + "," + token(2, 1, false, "x")), 1, "0123").write_enabled,
            known(true));
}

TEST(answers, a_filter_is_not_believed) {
  auto const none = R"({"count":0,"results":[]})", all = R"({"count":2,"results":[{"id":1},{"id":2}]})";
  EXPECT_EQ(read_superuser(all, none, 1), known(true));
  EXPECT_EQ(read_superuser(none, all, 1), known(false));
  EXPECT_EQ(read_superuser(all, all, 1), known()) << "it was ignored";
  EXPECT_EQ(read_superuser(none, none, 1), known());
  EXPECT_EQ(read_superuser("<html>", none, 1), known());
}

TEST(answers, of_proxmox) {
  auto const p = read_privileges(R"({"data":{"/":{"Sys.Audit":1},"/vms":{"VM.Audit":1,"VM.Backup":0},"/storage":{}}})");
  ASSERT_TRUE(p);
  EXPECT_EQ(p->size(), 3u);
  EXPECT_TRUE(p->at("/vms").at("VM.Audit"));
  EXPECT_FALSE(p->at("/vms").at("VM.Backup"));
  EXPECT_FALSE(read_privileges(R"({"data":null})"));

  source_facts f;
  read_resources(R"({"data":[{"type":"node","node":"b","status":"offline"},{"type":"node","node":"a","status":"online"},
    {"type":"qemu","vmid":100,"status":"running"},{"type":"lxc","vmid":"101","status":"unknown"},{"type":"sdn"},
    {"type":"storage","storage":"nfs","node":"a","shared":1,"content":"iso,backup","status":"available"},
    {"type":"storage","storage":"nfs","node":"b","shared":1,"content":"iso,backup","status":"unknown"},
    {"type":"storage","storage":"local","node":"a","shared":0,"content":"images","status":"unknown"}]})",
                 f);
  read_storages(R"({"data":[{"storage":"nfs","content":"backup"},{"storage":"off","content":"backup","disable":1}]})",
                f);
  read_cluster(R"({"data":[{"type":"node","name":"a"},{"type":"cluster","name":"c","quorate":0}]})", f);
  EXPECT_EQ(f.guests, 2u);
  EXPECT_EQ(f.guests_unknown, 1u);
  ASSERT_EQ(f.nodes.size(), 2u);
  EXPECT_TRUE(f.nodes[0].online && !f.nodes[1].online);
  ASSERT_EQ(f.storages.size(), 3u);
  EXPECT_EQ(f.storages[0].name, "local");
  EXPECT_EQ(f.storages[0].away_on, (std::vector<std::string>{"a"}));
  EXPECT_TRUE(f.storages[1].away_on.empty()) << "it is away because its node is";
  EXPECT_EQ(f.storages[1].on, (std::vector<std::string>{"a"}));
  EXPECT_TRUE(f.storages[1].backups && f.storages[1].shared);
  EXPECT_TRUE(f.storages[2].disabled);
  EXPECT_EQ(f.cluster, "c");
  EXPECT_EQ(f.quorate, known(false));
  EXPECT_EQ(read_backup_count(R"({"data":[{},{}]})"), 2u);
  EXPECT_FALSE(read_backup_count(R"({"data":null})"));
  EXPECT_EQ(read_time(R"({"data":{"time":1760000000,"localtime":1760007200,"timezone":"Europe/Vienna"}})"), 1760000000);
  EXPECT_FALSE(read_time("{}"));
}

}  // namespace
