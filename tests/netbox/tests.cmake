# A real NetBox. The fixture brings the lab up once and down at the end, also after a failure.
set(lab ${CMAKE_CURRENT_SOURCE_DIR}/netbox/netbox-lab)
add_test(NAME netbox.up COMMAND ${lab} up --workers 3 --fast)
add_test(NAME netbox.down COMMAND ${lab} down)
set_tests_properties(netbox.up PROPERTIES FIXTURES_SETUP netbox_lab TIMEOUT 1800)
set_tests_properties(netbox.down PROPERTIES FIXTURES_CLEANUP netbox_lab TIMEOUT 120)
set_tests_properties(netbox.up netbox.down PROPERTIES LABELS netbox RUN_SERIAL ON)

foreach(name sync)
  add_test(NAME netbox.${name} COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/netbox/test_${name}.py)
  set_tests_properties(netbox.${name} PROPERTIES LABELS netbox RUN_SERIAL ON TIMEOUT 900 FIXTURES_REQUIRED netbox_lab
    ENVIRONMENT "WEIR_BINARY=$<TARGET_FILE:weir>;WEIR_SIM=$<TARGET_FILE:weir-sim>")
endforeach()
