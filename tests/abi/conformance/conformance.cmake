# The plugins that the conformance check is tried on: a sound one, and one for each way of breaking the contract.
find_package(Threads REQUIRED)
set(conformance_tests ${CMAKE_CURRENT_LIST_DIR})
set(conformance_plugins_dir ${CMAKE_BINARY_DIR}/tests/abi/conformance/plugins)

function(weir_conformance_case name)
  weir_add_stage(conformance_${name} SOURCES ${conformance_tests}/plugins/case.cpp LIBRARIES weir_warnings Threads::Threads JSON)
  target_compile_definitions(conformance_${name} PRIVATE CASE=${name} ${ARGN})
  target_compile_options(conformance_${name} PRIVATE -O0)
  set_target_properties(conformance_${name} PROPERTIES OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${conformance_plugins_dir})
  set_property(GLOBAL APPEND PROPERTY conformance_plugins conformance_${name})
endfunction()

foreach(name good state_in_globals swallows_errors completes_anyway undeclared_kind bad_utf8 bad_key index_ignored dies
             dies_in_create locale leaks_files plan_differs refuses_create hangs)
  weir_conformance_case(${name})
endforeach()
foreach(name ignores_cancel leaks_reply releases_twice other_thread silent_error throws)
  weir_conformance_case(${name} RAW)
endforeach()
weir_conformance_case(reserved_option [[SCHEMA="{\"additionalProperties\":false,\"properties\":{\"isolation\":{}}}"]])
weir_conformance_case(open_schema [[SCHEMA="{\"properties\":{\"a\":{\"default\":1}}}"]])
weir_conformance_case(needs_option [[SCHEMA="{\"additionalProperties\":false,\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"integer\"}}}"]])
weir_conformance_case(unknown_kind [[KINDS="[\"extras.tag\",\"acme.thing\"]"]])

weir_tests(abi conformance LIBRARIES weir_plugin weir_netbox nlohmann_json::nlohmann_json Threads::Threads ${CMAKE_DL_LIBS})
target_compile_definitions(abi_conformance PRIVATE CONFORMANCE_PLUGINS="${conformance_plugins_dir}" LOADER_PLUGINS="${loader_plugins_dir}"
                           STAGES="${CMAKE_BINARY_DIR}/stages")
get_property(all GLOBAL PROPERTY conformance_plugins)
add_dependencies(abi_conformance ${all} loader_wrong_major loader_no_symbol loader_undefined loader_good backups nodes virtual-machines)
