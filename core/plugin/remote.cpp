#include "core/plugin/remote.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

namespace weir::plugin {
namespace {

// So many objects are emitted without a look at what weir has to say.
constexpr std::uint64_t look_for_cancel = 256;
constexpr std::size_t buffer_size = std::size_t{64} << 10;
constexpr char too_long[] = "longer than the 256 MiB that a stage in a process of its own can pass on";

[[noreturn]] void end(child_exit how) { _exit(static_cast<int>(how)); }

}  // namespace

link::link(int socket) : socket_(socket), buffer_(buffer_size) {}

void link::send(std::string_view frame) {
  std::lock_guard const lock(writing_);
  while (!frame.empty()) {
    auto const n = ::send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL);
    if (n > 0)
      frame.remove_prefix(static_cast<std::size_t>(n));
    else if (n == 0 || errno != EINTR)
      end(child_exit::no_connection);
  }
}

std::string link::first(std::function<void(wire::message const&)> const& take) {
  for (;;) {
    if (auto const m = decoder_.next()) {
      take(*m);
      return {};
    }
    if (!decoder_.error().empty()) return decoder_.error();
    auto const n = recv(socket_, buffer_.data(), buffer_.size(), 0);
    if (n == 0) return "the connection was closed";
    if (n > 0)
      decoder_.feed({buffer_.data(), static_cast<std::size_t>(n)});
    else if (errno != EINTR)
      return "the connection broke";
  }
}

// With the lock held, and held again at the end; nobody else reads meanwhile.
void link::read_once(std::unique_lock<std::mutex>& lock) {
  // An answer that there is no memory for leaves the stream in pieces: there is no way on from there.
  try {
    reading_ = true;
    lock.unlock();
    ssize_t n = 0;
    do n = recv(socket_, buffer_.data(), buffer_.size(), 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) end(child_exit::no_connection);
    decoder_.feed({buffer_.data(), static_cast<std::size_t>(n)});
    while (auto const m = decoder_.next()) {
      if (m->what == wire::type::cancel) {
        cancelled_ = true;
        continue;
      }
      std::function<void(wire::message const&)> take;
      {
        std::lock_guard const inner(mutex_);
        auto const found = waiting_.find(m->call);
        if (found == waiting_.end()) continue;  // of somebody who left
        if (auto* slot = found->second.slot; slot != nullptr) {
          slot->what = m->what;
          slot->fields.assign(m->fields);
          slot->here = true;
        } else {
          take = std::move(found->second.take);
          --later_;
        }
        waiting_.erase(found);
      }
      if (take) take(*m);
    }
    if (!decoder_.error().empty()) end(child_exit::no_connection);
    lock.lock();
    reading_ = false;
    changed_.notify_all();
  } catch (std::bad_alloc const&) {
    end(child_exit::no_memory);
  }
}

void link::read_in_background() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return later_ > 0 && !reading_; });
    read_once(lock);
  }
}

bool link::ask(std::uint64_t call, std::string_view frame, bool leave_on_cancel,
               std::function<void(wire::message const&)> const& take) {
  answer slot;
  std::unique_lock lock(mutex_);
  waiting_.emplace(call, pending{&slot, {}});
  lock.unlock();
  send(frame);
  lock.lock();
  while (!slot.here) {
    if (leave_on_cancel && cancelled_) {
      waiting_.erase(call);
      return false;
    }
    if (reading_)
      changed_.wait(lock);
    else
      read_once(lock);
  }
  lock.unlock();
  take({slot.what, call, slot.fields});
  return true;
}

void link::ask_later(std::uint64_t call, std::string_view frame, std::function<void(wire::message const&)> take) {
  {
    std::lock_guard const lock(mutex_);
    waiting_.emplace(call, pending{nullptr, std::move(take)});
    ++later_;
    if (!background_) std::thread([this] { read_in_background(); }).detach();
    background_ = true;
  }
  changed_.notify_all();
  send(frame);
}

bool link::cancelled() {
  if (cancelled_) return true;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || reading_) return cancelled_;
  pollfd at{socket_, POLLIN, 0};
  if (poll(&at, 1, 0) > 0) read_once(lock);
  return cancelled_;
}

// --- services --------------------------------------------------------------------------------------------------------

bool remote_services::log_enabled(base::log::level l) const {
  return (start_.levels >> static_cast<unsigned>(l) & 1) != 0;
}

void remote_services::progress(std::uint64_t done, std::uint64_t total, std::string_view note) {
  wire::writer w(wire::type::progress);
  w.u64(done).u64(total).text(note);
  if (auto const frame = std::move(w).take()) link_.send(*frame);
}

void remote_services::log(base::log::level l, std::string_view message, std::vector<log_field> const& fields) {
  if (auto const frame = wire::frame(wire::said_log{l, std::string(message), fields})) link_.send(*frame);
}

