// How much of the load may be repetition: 20 tokens, a failure costs one, a success brings a tenth; below half of them
// a repeat has no precedence any more. (Finagle's and gRPC's retry budgets; Google SRE book, chapter 21.)
#pragma once
#include <algorithm>

namespace weir::throttle {

class retry_budget {
 public:
  static constexpr double size = 20, per_success = 0.1;
  double tokens() const { return tokens_; }
  bool allows() const { return tokens_ > size / 2; }
  bool empty() const { return tokens_ < 1; }
  void failed() { tokens_ = std::max(0.0, tokens_ - 1); }
  void succeeded() { tokens_ = std::min(size, tokens_ + per_success); }
  void refill() { tokens_ = std::max(tokens_, size / 2 + 1); }  // the server is back

 private:
  double tokens_ = size;
};

}  // namespace weir::throttle
