#include "core/config/yaml.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "core/base/text.hpp"
#include "core/config/values.hpp"

namespace weir::config::yaml {
namespace {

struct refused {
  mark at;
  std::string summary, detail;
};

mark here(YAML::Mark const& m) {
  if (m.line < 0 || m.column < 0) return {};
  return {static_cast<std::size_t>(m.line) + 1, static_cast<std::size_t>(m.column) + 1};
}

bool word_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

// Cut, not replaced: what is left keeps its columns.
std::string up_to_userinfo(std::string_view line) {
  auto const hidden = without_userinfo(line);
  return hidden == line ? hidden : hidden.substr(0, hidden.find("***") + 3);
}

// Whoever wrote a secret into the file shall not find it in a log as well: everything behind "token:" and its like
// goes.
std::string without_secrets(std::string_view line) {
  auto const lower = base::lower(line);
  std::size_t at = 0;
  while (at < line.size()) {
    if (!word_character(line[at])) {
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < line.size() && word_character(line[end])) ++end;
    std::string_view const word(lower.data() + at, end - at);
    bool const about_secrets = word.find("token") != word.npos || word.find("passw") != word.npos ||
                               word.find("secret") != word.npos || word.find("api_key") != word.npos;
    bool const form = word.ends_with("_env") || word.ends_with("_file") || word.ends_with("_command") ||
                      word.ends_with("_credential") || word.ends_with("_id");
    std::size_t colon = end;
    while (colon < line.size() && (line[colon] == ' ' || line[colon] == '"' || line[colon] == '\'')) ++colon;
    if (about_secrets && !form && colon < line.size() && (line[colon] == ':' || line[colon] == '='))
      return up_to_userinfo(line.substr(0, colon + 1)) + (line[colon] == ':' ? " ***" : "***");
    at = end;
  }
  return up_to_userinfo(line);
}

// How many bytes from `column` on the caret underlines: a quoted text, or the plain word up to where YAML ends it.
std::size_t extent(std::string_view line, std::size_t column) {
  if (column == 0 || column > line.size()) return 1;
  auto const rest = line.substr(column - 1);
  if (rest[0] == '"' || rest[0] == '\'') {
    for (std::size_t i = 1; i < rest.size(); ++i) {
      if (rest[0] == '"' && rest[i] == '\\')
        ++i;
      else if (rest[i] == rest[0])
        return i + 1;
    }
    return rest.size();
  }
  if (std::string_view("[]{},&*!|>").find(rest[0]) != std::string_view::npos) return 1;
  std::size_t end = 0;
  while (end < rest.size() && rest[end] != ',' && rest[end] != ']' && rest[end] != '}' &&
         !(rest[end] == ':' && (end + 1 == rest.size() || rest[end + 1] == ' ')) &&
         !(rest[end] == ' ' && end + 1 < rest.size() && rest[end + 1] == '#'))
    ++end;
  while (end > 1 && rest[end - 1] == ' ') --end;
  return std::max<std::size_t>(end, 1);
}

// Makes the tree from the parser's events, so that keys keep their places and doubles do not vanish.
class builder final : public YAML::EventHandler {
 public:
  explicit builder(document& doc) : doc_(doc) {}

  void OnDocumentStart(YAML::Mark const& m) override {
    if (documents_++ > 0)
      throw refused{here(m), "the file holds more than one YAML document", "remove the '---' between them"};
  }
  void OnDocumentEnd() override {}

  void OnNull(YAML::Mark const& m, YAML::anchor_t anchor) override {
    node n;
    n.at = here(m);
    if (wants_key()) throw refused{n.at, "a key is missing before ':'", ""};
    // Nothing stands there: yaml-cpp gives the place of whatever comes next, the key says more.
    if (!spells_null(n.at) && !open_.empty() && open_.back().is == node::form::map) n.at = pending_.back()->at;
    add(std::move(n), anchor);
  }

  void OnAlias(YAML::Mark const& m, YAML::anchor_t anchor) override {
    auto const at = here(m);
    if (wants_key()) throw refused{at, "an alias cannot be a key", ""};
    auto const found = anchors_.find(anchor);
    if (found == anchors_.end()) throw refused{at, "an alias cannot stand inside what it refers to", ""};
    count(found->second, at);  // before the copy, so that a bomb costs nothing
    auto n = found->second;
    n.key.clear();
    n.key_at = {};
    attach(std::move(n));
  }

  void OnScalar(YAML::Mark const& m, std::string const& tag, YAML::anchor_t anchor, std::string const& value) override {
    auto const at = here(m);
    no_tag(tag, at);
    if (!closed(at)) throw refused{at, "not valid YAML: the quote is not closed", ""};
    if (wants_key()) {
      if (value == "<<" && tag == "?")
        throw refused{at, "merge keys (<<) are not part of YAML 1.2",
                      "write the keys out, or use an alias (*name) as a value"};
      count_one(at, value.size());
      pending_.back() = key{value, at};
      return;
    }
    node n;
    n.is = node::form::scalar;
    n.text = value;
    n.plain = tag != "!";
    n.at = at;
    add(std::move(n), anchor);
  }

