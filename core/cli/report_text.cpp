#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/report.hpp"
#include "core/cli/version.hpp"

namespace weir::cli {
namespace {

constexpr std::size_t listed = 5;  // of one kind and action, without --verbose

std::string number(std::size_t n) {
  auto digits = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), " ");
  return digits;
}

constexpr std::string_view green = "\x1b[32m", red = "\x1b[31m", plain = "\x1b[0m";

// Plugins and servers have their say in the report; what steers terminals is not theirs to say. Where there are
// colours, they stay.
std::string without_controls(std::string_view text, bool coloured) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    auto const rest = text.substr(at);
    std::string_view kept = rest.substr(0, 1);
    for (auto const colour : {green, red, plain})
      if (coloured && rest.starts_with(colour)) kept = colour;
    auto const c = static_cast<unsigned char>(kept.front());
    bool const control = kept.size() == 1 && ((c < 0x20 && c != '\n') || c == 0x7f);
    out += control ? " " : kept;
    at += kept.size();
  }
  return out;
}

// Colour has two meanings only: green is made, red is removed or failed.
class painter {
 public:
  explicit painter(bool on) : on_(on) {}
  std::string good(std::string const& s) const { return on_ ? fmt::format("{}{}{}", green, s, plain) : s; }
  std::string bad(std::string const& s) const { return on_ ? fmt::format("{}{}{}", red, s, plain) : s; }

 private:
  bool on_;
};

std::string sign(engine::action a, painter const& paint) {
  switch (a) {
    case engine::action::create:
      return paint.good("+");
    case engine::action::update:
      return "~";
    case engine::action::erase:
      return paint.bad("-");
  }
  return "";
}

std::string_view plain_name(std::string_view field) {
  constexpr std::string_view custom = "custom_fields.";
  return field.starts_with(custom) ? field.substr(custom.size()) : field;
}

// Why it is done, where the fields alone do not tell.
std::string why(engine::change const& c) {
  using engine::reason;
  std::string_view word;
  switch (c.why) {
    case reason::differs:
    case reason::undone:
      break;
    case reason::gone:
      word = c.what == engine::action::erase ? "" : "marked as gone";
      break;
    case reason::adopted:
      word = "taken over";
      break;
    case reason::recreated:
      word = "recreated";
      break;
    case reason::renumbered:
      word = "renumbered";
      break;
    case reason::released:
      word = "released";
      break;
    case reason::returned:
      word = "it is back";
      break;
  }
  std::string_view detail = c.detail;
  if (detail.empty() && c.why == reason::adopted) detail = "nobody's until now";
  if (word.empty() && detail.empty()) return {};
  return fmt::format("({}{}{})", word, word.empty() || detail.empty() ? "" : ": ", detail);
}

constexpr std::size_t facts_shown = 6;  // of a new object, without --verbose

// What a new object is: not what its label says already, nor what it is found by again.
std::vector<std::string> facts(engine::change const& c, bool verbose) {
  std::vector<std::string> out;
  for (auto const& f : c.fields) {
    bool const custom = f.field.starts_with("custom_fields.");
    bool const in_key = std::find(c.kind->key.begin(), c.kind->key.end(), f.field) != c.kind->key.end();
    bool const said = f.field == c.kind->label || f.field == c.kind->mark || f.after == c.label;
    bool const empty = f.after.empty() || f.after == "none" || f.after == "\"\"" || f.after == "[]";
    if (said || empty || (!verbose && custom && !in_key)) continue;
    if (!verbose && (f.field == "tags" || f.field == "comments" || f.field == "description" || f.field == "slug"))
      continue;
    out.push_back(fmt::format("{} {}", plain_name(f.field), f.after));
  }
  if (!verbose && out.size() > facts_shown) {
    out.resize(facts_shown);
    out.back() += " …";
  }
  return out;
}

std::string describe(engine::change const& c, bool verbose) {
  std::vector<std::string> parts;
  if (c.what == engine::action::create) parts = facts(c, verbose);
  if (c.what == engine::action::update)
    for (auto const& f : c.fields)
      parts.push_back(fmt::format("{} {} → {}{}", plain_name(f.field), f.before, f.after,
                                  f.edited ? " (somebody's edit, overwritten)" : ""));
  auto text = base::join(parts, " · ");
  if (auto const because = why(c); !because.empty()) text += (text.empty() ? "" : "  ") + because;
  return text;
}

