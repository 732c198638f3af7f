// What happens while it happens, on stderr: one live line on a terminal, log lines otherwise.
#pragma once
#include <chrono>
#include <map>
#include <string>

#include "core/engine/run.hpp"

namespace weir::cli {

class progress_display : public engine::observer {
 public:
  explicit progress_display(bool live);
  ~progress_display() override;
  void connected(engine::report const& r) override;
  void moved(engine::progress const& p) override;
  void planned(engine::job_report const& job) override;
  void finished(engine::job_report const& job) override;

 private:
  void draw(std::string const& line);

  bool live_;
  std::chrono::steady_clock::time_point last_drawn_{}, last_logged_{};
  std::map<std::string, std::size_t> logged_batch_;  // by source and stage
};

}  // namespace weir::cli
