#include "core/config/profiles.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <system_error>

#include "core/base/text.hpp"
#include "core/config/check.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

milliseconds whole_seconds(double seconds) { return milliseconds(std::llround(seconds * 1000)); }

// Takes over what the file says; what it leaves out stays as in the profile it extends.
void lay_over(view const& v, profile& p) {
  auto const size = [](view const& from, std::size_t& to) {
    if (from.present()) to = static_cast<std::size_t>(from.integer());
  };
  auto const ms = [](view const& from, milliseconds& to) {
    if (from.present()) to = milliseconds(from.integer());
  };
  auto const seconds = [](view const& from, milliseconds& to) {
    if (from.present()) to = whole_seconds(from.number());
  };
  if (v["description"].present()) p.description = v["description"].text();
  size(v["batch"]["size"], p.batch_size);
  ms(v["batch"]["delay_ms"], p.batch_delay);
  size(v["batch"]["objects_per_request"], p.objects_per_request);
  size(v["max_in_flight"], p.max_in_flight);
  if (v["requests_per_second"].present()) p.requests_per_second = v["requests_per_second"].number();
  size(v["retry"]["max_attempts"], p.max_attempts);
  ms(v["retry"]["base_ms"], p.backoff_base);
  ms(v["retry"]["cap_ms"], p.backoff_cap);
  seconds(v["retry"]["max_outage_s"], p.max_outage);
  seconds(v["timeouts"]["request_s"], p.request_timeout);
  seconds(v["timeouts"]["connect_s"], p.connect_timeout);
}

void check_backoff(checker& check, view const& v, profile const& p) {
  if (p.backoff_cap >= p.backoff_base) return;
  auto const retry = v["retry"];
  auto const& at = retry["cap_ms"].present() ? retry["cap_ms"] : retry["base_ms"];
  if (!at.present()) return;
  check.complain(at, "retry.cap_ms (" + std::to_string(p.backoff_cap.count()) + ") is below retry.base_ms (" +
                         std::to_string(p.backoff_base.count()) + ")");
}