// In columns, not in bytes.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}
std::string padded(std::string text, std::size_t width) {
  auto const is = width_of(text);
  if (is < width) text.append(width - is, ' ');
  return text;
}

std::size_t shown_of(std::size_t all, bool verbose) { return verbose || all <= listed + 1 ? all : listed; }

constexpr std::size_t widest_label = 40;

using change_list = std::vector<engine::change const*>;

void list_changes(std::string& out, change_list const& changes, painter const& paint, bool verbose) {
  auto const shown = shown_of(changes.size(), verbose);
  std::size_t longest = 0;
  for (std::size_t i = 0; i < shown; ++i)
    longest = std::max(longest, std::min(width_of(changes[i]->label), widest_label));
  for (std::size_t i = 0; i < shown; ++i) {
    auto const& c = *changes[i];
    auto line = fmt::format("  {} {}  {}", sign(c.what, paint), padded(c.label, longest), describe(c, verbose));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  if (shown < changes.size())
    out += fmt::format("  {} {} more  (--verbose lists them)\n", sign(changes[0]->what, paint),
                       number(changes.size() - shown));
}

// What a stage changes of one kind; the parts of a plan may have several plans of it.
struct kind_changes {
  netbox::kind const* kind = nullptr;
  change_list updates, creates, deletes;
};
std::vector<kind_changes> by_kind(engine::job_report const& job) {
  std::vector<kind_changes> out;
  for (auto const& p : job.plans) {
    if (p.creates.empty() && p.updates.empty() && p.deletes.empty()) continue;
    auto found = std::find_if(out.begin(), out.end(), [&](auto const& k) { return k.kind == p.kind; });
    if (found == out.end()) found = out.insert(found, kind_changes{p.kind, {}, {}, {}});
    for (auto const& c : p.updates) found->updates.push_back(&c);
    for (auto const& c : p.creates) found->creates.push_back(&c);
    for (auto const& c : p.deletes) found->deletes.push_back(&c);
  }
  return out;
}

// Every change, by source, stage and kind. Where several stages change objects of a kind, it says which one does.
std::string all_changes(engine::report const& r, painter const& paint, bool verbose) {
  std::vector<std::pair<engine::job_report const*, std::vector<kind_changes>>> all;
  std::map<std::pair<std::string, std::string>, std::size_t> stages_of;  // (source, kind)
  for (auto const& job : r.jobs) {
    all.emplace_back(&job, by_kind(job));
    for (auto const& k : all.back().second) ++stages_of[{job.source, k.kind->name}];
  }
  std::string out;
  for (auto const& [job, kinds] : all)
    for (auto const& k : kinds) {
      bool const several = stages_of.at({job->source, k.kind->name}) > 1;
      out += fmt::format("\n{}{}s{}\n", r.sources.size() > 1 && !job->source.empty() ? job->source + " " : "",
                         k.kind->title, several ? " (" + job->stage + ")" : "");
      for (auto const* list : {&k.updates, &k.creates, &k.deletes})
        if (!list->empty()) list_changes(out, *list, paint, verbose);
    }
  return out;
}

constexpr std::size_t edits_listed = 30;  // people's changes, without --verbose

// Fields that stay as NetBox has them; `known`: those that a person is known to have changed, or the others.
std::string kept_edits(engine::report const& r, bool known, bool dry, bool verbose) {
  std::vector<engine::kept_edit const*> all;
  for (auto const& job : r.jobs)
    for (auto const& p : job.plans)
      for (auto const& e : p.edits)
        if (e.known == known) all.push_back(&e);
  if (all.empty()) return {};
  bool const undo = r.command == "undo" || !r.undoes.empty();
  std::string const title = !known ? "Different, and left: nobody knows who wrote them"
                            : undo ? "Left as they were changed since the run"
                                   : "Left as people edited them";
  if (!dry && !verbose)
    return fmt::format("{}: {} field{}  (--verbose lists them)\n", title, number(all.size()),
                       all.size() == 1 ? "" : "s");
  std::string out = "\n" + title + "\n";
  auto const most = verbose ? all.size() : std::min(all.size(), edits_listed);
  std::size_t longest = 0;
  for (std::size_t i = 0; i < most; ++i) longest = std::max(longest, std::min(width_of(all[i]->label), widest_label));
  for (std::size_t i = 0; i < most; ++i) {
    auto const& e = *all[i];
    // What is undone goes by no rule.
    auto const rule = undo ? std::string() : fmt::format("  ({})", netbox::name(e.by));
    out +=
        fmt::format("  = {}  {} {}, not {}{}\n", padded(e.label, longest), plain_name(e.field), e.held, e.wanted, rule);
  }
  if (most < all.size()) out += fmt::format("  = {} more  (--verbose lists them)\n", number(all.size() - most));
  return out;
}

// What is ours, gone from its source, and stays: by kind and reason.
std::string kept_objects(engine::report const& r, bool verbose) {
  std::string out;
  for (auto const& job : r.jobs)
    for (auto const& p : job.plans) {
      std::map<std::string, std::vector<std::string>> by_reason;
      for (auto const& k : p.kept) by_reason[k.detail].push_back(k.label);
      for (auto& [detail, labels] : by_reason) {
        std::sort(labels.begin(), labels.end());
        auto const all = labels.size();
        if (auto const shown = shown_of(all, verbose); shown < all) {
          labels.resize(shown);
          labels.push_back("…");
        }
        out += fmt::format("  {} {}{}: {}{}\n", number(all), p.kind->title, all == 1 ? "" : "s", base::join(labels),
                           detail.empty() ? "" : "  (" + detail + ")");
      }
    }
  auto const title = r.command == "undo" ? "Not undone" : "Gone from the source, and kept in NetBox";
  return out.empty() ? out : fmt::format("\n{}\n{}", title, out);
}

// "6 to update (2 marked as gone, 1 taken over)"
std::string reasons_of(engine::report const& r) {
  using engine::reason;
  std::map<reason, std::size_t> by;
  std::size_t overwritten = 0;
  for (auto const& job : r.jobs)
    for (auto const& p : job.plans)
      for (auto const& c : p.updates) {
        ++by[c.why];
        for (auto const& f : c.fields) overwritten += f.edited;
      }
  std::vector<std::string> parts;
  for (auto const& [which, words] : {std::pair{reason::gone, "marked as gone"},
                                     {reason::adopted, "taken over"},
                                     {reason::returned, "back again"},
                                     {reason::recreated, "recreated"},
                                     {reason::renumbered, "renumbered"},
                                     {reason::released, "released"}})
    if (auto const n = by[which]) parts.push_back(fmt::format("{} {}", number(n), words));
  if (overwritten)
    parts.push_back(fmt::format("{} edited field{} overwritten", overwritten, overwritten == 1 ? "" : "s"));
  return parts.empty() ? "" : " (" + base::join(parts) + ")";
}

// How to do what the plan says.
std::string next_step(engine::report const& r, std::string const& file) {
  if (!file.empty()) return "To apply exactly this:  weir apply " + file + "\n";
  if (r.command == "sync") return {};  // the demo
  if (r.command == "adopt" || r.command == "undo")
    return fmt::format("To do it:  the same command with --apply, or with --out FILE and then weir apply FILE\n");
  return "To do it:  weir sync; to have exactly this done:  weir plan --out FILE, then weir apply FILE\n";
}

std::string nothing_to_do(engine::report const& r, std::size_t compared) {
  if (r.command == "undo") return "No changes. Nothing of that run is left to be undone.\n";
  if (r.command == "adopt")
    return fmt::format("No changes. Nothing is left to be taken over ({} objects compared).\n", number(compared));
  return fmt::format("No changes. NetBox matches {} source{} ({} objects compared).\n", r.sources.size(),
                     r.sources.size() == 1 ? "" : "s", number(compared));
}

// What to do about it, and a crashed stage's last words: each line below the message.
std::string hint(base::error const& e) {
  std::string out;
  for (std::size_t from = 0; from < e.hint.size();) {
    auto const end = std::min(e.hint.find('\n', from), e.hint.size());
    out += (from == 0 ? "    → " : "      ") + e.hint.substr(from, end - from) + "\n";
    from = end + 1;
  }
  return out;
}

std::string row(engine::job_report const& job, std::size_t width, painter const& paint) {
  auto const& c = job.total;
  if (job.status == engine::job_status::failed && c.seen == 0)
    return fmt::format("{:<{}}  {}: {}\n", job.stage, width, paint.bad("failed"), job.reason.what) + hint(job.reason);
  if (job.status == engine::job_status::skipped || (job.status == engine::job_status::stopped && c.seen == 0))
    return fmt::format("{:<{}}  {}: {}\n", job.stage, width, engine::name(job.status), job.reason.what);
  auto line = fmt::format(
      "{:<{}} {:>7} seen  {}  ~ {:<5} {}  {:>7} unchanged", job.stage, width, number(c.seen),
      c.created ? paint.good(fmt::format("+ {:<5}", c.created)) : fmt::format("+ {:<5}", 0), c.updated,
      c.deleted ? paint.bad(fmt::format("- {:<5}", c.deleted)) : fmt::format("- {:<5}", 0), number(c.unchanged));
  if (c.kept) line += fmt::format("  {} kept", c.kept);
  if (c.skipped) line += fmt::format("  {} skipped", c.skipped);
  if (c.failed) line += "  " + paint.bad(fmt::format("{} failed", c.failed));
  if (c.deferred) line += fmt::format("  {} deferred", c.deferred);
  if (job.status == engine::job_status::failed)
    return line + "\n  " + paint.bad("failed") + ": " + job.reason.what + "\n" + hint(job.reason);
  if (job.status == engine::job_status::stopped) line += "\n  stopped: " + job.reason.what;
  return line + "\n";
}

// What the throttle had to do, where it had to do anything.
std::string throttle_line(engine::report const& r) {
  auto const& t = r.throttle;
  std::vector<std::string> parts;
  if (t.refused) parts.push_back(fmt::format("NetBox refused {} requests for lack of capacity", t.refused));
  if (t.cuts) parts.push_back(fmt::format("the limit of requests in flight was lowered {} times", t.cuts));
  if (t.longest_gap.count() >= 100)
    parts.push_back(
        fmt::format("requests were kept up to {:.1f} s apart", static_cast<double>(t.longest_gap.count()) / 1000));
  if (t.breaker_opened) parts.push_back(fmt::format("NetBox went away {} times", t.breaker_opened));
  if (r.looked_up) parts.push_back(fmt::format("{} lost answers were looked up", r.looked_up));
  return parts.empty() ? "" : "Throttle: " + base::join(parts, "; ") + ".\n";
}

}  // namespace

