// Carries out a stage's plan: batches, splits, look-ups. Pure: requests out, answers in; run.cpp does the waiting.
//
// Steps, each finished before the next begins: parents' updates and creates before their children's, then deletes,
// children first. Updates come before creates of the same kind, so that a name that is given up can be taken.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/engine/plan.hpp"
#include "core/netbox/errors.hpp"
#include "core/throttle/outcome.hpp"

namespace weir::engine {

struct write_request {
  std::uint64_t number = 0;
  throttle::method verb = throttle::method::post;
  netbox::kind const* kind = nullptr;
  std::string body;  // a JSON array
  std::size_t objects = 0;
};

struct apply_options {
  std::size_t objects_per_request = 50;
  std::string source, stage;  // for failures
  std::string marker;         // "weir run 7f3a2c", part of every object's changelog message
  std::size_t most_outstanding = 8;
};

// What became of one kind.
struct kind_outcome {
  std::size_t created = 0, updated = 0, deleted = 0, failed = 0, deferred = 0;
};

class apply {
 public:
  apply(world& w, std::vector<kind_plan>& plans, apply_options options);

  // The next request to send. Nothing: wait for an answer (or for a look-up), or it is finished.
  std::optional<write_request> next();
  void answered(std::uint64_t number, http::answer const& got);

  // A kind that must be read anew before it can go on: whether requests without a usable answer were carried out.
  netbox::kind const* wants_lookup() const;
  // The ids NetBox now holds by natural key text (world::key_text), or nothing if that read failed as well.
  void looked_up(std::optional<std::unordered_map<std::string, object_id>> found);

  // Sends nothing more; what is left becomes deferred. `why` is said once in stop_reason().
  void abandon(base::error why);
  bool finished() const;

  std::size_t planned_requests() const { return planned_requests_; }
  std::size_t answered_requests() const { return answered_requests_; }
  std::size_t total_objects() const { return total_objects_; }
  std::size_t done_objects() const { return done_objects_; }
  std::map<std::string, kind_outcome> const& outcomes() const { return outcomes_; }
  std::vector<failure> const& failures() const { return failures_; }
  std::optional<base::error> const& stop_reason() const { return stop_reason_; }

 private:
  struct list {
    std::vector<change const*> items;
    std::size_t doubts = 0;  // how often its outcome was unknown
  };
  struct step {
    action what = action::create;
    netbox::kind const* kind = nullptr;
    std::deque<list> waiting;
  };

  void fail(change const& c, std::string message);
  void done(change const& c);
  void defer(list const& l);
  void requeue(list l);
  void split(list l, std::string const& message);
  void refused(list l, netbox::blame const& blame);
  void landed(list const& l, http::reply const& reply);
  std::optional<std::string> body_of(list& l);
  void advance();

  world& world_;
  apply_options options_;
  std::deque<step> steps_;
  std::unordered_map<std::uint64_t, list> outstanding_;
  std::deque<list> doubtful_;  // POSTs to look up
  std::uint64_t next_number_ = 1;
  std::size_t planned_requests_ = 0, answered_requests_ = 0, total_objects_ = 0, done_objects_ = 0;
  std::map<std::string, kind_outcome> outcomes_;
  std::vector<failure> failures_;
  std::optional<base::error> stop_reason_;
};

}  // namespace weir::engine
