// The one libcurl file.
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cctype>
#include <cerrno>
#include <ctime>
#include <map>
#include <unordered_map>

#include "core/base/text.hpp"
#include "core/http/transport.hpp"

namespace weir::http {
namespace {

namespace asio = boost::asio;
using asio::posix::stream_descriptor;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

void init_curl_once() {
  static auto const code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw std::runtime_error("libcurl does not start: " + std::string(curl_easy_strerror(code)));
}

std::string hex_fingerprint(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (certificate == nullptr || X509_digest(certificate, EVP_sha256(), digest, &length) != 1) return {};
  static constexpr char hex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned i = 0; i < length; ++i) {
    if (i > 0) out += ':';
    out += hex[digest[i] >> 4];
    out += hex[digest[i] & 15];
  }
  return out;
}

std::optional<std::chrono::sys_seconds> end_of(X509* certificate) {
  std::tm when{};
  if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &when) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(timegm(&when)));
}

// "AB:CD", "ab cd" and "abcd" are the same fingerprint.
std::string normal_fingerprint(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (!std::isxdigit(static_cast<unsigned char>(c))) continue;
    if (out.size() % 3 == 2) out += ':';
    out += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

// The names a certificate is for, for an error message: at most five.
std::string names_of(X509* certificate) {
  std::vector<std::string> names;
  auto* const list =
      certificate == nullptr
          ? nullptr
          : static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; list != nullptr && i < sk_GENERAL_NAME_num(list) && names.size() < 5; ++i) {
    auto const* const item = sk_GENERAL_NAME_value(list, i);
    if (item->type == GEN_DNS) {
      auto const* const text = reinterpret_cast<char const*>(ASN1_STRING_get0_data(item->d.dNSName));
      names.push_back(base::shorten({text, static_cast<std::size_t>(ASN1_STRING_length(item->d.dNSName))}, 100));
    } else if (item->type == GEN_IPADD && ASN1_STRING_length(item->d.iPAddress) == 4) {
      auto const* const b = ASN1_STRING_get0_data(item->d.iPAddress);
      names.push_back(std::to_string(b[0]) + '.' + std::to_string(b[1]) + '.' + std::to_string(b[2]) + '.' +
                      std::to_string(b[3]));
    }
  }
  GENERAL_NAMES_free(list);
  return base::join(names);
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool has_controls(std::string_view text, bool allow_blank) {
  return std::any_of(text.begin(), text.end(), [&](char c) {
    auto const u = static_cast<unsigned char>(c);
    if (c == ' ' || c == '\t') return !allow_blank;
    return u < 0x20 || u == 0x7f;
  });
}

// What is wrong with a request that must not be sent; "" if nothing. Values stay out of the text: they may be secret.
std::string refuse(request const& what) {
  if (!what.url.starts_with("http://") && !what.url.starts_with("https://")) return "not an http or https URL";
  if (has_controls(what.url, false)) return "the URL contains blanks or control characters";
  for (auto const& [key, value] : what.headers) {
    if (!is_token(key)) return "a header's name is not allowed in HTTP";
    if (has_controls(value, true))
      return "the value of header '" + key + "' contains control characters (a line break?)";
  }
  return {};
}

// OpenSSL writes without MSG_NOSIGNAL, and with CURLOPT_NOSIGNAL libcurl leaves SIGPIPE alone: a server that is gone
// must not end the program. For this thread and this while only, so that `weir … | head` still ends as people expect.
class without_sigpipe {
 public:
  without_sigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t waiting;
    sigpending(&waiting);
    was_pending_ = sigismember(&waiting, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~without_sigpipe() {
    timespec const at_once{0, 0};
    if (!was_pending_)
      while (sigtimedwait(&pipe_, nullptr, &at_once) == -1 && errno == EINTR) {
      }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  without_sigpipe(without_sigpipe const&) = delete;
  without_sigpipe& operator=(without_sigpipe const&) = delete;

 private:
  sigset_t pipe_, before_;
  bool was_pending_;
};

// One request under way. Lives as long as its easy handle.
struct exchange {
  CURL* easy = nullptr;
  curl_slist* header_list = nullptr;
  request what;
  std::function<void(reply)> done;
  reply answer;
  char error_buffer[CURL_ERROR_SIZE] = {};
  steady_clock::time_point started = steady_clock::now();
  config::tls const* tls = nullptr;
  std::string wanted_fingerprint;
  std::string seen_fingerprint, seen_names;  // of the server's certificate
  bool fingerprint_differs = false;
  int chain_error = X509_V_OK;  // what OpenSSL has against the certificate's chain
  bool began = false;           // libcurl began to send
  bool began_again = false;     // and wanted to send the same a second time
  bool was_reused = false;
  bool too_big = false;
  std::size_t limit = 0;  // of the answer's body

  exchange() = default;
  exchange(exchange const&) = delete;
  exchange& operator=(exchange const&) = delete;
  ~exchange() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    curl_slist_free_all(header_list);
  }
};

extern "C" {

static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& x = *static_cast<exchange*>(self);
  auto const bytes = size * count;
  if (x.answer.body.size() + bytes > x.limit) {
    x.too_big = true;
    return 0;
  }
  x.answer.body.append(data, bytes);
  return bytes;
}

static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) {
  auto& answer = static_cast<exchange*>(self)->answer;
  auto const bytes = size * count;
  std::string_view line(data, bytes);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  answer.reply_started = true;
  if (line.starts_with("HTTP/")) {  // a new head: what came before was an interim answer
    answer.headers.clear();
    answer.reason.clear();
    auto const code = line.find(' ');
    auto const reason = code == std::string_view::npos ? code : line.find(' ', code + 1);
    if (reason != std::string_view::npos) answer.reason = base::shorten(line.substr(reason + 1), 1000);
    return bytes;
  }
  auto const colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  auto value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  answer.headers.emplace_back(base::lower(line.substr(0, colon)), std::string(value));
  return bytes;
}

// libcurl itself repeats a request, a POST too, when a reused connection ends without an answer. Only the gate may.
static int before_request(void* self, char*, char*, int, int) {
  auto& x = *static_cast<exchange*>(self);
  if (x.began) {
    x.began_again = true;
    return CURL_PREREQFUNC_ABORT;
  }
  x.began = true;
  long connects = 0;
  curl_easy_getinfo(x.easy, CURLINFO_NUM_CONNECTS, &connects);
  x.was_reused = connects == 0;
  return CURL_PREREQFUNC_OK;
}

// Looks at the server's certificate: for its fingerprint if one is configured, else as OpenSSL does.
static int verify_certificate(X509_STORE_CTX* context, void* self) {
  auto& x = *static_cast<exchange*>(self);
  X509* const leaf = X509_STORE_CTX_get0_cert(context);
  x.seen_fingerprint = hex_fingerprint(leaf);
  x.seen_names = names_of(leaf);
  if (auto const end = end_of(leaf)) x.answer.certificate = certificate{x.seen_fingerprint, *end};
  if (!x.tls->verify && x.wanted_fingerprint.empty()) {  // only looked at
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return 1;
  }
  if (x.wanted_fingerprint.empty()) {
    int const trusted = X509_verify_cert(context);
    x.chain_error = X509_STORE_CTX_get_error(context);
    return trusted;
  }
  x.fingerprint_differs = x.seen_fingerprint.empty() || x.seen_fingerprint != x.wanted_fingerprint;
  X509_STORE_CTX_set_error(context, x.fingerprint_differs ? X509_V_ERR_APPLICATION_VERIFICATION : X509_V_OK);
  return x.fingerprint_differs ? 0 : 1;
}

static CURLcode on_tls_context(CURL*, void* context, void* self) {
  auto* const ctx = static_cast<SSL_CTX*>(context);
  // The exchange is gone when a later one uses the connection: no second handshake may call it.
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_cert_verify_callback(ctx, verify_certificate, self);
  if (!static_cast<exchange*>(self)->wanted_fingerprint.empty()) SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  return CURLE_OK;
}

static int on_socket(CURL*, curl_socket_t s, int what, void* self, void*);
static int on_timer(CURLM*, long timeout_ms, void* self);

}  // extern "C"

