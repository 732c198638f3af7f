// Carries out a stage's plan: lists, splits, look-ups. Pure: requests out, answers in; session.cpp does the waiting.
//
// Steps, each finished before the next begins: parents' updates and creates before their children's, then deletes,
// children first. Updates come before creates of the same kind, so that a name that is given up can be taken. Plans of
// an undo (reason::undone) are steps already, in their order.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/engine/plan.hpp"
#include "core/netbox/errors.hpp"
#include "core/store/journal.hpp"
#include "core/throttle/outcome.hpp"

namespace weir::engine {

struct write_request {
  std::uint64_t number = 0;  // unique in the run
  throttle::method verb = throttle::method::post;
  netbox::kind const* kind = nullptr;
  std::string body;                  // a JSON array
  std::string marker;                // each object's changelog message: whose batch it is
  std::vector<change const*> items;  // in the order of the body
};

// An object's reason in the journal, where a deletion found nothing to delete.
inline constexpr std::string_view gone_already = "it was gone already";

// What became of a request, for the journal. Objects that are sent again in a later one are `deferred` here.
struct batch_result {
  store::batch_state state = store::batch_state::done;
  std::string reason;
  std::vector<store::object_record> objects;  // by position: state, reason, netbox_id
};

// A POST without a usable answer, or whose objects somebody else made a moment before: what NetBox has of them must be
// found out before anything else is sent.
struct doubt {
  std::uint64_t number = 0;
  netbox::kind const* kind = nullptr;
  std::string marker;
  std::size_t objects = 0;
  throttle::outcome after = throttle::outcome::unknown;
};

struct apply_options {
  std::size_t objects_per_request = 50;  // the ceiling
  std::string source, stage;             // for failures and markers
  std::string run;                       // its id, for markers
  std::size_t most_outstanding = 8;
  bool parallel = false;           // several requests may be in flight: keep lists over the same parents apart
  std::uint64_t first_number = 1;  // of its requests
  // Objects for the next list; nothing: always the ceiling.
  std::function<std::size_t(throttle::method, netbox::kind const&)> list_size;
};

// What became of one kind.
struct kind_outcome {
  std::size_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
};

// Changes that never came into a request.
struct leftover {
  netbox::kind const* kind = nullptr;
  action what = action::create;
  std::size_t objects = 0;
};

class apply {
 public:
  apply(world& w, std::vector<kind_plan>& plans, apply_options options);

  // The next request to send. Nothing: wait for an answer (or for a look-up), or it is finished.
  std::optional<write_request> next();
  batch_result answered(std::uint64_t number, http::answer const& got);

  // A request that must be looked up before anything else is sent.
  std::optional<doubt> wants_lookup() const;
  // The ids NetBox now holds by natural key text (world::key_text), or nothing if that could not be found out.
  batch_result looked_up(std::uint64_t number, std::optional<std::unordered_map<std::string, object_id>> const& found);

  // Sends nothing more; what is left becomes deferred. `why` is said once in stop_reason().
  void abandon(base::error why);
  bool finished() const;

  // An estimate: lists still to be cut are taken for as long as the next one would be.
  std::size_t planned_requests() const;
  std::size_t answered_requests() const { return answered_requests_; }
  std::uint64_t next_number() const { return next_number_; }
  std::size_t total_objects() const { return total_objects_; }
  std::size_t done_objects() const { return done_objects_; }
  std::map<std::string, kind_outcome> const& outcomes() const { return outcomes_; }
  std::vector<failure> const& failures() const { return failures_; }
  std::vector<leftover> const& leftovers() const { return leftovers_; }
  std::optional<base::error> const& stop_reason() const { return stop_reason_; }

 private:
  struct list {
    std::vector<change const*> items;
    std::size_t doubts = 0;  // how often its outcome was unknown
    std::set<object_id> parents;
  };
  struct doubtful {
    std::uint64_t number = 0;
    list what;
    throttle::outcome after = throttle::outcome::unknown;
    std::vector<store::object_record> known;  // of the same request: what is decided already
  };
  struct step {
    action what = action::create;
    netbox::kind const* kind = nullptr;
    std::deque<change const*> fresh;  // not yet cut into lists
    std::deque<list> again;           // to be sent once more, before fresh ones
  };

  std::string marker_of(std::uint64_t number) const;
  std::set<object_id> parents_of(change const& c);
  bool is_free(std::set<object_id> const& parents) const;
  std::size_t size_for(step const& s) const;
  std::optional<list> cut(step& s);
  void fail(change const& c, std::string message);
  void done(change const& c);
  void requeue(list l);
  void split(list l, std::string const& message, batch_result& result);
  void refused(std::uint64_t number, list l, netbox::blame const& blame, batch_result& result);
  void landed(std::uint64_t number, list const& l, http::reply const& reply, batch_result& result);
  void defer_all(list const& l);
  std::optional<std::string> body_of(list& l, std::string const& marker);
  void advance();

  world& world_;
  apply_options options_;
  std::deque<step> steps_;
  std::map<std::uint64_t, list> outstanding_;
  std::deque<doubtful> doubtful_;
  std::uint64_t next_number_;
  std::size_t answered_requests_ = 0, total_objects_ = 0, done_objects_ = 0;
  std::size_t gave_up_in_a_row_ = 0;
  std::map<std::string, kind_outcome> outcomes_;
  std::vector<failure> failures_;
  std::vector<leftover> leftovers_;
  std::optional<base::error> stop_reason_;
};

// "7f3a2c1b#12 " finds what request 12 of that run wrote in NetBox's change log (the space ends the number).
std::string marker_query(std::string_view marker);

}  // namespace weir::engine
