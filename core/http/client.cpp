#include "core/http/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <unordered_map>

#include "core/base/log.hpp"
#include "core/base/text.hpp"

namespace weir::http {
namespace {

namespace log = base::log;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using throttle::clock;
using throttle::outcome;
using throttle::ticket;

constexpr auto quiet_after_warning = std::chrono::seconds(5);

// Path and the names of the query's parameters: their values may be long, or nobody's business.
std::string for_log(std::string_view url) {
  auto const scheme = url.find("://");
  auto const path = scheme == std::string_view::npos ? 0 : std::min(url.find('/', scheme + 3), url.size());
  auto const query = std::min(url.find('?', path), url.size());
  std::string out(url.substr(path, query - path));
  for (auto at = query; at < url.size();) {
    auto const next = std::min(url.find('&', at + 1), url.size());
    auto const pair = url.substr(at, next - at);
    out += pair.substr(0, pair.find('='));
    at = next;
  }
  return base::shorten(out, 200);
}

// What came back, for a log line: the transport's words, or the status and the beginning of the body.
std::string describe(reply const& r, headers const& sent) {
  if (r.error != failure::none) return scrub(r.error_text, sent);
  auto text = fmt::format("{} {}", r.status, r.reason);
  if (r.status >= 400 && !r.body.empty()) text += ": " + base::shorten(scrub(r.body.substr(0, 4096), sent), 160);
  return scrub(std::move(text), sent);
}

throttle::observation observe(reply const& r, throttle::method verb) {
  throttle::observation seen;
  seen.verb = verb;
  seen.status = r.status;
  seen.timed_out = r.error == failure::timeout;
  seen.request_sent = r.request_sent;
  seen.connection_reused = r.connection_reused;
  seen.reply_started = r.reply_started;
  seen.cancelled = r.error == failure::cancelled;
  seen.cut = r.error != failure::none && !seen.timed_out && !seen.cancelled;
  seen.has_retry_after = !r.header("retry-after").empty();
  seen.content_type = r.header("content-type");
  seen.body = r.body;
  return seen;
}

std::string in_seconds(clock::duration d) { return fmt::format("{:.1f} s", std::chrono::duration<double>(d).count()); }

}  // namespace

// On the loop's thread, but for the snapshot.
struct client::state : std::enable_shared_from_this<state> {
  struct pending {
    call what;
    std::function<void(answer)> done;
    bool fresh_connection = false;  // for the next attempt
    outcome last = outcome::cancelled;
    reply last_reply;  // of the last attempt that failed, for whoever is given it back
    std::size_t attempts = 0;
  };
  std::string last_failure;  // in a few words: why nothing succeeds, for those that are not even sent
  struct quiet {
    clock::time_point until = clock::time_point::min();
    std::uint64_t unsaid = 0;
  };

  state(std::shared_ptr<loop> on, std::unique_ptr<transport> w, throttle::limits const& ceilings, std::string n,
        classifier m, std::uint64_t seed)
      : io(std::move(on)), wire(std::move(w)), gate(ceilings, seed), name(std::move(n)), meaning(m) {}

  void submit(call what, std::function<void(answer)> done) {
    if (stopped || draining || gate.gave_up()) {
      answer a;
      a.reply.error = failure::cancelled;
      a.reply.error_text = name + ": stopped";
      if (gate.gave_up() && !stopped) gave_up(a);
      done(std::move(a));
      return;
    }
    auto const t = ++last_ticket;
    gate.submit(io->now(), t, {what.request.verb, what.lane, what.objects, what.endpoint, what.impatient});
    waiting.emplace(t, pending{std::move(what), std::move(done), false, outcome::cancelled, {}, 0});
    pump();
  }

  // Starts what may start now, and sets the timer for what may start later.
  void pump() {
    if (stopped) return;
    auto now = io->now();
    while (auto const t = gate.next(now)) {
      start(*t);
      now = io->now();
    }
    auto const wake = gate.wake(now);
    if (wake != armed_for) {
      armed_for = wake;
      if (timer) io->cancel(*timer);
      timer.reset();
      if (wake != clock::time_point::max())
        timer = io->call_at(wake, [weak = weak_from_this()] {
          auto const self = weak.lock();
          if (!self) return;
          self->timer.reset();
          self->armed_for = clock::time_point::max();
          self->pump();
        });
    }
    publish();
  }

