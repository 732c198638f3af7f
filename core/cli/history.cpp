#include "core/cli/history.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/setup.hpp"
#include "core/cli/version.hpp"
#include "core/config/config.hpp"
#include "core/store/files.hpp"
#include "core/store/journal.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using store::instant;

constexpr std::size_t listed = 20;  // failed objects or open batches, in the text

// --- what the journal says, and what it cannot know

// When the process began, from /proc; nothing where that is not to be had.
std::optional<instant> began(std::int64_t pid) {
  std::ifstream about("/proc/" + std::to_string(pid) + "/stat"), system("/proc/stat");
  std::string line;
  std::getline(about, line);
  auto const after_name = line.rfind(')');  // the name may hold anything
  if (after_name == std::string::npos) return {};
  std::istringstream fields(line.substr(after_name + 1));
  std::string field;
  for (int i = 3; i <= 21; ++i) fields >> field;
  long long ticks = -1, boot = -1;
  fields >> ticks;
  while (std::getline(system, line))
    if (line.starts_with("btime ")) boot = std::strtoll(line.c_str() + 6, nullptr, 10);
  auto const per_second = ::sysconf(_SC_CLK_TCK);
  if (ticks < 0 || boot < 0 || per_second <= 0) return {};
  return instant(std::chrono::seconds(boot) + std::chrono::milliseconds(ticks * 1000 / per_second));
}

// A run that is recorded as running and whose process is gone has not ended: it was interrupted. A process that is
// younger than the run only has its number (a container's first process, a machine that was started again).
bool process_is_gone(store::run_record const& r) {
  if (r.host != store::host_name()) return false;
  if (r.pid <= 0 || (::kill(static_cast<pid_t>(r.pid), 0) != 0 && errno == ESRCH)) return true;
  auto const since = began(r.pid);
  return since && *since > r.started + std::chrono::seconds(5);
}

store::run_state state_of(store::run_record const& r) {
  return r.state == store::run_state::running && process_is_gone(r) ? store::run_state::interrupted : r.state;
}

// Stopped before its end: what is left can be done.
bool is_unfinished(store::run_state s) { return s == store::run_state::stopped || s == store::run_state::interrupted; }

// Others than these carried out a plan of their own: a sync of their stages would do more than that.
bool can_be_resumed(store::run_record const& r) {
  return is_unfinished(state_of(r)) && (r.command == "sync" || r.command == "resume");
}

struct totals {
  std::uint64_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
};

totals sum(std::vector<store::stage_record> const& stages) {
  totals t;
  for (auto const& s : stages) {
    t.created += s.created;
    t.updated += s.updated;
    t.deleted += s.deleted;
    t.failed += s.failed;
    t.deferred += s.deferred;
  }
  return t;
}

// A run's end; of a running one: now; of one whose process is gone nobody knows it.
std::optional<std::chrono::milliseconds> took(store::run_record const& r) {
  if (!r.ended && state_of(r) != store::run_state::running) return {};
  auto const end = r.ended ? *r.ended : std::chrono::system_clock::now();
  return std::max(std::chrono::milliseconds(0), std::chrono::floor<std::chrono::milliseconds>(end - r.started));
}

// --- for programs

ordered_json to_json(totals const& t) {
  return {{"created", t.created},
          {"updated", t.updated},
          {"deleted", t.deleted},
          {"failed", t.failed},
          {"deferred", t.deferred}};
}

// Milliseconds are kept, so that is what is shown.
ordered_json to_json(std::optional<instant> const& t) {
  if (!t) return nullptr;
  return base::format_instant(std::chrono::floor<std::chrono::milliseconds>(*t));
}

ordered_json text_or_null(std::string const& s) { return s.empty() ? ordered_json(nullptr) : ordered_json(s); }

ordered_json parsed_or_null(std::string const& json) {
  auto value = ordered_json::parse(json, nullptr, false);
  return value.is_discarded() ? ordered_json(nullptr) : value;
}

ordered_json to_json(store::run_record const& r, totals const& t) {
  ordered_json out{{"run", r.id},
                   {"netbox_url", r.netbox_url},
                   {"command", r.command},
                   {"profile", r.profile},
                   {"config_file", r.config_file},
                   {"resumes", text_or_null(r.resumes)},
                   {"undoes", text_or_null(r.undoes)},
                   {"host", r.host},
                   {"pid", r.pid},
                   {"started", to_json(std::optional(r.started))},
                   {"ended", to_json(r.ended)},
                   {"seconds", nullptr},
                   {"state", store::name(state_of(r))},
                   {"can_be_resumed", can_be_resumed(r)},
                   {"exit_code", nullptr},
                   {"reason", text_or_null(r.reason)},
                   {"totals", to_json(t)},
                   {"summary", parsed_or_null(r.summary_json)}};
  if (auto const d = took(r)) out["seconds"] = static_cast<double>(d->count()) / 1000;
  if (r.exit_code) out["exit_code"] = *r.exit_code;
  return out;
}

