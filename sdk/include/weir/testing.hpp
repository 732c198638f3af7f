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
#include <cstddef>
#include <cstdint>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
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
  std::vector<std::string> fetched;      // targets, in the order in which they were asked for
  std::vector<request> netbox_requests;  // through weir.netbox/1
  std::vector<std::string> progress;     // "3/10 note"
  std::vector<std::string> violations;   // of the contract
  std::uint64_t calls = 0;               // host calls that can be cancelled

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
  void answer_file(std::string const& target, std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path);
    answer(target, std::string{std::istreambuf_iterator<char>(in), {}});
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
  // A host without the extension weir.netbox/1.
  void without_netbox() { has_netbox_ = false; }
  // After n calls (fetch, emit, complete, each answer of fetch_many) the run is being stopped.
  void cancel_after(std::uint64_t n) { cancel_after_ = n; }
  // fetch_many answers the last target first instead of the first.
  void answer_backwards() { backwards_ = true; }

  // create, collect, destroy. May be called again: nothing is kept but the answers.
  outcome run(weir_stage const& stage, json const& options = json::object(), std::string source = "pve-a",
              bool dry = false) {
    state s{*this, std::move(source)};
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

  struct state;

  // A reply, kept after its release so that a second release is seen and not a crash.
  struct lent {
    weir_reply reply{};
    std::string body, error, target;
    state* owner = nullptr;
    std::atomic<int> released{0};
  };

  struct state {
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
    bool collecting = false;
    bool failed = false;
    weir_host host_table{};
    weir_run run_table{};
    weir_netbox_v1 netbox_table{};

    state(host& h, std::string name) : of(h), source(std::move(name)) {}

    void violation(std::string text) {
      std::lock_guard const lock(mutex);
      out.violations.push_back(std::move(text));
    }
    void on_stage_thread(char const* what) {
      if (std::this_thread::get_id() != stage_thread) violation(std::string{what} + " was called on another thread");
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
    // One call that can be cancelled.
    bool go_on(char const* what) {
      if (!collecting) violation(std::string{what} + " was called outside of collect()");
      if (stopping()) {
        told_cancelled = true;
        return false;
      }
      ++calls;
      return true;
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
                     mine.owner->violation("the reply of " + mine.target + " was released twice");
                 }};
      return &l.reply;
    }
    static canned find(std::map<std::string, canned> const& all, std::string const& target, weir_status refused) {
      auto const found = all.find(target);
      if (found != all.end()) return found->second;
      return {refused, 404, {}, "GET " + target + ": no such path (the test has no answer for it)"};
    }

    weir_status emit(weir_str kind, weir_str key_json, weir_str fields_json) {
      if (!go_on("emit")) return WEIR_CANCELLED;
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
      if (!go_on("complete")) return WEIR_CANCELLED;
      on_stage_thread("complete");
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
      if (!go_on("fetch")) return WEIR_CANCELLED;
      if (!valid_text(target, "fetch: target")) return WEIR_E_INVALID;
      std::string const t{view(target)};
      if (t.empty() || t.front() != '/') {
        violation("fetch: the target '" + t + "' does not begin with /");
        return WEIR_E_INVALID;
      }
      {
        std::lock_guard const lock(mutex);
        out.fetched.push_back(t);
      }
      canned const c = find(of.answers_, t, WEIR_E_SOURCE);
      *to = lend(c, t);
      return c.status;
    }

    weir_status fetch_many(weir_str const* targets, std::size_t count,
                           weir_status (*got)(void*, std::size_t, weir_status, weir_reply const*), void* user) {
      on_stage_thread("fetch_many");
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
        auto& s = *static_cast<state*>(h->ctx);
        s.valid_text(message, "log: message");
        std::lock_guard const lock(s.mutex);
        s.out.log.emplace_back(view(message));
      };
      host_table.fail = [](weir_host const* h, weir_str message, weir_str hint) {
        auto& s = *static_cast<state*>(h->ctx);
        s.on_stage_thread("fail");
        s.valid_text(message, "fail: message");
        s.failed = true;
        s.out.message = view(message);
        s.out.hint = view(hint);
      };
      host_table.extension = [](weir_host const* h, char const* id) -> void const* {
        auto& s = *static_cast<state*>(h->ctx);
        return s.of.has_netbox_ && std::string_view{id} == WEIR_EXT_NETBOX ? &s.netbox_table : nullptr;
      };

      run_table.h = WEIR_HEAD(weir_run);
      run_table.ctx = this;
      run_table.dry = dry ? 1 : 0;
      run_table.source = source.c_str();
      run_table.cancelled = [](weir_run const* r) -> std::int32_t {
        auto& s = *static_cast<state*>(r->ctx);
        if (!s.stopping()) return 0;
        s.told_cancelled = true;
        return 1;
      };
      run_table.progress = [](weir_run const* r, std::uint64_t done, std::uint64_t total, weir_str note) {
        auto& s = *static_cast<state*>(r->ctx);
        if (total != 0 && done > total) s.violation("progress: done is more than total");
        std::lock_guard const lock(s.mutex);
        s.out.progress.push_back(std::to_string(done) + "/" + std::to_string(total) + " " + std::string{view(note)});
      };
      run_table.emit = [](weir_run const* r, weir_str kind, weir_str key, weir_str fields) {
        return static_cast<state*>(r->ctx)->emit(kind, key, fields);
      };
      run_table.complete = [](weir_run const* r, weir_str kind, weir_str scope) {
        return static_cast<state*>(r->ctx)->complete(kind, scope);
      };
      run_table.fetch = [](weir_run const* r, weir_str target, weir_reply const** to) {
        return static_cast<state*>(r->ctx)->fetch(target, to);
      };
      run_table.fetch_many = [](weir_run const* r, weir_str const* targets, std::size_t count,
                                weir_status (*got)(void*, std::size_t, weir_status, weir_reply const*), void* user) {
        return static_cast<state*>(r->ctx)->fetch_many(targets, count, got, user);
      };
      run_table.notice = [](weir_run const* r, std::int32_t severity, weir_str message, weir_str hint) {
        auto& s = *static_cast<state*>(r->ctx);
        s.valid_text(message, "notice: message");
        s.valid_text(hint, "notice: hint");
        if (view(message).empty()) s.violation("notice: empty message");
        std::lock_guard const lock(s.mutex);
        s.out.notices.push_back({static_cast<level>(severity), std::string{view(message)}, std::string{view(hint)}});
      };

      netbox_table.h = WEIR_HEAD(weir_netbox_v1);
      netbox_table.read = [](weir_run const* r, weir_str target, weir_reply const** to) -> weir_status {
        auto& s = *static_cast<state*>(r->ctx);
        *to = nullptr;
        if (!s.go_on("netbox read")) return WEIR_CANCELLED;
        std::string const t{view(target)};
        canned const c = find(s.of.netbox_answers_, t, WEIR_E_NETBOX);
        {
          std::lock_guard const lock(s.mutex);
          s.out.netbox_requests.push_back({"GET", t, {}});
        }
        *to = s.lend(c, t);
        return c.status;
      };
      netbox_table.write = [](weir_run const* r, weir_str method, weir_str target, weir_str body,
                              weir_reply const** to) -> weir_status {
        auto& s = *static_cast<state*>(r->ctx);
        *to = nullptr;
        s.on_stage_thread("netbox write");
        if (!s.go_on("netbox write")) return WEIR_CANCELLED;
        std::string const t{view(target)};
        s.out.netbox_requests.push_back({std::string{view(method)}, t, std::string{view(body)}});
        canned const c =
            s.run_table.dry != 0 ? canned{WEIR_OK, 0, {}, {}} : find(s.of.netbox_answers_, t, WEIR_E_NETBOX);
        *to = s.lend(c, t);
        return c.status;
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
      if (out.status < 0 && !failed && out.status != WEIR_E_NOMEM) violation("an error status without fail()");
      if (out.status == WEIR_OK && failed) violation("fail() was called, but the status is success");
      if (told_cancelled && out.status != WEIR_CANCELLED) violation("the cancellation was swallowed");
      if (!told_cancelled && out.status == WEIR_CANCELLED) violation("WEIR_CANCELLED, though nobody stopped the run");
      for (auto const& l : replies) {
        if (l->released == 0) violation("the reply of " + l->target + " was never released");
      }
    }
  };

  std::map<std::string, canned> answers_, netbox_answers_;
  bool has_netbox_ = true;
  bool backwards_ = false;
  std::uint64_t cancel_after_ = UINT64_MAX;
};

}  // namespace weir::testing
