# The page's files as bytes in the program, by CMake alone.
# Included: adds the generated .cpp to weir_serve. As a script (cmake -DOUT=… -P embed.cmake): writes it.
set(page_dir ${CMAKE_CURRENT_LIST_DIR})
set(page_files index.html style.css theme.js app.js api.js changes.js dom.js format.js gate.js runs.js icon.svg)

if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(page_source ${CMAKE_BINARY_DIR}/core/serve/page.cpp)
  list(TRANSFORM page_files PREPEND ${page_dir}/ OUTPUT_VARIABLE page_paths)
  add_custom_command(
    OUTPUT ${page_source}
    COMMAND ${CMAKE_COMMAND} -DOUT=${page_source} -P ${page_dir}/embed.cmake
    DEPENDS ${page_paths} ${page_dir}/embed.cmake
    COMMENT "Embedding the page of weir serve"
    VERBATIM)
  target_sources(weir_serve PRIVATE ${page_source})
  return()
endif()

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")

set(arrays "")
set(table "")
foreach(name IN LISTS page_files)
  file(READ ${page_dir}/${name} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  # A literal of its own per 64 bytes: one of 30 KB on a line is no reading for anybody, and compilers mind its length.
  string(REGEX REPLACE "(..)" "\\\\x\\1" escaped "${hex}")
  string(REPEAT "\\\\x.." 64 line)
  string(REGEX REPLACE "(${line})" "\\1\"\n    \"" escaped "${escaped}")
  string(REGEX REPLACE "[^a-z]" "_" id ${name})
  string(REGEX REPLACE ".*\\." "" ending ${name})
  string(APPEND arrays "constexpr char ${id}[] =\n    \"${escaped}\";\n")
  set(path /${name})
  if(name STREQUAL "index.html")
    set(path /)
  endif()
  string(APPEND table "    {\"${path}\", {{${id}, ${size}}, \"${type_${ending}}\"}},\n")
endforeach()

file(WRITE ${OUT} "// Made by core/serve/page/embed.cmake.
#include \"core/serve/page.hpp\"

#include <utility>

namespace weir::serve {
namespace {

${arrays}
constexpr std::pair<std::string_view, asset> files[] = {
${table}};

}  // namespace

std::optional<asset> find_asset(std::string_view path) {
  for (auto const& [name, file] : files)
    if (name == path) return file;
  return {};
}

}  // namespace weir::serve
")