ordered_json to_json(store::batch_record const& b) {
  return {{"number", b.number},
          {"source", b.source},
          {"stage", b.stage},
          {"kind", b.kind},
          {"verb", b.verb},
          {"marker", b.marker},
          {"objects", b.objects},
          {"state", store::name(b.state)},
          {"attempts", b.attempts},
          {"created", to_json(std::optional(b.created))},
          {"sent", to_json(b.sent)},
          {"ended", to_json(b.ended)},
          {"reason", text_or_null(b.reason)}};
}

void print(ordered_json const& document) {
  std::cout << document.dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
}

// --- for people

std::string day_and_time(instant t) {
  auto text = base::format_instant(std::chrono::floor<std::chrono::seconds>(t));  // 2026-11-22T12:00:00Z
  text[10] = ' ';
  text.pop_back();
  return text;
}

std::string how_long(std::optional<std::chrono::milliseconds> const& d) {
  if (!d) return "-";
  auto const s = d->count() / 1000;
  if (s < 60) return fmt::format("{:.1f} s", static_cast<double>(d->count()) / 1000);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s / 60 % 60);
}

std::string count_of(std::uint64_t n, std::string const& what, std::string const& plural = "s") {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : plural);
}

std::string line_of(std::string_view text) { return base::shorten(text, 500); }

