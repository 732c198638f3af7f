// What NetBox's and Proxmox VE's answers say, as facts. Pure; what is not as expected is left out.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "core/doctor/facts.hpp"

namespace weir::doctor {

// OPTIONS of a list: NetBox 4.7 names POST and PUT under "actions" where the token may add and change.
struct allowed {
  bool add = false, change = false;
};
std::optional<allowed> read_options(std::string_view body);

// A list's answer: how many objects there are in all, how many came, and the page size that NetBox made of the request
// (it stands in the links to other pages).
struct page {
  std::optional<std::size_t> count, limit;
  std::size_t objects = 0;
};
std::optional<page> read_page(std::string_view body);

// GET /api/authentication-check/: the token's user with the permissions that are its own, and not its groups'.
struct user {
  std::uint64_t id = 0;
  std::string name;
  bool in_groups = false;
  std::map<std::string, std::vector<std::string>> actions;  // kind ► "view", "delete", …
};
std::optional<user> read_user(std::string_view body);
// The same of the groups (GET /api/users/groups/) that the user is in: added to its own.
bool add_groups(std::string_view groups_body, std::string_view user_body, user& to);

// GET /api/users/tokens/: of `token` (as in the configuration), if it can be told from the others of this user.
struct token_state {
  known write_enabled;
  std::optional<instant> expires;
};
token_state read_tokens(std::string_view body, std::uint64_t user_id, std::string_view token);

// GET /api/users/users/?is_superuser=…: is `id` among them? NetBox ignores filters that it does not know: both
// answers, to true and to false, are wanted.
known read_superuser(std::string_view with_true, std::string_view with_false, std::uint64_t id);

// --- Proxmox VE; all of them take the whole body
std::optional<privileges> read_privileges(std::string_view body);
void read_resources(std::string_view body, source_facts& into);  // /cluster/resources: nodes, guests, storages
void read_storages(std::string_view body, source_facts& into);   // /storage: which are disabled
void read_cluster(std::string_view body, source_facts& into);    // /cluster/status
std::optional<std::size_t> read_backup_count(std::string_view body);
std::optional<std::int64_t> read_time(std::string_view body);  // /nodes/x/time: seconds since 1970

}  // namespace weir::doctor
