// What weir counts, in Prometheus's form. prometheus-cpp stays behind recorder.cpp.
#pragma once
#include <memory>
#include <string>

#include "core/engine/report.hpp"

namespace weir::metrics {

// Told of runs, one after the other, for as long as the process lives. Thread-safe.
class recorder final : public engine::observer {
 public:
  recorder();
  ~recorder() override;
  std::string text() const;  // the text exposition format, version 0.0.4

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace weir::metrics
