# weir_add_stage(NAME SOURCES file... [LIBRARIES target...] [JSON])
#
# A stage plugin NAME.so that exports weir_plugin_v1 and nothing else. JSON: links nlohmann_json (for weir/json.hpp).
# The same file serves the weir tree itself (target weir_sdk) and find_package(weir-sdk) (target weir::sdk).
include_guard(GLOBAL)

function(weir_add_stage name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "JSON" "" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "weir_add_stage(${name}): want SOURCES file... [LIBRARIES target...] [JSON]; "
                        "not understood: '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  set(map ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/weir_plugin.map)

  add_library(${name} MODULE ${arg_SOURCES})
  if(TARGET weir_sdk)
    target_link_libraries(${name} PRIVATE weir_sdk)
  else()
    target_link_libraries(${name} PRIVATE weir::sdk)
  endif()
  if(arg_JSON)
    find_package(nlohmann_json REQUIRED)
    target_link_libraries(${name} PRIVATE nlohmann_json::nlohmann_json)
  endif()
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  target_compile_features(${name} PRIVATE cxx_std_20)
  set_target_properties(${name} PROPERTIES
    PREFIX "" CXX_EXTENSIONS OFF C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON LINK_DEPENDS ${map})
  target_link_options(${name} PRIVATE -Wl,--version-script=${map})

  # A symbol that is missing shall fail here, not when weir loads the plugin. With sanitizers the host brings their runtime.
  get_directory_property(flags COMPILE_OPTIONS)
  if(NOT "${CMAKE_CXX_FLAGS} ${flags}" MATCHES "-fsanitize")
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
endfunction()
