# The order of the folders and what no file may say; needs no build.
add_test(NAME unit.layers COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/layers/test_layers.py)
set_tests_properties(unit.layers PROPERTIES LABELS unit TIMEOUT 60)
