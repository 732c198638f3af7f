#include "core/cli/run_once.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/log.hpp"
#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/report.hpp"
#include "core/engine/asked.hpp"
#include "core/engine/plan_check.hpp"
#include "core/engine/undo.hpp"
#include "core/store/files.hpp"
#include "core/store/journal.hpp"
#include "core/store/lock.hpp"

namespace weir::cli {
namespace {

// The journal and the lock of a run that writes.
struct state {
  std::unique_ptr<store::journal> journal;
  std::optional<store::run_lock> lock;
};

base::result<void> open_state(setup& ready, state& out) {
  auto const& dir = ready.settings.state_dir;
  auto journal = store::journal::open(dir / "journal.db");
  if (!journal) return journal.error();
  store::lock_holder me;
  me.run = ready.options.run_id;
  me.command = ready.options.command;
  me.host = store::host_name();
  me.pid = getpid();
  me.since = std::chrono::system_clock::now();
  auto lock = store::run_lock::take(dir, ready.settings.netbox.url, me);
  if (!lock) return lock.error();
  if (auto const& dead = lock->taken_over_from())
    base::log::warning(
        fmt::format("run {} (pid {}) ended without giving back its lock; taken over", dead->run, dead->pid));
  out.lock.emplace(std::move(*lock));
  out.journal = std::move(*journal);
  ready.options.journal = out.journal.get();
  return {};
}

run_outcome failed(base::error e, int exit_code) {
  run_outcome out;
  out.exit_code = exit_code;
  out.error = std::move(e);
  return out;
}
run_outcome failed(base::error e) {
  auto const code = exit_code::of(e.code);
  return failed(std::move(e), code);
}
run_outcome nothing(std::string why) {
  run_outcome out;
  out.nothing = std::move(why);
  return out;
}

// The run's whole id; error (usage): there is none, several, or it is another NetBox's.
base::result<std::string> run_of(std::string const& wanted, setup const& ready, store::journal const& journal) {
  auto found = journal.find_run(wanted);
  if (!found) {
    auto e = found.error();
    e.code = base::error_code::usage;
    return e;
  }
  auto const& url = ready.settings.netbox.url;
  if (store::normalised_url(found->netbox_url) != store::normalised_url(url))
    return base::fail(base::error_code::usage,
                      "run " + found->id + " wrote to " + found->netbox_url + ", and the configuration names " + url);
  return found->id;
}

// This run is asked for what that one was asked for.
void take_up(store::run_record const& run, engine::run_options& options) {
  auto const what = engine::asked_in(run.summary_json);
  options.resumes = run.id;
  options.guests = what.guests;
  options.allow_deletes = what.allow_deletes;
}

// Which run to finish; or the outcome, if there is nothing to do.
std::optional<run_outcome> choose_run(std::string const& wanted, setup& ready, store::journal& journal) {
  auto const& url = ready.settings.netbox.url;
  auto unfinished = journal.unfinished(url);
  if (!unfinished) return failed(unfinished.error());
  std::erase_if(*unfinished, [&](auto const& r) { return r.id == ready.options.run_id; });
  // What these left is less than a sync of their stages would do.
  auto const resumable = [](store::run_record const& r) { return r.command == "sync" || r.command == "resume"; };
  if (wanted.empty()) {
    std::erase_if(*unfinished, [&](auto const& r) { return !resumable(r); });
    if (unfinished->empty()) return nothing("no run is unfinished");
    take_up(unfinished->front(), ready.options);
    return {};
  }
  auto const id = run_of(wanted, ready, journal);
  if (!id) return failed(id.error());
  auto found = journal.find_run(*id);
  if (!found) return failed(found.error());
  if (std::none_of(unfinished->begin(), unfinished->end(), [&](auto const& r) { return r.id == found->id; }))
    return nothing("run " + found->id + " is " + std::string(store::name(found->state)));
  if (!resumable(*found))
    return failed(base::fail(
        base::error_code::usage,
        "run " + found->id + " was no sync, but weir " + found->command + ": resuming would do more than it was to do",
        found->command == "apply" ? "weir apply with the same plan does what is left of it"
                                  : "weir " + found->command + " again does what is left"));
  take_up(*found, ready.options);
  return {};
}

// What has changed since the plan was made, in a way that matters; nothing: nothing.
std::optional<base::error> no_longer_fits(engine::stored_plan const& plan, setup const& ready) {
  auto const now = engine::circumstances_of(ready.settings, ready.options);
  if (!now) return now.error();
  auto const changed = engine::changed_since(plan.made_under, *now);
  if (changed.empty()) return {};
  return base::fail(
      base::error_code::guard,
      "the plan was made under other circumstances, and nothing of it is done:\n  " + base::join(changed, "\n  "),
      "make a new one: weir " + plan.command + " --out FILE");
}

}  // namespace

std::string_view name(run_request::command c) {
  using command = run_request::command;
  switch (c) {
    case command::sync:
      return "sync";
    case command::plan:
      return "plan";
    case command::resume:
      return "resume";
    case command::apply:
      return "apply";
    case command::adopt:
      return "adopt";
    case command::undo:
      return "undo";
  }
  return "";
}

run_outcome run_once(run_request const& request, setup& ready, engine::observer& watching,
                     std::atomic<bool> const& stop) {
  base::log::run_scope const of_run(ready.options.run_id);
  state kept;
  using command = run_request::command;
  ready.options.command = name(request.what);
  ready.options.dry = request.only_plans();
  ready.options.adopt_only = request.what == command::adopt;
  if (request.what == command::apply) {
    if (auto refused = no_longer_fits(*request.plan, ready)) return failed(std::move(*refused));
    ready.options.plans = engine::from_plan(*request.plan);
    ready.options.undoes = request.plan->what.undoes;
  }
  if (ready.options.dry) {
    // What stages noted in earlier runs, and what weir wrote; a plan needs no state directory.
    store::journal_options reading;
    reading.read_only = true;
    if (auto earlier = store::journal::open(ready.settings.state_dir / "journal.db", reading)) {
      kept.journal = std::move(*earlier);
      ready.options.state_from = kept.journal.get();
    } else if (request.what == command::undo) {
      return failed(earlier.error());
    }
  } else if (auto ok = open_state(ready, kept); !ok) {
    return failed(ok.error());
  }
  if (request.what == command::resume)
    if (auto ended = choose_run(request.resumes, ready, *kept.journal)) return std::move(*ended);
  if (request.what == command::undo) {
    auto const run = run_of(request.undoes, ready, *kept.journal);
    if (!run) return failed(run.error());
    ready.options.plans = engine::inverse_of(*kept.journal, *run);
    ready.options.undoes = *run;
  }
  ready.options.max_duration = request.max_duration;
  run_outcome out;
  out.report = engine::run(ready.settings, ready.options, watching, stop);
  out.exit_code = exit_code_of(*out.report);
  if (ready.options.journal && !out.report->netbox_version.empty())
    if (auto ok = engine::record_end(*kept.journal, *out.report, out.exit_code, summary_json(*out.report)); !ok) {
      out.error = ok.error();
      if (out.exit_code == exit_code::done) out.exit_code = exit_code::failed;
    }
  watching.ended(*out.report, out.exit_code);
  ready.options.journal = nullptr;  // it goes with this call
  ready.options.state_from = nullptr;
  ready.options.plans = nullptr;  // it may hold on to the journal
  return out;
}

}  // namespace weir::cli
