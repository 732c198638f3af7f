// result<T>: errors are values at module borders.
#pragma once
#include <boost/system/result.hpp>

#include <string>
#include <utility>

namespace weir::base {

// What kind of failure it is; core/cli/exit_codes.hpp maps each to one exit code.
enum class error_code {
  failed,       // none of the below
  usage,        // the command line is wrong
  config,       // a configuration file, a profile or a plugin is wrong
  unreachable,  // NetBox or a source does not answer as one (refused, DNS, TLS, HTML, too old)
  credentials,  // 401 or 403, or a token that is missing a permission
  interrupted,  // a signal or a cancel
  guard,        // a safety limit refused (max_deletes)
  locked,       // another run is at work on this NetBox
  stopped,      // it could not be finished now, and can be resumed
  data,         // the other side refused this object
};

// `what` names what was tried, on what and what came back; `hint` what to do about it (may be empty).
struct error {
  error_code code = error_code::failed;
  std::string what;
  std::string hint;

  std::string text() const { return hint.empty() ? what : what + "\n  hint: " + hint; }
};

[[noreturn]] inline void throw_exception_from_error(error const& e, boost::source_location const& location) {
  boost::throw_exception(std::runtime_error(e.what), location);
}

template <class T>
using result = boost::system::result<T, error>;

inline error fail(std::string what, std::string hint = {}) {
  return {error_code::failed, std::move(what), std::move(hint)};
}
inline error fail(error_code code, std::string what, std::string hint = {}) {
  return {code, std::move(what), std::move(hint)};
}

}  // namespace weir::base
