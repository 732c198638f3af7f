#include "core/cli/new_stage.hpp"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>

#include "core/base/text.hpp"
#include "core/cli/exit_codes.hpp"
#include "core/cli/paths.hpp"
#include "core/cli/setup.hpp"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

// The template is a stage of this id that builds as it is; and this is the name that its code has for it.
constexpr std::string_view id_mark = "my-stage", name_mark = "my_stage";

// Targets that CMake keeps for itself.
constexpr std::string_view cmake_names[] = {"all",  "clean",   "depend",         "edit-cache",    "help", "install",
                                            "list", "package", "package-source", "rebuild-cache", "test"};

bool good_id(std::string const& id) {
  return !id.empty() && id.size() <= 64 && id.front() >= 'a' && id.front() <= 'z' &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

// "rack-notes" ► "rack_notes_stage": no keyword and no namespace, whatever the id is.
std::string identifier(std::string id) {
  std::replace(id.begin(), id.end(), '-', '_');
  return id.ends_with("_stage") ? id : id + "_stage";
}

std::string with(std::string text, std::string_view mark, std::string const& word) {
  for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark, at + word.size()))
    text.replace(at, mark.size(), word);
  return text;
}

// Every file of the template, copied with its marks filled in. Nothing of the new folder is there yet.
base::result<void> lay_out(fs::path const& from, fs::path const& to, std::string const& id) {
  auto const failed = [](fs::path const& what, std::error_code ec) {
    return base::fail("cannot make " + what.string() + ": " + ec.message());
  };
  std::error_code ec;
  fs::create_directories(to, ec);
  if (ec) return failed(to, ec);
  fs::recursive_directory_iterator at(from, ec);
  for (; !ec && at != fs::recursive_directory_iterator(); at.increment(ec)) {
    auto const target = to / at->path().lexically_relative(from);
    if (at->is_directory(ec)) {
      fs::create_directories(target, ec);
      if (ec) return failed(target, ec);
      continue;
    }
    std::ifstream in(at->path(), std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) return base::fail("cannot read " + at->path().string());
    text = with(with(std::move(text), name_mark, identifier(id)), id_mark, id);
    std::ofstream out(target, std::ios::binary);
    out << text;
    out.close();
    if (!out) return base::fail("cannot write " + target.string());
    fs::permissions(target, fs::status(at->path()).permissions() & ~(fs::perms::group_write | fs::perms::others_write),
                    ec);
  }
  if (ec) return failed(from, ec);
  return {};
}

}  // namespace

int new_stage(arguments const& args) {
  auto const refuse = [](std::string what, std::string hint) {
    complain(base::fail(base::error_code::usage, std::move(what), std::move(hint)));
    return exit_code::usage;
  };
  auto const& id = args.stage;
  if (!good_id(id))
    return refuse("'" + base::shorten(id, 80) + "' is no stage id",
                  "a letter first, then a to z, 0 to 9 and '-', 64 characters at most: rack-notes");
  if (std::find(std::begin(cmake_names), std::end(cmake_names), id) != std::end(cmake_names))
    return refuse("'" + id + "' is a name that CMake keeps for itself", "take another one: my-" + id);
  auto const places = find_places(config::current_environment());
  fs::path from;
  for (auto const& place : places.templates)
    if (std::error_code ec; from.empty() && fs::exists(place / "stage.cpp", ec)) from = place;
  if (from.empty()) {
    std::vector<std::string> looked;
    for (auto const& place : places.templates) looked.push_back(place.string());
    complain(base::fail(base::error_code::config, "the SDK's template was not found in " + base::join(looked),
                        "it comes with the package weir-sdk: apt install weir-sdk"));
    return exit_code::configuration;
  }
  std::error_code ec;
  fs::path const into = args.into;
  if (!fs::is_directory(into, ec)) return refuse("there is no folder " + into.string(), "make it, or leave --into out");
  auto const to = (into == "." ? fs::path(id) : into / id);
  if (fs::exists(fs::symlink_status(to, ec)))
    return refuse(to.string() + " is there already", "nothing was changed: take another name or another --into");
  if (auto done = lay_out(from, to, id); !done) {
    complain(done.error());
    return exit_code::failed;
  }
  std::cout << to.string() << "/ is laid out: stage.cpp is the stage, test.cpp its test. Next:\n\n"
            << "  cd " << to.string() << "\n"
            << "  cmake -S . -B build && cmake --build build && ctest --test-dir build --output-on-failure\n"
            << "  weir stages check build/" << id << ".so --answers answers\n"
            << "  weir demo --plugin build --stage " << id << "\n";
  return exit_code::done;
}

}  // namespace weir::cli
