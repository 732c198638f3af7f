// weir/testing.hpp: a host in memory, for a stage's own tests. Needs no network, no NetBox, no test framework.
//
//   weir::testing::host host;
//   host.answer("/pools", R"({"data":[{"poolid":"web"}]})");
//   auto const out = host.run(weir::testing::stage_of<pools>(), {{"prefix", "p-"}});
//   EXPECT_TRUE(out.ok()) << out.text();
//   EXPECT_EQ(out.emitted("extras.tag").at(0)->fields.at("name"), "p-web");
//
// It is stricter than weir itself: every breach of the contract is written to outcome.violations (and ok() is false).
#pragma once
#include <weir/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace weir::testing {

struct object {
  std::string kind;
  json key, fields;
};
struct completed {
  std::string kind;
  json scope;
};
struct noticed {
  level severity;
  std::string message, hint;
};
struct request {
  std::string method, target, body;
};

// What one run left behind.
struct outcome {
  weir_status status = WEIR_OK;
  std::string message, hint;  // of fail()
  std::vector<object> objects;
  std::vector<completed> completes;
  std::vector<noticed> notices;
  std::vector<std::string> log;
  std::vector<std::map<std::string, std::string>> log_fields;  // log_fields[i] belongs to log[i]
  std::map<std::string, double> metrics;                       // counters' sums and gauges' last values, by name
  std::map<std::string, std::string> state;                    // what is kept: the seed, unless the run went well
  std::vector<std::string> fetched;                            // targets, in the order in which they were asked for
  std::vector<request> netbox_requests;                        // through weir.netbox/1
  std::vector<std::string> progress;                           // "3/10 note"
  std::vector<std::string> violations;                         // of the contract
  std::uint64_t calls = 0;                                     // host calls that can be cancelled

  bool ok() const { return status == WEIR_OK && violations.empty(); }

  std::vector<object const*> emitted(std::string_view kind) const {
    std::vector<object const*> out;
    for (auto const& o : objects) {
      if (o.kind == kind) out.push_back(&o);
    }
    return out;
  }
  // The object with this key; null if there is none.
  object const* find(std::string_view kind, json const& key) const {
    for (auto const& o : objects) {
      if (o.kind == kind && o.key == key) return &o;
    }
    return nullptr;
  }
  bool complete(std::string_view kind, json const& scope) const {
    return std::any_of(completes.begin(), completes.end(),
                       [&](auto const& c) { return c.kind == kind && c.scope == scope; });
  }
  // The first notice whose message or hint holds `part`; null if there is none.
  noticed const* notice(std::string_view part) const {
    for (auto const& n : notices) {
      if (n.message.find(part) != std::string::npos || n.hint.find(part) != std::string::npos) return &n;
    }
    return nullptr;
  }
  std::size_t times_fetched(std::string_view target) const {
    return static_cast<std::size_t>(std::count(fetched.begin(), fetched.end(), target));
  }
  // Everything that went wrong, for a test's message.
  std::string text() const {
    std::string out = "status " + std::to_string(status) + (message.empty() ? "" : ": " + message) + "\n";
    for (auto const& v : violations) out += "violation: " + v + "\n";
    for (auto const& n : notices) out += "notice: " + n.message + "\n";
    return out;
  }
};

// The table of a stage class that is compiled into the test.
template <class Stage>
constexpr weir_stage const& stage_of() noexcept {
  return detail::table<Stage>;
}

// The stage with this id of a plugin, e.g. the one that dlsym found. Throws std::runtime_error if it has none.
inline weir_stage const& stage_of(weir_plugin const& plugin, std::string_view id) {
  for (std::uint32_t i = 0; i < plugin.stage_count; ++i) {
    if (plugin.stages[i]->id == id) return *plugin.stages[i];
  }
  throw std::runtime_error("the plugin " + std::string{plugin.name} + " has no stage " + std::string{id});
}

// Keys and references of the kinds that weir has built in, as far as stages need them.
inline json built_in_kinds() {
  return json::parse(R"json([
    {"kind":"extras.tag","key":["slug"]}, {"kind":"extras.customfield","key":["name"]},
    {"kind":"virtualization.clustertype","key":["slug"]}, {"kind":"dcim.manufacturer","key":["slug"]},
    {"kind":"dcim.devicetype","key":["manufacturer","slug"],"refs":{"manufacturer":"dcim.manufacturer"}},
    {"kind":"dcim.devicerole","key":["slug"]}, {"kind":"dcim.site","key":["slug"]},
    {"kind":"virtualization.cluster","key":["custom_fields.proxmox_source","name"],
     "refs":{"type":"virtualization.clustertype","scope_id":"dcim.site"}},
    {"kind":"dcim.device","key":["custom_fields.proxmox_source","name"],
     "refs":{"device_type":"dcim.devicetype","role":"dcim.devicerole","site":"dcim.site","cluster":"virtualization.cluster"}},
    {"kind":"virtualization.virtualmachine","key":["custom_fields.proxmox_source","custom_fields.proxmox_vm_id"],
     "refs":{"cluster":"virtualization.cluster","device":"dcim.device","role":"dcim.devicerole"}}])json");
}