// Characters, not bytes: names may be of any language.
std::size_t width_of(std::string const& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// Columns as wide as their widest cell; those named in `right` end at the right.
std::string aligned(std::vector<std::vector<std::string>> const& rows, std::set<std::size_t> const& right) {
  std::vector<std::size_t> widths;
  for (auto const& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  std::string out;
  for (auto const& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string const space(widths[i] - width_of(row[i]), ' ');
      line += (i ? "  " : "") + (right.contains(i) ? space + row[i] : row[i] + space);
    }
    out += line.erase(line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

// JSON as people read it: {"GET":12,"POST":3} is "GET 12, POST 3".
std::string in_words(ordered_json const& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  std::vector<std::string> parts;
  for (auto const& [key, of] : value.items()) parts.push_back(key + " " + in_words(of));
  return base::join(parts);
}

// --- what a run did to NetBox's objects

struct touched {
  store::batch_record const* batch = nullptr;
  store::object_record object;
};

// Where people see it. The pages have the paths of the API's lists.
std::string link_of(store::run_record const& r, touched const& t) {
  if (t.object.netbox_id == 0 || t.object.action == "delete") return "";
  return store::normalised_url(r.netbox_url) + "/" + t.batch->path + "/" + std::to_string(t.object.netbox_id) + "/";
}

// Every write bears the run's id in its changelog message.
std::string changelog_of(store::run_record const& r) {
  return store::normalised_url(r.netbox_url) + "/core/changelog/?q=" + base::url_encode("weir run " + r.id);
}

base::result<std::vector<touched>> done_objects(store::journal const& journal, std::string const& run,
                                                std::vector<store::batch_record> const& batches) {
  std::vector<touched> out;
  for (auto const& b : batches) {
    auto objects = journal.objects(run, b.number);
    if (!objects) return objects.error();
    for (auto& o : *objects)
      if (o.state == store::batch_state::done) out.push_back({&b, std::move(o)});
  }
  return out;
}

struct field_now {
  std::string name;
  ordered_json before, after;
};

// An update's fields, custom fields one by one.
std::vector<field_now> fields_of(store::object_record const& o) {
  std::vector<field_now> out;
  if (o.action != "update") return out;
  auto const before = parsed_or_null(o.before), after = parsed_or_null(o.after);
  if (!after.is_object()) return out;
  auto const at = [](ordered_json const& object, std::string const& name) {
    auto const found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() ? *found : ordered_json(nullptr);
  };
  for (auto const& [name, value] : after.items()) {
    if (name != "custom_fields" || !value.is_object()) {
      out.push_back({name, at(before, name), value});
      continue;
    }
    for (auto const& [field, sent] : value.items())
      out.push_back({name + "." + field, at(at(before, name), field), sent});
  }
  return out;
}

std::string value_of(ordered_json const& v) {
  if (v.is_null()) return "none";
  return base::shorten(
      v.is_string() ? v.get<std::string>() : v.dump(-1, ' ', false, ordered_json::error_handler_t::replace), 40);
}

std::string changes_of(store::object_record const& o) {
  std::vector<std::string> parts;
  for (auto const& f : fields_of(o)) parts.push_back(f.name + " " + value_of(f.before) + " → " + value_of(f.after));
  return base::shorten(base::join(parts, " · "), 120);
}

// --- the two forms

int complained(base::error const& e) {
  complain(e);
  return exit_code::of(e.code);
}

int list(store::journal const& journal, arguments const& args) {
  auto runs = journal.runs(std::size_t{args.history_limit} + 1);  // one more tells whether there are more
  if (!runs) return complained(runs.error());
  bool const more = runs->size() > args.history_limit;
  if (more) runs->pop_back();
  std::vector<totals> sums;
  std::set<std::string> urls;
  for (auto const& r : *runs) {
    auto const stages = journal.stages(r.id);
    if (!stages) return complained(stages.error());
    sums.push_back(sum(*stages));
    urls.insert(r.netbox_url);
  }
  if (args.output == "json") {
    ordered_json out{
        {"weir", version}, {"journal", journal.file().string()}, {"more", more}, {"runs", ordered_json::array()}};
    for (std::size_t i = 0; i < runs->size(); ++i) out["runs"].push_back(to_json((*runs)[i], sums[i]));
    print(out);
    return exit_code::done;
  }
  if (runs->empty()) {
    std::cout << "no runs yet\n";
    return exit_code::done;
  }
  std::vector<std::vector<std::string>> rows{{"run", "started (UTC)", "took", "command", "profile", "state", "exit",
                                              "created", "updated", "deleted", "failed", "deferred"}};
  if (urls.size() > 1) rows[0].push_back("NetBox");
  std::string unfinished;
  for (std::size_t i = 0; i < runs->size(); ++i) {
    auto const& r = (*runs)[i];
    auto const& t = sums[i];
    auto const state = state_of(r);
    auto const command = r.command + (r.undoes.empty() ? "" : " (undoes " + line_of(r.undoes) + ")");
    rows.push_back({r.id, day_and_time(r.started), how_long(took(r)), command, line_of(r.profile),
                    std::string(store::name(state)), r.exit_code ? std::to_string(*r.exit_code) : "-",
                    std::to_string(t.created), std::to_string(t.updated), std::to_string(t.deleted),
                    std::to_string(t.failed), std::to_string(t.deferred)});
    if (urls.size() > 1) rows.back().push_back(line_of(r.netbox_url));
    if (can_be_resumed(r) && unfinished.empty()) unfinished = r.id;
  }
  std::cout << aligned(rows, {2, 6, 7, 8, 9, 10, 11});
  if (more) std::cout << "Older ones are there: --limit " << std::uint64_t{args.history_limit} * 5 << "\n";
  if (!unfinished.empty()) std::cout << "To finish run " << unfinished << ":  weir resume " << unfinished << "\n";
  return exit_code::done;
}

struct of_state {
  std::uint64_t batches = 0, objects = 0;
};

bool is_open(store::batch_state s) { return s != store::batch_state::done && s != store::batch_state::failed; }

std::string next_step(store::run_record const& r, std::optional<std::string> const& resumed_by) {
  switch (state_of(r)) {
    case store::run_state::running:
      return "It is at work: pid " + std::to_string(r.pid) + " on " + r.host + ".";
    case store::run_state::stopped:
    case store::run_state::interrupted:
      return can_be_resumed(r) ? "To finish it:  weir resume " + r.id
                               : "What it left is done by the same command again:  weir " + r.command;
    case store::run_state::resumed:
      return resumed_by ? "What it left was finished by run " + *resumed_by + "."
                        : "What it left was finished by a later run.";
    case store::run_state::partly:
      return "Mend what failed, then:  weir sync";
    case store::run_state::failed:
      return "Once its reason is gone:  weir sync";
    case store::run_state::done:
      break;
  }
  return "";
}

int show(store::journal const& journal, arguments const& args) {
  auto const found = journal.find_run(args.history_run);
  if (!found) return complained(found.error());
  auto const& r = *found;
  auto const stages = journal.stages(r.id);
  if (!stages) return complained(stages.error());
  auto const batches = journal.batches(r.id);
  if (!batches) return complained(batches.error());
  auto const failed = journal.failed_objects(r.id);
  if (!failed) return complained(failed.error());
  auto const later = journal.runs(SIZE_MAX, r.netbox_url);
  if (!later) return complained(later.error());
  std::optional<std::string> resumed_by;  // the last that did
  for (auto it = later->rbegin(); it != later->rend(); ++it)
    if (it->resumes == r.id) resumed_by = it->id;

  std::map<store::batch_state, of_state> by_state;
  std::map<std::uint64_t, store::batch_record const*> by_number;
  std::vector<store::batch_record const*> open;
  for (auto const& b : *batches) {
    auto& of = by_state[b.state];
    ++of.batches;
    of.objects += b.objects;
    by_number[b.number] = &b;
    if (is_open(b.state)) open.push_back(&b);
  }
  auto const next = next_step(r, resumed_by);
  auto const done = done_objects(journal, r.id, *batches);
  if (!done) return complained(done.error());

  if (args.output == "json") {
    ordered_json out{{"weir", version}, {"journal", journal.file().string()}};
    out.update(to_json(r, sum(*stages)));
    out["resumed_by"] = resumed_by ? ordered_json(*resumed_by) : ordered_json(nullptr);
    out["stages"] = ordered_json::array();
    for (auto const& s : *stages) {
      ordered_json item{{"source", s.source}, {"stage", s.stage}, {"state", store::name(s.state)}};
      item.update(to_json(sum({s})));
      item["reason"] = text_or_null(s.reason);
      out["stages"].push_back(std::move(item));
    }
    out["batches"] = {{"total", batches->size()}, {"by_state", ordered_json::object()}};
    for (auto const& [state, n] : by_state)
      out["batches"]["by_state"][store::name(state)] = {{"batches", n.batches}, {"objects", n.objects}};
    out["failures"] = ordered_json::array();
    for (auto const& f : *failed) {
      auto const& b = *by_number.at(f.batch);
      out["failures"].push_back(
          {{"batch", f.batch},
           {"source", b.source},
           {"stage", b.stage},
           {"kind", b.kind},
           {"action", f.object.action},
           {"label", f.object.label},
           {"key", parsed_or_null(f.object.key)},
           {"netbox_id", f.object.netbox_id ? ordered_json(f.object.netbox_id) : ordered_json(nullptr)},
           {"reason", f.object.reason}});
    }
    out["objects"] = ordered_json::array();
    for (auto const& t : *done) {
      ordered_json item{{"batch", t.batch->number},
                        {"source", t.batch->source},
                        {"stage", t.batch->stage},
                        {"kind", t.batch->kind},
                        {"action", t.object.action},
                        {"label", t.object.label},
                        {"key", parsed_or_null(t.object.key)},
                        {"netbox_id", t.object.netbox_id ? ordered_json(t.object.netbox_id) : ordered_json(nullptr)},
                        {"url", text_or_null(link_of(r, t))},
                        {"fields", ordered_json::array()}};
      for (auto& f : fields_of(t.object))
        item["fields"].push_back({{"field", f.name}, {"before", f.before}, {"after", f.after}});
      out["objects"].push_back(std::move(item));
    }
    out["changelog_url"] = changelog_of(r);
    out["open_batches"] = ordered_json::array();
    for (auto const* b : open) out["open_batches"].push_back(to_json(*b));
    out["next"] = text_or_null(next);
    print(out);
    return exit_code::done;
  }

  std::vector<std::vector<std::string>> facts{
      {"run", r.id + "  " + std::string(store::name(state_of(r))) +
                  (r.exit_code ? fmt::format(" (exit code {})", *r.exit_code) : "")}};
  if (!r.reason.empty()) facts.push_back({"reason", line_of(r.reason)});
  facts.push_back({"started", day_and_time(r.started) + " UTC" +
                                  (took(r) ? (r.ended ? ", took " : ", for ") + how_long(took(r)) : std::string())});
  facts.push_back(
      {"command", fmt::format("{}, profile {}, {}", r.command, line_of(r.profile), line_of(r.config_file))});
  facts.push_back({"NetBox", line_of(r.netbox_url)});
  facts.push_back({"process", fmt::format("pid {} on {}", r.pid, line_of(r.host))});
  if (!r.resumes.empty()) facts.push_back({"finishes", "run " + r.resumes});
  if (!r.undoes.empty()) facts.push_back({"undoes", "run " + r.undoes});
  auto const summary = parsed_or_null(r.summary_json);
  if (summary.is_object())
    for (auto const& [key, value] : summary.items()) facts.push_back({key, line_of(in_words(value))});
  auto text = aligned(facts, {});

  if (!stages->empty()) {
    std::vector<std::vector<std::string>> rows{
        {"source", "stage", "state", "created", "updated", "deleted", "failed", "deferred", ""}};
    for (auto const& s : *stages)
      rows.push_back({s.source, s.stage, std::string(store::name(s.state)), std::to_string(s.created),
                      std::to_string(s.updated), std::to_string(s.deleted), std::to_string(s.failed),
                      std::to_string(s.deferred), line_of(s.reason)});
    text += "\n" + aligned(rows, {3, 4, 5, 6, 7});
  }
  if (!by_state.empty()) {
    std::vector<std::string> parts;
    for (auto const& [state, n] : by_state)
      parts.push_back(fmt::format("{} {} ({})", n.batches, store::name(state), count_of(n.objects, "object")));
    text += "\nbatches: " + base::join(parts) + "\n";
  }
  if (!done->empty()) {
    text += "\nWritten\n";
    auto const shown = std::min(done->size(), listed);
    std::vector<std::vector<std::string>> rows;
    for (std::size_t i = 0; i < shown; ++i) {
      auto const& t = (*done)[i];
      auto const sign = t.object.action == "create" ? "+" : t.object.action == "delete" ? "-" : "~";
      rows.push_back({std::string("  ") + sign, t.batch->kind, base::shorten(t.object.label, 60), link_of(r, t)});
      if (auto const changes = changes_of(t.object); !changes.empty()) rows.back().push_back(changes);
    }
    text += aligned(rows, {});
    if (shown < done->size()) text += fmt::format("  and {} more  (--output json lists all)\n", done->size() - shown);
    text += "In NetBox's change log: " + changelog_of(r) + "\n";
  }
  if (!failed->empty()) {
    text += "\nFailed\n";
    auto const shown = std::min(failed->size(), listed);
    for (std::size_t i = 0; i < shown; ++i) {
      auto const& f = (*failed)[i];
      text += fmt::format("  {} {} {} (batch {}): {}\n", f.object.action, by_number.at(f.batch)->kind,
                          line_of(f.object.label), f.batch, line_of(f.object.reason));
    }
    if (shown < failed->size())
      text += fmt::format("  and {} more  (--output json lists all)\n", failed->size() - shown);
  }
  if (!open.empty()) {
    text += "\nNot done\n";
    auto const shown = std::min(open.size(), listed);
    for (std::size_t i = 0; i < shown; ++i) {
      auto const& b = *open[i];
      text += fmt::format("  batch {}: {} {} of {} ({} {}), {}", b.number, b.verb, count_of(b.objects, "object"),
                          b.kind, b.source, b.stage, store::name(b.state));
      if (b.sent)
        text += fmt::format(", sent {}, last at {}", count_of(b.attempts, "time"), day_and_time(*b.sent).substr(11));
      text += (b.reason.empty() ? "" : ": " + line_of(b.reason)) + "\n";
    }
    if (shown < open.size()) text += fmt::format("  and {} more  (--output json lists all)\n", open.size() - shown);
  }
  if (!next.empty()) text += "\n" + next + "\n";
  std::cout << text;
  return exit_code::done;
}

// The folder with the journal; nothing if it could not be found out, which has been said then.
std::optional<fs::path> state_folder(arguments const& args) {
  if (!args.state_dir.empty()) return fs::path(args.state_dir);
  auto load = reading(args);
  load.need_secrets = false;
  auto loaded = config::load(load);
  for (auto const& e : loaded.errors) std::cerr << config::render(e) << "\n";
  if (!loaded.value || !loaded.errors.empty()) return {};
  return loaded.value->state_dir;
}

}  // namespace

int history(arguments const& args) {
  auto const folder = state_folder(args);
  if (!folder) return exit_code::configuration;
  auto const file = *folder / "journal.db";
  std::error_code unknown;
  if (!fs::exists(file, unknown) && !unknown) {
    auto const none = "no runs yet (" + file.string() + " does not exist)";
    if (!args.history_run.empty())
      return complained(base::fail(base::error_code::usage, "there is no run '" + args.history_run + "': " + none));
    if (args.output == "json")
      print({{"weir", version}, {"journal", file.string()}, {"more", false}, {"runs", ordered_json::array()}});
    else
      std::cout << none << "\n";
    return exit_code::done;
  }
  store::journal_options options;
  options.read_only = true;
  auto const journal = store::journal::open(file, options);
  if (!journal) return complained(journal.error());
  return args.history_run.empty() ? list(**journal, args) : show(**journal, args);
}

}  // namespace weir::cli
