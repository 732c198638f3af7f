#include "core/store/files.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/base/text.hpp"

namespace weir::store {

namespace fs = std::filesystem;

std::string host_name() {
  char name[256] = "";
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string system_words(int error_number) { return std::generic_category().message(error_number); }

base::result<void> make_folder(fs::path const& folder) {
  fs::path sofar;
  for (auto const& part : folder) {
    sofar /= part;
    if (part.empty() || part == "/" || part == "." || part == "..") continue;
    // First whether it is there: above ours there may be folders that we may not even try to make.
    struct stat about {};
    if (::stat(sofar.c_str(), &about) == 0) {
      if (S_ISDIR(about.st_mode)) continue;
      return base::fail("cannot make the folder " + folder.string() + ": " + sofar.string() + " is a file",
                        "set state_dir to another folder");
    }
    if (::mkdir(sofar.c_str(), 0700) == 0 || errno == EEXIST) continue;
    return base::fail("cannot make the folder " + sofar.string() + ": " + system_words(errno),
                      "make it writable for the user that weir runs as (uid " + std::to_string(::geteuid()) +
                          "), or set state_dir to another folder");
  }
  return {};
}

std::string normalised_url(std::string_view url) {
  auto const without_slashes = [](std::string_view s) {
    while (!s.empty() && s.back() == '/') s.remove_suffix(1);
    return std::string(s);
  };
  auto const colon = url.find("://");
  if (colon == std::string_view::npos) return without_slashes(url);
  auto const scheme = base::lower(url.substr(0, colon));
  auto rest = url.substr(colon + 3);
  rest = rest.substr(0, rest.find_first_of("?#"));
  auto const slash = rest.find('/');
  auto authority = rest.substr(0, slash);
  auto const path = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash);
  if (auto const at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  auto host = base::lower(authority);
  std::string const port = scheme == "https" ? ":443" : scheme == "http" ? ":80" : "";
  if (!port.empty() && host.ends_with(port)) host.resize(host.size() - port.size());
  return scheme + "://" + host + without_slashes(path);
}

}  // namespace weir::store
