#include "core/plugin/conformance.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <weir/testing.hpp>

#include "core/base/text.hpp"
#include "core/netbox/kind.hpp"
#include "core/plugin/exports.hpp"
#include "core/plugin/loader.hpp"
#include "core/plugin/utf8.hpp"

namespace weir::plugin {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t message_bytes = 600;
constexpr std::uint64_t most_stops = 40;  // so many places of a run are tried for a stop
constexpr std::size_t most_rounds = 16;   // of finding out what a stage asks for
constexpr std::size_t most_single_faults = 8;
// Options that mean something to weir itself, wherever they stand.
constexpr char const* reserved_options[] = {"isolation", "limits", "sources"};

class findings {
 public:
  // What is being looked at from here on; told on stderr, for the case that it is the last thing this process does.
  void begin(std::string stage, std::string check) {
    stage_ = std::move(stage);
    check_ = std::move(check);
    std::fprintf(stderr, "%s%s%s%s\n", checking_mark, stage_.c_str(), stage_.empty() ? "" : ": ", check_.c_str());
    std::fflush(stderr);
  }
  void ok(std::string const& message) { add("ok", message, {}); }
  void failed(std::string const& message, std::string const& hint) {
    add("failed", message, hint);
    passed_ = false;
  }
  void warning(std::string const& message, std::string const& hint) { add("warning", message, hint); }
  void skipped(std::string const& message, std::string const& hint = {}) { add("skipped", message, hint); }
  bool passed() const { return passed_; }
  ordered_json take() { return std::move(checks_); }

 private:
  void add(char const* status, std::string const& message, std::string const& hint) {
    checks_.push_back({{"stage", stage_},
                       {"check", check_},
                       {"status", status},
                       {"message", base::shorten(repair_utf8(message), message_bytes)},
                       {"hint", repair_utf8(hint)}});
  }
  std::string stage_, check_;
  ordered_json checks_ = ordered_json::array();
  bool passed_ = true;
};

// ---- what the source answers

// The file of the folder that answers a target (weir/testing.hpp says how they are named); nothing if there is none.
std::optional<std::string> canned_body(fs::path const& folder, std::string const& target) {
  auto const name = target.substr(1);
  for (auto const& file : {name + ".json", name.ends_with('/') ? name + "index.json" : name, name})
    if (std::ifstream in(folder / file, std::ios::binary); in && fs::is_regular_file(folder / file))
      return std::string{std::istreambuf_iterator<char>(in), {}};
  return {};
}

struct world {
  std::map<std::string, std::string> source, netbox;  // target ► body
};

testing::host host_of(world const& w, fs::path const& answers) {
  testing::host out;
  if (!answers.empty()) out.answers_from(answers);
  for (auto const& [target, body] : w.source) out.answer(target, body);
  for (auto const& [target, body] : w.netbox) out.answer_netbox(target, body);
  return out;
}

// ---- what a stage may change of its process, which it shares with others

struct surroundings {
  std::string folder, locale;
  std::vector<void (*)(int)> handlers;
  std::size_t threads = 0, files = 0;

  static std::size_t count(char const* folder) {
    std::error_code ec;
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder, ec), fs::directory_iterator()));
  }
  static surroundings now() {
    surroundings out;
    std::error_code ec;
    out.folder = fs::current_path(ec).string();
    char const* const locale = std::setlocale(LC_ALL, nullptr);
    out.locale = locale ? locale : "";
    for (int number = 1; number < 32; ++number) {
      struct sigaction is {};
      sigaction(number, nullptr, &is);
      out.handlers.push_back(is.sa_handler);
    }
    out.threads = count("/proc/self/task");
    out.files = count("/proc/self/fd");
    return out;
  }
};

// ---- one stage

