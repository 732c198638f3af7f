# The program as its users run it, against the simulators. Python's standard library only.
add_library(weir_test_other_abi MODULE cli/plugins/other_abi.c)
target_link_libraries(weir_test_other_abi PRIVATE weir_sdk)
set_target_properties(weir_test_other_abi PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden)
weir_add_stage(weir_test_direct SOURCES cli/plugins/direct.cpp JSON)
weir_add_stage(weir_test_notes SOURCES cli/plugins/notes.cpp JSON)

foreach(name bad_input sync_sim resume outage state_dir lost_answers throttle_simulate)
  add_test(NAME cli.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${name}.py)
  set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 600
    ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_TEST_OTHER_ABI=$<TARGET_FILE:weir_test_other_abi>")
endforeach()

# After abi.out_of_tree has built the template against the installed SDK.
add_test(NAME cli.third_party COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_third_party.py)
set_tests_properties(cli.third_party PROPERTIES LABELS cli TIMEOUT 300 FIXTURES_REQUIRED out_of_tree_stage
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_BUILD=${CMAKE_BINARY_DIR};WEIR_TEST_DIRECT=$<TARGET_FILE:weir_test_direct>")

# Journals as the program writes them, with what takes an outage or a kill to get there.
add_executable(weir_test_make_journal cli/make_journal.cpp)
target_link_libraries(weir_test_make_journal PRIVATE weir_store weir_warnings)
add_test(NAME cli.history COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_history.py)
set_tests_properties(cli.history PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_TEST_MAKE_JOURNAL=$<TARGET_FILE:weir_test_make_journal>")

add_test(NAME cli.extensions COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_extensions.py)
set_tests_properties(cli.extensions PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_TEST_NOTES=$<TARGET_FILE:weir_test_notes>")

weir_add_stage(weir_test_device_tags SOURCES cli/rest_stage/device_tags.cpp JSON)
add_test(NAME cli.rest COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_rest.py)
set_tests_properties(cli.rest PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_TEST_DEVICE_TAGS=$<TARGET_FILE:weir_test_device_tags>")

include(${CMAKE_CURRENT_LIST_DIR}/bad_plugins/bad_plugins.cmake)

add_test(NAME cli.stages COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_stages.py)
set_tests_properties(cli.stages PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_CONFORMANCE_CASES=${CMAKE_BINARY_DIR}/tests/abi/conformance/plugins")
# After abi.examples and abi.example_rust have built them.
add_test(NAME cli.examples COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_examples.py)
set_tests_properties(cli.examples PROPERTIES LABELS cli TIMEOUT 300 FIXTURES_REQUIRED "examples;example_rust"
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_EXAMPLES=${CMAKE_BINARY_DIR}/examples")

foreach(name output display)
  add_test(NAME cli.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${name}.py)
  set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
endforeach()

# Completion and the manual page, made from the command tree.
add_test(NAME cli.completion COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_completion.py)
set_tests_properties(cli.completion PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

# What runs leave for Prometheus, and a real Prometheus over it (packages/test.txt).
foreach(part "metrics,test_metrics.py" "alert_files,test_alerts.py" "alerts_results,test_alerts.py,results" "alerts_trouble,test_alerts.py,trouble" "scrape,test_scrape.py")
  string(REPLACE "," ";" part "${part}")
  list(POP_FRONT part name script)
  add_test(NAME cli.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/${script} ${part})
  set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
endforeach()

add_test(NAME cli.doctor COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_doctor.py)
set_tests_properties(cli.doctor PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

foreach(name config config_bad)
  add_test(NAME cli.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${name}.py)
  set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 300 ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>")
endforeach()

foreach(name serve serve_long)
  add_test(NAME cli.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_${name}.py)
  set_tests_properties(cli.${name} PROPERTIES LABELS cli TIMEOUT 600
    ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
endforeach()

# Every command and every YAML of the documents. After abi.out_of_tree has built a stage.
add_test(NAME cli.docs COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_docs.py)
set_tests_properties(cli.docs PROPERTIES LABELS cli TIMEOUT 300 FIXTURES_REQUIRED out_of_tree_stage
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>;WEIR_DOCS_STAGE=${CMAKE_BINARY_DIR}/out-of-tree/my-stage.so")

add_test(NAME cli.undo COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_undo.py)
set_tests_properties(cli.undo PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

# A part of a source, single guests, and the configuration's rules.
add_test(NAME cli.scope COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_scope.py)
set_tests_properties(cli.scope PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

add_test(NAME cli.plan COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_plan.py)
set_tests_properties(cli.plan PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

# What the proxbox service made, taken over.
add_test(NAME cli.adopt COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_adopt.py)
set_tests_properties(cli.adopt PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

# What is gone from the source: marks, grace, and what is not believed.
add_test(NAME cli.orphans COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_orphans.py)
set_tests_properties(cli.orphans PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")

add_test(NAME cli.identity COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/test_identity.py)
set_tests_properties(cli.identity PROPERTIES LABELS cli TIMEOUT 300
  ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
