#include "proxmox/answers.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <weir/json.hpp>

namespace weir::proxmox {
namespace {

json const* find_member(json const& object, char const* member) {
  if (!object.is_object()) return nullptr;
  auto const found = object.find(member);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

}  // namespace

std::optional<double> number(json const& object, char const* member) {
  json const* const v = find_member(object, member);
  if (v == nullptr) return std::nullopt;
  if (v->is_number()) return v->get<double>();
  if (v->is_boolean()) return v->get<bool>() ? 1.0 : 0.0;
  if (!v->is_string()) return std::nullopt;
  auto const& t = v->get_ref<std::string const&>();
  double n = 0;
  auto const [end, fault] = std::from_chars(t.data(), t.data() + t.size(), n);
  if (t.empty() || fault != std::errc{} || end != t.data() + t.size() || !std::isfinite(n)) return std::nullopt;
  return n;
}

std::optional<std::int64_t> integer(json const& object, char const* member) {
  json const* const v = find_member(object, member);
  if (v == nullptr) return std::nullopt;
  if (v->is_number_unsigned()) {
    auto const n = v->get<std::uint64_t>();
    if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(n);
  }
  if (v->is_number_integer()) return v->get<std::int64_t>();
  if (v->is_string()) {  // exactly, where a double would round
    auto const& t = v->get_ref<std::string const&>();
    std::int64_t n = 0;
    auto const [end, fault] = std::from_chars(t.data(), t.data() + t.size(), n);
    if (fault == std::errc{} && end == t.data() + t.size()) return n;
  }
  auto const n = number(object, member);
  if (!n || std::abs(*n) > 9e15) return std::nullopt;
  return static_cast<std::int64_t>(*n);
}

std::optional<bool> flag(json const& object, char const* member) {
  json const* const v = find_member(object, member);
  if (v == nullptr) return std::nullopt;
  if (v->is_boolean()) return v->get<bool>();
  if (v->is_number()) return v->get<double>() != 0;
  if (!v->is_string()) return std::nullopt;
  auto const& t = v->get_ref<std::string const&>();
  if (t == "1" || t == "on" || t == "yes" || t == "true") return true;
  if (t.empty() || t == "0" || t == "off" || t == "no" || t == "false") return false;
  return std::nullopt;
}

std::string text(json const& object, char const* member) {
  json const* const v = find_member(object, member);
  if (v == nullptr) return {};
  if (v->is_string()) return v->get<std::string>();
  return v->is_number() ? v->dump() : std::string{};
}

std::optional<std::int64_t> vmid(json const& object) {
  auto const n = integer(object, "vmid");
  return n && *n > 0 && *n <= std::numeric_limits<std::int32_t>::max() ? n : std::nullopt;
}

std::vector<json> rows(json list, std::string_view target) {
  if (!list.is_array()) {
    throw source_error(
        "the answer of " + std::string{target} + " holds " + list.type_name() + " where a list was expected", 200);
  }
  std::vector<json> out;
  out.reserve(list.size());
  for (auto& row : list) {
    if (row.is_object()) out.push_back(std::move(row));
  }
  return out;
}

cluster_state read_cluster(run const& r) {
  static constexpr std::string_view target = "/cluster/status";
  reply const answer = r.try_fetch(target);
  if (!answer.ok()) {
    std::string const hint = answer.http_status() == 403
                                 ? "the token needs Sys.Audit on / (the role PVEAuditor has it); "
                                   "with privilege separation the token needs its own ACL"
                                 : "";
    throw source_error(std::string{answer.error()}, answer.http_status(), hint);
  }
  cluster_state out;
  std::string local;
  for (auto& row : rows(data(target, answer), target)) {
    auto const type = text(row, "type");
    if (type == "cluster") {
      out.name = text(row, "name");
      out.quorate = flag(row, "quorate").value_or(true);
    } else if (type == "node" && !text(row, "name").empty()) {
      if (local.empty() || flag(row, "local").value_or(false)) local = text(row, "name");
      out.nodes.push_back(std::move(row));
    }
  }
  if (out.name.empty()) out.name = local;
  if (out.name.empty()) throw source_error("the answer of /cluster/status names no cluster and no node", 200);
  return out;
}

privileges::privileges(json const& data) {
  if (!data.is_object()) return;
  for (auto const& [path, set] : data.items()) {
    if (!set.is_object()) continue;
    paths_.push_back(path);
    for (auto const& [privilege, value] : set.items()) {
      // The value says whether it propagates to longer paths, not whether it is held.
      grants_.push_back({path, privilege, flag(set, privilege.c_str()).value_or(false)});
    }
  }
}

bool privileges::listed(std::string_view path) const {
  return std::find(paths_.begin(), paths_.end(), path) != paths_.end();
}

privileges::grant const* privileges::find(std::string_view path, std::string_view privilege) const {
  auto const found = std::find_if(grants_.begin(), grants_.end(),
                                  [&](grant const& g) { return g.path == path && g.privilege == privilege; });
  return found == grants_.end() ? nullptr : &*found;
}

bool privileges::on(std::string_view path, std::string_view privilege) const {
  // An entry at a longer path replaces what shorter ones give, so the nearest that is listed decides.
  if (listed(path)) return find(path, privilege) != nullptr;
  while (path.size() > 1) {
    auto const slash = path.rfind('/');
    path = slash == 0 || slash == path.npos ? std::string_view{"/"} : path.substr(0, slash);
    if (listed(path)) {
      grant const* const g = find(path, privilege);
      return g != nullptr && g->propagates;
    }
  }
  return false;
}

bool privileges::below(std::string_view path, std::string_view privilege) const {
  if (!on(path, privilege)) return false;
  if (grant const* const own = find(path, privilege); own != nullptr && !own->propagates) return false;
  std::string const prefix = path == "/" ? "/" : std::string{path} + "/";
  return std::all_of(paths_.begin(), paths_.end(), [&](std::string const& p) {
    return !p.starts_with(prefix) || p == path || find(p, privilege) != nullptr;
  });
}

asked_privileges read_privileges(run const& r) {
  asked_privileges out;
  static constexpr std::string_view target = "/access/permissions";
  try {
    out.held = privileges{fetch(r, target)};
  } catch (source_error const& e) {
    out.fault = e.what();
  }
  return out;
}

void emit_source_field(run const& r, std::vector<std::string> const& object_types) {
  emit(r, "extras.customfield", {{"name", "proxmox_source"}},
       {{"type", "text"},
        {"object_types", object_types},
        {"label", "Proxmox source"},
        {"description", "The source in weir's configuration that this object comes from"},
        {"filter_logic", "exact"},
        {"ui_editable", "no"}});
}

void emit_weir_tag(run const& r) {
  emit(r, "extras.tag", {{"slug", weir_tag}},
       {{"name", "weir"}, {"color", "009688"}, {"description", "Kept up to date from Proxmox VE by weir"}});
}

json cluster_key(std::string_view source, std::string_view name) {
  return {{"custom_fields.proxmox_source", source}, {"name", name}};
}

json device_key(std::string_view source, std::string_view name) {
  return {{"custom_fields.proxmox_source", source}, {"name", name}};
}

json guest_key(std::string_view source, std::int64_t number) {
  return {{"custom_fields.proxmox_source", source}, {"custom_fields.proxmox_vm_id", number}};
}

json scope_of(std::string_view source) { return {{"custom_fields.proxmox_source", source}}; }

}  // namespace weir::proxmox
