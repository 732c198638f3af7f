# The SDK's headers: the binary contract is pinned, the wrapper is driven by the host in memory.
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

weir_tests(abi wrapper LIBRARIES weir_sdk nlohmann_json::nlohmann_json Threads::Threads)

function(weir_sdk_check name)
  add_test(NAME abi.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}.py ${ARGN})
  set_tests_properties(abi.${name} PROPERTIES LABELS abi TIMEOUT 600 SKIP_RETURN_CODE 77)
endfunction()

set(sdk_include ${CMAKE_SOURCE_DIR}/sdk/include)
weir_sdk_check(compile_layout ${sdk_include} gcc,g++ clang-14,clang++-14)
weir_sdk_check(layout_list ${sdk_include} ${CMAKE_CURRENT_LIST_DIR}/abi-1.0.txt)
weir_sdk_check(abidiff ${sdk_include} ${CMAKE_CURRENT_LIST_DIR}/abi-1.0.abi)
weir_sdk_check(messages ${sdk_include} g++ clang++-14)
weir_sdk_check(guide_code ${CMAKE_SOURCE_DIR}/sdk/GUIDE.md ${sdk_include} g++ gcc)
get_directory_property(sdk_flags COMPILE_OPTIONS)
list(FILTER sdk_flags INCLUDE REGEX "^-f.*sanitize")
weir_sdk_check(grown ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/tests/abi/grown --libraries $<TARGET_FILE:weir_plugin>
               $<TARGET_FILE:weir_base> --flags=${sdk_flags})
