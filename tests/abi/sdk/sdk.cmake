# The SDK's headers: the binary contract is pinned, the wrapper is driven by the host in memory.
find_package(nlohmann_json REQUIRED)
find_package(Threads REQUIRED)

weir_tests(abi wrapper LIBRARIES weir_sdk nlohmann_json::nlohmann_json Threads::Threads)

function(weir_sdk_check name)
  add_test(NAME abi.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}.py ${ARGN})
  set_tests_properties(abi.${name} PROPERTIES LABELS abi TIMEOUT 600)
endfunction()

weir_sdk_check(compile_layout ${CMAKE_SOURCE_DIR}/sdk/include gcc,g++ clang-14,clang++-14)
