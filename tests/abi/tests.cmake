include(${CMAKE_CURRENT_LIST_DIR}/loader/loader.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/isolation/isolation.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sdk/sdk.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/conformance/conformance.cmake)

add_test(NAME abi.out_of_tree COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/out_of_tree.py
         ${CMAKE_COMMAND} ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}/out-of-tree)
set_tests_properties(abi.out_of_tree PROPERTIES LABELS abi TIMEOUT 600)
set_tests_properties(abi.out_of_tree PROPERTIES FIXTURES_SETUP out_of_tree_stage)

# The SDK's examples against the installed SDK; the one in Rust where there is a rustc, else it is shown as skipped.
set(examples_command ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/examples.py ${CMAKE_COMMAND} ${CMAKE_BINARY_DIR}
    $<TARGET_FILE:weir> ${CMAKE_BINARY_DIR}/examples)
add_test(NAME abi.examples COMMAND ${examples_command} c-tags pools-to-tags inventory-devices)
add_test(NAME abi.example_rust COMMAND ${examples_command} rust-tags)
set_tests_properties(abi.examples abi.example_rust PROPERTIES LABELS abi TIMEOUT 600)
set_tests_properties(abi.examples PROPERTIES FIXTURES_SETUP examples)
set_tests_properties(abi.example_rust PROPERTIES SKIP_RETURN_CODE 77 FIXTURES_SETUP example_rust)

# The guide's commands, on the packages.
add_test(NAME abi.guide_walk COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/guide_walk.py ${CMAKE_CPACK_COMMAND}
         ${CMAKE_BINARY_DIR} $<TARGET_FILE:weir-sim>)
set_tests_properties(abi.guide_walk PROPERTIES LABELS abi TIMEOUT 600)
