#include "core/engine/plan_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/sha256.hpp"
#include "core/base/text.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/json_stream.hpp"
#include "core/engine/plan_format.hpp"
#include "core/engine/remembered.hpp"
#include "core/store/files.hpp"

namespace weir::engine {

using nlohmann::json;
using ordered = nlohmann::ordered_json;

namespace {

constexpr std::size_t buffer_bytes = 1 << 16;

// Numbers of objects that are not there yet are this run's own; programs that take numbers for floating point would
// confuse them.
json with_names(json value) {
  if (value.is_number_unsigned() && value.get<object_id>() >= first_pending)
    return {{new_object, value.get<object_id>() - first_pending + 1}};
  if (value.is_structured())
    for (auto& v : value) v = with_names(std::move(v));
  return value;
}

json part(packed const& p) { return with_names(p.unpack()); }

ordered to_json(change const& c) {
  ordered out;
  if (c.object >= first_pending)
    out["new"] = c.object - first_pending + 1;
  else
    out["id"] = c.object;
  out["label"] = c.label;
  if (!c.key.empty()) out["key"] = part(c.key);
  out["why"] = name(c.why);
  if (!c.detail.empty()) out["detail"] = c.detail;
  out["fields"] = ordered::array();
  for (auto const& f : c.fields) {
    ordered one{{"field", f.field}, {"before", f.before}, {"after", f.after}};
    if (f.edited) one["edited"] = true;
    out["fields"].push_back(std::move(one));
  }
  if (!c.body.empty()) out["body"] = part(c.body);
  if (!c.before.empty()) out["before"] = part(c.before);
  if (!c.applied.empty()) out["applied"] = with_names(remembered(c));
  return out;
}

ordered to_json(failure const& f) {
  return {{"source", f.source}, {"stage", f.stage}, {"kind", f.kind}, {"label", f.label}, {"error", f.message}};
}

ordered to_json(base::error const& e) { return {{"message", e.what}, {"hint", e.hint}}; }

void write(json_stream& to, kind_plan const& p) {
  to.object();
  to.put_all({{"kind", p.kind->name}, {"seen", p.seen}, {"unchanged", p.unchanged}});
  auto const list = [&](char const* title, std::vector<change> const& changes) {
    to.list(title);
    for (auto const& c : changes) to.put(to_json(c));
    to.end();
  };
  list("update", p.updates);
  list("create", p.creates);
  list("delete", p.deletes);
  if (!p.skipped.empty()) to.put("skipped", p.skipped);
  if (!p.kept.empty()) {
    to.list("kept");
    for (auto const& k : p.kept) to.put({{"label", k.label}, {"id", k.object}, {"detail", k.detail}});
    to.end();
  }
  if (!p.edits.empty()) {
    to.list("edits_kept");
    for (auto const& e : p.edits)
      to.put({{"label", e.label},
              {"id", e.object},
              {"field", e.field},
              {"held", e.held},
              {"wanted", e.wanted},
              {"rule", netbox::name(e.by)},
              {"known", e.known}});
    to.end();
  }
  if (p.deletes_refused || p.owned != 0)
    to.put("deletes", {{"refused", p.deletes_refused},
                       {"gone", p.refused},
                       {"allowed", p.allowed},
                       {"owned", p.owned},
                       {"because", p.refused_because},
                       {"hint", p.refused_hint}});
  to.end();
}

// Writes all of it under another name first: whoever reads the file sees all of it or none.
base::result<void> write_whole(std::filesystem::path const& file,
                               std::function<void(std::function<void(std::string_view)>)> const& write) {
  auto const failed = [&](int why) {
    return base::fail("the plan cannot be written to " + file.string() + ": " + store::system_words(why),
                      "name a file in a folder that is there and may be written");
  };
  std::error_code ignored;
  auto const kind = std::filesystem::status(file, ignored).type();
  if (kind != std::filesystem::file_type::regular && kind != std::filesystem::file_type::not_found)
    return base::fail("the plan cannot be written to " + file.string() + ": it is there, and no file");
  auto const target = kind == std::filesystem::file_type::regular ? std::filesystem::canonical(file, ignored) : file;
  auto temporary = (target.parent_path() / ("." + target.filename().string() + ".XXXXXX")).string();
  int const fd = ::mkostemp(temporary.data(), O_CLOEXEC);  // 0600
  if (fd < 0) return failed(errno);
  int wrong = 0;
  std::string buffer;
  auto const flush = [&] {
    if (wrong == 0) wrong = base::write_all(fd, buffer);
    buffer.clear();
  };
  write([&](std::string_view part) {
    buffer += part;
    if (buffer.size() >= buffer_bytes) flush();
  });
  flush();
  if (wrong == 0 && ::fsync(fd) != 0) wrong = errno;
  if (::close(fd) != 0 && wrong == 0) wrong = errno;
  if (wrong == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) wrong = errno;
  if (wrong != 0) {
    ::unlink(temporary.c_str());
    return failed(wrong);
  }
  return {};
}

void write_plan(std::function<void(std::string_view)> const& to, report const& r, plan_circumstances const& now,
                std::string_view command, wall_clock::time_point made) {
  ordered head{{"plan", std::to_string(plan_version_major) + "." + std::to_string(plan_version_minor)},
               {"weir", WEIR_VERSION},
               {"command", command},
               {"made", base::format_instant(std::chrono::floor<std::chrono::seconds>(made))},
               {"run", r.run_id},
               {"netbox", {{"url", r.netbox_url}, {"version", r.netbox_version}}},
               {"profile",
                {{"name", r.profile.name},
                 {"batch",
                  {{"size", r.profile.batch_size},
                   {"delay_ms", r.profile.batch_delay.count()},
                   {"objects_per_request", r.profile.objects_per_request}}},
                 {"max_in_flight", r.profile.max_in_flight},
                 {"requests_per_second", r.profile.requests_per_second}}}};
  if (!r.undoes.empty()) head["undoes"] = r.undoes;
  head["made_under"] = {{"netbox", now.netbox_url},
                        {"configuration", now.configuration},
                        {"parts", ordered::array()},
                        {"plugins", ordered::array()}};
  for (auto const& [title, hash] : now.parts) head["made_under"]["parts"].push_back(ordered::array({title, hash}));
  for (auto const& [stage, version] : now.plugins)
    head["made_under"]["plugins"].push_back(ordered::array({stage, version}));
  head["sources"] = ordered::array();
  for (auto const& s : r.sources)
    head["sources"].push_back({{"name", s.name}, {"type", s.type}, {"version", s.version}});
  // Parents first, as a registry takes them.
  std::set<std::string> used;
  auto const use = [&](netbox::kind const& k) {
    used.insert(k.name);
    if (r.kinds) used.merge(kinds_needed(*r.kinds, k));
  };
  for (auto const& j : r.jobs)
    for (auto const& p : j.plans) use(*p.kind);
  std::vector<netbox::kind const*> kinds;
  for (auto const& name : used)
    if (auto const* k = r.kinds ? r.kinds->find(name) : nullptr) kinds.push_back(k);
  std::stable_sort(kinds.begin(), kinds.end(),
                   [&](auto const* a, auto const* b) { return r.kinds->rank(*a) < r.kinds->rank(*b); });
  head["kinds"] = ordered::array();
  for (auto const* k : kinds) head["kinds"].emplace_back(as_json(*k));
  base::sha256 sum;
  json_stream out(
      [&](std::string_view part) {
        sum.add(part);
        to(part);
      },
      1);
  out.object();
  out.put_all(head);
  out.list("jobs");
  for (auto const& j : r.jobs) {
    out.object();
    out.put_all({{"source", j.source}, {"stage", j.stage}, {"title", j.title}, {"status", name(j.status)}});
    if (j.status != job_status::ok) out.put("reason", to_json(j.reason));
    out.list("plans");
    for (auto const& p : j.plans) write(out, p);
    out.end();
    out.end();
  }
  out.end();
  out.list("failures");
  for (auto const& f : r.failures) out.put(to_json(f));
  out.end();
  out.list("notices");
  for (auto const& n : r.notices)
    out.put({{"level", base::log::severity(n.level)},
             {"source", n.source},
             {"stage", n.stage},
             {"message", n.message},
             {"hint", n.hint}});
  out.end();
  out.put("checksum", sum.hex());
  out.end();
  to("\n");
}

}  // namespace

base::result<void> store_plan(std::filesystem::path const& file, report const& r, plan_circumstances const& now,
                              std::string_view command, wall_clock::time_point made) {
  return write_whole(file, [&](auto const& to) { write_plan(to, r, now, command, made); });
}

std::string plan_text(report const& r, plan_circumstances const& now, std::string_view command,
                      wall_clock::time_point made) {
  std::string out;
  write_plan([&](std::string_view part) { out += part; }, r, now, command, made);
  return out;
}

std::string sealed_plan(std::string_view text) {
  auto const at = text.rfind(before_checksum);
  return at == text.npos ? std::string() : std::string(text.substr(0, at)) + seal_of(text.substr(0, at));
}

base::result<stored_plan> load_plan(std::filesystem::path const& file) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) return no_plan(file.string(), "it is a folder");
  std::ifstream in(file, std::ios::binary);
  if (!in)
    return base::fail(base::error_code::data,
                      "the plan " + file.string() + " cannot be read: " + store::system_words(errno));
  std::string text;
  if (auto const size = std::filesystem::file_size(file, ignored); !ignored) text.reserve(size);
  std::array<char, buffer_bytes> part{};
  while (in.read(part.data(), part.size()) || in.gcount() > 0)
    text.append(part.data(), static_cast<std::size_t>(in.gcount()));
  if (in.bad())
    return base::fail(base::error_code::data,
                      "the plan " + file.string() + " cannot be read: " + store::system_words(errno));
  return parse_plan(text, file.string());
}

}  // namespace weir::engine
