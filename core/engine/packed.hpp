// A JSON object in little memory. Which members it has, nested how, is kept once for all objects alike; so are short
// strings that many have. Copies share their bytes. 100,000 backups take 13 MB so, and 50 MB as text.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

namespace weir::engine {

class packed {
 public:
  packed() = default;  // empty: not even {}
  packed(packed const& o) : block_(shared(o.block_)) {}
  packed(packed&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  packed& operator=(packed o) noexcept {
    std::swap(block_, o.block_);
    return *this;
  }
  ~packed() { release(block_); }
  // Any JSON value; objects are what it is made for. Thread-safe, as everything here.
  packed(nlohmann::json const& value);  // NOLINT: it is one
  // JSON text; throws nlohmann::json::parse_error where it is none. "" is empty.
  packed(std::string const& text);  // NOLINT
  packed(char const* text) : packed(std::string(text)) {}

  bool empty() const { return !block_; }
  void clear() { *this = packed(); }
  nlohmann::json unpack() const;  // null if empty
  std::string text() const;       // "" if empty; members in the order of their names
  bool operator==(packed const& o) const;

 private:
  struct shape;
  struct block;  // how many share it, the shape, and the values in the shape's order
  static shape const* shape_of(nlohmann::json const& value);
  static block* shared(block* b);
  static void release(block* b);

  block* block_ = nullptr;
};

}  // namespace weir::engine