  void start(ticket t) {
    // Weak: the transport belongs to this state.
    auto done = [weak = weak_from_this(), t](reply got) {
      if (auto const self = weak.lock()) self->finished(t, std::move(got));
    };
    if (t == throttle::probe_ticket) return wire->send(probe, std::move(done));
    auto& p = waiting.at(t);
    auto const& r = p.what.request;
    if (p.what.before_attempt && !p.what.before_attempt()) {
      reply refused;
      refused.error = failure::cancelled;
      refused.error_text = name + ": not sent, because it could not be written to the journal";
      io->post([done = std::move(done), refused = std::move(refused)]() mutable { done(std::move(refused)); });
      return;
    }
    if (!p.fresh_connection) return wire->send(r, std::move(done));
    auto fresh = r;
    fresh.fresh_connection = true;
    wire->send(fresh, std::move(done));
  }

  void finished(ticket t, reply got) {
    bool const probing = t == throttle::probe_ticket;
    auto const found = waiting.find(t);
    if (!probing && found == waiting.end()) return;
    auto const& sent = probing ? probe : found->second.what.request;
    auto const now = io->now();
    auto const seen = observe(got, sent.verb);
    auto what =
        got.error == failure::too_big && sent.verb == throttle::method::get ? outcome::too_large : meaning(seen);
    auto const cause = throttle::database_trouble(seen);
    busy_ms += got.elapsed.count();
    auto const v = gate.done(now, t,
                             {what, got.elapsed, throttle::retry_after(got.header("retry-after"), io->wall_now()),
                              got.certificate_refused, cause, got.body.size()});
    if (what != outcome::ok) last_failure = describe(got, sent.headers);
    publish_learnt();
    tell();
    if (attempt_listener) {
      attempt_seen told;
      told.verb = sent.verb;
      if (!probing) {
        told.endpoint = found->second.what.endpoint;
        told.objects = found->second.what.objects;
      }
      told.outcome = what;
      told.status = got.status;
      told.again = v.again;
      told.elapsed = got.elapsed;
      attempt_listener(told);
    }
    if (!probing) {
      auto& p = found->second;
      p.attempts = v.attempts;
      log_attempt(p, got, what, v);
      if (v.again) {
        // In a starved pool another connection may lead to another of NetBox's processes, which has what it needs.
        p.fresh_connection = what == outcome::stale || cause == throttle::trouble::no_connection;
        if (what != outcome::stale) warn_of_retry(p, got, what, v, now);  // a stale connection is nobody's trouble
        p.last = what;
        p.last_reply = std::move(got);
      } else {
        answer a{what, std::move(got), v.attempts, gate.gave_up()};
        auto const done = std::move(p.done);
        waiting.erase(found);
        pump();
        done(std::move(a));
      }
    }
    if (gate.gave_up()) hand_back();
    pump();
  }

  // What waits will not be sent: its owner is told what came last.
  void hand_back() {
    for (auto const t : gate.take_waiting()) {
      auto const found = waiting.find(t);
      auto p = std::move(found->second);
      waiting.erase(found);
      answer a{p.last, std::move(p.last_reply), p.attempts, true};
      if (p.attempts == 0) gave_up(a);
      p.done(std::move(a));
    }
  }

  void gave_up(answer& a) {
    a.outcome = outcome::unreachable;
    a.gave_up = true;
    a.reply.error = failure::other;
    a.reply.error_text = fmt::format("{}: not sent, since nothing has succeeded for more than {} s{}", name,
                                     gate.ceilings().max_outage.count(),
                                     last_failure.empty() ? "" : "; the last that failed: " + last_failure);
  }

  // What the gate has decided, for the log and for whoever listens.
  void tell() {
    for (auto const& e : gate.take_events()) {
      say(e);
      if (listener) listener(e, gate.adaptation());
    }
  }

  void say(throttle::event const& e) const {
    using what = throttle::event::what;
    if (gate.ceilings().control == throttle::control::fixed) return;
    auto const prefix = name + (gate.ceilings().control == throttle::control::observe ? ": (observed only) " : ": ");
    switch (e.kind) {
      case what::limit:
        log::debug(fmt::format("{}at most {} in flight, {} apart; answers take {:.1f} times as long as usual", prefix,
                               static_cast<std::size_t>(e.limit), in_seconds(e.gap), e.inflation));
        break;
      case what::opened:
        log::warning(
            fmt::format("{}it does not answer; nothing is sent for {}, then a probe", prefix, in_seconds(e.pause)));
        break;
      case what::probe:
        log::debug(prefix + "probing whether it is back");
        break;
      case what::closed:
        log::info(prefix + "it answers again");
        break;
      case what::starved:
        log::warning(prefix + throttle::starved_text(e.mixed), {{"hint", std::string(throttle::starved_hint)}});
        break;
      case what::fed:
        log::info(prefix + "its database has connections to spare again");
        break;
      case what::gave_up:
        log::error(fmt::format("{}nothing has succeeded for more than {} s; what is left is deferred", prefix,
                               gate.ceilings().max_outage.count()));
        break;
    }
  }

