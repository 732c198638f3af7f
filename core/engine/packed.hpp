// A JSON object in little memory. Which members it has, nested how, is kept once for all objects alike; so are short
// strings that many have. Copies share their bytes. 100,000 backups take 13 MB so, and 50 MB as text.
#pragma once
#include <compare>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace weir::engine {

class packed {
 public:
  packed() = default;  // empty: not even {}
  // Any JSON value; objects are what it is made for. Thread-safe, as everything here.
  packed(nlohmann::json const& value);  // NOLINT: it is one
  // JSON text; throws nlohmann::json::parse_error where it is none. "" is empty.
  packed(std::string const& text);  // NOLINT
  packed(char const* text) : packed(std::string(text)) {}

  bool empty() const { return !bytes_; }
  void clear() { bytes_.reset(); }
  nlohmann::json unpack() const;  // null if empty
  std::string text() const;       // "" if empty; members in the order of their names
  bool operator==(packed const& o) const;

 private:
  struct shape;
  static shape const* shape_of(nlohmann::json const& value);

  shape const* shape_ = nullptr;             // one for ever
  std::shared_ptr<char const []> bytes_ {};  // length, then the values in the shape's order
};

}  // namespace weir::engine