class host {
 public:
  // 200 with this body.
  void answer(std::string const& target, std::string body) { answers_[target] = {WEIR_OK, 200, std::move(body), {}}; }
  // 200 with {"data": …}, as Proxmox VE answers.
  void answer_data(std::string const& target, json const& data) { answer(target, dump({{"data", data}})); }
  // 200 with a file's content. Throws std::runtime_error if it can't be read.
  void answer_file(std::string const& target, std::string const& path) { answer(target, read(path)); }
  // A folder of answers; every file below it answers one target, which is the file's path inside the folder:
  //   nodes/pve1/qemu.json               /nodes/pve1/qemu                 200 ('.json' is left out)
  //   cluster/resources?type=vm.json     /cluster/resources?type=vm       the query is part of the name
  //   api/hosts/index.json               /api/hosts/                      a target that ends in '/'
  //   nodes/pve2/qemu.403                /nodes/pve2/qemu                 refused; the file's first line says why
  //   nodes/pve3/qemu.0                  /nodes/pve3/qemu                 no answer came
  //   report.csv                         /report.csv                      any other name as it is
  // Returns how many there were; throws std::runtime_error if the folder or a file can't be read.
  std::size_t answers_from(std::filesystem::path const& folder) { return from(folder, answers_, WEIR_E_SOURCE); }
  // The same for NetBox (below /api, without the prefix): dcim/sites/index.json answers /dcim/sites/.
  std::size_t netbox_answers_from(std::filesystem::path const& folder) {
    return from(folder, netbox_answers_, WEIR_E_NETBOX);
  }
  // The source refuses; http_status 0: no answer came. A target nobody set is refused with 404.
  void refuse(std::string const& target, unsigned http_status, std::string const& why) {
    answers_[target] = {WEIR_E_SOURCE, http_status, {}, "GET " + target + ": " + why};
  }
  void answer_netbox(std::string const& target, std::string body) {
    netbox_answers_[target] = {WEIR_OK, 200, std::move(body), {}};
  }
  void refuse_netbox(std::string const& target, unsigned http_status, std::string why) {
    netbox_answers_[target] = {WEIR_E_NETBOX, http_status, {}, std::move(why)};
  }
  // What an earlier run is to have kept under weir.state/1; all of it: host.state(out.state) goes on from a run.
  void state(std::string const& key, std::string value) { seed_[key] = std::move(value); }
  void state(std::map<std::string, std::string> all) { seed_ = std::move(all); }
  // What the run is about under weir.scope/1: {"guests": [101]}, {"include": {"nodes": ["pve1"]}}.
  void scope(json const& what) { scope_ = dump(what); }
  // A host without this extension, e.g. WEIR_EXT_STATE.
  void without(std::string const& extension) { missing_.insert(extension); }
  void without_netbox() { without(WEIR_EXT_NETBOX); }
  // The call number n (0 is the first; counted as cancel_after counts) fails: no answer comes, or WEIR_E_FAILED.
  void fail_call(std::uint64_t n) { failing_.insert(n); }
  // After n calls (fetch, emit, complete, each answer of fetch_many, NetBox, state) the run is being stopped.
  void cancel_after(std::uint64_t n) { cancel_after_ = n; }
  // fetch_many answers the last target first instead of the first.
  void answer_backwards() { backwards_ = true; }

  // create, collect, destroy. May be called again: nothing is kept but the answers.
  outcome run(weir_stage const& stage, json const& options = json::object(), std::string source = "pve-a",
              bool dry = false) {
    session s{*this, std::move(source)};
    s.learn_kinds(stage);
    s.drive(stage, dump(options), dry);
    return std::move(s.out);
  }

 private:
  struct canned {
    weir_status status;
    unsigned http_status;
    std::string body, error;
  };
  using canned_answers = std::map<std::string, canned>;

