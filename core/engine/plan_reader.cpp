// A plan's JSON as a plan: everything in it may be wrong.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "core/base/text.hpp"
#include "core/engine/plan_file.hpp"
#include "core/engine/plan_format.hpp"
#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::dump;
using nlohmann::json;

namespace {

constexpr std::size_t deepest = 64;  // of a plan's JSON; what people's custom fields hold is far below

template <class Enum, std::size_t N>
std::optional<Enum> named(std::string_view text, std::array<Enum, N> const& all) {
  for (auto const one : all)
    if (name(one) == text) return one;
  return {};
}
constexpr std::array reasons{reason::differs, reason::adopted,  reason::recreated, reason::renumbered,
                             reason::gone,    reason::released, reason::returned,  reason::undone};
constexpr std::array rules{netbox::rule::always, netbox::rule::unless_edited, netbox::rule::on_create,
                           netbox::rule::never, netbox::rule::merge};
constexpr std::array statuses{job_status::ok, job_status::failed, job_status::skipped, job_status::stopped};
constexpr std::array levels{base::log::level::info, base::log::level::warning, base::log::level::error};

struct bad_plan {
  std::string what;
};

json const& get(json const& from, char const* member) {
  auto const found = from.find(member);
  if (found == from.end()) throw bad_plan{std::string("it lacks \"") + member + "\""};
  return *found;
}
template <class Value>
Value value_of(json const& from, char const* member, Value otherwise) {
  auto const found = from.find(member);
  return found == from.end() ? otherwise : found->get<Value>();
}
std::string text_of(json const& from, char const* member) { return value_of(from, member, std::string()); }

json const& list_of(json const& from, char const* member) {
  static json const none = json::array();
  auto const found = from.find(member);
  if (found == from.end()) return none;
  if (!found->is_array()) throw bad_plan{std::string("\"") + member + "\" is no list"};
  return *found;
}

std::size_t count_of(json const& value) {
  if (!value.is_number_unsigned()) throw bad_plan{"a count is no number"};
  return value.get<std::size_t>();
}
std::size_t count_of(json const& from, char const* member) {
  auto const found = from.find(member);
  return found == from.end() ? 0 : count_of(*found);
}

// A number of NetBox's, or of the plan's own: 1 for the first.
object_id id_of(json const& value, object_id base) {
  if (!value.is_number_unsigned()) throw bad_plan{"an id is no number"};
  auto const n = value.get<object_id>();
  if (n == 0 || n >= first_pending) throw bad_plan{"the id " + std::to_string(n) + " is none"};
  return base == 0 ? n : base + n - 1;
}

json without_names(json value, std::unordered_set<object_id>& referred) {
  if (value.is_object() && value.size() == 1 && value.begin().key() == new_object) {
    auto const id = id_of(value.begin().value(), first_pending);
    referred.insert(id);
    return id;
  }
  if (value.is_number_unsigned() && value.get<object_id>() >= first_pending)
    throw bad_plan{"the number " + value.dump() + " is none of NetBox's"};
  if (value.is_structured())
    for (auto& v : value) v = without_names(std::move(v), referred);
  return value;
}

// A plan's JSON. Its changes, which are nearly all of it, are packed while it is parsed: as JSON values they take ten
// times the room.
class document {
 public:
  explicit document(std::string_view text) {
    std::array<std::string, 6> path;  // names of the members that are being read, by depth
    root_ = json::parse(
        text,
        [&](int depth, json::parse_event_t event, json& value) {
          auto const at = static_cast<std::size_t>(depth);
          if (event == json::parse_event_t::key && at < path.size()) path[at] = value.get<std::string>();
          bool const is_change = at == change_depth && event == json::parse_event_t::object_end && path[1] == "jobs" &&
                                 path[3] == "plans" &&
                                 (path[5] == "update" || path[5] == "create" || path[5] == "delete");
          if (is_change) {
            changes_.emplace_back(value);
            value = placeholder(changes_.size() - 1);
          }
          return true;
        },
        false);
  }
  json const& root() const { return root_; }
  // What a list of changes has as this item.
  json change(json const& item) const {
    if (!item.is_binary()) throw bad_plan{"a change is no object"};
    std::size_t number = 0;
    for (auto const byte : item.get_binary()) number = number << 8 | byte;
    return changes_.at(number).unpack();
  }

 private:
  static constexpr std::size_t change_depth = 6;  // jobs, a job, its plans, a plan, its "create", an item
  // No JSON text has a value of this type.
  static json placeholder(std::size_t number) {
    std::vector<std::uint8_t> bytes;
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(number >> shift));
    return json::binary(std::move(bytes));
  }

  json root_;
  std::vector<packed> changes_;
};

