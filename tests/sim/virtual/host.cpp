#include "tests/sim/virtual/host.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "core/engine/run.hpp"
#include "core/engine/session.hpp"
#include "core/http/client.hpp"
#include "core/http/limits.hpp"
#include "core/netbox/client.hpp"

namespace weir::simulated {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using throttle::method;
using verdict = throttle::outcome;  // host has an outcome of its own

namespace {

struct crash {
  std::string where;
};

constexpr std::size_t most_problems = 20;

// "weir run 7f3a2c1b#12 pve-a/backups" ► 7f3a2c1b, 12
bool read_marker(std::string const& marker, std::string& run, std::uint64_t& number) {
  constexpr std::string_view begin = "weir run ";
  auto const sharp = marker.find('#');
  if (!marker.starts_with(begin) || sharp == std::string::npos) return false;
  run = marker.substr(begin.size(), sharp - begin.size());
  number = std::strtoull(marker.c_str() + sharp + 1, nullptr, 10);
  return number > 0;
}

}  // namespace

// One process of weir. Members in the order of their making: a crash takes them apart from the end.
struct host::process {
  std::shared_ptr<virtual_loop> loop;
  std::unique_ptr<store::journal> journal, reader;
  std::unique_ptr<http::client> client;
  std::unique_ptr<weir::netbox::client> netbox;
  std::unique_ptr<engine::session> session;
  std::string run;
  instant began{0};
  bool started = false;  // a request, in the loop's present callback
  std::size_t in_flight = 0;
  std::uint64_t refused_alone = 0;  // for want of a connection, with nothing else in flight
};

// Hands requests to the simulated NetBox, and holds what weir sends against its promises.
class host::wire : public http::transport {
 public:
  wire(host& of, process& p) : host_(of), process_(p), profile_(of.day_.profile) {}
  ~wire() override {
    for (auto const& [id, w] : under_way_) {
      host_.netbox_.hang_up(w.at_netbox);
      host_.line_.cancel(w.timeout);
    }
  }

  void send(http::request const& what, std::function<void(http::reply)> done) override {
    auto const now = host_.line_.now();
    auto const id = ++last_;
    bool const write = what.verb != method::get;
    host_.note(fmt::format("{} {} {} {}", now.count(), throttle::name(what.verb), what.url, what.body));
    check_pace(now, write);
    if (write) check_journal(what);
    ++process_.in_flight;
    if (process_.in_flight > profile_.max_in_flight)
      host_.problem(
          fmt::format("{} requests in flight, the profile allows {}", process_.in_flight, profile_.max_in_flight));
    process_.started = true;
    if (process_.in_flight > 1) ++crowd_;
    bool const reused = !what.fresh_connection && answered_once_;
    auto& w = under_way_[id];
    w = {std::move(done), 0, 0, now, write, process_.in_flight == 1, crowd_};
    w.timeout = host_.line_.at(now + what.timeout, host_.processes_, [this, id] {
      http::reply r;
      r.error = http::failure::timeout;
      r.error_text = "timeout";
      r.request_sent = true;
      host_.netbox_.hang_up(under_way_.at(id).at_netbox);
      finish_later(id, std::move(r));
    });
    w.at_netbox = host_.netbox_.arrive(what, reused, [this, id](http::reply r) { finish_later(id, std::move(r)); });
  }

  void cancel_all() override {
    std::vector<std::uint64_t> ids;
    for (auto const& [id, w] : under_way_) ids.push_back(id);
    for (auto const id : ids) {
      http::reply r;
      r.error = http::failure::cancelled;
      r.error_text = "cancelled";
      r.request_sent = true;
      host_.netbox_.hang_up(under_way_.at(id).at_netbox);
      finish_later(id, std::move(r));
    }
  }

 private:
  struct pending {
    std::function<void(http::reply)> done;
    std::uint64_t at_netbox = 0, timeout = 0;
    instant sent{0};
    bool write = false, alone = false;
    std::uint64_t crowd = 0;
  };

