// How the lists of a REST service go on, without I/O: pages go in, the next request and in the end one list come out.
#pragma once
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/config.hpp"

namespace weir::source {

// One link of a Link header (RFC 8288), as far as paging needs it.
struct link {
  std::string target;     // as given: absolute or relative
  std::string relations;  // "next", or several with blanks between; lower case
  bool anchored = false;  // it speaks of another resource than the one asked for
};
// Nothing if the header is not well-formed: then nobody knows whether there is a next page.
std::optional<std::vector<link>> parse_link_header(std::string_view header);

// "https://host:port" in lower case, the usual port left out; nothing if it is no http(s) URL that may be asked:
// one with a user part, control characters, blanks or backslashes.
std::optional<std::string> origin_of(std::string_view url);
// RFC 3986 section 5.2: `reference` as seen from the absolute URL `base`, without its fragment.
std::string resolve(std::string_view base, std::string_view reference);
// A URL that a service names, as a target of a source with these addresses: below one of them as path and query, on the
// same origin but outside of them as an absolute URL. Fails for every other origin: credentials never go there.
base::result<std::string> target_of(std::vector<std::string> const& addresses, std::string_view absolute);
// The other way round: where `target` was asked, if this server ("https://host:port") answered.
std::string address_of(std::vector<std::string> const& addresses, std::string_view target, std::string_view server);

// What stands at a dotted path of a JSON text, as it is written there; a name may hold dots itself ("@odata.nextLink").
// "" is the whole. Nothing if it is not there. `text` must be valid JSON.
std::optional<std::string_view> json_at(std::string_view text, std::string_view path);
// The elements of a JSON list as they are written; nothing if `text` is no list. `text` must be valid JSON.
std::optional<std::vector<std::string_view>> json_items(std::string_view text);

// One list. A page is asked for at target(), its answer (2xx) goes to take(); when that says `done`, body() is the
// list, or the first answer as it came if there was no list in it.
class pager {
 public:
  // `target` is what the stage asked for; one that names the paging's parameter itself is fetched as it is.
  pager(config::paging const& how, std::vector<std::string> const& addresses, std::string target,
        std::size_t max_bytes);

  std::string const& target() const { return target_; }
  std::size_t page() const { return page_; }  // of target(), counted from 1
  struct answer {
    std::string body;
    std::vector<std::string> link_headers;
    std::string content_type;
    std::string url;  // that was answered, absolute
  };
  enum class step { more, done };
  // An error means that the list could not be had whole; its text continues "the answer …".
  base::result<step> take(answer page);
  std::string take_body() { return std::move(body_); }

 private:
  using styles = config::paging::styles;
  base::result<std::optional<std::string>> next_target(answer const& page, std::size_t items) const;
  base::result<std::optional<std::string>> told(answer const& page) const;
  base::result<void> read_total(std::string_view body);

  config::paging how_;
  std::vector<std::string> const addresses_;
  std::string const asked_;  // the stage's target, with the size
  std::size_t const max_bytes_;
  std::string target_, body_;
  std::size_t page_ = 1, items_ = 0, bytes_ = 0;
  std::optional<std::size_t> total_;
  std::set<std::string> seen_targets_;
  std::set<std::size_t> seen_pages_;  // hashes
};

}  // namespace weir::source
