// Writes what stages want into one NetBox: snapshot, diff, plan, journal, apply, look-ups. Blocks its thread; requests
// go through the gate on whatever loop the client runs on, so that the simulator drives the same code on a virtual
// clock.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/config/config.hpp"
#include "core/engine/apply.hpp"
#include "core/engine/collected.hpp"
#include "core/engine/diff.hpp"
#include "core/engine/journal_memory.hpp"
#include "core/engine/memory.hpp"
#include "core/engine/narrow.hpp"
#include "core/engine/proxbox.hpp"
#include "core/engine/report.hpp"
#include "core/netbox/client.hpp"
#include "core/store/journal.hpp"

namespace weir::engine {

struct session_options {
  config::profile profile;
  std::size_t max_deletes = 10, max_deletes_percent = 20;
  std::optional<std::size_t> allow_deletes;  // --allow-deletes
  bool adopt_only = false;                   // weir adopt
  bool few_guests = false;                   // --guest: what is wanted is little, and little is read
  std::string run_id;
  bool dry = false;
  // A dry run's: what earlier runs remembered is read from it. May be null.
  store::journal const* remembered_in = nullptr;
  std::function<std::optional<base::error>()> stop;  // why nothing more shall be sent, once there is a reason
  std::function<void(progress const&)> moved;        // may be empty, as the next
  std::function<void(job_report const&)> planned;
  std::function<void(written_batch const&)> wrote;
};

class session {
 public:
  // `journal` may be null only in a dry run.
  session(netbox::client& nb, netbox::registry const& kinds, store::journal* journal, session_options options);

  // Reads, compares, plans and (unless dry) writes what one stage wants from one source. Fills the report's plans,
  // counts, status and reason; what concerns the whole run goes into `into`.
  void process(collected what, job_report& r, report& into);

  // Carries out plans that were made earlier (plan_file) or from the journal (undo) instead of by process(): r.plans
  // are filled in, and their objects are in the world (see objects()). Fills in counts, status and reason.
  void perform(job_report& r, report& into);

  // Whether NetBox has netbox_proxbox, whose rows tell what objects of the proxbox service are.
  void proxbox_installed(bool yes) { proxbox_.available(yes); }
  world& objects() { return world_; }
  memory& remembered() { return *memory_; }

  // Finds out what became of the requests that earlier runs, which no process is at work on any more, had on the wire
  // when they ended. Waits until NetBox cannot be at work on them. Their number; an error if NetBox or the journal
  // fails.
  base::result<std::size_t> settle(std::vector<store::run_record> const& earlier);

 private:
  base::result<void> read_tables(collected const& what, std::string const& lane);
  base::result<void> read_table(netbox::kind const& k, std::set<std::string> const& fields, std::string const& lane);
  struct few {
    std::set<std::string> queries;
    std::set<std::uint64_t> ids;
  };
  // The rows of these. False: NetBox does not know the filter of a query.
  base::result<bool> read_these(netbox::kind const& k, std::set<std::string> const& fields, few const& these,
                                std::string const& lane);
  // Only the rows that `wanted` may be about, and those that were read for that before. False: all of them must be.
  base::result<bool> read_few(netbox::kind const& k, std::set<std::string> const& fields, asked_for const& wanted,
                              std::string const& lane);
  base::result<void> plan_marks(job_report& r, diff_rules const& rules);
  // weir adopt: custom fields and the tag are made when something is taken over that needs them.
  void make_only_what_claims_need(job_report& r);
  base::result<void> plan_gone_with_parents(job_report& r, report& into);
  void carry_out(job_report& r, report& into);
  // What was noted gets into the journal, before anything is written on top of it. False: it could not be.
  bool keep_notes(job_report& r, report& into);
  // The rows of a request's objects for the journal; what is deleted is read once more for that, whole.
  base::result<std::vector<store::object_record>> recorded(write_request const& request, std::string const& lane);
  void count(job_report& r, report& into);  // what the plans, and their carrying out, came to
  base::result<std::size_t> settle_run(std::string const& earlier_run);
  base::result<std::vector<netbox::client::logged_change>> logged(std::string const& marker,
                                                                  throttle::clock::time_point deadline,
                                                                  std::string const& lane);
  base::result<std::unordered_map<std::string, object_id>> look_up(doubt const& d, throttle::clock::time_point sent,
                                                                   std::string const& lane);
  std::chrono::milliseconds patience(throttle::method verb, std::string_view path, std::size_t objects,
                                     bool may_run_on) const;
  bool pause(std::chrono::milliseconds time);  // false: the run shall stop

  netbox::client& netbox_;
  http::client& wire_;
  netbox::registry const& kinds_;
  store::journal* journal_;
  session_options options_;
  world world_;
  proxbox_records proxbox_;
  std::unique_ptr<memory> memory_;
  journal_memory* kept_ = nullptr;  // the same, if it is the journal's
  std::uint64_t next_batch_ = 1;
  std::map<std::string, few> few_;    // by kind, of which a part was read
  std::vector<kind_plan> held_back_;  // by make_only_what_claims_need()
};

}  // namespace weir::engine