std::string promise(config::profile const& p) {
  return fmt::format("≤{} request{} at once, ≤{} objects each, ≤{:g}/s, {} a batch, {} ms between batches",
                     p.max_in_flight, p.max_in_flight == 1 ? "" : "s", p.objects_per_request, p.requests_per_second,
                     p.batch_size, p.batch_delay.count());
}

int exit_code_of(engine::report const& r) {
  if (r.interrupted) return exit_code::interrupted;
  bool deferred = false, credentials = false, trouble = !r.failures.empty();
  bool refused = false;
  for (auto const& job : r.jobs) {
    for (auto const& [kind, c] : job.kinds) deferred = deferred || c.deferred > 0;
    for (auto const& p : job.plans) refused = refused || p.deletes_refused;
    if (job.status == engine::job_status::failed) {
      trouble = true;
      credentials = credentials || job.reason.code == base::error_code::credentials;
    }
  }
  if (r.fatal && r.fatal->code == base::error_code::credentials) return exit_code::credentials;
  if (r.fatal && r.jobs.empty()) return exit_code::of(r.fatal->code);
  if (r.fatal || deferred) return exit_code::stopped_early;
  if (credentials) return exit_code::credentials;
  if (refused) return exit_code::refused;
  for (auto const& n : r.notices) trouble = trouble || n.level == base::log::level::error;
  return trouble ? exit_code::partly : exit_code::done;
}

