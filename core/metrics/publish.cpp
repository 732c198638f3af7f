#include "core/metrics/publish.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>

#include "core/base/text.hpp"
#include "core/http/transport.hpp"
#include "core/store/files.hpp"
#include "core/store/lock.hpp"

namespace weir::metrics {
namespace {

namespace fs = std::filesystem;

base::error cannot_write(fs::path const& file, std::string const& why) {
  return base::fail("the metrics were not written to " + file.string() + ": " + why,
                    "the run itself is not affected; may weir write files in " + file.parent_path().string() + "?");
}

std::optional<base::error> restore(recorder& of, fs::path const& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return {};  // the first run
  std::string const text((std::istreambuf_iterator<char>(in)), {});
  if (auto const ok = of.restore(text); !ok)
    return base::fail("the metrics of earlier runs in " + file.string() + " cannot be read: " + ok.error().what,
                      "they are replaced: the counters begin anew, as Prometheus is used to");
  return {};
}

std::optional<base::error> push(std::string const& text, std::string const& gateway, std::string const& netbox_url) {
  http::request what;
  what.verb = throttle::method::put;  // all of the group is replaced: what is not there any more goes
  what.url = push_url(gateway, netbox_url);
  what.headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}};
  what.body = text;
  what.timeout = push_deadline;
  what.connect_timeout = push_deadline / 2;
  boost::asio::io_context io;
  std::optional<http::reply> got;
  {
    auto const wire = http::make_curl_transport(io, {}, 1, 1u << 20);
    wire->send(what, [&](http::reply r) { got = std::move(r); });
    auto const until = std::chrono::steady_clock::now() + push_deadline + std::chrono::seconds(1);
    while (!got && std::chrono::steady_clock::now() < until)
      if (io.run_one_until(until) == 0) break;
    if (!got) wire->cancel_all();
  }
  io.restart();
  io.poll();  // sockets are closed on the loop
  auto const failed = [&](std::string const& why, std::string hint) {
    return base::fail("the metrics were not pushed to " + what.url + ": " + why, std::move(hint));
  };
  std::string const unharmed = "the run itself is not affected; ";
  if (!got || got->error != http::failure::none)
    return failed(got ? got->error_text : "no answer in time", unharmed + "does the Pushgateway run there?");
  if (got->status < 200 || got->status >= 300)
    return failed(std::to_string(got->status) + " " + base::shorten(got->reason + " " + got->body, 200),
                  unharmed + "is metrics.pushgateway the address of a Pushgateway?");
  return {};
}

// RFC 4648 section 5, with padding, as the Pushgateway reads it.
std::string base64url(std::string_view text) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    std::uint32_t bits = 0;
    auto const n = std::min<std::size_t>(3, text.size() - i);
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < n ? static_cast<unsigned char>(text[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

}  // namespace

fs::path memory_file(fs::path const& state_dir, std::string const& netbox_url) {
  return state_dir / "metrics" / store::lock_file(state_dir, netbox_url).filename().replace_extension(".prom");
}

base::result<void> replace_file(fs::path const& wanted, std::string_view content) {
  std::error_code error;
  auto file = fs::absolute(wanted);
  // Behind a symbolic link stands what is to be replaced; a device or a pipe must not be.
  if (auto const real = fs::weakly_canonical(file, error); !error) file = real;
  auto const there = fs::status(file, error);
  if (fs::exists(there) && !fs::is_regular_file(there)) return cannot_write(file, "it is not a regular file");
  // Its name does not end in .prom, which node_exporter would read.
  auto temporary = (file.parent_path() / ("." + file.filename().string() + ".XXXXXX")).string();
  int const fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return cannot_write(file, store::system_words(errno));
  int wrong = 0;
  for (std::size_t at = 0; at < content.size() && wrong == 0;) {
    auto const n = ::write(fd, content.data() + at, content.size() - at);
    if (n >= 0)
      at += static_cast<std::size_t>(n);
    else if (errno != EINTR)
      wrong = errno;
  }
  if (wrong == 0 && (::fchmod(fd, 0644) != 0 || ::fdatasync(fd) != 0)) wrong = errno;
  if (::close(fd) != 0 && wrong == 0) wrong = errno;
  if (wrong == 0 && ::rename(temporary.c_str(), file.c_str()) != 0) wrong = errno;
  if (wrong == 0) return {};
  ::unlink(temporary.c_str());
  return cannot_write(file, store::system_words(wrong));
}

std::string push_url(std::string const& gateway, std::string const& netbox_url) {
  auto url = gateway;
  while (url.ends_with('/')) url.pop_back();
  auto const normal = store::normalised_url(netbox_url);
  auto const scheme = normal.find("://");
  auto const netbox = scheme == std::string::npos ? normal : normal.substr(scheme + 3);
  // The Pushgateway takes no encoded '/' in a path.
  return url + "/metrics/job/weir/" +
         (netbox.find('/') == std::string::npos ? "netbox/" + base::url_encode(netbox)
                                                : "netbox@base64/" + base64url(netbox));
}

std::vector<base::error> publish(recorder& of, config::metrics const& where, fs::path const& state_dir,
                                 std::string const& netbox_url) {
  std::vector<base::error> out;
  if (where.textfile.empty() && where.pushgateway.empty()) return out;
  auto const note = [&](base::result<void> const& r) {
    if (!r) out.push_back(r.error());
  };
  auto const memory = memory_file(state_dir, netbox_url);
  if (auto e = restore(of, memory)) out.push_back(std::move(*e));
  auto const text = of.text_of_runs();
  auto kept = store::make_folder(memory.parent_path());
  if (kept) kept = replace_file(memory, text);
  note(kept);
  if (!of.has_seen_a_run()) return out;
  if (!where.textfile.empty()) note(replace_file(where.textfile, text));
  if (!where.pushgateway.empty())
    if (auto e = push(text, where.pushgateway, netbox_url)) out.push_back(std::move(*e));
  return out;
}

}  // namespace weir::metrics