  static std::string read(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path.string());
    return std::string{std::istreambuf_iterator<char>(in), {}};
  }

  static std::size_t from(std::filesystem::path const& folder, canned_answers& into, weir_status refused) {
    std::size_t count = 0;
    try {
      for (auto const& entry : std::filesystem::recursive_directory_iterator(folder)) {
        if (!entry.is_regular_file()) continue;
        ++count;
        std::string name = "/" + entry.path().lexically_relative(folder).generic_string();
        auto const dot = name.rfind('.');
        std::string const ending = dot == name.npos ? "" : name.substr(dot + 1);
        bool const refuses =
            ending == "0" ||
            (ending.size() == 3 && ending.find_first_not_of("0123456789") == ending.npos && ending >= "300");
        if (refuses || ending == "json") name.resize(dot);
        if (name.ends_with("/index")) name.resize(name.size() - 5);
        std::string text = read(entry.path());
        if (!refuses) {
          into[name] = {WEIR_OK, 200, std::move(text), {}};
          continue;
        }
        text.resize(std::min(text.find('\n'), text.size()));
        into[name] = {refused, static_cast<unsigned>(std::stoul(ending)), {}, "GET " + name + ": " + text};
      }
    } catch (std::filesystem::filesystem_error const& e) {
      throw std::runtime_error(e.what());
    }
    return count;
  }

  struct session;

  // A reply, kept after its release so that a second release is seen and not a crash.
  struct lent {
    weir_reply reply{};
    std::string body, error, target;
    session* owner = nullptr;
    std::atomic<int> released{0};
  };

  struct session {
    host& of;
    std::string source;
    outcome out;
    std::mutex mutex{};
    std::thread::id stage_thread = std::this_thread::get_id();
    std::deque<std::unique_ptr<lent>> replies{};
    std::map<std::string, json, std::less<>> kinds{};
    std::set<std::string, std::less<>> listed{};
    std::map<std::string, json> seen{};  // kind and key ► fields
    std::atomic<std::uint64_t> calls{0};
    std::atomic<bool> told_cancelled{false};
    std::atomic<bool> collecting{false}, fetching_many{false};
    bool failed = false;
    std::map<std::string, bool> is_counter{};  // by metric
    std::map<std::string, std::string> kept{};
    weir_host host_table{};
    weir_run run_table{};
    weir_netbox_v1 netbox_table{};
    weir_log_v1 log_table{};
    weir_metrics_v1 metrics_table{};
    weir_state_v1 state_table{};
    weir_scope_v1 scope_table{};

    session(host& h, std::string name) : of(h), source(std::move(name)), kept(h.seed_) {}

    void violation(std::string text) {
      std::lock_guard const lock(mutex);
      out.violations.push_back(std::move(text));
    }
    // The call goes on: what weir answers (WEIR_E_MISUSE) the wrapper would throw on a thread where nobody catches it.
    void on_stage_thread(char const* what) {
      if (std::this_thread::get_id() != stage_thread) violation(std::string{what} + " was called on another thread");
    }
    bool inside_collect(char const* what) {
      if (collecting) return true;
      violation(std::string{what} + " was called outside of collect()");
      return false;
    }
    bool valid_text(weir_str s, char const* what) {
      if (s.ptr == nullptr && s.len != 0) {
        violation(std::string{what} + " is null with a length");
        return false;
      }
      // nlohmann's strict dump is a UTF-8 check.
      try {
        (void)json(std::string{view(s)}).dump();
        return true;
      } catch (json::exception const&) {
        violation(std::string{what} + " is no valid UTF-8");
        return false;
      }
    }

    // The kinds the stage says it uses, and the built-in ones its references point to.
    void learn_kinds(weir_stage const& stage) {
      for (auto& k : built_in_kinds()) kinds[k.at("kind").get<std::string>()] = k;
      json const brought = json::parse(stage.kinds_json, nullptr, false);
      if (!brought.is_array()) {
        violation("kinds_json is no JSON array");
        return;
      }
      for (auto const& k : brought) {
        if (k.is_string()) {
          auto const name = k.get<std::string>();
          if (!kinds.contains(name)) violation("kinds_json names " + name + ", which is no built-in kind");
          listed.insert(name);
        } else if (k.is_object() && k.contains("kind") && k.contains("path") && k.contains("key") &&
                   !k["key"].empty()) {
          auto const name = k.at("kind").get<std::string>();
          kinds[name] = k;
          listed.insert(name);
        } else {
          violation("a kind in kinds_json lacks kind, path or key: " + dump(k));
        }
      }
      if (stage.options_schema != nullptr && !json::parse(stage.options_schema, nullptr, false).is_object()) {
        violation("options_schema is no JSON object");
      }
    }

    // True if `key` has exactly the members of the kind's key, and so have the keys inside it.
    bool exact_key(std::string const& kind, json const& key, std::string const& where) {
      auto const k = kinds.find(kind);
      if (k == kinds.end()) return true;
      if (!key.is_object()) {
        violation(where + ": the key of " + kind + " is no object: " + dump(key));
        return false;
      }
      std::set<std::string> want, got;
      for (auto const& m : k->second.at("key")) want.insert(m.get<std::string>());
      for (auto const& [m, value] : key.items()) {
        got.insert(m);
        if (value.is_null()) violation(where + ": " + m + " in the key of " + kind + " is null");
      }
      if (want != got) {
        violation(where + ": the key of " + kind + " wants " + dump(json(want)) + ", has " + dump(json(got)));
        return false;
      }
      check_refs(k->second, key, where);
      return true;
    }
    void check_refs(json const& kind, json const& fields, std::string const& where) {
      json const refs = kind.value("refs", json::object());
      for (auto const& [member, target] : refs.items()) {
        if (!fields.contains(member) || fields[member].is_null()) continue;
        exact_key(target.get<std::string>(), fields[member], where + ", member " + member);
      }
    }
    void check_fields(json const& kind, json const& fields, std::string const& where) {
      check_refs(kind, fields, where);
      for (auto const& m : kind.at("key")) {
        auto const name = m.get<std::string>();
        auto const dot = name.find('.');
        bool const doubled = dot == name.npos ? fields.contains(name)
                                              : fields.contains(name.substr(0, dot)) &&
                                                    fields[name.substr(0, dot)].contains(name.substr(dot + 1));
        if (doubled) violation(where + ": " + name + " belongs into the key, not into the fields");
      }
      if (fields.contains("tags") &&
          !(fields["tags"].is_array() &&
            std::all_of(fields["tags"].begin(), fields["tags"].end(), [](json const& t) { return t.is_string(); }))) {
        violation(where + ": tags is no list of slugs");
      }
      if (fields.contains("custom_fields") && !fields["custom_fields"].is_object()) {
        violation(where + ": custom_fields is no object");
      }
      for (auto const& t : kind.value("times", json::array())) {
        auto const name = t.get<std::string>();
        if (!fields.contains(name) || fields[name].is_null()) continue;
        if (!fields[name].is_string() || !is_instant(fields[name].get_ref<std::string const&>())) {
          violation(where + ": " + name + " is no RFC 3339 instant in UTC: " + dump(fields[name]));
        }
      }
    }
    static bool is_instant(std::string_view t) {
      static constexpr std::string_view shape = "dddd-dd-ddTdd:dd:ddZ";
      if (t.size() != shape.size()) return false;
      for (std::size_t i = 0; i < t.size(); ++i) {
        if (shape[i] == 'd' ? (t[i] < '0' || t[i] > '9') : t[i] != shape[i]) return false;
      }
      return true;
    }

    bool stopping() const { return calls.load() >= of.cancel_after_; }
    // One call that can be cancelled: WEIR_OK, or what it has to return instead.
    weir_status go_on(char const* what) {
      if (!inside_collect(what)) return WEIR_E_MISUSE;
      if (stopping()) {
        told_cancelled = true;
        return WEIR_CANCELLED;
      }
      return of.failing_.contains(calls++) ? WEIR_E_FAILED : WEIR_OK;
    }
    static canned no_answer(weir_status refused, std::string const& target) {
      return {refused, 0, {}, "GET " + target + ": no answer came (the test wants it so)"};
    }
    bool good_target(weir_str target, char const* call) {
      if (!valid_text(target, (std::string{call} + ": target").c_str())) return false;
      auto const t = view(target);
      bool const good = !t.empty() && t.front() == '/' && std::all_of(t.begin(), t.end(), [](char c) {
        return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
      });
      if (!good)
        violation(std::string{call} + ": the target '" + std::string{t} +
                  "' does not begin with / or holds a blank or a control character");
      return good;
    }

    weir_reply const* lend(canned const& c, std::string target) {
      std::lock_guard const lock(mutex);
      auto& l = *replies.emplace_back(std::make_unique<lent>());
      l.body = c.body;
      l.error = c.error;
      l.target = std::move(target);
      l.owner = this;
      l.reply = {WEIR_HEAD(weir_reply), &l, c.http_status, 0, str(l.body), str(l.error), [](weir_reply const* r) {
                   auto& mine = *static_cast<lent*>(r->ctx);
                   if (mine.released++ != 0)
                     return mine.owner->violation("the reply of " + mine.target + " was released twice");
                   // Who still reads it finds no text: an emit() of it is no UTF-8.
                   std::fill(mine.body.begin(), mine.body.end(), '\xDD');
                   std::fill(mine.error.begin(), mine.error.end(), '\xDD');
                 }};
      return &l.reply;
    }
    static canned find(canned_answers const& all, std::string const& target, weir_status refused) {
      auto const found = all.find(target);
      if (found != all.end()) return found->second;
      return {refused, 404, {}, "GET " + target + ": no such path (the test has no answer for it)"};
    }

    weir_status emit(weir_str kind, weir_str key_json, weir_str fields_json) {
      if (weir_status const s = go_on("emit"); s != WEIR_OK) return s;
      std::string const name{view(kind)};
      std::string const where = "emit " + name + " " + std::string{view(key_json).substr(0, 200)};
      if (!valid_text(kind, "emit: kind") || !valid_text(key_json, (where + ": key").c_str()) ||
          !valid_text(fields_json, (where + ": fields").c_str())) {
        return WEIR_E_INVALID;
      }
      if (!listed.contains(name)) {
        violation(where + ": the kind is not in the stage's kinds_json");
        return WEIR_E_INVALID;
      }
      json key = json::parse(view(key_json), nullptr, false);
      json fields = json::parse(view(fields_json), nullptr, false);
      if (!key.is_object() || !fields.is_object()) {
        violation(where + ": key and fields must be JSON objects");
        return WEIR_E_INVALID;
      }
      if (!exact_key(name, key, where)) return WEIR_E_INVALID;
      auto const& k = kinds.at(name);
      check_fields(k, fields, where);
      if (fields.contains("$create")) {
        if (fields["$create"].is_object())
          check_fields(k, fields["$create"], where + ", $create");
        else
          violation(where + ": $create is no object");
      }
      std::lock_guard const lock(mutex);
      auto const [at, is_new] = seen.try_emplace(name + dump(key), fields);
      if (!is_new && at->second != fields) out.violations.push_back(where + ": emitted twice with different fields");
      for (auto const& c : out.completes) {
        if (c.kind == name && inside(c.scope, key, fields)) {
          out.violations.push_back(where + ": emitted after its scope was declared complete");
        }
      }
      out.objects.push_back({name, std::move(key), std::move(fields)});
      return WEIR_OK;
    }
    static bool inside(json const& scope, json const& key, json const& fields) {
      return std::all_of(scope.items().begin(), scope.items().end(), [&](auto const& m) {
        if (key.contains(m.key())) return key[m.key()] == m.value();
        auto const dot = m.key().find('.');
        if (dot == std::string::npos) return fields.contains(m.key()) && fields[m.key()] == m.value();
        auto const outer = m.key().substr(0, dot);
        auto const inner = m.key().substr(dot + 1);
        return fields.contains(outer) && fields[outer].contains(inner) && fields[outer][inner] == m.value();
      });
    }

    weir_status complete(weir_str kind, weir_str scope_json) {
      on_stage_thread("complete");
      if (weir_status const s = go_on("complete"); s != WEIR_OK) return s;
      if (!valid_text(kind, "complete: kind") || !valid_text(scope_json, "complete: scope")) return WEIR_E_INVALID;
      std::string const name{view(kind)};
      json scope = json::parse(view(scope_json), nullptr, false);
      if (!listed.contains(name) || !scope.is_object() || scope.empty()) {
        violation("complete " + name + " " + std::string{view(scope_json)} +
                  ": wants a kind of the stage's own and a scope that names at least one field");
        return WEIR_E_INVALID;
      }
      std::lock_guard const lock(mutex);
      out.completes.push_back({name, std::move(scope)});
      return WEIR_OK;
    }

    weir_status fetch(weir_str target, weir_reply const** to) {
      *to = nullptr;
      weir_status const gone_on = go_on("fetch");
      if (gone_on == WEIR_CANCELLED || gone_on == WEIR_E_MISUSE) return gone_on;
      if (!good_target(target, "fetch")) return WEIR_E_INVALID;
      std::string const t{view(target)};
      {
        std::lock_guard const lock(mutex);
        out.fetched.push_back(t);
      }
      canned const c = gone_on == WEIR_OK ? find(of.answers_, t, WEIR_E_SOURCE) : no_answer(WEIR_E_SOURCE, t);
      *to = lend(c, t);
      return c.status;
    }

    weir_status netbox(weir_run const* r, char const* call, std::string_view method, weir_str target, weir_str body,
                       weir_reply const** to) {
      *to = nullptr;
      bool const writes = method != "GET";
      if (writes) on_stage_thread(call);
      weir_status const gone_on = go_on(call);
      if (gone_on == WEIR_CANCELLED || gone_on == WEIR_E_MISUSE) return gone_on;
      if (!good_target(target, call) || !valid_text(body, call)) return WEIR_E_INVALID;
      if (writes && method != "POST" && method != "PATCH" && method != "PUT" && method != "DELETE") {
        violation(std::string{call} + ": the method is '" + std::string{method} + "'");
        return WEIR_E_INVALID;
      }
      std::string const t{view(target)};
      {
        std::lock_guard const lock(mutex);
        out.netbox_requests.push_back({std::string{method}, t, std::string{view(body)}});
      }
      canned const c = gone_on != WEIR_OK      ? no_answer(WEIR_E_NETBOX, t)
                       : writes && r->dry != 0 ? canned{WEIR_OK, 0, {}, {}}
                                               : find(of.netbox_answers_, t, WEIR_E_NETBOX);
      *to = lend(c, t);
      return c.status;
    }

    // Log fields and metrics: [a-z][a-z0-9_]*, at most 64 bytes.
    static bool good_name(std::string_view name) {
      if (name.empty() || name.size() > 64 || name.front() < 'a' || name.front() > 'z') return false;
      return std::all_of(name.begin(), name.end(),
                         [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
    }

    void log(weir_str message, weir_field const* fields, std::size_t count) {
      valid_text(message, "log: message");
      std::map<std::string, std::string> named;
      if (fields == nullptr && count != 0) return violation("log: fields is null with a count");
      if (count > 16) violation("log: " + std::to_string(count) + " fields; at most 16 are kept");
      for (std::size_t i = 0; i < count; ++i) {
        if (!valid_text(fields[i].key, "log: a field's key") || !valid_text(fields[i].value, "log: a field's value"))
          continue;
        if (!good_name(view(fields[i].key)))
          violation("log: the field '" + std::string{view(fields[i].key)} + "' is dropped: not [a-z][a-z0-9_]*");
        else if (named.size() < 16)
          named.insert_or_assign(std::string{view(fields[i].key)}, std::string{view(fields[i].value)});
      }
      std::lock_guard const lock(mutex);
      out.log.emplace_back(view(message));
      out.log_fields.push_back(std::move(named));
    }

    weir_status measure(char const* call, bool counter, weir_str name, double value) {
      if (!inside_collect(call)) return WEIR_E_MISUSE;
      if (!valid_text(name, call)) return WEIR_E_INVALID;
      std::string const n{view(name)};
      auto const wrong = [&](char const* why) {
        violation(std::string{call} + " '" + n + "': " + why);
        return weir_status{WEIR_E_INVALID};
      };
      if (!good_name(n)) return wrong("the name is not [a-z][a-z0-9_]* of at most 64 bytes");
      if (!std::isfinite(value)) return wrong("the value is no finite number");
      if (counter && !n.ends_with("_total")) return wrong("a counter's name ends in _total");
      if (counter && value < 0) return wrong("a counter's amount is not negative");
      std::unique_lock lock(mutex);
      auto const [at, is_new] = is_counter.try_emplace(n, counter);
      bool const other = !is_new && at->second != counter;
      bool const many = is_counter.size() > 200;
      if (!other && !many) {
        auto& here = out.metrics[n];
        here = counter ? here + value : value;
        return WEIR_OK;
      }
      lock.unlock();
      return wrong(other ? "one name is either a counter or a gauge" : "more than 200 names");
    }

    // Every call of weir.state/1 begins so.
    weir_status state_call(char const* call, weir_str key) {
      on_stage_thread(call);
      if (weir_status const s = go_on(call); s != WEIR_OK) return s;
      auto const k = view(key);
      if (!k.empty() && k.size() <= 128 &&
          std::all_of(k.begin(), k.end(), [](char c) { return c >= 0x20 && c <= 0x7e; }))
        return WEIR_OK;
      violation(std::string{call} + ": the key is not 1 to 128 bytes of printable ASCII");
      return WEIR_E_INVALID;
    }
    weir_status state_get(weir_str key, weir_reply const** to) {
      *to = nullptr;
      if (weir_status const s = state_call("state get", key); s != WEIR_OK) return s;
      std::optional<std::string> value;
      {
        std::lock_guard const lock(mutex);
        if (auto const found = kept.find(std::string{view(key)}); found != kept.end()) value = found->second;
      }
      if (value) *to = lend({WEIR_OK, 0, std::move(*value), {}}, "state get " + std::string{view(key)});
      return WEIR_OK;
    }
    weir_status state_put(weir_str key, weir_str value) {
      if (weir_status const s = state_call("state put", key); s != WEIR_OK) return s;
      std::string const k{view(key)};
      bool const null = value.ptr == nullptr && value.len != 0;
      std::unique_lock lock(mutex);
      bool const many = kept.size() >= 1000 && !kept.contains(k);
      if (null || many || value.len > 64 * 1024) {
        lock.unlock();
        violation("state put " + k +
                  (null   ? ": null with a length"
                   : many ? ": more than 1000 keys"
                          : ": the value is longer than 64 KiB"));
        return WEIR_E_INVALID;
      }
      kept[k] = view(value);
      return WEIR_OK;
    }
    weir_status state_erase(weir_str key) {
      if (weir_status const s = state_call("state erase", key); s != WEIR_OK) return s;
      std::lock_guard const lock(mutex);
      kept.erase(std::string{view(key)});
      return WEIR_OK;
    }

    weir_status scope_get(weir_str* to) {
      *to = {nullptr, 0};
      if (!inside_collect("scope get")) return WEIR_E_MISUSE;
      *to = str(of.scope_);
      return WEIR_OK;
    }

    weir_status fetch_many(weir_str const* targets, std::size_t count,
                           weir_status (*got)(void*, std::size_t, weir_status, weir_reply const*), void* user) {
      on_stage_thread("fetch_many");
      if (!inside_collect("fetch_many")) return WEIR_E_MISUSE;
      if (fetching_many.exchange(true)) {
        violation("fetch_many was called by its own callback");
        return WEIR_E_MISUSE;
      }
      struct at_end {
        std::atomic<bool>& fetching;
        ~at_end() { fetching = false; }
      } const guard{fetching_many};
      std::vector<std::string> copies;  // as weir does it: the caller's text need not outlive the call's start
      for (std::size_t i = 0; i < count; ++i) copies.emplace_back(view(targets[i]));
      for (std::size_t n = 0; n < count; ++n) {
        std::size_t const i = of.backwards_ ? count - 1 - n : n;
        weir_reply const* r = nullptr;
        weir_status const s = fetch(str(copies[i]), &r);
        if (r == nullptr) return s;
        if (weir_status const stop = got(user, i, s, r); stop != WEIR_OK) return stop;
      }
      return WEIR_OK;
    }

    void fill_tables(bool dry) {
      host_table.h = WEIR_HEAD(weir_host);
      host_table.ctx = this;
      host_table.version = "testing";
      host_table.log = [](weir_host const* h, std::int32_t, weir_str message) {
        static_cast<session*>(h->ctx)->log(message, nullptr, 0);
      };
      host_table.fail = [](weir_host const* h, weir_str message, weir_str hint) {
        auto& s = *static_cast<session*>(h->ctx);
        s.on_stage_thread("fail");
        s.valid_text(message, "fail: message");
        s.valid_text(hint, "fail: hint");
        s.failed = true;
        s.out.message = view(message);
        s.out.hint = view(hint);
      };
      host_table.extension = [](weir_host const* h, char const* id) -> void const* {
        auto& s = *static_cast<session*>(h->ctx);
        std::string const name{id};
        if (s.of.missing_.contains(name)) return nullptr;
        if (name == WEIR_EXT_NETBOX) return &s.netbox_table;
        if (name == WEIR_EXT_LOG) return &s.log_table;
        if (name == WEIR_EXT_METRICS) return &s.metrics_table;
        if (name == WEIR_EXT_STATE) return &s.state_table;
        if (name == WEIR_EXT_SCOPE) return &s.scope_table;
        return nullptr;
      };

      run_table.h = WEIR_HEAD(weir_run);
      run_table.ctx = this;
      run_table.dry = dry ? 1 : 0;
      run_table.source = source.c_str();
      run_table.cancelled = [](weir_run const* r) -> std::int32_t {
        auto& s = *static_cast<session*>(r->ctx);
        if (!s.stopping()) return 0;
        s.told_cancelled = true;
        return 1;
      };
      run_table.progress = [](weir_run const* r, std::uint64_t done, std::uint64_t total, weir_str note) {
        auto& s = *static_cast<session*>(r->ctx);
        if (!s.inside_collect("progress")) return;
        s.valid_text(note, "progress: note");
        if (total != 0 && done > total) s.violation("progress: done is more than total");
        std::lock_guard const lock(s.mutex);
        s.out.progress.push_back(std::to_string(done) + "/" + std::to_string(total) + " " + std::string{view(note)});
      };
      run_table.emit = [](weir_run const* r, weir_str kind, weir_str key, weir_str fields) {
        return static_cast<session*>(r->ctx)->emit(kind, key, fields);
      };
      run_table.complete = [](weir_run const* r, weir_str kind, weir_str scope) {
        return static_cast<session*>(r->ctx)->complete(kind, scope);
      };
      run_table.fetch = [](weir_run const* r, weir_str target, weir_reply const** to) {
        return static_cast<session*>(r->ctx)->fetch(target, to);
      };
      run_table.fetch_many = [](weir_run const* r, weir_str const* targets, std::size_t count,
                                weir_status (*got)(void*, std::size_t, weir_status, weir_reply const*), void* user) {
        return static_cast<session*>(r->ctx)->fetch_many(targets, count, got, user);
      };
      run_table.notice = [](weir_run const* r, std::int32_t severity, weir_str message, weir_str hint) {
        auto& s = *static_cast<session*>(r->ctx);
        if (!s.inside_collect("notice")) return;
        s.valid_text(message, "notice: message");
        s.valid_text(hint, "notice: hint");
        if (view(message).empty()) s.violation("notice: empty message");
        std::lock_guard const lock(s.mutex);
        s.out.notices.push_back({static_cast<level>(severity), std::string{view(message)}, std::string{view(hint)}});
      };

      netbox_table.h = WEIR_HEAD(weir_netbox_v1);
      netbox_table.read = [](weir_run const* r, weir_str target, weir_reply const** to) {
        return static_cast<session*>(r->ctx)->netbox(r, "netbox read", "GET", target, {nullptr, 0}, to);
      };
      netbox_table.write = [](weir_run const* r, weir_str method, weir_str target, weir_str body,
                              weir_reply const** to) {
        return static_cast<session*>(r->ctx)->netbox(r, "netbox write", view(method), target, body, to);
      };

      log_table.h = WEIR_HEAD(weir_log_v1);
      log_table.enabled = [](weir_host const*, std::int32_t) -> std::int32_t { return 1; };
      log_table.write = [](weir_host const* h, std::int32_t, weir_str message, weir_field const* fields,
                           std::size_t count) { static_cast<session*>(h->ctx)->log(message, fields, count); };
      metrics_table.h = WEIR_HEAD(weir_metrics_v1);
      metrics_table.add = [](weir_run const* r, weir_str name, double amount) {
        return static_cast<session*>(r->ctx)->measure("metrics add", true, name, amount);
      };
      metrics_table.set = [](weir_run const* r, weir_str name, double value) {
        return static_cast<session*>(r->ctx)->measure("metrics set", false, name, value);
      };
      scope_table.h = WEIR_HEAD(weir_scope_v1);
      scope_table.get = [](weir_run const* r, weir_str* to) {
        return static_cast<session*>(r->ctx)->scope_get(to);
      };
      state_table.h = WEIR_HEAD(weir_state_v1);
      state_table.get = [](weir_run const* r, weir_str key, weir_reply const** to) {
        return static_cast<session*>(r->ctx)->state_get(key, to);
      };
      state_table.put = [](weir_run const* r, weir_str key, weir_str value) {
        return static_cast<session*>(r->ctx)->state_put(key, value);
      };
      state_table.erase = [](weir_run const* r, weir_str key) {
        return static_cast<session*>(r->ctx)->state_erase(key);
      };
    }

    void drive(weir_stage const& stage, std::string const& options, bool dry) {
      fill_tables(dry);
      void* self = nullptr;
      out.status = stage.create(&host_table, str(options), &self);
      if (out.status == WEIR_OK) {
        collecting = true;
        out.status = stage.collect(self, &run_table);
        collecting = false;
        stage.destroy(self);
      }
      out.calls = calls.load();
      out.state = out.status == WEIR_OK && !dry ? kept : of.seed_;
      if (out.status < 0 && !failed && out.status != WEIR_E_NOMEM) violation("an error status without fail()");
      if (out.status == WEIR_OK && failed) violation("fail() was called, but the status is success");
      if (told_cancelled && out.status != WEIR_CANCELLED) violation("the cancellation was swallowed");
      if (!told_cancelled && out.status == WEIR_CANCELLED) violation("WEIR_CANCELLED, though nobody stopped the run");
      for (auto const& l : replies) {
        if (l->released == 0) violation("the reply of " + l->target + " was never released");
      }
    }
  };

  canned_answers answers_, netbox_answers_;
  std::map<std::string, std::string> seed_;
  std::string scope_ = "{}";
  std::set<std::string> missing_;
  std::set<std::uint64_t> failing_;
  bool backwards_ = false;
  std::uint64_t cancel_after_ = UINT64_MAX;
};

}  // namespace weir::testing
