# find_package(weir-sdk) gives the target weir::sdk (headers) and the function weir_add_stage.
include(${CMAKE_CURRENT_LIST_DIR}/weir-sdk-targets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/weir_add_stage.cmake)
