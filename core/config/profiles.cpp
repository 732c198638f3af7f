#include "core/config/profiles.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <system_error>

#include "core/base/text.hpp"
#include "core/config/check.hpp"
#include "core/config/layers.hpp"
#include "core/config/values.hpp"

namespace weir::config {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

milliseconds whole_seconds(double seconds) { return milliseconds(std::llround(seconds * 1000)); }

// Takes over what the document says; what it leaves out stays as in the profile it extends.
void lay_over(checker const& check, profile& p) {
  auto const v = check.root();
  auto const given = [&](view const& from) {
    if (!from.present()) return false;
    auto const at = from.node()->at;
    auto const origin = check.document().origin(at);
    p.origins[from.path()] = check.from_file(at) ? "profile " + fs::path(origin).filename().string() : origin;
    return true;
  };
  auto const size = [&](view const& from, std::size_t& to) {
    if (given(from)) to = static_cast<std::size_t>(from.integer());
  };
  auto const ms = [&](view const& from, milliseconds& to) {
    if (given(from)) to = milliseconds(from.integer());
  };
  auto const seconds = [&](view const& from, milliseconds& to) {
    if (given(from)) to = whole_seconds(from.number());
  };
  if (given(v["description"])) p.description = v["description"].text();
  size(v["batch"]["size"], p.batch_size);
  ms(v["batch"]["delay_ms"], p.batch_delay);
  size(v["batch"]["objects_per_request"], p.objects_per_request);
  size(v["max_in_flight"], p.max_in_flight);
  if (given(v["requests_per_second"])) p.requests_per_second = v["requests_per_second"].number();
  size(v["retry"]["max_attempts"], p.max_attempts);
  ms(v["retry"]["base_ms"], p.backoff_base);
  ms(v["retry"]["cap_ms"], p.backoff_cap);
  seconds(v["retry"]["max_outage_s"], p.max_outage);
  seconds(v["timeouts"]["request_s"], p.request_timeout);
  seconds(v["timeouts"]["connect_s"], p.connect_timeout);
}

void check_backoff(checker& check, profile const& p) {
  if (p.backoff_cap >= p.backoff_base) return;
  auto const retry = check.root()["retry"];
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
    lay_over(check, p);
    check_backoff(check, p);
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
  lay_over(check, base);
  check_backoff(check, base);
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

std::vector<profile_value> values_of(profile const& p) {
  auto const s = [](milliseconds t) { return static_cast<double>(t.count()) / 1000; };
  return {{"batch.size", static_cast<double>(p.batch_size)},
          {"batch.delay_ms", static_cast<double>(p.batch_delay.count())},
          {"batch.objects_per_request", static_cast<double>(p.objects_per_request)},
          {"max_in_flight", static_cast<double>(p.max_in_flight)},
          {"requests_per_second", p.requests_per_second},
          {"retry.max_attempts", static_cast<double>(p.max_attempts)},
          {"retry.base_ms", static_cast<double>(p.backoff_base.count())},
          {"retry.cap_ms", static_cast<double>(p.backoff_cap.count())},
          {"retry.max_outage_s", s(p.max_outage)},
          {"timeouts.request_s", s(p.request_timeout)},
          {"timeouts.connect_s", s(p.connect_timeout)}};
}

void apply_environment(profile& p, load_options const& options, load_outcome& out) {
  yaml::document doc;
  doc.file = p.file.string();
  doc.root.is = yaml::node::form::map;
  overlay(doc, schema::document::profile, options, out.errors, out.warnings);
  if (doc.root.children.empty()) return;
  auto const before = out.errors.size();
  checker check(doc, schema::document::profile, out.errors);
  if (out.errors.size() > before) return;
  auto const was = values_of(p);
  lay_over(check, p);
  check_backoff(check, p);
  auto const is = values_of(p);
  for (std::size_t i = 0; i < is.size(); ++i) {
    auto const path = is[i].path;
    auto const dot = path.find('.');
    auto const v = dot == path.npos ? check.root()[path] : check.root()[path.substr(0, dot)][path.substr(dot + 1)];
    if (!v.present()) continue;
    auto name = doc.origin(v.node()->at);
    if (name.starts_with("environment ")) name.erase(0, name.find(' ') + 1);
    p.overrides.push_back(std::string(path) + " " + plain_number(is[i].value) + " (" + name + ")");
    // A shorter pause is the harder work.
    bool const beyond = path == "batch.delay_ms" ? is[i].value < was[i].value
                                                 : (path.starts_with("batch.") || path == "max_in_flight" ||
                                                    path == "requests_per_second") &&
                                                       is[i].value > was[i].value;
    if (!beyond) continue;
    auto d = check.about(v,
                         name + " sets " + std::string(path) + " to " + plain_number(is[i].value) + ", beyond the " +
                             plain_number(was[i].value) + " of the profile " + p.name,
                         "it is honoured; " + std::string(name.starts_with("--") ? "leave it out" : "unset it") +
                             " to keep the profile's promise to NetBox's database");
    d.severity = severity::warning;
    out.warnings.push_back(std::move(d));
  }
}

void apply_environment(profile& p, std::map<std::string, std::string> const& environment, load_outcome& out) {
  load_options options;
  options.environment = environment;
  apply_environment(p, options, out);
}

}  // namespace weir::config
