#include "core/engine/plan_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "core/base/text.hpp"
#include "core/engine/compare.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/json_stream.hpp"
#include "core/engine/orphans.hpp"
#include "core/engine/remembered.hpp"
#include "core/netbox/value.hpp"
#include "core/store/files.hpp"

namespace weir::engine {

using netbox::at;
using netbox::put;
using nlohmann::json;
using ordered = nlohmann::ordered_json;

namespace {

constexpr std::size_t deepest = 64;      // of a plan's JSON; what people's custom fields hold is far below
constexpr std::size_t most_listed = 20;  // differences, in an error
constexpr std::size_t most_told = 1000;  // as notices
constexpr std::size_t buffer_bytes = 1 << 16;
constexpr std::string_view new_object = "$new";

std::string dump(json const& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

class digest {
 public:
  digest() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view text) { EVP_DigestUpdate(context_.get(), text.data(), text.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned int length = 0;
    EVP_DigestFinal_ex(context_.get(), bytes.data(), &length);
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned int i = 0; i < length; ++i) (out += digits[bytes[i] >> 4]) += digits[bytes[i] & 15];
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string sha256(std::string_view text) {
  digest d;
  d.add(text);
  return d.hex();
}

base::result<std::string> sha256_of(std::filesystem::path const& file) {
  std::ifstream in(file, std::ios::binary);
  digest d;
  std::array<char, 1 << 16> part{};
  while (in.read(part.data(), part.size()) || in.gcount() > 0)
    d.add({part.data(), static_cast<std::size_t>(in.gcount())});
  if (!in.eof()) return base::fail("the plugin " + file.string() + " cannot be read: " + store::system_words(errno));
  return d.hex();
}

// In whatever order they were written.
json as_set(std::vector<std::string> const& all) { return std::set<std::string>(all.begin(), all.end()); }

json as_json(config::selection const& s) {
  return {{"nodes", as_set(s.nodes)},   {"pools", as_set(s.pools)},
          {"tags", as_set(s.tags)},     {"vmids", as_set(s.vmids)},
          {"names", as_set(s.names)},   {"storages", as_set(s.storages)},
          {"states", as_set(s.states)}, {"templates", s.templates ? json(*s.templates) : json()}};
}

// What a kind is, as far as a plan's objects are found, checked and written by it. In the form of a stage's kinds_json.
json as_json(netbox::kind const& k) {
  return {{"kind", k.name},         {"path", k.path},
          {"title", k.title},       {"key", k.key},
          {"refs", k.refs},         {"times", k.times},
          {"label", k.label},       {"mark", k.mark},
          {"adopt_by", k.adopt_by}, {"supporting", k.supporting}};
}

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

// ---- to JSON

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

// ---- from JSON

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

base::error no_plan(std::string const& file, std::string why) {
  return base::fail(base::error_code::data, file + " is no plan that weir can carry out: " + std::move(why),
                    "weir plan --out FILE makes one");
}

// The checksum is the last member, and of all bytes before it.
constexpr std::string_view before_checksum = ",\n \"checksum\": \"";
std::string seal_of(std::string_view text) { return std::string(before_checksum) + sha256(text) + "\"\n}\n"; }

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

// ---- carrying out

bool is_words(json const& v) {
  return v.is_array() && std::all_of(v.begin(), v.end(), [](json const& w) { return w.is_string(); });
}
bool equal(json const& a, json const& b) {
  if (is_words(a) && is_words(b)) return words(a) == words(b);
  return netbox::same(a, b);
}

// Takes a plan's objects through NetBox as it is now: what still fits, what is done already, what does not fit.
class check {
 public:
  check(planning const& p, stored_plan& plan) : with_(p), plan_(plan) {}
  base::result<std::vector<job_report>> go();

 private:
  netbox::kind const& kind_of(kind_plan const& p) { return *with_.kinds.find(p.kind->name); }
  base::result<void> read();
  base::result<void> read_new_ones();
  void give_numbers();
  void renumber(change& c);
  json renumbered(json value);
  json realised(netbox::kind const& k, packed const& members);
  void look_at(job_report const& j, kind_plan& p);
  // Whether that is what an update of the plan makes of the object's field. Several stages may change one object.
  bool is_made_of(netbox::kind const& k, change const& c, std::string const& leaf, json const& value);
  bool still_to_do(netbox::kind const& k, change const& c);    // updates
  bool still_to_make(netbox::kind const& k, change const& c);  // creates
  bool still_to_delete(job_report const& j, netbox::kind const& k, change const& c);
  void differs(netbox::kind const& k, change const& c, std::string const& how) {
    differences_.push_back(k.title + " " + c.label + " " + how);
  }
  std::string show(netbox::kind const& k, std::string const& leaf, json const& value);
  // "memory is 77, was 2048 when the plan was made"
  std::string changed_since_made(netbox::kind const& k, std::string const& leaf, json const& is, json const& was);

  planning const& with_;
  stored_plan& plan_;
  std::unordered_map<object_id, object_id> numbers_;                  // the file's ► this run's
  std::map<std::string, std::unordered_map<object_id, json>> whole_;  // by kind: what is there that was to be created
  std::set<netbox::kind const*> inside_;  // of which NetBox deletes objects along with what the plan deletes
  std::unordered_multimap<object_id, packed> updates_;  // their bodies, by object
  std::vector<std::string> differences_;
};

std::string check::show(netbox::kind const& k, std::string const& leaf, json const& value) {
  if (auto const ref = k.refs.find(leaf); ref != k.refs.end() && value.is_number_unsigned())
    if (auto const* target = with_.kinds.find(ref->second)) return with_.objects.label(*target, value.get<object_id>());
  if (value.is_null() || (value.is_string() && value.get_ref<std::string const&>().empty())) return "empty";
  return value.is_string() ? value.get<std::string>() : dump(value);
}

std::string check::changed_since_made(netbox::kind const& k, std::string const& leaf, json const& is, json const& was) {
  auto const [now, then] = cut(show(k, leaf, is), show(k, leaf, was));
  return leaf + " is " + now + ", was " + then + " when the plan was made";
}

// With NetBox's own numbers for what is there by now.
json check::realised(netbox::kind const& k, packed const& members) {
  auto out = members.empty() ? json::object() : members.unpack();
  for (auto const& [field, target] : k.refs)
    if (auto const found = out.find(field); found != out.end() && found->is_number_unsigned())
      if (auto const real = with_.objects.real(found->get<object_id>())) *found = *real;
  return out;
}

json check::renumbered(json value) {
  if (value.is_number_unsigned() && value.get<object_id>() >= first_pending) {
    auto const found = numbers_.find(value.get<object_id>());
    return found == numbers_.end() ? value : json(found->second);
  }
  if (value.is_structured())
    for (auto& v : value) v = renumbered(std::move(v));
  return value;
}

void check::renumber(change& c) {
  if (auto const found = numbers_.find(c.object); found != numbers_.end()) c.object = found->second;
  auto applied = remembered(c);  // in the body's words, as long as it has them
  for (auto* part : {&c.body, &c.before, &c.key})
    if (!part->empty()) *part = renumbered(part->unpack());
  remember(c, renumbered(std::move(applied)));
}

void check::give_numbers() {
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans)
      for (auto const& c : p.creates) numbers_[c.object] = with_.objects.new_pending(kind_of(p));
  for (auto& j : plan_.what.jobs)
    for (auto& p : j.plans)
      for (auto* list : {&p.updates, &p.creates, &p.deletes})
        for (auto& c : *list) {
          c.kind = &kind_of(p);
          renumber(c);
          if (c.what == action::update) updates_.emplace(c.object, c.body);
        }
}

// The tables that the plan is about, with what is needed to find its objects and to compare them.
base::result<void> check::read() {
  std::map<std::string, std::set<std::string>> needed;
  auto const add = [&](netbox::kind const& k, std::set<std::string> const& fields) {
    needed[k.name].insert(fields.begin(), fields.end());
  };
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans) {
      if (p.updates.empty() && p.creates.empty() && p.deletes.empty()) continue;
      auto const& k = kind_of(p);
      auto fields = fields_needed(k, {}, true);
      for (auto const* list : {&p.updates, &p.deletes})
        for (auto const& c : *list)
          if (!c.before.empty()) {
            auto const before = c.before.unpack();
            for (auto const& [member, value] : before.items()) fields.insert(member);
          }
      fields.erase("id");
      add(k, fields);
      for (auto const& parent : kinds_needed(with_.kinds, k))
        if (auto const* found = with_.kinds.find(parent)) add(*found, fields_needed(*found, {}, false));
      if (!p.deletes.empty())
        for (auto const* inside : kinds_inside(with_.kinds, k)) inside_.insert(inside);
    }
  std::set<std::string> perhaps;  // not in the plan, and in NetBox if it has the plugin
  for (auto const* k : inside_) {
    if (!needed.contains(k->name)) perhaps.insert(k->name);
    add(*k, fields_needed(*k, {}, true));
  }
  std::vector<netbox::kind const*> order;
  for (auto const& [name, fields] : needed) order.push_back(with_.kinds.find(name));
  std::stable_sort(order.begin(), order.end(),
                   [&](auto const* a, auto const* b) { return with_.kinds.rank(*a) < with_.kinds.rank(*b); });
  for (auto const* k : order) {
    if (auto why = with_.stopping ? with_.stopping() : std::nullopt) return *why;
    auto const all = with_.objects.wanted_fields(*k, needed[k->name]);
    world::loader loading(with_.objects, *k, all);
    auto const got =
        with_.netbox.read_all(*k, {all.begin(), all.end()}, "apply", [&](json const& raw) { loading.add(raw); });
    if (!got && perhaps.contains(k->name) && got.error().what.find("404") != std::string::npos) {
      inside_.erase(k);
      continue;
    }
    if (!got) return got;
    loading.finish();
  }
  return {};
}

// What has the key of an object that is to be created: whole, to see whether it is just that.
base::result<void> check::read_new_ones() {
  std::map<std::string, std::vector<std::uint64_t>> there;
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans)
      for (auto const& c : p.creates) {
        auto const& k = kind_of(p);
        if (c.key.empty()) continue;
        if (auto const id = with_.objects.find(k, c.key.unpack()); id && *id < first_pending)
          there[k.name].push_back(*id);
      }
  for (auto& [name, ids] : there) {
    auto const& k = *with_.kinds.find(name);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    auto const got = with_.netbox.read_ids(k, ids, {}, "apply", [&](json const& raw) {
      auto fields = netbox::normalise(k, raw, [](std::uint64_t real, std::string const&) { return real; });
      whole_[name][raw.at("id").get<object_id>()] = std::move(fields);
    });
    if (!got) return got;
  }
  return {};
}

bool check::is_made_of(netbox::kind const& k, change const& c, std::string const& leaf, json const& value) {
  auto const [from, to] = updates_.equal_range(c.object);
  return std::any_of(from, to, [&](auto const& u) {
    auto const body = realised(k, u.second);
    auto const all = leaves(body);
    return std::find(all.begin(), all.end(), leaf) != all.end() && equal(value, at(body, leaf));
  });
}

bool check::still_to_do(netbox::kind const& k, change const& c) {
  auto& t = with_.objects.of(k);
  auto* r = t.by_id(c.object);
  // Created by this plan, and there already.
  if (auto const real = r ? std::nullopt : with_.objects.real(c.object)) r = t.by_id(*real);
  if (!r && c.object >= first_pending) return false;  // what there is instead is a difference, and has been named
  if (!r || r->removed) {
    differs(k, c, "is no longer in NetBox");
    return false;
  }
  auto now = r->fields();
  auto const before = realised(k, c.before), body = realised(k, c.body);
  bool to_do = before.empty();
  for (auto const& leaf : leaves(before)) {
    auto const &is = at(now, leaf), &was = at(before, leaf);
    // By this one, or by one that comes after it; what an earlier one makes of it is what it was.
    bool const done = equal(is, at(body, leaf)) || (!equal(is, was) && is_made_of(k, c, leaf, is));
    to_do = to_do || !done;
    if (!done && !equal(is, was)) differs(k, c, changed_since_made(k, leaf, is, was));
  }
  if (!to_do) return false;
  for (auto const& leaf : leaves(body)) put(now, leaf, at(body, leaf));
  t.replace(*r, now);
  return true;
}

bool check::still_to_make(netbox::kind const& k, change const& c) {
  auto& t = with_.objects.of(k);
  auto const body = realised(k, c.body);
  // As it is created, or as a further stage of the plan makes it.
  auto const wanted = [&](json const& is, std::string const& leaf) {
    if (equal(is, at(body, leaf))) return true;
    return is_made_of(k, c, leaf, is);
  };
  auto const named = [&](row const& r) {
    auto const id = with_.objects.real(r.id);
    return id ? " (#" + std::to_string(*id) + ")" : std::string();
  };
  if (!c.key.empty()) {
    auto const key = c.key.unpack();
    if (auto const text = with_.objects.key_text(k, key))
      for (auto* r : t.all_by_key(*text)) {
        if (r->removed) continue;
        auto const whole = whole_[k.name].find(r->id);
        bool const same = whole != whole_[k.name].end() && [&] {
          auto const all = leaves(body);
          return std::all_of(all.begin(), all.end(),
                             [&](auto const& leaf) { return wanted(at(whole->second, leaf), leaf); });
        }();
        if (!same) {
          differs(k, c, "is in NetBox by now" + named(*r));
        } else if (r->id < first_pending) {
          with_.objects.created(c.object, r->id);  // whoever refers to it refers to this one
        }
        return false;
      }
  }
  for (std::size_t i = 0; i < k.adopt_by.size(); ++i) {
    auto const& members = k.adopt_by[i];
    if (std::any_of(members.begin(), members.end(), [&](auto const& m) { return at(body, m).is_null(); })) continue;
    for (auto* r : t.by_adoption(i, index_text(members, body, true)))
      if (!r->removed) {
        differs(k, c, "is in NetBox by now, by its " + base::join(members, " and ") + named(*r));
        return false;
      }
  }
  t.add(c.object, body);
  return true;
}

bool check::still_to_delete(job_report const& j, netbox::kind const& k, change const& c) {
  auto* r = with_.objects.of(k).by_id(c.object);
  if (!r || r->removed) return false;
  auto const now = r->fields();
  bool fits = true;
  // What goes with its parent may be anybody's.
  bool const was_ours = !c.before.empty() && equal(at(c.before.unpack(), k.mark), json(j.source));
  if (c.why == reason::gone && !k.mark.empty() && was_ours && !equal(at(now, k.mark), json(j.source))) {
    differs(k, c, "is no longer marked as " + j.source + "'s");
    fits = false;
  }
  if (fits && !c.before.empty()) {
    auto const before = c.before.unpack();
    for (auto const& leaf : leaves(before)) {
      if (leaf == "id" || equal(at(now, leaf), at(before, leaf))) continue;
      differs(k, c, changed_since_made(k, leaf, at(now, leaf), at(before, leaf)));
      fits = false;
    }
  }
  r->removed = true;
  return fits;
}

void check::look_at(job_report const& j, kind_plan& p) {
  auto const& k = kind_of(p);
  auto const keep = [&](std::vector<change>& list, auto const& test) {
    std::vector<change> rest;
    for (auto& c : list) {
      if (test(c))
        rest.push_back(std::move(c));
      else
        ++p.unchanged;
    }
    list = std::move(rest);
  };
  p.seen = p.updates.size() + p.creates.size() + p.deletes.size();
  p.unchanged = 0;
  keep(p.updates, [&](change const& c) { return still_to_do(k, c); });
  keep(p.creates, [&](change const& c) { return still_to_make(k, c); });
  keep(p.deletes, [&](change const& c) { return still_to_delete(j, k, c); });
  p.kind = &k;
}

base::result<std::vector<job_report>> check::go() {
  for (auto const& j : plan_.what.jobs)
    for (auto const& p : j.plans) {
      auto const* k = with_.kinds.find(p.kind->name);
      if (!k)
        return base::fail(base::error_code::guard,
                          "the plan has objects of the kind " + p.kind->name + ", which no plugin here knows",
                          "was a plugin removed? make a new plan: weir " + plan_.command + " --out FILE");
      if (as_json(*k) != as_json(*p.kind))
        return base::fail(base::error_code::guard,
                          "the kind " + p.kind->name + " is not what it was when the plan was made",
                          "make a new plan: weir " + plan_.command + " --out FILE");
    }
  if (auto ok = read(); !ok) return ok.error();
  give_numbers();
  if (auto ok = read_new_ones(); !ok) return ok.error();
  std::vector<job_report> out;
  for (auto& j : plan_.what.jobs) {
    std::erase_if(j.plans, [](auto const& p) { return p.updates.empty() && p.creates.empty() && p.deletes.empty(); });
    if (j.plans.empty()) continue;
    for (auto& p : j.plans) look_at(j, p);
    job_report r;
    r.source = j.source, r.stage = j.stage, r.title = j.title;
    for (auto& p : j.plans) {
      kind_plan left;  // what was said about the rest was said when the plan was made
      left.kind = p.kind, left.seen = p.seen, left.unchanged = p.unchanged;
      left.updates = std::move(p.updates), left.creates = std::move(p.creates), left.deletes = std::move(p.deletes);
      r.plans.push_back(std::move(left));
    }
    out.push_back(std::move(r));
  }
  for (auto const* k : inside_) {
    auto const unplanned = gone_with_parents(with_.objects, *k);
    for (auto const& c : unplanned.deletes) differs(*k, c, c.detail + ", and the plan does not know of it");
  }
  if (differences_.empty()) return out;
  for (std::size_t i = 0; i < std::min(differences_.size(), most_told); ++i)
    with_.into.notices.push_back({base::log::level::error, "", "", differences_[i], ""});
  auto text = "NetBox is not what it was when the plan was made, and nothing of the plan is done:";
  auto what = std::string(text);
  for (std::size_t i = 0; i < std::min(differences_.size(), most_listed); ++i) what += "\n  " + differences_[i];
  if (differences_.size() > most_listed)
    what += "\n  and " + std::to_string(differences_.size() - most_listed) + " more differences";
  return base::fail(base::error_code::guard, std::move(what),
                    "look at it, and make a new plan: weir " + plan_.command + " --out FILE");
}

}  // namespace

