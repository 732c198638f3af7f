// Plugins for the tests: copied, with modes that do not depend on the umask of whoever built them.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "core/plugin/loader.hpp"

namespace weir::plugin {

namespace fs = std::filesystem;

class folder {
 public:
  folder() {
    std::string name = (fs::temp_directory_path() / "weir-loader-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = fs::canonical(name);
  }
  ~folder() { fs::remove_all(path_); }
  folder(folder const&) = delete;
  folder& operator=(folder const&) = delete;
  fs::path const& path() const { return path_; }
  // A copy of the test plugin `name`, as `as` if given.
  fs::path add(std::string const& name, std::string const& as = {}) const {
    auto const to = path_ / ((as.empty() ? name : as) + ".so");
    fs::copy_file(fs::path(LOADER_PLUGINS) / (name + ".so"), to);
    fs::permissions(to, static_cast<fs::perms>(0755));
    return to;
  }

 private:
  fs::path path_;
};

inline bool has(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

#define EXPECT_HAS(text, part) EXPECT_TRUE(::weir::plugin::has(text, part)) << "in: " << (text) << "\nlacks: " << (part)

inline std::vector<std::string> ids(std::vector<loaded_stage> const& stages) {
  std::vector<std::string> out;
  for (auto const& s : stages) out.push_back(s.id);
  return out;
}

}  // namespace weir::plugin