  // The answer comes as a callback of the loop, as it would from a socket.
  void finish_later(std::uint64_t id, http::reply r) {
    process_.loop->post([this, id, reply = std::move(r)]() mutable {
      auto const found = under_way_.find(id);
      if (found == under_way_.end()) return;
      auto w = std::move(found->second);
      under_way_.erase(found);
      host_.line_.cancel(w.timeout);
      answered_once_ = answered_once_ || reply.error == http::failure::none;
      --process_.in_flight;
      if (w.write && --writes_in_flight_ == 0 && batch_ >= profile_.batch_size)
        batch_ = 0, batch_over_ = host_.line_.now();
      if (w.alone && w.crowd == crowd_ && reply.body.find("remaining connection slots") != std::string::npos)
        ++process_.refused_alone;
      reply.elapsed = std::chrono::duration_cast<milliseconds>(host_.line_.now() - w.sent);
      reply.server = netbox_url;
      w.done(std::move(reply));
    });
  }

  void check_pace(instant now, bool write) {
    if (profile_.requests_per_second > 0 && last_start_ &&
        static_cast<double>((now - *last_start_).count()) < std::floor(1e9 / profile_.requests_per_second))
      host_.problem(fmt::format("a request only {} ns after the last", (now - *last_start_).count()));
    last_start_ = now;
    if (!write || profile_.batch_size == 0) return;
    if (batch_ == 0 && batch_over_ && now < *batch_over_ + profile_.batch_delay)
      host_.problem(fmt::format("a batch begins {} ms after the last one's end", (now - *batch_over_) / 1ms));
    if (++batch_ > profile_.batch_size) host_.problem(fmt::format("{} write requests in one batch", batch_));
    ++writes_in_flight_;
  }

  // The row is on disk, and says that this attempt may be on the wire: read through a connection of its own.
  void check_journal(http::request const& what) {
    auto const marker = netbox::marker_of(what.body);
    std::string run;
    std::uint64_t number = 0;
    if (!read_marker(marker, run, number) || run != process_.run)
      return host_.problem("a write request of nobody's batch: '" + marker + "'");
    auto const attempt = ++attempts_[number];
    auto const rows = process_.reader->batches(run, store::batch_state::sent);
    if (!rows) return host_.problem("the journal cannot be read: " + rows.error().what);
    auto const row = std::find_if(rows->begin(), rows->end(), [&](auto const& b) { return b.number == number; });
    if (row == rows->end() || row->marker != marker)
      host_.problem("a write request whose batch the journal does not know as sent: " + marker);
    else if (row->attempts != attempt)
      host_.problem(fmt::format("attempt {} of {} is number {} in the journal", attempt, marker, row->attempts));
    if (what.verb == method::post && host_.netbox_.landed().contains(marker))
      host_.problem("sent again although NetBox has it: " + marker);
  }