void remote_services::notice(base::log::level l, std::string_view message, std::string_view hint) {
  wire::writer w(wire::type::notice);
  w.u8(static_cast<std::uint8_t>(l)).text(message).text(hint);
  if (auto const frame = std::move(w).take()) link_.send(*frame);
}

base::result<void> remote_services::taken(std::uint64_t call, wire::writer w) {
  auto const frame = std::move(w).take();
  if (!frame) return base::fail(too_long);
  base::result<void> out;
  link_.ask(call, *frame, false, [&](wire::message const& m) { out = wire::parse_taken(m); });
  return out;
}

fetched remote_services::answered(std::uint64_t call, wire::writer w, bool leave_on_cancel) {
  auto const frame = std::move(w).take();
  if (!frame) return {0, "", too_long, false};
  fetched out{0, "", "the run is being stopped", false};
  link_.ask(call, *frame, leave_on_cancel, [&](wire::message const& m) { out = wire::parse_answered(m); });
  return out;
}

remote_services::remote_services(link& to, wire::start const& start, std::string const& kinds_json)
    : link_(to), start_(start) {
  auto const brought = netbox::parse_kinds(kinds_json);
  if (!start.unanswered || !brought) return;
  declared_ = netbox::kind_names(kinds_json);
  for (auto const& k : *brought)
    if (!kinds_.add(k, start.stage)) declared_.erase(k.name);
}

// A stage that is being stopped learns it from an answer, where it does not ask for it.
netbox::kind const* remote_services::waits_for_nothing(std::string_view kind) {
  if (!declared_.contains(kind)) return nullptr;
  if (++emitted_ % look_for_cancel == 0 ? link_.cancelled() : link_.was_cancelled()) return nullptr;
  return kinds_.find(kind);
}

base::result<void> remote_services::emit(std::string_view kind, std::string_view key, std::string_view fields) {
  if (auto const* k = waits_for_nothing(kind))
    if (auto const sound = netbox::read_object(*k, key, fields)) {
      wire::writer w(wire::type::emit);
      w.text(kind).text(sound->key).text(sound->fields);
      if (auto const frame = std::move(w).take()) {
        link_.send(*frame);
        return {};
      }
    }
  auto const call = link_.next_call();
  wire::writer w(wire::type::emit, call);
  w.text(kind).text(key).text(fields);
  return taken(call, std::move(w));
}

base::result<void> remote_services::complete(std::string_view kind, std::string_view scope) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::complete, call);
  w.text(kind).text(scope);
  return taken(call, std::move(w));
}

fetched remote_services::fetch(std::string_view target) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::fetch, call);
  w.text(target);
  return answered(call, std::move(w), true);
}

void remote_services::fetch_async(std::string target, std::function<void(fetched)> done) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::fetch, call);
  w.text(target);
  auto const frame = std::move(w).take();
  if (!frame) return done({0, "", too_long, false});
  link_.ask_later(call, *frame, [done = std::move(done)](wire::message const& m) {
    fetched answer;
    try {
      answer = wire::parse_answered(m);
    } catch (std::runtime_error const& e) {
      answer = {0, "", std::string("weir itself failed: ") + e.what(), false};
    }
    done(std::move(answer));
  });
}

fetched remote_services::netbox_read(std::string_view target) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::netbox_read, call);
  w.text(target);
  return answered(call, std::move(w), true);
}

fetched remote_services::netbox_write(std::string_view method, std::string_view target, std::string_view body) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::netbox_write, call);
  w.text(method).text(target).text(body);
  // Whether it was written must be known, also when the run is being stopped.
  return answered(call, std::move(w), false);
}

base::result<void> remote_services::metric(metric_kind kind, std::string_view name, double value) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::metric, call);
  w.u8(kind == metric_kind::counter ? 0 : 1).text(name).f64(value);
  return taken(call, std::move(w));
}

base::result<std::optional<std::string>> remote_services::state_get(std::string_view key) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::state_get, call);
  w.text(key);
  base::result<std::optional<std::string>> out{std::optional<std::string>{}};
  if (auto const frame = std::move(w).take())
    link_.ask(call, *frame, false, [&](wire::message const& m) { out = wire::parse_value(m); });
  return out;
}

base::result<void> remote_services::state_put(std::string_view key, std::optional<std::string_view> value) {
  auto const call = link_.next_call();
  wire::writer w(wire::type::state_put, call);
  w.text(key).u8(value ? 1 : 0).text(value.value_or(std::string_view{}));
  return taken(call, std::move(w));
}

base::result<std::string> remote_services::scope() {
  auto const call = link_.next_call();
  base::result<std::optional<std::string>> out{std::optional<std::string>{}};
  if (auto const frame = wire::writer(wire::type::scope, call).take())
    link_.ask(call, *frame, false, [&](wire::message const& m) { out = wire::parse_value(m); });
  if (!out) return out.error();
  if (!*out) return base::fail("weir did not say which part of the source this run is about");
  return std::move(**out);
}

}  // namespace weir::plugin
