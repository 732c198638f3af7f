#include "core/engine/compare.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "core/base/text.hpp"

#include "core/netbox/value.hpp"

namespace weir::engine {

using netbox::at;
using netbox::dump;
using netbox::put;
using netbox::rule;
using nlohmann::json;

namespace {

bool empty(json const& v) { return ((v.is_array() || v.is_object()) && v.empty()) || netbox::same(v, nullptr); }

std::set<json> members(json const& list) {
  std::set<json> out;
  if (list.is_array()) out.insert(list.begin(), list.end());
  return out;
}

std::set<json> split(std::string const& text, char separator) {
  std::set<json> out;
  std::size_t from = 0;
  while (from <= text.size()) {
    auto const to = std::min(text.find(separator, from), text.size());
    if (to > from) out.insert(text.substr(from, to - from));
    from = to + 1;
  }
  return out;
}

// weir's block of a text that people write around. A browser renders neither line.
constexpr std::string_view block_begin = "<!-- weir: from the source, changes in here are overwritten -->";
constexpr std::string_view block_end = "<!-- weir: end -->";

std::string_view trimmed(std::string_view text) {
  auto const from = text.find_first_not_of(" \t\r\n");
  return from == text.npos ? std::string_view{} : text.substr(from, text.find_last_not_of(" \t\r\n") + 1 - from);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    auto const to = std::min(text.find('\n'), text.size());
    out.push_back(text.substr(0, to));  // a browser's form ends lines with CR LF
    text.remove_prefix(std::min(to + 1, text.size()));
  }
  return out;
}

std::string joined(std::vector<std::string_view> const& lines, std::size_t from, std::size_t to) {
  std::string out;
  for (; from < to; ++from) {
    auto line = lines[from];
    if (line.ends_with('\r')) line.remove_suffix(1);
    out.append(line).append("\n");
  }
  return std::string(trimmed(out));
}

// A text that has weir's block in it, taken apart.
struct parted {
  std::string above, ours, below;
  bool has_block = false;
};

parted part(json const& value) {
  parted out;
  if (!value.is_string()) return out;
  auto const& text = value.get_ref<std::string const&>();
  auto const lines = lines_of(text);
  // The first end and the begin nearest above it: half a block that somebody left standing is theirs.
  std::optional<std::size_t> begin;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto const line = trimmed(lines[i]);
    if (line == block_begin) begin = i;
    if (line != block_end || !begin) continue;
    out.has_block = true;
    out.above = joined(lines, 0, *begin);
    out.ours = joined(lines, *begin + 1, i);
    out.below = joined(lines, i + 1, lines.size());
    return out;
  }
  out.above = std::string(trimmed(text));
  return out;
}

// What a stage wants in the block: without lines that would end it.
std::string block_text(json const& wanted) {
  if (!wanted.is_string()) return {};
  std::vector<std::string_view> kept;
  for (auto const line : lines_of(wanted.get_ref<std::string const&>()))
    if (trimmed(line) != block_begin && trimmed(line) != block_end) kept.push_back(line);
  return joined(kept, 0, kept.size());
}

std::string assembled(parted const& p) {
  std::string out = p.above;
  auto const add = [&](std::string const& text) {
    if (!text.empty()) out.append(out.empty() ? "" : "\n\n").append(text);
  };
  if (!p.ours.empty()) add(std::string(block_begin) + "\n" + p.ours + "\n" + std::string(block_end));
  add(p.below);
  return out;
}

bool is_set(json const& held, json const& wanted) { return wanted.is_array() || (wanted.is_null() && held.is_array()); }
bool is_text(json const& held, json const& wanted) {
  return wanted.is_string() || (wanted.is_null() && held.is_string());
}

// What NetBox shall hold in a field that is merged, and whether a person took away what is put back.
struct merging {
  json next;
  json own = {};  // of a set: the members that weir put there; it takes away no others
  bool differs = false, edited = false;
};

merging merge_set(netbox::kind const& k, std::string const& field, json const& held, json const& wanted,
                  json const* last, json const& actual) {
  auto const before = members(held), ours = members(wanted);
  std::set<json> former;
  if (last) {
    former = members(*last);
  } else if (auto const owned = k.owned_tags.find(field); owned != k.owned_tags.end()) {
    if (auto const& list = at(actual, owned->second); list.is_string())
      former = split(list.get_ref<std::string const&>(), ';');
  }
  auto all = before;
  for (auto const& m : former) all.erase(m);
  all.insert(ours.begin(), ours.end());
  merging out;
  out.differs = all != before;
  out.edited = last && std::any_of(ours.begin(), ours.end(),
                                   [&](json const& m) { return former.contains(m) && !before.contains(m); });
  out.next = all;
  // What somebody else put there before it was wanted stays theirs.
  out.own = json::array();
  for (auto const& m : ours)
    if (former.contains(m) || !before.contains(m)) out.own.push_back(m);
  return out;
}

merging merge_text(json const& held, json const& wanted, json const* last) {
  merging out;
  out.next = held;
  auto p = part(held);
  auto const ours = block_text(wanted);
  if (!p.has_block && p.above == ours) return out;  // all of it is ours, from before the rule
  auto const former = last ? std::optional(block_text(*last)) : std::nullopt;
  if (!p.has_block && former && p.above == *former) p.above.clear();
  out.edited = former && !former->empty() && *former != p.ours && (p.has_block || !p.above.empty() || empty(held));
  if (p.has_block ? p.ours == ours : ours.empty()) return {out.next, {}, false, false};
  p.ours = ours;
  out.differs = true;
  out.next = assembled(p);
  return out;
}

}  // namespace