// Which rule a breach found by the strict host is about.
struct rule {
  char const* check;
  char const* good;
  char const* hint;
  std::vector<std::string_view> words;
};
std::vector<rule> const& rules() {
  static std::vector<rule> const all{
      {"threads",
       "every function was called on a thread that may call it",
       "what weir/abi.h marks [stage] belongs to the thread that called collect(); [any] ends when collect() returns",
       {"another thread", "outside of collect"}},
      {"replies",
       "every reply was given back once",
       "release() each reply exactly once, also on the way out of an error; weir::reply does it by itself",
       {"released"}},
      {"text",
       "everything handed over is UTF-8",
       "replace what is no UTF-8 before it is handed over; weir::emit does",
       {"UTF-8", "null with a length"}},
      {"being stopped",
       "a stop was passed on",
       "return WEIR_CANCELLED at once; in C++ let weir::cancelled pass",
       {"cancel", "CANCEL"}},
      {"errors",
       "every error was explained, and only errors were",
       "call fail() with the reason before an error status is returned; in C++ throw weir::error",
       {"fail()", "exception"}},
      {"objects",
       "kinds, keys and fields are as they should be",
       "list every kind in kinds_json; the key holds exactly the kind's key members (see the SDK's guide)",
       {""}},
  };
  return all;
}

struct breach {
  bool grave = true;
  std::string text;
};

class stage_check {
 public:
  stage_check(loaded_stage const& stage, findings& to, conformance_options const& with)
      : stage_(stage), to_(to), answers_(with.answers), given_answers_(!with.answers.empty()) {}

  void run(std::string const& options_json) {
    kinds();
    schema();
    if (!choose_options(options_json)) return;
    auto const before = surroundings::now();
    if (!create_and_destroy()) return;
    auto const first = collect();
    if (!first) return rules_kept();
    auto const settled = surroundings::now();
    again(*first);
    auto const after = surroundings::now();
    failing_source(*first);
    stops(*first);
    process(before, settled, after);
    rules_kept();
  }

 private:
  using outcome = testing::outcome;

  testing::host playing() const { return host_of(world_, answers_); }
  void begin(std::string check) { to_.begin(stage_.id, std::move(check)); }

  // One run under the strict host. Nothing if an exception came out of it; its breaches are kept for rules_kept().
  std::optional<outcome> drive(testing::host& host, std::string const& label, bool grave = true, bool dry = false) {
    std::optional<outcome> out;
    try {
      out = host.run(*stage_.table, options_, "weir-check", dry);
    } catch (std::exception const& e) {
      note({grave, fmt::format("an exception left the stage ({}): {}", label, e.what())});
      return {};
    } catch (...) {
      note({grave, fmt::format("an exception left the stage ({})", label)});
      return {};
    }
    for (auto const& v : out->violations)
      if (!v.starts_with("kinds_json ") && !v.starts_with("a kind in kinds_json"))
        note({grave, fmt::format("{} ({})", v, label)});
    return out;
  }
  void note(breach b) {
    // The same breach of many runs is told once, by the first of them.
    auto const what = b.text.substr(0, b.text.rfind(" ("));
    for (auto& [key, known] : breaches_)
      if (key == what) {
        known.grave = known.grave || b.grave;
        return;
      }
    breaches_.emplace_back(what, std::move(b));
  }

  void kinds() {
    begin("kinds");
    auto const hint = "as in the SDK's guide, \"Kinds and keys\"";
    auto const listed = json::parse(stage_.kinds_json, nullptr, false);
    auto const brought = netbox::parse_kinds(stage_.kinds_json);
    if (!brought) return to_.failed(brought.error().what, brought.error().hint.empty() ? hint : brought.error().hint);
    netbox::registry known;
    // One kind may refer to another that comes behind it.
    auto left = *brought;
    std::string problem;
    for (bool again = true; again && !left.empty();) {
      again = false;
      for (auto at = left.begin(); at != left.end();) {
        if (auto added = known.add(*at, "the stage"); !added) {
          problem = added.error().what;
          ++at;
        } else {
          at = left.erase(at);
          again = true;
        }
      }
    }
    if (!left.empty()) return to_.failed(problem, hint);
    std::vector<std::string> names;
    for (auto const& kind : listed) {
      auto const name = kind.is_string() ? kind.get<std::string>() : kind.at("kind").get<std::string>();
      if (!known.find(name))
        return to_.failed(fmt::format("kinds_json names {}, which is no built-in kind", name),
                          "built in: " + base::join(netbox::registry().names()) +
                              "; describe any other with kind, path and key, also one that another plugin brings");
      if (std::find(names.begin(), names.end(), name) != names.end())
        return to_.failed(fmt::format("kinds_json lists {} twice", name), "list it once");
      names.push_back(name);
    }
    if (names.empty())
      to_.warning("it emits no kind at all", "list in kinds_json what the stage emits, built-in kinds by name");
    else
      to_.ok(base::join(names));
  }