  void OnSequenceStart(YAML::Mark const& m, std::string const& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(node::form::list, m, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(YAML::Mark const& m, std::string const& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(node::form::map, m, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct key {
    std::string name;
    mark at;
  };

  std::vector<std::string> const& lines() const { return doc_.files[0].lines; }
  bool wants_key() const { return !open_.empty() && open_.back().is == node::form::map && !pending_.back(); }

  bool spells_null(mark at) const {
    if (at.line == 0 || at.line > lines().size()) return false;
    std::string_view const line = lines()[at.line - 1];
    if (at.column > line.size()) return false;
    auto const word = line.substr(at.column - 1, extent(line, at.column));
    return word == "~" || word == "null" || word == "Null" || word == "NULL";
  }

  // yaml-cpp lets a file end inside a quoted text, if only behind a line break.
  bool closed(mark at) const {
    if (at.line == 0 || at.line > lines().size()) return true;
    auto const* line = &lines()[at.line - 1];
    if (at.column > line->size()) return true;
    char const quote = (*line)[at.column - 1];
    if (quote != '"' && quote != '\'') return true;
    for (std::size_t number = at.line, i = at.column;; i = 0, line = &lines()[number++]) {
      for (; i < line->size(); ++i) {
        if (quote == '"' && (*line)[i] == '\\')
          ++i;
        else if ((*line)[i] != quote)
          continue;
        else if (quote == '\'' && i + 1 < line->size() && (*line)[i + 1] == quote)
          ++i;
        else
          return true;
      }
      if (number >= lines().size()) return false;
    }
  }

  static void no_tag(std::string const& tag, mark at) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    throw refused{at, "the tag '" + base::shorten(tag, 40) + "' is not supported",
                  "write the value without a tag; secrets are given as token_env, token_file, token_command or "
                  "token_credential"};
  }

  void count_one(mark at, std::size_t bytes) {
    if (++nodes_ > max_nodes)
      throw refused{at, "too many values: a file may hold " + std::to_string(max_nodes) + ", aliases counted in full",
                    ""};
    if ((bytes_ += bytes) > max_expanded_bytes)
      throw refused{
          at, "too much text: aliases make the file larger than " + std::to_string(max_expanded_bytes) + " bytes", ""};
  }
  void count(node const& n, mark at) {
    count_one(at, n.text.size() + n.key.size());
    for (auto const& child : n.children) count(child, at);
  }

  void open(node::form form, YAML::Mark const& m, std::string const& tag, YAML::anchor_t anchor) {
    auto const at = here(m);
    no_tag(tag, at);
    if (wants_key()) throw refused{at, "a key must be text", ""};
    if (open_.size() >= max_depth) throw refused{at, "nested deeper than " + std::to_string(max_depth) + " levels", ""};
    count_one(at, 0);
    node n;
    n.is = form;
    n.at = at;
    open_.push_back(std::move(n));
    open_anchors_.push_back(anchor);
    pending_.emplace_back();
  }

  void close() {
    auto n = std::move(open_.back());
    auto const anchor = open_anchors_.back();
    open_.pop_back();
    open_anchors_.pop_back();
    pending_.pop_back();
    if (anchor != 0) anchors_[anchor] = n;
    attach(std::move(n));
  }

  void add(node n, YAML::anchor_t anchor) {
    count_one(n.at, n.text.size());
    if (anchor != 0) anchors_[anchor] = n;
    attach(std::move(n));
  }

  void attach(node n) {
    if (open_.empty()) {
      doc_.root = std::move(n);
      return;
    }
    auto& parent = open_.back();
    if (parent.is == node::form::map) {
      n.key = std::move(pending_.back()->name);
      n.key_at = pending_.back()->at;
      pending_.back().reset();
      if (auto const* first = parent.find(n.key)) {
        doc_.errors.push_back(doc_.complain(n.key_at, "the key '" + base::shorten(n.key, 60) + "' is given twice",
                                            "it stands in line " + std::to_string(first->key_at.line) + " already",
                                            document::show::up_to_key));
        return;
      }
    }
    parent.children.push_back(std::move(n));
  }

  document& doc_;
  int documents_ = 0;
  std::size_t nodes_ = 0, bytes_ = 0;
  // Three stacks of the same height: the open containers, their anchors, the key that waits for its value.
  std::vector<node> open_;
  std::vector<YAML::anchor_t> open_anchors_;
  std::vector<std::optional<key>> pending_;
  std::map<YAML::anchor_t, node> anchors_;
};

// The length of the UTF-8 sequence at `at`; 0 if it is none (RFC 3629: no surrogates, no overlong forms).
std::size_t sequence_length(std::string_view text, std::size_t at) {
  auto const byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  auto const follows = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  auto const lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if ((lead == 0xF0 && byte(1) < 0x90) || (lead == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

// yaml-cpp takes UTF-16 and control characters in its stride and then counts lines differently.
std::optional<refused> not_text(std::string_view text) {
  mark at{1, 1};
  for (std::size_t i = 0; i < text.size();) {
    auto const length = sequence_length(text, i);
    if (length == 0) return refused{at, "the file is not UTF-8 text", "save it as UTF-8"};
    auto const c = static_cast<unsigned char>(text[i]);
    bool const end_of_line = c == '\n' || (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n');
    if ((c < 0x20 && c != '\t' && !end_of_line) || c == 0x7f)
      return refused{at, "the file holds a control character (byte " + std::to_string(c) + ")", "remove it"};
    if (c == '\n')
      at = {at.line + 1, 1};
    else
      at.column += length;
    i += length;
  }
  return {};
}

}  // namespace

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    auto const end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

node* node::find(std::string_view name) { return const_cast<node*>(static_cast<node const&>(*this).find(name)); }

node const* node::find(std::string_view name) const {
  auto const found = std::find_if(children.begin(), children.end(), [&](node const& n) { return n.key == name; });
  return is == form::map && found != children.end() ? &*found : nullptr;
}

diagnostic document::complain(mark at, std::string summary, std::string detail, show how) const {
  diagnostic d;
  d.file = file;
  d.line = at.line;
  d.column = at.column;
  d.summary = std::move(summary);
  d.detail = std::move(detail);
  if (at.line == 0 || at.file >= files.size()) return d;
  auto const& from = files[at.file];
  d.file = from.name;
  if (from.is != text_source::kind::file) d.line = 0;
  if (at.line > from.lines.size()) return d;
  auto const& line = from.lines[at.line - 1];
  d.length = extent(line, at.column);
  auto shown = line;
  if (how == show::up_to_value && at.column > 0 && at.column <= line.size())
    shown = line.substr(0, at.column - 1) + "***";
  if (how == show::up_to_key && at.column > 0 && at.column - 1 + d.length < line.size())
    shown = line.substr(0, at.column - 1 + d.length) + ": …";
  d.source_line = without_secrets(shown);
  if (d.column > d.source_line.size())
    d.length = 1;
  else
    d.length = std::min(d.length, d.source_line.size() - d.column + 1);
  return d;
}

std::string document::origin(mark at) const {
  if (at.file >= files.size()) return file;
  auto const& from = files[at.file];
  if (from.is == text_source::kind::flag) return from.name;
  if (from.is == text_source::kind::environment)
    return "environment " + from.lines[0].substr(0, from.lines[0].find('='));
  return from.name + (at.line > 0 ? ":" + std::to_string(at.line) : "");
}

namespace {

void move_marks(node& n, std::size_t by) {
  n.at.file += by;
  n.key_at.file += by;
  for (auto& child : n.children) move_marks(child, by);
}

}  // namespace

node document::absorb(document other) {
  move_marks(other.root, files.size());
  for (auto& each : other.files) files.push_back(std::move(each));
  for (auto& each : other.errors) errors.push_back(std::move(each));
  return std::move(other.root);
}

namespace {

// yaml-cpp names the rule; this is what usually broke it.
std::string what_to_do(std::string_view message) {
  if (message == "illegal map value")
    return "each ':' behind a key needs a space, here and in the line above; a text that holds ': ' needs quotes";
  if (message == "end of sequence flow not found") return "a '[' above is not closed by ']'";
  if (message == "end of map flow not found") return "a '{' above is not closed by '}'";
  if (message == "end of map not found" || message == "end of sequence not found")
    return "the line is not indented as those above it, or its ':' is missing";
  return {};
}

}  // namespace

document parse(std::string_view text, std::string file) {
  document doc;
  doc.file = std::move(file);
  doc.files.push_back({doc.file});
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.size() > max_bytes) {
    doc.errors.push_back(doc.complain({}, "the file is larger than " + std::to_string(max_bytes) + " bytes"));
    return doc;
  }
  auto const refuse = [&](refused const& r) { doc.errors.push_back(doc.complain(r.at, r.summary, r.detail)); };
  if (auto const bad = not_text(text)) return refuse(*bad), doc;
  doc.files[0].lines = split_lines(text);
  std::istringstream stream{std::string(text)};
  builder handler(doc);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(handler)) {
    }
    doc.usable = true;
  } catch (refused const& r) {
    refuse(r);
  } catch (YAML::Exception const& e) {
    auto const at = here(e.mark);
    bool const tab = at.line > 0 && at.line <= doc.files[0].lines.size() &&
                     doc.files[0].lines[at.line - 1].find_first_not_of(' ') != std::string::npos &&
                     doc.files[0].lines[at.line - 1][doc.files[0].lines[at.line - 1].find_first_not_of(' ')] == '\t';
    refuse({at, "not valid YAML: " + e.msg, tab ? "YAML indents with spaces, not with tabs" : what_to_do(e.msg)});
  } catch (std::exception const& e) {
    refuse({{}, std::string("not valid YAML: ") + e.what(), ""});
  }
  return doc;
}

}  // namespace weir::config::yaml