class reader {
 public:
  explicit reader(document const& of) : of_(of), from_(of.root()) {}
  stored_plan read() {
    stored_plan out;
    out.weir = text_of(from_, "weir");
    out.command = get(from_, "command").get<std::string>();
    if (out.command != "plan" && out.command != "adopt" && out.command != "undo")
      throw bad_plan{"weir " + base::shorten(out.command, 40) + " makes no plans"};
    auto const made = base::parse_instant(get(from_, "made").get<std::string>());
    if (!made || *made < base::instant{} || *made > base::instant{std::chrono::hours(24 * 365 * 200)})
      throw bad_plan{"\"made\" is no time"};
    out.made = std::chrono::time_point_cast<wall_clock::duration>(*made);
    auto const& under = get(from_, "made_under");
    out.made_under.netbox_url = get(under, "netbox").get<std::string>();
    out.made_under.configuration = text_of(under, "configuration");
    for (auto const& p : list_of(under, "parts"))
      out.made_under.parts.emplace_back(p.at(0).get<std::string>(), p.at(1).get<std::string>());
    for (auto const& p : list_of(under, "plugins"))
      out.made_under.plugins.emplace_back(p.at(0).get<std::string>(), p.at(1).get<std::string>());
    read_report(out.what);
    out.what.command = out.command;
    out.what.undoes = text_of(from_, "undoes");
    for (auto const id : referred_)
      if (!created_.contains(id))
        throw bad_plan{"an object refers to the new object " + std::to_string(id - first_pending + 1) +
                       ", which is not created"};
    return out;
  }

 private:
  void read_report(report& r) {
    r.dry = true;
    r.run_id = get(from_, "run").get<std::string>();
    auto const& netbox = get(from_, "netbox");
    r.netbox_url = get(netbox, "url").get<std::string>();
    r.netbox_version = get(netbox, "version").get<std::string>();
    auto const& profile = get(from_, "profile");
    r.profile.name = get(profile, "name").get<std::string>();
    auto const& batch = get(profile, "batch");
    r.profile.batch_size = count_of(get(batch, "size"));
    r.profile.batch_delay =
        std::chrono::milliseconds(std::min<std::uint64_t>(count_of(get(batch, "delay_ms")), 86'400'000));
    r.profile.objects_per_request = std::max<std::size_t>(1, count_of(get(batch, "objects_per_request")));
    r.profile.max_in_flight = count_of(get(profile, "max_in_flight"));
    r.profile.requests_per_second = get(profile, "requests_per_second").get<double>();
    for (auto const& s : list_of(from_, "sources"))
      r.sources.push_back({get(s, "name").get<std::string>(), text_of(s, "type"), text_of(s, "version")});
    auto parsed = netbox::parse_kinds(dump(list_of(from_, "kinds")));
    if (!parsed) throw bad_plan{parsed.error().what};
    auto kinds = std::make_shared<netbox::registry>();
    for (auto& k : *parsed)
      if (auto ok = kinds->add(std::move(k), "the plan"); !ok) throw bad_plan{ok.error().what};
    kinds_ = kinds.get();
    r.kinds = std::move(kinds);
    for (auto const& f : list_of(from_, "failures"))
      r.failures.push_back({text_of(f, "source"), text_of(f, "stage"), text_of(f, "kind"), text_of(f, "label"),
                            get(f, "error").get<std::string>()});
    for (auto const& n : list_of(from_, "notices")) {
      notice out{base::log::level::info, text_of(n, "source"), text_of(n, "stage"),
                 get(n, "message").get<std::string>(), text_of(n, "hint")};
      for (auto const l : levels)
        if (base::log::severity(l) == get(n, "level").get<std::string>()) out.level = l;
      r.notices.push_back(std::move(out));
    }
    for (auto const& j : list_of(from_, "jobs")) r.jobs.push_back(read_job(j, r));
  }

  job_report read_job(json const& from, report const& r) {
    job_report j;
    j.source = get(from, "source").get<std::string>();
    j.stage = get(from, "stage").get<std::string>();
    j.title = text_of(from, "title");
    auto const status = named(get(from, "status").get<std::string>(), statuses);
    if (!status) throw bad_plan{"a stage's status is unknown"};
    j.status = *status;
    if (auto const reason = from.find("reason"); reason != from.end())
      j.reason = base::fail(get(*reason, "message").get<std::string>(), text_of(*reason, "hint"));
    for (auto const& p : list_of(from, "plans")) {
      auto plan = read_plan(p);
      for (auto const& f : r.failures)
        if (f.source == j.source && f.stage == j.stage && f.kind == plan.kind->name) plan.failures.push_back(f);
      auto& c = j.kinds[plan.kind->name];
      counts now;
      now.seen = plan.seen, now.unchanged = plan.unchanged, now.kept = plan.kept.size();
      now.skipped = plan.skipped.size(), now.failed = plan.failures.size(), now.created = plan.creates.size();
      now.updated = plan.updates.size(), now.deleted = plan.deletes.size();
      c += now;
      if (!plan.kind->supporting) j.total += now;
      for (auto const* list : {&plan.updates, &plan.creates, &plan.deletes})
        j.planned_requests += requests_for(list->size(), r.profile.objects_per_request);
      j.plans.push_back(std::move(plan));
    }
    return j;
  }

