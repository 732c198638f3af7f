// What a change does to each field, for people, in little memory: which fields they are is kept once for all changes
// alike, and what the values in JSON say already is not kept a second time.
#pragma once
#include <cstddef>
#include <iterator>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/engine/packed.hpp"

namespace weir::engine {

struct field_change {
  std::string field;          // plain or dotted
  std::string before, after;  // for people; references by label
  bool edited = false;        // a person changed it since weir wrote it; it is overwritten
  bool operator==(field_change const&) const = default;
};

// A value for people, uncut, where it is no reference: "none", "[a, b]".
std::string in_words(nlohmann::json const& value);

class field_list {
 public:
  field_list() = default;
  // `before` and `after`: the change's, or empty.
  field_list(std::vector<field_change> const& all, packed before = {}, packed after = {});  // NOLINT: it is one

  std::vector<field_change> unpack() const;  // what it was made of
  std::size_t size() const { return names_ ? names_->size() : 0; }
  bool empty() const { return size() == 0; }
  field_change at(std::size_t i) const { return unpack().at(i); }
  field_change operator[](std::size_t i) const { return at(i); }
  void push_back(field_change one);

  // Iterating unpacks it, once.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = field_change;
    using difference_type = std::ptrdiff_t;
    using pointer = field_change const*;
    using reference = field_change const&;
    iterator(std::shared_ptr<std::vector<field_change> const> all, std::size_t at) : all_(std::move(all)), at_(at) {}
    reference operator*() const { return (*all_)[at_]; }
    pointer operator->() const { return &(*all_)[at_]; }
    iterator& operator++() {
      ++at_;
      return *this;
    }
    iterator operator++(int) { return std::exchange(*this, iterator(all_, at_ + 1)); }
    bool operator==(iterator const& o) const { return at_ == o.at_; }

   private:
    std::shared_ptr<std::vector<field_change> const> all_;
    std::size_t at_;
  };
  iterator begin() const { return {std::make_shared<std::vector<field_change> const>(unpack()), 0}; }
  iterator end() const { return {nullptr, size()}; }

 private:
  std::vector<std::string> const* names_ = nullptr;  // one for ever
  packed told_;  // for each: null where the values tell, the text after where there is none before, or all of it
  packed before_, after_;
};

}  // namespace weir::engine
