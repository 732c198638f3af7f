// What an answer means for the load, for a retry and for the objects it carried. One table, one function.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weir::throttle {

enum class method { get, post, patch, put, del };
std::string_view name(method m);  // "GET", …

enum class outcome {
  ok,
  overload,      // refused for lack of capacity; nothing was committed
  unknown,       // sent, no usable answer: it may have been committed
  stale,         // a reused idle connection was closed before a byte of the answer came
  unreachable,   // nobody home: refused, DNS, TLS, Redis down; nothing was committed
  lost_race,     // somebody else made the same object a moment before
  too_large,     // split it
  server_fault,  // some other 5xx
  data,          // the request itself is wrong: 400, 404, 409, 412
  credentials,   // 401, 403
  cancelled,     // we stopped it, or it was never sent
};
std::string_view name(outcome o);

// What exactly is wrong with NetBox's database, where the answer says so.
enum class trouble {
  none,
  no_connection,  // "too many clients", "remaining connection slots": they are all taken
  database_down,  // "Connection refused", "starting up", "terminating connection"
  deadlock,       // 40P01: rolled back
};
std::string_view name(trouble t);

// How an exchange ended, as far as classification needs it.
struct observation {
  method verb = method::get;
  int status = 0;  // 0: no status line came
  bool timed_out = false;
  bool request_sent = false;  // at least a byte of the request was written
  bool connection_reused = false;
  bool reply_started = false;  // at least a line of the answer came
  bool cut = false;            // the connection ended before the answer was whole
  bool cancelled = false;
  bool has_retry_after = false;   // the answer has that header
  std::string_view content_type;  // of the answer
  std::string_view body;          // of the answer, whole or its beginning
};
// Bodies as NetBox 4.7 sends them; tests/unit/throttle/exchanges.json holds recorded ones.
outcome classify(observation const& seen);
trouble database_trouble(observation const& seen);

// RFC 9110 section 10.2.3, both forms: seconds, or an HTTP date (measured against `now`). At most 120 s.
std::optional<std::chrono::milliseconds> retry_after(std::string_view header,
                                                     std::chrono::system_clock::time_point now);

// RFC 9110 section 5.6.7, the one form that is sent: "Sun, 06 Nov 1994 08:49:37 GMT". Seconds since 1970.
std::optional<std::chrono::seconds> parse_http_date(std::string_view text);

// May the gate itself send it again, without anybody looking at NetBox first? A server fault: once (the gate counts).
bool may_repeat(method verb, outcome o);

}  // namespace weir::throttle
