// What journal and lock share: folders, and what makes two spellings of a URL the same NetBox.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace weir::store {

// Makes `folder` and what is missing above it, 0700; one that is there keeps its mode. Error: names it and the cause.
base::result<void> make_folder(std::filesystem::path const& folder);

// "NetBox.Example:443/x/" over https is "https://netbox.example/x": scheme and host in lower case, no default port, no
// trailing slash, no user information, no query. What is no URL comes back as it is, without a trailing slash.
std::string normalised_url(std::string_view url);

// This machine's name, for records that several machines may read; empty if it has none.
std::string host_name();

// strerror's words, thread-safe.
std::string system_words(int error_number);

}  // namespace weir::store