  void schema() {
    begin("options schema");
    if (stage_.options_schema.empty()) return to_.ok("it takes no options");
    auto const schema = json::parse(stage_.options_schema, nullptr, false);
    auto const properties = schema.value("properties", json::object());
    for (char const* name : reserved_options)
      if (properties.is_object() && properties.contains(name))
        return to_.failed(fmt::format("it has an option \"{}\", which means something to weir itself", name),
                          "give the option another name");
    if (schema.value("additionalProperties", json(true)) != json(false))
      return to_.warning("it takes options that it does not name: a misspelt one passes unnoticed",
                         R"(add "additionalProperties": false)");
    std::vector<std::string> names;
    for (auto const& [name, ignored] : properties.items()) names.push_back(name);
    to_.ok(names.empty() ? "it takes no options" : base::join(names));
  }

  // The options that every run gets: those given, with the schema's defaults.
  bool choose_options(std::string const& given) {
    begin("options");
    auto const none_given = json::parse(given, nullptr, false) == json::object();
    if (stage_.options_schema.empty()) {
      options_ = json::object();
      to_.ok("none");
      return true;
    }
    auto checked = check_options(stage_, given, "");
    if (!checked) {
      to_.failed(checked.error().what,
                 none_given ? "give some that it can run with: --options '{…}' or @FILE" : checked.error().hint);
      return false;
    }
    options_ = json::parse(*checked, nullptr, false);
    to_.ok(none_given ? "its defaults do" : "as given");
    return true;
  }

  // A host without any extension, outside of collect().
  bool create_and_destroy() {
    begin("create and destroy");
    struct bare {
      weir_host table{};
      std::string message;
      bool failed = false;
    } host;
    host.table = {WEIR_HEAD(weir_host),
                  &host,
                  "check",
                  [](weir_host const*, std::int32_t, weir_str) {},
                  [](weir_host const* h, weir_str message, weir_str) {
                    auto& b = *static_cast<bare*>(h->ctx);
                    b.failed = true;
                    b.message = std::string(view(message));
                  },
                  [](weir_host const*, char const*) -> void const* { return nullptr; }};
    auto const options = options_.dump();
    auto const hint = "create() takes what the schema allows, and says with fail() what it cannot take";
    try {
      // Two at a time: what is global in the plugin is shared by both.
      for (int round = 0; round < 3; ++round) {
        void* selves[2] = {nullptr, nullptr};
        for (auto& self : selves) {
          auto const status = stage_.table->create(&host.table, str(options), &self);
          if (status == WEIR_OK && !host.failed) continue;
          to_.failed(status == WEIR_OK ? "create() called fail(), but returned success: " + host.message
                                       : fmt::format("create() returned {}: {}", status,
                                                     host.failed ? host.message : "without a word (fail())"),
                     hint);
          return false;
        }
        for (auto* self : selves) stage_.table->destroy(self);
      }
    } catch (...) {
      to_.failed("an exception left create() or destroy()",
                 "no exception may leave a plugin: catch it and return a status; weir/stage.hpp does it by itself");
      return false;
    }
    to_.ok("three times, two at a time, without an extension of the host");
    return true;
  }