std::vector<std::string> leaves(json const& fields) {
  std::vector<std::string> out;
  for (auto const& [name, value] : fields.items()) {
    if (name == "custom_fields" && value.is_object()) {
      for (auto const& [sub, ignored] : value.items()) out.push_back("custom_fields." + sub);
    } else {
      out.push_back(name);
    }
  }
  return out;
}

std::pair<std::string, std::string> cut(std::string_view before, std::string_view after) {
  constexpr std::size_t context = 24;  // of what both begin with, or less: whole words of it
  auto const same = static_cast<std::size_t>(
      std::mismatch(before.begin(), before.end(), after.begin(), after.end()).first - before.begin());
  std::size_t from = 0;
  if (std::max(before.size(), after.size()) > longest_value_bytes && same + context > longest_value_bytes) {
    from = same - context;
    if (auto const separator = before.substr(0, same).find_first_of(" ,;\n", from); separator != before.npos)
      from = separator + 1;
    while (from < same && (static_cast<unsigned char>(before[from]) & 0xc0) == 0x80) ++from;
  }
  auto const shown = [&](std::string_view text) {
    return (from > 0 ? "…" : "") + base::shorten(text.substr(from), longest_value_bytes);
  };
  return {shown(before), shown(after)};
}

field_change changed(std::string field, std::string_view before, std::string_view after, bool edited) {
  auto [was, is] = cut(before, after);
  return {std::move(field), std::move(was), std::move(is), edited};
}

std::set<std::string> words(json const& list) {
  std::set<std::string> out;
  if (list.is_array())
    for (auto const& w : list)
      if (w.is_string()) out.insert(w.get<std::string>());
  return out;
}

compared compare(netbox::kind const& k, json const& actual, json const& wanted, json const& key,
                 std::optional<json> const& last, show_value const& show) {
  compared out;
  json body = json::object(), old = json::object(), after = actual;
  // What is not wanted this time (it is not known now, or another stage's) stays as it is remembered.
  json applied = last && last->is_object() ? *last : json::object();
  auto const consider = [&](std::string const& leaf, json const& value) {
    auto const by = k.rule_of(leaf);
    if (by == rule::never) return;
    if (auto const frozen = k.frozen_while.find(leaf); frozen != k.frozen_while.end()) {
      auto const& count = at(actual, frozen->second);
      if (count.is_number() && count.get<double>() > 0) return;
    }
    auto const& held = at(actual, leaf);
    auto const remembered = last && last->is_object() ? last->find(leaf) : json::const_iterator{};
    json const* const wrote = last && last->is_object() && remembered != last->end() ? &*remembered : nullptr;
    json next = value;
    bool edited = false;
    if (by == rule::merge && (is_set(held, value) || is_text(held, value))) {
      bool const set = is_set(held, value);
      auto m = set ? merge_set(k, leaf, held, value, wrote, actual) : merge_text(held, value, wrote);
      applied[leaf] = set ? m.own : value;
      if (!m.differs) return;
      next = std::move(m.next);
      edited = m.edited;
    } else {
      // What is read only to see edits may not have been read.
      if (by == rule::on_create && !actual.contains(netbox::kind::top(leaf))) return;
      if (netbox::same(held, value)) {
        applied[leaf] = value;
        return;
      }
      edited = wrote && !netbox::same(held, *wrote);
      bool const keep = by == rule::on_create || (by == rule::unless_edited && (wrote ? edited : !empty(held)));
      if (keep) {
        // Where neither the source nor weir has ever said anything, nothing of a person's is in question.
        bool const worth_telling =
            edited ? !empty(value) || !empty(*wrote) : by == rule::unless_edited && !wrote && !empty(value);
        if (worth_telling) {
          auto [is, would_be] = cut(show(leaf, held), show(leaf, value));
          out.edits.push_back({"", 0, leaf, std::move(is), std::move(would_be), by, wrote != nullptr});
        }
        return;
      }
      applied[leaf] = value;
    }
    out.fields.push_back(changed(leaf, show(leaf, held), show(leaf, next), edited));
    put(old, leaf, held);
    put(body, leaf, next);
    put(after, leaf, std::move(next));
  };
  for (auto const& leaf : leaves(wanted)) consider(leaf, at(wanted, leaf));
  for (auto const& member : k.key)
    if (at(wanted, member).is_null()) consider(member, at(key, member));
  out.body = dump(body);
  out.before = dump(old);
  out.after = dump(after);
  out.applied = dump(applied);
  return out;
}

created create(netbox::kind const& k, json const& whole, show_value const& show) {
  created out;
  json body = json::object(), applied = json::object();
  for (auto const& leaf : leaves(whole)) {
    auto const by = k.rule_of(leaf);
    if (by == rule::never) continue;
    auto const& value = at(whole, leaf);
    applied[leaf] = value;
    json sent = value;
    // Nothing to say is the empty text it was: NetBox takes no null for a text.
    if (by == rule::merge && value.is_string() && !empty(value)) sent = merge_text(nullptr, value, nullptr).next;
    if (!empty(sent)) out.fields.push_back(changed(leaf, "", show(leaf, sent)));
    put(body, leaf, std::move(sent));
  }
  out.body = dump(body);
  out.applied = dump(applied);
  return out;
}

}  // namespace weir::engine
