# The page of `weir serve` in a headless Chromium, against a stand-in for the service; test_real.py against the service itself.
# Pictures of each state are written to the build directory (tests/page). Without a browser: skipped, and told so.
foreach(name keyboard live contrast)
  add_test(NAME page.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/page/test_${name}.py)
  set_tests_properties(page.${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "WEIR_PAGE_OUT=${CMAKE_BINARY_DIR}/tests/page")
endforeach()
foreach(part Look LookMore)
  string(TOLOWER page.${part} name)
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/page/test_look.py ${part})
  set_tests_properties(${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77 ENVIRONMENT "WEIR_PAGE_OUT=${CMAKE_BINARY_DIR}/tests/page")
endforeach()
add_test(NAME page.real COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/page/test_real.py)
set_tests_properties(page.real PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77
  ENVIRONMENT "WEIR_PAGE_OUT=${CMAKE_BINARY_DIR}/tests/page;WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