  void log_attempt(pending const& p, reply const& got, outcome what, throttle::verdict const& v) const {
    if (!log::enabled(log::level::debug)) return;
    auto const& sent = p.what.request;
    log::debug(fmt::format("{}: {} {}: {}{}", name, throttle::name(sent.verb), for_log(sent.url), throttle::name(what),
                           got.error == failure::none ? "" : " (" + scrub(got.error_text, sent.headers) + ")"),
               {{"stage", p.what.lane},
                {"attempt", std::to_string(v.attempts)},
                {"status", std::to_string(got.status)},
                {"dur_ms", std::to_string(got.elapsed.count())}});
  }

  // One line for each outcome in five seconds; those left out are counted into the next one.
  void warn_of_retry(pending const& p, reply const& got, outcome what, throttle::verdict const& v,
                     clock::time_point now) {
    auto& q = warned[static_cast<std::size_t>(what)];
    if (now < q.until) {
      ++q.unsaid;
      return;
    }
    auto const wait = std::max(duration_cast<milliseconds>(v.at - now), milliseconds(0));
    auto const more =
        q.unsaid == 0 ? std::string() : fmt::format(" ({} more like it since the last such line)", q.unsaid);
    auto const& sent = p.what.request;
    log::warning(fmt::format("{}: {} {} will be tried again in {:.1f} s: {}: {}{}", name, throttle::name(sent.verb),
                             for_log(sent.url), static_cast<double>(wait.count()) / 1000, throttle::name(what),
                             describe(got, sent.headers), more),
                 {{"stage", p.what.lane},
                  {"attempt", fmt::format("{}/{}", v.attempts, gate.ceilings().max_attempts)},
                  {"status", std::to_string(got.status)}});
    q.until = now + quiet_after_warning;
    q.unsaid = 0;
  }

  void stop() {
    if (stopped) return;
    stopped = true;
    if (timer) io->cancel(*timer);
    timer.reset();
    for (std::size_t i = 0; i < std::size(warned); ++i)
      if (warned[i].unsaid > 0)
        log::warning(fmt::format("{}: {} more requests were tried again after '{}'", name, warned[i].unsaid,
                                 throttle::name(static_cast<outcome>(i))));
    auto ended = std::move(waiting);
    waiting.clear();
    std::vector<ticket> tickets;
    for (auto const& [t, p] : ended) tickets.push_back(t);
    std::sort(tickets.begin(), tickets.end());
    std::vector<answer> answers(tickets.size());
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      auto& a = answers[i];
      a.reply.error = failure::cancelled;
      bool const waited = gate.cancel(tickets[i]);
      if (!waited)
        a.attempts = gate.done(io->now(), tickets[i], {outcome::cancelled, milliseconds(0), {}, true}).attempts;
      a.reply.request_sent = !waited;  // as far as we know: whoever sent it has to look
      a.reply.error_text = name + (waited ? ": stopped before it was sent" : ": stopped while it was under way");
    }
    publish();
    wire->cancel_all();
    for (std::size_t i = 0; i < tickets.size(); ++i) ended.at(tickets[i]).done(std::move(answers[i]));
  }

  void drain() {
    if (stopped) return;
    draining = true;
    for (auto const t : gate.take_waiting()) {
      auto const found = waiting.find(t);
      auto p = std::move(found->second);
      waiting.erase(found);
      answer a;
      a.attempts = p.attempts;
      a.reply.error = failure::cancelled;
      a.reply.error_text = name + ": stopped before it was sent";
      p.done(std::move(a));
    }
    pump();
  }

  void publish() {
    std::lock_guard const lock(snapshot_mutex);
    snapshot = gate.count();
    adaptation = gate.adaptation();
  }

  // Apart, because it copies a table and changes with answers only.
  void publish_learnt() {
    std::lock_guard const lock(snapshot_mutex);
    learnt = gate.learnt();
  }

  std::shared_ptr<loop> io;
  std::unique_ptr<transport> wire;
  throttle::gate gate;
  std::string const name;
  classifier const meaning;
  http::request probe;
  std::function<void(throttle::event const&, throttle::throttle_state const&)> listener;
  std::function<void(attempt_seen const&)> attempt_listener;
  std::function<bool()> stopping;
  std::optional<loop::timer> timer;
  clock::time_point armed_for = clock::time_point::max();
  std::unordered_map<ticket, pending> waiting;  // queued, in flight or in backoff
  ticket last_ticket = 0;
  bool stopped = false, draining = false;
  quiet warned[11];
  std::atomic<std::int64_t> busy_ms{0};
  mutable std::mutex snapshot_mutex;
  throttle::counters snapshot;
  throttle::throttle_state adaptation;
  throttle::latencies learnt;
};