bool has_changes(engine::report const& r) {
  for (auto const& job : r.jobs)
    for (auto const& p : job.plans)
      if (!p.creates.empty() || !p.updates.empty() || !p.deletes.empty()) return true;
  return false;
}

std::string as_text(engine::report const& r, text_style const& style) {
  painter const paint(style.colour);
  std::string out =
      fmt::format("weir {}   profile {} ({})   run {}\n", version, r.profile.name, promise(r.profile), r.run_id);
  for (auto const& o : r.profile.overrides) out += "          " + o + "\n";
  std::string sources;
  for (auto const& s : r.sources)
    sources += (sources.empty() ? "" : ", ") + s.name + (s.version.empty() ? " (unreachable)" : " (" + s.version + ")");
  if (!r.netbox_version.empty())
    out += fmt::format("{}NetBox {}   {}\n", sources.empty() ? "" : "sources   " + sources + "   ", r.netbox_version,
                       r.netbox_url);

  std::size_t width = 0;
  for (auto const& job : r.jobs) width = std::max(width, job.stage.size());
  std::string at_source = "\n";
  for (auto const& job : r.jobs) {
    if (job.source != at_source) out += r.sources.size() > 1 && !job.source.empty() ? "\n" + job.source + "\n" : "\n";
    at_source = job.source;
    out += row(job, width, paint);
  }

  std::size_t creates = 0, updates = 0, deletes = 0, compared = 0, posts = 0, patches = 0, removals = 0;
  auto const per = r.profile.objects_per_request;
  for (auto const& job : r.jobs)
    for (auto const& p : job.plans) {
      creates += p.creates.size(), updates += p.updates.size(), deletes += p.deletes.size(), compared += p.seen;
      posts += engine::requests_for(p.creates.size(), per), patches += engine::requests_for(p.updates.size(), per);
      removals += engine::requests_for(p.deletes.size(), per);
    }
  if (r.dry || style.verbose) out += all_changes(r, paint, style.verbose);
  if (style.verbose)
    for (auto const& job : r.jobs)
      for (auto const& [name, m] : job.metrics) out += fmt::format("{}: {} {:g}\n", job.stage, name, m.value);
  out += kept_objects(r, style.verbose);
  for (bool const known : {true, false}) out += kept_edits(r, known, r.dry, style.verbose);
  if (!r.failures.empty()) {
    out += "\n" + paint.bad("Failed") + "\n";
    std::size_t const most = style.verbose ? r.failures.size() : std::min<std::size_t>(r.failures.size(), 20);
    for (std::size_t i = 0; i < most; ++i) {
      auto const& f = r.failures[i];
      out += fmt::format("  {} {} ({}): {}\n", f.kind, f.label, f.source, f.message);
    }
    if (most < r.failures.size())
      out += fmt::format("  and {} more  (--verbose lists them)\n", r.failures.size() - most);
  }
  if (!r.notices.empty()) {
    out += "\nNotices\n";
    for (auto const& n : r.notices) {
      auto const where = n.source.empty() ? n.stage : n.stage.empty() ? n.source : n.source + " " + n.stage;
      out += fmt::format("  {}{}\n", where.empty() ? "" : where + ": ", n.message);
      out += hint({{}, {}, n.hint});
    }
  }
  out += "\n";
  if (r.fatal)
    out += paint.bad("Stopped") + ": " + r.fatal->what + "\n" +
           (r.fatal->hint.empty() ? "" : "  → " + r.fatal->hint + "\n");
  if (r.dry) {
    auto const requests = posts + patches + removals;
    if (creates + updates + deletes == 0) {
      if (!r.fatal) out += nothing_to_do(r, compared);
    } else {
      // Pace and rate only: how long NetBox thinks about a request is not ours to promise.
      double const pace = static_cast<double>(requests / std::max<std::size_t>(1, r.profile.batch_size)) *
                          static_cast<double>(r.profile.batch_delay.count()) / 1000;
      double const rate =
          r.profile.requests_per_second > 0 ? static_cast<double>(requests) / r.profile.requests_per_second : 0;
      out += fmt::format(
          "Will send {} request{} or more: {} create · {} update · {} delete, at least {:.0f} s at this profile.\n",
          requests, requests == 1 ? "" : "s", posts, patches, removals, std::max({pace, rate, 1.0}));
      out += fmt::format("Plan: {} to create, {} to update{}, {} to delete.  Nothing was written.\n", creates, updates,
                         reasons_of(r), deletes);
      if (!r.fatal) out += next_step(r, style.plan_file);
    }
  } else if (!r.netbox_version.empty()) {
    std::uint64_t total = 0;
    std::vector<std::string> parts;
    for (auto const& [method, n] : r.requests)
      if (n) total += n, parts.push_back(fmt::format("{} {}", n, method));
    engine::counts all;
    for (auto const& job : r.jobs)
      for (auto const& [kind, c] : job.kinds) all += c;
    out += fmt::format("{}: {} created, {} updated, {} deleted, {} unchanged", r.interrupted ? "Interrupted" : "Done",
                       number(all.created), number(all.updated), number(all.deleted), number(all.unchanged));
    if (all.failed) out += fmt::format(", {} failed", all.failed);
    if (all.deferred) out += fmt::format(", {} deferred (weir resume {})", all.deferred, r.run_id);
    out += fmt::format(".  {} request{} to NetBox ({}), at most {} at once, {:.1f} s.\n", total, total == 1 ? "" : "s",
                       base::join(parts), r.peak_in_flight, static_cast<double>(r.took.count()) / 1000);
    out += throttle_line(r);
  }
  return without_controls(out, style.colour);
}

}  // namespace weir::cli