std::vector<fs::path> files_in(fs::path const& folder) {
  std::vector<fs::path> out;
  std::error_code ignored;
  for (fs::directory_iterator at(folder, ignored), end; !ignored && at != end; at.increment(ignored))
    if (at->path().extension() == ".yaml") out.push_back(at->path());
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> names_in(std::vector<fs::path> const& path) {
  std::vector<std::string> names;
  for (auto const& folder : path)
    for (auto const& file : files_in(folder)) names.push_back(file.stem().string());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

class finder {
 public:
  finder(load_options const& options, std::vector<diagnostic>& errors) : options_(options), errors_(errors) {}

  std::optional<profile> find(std::string const& reference, fs::path const& folder, complaint const& complain) {
    bool const is_path = reference.find('/') != std::string::npos || reference.ends_with(".yaml");
    if (is_path) {
      auto const file = resolve_path(reference, folder, options_.environment);
      if (!file) return complain("the profile's path " + file.error().what, file.error().hint), std::nullopt;
      return load(*file, complain);
    }
    for (auto const& at : options_.profile_path) {
      auto const file = at / (reference + ".yaml");
      std::error_code ignored;
      if (valid_name(reference) && fs::exists(file, ignored)) return load(file, complain);
    }
    auto const names = names_in(options_.profile_path);
    auto const near = base::nearest(reference, names);
    std::vector<std::string> looked;
    for (auto const& at : options_.profile_path) looked.push_back(at.string());
    auto const where = looked.empty() ? " (no folder of profiles is known)" : " in " + base::join(looked);
    complain("unknown profile '" + base::shorten(reference, 60) + "'",
             (near ? "did you mean '" + *near + "'? " : std::string()) +
                 (names.empty() ? "there are no profiles" : "there are: " + base::join(names)) + where);
    return {};
  }

  std::optional<profile> load(fs::path const& file, complaint const& complain) {
    std::error_code ignored;
    auto identity = fs::weakly_canonical(file, ignored);
    if (ignored) identity = file;
    if (std::find(chain_.begin(), chain_.end(), identity) != chain_.end()) {
      std::vector<std::string> names;
      for (auto at = std::find(chain_.begin(), chain_.end(), identity); at != chain_.end(); ++at)
        names.push_back(at->string());
      names.push_back(identity.string());
      complain("the profile extends itself: " + base::join(names, " -> "),
               "end the chain at a profile without 'extends'");
      return {};
    }
    auto const text = read_text(file);
    if (!text) return complain(text.error().what, text.error().hint), std::nullopt;

    auto const before = errors_.size();
    auto const doc = yaml::parse(*text, file.string());
    errors_.insert(errors_.end(), doc.errors.begin(), doc.errors.end());
    if (!doc.usable) return {};
    checker check(doc, schema::document::profile, errors_);
    profile p;
    if (auto const extends = check.root()["extends"]; extends.present()) {
      chain_.push_back(identity);
      auto const found = find(extends.text(), file.parent_path(), [&](std::string summary, std::string detail) {
        check.complain(extends, std::move(summary), std::move(detail));
      });
      chain_.pop_back();
      if (!found) return {};
      p = *found;
    }
    lay_over(check.root(), p);
    check_backoff(check, check.root(), p);
    p.name = file.stem().string();
    p.file = file;
    return errors_.size() == before ? std::optional(std::move(p)) : std::nullopt;
  }

 private:
  load_options const& options_;
  std::vector<diagnostic>& errors_;
  std::vector<fs::path> chain_;  // of 'extends', to see a circle
};

}  // namespace

base::result<std::string> read_text(fs::path const& file) {
  auto const refuse = [&](std::string why) {
    return base::fail(base::error_code::config, "cannot read " + file.string() + ": " + std::move(why));
  };
  std::error_code failed;
  auto const status = fs::status(file, failed);
  if (!fs::exists(status)) return refuse(failed ? failed.message() : "No such file or directory");
  if (fs::is_directory(status)) return refuse("it is a directory");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) return refuse(errno != 0 ? std::strerror(errno) : "it cannot be opened");
  std::string text(yaml::max_bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return refuse("reading failed");
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::optional<profile> find_profile(std::string const& reference, fs::path const& folder, load_options const& options,
                                    std::vector<diagnostic>& errors, complaint const& complain) {
  return finder(options, errors).find(reference, folder, complain);
}

profile read_profile(std::string_view text, std::string const& file, profile base, std::vector<diagnostic>& errors) {
  auto const doc = yaml::parse(text, file);
  errors.insert(errors.end(), doc.errors.begin(), doc.errors.end());
  if (!doc.usable) return base;
  checker check(doc, schema::document::profile, errors);
  lay_over(check.root(), base);
  check_backoff(check, check.root(), base);
  return base;
}

std::vector<profile> list_profiles(std::vector<fs::path> const& path, std::vector<diagnostic>& errors) {
  std::vector<profile> out;
  load_options options;
  options.profile_path = path;
  options.environment = current_environment();
  for (auto const& folder : path) {
    for (auto const& file : files_in(folder)) {
      auto const name = file.stem().string();
      // The first folder wins, as it does when the name is looked up.
      if (std::any_of(out.begin(), out.end(), [&](profile const& p) { return p.name == name; })) continue;
      auto p = finder(options, errors).load(file, [&](std::string summary, std::string detail) {
        diagnostic d;
        d.file = file.string();
        d.summary = std::move(summary);
        d.detail = std::move(detail);
        errors.push_back(std::move(d));
      });
      if (p) out.push_back(std::move(*p));
    }
  }
  std::sort(out.begin(), out.end(), [](profile const& a, profile const& b) { return a.name < b.name; });
  return out;
}

void apply_environment(profile& p, std::map<std::string, std::string> const& environment, load_outcome& out) {
  for (auto const& row : schema::keys()) {
    if (row.environment.empty() || row.in != schema::document::profile) continue;
    auto const found = environment.find(std::string(row.environment));
    if (found == environment.end() || found->second.empty()) continue;
    auto const& name = found->first;
    yaml::node n;
    n.is = yaml::node::form::scalar;
    n.text = found->second;
    auto const value = resolve(n);
    auto const low = static_cast<long long>(row.min), high = static_cast<long long>(row.max);
    diagnostic d;
    d.file = "environment";
    if (value.is != scalar::kind::integer || value.integer < low || value.integer > high) {
      d.summary = name + " must be a whole number between " + std::to_string(low) + " and " + std::to_string(high) +
                  ", is '" + base::shorten(found->second, 40) + "'";
      d.detail = std::string(row.help);
      out.errors.push_back(std::move(d));
      continue;
    }
    long long before = 0;
    bool beyond = false;
    if (row.path == "batch.size") {
      before = static_cast<long long>(p.batch_size);
      beyond = value.integer > before;
      p.batch_size = static_cast<std::size_t>(value.integer);
    } else if (row.path == "batch.delay_ms") {
      before = p.batch_delay.count();
      beyond = value.integer < before;  // a shorter pause is the harder work
      p.batch_delay = milliseconds(value.integer);
    } else {
      before = static_cast<long long>(p.max_in_flight);
      beyond = value.integer > before;
      p.max_in_flight = static_cast<std::size_t>(value.integer);
    }
    p.overrides.push_back(std::string(row.path) + " " + std::to_string(value.integer) + " (" + name + ")");
    if (!beyond) continue;
    d.severity = severity::warning;
    d.summary = name + " sets " + std::string(row.path) + " to " + std::to_string(value.integer) + ", beyond the " +
                std::to_string(before) + " of the profile " + p.name;
    d.detail = "it is honoured; unset it to keep the profile's promise to NetBox's database";
    out.warnings.push_back(std::move(d));
  }
}

}  // namespace weir::config
