// What a stage's process prints: cut into lines, made fit for a log, and the last of it kept.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/log.hpp"

namespace weir::plugin {

// The last lines that anybody saw of a stage, from its output and its log.
class last_lines {
 public:
  void add(std::string line);
  // "a | b | c"; empty if there are none.
  std::string text() const;

 private:
  std::deque<std::string> kept_;
};

// Two streams of one process, which share a bound on what gets into the log.
class output {
 public:
  using sink = std::function<void(base::log::level, std::string const& line)>;
  output(sink to, last_lines& last) : to_(std::move(to)), last_(last) {}

  // Bytes as they come; `partial` keeps what has no line end yet, one per stream.
  void feed(base::log::level as, std::string& partial, std::string_view bytes);
  // Nothing more comes on this stream.
  void finish(base::log::level as, std::string& partial);

 private:
  void line(base::log::level as, std::string_view raw);

  sink to_;
  last_lines& last_;
  std::size_t lines_ = 0;
};

}  // namespace weir::plugin