  host& host_;
  process& process_;
  config::profile const& profile_;
  std::map<std::uint64_t, pending> under_way_;
  std::map<std::uint64_t, std::uint64_t> attempts_;  // by batch
  std::uint64_t last_ = 0, crowd_ = 0;
  std::size_t batch_ = 0, writes_in_flight_ = 0;
  std::optional<instant> last_start_, batch_over_;
  bool answered_once_ = false;
};

host::host(timeline& line, netbox& server, day const& d) : line_(line), netbox_(server), day_(d) {
  static std::uint64_t count = 0;
  folder_ = std::filesystem::temp_directory_path() /
            ("weir-virtual-" + std::to_string(getpid()) + "-" + std::to_string(++count));
  add_kinds(kinds_);
}
host::~host() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void host::problem(std::string text) {
  if (problems_.size() < most_problems)
    problems_.push_back(fmt::format("at {:.3f} s: {}", static_cast<double>(line_.now().count()) / 1e9, text));
}

void host::note(std::string_view text) {  // FNV-1a
  for (char const c : text) trace_ = (trace_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
}

std::unique_ptr<store::journal> host::read_journal() const {
  store::journal_options how;
  how.read_only = true;
  return store::journal::open(folder_ / "journal.db", std::move(how)).value();
}

bool host::outcome::whole() const {
  if (crashed || report.fatal || report.jobs.empty() || !report.failures.empty()) return false;
  for (auto const& j : report.jobs) {
    if (j.status != engine::job_status::ok) return false;
    for (auto const& [kind, c] : j.kinds)
      if (c.failed + c.deferred > 0) return false;
  }
  return true;
}

host::outcome host::run(run_plan const& plan, source const& wanted) {
  outcome out;
  process p;
  p.run = out.run_id = fmt::format("{:08x}", ((++processes_ * 2654435761U) ^ day_.seed) & 0xffffffffU);
  p.loop = std::make_shared<virtual_loop>(line_, processes_);
  p.began = line_.now();
  p.loop->after_each = [this, &p] {
    if (!std::exchange(p.started, false)) return;
    auto const a = p.client->adaptation();
    auto const limit =
        a.circuit == throttle::breaker::state::closed && !a.starved ? static_cast<std::size_t>(a.limit) : 1;
    if (day_.control == throttle::control::adaptive && p.in_flight > limit)
      problem(fmt::format("{} requests in flight, the limit is {} ({})", p.in_flight, limit, a.limit));
    if (static_cast<double>(p.client->count().in_flight) < static_cast<double>(p.in_flight))
      problem(fmt::format("{} requests in flight, the gate knows of {}", p.in_flight, p.client->count().in_flight));
  };
  if (plan.crash && plan.crash->after)
    line_.at(line_.now() + *plan.crash->after, processes_, [] { throw crash{"by the clock"}; });
  try {
    store::journal_options how;
    how.durable = false;
    how.watch = [&](std::string_view step, bool before) {
      note(step);
      if (++out.steps; plan.crash && plan.crash->step == out.steps)
        throw crash{std::string(before ? "before " : "after ") + std::string(step)};
    };
    p.journal = store::journal::open(folder_ / "journal.db", std::move(how)).value();
    p.reader = read_journal();
    work(p, plan, wanted, out);
  } catch (crash const& c) {
    out.crashed = true;
    out.crashed_at = c.where;
    ++crashes_;
    note("crash");
  }
  // Whatever it had under way: nobody listens any more, and NetBox goes on.
  p.loop->after_each = {};
  p.session.reset();
  p.netbox.reset();
  p.client.reset();
  p.loop->die();
  return out;
}

void host::check_budget(process& p) {
  if (day_.control != throttle::control::adaptive) return;
  auto const n = p.client->count();
  auto const a = p.client->adaptation();
  // Each retry follows a failure, and a failure costs a token: 20 at first, a tenth for each success, at most half of
  // them anew whenever the breaker closes; without a token, and after five in a row, the breaker opens, and then the
  // only failures are what was in flight and one at a time. What costs none: a stale connection (it says nothing about
  // NetBox), a server fault (once a request), and refusals while nothing else is in flight (bounded by their pause).
  auto const of = [&](verdict o) { return static_cast<double>(n.outcomes[static_cast<std::size_t>(o)]); };
  auto const successes =
      of(verdict::ok) + of(verdict::lost_race) + of(verdict::too_large) + of(verdict::data) + of(verdict::credentials);
  auto const bound = 20 + successes / 10 +
                     static_cast<double>(a.breaker_opened) * (12 + static_cast<double>(day_.profile.max_in_flight)) +
                     static_cast<double>(p.refused_alone) + of(verdict::stale) + of(verdict::server_fault);
  if (static_cast<double>(n.retried) > bound)
    problem(fmt::format("{} retries, more than {:.1f}: {} successes, the breaker opened {} times, {} refused alone",
                        n.retried, bound, successes, a.breaker_opened, p.refused_alone));
  // The breaker's pauses are 5 s and longer.
  auto const most = 1 + static_cast<std::size_t>((line_.now() - p.began) / 5s);
  if (a.breaker_opened > most) problem(fmt::format("the breaker opened {} times", a.breaker_opened));
  if (n.peak_in_flight > day_.profile.max_in_flight) problem("the peak in flight is above the profile's ceiling");
}

// As engine::run does it.
void host::work(process& p, run_plan const& plan, source const& wanted, outcome& out) {
  auto& report = out.report;
  auto& journal = *p.journal;
  report.run_id = p.run;
  report.netbox_url = netbox_url;
  report.profile = day_.profile;
  config::netbox where;
  where.url = netbox_url;
  where.token = base::secret(netbox_.token());
  p.client = std::make_unique<http::client>(p.loop, std::make_unique<wire>(*this, p),
                                            http::limits_of(day_.profile, day_.control), "netbox", throttle::classify,
                                            day_.seed * 1000 + processes_);
  p.netbox = std::make_unique<weir::netbox::client>(*p.client, where, day_.profile);
  if (auto const learnt = journal.recall(netbox_url, 24h * 7, p.loop->wall_now()); learnt && *learnt)
    p.client->restore(**learnt);
  auto const why_stop = [&]() -> std::optional<base::error> {
    if (plan.stop && line_.now() - p.began >= *plan.stop) {
      report.interrupted = true;
      return base::fail(base::error_code::interrupted, "the run was stopped");
    }
    if (plan.max_duration && line_.now() - p.began >= *plan.max_duration)
      return base::fail(base::error_code::stopped, "the time given is over");
    return {};
  };
  engine::session_options how;
  how.profile = day_.profile;
  how.max_deletes = 1000;
  how.max_deletes_percent = 100;
  how.run_id = p.run;
  how.stop = why_stop;
  p.session = std::make_unique<engine::session>(*p.netbox, kinds_, &journal, how);
  if (auto const info = p.netbox->status(); !info) {
    report.fatal = info.error();
    return;
  }

  // runner::open_journal
  std::set<std::string> only;
  auto const opened = [&]() -> base::result<void> {
    auto earlier = journal.unfinished(netbox_url);
    if (!earlier) return earlier.error();
    store::run_record row;
    row.id = p.run;
    row.netbox_url = netbox_url;
    row.command = "sync";
    row.profile = day_.profile.name;
    row.resumes = report.resumes = plan.resume && !earlier->empty() ? earlier->front().id : "";
    row.started = p.loop->wall_now();
    if (auto ok = journal.begin_run(row); !ok) return ok;
    auto const settled = p.session->settle(*earlier);
    if (!settled) return settled.error();
    report.looked_up += *settled;
    if (!report.resumes.empty()) {
      auto stages = journal.stages(report.resumes);
      if (!stages) return stages.error();
      for (auto const& s : *stages)
        if (s.state != store::stage_state::done) only.insert(s.stage);
    }
    return {};
  }();
  std::vector<std::string> stages;
  if (!opened) {
    report.fatal = opened.error();
  } else {
    for (auto const& s : stage_ids)
      if (only.empty() || only.contains(s)) stages.push_back(s);
    for (auto const& s : stages)
      if (auto ok = journal.put_stage({p.run, source_name, s, {}, 0, 0, 0, 0, 0, ""}); !ok) {
        report.fatal = ok.error();
        stages.clear();
        break;
      }
  }

  // runner::handle, runner::finish
  std::set<std::string> not_done;
  std::map<std::string, std::string> const needs{{"virtual-machines", "nodes"}, {"backups", "virtual-machines"}};
  for (auto const& s : stages) {
    engine::job_report r;
    r.source = source_name;
    r.stage = s;
    auto const stopping = why_stop();
    auto const need = needs.find(s);
    if (stopping || report.fatal) {
      r.status = engine::job_status::stopped;
      r.reason = stopping ? *stopping : *report.fatal;
      if (stopping && stopping->code != base::error_code::interrupted && !report.fatal) report.fatal = *stopping;
    } else if (need != needs.end() && not_done.contains(need->second)) {
      r.status = engine::job_status::skipped;
      r.reason = base::fail("it needs the stage '" + need->second + "', which did not succeed");
    } else {
      p.session->process(emitted(wanted, s), r, report);
    }
    if (r.status != engine::job_status::ok) not_done.insert(s);
    auto ok = journal.put_stage(engine::row_of(p.run, r));
    if (ok) ok = journal.remember(netbox_url, p.client->learnt(), p.loop->wall_now());
    if (!ok && !report.fatal) report.fatal = ok.error();
    report.jobs.push_back(std::move(r));
  }
  report.peak_in_flight = p.client->count().peak_in_flight;
  check_budget(p);
  p.client->stop();
  p.loop->wait(0ms, [] { return false; });
  if (auto ok = engine::record_end(journal, report, 0, "{}"); !ok) problem("record_end: " + ok.error().what);
}

}  // namespace weir::simulated
