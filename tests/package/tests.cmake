# The packages, and what runs them: units, container. Sanitizers are for the program; its packages are made of plain builds.
if(NOT WEIR_SANITIZE)
  set(packages ${CMAKE_BINARY_DIR}/packages-for-tests)
  add_test(NAME package.make COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/package/make.py ${CMAKE_CPACK_COMMAND}
           ${CMAKE_BINARY_DIR} ${packages})
  # Of the label netbox, too, which installs them: a fixture is brought in wherever it is required.
  set_tests_properties(package.make PROPERTIES LABELS package TIMEOUT 300 SKIP_RETURN_CODE 77 FIXTURES_SETUP packages)
  foreach(name debs install units container)
    add_test(NAME package.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/package/test_${name}.py)
    set_tests_properties(package.${name} PROPERTIES LABELS package TIMEOUT 300 SKIP_RETURN_CODE 77
      ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_PACKAGES=${packages};WEIR_BUILD=${CMAKE_BINARY_DIR};WEIR_TEST_NOTES=$<TARGET_FILE:weir_test_notes>")
  endforeach()
  set_tests_properties(package.debs package.install PROPERTIES FIXTURES_REQUIRED packages)
endif()