  std::optional<outcome> collect() {
    begin("collect");
    auto host = playing();
    auto out = drive(host, "collect");
    // Without answers of the author's every target is answered with an empty list. Which they are is found out by
    // asking.
    for (std::size_t round = 0; out && !given_answers_ && round < most_rounds; ++round) {
      bool more = false;
      for (auto const& target : out->fetched) more = world_.source.try_emplace(target, R"({"data":[]})").second || more;
      for (auto const& r : out->netbox_requests)
        more = world_.netbox.try_emplace(r.target, r.method == "GET" ? R"({"count":0,"next":null,"results":[]})" : "[]")
                   .second ||
               more;
      if (!more) break;
      breaches_.clear();
      host = playing();
      out = drive(host, "collect");
    }
    if (!out) {
      to_.failed("an exception left collect()",
                 "no exception may leave a plugin: catch it and return a status; weir/stage.hpp does it by itself");
      return {};
    }
    auto const said = fmt::format("{} requests, {} objects, {} scopes complete", out->fetched.size(),
                                  out->objects.size(), out->completes.size());
    if (out->status == WEIR_OK && !out->objects.empty()) {
      to_.ok(said);
    } else if (out->status == WEIR_OK) {
      to_.warning(said + ": nothing was emitted, so its objects could not be looked at",
                  given_answers_
                      ? "put answers into the folder that hold something"
                      : "every request was answered with {\"data\":[]}: give it real answers with --answers DIR");
    } else if (given_answers_) {
      to_.failed(
          fmt::format("it ended with status {}: {}", out->status, out->message),
          "a target /a/b?c=d is answered by the file a/b?c=d.json of the folder (weir/testing.hpp, answers_from)");
    } else {
      to_.warning(fmt::format("on empty answers it ends with status {}: {}", out->status, out->message),
                  "give it real answers with --answers DIR: a target /a/b?c=d is answered by the file a/b?c=d.json");
    }
    return out;
  }

  // What a run wants of NetBox, whatever the order in which it said so.
  static std::multiset<std::string> wanted(outcome const& out) {
    std::multiset<std::string> all;
    for (auto const& o : out.objects) all.insert(o.kind + " " + dump(o.key) + " " + dump(o.fields));
    for (auto const& c : out.completes) all.insert("complete " + c.kind + " " + dump(c.scope));
    return all;
  }

  void again(outcome const& first) {
    auto const compare = [&](testing::host host, std::string check, bool dry, char const* good,
                             std::string const& hint) {
      begin(check);
      auto const out = drive(host, check, true, dry);
      if (!out) return to_.failed("an exception left collect()", "no exception may leave a plugin");
      if (out->status != first.status)
        return to_.failed(
            fmt::format("it ended with status {} instead of {}: {}", out->status, first.status, out->message), hint);
      auto const then = wanted(first), now = wanted(*out);
      if (then == now) return to_.ok(good);
      std::vector<std::string> differ;
      std::set_symmetric_difference(then.begin(), then.end(), now.begin(), now.end(), std::back_inserter(differ));
      to_.failed(fmt::format("it emitted something else than the first time, e.g. {}", differ.front()), hint);
    };
    compare(playing(), "a second run", false, "the same objects as in the first",
            "keep state in the object that create() makes, not in globals; take nothing from the clock or from chance");
    auto backwards = playing();
    backwards.answer_backwards();
    compare(std::move(backwards), "answers in another order", false, "the same objects",
            "fetch_many answers in any order: go by the index");
    compare(playing(), "a plan", true, "the same objects as in a run that writes",
            "emit the same in a plan (dry): weir itself writes nothing then");
  }

  void failing_source(outcome const& first) {
    struct fault {
      char const* check;
      bool judged;  // a run that reads only this must not look like a good one
      std::function<void(testing::host&, std::string const& target)> set;
    };
    auto const cut = [this](std::string const& target) {
      auto const body = canned_body(answers_, target).value_or(R"({"data":[]})");
      return body.substr(0, std::max<std::size_t>(1, body.size() * 2 / 3));
    };
    std::vector<fault> const faults{
        {"source answers 500", true, [](auto& h, auto const& t) { h.refuse(t, 500, "500 Internal Server Error"); }},
        {"source does not answer", true, [](auto& h, auto const& t) { h.refuse(t, 0, "connection refused"); }},
        {"answers cut short", true, [&](auto& h, auto const& t) { h.answer(t, cut(t)); }},
        {"answers are web pages", true,
         [](auto& h, auto const& t) { h.answer(t, "<html><head><title>Login</title></head><body></body></html>"); }},
        {"empty answers", true, [](auto& h, auto const& t) { h.answer(t, ""); }},
        {"odd answers: null", false, [](auto& h, auto const& t) { h.answer(t, R"({"data":null})"); }},
        {"odd answers: numbers", false, [](auto& h, auto const& t) { h.answer(t, R"({"data":[1,[2],{"":3}]})"); }},
        {"odd answers: other objects", false,
         [](auto& h, auto const& t) { h.answer(t, R"({"data":[{}],"results":{}})"); }},
        {"odd answers: no UTF-8", false,
         [](auto& h, auto const& t) { h.answer(t, "{\"data\":[{\"name\":\"\xff\xfe\"}]}"); }},
    };
    std::set<std::string> const targets(first.fetched.begin(), first.fetched.end());
    for (auto const& f : faults) {
      begin(f.check);
      if (targets.empty()) {
        to_.skipped("it reads nothing");
        continue;
      }
      auto host = playing();
      for (auto const& t : targets) f.set(host, t);
      auto const out = drive(host, f.check, f.judged);
      if (!out)
        to_.failed("an exception left collect()", "no exception may leave a plugin");
      else
        judge(*out, f.judged, first);
    }

    begin("one answer missing");
    if (targets.size() < 2) return to_.skipped("it reads fewer than two things");
    std::size_t n = 0;
    for (auto const& t : targets) {
      if (n++ == most_single_faults) break;
      auto host = playing();
      host.refuse(t, 500, "500 Internal Server Error");
      auto const out = drive(host, fmt::format("{} answers 500", t));
      if (!out)
        return to_.failed("an exception left collect() as " + t + " was refused", "no exception may leave a plugin");
      if (out->status == WEIR_OK && out->notices.empty() && wanted(*out) != wanted(first))
        return to_.failed(
            fmt::format("without {} it emits something else, and does not say that anything was missing", t),
            "say it with notice(), and declare nothing complete that could not be read");
    }
    to_.ok("it fails, or goes on and says so");
  }

