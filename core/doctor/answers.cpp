#include "core/doctor/answers.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::doctor {
namespace {

using nlohmann::json;

json parse(std::string_view body) { return json::parse(body, nullptr, false); }

json const* member(json const& object, char const* name) {
  if (!object.is_object()) return nullptr;
  auto const found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}
std::string text(json const& object, char const* name) {
  auto const* value = member(object, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}
// Proxmox VE writes numbers and flags as either.
std::int64_t number(json const& object, char const* name) {
  auto const* value = member(object, name);
  if (value == nullptr) return 0;
  if (value->is_boolean()) return value->get<bool>() ? 1 : 0;
  if (value->is_number()) return value->get<std::int64_t>();
  std::int64_t out = 0;
  if (value->is_string()) {
    auto const& s = value->get_ref<std::string const&>();
    std::from_chars(s.data(), s.data() + s.size(), out);
  }
  return out;
}
std::optional<std::uint64_t> id_of(json const& object) {
  auto const* id = member(object, "id");
  if (id == nullptr || !id->is_number_unsigned()) return {};
  return id->get<std::uint64_t>();
}

json const* results_of(json const& answer) {
  auto const* results = member(answer, "results");
  return results != nullptr && results->is_array() ? results : nullptr;
}

// "data" of Proxmox VE's envelope, if it is a list.
json rows(std::string_view body) {
  auto answer = parse(body);
  auto const* data = member(answer, "data");
  return data != nullptr && data->is_array() ? *data : json::array();
}

void add_permissions(json const& holder, user& to) {
  auto const* permissions = member(holder, "permissions");
  if (permissions == nullptr || !permissions->is_array()) return;
  for (auto const& p : *permissions) {
    auto const* enabled = member(p, "enabled");
    auto const* types = member(p, "object_types");
    auto const* actions = member(p, "actions");
    if ((enabled != nullptr && *enabled == false) || types == nullptr || !types->is_array() || actions == nullptr ||
        !actions->is_array())
      continue;
    for (auto const& type : *types)
      for (auto const& action : *actions)
        if (type.is_string() && action.is_string())
          to.actions[type.get<std::string>()].push_back(action.get<std::string>());
  }
}

bool has_id(std::string_view body, std::uint64_t id, bool& understood) {
  auto const answer = parse(body);
  auto const* results = results_of(answer);
  understood = results != nullptr;
  return results != nullptr &&
         std::any_of(results->begin(), results->end(), [&](auto const& r) { return id_of(r) == id; });
}

bool lists(std::string_view comma_list, std::string_view word) {
  while (!comma_list.empty()) {
    auto const end = std::min(comma_list.find(','), comma_list.size());
    if (comma_list.substr(0, end) == word) return true;
    comma_list.remove_prefix(std::min(end + 1, comma_list.size()));
  }
  return false;
}

storage_facts& storage_named(source_facts& f, std::string const& name) {
  for (auto& s : f.storages)
    if (s.name == name) return s;
  f.storages.push_back({});
  f.storages.back().name = name;
  return f.storages.back();
}

}  // namespace

std::optional<allowed> read_options(std::string_view body) {
  auto const answer = parse(body);
  if (member(answer, "name") == nullptr || member(answer, "parses") == nullptr) return {};
  allowed out;
  if (auto const* actions = member(answer, "actions")) {
    out.add = member(*actions, "POST") != nullptr;
    out.change = member(*actions, "PUT") != nullptr;
  }
  return out;
}

std::optional<page> read_page(std::string_view body) {
  auto const answer = parse(body);
  auto const* results = results_of(answer);
  if (results == nullptr) return {};
  page out;
  out.objects = results->size();
  if (auto const* count = member(answer, "count"); count != nullptr && count->is_number_unsigned())
    out.count = count->get<std::size_t>();
  for (auto const* name : {"next", "previous"}) {
    auto const link = text(answer, name);
    auto at = link.find("?limit=");
    if (at == std::string::npos) at = link.find("&limit=");
    if (at == std::string::npos) continue;
    std::size_t value = 0;
    auto const* const begin = link.data() + at + 7;
    if (std::from_chars(begin, link.data() + link.size(), value).ec == std::errc{}) out.limit = value;
  }
  return out;
}

std::optional<user> read_user(std::string_view body) {
  auto const answer = parse(body);
  auto const id = id_of(answer);
  if (!id) return {};
  user out;
  out.id = *id;
  out.name = text(answer, "username");
  auto const* groups = member(answer, "groups");
  out.in_groups = groups == nullptr || !groups->is_array() || !groups->empty();
  add_permissions(answer, out);
  return out;
}

bool add_groups(std::string_view groups_body, std::string_view user_body, user& to) {
  auto const answer = parse(groups_body), whose = parse(user_body);
  auto const* results = results_of(answer);
  auto const* mine = member(whose, "groups");
  if (results == nullptr || mine == nullptr || !mine->is_array()) return false;
  std::size_t found = 0;
  for (auto const& group : *results)
    if (std::any_of(mine->begin(), mine->end(), [&](auto const& m) { return id_of(m) && id_of(m) == id_of(group); })) {
      add_permissions(group, to);
      ++found;
    }
  return found == mine->size();
}

token_state read_tokens(std::string_view body, std::uint64_t user_id, std::string_view token) {
  token_state out;
  auto const answer = parse(body);
  auto const* results = results_of(answer);
  if (results == nullptr) return out;
  bool const second = token.starts_with("nbt_");
  auto const key = second ? token.substr(4, token.find('.') - 4) : std::string_view();
  std::size_t candidates = 0, may_write = 0;
  std::optional<instant> expires;
  for (auto const& t : *results) {
    auto const* whose = member(t, "user");
    auto const* enabled = member(t, "enabled");
    auto const* writes = member(t, "write_enabled");
    if (whose == nullptr || id_of(*whose) != user_id || (enabled != nullptr && *enabled == false) || writes == nullptr)
      continue;
    // A v1 token's own text is not shown: any of this user's may be ours.
    if (second ? text(t, "key") != key : number(t, "version") == 2) continue;
    ++candidates;
    if (*writes == true) ++may_write;
    if (auto const when = base::parse_instant(text(t, "expires"))) expires = *when;
  }
  if (candidates > 0 && (may_write == 0 || may_write == candidates)) out.write_enabled = may_write > 0;
  if (candidates == 1) out.expires = expires;
  return out;
}

known read_superuser(std::string_view with_true, std::string_view with_false, std::uint64_t id) {
  bool understood_true = false, understood_false = false;
  bool const yes = has_id(with_true, id, understood_true), no = has_id(with_false, id, understood_false);
  if (!understood_true || !understood_false || yes == no) return {};
  return yes;
}

std::optional<privileges> read_privileges(std::string_view body) {
  auto const answer = parse(body);
  auto const* data = member(answer, "data");
  if (data == nullptr || !data->is_object()) return {};
  privileges out;
  for (auto const& [path, held] : data->items()) {
    auto& here = out[path];
    if (held.is_object())
      for (auto const& [privilege, ignored] : held.items()) here[privilege] = number(held, privilege.c_str()) != 0;
  }
  return out;
}

void read_resources(std::string_view body, source_facts& into) {
  std::size_t guests = 0, unknown = 0;
  for (auto const& row : rows(body)) {
    auto const type = text(row, "type");
    if (type == "node") {
      into.nodes.push_back({text(row, "node"), text(row, "status") == "online", {}});
    } else if (type == "qemu" || type == "lxc") {
      ++guests;
      if (text(row, "status") == "unknown") ++unknown;
    } else if (type == "storage") {
      auto& s = storage_named(into, text(row, "storage"));
      s.backups = s.backups || lists(text(row, "content"), "backup");
      s.shared = s.shared || number(row, "shared") != 0;
      (text(row, "status") == "available" ? s.on : s.away_on).push_back(text(row, "node"));
    }
  }
  into.guests = guests;
  into.guests_unknown = unknown;
  // Where a whole node is away its storages are, too: that is said of the node.
  for (auto& s : into.storages)
    std::erase_if(s.away_on, [&](std::string const& node) {
      return std::any_of(into.nodes.begin(), into.nodes.end(),
                         [&](auto const& n) { return n.name == node && !n.online; });
    });
  std::sort(into.nodes.begin(), into.nodes.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
  std::sort(into.storages.begin(), into.storages.end(), [](auto const& a, auto const& b) { return a.name < b.name; });
}

void read_storages(std::string_view body, source_facts& into) {
  for (auto const& row : rows(body)) {
    auto& s = storage_named(into, text(row, "storage"));
    s.disabled = number(row, "disable") != 0;
    s.backups = s.backups || lists(text(row, "content"), "backup");
  }
}

void read_cluster(std::string_view body, source_facts& into) {
  for (auto const& row : rows(body)) {
    if (text(row, "type") != "cluster") continue;
    into.cluster = text(row, "name");
    into.quorate = number(row, "quorate") != 0;
  }
}

std::optional<std::size_t> read_backup_count(std::string_view body) {
  auto const answer = parse(body);
  auto const* data = member(answer, "data");
  if (data == nullptr || !data->is_array()) return {};
  return data->size();
}

std::optional<std::int64_t> read_time(std::string_view body) {
  auto const answer = parse(body);
  auto const* data = member(answer, "data");
  if (data == nullptr || member(*data, "time") == nullptr) return {};
  return number(*data, "time");
}

}  // namespace weir::doctor
