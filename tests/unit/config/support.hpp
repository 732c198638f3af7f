#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/config/config.hpp"

namespace config_test {

namespace fs = std::filesystem;
using namespace weir::config;

inline fs::path const shipped_profiles = fs::path(WEIR_SOURCE_DIR) / "configs/profiles";

// A folder of its own for one test, gone with it.
class folder {
 public:
  folder() {
    auto pattern = (fs::temp_directory_path() / "weir-config-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  folder(folder const&) = delete;
  folder& operator=(folder const&) = delete;
  ~folder() { fs::remove_all(path_); }
  fs::path const& path() const { return path_; }
  fs::path write(fs::path const& name, std::string const& text, fs::perms mode = fs::perms(0600)) const {
    auto const file = path_ / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
    fs::permissions(file, mode);
    return file;
  }

 private:
  fs::path path_;
};

inline load_options options_for(fs::path const& file) {
  load_options o;
  o.file = file;
  o.profile_path = {shipped_profiles};
  o.default_plugin_path = {"/opt/stages"};
  o.environment = {{"HOME", "/home/user"}, {"PATH", "/usr/bin:/bin"}, {"NB", "nbt_key.secret"}, {"PVE", "pve-secret"}};
  return o;
}

inline std::string everything(load_outcome const& outcome) {
  std::string out;
  for (auto const& d : outcome.errors) out += render(d) + "\n";
  for (auto const& d : outcome.warnings) out += render(d) + "\n";
  return out;
}

// The parts that every configuration needs; `rest` is put behind them.
inline std::string with(std::string const& rest) {
  return "netbox: {url: https://nb.example, token_env: NB}\n"
         "sources:\n"
         "  a: {type: proxmox, urls: [https://pve:8006], token_id: u@pve!t, token_env: PVE}\n" +
         rest;
}

}  // namespace config_test