  kind_plan read_plan(json const& from) {
    kind_plan p;
    auto const kind = get(from, "kind").get<std::string>();
    p.kind = kinds_->find(kind);
    if (!p.kind) throw bad_plan{"it does not say what the kind " + base::shorten(kind, 80) + " is"};
    p.seen = count_of(get(from, "seen"));
    p.unchanged = count_of(get(from, "unchanged"));
    auto const list = [&](char const* title, action what, std::vector<change>& to) {
      for (auto const& c : list_of(from, title)) to.push_back(read_change(of_.change(c), what, *p.kind));
    };
    list("update", action::update, p.updates);
    list("create", action::create, p.creates);
    list("delete", action::erase, p.deletes);
    for (auto const& s : list_of(from, "skipped")) p.skipped.push_back(s.get<std::string>());
    for (auto const& k : list_of(from, "kept"))
      p.kept.push_back({get(k, "label").get<std::string>(), count_of(get(k, "id")), text_of(k, "detail")});
    for (auto const& e : list_of(from, "edits_kept")) {
      auto const rule = named(get(e, "rule").get<std::string>(), rules);
      p.edits.push_back({get(e, "label").get<std::string>(), count_of(get(e, "id")), get(e, "field").get<std::string>(),
                         text_of(e, "held"), text_of(e, "wanted"), rule.value_or(netbox::rule::on_create),
                         value_of(e, "known", true)});
    }
    if (auto const d = from.find("deletes"); d != from.end()) {
      p.deletes_refused = value_of(*d, "refused", false);
      p.refused = count_of(*d, "gone");
      p.allowed = count_of(*d, "allowed");
      p.owned = count_of(*d, "owned");
      p.refused_because = text_of(*d, "because");
      p.refused_hint = text_of(*d, "hint");
    }
    return p;
  }

  std::string json_text(json const& from, char const* member) {
    auto const found = from.find(member);
    if (found == from.end()) return {};
    if (!found->is_object()) throw bad_plan{std::string("\"") + member + "\" of an object is no object"};
    return dump(without_names(*found, referred_));
  }

  change read_change(json const& from, action what, netbox::kind const& k) {
    change c;
    c.what = what;
    c.kind = &k;
    if (auto const fresh = from.find("new"); fresh != from.end())
      c.object = id_of(*fresh, first_pending);
    else
      c.object = id_of(get(from, "id"), 0);
    if (what == action::create) {
      if (c.object < first_pending) throw bad_plan{"an object that is to be created has an id already"};
      if (!created_.insert(c.object).second) throw bad_plan{"two new objects have the same number"};
    } else if (c.object >= first_pending) {
      referred_.insert(c.object);
    }
    c.label = get(from, "label").get<std::string>();
    c.key = json_text(from, "key");
    auto const why = named(get(from, "why").get<std::string>(), reasons);
    if (!why) throw bad_plan{"the reason of a change is unknown"};
    c.why = *why;
    c.detail = text_of(from, "detail");
    std::vector<field_change> fields;
    for (auto const& f : list_of(from, "fields"))
      fields.push_back({get(f, "field").get<std::string>(), get(f, "before").get<std::string>(),
                        get(f, "after").get<std::string>(), value_of(f, "edited", false)});
    c.body = json_text(from, "body");
    if (c.body.empty() && what != action::erase) throw bad_plan{"a change says nothing to write"};
    c.before = json_text(from, "before");
    if (auto const applied = json_text(from, "applied"); !applied.empty()) remember(c, json::parse(applied));
    c.fields = {fields, c.before, c.body};
    return c;
  }

  document const& of_;
  json const& from_;
  netbox::registry const* kinds_ = nullptr;
  std::unordered_set<object_id> created_, referred_;
};

// Nothing of weir's is nested deeper; what is would exhaust the stack further down.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char const c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) return true;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace

base::error no_plan(std::string const& file, std::string why) {
  return base::fail(base::error_code::data, file + " is no plan that weir can carry out: " + std::move(why),
                    "weir plan --out FILE makes one");
}

base::result<stored_plan> parse_plan(std::string_view text, std::string const& file) {
  if (too_deep(text)) return no_plan(file, "it is nested too deeply");
  document const parsed(text);
  auto const& whole = parsed.root();
  if (whole.is_discarded()) return no_plan(file, text.empty() ? "it is empty" : "it is no JSON, or not all of it");
  if (!whole.is_object() || !whole.contains("plan") || !whole.at("plan").is_string())
    return no_plan(file, "it has no member \"plan\"");
  auto const version = whole.at("plan").get<std::string>();
  if (version.substr(0, version.find('.')) != std::to_string(plan_version_major))
    return base::fail(base::error_code::data,
                      file + " is a plan of version " + base::shorten(version, 20) + ", and this weir reads version " +
                          std::to_string(plan_version_major),
                      "carry it out with the weir that made it, or make it anew");
  auto const at = text.rfind(before_checksum);
  if (at == text.npos || text.substr(at) != seal_of(text.substr(0, at)))
    return no_plan(file, "it was damaged or edited since weir wrote it");
  try {
    return reader(parsed).read();
  } catch (bad_plan const& e) {
    return no_plan(file, e.what);
  } catch (json::exception const&) {
    return no_plan(file, "a member is not of the type that it should be");
  }
}

}  // namespace weir::engine
