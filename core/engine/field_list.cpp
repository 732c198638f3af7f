#include "core/engine/field_list.hpp"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/text.hpp"
#include "core/netbox/value.hpp"

namespace weir::engine {

using nlohmann::json;

namespace {

std::vector<std::string> const* one_for_ever(std::vector<std::string> names) {
  static std::mutex mutex;
  static std::set<std::vector<std::string>> all;
  std::lock_guard lock(mutex);
  return &*all.insert(std::move(names)).first;
}

// What the values tell of a field.
field_change from_values(std::string const& field, json const& before, json const& after) {
  return {field, before.is_null() ? std::string() : in_words(netbox::at(before, field)),
          in_words(netbox::at(after, field))};
}

json object_of(packed const& p) {
  auto out = p.unpack();
  return out.is_object() ? out : json();
}

}  // namespace

std::string in_words(json const& value) {
  if (value.is_null()) return "none";
  if (value.is_string()) return value.get_ref<std::string const&>().empty() ? "\"\"" : value.get<std::string>();
  if (value.is_array()) {
    std::vector<std::string> items;
    for (auto const& v : value) items.push_back(v.is_string() ? v.get<std::string>() : v.dump());
    return "[" + base::join(items) + "]";
  }
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

field_list::field_list(std::vector<field_change> const& all, packed before, packed after)
    : before_(std::move(before)), after_(std::move(after)) {
  if (all.empty()) {
    before_.clear(), after_.clear();
    return;
  }
  auto const was = object_of(before_), is = object_of(after_);
  std::vector<std::string> names;
  json told = json::array();
  for (auto const& f : all) {
    names.push_back(f.field);
    if (is.is_object() && f == from_values(f.field, was, is))
      told.push_back(nullptr);
    else if (f.before.empty() && !f.edited)
      told.push_back(f.after);
    else
      told.push_back({f.before, f.after, f.edited});
  }
  names_ = one_for_ever(std::move(names));
  if (std::any_of(told.begin(), told.end(), [](json const& t) { return !t.is_null(); })) told_ = told;
}

std::vector<field_change> field_list::unpack() const {
  std::vector<field_change> out;
  if (!names_) return out;
  auto const told = told_.unpack(), was = object_of(before_), is = object_of(after_);
  for (std::size_t i = 0; i < names_->size(); ++i) {
    auto const& name = (*names_)[i];
    auto const& t = told.is_null() ? told : told.at(i);
    if (t.is_null())
      out.push_back(from_values(name, was, is));
    else if (t.is_string())
      out.push_back({name, "", t.get<std::string>()});
    else
      out.push_back({name, t.at(0).get<std::string>(), t.at(1).get<std::string>(), t.at(2).get<bool>()});
  }
  return out;
}

void field_list::push_back(field_change one) {
  auto all = unpack();
  all.push_back(std::move(one));
  *this = field_list(all, before_, after_);
}

}  // namespace weir::engine
