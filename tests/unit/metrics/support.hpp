// A run as an observer hears of it.
#pragma once
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "core/metrics/exposition.hpp"
#include "core/metrics/recorder.hpp"

namespace weir::metrics::testing {

inline std::chrono::system_clock::time_point at(std::int64_t seconds) {
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

inline engine::report a_report(bool dry = false) {
  engine::report r;
  r.run_id = "7f3a2c1b";
  r.dry = dry;
  r.profile.name = "conservative";
  r.profile.max_in_flight = 4;
  r.netbox_url = "https://netbox.example";
  r.netbox_version = "4.7.3";
  r.sources = {{"pve-a", "proxmox", "8.4.1"}};
  r.took = std::chrono::milliseconds(12345);
  return r;
}

inline http::attempt_seen an_attempt(throttle::method verb, std::string_view endpoint, throttle::outcome what,
                                     int milliseconds, bool again = false) {
  http::attempt_seen a;
  a.verb = verb;
  a.endpoint = endpoint;
  a.outcome = what;
  a.again = again;
  a.elapsed = std::chrono::milliseconds(milliseconds);
  return a;
}

inline engine::job_report a_job(char const* stage, engine::job_status status = engine::job_status::ok) {
  engine::job_report j;
  j.source = "pve-a";
  j.stage = stage;
  j.status = status;
  j.took = std::chrono::milliseconds(2500);
  return j;
}

// The sample with that name and (some of) these labels; all of them added up.
inline double value(std::string const& text, std::string const& name,
                    std::map<std::string, std::string> const& with = {}) {
  auto const all = parse_exposition(text);
  if (!all) throw std::runtime_error(all.error().what);
  double sum = 0;
  bool any = false;
  for (auto const& s : *all) {
    bool matches = s.name == name;
    for (auto const& [k, v] : with) matches = matches && s.labels.contains(k) && s.labels.at(k) == v;
    if (matches) sum += s.value, any = true;
  }
  return any ? sum : -1;  // -1: there is none
}

inline std::string read(std::string const& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace weir::metrics::testing