client::client(boost::asio::io_context& io, std::unique_ptr<transport> wire, throttle::limits const& ceilings,
               std::string name, classifier meaning)
    : client(make_asio_loop(io), std::move(wire), ceilings, std::move(name), meaning, std::random_device{}()) {}

client::client(std::shared_ptr<loop> on, std::unique_ptr<transport> wire, throttle::limits const& ceilings,
               std::string name, classifier meaning, std::uint64_t seed)
    : state_(std::make_shared<state>(std::move(on), std::move(wire), ceilings, std::move(name), meaning, seed)) {}

client::~client() { stop(); }

void client::send(call what, std::function<void(answer)> done) {
  state_->io->post([self = state_, what = std::move(what), done = std::move(done)]() mutable {
    self->submit(std::move(what), std::move(done));
  });
}

namespace {

// Where a blocking caller finds its answer; a request that is dropped with its loop leaves one as well.
struct mailbox {
  std::shared_ptr<loop> io;
  std::atomic<bool> ready{false};
  answer got;
  void put(answer a) {
    got = std::move(a);
    ready.store(true, std::memory_order_release);
    io->wake();
  }
};
struct courier {
  std::shared_ptr<mailbox> to;
  explicit courier(std::shared_ptr<mailbox> m) : to(std::move(m)) {}
  courier(courier const&) = delete;
  courier& operator=(courier const&) = delete;
  ~courier() {
    if (to->ready.load()) return;
    answer a;
    a.reply.error = failure::cancelled;
    a.reply.error_text = "the I/O loop ended";
    to->put(std::move(a));
  }
};

}  // namespace

answer client::send_and_wait(call what) {
  if (state_->io->on_loop_thread()) {
    answer a;
    a.reply.error = failure::other;
    a.reply.error_text = "a blocking request on the I/O thread would never end";
    return a;
  }
  auto const box = std::make_shared<mailbox>();
  box->io = state_->io;
  auto carrier = std::make_shared<courier>(box);
  send(std::move(what), [carrier = std::move(carrier)](answer a) { carrier->to->put(std::move(a)); });
  auto const ready = [&] { return box->ready.load(std::memory_order_acquire); };
  // An outage may be waited out for minutes: who is to stop must not have to wait for its end.
  while (!box->io->wait(milliseconds(200), ready))
    if (state_->stopping && state_->stopping()) drain();
  return std::move(box->got);
}

void client::stop() {
  state_->io->post([self = state_] { self->stop(); });
}

void client::drain() {
  state_->io->post([self = state_] { self->drain(); });
}

void client::drain_when(std::function<bool()> stopping) { state_->stopping = std::move(stopping); }

void client::probe_with(http::request what) { state_->probe = std::move(what); }

throttle::throttle_state client::adaptation() const {
  std::lock_guard const lock(state_->snapshot_mutex);
  return state_->adaptation;
}

void client::on_event(std::function<void(throttle::event const&, throttle::throttle_state const&)> listener) {
  state_->listener = std::move(listener);
}

void client::on_attempt(std::function<void(attempt_seen const&)> listener) {
  state_->attempt_listener = std::move(listener);
}

std::size_t client::list_size(throttle::method verb, std::string_view endpoint, std::size_t ceiling) const {
  if (state_->gate.ceilings().control != throttle::control::adaptive) return std::max<std::size_t>(1, ceiling);
  std::lock_guard const lock(state_->snapshot_mutex);
  return state_->learnt.list_size(verb, endpoint, ceiling);
}

std::optional<milliseconds> client::usual_latency(throttle::method verb, std::string_view endpoint,
                                                  std::size_t objects) const {
  std::lock_guard const lock(state_->snapshot_mutex);
  auto const per_unit = state_->learnt.reference(verb, endpoint);
  if (!per_unit) return {};
  return milliseconds(static_cast<std::int64_t>(1000 * *per_unit * throttle::work_of(verb, objects, 0)));
}

std::string client::learnt() const {
  std::lock_guard const lock(state_->snapshot_mutex);
  return state_->learnt.save();
}

void client::restore(std::string text) {
  state_->gate.restore(text);
  state_->publish_learnt();
}

loop& client::on() const { return *state_->io; }

throttle::counters client::count() const {
  std::lock_guard const lock(state_->snapshot_mutex);
  return state_->snapshot;
}

milliseconds client::time_in_flight() const { return milliseconds(state_->busy_ms.load()); }

}  // namespace weir::http
