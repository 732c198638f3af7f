#include "core/source/paging.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <nlohmann/json.hpp>

#include "core/base/text.hpp"

namespace weir::source {
namespace {

using nlohmann::json;

bool blank(char c) { return c == ' ' || c == '\t'; }
bool json_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

void skip(std::string_view& text, bool (*which)(char)) {
  while (!text.empty() && which(text.front())) text.remove_prefix(1);
}

bool header_token(char c) {
  auto const u = static_cast<unsigned char>(c);
  return u > 0x20 && u < 0x7f && std::string_view("\"(),/:;<=>?@[\\]{}").find(c) == std::string_view::npos;
}

// The parts of a URL, as views; `rest` is path and query.
struct parts {
  std::string_view scheme, authority, path, query;  // query with its '?'
  bool has_authority = false;
};

parts split(std::string_view url) {
  parts p;
  url = url.substr(0, url.find('#'));
  auto const colon = url.find(':');
  auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (colon != std::string_view::npos && colon < url.find_first_of("/?") && colon > 0 && letter(url[0])) {
    p.scheme = url.substr(0, colon);
    url.remove_prefix(colon + 1);
  }
  if (url.starts_with("//")) {
    p.has_authority = true;
    url.remove_prefix(2);
    p.authority = url.substr(0, url.find_first_of("/?"));
    url.remove_prefix(p.authority.size());
  }
  p.path = url.substr(0, url.find('?'));
  p.query = url.substr(p.path.size());
  return p;
}

// RFC 3986 section 5.2.4, of a path that begins with '/'.
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> out;
  bool folder = true;  // ends with '/'
  for (std::size_t at = 1; at <= path.size();) {
    auto const end = std::min(path.find('/', at), path.size());
    auto const part = path.substr(at, end - at);
    folder = part == "." || part == "..";
    if (part == "..") {
      if (!out.empty()) out.pop_back();
    } else if (part != ".") {
      out.push_back(part);
    }
    at = end + 1;
  }
  std::string text;
  for (auto const part : out) text += '/' + std::string(part);
  if (folder) text += '/';
  return text;
}

// Where the value that `text` begins with ends; `text` is valid JSON from here on.
std::size_t value_end(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        for (++i; i < text.size() && text[i] != '"'; ++i)
          if (text[i] == '\\') ++i;
        if (depth == 0) return std::min(i + 1, text.size());
        break;
      case '{':
      case '[':
        ++depth;
        break;
      case '}':
      case ']':
        if (depth == 0) return i;  // of what surrounds a number
        if (--depth == 0) return i + 1;
        break;
      case ',':
        if (depth == 0) return i;
        break;
      default:
        if (depth == 0 && json_blank(text[i])) return i;
    }
  }
  return text.size();
}

// The value at the beginning of `text`, which moves on behind it.
std::string_view take_value(std::string_view& text) {
  skip(text, json_blank);
  auto const value = text.substr(0, value_end(text));
  text.remove_prefix(value.size());
  skip(text, json_blank);
  return value;
}

std::string_view trimmed(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, which some services send
  skip(text, json_blank);
  while (!text.empty() && json_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::string text_of(std::string_view quoted) {
  auto const plain = quoted.substr(1, quoted.size() - 2);
  if (plain.find('\\') == std::string_view::npos) return std::string(plain);
  return json::parse(quoted).get<std::string>();
}

// The member of an object; of two with one name the last, as JSON readers do.
std::optional<std::string_view> member(std::string_view object, std::string_view name) {
  if (!object.starts_with('{')) return {};
  object.remove_prefix(1);
  skip(object, json_blank);
  std::optional<std::string_view> found;
  while (object.starts_with('"')) {
    auto const key = take_value(object);
    if (object.empty()) break;
    object.remove_prefix(1);  // ':'
    auto const value = take_value(object);
    if (text_of(key) == name) found = value;
    if (!object.starts_with(',')) break;
    object.remove_prefix(1);
    skip(object, json_blank);
  }
  return found;
}

std::vector<std::string> names_of(std::string_view object) {
  std::vector<std::string> names;
  if (!object.starts_with('{')) return names;
  object.remove_prefix(1);
  skip(object, json_blank);
  while (object.starts_with('"') && names.size() < 8) {
    names.push_back(base::shorten(text_of(take_value(object)), 40));
    if (object.empty()) break;
    object.remove_prefix(1);
    take_value(object);
    if (!object.starts_with(',')) break;
    object.remove_prefix(1);
    skip(object, json_blank);
  }
  return names;
}

bool nothing(std::string_view value) { return value == "null" || value == "\"\"" || value == "false"; }

std::string_view query_of(std::string_view target) {
  auto const mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
}

bool names_parameter(std::string_view target, std::string_view name) {
  if (name.empty()) return false;
  auto query = query_of(target);
  while (!query.empty()) {
    auto const pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.substr(0, pair.find('=')) == name) return true;
  }
  return false;
}

std::string add(std::string target, std::string_view name, std::string_view value) {
  target += query_of(target).empty() ? (target.find('?') == std::string::npos ? "?" : "") : "&";
  return target + base::url_encode(name) + "=" + base::url_encode(value);
}

base::error broken(std::string what, std::string hint = {}) {
  return base::fail(base::error_code::failed, std::move(what), std::move(hint));
}

}  // namespace