  void judge(outcome const& out, bool judged, outcome const& first) {
    if (out.status < 0) return to_.ok(out.message.empty() ? "it fails" : "it fails: " + out.message);
    if (!judged) return to_.ok(fmt::format("it goes on, {} objects", out.objects.size()));
    if (!out.completes.empty())
      return to_.failed(
          fmt::format("it declared {} {} complete, though nothing could be read", out.completes.front().kind,
                      dump(out.completes.front().scope)),
          "weir deletes what is not emitted in a scope that is complete: call complete() only when all of it was read");
    if (out.notices.empty() && (wanted(out) != wanted(first) || wanted(out).empty()))
      return to_.failed("it ended with success and did not say that anything was wrong",
                        "let the error pass (weir::source_error), or say with notice() what is missing");
    to_.ok(out.notices.empty() ? "it emits the same without it"
                               : "it goes on and says so: " + out.notices.front().message);
  }

  void stops(outcome const& first) {
    begin("being stopped at each call");
    if (first.calls == 0) return to_.skipped("it makes no call that could be stopped");
    auto const tries = std::min(first.calls, most_stops);
    for (std::uint64_t i = 0; i < tries; ++i) {
      auto const n = i * first.calls / tries;
      auto host = playing();
      host.cancel_after(n);
      auto const out = drive(host, fmt::format("stopped after {} calls", n));
      if (!out)
        return to_.failed(fmt::format("an exception left collect() when it was stopped after {} calls", n),
                          "no exception may leave a plugin");
      if (out->status != WEIR_CANCELLED)
        return to_.failed(
            fmt::format("stopped after {} calls it returned {} instead of WEIR_CANCELLED{}", n, out->status,
                        out->message.empty() ? "" : ": " + out->message),
            "return WEIR_CANCELLED at once when a call of the host does; in C++ let weir::cancelled pass, "
            "also through a catch (...)");
    }
    to_.ok(fmt::format("{} of {} places tried", tries, first.calls));
  }

  void process(surroundings const& before, surroundings const& settled, surroundings const& after) {
    begin("its process");
    auto const now = surroundings::now();
    std::vector<std::string> changed;
    if (before.folder != now.folder) changed.push_back("its working directory");
    if (before.locale != now.locale) changed.push_back("its locale");
    for (std::size_t i = 0; i < before.handlers.size(); ++i)
      if (before.handlers[i] != now.handlers[i])
        changed.push_back(fmt::format("what {} does", strsignal(static_cast<int>(i) + 1)));
    if (!changed.empty())
      return to_.failed("the stage changed of its process: " + base::join(changed),
                        "it may share the process with weir and with other stages: leave these alone");
    if (after.threads > settled.threads && settled.threads > before.threads)
      return to_.failed("threads are left when a run has ended, with each run more",
                        "join them before collect() returns");
    if (after.files > settled.files && now.files > after.files)
      return to_.failed("files or sockets are left open when a run has ended, with each run more",
                        "close them in destroy() at the latest");
    if (now.threads > before.threads)
      return to_.warning("threads are left when its runs have ended", "join them before collect() returns");
    to_.ok("it was left as it had been");
  }

