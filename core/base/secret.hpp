// A value that must never reach a log, an error, a metric or a journal.
#pragma once
#include <string>
#include <utility>

namespace weir::base {

class secret {
 public:
  secret() = default;
  explicit secret(std::string value) : value_(std::move(value)) {}
  bool empty() const { return value_.empty(); }
  // The one way to the plain text: only what builds an Authorization header or a login body calls it.
  std::string const& reveal() const { return value_; }

 private:
  std::string value_;
};

}  // namespace weir::base
