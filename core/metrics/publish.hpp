// The end of a scripted run: its metrics for a Prometheus that cannot ask a process that has ended.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/result.hpp"
#include "core/config/config.hpp"
#include "core/metrics/recorder.hpp"

namespace weir::metrics {

inline constexpr std::chrono::milliseconds push_deadline{10000};

// Nothing, where neither a textfile nor a Pushgateway is wanted. Otherwise `of` takes over what earlier runs on this
// NetBox left in <state_dir>/metrics, so that counters go on, and all of it goes there, into the textfile and to the
// Pushgateway. Where no run came to its end, it is only kept for the next one: what the last run showed still holds.
// Returns what could not be done, in that order; none of it is a reason for a run to fail. Takes
// push_deadline at most beside writing files.
std::vector<base::error> publish(recorder& of, config::metrics const& where, std::filesystem::path const& state_dir,
                                 std::string const& netbox_url);

// The file in which `publish` keeps them.
std::filesystem::path memory_file(std::filesystem::path const& state_dir, std::string const& netbox_url);

// Into a temporary file beside `file`, which then takes its place: whoever reads sees the old one or the new one,
// whole. 0644, for node_exporter. Error: `file` is no regular file, or cannot be written.
base::result<void> replace_file(std::filesystem::path const& file, std::string_view content);

// Where to put them: <gateway>/metrics/job/weir/netbox/<host>. Not by machine: it is the NetBox that they are about,
// wherever the next run is started.
std::string push_url(std::string const& gateway, std::string const& netbox_url);

}  // namespace weir::metrics