  void rules_kept() {
    std::set<std::string> told;
    for (auto const& r : rules()) {
      begin(r.check);
      bool any = false;
      for (auto const& [key, b] : breaches_) {
        bool const of_this = std::any_of(r.words.begin(), r.words.end(), [&, text = std::string_view(key)](auto w) {
          return text.find(w) != text.npos;
        });
        if (!of_this || !told.insert(key).second) continue;
        any = true;
        if (b.grave)
          to_.failed(b.text, r.hint);
        else
          to_.warning(b.text, r.hint);
      }
      if (!any) to_.ok(r.good);
    }
  }

  loaded_stage const& stage_;
  findings& to_;
  fs::path answers_;
  bool given_answers_;
  world world_;
  json options_ = json::object();
  std::vector<std::pair<std::string, breach>> breaches_;
};

void check_exports(fs::path const& file, findings& to) {
  to.begin("", "exports");
  auto names = exported_symbols(file);
  if (!names) return to.skipped("its table of symbols cannot be read");
  auto const hint =
      "weir_add_stage() sees to it; otherwise link with -fvisibility=hidden and the SDK's weir_plugin.map";
  if (std::erase(*names, "weir_plugin_v1") == 0)
    return to.failed("it does not export weir_plugin_v1", "define it once: WEIR_PLUGIN() in C++, WEIR_EXPORT in C");
  if (names->empty()) return to.ok("weir_plugin_v1 and nothing else");
  auto const count = names->size();
  names->resize(std::min<std::size_t>(count, 5));
  to.failed(fmt::format("it exports {} symbol{} beside weir_plugin_v1: {}{}", count, count == 1 ? "" : "s",
                        base::join(*names), count > 5 ? ", …" : ""),
            hint);
}

}  // namespace

std::string check(fs::path const& file, conformance_options const& options) {
  findings to;
  check_exports(file, to);

  if (!options.answers.empty()) {
    to.begin("", "answers");
    try {
      auto const count = testing::host().answers_from(options.answers);
      if (count == 0)
        to.failed("there is no answer in " + options.answers.string(), "see answers_from() in weir/testing.hpp");
      else
        to.ok(fmt::format("{} in {}", count, options.answers.string()));
    } catch (std::exception const& e) {
      to.failed(e.what(), "name a folder that can be read");
      ordered_json const out{{"file", file.string()}, {"plugin", nullptr}, {"checks", to.take()}, {"passed", false}};
      return out.dump(2, ' ', false, json::error_handler_t::replace);
    }
  }

  to.begin("", "load");
  auto const loaded = load_alone(file);
  for (auto const& problem : loaded.problems)
    to.failed(problem.what, problem.hint.empty() ? "weir loads no plugin of which this is so" : problem.hint);
  ordered_json plugin = nullptr;
  if (!loaded.stages.empty()) {
    auto const& first = loaded.stages.front();
    plugin = {{"name", first.plugin_name}, {"version", first.plugin_version}, {"vendor", first.vendor}};
    std::vector<std::string> ids;
    for (auto const& s : loaded.stages) ids.push_back(s.id);
    to.ok(fmt::format("built for ABI {}.{}, this weir speaks {}.{}; {} stage{}: {}", first.table->h.abi_major,
                      first.table->h.abi_minor, WEIR_ABI_MAJOR, WEIR_ABI_MINOR, ids.size(), ids.size() == 1 ? "" : "s",
                      base::join(ids)));
    std::set<std::string> seen;
    for (auto const& id : ids)
      if (!seen.insert(id).second) to.failed("two of its stages have the id " + id, "ids are unique among all plugins");
  }
  for (auto const& stage : loaded.stages) stage_check(stage, to, options).run(options.options_json);

  bool const passed = to.passed() && !loaded.stages.empty();
  ordered_json const out{
      {"file", file.string()}, {"plugin", std::move(plugin)}, {"checks", to.take()}, {"passed", passed}};
  return out.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace weir::plugin
