#include "core/engine/packed.hpp"

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace weir::engine {

using nlohmann::json;

namespace {

// What a value's first byte says.
enum class tag : char { null, no, yes, negative, number, real, text, common, list, other };

constexpr std::size_t longest_common = 16;  // bytes of a string that is kept once: instants are longer
constexpr std::size_t most_common = 50'000;

// Strings that many objects have. Only grows, up to a limit.
class dictionary {
 public:
  std::optional<std::uint64_t> number_of(std::string const& text) {
    {
      std::shared_lock lock(mutex_);
      if (auto const found = numbers_.find(text); found != numbers_.end()) return found->second;
      if (texts_.size() >= most_common) return {};
    }
    std::unique_lock lock(mutex_);
    auto const [at, fresh] = numbers_.emplace(text, texts_.size());
    if (fresh) texts_.push_back(&at->first);
    return at->second;
  }
  std::string const& text_of(std::uint64_t number) {
    std::shared_lock lock(mutex_);
    return *texts_.at(number);
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<std::string, std::uint64_t> numbers_;
  std::vector<std::string const*> texts_;
};

dictionary& common_strings() {
  static dictionary one;
  return one;
}

void put_number(std::string& out, std::uint64_t n) {
  for (; n >= 0x80; n >>= 7) out += static_cast<char>((n & 0x7F) | 0x80);
  out += static_cast<char>(n);
}

std::uint64_t take_number(char const*& at) {
  std::uint64_t n = 0;
  for (int shift = 0;; shift += 7) {
    auto const byte = static_cast<unsigned char>(*at++);
    n |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return n;
  }
}

void put_bytes(std::string& out, std::string_view bytes) {
  put_number(out, bytes.size());
  out += bytes;
}

std::string_view take_bytes(char const*& at) {
  auto const size = take_number(at);
  std::string_view const out(at, size);
  at += size;
  return out;
}

void put_tag(std::string& out, tag t) { out += static_cast<char>(t); }

void put_value(std::string& out, json const& v) {
  switch (v.type()) {
    case json::value_t::null:
      return put_tag(out, tag::null);
    case json::value_t::boolean:
      return put_tag(out, v.get<bool>() ? tag::yes : tag::no);
    case json::value_t::number_unsigned:
      put_tag(out, tag::number);
      return put_number(out, v.get<std::uint64_t>());
    case json::value_t::number_integer:
      if (v.get<std::int64_t>() >= 0) {
        put_tag(out, tag::number);
        return put_number(out, static_cast<std::uint64_t>(v.get<std::int64_t>()));
      }
      put_tag(out, tag::negative);  // as -1 - n, which every negative number has
      return put_number(out, static_cast<std::uint64_t>(-1 - v.get<std::int64_t>()));
    case json::value_t::number_float: {
      put_tag(out, tag::real);
      auto const d = v.get<double>();
      char raw[sizeof d];
      std::memcpy(raw, &d, sizeof d);
      out.append(raw, sizeof d);
      return;
    }
    case json::value_t::string: {
      auto const& text = v.get_ref<std::string const&>();
      if (text.size() <= longest_common)
        if (auto const number = common_strings().number_of(text)) {
          put_tag(out, tag::common);
          return put_number(out, *number);
        }
      put_tag(out, tag::text);
      return put_bytes(out, text);
    }
    case json::value_t::array:
      put_tag(out, tag::list);
      put_number(out, v.size());
      for (auto const& item : v) put_value(out, item);
      return;
    default:
      put_tag(out, tag::other);
      std::string cbor;
      json::to_cbor(v, cbor);
      put_bytes(out, cbor);
  }
}

json take_value(char const*& at) {
  switch (static_cast<tag>(*at++)) {
    case tag::null:
      return nullptr;
    case tag::no:
      return false;
    case tag::yes:
      return true;
    case tag::negative:
      return -1 - static_cast<std::int64_t>(take_number(at));
    case tag::number:
      return take_number(at);
    case tag::real: {
      double d = 0;
      std::memcpy(&d, at, sizeof d);
      at += sizeof d;
      return d;
    }
    case tag::text:
      return std::string(take_bytes(at));
    case tag::common:
      return common_strings().text_of(take_number(at));
    case tag::list: {
      json out = json::array();
      for (auto left = take_number(at); left > 0; --left) out.push_back(take_value(at));
      return out;
    }
    case tag::other:
      return json::from_cbor(take_bytes(at));
  }
  return nullptr;
}

}  // namespace

// An object's members by name; a member without a shape of its own is a value.
struct packed::shape {
  struct member {
    std::string name;
    shape const* inner = nullptr;
  };
  bool object = false;
  std::vector<member> members;

  void put(std::string& out, json const& value) const {
    if (!object) return put_value(out, value);
    auto m = members.begin();
    for (auto const& [name, inner] : value.items()) {
      m->inner ? m->inner->put(out, inner) : put_value(out, inner);
      ++m;
    }
  }
  json take(char const*& at) const {
    if (!object) return take_value(at);
    json out = json::object();
    auto& map = out.get_ref<json::object_t&>();
    for (auto const& m : members) map.emplace_hint(map.end(), m.name, m.inner ? m.inner->take(at) : take_value(at));
    return out;
  }
};

packed::shape const* packed::shape_of(json const& value) {
  static std::shared_mutex mutex;
  static std::unordered_map<std::string, std::unique_ptr<shape const>> all;
  // The shape's own text: names with their length, "{" and "}" around what is nested.
  std::string text;
  auto const write = [&](auto const& self, json const& v) -> void {
    text += '{';
    for (auto const& [name, inner] : v.items()) {
      put_bytes(text, name);
      if (inner.is_object() && !inner.empty())
        self(self, inner);
      else
        text += ',';
    }
    text += '}';
  };
  bool const object = value.is_object() && !value.empty();
  if (object) write(write, value);
  {
    std::shared_lock lock(mutex);
    if (auto const found = all.find(text); found != all.end()) return found->second.get();
  }
  auto made = std::make_unique<shape>();
  made->object = object;
  if (object)
    for (auto const& [name, inner] : value.items())
      made->members.push_back({name, inner.is_object() && !inner.empty() ? shape_of(inner) : nullptr});
  std::unique_lock lock(mutex);
  return all.emplace(std::move(text), std::move(made)).first->second.get();
}

struct packed::block {
  std::atomic<std::uint32_t> shares{1};
  std::uint32_t size = 0;
  shape const* form = nullptr;  // one for ever

  char* bytes() { return reinterpret_cast<char*>(this + 1); }  // allocated behind it
};

packed::block* packed::shared(block* b) {
  if (b) b->shares.fetch_add(1, std::memory_order_relaxed);
  return b;
}

void packed::release(block* b) {
  if (!b || b->shares.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  b->~block();
  ::operator delete(b);
}

packed::packed(json const& value) {
  auto const* form = shape_of(value);
  thread_local std::string buffer;
  buffer.clear();
  form->put(buffer, value);
  block_ = new (::operator new(sizeof(block) + buffer.size())) block;
  block_->size = static_cast<std::uint32_t>(buffer.size());
  block_->form = form;
  std::memcpy(block_->bytes(), buffer.data(), buffer.size());
}

packed::packed(std::string const& text) {
  if (!text.empty()) *this = packed(json::parse(text));
}

json packed::unpack() const {
  if (!block_) return nullptr;
  char const* at = block_->bytes();
  return block_->form->take(at);
}

std::string packed::text() const {
  return block_ ? unpack().dump(-1, ' ', false, json::error_handler_t::replace) : std::string{};
}

bool packed::operator==(packed const& o) const {
  if (block_ == o.block_) return true;
  if (!block_ || !o.block_ || block_->form != o.block_->form) return false;
  // Byte by byte: a short string may have got its number between the two, and an integer may be signed in one.
  if (std::string_view(block_->bytes(), block_->size) == std::string_view(o.block_->bytes(), o.block_->size))
    return true;
  return unpack() == o.unpack();
}

}  // namespace weir::engine
