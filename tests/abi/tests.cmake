include(${CMAKE_CURRENT_LIST_DIR}/loader/loader.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/isolation/isolation.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sdk/sdk.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/conformance/conformance.cmake)

add_test(NAME abi.out_of_tree COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_LIST_DIR}/out_of_tree.py
         ${CMAKE_COMMAND} ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_BINARY_DIR}/out-of-tree)
set_tests_properties(abi.out_of_tree PROPERTIES LABELS abi TIMEOUT 600)
set_tests_properties(abi.out_of_tree PROPERTIES FIXTURES_SETUP out_of_tree_stage)
