#include "core/serve/runs.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "core/store/files.hpp"

namespace weir::serve {
namespace {

double seconds_between(wall a, wall b) { return std::max(0.0, std::chrono::duration<double>(b - a).count()); }

void add(run_row& to, stage_view const& s) {
  to.created += s.created;
  to.updated += s.updated;
  to.deleted += s.deleted;
  to.failed += s.failed;
  to.deferred += s.deferred;
}

}  // namespace

stage_view view_of(store::stage_record const& s) {
  return {s.source, s.stage,   std::string(store::name(s.state)), s.reason, s.created, s.updated, s.deleted,
          s.failed, s.deferred};
}

run_row row_of(past_run const& p) {
  run_row r;
  r.id = p.id;
  r.command = p.command;
  r.trigger = p.trigger;
  r.state = p.state;
  r.profile = p.profile;
  r.reason = p.reason;
  r.started = p.started;
  r.ended = p.ended;
  r.exit_code = p.exit_code;
  r.seconds = p.seconds;
  for (auto const& s : p.stages) add(r, s);
  return r;
}

run_row row_of(run_view const& v, moment now) {
  run_row r;
  r.id = v.id;
  r.command = v.command;
  r.trigger = v.trigger;
  r.state = "running";
  r.profile = v.profile;
  r.started = v.started;
  r.seconds = std::chrono::duration<double>(now.steady - v.since).count();
  return r;
}

base::result<std::unique_ptr<store::journal>> run_reader::open() const {
  std::error_code ignored;
  if (!std::filesystem::exists(file_, ignored)) return std::unique_ptr<store::journal>();
  store::journal_options how;
  how.read_only = true;
  how.wait = std::chrono::milliseconds(2000);
  return store::journal::open(file_, std::move(how));
}

run_row run_reader::row_of(store::run_record const& record) const {
  run_row r;
  r.id = record.id;
  r.command = record.command;
  r.trigger = now_.trigger_of(record.id);
  r.profile = record.profile;
  r.reason = record.reason;
  r.started = record.started;
  r.ended = record.ended;
  r.exit_code = record.exit_code;
  auto state = record.state;
  if (state == store::run_state::running && record.host == store::host_name()) {
    // Its process is gone, or it is this one, which is at work on another run or on none.
    auto const mine = now_.running();
    bool const here = record.pid == ::getpid() && !(mine && mine->id == record.id);
    if (here || record.pid <= 0 || (::kill(static_cast<pid_t>(record.pid), 0) != 0 && errno == ESRCH))
      state = store::run_state::interrupted;
  }
  r.state = store::name(state);
  if (r.ended)
    r.seconds = seconds_between(r.started, *r.ended);
  else if (state == store::run_state::running)
    r.seconds = seconds_between(r.started, std::chrono::system_clock::now());
  return r;
}

base::result<std::vector<run_row>> run_reader::list(std::size_t at_most) const {
  auto journal = open();
  if (!journal) return journal.error();
  std::vector<run_row> out;
  std::set<std::string> there;
  if (*journal) {
    auto const records = (*journal)->runs(at_most);
    if (!records) return records.error();
    for (auto const& record : *records) {
      auto row = row_of(record);
      auto const stages = (*journal)->stages(record.id);
      if (!stages) return stages.error();
      for (auto const& s : *stages) add(row, view_of(s));
      there.insert(row.id);
      out.push_back(std::move(row));
    }
  }
  if (auto const running = now_.running(); running && there.insert(running->id).second)
    out.push_back(serve::row_of(*running, moment::now()));
  for (auto const& p : now_.past())
    if (there.insert(p.id).second) out.push_back(serve::row_of(p));
  std::stable_sort(out.begin(), out.end(), [](auto const& a, auto const& b) { return a.started > b.started; });
  if (out.size() > at_most) out.resize(at_most);
  return out;
}

base::result<std::optional<run_details>> run_reader::find(std::string const& id) const {
  run_details out;
  auto journal = open();
  if (!journal) return journal.error();
  std::optional<store::run_record> record;
  if (*journal)
    if (auto found = (*journal)->find_run(id); found && found->id == id) record = *found;
  if (!record) {
    if (auto const running = now_.running(); running && running->id == id) {
      out.run = serve::row_of(*running, moment::now());
      return out;
    }
    for (auto const& p : now_.past())
      if (p.id == id) {
        out.run = serve::row_of(p);
        out.stages = p.stages;
        return out;
      }
    return std::optional<run_details>();
  }
  out.run = row_of(*record);
  auto const stages = (*journal)->stages(id);
  if (!stages) return stages.error();
  for (auto const& s : *stages) {
    out.stages.push_back(view_of(s));
    add(out.run, out.stages.back());
  }
  auto const batches = (*journal)->batches(id);
  if (!batches) return batches.error();
  // Links are for the NetBox that is configured.
  bool const linked = store::normalised_url(record->netbox_url) == store::normalised_url(netbox_url_);
  for (auto const& b : *batches) {
    if (out.changes.size() >= shown_changes) {
      out.more += b.objects;
      continue;
    }
    auto const objects = (*journal)->objects(id, b.number);
    if (!objects) return objects.error();
    std::size_t taken = 0;
    for (auto const& o : *objects) {
      if (out.changes.size() >= shown_changes) break;
      ++taken;
      change_row c{b.source, b.stage, b.kind, o.action, o.label, "", std::string(store::name(o.state)), o.reason};
      if (linked && o.netbox_id != 0 && o.action != "delete")
        c.url = netbox_url_ + "/" + b.path + "/" + std::to_string(o.netbox_id) + "/";
      out.changes.push_back(std::move(c));
    }
    out.more += std::max(b.objects, objects->size()) - taken;
  }
  return out;
}

}  // namespace weir::serve