std::optional<std::vector<link>> parse_link_header(std::string_view text) {
  std::vector<link> out;
  for (;;) {
    // Empty elements of a list are to be passed over (RFC 9110 section 5.6.1).
    while (!text.empty() && (blank(text.front()) || text.front() == ',')) text.remove_prefix(1);
    if (text.empty()) return out;
    auto const end = text.find('>');
    if (text.front() != '<' || end == std::string_view::npos) return {};
    link l;
    l.target = std::string(text.substr(1, end - 1));
    if (l.target.find('<') != std::string::npos) return {};
    text.remove_prefix(end + 1);
    bool has_rel = false;
    for (skip(text, blank); text.starts_with(';'); skip(text, blank)) {
      text.remove_prefix(1);
      skip(text, blank);
      std::size_t n = 0;
      while (n < text.size() && header_token(text[n])) ++n;
      auto const name = base::lower(text.substr(0, n));
      text.remove_prefix(n);
      skip(text, blank);
      std::string value;
      if (text.starts_with('=')) {
        text.remove_prefix(1);
        skip(text, blank);
        if (text.starts_with('"')) {
          text.remove_prefix(1);
          while (!text.empty() && text.front() != '"') {
            if (text.front() == '\\') text.remove_prefix(1);
            if (text.empty()) return {};
            value += text.front();
            text.remove_prefix(1);
          }
          if (text.empty()) return {};
          text.remove_prefix(1);
        } else {
          // More than tokens: some servers leave out the quotes around URLs.
          std::size_t m = 0;
          while (m < text.size() && !blank(text[m]) && text[m] != ';' && text[m] != ',' && text[m] != '"') ++m;
          value = std::string(text.substr(0, m));
          text.remove_prefix(m);
        }
      }
      if (name == "rel" && !has_rel) {  // further ones do not count (section 3.3)
        has_rel = true;
        l.relations = base::lower(value);
      }
      if (name == "anchor") l.anchored = true;
    }
    if (!text.empty() && text.front() != ',') return {};
    out.push_back(std::move(l));
  }
}

std::optional<std::string> origin_of(std::string_view url) {
  for (char c : url) {
    auto const u = static_cast<unsigned char>(c);
    if (u <= 0x20 || u == 0x7f || c == '\\') return {};
  }
  auto const p = split(url);
  auto const scheme = base::lower(p.scheme);
  if ((scheme != "http" && scheme != "https") || !p.has_authority) return {};
  auto host = base::lower(p.authority);
  if (host.empty() || host.find('@') != std::string::npos) return {};
  auto const colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    auto const port = host.substr(colon + 1);
    unsigned number = 0;
    auto const [stop, fault] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (!port.empty() && (fault != std::errc() || stop != port.data() + port.size() || number > 65535)) return {};
    host.resize(colon);
    if (!port.empty() && number != (scheme == "https" ? 443u : 80u)) host += ":" + std::to_string(number);
    if (host.empty() || host.front() == ':') return {};
  }
  return scheme + "://" + host;
}

std::string resolve(std::string_view base, std::string_view reference) {
  auto const r = split(reference);
  auto const b = split(base);
  auto const on = [](std::string_view scheme, std::string_view authority, std::string_view path,
                     std::string_view query) {
    auto const whole = path.starts_with('/') ? without_dots(path) : path.empty() ? std::string("/") : std::string(path);
    return std::string(scheme) + "://" + std::string(authority) + whole + std::string(query);
  };
  if (!r.scheme.empty())
    return r.has_authority ? on(r.scheme, r.authority, r.path, r.query)
                           : std::string(reference.substr(0, reference.find('#')));
  if (r.has_authority) return on(b.scheme, r.authority, r.path, r.query);
  if (r.path.empty()) return on(b.scheme, b.authority, b.path, r.query.empty() ? b.query : r.query);
  if (r.path.starts_with('/')) return on(b.scheme, b.authority, r.path, r.query);
  auto const folder = b.path.substr(0, b.path.rfind('/') == std::string_view::npos ? 0 : b.path.rfind('/') + 1);
  return on(b.scheme, b.authority, (folder.empty() ? "/" : std::string(folder)) + std::string(r.path), r.query);
}