base::result<plan_circumstances> circumstances_of(config::configuration const& settings, run_options const& options) {
  plan_circumstances out;
  out.netbox_url = settings.netbox.url;
  auto const add = [&](std::string title, json const& what) {
    out.parts.emplace_back(std::move(title), sha256(dump(what)).substr(0, 16));
  };
  for (auto const& s : settings.sources) {
    if (!options.sources.empty() && !options.sources.contains(s.name)) continue;
    json scope{{"include", as_json(s.scope.include)}, {"exclude", as_json(s.scope.exclude)}};
    // Which of them is asked first, and how, is nothing to a plan.
    std::set<std::string> urls;
    for (auto const& url : s.urls) urls.insert(store::normalised_url(url));
    add("sources." + s.name, {{"type", s.type}, {"urls", urls}});
    add("sources." + s.name + ".scope", scope);
  }
  for (auto const& s : options.stages) {
    auto const chosen = options.stage_options.find(s.id);
    auto const from = options.stage_sources.find(s.id);
    add("stages." + s.id,
        {{"options", chosen == options.stage_options.end() ? json() : json::parse(chosen->second, nullptr, false)},
         {"sources", from == options.stage_sources.end() ? json() : as_set(from->second)}});
    auto const hash = sha256_of(s.file);
    if (!hash) return hash.error();
    out.plugins.emplace_back(s.id, s.version + " " + *hash);
  }
  std::map<std::string, json> rules;
  for (auto const& r : settings.rules)
    rules[r.kind] = {{"fields", r.fields},
                     {"adopt", r.adopt ? json(*r.adopt) : json()},
                     {"orphans", r.orphans ? json(*r.orphans) : json()},
                     {"grace", r.grace ? json(r.grace->count()) : json()},
                     {"max_deletes", r.max_deletes ? json(*r.max_deletes) : json()},
                     {"percent", r.max_deletes_percent ? json(*r.max_deletes_percent) : json()}};
  for (auto const& [kind, its] : rules) add("rules." + kind, its);
  add("adopt", settings.adopt);
  add("max_deletes", {settings.max_deletes, settings.max_deletes_percent});
  std::string all;
  for (auto const& [title, hash] : out.parts) all += title + " " + hash + "\n";
  out.configuration = sha256(all);
  return out;
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
  digest sum;
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

std::vector<std::string> changed_since(stored_plan const& plan, plan_circumstances const& now) {
  std::vector<std::string> out;
  auto const& then = plan.made_under;
  if (store::normalised_url(then.netbox_url) != store::normalised_url(now.netbox_url))
    out.push_back("it is for NetBox at " + then.netbox_url + ", and the configuration names " + now.netbox_url);
  std::map<std::string, std::string> const parts(now.parts.begin(), now.parts.end());
  for (auto const& [title, hash] : then.parts) {
    auto const found = parts.find(title);
    if (found == parts.end()) {
      if (!title.starts_with("stages.")) out.push_back("the configuration no longer has " + title);
    } else if (found->second != hash) {
      out.push_back("the configuration has changed: " + title);
    }
  }
  for (auto const& [title, hash] : now.parts)
    if (title.starts_with("rules.") &&
        std::none_of(then.parts.begin(), then.parts.end(), [&](auto const& p) { return p.first == title; }))
      out.push_back("the configuration has changed: " + title + " is new");
  std::map<std::string, std::string> const plugins(now.plugins.begin(), now.plugins.end());
  for (auto const& [stage, version] : then.plugins) {
    auto const found = plugins.find(stage);
    auto const words = [](std::string const& v) { return v.substr(0, v.find(' ') + 9); };
    if (found == plugins.end())
      out.push_back("the stage " + stage + " is no longer there");
    else if (found->second != version)
      out.push_back("the plugin of the stage " + stage + " was " + words(version) + ", is " + words(found->second));
  }
  return out;
}

planner from_plan(stored_plan plan) {
  auto const kept = std::make_shared<stored_plan>(std::move(plan));
  return [kept](planning const& p) -> base::result<std::vector<job_report>> {
    auto copy = *kept;
    return check(p, copy).go();
  };
}

}  // namespace weir::engine
