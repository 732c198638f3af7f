// Stages for the conformance check: a sound one, and one for each way of breaking the contract. CASE says which.
#include <fcntl.h>
#include <clocale>
#include <thread>
#include <weir/json.hpp>

#ifndef KINDS
#define KINDS R"(["extras.tag"])"
#endif
#ifndef SCHEMA
#define SCHEMA nullptr
#endif

namespace {

enum what {
  good,
  state_in_globals,
  ignores_cancel,
  swallows_errors,
  completes_anyway,
  leaks_reply,
  releases_twice,
  other_thread,
  undeclared_kind,
  bad_utf8,
  bad_key,
  index_ignored,
  silent_error,
  throws,
  dies,
  dies_in_create,
  reserved_option,
  open_schema,
  needs_option,
  unknown_kind,
  locale,
  leaks_files,
  plan_differs,
  refuses_create,
  late_call,
  hangs,
};
constexpr what which = CASE;

[[maybe_unused]] weir_str text(std::string_view t) { return {t.data(), t.size()}; }

[[maybe_unused]] int runs = 0;

struct [[maybe_unused]] subject {
  static constexpr weir::info about{
      .id = "subject", .version = "1.0.0", .title = "Subject", .kinds_json = KINDS, .options_schema = SCHEMA};

  explicit subject(weir::context const&) {
    if constexpr (which == dies_in_create) __builtin_trap();
    if constexpr (which == refuses_create) throw weir::error("no licence", "buy one");
  }

  void collect(weir::run& run) {
    ++runs;
    if constexpr (which == dies) __builtin_trap();
    if constexpr (which == locale) std::setlocale(LC_ALL, "C.UTF-8");
    if constexpr (which == leaks_files) (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
    if constexpr (which == hangs)
      for (bool volatile on = true; on;) std::this_thread::yield();
    weir::json things = weir::json::array();
    if constexpr (which == swallows_errors || which == completes_anyway) {
      try {
        things = weir::fetch(run, "/things");
      } catch (weir::error const&) {
      }
    } else {
      things = weir::fetch(run, "/things");
    }
    std::vector<std::string> targets;
    for (auto const& t : things) targets.push_back("/things/" + t.at("id").get<std::string>());
    std::vector<std::string> names;
    if constexpr (which == index_ignored) {
      std::size_t n = 0;
      run.fetch_many(targets, [&](std::size_t, weir::reply const&) { names.push_back(targets.at(n++) + "!"); });
      if (targets.size() > 1) names.clear();
      run.fetch_many(targets, [&](std::size_t i, weir::reply const&) {
        if (names.empty()) names.push_back(things.at(i).at("id").get<std::string>());
      });
    } else {
      names.resize(targets.size());
      run.fetch_many(targets, [&](std::size_t i, weir::reply const& r) {
        names.at(i) = weir::data(targets[i], r).at("name").get<std::string>();
      });
    }
    for (auto const& name : names) {
      weir::json key{{"slug", name}};
      if constexpr (which == state_in_globals) key["slug"] = name + std::to_string(runs);
      if constexpr (which == bad_key) key["name"] = name;
      if constexpr (which == plan_differs)
        if (run.dry()) continue;
      char const* kind = which == undeclared_kind ? "dcim.site" : "extras.tag";
      if constexpr (which == bad_utf8)
        run.emit_json(kind, weir::dump(key), "{\"name\":\"\xff\"}");
      else
        weir::emit(run, kind, key, {{"name", name}});
    }
    if constexpr (which == completes_anyway) weir::complete(run, "extras.tag", {{"color", "9e9e9e"}});
  }
};

}  // namespace

#ifndef RAW
WEIR_PLUGIN("subject", "1.2.3", "weir's tests", subject);
#else
// Below the wrapper, which does not let one do these things.
namespace {

struct raw {
  weir_host const* host;
};
weir_status create(weir_host const* host, weir_str, void** self) {
  *self = new raw{host};
  return WEIR_OK;
}
void destroy(void* self) { delete static_cast<raw*>(self); }

weir_status collect(void* self, weir_run const* run) {
  auto const* host = static_cast<raw*>(self)->host;
  (void)host;
  if constexpr (which == throws) throw 42;
  weir_reply const* reply = nullptr;
  weir_status const got = run->fetch(run, text("/things"), &reply);
  if (reply != nullptr && which != leaks_reply) reply->release(reply);
  if (reply != nullptr && which == releases_twice) reply->release(reply);
  if constexpr (which == ignores_cancel) {
    if (got == WEIR_CANCELLED) return WEIR_OK;
  }
  if (got == WEIR_CANCELLED) return got;
  if (got != WEIR_OK) {
    if constexpr (which != silent_error) host->fail(host, text("the source refused"), text(""));
    return got;
  }
  auto const emit = [&] {
    return run->emit(run, text("extras.tag"), text(R"({"slug":"a"})"), text(R"({"name":"a"})"));
  };
  weir_status done = WEIR_OK;
  if constexpr (which == other_thread) {
    std::thread([&] { done = run->complete(run, text("extras.tag"), text(R"({"slug":"a"})")); }).join();
  } else if constexpr (which == ignores_cancel) {
    (void)emit();
  } else {
    done = emit();
  }
  return done;
}

weir_stage const table{WEIR_HEAD(weir_stage), "subject", "1.0.0", "Subject", "",      "proxmox",
                       R"(["extras.tag"])",   nullptr,   &create, &collect,  &destroy};
weir_stage const* const list[] = {&table};

}  // namespace

constinit const weir_plugin weir_plugin_v1 = {WEIR_HEAD(weir_plugin), "subject", "1.2.3", "weir's tests", list, 1, 0};
#endif
