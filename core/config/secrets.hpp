// Where secrets come from: the environment, a file, a command, a systemd credential. Never the configuration itself.
#pragma once
#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "core/base/result.hpp"
#include "core/base/secret.hpp"

namespace weir::config {

using variables = std::map<std::string, std::string>;

inline constexpr std::chrono::milliseconds command_limit{10'000};
inline constexpr std::size_t secret_bytes = 64 * 1024;

// All four trim the newline at the end, and fail on what is empty, larger than secret_bytes or holds control
// characters. The errors never hold the value.
base::result<base::secret> secret_from_environment(std::string const& variable, variables const& environment);
// The file must be a regular one that only its owner can read.
base::result<base::secret> secret_from_file(std::filesystem::path const& file);
// Runs `command` by /bin/sh -c with this environment; its stderr is ours. After `limit` the command and its children
// are killed.
base::result<base::secret> secret_from_command(std::string const& command, variables const& environment,
                                               std::chrono::milliseconds limit = command_limit);
// $CREDENTIALS_DIRECTORY/name (systemd.exec(5), LoadCredential=).
base::result<base::secret> secret_from_credential(std::string const& name, variables const& environment);

}  // namespace weir::config
