// A stage in a process of its own: the same .so, the same contract, over a socket pair. What it does to its process
// costs the stage and nothing else.
//
// weir starts itself again ("weir stage-process"), with no environment, no credentials and one socket; the child loads
// the plugin, runs it with run_stage() over `services` that ask the parent, and the parent answers from the real ones.
// It may compute, have threads, read the system's libraries and data and libraries beside its plugin (Landlock); it may
// not write files, reach the network, start processes or look at others (seccomp). What it prints gets into the log.
#pragma once
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>

#include "core/base/result.hpp"
#include "core/plugin/conformance.hpp"
#include "core/plugin/host.hpp"
#include "core/plugin/loader.hpp"

namespace weir::plugin {

struct process_limits {
  std::size_t address_space_bytes = std::size_t{4} << 30;  // RLIMIT_AS
  std::chrono::seconds cpu{600};                           // RLIMIT_CPU
  std::chrono::milliseconds wall{3'600'000};               // from its start to its end
  std::chrono::milliseconds cancel_grace{5000};            // from being told to stop to being killed
};

struct process_options {
  process_limits limits;
  std::filesystem::path program = "/proc/self/exe";  // a weir that knows the command stage-process
};

// As run_stage(), in a child. An error that the stage did not say itself names how its process ended (the signal, the
// exit code, the limit) and ends with its last lines of output.
base::result<void> run_isolated(loaded_stage const& stage, std::string const& options_json, services& offered,
                                process_options const& how);

// What load_alone(file) says, found out by a child; every stage has `table` null and `isolated` true. A file that takes
// its process with it while it is loaded is one problem. What its stages need of others is not looked for.
load_report describe(std::filesystem::path const& file, process_options const& how);

// What check() of core/plugin/conformance.hpp says about the file, as JSON text, found out by a child.
base::result<std::string> check_in_process(std::filesystem::path const& file, conformance_options const& with,
                                           process_options const& how);

// The child's main: serves the parent at the other end of the socket. Returns the process's exit code.
int stage_process(int socket);

}  // namespace weir::plugin
