// A JSON text, written member by member as nlohmann's dump(indent) writes the whole: a plan takes ten times its room as
// one value.
#pragma once
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

namespace weir::engine {

class json_stream {
 public:
  // Bytes that are no UTF-8 are replaced.
  json_stream(std::function<void(std::string_view)> to, std::size_t indent) : to_(std::move(to)), indent_(indent) {}

  // Opens one: the whole, an item of a list, or a member of that name. end() closes it.
  void object(std::string_view name = {}) { open(name, '{', '}'); }
  void list(std::string_view name = {}) { open(name, '[', ']'); }
  void end();
  void put(std::string_view name, nlohmann::ordered_json const& value);  // a member
  void put(nlohmann::ordered_json const& item);                          // of a list
  void put_all(nlohmann::ordered_json const& members);                   // of an object

 private:
  void open(std::string_view name, char opens, char closes);
  void begin(std::string_view name);
  void line();
  void write(nlohmann::ordered_json const& value);

  struct level {
    char closes;
    bool any = false;
  };
  std::function<void(std::string_view)> to_;
  std::size_t indent_;
  std::vector<level> open_;
};

}  // namespace weir::engine