// Everything is on the loop's thread. Handlers share the engine, so that they may outlive the transport.
class engine : public std::enable_shared_from_this<engine> {
 public:
  engine(asio::io_context& io, config::tls const& tls, std::size_t max_connections, std::size_t reply_limit)
      : io_(io), timer_(io), tls_(tls), reply_limit_(reply_limit) {
    init_curl_once();
    multi_ = curl_multi_init();
    if (multi_ == nullptr) throw std::runtime_error("libcurl: no memory for a multi handle");
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    auto const connections = static_cast<long>(std::clamp<std::size_t>(max_connections, 1, 1000));
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, connections);
    curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
  }
  engine(engine const&) = delete;
  engine& operator=(engine const&) = delete;
  ~engine() { close(); }

  void send(request const& what, std::function<void(reply)> done) {
    auto x = std::make_unique<exchange>();
    x->what = what;
    x->done = std::move(done);
    x->answer.server = server_of(what.url);
    auto problem = closed_ ? "the transport is closed" : refuse(what);
    if (problem.empty() && !set_up(*x)) problem = "libcurl refused the request's options";
    if (problem.empty()) {
      auto* const easy = x->easy;
      auto const code = curl_multi_add_handle(multi_, easy);
      if (code == CURLM_OK) {
        exchanges_.emplace(easy, std::move(x));
        return;
      }
      problem = std::string("libcurl: ") + curl_multi_strerror(code);
    }
    x->answer.error = closed_ ? failure::cancelled : failure::other;
    x->answer.error_text = "the request was not sent: " + problem;
    asio::post(io_, [x = std::shared_ptr<exchange>(std::move(x))] { x->done(std::move(x->answer)); });
  }

  void cancel_all() {
    without_sigpipe const quiet;
    for (auto& [easy, x] : exchanges_) {
      curl_multi_remove_handle(multi_, easy);
      note_facts(*x);
      x->answer.error = failure::cancelled;
      x->answer.error_text = "cancelled";
      x->answer.body.clear();
      finished_.push_back(std::move(x));
    }
    exchanges_.clear();
    asio::post(io_, [self = shared_from_this()] { self->deliver(); });
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    without_sigpipe const quiet;
    timer_.cancel();
    for (auto& [easy, x] : exchanges_) curl_multi_remove_handle(multi_, easy);
    exchanges_.clear();
    curl_multi_cleanup(multi_);  // closes idle connections: on_socket() lets go of them
    multi_ = nullptr;
    for (auto& [s, w] : watches_) w->let_go();
    watches_.clear();
  }

  void socket_changed(curl_socket_t s, int what) {
    auto const found = watches_.find(s);
    if (what == CURL_POLL_REMOVE) {
      if (found == watches_.end()) return;
      found->second->let_go();
      watches_.erase(found);
      return;
    }
    if (closed_) return;
    auto& w =
        found != watches_.end() ? found->second : watches_.emplace(s, std::make_shared<watch>(io_, s)).first->second;
    w->wants[0] = (what & CURL_POLL_IN) != 0;
    w->wants[1] = (what & CURL_POLL_OUT) != 0;
    arm(w, 0);
    arm(w, 1);
  }

  void timer_changed(long timeout_ms) {
    if (closed_) return;
    if (timeout_ms < 0) {
      timer_.cancel();
      return;
    }
    timer_.expires_after(milliseconds(timeout_ms));
    timer_.async_wait([self = shared_from_this()](boost::system::error_code ec) {
      if (!ec) self->act(CURL_SOCKET_TIMEOUT, 0);
    });
  }

 private:
  // A socket of libcurl's that libcurl wants to hear about. It stays libcurl's: never closed here.
  struct watch {
    watch(asio::io_context& io, curl_socket_t s) : socket(s), descriptor(io, s) {}
    ~watch() { let_go(); }
    void let_go() {
      if (descriptor.is_open()) descriptor.release();
    }
    curl_socket_t socket;
    stream_descriptor descriptor;
    bool wants[2] = {};  // to read, to write
    bool armed[2] = {};
  };

  void arm(std::shared_ptr<watch> const& w, int direction) {
    if (!w->wants[direction] || w->armed[direction] || !w->descriptor.is_open()) return;
    w->armed[direction] = true;
    w->descriptor.async_wait(
        direction == 0 ? stream_descriptor::wait_read : stream_descriptor::wait_write,
        [self = shared_from_this(), w, direction](boost::system::error_code ec) {
          w->armed[direction] = false;
          // Let go of meanwhile: the number may be another socket's by now.
          if (self->closed_ || !w->descriptor.is_open() || ec == asio::error::operation_aborted) return;
          if (!w->wants[direction]) return;
          self->act(w->socket, ec ? CURL_CSELECT_ERR : direction == 0 ? CURL_CSELECT_IN : CURL_CSELECT_OUT);
          if (!self->closed_) self->arm(w, direction);
        });
  }

  void act(curl_socket_t s, int events) {
    if (closed_) return;
    drive(s, events);
    deliver();
  }

  void drive(curl_socket_t s, int events) {
    without_sigpipe const quiet;
    int running = 0;
    curl_multi_socket_action(multi_, s, events, &running);
    int left = 0;
    while (auto const* const message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      auto* const easy = message->easy_handle;
      auto const code = message->data.result;  // the message is gone after the next line
      curl_multi_remove_handle(multi_, easy);
      auto const found = exchanges_.find(easy);
      if (found == exchanges_.end()) continue;
      conclude(*found->second, code);
      finished_.push_back(std::move(found->second));
      exchanges_.erase(found);
    }
  }

  // Callbacks may send, cancel, or destroy the transport: nothing of this object is in use while they run.
  void deliver() {
    auto const self = shared_from_this();
    while (!finished_.empty()) {
      auto const x = std::move(finished_.front());
      finished_.erase(finished_.begin());
      x->done(std::move(x->answer));
    }
  }

  bool set_up(exchange& x) {
    x.easy = curl_easy_init();
    if (x.easy == nullptr) return false;
    bool fine = true;
    auto const set = [&](CURLoption option, auto value) {
      fine = fine && curl_easy_setopt(x.easy, option, value) == CURLE_OK;
    };
    auto const& what = x.what;
    set(CURLOPT_URL, what.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);  // it would show in errors and logs
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_ACCEPT_ENCODING, "gzip");
    set(CURLOPT_USERAGENT, "weir");
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_ERRORBUFFER, static_cast<char*>(x.error_buffer));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(what.timeout.count(), 1)));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(what.connect_timeout.count(), 1)));
    // Whole seconds, rounded down: 0 is what keeps connections that were idle for a second from being reused.
    set(CURLOPT_MAXAGE_CONN, 0L);
    set(CURLOPT_FRESH_CONNECT, what.fresh_connection ? 1L : 0L);
    set(CURLOPT_WRITEFUNCTION, on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(&x));
    set(CURLOPT_HEADERFUNCTION, on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(&x));
    set(CURLOPT_PREREQFUNCTION, before_request);
    set(CURLOPT_PREREQDATA, static_cast<void*>(&x));

    if (!what.body.empty() || what.verb != throttle::method::get) {
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(what.body.size()));
      set(CURLOPT_POSTFIELDS, what.body.c_str());
    }
    if (what.verb != throttle::method::post) {
      if (what.body.empty()) set(CURLOPT_HTTPGET, 1L);
      set(CURLOPT_CUSTOMREQUEST, what.options ? "OPTIONS" : std::string(throttle::name(what.verb)).c_str());
    }

    auto const add = [&](std::string const& line) {
      auto* const longer = curl_slist_append(x.header_list, line.c_str());
      if (longer == nullptr)
        fine = false;
      else
        x.header_list = longer;
    };
    bool has_type = false;
    for (auto const& [key, value] : what.headers) {
      has_type = has_type || base::lower(key) == "content-type";
      add(value.empty() ? key + ';' : key + ": " + value);
    }
    add("Expect:");  // no 100-continue: it costs a second with servers that ignore it
    if (!has_type) add("Content-Type:");
    set(CURLOPT_HTTPHEADER, x.header_list);

    x.tls = &tls_;
    x.limit = reply_limit_;
    x.wanted_fingerprint = normal_fingerprint(tls_.fingerprint);
    if (!x.what.url.starts_with("https:")) return fine;
    bool const pinned = !x.wanted_fingerprint.empty();
    bool const chain = tls_.verify && !pinned;
    set(CURLOPT_SSL_VERIFYPEER, chain ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, chain ? 2L : 0L);
    if (chain && !tls_.ca_file.empty()) {
      set(CURLOPT_CAINFO, tls_.ca_file.c_str());
      set(CURLOPT_CAPATH, static_cast<char const*>(nullptr));  // this file's authorities and no others
    }
    if (pinned) set(CURLOPT_SSL_SESSIONID_CACHE, 0L);  // a resumed session shows no certificate
    set(CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    set(CURLOPT_SSL_CTX_DATA, static_cast<void*>(&x));
    return fine;
  }

  static void note_facts(exchange& x) {
    auto& a = x.answer;
    long sent = 0;
    curl_off_t uploaded = 0;
    curl_easy_getinfo(x.easy, CURLINFO_REQUEST_SIZE, &sent);
    curl_easy_getinfo(x.easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    // A CONNECT to a proxy counts into REQUEST_SIZE; `began` is about the request itself.
    a.request_sent = x.began && (sent > 0 || uploaded > 0);
    a.connection_reused = x.began ? x.was_reused : false;
    a.elapsed = std::chrono::duration_cast<milliseconds>(steady_clock::now() - x.started);
  }

  static void conclude(exchange& x, CURLcode code) {
    auto& a = x.answer;
    note_facts(x);
    long status = 0, proxy_status = 0;
    curl_easy_getinfo(x.easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(x.easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
    if (x.began && a.reply_started) a.status = static_cast<int>(status);
    if (code == CURLE_OK) return;

    std::string const detail = x.error_buffer[0] != 0 ? x.error_buffer : curl_easy_strerror(code);
    auto const say = [&](failure kind, std::string text) {
      a.error = kind;
      a.error_text = std::move(text);
    };
    if (x.too_big) {
      say(failure::too_big, "the answer is larger than " + std::to_string(x.limit) + " bytes");
      a.body.clear();
      return;
    }
    if (x.began_again) return say(failure::cut, "the server closed the idle connection as the request was sent on it");
    if (proxy_status != 0 && !x.began && (proxy_status < 200 || proxy_status > 299))
      return say(failure::refused, "the proxy answered " + std::to_string(proxy_status) + " to CONNECT");
    switch (code) {
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_RESOLVE_PROXY:
        return say(failure::resolve, "no address found: " + detail);
      case CURLE_COULDNT_CONNECT:
      case CURLE_PROXY:
        return say(failure::refused, "cannot connect: " + detail);
      case CURLE_OPERATION_TIMEDOUT:
        return say(failure::timeout,
                   x.began ? "no whole answer within " + std::to_string(x.what.timeout.count()) + " ms"
                           : "no connection within " +
                                 std::to_string(std::min(x.what.timeout, x.what.connect_timeout).count()) + " ms");
      case CURLE_SSL_CONNECT_ERROR:
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_CERTPROBLEM:
      case CURLE_SSL_CIPHER:
      case CURLE_SSL_ISSUER_ERROR:
      case CURLE_SSL_CRL_BADFILE:
      case CURLE_SSL_ENGINE_INITFAILED:
      case CURLE_SSL_INVALIDCERTSTATUS:
      case CURLE_USE_SSL_FAILED:
        return tls_failed(x, code, detail);
      case CURLE_GOT_NOTHING:
      case CURLE_PARTIAL_FILE:
      case CURLE_RECV_ERROR:
      case CURLE_SEND_ERROR:
      case CURLE_SEND_FAIL_REWIND:
        if (!x.began) return say(failure::refused, "the connection ended before the request was sent: " + detail);
        return say(failure::cut, "the connection ended before the answer was whole: " + detail);
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_WEIRD_SERVER_REPLY:
      case CURLE_BAD_CONTENT_ENCODING:
      case CURLE_HTTP2:
        return say(failure::malformed, "the answer is no HTTP: " + detail);
      case CURLE_ABORTED_BY_CALLBACK:
        return say(failure::cancelled, "cancelled");
      default:
        return say(failure::other, detail);
    }
  }

  static void tls_failed(exchange& x, CURLcode code, std::string const& detail) {
    auto& a = x.answer;
    a.error = failure::tls;
    a.certificate_refused = true;
    if (x.fingerprint_differs) {
      a.error_text =
          "the certificate's SHA-256 fingerprint is " + x.seen_fingerprint + ", configured is " + x.wanted_fingerprint;
    } else if (code == CURLE_SSL_CACERT_BADFILE) {
      a.error_text = "the CA file " + (x.tls->ca_file.empty() ? "of the system" : "'" + x.tls->ca_file + "'") +
                     " cannot be read as PEM certificates";
    } else if (code == CURLE_PEER_FAILED_VERIFICATION) {
      if (x.chain_error == X509_V_OK)
        a.error_text = "the certificate is not for this name, but for " +
                       (x.seen_names.empty() ? "none" : x.seen_names) + " (" + detail + ")";
      else
        a.error_text = std::string("the certificate is not trusted: ") + X509_verify_cert_error_string(x.chain_error) +
                       (x.seen_fingerprint.empty() ? "" : "; its SHA-256 fingerprint is " + x.seen_fingerprint);
    } else {
      a.certificate_refused = false;
      a.error_text = "the TLS handshake failed: " + detail;
    }
  }

  asio::io_context& io_;
  asio::steady_timer timer_;
  config::tls const tls_;
  std::size_t const reply_limit_;
  CURLM* multi_ = nullptr;
  bool closed_ = false;
  std::unordered_map<CURL*, std::unique_ptr<exchange>> exchanges_;
  std::vector<std::unique_ptr<exchange>> finished_;  // their callbacks are due
  std::map<curl_socket_t, std::shared_ptr<watch>> watches_;
};

extern "C" {

static int on_socket(CURL*, curl_socket_t s, int what, void* self, void*) {
  static_cast<engine*>(self)->socket_changed(s, what);
  return 0;
}

static int on_timer(CURLM*, long timeout_ms, void* self) {
  static_cast<engine*>(self)->timer_changed(timeout_ms);
  return 0;
}

}  // extern "C"

class curl_transport : public transport {
 public:
  curl_transport(asio::io_context& io, config::tls const& tls, std::size_t max_connections, std::size_t reply_limit)
      : engine_(std::make_shared<engine>(io, tls, max_connections, reply_limit)) {}
  // Whoever still waits is told on the loop, if it runs on.
  ~curl_transport() override {
    engine_->cancel_all();
    engine_->close();
  }
  curl_transport(curl_transport const&) = delete;
  curl_transport& operator=(curl_transport const&) = delete;
  void send(request const& what, std::function<void(reply)> done) override { engine_->send(what, std::move(done)); }
  void cancel_all() override { engine_->cancel_all(); }

 private:
  std::shared_ptr<engine> engine_;
};

}  // namespace

std::unique_ptr<transport> make_curl_transport(asio::io_context& io, config::tls const& tls,
                                               std::size_t max_connections, std::size_t reply_limit) {
  return std::make_unique<curl_transport>(io, tls, max_connections, reply_limit);
}

}  // namespace weir::http