base::result<std::string> target_of(std::vector<std::string> const& addresses, std::string_view absolute) {
  auto const origin = origin_of(absolute);
  if (!origin)
    return broken("is no http(s) URL that can be asked", "the service's own idea of its address may be wrong");
  auto const p = split(absolute);
  auto const path = without_dots(p.path.empty() ? "/" : p.path) + std::string(p.query);
  bool same = false;
  for (auto const& address : addresses) {
    if (origin_of(address) != origin) continue;
    same = true;
    auto const below = split(address).path;  // without a trailing slash
    if (!path.starts_with(below)) continue;
    auto const rest = std::string_view(path).substr(below.size());
    if (rest.starts_with('/')) return std::string(rest);
  }
  if (same) return *origin + path;
  std::vector<std::string> known;
  for (auto const& address : addresses) known.push_back(origin_of(address).value_or(address));
  auto const ours = base::join(known, " or ");
  bool const scheme_only = std::any_of(known.begin(), known.end(), [&](std::string const& k) {
    return k.substr(k.find("://")) == origin->substr(origin->find("://"));
  });
  return broken(fmt::format("is on {}, not on {}: credentials are never sent to another origin",
                            base::shorten(*origin, 200), ours),
                scheme_only
                    ? fmt::format("if {} is the address meant, put it into urls; else the proxy in front of the "
                                  "service must tell it that it is {} (X-Forwarded-Proto)",
                                  base::shorten(*origin, 200), ours.substr(0, ours.find(':')))
                    : "if it is the same service, put this address into urls instead");
}

std::string address_of(std::vector<std::string> const& addresses, std::string_view target, std::string_view server) {
  if (!target.starts_with('/')) return std::string(target);
  auto const origin = origin_of(server);
  for (auto const& address : addresses)
    if (origin_of(address) == origin) return address + std::string(target);
  return std::string(server) + std::string(target);
}

std::optional<std::string_view> json_at(std::string_view text, std::string_view path) {
  text = trimmed(text);
  while (!path.empty()) {
    // A name with dots in it comes before steps with the same letters.
    if (auto const whole = member(text, path)) return whole;
    auto const dot = path.find('.');
    if (dot == std::string_view::npos) return {};
    auto const below = member(text, path.substr(0, dot));
    if (!below) return {};
    text = *below;
    path.remove_prefix(dot + 1);
    if (path.empty()) return {};
  }
  return text;
}

std::optional<std::vector<std::string_view>> json_items(std::string_view text) {
  text = trimmed(text);
  if (!text.starts_with('[')) return {};
  text.remove_prefix(1);
  skip(text, json_blank);
  std::vector<std::string_view> out;
  while (!text.empty() && text.front() != ']') {
    out.push_back(take_value(text));
    if (!text.starts_with(',')) break;
    text.remove_prefix(1);
  }
  return out;
}

pager::pager(config::paging const& how, std::vector<std::string> const& addresses, std::string target,
             std::size_t max_bytes)
    : how_(how),
      addresses_(addresses),
      asked_([&] {
        if (how.style == styles::none || names_parameter(target, how.parameter)) return target;
        if (how.size_parameter.empty() || names_parameter(target, how.size_parameter)) return target;
        return add(target, how.size_parameter, std::to_string(how.size));
      }()),
      max_bytes_(max_bytes) {
  // Who asks for a page of his own gets just that.
  if (names_parameter(target, how.parameter)) how_.style = styles::none;
  target_ = asked_;
  if (how_.style == styles::page) target_ = add(asked_, how_.parameter, std::to_string(how_.first));
  if (how_.style == styles::offset) target_ = add(asked_, how_.parameter, "0");
  seen_targets_.insert(target_);
}

