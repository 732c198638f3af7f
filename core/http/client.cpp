#include "core/http/client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>
#include <mutex>
#include <random>
#include <unordered_map>

#include "core/base/log.hpp"
#include "core/base/text.hpp"

namespace weir::http {
namespace {

namespace asio = boost::asio;
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

outcome meaning_of(reply const& r, throttle::method verb, classifier meaning) {
  if (r.error == failure::too_big && verb == throttle::method::get) return outcome::too_large;
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
  return meaning(seen);
}

}  // namespace

// On the loop's thread, but for the snapshot.
struct client::state : std::enable_shared_from_this<state> {
  struct pending {
    call what;
    std::function<void(answer)> done;
    bool last_was_stale = false;
  };
  struct quiet {
    clock::time_point until = clock::time_point::min();
    std::uint64_t unsaid = 0;
  };

  state(asio::io_context& loop, std::unique_ptr<transport> w, throttle::limits const& ceilings, std::string n,
        classifier m)
      : io(loop),
        wire(std::move(w)),
        gate(ceilings, std::random_device{}()),
        name(std::move(n)),
        meaning(m),
        timer(loop) {}

  void submit(call what, std::function<void(answer)> done) {
    if (stopped) {
      answer a;
      a.reply.error = failure::cancelled;
      a.reply.error_text = name + ": stopped";
      done(std::move(a));
      return;
    }
    auto const t = ++last_ticket;
    gate.submit(clock::now(), t, {what.request.verb, what.lane, what.objects});
    waiting.emplace(t, pending{std::move(what), std::move(done)});
    pump();
  }

  // Starts what may start now, and sets the timer for what may start later.
  void pump() {
    if (stopped) return;
    auto now = clock::now();
    while (auto const t = gate.next(now)) {
      start(*t);
      now = clock::now();
    }
    auto const wake = gate.wake(now);
    if (wake != armed_for) {
      armed_for = wake;
      timer.cancel();
      if (wake != clock::time_point::max()) {
        timer.expires_at(wake);
        timer.async_wait([weak = weak_from_this()](boost::system::error_code ec) {
          auto const self = weak.lock();
          if (ec || !self) return;
          self->armed_for = clock::time_point::max();
          self->pump();
        });
      }
    }
    publish();
  }

  void start(ticket t) {
    auto& p = waiting.at(t);
    auto const& r = p.what.request;
    // Weak: the transport belongs to this state.
    auto done = [weak = weak_from_this(), t](reply got) {
      if (auto const self = weak.lock()) self->finished(t, std::move(got));
    };
    if (!p.last_was_stale) return wire->send(r, std::move(done));
    auto fresh = r;
    fresh.fresh_connection = true;
    wire->send(fresh, std::move(done));
  }

  void finished(ticket t, reply got) {
    auto const found = waiting.find(t);
    if (found == waiting.end()) return;
    auto& p = found->second;
    auto const& sent = p.what.request;
    auto const now = clock::now();
    auto const what = meaning_of(got, sent.verb, meaning);
    busy_ms += got.elapsed.count();
    auto const v = gate.done(now, t, what, got.elapsed,
                             throttle::retry_after(got.header("retry-after"), std::chrono::system_clock::now()),
                             got.certificate_refused);
    log_attempt(p, got, what, v);
    if (v.again) {
      p.last_was_stale = what == outcome::stale;
      if (what != outcome::stale) warn_of_retry(p, got, what, v, now);  // a stale connection is nobody's trouble
      pump();
      return;
    }
    answer a{what, std::move(got), v.attempts};
    auto const done = std::move(p.done);
    waiting.erase(found);
    pump();
    done(std::move(a));
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
    timer.cancel();
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
        a.attempts = gate.done(clock::now(), tickets[i], outcome::cancelled, milliseconds(0), {}, true).attempts;
      a.reply.request_sent = !waited;  // as far as we know: whoever sent it has to look
      a.reply.error_text = name + (waited ? ": stopped before it was sent" : ": stopped while it was under way");
    }
    publish();
    wire->cancel_all();
    for (std::size_t i = 0; i < tickets.size(); ++i) ended.at(tickets[i]).done(std::move(answers[i]));
  }

  void publish() {
    std::lock_guard const lock(snapshot_mutex);
    snapshot = gate.count();
  }

  asio::io_context& io;
  std::unique_ptr<transport> wire;
  throttle::gate gate;
  std::string const name;
  classifier const meaning;
  asio::steady_timer timer;
  clock::time_point armed_for = clock::time_point::max();
  std::unordered_map<ticket, pending> waiting;  // queued, in flight or in backoff
  ticket last_ticket = 0;
  bool stopped = false;
  quiet warned[11];
  std::atomic<std::int64_t> busy_ms{0};
  mutable std::mutex snapshot_mutex;
  throttle::counters snapshot;
};

client::client(asio::io_context& io, std::unique_ptr<transport> wire, throttle::limits const& ceilings,
               std::string name, classifier meaning)
    : state_(std::make_shared<state>(io, std::move(wire), ceilings, std::move(name), meaning)) {}

client::~client() { stop(); }

void client::send(call what, std::function<void(answer)> done) {
  asio::post(state_->io, [self = state_, what = std::move(what), done = std::move(done)]() mutable {
    self->submit(std::move(what), std::move(done));
  });
}

answer client::send_and_wait(call what) {
  if (state_->io.get_executor().running_in_this_thread()) {
    answer a;
    a.reply.error = failure::other;
    a.reply.error_text = "a blocking request on the I/O thread would never end";
    return a;
  }
  auto promise = std::make_shared<std::promise<answer>>();
  auto future = promise->get_future();
  send(std::move(what), [promise = std::move(promise)](answer a) { promise->set_value(std::move(a)); });
  try {
    return future.get();
  } catch (std::future_error const&) {  // the loop went away with the request in it
    answer a;
    a.reply.error = failure::cancelled;
    a.reply.error_text = "the I/O loop ended";
    return a;
  }
}

void client::stop() {
  asio::post(state_->io, [self = state_] { self->stop(); });
}

throttle::counters client::count() const {
  std::lock_guard const lock(state_->snapshot_mutex);
  return state_->snapshot;
}

milliseconds client::time_in_flight() const { return milliseconds(state_->busy_ms.load()); }

}  // namespace weir::http
