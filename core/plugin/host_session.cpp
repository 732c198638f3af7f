#include "core/plugin/host_session.hpp"

#include <algorithm>
#include <array>

#include "core/base/text.hpp"
#include "core/plugin/utf8.hpp"

namespace weir::plugin {
namespace {

using base::log::level;

// Longer than this is no text but a length that was never set.
constexpr std::size_t max_text = std::size_t{256} << 20;
// So many replies that were given back keep their (emptied) head, so that a second release() is seen for what it is.
constexpr std::size_t kept_heads = 1024;

weir_str borrow(std::string const& text) { return {text.data(), text.size()}; }

void reply_release(weir_reply const* face) noexcept {
  if (face == nullptr || face->ctx == nullptr) return;
  auto* s = static_cast<session*>(face->ctx);
  guarded(*s, "release", [&] {
    s->take_back(face);
    return WEIR_OK;
  });
}

}  // namespace

void session::broke(std::string what) {
  std::lock_guard const lock(mutex);
  if (seen.broken_count++ == 0) seen.broken = std::move(what);
}

void session::call_failed(std::string what, std::string hint, int http_status) {
  std::lock_guard const lock(mutex);
  seen.last_failure = std::move(what);
  seen.last_hint = std::move(hint);
  seen.last_http_status = http_status;
}

bool session::on_stage_thread(char const* function) {
  if (std::this_thread::get_id() == thread) return true;
  broke(fmt::format("{}() was called on another thread than the stage's", function));
  return false;
}

bool session::inside_collect(char const* function) {
  if (collecting) return true;
  broke(fmt::format("{}() was called outside collect()", function));
  return false;
}

std::optional<std::string_view> session::text(weir_str s, char const* function, char const* argument,
                                              bool may_be_empty) {
  char const* wrong = nullptr;
  if (s.ptr == nullptr && s.len > 0)
    wrong = "a null pointer with a length";
  else if (s.len > max_text)
    wrong = "longer than 256 MiB";
  else if (s.len == 0 && !may_be_empty)
    wrong = "empty";
  else if (s.len > 0 && !valid_utf8({s.ptr, s.len}))
    wrong = "not UTF-8";
  if (wrong == nullptr) return s.len == 0 ? std::string_view{} : std::string_view{s.ptr, s.len};
  broke(fmt::format("{}(): {} is {}", function, argument, wrong));
  return {};
}

std::optional<std::string_view> session::target(weir_str s, char const* function) {
  auto const t = text(s, function, "target", false);
  if (!t) return {};
  bool const clean = std::all_of(t->begin(), t->end(), [](char c) {
    auto const u = static_cast<unsigned char>(c);
    return u > 0x20 && u != 0x7f;
  });
  if (clean) return t;
  broke(fmt::format("{}(): target \"{}\" holds a blank or a control character, which must be percent-encoded", function,
                    base::shorten(*t, 80)));
  return {};
}

std::string session::words(weir_str s, char const* function, char const* argument) {
  if (s.ptr == nullptr && s.len > 0) {
    broke(fmt::format("{}(): {} is a null pointer with a length", function, argument));
    return {};
  }
  return s.len == 0 ? std::string{} : repair_utf8({s.ptr, std::min(s.len, max_text)});
}

weir_reply const* session::hand_out(fetched answer, std::string request) {
  auto made = std::make_unique<reply>();
  made->body = std::move(answer.body);
  if (!answer.ok) made->error = answer.error.empty() ? "no reason given" : std::move(answer.error);
  made->request = std::move(request);
  made->face.h = {sizeof(weir_reply), WEIR_ABI_MAJOR, WEIR_ABI_MINOR};
  made->face.ctx = this;
  made->face.http_status = static_cast<std::uint32_t>(std::max(answer.status, 0));
  made->face.body = borrow(made->body);
  made->face.error = borrow(made->error);
  made->face.release = &reply_release;
  auto const* face = &made->face;
  std::lock_guard const lock(mutex);
  out.emplace(face, std::move(made));
  return face;
}

void session::take_back(weir_reply const* face) {
  std::unique_ptr<reply> oldest;  // freed without the lock
  std::unique_lock lock(mutex);
  auto const found = out.find(face);
  if (found == out.end()) {
    auto const before =
        std::find_if(given_back.begin(), given_back.end(), [&](auto const& r) { return &r->face == face; });
    auto what = before == given_back.end()
                    ? std::string("release(): not a reply that weir handed out")
                    : fmt::format("release(): the reply to {} was given back twice", (*before)->request);
    lock.unlock();
    broke(std::move(what));
    return;
  }
  auto& mine = *found->second;
  mine.face.body = mine.face.error = weir_str{nullptr, 0};
  std::string().swap(mine.body);
  std::string().swap(mine.error);
  given_back.push_back(std::move(found->second));
  out.erase(found);
  if (given_back.size() > kept_heads) {
    oldest = std::move(given_back.front());
    given_back.pop_front();
  }
}

level to_level(std::int32_t l) {
  static constexpr std::array levels{level::trace, level::debug, level::info, level::warning, level::error};
  return levels[static_cast<std::size_t>(std::clamp<std::int32_t>(l, WEIR_TRACE, WEIR_ERROR))];
}

weir_status refused(session& s, char const* function, base::error const& e) {
  s.call_failed(fmt::format("{}(): {}", function, e.what), e.hint);
  switch (e.code) {
    case base::error_code::interrupted:
      return WEIR_CANCELLED;
    case base::error_code::unreachable:
    case base::error_code::credentials:
      return WEIR_E_NETBOX;
    default:
      return WEIR_E_INVALID;
  }
}

// The end that fetch, read and write share: an answer becomes a reply, a failure is remembered.
weir_status answered(session& s, fetched answer, std::string request, weir_status failed, weir_reply const** out) {
  auto const status = answer.ok ? weir_status{WEIR_OK} : failed;
  if (!answer.ok) {
    if (answer.status == 0 && s.offered.cancelled()) return WEIR_CANCELLED;
    s.call_failed(fmt::format("{}: {}", request, answer.error), {}, answer.status);
  }
  *out = s.hand_out(std::move(answer), std::move(request));
  return status;
}

weir_status no_out(session* s, char const* function) noexcept {
  if (s != nullptr)
    guarded(*s, function, [&] { return s->broke(fmt::format("{}(): out is null", function)), WEIR_OK; });
  return WEIR_E_INVALID;
}

}  // namespace weir::plugin