base::result<pager::step> pager::take(answer page) {
  bytes_ += page.body.size();
  if (bytes_ > max_bytes_)
    return broken(fmt::format("is too much: with this page the list has more than {} bytes", max_bytes_),
                  "a list must fit into memory: let the stage ask for less of it (a filter, fewer fields)");
  if (how_.style == styles::none || (page_ == 1 && trimmed(page.body).empty())) {
    body_ = std::move(page.body);
    return step::done;
  }
  if (!json::accept(page.body))
    return broken("is not JSON" + (page.content_type.empty() ? "" : ", but " + base::shorten(page.content_type, 60)),
                  "a source with paging reads JSON only");
  auto const at = json_at(page.body, how_.items);
  auto const items = at ? json_items(*at) : std::nullopt;
  if (!items) {
    auto const there = base::join(names_of(trimmed(page.body)));
    auto const where = how_.items.empty() ? std::string("is not a list")
                                          : fmt::format("has no list at '{}'", how_.items) +
                                                (there.empty() ? "" : "; it has " + there);
    if (page_ > 1) return broken(where + ", unlike the pages before");
    auto const more = told(page);
    if (!more) return more.error();
    if (*more) return broken(where + ", yet it names a next page", "paging.items must say where the list stands");
    body_ = std::move(page.body);
    return step::done;
  }
  if (!items->empty() && !seen_pages_.insert(std::hash<std::string_view>()(*at)).second)
    return broken("is a page that came before: the list goes round in circles",
                  how_.parameter.empty() ? std::string()
                                         : fmt::format("does the service page with the parameter '{}', and is what was "
                                                       "asked for paged at all?",
                                                       how_.parameter));
  items_ += items->size();
  for (auto const item : *items) (body_ += body_.empty() ? '[' : ',') += item;
  if (auto const counted = read_total(page.body); !counted) return counted.error();
  auto next = next_target(page, items->size());
  if (!next) return next.error();
  if (!*next) {
    if (total_ && items_ != *total_)
      return broken(fmt::format("ends the list with {} items, but '{}' says {}", items_, how_.total, *total_),
                    "the list changed while it was read, or paging.total counts something else");
    body_ += body_.empty() ? "[]" : "]";
    return step::done;
  }
  if (page_ >= how_.max_pages)
    return broken(fmt::format("is page {} ({} items so far) and there are more", page_, items_),
                  "max_pages may be raised, or the pages made larger (size_parameter and size)");
  if (!seen_targets_.insert(**next).second)
    return broken("leads to a page that was asked for before: the list goes round in circles");
  target_ = std::move(**next);
  ++page_;
  return step::more;
}

// The next page as the answer itself tells it (link, next, cursor), as a request's target.
base::result<std::optional<std::string>> pager::told(answer const& page) const {
  using out = std::optional<std::string>;
  if (how_.style == styles::link) {
    out found;
    for (auto const& header : page.link_headers) {
      auto const links = parse_link_header(header);
      if (!links)
        return broken(fmt::format("has a Link header that cannot be read: {}", base::shorten(header, 200)),
                      "whether there is a next page is not known");
      for (auto const& l : *links) {
        // Several relations stand in one text, with blanks between.
        if (l.anchored || (" " + l.relations + " ").find(" next ") == std::string::npos) continue;
        if (found && *found != l.target) return broken("has a Link header with two different next pages");
        found = l.target;
      }
    }
    if (!found) return out();
    auto target = target_of(addresses_, resolve(page.url, *found));
    if (!target) return broken("names a next page (Link header) that " + target.error().what, target.error().hint);
    return out(std::move(*target));
  }
  if (how_.style != styles::next && how_.style != styles::cursor) return out();
  auto const value = json_at(page.body, how_.next);
  if (!value || nothing(*value)) return out();
  bool const text = value->starts_with('"');
  if (how_.style == styles::next) {
    if (!text)
      return broken(fmt::format("has no URL at '{}', but {}", how_.next, base::shorten(*value, 60)),
                    "paging.next must say where the next page's URL stands");
    auto target = target_of(addresses_, resolve(page.url, text_of(*value)));
    if (!target)
      return broken(fmt::format("names a next page ('{}') that {}", how_.next, target.error().what),
                    target.error().hint);
    return out(std::move(*target));
  }
  if (value->starts_with('{') || value->starts_with('[') || *value == "true")
    return broken(fmt::format("has no cursor at '{}', but {}", how_.next, base::shorten(*value, 60)),
                  "paging.next must say where the next page's cursor stands");
  return out(add(asked_, how_.parameter, text ? text_of(*value) : std::string(*value)));
}

base::result<std::optional<std::string>> pager::next_target(answer const& page, std::size_t items) const {
  using out = std::optional<std::string>;
  if (how_.style != styles::page && how_.style != styles::offset) return told(page);
  // A page may be shorter than was asked for (the service has a limit of its own, or filters afterwards): only an empty
  // one is behind the end, unless the service says how many there are.
  if (items == 0) return out();
  if (total_ && items_ >= *total_) return out();
  auto const number = how_.style == styles::page ? how_.first + page_ : items_;
  return out(add(asked_, how_.parameter, std::to_string(number)));
}

base::result<void> pager::read_total(std::string_view body) {
  if (how_.total.empty()) return {};
  auto const value = json_at(body, how_.total).value_or("");
  auto const* const end = value.data() + value.size();
  std::size_t total = 0;
  if (auto const [stop, fault] = std::from_chars(value.data(), end, total); fault != std::errc() || stop != end)
    return broken(fmt::format("does not say how many items there are at '{}'", how_.total),
                  "paging.total must say where that number stands, or be left out");
  if (total_ && total < *total_)
    return broken(
        fmt::format("says that the list has {} items, the page before it said {}: it shrank while it was read, "
                    "and items may have been passed over",
                    total, *total_),
        "try again when nobody is changing it");
  total_ = total;
  return {};
}

}  // namespace weir::source
