include(${CMAKE_CURRENT_LIST_DIR}/loader/loader.cmake)
